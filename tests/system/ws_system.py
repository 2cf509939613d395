"""The WebSocket edge: the commands of /v1/ws, the bare frames of /v1/raw, how
both begin and end; by our own client and by an independent one."""
import asyncio
import contextlib
import glob
import json
import os
import signal
import sys
import time

from world import DEADLINE, Ws, World, check, equal, eventually

TOKEN = ("[namespace secret/]\npublish = token\n"
         "[token desk]\nsecret = letmein-letmein-letmein\npublish = secret/\n")


def stripped(message):
    """A message without the time at which it was said."""
    check(message.pop("ts") > 1_000_000_000_000, f"Unix milliseconds: {message}")
    return message


def refused(reply, ref, code):
    equal((reply["ref"], reply.get("ok"), reply["error"]["code"]), (ref, None, code))
    check(reply["error"]["text"], "no words for a person")


def nobody(w, channel):
    """All have left it, as the router sees it."""
    eventually(lambda: w.json("/v1/presence/" + channel)["count"] == 0, "left")


# ---- beginning -------------------------------------------------------------

def test_the_first_frame_is_a_welcome():
    with World() as w, w.ws(welcome=False) as c, \
            World(["limits.ping=1500ms"]) as other, other.ws(welcome=False) as o:
        first = c.item()
        equal(list(first), ["notice", "server", "ping"])
        equal((first["notice"], first["ping"]), ("welcome", 25))
        check(first["server"].startswith("touchline "), first)
        equal(o.item()["ping"], 1.5)
        check("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="
              in c.head.lower(), c.head)


def test_a_101_with_channels_means_that_they_are_in_force():
    with World() as w:
        w.kill("router", signal.SIGSTOP)  # neither runs nor is gone
        c = Ws(w.address("ws"), "/v1/ws?channel=a&channel=b&name=ana", wait=False)
        c.quiet(0.5)
        w.kill("router", signal.SIGCONT)
        equal(c.opened().status, 101)
        equal(w.publish("a", "one").json()["reached"], 1)
        equal(c.item()["notice"], "welcome")
        first = c.item()
        equal((first["notice"], sorted(first["channels"]), first["state"]),
              ("snapshot", ["a", "b"], None))
        equal(c.item()["data"], "one")
        equal(w.json("/v1/presence/b")["names"], [{"name": "ana", "connections": 1}])
        c.close()


def test_a_url_that_cannot_be_granted_is_an_answer_in_http():
    with World(config=TOKEN) as w:
        for target, status, code in (
                ("/v1/ws?channel=..", 400, "channel.bad"),
                ("/v1/ws?channel=a&since=soon", 400, "cursor.bad"),
                ("/v1/ws?channel=a&name=a%20b", 400, "name.bad"),
                ("/v1/raw", 400, "channel.missing"),
                ("/v1/raw?channel=a&channel=b", 400, "channel.many"),
                ("/v1/raw?channel=a&since=0", 400, "since.raw"),
                ("/v1/raw?channel=a&publish=x%2F*", 400, "channel.bad"),
                ("/v1/raw?channel=a&publish=secret/x", 403, "publish.denied"),
                ("/v1/nothing", 404, None)):
            with Ws(w.address("ws"), target) as c:
                equal(c.status, status, target)
                if code:
                    equal(json.loads(c.all())["error"]["code"], code, target)
        with Ws(w.address("ws"), Origin="http://evil.example") as c:
            equal((c.status, json.loads(c.all())["error"]["code"]),
                  (403, "origin.denied"))


# ---- the commands ----------------------------------------------------------

def test_subscribe_publish_and_unsubscribe_answer_by_their_refs():
    with World() as w, w.ws() as c:
        equal(c.say(cmd="subscribe", channel="a", ref=1).item(),
              {"ref": 1, "ok": True, "channel": "a"})
        first = c.item()
        epoch = first["cursor"].split("-")[0]
        equal(first, {"notice": "snapshot", "channel": "a",
                      "cursor": epoch + "-0", "state": None})
        c.say(cmd="publish", channel="a", data={"n": [1, "é"]}, key="k",
              ref="two", **{"from": "ana"})
        equal(c.item(), {"ref": "two", "ok": True, "channel": "a", "epoch": epoch,
                         "seq": 1, "offset": 1, "reached": 1})
        equal(stripped(c.item()), {"channel": "a", "epoch": epoch, "seq": 1,
                                   "offset": 1, "from": "ana", "key": "k",
                                   "data": {"n": [1, "é"]}})
        equal(c.say(cmd="unsubscribe", channel="a", ref=3).item(), {"ref": 3, "ok": True})
        nobody(w, "a")
        equal(w.publish("a", "unheard").json()["reached"], 0)
        refused(c.say(cmd="unsubscribe", channel="a", ref=4).item(), 4, "channel.unknown")
        for n, channel in enumerate(("b", "x/*")):
            c.say(cmd="subscribe", channel=channel).item()
            c.item()
        equal(c.say(cmd="unsubscribe", ref=5).item(), {"ref": 5, "ok": True}, "all")
        nobody(w, "b")
        equal(w.publish("b", "unheard").json()["reached"], 0)
        equal(w.publish("x/y", "unheard").json()["reached"], 0)
        equal(c.say(cmd="ping", ref=6).item(), {"ref": 6, "ok": True})
        equal(c.say(cmd="ping").item(), {"ok": True}, "a ref is not needed")


def test_every_command_is_answered_also_one_that_is_taken_back_at_once():
    with World() as w, w.ws() as c:
        for n in range(200):  # more than may be unanswered
            c.say(cmd="subscribe", channel="a", ref=2 * n)
            c.say(cmd="unsubscribe", ref=2 * n + 1)
        c.say(cmd="ping", ref=[{"any": "json"}, None])
        due, item = set(range(400)), c.item()
        while item.get("ref") != [{"any": "json"}, None]:
            if "ref" in item:
                due.remove(item["ref"])
                check("ok" in item or item["error"]["code"] == "channel.left", item)
            item = c.item()
        equal(due, set(), "not answered")


def test_json_travels_as_it_was_sent():
    with World() as w, w.ws("/v1/ws?channel=a") as c:
        c.item()
        for data in ('{"b" : 1.10, "a":1e3,"b":2}', '"\\u00e9"', "null", "[ ]"):
            c.frame("text", '{"cmd":"publish","channel":"a","data":' + data + "}")
            c.item()
            text = c.read()[1].decode()
            check(text.endswith(',"data":' + data + "}"), text)
        c.frame("text", '{"cmd":"publish","channel":"a","data":[1,\r\n2]}')
        c.item()
        check(c.read()[1].endswith(b',"data":[1,  2]}'), "line ends become spaces")
        w.http("POST", "/v1/publish/a", b"\xff\0", {"Content-Type": "application/octet-stream"})
        equal(c.item()["data"], {"base64": "/wA="})


def test_an_idempotent_command_is_stored_once():
    with World() as w, w.ws() as c:
        def publish(data):
            return c.say(cmd="publish", channel="a", data=data, idempotency="k", ref=1).item()

        one, two = publish("x"), publish("x")
        equal(two, {**one, "duplicate": True})
        refused(publish("y"), 1, "idempotency.conflict")
        equal(len(w.json("/v1/history/a")["messages"]), 1)


def test_history_is_given_in_pages():
    with World() as w, w.ws() as c:
        for i in range(5):
            w.publish("a", str(i))

        def page(**how):
            reply = c.say(cmd="history", channel="a", ref=1, **how).item()
            equal((reply["ref"], reply["ok"]), (1, True))
            return [m["data"] for m in reply["messages"]], reply["more"], reply["cursor"]

        data, more, cursor = page()
        equal((data, more), (["0", "1", "2", "3", "4"], False))
        equal(page(last=2)[:2], (["3", "4"], True))
        data, more, middle = page(since="0", limit=2)
        equal((data, more), (["0", "1"], True))
        equal(page(since=middle)[:2], (["2", "3", "4"], False))
        equal(page(before=cursor, limit=3)[:2], (["1", "2", "3"], True))
        equal(page(since=cursor)[:2], ([], False))
        equal(page(since=0, limit=2)[0], ["0", "1"])
        equal(page(before="0")[:2], ([], False))
        equal(page(before=0)[:2], ([], False))
        equal(w.json("/v1/history/a?before=0")["messages"], [])
        equal(c.say(cmd="history", channel="b", ref=1).item()["messages"], [])
        epoch, seq = cursor.split("-")
        for strange, why in ((f"{epoch}-{int(seq) + 1}", "future"), ("zzzzzzzzzz-3", "epoch")):
            reply = c.say(cmd="history", channel="a", since=strange, ref=1).item()
            over_http = w.json(f"/v1/history/a?since={strange}")
            equal(reply["messages"], over_http["messages"], strange)
            equal(reply["messages"][0]["why"], why)
            equal(reply["cursor"], cursor)


def test_presence_counts_connections_by_name():
    with World() as w, w.ws() as c, w.ws("/v1/ws?channel=p&name=ana"), \
            w.ws("/v1/ws?channel=p"):
        c.say(cmd="subscribe", channel="p", name="ana").reply(None)
        reply = c.say(cmd="presence", channel="p", ref=9).reply(9)
        names = sorted((n["name"], n["connections"]) for n in reply.pop("names"))
        equal(reply, {"ref": 9, "ok": True, "channel": "p", "count": 3})
        equal(names, [("ana", 2), ("anon", 1)])
        equal(c.say(cmd="presence", channel="nobody", ref=2).reply(2)["count"], 0)


def test_a_token_opens_what_it_says():
    with World(config=TOKEN) as w, w.ws() as c:
        refused(c.say(cmd="publish", channel="secret/x", data=1, ref=1).item(),
                1, "publish.denied")
        refused(c.say(cmd="auth", token="wrong", ref=2).item(), 2, "token.unknown")
        refused(c.say(cmd="publish", channel="secret/x", data=1, ref=3).item(),
                3, "publish.denied")
        equal(c.say(cmd="auth", token="letmein-letmein-letmein", ref=4).item(),
              {"ref": 4, "ok": True})
        equal(c.say(cmd="publish", channel="secret/x", data=1, ref=5).item()["offset"], 1)
        with w.ws(Authorization="Bearer letmein-letmein-letmein") as other:
            equal(other.say(cmd="publish", channel="secret/x", data=1, ref=6)
                  .item()["offset"], 2)
        check("letmein" not in w.log_tail(100000), "a secret in the log")


def test_a_wrong_command_gets_an_error_and_the_connection_stays():
    with World() as w, w.ws() as c:
        for n, (fields, code) in enumerate((
                ({"cmd": "nope"}, "command.unknown"),
                ({}, "command.missing"),
                ({"cmd": "subscribe"}, "channel.missing"),
                ({"cmd": "subscribe", "channel": 7}, "field.bad"),
                ({"cmd": "subscribe", "channel": "a b"}, "channel.bad"),
                ({"cmd": "subscribe", "channel": "a", "since": "x"}, "cursor.bad"),
                ({"cmd": "subscribe", "channel": "a", "since": 7}, "field.bad"),
                ({"cmd": "subscribe", "channel": "a", "name": "a:b"}, "name.bad"),
                ({"cmd": "publish", "channel": "a"}, "data.missing"),
                ({"cmd": "publish", "channel": "a/*", "data": 1}, "channel.bad"),
                ({"cmd": "publish", "channel": "a", "data": 1, "idempotency": "a b"},
                 "idempotency.bad"),
                ({"cmd": "publish", "channel": "match/x", "data": "no event"}, None),
                ({"cmd": "history", "channel": "a", "limit": 0}, "limit.bad"),
                ({"cmd": "history", "channel": "a/**"}, "channel.bad"),
                ({"cmd": "presence"}, "channel.missing"))):
            reply = c.say(ref=n, **fields).item()
            refused(reply, n, code or reply["error"]["code"])
        for text, code in (("{", "json.bad"), ("[]", "command.bad"),
                           ('{"cmd":"ping","ref":1,"ref":1}', "ref.bad"),
                           ('{"cmd":"ping","cmd":"ping"}', "command.missing")):
            c.frame("text", text)
            reply = c.item()
            equal((reply["error"]["code"], "ref" in reply), (code, False), text)
        equal(c.say(cmd="ping", ref=1).item(), {"ref": 1, "ok": True})
        equal(w.json("/v1/history/a")["messages"], [])


# ---- order -----------------------------------------------------------------

def test_a_url_with_a_cursor_resumes_and_an_unknown_one_is_told():
    with World() as w:
        sent = [w.publish("ab"[i % 2], str(i)).json() for i in range(6)]
        cursor = f"{sent[1]['epoch']}-{sent[1]['seq']}"
        with w.ws(f"/v1/ws?channel=a&channel=b&since={cursor}") as c:
            equal(c.item()["notice"], "resumed")
            equal([c.item()["data"] for _ in range(4)], ["2", "3", "4", "5"])
        with w.ws("/v1/ws?channel=a&since=zzzzzzzzzz-3") as c:
            gap, snapshot = c.item(), c.item()
            equal((gap["notice"], gap["channel"], gap["why"], gap["from"], gap["to"],
                   gap["count"]), ("gap", "a", "epoch", None, None, None))
            equal(snapshot["notice"], "snapshot")
            w.publish("a", "next")
            equal(c.item()["data"], "next")


def test_a_late_subscription_with_an_older_cursor_is_replayed():
    with World() as w, w.ws("/v1/ws?channel=live") as c:
        c.item()
        for i in range(3):
            w.publish("old", str(i))
        w.publish("live", "now")
        last = c.item()
        equal((last["data"], "replay" in last), ("now", False))
        equal(c.say(cmd="subscribe", channel="old", since="0", ref=1).item(),
              {"ref": 1, "ok": True, "channel": "old"})
        got = [c.item() for _ in range(3)]
        equal([(m["data"], m["replay"], "cursor" in m) for m in got],
              [(str(i), True, False) for i in range(3)])
        end = c.item()
        equal((end["notice"], end["channel"]), ("resumed", "old"))
        equal(end["cursor"], f"{last['epoch']}-{last['seq']}", "of all channels")
        w.publish("old", "3")
        live = c.item()
        equal((live["data"], "replay" in live), ("3", False))


def test_a_joining_and_a_leaving_are_notices():
    with World() as w, w.ws("/v1/ws?channel=room/r&name=ana") as c:
        equal(c.item()["notice"], "snapshot")
        with w.ws("/v1/ws?channel=room/r&name=bo"):
            names = []
            while "bo" not in names:
                notice = c.item()
                equal((notice["notice"], notice["channel"], "offset" in notice),
                      ("join", "room/r", False))
                names += notice["names"]


# ---- /v1/raw ---------------------------------------------------------------

def test_raw_frames_go_through_bare_text_as_text_and_bytes_as_bytes():
    with World() as w, w.ws("/v1/raw?channel=a&publish=a") as c:
        for kind, data in (("text", "hé {\n".encode()), ("bytes", b"\xff\0\x80"),
                           ("text", b""), ("bytes", b""), ("bytes", b"plain"),
                           ("bytes", os.urandom(65536))):
            c.frame(kind, data)
            equal(c.read(), (kind, data))
        c.frame("text", b"in ", fin=False)
        c.frame("ping", b"!")
        c.frame("more", b"pieces")
        equal([c.read(), c.read()], [("pong", b"!"), ("text", b"in pieces")])
        w.http("POST", "/v1/publish/a", '{"a": 1}', {"Content-Type": "application/json"})
        equal(c.read(), ("text", b'{"a": 1}'))
        history = w.json("/v1/history/a?last=7")["messages"]
        equal(history[0]["data"], {"base64": "/wCA"})


def test_a_raw_listener_may_not_speak():
    with World() as w, w.ws("/v1/raw?channel=a") as c:
        w.publish("a", "before")
        equal(c.read(), ("text", b"before"))
        c.frame("text", "no")
        equal(c.read(), ("close", 1008))
        equal(c.all(), b"")


def test_a_restart_of_the_router_closes_no_raw_connection():
    with World() as w, w.ws("/v1/raw?channel=volatile/a") as v, \
            w.ws("/v1/raw?channel=kept") as k:
        equal((w.publish("volatile/a", "1").status, w.publish("kept", "1").status),
              (201, 201))
        equal((v.read(), k.read()), (("text", b"1"), ("text", b"1")))
        live = w.live()
        w.kill("router")
        # What is not kept reaches those who are back already, no one else.
        eventually(lambda: w.live() >= live, "all are back")
        equal((w.publish("volatile/a", "2").status, w.publish("kept", "2").status),
              (201, 201))
        equal((v.read(), k.read()), (("text", b"2"), ("text", b"2")))


def test_a_new_epoch_is_a_gap_and_closes_raw_with_4010():
    with World() as w, w.ws("/v1/ws?channel=a") as c, w.ws("/v1/raw?channel=a") as raw:
        c.item()
        equal(w.publish("a", "1").status, 201)
        equal((c.item()["data"], raw.read()), ("1", ("text", b"1")))
        w.proc.send_signal(signal.SIGSTOP)  # or it would restart at once
        w.kill("router")
        databases = [p for p in glob.glob(w.dir + "/**/*", recursive=True)
                     if ".db" in os.path.basename(p)]
        check(databases, f"no database under {w.dir}")
        for path in databases:
            os.unlink(path)
        w.proc.send_signal(signal.SIGCONT)
        gap = c.item()
        equal((gap["notice"], gap["channel"], gap["why"]), ("gap", "a", "epoch"))
        equal(c.item()["notice"], "snapshot")
        equal(raw.read(), ("close", 4010))
        equal(raw.all(), b"")
        equal(w.publish("a", "2").json()["reached"], 1)
        equal(c.item()["data"], "2")


def test_a_raw_reader_who_lost_messages_is_closed_with_4008():
    with World(["ws.workers=1", "limits.queue=64K"]) as w, \
            w.ws("/v1/raw?channel=room/r", room=8192) as raw:
        def flood():
            for _ in range(40):
                c.ask("POST", "/v1/publish/room/r", "b" * 60000).answer()

        with w.client() as c:  # drop-oldest: nobody is cut, messages are lost
            eventually(lambda: flood() or w.metric("stalled_connections"), "stalled")
            flood()
        last = raw.read()
        while last[0] != "close":
            last = raw.read()
        equal(last, ("close", 4008))


# ---- ending ----------------------------------------------------------------

def test_draining_says_closing_and_closes_with_1001():
    with World() as w, w.ws("/v1/ws?channel=a") as c, w.ws() as idle, \
            w.ws("/v1/raw?channel=a") as raw:
        c.item()
        sent = w.publish("a", "last").json()
        equal(c.item()["data"], "last")
        equal(raw.read(), ("text", b"last"))  # both workers have it
        equal(w.stop(), 0, "exit code")
        closing = c.item()
        equal((closing["notice"], closing["cursor"]),
              ("closing", f"{sent['epoch']}-{sent['seq']}"))
        equal(idle.item()["notice"], "closing")
        for socket in (c, idle, raw):
            equal(socket.read(), ("close", 1001))
            equal(socket.all(), b"")


def test_a_close_is_answered_after_what_came_before_it():
    with World() as w:
        with w.ws("/v1/ws?channel=a") as c:
            c.item()
            c.say(cmd="publish", channel="a", data="bye", ref=1)
            c.frame("close", (1000).to_bytes(2, "big") + b"bye")
            equal(c.item()["ok"], True)
            equal(c.item()["data"], "bye")
            equal(c.read(), ("close", 1000))
            equal(c.all(), b"")
        with w.ws() as c:
            c.frame("close", b"")
            equal(c.any_frame(), ("close", b""))
            equal(c.all(), b"")
        eventually(lambda: w.metric("connections", edge="ws") == 0, "gone")


def test_violations_close_with_their_codes():
    with World(["limits.message=1K"]) as w:
        def end(target, *frame, **how):
            with w.ws(target) as c:
                c.frame(*frame, **how)
                kind, code = c.read()
                equal((kind, c.all()), ("close", b""))
                return code

        raw = "/v1/raw?channel=a&publish=a"
        equal(end(raw, "bytes", b"x" * 1025), 1009)
        equal(end("/v1/ws", "text", b"x" * (6 * 1024 + 4097)), 1009)
        equal(end("/v1/ws", "bytes", b"{}"), 1003)
        equal(end(raw, "text", b"\xff"), 1007)
        equal(end(raw, "text", b"x", mask=False), 1002)
        equal(end(raw, "ping", b"x" * 126), 1002)
        equal(end(raw, "close", (1005).to_bytes(2, "big")), 1002)
        equal(w.json("/v1/history/a")["messages"], [])
        with w.ws(raw) as c:  # the biggest is taken
            c.frame("bytes", b"x" * 1024)
            equal(c.read(), ("bytes", b"x" * 1024))


def test_what_was_published_before_a_violation_counts_and_nothing_after_it():
    with World() as w, w.ws("/v1/ws?channel=a") as c:
        c.item()
        c.say(cmd="publish", channel="a", data=1, ref=1)
        c.frame("bytes", b"wrong")
        c.say(cmd="publish", channel="a", data=2, ref=2)
        equal(c.item()["ref"], 1)
        equal(c.item()["data"], 1)
        equal(c.read(), ("close", 1003))
        equal([m["data"] for m in w.json("/v1/history/a")["messages"]], [1])


def test_a_quiet_connection_is_pinged_and_a_ping_is_answered():
    with World(["limits.ping=1s"]) as w:
        begin = time.monotonic()
        with w.ws() as c:
            c.frame("ping", b"are you there")
            equal(c.any_frame(), ("pong", b"are you there"))
            for _ in range(2):
                equal(c.any_frame()[0], "ping")
                c.frame("pong", b"")
        took = time.monotonic() - begin
        check(took > 1.5, f"two pings after {took:.1f} s")


# ---- another's client ------------------------------------------------------

async def speak(port):
    """A client library that knows nothing of this server."""
    sys.path.append("/usr/lib/python3/dist-packages")  # whichever python3 runs
    import websockets

    async def item(ws):
        return json.loads(await asyncio.wait_for(ws.recv(), DEADLINE))

    url = f"ws://127.0.0.1:{port}"
    async with websockets.connect(url + "/v1/ws?channel=a") as ws, \
            websockets.connect(url + "/v1/raw?channel=a&publish=a") as raw:
        equal((await item(ws))["notice"], "welcome")
        equal((await item(ws))["notice"], "snapshot")
        await ws.send('{"cmd":"publish","channel":"a","data":"hé","ref":1}')
        equal((await item(ws))["reached"], 2)
        equal((await item(ws))["data"], "hé")
        equal(await asyncio.wait_for(raw.recv(), DEADLINE), '"hé"')
        await raw.send(b"\0\xff")
        equal(await asyncio.wait_for(raw.recv(), DEADLINE), b"\0\xff")
        equal((await item(ws))["data"], {"base64": "AP8="})
        await raw.send(["in ", "pieces"])
        equal(await asyncio.wait_for(raw.recv(), DEADLINE), "in pieces")
        equal((await item(ws))["data"], "in pieces")
        big = "x" * 65536
        await raw.send(big)
        equal(await asyncio.wait_for(raw.recv(), DEADLINE), big)
        equal((await item(ws))["data"], big)
        await asyncio.wait_for(await ws.ping(), DEADLINE)
        await raw.close(1000, "enough")
        equal(raw.close_code, 1000)
        await ws.send(b"wrong")
        with contextlib.suppress(websockets.ConnectionClosed):
            await asyncio.wait_for(ws.recv(), DEADLINE)
        equal(ws.close_code, 1003)


def test_an_independent_client_speaks_to_both():
    with World() as w:
        asyncio.run(speak(w.address("ws")[1]))
