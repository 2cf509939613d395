"""Rooms: who is here, who came and who went, and what stays invisible."""
import time

from world import World, check, equal, eventually

SLOW = True
GRACE = 10  # seconds from the last connection of a name to its leave


def names_of(notice):
    return notice["names"]


def watcher(w, room="room/r", name="watcher"):
    s = w.stream(f"/v1/stream?channel={room}&name={name}")
    equal(s.item()["notice"], "snapshot")
    return s


def said(stream, what, name):
    """The next notice that names this one; none but joins and leaves of
    others may come before it."""
    while True:
        notice = stream.item()
        check(notice["notice"] in ("join", "leave"), notice)
        check("offset" not in notice, notice)
        if name in notice["names"]:
            equal(notice["notice"], what, f"about {name}")
            return notice


def present(w, room="room/r"):
    answer = w.json("/v1/presence/" + room)
    return answer["count"], sorted((n["name"], n["connections"]) for n in answer["names"])


# ---- snapshots -------------------------------------------------------------

def test_a_newcomer_gets_count_names_and_the_last_fifty_messages():
    with World() as w, watcher(w, name="ana") as ana:
        for i in range(60):
            equal(w.publish("room/r", f"line {i}", Touchline_From="ana").status, 201)
        w.publish("room/other", "elsewhere")
        with w.ws("/v1/ws?channel=room/r&name=ana") as again, \
                w.stream("/v1/stream?channel=room/r") as last:
            state = again.item()["state"]
            equal(sorted(state), ["count", "messages", "names"])
            equal((state["count"], state["names"]),
                  (2, [{"name": "ana", "connections": 2}]))
            history = w.json("/v1/history/room/r?last=50")["messages"]
            equal(state["messages"], history)
            equal([m["data"] for m in history], [f"line {i}" for i in range(10, 60)])
            snapshot = last.item()
            equal(snapshot["state"]["count"], 3)
            equal(snapshot["state"]["names"], [{"name": "ana", "connections": 2},
                                               {"name": "anon", "connections": 1}])
            w.publish("room/r", "and then")
            equal(last.message()["data"], "and then", "exactly what comes after it")
            equal([ana.message()["data"] for _ in range(61)][-1], "and then")


def test_a_snapshot_is_never_older_than_the_login():
    """Everybody who is in force before is in it, however it was cached."""
    with World(["http.workers=1"]) as w:
        streams = []
        for i in range(8):
            s = w.stream(f"/v1/stream?channel=room/r&name=n{i}")
            state = s.item()["state"]
            equal(state["count"], i + 1)
            equal([n["name"] for n in state["names"]], [f"n{k}" for k in range(i + 1)])
            streams.append(s)
        streams.pop(0).close()
        eventually(lambda: present(w)[0] == 7, "one is gone")
        with w.stream("/v1/stream?channel=room/r&name=last") as s:
            equal(s.item()["state"]["count"], 8)
        for s in streams:
            s.close()


def test_a_snapshot_names_a_hundred():
    with World() as w:
        crowd = [w.stream(f"/v1/stream?channel=room/r&name=n{i}") for i in range(105)]
        for s in crowd:
            equal(s.item()["notice"], "snapshot")
        with w.stream("/v1/stream?channel=room/r&name=me") as s:
            state = s.item()["state"]
            equal((state["count"], len(state["names"])), (106, 100))
            equal(len(w.json("/v1/presence/room/r")["names"]), 105 + 1)
        for s in crowd:
            s.close()


# ---- coming and going ------------------------------------------------------

def test_joins_are_gathered_at_most_one_a_second_with_twenty_names():
    with World() as w:
        begin = time.monotonic()
        s = watcher(w)
        crowd = [w.stream(f"/v1/stream?channel=room/r&name=n{i}") for i in range(60)]
        for c in crowd:
            c.item()
        notices, count = [], 0
        while count < 60:
            notice = s.item()
            equal((notice["notice"], notice["channel"]), ("join", "room/r"))
            check(len(notice["names"]) == min(20, notice["count"]), notice)
            notices.append(notice)
            count += notice["count"] - ("watcher" in notice["names"])
        equal(count, 60)
        equal(notices[-1]["present"], 61)
        took = time.monotonic() - begin
        check(len(notices) - 1 <= took + 0.1, f"{len(notices)} notices in {took:.1f} s")
        check(any(n["count"] > 1 for n in notices), "gathered")
        for c in [s, *crowd]:
            c.close()


def test_only_the_first_connection_of_a_name_is_a_join():
    with World() as w, watcher(w) as s, w.ws("/v1/ws?channel=room/r&name=ana"):
        said(s, "join", "ana")
        with w.ws("/v1/ws?channel=room/r&name=ana"), \
                w.ws("/v1/ws?channel=room/r&name=bo"):
            equal(said(s, "join", "bo")["names"], ["bo"])


def come(w, name):
    """A reader of the room under this name, in force."""
    s = w.stream("/v1/stream?channel=room/r&name=" + name)
    s.item()
    return s


def poll(w, cursor, wait):
    since = f"&since={cursor}" if cursor else ""
    return w.json(f"/v1/poll?channel=room/r&name=poller&wait={wait}{since}")["cursor"]


def test_who_comes_back_in_ten_seconds_has_never_left():
    """Reconnects, polls, another edge, the deaths of gateway and router. Only
    `first` and `last` leave, before and after all that."""
    with World() as w, w.ws("/v1/ws?channel=room/r&name=watcher") as s:
        equal(s.item()["notice"], "snapshot")
        names = {"first", "last", "moves", "restarted"}
        readers = {name: come(w, name) for name in names}
        came = set()
        while not came >= names:
            came |= set(names_of(s.item()))
        w.kill("router")
        eventually(lambda: w.publish("room/r", "back").status == 201, "taken")
        equal(s.item()["data"], "back", "nobody came or went with the router")

        cursor = poll(w, None, 0)
        said(s, "join", "poller")
        begin = time.monotonic()
        for name in ("first", "moves"):
            readers[name].close()
        eventually(lambda: present(w)[0] == 3, "two are gone")
        w.kill("http")
        eventually(lambda: alive(w), "http is back")
        with w.ws("/v1/ws?channel=room/r&name=moves"), come(w, "restarted"), \
                w.ws("/v1/ws?channel=room/r&name=last") as last:
            cursor = poll(w, cursor, 0)
            closed = time.monotonic()
            last.close()
            while time.monotonic() < begin + GRACE - 1.5:
                cursor = poll(w, cursor, 1)
            notice = s.item()
            took = time.monotonic() - begin
            check(took > GRACE - 0.1, f"leave after {took:.1f} s")
            equal((notice["notice"], notice["names"][0]), ("leave", "first"))
            poll(w, cursor, 0)
            if notice["names"] == ["first"]:  # else both within one second
                notice = s.item()
                took = time.monotonic() - closed
                check(took > GRACE - 0.1, f"leave after {took:.1f} s")
                equal(notice["notice"], "leave")
            equal(notice["names"][-1], "last")
            equal(present(w)[1], [("moves", 1), ("restarted", 1), ("watcher", 1)])


def test_the_routers_death_announces_nobody_twice():
    """Neither him who polls, and was just away, nor those of a gateway that
    died with the router. Who comes meanwhile is announced."""
    with World() as w, w.ws("/v1/ws?channel=room/r&name=watcher") as s:
        equal(s.item()["notice"], "snapshot")
        reader = come(w, "reader")
        cursor = poll(w, None, 0)
        came = set()
        while not came >= {"reader", "poller"}:
            came |= set(names_of(s.item()))
        w.kill("http")
        w.kill("router")
        reader.close()
        eventually(lambda: alive(w), "both are back")
        with come(w, "reader"), come(w, "new"):
            poll(w, cursor, 0)
            equal(w.publish("room/r", "back").status, 201)
            heard = []
            while "data" not in (item := s.item()):
                heard.append((item["notice"], item["names"]))
            check(heard in ([], [("join", ["new"])]), heard)
            if not heard:
                equal(said(s, "join", "new")["names"], ["new"])


def alive(w):
    try:
        return w.http("GET", "/readyz").status == 200
    except OSError:
        return False


# ---- who -------------------------------------------------------------------

def test_presence_agrees_on_every_edge():
    with World() as w, w.ws("/v1/ws?channel=room/r&name=ana") as c, \
            w.stream("/v1/stream?channel=room/r&name=ana") as s, w.telnet() as t:
        c.item()
        s.item()
        t.send(b"JOIN r\r\n")
        t.until(b"OK JOIN")
        wanted = [("ana", 2), ("anon", 1)]
        equal(present(w), (3, wanted))
        t.send(b"WHO room/r\r\n")
        lines = t.until(b"OK WHO 2\r\n").decode().split("\r\n")
        equal(sorted(line for line in lines if line.count(" ") == 1), ["ana 2", "anon 1"])
        reply = c.say(cmd="presence", channel="room/r", ref=1).reply(1)
        equal((reply["count"], sorted((n["name"], n["connections"])
                                      for n in reply["names"])), (3, wanted))
        text = w.ctl("who", "room/r")
        for name, connections in wanted:
            check([name, str(connections)] in [line.split() for line in text.split("\n")],
                  text)
        t.send(b"LEAVE r\r\n")
        t.until(b"OK LEAVE")
        eventually(lambda: present(w) == (2, [("ana", 2)]), "one less")
        check("anon" not in w.ctl("who", "room/r"), "gone everywhere")


def test_a_name_is_checked_on_every_edge():
    good, bad = "n" * 64, ("n" * 65, "a b", "a:b", "a\tb", "")
    with World() as w, w.ws() as c, w.telnet() as t:
        equal(c.say(cmd="subscribe", channel="room/r", name=good, ref=1).reply(1)["ok"], True)
        with w.stream("/v1/stream?channel=room/r&name=n%C3%A9+") as s:
            s.item()
            equal(present(w)[1], [(good, 1), ("né+", 1)])
        for name in bad:
            reply = c.say(cmd="subscribe", channel="room/x", name=name, ref=2).reply(2)
            equal(reply["error"]["code"], "name.bad", name)
            quoted = name.replace(" ", "%20").replace("\t", "%09")
            for target in ("/v1/stream", "/v1/poll"):
                answer = w.http("GET", f"{target}?channel=room/x&name={quoted}")
                equal((answer.status, answer.code()), (400, "name.bad"), name)
            if name:
                t.send(f"NICK {name}\r\n".encode())
                check(t.line().startswith((b"ERROR name.bad: ", b"ERROR line.bad: ")), name)
        answer = w.http("GET", "/v1/stream?channel=room/x&name=%FF")
        equal((answer.status, answer.code()), (400, "name.bad"))
        equal(present(w, "room/x"), (0, []))
