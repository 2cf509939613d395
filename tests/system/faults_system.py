"""One fault at a time, in processes that run and are in use: what the kernel may
answer to any call, and what must hold then. tests/chaos mixes them."""
import contextlib
import ctypes
import hashlib
import http.client
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

from world import (BIN, EDGES, ROOT, Failed, Stream, Tcp, World, Ws, check, equal, eventually, figure,
                   full_size)

sys.path.append(os.path.join(ROOT, "tests", "chaos"))
from inject import Injector  # noqa: E402  tests/chaos is no package
from relay import Relay  # noqa: E402

ONE_LOOP = [f"{kind}.workers=1" for kind in EDGES]
TROUBLE = (OSError, Failed, http.client.HTTPException, ValueError)


@contextlib.contextmanager
def faulty_world(sets=(), **more):
    with Injector() as faults, World([*ONE_LOOP, *sets], under=faults.base, env=faults.env,
                                     **more) as w:
        yield w, faults


def attempt(function, *args):
    """What it returns, or None: faults are at work."""
    try:
        return function(*args)
    except TROUBLE:
        return None


class Talk:
    """Publishes without pause to a few channels, over POST; keeps what was
    acknowledged. judge(): all of that is kept, once, and nothing else that
    nobody sent."""

    def __init__(self, w, channels=3):
        self.w, self.acked, self.sent, self.strange = w, [], set(), []
        self.enough = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(f"talk/{n}",))
                        for n in range(channels)]

    def run(self, channel):
        n = 0
        while not self.enough.is_set():
            with contextlib.suppress(*TROUBLE), self.w.client() as c:
                while not self.enough.is_set():
                    n += 1
                    text = f"{channel} {n} " + "x" * (n % 7 * 300)
                    self.sent.add((channel, text))
                    answer = c.ask("POST", "/v1/publish/" + channel, text).answer()
                    if answer.status == 201:
                        self.acked.append((channel, answer.json()["offset"], text))
                    elif answer.status != 503:
                        self.strange.append(answer)

    def __enter__(self):
        for t in self.threads:
            t.start()
        self.progress(50)
        return self

    def __exit__(self, *_):
        self.enough.set()
        for t in self.threads:
            t.join()

    def progress(self, count):
        """So many more were acknowledged."""
        wanted = len(self.acked) + count
        eventually(lambda: len(self.acked) >= wanted, f"{count} more acknowledged")

    def judge(self):
        equal(self.strange, [], "answers")
        kept = {}
        for n in range(len(self.threads)):
            channel = f"talk/{n}"
            for m in whole_history(self.w, channel):
                check("notice" not in m, m)
                kept[channel, m["offset"]] = m["data"]
                check((channel, m["data"]) in self.sent, f"a ghost: {m}")
            offsets = sorted(o for c, o in kept if c == channel)
            equal(offsets, list(range(1, len(offsets) + 1)), "dense")
        for channel, offset, text in self.acked:
            equal(kept.get((channel, offset)), text, f"lost: {channel} {offset}")
        equal(len({(c, o) for c, o, _ in self.acked}), len(self.acked), "a number given twice")
        return len(self.acked)


def whole_history(w, channel):
    out, since = [], "0"
    while True:
        page = w.json(f"/v1/history/{channel}?limit=1000&since={since}")
        out += page["messages"]
        if not page["more"]:
            return out
        since = page["cursor"]


KEEP_ALL = "[namespace talk/]\nhistory = 10M\n"


def is_lively(w):
    """A fresh message reaches a fresh subscriber of each edge."""
    def once():
        with w.ws("/v1/ws?channel=fresh") as c, w.stream("/v1/stream?channel=fresh") as s, \
                w.telnet() as t:
            c.item(3), s.item(3)
            t.send(b"SUB fresh\r\n")
            t.until(b"OK SUB fresh", 3)
            t.line(3)
            if w.publish("fresh", "hello").status != 201:
                return False
            c.message(3), s.message(3)
            return b"hello" in t.line(3)
    eventually(lambda: attempt(once), "lively again")


def all_pids(w):
    return {kind: w.pids(kind) for kind in ("router", *EDGES)}


def check_file(w):
    """The database, behind a clean end."""
    equal(w.stop(), 0)
    with contextlib.closing(sqlite3.connect(os.path.join(w.dir, "touchline.db"))) as db:
        equal(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])


# ---- the means -------------------------------------------------------------

def test_faults_reach_every_kind_of_call_in_the_cage():
    """Rules that never strike count what they could have."""
    about = {"reads": ("read", "db", "router"), "frames": ("write", "wal", "router"),
             "syncs": ("sync", "wal db guard", "router"),
             "opens": ("open", "db wal", "router"),
             "links": ("recv send", "link", "router"), "their end": ("recv send", "link", "ws"),
             "accepting": ("accept", "client", "http"), "input": ("recv", "client", "tcp"),
             "output": ("send", "client", "ws"), "clock": ("clock", "", "router"),
             "memory": ("memory", "", "router"), "memory of edges": ("memory", "", "http tcp ws")}
    with Injector() as faults:
        rules = {name: faults.rule(calls, kinds, process, chance=0)
                 for name, (calls, kinds, process) in about.items()}
        with World(under=faults.base, env=faults.env) as w:
            is_lively(w)
            check("seccomp=yes" in w.log_tail(1 << 20) or os.environ.get("TOUCHLINE_BIN"),
                  "in the cage")
        for name, rule in rules.items():
            check(rule.seen > 0, f"{name}: never seen")
            equal(rule.struck, 0, name)


# ---- F3: killed within a commit --------------------------------------------

def test_f3_a_router_killed_at_any_write_or_sync_keeps_what_was_acknowledged():
    places = [("write", "wal"), ("write", "db"), ("sync", "wal"), ("sync", "db"),
              ("write", "guard")]
    numbers = range(1, 13) if full_size() else (1, 2, 5)
    deaths = 0
    with faulty_world(config=KEEP_ALL + "[namespace talk/0]\ndurability = power\n") as (w, faults):
        with Talk(w) as talk:
            for calls, kinds in places if full_size() else places[:4:2] + places[4:]:
                for act in ("kill", "tear", "kill_after"):
                    if calls == "sync" and act == "tear":
                        continue
                    for at in numbers:
                        before = w.pids("router")
                        with faults.rule(calls, kinds, act=act, at=at, times=1) as rule:
                            if not attempt(eventually, lambda: rule.struck, "a death",
                                           2 if kinds == "wal" else 0.2):
                                continue
                        deaths += 1
                        eventually(lambda: set(w.pids("router")) - set(before), "another router")
                        talk.progress(5)
        kept = talk.judge()
        is_lively(w)
        check_file(w)
    figure(f"killed {deaths} times, {kept} acknowledged, all kept")
    check(deaths >= 12, f"only {deaths} deaths")


# ---- F8: the disk's errors -------------------------------------------------

def test_f8_a_disk_that_errs_costs_refusals_and_nothing_that_was_acknowledged():
    struck = 0
    with faulty_world(config=KEEP_ALL + "[namespace talk/0]\ndurability = power\n") as (w, faults):
        router = w.pids("router")
        with Talk(w) as talk:
            for calls, kinds in (("write", "wal"), ("sync", "wal"), ("read", "db wal"),
                                 ("write", "db"), ("sync", "db"), ("write sync", "guard")):
                for at, times in ((1, 1), (2, 1), (1, None), (4, 3)):
                    with faults.rule(calls, kinds, error="EIO", at=at, times=times) as rule:
                        attempt(eventually, lambda: rule.struck, "a strike", 0.3)
                        attempt(w.json, "/v1/history/talk/1?since=0")
                    struck += rule.struck
                    talk.progress(5)
        kept = talk.judge()
        is_lively(w)
        equal(w.pids("router"), router, "without a restart")
        check_file(w)
    figure(f"{struck} errors, {kept} acknowledged, all kept")
    check(struck > 10, f"only {struck} errors")


# ---- F10: the clock --------------------------------------------------------

def test_f10_a_clock_that_jumps_moves_no_order_and_no_timer():
    day, jumps = 86400, (86400, -86400, -3600, 40 * 86400, 0)
    config = "[namespace talk/]\nhistory = 10M\nhistory_age = all\n"
    with faulty_world(["limits.ping=1s"], config=config) as (w, faults):
        with w.stream("/v1/stream?channel=talk/*") as s, w.ws("/v1/ws?channel=talk/0") as c:
            s.item(), c.item()
            seen, stamps = [], []
            with Talk(w) as talk:
                for seconds in jumps:
                    with faults.rule("clock", process="router http tcp ws", act="shift",
                                     arg=seconds * 10 ** 9):
                        talk.progress(100)
                        until = w.publish("talk/0", f"after {seconds}").json()["seq"]
                        talk.sent.add(("talk/0", f"after {seconds}"))
                        while not seen or seen[-1]["seq"] < until:
                            seen.append(s.message())
                        stamps.append(seen[-1]["ts"] / 1000 - time.time())
            seqs = [m["seq"] for m in seen]
            equal(seqs, sorted(set(seqs)), "one order")
            last = {}
            for m in seen:
                equal(m["offset"], last.get(m["channel"], m["offset"] - 1) + 1, "dense")
                last[m["channel"]] = m["offset"]
            for wanted, got in zip(jumps, stamps):
                check(abs(got - wanted) < day / 24, f"the clock was elsewhere: {got}, {wanted}")
            equal(c.say(cmd="ping", ref=1).reply(1)["ok"], True, "not taken for dead")
        talk.judge()
        is_lively(w)


def test_f10_a_clock_that_was_set_back_before_a_kill_breaks_no_history():
    """What the guard of the store says of its own time is no reason for another epoch."""
    with faulty_world() as (w, faults):
        before = w.publish("a", "1").json()
        with faults.rule("clock", process="router", act="shift", arg=-86400 * 10 ** 9):
            equal(w.publish("a", "2").status, 201)
            w.kill("router")
        after = eventually(lambda: attempt(lambda: w.publish("a", "3").json()), "published")
        equal((after.get("epoch"), after.get("offset")), (before["epoch"], 3))


def test_f10_who_comes_back_to_a_channel_that_is_forgotten_is_told():
    """Its history was trimmed, and after seven days so was what was known of it."""
    config = "[namespace talk/]\nhistory_age = 1h\n"
    with faulty_world(config=config) as (w, faults):
        answer = w.publish("talk/a", "seen").json()
        cursor = f"{answer['epoch']}-{answer['seq']}"
        w.publish("talk/a", "missed")
        for days, figure in ((10, "trimmed_total"), (20, "forgotten_total")):
            with faults.rule("clock", process="router", act="shift", arg=days * 86400 * 10 ** 9):
                w.publish("talk/b", f"after {days} days")
                eventually(lambda: w.metric(figure) > 0, figure)
        for channel in ("talk/a", "talk/*"):
            with w.stream(f"/v1/stream?channel={channel}&since={cursor}") as s:
                told = s.item()
                equal((told["notice"], told.get("why")), ("gap", "trimmed"), channel)
        told = w.http("GET", f"/v1/history/talk/a?since={cursor}").json()["messages"]
        equal([(m.get("notice"), m.get("why")) for m in told], [("gap", "trimmed")])
        w.publish("talk/a", "back")
        with w.stream(f"/v1/stream?channel=talk/a&since={cursor}") as s:
            equal(s.item()["why"], "trimmed")
            equal(s.message()["data"], "back")


# ---- F12: less than was asked for ------------------------------------------

def texts(rng, count):
    for n in range(count):
        size = rng.choice((0, 1, 40, 700, 5000))
        yield f"{n} " + "".join(rng.choice("abc<&\"\\äß€😀 \t") for _ in range(size))


def forms():
    """How a subscriber of each form begins, and gets what was published: of
    those that carry no envelope every other one is JSON as it was sent."""
    def stream(w):
        s = w.stream("/v1/stream?channel=cut")
        equal(s.item()["notice"], "snapshot")
        return s, lambda: s.message()["data"]

    def events(w):
        s = w.stream("/v1/stream?channel=cut", Accept="text/event-stream")
        s.event()
        return s, lambda: json.loads(s.event()["data"])["data"]

    def socket(w):
        c = w.ws("/v1/ws?channel=cut")
        c.item()
        return c, lambda: c.message()["data"]

    def raw(w):
        c = w.ws("/v1/raw?channel=cut")
        number = iter(range(1 << 30))

        def following():
            text = c.read()[1].decode()
            return json.loads(text) if next(number) % 2 else text
        return c, following

    return {"stream": stream, "events": events, "socket": socket, "raw": raw}


def digest(parts):
    h = hashlib.sha256()
    for part in parts:
        h.update(hashlib.sha256(part.encode()).digest())
    return h.hexdigest()


def test_f12_calls_that_do_less_change_no_byte():
    wanted = list(texts(random.Random(12), 200 if full_size() else 40))
    with faulty_world() as (w, faults):
        rules = [
            faults.rule("recv send", "client", "http tcp ws", error="EINTR", chance=0.1),
            faults.rule("recv send", "client", "http tcp ws", error="EAGAIN", chance=0.05),
            faults.rule("recv send", "client", "http tcp ws", act="short", arg=7, chance=0.9),
            faults.rule("recv send", "link", "router http tcp ws", error="EINTR", chance=0.1),
            faults.rule("recv send", "link", "router http tcp ws", error="EAGAIN", chance=0.1),
            faults.rule("recv send", "link", "router http tcp ws", act="short", arg=60,
                        chance=0.5),
        ]
        with contextlib.ExitStack() as stack:
            readers = {}
            for form, begin in forms().items():
                client, following = begin(w)
                stack.enter_context(client)
                readers[form] = following
            t = stack.enter_context(w.telnet())
            t.send(b"SUB cut\r\n")
            t.until(b"OK SUB cut")
            t.line()
            speaker = stack.enter_context(w.ws())
            for n, text in enumerate(wanted):
                if n % 2:
                    equal(speaker.say(cmd="publish", channel="cut", data=text, ref=n)
                          .reply(n)["ok"], True)
                else:
                    equal(w.publish("cut", text.encode()).status, 201)
            for form, following in readers.items():
                equal(digest(following() for _ in wanted), digest(wanted), form)
            equal([t.line().split(b" ", 3)[0] for _ in wanted], [b"cut"] * len(wanted))
        live = [m["data"] for m in whole_history(w, "cut")]
        equal(digest(live), digest(wanted), "history")
        for rule in rules:
            check(rule.struck > 50, f"struck {rule.struck} of {rule.seen}")
        figure(f"{sum(r.struck for r in rules)} calls cut short")


# ---- F13: no memory --------------------------------------------------------

def everything(w):
    """A bit of all that clients do, whatever becomes of it."""
    def socket():
        with w.ws("/v1/ws?channel=a&since=0") as c:
            c.item(1)
            c.say(cmd="subscribe", channel="room/r", name="n", ref=1).reply(1, 1)
            c.say(cmd="publish", channel="a", data="x", ref=2).reply(2, 1)

    def telnet():
        with w.telnet(False) as t:
            t.send(b"SUB a 0\r\nPUB a x\r\nWHO a\r\nJOIN lobby\r\nHISTORY a\r\n")
            t.until(b"OK HISTORY", 1)

    def stream():
        with w.stream("/v1/stream?channel=a&channel=p/*&since=0") as s:
            s.item(1)

    requests = (("POST", "/v1/publish/a", "x"), ("GET", "/v1/history/a"),
                ("GET", "/v1/poll?channel=a"))
    threads = [threading.Thread(target=attempt, args=what)
               for what in ((socket,), (telnet,), (stream,), *((w.http, *r) for r in requests))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def no_memory(process, caller, numbers, times):
    struck = 0
    with faulty_world() as (w, faults):
        everything(w)
        pids = all_pids(w)
        for at in numbers:
            with faults.rule("memory", process=process, caller=caller, error="ENOMEM", at=at,
                             times=times) as rule:
                everything(w)
            struck += rule.struck
            equal(all_pids(w), pids, f"without a death, at {at}")
            is_lively(w)
    check(struck, "never struck")
    figure(f"{struck} times no memory in {process}")


def test_f13_without_memory_the_router_refuses_and_lives():
    # NNG without memory may fall silent, and the canary then has the router replaced:
    # mute_system.py.
    no_memory("router", "own", range(1, 300) if full_size() else range(1, 300, 37), 1)


def test_f13_without_memory_gateways_refuse_and_live():
    no_memory("http tcp ws", "anybody", range(1, 500) if full_size() else range(1, 500, 37), 1)


def test_f13_without_any_memory_for_a_while_everybody_lives():
    no_memory("http tcp ws", "anybody", range(1, 200, 13) if full_size() else (1, 60), None)
    no_memory("router", "own", range(1, 200, 13) if full_size() else (20,), None)


# ---- F14: accept -----------------------------------------------------------

def test_f14_errors_of_accept_turn_nobody_away_for_good_and_spin_nowhere():
    with faulty_world() as (w, faults):
        pids = all_pids(w)
        with w.stream("/v1/stream?channel=a") as s:
            s.item()
            for error in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED", "EPROTO",
                          "EPERM", "EINTR", "EAGAIN"):
                times = None if error in ("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM") else 20
                with w.client() as known:
                    equal(known.ask("GET", "/healthz").answer().status, 200)
                    with faults.rule("accept", "client", "http tcp ws", error=error,
                                     times=times) as rule, w.client() as c:
                        c.ask("GET", "/healthz")
                        eventually(lambda: rule.struck, error)
                        began, calls = time.monotonic(), rule.seen
                        equal(known.ask("POST", "/v1/publish/a", error).answer().status, 201)
                        equal(s.message()["data"], error, "others notice nothing")
                        if times is None:
                            eventually(lambda: time.monotonic() - began > 0.5, "half a second")
                            check(rule.seen - calls < 100, f"{error}: {rule.seen} calls")
                        rule.off()
                        equal(c.answer().status, 200, error)
        is_lively(w)
        equal(all_pids(w), pids)


# ---- F11: half of a connection ---------------------------------------------

NEAR, FAR = "10.99.0.1", "10.99.0.2"


def run(*command):
    subprocess.check_call(command)


class FarAway:
    """A network of this test's own, and clients in another that a wire leads to:
    cut, nobody is told."""

    NEW_NETWORK = 0x40000000

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        check(self.libc.unshare(self.NEW_NETWORK) == 0, "a network of its own")
        self.there = subprocess.Popen(["unshare", "--net", "sleep", "inf"])
        pid = str(self.there.pid)
        eventually(lambda: os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net"),
                   "the other network")
        run("ip", "link", "set", "lo", "up")
        run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", pid)
        run("ip", "addr", "add", NEAR + "/24", "dev", "near")
        run("ip", "link", "set", "near", "up")
        self.far("ip", "addr", "add", FAR + "/24", "dev", "far")
        self.far("ip", "link", "set", "far", "up")

    def far(self, *command):
        run("nsenter", "--net", "--target", str(self.there.pid), *command)

    def cut(self):
        """Nothing comes through any more, in either direction."""
        self.far("ip", "link", "set", "far", "down")

    def deafen(self):
        """What they send is lost; what they are sent arrives."""
        self.far("ip", "route", "replace", "blackhole", NEAR + "/32")

    def call(self, function):
        """Runs it on a thread that is there: its sockets stay there."""
        out = []

        def there():
            with open(f"/proc/{self.there.pid}/ns/net") as f:
                check(self.libc.setns(f.fileno(), self.NEW_NETWORK) == 0, "setns")
            out.append(function())

        thread = threading.Thread(target=there)
        thread.start()
        thread.join()
        check(out, "a client far away")
        return out[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.there.kill()
        self.there.wait()


PATIENCE = 35  # TCP_USER_TIMEOUT: of bytes that are not acknowledged


def test_f11_whose_wire_is_cut_is_gone_in_time_and_costs_little_meanwhile():
    if os.geteuid() != 0:
        print("     skipped: only root may make networks")
        return
    ports = {"http": 8000, "tcp": 9999, "ws": 8001}
    sets = [f"{kind}.listen=127.0.0.1:{port}, {NEAR}:{port}" for kind, port in ports.items()]
    for how, ping in (("cut", 25), ("deafen", 25)) if full_size() else (("cut", 2),):
        with FarAway() as away, World([*sets, "http.hosts=" + NEAR, f"limits.ping={ping}s"]) as w:
            local = w.stream("/v1/stream?channel=a")
            local.item()

            def join():
                head = {"Host": NEAR}
                out = [Stream((NEAR, ports["http"]), "/v1/stream?channel=" + c, head)
                       for c in ("a", "quiet")]
                out += [Ws((NEAR, ports["ws"]), "/v1/ws?channel=" + c, Host=NEAR)
                        for c in ("a", "quiet")]
                out.append(Tcp((NEAR, ports["tcp"])))
                out[-1].send(b"SUB a\r\n")
                out[-1].until(b"OK SUB a")
                return out

            clients = away.call(join)
            eventually(lambda: w.metric("connections") >= 6, "all are there")
            getattr(away, how)()
            began = time.monotonic()
            for n in range(50):
                equal(w.publish("a", f"{n} " + "x" * 1000).status, 201)
                local.message()

            def gone():
                w.publish("a", "more")
                w.json("/v1/poll?channel=nobody-speaks&since=0&wait=1")
                return w.metric("connections") <= 2

            # Who is sent nothing is asked within two pings.
            eventually(gone, "gone", 2 * ping + PATIENCE + 10)
            figure(f"{how}, ping {ping} s: {len(clients)} clients gone after "
                   f"{time.monotonic() - began:.1f} s")
            local.close()
            for c in clients:
                c.close()


# ---- F15, F16: the link ----------------------------------------------------

@contextlib.contextmanager
def relayed_world(**more):
    with Relay() as relay:
        w = World([*ONE_LOOP, *relay.sets], start=False, **more)
        relay.follow(w.dir)
        with w:
            yield w.start(), relay


class Followers:
    """One subscriber of talk/* at each edge that reads all the while."""

    def __init__(self, w, stack):
        self.seen = {"http": [], "ws": []}
        s, c = (stack.enter_context(x) for x in
                (w.stream("/v1/stream?channel=talk/*"), w.ws("/v1/ws?channel=talk/*")))
        self.next = {"http": s.item, "ws": c.item}
        for item in self.next.values():
            equal(item()["notice"], "snapshot")

    def until(self, seq):
        """All have this one, and before it everything, once, in order."""
        for kind, item in self.next.items():
            seen = self.seen[kind]
            while not seen or seen[-1]["seq"] < seq:
                m = item()
                check("notice" not in m, f"{kind}: {m}")
                check(not seen or seen[-1]["seq"] < m["seq"], f"{kind}: {m} behind {seen[-1:]}")
                seen.append(m)
        equal(*([(m["channel"], m["offset"], m["data"]) for m in seen]
                for seen in self.seen.values()), "alike")
        last = {}
        for m in self.seen["http"]:
            equal(m["offset"], last.get(m["channel"], 0) + 1, f"no hole in {m['channel']}")
            last[m["channel"]] = m["offset"]


def link_trouble(w, talk, followers, begin, end):
    begin()
    talk.progress(30)
    end()
    talk.progress(30)
    answer = eventually(lambda: published(w), "published")
    talk.sent.add(("talk/0", "here"))
    followers.until(answer["seq"])


def published(w):
    answer = w.publish("talk/0", "here")
    return answer.json() if answer.status == 201 else None


def test_f16_what_the_wire_loses_repeats_swaps_and_spoils_is_mended_unseen():
    with relayed_world(config=KEEP_ALL) as (w, relay), contextlib.ExitStack() as stack:
        followers = Followers(w, stack)
        with Talk(w) as talk:
            for what, share in (("lose", 0.1), ("twice", 0.1), ("swap", 0.1), ("spoil", 0.05)):
                for only in (("up",), ("down",)):
                    relay.only = only
                    link_trouble(w, talk, followers, lambda: setattr(relay, what, share),
                                 lambda: setattr(relay, what, 0.0))
        talk.judge()
        is_lively(w)
        equal(w.live(), {"http1", "tcp1", "ws1"})
        done = relay.injected
        figure(f"{dict(done)}; " + ", ".join(
            f"{what} {w.metric('link_repairs_total', what=what)}"
            for what in ("rejected", "duplicates", "holes", "resent", "reconnects")))
        check(all(done[what] for what in ("lose", "twice", "swap", "spoil")), done)
        # Several on a line that is dropped for the first of them count once.
        eventually(lambda: 0 < w.metric("link_repairs_total", what="rejected") <= done["spoil"],
                   "what was spoilt is counted")
        # What comes twice on a line that is being dropped is not looked at.
        eventually(lambda: w.metric("link_repairs_total", what="duplicates") > 0,
                   "what came twice is counted")


def test_f15_a_link_that_is_cut_or_held_in_one_direction_closes_nobody():
    with relayed_world(config=KEEP_ALL) as (w, relay), contextlib.ExitStack() as stack:
        followers = Followers(w, stack)
        with Talk(w) as talk:
            link_trouble(w, talk, followers, lambda: None, relay.cut)
            relay.delay = 0.05
            link_trouble(w, talk, followers, lambda: None, relay.calm)
            # Shorter, and longer, than a link may be silent.
            for directions, seconds in ((("up",), 1), (("down",), 1), (("up", "down"), 4)):
                relay.hold(*directions)
                began = time.monotonic()
                eventually(lambda: time.monotonic() - began > seconds, "so long")
                relay.release()
                link_trouble(w, talk, followers, lambda: None, lambda: None)
        kept = talk.judge()
        is_lively(w)
        figure(f"{dict(relay.injected)}, {kept} acknowledged, all kept")


def test_f15_what_was_taken_trimmed_and_never_answered_is_not_taken_once_more():
    """The answer is held on its way, others fill the channel, the router dies."""
    config = "[namespace last/]\nhistory = 1\n[limits]\npublish_wait = 20s\n"
    with relayed_world(config=config) as (w, relay), w.client() as c:
        before = w.publish("last/a", "before").json()
        cursor = f"{before['epoch']}-{before['seq']}"
        relay.hold("down")
        c.ask("POST", "/v1/publish/last/a", "mine")
        eventually(lambda: "mine" in w.ctl("history", "last/a"), "taken")
        for text in ("theirs", "theirs too"):
            w.ctl("publish", "last/a", text)
        eventually(lambda: '"to":3' in w.ctl("--json", "history", "last/a", "--since", cursor),
                   "trimmed")
        w.kill("router")
        relay.cut()
        relay.release()
        answer = c.answer()
        equal(answer.status, 503, answer.json())
        equal(answer.code(), "publish.unknown")
        equal(w.publish("last/a", "behind").json()["offset"], 5)


# ---- F17: programs of another version --------------------------------------

class Mixed(World):
    """Its binaries lie in a folder of their own, where single ones can be
    replaced by those of the next version of the link."""

    def __init__(self, *later):
        base = tempfile.mkdtemp(prefix="tl-")
        self.bin = os.path.join(base, "bin")
        shutil.copytree(BIN, self.bin)
        super().__init__(ONE_LOOP, under=base, start=False)
        self.next_version(*later)

    def next_version(self, *kinds):
        for name in (k if k == "router-ctl" else f"touchline-{k}" for k in kinds):
            shutil.copy(os.path.join(BIN, "../next/bin", name), self.bin + "/.new")
            os.replace(self.bin + "/.new", os.path.join(self.bin, name))

    def args(self, binary, *more):
        return [os.path.join(self.bin, binary), *super().args(binary, *more)[1:]]


def says(w, text):
    eventually(lambda: text in w.log_tail(1 << 20), text)


def test_f17_a_gateway_of_another_version_is_refused_in_words_and_the_others_serve():
    for later in ("http",), ("router", "tcp", "ws", "router-ctl"):
        with Mixed(*later) as w:
            w.start(("router", "tcp", "ws"))
            says(w, "link.refused")
            pid, = w.pids("http")
            with w.telnet() as t, w.ws("/v1/ws?channel=a") as c:
                c.item()
                t.send(b"PUB a hello\r\n")
                check(t.line().startswith(b"OK PUB a "), "published")
                equal(c.message()["data"], "hello")
            equal(w.pids("http"), [pid], "it waits for a router that it understands")
            equal(w.log_tail(1 << 20).count('child.start name="http-1"'), 1, "started once")
            status = eventually(lambda: degraded(w), "DEGRADED")
            check("link version" in status and "is refused" in status, status)


def router_ctl(w, *words):
    """Of its own folder: the code, and what it says."""
    p = subprocess.run([os.path.join(w.bin, "router-ctl"), "--dir", w.dir, *words],
                       capture_output=True, timeout=20)
    return p.returncode, (p.stdout + p.stderr).decode()


def degraded(w):
    code, text = router_ctl(w, "status")
    return code == 1 and text.startswith("DEGRADED") and text


def test_f17_a_router_that_is_replaced_by_another_version_closes_nobody():
    """As when an upgrade is half done: the operator is told, clients wait, and
    find everything when it is done."""
    with Mixed() as w:
        w.start()
        with w.stream("/v1/stream?channel=a") as s, w.ws("/v1/ws?channel=a") as c:
            s.item(), c.item()
            equal(w.publish("a", "before").status, 201)
            w.next_version("router")
            w.kill("router", signal.SIGTERM)
            says(w, "link.refused")
            answer = w.publish("a", "meanwhile")
            equal((answer.status, answer.code()), (503, "router.away"))
            code, text = router_ctl(w, "status")
            check(code and "link version" in text, f"the old one: {code} {text}")
            w.next_version("router-ctl")
            check("link version" in eventually(lambda: degraded(w), "DEGRADED"), "why")
            w.next_version(*EDGES)
            before = s.message()
            equal((before["data"], c.message()["data"]), ("before", "before"))
            for kind in EDGES:
                w.kill(kind, signal.SIGTERM)
            equal(s.item()["notice"], "closing")
        eventually(lambda: attempt(w.publish, "a", "after").status == 201, "published")
        cursor = f"{before['epoch']}-{before['seq']}"
        with w.stream("/v1/stream?channel=a&since=" + cursor) as s:
            equal(s.item()["notice"], "resumed")
            equal(s.message()["data"], "after")
        is_lively(w)


# ---- F21: memory runs out for real -----------------------------------------

GROUPS = "/sys/fs/cgroup/memory"


@contextlib.contextmanager
def small_group(size):
    """A control group whose processes get so many bytes more, and then death."""
    path = os.path.join(GROUPS, f"touchline-{os.getpid()}")
    os.mkdir(path)
    try:
        with open(path + "/memory.limit_in_bytes", "w") as f:
            f.write(str(size))
        yield path
    finally:
        eventually(lambda: attempt(os.rmdir, path) or not os.path.exists(path), "its group")


def load(w):
    """Ids for the router, bytes for the ring of a gateway."""
    begun = time.monotonic_ns()
    rows = [{"channel": f"new/{begun}/{n}", "data": "x" * 3000} for n in range(250)]
    w.http("POST", "/v1/publish", json.dumps(rows), {"Content-Type": "application/json"})


def test_f21_who_is_killed_for_memory_is_back_and_nothing_is_lost():
    if not os.access(GROUPS, os.W_OK):
        print("     skipped: there are no control groups of memory here")
        return
    with World(ONE_LOOP, config=KEEP_ALL) as w, w.stream("/v1/stream?channel=new/**") as s:
        s.item()
        with Talk(w) as talk:
            for kind in ("router", "http", "router"):
                pid, = w.pids(kind)
                with small_group(2 << 20) as group:
                    with open(group + "/cgroup.procs", "w") as f:
                        f.write(str(pid))
                    eventually(lambda: [attempt(load, w), pid not in w.pids(kind)][1],
                               f"{kind} is killed")
                    eventually(lambda: w.pids(kind), f"another {kind}")
                talk.progress(50)
        kept = talk.judge()
        is_lively(w)
        equal(w.log_tail(1 << 20).count("child.killed"), 3)
        check_file(w)
    figure(f"3 killed, {kept} acknowledged, all kept")


def address_space(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def test_f21_who_may_have_no_more_memory_refuses_and_lives():
    with World(ONE_LOOP, config=KEEP_ALL) as w:
        pids = all_pids(w)
        for kind in ("http", "router"):
            pid, = pids[kind]
            with Talk(w) as talk:
                resource.prlimit(pid, resource.RLIMIT_AS, (address_space(pid), -1))
                for _ in range(20):
                    attempt(load, w)
                everything(w)
                resource.prlimit(pid, resource.RLIMIT_AS, (-1, -1))
                talk.progress(50)
            is_lively(w)
        equal(all_pids(w), pids)
