"""Cases for HTTP servers that nobody here wrote, as bytes to send; and a talk
with a server that says what became of them.

The data lies beside the checkout (docs/testing.md); what its fields mean is
told in the README.txt there."""
import base64
import json
import os
import re
import socket
import time

from world import DATA, DEADLINE, readable

FOLDER = os.path.join(DATA, "conformance")


# ---- the data

def load(name):
    with open(os.path.join(FOLDER, name), encoding="utf-8") as f:
        return json.load(f)


def text_of(part, host):
    """A text, a run [char, count], or a list of these; Latin-1."""
    if isinstance(part, str):
        return part.replace("@@HOST@@", host).encode("latin-1")
    if len(part) == 2 and isinstance(part[1], int):
        return text_of(part[0], host) * part[1]
    return b"".join(text_of(p, host) for p in part)


def probe_cases():
    return load("http1-probe-cases.json")


def probe_bytes(case, host):
    """All that the case sends before it needs an answer."""
    if "send" in case:
        return text_of(case["send"], host)
    return step_bytes(case["steps"][0], host)


def step_bytes(step, host):
    return b"".join(text_of(piece["send"], host) for piece in step)


def gadgets():
    """(name, line) of each obfuscated Transfer-Encoding."""
    return [(g["name"], g["te_header"].encode("latin-1"))
            for g in load("smuggling-te-gadgets.json")]


def fixtures():
    return load("llhttp-request-fixtures.json")


def fixture_bytes(fixture, host):
    """With a Host in each request of 1.1 that has none, and the empty line
    that the file leaves out at the end of most heads."""
    raw = fixture["raw"]
    raw = raw.encode("latin-1" if max(raw) <= "\xff" else "utf-8")
    if not re.search(rb"(?i)\nhost *:", raw):
        raw = raw.replace(b" HTTP/1.1\r\n",
                          b" HTTP/1.1\r\nHost: " + host.encode() + b"\r\n")
    if raw.endswith(b"\r\n") and b"\r\n\r\n" not in raw:
        raw += b"\r\n"
    return raw


def seeds():
    """Without the marks at which h2o's harness waits."""
    with open(os.path.join(FOLDER, "http1-fuzz-seeds.b64.txt"), encoding="ascii") as f:
        return [base64.b64decode(line).replace(b"\n--MARK--\n", b"")
                for line in f if line.strip()]


# ---- a talk

class Answer:
    """said_close: the server will take no more on this connection."""

    def __init__(self, head, body):
        self.head, self.body = head, body
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ")[1])
        self.fields = [tuple(line.split(": ", 1)) for line in lines if line]
        self.said_close = self.get("connection").lower() == "close"

    def get(self, name):
        return next((v for k, v in self.fields if k.lower() == name), "")

    def code(self):
        """Of an error of ours."""
        found = re.match(rb'{"error":{"code":"([\w.]+)"', self.body)
        return found.group(1).decode() if found else ""


class Malformed(Exception):
    """What the server sent is no HTTP."""


class Talk:
    """One connection. Nothing here raises because of what the server does,
    but for what is no HTTP."""

    def __init__(self, address=None, deadline=None, sock=None):
        self.deadline = deadline or DEADLINE
        self.sock = sock or socket.create_connection(address, self.deadline)
        self.have, self.ended = b"", False
        self.interim = 0 # answers of 1xx

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data):
        """The server may have had enough before it has all."""
        try:
            self.sock.sendall(data)
        except OSError:
            pass

    def end(self):
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def more(self):
        """False: it has ended, or nothing came in time."""
        if self.ended or not readable(self.sock, self.deadline):
            return False
        try:
            got = self.sock.recv(65536)
        except OSError:
            got = b""
        self.ended = not got
        self.have += got
        return bool(got)

    def take(self, n):
        while len(self.have) < n:
            if not self.more():
                raise Malformed(f"cut short: {self.have[:200]!r}")
        out, self.have = self.have[:n], self.have[n:]
        return out

    def until(self, mark):
        while mark not in self.have:
            if not self.more():
                raise Malformed(f"cut short: {self.have[:200]!r}")
        return self.take(self.have.index(mark) + len(mark))

    def body(self, answer, head):
        if head or answer.status in (204, 304):
            return b""
        if answer.get("transfer-encoding") == "chunked":
            return self.chunks()
        if answer.get("content-length"):
            return self.take(int(answer.get("content-length")))
        while self.more():
            pass
        return self.take(len(self.have))

    def chunks(self):
        out = b""
        while size := int(self.until(b"\r\n"), 16):
            out += self.take(size)
            self.take(2)
        while self.until(b"\r\n") != b"\r\n":
            pass
        return out

    def answer(self, head=False):
        """The next answer; None: it has closed, or is silent (self.ended says
        which). head: it is one to HEAD."""
        while not self.have:
            if not self.more():
                return None
        text = self.until(b"\r\n\r\n")[:-4]
        if not re.match(rb"HTTP/1\.1 \d\d\d [^\r\n]*(\r\n|$)", text):
            raise Malformed(repr(text[:200]))
        answer = Answer(text, b"")
        if answer.status < 200:
            self.interim += 1
            return self.answer(head)
        answer.body = self.body(answer, head)
        return answer

    def rest(self):
        """All answers until the server closes; self.ended: it has."""
        out = []
        while answer := self.answer():
            out.append(answer)
        return out
