"""What a stranger's bytes cost us, for each kind of input: processor time and
memory, held against an ordinary publication in the same run. docs/cost.md says
what is counted, and has the table of one run.

Time is that of the serving processes together, never the wall's, and what is
compared are ratios: a busy machine makes both sides dearer. TOUCHLINE_COST=all
prints the table; TOUCHLINE_COST_IDS is how many channels are known (20,000).
"""
import json
import os
import time

from world import EDGES, World, check, equal, eventually, readable

BOUND = 100
CONNECTION = 300  # bytes that opening and closing one takes besides
LOUD = os.environ.get("TOUCHLINE_COST")
IDS = int(os.environ.get("TOUCHLINE_COST_IDS", "20000"))
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


class Tally:
    """Bytes that one client moves, both ways, and the connection itself."""

    def __init__(self, client):
        self.bytes = CONNECTION
        self.recv, client.recv = client.recv, self.count
        self.send, client.send = client.send, self.count_sent

    def count(self, n):
        data = self.recv(n)
        self.bytes += len(data)
        return data

    def count_sent(self, data):
        self.bytes += len(data)
        self.send(data)


class Scale:
    """A World, the table, and the price of an ordinary byte: somebody publishes
    a few words, waits for the answer, and publishes again."""

    def __init__(self):
        self.w = World(sets=ONE_EACH)
        self.pids, self.dear, self.price = pids(self.w), [], None
        self.price = self.time("publish, one after the other", self.lone(ORDINARY, 100), 3)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.w.close()
        if not kind:
            check(not self.dear, "too dear: " + ", ".join(self.dear))

    def note(self, name, carried, ratio, unit):
        if LOUD:
            print(f"     {name:45} {carried:9} bytes  x{ratio:.2f} {unit}", flush=True)
        if ratio > BOUND:
            self.dear.append(f"{name} (x{ratio:.0f})")

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

    def time(self, name, inputs, times=2):
        """inputs(): sends, waits for the answers, returns the bytes carried.
        The cheapest time counts: what happens besides is not its doing."""
        inputs()
        self.quiet()
        best = []
        for _ in range(times):
            before = spent(self.pids)
            carried = inputs()
            best.append((spent(self.pids) - before) / carried)
        if self.price:
            self.note(name, carried, min(best) / self.price, "of an ordinary byte's time")
        return min(best)

    def memory(self, name, inputs):
        """inputs(): sends, and returns how many bytes, and what is to be closed
        when their memory has been looked at."""
        before = kept(self.pids)
        carried, open_ones = inputs()
        equal(self.w.http("GET", "/healthz").status, 200)
        more = max(0, kept(self.pids) - before)
        self.note(name, carried, more / carried, "kept for each byte")
        for c in open_ones:
            c.close()

    # ---- how each edge is talked to
    def http(self, *requests, wanted=(200, 201), times=32):
        """These requests on one connection, pipelined."""
        def inputs():
            with self.w.client() as c:
                tally = Tally(c)
                c.send(b"".join(requests) * times)
                for _ in range(times * len(requests)):
                    answer = c.answer()
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
            return times * (len(data) + CONNECTION)
        return inputs

    def telnet(self, lines, times=100):
        def inputs():
            with self.w.telnet() as t:
                tally = Tally(t)
                t.send(lines * times + b"PING\r\n")
                t.until(b"OK PING\r\n")
                return tally.bytes
        return inputs

    def ws(self, send, times=50):
        """send(socket, n): one input."""
        def inputs():
            with self.w.ws() as s:
                tally = Tally(s)
                for n in range(times):
                    send(s, n)
                s.say(cmd="ping", ref="end")
                s.reply("end")
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
            for _ in range(20):
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
            s.time(f"SUB {page.decode()} 0, UNSUB", s.telnet(
                b"SUB cost/" + page + b" 0\r\nUNSUB cost/" + page + b"\r\n", 10))


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
            s.time(f"subscribe since 0 to {page}, unsubscribe", s.ws(
                both(channel=f"cost/{page}", since="0"), 10))
        s.time("1,000 subscriptions and gone", s.ws(
            lambda c, n: commands({"cmd": "subscribe", "channel": f"c/{n}"})(c, n), 1000))
        s.time("empty messages", s.ws(lambda c, _: c.frame("text", "")))
        s.time("empty fragments", s.ws(pieces, 5))
        s.time("pings", s.ws(lambda c, _: c.frame("ping", "") or c.any_frame(), 15))
        s.time("escapes in a command", s.ws(lambda c, _: c.frame(
            "text", '{"cmd":"publish","channel":"a","data":"' + "\\u0000" * 9000 + '"}'), 4))


# ---- time: questions about very much ----------------------------------------

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


# ---- memory ------------------------------------------------------------------

def held(connect, count, send):
    """So many connections that have sent something, and stay."""
    def inputs():
        open_ones = [connect() for _ in range(count)]
        for n, c in enumerate(open_ones):
            send(c, n)
        return sum(t.bytes for t in tallies), open_ones
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
        batches = lambda prefix: lambda: (sum(len(json.dumps(
            [{"channel": f"{prefix}{i}", "data": ""}])) for i in range(IDS)), publish_many(
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
