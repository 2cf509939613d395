"""Everything can be watched: what was refused, cut, closed and mended is counted
under its reason, each once, and a log is lines of events."""
import collections
import contextlib
import json
import os
import re
import signal
import socket
import struct
import urllib.parse

from world import (ROOT, Failed, Http, Tcp, World, Ws, check, equal, eventually)

POST = "POST"
JSON = {"Content-Type": "application/json"}
TEXT = {"Content-Type": "text/plain"}
GOAL = '{"kind":"goal","data":{"team":"aaa"}}'

# method, target, body, headers: what is wrong with them is in the code.
REQUESTS = [
    ("GET", "/v1/stream", None, {}),
    ("GET", "/v1/stream?channel=a%20b", None, {}),
    ("GET", "/v1/stream?channel=match/a", None, {"Accept-Encoding": "br, identity;q=0"}),
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
    ("/v1/ws", {"Sec_WebSocket_Extensions": ";"}),
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
    "canary.late", "forwarded.differs", "gateway.closing", "gateway.draining", "gateway.full",
    "gateway.memory", "handshake.slow",
    "match.full", "match.memory", "proxy.bad", "proxy.missing", "publish.rate",
    "publish.unknown", "query.bad",
    "query.denied", "query.failed", "query.unknown", "request.bad", "request.timeout",
    "request.too_long", "router.answer", "router.away", "router.busy", "router.memory",
    "server.memory", "slow", "store.busy", "store.damaged", "store.failed", "store.full",
    "websocket.away", "ws.try_later",
}
SETS = ["namespace secret/.publish=nobody", "limits.channels_per_connection=20",
        "ws.deflate=on"]


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
    with w.telnet() as t:
        t.send(b"GET / HTTP/1.1\r\n")
        told["tcp", t.all().split()[1].rstrip(b":").decode()] += 1


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
    with w.ws(Sec_WebSocket_Extensions="permessage-deflate") as s:
        s.send(b"\xc1\x82\0\0\0\0hi")
        while (got := s.read())[0] != "close":
            pass
        equal(got[1], 1007)
        told["ws", "ws.broken"] += 1
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


def endings(w):
    """One connection for each way to end, and the reason it is counted under."""
    ended = collections.Counter()
    with w.client() as c:
        c.ask("GET", "/healthz", Connection="close").answer()
        c.over()
    ended["http", "answered"] += 1
    with w.client() as c:
        c.ask("GET", "/healthz").answer()
        c.sock.shutdown(socket.SHUT_WR)
        c.over()
    ended["http", "client"] += 1
    reset(w.client())
    ended["http", "gone"] += 1
    with w.stream("/v1/stream?channel=a") as s:
        s.item()
        kick(w, "a")
        while s.chunk():
            pass
    ended["http", "kick"] += 1
    with w.telnet() as t:
        t.send(b"QUIT\r\n")
        t.all()
    ended["tcp", "quit"] += 1
    with w.telnet() as t:
        t.sock.shutdown(socket.SHUT_WR)
        t.all()
    ended["tcp", "client"] += 1
    with w.telnet() as t:
        t.send(b"GET / HTTP/1.1\r\n")
        t.all()
    ended["tcp", "foreign"] += 1
    reset(w.telnet())
    ended["tcp", "gone"] += 1
    with Http(w.address("ws"), GREETING + b"\r\n") as c:
        c.all()
    ended["ws", "handshake"] += 1
    with w.ws() as s:
        s.frame("close", b"\x03\xe8")
        s.all()
    ended["ws", "client"] += 1
    with w.ws() as s:
        s.send(FRAMES[0][0])
        s.all()
    ended["ws", "violation"] += 1
    with w.ws("/v1/ws?channel=b") as s:
        while s.item()["notice"] == "welcome":
            pass
        kick(w, "b")
        s.all()
    ended["ws", "kick"] += 1
    return ended


def reset(tcp):
    """The peer is gone without a word."""
    tcp.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    tcp.close()


def kick(w, channel):
    w.ctl("kick", channel)


def test_each_connection_that_ends_counts_once_under_its_reason():
    with World() as w:
        wanted = endings(w) + endings(w)
        # Reading the figures is an HTTP connection, too, which the client ends.
        eventually(lambda: all(figures(w, "closed_total", "why")[k] >= n
                               for k, n in wanted.items()), "figures arrive")
        got = figures(w, "closed_total", "why")
        for edge in ("tcp", "ws"):
            equal({k: n for k, n in got.items() if k[0] == edge},
                  {k: n for k, n in wanted.items() if k[0] == edge})
        del got["http", "client"], wanted["http", "client"]
        equal({k: n for k, n in got.items() if k[0] == "http"},
              {k: n for k, n in wanted.items() if k[0] == "http"})
        # One that ends is counted at once, and is there until its peer goes too.
        for edge in ("tcp", "ws"):
            closed = sum(n for k, n in got.items() if k[0] == edge)
            eventually(lambda: closed + total(w, edge, "connections")
                       == total(w, edge, "accepted_total"), f"{edge} adds up")


def total(w, edge, name):
    line = re.compile(r'touchline_%s\{gateway="%s\d*"[^}]*\} (\d+)' % (name, edge))
    return sum(int(n) for n in line.findall(w.http("GET", "/metrics").body.decode()))


def test_a_process_that_was_started_again_says_how_often():
    with World() as w:
        equal(w.metric("restarts_total"), 0)
        for times in (1, 2):
            before = w.kill("tcp")
            eventually(lambda: (pids := w.pids("tcp")) and pids != before, "a new one")
            eventually(lambda: total(w, "tcp", "restarts_total") == times, f"{times} restarts")


def stats(w):
    """Of router-ctl stats: {(gateway, name, label): value}."""
    rows = json.loads(w.ctl("--json", "stats"))["stats"]
    return {(r["gateway"], r["name"], r["label"]): r["value"] for r in rows}


def test_router_ctl_shows_what_metrics_shows():
    with World() as w:
        w.publish("a/./b", "x")
        with w.telnet() as t:
            t.send(b"DANCE\r\n")
            t.line()

        def shown():
            rows = stats(w)
            return all(sum(v for (g, n, l), v in rows.items()
                           if g.startswith(edge) and n == "refused_total" and l == f'code="{code}"')
                       == 1 for edge, code in (("http", "channel.bad"), ("tcp", "verb.unknown")))
        eventually(shown, "both refusals in router-ctl stats")
        text = w.ctl("stats")
        check('code="verb.unknown"' in text, text)


# ---- the log ----------------------------------------------------------------

LINE = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?:error|warn|info|debug) [\w.-]+ '
                  r'[a-z_]+(?:\.[a-z_]+)+(?: [a-z_]+=(?:"(?:[^"\\\x00-\x1f\x7f]|\\.)*"|[^\s"]*))*\Z')


def log_lines(path):
    with open(path, "rb") as f:
        return f.read().decode("ascii").split("\n")[:-1]


def test_a_log_file_that_was_moved_away_is_begun_anew_on_sighup():
    """By the supervisor's signal, and by each process's own."""
    with World(["log.file=log.txt", "log.level=debug"]) as w:
        path = os.path.join(w.dir, "log.txt")
        def speakers():
            return {line.split()[2] for line in log_lines(path)} if os.path.exists(path) else set()

        def speak():
            """Each gateway has something to say."""
            for edge in ("http", "tcp", "ws"):
                Tcp(w.address(edge), b"x" if edge == "tcp" else b"x\r\n\r\n").close()
            w.publish("a", "x")
            return speakers()

        eventually(lambda: {"http1", "tcp1", "ws1"} & speak(), "the first lines")
        os.rename(path, path + ".1")
        w.proc.send_signal(signal.SIGHUP)
        eventually(lambda: os.path.exists(path), "a new file")
        eventually(lambda: any(s.startswith("http") for s in speak()) and
                   any(s.startswith("tcp") for s in speakers()) and
                   any(s.startswith("ws") for s in speakers()), "gateways write to it")
        with open(path + ".1", "rb") as f:
            old = len(f.read())
        speak()
        with open(path + ".1", "rb") as f:
            equal(len(f.read()), old, "the old file")


def test_nothing_that_a_stranger_sends_can_forge_a_line_of_the_log():
    forged = "x\n2026-01-01T00:00:00.000Z error router store.failing why=forged \" \\ \x1b[2J\x7f"
    with World(["log.file=log.txt", "log.level=debug"]) as w:
        for name in (forged, forged.replace("\n", "\r"), "\u2028" + forged, 'a"b\\c'):
            quoted = urllib.parse.quote(name)
            for target in (f"/v1/stream?channel={quoted}", f"/v1/poll?channel=a&name={quoted}",
                           f"/test/{quoted}", f"/{quoted}"):
                with w.client() as c:
                    c.ask("GET", target).answer()
            with w.client() as c:
                c.send(b"GET / HTTP/1.1\r\nHost: " + name.encode() + b"\r\n\r\n")
                c.answer()
            with Tcp(w.address("tcp"), f"V:2:{name}\r\nPUB {name} x\r\n".encode()) as t:
                t.sock.shutdown(socket.SHUT_WR)
                t.all()
            with w.ws() as s:
                s.say(cmd="subscribe", channel=name, name=name)
                s.say(cmd=name, ref=1).reply(1)
        lines = log_lines(os.path.join(w.dir, "log.txt"))
        check(len(lines) > 20, "lines")
        equal([x for x in lines if not LINE.match(x)], [], "lines that are no event")
        equal([x for x in lines if " store.failing " in x and "why=forged" in x
               and not re.search(r'="[^"]*store\.failing', x)], [], "forged")


def test_an_event_that_comes_too_often_is_counted_and_not_written():
    with World(["tcp.trusted_proxies=127.0.0.1"]) as w:
        for _ in range(200):
            with Tcp(w.address("tcp"), b"PROXY nonsense\r\n") as t:
                t.all()
        eventually(lambda: w.metric("log_events_total", event="proxy.header") == 200, "the figure")
        with open(w.log) as f:
            written = f.read().count(" proxy.header ")
        check(0 < written < 200, f"{written} of 200 lines written")
