"""Readers who do not keep up: what they are told that they do without, at every
edge and under every policy, and that nobody else notices."""
import contextlib
import json
import re
import select
import statistics
import time

from world import (Failed, Stream, Tcp, World, check, equal, eventually, figure,
                   full_size)
from limits_system import rest_of, rss
from match_system import MATCH, event, make_match

BLOCK = "b" * 60000
QUEUE = 256 << 10
POLICIES = ["namespace old/.slow=drop-oldest", "namespace new/.slow=conflate"]
MANY = 140  # blocks: twice what sockets of a client with little room hold
MATCH_ID = "match/elp-tig-2011-09-13"


def small(*sets):
    """One worker an edge, and a small budget."""
    return World(["http.workers=1", "tcp.workers=1", "ws.workers=1", f"limits.queue={QUEUE}",
                  *POLICIES, *sets])


def flood(w, count, channel, key=None):
    headers = {"Touchline-Key": key} if key else {}
    with w.client() as c:
        for _ in range(count):
            equal(c.ask("POST", "/v1/publish/" + channel, BLOCK, **headers).answer().status,
                  201)


def reader(w, *channels, accept="application/x-ndjson", page="/v1/stream"):
    """Has little room in its socket, and has heard that it listens."""
    target = page + "?" + "&".join("channel=" + c for c in channels)
    if page != "/v1/stream":
        target = page + channels[0]
    s = Stream(w.address("http"), target, {"Accept": accept}, room=8192)
    s.chunk()
    return s


def one_gap(items, last, why="slow"):
    """A prefix, one gap that tells exactly what is missing, and the rest."""
    notices = [i for i in items if "notice" in i]
    equal([(n["notice"], n["why"]) for n in notices], [("gap", why)])
    gap, at = notices[0], items.index(notices[0])
    before = [m["offset"] for m in items[:at]]
    behind = [m["offset"] for m in items[at + 1:]]
    equal(before, list(range(1, len(before) + 1)), "whole before the gap")
    equal(gap["from"], len(before) + 1)
    equal(gap["cursor"], f'{items[0]["epoch"]}-{items[at - 1]["seq"]}')
    equal(behind, list(range(gap["to"] + 1, last + 1)), "whole behind it")
    equal(gap["count"], gap["to"] - gap["from"] + 1)
    return gap


def until_last(s, offset, item):
    items = []
    while not items or items[-1].get("offset") != offset:
        items.append(item(s))
    return items


def an_event(s):
    return json.loads(s.event()["data"])


def test_the_oldest_are_left_out_and_told_at_every_edge():
    with small() as w, reader(w, "old/1") as lines, \
            reader(w, "old/1", accept="text/event-stream") as events, \
            reader(w, "old/1", page="/test/") as page, \
            w.ws("/v1/ws?channel=old/1", room=8192) as ws, \
            w.ws("/v1/raw?channel=old/1", room=8192) as raw, \
            Tcp(w.address("tcp"), b"SUB old/1\r\n", room=8192) as telnet, \
            w.stream("/v1/stream?channel=old/1") as other:
        equal(an_event(events)["notice"], "snapshot")
        telnet.until(b"OK SUB")
        telnet.line()
        equal(ws.item()["notice"], "snapshot")
        other.item()
        for n in range(MANY):
            flood(w, 1, "old/1")
            equal(other.message()["offset"], n + 1)
        eventually(lambda: w.metric("stalled_connections") == 6, "they are slow")
        gap = one_gap(until_last(lines, MANY, Stream.item), MANY)
        check(gap["count"] > 30, gap)
        one_gap(until_last(events, MANY, an_event), MANY)
        one_gap(until_last(ws, MANY, lambda s: s.item()), MANY)
        the_page(page)
        the_terminal(telnet)
        closes_as_slow(raw)
        flood(w, 1, "old/1")
        for s in (lines, ws):
            equal(s.item()["offset"], MANY + 1, "it goes on")
        eventually(lambda: w.metric("gaps_total", why="slow") == 6, "counted")
        check(w.metric("left_out_total", policy="drop-oldest") > 180, "and what they missed")
        equal(w.metric("cut_total"), 0)


def the_page(page):
    """`/test/` counts what it has got, and says how much it has not."""
    texts = []
    while not texts or not texts[-1].startswith(b"Recvd") or b"Missed" not in b"".join(texts):
        texts += [page.chunk()]
    missed, = [int(t[7:].split()[0]) for t in texts if t.startswith(b"Missed")]
    got = len([t for t in texts if t.startswith(b"Recvd")])
    while got + missed < MANY:
        check(page.chunk().startswith(f"Recvd msg #{got + 1}: ".encode()), "numbered")
        got += 1


def the_terminal(telnet):
    got, gap = 0, None
    while got + (gap[2] if gap else 0) < MANY:
        line = telnet.line()
        if line.startswith(b"NOTICE gap"):
            equal(gap, None, "one gap")
            found = re.fullmatch(rb"NOTICE gap old/1 \S+ from=(\d+) to=(\d+) count=(\d+) "
                                 rb"why=slow\r\n", line)
            check(found, line)
            gap = [int(n) for n in found.groups()]
            equal(gap[0], got + 1)
        else:
            check(line.startswith(b"old/1 "), line[:100])
            got += 1
    equal(gap[1] - gap[0] + 1, gap[2])


def closes_as_slow(raw):
    while (frame := raw.any_frame())[0] != "close":
        equal(frame[1], BLOCK.encode())
    equal(int.from_bytes(frame[1][:2], "big"), 4008)


def test_of_each_key_the_newest_comes_and_what_has_none():
    keys = ("home", "visit", None)
    with small() as w, reader(w, "new/1") as s, w.stream("/v1/stream?channel=new/1") as other:
        other.item()
        for n in range(90):
            # A message without a key now and then: they may not be left out.
            flood(w, 1, "new/1", keys[2] if n % 30 == 29 else keys[n % 2])
            equal(other.message()["offset"], n + 1)
        items = until_last(s, 90, Stream.item)
        gap, = [i for i in items if "notice" in i]
        at = items.index(gap)
        equal((gap["notice"], gap["why"], gap["from"]), ("gap", "conflated", at + 1))
        behind = [m["offset"] for m in items[at + 1:]]
        equal(behind[-3:], [88, 89, 90])
        check(set(behind) <= {30, 60, 88, 89, 90}, behind)
        equal(gap["count"], 90 - at - len(behind))
        equal(gap["to"], 87)
        eventually(lambda: w.metric("left_out_total", policy="conflate") == gap["count"],
                   "counted")


def test_of_a_match_the_goals_and_its_state_come():
    with small() as w:
        make_match(w)
        event(w, "start", home_players=[[7, "Luna"]])
        with reader(w, MATCH_ID, "old/1") as s:
            flood(w, MANY // 2, "old/1")
            for n in range(40):
                flood(w, 1, "old/1")
                for _ in range(5):
                    event(w, "shot", team="elp", comment="a" * 2000)
                if n % 10 == 9:
                    event(w, "goal", team="elp", player=7)
            event(w, "halftime_start")
            event(w, "halftime_stop")
            flood(w, 1, "old/1")
            items = []
            while not items or (items[-1]["channel"], items[-1].get("offset")) != \
                    ("old/1", MANY // 2 + 41):
                items.append(s.item())
            seqs = [i["seq"] for i in items if "notice" not in i]
            equal(seqs, sorted(seqs), "in one order")
            equal(len([i for i in items if i.get("kind") == "goal"]), 4)
            gaps = {i["channel"]: i for i in items if i.get("notice") == "gap"}
            equal({c: g["why"] for c, g in gaps.items()},
                  {MATCH_ID: "conflated", "old/1": "slow"})
            came = len([i for i in items if i["channel"] == MATCH_ID and "kind" in i])
            equal(gaps[MATCH_ID]["count"], 200 + 4 + 2 - came)
            equal(w.metric("cut_total"), 0)


def test_who_never_reads_stays_and_costs_little():
    with small("limits.queue_age=1s", "limits.ring_total=1M") as w:
        pid, = w.pids("http")
        flood(w, 50, "old/1")
        before = rss(pid)
        slow = [reader(w, "old/1") for _ in range(20)]
        with w.stream("/v1/stream?channel=old/1") as other:
            other.item()
            for n in range(200):
                flood(w, 1, "old/1")
                equal(other.message()["offset"], 51 + n)
            eventually(lambda: w.metric("stalled_connections") == 20, "they are slow")
            check(rss(pid) - before < 8 << 20, f"{rss(pid) - before} more bytes")
            with w.client() as c, contextlib.suppress(Failed):
                c.line(3)  # longer than queue_age
            equal(w.metric("cut_total"), 0)
        # The ring has lost most of it, and the gap is true.
        first, gap = 0, None
        while gap is None:
            item = slow[0].item()
            if "notice" in item:
                gap = item
            else:
                first = item["offset"]
        equal((gap["why"], gap["from"]), ("slow", first + 1))
        flood(w, 1, "old/1")
        behind = slow[0].message()["offset"]
        equal((gap["to"], gap["count"]), (behind - 1, behind - 1 - first))
        for s in slow:
            s.close()


def test_who_holds_a_channel_that_is_to_be_cut_is_cut_for_that():
    with small("limits.queue_age=3s") as w, reader(w, "old/1", "plain") as s:
        flood(w, 100, "old/1")
        with w.client() as c, contextlib.suppress(Failed):
            c.line(5)  # longer than queue_age
        equal(w.metric("cut_total"), 0)
        w.publish("plain", "waits")
        eventually(lambda: "action=cut" in w.log_tail(), "cut")
        items = rest_of(s)
        eventually(lambda: w.metric("cut_total", why="age") == 1, "counted")
        gaps = {i["channel"]: i for i in items if i.get("notice") == "gap"}
        equal((gaps["plain"]["from"], gaps["plain"]["to"]), (1, 1))
        equal(items[-1]["notice"], "closing")
        messages = [i["offset"] for i in items if "notice" not in i]
        equal((gaps["old/1"]["from"], gaps["old/1"]["to"]), (messages[-1] + 1, 100))
        with w.stream("/v1/stream?channel=old/1&channel=plain&since="
                      + items[-1]["cursor"]) as again:
            equal(again.item()["notice"], "resumed")
            equal(again.message()["offset"], messages[-1] + 1, "nothing is lost")


def test_a_poller_that_comes_late_is_not_slow():
    with small("limits.page=1000", "limits.page_bytes=4M") as w:
        cursor = w.json("/v1/poll?channel=old/1")["cursor"]
        flood(w, 100, "old/1")
        got = []
        while len(got) < 100:
            answer = w.json(f"/v1/poll?channel=old/1&since={cursor}")
            cursor = answer["cursor"]
            got += [m["offset"] for m in answer["messages"] if "notice" not in m]
        equal(got, list(range(1, 101)))


# ---- the others do not notice ----------------------------------------------

LINE = re.compile(rb'"offset":(\d+)')


class Crowd:
    """Many readers of one channel, who all read, looked after together."""

    def __init__(self, w, n, channel):
        self.poll, self.seen, self.rest, self.socks = select.epoll(), {}, {}, {}
        for _ in range(n):
            s = Tcp(w.address("http"), f"GET /v1/stream?channel={channel} HTTP/1.0\r\n"
                    "\r\n".encode())
            s.until(b'"snapshot"')
            s.sock.setblocking(False)
            fd = s.sock.fileno()
            self.socks[fd], self.seen[fd], self.rest[fd] = s, 0, s.rest
            self.poll.register(fd, select.EPOLLIN)

    def read(self, timeout=0):
        """Whatever has come; in order, each once."""
        for fd, _ in self.poll.poll(timeout):
            data = self.rest[fd] + self.socks[fd].sock.recv(1 << 18)
            whole = data.rfind(b"\n") + 1
            self.rest[fd] = data[whole:]
            for line in data[:whole].split(b"\n"):
                found = LINE.search(line[:200])
                if found:
                    equal(int(found[1]), self.seen[fd] + 1, "the next one")
                    self.seen[fd] += 1

    def all_have(self, offset):
        while min(self.seen.values()) < offset:
            self.read(20)

    def close(self):
        for s in self.socks.values():
            s.close()


def measure(w, crowd, channel, count, before):
    """Publications a second, and the middle time from a publication to the last
    of the crowd."""
    text = "x" * 400
    began = time.monotonic()
    with w.client() as c:
        for first in range(0, count, 20):
            for _ in range(20):
                c.ask("POST", "/v1/publish/" + channel, text)
            for _ in range(20):
                equal(c.answer().status, 201)
                crowd.read()
        crowd.all_have(before + count)
        rate = count / (time.monotonic() - began)
        times = []
        for n in range(50):
            begin = time.monotonic()
            equal(c.ask("POST", "/v1/publish/" + channel, text).answer().status, 201)
            crowd.all_have(before + count + n + 1)
            times.append(time.monotonic() - begin)
    return rate, statistics.median(times), before + count + 50


def says_what_is_missing(s, due, channel, upto):
    """due: channel -> its next offset. Up to the channel's last one, something is
    missing, and all of that is told."""
    gaps = 0
    while due[channel] <= upto:
        item = s.item()
        equal(item.get("from", item.get("offset")), due[item["channel"]], item["channel"])
        if item.get("notice") == "gap":
            equal(item["why"], "slow")
            gaps += 1
        due[item["channel"]] = item.get("to", item.get("offset")) + 1
    check(gaps > 0, "something is missing")


def test_readers_who_do_not_read_slow_down_nobody():
    readers, stalled, count = (950, 50, 300) if full_size() else (60, 6, 600)
    rates, times = {0: [], stalled: []}, {0: [], stalled: []}
    with small("limits.ring_total=16M", "namespace old/.history=100",
               "limits.queue_age=1s") as w:
        pid, = w.pids("http")
        crowd = Crowd(w, readers, "old/1")
        offset, filled, before = 0, 0, rss(pid)
        for _ in range(2):
            for beside in (0, stalled):
                began = time.monotonic()
                due = {"old/1": offset + 1, "old/fill": filled + 1}
                slow = [reader(w, *due) for _ in range(beside)]
                if beside:  # their sockets are full before it is measured
                    flood(w, MANY, "old/fill")
                    filled += MANY
                rate, middle, offset = measure(w, crowd, "old/1", count, offset)
                rates[beside].append(rate)
                times[beside].append(middle)
                # TCP_USER_TIMEOUT ends who has taken nothing for 35 s.
                in_time = time.monotonic() - began < 25
                for s in slow:
                    if in_time:
                        says_what_is_missing(s, dict(due), "old/1", offset)
                    s.close()
        check(rss(pid) - before < (64 << 20), f"{rss(pid) - before} more bytes")
        equal(w.metric("cut_total"), 0)
        crowd.close()
    alone, with_them = statistics.median(rates[0]), statistics.median(rates[stalled])
    t0, t1 = statistics.median(times[0]), statistics.median(times[stalled])
    figure(f"{readers} who read: {alone:.0f} publications a second alone, {with_them:.0f} "
           f"beside {stalled} who do not ({with_them / alone:.2f}); to the last of them "
           f"{t0 * 1e3:.1f} ms and {t1 * 1e3:.1f} ms ({t1 / t0:.2f})")
