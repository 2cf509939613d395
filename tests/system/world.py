"""A whole Touchline of its own for one test: real processes, real sockets.

Every wait is for an event, with a deadline; nothing here sleeps.
"""
import contextlib
import http.client
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.join(ROOT, os.environ.get("TOUCHLINE_BIN", "build/bin"))
DATA = os.environ.get("TOUCHLINE_DATA", os.path.join(ROOT, "..", "shared", "data"))
DEADLINE = float(os.environ.get("TOUCHLINE_DEADLINE", "20"))
EDGES = ("http", "tcp", "ws")
# WebSockets go to the HTTP gateway's port, which passes them on.
ONE_PORT = bool(os.environ.get("TOUCHLINE_ONE_PORT"))
# So many repeaters stand between the router and the gateways.
REPEATERS = int(os.environ.get("TOUCHLINE_REPEATERS", "0"))


class Failed(AssertionError):
    pass


def heed_interrupts():
    """For preexec_fn. A shell cannot trap, and Python does not raise, what was ignored
    when it began, as interrupts are for what a script runs in the background, and
    hang-ups behind nohup."""
    for signo in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signo, signal.SIG_DFL)


def check(condition, text):
    if not condition:
        raise Failed(text)


def full_size():
    """`make hostile` wants the numbers of its table, `make test` an answer
    soon."""
    return os.environ.get("TOUCHLINE_HOSTILE") == "full"


def figure(text):
    """What was measured, for whoever reads the output; no verdict hangs on
    it."""
    print(f"     figure: {text}", flush=True)


def short(value):
    text = repr(value)
    return text if len(text) < 600 else text[:300] + " ... " + text[-300:]


def equal(got, wanted, what=""):
    if got != wanted:
        raise Failed(f"{what or 'value'}: got {short(got)}, wanted {short(wanted)}")


def eventually(question, what, deadline=None):
    """Asks again and again until the answer is true; each question is itself
    a request that takes its time. Returns the answer."""
    end = time.monotonic() + (deadline or DEADLINE)
    while True:
        answer = question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Failed(f"never came true: {what}")
        select.select([], [], [], 0.01)


def readable(fd, seconds):
    """Has something come, or does it until then? Any number of files."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(max(0, seconds) * 1000))


def unshare(what):
    """Words in front of a command that give it a space of its own, `--net` or
    `--mount`, in which it is root; None: this machine lets nobody."""
    for words in (["unshare", what], ["unshare", "--map-root-user", what]):
        if subprocess.call([*words, "true"], stderr=subprocess.DEVNULL) == 0:
            return words
    return None


class Lines:
    """Lines of a socket or pipe, read with a deadline."""

    def __init__(self, fd, recv):
        self.fd, self.recv, self.rest = fd, recv, b""
        self.ended = False

    def pending(self):
        """Bytes that recv() has ready though the file shows none."""
        return 0

    def bytes(self, deadline=None):
        """What has come, or comes until the deadline; b"" at the end."""
        end = time.monotonic() + (deadline or DEADLINE)
        if self.rest:
            out, self.rest = self.rest, b""
            return out
        left = max(0, end - time.monotonic())
        if not self.pending() and not readable(self.fd, left):
            raise Failed("nothing came in time")
        data = self.recv(65536)
        self.ended = not data
        return data

    def until(self, mark, deadline=None):
        """Everything up to and with mark."""
        end = time.monotonic() + (deadline or DEADLINE)
        have = b""
        while True:
            at = have.find(mark)
            if at >= 0:
                at += len(mark)
                self.rest = have[at:] + self.rest
                return have[:at]
            left = end - time.monotonic()
            if left <= 0:
                raise Failed(f"no {mark!r} in time; got {have[-500:]!r}")
            try:
                got = self.bytes(left)
            except Failed:
                raise Failed(f"no {mark!r} in time; got {have[-500:]!r}")
            if not got:
                raise Failed(f"ended without {mark!r}; got {have[-500:]!r}")
            have += got

    def line(self, deadline=None):
        return self.until(b"\n", deadline)

    def all(self, deadline=None):
        """Everything until the other side ends."""
        have = b""
        while True:
            got = self.bytes(deadline)
            if not got:
                return have
            have += got

    def quiet(self, seconds):
        """Nothing may come for so long."""
        if self.rest:
            raise Failed(f"not quiet: {self.rest!r}")
        if self.pending() or readable(self.fd, seconds):
            raise Failed(f"not quiet: {self.recv(65536)!r}")


class Tcp(Lines):
    """A TCP client; room: bytes that its kernel keeps for it; wrap: makes its
    socket one of TLS."""

    def __init__(self, address, data=b"", room=0, source="", wrap=None):
        self.sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        self.sock.settimeout(DEADLINE)
        if room:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        if source:
            self.sock.bind((source, 0))
        self.sock.connect(address)
        if wrap:
            self.sock = wrap(self.sock)
            self.pending = self.sock.pending
        super().__init__(self.sock, self._recv)
        if data:
            self.send(data)

    def _recv(self, n):
        try:
            return self.sock.recv(n)
        except ConnectionResetError:
            return b""

    def send(self, data):
        self.sock.sendall(data)

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def code(self):
        """The code of an error answer."""
        return self.json()["error"]["code"]


class Http(Tcp):
    """One HTTP connection, on which anything at all may be sent."""

    def ask(self, method, target, body=None, version="1.1", **headers):
        names = {k.replace("_", "-"): v for k, v in headers.items()}
        names.setdefault("Host", "localhost")
        head = f"{method} {target} HTTP/{version}\r\n"
        if body is not None:
            body = body.encode() if isinstance(body, str) else body
            names.setdefault("Content-Length", len(body))
        for k, v in names.items():
            if v is not None:
                head += f"{k}: {v}\r\n"
        self.send(head.encode() + b"\r\n" + (body or b""))
        return self

    def answer(self, head=False, deadline=None):
        """The next answer; head: it is one to HEAD. 100 is passed over."""
        lines = self.until(b"\r\n\r\n", deadline).decode("latin-1").split("\r\n")
        status = int(lines[0].split()[1])
        if status == 100:
            return self.answer(head, deadline)
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        body = b""
        if not head and status not in (204, 304):
            length = next((int(v) for k, v in headers.items()  # a proxy may change case
                           if k.lower() == "content-length"), 0)
            while len(body) < length:
                got = self.bytes(deadline)
                check(got, f"cut in a body: {body!r}")
                body += got
            self.rest = body[length:] + self.rest
            body = body[:length]
        return Answer(status, headers, body)

    def over(self, deadline=None):
        """The server ends the connection, with nothing behind the answers."""
        equal(self.all(deadline), b"", "behind the last answer")


class Stream(Lines):
    """An endless answer: headers read, chunks taken apart."""

    def __init__(self, address, target, headers=None, **tcp):
        self.tcp = Tcp(address, **tcp)
        head = f"GET {target} HTTP/1.1\r\n"
        for k, v in {"Host": "localhost", **(headers or {})}.items():
            head += f"{k}: {v}\r\n"
        self.tcp.send(head.encode() + b"\r\n")
        self.head = self.tcp.until(b"\r\n\r\n").decode("latin-1")
        self.status = int(self.head.split()[1])
        self.text = b""
        self.chunks = []
        self.over = False

    def close(self):
        self.tcp.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def chunk(self, deadline=None):
        """The next chunk; b"" when the answer has ended properly."""
        size = int(self.tcp.until(b"\r\n", deadline).split(b";")[0], 16)
        body = b""
        while len(body) < size:
            got = self.tcp.bytes(deadline)
            body += got
            if not got:
                raise Failed("cut in a chunk")
        if len(body) > size:
            self.tcp.rest = body[size:] + self.tcp.rest
            body = body[:size]
        if size == 0:
            self.over = True
            return b""
        equal(self.tcp.until(b"\r\n", deadline), b"\r\n", "end of chunk")
        return body

    def line(self, deadline=None):
        while b"\n" not in self.text:
            got = self.chunk(deadline)
            if not got:
                raise Failed(f"the stream ended; rest {self.text!r}")
            self.text += got
        line, self.text = self.text.split(b"\n", 1)
        return line

    def item(self, deadline=None):
        """The next NDJSON line that is not a ping."""
        while True:
            line = self.line(deadline)
            if line:
                return json.loads(line)

    def message(self, deadline=None):
        """The next message, notices skipped."""
        while True:
            item = self.item(deadline)
            if "notice" not in item:
                return item

    def event(self, deadline=None):
        """The next SSE event as a dict; comments and retry skipped."""
        event = {}
        while True:
            line = self.line(deadline).decode()
            if not line:
                if "data" in event:
                    return event
                event = {}
            elif not line.startswith(":"):
                key, _, value = line.partition(":")
                value = value[1:] if value.startswith(" ") else value
                if key == "data" and "data" in event:
                    value = event["data"] + "\n" + value
                event[key] = value


class Ws(Tcp):
    """A WebSocket client: text frames as JSON, pings answered."""

    OPCODES = {"text": 1, "bytes": 2, "close": 8, "ping": 9, "pong": 10}

    def __init__(self, address, target="/v1/ws", room=0, wait=True, source="",
                 wrap=None, **headers):
        """wait: for the answer to the handshake; else opened() does."""
        super().__init__(address, room=room, source=source, wrap=wrap)
        headers.setdefault("Host", "localhost")
        head = (f"GET {target} HTTP/1.1\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
        for k, v in headers.items():
            head += f"{k.replace('_', '-')}: {v}\r\n"
        self.send(head.encode() + b"\r\n")
        if wait:
            self.opened()

    def opened(self):
        self.head = self.until(b"\r\n\r\n").decode("latin-1")
        self.status = int(self.head.split()[1])
        return self

    def frame(self, opcode, data, fin=True, mask=True):
        """Sends one frame; a mask of zeroes is one, too."""
        data = data.encode() if isinstance(data, str) else data
        head = bytes([self.OPCODES.get(opcode, 0) | 0x80 * fin])
        if len(data) < 126:
            head += bytes([len(data) | 0x80 * mask])
        elif len(data) < 65536:
            head += bytes([126 | 0x80 * mask]) + len(data).to_bytes(2, "big")
        else:
            head += bytes([127 | 0x80 * mask]) + len(data).to_bytes(8, "big")
        self.send(head + b"\0\0\0\0" * mask + data)

    def say(self, **command):
        self.frame("text", json.dumps(command))
        return self

    def exactly(self, n, deadline=None):
        have = b""
        while len(have) < n:
            got = self.bytes(deadline)
            check(got, f"cut in a frame: {have!r}")
            have += got
        self.rest = have[n:] + self.rest
        return have[:n]

    def any_frame(self, deadline=None):
        first, second = self.exactly(2, deadline)
        size = second & 0x7f
        if size > 125:
            size = int.from_bytes(self.exactly(2 if size == 126 else 8, deadline), "big")
        name = next(k for k, v in self.OPCODES.items() if v == first & 0xf)
        return name, self.exactly(size, deadline)

    def read(self, deadline=None):
        """The next frame that is no ping: ("text", bytes) or ("close", code)."""
        while True:
            name, data = self.any_frame(deadline)
            if name == "ping":
                self.frame("pong", data)
            elif name == "close":
                return name, int.from_bytes(data[:2], "big")
            else:
                return name, data

    def item(self, deadline=None):
        name, data = self.read(deadline)
        check(name == "text", f"a frame of {name}: {data!r}")
        return json.loads(data)

    def message(self, deadline=None):
        """The next message; notices and replies skipped."""
        while True:
            item = self.item(deadline)
            if "seq" in item and "data" in item:
                return item

    def reply(self, ref, deadline=None):
        """The reply with this ref; all else skipped."""
        while True:
            item = self.item(deadline)
            if item.get("ref") == ref:
                return item


class World:
    """`touchline` in a directory of its own, on free ports."""

    def __init__(self, sets=(), config=None, start=True, under=None,
                 before=None, env=None):
        """before: called in the child before it becomes touchline."""
        self.base = under or tempfile.mkdtemp(prefix="tl-")
        self.dir = os.path.join(self.base, "var")
        self.sets = [f"{kind}.listen=127.0.0.1:0" for kind in EDGES] + list(sets)
        if ONE_PORT:
            self.sets.insert(0, "http.websocket=on")
        if REPEATERS:
            self.sets.insert(0, f"repeater.instances={REPEATERS}")
        self.config = None
        self.before = before
        self.env = {**os.environ, **env} if env else None
        if config:
            self.config = os.path.join(self.base, "touchline.conf")
            with open(self.config, "w") as f:
                f.write(config)
        self.proc = None
        self.urls = {}
        self.log = os.path.join(self.base, "log")
        if start:
            try:
                self.start()
            except BaseException:  # nobody else knows of it yet
                self.close(keep=bool(under))
                raise

    def args(self, binary, *more):
        args = [os.path.join(BIN, binary), "--dir", self.dir]
        if self.config:
            args += ["--config", self.config]
        for s in self.sets:
            args += ["--set", s]
        return args + list(more)

    def start(self, kinds=("router", *EDGES)):
        err = open(self.log, "ab")
        self.proc = subprocess.Popen(self.args("touchline"), stdout=subprocess.PIPE,
                                     stderr=err, stdin=subprocess.DEVNULL,
                                     preexec_fn=self.before, env=self.env)
        err.close()
        out = Lines(self.proc.stdout, lambda n: os.read(self.proc.stdout.fileno(), n))
        self.urls = {}
        while any(k not in self.urls for k in kinds):
            try:
                line = out.line().decode().split()
            except Failed as e:
                raise Failed(f"touchline did not become ready ({self.urls}): {e}\n"
                             + self.log_tail())
            if line[:1] == ["ready"]:
                self.urls[line[1]] = line[2]
        return self

    def log_tail(self, n=4000):
        with open(self.log, "rb") as f:
            return f.read()[-n:].decode(errors="replace")

    def address(self, kind):
        if ONE_PORT and kind == "ws":
            kind = "http"
        host, port = re.match(r"\w+://(.*):(\d+)", self.urls[kind]).groups()
        return host.strip("[]"), int(port)

    # ---- processes
    def pids(self, kind):
        """Of the living processes of a kind, by the supervisor's children."""
        out = []
        for pid in os.listdir("/proc"):
            if not pid.isdigit():
                continue
            with contextlib.suppress(OSError):
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    args = f.read().split(b"\0")
                if os.path.basename(args[0]) == f"touchline-{kind}".encode() \
                        and self.dir.encode() in args:
                    out.append(int(pid))
        return out

    def kill(self, kind, signo=signal.SIGKILL):
        """Signals all of a kind; waits until those that die are gone."""
        pids = self.pids(kind)
        check(pids, f"no touchline-{kind} runs")
        for pid in pids:
            fd = os.pidfd_open(pid)
            os.kill(pid, signo)
            if signo == signal.SIGKILL:
                check(readable(fd, DEADLINE), f"{pid} does not die")
            os.close(fd)
        return pids

    def stop(self, signo=signal.SIGTERM):
        """Ends it in order; returns the exit code."""
        if not self.proc:
            return None
        self.proc.send_signal(signo)
        try:
            code = self.proc.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            raise Failed("touchline did not stop\n" + self.log_tail())
        finally:
            self.proc.stdout.close()
            self.proc = None
        return code

    def close(self, keep=False):
        with contextlib.suppress(Failed):
            if self.proc:
                self.stop()
        for kind in ("http", "tcp", "ws", "repeater", "router"):
            for pid in self.pids(kind):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        if not keep:
            shutil.rmtree(self.base, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind and os.environ.get("TOUCHLINE_LOG"):
            print(self.log_tail(20000))
        self.close()

    # ---- clients
    def http(self, method, target, body=None, headers=None):
        c = http.client.HTTPConnection(*self.address("http"), timeout=DEADLINE)
        c.request(method, target, body=body, headers=headers or {})
        r = c.getresponse()
        out = Answer(r.status, dict(r.getheaders()), r.read())
        c.close()
        return out

    def publish(self, channel, text, **headers):
        names = {k.replace("_", "-"): v for k, v in headers.items()}
        names.setdefault("Content-Type", "text/plain")
        return self.http("POST", "/v1/publish/" + channel, text, names)

    def json(self, target):
        a = self.http("GET", target)
        check(a.status == 200, f"GET {target}: {a.status} {a.body!r}")
        return a.json()

    def client(self):
        return Http(self.address("http"))

    def raw(self, data):
        """One answer to these bytes on a connection of their own, which the
        server then closes."""
        with self.client() as c:
            c.send(data)
            answer = c.answer()
            c.over()
            return answer

    def metric(self, name, **labels):
        """Of all processes together."""
        wanted = [f'{k}="{v}"' for k, v in labels.items()]
        total = 0
        for line in self.http("GET", "/metrics").body.decode().split("\n"):
            if line.startswith(f"touchline_{name}{{") and all(w in line for w in wanted):
                value = line.rsplit(" ", 1)[1]
                total += float(value) if "." in value else int(value)
        return total

    def limit_reached(self, name, times=1):
        """The counter of this limit gets there: gateways report each second."""
        eventually(lambda: self.metric("limit_reached_total", limit=name) >= times,
                   f"limit_reached_total of {name}")

    def stream(self, target, **headers):
        return Stream(self.address("http"), target,
                      {k.replace("_", "-"): v for k, v in headers.items()})

    def ws(self, target="/v1/ws", welcome=True, **more):
        ws = Ws(self.address("ws"), target, **more)
        equal(ws.status, 101, ws.head)
        if welcome and target.startswith("/v1/ws"):
            equal(ws.item()["notice"], "welcome")
        return ws

    def telnet(self, greeting=True):
        t = Tcp(self.address("tcp"))
        if greeting:
            t.until(b"<your-name>\r\n")
        return t

    def live(self):
        """The names of the gateways whose link is whole: what is not kept
        passes by the others. None while the router is away."""
        p = subprocess.run([os.path.join(BIN, "router-ctl"), "--dir", self.dir, "--json",
                            "gateways"], capture_output=True, timeout=DEADLINE)
        rows = json.loads(p.stdout)["gateways"] if p.returncode == 0 else []
        return {row["gateway"] for row in rows
                if row["state"] == "live" and row["edge"] != "repeater"}

    def ctl(self, *args, stdin=None, code=0):
        """router-ctl; its standard output. The exit code is checked."""
        p = subprocess.run([os.path.join(BIN, "router-ctl"), "--dir", self.dir, *args],
                           input=stdin, capture_output=True, timeout=DEADLINE)
        check(p.returncode == code, f"router-ctl {args}: exit {p.returncode}, "
              f"wanted {code}: {p.stdout!r} {p.stderr!r}")
        return p.stdout.decode()
