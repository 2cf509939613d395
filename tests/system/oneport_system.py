"""One port for both: a WebSocket that comes to the HTTP gateway is passed on to the
WebSocket gateway (http.websocket = on). The client sees one answer."""
import asyncio
import contextlib
import json
import os
import signal
import subprocess

import proxy_system
import ws_deflate_system
import ws_system
from proxy_system import Proxy
from world import (BIN, DEADLINE, ROOT, Http, Ws, World, check, equal, eventually,
                   figure, full_size, readable)

ON = ["http.websocket=on"]
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
HANDSHAKE = ("GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
             "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" + KEY + "\r\n").encode()


def here(w, target="/v1/ws", **more):
    """A WebSocket on the HTTP gateway's port."""
    return Ws(w.address("http"), target, **more)


def open_at(w, kind):
    """Connections that all workers of a kind have."""
    text = w.http("GET", "/metrics").body.decode()
    return sum(int(line.rsplit(" ", 1)[1]) for line in text.split("\n")
               if line.startswith(f'touchline_connections{{gateway="{kind}'))


def speaks(ws, channel="a"):
    equal((ws.status, ws.item()["notice"]), (101, "welcome"))
    ws.say(cmd="subscribe", channel=channel, ref=1)
    check(ws.reply(1)["ok"], "subscribed")
    ws.say(cmd="publish", channel=channel, data="x", ref=2)
    equal(ws.message()["data"], "x")


def test_a_websocket_on_the_http_port_is_one():
    with World(ON) as w:
        with here(w) as ws, here(w, "/v1/raw?channel=a&publish=b") as raw, \
                here(w, "/v1/ws?channel=b") as other:
            speaks(ws)
            equal(raw.read(), ("text", b'"x"'))
            raw.frame("text", "bare")
            equal(other.message()["data"], "bare")
            eventually(lambda: open_at(w, "ws") == 3, "ws has them")
            eventually(lambda: open_at(w, "http") == 1, "http has us alone")
            eventually(lambda: w.metric("closed_total", why="passed") == 3, "counted as passed")
            equal(w.metric("passed_total", way="on"), 3)
            eventually(lambda: w.metric("passed_total", way="in") == 3, "counted there")
        eventually(lambda: open_at(w, "ws") == 0, "they have gone")
        with w.ws(welcome=False) as ws:  # its own port goes on
            speaks(ws)


def test_what_came_before_and_what_comes_at_once():
    """Pipelined requests are answered first, on the same connection; frames that do
    not wait for the 101 arrive; pieces of any size."""
    frame = b"\x81\x80\0\0\0\0"
    hello = json.dumps({"cmd": "ping", "ref": 5}).encode()
    hello = bytes([0x81, 0x80 | len(hello)]) + b"\0\0\0\0" + hello
    with World(ON) as w:
        with Http(w.address("http")) as c:
            c.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
                   b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
                   b"\r\nx" + HANDSHAKE + hello)
            equal(c.answer().status, 200)
            equal(c.answer().status, 201)
            ws = as_ws(c)
            equal(ws.item()["notice"], "welcome")
            check(ws.reply(5)["ok"], "the frame that came along")
        with Http(w.address("http")) as c:  # kept alive first
            equal(c.ask("GET", "/healthz").answer().status, 200)
            c.send(HANDSHAKE)
            equal(as_ws(c).item()["notice"], "welcome")
        with Http(w.address("http")) as c:
            for i in range(len(HANDSHAKE)):
                c.send(HANDSHAKE[i:i + 1])
            equal(as_ws(c).item()["notice"], "welcome")
        with Http(w.address("http")) as c:  # more than a message holds
            c.send(HANDSHAKE[:-2] + b"A: " + b"x" * 8000 + b"\r\n\r\n" + frame * 8000)
            check(c.answer().status in (101, 503), "an answer")


def as_ws(c):
    """The rest of an HTTP client's connection, from the 101 on."""
    ws = Ws.__new__(Ws)
    ws.__dict__.update(c.__dict__)
    ws.opened()
    equal(ws.status, 101)
    return ws


def test_the_rules_are_those_of_the_ws_section():
    with World(ON + ["ws.origins=good.example", "http.origins=other.example",
                     "ws.hosts=ws.example", "http.hosts=http.example",
                     "limits.channels_per_connection=1"]) as w:
        for headers, status in (({"Origin": "https://good.example"}, 101),
                                ({"Origin": "https://localhost"}, 101),
                                ({"Origin": "https://other.example"}, 403),
                                ({"Origin": "https://evil.example"}, 403),
                                ({"Host": "ws.example"}, 101), ({"Host": "http.example"}, 421),
                                ({"Authorization": "Bearer nonsense"}, 403)):
            with here(w, **headers) as ws:
                equal(ws.status, status, headers)
        for target, status in (("/v1/nothing", 404), ("/", 404), ("/v1/ws?x=%zz", 400),
                               ("/v1/ws?channel=a&channel=b", 429),
                               ("/v1/ws?channel=%20", 400)):
            with here(w, target) as ws:
                equal(ws.status, status, target)
        with Http(w.address("http")) as c:
            c.send(HANDSHAKE.replace(b": 13", b": 8"))
            equal(c.answer().status, 426)
        # The page looks for it with a plain GET.
        answer = w.http("GET", "/v1/ws")
        equal((answer.status, answer.code(), "url" in answer.json()),
              (426, "upgrade.required", False))


def test_pings_deflate_and_limits_are_the_ws_gateway_s():
    with World(ON + ["ws.deflate=on", "limits.ping=1s", "limits.message=1K"]) as w:
        with here(w, "/v1/raw?channel=a&publish=a",
                  Sec_WebSocket_Extensions="permessage-deflate") as ws:
            check("permessage-deflate" in ws.head, ws.head)
            equal(ws.any_frame()[0], "ping")
            ws.frame("pong", b"")
            ws.frame("text", "x" * 2000)
            equal(ws.read(), ("close", 1009))


def test_clients_behind_a_proxy_are_named_and_bounded():
    trust = ["http.trusted_proxies=127.0.0.1", "ws.trusted_proxies=127.0.0.1",
             "limits.connections_per_address=2"]
    with World(ON + trust) as w, contextlib.ExitStack() as stack:
        def ask(**headers):
            return stack.enter_context(here(w, **headers)).status

        equal([ask(X_Forwarded_For=f"192.0.2.{n}") for n in (1, 1, 1, 2, 2, 2)],
              [101, 101, 503] * 2)

        def header(n):
            c = stack.enter_context(Http(w.address("http")))
            c.send(f"PROXY TCP4 192.0.2.{n} 127.0.0.1 1 1\r\n".encode() + HANDSHAKE)
            return int(c.until(b"\r\n\r\n").split()[1])

        equal([header(n) for n in (3, 3, 3, 1)], [101, 101, 503, 503])
        # A proxy's connection is kept; who asked before is not who asks now.
        c = stack.enter_context(Http(w.address("http")))
        c.ask("GET", "/healthz", X_Forwarded_For="192.0.2.1").answer()
        c.send(HANDSHAKE.replace(KEY.encode(), KEY.encode() + b"X-Forwarded-For: 192.0.2.9\r\n"))
        as_ws(c)
        with here(w) as ws:  # a proxy that names nobody is no guest of this machine
            ws.item()
            ws.say(cmd="publish", channel="match/x", data={}, ref=1)
            equal(ws.reply(1)["error"]["code"], "publish.denied")


def test_a_proxy_that_only_ws_trusts_is_no_guest_of_this_machine():
    """By the rules of [ws], whatever the HTTP gateway takes the peer for."""
    def answer(ws):
        ws.item()
        ws.say(cmd="publish", channel="match/x", data={}, ref=1)
        return ws.reply(1)["error"]["code"]

    with World(ON + ["ws.trusted_proxies=127.0.0.1"]) as w:
        with w.ws(welcome=False) as there, here(w) as ws:
            equal((answer(there), answer(ws)), ("publish.denied", "publish.denied"))


def test_off_it_is_426_and_a_reload_turns_it():
    with World(config="[http]\nwebsocket = off\n") as w:
        def turn(word):
            with open(w.config, "w") as f:
                f.write(f"[http]\nwebsocket = {word}\n")
            p = subprocess.run([os.path.join(BIN, "touchline"), "--dir", w.dir, "reload"],
                               capture_output=True, timeout=DEADLINE)
            equal(p.stdout, b"changed http.websocket: at once\n")

        with here(w) as ws:
            equal(ws.status, 426)
        turn("on")
        with here(w) as ws:
            speaks(ws)
            turn("off")
            ws.say(cmd="ping", ref=9)
            check(ws.reply(9)["ok"], "who is passed on stays")
        with here(w) as ws:
            equal(ws.status, 426)


def test_while_the_ws_gateway_is_away_clients_wait_or_come_again():
    with World(ON + ["ws.workers=1"]) as w, contextlib.ExitStack() as stack:
        first = stack.enter_context(here(w))
        speaks(first)
        before = w.pids("ws")
        w.kill("ws")
        equal(first.all(), b"", "its own have gone with it")
        late = stack.enter_context(here(w))  # the next one takes it
        speaks(late)
        eventually(lambda: w.pids("ws") not in ([], before), "another ws")
        # One that stands still: a queue that ends, then 503.
        w.kill("ws", signal.SIGSTOP)
        waiting = [stack.enter_context(Http(w.address("http"))) for _ in range(600)]
        for c in waiting:
            c.send(HANDSHAKE)
        turned_away = eventually(lambda: [c for c in waiting if readable(c.sock, 0)],
                                 "there is an end to it")
        answer = turned_away[0].answer()
        equal((answer.status, answer.code()), (503, "websocket.away"))
        check(int(answer.headers["Retry-After"]) >= 1, answer.headers)
        equal(turned_away[0].ask("GET", "/healthz").answer().status, 200, "it is an HTTP client")
        w.kill("ws", signal.SIGCONT)
        waiting.remove(turned_away[0])
        statuses = [int(c.until(b"\r\n\r\n").split()[1]) for c in waiting]
        equal(sorted(set(statuses)), [101, 503])
        speaks(stack.enter_context(here(w)))
        figure(f"{statuses.count(101)} clients waited for a gateway that stood still")


def test_a_crowd_is_spread_over_processes_and_workers():
    clients = 1000 if full_size() else 200
    with World(ON + ["ws.instances=2", "ws.workers=2", "http.instances=2"]) as w, \
            contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(here(w, "/v1/ws?channel=a", wait=False))
                 for _ in range(clients)]
        for ws in crowd:
            equal(ws.opened().status, 101)
        eventually(lambda: w.json("/v1/presence/a")["count"] == clients, "all are there")
        w.publish("a", "hello")
        for ws in crowd:
            equal(ws.message()["data"], "hello")
        # One of two processes goes, and the other takes who comes.
        pid = w.pids("ws")[0]
        os.kill(pid, signal.SIGSTOP)
        eventually(lambda: states(pid) == {"T"}, "it stands still, all of it")
        for _ in range(5):
            speaks(stack.enter_context(here(w)), "b")
        os.kill(pid, signal.SIGCONT)
        equal(w.stop(), 0)
        ends = {end_of(ws) for ws in crowd}
        equal(ends, {1001})


def states(pid):
    """Of all threads of a process."""
    ret = set()
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/stat") as f:
            ret.add(f.read().rsplit(")", 1)[1].split()[0])
    return ret


def end_of(ws):
    while True:
        name, data = ws.read()
        if name == "close":
            return data


def test_an_upgrade_closes_nobody_who_came_this_way():
    with World(ON + ["ws.workers=1", "http.workers=1"]) as w, contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(here(w, "/v1/ws?channel=a")) for _ in range(20)]
        eventually(lambda: w.json("/v1/presence/a")["count"] == 20, "all are there")
        before = {kind: w.pids(kind) for kind in ("http", "ws")}
        p = subprocess.run([os.path.join(BIN, "touchline"), "--dir", w.dir, "upgrade"],
                           capture_output=True, timeout=3 * DEADLINE)
        equal(p.returncode, 0, p.stdout + p.stderr)
        for kind, pids in before.items():
            check(w.pids(kind) not in ([], pids), f"another {kind}")
        crowd += [stack.enter_context(here(w, "/v1/ws?channel=a")) for _ in range(20)]
        eventually(lambda: w.json("/v1/presence/a")["count"] == 40, "the late ones, too")
        w.publish("a", "hello")
        for ws in crowd:
            equal(ws.message()["data"], "hello")


# ---- others' clients, others' proxies --------------------------------------

def test_ws_of_node_comes_through():
    with World(ON + ["ws.deflate=on"]) as w:
        p = subprocess.run(
            ["node", os.path.join(ROOT, "tests/node/ws_deflate.js"),
             str(w.address("http")[1])], capture_output=True, timeout=3 * DEADLINE,
            env={**os.environ, "NODE_PATH": os.path.join(ROOT, "build/node/node_modules")})
        check(p.returncode == 0, p.stderr)
        seen = json.loads(p.stdout)
        equal((seen["wrong"], seen["messages"]), ([], 12))
        equal(seen["extensions"], ["permessage-deflate", ""])


def test_websockets_of_python_comes_through():
    with World(ON) as w:
        asyncio.run(ws_system.speak(w.address("http")[1]))
    with World(ON + ["ws.deflate=on", "limits.message=128K"]) as w:
        asyncio.run(ws_deflate_system.python_speaks(w.address("http")[1], "deflate"))


# The sample without what sends two paths elsewhere.
ONE_UPSTREAM = [("        location = /v1/ws {\n            proxy_pass http://touchline_ws;\n"
                 "        }\n", ""),
                ("        location = /v1/raw {\n            proxy_pass http://touchline_ws;\n"
                 "        }\n", ""),
                ("    upstream touchline_ws {\n        server 127.0.0.1:8001;\n    }\n",
                 "    # 127.0.0.1:8001\n")]


def test_nginx_needs_one_upstream():
    with proxy_system.behind("limits.ping=10m", *ON) as w, \
            Proxy("nginx.conf", w, ONE_UPSTREAM) as p:
        proxy_system.carries_http(w, p)
        proxy_system.carries_websocket(w, p)
        proxy_system.is_never_loopback(p, telnet=False)
        with p.ws("/v1/ws?channel=n") as ws:
            equal(ws.status, 101)
            p.ask("POST", "/v1/publish/n", "x")
            equal(ws.message()["data"], "x")
    with proxy_system.behind("limits.connections_per_address=2", *ON) as w, \
            Proxy("nginx.conf", w, ONE_UPSTREAM) as p:
        proxy_system.has_bounds(w, p, telnet=False)
