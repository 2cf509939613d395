#!/usr/bin/env python3
"""What our gateway and the HTTP server of node make of the same bytes.

Every case of http_cases is sent to both, each on a connection of its own, whose
write side is then closed: so each server says all it has to say. Once as it is,
and once with one more request behind it: where that is found to begin is how the
server has framed what came before. Where the two disagree, a row of CLASSES must
say why: by what we answered and by what is in the bytes, with the section that
decides and who is right. A disagreement that no row explains is a fault.

    http_differential.py        the report (`make differential`)"""
import collections
import contextlib
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import http_cases
from http_cases import Answer, Talk
from world import DEADLINE, Lines, ROOT, World

HOST = "localhost"
PARALLEL = 32
NEXT = b"GET /next HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class Case:
    def __init__(self, name, data, followed):
        self.name, self.bytes = name, data
        self.sent = data + NEXT * followed


def all_bytes():
    """(name, bytes) of all that is sent."""
    for case in http_cases.probe_cases():
        yield "probe " + case["id"], http_cases.probe_bytes(case, HOST)
    hidden = b"0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for name, line in http_cases.gadgets():
        yield "disguise " + name, (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
                                   b"%d\r\n%s\r\n\r\n%s" % (len(hidden), line, hidden))
    for fixture in http_cases.fixtures():
        yield "llhttp " + fixture["name"], http_cases.fixture_bytes(fixture, HOST)
    for i, seed in enumerate(http_cases.seeds()):
        yield f"h2o {i}", seed


def cases():
    return [Case(name, data, followed) for name, data in all_bytes()
            for followed in (False, True)]


# ---- what a server makes of it

class Outcome:
    """answers: in order. ok: how many requests it took for such, whatever it
    then said about them; refused: whether it ended in saying that something is
    none. ended: it closed."""

    def __init__(self, answers, ended, is_refusal):
        self.answers, self.ended = answers, ended
        self.refused = bool(answers) and is_refusal(answers[-1])
        self.ok = len(answers) - self.refused
        self.code = answers[-1].code() if answers else ""
        self.said_close = bool(answers) and answers[-1].said_close

    def __str__(self):
        words = [a.code() or str(a.status) for a in self.answers]
        return " ".join(words or ["nothing"]) + ("" if self.ended else " open")

    def first_body(self):
        return self.answers[0].body if self.answers else None


def refusal_here(answer):
    """An answer to HEAD has no code."""
    return answer.code().startswith("request.") or \
        (not answer.body and answer.status in (400, 408, 414, 431, 501, 505))


def refusal_of_node(answer):
    return answer.status != 200


def answers_in(data):
    """All answers in what a server sent until it closed. One without the body
    that its head speaks of is an answer to HEAD: another one follows at once."""
    out = []
    while match := re.match(rb"HTTP/1\.1 \d\d\d [^\n]*\r\n(?:[^\r\n]+\r\n)*\r\n", data):
        answer, data = Answer(match.group()[:-4], b""), data[match.end():]
        size = int(answer.get("content-length") or 0)
        if answer.get("transfer-encoding"): # an empty one, by node's own hand
            size = len(b"0\r\n\r\n")
        if data and not data.startswith(b"HTTP/1.1 "):
            answer.body, data = data[:size], data[size:]
        if answer.status >= 200:
            out.append(answer)
    if data:
        raise http_cases.Malformed(repr(data[:100]))
    return out


def ask(address, case, is_refusal):
    with Talk(address) as talk:
        talk.send(case.sent)
        talk.end()
        while talk.more():
            pass
        return Outcome(answers_in(talk.have), talk.ended, is_refusal)


# ---- where they disagree

CODING = rb"(?i)(^|\n)[\w!#$%&'*+.^`|~-]*transfer[_-]encoding"
REG_NAME = rb"(?:[\w.~!$&'()*+,;=-]|%[0-9a-f]{2})+"
UPGRADE = rb"(?i)\nupgrade *:"
TARGET = rb"^(?:\r\n)?\S+ ([^\r\n]*) HTTP/1\.[01]\r\n"


def target_of(data):
    found = re.match(TARGET, data)
    return found.group(1) if found else b""


def refused(code, pattern):
    """We refuse what node takes, with this code; pattern is in the bytes."""
    def test(case, here, node):
        return here.refused and here.ok < node.ok and here.code in (code, "") and \
            re.search(pattern, case.sent)
    return test


def target_refused(code, pattern):
    def test(case, here, node):
        return here.refused and here.ok < node.ok and here.code == code and \
            re.search(pattern, target_of(case.bytes))
    return test


def has_body(data):
    return re.search(rb"(?i)\n(content-length:[ \t]*0*[1-9]|transfer-encoding)", data)


def only_the_fault(case, here, node):
    """Requests, and then something that is none: node drops its answers."""
    return here.refused and node.refused and here.ok > 0 and node.ok < here.ok


def behind_close(case, here, node):
    """Something stands behind a request that closes."""
    return here.ok and here.said_close and not here.refused and node.refused and \
        (re.search(rb"(?i)\nconnection:[^\n]*close", case.bytes) or b" HTTP/1.0" in case.bytes)


def body_unread(case, here, node):
    """We refuse a request for what it asks, do not read its body, and close."""
    return not here.refused and here.said_close and node.ok + node.refused >= here.ok and \
        has_body(case.bytes) and \
        here.answers[-1].status in (204, 400, 404, 405, 413, 415, 421, 426)


def upgraded(case, here, node):
    """node answers, and reads nothing behind a request with Upgrade."""
    return re.search(UPGRADE, case.bytes) and not node.refused and \
        len(here.answers) > len(node.answers)


def connect(case, here, node):
    return here.code == "request.method" and case.bytes.startswith(b"CONNECT ") and \
        not node.answers


def close_with_space(case, here, node):
    return re.search(rb"(?i)\nconnection: close[ \t]+\r\n", case.bytes) and \
        here.ok == 1 and here.said_close and (node.ok > 1 or not node.said_close)


def stays_open(case, here, node):
    """An answer of node's in the midst: 417."""
    return here.code == "request.expect" and node.answers[0].status == 417


ONLY_THE_FAULT = "behind good requests node sends only the fault"
CLASSES = [ # name, who is right, where it stands, test
    ("a second Host", "here", "RFC 9112 3.2",
     refused("request.host", rb"(?i)\nhost:((?!\r\n\r\n)[\0-\xff])*\nhost:")),
    ("target and Host name two hosts", "both", "RFC 9112 3.2.2",
     refused("request.host", rb"^[A-Z]+ http://(?s:.*)\n[Hh]ost: " + HOST.encode())),
    ("a Host that is empty, or no host by its grammar", "here", "RFC 9112 3.2, RFC 3986 3.2.2",
     refused("request.host", rb"(?i)\nhost:(?![ \t]*" + REG_NAME + rb"(:\d*)?[ \t]*\r)")),
    ("a Host that the grammar allows and no name has: + ( = and their like", "both",
     "RFC 3986 3.2.2", refused("request.host", rb"(?i)\nhost:[^\r\n]*[!$&'()*+,;=]")),
    ("a method that node knows and we do not", "both", "RFC 9110 9.1, 15.6.2",
     refused("request.method", rb"(?m)^(TRACE|PATCH|PROPFIND|[A-Z-]+) ")),
    ("CONNECT: node closes without a word", "here", "RFC 9110 9.3.6, 15.6.2", connect),
    ("a target in no form that there is", "here", "RFC 9112 3.2, RFC 9110 4.2.4",
     target_refused("request.target", rb"[^!$%&'()*+,./:;=?@\w\[\]{}|^~-]|^\*$|^[^/]")),
    ("a percent sign without two digits, or hiding a control byte", "here", "RFC 3986 2.1, 7.3",
     target_refused("request.escape", rb"%(?![0-9A-Fa-f]{2})|%[01][0-9A-Fa-f]|%7[Ff]")),
    ("no version", "here", "RFC 9112 2.3, 3", refused("request.line", rb"^\S+ \S+\r\n")),
    ("more than one space, or empty lines in front", "here", "RFC 9112 2.2, 3",
     refused("request.line", rb"^(\r\n){2}|^\S+  |^[^\r\n]*  HTTP|^[^\r\n]* (ICE|RTSP)/")),
    ("Transfer-Encoding empty, or spelt with an underscore; a length likewise", "here",
     "RFC 9112 6.1, 6.3, 11.2",
     refused("request.framing", CODING + rb"|(?i:content_length)")),
    ("a value that holds a framing field, as of two lines made one", "both",
     "RFC 9110 5.5, RFC 9112 11.2",
     refused("request.framing", rb"(?i)\n[\w-]+:[^\n]*(transfer-encoding|content-length):")),
    ("a length with zeroes in front", "here", "RFC 9112 11.2",
     refused("request.length", rb"(?i)content-length:[ \t]*0\d")),
    ("a trailer that belongs in the head", "here", "RFC 9110 6.5.1",
     refused("request.trailer", rb"\r\n0\r\n")),
    ("a field twice that may come once", "here", "RFC 9110 5.3",
     refused("request.twice", rb"(?i)\n([\w-]+):(?s:.*)\n\1:")),
    (ONLY_THE_FAULT, "here", "RFC 9112 9.3.2", only_the_fault),
    ("bytes behind a request that closes", "here", "RFC 9112 9.6", behind_close),
    ("close with a space or tab behind it", "here", "RFC 9110 5.5", close_with_space),
    ("the body of what we do not take stays unread, and we close", "both",
     "RFC 9112 9.3, 9.6", body_unread),
    ("node reads nothing behind a request with Upgrade", "here", "RFC 9110 7.8", upgraded),
    ("an expectation that cannot be met: node goes on, we close", "both", "RFC 9110 10.1.1",
     stays_open),
]
UNEXPLAINED = "unexplained"


def is_echo(case):
    """Both give back the body that they have read."""
    return re.match(rb"(\r\n)?POST / HTTP", case.bytes)


def agree(case, here, node):
    """They took as many requests, ended alike, read the same first body."""
    return here.ok == node.ok and here.refused == node.refused and \
        here.said_close == node.said_close and here.ended and node.ended and \
        (here.ok == 0 or not is_echo(case) or here.first_body() == node.first_body())


class Result:
    def __init__(self, case, here, node):
        self.case, self.here, self.node, self.name = case, here, node, "agree"
        if not agree(case, here, node):
            self.name = next((name for name, _, _, test in CLASSES if test(case, here, node)),
                             UNEXPLAINED)

    def __str__(self):
        return f"{self.case.name}: here {self.here}, node {self.node}: {self.case.sent[:300]!r}"


# ---- the run

@contextlib.contextmanager
def node_server():
    script = os.path.join(ROOT, "tests", "node", "http_peer.js")
    peer = subprocess.Popen(["node", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        out = Lines(peer.stdout, lambda n: os.read(peer.stdout.fileno(), n))
        yield "127.0.0.1", int(out.line())
    finally:
        peer.stdin.close()
        peer.wait(DEADLINE)
        peer.stdout.close()


def is_borne_out(peer, result):
    """The requests that node gave no answer to, without the fault behind them:
    does it take them? Those with a body are believed."""
    heads = result.case.sent.split(b"\r\n\r\n")[:result.here.ok]
    if result.name != ONLY_THE_FAULT or has_body(result.case.bytes):
        return True
    alone = b"".join(head + b"\r\n\r\n" for head in heads)
    met = ask(peer, Case(result.case.name, alone, False), refusal_of_node)
    return met.ok == result.here.ok and not met.refused


def run(address, wanted):
    with node_server() as peer, ThreadPoolExecutor(PARALLEL) as pool:
        here = pool.map(lambda c: ask(address, c, refusal_here), wanted)
        node = pool.map(lambda c: ask(peer, c, refusal_of_node), wanted)
        results = [Result(*row) for row in zip(wanted, here, node)]
        for result, good in zip(results, pool.map(lambda r: is_borne_out(peer, r), results)):
            result.name = result.name if good else UNEXPLAINED
        return results


def report(results):
    """Lines: how often each class, who is right, and one example."""
    count = collections.Counter(r.name for r in results)
    out = [f"{len(results)} talks, {count['agree']} agree"]
    for name, right, where, _ in CLASSES:
        if count[name]:
            example = next(r.case.name for r in results if r.name == name)
            out.append(f"{count[name]:5}  {name} | right: {right} | {where} | {example}")
    out += [f"{UNEXPLAINED}: {r}" for r in results if r.name == UNEXPLAINED]
    return out


def main():
    with World() as w:
        results = run(w.address("http"), cases())
    print(*report(results), sep="\n")
    return any(r.name == UNEXPLAINED for r in results)


if __name__ == "__main__":
    sys.exit(main())
