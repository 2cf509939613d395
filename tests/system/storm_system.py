"""Crowds: who comes when others come, and what that costs. Few read of the store
or of the router for all of them; who is too many is told when to come again; who
is sent away is sent in portions. `make hostile` has the big ones."""
import contextlib
import json
import math
import os
import random
import re
import signal
import time

from crowd import Crowd
from limits_system import alive, cpu
from world import World, check, equal, eventually, figure, full_size

SLOW = True
ONE_HTTP = ["http.instances=1", "http.workers=1"]


def size(small, full):
    return full if full_size() else small


def publish(w, channel, n, first=1):
    """n messages; router-ctl needs no gateway. The cursors behind each."""
    out = []
    for i in range(first, first + n):
        a = w.publish(channel, f"message {i}").json()
        equal(a["offset"], i)
        out.append((f"{a['epoch']}-{a['seq']}", a["offset"]))
    return out


# ---- admission ------------------------------------------------------------------------

ADMIT = ["limits.admit_rate=1", "http.workers=1", "tcp.workers=1", "ws.workers=1"]


def slot_of(said):
    return int(re.search(rb'retry_ms":(\d+)', said).group(1))


def no_token_is_left(w):
    """Each poll takes one, until one is refused; the next is a second away."""
    while (a := w.http("GET", "/v1/poll?channel=a")).status == 200:
        pass
    equal((a.status, a.code()), (503, "busy"))
    return slot_of(a.body)


def no_token_is_left_over_ws(w, sockets):
    while True:
        s = w.ws("/v1/ws?channel=a", welcome=False)
        sockets.append(s)
        name, data = s.any_frame()
        if name == "close":
            return data


def test_of_those_who_come_together_over_http_each_is_told_its_slot():
    with World(ADMIT) as w, w.stream("/v1/stream?channel=a") as first:
        equal(first.item()["notice"], "snapshot")
        slots = [no_token_is_left(w)]
        # An EventSource does not come back after an error: it gets a stream.
        a = w.http("GET", "/v1/stream?channel=a", headers={"Accept": "text/event-stream"})
        equal(a.status, 200)
        match = re.fullmatch(rb'retry: (\d+)\n\nevent: notice\ndata: (\{.*\})\n\n', a.body)
        check(match, a.body)
        closing = json.loads(match.group(2))
        equal(closing["notice"], "closing")
        equal(closing["retry_ms"], int(match.group(1)))
        slots.append(closing["retry_ms"])
        for target in ("/v1/stream?channel=a", "/v1/poll?channel=a", "/test/a"):
            a = w.http("GET", target)
            equal((a.status, a.code()), (503, "busy"))
            slots.append(slot_of(a.body))
            equal(int(a.headers["Retry-After"]), math.ceil(slots[-1] / 1000))
        for before, after in zip(slots, slots[1:]):
            check(600 < after - before <= 1000, slots)
        w.limit_reached("admit_rate", 5)
        # Who publishes is not among them, nor who is in, nor whom the ring serves.
        w.publish("a", "goes on")
        item = first.message()
        equal(item["data"], "goes on")
        no_token_is_left(w)
        a = w.http("GET", f"/v1/poll?channel=a&wait=0&since={item['epoch']}-{item['seq']}")
        equal(a.status, 200)


def test_who_comes_back_at_its_slot_is_let_in():
    with World(ADMIT) as w, w.stream("/v1/stream?channel=a") as first:
        first.item()
        due = time.monotonic() + no_token_is_left(w) / 1000
        eventually(lambda: time.monotonic() >= due, "the slot comes")
        equal(w.http("GET", "/v1/poll?channel=a").status, 200)


def test_a_websocket_that_is_too_many_is_closed_with_its_slot():
    with World(ADMIT) as w, w.ws() as other, contextlib.ExitStack() as stack:
        sockets = []
        stack.callback(lambda: [s.close() for s in sockets])
        data = no_token_is_left_over_ws(w, sockets)
        equal(sockets[-1].status, 101)
        equal(int.from_bytes(data[:2], "big"), 1013)
        check(re.fullmatch(rb"busy; retry-after-ms=\d+", data[2:]), data)
        with w.ws("/v1/raw?channel=a", welcome=False) as s:
            equal(s.read(), ("close", 1013))
        # One that is open already may ask again on the same socket.
        other.say(cmd="subscribe", channel="a", ref=1)
        error = other.reply(1)["error"]
        equal(error["code"], "busy")
        due = time.monotonic() + error["retry_ms"] / 1000
        eventually(lambda: time.monotonic() >= due, "the slot comes")
        other.say(cmd="subscribe", channel="a", ref=2)
        equal(other.reply(2)["ok"], True)
        other.say(cmd="subscribe", channel="b", ref=3)
        equal(other.reply(3)["ok"], True)
        w.limit_reached("admit_rate", 3)


def test_telnet_says_in_seconds_when_to_come_again():
    with World(ADMIT) as w, contextlib.ExitStack() as stack:
        line = b"OK"
        while line.startswith(b"OK"):
            t = stack.enter_context(w.telnet())
            t.send(b"SUB a\r\n")
            line = t.line()
        equal(line, b"ERROR busy: too many clients come at once; come again in 1 s\r\n")
        t.send(b"PUB a x\r\n")
        t.until(b"OK PUB a")


# ---- what a crowd costs ---------------------------------------------------------------

def new_match(w):
    for team in ("aaa", "bbb"):
        a = w.http("PUT", f"/v1/teams/{team}", json.dumps({"name": team, "division": "1"}),
                   {"Content-Type": "application/json"})
        equal(a.status, 201)
    a = w.http("POST", "/v1/matches", json.dumps({"home": "aaa", "visit": "bbb",
                                                  "start_time": "2030-01-01T15:00:00Z"}),
               {"Content-Type": "application/json"})
    equal(a.status, 201)
    return a.json()["id"]


def test_newcomers_at_kick_off_cost_the_router_a_snapshot_for_each_link():
    n, instances = size(400, 32000), size(1, 2)
    with World([f"http.instances={instances}", "http.workers=1", "limits.admit_rate=0"]) as w:
        match = new_match(w)
        before, used = w.metric("snapshots_total"), cpu(w.pids("router")[0])
        begin = time.monotonic()
        with Crowd(w.address("http"), f"/v1/stream?channel=match/{match}", n) as crowd:
            crowd.until(lambda f: f["live"] == n, "all newcomers are told the state", size(20, 100))
            took, used = time.monotonic() - begin, cpu(w.pids("router")[0]) - used
            made = w.metric("snapshots_total") - before
            figure(f"{n} newcomers over {instances} links: {took:.1f} s, router {used:.2f} s "
                   f"of processor, {made} snapshots")
            # `instances` share out a crowd by chance: each has got some of it.
            equal(made, instances)


def test_a_crowd_of_resumes_costs_a_few_pages_whatever_the_cursors():
    n, messages = size(300, 10000), 300
    with World([*ONE_HTTP, "limits.admit_rate=0"]) as w:
        cursors = publish(w, "a", messages)
        publish(w, "a", 1, messages + 1)
        w.kill("http")
        eventually(lambda: alive(w), "the gateway is back")
        pages = w.metric("pages_total")
        chance = random.Random(7)
        with Crowd(w.address("http"), "/v1/stream?channel=a", n,
                   [chance.choice(cursors) for _ in range(n)]) as crowd:
            crowd.until(lambda f: f["least"] == messages + 1, "all have everything", size(20, 100))
            figure(f"{n} clients with up to {messages} cursors: "
                   f"{w.metric('pages_total') - pages} pages read")
            check(w.metric("pages_total") - pages <= 12, "the store was read for each of them")


def test_a_crowd_that_is_cut_is_back_and_whole():
    n, instances = size(400, 50000), size(1, 4)
    with World([f"http.instances={instances}", "http.workers=1"]) as w:
        publish(w, "a", 3)
        with Crowd(w.address("http"), "/v1/stream?channel=a", n) as crowd:
            crowd.until(lambda f: f["live"] == n, "all are in", size(20, 100))
            publish(w, "a", 3, 4)
            crowd.until(lambda f: f["least"] == 6, "all have what was said", size(20, 100))
            pages, router = w.metric("pages_total"), w.pids("router")[0]
            used, begin = cpu(router), time.monotonic()
            for pid in w.pids("http"):
                os.kill(pid, signal.SIGKILL)
            with w.telnet() as t:  # whose gateway has not been cut
                t.send(b"".join(b"PUB a message %d\r\n" % i for i in range(7, 17)))
                for _ in range(7, 17):
                    t.until(b"OK PUB a")
                said = time.monotonic() - begin
            crowd.until(lambda f: f["lost"] >= n and f["live"] == n and f["least"] == 16,
                        "all are back and whole", size(30, 110))
            took = time.monotonic() - begin
            f = crowd.figures()
            figure(f"{n} clients cut at once, 10 messages said within {said:.1f} s of it: all back "
                   f"and whole after {took:.1f} s; router "
                   f"{cpu(router) - used:.2f} s of processor, {w.metric('pages_total') - pages} "
                   f"pages read; {f['busy']} were told a slot")
            check(w.metric("pages_total") - pages <= 12 * instances, "pages for each of them")
            publish(w, "a", 1, 17)
            crowd.until(lambda f: f["least"] == 17, "what is live reaches all", size(20, 60))


def test_who_is_too_many_for_the_bucket_is_let_in_one_slot_after_the_other():
    """The store stands behind an empty ring, so each who comes takes a token, or
    a slot: they lie as far apart as tokens come, and who follows his is let in."""
    n, rate = size(600, 10000), size(50, 250)
    with World([*ONE_HTTP, f"limits.admit_rate={rate}"]) as w:
        cursors = publish(w, "a", 20)
        with Crowd(w.address("http"), "/v1/stream?channel=a", n,
                   [cursors[i % 10] for i in range(n)]) as crowd:
            pages, router = w.metric("pages_total"), w.pids("router")[0]
            used, begin = cpu(router), time.monotonic()
            f = crowd.until(lambda f: f["live"] == n and f["least"] == 20,
                            "all are in and whole", size(30, 110))
            took = time.monotonic() - begin
            slots = f["slots"]
            check(f["busy"] >= n / 4, f"only {f['busy']} of {n} were told a slot")
            check(max(slots.values()) <= 2 * rate, f"bunched: {slots}")
            held = sorted(slots)[1:-1]  # the first and the last are not full
            check(len(held) >= 2, slots)
            check(min(slots.get(i, 0) for i in range(held[0], held[-1] + 1)) >= rate / 4,
                  f"holes: {slots}")
            figure(f"{n} clients over an admit_rate of {rate}: all in and whole after {took:.1f} s; "
                   f"{f['busy']} slots, {min(slots[i] for i in held)} to {max(slots.values())} in "
                   f"a second; router {cpu(router) - used:.2f} s of processor, "
                   f"{w.metric('pages_total') - pages} pages read")
            check(w.metric("pages_total") - pages <= 12, "the store was read for each of them")
            w.limit_reached("admit_rate", f["busy"])


# ---- going down -----------------------------------------------------------------------

def test_a_drain_sends_its_clients_away_in_portions_with_a_slot():
    n = 120
    with World([*ONE_HTTP, "limits.admit_rate=200"]) as w:
        with Crowd(w.address("http"), "/v1/stream?channel=a", n) as crowd, \
                w.ws("/v1/ws?channel=a") as s:
            crowd.until(lambda f: f["live"] == n, "all are in")
            s.item()
            begin = time.monotonic()
            w.kill("http", 15)
            f = crowd.until(lambda f: f["lost"] >= 20, "the first ones go")
            check(f["lost"] < n, "all went at once")
            crowd.until(lambda f: f["lost"] >= n, "all go")
            check(time.monotonic() - begin >= 0.4, "no faster than they may come")
            equal(crowd.figures()["busy"], n)
            w.kill("ws", 15)
            while s.any_frame()[0] != "close":
                pass
            crowd.until(lambda f: f["live"] == n, "all are back", 30)
