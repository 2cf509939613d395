"""Cursors: what a client that comes back is given, and what it is told."""
import json
import threading

from world import EDGES, Http, Stream, World, check, equal, eventually

BIG = "[namespace big/]\nhistory = 100000\n"
SMALL = "[namespace small/]\nhistory = 5\n[namespace room/small/]\nhistory = 5\npresence = yes\n"


def cursor_of(answer):
    return f"{answer['epoch']}-{answer['seq']}"


def alive(w):
    try:
        return w.http("GET", "/readyz").status == 200
    except OSError:
        return False


def forget_rings(w):
    """What gateways remember goes with them."""
    for kind in EDGES:
        w.kill(kind)
    eventually(lambda: alive(w), "http is back")


def publish(w, count, *channels):
    """So many to each channel in turn; the answers."""
    out = []
    with w.client() as c:
        for n in range(count):
            for channel in channels:
                c.ask("POST", "/v1/publish/" + channel, str(n))
                out.append(c.answer().json())
    return out


# ---- asking the same of every edge: what is told, and what follows --------

def by_stream(w, channel, cursor, count):
    with w.stream(f"/v1/stream?channel={channel}&since={cursor}") as s:
        return gather(s.item, count)


def by_events(w, channel, cursor, count):
    with w.stream(f"/v1/stream?channel={channel}", Accept="text/event-stream",
                  Last_Event_ID=cursor) as s:
        return gather(lambda: json.loads(s.event()["data"]), count)


def by_websocket(w, channel, cursor, count):
    with w.ws() as c:
        c.say(cmd="subscribe", channel=channel, since=cursor, ref=1)
        equal(c.item(), {"ref": 1, "ok": True, "channel": channel})
        return gather(c.item, count)


def by_poll(w, channel, cursor, count):
    notices, messages = [], []
    while len(messages) < count or not notices:
        answer = w.json(f"/v1/poll?channel={channel}&since={cursor}&wait=5")
        for item in answer["messages"]:
            (notices if "notice" in item else messages).append(item)
        cursor = answer["cursor"]
    return [n["notice"] + ":" + n["why"] if n["notice"] == "gap" else n["notice"]
            for n in notices if n["notice"] != "resumed" or n is notices[0]], messages


def gather(item, count):
    """The notices' names, with the reason of gaps, and so many messages."""
    notices, messages = [], []
    while (len(messages) < count or not notices or
           (notices[-1].startswith("gap") and notices[0] != "resumed")):
        got = item()
        if "notice" not in got:
            messages.append(got)
        elif got["notice"] == "gap":
            notices.append("gap:" + got["why"])
            check(got["cursor"], "a gap has a cursor")
        else:
            notices.append(got["notice"])
    return notices, messages


WAYS = (by_stream, by_events, by_websocket, by_poll)


def everywhere(w, channel, cursor, notices, offsets):
    for way in WAYS:
        told, messages = way(w, channel, cursor, len(offsets))
        equal(told, notices, f"{way.__name__} of {channel} since {cursor}")
        equal([m["offset"] for m in messages], offsets,
              f"{way.__name__} of {channel} since {cursor}")
    with w.telnet() as t:
        t.send(f"SUB {channel} {cursor}\r\nPING\r\n".encode())
        check(t.line().startswith(f"OK SUB {channel} ".encode()), "telnet")
        lines = t.until(b"OK PING\r\n").decode().split("\r\n")[:-2]
        while len(lines) < len(offsets) + sum("gap" in n for n in notices):
            lines.append(t.line().decode())
        gaps = [n[4:] for n in notices if n.startswith("gap")]
        equal([line.rsplit("why=", 1)[1].strip() for line in lines
               if line.startswith("NOTICE gap")], gaps, f"telnet of {channel} since {cursor}")
        equal(len([line for line in lines if not line.startswith("NOTICE")]), len(offsets))


def history(w, channel, query):
    answer = w.json(f"/v1/history/{channel}?{query}")
    return [m.get("why") or m["offset"] for m in answer["messages"]]


def test_a_cursor_that_is_covered_is_resumed():
    with World(config=SMALL) as w:
        sent = publish(w, 20, "a", "b")
        for forget in (lambda: None, lambda: forget_rings(w)):
            forget()
            everywhere(w, "a", cursor_of(sent[9]), ["resumed"], list(range(6, 21)))
            everywhere(w, "a", "0", ["resumed"], list(range(1, 21)))
        equal(history(w, "a", "since=" + cursor_of(sent[9])), list(range(6, 21)))


def trimmed(w, channel):
    eventually(lambda: len(w.json(f"/v1/history/{channel}?since=0")["messages"]) == 5,
               "trimmed")


def test_what_was_trimmed_is_told_once():
    with World(config=SMALL) as w:
        sent = publish(w, 20, "small/a", "b")
        trimmed(w, "small/a")
        forget_rings(w)
        old = cursor_of(sent[3])
        everywhere(w, "small/a", old, ["gap:trimmed", "snapshot"], list(range(16, 21)))
        everywhere(w, "small/*", old, ["resumed", "gap:trimmed"], list(range(16, 21)))
        everywhere(w, "small/a", "0", ["resumed"], list(range(16, 21)))
        everywhere(w, "small/a", cursor_of(sent[31]), ["resumed"], list(range(17, 21)))
        equal(history(w, "small/a", "since=" + old), ["trimmed", *range(16, 21)])
        equal(history(w, "small/a", "since=0"), list(range(16, 21)))
        with w.ws() as c:
            c.say(cmd="history", channel="small/a", since=old, ref=1)
            rows = c.reply(1)["messages"]
            equal([m.get("why") or m["offset"] for m in rows], ["trimmed", *range(16, 21)])
        with w.stream(f"/v1/stream?channel=small/a&since={old}") as s:
            gap = s.item()
            equal((gap["from"], gap["to"], gap["count"]), (None, 15, None))


def test_what_a_gateway_still_remembers_is_no_gap():
    with World(["http.workers=1"], config=SMALL) as w, \
            w.stream("/v1/stream?channel=small/a") as s:
        s.item()
        sent = publish(w, 20, "small/a")
        trimmed(w, "small/a")
        with w.stream("/v1/stream?channel=small/a&since=" + cursor_of(sent[1])) as t:
            equal(t.item()["notice"], "resumed")
            equal([t.message()["offset"] for _ in range(18)], list(range(3, 21)))


def test_a_cursor_of_another_epoch_or_of_the_future_means_nothing():
    with World(config=SMALL) as w:
        sent = publish(w, 3, "a", "room/r")
        future = sent[0]["epoch"] + "-999999"
        for cursor, why in (("zzzzzzzzzz-1", "epoch"), (future, "future")):
            everywhere(w, "a", cursor, [f"gap:{why}", "snapshot"], [])
            everywhere(w, "room/r", cursor, [f"gap:{why}", "snapshot"], [])
            everywhere(w, "a/*", cursor, [f"gap:{why}", "snapshot"], [])
        equal(history(w, "a", "since=zzzzzzzzzz-1"), ["epoch", 1, 2, 3])
        equal(history(w, "a", "since=" + future), ["future"])
        # What is told last is a cursor that means something.
        with w.stream(f"/v1/stream?channel=room/r&since={future}") as s:
            s.item()
            snapshot = s.item()
            equal([m["offset"] for m in snapshot["state"]["messages"]], [1, 2, 3])
        with w.stream("/v1/stream?channel=room/r&since=" + snapshot["cursor"]) as s:
            equal(s.item()["notice"], "resumed")


def test_a_cursor_that_is_none_is_an_error():
    with World() as w, w.telnet() as t, w.ws() as ws:
        for bad in ("x", "-1", "abc-", "abc-1x", "abc-99999999999999999999", "1"):
            for path in ("/v1/stream?channel=a&since=", "/v1/poll?channel=a&since="):
                answer = w.http("GET", path + bad)
                equal((answer.status, answer.code()), (400, "cursor.bad"), bad)
            equal(w.http("GET", "/v1/history/a?since=" + bad).status, 400)
            t.send(f"SUB a {bad}\r\n".encode())
            check(t.line().startswith(b"ERROR cursor.bad: "), bad)
            ws.say(cmd="subscribe", channel="a", since=bad, ref=bad)
            equal(ws.reply(bad)["error"]["code"], "cursor.bad")


def test_without_history_what_the_rings_do_not_cover_is_a_gap():
    with World([f"{edge}.workers=1" for edge in EDGES]) as w:
        sent = publish(w, 5, "volatile/x")
        publish(w, 1, "b")
        with w.stream("/v1/stream?channel=volatile/x") as s:
            s.item()
            more = publish(w, 5, "volatile/x")
            for _ in range(5):
                s.message()
            with w.stream("/v1/stream?channel=volatile/x&since=" + cursor_of(more[1])) as t:
                equal(t.item()["notice"], "resumed")
                equal([t.message()["offset"] for _ in range(3)], [8, 9, 10])
        forget_rings(w)
        old = cursor_of(sent[1])
        everywhere(w, "volatile/x", old, ["gap:volatile", "snapshot"], [])
        equal(history(w, "volatile/x", "last=10"), [])


def test_without_history_a_restart_of_the_router_is_a_gap():
    with World() as w, w.stream("/v1/stream?channel=volatile/x&channel=a") as s, \
            w.telnet() as t:
        s.item()
        t.send(b"SUB volatile/x\r\n")
        t.line()
        equal([m["offset"] for m in publish(w, 2, "volatile/x", "a")], [1, 1, 2, 2])
        equal([s.message()["channel"] for _ in range(4)], ["volatile/x", "a"] * 2)
        t.line(), t.line()
        live = w.live()
        w.kill("router")
        gap = s.item()
        equal((gap["notice"], gap["why"], gap["channel"]), ("gap", "volatile", "volatile/x"))
        check(t.line().startswith(b"NOTICE gap volatile/x "), "telnet")
        eventually(lambda: w.live() >= live, "all are back")
        equal([m["offset"] for m in publish(w, 1, "volatile/x", "a")], [1, 3])
        equal([(m["channel"], m["offset"]) for m in (s.message(), s.message())],
              [("volatile/x", 1), ("a", 3)])


def test_a_pattern_over_ids_without_history_is_told_of_a_restart():
    with World() as w, w.stream("/v1/stream?channel=volatile/**") as s, \
            w.stream("/v1/stream?channel=**") as everything, \
            w.stream("/v1/stream?channel=match/**") as kept, w.telnet() as t:
        for stream in (s, everything, kept):
            stream.item()
        t.send(b"SUB volatile/*\r\n")
        t.line()
        publish(w, 1, "volatile/x", "a")
        s.message(), everything.message(), everything.message(), t.line()
        live = w.live()
        w.kill("router")
        for stream, channel in ((s, "volatile/**"), (everything, "**")):
            gap = stream.item()
            equal([gap[k] for k in ("notice", "why", "channel", "from", "to", "count")],
                  ["gap", "volatile", channel, None, None, None])
        check(t.line().startswith(b"NOTICE gap volatile/* "), "telnet")
        eventually(lambda: w.live() >= live, "all are back")
        publish(w, 1, "volatile/x", "a")
        equal(s.message()["channel"], "volatile/x")
        equal([everything.message()["channel"] for _ in "12"], ["volatile/x", "a"])
        line = t.line()
        check(line.startswith(b"volatile/x "), f"what follows, not {line}")
        kept.tcp.quiet(0.1)


def test_several_channels_each_have_their_verdict_and_one_order():
    with World(config=SMALL) as w:
        sent = publish(w, 12, "small/a", "b", "room/c")
        trimmed(w, "small/a")
        forget_rings(w)
        old = cursor_of(sent[5])
        with w.stream("/v1/stream?channel=small/a&channel=b&channel=room/c&since=" + old) as s:
            gap, snapshot, resumed = s.item(), s.item(), s.item()
            equal((gap["channel"], gap["why"]), ("small/a", "trimmed"))
            equal((snapshot["notice"], snapshot["channel"]), ("snapshot", "small/a"))
            equal((resumed["notice"], sorted(resumed["channels"])), ("resumed", ["b", "room/c"]))
            got = [s.message() for _ in range(25)]
            equal([m["seq"] for m in got], sorted(m["seq"] for m in got), "one order")
            equal([m["offset"] for m in got if m["channel"] == "b"], list(range(3, 13)))
            equal([m["offset"] for m in got if m["channel"] == "small/a"], list(range(8, 13)))
            # Any cursor of any of them is good for all.
            middle = cursor_of(got[10])
        with w.stream("/v1/stream?channel=small/a&channel=b&channel=room/c&since="
                      + middle) as s:
            equal(s.item()["notice"], "resumed")
            equal([s.message()["seq"] for _ in range(14)], [m["seq"] for m in got[11:]])


def test_a_message_comes_once_however_many_patterns_match():
    with World() as w:
        sent = publish(w, 5, "x/a/b", "x/c", "y")
        forget_rings(w)
        query = "/v1/stream?channel=x/**&channel=x/*&channel=x/c&channel=*&since="
        with w.stream(query + cursor_of(sent[2])) as s:
            equal(s.item()["notice"], "resumed")
            got = [s.message() for _ in range(12)]
            equal([m["seq"] for m in got], [m["seq"] for m in sent[3:]])
            live = publish(w, 1, "x/c", "y", "x/n/e/w")
            equal([s.message()["seq"] for _ in range(3)], [m["seq"] for m in live])


def test_a_snapshot_of_a_room_is_exactly_what_came_before():
    with World() as w:
        sent = publish(w, 60, "room/r")
        for way in ("/v1/stream?channel=room/r", "/v1/ws?channel=room/r"):
            with (w.ws(way) if "ws" in way else w.stream(way)) as s:
                first = s.item()
                equal(first["notice"], "snapshot")
                equal([m["offset"] for m in first["state"]["messages"]], list(range(11, 61)))
                equal(first["cursor"], cursor_of(sent[-1]))


def test_late_logins_are_replayed_in_order_and_marked():
    with World() as w:
        sent = publish(w, 10, "a", "b")
        with w.ws("/v1/ws?channel=a") as c:
            equal(c.item()["notice"], "snapshot")
            c.say(cmd="subscribe", channel="b", since=cursor_of(sent[9]), ref=1)
            equal(c.reply(1)["ok"], True)
            live = publish(w, 1, "a")
            replayed, others = [], []
            while True:
                item = c.item()
                if item.get("notice") == "resumed":
                    break
                (replayed if item.get("replay") else others).append(item)
            equal([m["offset"] for m in replayed], list(range(6, 11)))
            equal({m["channel"] for m in replayed}, {"b"})
            equal(item["channel"], "b")
            if not others:
                others.append(c.item())
            equal([m["seq"] for m in others], [live[0]["seq"]])
            # From here on it is one stream again.
            more = publish(w, 3, "b", "a")
            equal([c.item()["seq"] for _ in range(6)], [m["seq"] for m in more])


def test_five_thousand_messages_are_resumed_over_pages():
    with World(["limits.page=300"], config=BIG) as w:
        sent = flood(w, 5000)
        forget_rings(w)
        for target in ("/v1/stream?channel=big/a&channel=big/b&since=0",
                       "/v1/stream?channel=big/*&since=0"):
            with w.stream(target) as s:
                equal(s.item()["notice"], "resumed")
                equal([s.message()["seq"] for _ in sent], sent)
                equal(w.publish("big/a", "live").status, 201)
                equal(s.message()["data"], "live")
                sent.append(sent[-1] + 1)
        # And by polls, each with the cursor of the one before.
        got, cursor = [], "0"
        while len(got) < 5000:
            answer = w.json(f"/v1/poll?channel=big/a&channel=big/b&since={cursor}&wait=2")
            got += [m["seq"] for m in answer["messages"] if "seq" in m]
            cursor = answer["cursor"]
        equal(got[:5000], sent[:5000])
        # And by pages of history.
        got, cursor, more = [], "0", True
        while more:
            answer = w.json(f"/v1/history/big/a?since={cursor}&limit=1000")
            got += [m["offset"] for m in answer["messages"]]
            cursor, more = answer["cursor"], answer["more"]
        equal(got, list(range(1, len(got) + 1)))
        check(len(got) >= 2500, "all of them")


def flood(w, count):
    """So many messages to big/a and big/b in turn, quickly; their seqs."""
    seqs = []
    with w.client() as c:
        for at in range(0, count, 250):
            batch = [{"channel": "big/" + "ab"[n % 2], "data": n} for n in range(at, at + 250)]
            answer = c.ask("POST", "/v1/publish", json.dumps(batch),
                           Content_Type="application/json").answer()
            equal(answer.status, 201)
            seqs += [a["seq"] for a in answer.json()]
    return seqs


class Talker(threading.Thread):
    """Publishes until told to stop."""

    def __init__(self, w, *channels):
        super().__init__()
        self.w, self.channels, self.sent = w, channels, []
        self.enough = threading.Event()
        self.start()

    def run(self):
        with self.w.client() as c:
            n = 0
            while not self.enough.is_set():
                c.ask("POST", "/v1/publish/" + self.channels[n % len(self.channels)], str(n))
                self.sent.append(c.answer().json()["seq"])
                n += 1

    def stop(self):
        self.enough.set()
        self.join()
        return self.sent


def test_resuming_while_publishing_goes_on_leaves_no_hole_and_no_double():
    with World(["limits.page=50"]) as w:
        talker = Talker(w, "a", "b", "c/d")
        try:
            eventually(lambda: len(talker.sent) > 300, "a beginning")
            got, cursor = [], "0"
            for _ in range(12):
                with w.stream("/v1/stream?channel=a&channel=b&channel=c/*&since="
                              + cursor) as s:
                    equal(s.item()["notice"], "resumed")
                    got += [s.message() for _ in range(60)]
                    cursor = cursor_of(got[-1])
        finally:
            sent = talker.stop()
        seqs = [m["seq"] for m in got]
        equal(seqs, sent[:len(seqs)])


def test_a_slow_reader_resumes_without_being_cut():
    """Its pages wait for its socket, and nobody waits for it."""
    with World(["http.workers=1", "limits.queue=64K", "limits.page=100",
                "limits.ring_total=1M"]) as w:
        with w.client() as c:
            for n in range(600):
                equal(c.ask("POST", "/v1/publish/a", f"{n:05}" + "x" * 10000).answer()
                      .status, 201)
        slow = Stream(w.address("http"), "/v1/stream?channel=a&since=0", room=8192)
        equal(slow.item()["notice"], "resumed")
        with w.stream("/v1/stream?channel=a") as other:
            other.item()
            for n in range(600, 640):
                w.publish("a", f"{n:05}")
                equal(other.message()["data"], f"{n:05}")
        equal([int(slow.message()["data"][:5]) for _ in range(640)], list(range(640)))
        slow.close()


def test_a_resumed_stream_survives_the_death_of_the_router_in_its_pages():
    with World(["limits.page=20", "http.workers=1"],
               config=BIG) as w:
        flood(w, 3000)
        forget_rings(w)
        s = Stream(w.address("http"), "/v1/stream?channel=big/a&channel=big/b&since=0", room=8192)
        with s:
            equal(s.item()["notice"], "resumed")
            got = []
            for _ in range(5):
                eventually(lambda: w.pids("router"), "the router is back")
                w.kill("router")
                got += [s.message()["seq"] for _ in range(500)]
            got += [s.message()["seq"] for _ in range(500)]
            equal(got, list(range(got[0], got[0] + 3000)))
