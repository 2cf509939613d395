"""Everything can be watched: what was refused, cut, closed and mended is counted
under its reason, each once, and a log is lines of events."""
import collections
import contextlib
import json
import os
import re
import signal

from world import (ROOT, Failed, Http, Tcp, World, Ws, check, equal, eventually)

POST = "POST"
JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain"}
GOAL = '{"kind":"goal","data":{"team":"aaa"}}'

# method, target, body, headers: what is wrong with them is in the code.
REQUESTS = [
    ("GET", "/v1/stream", None, {}),
    ("GET", "/v1/stream?channel=a%20b", None, {}),
    ("GET", "/v1/poll?channel=a**", None, {}),
    ("GET", "/v1/poll?channel=a&since=x", None, {}),
    ("GET", "/v1/poll?channel=a&wait=x", None, {}),
    ("GET", "/v1/poll?channel=a&name=%20", None, {}),
    ("GET", "/test/a?every=x", None, {}),
    ("GET", "/v1/history/a?limit=x", None, {}),
    ("GET", "/v1/history/a?since=0&before=0", None, {}),
    ("GET", "/v1/channels?match=a**", None, {}),
    ("GET", "/v1/poll?" + "&".join(f"channel=a{i}" for i in range(21)), None, {}),
    ("GET", "/v1/poll?" + "&".join(f"channel=a{i}/*" for i in range(17)), None, {}),
    ("GET", "/v1/nothing", None, {}),
    ("GET", "/v1/ws", None, {}),
    ("DELETE", "/v1/publish/a", None, {}),
    ("BREW", "/", None, {}),
    ("GET", "/healthz", None, {"Host": "example.org"}),
    ("GET", "/healthz", "body", {}),
    (POST, "/v1/publish/a", "{", JSON),
    (POST, "/v1/publish/a", b"\xff", TEXT),
    (POST, "/v1/publish/a", b"x" * 70000, TEXT),
    (POST, "/v1/publish/a", "x", {**TEXT, "Content-Encoding": "gzip"}),
    (POST, "/v1/publish/a", "x", {**TEXT, "Touchline-From": "a b"}),
    (POST, "/v1/publish/a", "x", {**TEXT, "Touchline-Key": "k" * 300}),
    (POST, "/v1/publish/a", "x", {**TEXT, "Idempotency-Key": "a b"}),
    (POST, "/v1/publish/a", "x", {**TEXT, "Authorization": "Bearer none"}),
    (POST, "/v1/publish/a", "x", {**TEXT, "Origin": "http://elsewhere.example"}),
    (POST, "/v1/publish/secret/a", "x", TEXT),
    (POST, "/v1/publish/a", "first", {**TEXT, "Idempotency-Key": "k"}),
    (POST, "/v1/publish/a", "other", {**TEXT, "Idempotency-Key": "k"}),
    (POST, "/v1/publish", "{}", JSON),
    (POST, "/v1/publish", "[]", TEXT),
    (POST, "/v1/publish", json.dumps([{"channel": "b", "data": 1}] * 300), JSON),
    (POST, "/v1/publish", b"[" + b" " * (1 << 20) + b"]", JSON),
    (POST, "/v1/publish", '[{"channel":"a b","data":1},{"channel":"b"},{"channel":"b","data":2},'
     '{"channel":"secret/b","data":1},{"channel":"match/none","data":{"kind":"goal"}}]', JSON),
    ("PUT", "/v1/teams/A%20A", "{}", JSON),
    ("PUT", "/v1/teams/aaa", '{"name":1}', JSON),
    ("PUT", "/v1/teams/aaa", "x", JSON),
    ("PUT", "/v1/teams/aaa", "[]", JSON),
    ("GET", "/v1/teams/none", None, {}),
    (POST, "/v1/matches", '{"home":"aaa","visit":"none","start_time":"2011-09-13"}', JSON),
    (POST, "/v1/matches", '{"home":"aaa"}', JSON),
    (POST, "/v1/matches", "x", TEXT),
    (POST, "/v1/matches", '{"home":"aaa","visit":"bbb","start_time":"2011-09-13"}', JSON),
    (POST, "/v1/matches", '{"home":"aaa","visit":"bbb","start_time":"2011-09-13"}', JSON),
    (POST, "/v1/matches", '{"home":"bbb","visit":"aaa","start_time":"2011-09-14"}', JSON),
    ("DELETE", "/v1/matches/bbb-aaa-2011-09-14", None, {}),
    ("DELETE", "/v1/matches/bbb-aaa-2011-09-14", None, {}),
    (POST, "/v1/publish/match/other", '{"kind":"status","data":{"home":"aaa","visit":"bbb",'
     '"start_time":"2011-09-14"}}', JSON),
    ("GET", "/v1/matches?date=x", None, {}),
    ("GET", "/v1/matches/none", None, {}),
    ("GET", "/1/match/none", None, {}),
    (POST, "/v1/matches/aaa-bbb-2011-09-13/events", GOAL, JSON),
    (POST, "/v1/matches/aaa-bbb-2011-09-13/events", '{"kind":"dance"}', JSON),
    (POST, "/v1/matches/aaa-bbb-2011-09-13/events", '{"kind":"retract","data":{"offset":1}}', JSON),
    (POST, "/v1/matches/aaa-bbb-2011-09-13/events", '{"kind":"start"}', JSON),
    ("DELETE", "/v1/matches/aaa-bbb-2011-09-13", None, {}),
]

HEAD = b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
# Each on a connection of its own.
SPOILT = [
    b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/3.0\r\nHost: a\r\n\r\n",
    b"GET /%zz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET a HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"G@T / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET / HTTP/1.1\nHost: localhost\n\n",
    b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: " + b"a" * 17000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 200 + b"\r\n",
    HEAD + b"a b: c\r\n\r\n", HEAD + b"\r\n", HEAD + b"Expect: a-dance\r\nContent-Length: 1\r\n\r\nx",
    HEAD + b"Content-Length: x\r\n\r\n", HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    HEAD + b"Host: a\r\n\r\n", HEAD + b"Content-Type: a/b\r\nContent-Type: a/c\r\n\r\n",
    HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nx\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\na b: c\r\n\r\n",
]

LINES = [
    "V:2:ann", "V:2:ann",
    "DANCE", "SUB", "SUB a b c d", "SUB a..*", "SUB a/./b", "SUB a x-y", "UNSUB nothing",
    "PUB", "PUB a/./b text", "PUB secret/a text", "PUB match/none text", "NICK a:b", "AUTH none",
    "VERSION:1:CONNECT:ann:MATCH:none", "SUB\x01 a", "HISTORY a/./b", "HISTORY a x", "WHO a/./b",
    "JOIN a/./b", "SAY a/./b text", "x" * 5000,
]

COMMANDS = [
    "[]", "{", "{}", '{"cmd":1}', '{"cmd":"dance"}', '{"cmd":"ping","ref":{}}',
    '{"cmd":"ping","ref":"%s"}' % ("r" * 300),
    '{"cmd":"publish","channel":"a","data":"%s"}' % ("x" * 70000),
    '{"cmd":"subscribe","ref":1}', '{"cmd":"subscribe","ref":1,"channel":"a b"}',
    '{"cmd":"subscribe","ref":1,"channel":7}', '{"cmd":"subscribe","ref":1,"channel":"a","since":"x"}',
    '{"cmd":"subscribe","ref":1,"channel":"a","name":" "}', '{"cmd":"unsubscribe","channel":"zz"}',
    '{"cmd":"publish","channel":"a"}', '{"cmd":"publish","data":1}',
    '{"cmd":"publish","channel":"secret/a","data":1}',
    '{"cmd":"publish","channel":"match/none","data":{"kind":"goal"}}',
    '{"cmd":"publish","channel":"a","data":1,"key":""}',
    '{"cmd":"publish","channel":"a","data":1,"idempotency":"a b"}',
    '{"cmd":"history","channel":"a","limit":-1}', '{"cmd":"auth","token":"none"}',
]

HANDSHAKES = [
    ("/v1/raw", {}), ("/v1/raw?channel=a&channel=b", {}), ("/v1/raw?channel=a&since=0", {}),
    ("/v1/none", {}), ("/v1/ws?channel=a%20b", {}), ("/v1/ws", {"Origin": "http://elsewhere.example"}),
    ("/v1/ws", {"Authorization": "Bearer none"}), ("/v1/ws", {"Host": "example.org"}),
]

# Whole requests to the WebSocket port that are no handshakes.
GREETING = b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\n"
UPGRADE = GREETING + b"Upgrade: websocket\r\nConnection: Upgrade\r\n"
NO_HANDSHAKES = [
    GREETING + b"\r\n", GREETING.replace(b"GET", b"PUT") + b"\r\n",
    UPGRADE.replace(b"GET", b"PUT") + b"\r\n", UPGRADE.replace(b"1.1", b"1.0") + b"\r\n",
    UPGRADE + b"Sec-WebSocket-Version: 12\r\n\r\n",
    UPGRADE + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n",
    UPGRADE + b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Content-Length: 1\r\n\r\nx",
    b"nonsense\r\n\r\n",
]

FRAMES = [  # bytes that a handshaken client sends, and the code that ends it
    (b"\x81\x02hi", 1002),
    (b"\x81\x82\0\0\0\0\xff\xff", 1007),
    (b"\x89\x80\0\0\0\0" * 60, 1008),
    (b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"\0\0\0\0", 1009),
]

# What needs a router, disk or memory that is not there, a full machine, or time:
# other tests cause these.
ELSEWHERE = {
    "body.slow", "busy", "channel.left", "channels.full", "connection.kicked", "connection.none",
    "gateway.closing", "gateway.draining", "gateway.full", "gateway.memory", "handshake.slow",
    "match.full", "match.memory", "proxy.bad", "publish.unknown", "query.bad",
    "query.denied", "query.failed", "query.unknown", "request.bad", "request.timeout",
    "request.too_long", "router.answer", "router.away", "router.busy", "router.memory",
    "server.memory", "slow", "store.busy", "store.damaged", "store.failed", "store.full",
    "ws.try_later",
}
SETS = ["namespace secret/.publish=nobody", "limits.channels_per_connection=20"]


def codes():
    with open(os.path.join(ROOT, "proto", "codes.def")) as f:
        return set(re.findall(r'CODE\("([a-z_.0-9]+)"\)', f.read()))


def figures(w, name, label):
    """{(edge, label's value): figure} of all processes together."""
    out = collections.Counter()
    line = re.compile(r'touchline_%s\{gateway="([a-z]+)\d*".*,%s="([^"]*)"\} (\d+)' % (name, label))
    for edge, value, figure in line.findall(w.http("GET", "/metrics").body.decode()):
        out[edge, value] += int(figure)
    return out


def figures_at(w, total):
    """Gateways report each second: the refusals once there are so many; else
    those that there are in the end."""
    with contextlib.suppress(Failed):
        eventually(lambda: sum(figures(w, "refused_total", "code").values()) >= total,
                   "figures arrive", 10)
    return figures(w, "refused_total", "code")


def told_in(value):
    """The codes of errors in an answer, however deep they stand."""
    if isinstance(value, list):
        return [c for v in value for c in told_in(v)]
    if isinstance(value, dict):
        error = value.get("error")
        return [error["code"]] if isinstance(error, dict) else \
            [c for v in value.values() for c in told_in(v)]
    return []


def ask_over_http(w, told):
    for team in ("aaa", "bbb"):
        w.http("PUT", f"/v1/teams/{team}", '{"name":"A","division":"1"}', JSON)
    for method, target, body, headers in REQUESTS:
        with w.client() as c:
            names = {k.replace("-", "_"): v for k, v in headers.items()}
            answer = c.ask(method, target, body, **names).answer()
        if answer.body.startswith(b"404 Not found"):
            told["http", "match.unknown"] += 1
        elif answer.status >= 400 or b'"error"' in answer.body:
            for code in told_in(answer.json()):
                told["http", code] += 1
    for data in SPOILT:
        with w.client() as c:
            c.send(data)
            told["http", c.answer().code()] += 1
    with w.client() as c:
        c.send(HEAD + b"Content-Length: 9\r\n\r\nx")
        c.sock.shutdown(1)
        told["http", c.answer().code()] += 1


def say_over_telnet(w, told):
    with w.telnet() as t:
        for line in LINES:
            t.send(line.encode() + b"\r\n")
            t.send(b"PING\r\n")
            while (answer := t.line().decode()) != "OK PING\r\n":
                if answer.startswith("ERROR "):
                    told["tcp", answer.split()[1].rstrip(":")] += 1


def say_over_websocket(w, told):
    with w.ws() as s:
        for number, command in enumerate(COMMANDS):
            s.frame("text", command)
            s.say(cmd="ping", ref=f"mark{number}")
            while (item := s.item()).get("ref") != f"mark{number}":
                for code in told_in(item):
                    told["ws", code] += 1
    for target, headers in HANDSHAKES:
        with Ws(w.address("ws"), target, **headers) as s:
            check(s.status != 101, f"{target} is taken")
            size = int(re.search(r"Content-Length: (\d+)", s.head).group(1))
            told["ws", json.loads(s.exactly(size))["error"]["code"]] += 1
    for data in NO_HANDSHAKES:
        with Http(w.address("ws"), data) as c:
            told["ws", c.answer().code()] += 1
    words = {1002: "protocol", 1003: "unsupported", 1007: "not_utf8", 1008: "policy", 1009: "too_big"}
    for data, wanted in FRAMES:
        with w.ws() as s:
            s.send(data)
            while (got := s.read())[0] != "close":
                pass
            equal(got[1], wanted)
            told["ws", "ws." + words[wanted]] += 1
    with w.ws() as s:
        s.frame("bytes", b"x")
        while (got := s.read())[0] != "close":
            pass
        equal(got[1], 1003)
        told["ws", "ws.unsupported"] += 1


def test_every_refusal_counts_once_under_its_code():
    """The sum of what was told equals the figures, code by code, edge by edge;
    and each code there is was told, or is named above."""
    told = collections.Counter()
    with World(SETS) as w:
        for _ in range(2):  # a second time finds matches that exist
            say_over_telnet(w, told)
            ask_over_http(w, told)
            say_over_websocket(w, told)
        got = figures_at(w, sum(told.values()))
        equal({k: (got[k], told[k]) for k in got | told if got[k] != told[k]}, {},
              "(counted, told) by edge and code")
        equal(sorted(codes() - {code for _, code in told} - ELSEWHERE), [], "never told")
