"""Every bound of the design: the answer in the edge's own protocol, the
counter that shows it, and that nobody else notices."""
import contextlib
import ctypes
import errno
import json
import os
import re
import resource
import select
import signal
import socket
import struct
import time

from world import (DEADLINE, EDGES, Failed, Http, Lines, Stream, Tcp, World, check, equal,
                   eventually, readable)

LONG = b"x" * 400


def rss(pid):
    """Resident bytes of a process."""
    with open(f"/proc/{pid}/status") as f:
        return 1024 * int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def cpu(pid):
    """Seconds of processor time that a process has used."""
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def only_worker(*sets):
    """One worker an edge, so that one socket's limit is everybody's."""
    return World(["http.workers=1", "tcp.workers=1", *sets])


def refused(w, data, status, code):
    answer = w.raw(data)
    equal((answer.status, answer.code()), (status, code))
    equal(answer.headers["Connection"], "close")


# ---- HTTP requests ---------------------------------------------------------

def test_a_request_line_that_is_too_long_is_414():
    with World(["limits.request_line=300"]) as w:
        refused(w, b"GET /" + LONG + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
                414, "request.target_long")
        # Also when its end never comes.
        refused(w, b"GET /" + LONG, 414, "request.target_long")
        w.limit_reached("request_line", 2)


def test_headers_that_are_too_long_or_too_many_are_431():
    with World() as w:
        line = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
        equal(w.raw(line + b"A: b\r\n" * 98 + b"Connection: close\r\n\r\n").status,
              200, "a hundred headers")
        refused(w, line + b"A: b\r\n" * 100 + b"\r\n", 431, "request.fields_many")
        refused(w, line + b"A: " + b"b" * 16384 + b"\r\n\r\n", 431, "request.fields_large")
        refused(w, line + b"A: " + b"b" * 16384, 431, "request.fields_large")
        w.limit_reached("headers")
        w.limit_reached("header_block", 2)


def test_headers_that_do_not_come_are_408_however_they_drip():
    with World(["limits.header_wait=400ms"]) as w:
        begin = time.monotonic()
        with w.client() as c:
            c.send(b"GET /healthz HTTP/1.1\r\nA: ")
            while not readable(c.fd, 0.05):
                check(time.monotonic() < begin + DEADLINE, "a byte now and then keeps it open")
                c.send(b"a")
            took = time.monotonic() - begin
            answer = c.answer()
            equal((answer.status, answer.code()), (408, "request.timeout"))
            check(took >= 0.4, f"after {took} s")
            c.over()
        with w.client() as c:  # nothing was asked: nothing is answered
            c.over()
        w.limit_reached("header_wait")


def test_a_body_that_trickles_is_408():
    with World(["limits.body_rate=1K"]) as w, w.client() as c:
        c.send(b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
               b"Content-Length: 60000\r\n\r\nabc")
        answer = c.answer()
        equal((answer.status, answer.code()), (408, "body.slow"))
        c.over()
        w.limit_reached("body_rate")
        equal(w.json("/v1/history/a")["messages"], [])


def test_a_message_that_is_too_big_is_refused_at_every_edge():
    with World(["limits.line=256K"]) as w:
        most = b"m" * 65536
        equal(w.publish("a", most).status, 201, "the biggest")
        refused(w, b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
                   b"Content-Length: 65537\r\n\r\n", 413, "body.too_big")
        refused(w, b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
                   b"Transfer-Encoding: chunked\r\n\r\n10001\r\n" + most + b"m",
                413, "body.too_big")
        with w.telnet() as t:
            t.send(b"PUB a " + most + b"m\r\nPUB a short\r\n")
            check(t.line().startswith(b"ERROR message.big: "), "telnet")
            check(t.line().startswith(b"OK PUB a "), "and the next one")
        w.limit_reached("message", 3)
        equal(len(w.json("/v1/history/a")["messages"]), 2)


def test_a_batch_has_a_bound_of_messages_and_of_bytes():
    def batch(n, size=1):
        item = '{"channel":"a","data":"' + "d" * size + '"}'
        return w.http("POST", "/v1/publish", "[" + ",".join([item] * n) + "]",
                      {"Content-Type": "application/json"})

    with World() as w:
        equal(batch(256).status, 201)
        answer = batch(257)
        equal((answer.status, answer.code()), (413, "batch.too_many"))
        refused(w, b"POST /v1/publish HTTP/1.1\r\nHost: localhost\r\n"
                   b"Content-Length: 1048577\r\n\r\n", 413, "batch.too_big")
        w.limit_reached("batch")
        w.limit_reached("batch_bytes")
        equal(w.json("/v1/history/a?limit=1000&since=0")["messages"][-1]["offset"], 256)


def test_a_connection_has_a_bound_of_requests():
    with World(["limits.requests_per_connection=5"]) as w, w.client() as c:
        for n in range(1, 6):
            answer = c.ask("GET", "/healthz").answer()
            equal((answer.status, answer.headers.get("Connection")),
                  (200, "close" if n == 5 else None))
        c.over()
        w.limit_reached("requests_per_connection")


def push(c, data):
    """Sends until the other side takes no more for a while: how much."""
    sent = 0
    c.sock.setblocking(False)
    while sent < len(data) and select.select([], [c.sock], [], 0.3)[1]:
        sent += c.sock.send(data[sent:sent + 65536])
    c.sock.settimeout(20)
    return sent


def test_who_pipelines_is_held_back_and_answered_in_order():
    with only_worker() as w, w.client() as c:
        body = "b" * 60000
        one = (f"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
               f"Content-Length: {len(body)}\r\n\r\n{body}").encode()
        pid, = w.pids("http")
        before = rss(pid)
        w.kill("router", signal.SIGSTOP)
        sent = push(c, one * 600)
        check(sent < len(one) * 500, f"{sent} bytes were taken unanswered")
        check(rss(pid) - before < 40 << 20, "memory of the gateway")
        w.kill("router", signal.SIGCONT)
        whole = sent // len(one)
        offsets = [c.answer().json()["offset"] for _ in range(whole)]
        equal(offsets, list(range(1, whole + 1)))


# ---- telnet ----------------------------------------------------------------

def test_what_is_pipelined_behind_a_long_answer_is_answered():
    batch = json.dumps([{"channel": "long", "data": "x" * 4000}] * 50)
    with World() as w, w.client() as c:
        equal(w.http("POST", "/v1/publish", batch).status, 201)
        for _ in range(8):
            c.ask("GET", "/v1/history/long?last=50")
        for _ in range(8):
            equal(len(c.answer().json()["messages"]), 50)


def test_a_line_that_is_too_long_is_dropped_and_the_connection_stays():
    with World() as w, w.telnet() as t:
        t.send(b"PUB a " + b"x" * 5000 + b"\r\nPING\r\n")
        check(t.line().startswith(b"ERROR line.long: "), "told")
        equal(t.line(), b"OK PING\r\n")
        w.limit_reached("line")
        equal(w.json("/v1/history/a")["messages"], [])


# ---- subscriptions ---------------------------------------------------------

def test_a_connection_has_a_bound_of_channels_and_of_patterns():
    with World(["limits.channels_per_connection=3",
                "limits.patterns_per_connection=2"]) as w:
        for query, code in (("channel=a&channel=b&channel=c&channel=d", "channels.many"),
                            ("channel=a/*&channel=b/*&channel=c/*", "patterns.many")):
            answer = w.http("GET", "/v1/stream?" + query)
            equal((answer.status, answer.code()), (429, code))
            check(int(answer.headers["Retry-After"]) > 0, "Retry-After")
        with w.telnet() as t:
            for channel in (b"a", b"b", b"x/*"):
                t.send(b"SUB " + channel + b"\r\n")
                check(t.line().startswith(b"OK SUB " + channel), channel)
            t.send(b"SUB d\r\nUNSUB a\r\nUNSUB b\r\nSUB y/*\r\nSUB z/*\r\nSUB a\r\n")
            check(t.line().startswith(b"ERROR channels.many: "), "one too many")
            equal([t.line(), t.line()], [b"OK UNSUB\r\n"] * 2)
            check(t.line().startswith(b"OK SUB y/* "), "room again")
            check(t.line().startswith(b"ERROR patterns.many: "), "a pattern too many")
            check(t.line().startswith(b"OK SUB a "), "and it lives on")
            w.publish("a", "hello")
            check(t.line().endswith(b"-: hello\r\n"), "delivered")
        w.limit_reached("channels_per_connection", 2)
        w.limit_reached("patterns_per_connection", 2)


def test_the_router_knows_a_bounded_number_of_channels():
    with World(["limits.channels=3"]) as w, w.stream("/v1/stream?channel=a") as s:
        s.item()
        for channel in "bc":
            equal(w.publish(channel, "x").status, 201)
        answer = w.publish("d", "x")
        equal((answer.status, answer.code()), (429, "channels.full"))
        check(int(answer.headers["Retry-After"]) > 0, "Retry-After")
        answer = w.http("GET", "/v1/poll?channel=d")
        equal((answer.status, answer.code()), (429, "channels.full"))
        with w.telnet() as t:
            t.send(b"SUB d\r\nPUB d x\r\nPUB a still here\r\n")
            check(t.line().startswith(b"ERROR channels.full: "), "SUB")
            check(t.line().startswith(b"ERROR channels.full: "), "PUB")
            check(t.line().startswith(b"OK PUB a "), "known ones go on")
        equal(s.message()["data"], "still here")
        w.limit_reached("channels", 4)


# ---- connections -----------------------------------------------------------

def test_an_address_has_a_bound_of_connections():
    with only_worker("limits.connections_per_address=2") as w:
        with w.client() as a, w.client() as b:
            for c in (a, b):
                equal(c.ask("GET", "/healthz").answer().status, 200)
            with w.client() as c:
                answer = c.answer()
                equal((answer.status, answer.code()), (503, "gateway.full"))
                check(int(answer.headers["Retry-After"]) > 0, "Retry-After")
                c.over()
            with Http(w.address("http"), source="127.0.0.9") as c:
                equal(c.ask("GET", "/healthz").answer().status, 200, "another address")
        with w.telnet(), w.telnet(), Tcp(w.address("tcp")) as t:
            check(t.line().startswith(b"ERROR busy: "), "telnet")
            equal(t.all(), b"")
        eventually(lambda: alive(w), "room again")
        w.limit_reached("connections_per_address", 2)


def test_an_address_has_its_bound_over_all_workers_of_a_process():
    with World(["http.workers=4", "limits.connections_per_address=3"]) as w:
        with contextlib.ExitStack() as stack:
            served = 0
            for _ in range(40):  # spread over the workers by chance
                c = stack.enter_context(w.client().ask("GET", "/healthz"))
                served += c.answer().status == 200
            equal(served, 3)
        eventually(lambda: alive(w), "room again")
        eventually(lambda: w.metric("accept_refused_total", why="address") >= 37, "counter")


def test_who_is_turned_away_hears_why_though_it_goes_on_talking():
    with World(["limits.connections_per_address=1"]) as w, w.telnet() as t:
        for _ in range(20):
            with Tcp(w.address("tcp"), b"PUB a x\r\n" * 1000) as c:
                c.send(b"PUB a x\r\n" * 1000)
                check(c.line().startswith(b"ERROR busy: "), "told")
        t.send(b"PING\r\n")
        equal(t.line(), b"OK PING\r\n")


V2 = b"\r\n\r\n\0\r\nQUIT\n"


def proxied(client, version=1):
    """What a proxy says in front of this client's bytes."""
    if version == 1:
        return f"PROXY TCP4 {client} 127.0.0.1 4000 80\r\n".encode()
    return V2 + b"\x21\x11\0\x0c" + socket.inet_aton(client) + b"\x7f\0\0\1\x0f\xa0\0\x50"


BEHIND = [f"{edge}.trusted_proxies=127.0.0.1" for edge in EDGES]


def handshake(w, header, **headers):
    """The status of a WebSocket handshake, and its connection."""
    c = Http(w.address("ws"), header)
    c.ask("GET", "/v1/ws", Upgrade="websocket", Connection="Upgrade",
          Sec_WebSocket_Version="13", Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==", **headers)
    return int(c.until(b"\r\n\r\n").split()[1]), c


def test_behind_a_proxy_each_client_has_its_own_bound():
    with World(["limits.connections_per_address=1", *BEHIND]) as w, \
            contextlib.ExitStack() as stack:
        def http(header, **headers):
            c = stack.enter_context(Http(w.address("http"), header))
            return c.ask("GET", "/healthz", **headers).answer().status

        def telnet(header):
            c = stack.enter_context(Tcp(w.address("tcp"), header))
            c.send(b"PING\r\n")
            c.line(), c.line()
            return c.line().split()[0]

        def ws(header, **headers):
            status, c = handshake(w, header, **headers)
            stack.enter_context(c)
            return status

        for ask, good, bad in ((http, 200, 503), (telnet, b"OK", b"ERROR"), (ws, 101, 503)):
            equal([ask(proxied(c, v)) for c, v in (("192.0.2.1", 1), ("192.0.2.1", 2),
                                                   ("192.0.2.2", 2), ("192.0.2.2", 1))],
                  [good, bad] * 2, ask.__name__)
            # The proxy itself, and who it says nothing of, have no bound.
            equal([ask(h) for h in (b"", b"", b"PROXY UNKNOWN\r\n")], [good] * 3)
        for ask, good in ((http, 200), (ws, 101)):
            equal([ask(b"", X_Forwarded_For="1.1.1.1, 192.0.2.3"),
                   ask(b"", X_Forwarded_For="1.1.1.1, 192.0.2.3"),
                   ask(b"", X_Forwarded_For="192.0.2.3, 1.1.1.1"),
                   ask(b"", Forwarded='for="[2001:db8::1]:80"'),
                   ask(b"", Forwarded='for="[2001:db8::1]"')],
                  [good, 503, good, good, 503], ask.__name__)
            # Behind a header that names it, a client's own word is none.
            equal(ask(proxied("192.0.2.4"), X_Forwarded_For="192.0.2.3"), good)
        w.limit_reached("connections_per_address", 10)


def test_a_proxy_header_from_anybody_else_is_an_error():
    with World() as w:
        for header in (proxied("192.0.2.1"), proxied("192.0.2.1", 2)):
            for edge in ("http", "ws"):
                with Http(w.address(edge), header) as c:
                    c.ask("GET", "/healthz")
                    equal(c.answer().status, 400, edge)
                    c.over()
            with Tcp(w.address("tcp"), header) as t:
                t.send(b"\r\nPING\r\n")
                t.line(), t.line()
                check(t.line().startswith(b"ERROR "), "telnet")


def test_behind_a_proxy_header_nobody_is_on_loopback():
    with World(BEHIND) as w:
        for header in (b"", b"PROXY UNKNOWN\r\n", proxied("127.0.0.1"), proxied("127.0.0.1", 2),
                       V2 + b"\x20\0\0\0"):
            with Http(w.address("http"), header) as c:
                answer = c.ask("POST", "/v1/publish/match/x", "{}",
                               Content_Type="application/json").answer()
                equal((answer.status, answer.code()), (403, "publish.denied"))
                # Figures are for this machine, to which a proxy's clients do
                # not belong; it may ask for them itself.
                equal(c.ask("GET", "/metrics").answer().status, 404 if header else 200)
            with Tcp(w.address("tcp"), header) as t:
                t.send(b"PUB match/x {}\r\n")
                t.line(), t.line()
                check(t.line().startswith(b"ERROR publish.denied: "), "telnet")


def test_a_broken_proxy_header_ends_the_connection():
    with World(BEHIND) as w:
        for header in (b"PROXY TCP9 a b c d\r\n", b"PROXY " + b"x" * 200, V2 + b"\x31\0\0\0"):
            with Http(w.address("http"), header) as c:
                c.over()
        eventually(lambda: w.metric("refused_total", code="proxy.bad") == 3, "counter")
        check("proxy.header" in w.log_tail(), "log")


def closed_after(w, data):
    """A telnet client that says this, and waits."""
    with Tcp(w.address("tcp"), data) as t:
        t.until(b"<your-name>\r\n")
        equal(t.all(), b"")


def test_half_a_proxy_header_is_waited_for_so_long_and_no_longer():
    with World([*BEHIND, "limits.header_wait=300ms"]) as w:
        with w.telnet() as slow:  # whose own words begin like one
            slow.send(b"P")
            for half in (b"PROXY TCP4 192.0.2.1", V2[:7]):
                closed_after(w, half)
            slow.send(b"ING\r\n")
            equal(slow.line(), b"OK PING\r\n")
        eventually(lambda: w.metric("refused_total", code="proxy.bad") == 2, "counter")
        w.limit_reached("header_wait", 2)


def test_where_a_proxy_header_must_come_silence_is_none():
    with World([*BEHIND, "limits.header_wait=300ms", "tcp.proxy_protocol=always"]) as w:
        closed_after(w, b"")
        closed_after(w, b"PRO")
        with w.telnet() as t:
            t.send(proxied("192.0.2.1") + b"PING\r\n")
            equal(t.line(), b"OK PING\r\n")
        eventually(lambda: w.metric("refused_total", code="proxy.missing") == 2, "counter")
        w.limit_reached("header_wait", 2)


def alive(w):
    try:
        return w.http("GET", "/healthz").status == 200
    except OSError:
        return False


def small_files(n):
    """For World(before=): no process of it may open more than n files."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))


def test_at_its_files_limit_a_gateway_turns_away_rests_and_recovers():
    with World(["http.workers=1", "tcp.workers=1"], before=small_files(200)) as w:
        room = 200 - 64 - 64
        pid, = w.pids("http")
        clients = [w.client() for _ in range(room)]
        for c in clients:
            equal(c.ask("GET", "/healthz").answer().status, 200)
        for _ in range(5):
            with w.client() as c:
                answer = c.answer()
                equal((answer.status, answer.code()), (503, "gateway.full"))
                c.over()
        # Those who are in are served as before.
        equal(clients[0].ask("POST", "/v1/publish/a", "x").answer().status, 201)
        before = cpu(pid)
        clients[0].quiet(1)
        check(cpu(pid) - before < 0.1, "it spins")
        for c in clients:
            c.close()
        eventually(lambda: alive(w), "room again")
        eventually(lambda: w.metric("accept_refused_total", why="files") >= 5, "counter")

        with w.telnet() as t:
            clients = [w.telnet() for _ in range(room - 1)]
            with Tcp(w.address("tcp")) as c:
                check(c.line().startswith(b"ERROR busy: "), "telnet")
                equal(c.all(), b"")
            t.send(b"PING\r\n")
            equal(t.line(), b"OK PING\r\n")
            for c in clients:
                c.close()


def test_when_the_reserve_is_used_up_accepting_pauses():
    with World(["http.workers=1"], before=small_files(200)) as w, \
            contextlib.ExitStack() as stack:
        room = 200 - 64 - 64
        pid, = w.pids("http")
        for _ in range(room):
            c = stack.enter_context(w.client())
            equal(c.ask("GET", "/healthz").answer().status, 200)
        # None of these hangs up by itself; all are told in the end.
        before = cpu(pid)
        turned_away = [stack.enter_context(w.client()) for _ in range(150)]
        for c in turned_away:
            equal(c.answer().code(), "gateway.full")
        check(cpu(pid) - before < 0.5, "it spins")
        stack.close()
        eventually(lambda: alive(w), "room again")
        eventually(lambda: w.metric("accept_paused_total") > 0, "it paused")
        eventually(lambda: w.metric("accept_refused_total", why="files") >= 150, "counter")


ROOM = 200 - 64 - 64  # of a process with 200 files and one worker
FEW = ROOM // 8  # with so little left it leaves the port to others


def two_instances(kind, *sets):
    return World([f"{k}.workers=1" for k in EDGES] + [f"{kind}.instances=2", *sets],
                 before=small_files(200))


def listening(address):
    """Sockets that listen there, by the kernel's tables."""
    count = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as f:
            rows = [line.split() for line in f][1:]
        count += sum(row[3] == "0A" and int(row[1].split(":")[1], 16) == address[1]
                     for row in rows)
    return count


def served(client):
    """It is let in, and not turned away."""
    return client.ask("GET", "/healthz").answer().status == 200


def let_in(stack, connect, ask=served):
    """One more client that is served, sooner or later."""
    def once():
        c = connect()
        try:
            if ask(c):
                stack.callback(c.close)
                return c
        except (OSError, Failed):
            pass
        c.close()
        return None
    return eventually(once, "there is room")


def fill(w, stack, connect, ask=served):
    """Both instances. While one has more than a few places nobody is turned
    away; the last places are found by who tries again."""
    for n in range(2 * (ROOM - FEW)):
        c = stack.enter_context(connect())
        check(ask(c), f"client {n} is served")
    for _ in range(2 * FEW):
        let_in(stack, connect, ask)
    check("listen.left" in w.log_tail(), "one has left the port")


def test_an_instance_that_is_full_leaves_the_port_to_its_siblings():
    with two_instances("http") as w, contextlib.ExitStack() as stack:
        address = w.address("http")
        eventually(lambda: listening(address) == 2, "both listen")
        clients = []
        fill(w, stack, lambda: clients.append(w.client()) or clients[-1])
        eventually(lambda: listening(address) == 1, "the last one listens")
        for _ in range(5):
            with w.client() as c:
                answer = c.answer()
                equal((answer.status, answer.code()), (503, "gateway.full"))
                c.over()
        before = [cpu(pid) for pid in w.pids("http")]
        w.telnet().quiet(1)
        for pid, was in zip(w.pids("http"), before):
            check(cpu(pid) - was < 0.1, "it spins")
        for c in clients:
            c.close()
        eventually(lambda: listening(address) == 2, "both listen again")
        eventually(lambda: alive(w) and w.metric("accept_away") == 0, "counted")
        check(w.metric("accept_left_total") >= 1, "counter")
        check("listen.back" in w.log_tail(), "log")
        # And not only in name.
        fill(w, stack, w.client)


def test_telnet_and_ipv6_clients_find_the_sibling_with_room_too():
    def greeted(c):
        return c.line().startswith(b"Welcome")

    with two_instances("tcp", "tcp.listen=[::1]:0") as w, contextlib.ExitStack() as stack:
        fill(w, stack, lambda: w.telnet(greeting=False), greeted)
        with Tcp(w.address("tcp")) as c:
            check(c.line().startswith(b"ERROR busy: "), "telnet")
            equal(c.all(), b"")


def test_a_full_instance_leaves_a_shared_unix_socket_alone():
    class Client(Http):
        def __init__(self, path):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(DEADLINE)
            self.sock.connect(path)
            Lines.__init__(self, self.sock, self._recv)

    with World(start=False, before=small_files(200)) as w, contextlib.ExitStack() as stack:
        path = os.path.join(w.base, "http.sock")
        w.sets += ["http.instances=2", "http.workers=1", f"http.listen=unix:{path}"]
        w.start()
        fill(w, stack, lambda: Client(path))
        with Client(path) as c:
            equal(c.answer().code(), "gateway.full")


def test_workers_of_a_full_instance_leave_together():
    with two_instances("http", "http.workers=3") as w, contextlib.ExitStack() as stack:
        address = w.address("http")
        eventually(lambda: listening(address) == 6, "all listen")
        while "listen.left" not in w.log_tail():
            check(served(stack.enter_context(w.client())), "served")
        eventually(lambda: listening(address) == 3, "one instance has left")
        stack.close()
        eventually(lambda: listening(address) == 6, "it is back")


def test_a_full_instance_that_is_killed_is_there_again():
    with two_instances("http") as w, contextlib.ExitStack() as stack:
        address = w.address("http")
        fill(w, stack, w.client)
        left = eventually(lambda: re.search(r"listen.left gateway=http(\d)", w.log_tail()),
                          "one has left").group(1)
        for number in (left, "12".replace(left, "")):  # one that left, one that stayed
            victim, = [pid for pid in w.pids("http")
                       if instance_of(pid) == int(number) - 1]
            os.kill(victim, signal.SIGKILL)
            eventually(lambda: len(w.pids("http")) == 2 and victim not in w.pids("http"),
                       "started again")
            for _ in range(ROOM - FEW):
                let_in(stack, w.client)
            eventually(lambda: listening(address) >= 1, "somebody listens")
        stack.close()
        eventually(lambda: listening(address) == 2, "both listen")


def without_shared_memory():
    """As under a seccomp profile that knows no memfd_create: EPERM."""
    number = {"x86_64": 319, "aarch64": 279}[os.uname().machine]
    code = struct.pack("HBBIHBBIHBBIHBBI", 0x20, 0, 0, 0,  # the call's number
                       0x15, 0, 1, number, 0x06, 0, 0, 0x50000 | errno.EPERM,
                       0x06, 0, 0, 0x7fff0000)
    program = ctypes.create_string_buffer(code)
    rules = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(program))
    libc = ctypes.CDLL(None, use_errno=True)
    for args in ((38, 1, 0, 0, 0), (22, 2, ctypes.create_string_buffer(rules), 0, 0)):
        if libc.prctl(*args):
            raise OSError(ctypes.get_errno(), "prctl")


def test_instances_that_cannot_share_memory_serve_each_alone():
    with World(["http.instances=2", "http.workers=1"], before=without_shared_memory) as w:
        equal(len(w.pids("http")), 2)
        check("instances.alone edge=http" in w.log_tail(20000), "and that is said")
        for _ in range(10):
            equal(w.http("GET", "/healthz").status, 200)


def instance_of(pid):
    with open(f"/proc/{pid}/cmdline") as f:
        args = f.read().split("\0")
    return int(args[args.index("--instance") + 1])


def test_clients_that_the_kernel_drops_are_counted():
    with only_worker("limits.accept_backlog=1") as w, contextlib.ExitStack() as stack:
        w.kill("http", signal.SIGSTOP)
        for _ in range(10):
            s = stack.enter_context(socket.socket())
            s.setblocking(False)
            s.connect_ex(w.address("http"))
        w.kill("http", signal.SIGCONT)
        eventually(lambda: alive(w), "it goes on")
        w.limit_reached("accept_backlog")


# ---- slow readers ----------------------------------------------------------

BLOCK = "b" * 60000


def slow_stream(w, target="/v1/stream?channel=a", first="snapshot"):
    """A reader of a stream with little room in its socket, who has read the
    first notice and reads no more."""
    s = Stream(w.address("http"), target, room=8192)
    equal(s.item()["notice"], first)
    return s


def flood(w, count, text=BLOCK, channel="a"):
    with w.client() as c:
        for _ in range(count):
            equal(c.ask("POST", "/v1/publish/" + channel, text).answer().status, 201)


def cut(w, why):
    """Waits until somebody has been cut, and until it has been counted."""
    eventually(lambda: "conn.slow" in w.log_tail(), "cut")
    return lambda: eventually(lambda: w.metric("cut_total", why=why) > 0, "counted")


def test_who_never_reads_is_cut_when_too_much_waits_and_told_what_it_missed():
    with only_worker("limits.queue=256K") as w, slow_stream(w) as slow, \
            w.stream("/v1/stream?channel=a") as other:
        other.item()
        for n in range(100):
            flood(w, 1)
            equal(other.message()["offset"], n + 1)
        counted = cut(w, "queue")
        items = rest_of(slow)
        counted()
        w.limit_reached("queue")
        told(items)
        resumes(w, items)


def test_an_empty_queue_takes_one_message_of_any_size():
    with only_worker("limits.queue=4K") as w, w.stream("/v1/stream?channel=a") as s, \
            w.telnet() as t:
        s.item()
        t.send(b"SUB a\r\n")
        t.line()
        for _ in range(3):
            flood(w, 1)
            equal(s.message()["data"], BLOCK)
            check(t.line().endswith(BLOCK.encode() + b"\r\n"), "whole")


def test_what_one_slow_reader_costs_is_bounded():
    with only_worker("limits.queue=256K", "limits.ring_total=1M") as w:
        pid, = w.pids("http")
        flood(w, 50)
        before = rss(pid)
        slow = [slow_stream(w) for _ in range(20)]
        flood(w, 200)
        check(rss(pid) - before < 8 << 20, f"{rss(pid) - before} more bytes")
        for s in slow:
            s.close()


def test_a_slow_reader_of_a_pattern_is_told_too():
    with only_worker("limits.queue=1M", "limits.ring_total=1M",
                     "limits.queue_age=1h") as w, \
            slow_stream(w, "/v1/stream?channel=x/*") as slow:
        for n in range(150):
            flood(w, 1, channel=f"x/{n % 3}")
        counted = cut(w, "queue")
        items = rest_of(slow)
        counted()
        messages = [i for i in items if "notice" not in i]
        equal([m["seq"] for m in messages], list(range(1, len(messages) + 1)))
        gap, closing = [i for i in items if "notice" in i]
        equal((gap["notice"], gap["why"], gap["channel"]), ("gap", "slow", "x/*"))
        with w.stream("/v1/stream?channel=x/*&since=" + closing["cursor"]) as s:
            equal(s.item()["notice"], "resumed")
            equal(s.message()["seq"], len(messages) + 1)


def test_what_waits_for_longer_than_it_may_cuts_its_reader():
    with only_worker("limits.queue=64M", "limits.queue_age=1s",
                     "limits.ring_total=128M") as w, slow_stream(w) as slow:
        flood(w, 100)
        counted = cut(w, "age")
        items = rest_of(slow)
        counted()
        w.limit_reached("queue_age")
        told(items)
        resumes(w, items)


def later(w, seconds):
    """Comes back when the gateways have counted so many seconds more."""
    with w.client() as c, contextlib.suppress(Failed):
        c.line(seconds)


def test_who_was_cut_reads_whole_messages_and_why_though_it_comes_back_late():
    with World(["http.workers=1", "tcp.workers=1", "limits.queue=256K"]) as w, \
            slow_stream(w) as lines, \
            Stream(w.address("http"), "/v1/stream?channel=a",
                   {"Accept": "text/event-stream"}, room=8192) as events, \
            Tcp(w.address("tcp"), b"SUB a\r\n", room=8192) as telnet:
        equal(json.loads(events.event()["data"])["notice"], "snapshot")
        while not telnet.line().startswith(b"OK SUB"):
            pass
        flood(w, 100)
        eventually(lambda: w.log_tail().count("conn.slow") == 3, "cut")
        later(w, 3)
        told(rest_of(lines))
        told(rest_of_events(events))
        said = telnet.all().split(b"\r\n")
        messages = [line for line in said if line.endswith(b"-> " + BLOCK.encode())
                    or line.endswith(b": " + BLOCK.encode())]
        equal(said[:len(messages)], messages, "whole lines first")
        gap, error, end = said[len(messages):]
        check(gap.startswith(b"NOTICE gap a "), gap)
        check(b"why=slow" in gap and f"from={len(messages) + 1} ".encode() in gap + b" ", gap)
        check(error.startswith(b"ERROR slow: "), error)
        equal(end, b"")


def test_who_was_cut_and_never_reads_is_gone_in_time_with_what_waited():
    with World(["http.workers=1", "ws.workers=1", "limits.queue=256K",
                "limits.queue_age=2s"]) as w, slow_stream(w) as slow, \
            w.ws("/v1/ws?channel=a", room=8192) as ws:
        flood(w, 100)
        eventually(lambda: w.log_tail().count("conn.slow") == 2, "cut")
        # Sooner than a ping would find them silent.
        eventually(lambda: w.metric("connections") == 1, "only who asks is left", 24)
        eventually(lambda: w.metric("queued_bytes") == 0, "nothing is kept")
        for sock in (slow.tcp.sock, ws.sock):  # and nothing in the kernel
            eventually(lambda s=sock: s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                       == errno.ECONNRESET, "reset")


def rest_of_events(stream):
    """The same of server-sent events."""
    text = b""
    while True:
        chunk = stream.chunk()
        if not chunk:
            break
        text += chunk
    return [json.loads(line[6:]) for line in text.split(b"\n")
            if line.startswith(b"data: ")]


def rest_of(stream):
    """Everything up to a proper end."""
    items = []
    while True:
        chunk = stream.chunk()
        if not chunk:
            return items
        items += [json.loads(line) for line in chunk.split(b"\n") if line]


def told(items):
    """Complete messages without a hole, then a gap; nothing after it but a
    farewell."""
    messages = [i for i in items if "notice" not in i]
    equal([m["offset"] for m in messages], list(range(1, len(messages) + 1)))
    notices = [i for i in items if "notice" in i]
    equal([i["notice"] for i in notices], ["gap", "closing"])
    equal((notices[0]["why"], notices[0]["channel"]), ("slow", "a"))


def resumes(w, items):
    """With the cursor that it was left with it misses nothing."""
    last = [i for i in items if "notice" not in i][-1]["offset"]
    cursor = items[-1].get("cursor") or items[-2]["cursor"]
    with w.stream("/v1/stream?channel=a&since=" + cursor) as s:
        equal(s.item()["notice"], "resumed")
        equal(s.message()["offset"], last + 1)


def test_when_all_queues_together_are_too_big_the_largest_debtor_goes():
    with only_worker("limits.queue=2M", "limits.queue_total=2M",
                     "limits.ring_total=1M") as w:
        # Each reads pages of its own, more than its socket takes.
        slow = []
        for n in range(6):
            flood(w, 80, channel=f"a{n}")
            slow.append(slow_stream(w, f"/v1/stream?channel=a{n}&since=0", "resumed"))
        cut(w, "queue_total")()
        w.limit_reached("queue_total")
        # Not everybody, but until the rest is within the bound.
        check(w.metric("cut_total", why="queue_total") < 6, "all were cut")
        for s in slow:
            s.close()


def test_the_ring_is_bounded_and_the_store_stands_behind_it():
    with only_worker("limits.ring_total=1M") as w:
        with w.stream("/v1/stream?channel=a") as s:
            cursor = s.item()["cursor"]
            flood(w, 60)
            for _ in range(60):
                s.message()
            eventually(lambda: 0 < w.metric("ring_bytes", gateway="http1") <= 1 << 20,
                       "ring_bytes")
            w.limit_reached("ring_total")
        with w.stream(f"/v1/stream?channel=a&since={cursor}") as s:
            equal(s.item()["notice"], "resumed")
            equal([s.message()["offset"] for _ in range(60)], list(range(1, 61)))


def test_pages_are_bounded():
    with only_worker("limits.page=10") as w:
        for n in range(100):
            w.publish("a", str(n))
        w.kill("http")  # its ring with it
        eventually(lambda: alive(w), "back")
        before = w.metric("pages_total")
        with w.stream("/v1/stream?channel=a&since=0") as s:
            equal([s.message()["data"] for _ in range(100)], [str(n) for n in range(100)])
        check(w.metric("pages_total") - before >= 10, "in pages of ten")
        w.limit_reached("page", 9)
        answer = w.json("/v1/history/a?since=0&limit=50")
        equal((len(answer["messages"]), answer["more"]), (10, True))


def test_a_page_has_a_bound_of_bytes():
    with only_worker("limits.page_bytes=64K") as w:
        flood(w, 10)
        w.kill("http")  # its ring with it
        eventually(lambda: alive(w), "back")
        with w.stream("/v1/stream?channel=a&since=0") as s:
            equal([s.message()["offset"] for _ in range(10)], list(range(1, 11)))
        w.limit_reached("page_bytes", 5)


# ---- signs of life ---------------------------------------------------------

def test_a_quiet_stream_shows_signs_of_life():
    with World(["limits.ping=200ms"]) as w:
        with w.stream("/v1/stream?channel=a") as s:
            s.item()
            equal([s.chunk(), s.chunk()], [b"\n", b"\n"])
        with w.stream("/v1/stream?channel=a", Accept="text/event-stream") as s:
            s.event()
            for _ in range(2):
                check(s.chunk().startswith(b":"), "comment")
    with World(["limits.ping=0"]) as w, w.stream("/v1/stream?channel=a") as s:
        s.item()
        s.tcp.quiet(0.5)


def wakes(pid):
    """Times that a thread of the process has waited for something."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as f:
            total += int(re.search(r"\nvoluntary_ctxt_switches:\s+(\d+)", f.read()).group(1))
    return total


def test_idle_connections_wake_nobody():
    with only_worker("limits.ping=0") as w, contextlib.ExitStack() as stack:
        def in_two_seconds():
            before = wakes(pid)
            quiet.tcp.quiet(2)
            return wakes(pid) - before

        pid, = w.pids("http")
        quiet = stack.enter_context(w.stream("/v1/stream?channel=a"))
        quiet.item()
        alone = in_two_seconds()
        for n in range(300):
            stack.enter_context(w.stream(f"/v1/stream?channel=c/{n}")).item()
        among = in_two_seconds()
        check(among < alone + 100, f"{alone} and {among} times")


# ---- the link --------------------------------------------------------------

def test_a_publication_that_the_router_does_not_answer_ends_unknown():
    with World(["limits.publish_wait=1s"]) as w, w.client() as c, w.telnet() as t:
        w.kill("router", signal.SIGSTOP)
        c.ask("POST", "/v1/publish/a", "x")
        t.send(b"PUB a y\r\n")
        answer = c.answer()
        equal((answer.status, answer.code()), (503, "publish.unknown"))
        check(int(answer.headers["Retry-After"]) > 0, "Retry-After")
        check(t.line().startswith(b"ERROR publish.unknown: "), "telnet")
        # Now that the link is known to be down nothing is sent at all.
        answer = c.ask("POST", "/v1/publish/a", "z").answer()
        equal((answer.status, answer.code()), (503, "router.away"))
        answer = c.ask("GET", "/v1/history/a").answer()
        equal((answer.status, answer.code()), (503, "router.away"))
        w.kill("router", signal.SIGCONT)
        eventually(lambda: w.http("GET", "/readyz").status == 200, "ready")
        equal(w.publish("a", "last").status, 201)
        got = [m["data"] for m in w.json("/v1/history/a")["messages"]]
        check("z" not in got and len(got) == len(set(got)), got)
        w.limit_reached("publish_wait", 3)


def test_what_waits_for_the_router_is_bounded():
    with World(["limits.link_queue=4M", "http.workers=1",
                "limits.publish_wait=60s"]) as w:
        w.kill("router", signal.SIGSTOP)
        clients = [w.client().ask("POST", "/v1/publish/a", BLOCK) for _ in range(100)]
        busy = [c for c in clients[75:] if c.answer().code() == "router.busy"]
        check(len(busy) > 20, f"{len(busy)} refused at once")
        w.kill("router", signal.SIGCONT)
        for c in clients[:60]:
            equal(c.answer().status, 201)
        w.limit_reached("link_queue", len(busy))
        for c in clients:
            c.close()


def test_a_drain_waits_no_longer_than_it_may():
    with only_worker("limits.drain_wait=500ms", "limits.queue=64M") as w, \
            slow_stream(w) as _:
        flood(w, 100)
        begin = time.monotonic()
        equal(w.stop(), 0, "exit code")
        check(time.monotonic() - begin < 10, "not as long as shipped")
        check("gateway.hurried" in w.log_tail(20000), "and says so")


# ---- WebSocket -------------------------------------------------------------

def closes_with(c, code):
    """So it ends, whatever is said before."""
    name, data = c.read()
    while name != "close":
        name, data = c.read()
    equal(data, code, "close code")


def test_a_handshake_has_bounds():
    with World(["limits.request_line=300", "limits.handshake_wait=300ms"]) as w:
        address = w.address("ws")
        for data, status in ((b"GET /" + LONG + b" HTTP/1.1\r\n\r\n", 414),
                             (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", 431),
                             (b"GET / HTTP/1.1\r\nA: " + b"b" * 16384, 431),
                             (b"GET /v1/ws HT", 408)):
            with Http(address, data) as c:
                equal(c.answer().status, status)
                c.over()
        with Tcp(address) as c:  # silence ends, too
            c.all()
        for limit in ("request_line", "headers", "header_block", "handshake_wait"):
            w.limit_reached(limit)


def test_a_message_that_is_too_big_closes_a_websocket_with_1009():
    with World() as w:
        with w.ws("/v1/raw?channel=a&publish=a", room=1 << 20) as c:
            c.frame("bytes", b"m" * 65536)
            equal(len(c.read()[1]), 65536)
            c.frame("bytes", b"m" * 65537)
            closes_with(c, 1009)
        with w.ws() as c:
            c.say(cmd="publish", channel="a", ref=1, data="m" * 65534)
            equal(c.reply(1)["ok"], True)
            c.say(cmd="publish", channel="a", ref=2, data="m" * 65535)
            equal(c.reply(2)["error"]["code"], "message.big")
            c.frame("text", " " * (6 * 65536 + 4097))
            closes_with(c, 1009)
        w.limit_reached("message", 3)


def test_fragments_and_control_frames_are_bounded():
    with World(["limits.fragments=8"]) as w:
        with w.ws() as c:
            c.frame("text", "{", fin=False)
            for _ in range(8):
                c.frame("continue", " ", fin=False)
            closes_with(c, 1008)
        with w.ws() as c:
            for _ in range(40):
                c.frame("ping", "x")
            closes_with(c, 1008)
        w.limit_reached("fragments")
        w.limit_reached("control_frames_per_second")


def test_a_websocket_that_does_not_answer_pings_is_dead():
    with World(["limits.ping=200ms"]) as w:
        begin = time.monotonic()
        with w.ws() as c:
            while not c.ended:  # pings come, nothing goes
                check(time.monotonic() < begin + 10 + DEADLINE, "it lives")
                with contextlib.suppress(Failed):
                    c.any_frame()
        check(time.monotonic() - begin >= 10, "not before ten seconds")
        w.limit_reached("ping")


def test_a_slow_websocket_is_told_and_closed_with_4008():
    with World(["ws.workers=1", "limits.queue=256K"]) as w, \
            w.ws("/v1/ws?channel=a", room=8192) as c, \
            w.ws("/v1/raw?channel=a", room=8192) as raw:
        equal(c.item()["notice"], "snapshot")
        flood(w, 100)
        eventually(lambda: w.log_tail().count("conn.slow") == 2, "cut")
        later(w, 3)
        offset, item = 0, c.item()
        while "notice" not in item:
            offset += 1
            equal(item["offset"], offset)
            item = c.item()
        equal((item["notice"], item["why"], item["from"]), ("gap", "slow", offset + 1))
        closes_with(c, 4008)
        closes_with(raw, 4008)
