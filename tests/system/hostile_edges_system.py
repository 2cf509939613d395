"""Strangers at all three edges: those who trickle, who do not read, who come by
the thousand, and pages of other origins.

Sizes are small here and those of docs/threats.md in `make hostile`. Times are
told as figures; no verdict hangs on how fast this machine is."""
import contextlib
import ctypes
import http.server
import json
import multiprocessing
import os
import re
import select
import socket
import subprocess
import threading
import time

from browser import Browser
from limits_system import alive, cpu, rss, small_files
from world import (DEADLINE, EDGES, Failed, Http, Lines, Stream, Tcp, World, Ws, check, equal,
                   eventually, figure, full_size, readable)

SLOW = True
ONE_WORKER = [f"{edge}.workers=1" for edge in EDGES]


def size(small, full):
    return full if full_size() else small


# ---- pages of other origins -------------------------------------------------

GOAL = json.dumps({"kind": "goal", "data": {"team": "elp"}})


def ask(w, method, target, body=None, status=None, **headers):
    answer = w.http(method, target, body, {k.replace("_", "-"): v for k, v in headers.items()})
    if status:
        equal(answer.status, status, f"{method} {target} {headers}: {answer.body!r}")
    return answer


def play(w):
    """A match in play, made from here: its id."""
    for team in ("elp", "tig"):
        ask(w, "PUT", f"/v1/teams/{team}", json.dumps({"name": team, "division": "One"}), 201)
    match = ask(w, "POST", "/v1/matches", json.dumps({
        "home": "elp", "visit": "tig", "start_time": "2011-09-13T13:00:00Z"}), 201).json()["id"]
    ask(w, "POST", f"/v1/matches/{match}/events", json.dumps({"kind": "start"}), 201)
    return match


def writes(match):
    """Every way to write over HTTP: method, target, body."""
    batch = json.dumps([{"channel": "match/" + match, "data": json.loads(GOAL)}])
    return [
        ("POST", f"/v1/publish/match/{match}", GOAL),
        ("POST", f"/v1/publish/match%2F{match}", GOAL),
        ("POST", "/v1/publish", batch),
        ("POST", f"/v1/matches/{match}/events", GOAL),
        ("POST", "/v1/matches", json.dumps({"home": "elp", "visit": "tig",
                                            "start_time": "2012-01-01"})),
        ("DELETE", f"/v1/matches/{match}", None),
        ("PUT", "/v1/teams/boc", json.dumps({"name": "boc", "division": "One"})),
        ("PUT", "/v1/teams/elp", json.dumps({"name": "changed", "division": "One"})),
    ]


def untouched(w, match):
    state = w.json("/v1/matches/" + match)
    equal((state["home_score"], state["visit_score"], state["period"]), (0, 0, "first"))
    equal([t["id"] for t in w.json("/v1/teams")["teams"]], ["elp", "tig"])
    equal({t["name"] for t in w.json("/v1/teams")["teams"]}, {"elp", "tig"})
    equal(len(w.json("/v1/matches")["matches"]), 1)


ORIGINS = ("http://evil.example", "null", "http://127.0.0.1.evil.example", "http://localhost.",
           "http://127.0.0.2", "http://[::2]:80", "file://", "https://", "127.0.0.1", "",
           "http://evil.example@127.0.0.1", "http://127.0.0.1/@evil.example", "http://::1",
           "http://evil.example:127.0.0.1", "chrome-extension://abcdefgh")


def test_no_write_passes_from_a_page_of_another_origin():
    with World() as w:
        match = play(w)
        port = w.address("http")[1]
        for origin in ORIGINS:
            for method, target, body in writes(match):
                answer = ask(w, method, target, body, 403, Origin=origin)
                equal(answer.code(), "origin.denied", f"{method} {target} {origin}")
                check("Access-Control-Allow-Origin" not in answer.headers, "CORS")
            with Ws(w.address("ws"), f"/v1/raw?channel=a&publish=match/{match}",
                    Origin=origin) as ws:
                equal(ws.status, 403, f"a WebSocket of {origin!r}")
        # The case of a name and the port say nothing of who it is.
        for host, origin in ((f"localhost:{port}", "http://LOCALHOST:1"),
                             (f"[::1]:{port}", "https://[::1]"),
                             (f"127.0.0.1:{port}", "http://127.0.0.1")):
            answer = ask(w, "POST", "/v1/publish/a", "x", 201, Host=host, Origin=origin)
            equal(answer.headers["Access-Control-Allow-Origin"], origin)
            check("Access-Control-Allow-Credentials" not in answer.headers, "credentials")
        untouched(w, match)
        eventually(lambda: w.metric("refused_total", code="origin.denied")
                   == len(ORIGINS) * (len(writes(match)) + 1), "each is counted")


def test_a_listed_origin_may_write_and_no_other():
    with World([f"{kind}.origins=friend.example, http://exact.example:81, *.no.example"
                for kind in ("http", "ws")]) as w:
        for origin, good in (("https://friend.example:8443", True),
                             ("http://FRIEND.example", True),
                             ("http://exact.example:81", True),
                             ("http://exact.example:82", False),
                             ("http://friend.example.", False),
                             ("http://sub.friend.example", False),
                             ("http://friend.example.evil.example", False),
                             ("http://a.no.example", False)):
            ask(w, "POST", "/v1/publish/a", "x", 201 if good else 403, Origin=origin)
            with Ws(w.address("ws"), Origin=origin) as ws:
                equal(ws.status, 101 if good else 403, origin)
        answer = ask(w, "OPTIONS", "/v1/publish/a", None, 204, Origin="https://friend.example")
        equal(answer.headers["Access-Control-Allow-Origin"], "https://friend.example")
        answer = ask(w, "OPTIONS", "/v1/publish/a", None, 204, Origin="https://evil.example")
        check("Access-Control-Allow-Origin" not in answer.headers, "CORS")
        check("Origin" in answer.headers["Vary"], "Vary")


PAGE = b"""<!doctype html><title>evil</title><body><script>
const said = {};
async function tell(name, attempt) {
    try { said[name] = await attempt(); } catch (e) { said[name] = 'refused'; }
}
const post = (url, body, more) => () => fetch(url, {method: 'POST', body, ...more})
    .then((r) => r.type === 'opaque' ? 'opaque' : r.status);
const socket = (url, words) => () => new Promise((done) => {
    const s = new WebSocket(url);
    s.onopen = () => { if (words) s.send(words); done('open'); };
    s.onerror = () => done('refused');
});
const events = (url) => () => new Promise((done) => {
    const s = new EventSource(url);
    s.onopen = () => { s.close(); done('open'); };
    s.onerror = () => { s.close(); done('refused'); };
});
const form = (action) => () => new Promise((done) => {
    const frame = document.createElement('iframe');
    frame.name = 'f' + Math.random();
    document.body.append(frame);
    const f = document.createElement('form');
    Object.assign(f, {action, method: 'POST', enctype: 'text/plain', target: frame.name});
    const i = document.createElement('input');
    Object.assign(i, {name: '\\r\\nPUB a form\\r\\n', value: 'x'});
    f.append(i);
    document.body.append(f);
    frame.onload = () => done('sent');
    f.submit();
});
const boxed = (code) => () => new Promise((done) => {
    const frame = document.createElement('iframe');
    frame.sandbox = 'allow-scripts';
    frame.srcdoc = '<script>(' + code + ")().then(() => parent.postMessage('done', '*'),"
        + "() => parent.postMessage('done', '*'))<\\/script>";
    window.onmessage = () => done('sent');
    document.body.append(frame);
});
</script></body>"""


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def evil_pages():
    """A web server of a stranger's on this machine: its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def attempts(b, **codes):
    """What became of each, by what the page saw."""
    for name, code in codes.items():
        b.js(f"void tell(arguments[0], {code})", name)
    b.until("arguments[0].every((n) => n in said)", "all were tried", list(codes))
    return b.js("said")


def test_a_page_of_another_origin_does_nothing_from_a_browser_on_this_machine():
    with World() as w, evil_pages() as port, Browser(names=["evil.example"]) as b:
        match = play(w)
        http, ws = w.urls["http"], w.urls["ws"]
        tcp = "http://%s:%d" % w.address("tcp")
        goal = json.dumps(GOAL)
        b.open(f"http://evil.example:{port}/")
        line = json.dumps(f"\r\nPUB match/{match} {GOAL}\r\nPUB a x\r\n")
        own = http.replace("127.0.0.1", "evil.example")
        said = attempts(
            b, plain=f"post('{http}/v1/publish/match/{match}', {goal}, {{mode: 'no-cors'}})",
            cors=f"post('{http}/v1/publish/a', 'x')",
            form=f"form('{http}/v1/publish/a')",
            event=f"post('{http}/v1/matches/{match}/events', {goal}, {{mode: 'no-cors'}})",
            boxed=f"boxed(\"() => fetch('{http}/v1/publish/a', "
                  "{method: 'POST', body: 'x', mode: 'no-cors'})\")",
            socket=f"socket('{ws}/v1/ws')",
            raw=f"socket('{ws}/v1/raw?channel=a&publish=match/{match}', {goal})",
            events=f"events('{http}/v1/stream?channel=a')",
            rebound=f"post('{own}/v1/publish/match/{match}', {goal}, {{mode: 'no-cors'}})",
            telnet=f"post('{tcp}/', {line}, {{mode: 'no-cors'}})",
            telnet_form=f"form('{tcp}/')",
            telnet_socket=f"socket('{tcp.replace('http', 'ws')}/')",
            telnet_tls=f"post('{tcp.replace('http', 'https')}/', {line}, {{mode: 'no-cors'}})")
        for name in ("cors", "socket", "raw", "events", "telnet_socket"):
            equal(said[name], "refused", name)
        untouched(w, match)
        equal(w.json("/v1/history/a")["messages"], [])
        eventually(lambda: w.metric("refused_total", code="line.foreign") >= 3, "counted")
        figure(f"a page of another origin tried {len(said)} ways, none wrote")


def test_a_page_of_a_listed_origin_does_all_of_it():
    with World(["http.origins=friend.example", "ws.origins=friend.example"]) as w, \
            evil_pages() as port, Browser(names=["friend.example"]) as b:
        http, ws = w.urls["http"], w.urls["ws"]
        b.open(f"http://friend.example:{port}/")
        said = attempts(b, cors=f"post('{http}/v1/publish/a', 'x')",
                        socket=f"socket('{ws}/v1/ws')",
                        events=f"events('{http}/v1/stream?channel=a')")
        equal(said, {"cors": 201, "socket": "open", "events": "open"})


# ---- strangers on the network ------------------------------------------------

STRANGER = "198.51.100.7"


def elsewhere():
    """This process gets a network of its own, in which the machine has an
    address that is not loopback. False: nobody may have that here."""
    libc = ctypes.CDLL(None, use_errno=True)
    net, user = 0x40000000, 0x10000000
    if libc.unshare(net) and libc.unshare(net | user):
        return False
    for words in ("link set lo up", f"address add {STRANGER}/32 dev lo"):
        if subprocess.call(["ip", *words.split()]):
            return False
    return True


def refused_everywhere(w, match, connect, **headers):
    """Nobody who comes through connect(kind) writes to the match."""
    for method, target, body in writes(match):
        with connect("http", Http) as c:
            answer = c.ask(method, target, body, **headers).answer()
            rows = answer.json() if isinstance(answer.json(), list) else [answer.json()]
            equal((answer.status, [r["error"]["code"] for r in rows]),
                  (403, ["publish.denied"] * len(rows)), f"{method} {target}")
    with connect("tcp", Tcp) as t:
        t.send(f"PUB match/{match} {GOAL}\r\nSEND team/elp {{}}\r\nPUB match/none {{}}\r\n"
               .encode())
        t.until(b"<your-name>\r\n")
        for _ in range(3):
            check(t.line().startswith(b"ERROR publish.denied: "), "telnet")
    for target, channel in (("/v1/ws", None), ("/v1/raw", match)):
        with connect("ws", Tcp) as s:
            query = f"?channel=a&publish=match/{channel}" if channel else ""
            status = upgrade(s, target + query, **headers)
            equal(status, 403 if channel else 101, target)
            if not channel:
                s.send(frame(json.dumps({"cmd": "publish", "channel": "match/" + match,
                                      "data": json.loads(GOAL), "ref": 1})))
                s.until(b'"publish.denied"')


def upgrade(s, target, **headers):
    names = {"Host": "localhost", **{k.replace("_", "-"): v for k, v in headers.items()}}
    s.send((f"GET {target} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            + "".join(f"{k}: {v}\r\n" for k, v in names.items()) + "\r\n").encode())
    return int(s.until(b"\r\n\r\n").split()[1])


def frame(text):
    """A text frame of a WebSocket client, masked with zeroes."""
    data = text.encode()
    head = bytes([0x81]) + (bytes([0x80 | len(data)]) if len(data) < 126 else
                            bytes([0xfe]) + len(data).to_bytes(2, "big"))
    return head + b"\0\0\0\0" + data


def test_a_strangers_goal_is_refused_at_all_three_edges():
    """From another machine, and from this one by a name that is not its own."""
    if not elsewhere():
        print("     skipped: this machine lets nobody have a net of his own")
        return
    with World(start=False) as w:
        w.sets = [f"{kind}.listen=*:0" for kind in EDGES] + ["http.admin=127.0.0.1:0"]
        w.start()
        match = play_at(w)
        ports = {kind: int(w.urls[kind].rsplit(":", 1)[1]) for kind in EDGES}
        refused_everywhere(w, match, lambda kind, how: how((STRANGER, ports[kind])),
                           Host=STRANGER)
        with Http(("127.0.0.1", ports["http"])) as c:  # a page pointed its name here
            answer = c.ask("POST", f"/v1/matches/{match}/events", GOAL, Host="evil.example",
                           Origin="http://evil.example").answer()
            equal((answer.status, answer.code()), (403, "publish.denied"))
        with Tcp(("127.0.0.1", ports["ws"])) as s:
            equal(upgrade(s, f"/v1/raw?channel=a&publish=match/{match}", Host="evil.example",
                          Origin="http://evil.example"), 403)
        untouched(w, match)
        with Http(("127.0.0.1", ports["http"])) as c:
            equal(c.ask("POST", f"/v1/matches/{match}/events", GOAL).answer().status, 201,
                  "from here it may")


def play_at(w):
    """The address of *:PORT is not one to connect to."""
    for kind in EDGES:
        port = w.urls[kind].rsplit(":", 1)[1]
        w.urls[kind] = f"{kind}://127.0.0.1:{port}"
    return play(w)


def test_a_strangers_goal_is_refused_behind_a_proxy():
    with World() as w:
        match = play(w)
        for header in ("X_Forwarded_For", "Forwarded", "X_Real_IP", "Via"):
            for method, target, body in writes(match):
                answer = ask(w, method, target, body, 403, **{header: "127.0.0.1"})
                check("publish.denied" in answer.body.decode(), answer.body)
        untouched(w, match)
    with World([f"{kind}.trusted_proxies=127.0.0.1" for kind in EDGES]) as w:
        for header in (b"PROXY TCP4 127.0.0.1 127.0.0.1 4000 80\r\n", b"PROXY UNKNOWN\r\n", b""):
            refused_everywhere(w, "elp-tig-2011-09-13",
                               lambda kind, how, header=header: how(w.address(kind), header))


# ---- how others fare ----------------------------------------------------------

def round_trips(w, channel, done):
    """Seconds from each publication to its arrival at a listener, until done()
    and at least 200 times. Each must arrive, in order."""
    out = []
    with w.client() as c, w.stream("/v1/stream?channel=" + channel) as s:
        s.item()
        while len(out) < 200 or not done():
            begin = time.monotonic()
            c.ask("POST", "/v1/publish/" + channel, str(len(out)))
            answer = c.answer()
            equal(answer.status, 201, answer.body)
            equal(s.message()["data"], str(len(out)))
            out.append(time.monotonic() - begin)
    return sorted(out)


class Canary:
    """A publisher and a listener of their own, in another process, that go on
    while something happens here."""

    def __init__(self, w, channel="canary"):
        self.mine, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=self.run, args=(w, channel, theirs))
        self.process.start()
        theirs.close()

    @staticmethod
    def run(w, channel, pipe):
        try:
            pipe.send(round_trips(w, channel, pipe.poll))
        except BaseException as e:
            pipe.send(repr(e))

    def times(self):
        """Ends it. Nothing was lost, or this fails."""
        self.mine.send(None)
        check(self.mine.poll(3 * DEADLINE), "the canary says nothing")
        times = self.mine.recv()
        self.process.join()
        check(isinstance(times, list), f"the canary: {times}")
        return times

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.mine.close()


def share(times, part):
    return times[min(len(times) - 1, int(len(times) * part))]


def compared(what, idle, under):
    """A line of figures: how others fare meanwhile, and how before."""
    figure(f"{what}; publish to receipt p50 {share(idle, .5) * 1e3:.2f} -> "
           f"{share(under, .5) * 1e3:.2f} ms, p99 {share(idle, .99) * 1e3:.2f} -> "
           f"{share(under, .99) * 1e3:.2f} ms "
           f"({share(under, .99) / share(idle, .99):.1f} times)")


def idle_times(w):
    with Canary(w) as canary:
        return canary.times()


# ---- clients by the thousand --------------------------------------------------

class Crowd:
    """Many sockets, looked after together. What each was told is kept as far as
    `keep` bytes."""

    def __init__(self, address, n, first=b"", keep=400):
        self.address, self.first, self.keep = address, first, keep
        self.poll, self.socks, self.said, self.gone = select.epoll(), {}, {}, 0
        for _ in range(n):
            self.connect()

    def connect(self):
        s = socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET)
        s.settimeout(DEADLINE)
        s.connect(self.address)
        if self.first:
            s.send(self.first)
        s.setblocking(False)
        self.socks[s.fileno()] = s
        self.said[s.fileno()] = b""
        self.poll.register(s, select.EPOLLIN)

    def drop(self, fd):
        self.poll.unregister(fd)
        self.socks.pop(fd).close()

    def step(self, seconds):
        """Reads what has come within so long; who was left goes."""
        for fd, _ in self.poll.poll(max(0, seconds)):
            try:
                data = self.socks[fd].recv(65536)
            except ConnectionResetError:
                data = b""
            except BlockingIOError:
                continue
            self.said[fd] = (self.said[fd] + data)[:self.keep]
            if not data:
                self.drop(fd)
                self.gone += 1

    def send(self, data):
        for s in self.socks.values():
            with contextlib.suppress(BlockingIOError, ConnectionError):
                s.send(data)

    def __len__(self):
        return len(self.socks)

    def close(self):
        for fd in list(self.socks):
            self.drop(fd)
        self.poll.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def trickle(w, kind, n, first, byte, told):
    """n clients that say this first and then a byte a second are all let go,
    having been told so."""
    begin = time.monotonic()
    with Crowd(w.address(kind), n, first) as crowd:
        came = time.monotonic()
        due = came + 1
        while len(crowd):
            check(time.monotonic() < came + 6 * DEADLINE, f"{len(crowd)} are still there")
            crowd.step(due - time.monotonic())
            if time.monotonic() >= due:
                crowd.send(byte)
                due += 1
        for said in crowd.said.values():
            check(told in said, f"told {said!r}")
    return came - begin, time.monotonic() - came


TRICKLES = {  # kind, what comes at once, then a byte a second, the answer
    "headers": ("http", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: ", b"a",
                b"408 Request Timeout"),
    "body": ("http", b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
             b"Content-Length: 60000\r\n\r\n", b"a", b"408 Request Timeout"),
    "chunks": ("http", b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
               b"Transfer-Encoding: chunked\r\n\r\nf000\r\n", b"a", b"408 Request Timeout"),
    "handshake": ("ws", b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nA: ",
                  b"a", b"408 Request Timeout"),
}


def test_who_trickles_is_let_go_however_many_they_are():
    n = size(250, 5000)
    waits = [] if full_size() else ["limits.header_wait=1s", "limits.handshake_wait=1s"]
    with World(ONE_WORKER + waits) as w:
        idle = idle_times(w)
        for name, (kind, first, byte, told) in TRICKLES.items():
            if name == "chunks" and not full_size():
                continue
            with Canary(w) as canary:
                coming, took = trickle(w, kind, n, first, byte, told)
                compared(f"{n} clients, {name} at 1 byte/s: there after {coming:.1f} s, the last "
                         f"gone {took:.1f} s later", idle, canary.times())
        equal(w.json("/v1/history/a")["messages"], [])
        for limit, times in (("header_wait", n), ("body_rate", n), ("handshake_wait", n)):
            w.limit_reached(limit, times)


def test_half_a_line_costs_its_bytes_and_no_more():
    """A person at telnet may think as long as they like."""
    n, room = size(200, 5000), 4000
    with World(ONE_WORKER) as w:
        pid, = w.pids("tcp")
        before = rss(pid)
        with Crowd(w.address("tcp"), n, b"PING " + b"x" * room) as crowd:
            eventually(lambda: w.metric("client_bytes_total", way="in", gateway="tcp1")
                       >= n * room, "all have come")
            grown = rss(pid) - before
            check(grown < n * 12288 + (4 << 20), f"{grown} bytes for {n} half lines")
            for _ in range(4):  # each second somebody goes on, and nobody is in a hurry
                crowd.step(0.3)
                crowd.send(b"y")
            equal(len(crowd), n, "who is there")
            crowd.send(b"\r\n")
            eventually(lambda: crowd.step(0.1) or all(
                b"ERROR line.bad: " in s for s in crowd.said.values()), "read to its end")
        figure(f"{n} half lines of {room} bytes: {grown / n:.0f} bytes of memory each")


def test_a_tls_hello_is_refused_at_once_at_every_edge():
    hello = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"r" * 30
    with World() as w:
        for kind, answer in (("http", b"HTTP/1.1 400 "), ("ws", b"HTTP/1.1 400 "),
                             ("tcp", b"ERROR line.foreign: ")):
            with Tcp(w.address(kind), hello) as c:
                if kind == "tcp":
                    c.until(b"<your-name>\r\n")
                check(c.all().startswith(answer), kind)


def test_half_a_proxy_header_is_waited_for_no_longer_than_a_request():
    with World([f"{kind}.trusted_proxies=127.0.0.1" for kind in EDGES] +
               ["limits.header_wait=500ms", "limits.handshake_wait=500ms"]) as w:
        for kind in ("http", "ws"):
            with Tcp(w.address(kind), b"PROXY TCP4 192.0.") as c:
                while not readable(c.fd, 0.05):
                    c.send(b"2")
                equal(c.all(), b"", kind)
        with Tcp(w.address("tcp"), b"PROXY TCP4 192.0.") as c:  # it may be a slow typist
            c.until(b"<your-name>\r\n")
            c.send(b"2.1 192.0.2.2 1 2\r\nPING\r\n")
            equal(c.line(), b"OK PING\r\n")


# ---- no descriptors left ---------------------------------------------------------

FILES = 256
ROOM = FILES - 64 - 64


class UnixHttp(Http):
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(path)
        Lines.__init__(self, self.sock, self._recv)


def knocks(w, kind, path=""):
    """Of an edge: how to connect, what a client says and hears when it is in,
    and what it hears when there is no room."""
    get = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    where = path or w.address(kind)
    return {"http": (where, get, b"200 OK", b"gateway.full"),
            "tcp": (where, b"PING\r\n", b"OK PING", b"ERROR busy: "),
            "ws": (where, b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                   b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                   b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", b" 101 ",
                   b"gateway.full")}[kind]


def overrun(w, kind, path=""):
    """More clients than there is room for: some are in and served, the others
    are told; nothing spins; when they have gone there is room again."""
    address, first, served, full = knocks(w, kind, path)
    n = size(500, 1000)
    pid, = w.pids(kind)
    with Crowd(address, ROOM, first) as inside, Crowd(address, 0, b"") as outside:
        eventually(lambda: inside.step(0.1) or all(served in s for s in inside.said.values()),
                   "as many as there is room for are in")
        begin, used = time.monotonic(), cpu(pid)
        for _ in range(n - ROOM):
            outside.connect()
        eventually(lambda: outside.step(0.1) or not len(outside), "the others are let go",
                   6 * DEADLINE)
        took, used = time.monotonic() - begin, cpu(pid) - used
        for said in outside.said.values():
            check(full in said, f"told {said!r}")
        equal(len(inside), ROOM, "who is in stays")
        still = cpu(pid)
        inside.step(1)
        still = cpu(pid) - still
        check(used < 0.01 * n, f"{used} s of processor to turn {n - ROOM} away")
        check(still < 0.2, f"{still} s of processor for nothing: it spins")
        again(w, kind, inside, served)
        figure(f"{path and 'unix '}{kind}: {n} clients for {ROOM} places, {n - ROOM} told in "
               f"{took:.1f} s and {used:.2f} s of processor; full and idle {still:.2f} s in 1 s")
    begin = time.monotonic()
    with Crowd(address, 1, first) as late:
        def let_in():
            late.step(0.02)
            if not len(late):
                late.connect()
            return any(served in late.said[fd] for fd in late.socks)
        eventually(let_in, "room again")
    figure(f"{path and 'unix '}{kind}: room again {time.monotonic() - begin:.2f} s after they left")


def again(w, kind, inside, served):
    """Everybody inside is served as before, though the router was away."""
    w.kill("router")
    eventually(lambda: w.live() >= {"http1", "tcp1", "ws1"}, "the links are whole again")
    for fd in inside.said:
        inside.said[fd] = b""
    ping = {"http": b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
                    b"Content-Length: 1\r\n\r\nx",
            "tcp": b"PUB a x\r\n",
            "ws": frame('{"cmd":"publish","channel":"a","data":1}')}[kind]
    wanted = {"http": b" 201 ", "tcp": b"OK PUB a ", "ws": b'"ok":true'}[kind]
    inside.send(ping)
    eventually(lambda: inside.step(0.1) or all(wanted in s for s in inside.said.values()),
               "who is in is served")


def test_more_clients_than_descriptors_at_every_edge():
    with World(ONE_WORKER, before=small_files(FILES)) as w:
        for kind in EDGES:
            overrun(w, kind)
        for kind in EDGES:
            eventually(lambda kind=kind: w.metric("accept_refused_total", why="files",
                                                  gateway=kind + "1") > 0, f"{kind} counts them")


def test_more_clients_than_descriptors_at_a_unix_socket():
    with World(start=False, before=small_files(FILES)) as w:
        path = os.path.join(w.base, "http.sock")
        w.sets += ONE_WORKER + [f"http.listen=unix:{path}", "http.admin=127.0.0.1:0"]
        w.start()
        overrun(w, "http", path)


# ---- readers that do not read ------------------------------------------------------

LISTENERS = {
    "stream": ("http", b"GET /v1/stream?channel=hot HTTP/1.1\r\nHost: localhost\r\n\r\n",
               b'"snapshot"'),
    "events": ("http", b"GET /v1/stream?channel=hot HTTP/1.1\r\nHost: localhost\r\n"
               b"Accept: text/event-stream\r\n\r\n", b'"snapshot"'),
    "telnet": ("tcp", b"SUB hot\r\n", b"OK SUB hot "),
    "websocket": ("ws", b"GET /v1/ws?channel=hot HTTP/1.1\r\nHost: localhost\r\n"
                  b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                  b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", b'"snapshot"'),
}


def stalled(w, n):
    """n readers who listen to `hot`, an equal part of each kind, and read no
    more; with little room in their sockets."""
    socks = []
    for kind, first, mark in LISTENERS.values():
        for _ in range(n // len(LISTENERS)):
            t = Tcp(w.address(kind), first, room=4096)
            t.until(mark)
            socks.append(t)
    return socks


class Reader(threading.Thread):
    """Reads `hot` as fast as it can: the numbers it was sent, in order."""

    def __init__(self, w, name):
        super().__init__(daemon=True)
        kind, first, mark = LISTENERS[name]
        self.name, self.got, self.wrong = name, 0, ""
        self.tcp = Tcp(w.address(kind), first)
        self.tcp.until(mark)
        self.start()

    def run(self):
        rest = b""
        with contextlib.suppress(Failed, OSError):
            while data := self.tcp.bytes(10 * DEADLINE):
                rest += data
                found = NUMBER.findall(rest)
                for number in found:
                    if int(number) != self.got and not self.wrong:
                        self.wrong = f"{self.name}: {int(number)} came behind {self.got - 1}"
                    self.got = int(number) + 1
                if found:
                    rest = rest[rest.rfind(b"<" + found[-1]) + len(found[-1]):]

    def stop(self):
        with contextlib.suppress(OSError):
            self.tcp.sock.shutdown(socket.SHUT_RDWR)
        self.join(DEADLINE)
        self.tcp.close()


NUMBER = re.compile(rb"<(\d+)>")
BLOCK = "b" * 60000


def pour(c, first, count):
    """Publishes so many numbered blocks; seconds for each."""
    times = []
    for n in range(first, first + count):
        begin = time.monotonic()
        equal(c.ask("POST", "/v1/publish/hot", f"<{n}>{BLOCK}").answer().status, 201)
        times.append(time.monotonic() - begin)
    return sorted(times)


def test_readers_that_do_not_read_cost_bounded_memory_and_nobody_else():
    n, blocks = size(80, 1000), size(150, 1700)
    ring, queue, total = 16 << 20, 256 << 10, 32 << 20
    with World(ONE_WORKER + [f"limits.ring_total={ring}", f"limits.queue={queue}",
                             f"limits.queue_total={total}"]) as w, w.client() as c:
        readers = [Reader(w, name) for name in LISTENERS]
        with Canary(w) as canary:
            alone = pour(c, 0, blocks // 2)
            without = canary.times()
        before = {kind: rss(w.pids(kind)[0]) for kind in EDGES}
        socks = stalled(w, n)
        with Canary(w) as canary:
            beside = pour(c, blocks // 2, blocks)
            compared(f"{n} readers who do not read, {blocks * len(BLOCK) / 1e6:.0f} MB published",
                     without, canary.times())
        figure(f"a block of 60 KB is taken in p50 {share(alone, .5) * 1e3:.2f} ms without them, "
               f"{share(beside, .5) * 1e3:.2f} ms beside them")
        for reader in readers:
            eventually(lambda r=reader: r.wrong or r.got == blocks // 2 + blocks,
                       f"{reader.name} has all", 3 * DEADLINE)
            equal(reader.wrong, "", "who reads loses nothing")
        for kind in EDGES:
            grown = rss(w.pids(kind)[0]) - before[kind]
            bound = ring + total + n * 8192 + (16 << 20)
            check(grown < bound, f"{kind} grew by {grown} bytes, the bound is {bound}")
            figure(f"{kind}: grew by {grown / 1e6:.1f} MB, the bound is {bound / 1e6:.0f} MB")
        eventually(lambda: sum(w.metric("cut_total", why=why) for why in
                               ("queue", "age", "queue_total")) >= n // len(LISTENERS)
                   * len(LISTENERS), "all were cut, and counted", 3 * DEADLINE)
        for reader in readers:
            reader.stop()
        for s in socks:
            s.close()


# ---- everybody comes back at once ----------------------------------------------------

class Fan:
    """A listener that counts, and comes back with its cursor."""

    __slots__ = ("cursor", "seen", "rest", "asked")

    def __init__(self):
        self.cursor, self.seen, self.rest, self.asked = None, 0, b"", False


EVENT = re.compile(rb"id: (\S+)\n|data: (.*)\n")


class Fans:
    """Many of them on one channel, looked after together."""

    def __init__(self, address, n):
        self.address, self.poll, self.by_fd, self.dialed = address, select.epoll(), {}, 0
        for _ in range(n):
            self.dial(Fan())

    def dial(self, fan):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(self.address)
        fan.rest, fan.asked = b"", False
        self.by_fd[s.fileno()] = (s, fan)
        self.poll.register(s, select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP)
        self.dialed += 1

    def ask(self, s, fan):
        since = f"Last-Event-ID: {fan.cursor}\r\n" if fan.cursor else ""
        s.send(f"GET /v1/stream?channel=hot HTTP/1.1\r\nHost: localhost\r\n"
               f"Accept: text/event-stream\r\n{since}\r\n".encode())
        fan.asked = True
        self.poll.modify(s, select.EPOLLIN | select.EPOLLRDHUP)

    def read(self, s, fan):
        data = s.recv(65536)
        fan.rest += data
        *lines, fan.rest = fan.rest.split(b"\n")
        for line in lines:
            if line.startswith(b"id: "):
                fan.cursor = line[4:].decode()
            elif line.startswith(b"data: {\"channel\"") and b'"offset":' in line:
                offset = json.loads(line[6:])["offset"]
                equal(offset, fan.seen + 1, "offset")
                fan.seen = offset
            elif b'"gap"' in line:
                raise Failed(f"a gap: {line!r}")
        return bool(data)

    def step(self, seconds=0.1):
        for fd, what in self.poll.poll(seconds):
            s, fan = self.by_fd[fd]
            try:
                if what & select.EPOLLOUT and not fan.asked and not what & select.EPOLLERR:
                    self.ask(s, fan)
                alive = self.read(s, fan) if what & (select.EPOLLIN | select.EPOLLRDHUP) \
                    else not what & (select.EPOLLERR | select.EPOLLHUP)
            except BlockingIOError:
                continue
            except OSError:
                alive = False
            if not alive:
                self.poll.unregister(fd)
                self.by_fd.pop(fd)
                s.close()
                self.dial(fan)

    def all(self, offset):
        return all(fan.cursor and fan.seen >= offset for _, fan in self.by_fd.values())

    def close(self):
        for s, _ in self.by_fd.values():
            s.close()
        self.poll.close()


def test_when_a_gateway_dies_all_come_back_at_once_and_lose_nothing():
    n = size(800, 10000)
    with World(ONE_WORKER) as w, w.telnet() as t:
        def say(count):
            for _ in range(count):
                t.send(b"PUB hot x\r\n")
                check(t.line().startswith(b"OK PUB hot "), "taken")

        fans = Fans(w.address("http"), n)
        eventually(lambda: fans.step() or all(f.cursor for _, f in fans.by_fd.values()),
                   "all listen", 6 * DEADLINE)
        say(3)
        eventually(lambda: fans.step() or fans.all(3), "all have heard", 6 * DEADLINE)
        idle, dialed = idle_other(w), fans.dialed
        w.kill("http")
        begin = time.monotonic()
        say(5)
        slowest = []
        eventually(lambda: fans.step() or slowest.append(ping(t)) or fans.all(8),
                   "all are back and have what they missed", 6 * DEADLINE)
        took = time.monotonic() - begin
        say(2)
        eventually(lambda: fans.step() or fans.all(10), "and hear on", 6 * DEADLINE)
        equal(len(fans.by_fd), n)
        figure(f"{n} clients of a gateway that was killed: all back, with what they missed, after "
               f"{took:.1f} s, in {fans.dialed - dialed} attempts; at another gateway PING p50 "
               f"{share(idle, .5) * 1e3:.2f} -> {share(sorted(slowest), .5) * 1e3:.2f} ms")
        fans.close()


def ping(t):
    begin = time.monotonic()
    t.send(b"PING\r\n")
    equal(t.line(), b"OK PING\r\n")
    return time.monotonic() - begin


def idle_other(w):
    with w.telnet() as t:
        return sorted(ping(t) for _ in range(200))


def test_who_is_to_come_back_is_told_different_times():
    with World(["limits.connections_per_address=40", *ONE_WORKER]) as w, \
            contextlib.ExitStack() as stack:
        retries = set()
        for _ in range(40):
            s = stack.enter_context(w.stream("/v1/stream?channel=a", Accept="text/event-stream"))
            while not s.text.startswith(b"retry: "):
                s.text = s.chunk()
            retries.add(int(s.text.split()[1]))
        check(len(retries) >= 30 and min(retries) >= 1000, sorted(retries))
        after = set()
        for _ in range(40):
            with w.client() as c:
                after.add(int(c.answer().headers["Retry-After"]))
        check(len(after) >= 4 and min(after) >= 1, f"Retry-After: {after}")


# ---- what is said a thousand times ----------------------------------------------------

def test_a_key_is_one_message_however_often_and_wherever_it_is_said():
    """The text of telnet has no key; what JSON says is the same at both others."""
    times = size(240, 1002)
    with World() as w:
        def publish(data):
            return w.publish("a", json.dumps(data), Idempotency_Key="k",
                             Content_Type="application/json")

        def batch(data):
            a = w.http("POST", "/v1/publish", json.dumps(
                [{"channel": "a", "data": data, "idempotency": "k"}] * 4))
            rows = {json.dumps(row) for row in a.json()}
            equal(len(rows), 1, "four times the same")
            return json.loads(rows.pop())

        def websocket(data):
            with w.ws() as ws:
                ws.say(cmd="publish", channel="a", data=data, idempotency="k", ref=1)
                return ws.reply(1)

        first = publish("once").json()
        equal(first.get("duplicate"), None)
        for n in range(times // 6):
            if n == times // 12:
                for kind in ("router", "ws", "http"):
                    w.kill(kind)
                eventually(lambda: alive(w) and w.live() >= {"http1", "ws1"}, "all are back")
            for row in (publish("once").json(), batch("once"), websocket("once")):
                equal({k: row[k] for k in ("epoch", "seq", "offset", "duplicate")},
                      {**{k: first[k] for k in ("epoch", "seq", "offset")}, "duplicate": True})
        equal((publish("other").status, publish("other").code()), (409, "idempotency.conflict"))
        equal(batch("other")["error"]["code"], "idempotency.conflict")
        equal(websocket("other")["error"]["code"], "idempotency.conflict")
        equal([m["data"] for m in w.json("/v1/history/a?last=50")["messages"]], ["once"])
        check(w.metric("publish_duplicate_total") > 0, "counted")
        figure(f"one key, {times // 6 * 6} times over HTTP, in batches and over WebSocket, all "
               "killed half way: one message")


# ---- publishing without end ------------------------------------------------------------

def test_an_address_publishes_no_oftener_than_it_may_at_every_edge():
    with World(ONE_WORKER + ["limits.publish_rate=5"]) as w, w.telnet() as t, w.ws() as ws:
        # What passes at each edge is five and what has come back meanwhile.
        said, begin = [], time.monotonic()
        for _ in range(10):
            with w.client() as c:  # a new connection each time is no way out
                said.append(c.ask("POST", "/v1/publish/a", "x").answer())
        most = 5 * (2 + time.monotonic() - begin)
        refused = [a for a in said if a.status != 201]
        check(5 <= len(said) - len(refused) < most and refused, [a.status for a in said])
        for a in refused:
            equal((a.status, a.code()), (429, "publish.rate"))
            check(int(a.headers["Retry-After"]) > 0, "Retry-After")
        rows = w.http("POST", "/v1/publish",
                      json.dumps([{"channel": "a", "data": n} for n in range(200)])).json()
        wrong = [r for r in rows if "error" in r]
        check(len(wrong) > 100, f"{len(wrong)} of a batch were refused")
        equal({r["error"]["code"] for r in wrong}, {"publish.rate"})

        t.send(b"PUB a x\r\n" * 200)
        lines = [t.line() for _ in range(200)]
        check(sum(s.startswith(b"ERROR publish.rate: ") for s in lines) > 100, "telnet")
        check(lines[0].startswith(b"OK PUB a "), "but not the first")
        for n in range(200):
            ws.say(cmd="publish", channel="a", data="x", ref=n)
        replies = [ws.item() for _ in range(200)]  # a refusal may overtake an answer
        check(sum(r.get("error", {}).get("code") == "publish.rate" for r in replies) > 100, "ws")
        check(any(r["ref"] == 0 and r.get("ok") for r in replies), "but not the first")
        with w.ws("/v1/raw?channel=b&publish=a") as raw:
            for _ in range(100):
                with contextlib.suppress(OSError):
                    raw.frame("text", "x")
            name, code = raw.read()
            equal((name, code), ("close", 1013))
        equal(w.http("GET", "/v1/history/a").status, 200, "reading goes on")
        with Http(w.address("http"), source="127.0.0.9") as c:
            equal(c.ask("POST", "/v1/publish/a", "x").answer().status, 201, "another address")
        w.limit_reached("publish_rate", 300)


def test_a_flood_on_a_channel_with_many_listeners_leaves_the_others_in_peace():
    n, flood, kinds = size(200, 4000), size(2000, 20000), list(LISTENERS)
    with World(ONE_WORKER) as w, contextlib.ExitStack() as stack:
        idle = idle_times(w)
        crowds = []
        for kind, first, mark in LISTENERS.values():
            crowd = stack.enter_context(Crowd(w.address(kind), n // len(kinds), first))
            eventually(lambda crowd=crowd, mark=mark: crowd.step(0.1) or all(
                mark in s for s in crowd.said.values()), "all listen")
            crowd.keep = 0
            crowds.append(crowd)
        router = rss(w.pids("router")[0])
        with Canary(w) as canary:
            taken, took = pour_lines(w, flood, crowds)
            compared(f"{taken} of {flood} publications to {n} listeners, as fast as they are "
                     f"taken: {taken / took:.0f} a second", idle, canary.times())
        grown = rss(w.pids("router")[0]) - router
        check(grown < 64 << 20, f"the router grew by {grown} bytes")
        equal(taken, flood, "taken")
        newest = w.json("/v1/history/hot?last=1")["messages"][0]
        equal((newest["offset"], newest["data"]), (flood, "x" * 100), "and kept")


def pour_lines(w, count, crowds):
    """One telnet connection says so many lines, as fast as it can; the crowds go
    on reading. How many were taken, and in how many seconds."""
    line = b"PUB hot " + b"x" * 100 + b"\r\n"
    left, answers, begin = line * count, b"", time.monotonic()
    with w.telnet() as t:
        t.sock.setblocking(False)
        while answers.count(b"\n") < count:
            check(time.monotonic() < begin + 6 * DEADLINE, "the answers do not come")
            with contextlib.suppress(BlockingIOError):
                left = left[t.sock.send(left[:65536]):]
            with contextlib.suppress(BlockingIOError):
                answers += t.sock.recv(65536)
            for crowd in crowds:
                crowd.step(0)
    return answers.count(b"OK PUB hot "), time.monotonic() - begin


# ---- guessing channels, abusing patterns -------------------------------------------------

POLICIES = """[namespace news/]
publish = nobody
[namespace paid/]
publish = token
[token desk]
secret = 0123456789abcdef-desk
publish = paid/
"""


def test_where_publishing_is_forbidden_nobody_learns_what_is_there():
    n = size(200, 5000)
    with World(config=POLICIES) as w, w.client() as c, w.telnet() as t:
        w.ctl("publish", "news/here", "x")
        w.ctl("publish", "paid/here", "x")
        match = play(w)
        away = {"X_Forwarded_For": "192.0.2.1"}
        for here, missing in (("news/here", "news/gone"), ("paid/here", "paid/gone"),
                              ("match/" + match, "match/elp-tig-2020-01-01")):
            answers = [c.ask("POST", "/v1/publish/" + name, "{}", **away).answer()
                       for name in (here, missing)]
            equal(*[(a.status, a.body) for a in answers])
            t.send(f"PUB {here} x\r\nPUB {missing} x\r\n".encode())
            if not here.startswith("match"):
                equal(t.line(), t.line(), "telnet")
            else:
                t.line(), t.line()  # from here it may
        for method, target in (("POST", "/v1/matches/%s/events"), ("DELETE", "/v1/matches/%s")):
            answers = [c.ask(method, target % name, GOAL if method == "POST" else None,
                             **away).answer() for name in (match, "elp-tig-2020-01-01")]
            equal(*[(a.status, a.body) for a in answers])
        times = {"news/here": [], "news/gone": []}
        for k in range(n):
            for name in sorted(times, reverse=bool(k % 2)):
                begin = time.monotonic()
                equal(c.ask("POST", "/v1/publish/" + name, "x").answer().status, 403)
                times[name].append(time.monotonic() - begin)
        here, gone = (share(sorted(times[k]), .5) for k in ("news/here", "news/gone"))
        figure(f"{n} refusals each: p50 {here * 1e6:.0f} us where there is a channel, "
               f"{gone * 1e6:.0f} us where there is none ({gone / here:.2f} times)")


def test_names_and_patterns_have_their_bounds_at_every_edge():
    deep = "/".join("a" * 100)  # 199 bytes
    with World() as w, w.telnet() as t, w.ws() as ws:
        for name, good in ((deep, True), (deep + "bb", False), (deep + "/b/c", False),
                           ("a" * 201, False), ("a//b", False), ("../a", False)):
            equal(w.publish(name, "x").status, 201 if good else 400, name[:20])
            t.send(f"PUB {name} x\r\n".encode())
            check(t.line().startswith(b"OK PUB" if good else b"ERROR channel.bad: "), name[:20])
            ws.say(cmd="subscribe", channel=name, ref=1)
            equal("error" in ws.reply(1), not good, name[:20])
        for pattern in ("a/**/b", "**/a", "a*", "***", "a/" * 150 + "*"):
            equal(w.http("GET", "/v1/channels?match=" + pattern).status, 400, pattern[:20])
            equal(w.http("GET", "/v1/poll?channel=" + pattern).status, 400, pattern[:20])
        many = "&".join(f"channel=p{k}/**" for k in range(17))
        answer = w.http("GET", "/v1/stream?" + many)
        equal((answer.status, answer.code()), (429, "patterns.many"))


def test_patterns_of_many_and_questions_about_all_channels_hold_nobody_up():
    n, channels = size(60, 1000), size(2000, 50000)
    with World(ONE_WORKER) as w, w.client() as c, contextlib.ExitStack() as stack:
        for k in range(0, channels, 250):
            c.ask("POST", "/v1/publish", json.dumps(
                [{"channel": f"x/{k + i}", "data": 0} for i in range(250)]))
            equal(c.answer().status, 201)
        idle = idle_times(w)
        patterns = "&".join(["channel=**"] + [f"channel=*/**&channel=x/*&channel=hot{k}/**"
                                              for k in range(5)])
        crowd = stack.enter_context(Crowd(
            w.address("http"), n, f"GET /v1/stream?{patterns} HTTP/1.1\r\n"
            f"Host: localhost\r\n\r\n".encode(), keep=1 << 20))
        eventually(lambda: crowd.step(0.1) or all(b'"snapshot"' in s
                                                  for s in crowd.said.values()), "all listen")
        for fd in crowd.said:
            crowd.said[fd] = b""
        with Canary(w) as canary, w.client() as asks:
            begin, asked = time.monotonic(), 0
            while asked < size(20, 50):
                asks.ask("GET", "/v1/channels?match=*/gone/*")
                equal(asks.answer(deadline=3 * DEADLINE).status, 200)
                crowd.step(0)
                asked += 1
            took = time.monotonic() - begin
            compared(f"{n} connections with {patterns.count('channel')} patterns each, "
                     f"{asked} questions in {took:.1f} s about {channels} channels", idle,
                     canary.times())
        for fd in crowd.said:
            crowd.said[fd] = b""
        for text in ("<once>", "<end>"):
            equal(w.publish("x/1", text).status, 201)
        eventually(lambda: crowd.step(0.1) or all(b"<end>" in s for s in crowd.said.values()),
                   "all have it")
        equal({s.count(b"<once>") for s in crowd.said.values()}, {1}, "once each")
