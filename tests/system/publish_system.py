"""Publishing through every edge, who may, and HTTP itself."""
import base64
import json
import signal
import socket
import threading

from world import Http, World, Ws, check, equal, eventually

JSON = {"Content-Type": "application/json"}
SECRET = "a-secret-of-enough-bytes"


def last(w, channel):
    return w.json(f"/v1/history/{channel}?last=1")["messages"][-1]


def refused(answer, status, code):
    equal((answer.status, answer.code()), (status, code))
    text = answer.json()["error"]["text"]
    check(text and answer.body.endswith(b"}\n"), "a text for people, and LF")
    return answer


# ---- what is published -----------------------------------------------------

def test_the_format_is_stored_with_the_message():
    cases = [
        ("application/json", b'{"a": 1,\r\n "b":"\xc3\xa9"}', {"a": 1, "b": "\u00e9"}),
        ("application/json; charset=utf-8", b"null", None),
        ("text/plain", "h\u00e9llo\n".encode(), "h\u00e9llo\n"),
        ("application/x-www-form-urlencoded", b"a=1&b=2", "a=1&b=2"),
        ("application/octet-stream", b"plain", b"plain"),
        ("image/png", b"\x89PNG\xff", b"\x89PNG\xff"),
        ("image/svg+xml", b"<svg/>", "<svg/>"),
        (None, b"\xff\xfe", b"\xff\xfe"),
        (None, b"", ""),
        ("text/plain", b"\0\x01", "\0\x01"),
    ]
    with World() as w, w.client() as c, w.stream("/v1/stream?channel=a") as s:
        s.item()
        for kind, body, wanted in cases:
            answer = c.ask("POST", "/v1/publish/a", body, Content_Type=kind).answer()
            equal(answer.status, 201, str((kind, body)))
            if isinstance(wanted, bytes):
                wanted = {"base64": base64.b64encode(wanted).decode()}
            equal(s.item()["data"], wanted, str(kind))
            equal(last(w, "a")["data"], wanted, "stored " + str(kind))
        # JSON travels byte for byte, but for line ends between tokens.
        raw = w.http("GET", "/v1/history/a?since=0").body
        check(b'"data":{"a": 1,   "b":"\xc3\xa9"}' in raw, raw[:200])


def test_what_is_not_what_its_type_says_is_400():
    with World() as w, w.client() as c:
        for kind, body, code in (("text/plain", b"\xff", "data.utf8"),
                                 ("text/html", b"\xc3(", "data.utf8"),
                                 ("application/json", b"{a:1}", "data.json"),
                                 ("application/json", b"", "data.json"),
                                 ("application/json", b'"\xff"', "data.json"),
                                 ("application/json", b"[" * 5000 + b"]" * 5000,
                                  "data.json")):
            refused(c.ask("POST", "/v1/publish/a", body, Content_Type=kind).answer(),
                    400, code)
        refused(c.ask("POST", "/v1/publish/a", "x", Content_Encoding="gzip").answer(),
                415, "body.encoding")
        equal(w.json("/v1/history/a")["messages"], [])


def test_headers_name_the_publisher_and_the_key():
    with World() as w, w.client() as c:
        c.send(b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
               b"Touchline-From: an\xc3\xa1\r\nTouchline-Key: k 1\r\n\r\nx")
        equal(c.answer().status, 201)
        message = last(w, "a")
        equal((message["from"], message["key"]), ("an\u00e1", "k 1"))
        equal(list(message), ["channel", "epoch", "seq", "offset", "ts", "from", "key", "data"])
        for name, value, code in (("Touchline-From", "a b", "from.bad"),
                                  ("Touchline-From", "a:b", "from.bad"),
                                  ("Touchline-From", "a" * 65, "from.bad"),
                                  ("Idempotency-Key", "k" * 129, "idempotency.bad"),
                                  ("Idempotency-Key", "a b", "idempotency.bad"),
                                  ("Touchline-Key", "k" * 201, "key.bad")):
            refused(c.ask("POST", "/v1/publish/a", "x", **{name: value}).answer(), 400, code)
        equal(last(w, "a")["offset"], 1)


def test_a_batch_is_one_commit_and_answers_in_order():
    with World() as w, w.client() as c, w.stream("/v1/stream?channel=a") as s:
        s.item()
        before = w.metric("commit_batches_total")
        batch = [{"channel": "ab"[n % 2], "data": {"n": n, "fill": "f" * 3000}}
                 for n in range(256)]
        answer = c.ask("POST", "/v1/publish", json.dumps(batch), **JSON).answer()
        equal(answer.status, 201)
        rows = answer.json()
        equal([(r["channel"], r["offset"]) for r in rows],
              [("ab"[n % 2], n // 2 + 1) for n in range(256)])
        equal([r["seq"] for r in rows], list(range(rows[0]["seq"], rows[0]["seq"] + 256)))
        equal([r["reached"] for r in rows], [1, 0] * 128)
        equal([s.item()["data"]["n"] for _ in range(128)], list(range(0, 256, 2)))
        equal(w.metric("commit_batches_total") - before, 1, "commits")


def test_a_batch_says_what_became_of_each():
    with World() as w, w.client() as c:
        batch = [{"channel": "a", "data": 1, "from": "ana", "key": "k", "idempotency": "i"},
                 {"channel": "bad//channel", "data": 2},
                 {"channel": "a", "data": 1, "from": "ana", "key": "k", "idempotency": "i"},
                 {"channel": "a", "data": "other", "idempotency": "i"}]
        answer = c.ask("POST", "/v1/publish", json.dumps(batch), **JSON).answer()
        equal(answer.status, 201)
        first, bad, again, conflict = answer.json()
        equal((first["offset"], bad["error"]["code"], again["offset"], again["duplicate"]),
              (1, "channel.bad", 1, True))
        equal(conflict["error"]["code"], "idempotency.conflict")
        equal((last(w, "a")["from"], last(w, "a")["key"]), ("ana", "k"))
        for body in ("{}", '[{"channel":"a"}]', '[{"data":1}]', '[1]',
                     '[{"channel":"a","data":1},{"channel":1,"data":1}]'):
            refused(c.ask("POST", "/v1/publish", body, **JSON).answer(), 400, "batch.bad")
        refused(c.ask("POST", "/v1/publish", "[", **JSON).answer(), 400, "body.json")
        refused(c.ask("POST", "/v1/publish", "[]", Content_Type="text/plain").answer(),
                415, "body.type")
        equal(c.ask("POST", "/v1/publish", "[]", **JSON).answer().json(), [])
        equal(last(w, "a")["offset"], 1, "all or nothing of what is not understood")


def test_a_repeat_gets_the_first_answer_also_after_the_routers_death():
    with World() as w, w.stream("/v1/stream?channel=a") as s:
        s.item()
        first = w.publish("a", "x", Idempotency_Key="k")
        equal((first.status, first.json()["reached"]), (201, 1))
        again = w.publish("a", "x", Idempotency_Key="k")
        equal((again.status, again.json()), (200, {**first.json(), "duplicate": True}))
        s.close()
        w.kill("router")
        again = eventually(lambda: a if (a := w.publish("a", "x", Idempotency_Key="k"))
                           .status == 200 else None, "the router is back")
        equal(again.json(), {**first.json(), "duplicate": True})


def test_reached_counts_connections_at_every_edge_once_each():
    with World() as w:
        equal(w.publish("a/b", "x").json()["reached"], 0)
        with w.stream("/v1/stream?channel=a/b&channel=a/*&channel=a/**") as s, \
                w.telnet() as t, w.ws("/v1/ws?channel=a/b") as ws, \
                w.ws("/v1/raw?channel=a/b") as raw, w.stream("/test/a/b") as page:
            s.item()
            t.send(b"SUB a/b\r\n")
            t.line()
            ws.item()
            page.chunk()
            answer = w.publish("a/b", "hello").json()
            equal(answer["reached"], 5)
            equal(s.message()["data"], "hello")
            check(t.line().endswith(b" -: hello\r\n"), "telnet")
            equal(ws.message()["seq"], answer["seq"])
            equal(raw.read(), ("text", b"hello"))
            equal(page.chunk(), b"Recvd msg #1: 'hello'<br/>\n")
            # And once each, though three of its channels match.
            w.publish("a/c", "next")
            equal(s.message()["data"], "next")


def test_every_edge_publishes_for_every_other():
    with World() as w, w.telnet() as t, w.ws("/v1/ws?channel=x") as ws, \
            w.ws("/v1/raw?channel=x&publish=x") as raw:
        ws.item()
        t.send(b"SUB x\r\nNICK bob\r\n")
        equal([t.line()[:9], t.line()], [b"OK SUB x ", b"OK NICK bob\r\n"])
        t.send(b"PUB x from telnet\r\n")
        lines = sorted([t.line(), t.line()])
        check(lines[0].startswith(b"OK PUB x ") and lines[0].endswith(b" reached=3\r\n"), lines)
        check(lines[1].endswith(b" bob: from telnet\r\n"), lines)
        message = ws.message()
        equal((message["from"], message["data"]), ("bob", "from telnet"))
        equal(raw.read(), ("text", b"from telnet"))

        ws.say(cmd="publish", channel="x", data={"n": 1}, ref="r")
        items = [ws.item(), ws.item()]
        reply = next(i for i in items if "ref" in i)
        equal((reply["ok"], reply["reached"], reply["offset"]), (True, 3, 2))
        equal(next(i for i in items if "data" in i)["data"], {"n": 1})
        equal(raw.read(), ("text", b'{"n": 1}'))
        check(t.line().endswith(b' -: {"n": 1}\r\n'), "telnet")

        raw.frame("bytes", b"\0\1\2")
        equal(raw.read(), ("bytes", b"\0\1\2"), "its own, too")
        equal(ws.message()["data"], {"base64": "AAEC"})
        check(t.line().endswith(b" -: base64:AAEC\r\n"), "telnet")

        w.ctl("publish", "x", "from the shell")
        equal(ws.message()["data"], "from the shell")


def test_publications_of_one_connection_are_taken_in_the_order_sent():
    with World() as w, w.client() as c, w.ws() as ws, w.telnet() as t:
        body = b"".join(b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
                        b"Content-Length: 3\r\n\r\n%03d" % n for n in range(100))
        c.send(body)
        equal([c.answer().json()["offset"] for _ in range(100)], list(range(1, 101)))
        t.send(b"".join(b"PUB a %d\r\n" % n for n in range(100)))
        for _ in range(100):
            check(t.line().startswith(b"OK PUB a "), "telnet")
        for n in range(100):
            ws.say(cmd="publish", channel="a", data=n, ref=n)
        equal([ws.item()["offset"] for _ in range(100)], list(range(201, 301)))
        got = [m["data"] for m in w.json("/v1/history/a?limit=300")["messages"]]
        equal(got, [f"{n:03d}" for n in range(100)] + [str(n) for n in range(100)]
              + list(range(100)))


# ---- who may ---------------------------------------------------------------

POLICIES = f"""
[namespace news/]
publish = nobody
[namespace paid/]
publish = token
[namespace house/]
publish = loopback
[token desk]
secret = {SECRET}
publish = paid/, house/
"""


def test_namespaces_say_who_may_publish():
    with World(config=POLICIES) as w:
        def post(channel, **headers):
            with w.client() as c:
                return c.ask("POST", "/v1/publish/" + channel, "x", **headers).answer()

        answer = refused(post("news/a"), 403, "publish.denied")
        check("publish" in answer.json()["error"]["text"], "how to open it")
        refused(post("paid/a"), 403, "publish.denied")
        refused(post("paid/a", Authorization="Bearer wrong-secret-of-many"), 403,
                "token.unknown")
        equal(post("paid/a", Authorization="Bearer " + SECRET).status, 201)
        with w.client() as c:  # each request is for itself
            for headers, status in (({"Authorization": "Bearer " + SECRET}, 201), ({}, 403)):
                equal(c.ask("POST", "/v1/publish/paid/a", "x", **headers).answer().status,
                      status)
        refused(post("news/a", Authorization="Bearer " + SECRET), 403, "publish.denied")
        equal(post("house/a").status, 201)
        # Behind a proxy nobody is on loopback, whatever it says.
        for header, value in (("X-Forwarded-For", "127.0.0.1"), ("Forwarded", "for=127.0.0.1"),
                              ("X-Real-IP", "127.0.0.1"), ("Via", "1.1 proxy")):
            refused(post("house/a", **{header: value}), 403, "publish.denied")
            refused(post("match/a", **{header: value}), 403, "publish.denied")
        equal(post("house/a", X_Forwarded_For="192.0.2.1",
                   Authorization="Bearer " + SECRET).status, 201)
        equal(post("free/a", X_Forwarded_For="192.0.2.1").status, 201)
        with World(["http.trusted_proxies=127.0.0.1"], config=POLICIES) as proxied:
            refused(proxied.publish("house/a", "x"), 403, "publish.denied")
        w.ctl("publish", "news/a", "the shell may")
        equal(last(w, "news/a")["data"], "the shell may")
        check(SECRET not in w.log_tail(1 << 20), "a token is never logged")


def test_a_token_opens_telnet_and_websocket():
    with World(config=POLICIES) as w, w.telnet() as t, w.ws() as ws:
        t.send(b"PUB paid/a x\r\nAUTH wrong\r\nPUB paid/a x\r\n")
        for code in (b"publish.denied", b"token.unknown", b"publish.denied"):
            check(t.line().startswith(b"ERROR " + code + b": "), code)
        t.send(f"AUTH {SECRET}\r\nPUB paid/a x\r\nPUB news/a x\r\n".encode())
        equal(t.line(), b"OK AUTH desk\r\n")
        check(t.line().startswith(b"OK PUB paid/a "), "opened")
        check(t.line().startswith(b"ERROR publish.denied: "), "but not that")
        ws.say(cmd="publish", channel="paid/a", data=1, ref=1)
        equal(ws.reply(1)["error"]["code"], "publish.denied")
        ws.say(cmd="auth", token=SECRET, ref=2).say(
            cmd="publish", channel="paid/a", data=1, ref=3)
        equal(ws.reply(2)["ok"], True)
        equal(ws.reply(3)["offset"], 2)


def ws_status(w, **headers):
    with Ws(w.address("ws"), **headers) as c:
        return c.status


def test_pages_of_other_origins_may_not_write():
    with World(["http.origins=friend.example", "ws.origins=friend.example"]) as w:
        def post(origin, host="127.0.0.1:%d" % w.address("http")[1], method="POST"):
            body = "x" if method == "POST" else None
            with w.client() as c:
                return c.ask(method, "/v1/publish/a" if body else "/v1/history/a", body,
                             Host=host, Origin=origin).answer()

        refused(post("http://evil.example"), 403, "origin.denied")
        refused(post("null"), 403, "origin.denied")
        equal(post("https://friend.example:8443").status, 201)
        equal(post("http://127.0.0.1:3000").status, 201, "names count, ports not")
        equal(post("http://localhost", host="localhost").status, 201)
        equal(post("http://evil.example", method="GET").status, 200, "reading is free")
        for origin, status in (("http://evil.example", 403), ("http://friend.example", 101),
                               ("http://localhost:1", 101)):
            equal(ws_status(w, Origin=origin), status, origin)


def test_a_name_that_points_here_is_421():
    with World(["http.hosts=touchline.local"]) as w, w.client() as c:
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example"):
            refused(c.ask("GET", "/healthz", Host=host).answer(), 421, "host.unknown")
        for host in ("localhost", "LOCALHOST:99", "127.0.0.1", "[::1]:8000", "10.1.2.3",
                     "touchline.local", "touchline.local:1"):
            equal(c.ask("GET", "/healthz", Host=host).answer().status, 200, host)
        equal(ws_status(w, Host="evil.example"), 421)


# ---- HTTP itself -----------------------------------------------------------

def test_methods_and_paths_that_are_not_there():
    with World() as w, w.client() as c:
        refused(c.ask("GET", "/nothing").answer(), 404, "path.unknown")
        answer = refused(c.ask("DELETE", "/v1/history/a").answer(), 405, "method.denied")
        equal(answer.headers["Allow"], "GET, HEAD, OPTIONS")
        answer = refused(c.ask("GET", "/v1/publish/a").answer(), 405, "method.denied")
        equal(answer.headers["Allow"], "POST, OPTIONS")
        refused(c.ask("POST", "/v1/publish/a").answer(), 411, "body.length")
        for data, status in ((b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
                             (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
                             (b"GET /\r\n\r\n", 400), (b"\x16\x03\x01\x02\0\1", 400),
                             (b"GET / HTTP/1.1\r\n\r\n", 400),
                             (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
                             (b"GET / HTTP/1.1\r\nHost: localhost\r\nA : b\r\n\r\n", 400),
                             (b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
                              b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
                             (b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
                              b"Content-Length: 1, 2\r\n\r\n", 400),
                             (b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
                              b"Transfer-Encoding: gzip\r\n\r\n", 501),
                             (b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
                              b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400)):
            answer = w.raw(data)
            equal(answer.status, status, repr(data))
            check(answer.code(), "a code")
        equal(w.json("/v1/history/a")["messages"], [])


def test_figures_have_an_address_of_their_own_that_always_answers():
    """However many workers share the ports of the clients."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        admin = free.getsockname()
    with World(["http.listen=0.0.0.0:0", "http.workers=4",
                f"http.admin=127.0.0.1:{admin[1]}"]) as w:
        port = w.address("http")[1]
        for _ in range(16):
            with Http(admin) as c, Http(("127.0.0.1", port)) as public:
                equal(c.ask("GET", "/metrics").answer().status, 200)
                equal(public.ask("GET", "/metrics").answer().status, 404)
                equal(public.ask("GET", "/v1/stats").answer().status, 404)
                equal(public.ask("GET", "/healthz").answer().status, 200)


def test_head_is_get_without_a_body():
    with World() as w, w.client() as c:
        for path in ("/healthz", "/v1/history/a", "/"):
            get = c.ask("GET", path).answer()
            head = c.ask("HEAD", path).answer(head=True)
            equal((head.status, head.headers["Content-Length"], head.headers["Content-Type"]),
                  (get.status, get.headers["Content-Length"], get.headers["Content-Type"]))
        c.ask("HEAD", "/v1/stream?channel=a")
        equal(c.answer(head=True).headers["Transfer-Encoding"], "chunked")
        refused(c.ask("GET", "/nothing").answer(), 404, "path.unknown")  # it still talks


def test_options_and_cors():
    with World(["http.origins=friend.example"]) as w, w.client() as c:
        answer = c.ask("OPTIONS", "/v1/publish/a", Origin="https://friend.example",
                       Access_Control_Request_Method="POST").answer()
        equal(answer.status, 204)
        equal(answer.headers["Access-Control-Allow-Origin"], "https://friend.example")
        check("POST" in answer.headers["Access-Control-Allow-Methods"], "methods")
        check("Idempotency-Key" in answer.headers["Access-Control-Allow-Headers"], "headers")
        equal(c.ask("OPTIONS", "*").answer().status, 204)
        answer = c.ask("GET", "/v1/history/a", Origin="https://friend.example").answer()
        equal(answer.headers["Access-Control-Allow-Origin"], "https://friend.example")
        answer = c.ask("OPTIONS", "/v1/publish/a", Origin="https://evil.example").answer()
        check("evil" not in answer.headers.get("Access-Control-Allow-Origin", ""), "not that")


def test_expect_is_answered_before_the_body_comes():
    head = (b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n")
    with World() as w, w.client() as c:
        c.send(head % 5)
        equal(c.until(b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n")
        c.send(b"hello")
        equal(c.answer().status, 201)
        c.send(head % (1 << 20))  # refused: nobody has to send it
        equal(c.answer().status, 413)
        c.over()
        equal(w.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
                    b"Expect: miracles\r\n\r\n").status, 417)


def test_history_has_a_tag_that_changes_only_with_it():
    with World() as w, w.client() as c:
        w.publish("a", "one")
        answer = c.ask("GET", "/v1/history/a").answer()
        tag = answer.headers["ETag"]
        w.publish("b", "elsewhere")
        answer = c.ask("GET", "/v1/history/a", If_None_Match=tag).answer()
        equal((answer.status, answer.body, answer.headers["ETag"]), (304, b"", tag))
        equal(c.ask("GET", "/v1/history/a", If_None_Match='"x", ' + tag).answer().status, 304)
        w.kill("http")
        eventually(lambda: alive(w), "back")
        with w.client() as c2:
            equal(c2.ask("GET", "/v1/history/a", If_None_Match=tag).answer().status, 304)
            w.publish("a", "two")
            equal(c2.ask("GET", "/v1/history/a", If_None_Match=tag).answer().status, 200)
            for path in ("/v1/stream?channel=a", "/v1/poll?channel=a"):
                answer = c2.ask("HEAD", path).answer(head=True)
                equal(answer.headers["Cache-Control"], "no-store")


def alive(w):
    try:
        return w.http("GET", "/readyz").status == 200
    except OSError:
        return False


def test_http_1_0_gets_a_stream_that_ends_with_the_connection():
    with World() as w, w.client() as c, w.client() as page, w.client() as events:
        c.ask("GET", "/v1/stream?channel=a", version="1.0")
        head = c.until(b"\r\n\r\n")
        check(b"Transfer-Encoding" not in head and b"Connection: close" in head, head)
        equal(json.loads(c.line())["notice"], "snapshot")
        page.ask("GET", "/test/a", version="1.0", Host=None).until(b"\r\n\r\n")
        equal(page.line(), b"Touchline welcomes you! Your Id: a<br/>\n")
        events.ask("GET", "/v1/stream?channel=a", version="1.0", Accept="text/event-stream")
        events.until(b"data: ")
        events.until(b"\n\n")
        w.publish("a", "x\ny")
        equal(json.loads(c.line())["data"], "x\ny")
        equal(page.line() + page.line(), b"Recvd msg #1: 'x\ny'<br/>\n")
        check(b"\\n" in events.until(b"\n\n"), "one line of data")
        answer = w.client().ask("GET", "/healthz", version="1.0").answer()
        equal((answer.status, answer.headers["Connection"]), (200, "close"))
        equal(w.stop(), 0)
        equal(json.loads(c.line())["notice"], "closing")
        equal(c.all(), b"", "the end")


def test_a_websocket_on_this_port_is_426_with_the_right_url():
    with World() as w, w.client() as c:
        c.ask("GET", "/v1/raw?channel=a", Upgrade="websocket", Connection="Upgrade",
              Sec_WebSocket_Version=13, Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==")
        answer = refused(c.answer(), 426, "websocket.elsewhere")
        equal(answer.headers["Upgrade"], "websocket")
        equal(answer.json()["url"], "ws://localhost:%d/v1/raw" % w.address("ws")[1])


def test_a_channel_in_a_path_is_decoded_once():
    with World() as w, w.client() as c:
        for path, channel in (("a%2Fb/c", "a/b/c"), ("caf%C3%A9", "caf\u00e9"),
                              ("a%2525", "a%25"), ("a+b", "a+b"), ("a%3Fb%23c", "a?b#c"),
                              ("a:b;c=d,e@f", "a:b;c=d,e@f")):
            answer = c.ask("POST", "/v1/publish/" + path, "x").answer()
            equal((answer.status, answer.json().get("channel")), (201, channel))
        for path, code in (("a%zz", "request.escape"), ("a%", "request.escape"),
                           ("a%00", "request.escape")):
            equal(w.raw(f"POST /v1/publish/{path} HTTP/1.1\r\nHost: localhost\r\n"
                        "Content-Length: 0\r\n\r\n".encode()).code(), code)
        for path in ("a%20b", "a//b", "a/../b", "a/.", "%C2%85", "%FF", "a*", "x" * 201,
                     "%E2%80%AE", "a/"):
            refused(c.ask("POST", "/v1/publish/" + path, "x").answer(), 400, "channel.bad")
        answer = c.ask("GET", "/v1/poll?channel=a%2Fb%2Fc&channel=a+b").answer()
        equal(sorted(answer.json()["messages"][0]["channels"]), ["a+b", "a/b/c"])
        refused(c.ask("GET", "/v1/poll?channel=a%20b").answer(), 400, "channel.bad")
        refused(c.ask("GET", "/v1/poll?channel=a&channel=").answer(), 400, "channel.bad")
        refused(c.ask("GET", "/v1/poll").answer(), 400, "channel.missing")


def test_an_error_that_closes_is_sent_whole():
    """Although the client still sends what nobody will read."""
    with World() as w, w.client() as c:
        sender = threading.Thread(target=lambda: keep_sending(c), daemon=True)
        c.send(b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
               b"Content-Length: 10000000\r\n\r\n")
        sender.start()
        refused(c.answer(), 413, "body.too_big")
        c.over()
        sender.join(20)


def keep_sending(c):
    try:
        for _ in range(100):
            c.sock.sendall(b"x" * 65536)
    except OSError:
        pass


def test_a_stream_with_trailers_ends_with_its_cursor():
    with World() as w, w.client() as c:
        c.ask("GET", "/v1/stream?channel=a", TE="trailers", Connection="TE")
        head = c.until(b"\r\n\r\n")
        check(b"Trailer: Touchline-Cursor\r\n" in head, head)
        answer = w.publish("a", "x").json()
        w.kill("http", signal.SIGTERM)
        end = c.all()
        cursor = f"{answer['epoch']}-{answer['seq']}"
        check(end.endswith(f"\r\n0\r\nTouchline-Cursor: {cursor}\r\n\r\n".encode()), end)
