"""What a stranger's bytes cost us, for each kind of input: processor time and
memory, held against a lone publication in the same run. docs/cost.md says what
is counted and why, and has the table of one run.

Time is that of the serving processes together, never the wall's, and what is
compared are ratios: a busy machine makes both sides dearer. What is measured too
dear is measured again, against a yardstick measured again, before it is called
so. TOUCHLINE_COST=all prints the table; TOUCHLINE_COST_IDS is how many channels
are known (20,000). The bound is on the first ratio.
"""
import collections
import contextlib
import json
import os
import sqlite3
import time
import zlib

from world import EDGES, World, Ws, check, equal, eventually, readable

BOUND = 100
AGAIN = 3  # times that something too dear is measured
LOUD = os.environ.get("TOUCHLINE_COST")
IDS = int(os.environ.get("TOUCHLINE_COST_IDS", "20000"))
EVENTS = 4800 if LOUD else 2000  # of the long match; 5,000 are its end
MATCHES = 300 if LOUD else 100
ONE_EACH = [f"{kind}.workers=1" for kind in EDGES]


# ---- measuring -------------------------------------------------------------

def pids(w):
    return [pid for kind in ("router", *EDGES) for pid in w.pids(kind)]


def spent(processes):
    """Seconds of processor time so far, of all threads (clock_getcpuclockid)."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in processes)


def kept(processes):
    """Bytes of memory that are the processes' own."""
    total = 0
    for pid in processes:
        with open(f"/proc/{pid}/status") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith("RssAnon"))
    return total * 1024


class Bytes(collections.namedtuple("Bytes", "came went")):
    """What clients sent us, and what they took of our answers: bytes of the
    protocol; those of TCP, and opening a connection, count nothing."""

    def times(self, n):
        return Bytes(self.came * n, self.went * n)


class Tally:
    """Bytes that one client moves."""

    def __init__(self, client):
        self.came = self.went = 0
        self.recv, client.recv = client.recv, self.count
        self.send, client.send = client.send, self.count_sent

    def count(self, n):
        data = self.recv(n)
        self.went += len(data)
        return data

    def count_sent(self, data):
        self.came += len(data)
        self.send(data)

    @property
    def bytes(self):
        return Bytes(self.came, self.went)


class Scale:
    """A World, the table, and the yardstick: somebody publishes a few words over
    HTTP, waits for the answer, and publishes again."""

    def __init__(self, *options):
        self.w = World(sets=[*ONE_EACH, *options])
        self.pids, self.dear, self.price = pids(self.w), [], None
        self.lone_publication = self.lone(ORDINARY, 100)
        self.weigh()
        self.time("publish, one after the other", self.lone_publication, 1)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.w.close()
        if not kind:
            check(not self.dear, "too dear: " + ", ".join(self.dear))

    def weigh(self):
        """What a byte costs that comes."""
        self.lone_publication()
        self.quiet()
        self.price = self.cheapest(self.lone_publication, 3)

    def quiet(self):
        """Nothing of before is under way: trimming, checkpoints."""
        last = [spent(self.pids), time.monotonic()]

        def idles():
            before, since = last
            if time.monotonic() - since < 0.05:
                return False
            last[:] = [spent(self.pids), time.monotonic()]
            return last[0] - before < 0.1 * (last[1] - since)
        eventually(idles, "nothing to do")

    def cheapest(self, inputs, times):
        """Seconds for each byte that came: what happens besides is not its
        doing."""
        best = []
        for _ in range(times):
            before = spent(self.pids)
            self.carried = inputs()
            best.append((spent(self.pids) - before) / self.carried.came)
        return min(best)

    def time(self, name, inputs, times=2):
        """inputs(): sends, waits for the answers, returns the Bytes."""
        inputs()
        self.quiet()
        for left in reversed(range(AGAIN)):
            sent = self.cheapest(inputs, times) / self.price
            moved = sent * self.carried.came / sum(self.carried)
            if moved <= BOUND or not left:
                break
            self.weigh()
        self.note(name, self.carried, f"x{moved:.2f} moved  x{sent:.2f} sent", moved)

    def memory(self, name, inputs):
        """inputs(): sends, and returns the Bytes, and what is to be closed when
        their memory has been looked at."""
        before = kept(self.pids)
        carried, open_ones = inputs()
        equal(self.w.http("GET", "/healthz").status, 200)
        ratio = max(0, kept(self.pids) - before) / carried.came
        self.note(name, carried, f"x{ratio:.2f} kept", ratio)
        for c in open_ones:
            c.close()

    def note(self, name, carried, text, ratio):
        if LOUD:
            print(f"     {name:45} {carried.came:8} in {carried.went:8} out  {text}", flush=True)
        if ratio > BOUND:
            self.dear.append(f"{name} ({text})")

    def to_the_end(self, inputs):
        """With the work that goes on when nobody waits for it any more."""
        def all_of_it():
            carried = inputs()
            self.quiet()
            return carried
        return all_of_it

    # ---- how each edge is talked to
    def http(self, *requests, wanted=(200, 201), times=32, head=False):
        """These requests on one connection, pipelined."""
        def inputs():
            with self.w.client() as c:
                tally = Tally(c)
                c.send(b"".join(requests) * times)
                for _ in range(times * len(requests)):
                    answer = c.answer(head)
                    check(answer.status in wanted, f"{answer.status} {answer.body[:200]!r}")
                return tally.bytes
        return inputs

    def lone(self, data, times):
        """The same request, each after the answer to the one before."""
        def inputs():
            with self.w.client() as c:
                tally = Tally(c)
                for _ in range(times):
                    c.send(data)
                    check(c.answer().status in (200, 201), "refused")
                return tally.bytes
        return inputs

    def left(self, data, times=10):
        """Asked, and gone when the answer begins."""
        def inputs():
            for _ in range(times):
                with self.w.client() as c:
                    c.send(data)
                    readable(c.fd, 5)
            return Bytes(len(data), 0).times(times)
        return self.to_the_end(inputs)

    def telnet(self, lines, times=100):
        def inputs():
            with self.w.telnet() as t:
                tally = Tally(t)
                t.send(lines * times + b"PING\r\n")
                t.until(b"OK PING\r\n")
                return tally.bytes
        return inputs

    def ws(self, send, times=50, target="/v1/ws", **headers):
        """send(socket, n): one input."""
        def inputs():
            with Ws(self.w.address("ws"), target, **headers) as s:
                equal(s.status, 101, s.head)
                tally = Tally(s)
                for n in range(times):
                    send(s, n)
                s.frame("ping", "end")
                while s.any_frame() != ("pong", b"end"):
                    pass
                return tally.bytes
        return inputs


def request(method, target, body=b"", **headers):
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n"
    if body or method in ("POST", "PUT"):
        head += f"Content-Length: {len(body)}\r\n"
    for k, v in headers.items():
        head += f"{k.replace('_', '-')}: {v}\r\n"
    return head.encode() + b"\r\n" + body


def get(target, **headers):
    return request("GET", target, **headers)


def chunked(*pieces):
    return (b"POST /v1/publish/cost/chunked HTTP/1.1\r\nHost: localhost\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(pieces) + b"0\r\n\r\n")


def commands(*all_of_them):
    texts = [json.dumps(fields) for fields in all_of_them]

    def send(s, _):
        for text in texts:
            s.frame("text", text)
    return send


ORDINARY = request("POST", "/v1/publish/cost/ordinary", b"hello, world")


def publish_many(w, messages):
    messages = list(messages)
    for i in range(0, len(messages), 256):
        equal(w.http("POST", "/v1/publish", json.dumps(messages[i:i + 256])).status, 201)


def fill_history(w):
    publish_many(w, ({"channel": "cost/many", "data": "x" * 50} for _ in range(1000)))
    for _ in range(10):
        publish_many(w, ({"channel": "cost/long", "data": "x" * 9000} for _ in range(100)))


# ---- time: HTTP ------------------------------------------------------------

PLAIN = ("/", "/report", "/touchline.js", "/healthz", "/readyz", "/1/checkin", "/v1/teams",
         "/v1/matches", "/1/matches", "/v1/channels", "/v1/presence/room/x", "/metrics",
         "/v1/stats", "/v1/history/cost/ordinary?last=1", "/v1/history/none",
         "/v1/poll?channel=cost/ordinary&wait=0", "/v1/poll?channel=room/x&wait=0&name=ana")
REFUSED = ("/nowhere", "/v1/poll", "/v1/poll?channel=%zz", "/v1/history/a?since=x",
           "/v1/matches/none", "/v1/matches/none/events", "/1/match/none",
           "/1/match/none/history", "/v1/teams/none", "/v1/channels?match=//",
           "/v1/presence//", "/v1/stream?channel=*/*/**/x", "/v1/ws", "/v1/raw")


def test_no_http_request_costs_a_hundred_times_its_bytes():
    with Scale() as s:
        fill_history(s.w)
        for target in PLAIN:
            s.time("GET " + target, s.http(get(target)))
        for target in REFUSED:
            s.time("GET " + target, s.http(get(target), wanted=(200, 400, 404, 426), times=1))
        for name, page in (("many", "many"), ("long", "long")):
            target = f"/v1/history/cost/{page}?limit=1000&since=0"
            s.time(f"history of {name}", s.http(get(target), times=4))
            s.time(f"history of {name}, tag of another", s.http(
                get(target, If_None_Match='"none"'), times=4))
            s.time(f"history of {name}, not read", s.left(get(target)), 2)
            s.time(f"poll of {name}", s.http(get(f"/v1/poll?channel=cost/{page}&since=0"), times=4))
            s.time(f"poll of {name}, not read", s.left(
                get(f"/v1/poll?channel=cost/{page}&since=0")), 2)
            s.time(f"stream of {name}, not read", s.left(
                get(f"/v1/stream?channel=cost/{page}&since=0")), 2)
        s.time("connections alone", s.left(get("/healthz")), 2)
        for target in ("/", "/report", "/touchline.js"):
            with s.w.client() as c:
                c.send(get(target, Accept="text/html"))
                tag = c.answer().headers["ETag"]
            s.time(f"GET {target}, 304", s.http(get(
                target, Accept="text/html", If_None_Match=tag), wanted=(304,)))
            s.time(f"HEAD {target}", s.http(request("HEAD", target), head=True))
        s.time("OPTIONS", s.http(request("OPTIONS", "/v1/publish/a"), wanted=(200, 204)))


def test_no_proxys_word_costs_a_hundred_times_its_bytes():
    trust = [f"{kind}.trusted_proxies=127.0.0.1" for kind in EDGES]
    hops = ", ".join(f"192.0.2.{n % 250}" for n in range(550))
    hello = b"PROXY TCP4 192.0.2.%d 127.0.0.1 4000 80\r\n"

    def announced(data):
        def inputs():
            for n in range(20):
                with s.w.client() as c:
                    c.send(hello % n + data)
                    readable(c.fd, 5)
            return Bytes(len(hello % n + data), 0).times(20)
        return inputs

    def half():
        for _ in range(20):
            with s.w.client() as c:
                c.send(hello[:20])
        return Bytes(20, 0).times(20)

    with Scale(*trust) as s:
        s.time("a PROXY header", announced(get("/healthz")))
        s.time("half a PROXY header, and gone", half)
        for name in ("X_Forwarded_For", "Forwarded"):
            value = hops if name[0] == "X" else hops.replace("192", "for=192")[:7000]
            s.time(f"{name} of many hops", s.http(get("/healthz", **{name: value}),
                                                  wanted=(200, 400, 431), times=16))


def test_no_http_body_or_header_costs_a_hundred_times_its_bytes():
    headers = {f"h{i}": "v" * 150 for i in range(95)}
    channels = "&".join(f"channel=cost/c{i}" for i in range(400))
    many = json.dumps([{"channel": f"cost/{i}", "data": "x"} for i in range(256)]).encode()
    as_json = {"Content_Type": "application/json"}
    rounds = iter(range(1000))
    with Scale() as s:
        def keyed():
            n = next(rounds)
            return s.http(request("POST", "/v1/publish", json.dumps([
                {"channel": "cost/keyed", "data": "x", "idempotency": f"{n}-{i}"}
                for i in range(256)]).encode()), times=1)()

        post = lambda body, **more: request("POST", "/v1/publish/cost/body", body, **more)
        s.time("95 headers", s.http(get("/healthz", **headers)))
        s.time("400 channels", s.http(get("/v1/poll?wait=0&" + channels), times=4))
        s.time("all of it escaped", s.http(get("/v1/presence/" + "%61" * 200)))
        s.time("an empty body", s.http(post(b"")))
        s.time("a body of 64 KiB", s.http(post(b"x" * 65536), times=4))
        s.time("chunks of one byte", s.http(chunked(b"1\r\nx\r\n" * 9000), times=4))
        s.time("a chunk extension", s.http(chunked(b"1;a=" + b"b" * 100 + b"\r\nx\r\n"),
                                           wanted=(201, 400), times=1))
        s.time("escapes in JSON", s.http(post(b'"' + b"\\u0000" * 10000 + b'"', **as_json), times=4))
        s.time("nested JSON", s.http(post(b"[" * 20000 + b"]" * 20000, **as_json),
                                     wanted=(201, 400), times=1))
        s.time("a batch of 256", s.http(request("POST", "/v1/publish", many), times=2))
        s.time("a batch of 256 new keys", keyed, 2)
        s.time("pipelined publications", s.http(ORDINARY, times=100))


# ---- time: matches -----------------------------------------------------------

def test_no_event_of_a_long_match_costs_a_hundred_times_its_bytes():
    path = "/v1/matches/aaa-bbb-2031-01-01"
    with Scale() as s:
        w = s.w
        for team in ("aaa", "bbb"):
            w.http("PUT", f"/v1/teams/{team}", json.dumps({"name": team, "division": "x"}))
        equal(w.http("POST", "/v1/matches", json.dumps(
            {"home": "aaa", "visit": "bbb", "start_time": "2031-01-01"})).status, 201)
        act = lambda kind, **data: request("POST", path + "/events", json.dumps(
            {"kind": kind, "data": data}).encode())
        with w.client() as c:
            c.send(act("start"))
            equal(c.answer().status, 201)
            for _ in range(EVENTS // 100):
                c.send(act("corner", team="aaa") * 100)
                for _ in range(100):
                    equal(c.answer().status, 201)
        offsets = iter(range(3, 1000))
        s.time("an event", s.http(act("corner", team="aaa")))
        s.time("an event refused", s.http(act("goal", team="zzz"), wanted=(400, 409)))
        s.time("a retract", lambda: s.http(act("retract", offset=next(offsets)), times=1)(), 10)
        s.time("a retract refused", s.http(act("retract", offset=1), wanted=(409,), times=1), 5)
        for target in (path, path + "/events", "/v1/matches", "/v1/matches?team=zzz",
                       "/1/match/aaa-bbb-2031-01-01", "/1/match/aaa-bbb-2031-01-01/history"):
            s.time("GET " + target, s.http(get(target), times=4))
        players = [[n, "p"] for n in range(5000)]
        s.time("a line-up of 5,000", s.http(act("start", home_players=players),
                                            wanted=(400, 409), times=1), 2)
        s.time("a line-up of 10,000", s.http(act("start", home_players=players * 2),
                                             wanted=(413,), times=1), 2)
        s.time("a team, again", s.http(request("PUT", "/v1/teams/aaa", b'{"name":"A"}')))


# ---- time: telnet, WebSocket ------------------------------------------------

def test_no_telnet_line_costs_a_hundred_times_its_bytes():
    with Scale() as s:
        fill_history(s.w)
        for line in (b"PING", b"HELP", b"", b"x", b"MATCHES", b"WHO room/x", b"NICK ana",
                     b"AUTH nobody-has-this-token", b"PUB cost/t x", b"SAY x y", b"UNSUB",
                     b"V:2:ana", b"VERSION:1:CONNECT:ana:MATCH:none", b"HISTORY cost/none"):
            s.time(line.decode() or "an empty line", s.telnet(line + b"\r\n"))
        for name, lines in (("SUB, UNSUB", b"SUB a/b\r\nUNSUB a/b\r\n"),
                            ("SUB, UNSUB of a pattern", b"SUB a/*\r\nUNSUB a/*\r\n"),
                            ("JOIN, LEAVE", b"JOIN x\r\nLEAVE x\r\n"),
                            ("negotiation", b"\xff\xfd\x01\xff\xfb\x03" * 50)):
            s.time(name, s.telnet(lines))
        for page in (b"many", b"long"):
            s.time(f"HISTORY {page.decode()}", s.telnet(b"HISTORY cost/" + page + b" 1000\r\n", 4))
            s.time(f"SUB {page.decode()} 0, UNSUB", s.to_the_end(s.telnet(
                b"SUB cost/" + page + b" 0\r\nUNSUB cost/" + page + b"\r\n", 10)))


def test_no_websocket_frame_costs_a_hundred_times_its_bytes():
    def pieces(s, _):
        s.frame("text", "", fin=False)
        for _ in range(900):
            s.frame("cont", "", fin=False)
        s.frame("cont", '{"cmd":"ping"}')

    both = lambda **more: commands({"cmd": "subscribe", **more},
                                   {"cmd": "unsubscribe", "channel": more["channel"]})
    with Scale() as s:
        fill_history(s.w)
        for name, command in (("ping", {}), ("auth", {"token": "nobody-has-this-token"}),
                              ("publish", {"channel": "cost/w", "data": "x"}),
                              ("presence", {"channel": "room/x"}), ("nothing", {}),
                              ("history", {"channel": "cost/none"}), ("unsubscribe", {})):
            s.time(f"command {name}", s.ws(commands({"cmd": name, **command})))
        for name, send in (("subscribe, unsubscribe", both(channel="a/b")),
                           ("the same with a pattern", both(channel="a/*")),
                           ("the same with a name", both(channel="room/x", name="ana"))):
            s.time(name, s.ws(send))
        for page in ("many", "long"):
            s.time(f"history of {page}", s.ws(commands(
                {"cmd": "history", "channel": f"cost/{page}", "limit": 1000}), 4))
            s.time(f"subscribe since 0 to {page}, unsubscribe", s.to_the_end(s.ws(
                both(channel=f"cost/{page}", since="0"), 10)))
        s.time("1,000 subscriptions and gone", s.ws(
            lambda c, n: commands({"cmd": "subscribe", "channel": f"c/{n}"})(c, n), 1000))
        s.time("empty messages", s.ws(lambda c, _: c.frame("text", "")))
        s.time("empty fragments", s.ws(pieces, 5))
        s.time("pings", s.ws(lambda c, _: c.frame("ping", "") or c.any_frame(), 15))
        long = "long/" + "x" * 190
        s.time("a new channel subscribed, unsubscribed", s.ws(lambda c, n: commands(
            {"cmd": "subscribe", "channel": f"{long}{n:04}"},
            {"cmd": "unsubscribe", "channel": f"{long}{n:04}"})(c, n),
                                                             10000 if LOUD else 500), 1)
        s.time("raw frames", s.ws(lambda c, _: c.frame("text", "hello, world"), 200,
                                  "/v1/raw?channel=cost/none&publish=cost/raw"))
        s.time("escapes in a command", s.ws(lambda c, _: c.frame(
            "text", '{"cmd":"publish","channel":"a","data":"' + "\\u0000" * 9000 + '"}'), 4))


def test_no_deflated_frame_costs_a_hundred_times_its_bytes():
    def packed(text, blocks=1):
        z = zlib.compressobj(9, zlib.DEFLATED, -15)
        size = max(1, len(text) // blocks)
        out = b"".join(z.compress(text[i:i + size]) + z.flush(zlib.Z_FULL_FLUSH)
                       for i in range(0, len(text), size))
        return out[:-4]

    def framed(data):
        size = bytes([0x80 | len(data)]) if len(data) < 126 else \
            bytes([0x80 | 126]) + len(data).to_bytes(2, "big")
        return lambda c, _: c.send(b"\xc1" + size + b"\0\0\0\0" + data)

    def closed(data):
        """One that ends the connection: the next comes on another."""
        def inputs():
            came = 0
            for _ in range(10):
                with Ws(s.w.address("ws"), "/v1/raw?channel=cost/none&publish=cost/bomb", **offer) as c:
                    tally = Tally(c)
                    framed(data)(c, 0)
                    while c.any_frame()[0] != "close":
                        pass
                    came += tally.came
            return Bytes(came, 0)
        return inputs

    offer = {"Sec_WebSocket_Extensions": "permessage-deflate"}
    raw = dict(target="/v1/raw?channel=cost/none&publish=cost/packed", **offer)
    with Scale("ws.deflate=on") as s:
        s.time("packed: a message of 64 KB", s.ws(framed(packed(b"x" * 65000)), 10, **raw))
        s.time("packed: 1,000 blocks", s.ws(framed(packed(b"x" * 1000, 1000)), 10, **raw))
        s.time("packed: a short one", s.ws(framed(packed(b"hello, world")), 100, **raw))
        s.time("packed: a bomb of 10 MB", closed(packed(b"x" * 10_000_000)))
        s.time("packed: 9,000 blocks", closed(packed(b"x" * 9000, 9000)))


# ---- time: questions about very much ----------------------------------------

def test_no_word_of_many_matches_or_teams_costs_a_hundred_times_its_bytes():
    rounds = iter(range(1000, 10000))

    def teams(count, prefix):
        def inputs():
            with s.w.client() as c:
                tally = Tally(c)
                c.send(b"".join(request("PUT", f"/v1/teams/{prefix}{next(rounds)}",
                                        b'{"name":"A","division":"x"}') for _ in range(count)))
                for _ in range(count):
                    check(c.answer().status in (200, 201), "refused")
                return tally.bytes
        return inputs

    with Scale() as s:
        s.time("new teams", teams(200, "t"))
        s.time("a team changes", s.http(*(request("PUT", "/v1/teams/t1000", json.dumps(
            {"name": n, "division": "x"}).encode()) for n in "AB"), times=50))
        played = [request("POST", "/v1/matches", json.dumps(
            {"home": "t1000", "visit": "t1001", "start_time": f"2031-{n // 28 + 1:02}-{n % 28 + 1:02}"}
            ).encode()) for n in range(MATCHES)]
        with s.w.client() as c:
            c.send(b"".join(played))
            for _ in played:
                equal(c.answer().status, 201)
        for target in ("/v1/matches", "/1/matches", "/1/checkin", "/v1/matches?team=t1000", "/"):
            s.time(f"GET {target}, {MATCHES} matches", s.http(get(target), times=4))
        s.time(f"MATCHES, {MATCHES} matches", s.telnet(b"MATCHES\r\n", 10))
        s.memory("new teams", lambda: (teams(1000, "u")(), []))


def test_a_page_with_every_costs_little_a_second():
    """Two lines for each of 100 pages that stay open."""
    with Scale() as s:
        def inputs():
            pages = [s.w.client() for _ in range(100)]
            tallies = [Tally(c) for c in pages]
            for c in pages:
                c.send(get("/test/tick?every=1"))
            for c in pages:
                for _ in range(3):
                    c.until(b"<br/>")
                c.close()
            return Bytes(sum(t.came for t in tallies), sum(t.went for t in tallies))
        s.time("/test/?every=1", inputs, 1)


def test_no_question_about_many_channels_costs_a_hundred_times_its_bytes():
    """Beyond what is saved up such questions pay a toll: see docs/cost.md."""
    with Scale() as s:
        publish_many(s.w, ({"channel": f"crowd/{i}", "data": ""} for i in range(IDS)))
        for target in ("/v1/channels", "/v1/channels?match=crowd/*", "/v1/channels?match=none/*",
                       f"/v1/channels?after=crowd/{IDS - 1}",
                       # pipelined: the next one waits while a page is read
                       "/v1/poll?channel=none/*&since=0&wait=0",
                       "/v1/poll?channel=crowd/*&since=0&wait=0"):
            s.time("GET " + target, s.http(get(target), times=4))
        for target in ("/v1/channels?match=*/none", "/v1/poll?channel=*/none&since=0&wait=0"):
            s.time("GET " + target, s.http(get(target), times=1), 2)


# ---- disk --------------------------------------------------------------------

def on_disk(w):
    """Bytes of the database, with what is still in its log."""
    with contextlib.closing(sqlite3.connect(
            f"file:{w.dir}/touchline.db?mode=ro", uri=True)) as db:
        size, = db.execute("PRAGMA page_size").fetchone()
        pages, = db.execute("PRAGMA page_count").fetchone()
        return size * pages


def test_no_publication_takes_a_hundred_times_its_bytes_on_disk():
    """What stays; the log itself is overwritten again and again."""
    def batches(**fields):
        def inputs():
            came = 0
            for n in range(0, 10_240, 256):
                body = json.dumps([{"channel": "cost/disk", "data": "x",
                                    **{k: v.format(n + i) for k, v in fields.items()}}
                                   for i in range(256)]).encode()
                equal(s.w.http("POST", "/v1/publish", body).status, 201)
                came += len(body)
            return Bytes(came, 0)
        return inputs

    with Scale() as s:
        for name, inputs in (
                ("messages of one byte", batches()),
                ("the same with a key", batches(idempotency="k{}")),
                ("the same, each to a channel of its own", batches(channel="c{}")),
                ("PUB a x", s.telnet(b"PUB a x\r\n", 5000))):
            before = on_disk(s.w)
            carried = inputs()
            ratio = (on_disk(s.w) - before) / carried.came
            s.note(name, carried, f"x{ratio:.2f} on disk", ratio)


# ---- memory ------------------------------------------------------------------

def held(connect, count, send):
    """So many connections that have sent something, and stay."""
    def inputs():
        open_ones = [connect() for _ in range(count)]
        for n, c in enumerate(open_ones):
            send(c, n)
        return Bytes(sum(t.came for t in tallies), sum(t.went for t in tallies)), open_ones
    tallies = []
    connect_first = connect

    def connect():
        c = connect_first()
        tallies.append(Tally(c))
        return c
    return inputs


def ended(send):
    """A WebSocket's input, and the answer that says that it has been read."""
    def both(s, n):
        send(s, n)
        s.say(cmd="ping", ref="end")
        s.reply("end")
    return both


def test_no_input_keeps_a_hundred_times_its_bytes():
    with Scale() as s:
        w = s.w
        batches = lambda prefix: lambda: (Bytes(sum(len(json.dumps(
            [{"channel": f"{prefix}{i}", "data": ""}])) for i in range(IDS)), 0), publish_many(
                w, ({"channel": f"{prefix}{i}", "data": ""} for i in range(IDS))) or [])
        s.memory("new channels", batches("new/"))
        s.memory("new channels without history", batches("volatile/"))
        s.memory("10,000 subscriptions", held(w.ws, 1, ended(lambda c, _: [commands(
            {"cmd": "subscribe", "channel": f"held/{i}"})(c, 0) for i in range(10000)])))
        s.memory("patterns", held(w.ws, 100, ended(lambda c, n: [commands(
            {"cmd": "subscribe", "channel": f"p{n}-{i}/*"})(c, 0) for i in range(16)])))
        s.memory("names in a room", held(w.ws, 200, ended(lambda c, n: commands(
            {"cmd": "subscribe", "channel": "room/x", "name": f"{n}" + "y" * 50})(c, 0))))
        for name, data in (("half a request", b"GET / HTTP/1.1\r\nHost: lo"),
                           ("polls", get("/v1/poll?channel=q&wait=60")),
                           ("polls under a name", get("/v1/poll?channel=room/q&wait=60&name=ana")),
                           ("pages with every=1", get("/test/q?every=1")),
                           ("bodies declared", request("POST", "/v1/publish/a", b" " * 65536)[:-65536]),
                           ("chunks of one byte", chunked(b"1\r\nx\r\n" * 3000)[:-5]),
                           ("200 requests behind a poll", get("/v1/poll?channel=q&wait=60")
                            + get("/healthz") * 200)):
            s.memory(name, held(w.client, 300, lambda c, _: c.send(data)))
        s.memory("fragments of one byte", held(w.ws, 100, lambda c, _: [
            c.frame("cont" if i else "text", "x", fin=False) for i in range(900)]))
        s.memory("telnet lines that wait", held(w.telnet, 200, lambda c, n: c.send(
            b"JOIN r%d\r\n" % n + b"HISTORY x\r\n" * 100)))
        s.memory("half a telnet line", held(w.telnet, 200, lambda c, _: c.send(b"x" * 4000)))
