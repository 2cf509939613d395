"""Processes that are alive and mute: their loops turn, and nothing gets through.

A thread is stopped by ptrace(2), the others of its process go on: the store's
writer, as by a disk that hangs, or those that carry the link. Or NNG gets no
memory: it drops what it should have taken, goes deaf, or ends its process."""
import contextlib
import ctypes
import os
import re
import subprocess
import threading

from epochs_system import Socketed, Streamed, Telnetted
from faults_system import (KEEP_ALL, Talk, attempt, faulty_world, is_lively, published,
                           whole_history)
from world import BIN, DEADLINE, Failed, World, check, equal, eventually, figure, full_size

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000

# A second and a half without a canary is too long, three more are the end.
QUICK = ["process.canary=200ms", "process.canary_wait=1500ms", "process.canary_restart=3s"]
SETS = [*QUICK, "process.sandbox=off", "http.workers=1", "tcp.workers=1", "ws.workers=1"]


class Stopped:
    """Threads of a process that do nothing; they end with it."""

    def __init__(self, pid, wanted):
        """wanted(name, place): place 0 is the first thread, 1 the next."""
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.threads = []
        for place, tid in enumerate(sorted(int(t) for t in os.listdir(f"/proc/{pid}/task"))):
            with open(f"/proc/{pid}/task/{tid}/comm") as f:
                name = f.read().strip()
            if wanted(name, place):
                self.ptrace(SEIZE, tid)
                self.threads.append(tid)
        for tid in self.threads:
            self.ptrace(INTERRUPT, tid)
            os.waitpid(tid, WALL)
        check(self.threads, f"{pid} has no such thread")

    def ptrace(self, request, tid):
        null = ctypes.c_void_p(0)
        if self.libc.ptrace(ctypes.c_long(request), ctypes.c_long(tid), null, null) < 0:
            raise OSError(ctypes.get_errno(), f"ptrace {request:#x} {tid}")

    def go_on(self):
        for tid in self.threads:
            with contextlib.suppress(OSError):
                self.ptrace(DETACH, tid)
        self.threads = []

    def reap(self):
        """Those that were killed: a process is gone when all its threads are."""
        for tid in list(self.threads):
            with contextlib.suppress(OSError):
                gone, how = os.waitpid(tid, WALL | os.WNOHANG)
                if gone and not os.WIFSTOPPED(how):
                    self.threads.remove(tid)
        return not self.threads

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.go_on()


def writer(name, _place):
    return name == "store:writer"


def link(name, place):
    return name.startswith("nng:")


def ready(w):
    a = w.http("GET", "/readyz")
    return "ready" if a.status == 200 else a.code()


def status(w):
    """Its first line."""
    p = subprocess.run([os.path.join(BIN, "router-ctl"), "--dir", w.dir, "status"],
                       capture_output=True, timeout=DEADLINE)
    return p.stdout.decode().split("\n")[0]


def log(w, what):
    return re.findall(what, w.log_tail(1 << 20))


def test_a_store_that_hangs_is_told_and_nobody_is_started_anew():
    with World(SETS) as w:
        equal(w.publish("a", "kept").status, 201)
        eventually(lambda: ready(w) == "ready", "ready")
        before = {kind: w.pids(kind) for kind in ("router", "http", "tcp", "ws")}
        with Stopped(before["router"][0], writer) as store:
            eventually(lambda: ready(w) == "canary.late", "it is noticed")
            eventually(lambda: status(w).startswith("DOWN: the store hangs"), "status")
            # Twice as long as it takes to start a mute one anew.
            eventually(lambda: w.metric("store_stuck_seconds") > 7, "for a while")
            check(all(w.metric("canary_seconds", gateway=g, what="away") > 5
                      for g in ("http1", "tcp1", "ws1")), "all say it")
            equal([m["data"] for m in w.json("/v1/history/a")["messages"]], ["kept"],
                  "reading goes on")
            equal({kind: w.pids(kind) for kind in before}, before, "all are left alone")
            store.go_on()
        eventually(lambda: ready(w) == "ready", "all is well")
        eventually(lambda: status(w) == "OK", "status")
        equal(w.publish("a", "more").status, 201)
        equal(w.metric("mute_restarts_total"), 0)


def mute_gateway_is_replaced(w):
    """False: it says nothing at all, for its loop stands still as well, as when a thread
    was stopped that holds a lock."""
    eventually(lambda: ready(w) == "ready", "ready")
    before = {kind: w.pids(kind) for kind in ("router", "http", "tcp", "ws")}
    with Stopped(before["tcp"][0], link) as dumb:
        try:
            eventually(lambda: log(w, "tcp1 canary.late"), "it says so itself", 4)
        except Failed:
            return False
        eventually(lambda: dumb.reap() and w.pids("tcp") not in ([], before["tcp"]),
                   "it is replaced")
    for kind in ("router", "http", "ws"):
        equal(w.pids(kind), before[kind], kind)
    eventually(lambda: w.metric("mute_restarts_total", gateway="tcp1") == 1, "counted")
    equal(w.metric("mute_restarts_total"), 1)
    equal(log(w, r'child\.mute name="(.*?)"'), ["tcp-1"])
    eventually(lambda: status(w) == "OK", "status")
    return True


def test_a_gateway_that_is_mute_is_started_anew_alone():
    for _ in range(5):
        with World(SETS) as w:
            if mute_gateway_is_replaced(w):
                return
    raise Failed("its loop always stops with its link")


def test_a_repeater_that_is_mute_is_started_anew_and_clients_stay():
    """The one of two: its gateways are mute together, the others are not."""
    with World([*SETS, "repeater.instances=2", "http.instances=2"]) as w, \
            w.stream("/v1/stream?channel=a") as s:
        s.item()
        eventually(lambda: ready(w) == "ready", "ready")
        before = {kind: w.pids(kind) for kind in ("router", "http", "tcp", "ws", "repeater")}
        with Stopped(before["repeater"][1], link) as dumb:
            eventually(lambda: dumb.reap() and before["repeater"][1] not in w.pids("repeater"),
                       "it is ended")
        eventually(lambda: len(w.pids("repeater")) == 2 and status(w) == "OK", "all is well")
        check(before["repeater"][0] in w.pids("repeater"), "the other one stays")
        for kind in ("router", "http", "tcp", "ws"):
            equal(w.pids(kind), before[kind], kind)
        equal(log(w, r'child\.mute name="(.*?)"'), ["repeater-2"])
        equal(w.publish("a", "still here").status, 201)
        equal(s.message()["data"], "still here")


def test_a_router_that_is_mute_is_started_anew_and_clients_stay():
    with World(SETS) as w, w.stream("/v1/stream?channel=a") as s, w.telnet() as t:
        s.item()
        t.send(b"SUB a\r\n")
        t.line()
        before = {kind: w.pids(kind) for kind in ("router", "http", "tcp", "ws")}
        with Stopped(before["router"][0], link) as dumb:
            eventually(lambda: ready(w) in ("router.away", "canary.late"), "it is noticed")
            eventually(lambda: dumb.reap() and w.pids("router") not in ([], before["router"]),
                       "it is replaced")
        eventually(lambda: ready(w) == "ready", "all is well")
        for kind in ("http", "tcp", "ws"):
            equal(w.pids(kind), before[kind], kind)
        equal(log(w, r'child\.mute name="(.*?)"'), ["router-1"])
        equal(w.publish("a", "still here").status, 201)
        equal(s.message()["data"], "still here")
        check(b"still here" in t.line(), "telnet")
        equal(w.metric("mute_restarts_total", gateway="router"), 1)


def test_a_router_that_stands_still_for_a_moment_is_left_alone():
    with World([*SETS, "process.canary_restart=1m"]) as w, w.stream("/v1/stream?channel=a") as s:
        s.item()
        before = w.pids("router")
        w.kill("router", 19)
        eventually(lambda: ready(w) == "router.away", "it is noticed")
        eventually(lambda: len(log(w, "canary.late")) == 3, "by all")
        w.kill("router", 18)
        eventually(lambda: ready(w) == "ready", "it is back")
        equal(w.pids("router"), before)
        equal(log(w, "child.mute"), [])
        equal(w.publish("a", "x").status, 201)
        equal(s.message()["data"], "x")


def test_who_has_no_supervisor_any_more_says_so():
    with World(SETS) as w:
        def lost():
            return w.metric("supervisor_lost")

        eventually(lambda: w.metric("supervisor_lost") == 0, "it is heard")
        w.proc.send_signal(19)
        eventually(lambda: lost() == 4, "it stands still")
        w.proc.send_signal(18)
        eventually(lambda: lost() == 0, "it goes on")
        w.proc.kill()
        w.proc.wait()
        w.proc.stdout.close()
        w.proc = None
        eventually(lambda: lost() == 4, "it is gone")


# ---- NNG without memory ----------------------------------------------------

class Follower(threading.Thread):
    """A client that comes back with its cursor whenever it was cut, and writes
    down the seqs that it was sent, up to `last`."""

    def __init__(self, w, way):
        super().__init__(daemon=True)
        self.w, self.way, self.seqs, self.cuts, self.wrong = w, way, [], 0, None
        self.last = float("inf")
        self.c = way(w, "talk/*")
        kind, self.cursor = self.c.next()
        equal(kind, "snapshot", way.__name__)
        self.start()

    def run(self):
        while not self.wrong and (not self.seqs or self.seqs[-1] < self.last):
            word = attempt(self.c.next)
            if not word:
                self.come_back()
            elif word[0] in ("message", "resumed"):
                self.take(*word)
            else:
                self.wrong = word
        self.c.close()

    def take(self, kind, cursor, *_):
        self.cursor = cursor
        if kind == "message":
            self.seqs.append(int(cursor.split("-")[1]))

    def come_back(self):
        self.cuts += 1
        self.c.close()
        self.c = eventually(lambda: attempt(self.way, self.w, "talk/*", self.cursor), "back")


def everything_arrives(w, talk, followers):
    """All that was acknowledged is kept, and each has had all that is kept, once."""
    talk.progress(30)
    last = eventually(lambda: published(w), "published")["seq"]
    talk.sent.add(("talk/0", "here"))
    for f in followers:
        f.last = last
    kept = sorted(m["seq"] for n in range(3) for m in whole_history(w, f"talk/{n}"))
    for f in followers:
        f.join(2 * DEADLINE)
        equal(f.wrong, None, f.way.__name__)
        equal([s for s in f.seqs if s <= last], [s for s in kept if s <= last],
              f"{f.way.__name__}, cut {f.cuts} times")


@contextlib.contextmanager
def followed():
    """A World in which something can be refused to NNG, clients at each edge."""
    with faulty_world(QUICK, config=KEEP_ALL) as (w, faults):
        followers = [Follower(w, way) for way in (Streamed, Socketed, Telnetted)]
        with Talk(w) as talk:
            yield w, faults, followers
            everything_arrives(w, talk, followers)
        is_lively(w)
        figure(f"{talk.judge()} acknowledged, all kept; clients cut "
               f"{sum(f.cuts for f in followers)} times, all whole")


def test_who_is_mute_because_nng_has_no_memory_is_started_anew_and_nothing_is_lost():
    for kind in ("router", "http", "tcp", "ws"):
        with followed() as (w, faults, followers):
            pids = {k: w.pids(k) for k in ("router", "http", "tcp", "ws")}
            with faults.rule("memory", process=kind, caller="nng", error="ENOMEM") as rule:
                eventually(lambda: f'child.mute name="{kind}-1"' in w.log_tail(1 << 20), "mute")
            check(rule.struck, "never struck")
            before = pids.pop(kind)
            eventually(lambda: w.pids(kind) not in ([], before), "another one")
            eventually(lambda: ready(w) == "ready", "all is well")
            equal({other: w.pids(other) for other in pids}, pids, f"the others, beside {kind}")
            if kind == "router":
                equal([f.cuts for f in followers], [0, 0, 0], "cuts")


def test_who_cannot_close_its_sockets_any_more_says_so_until_it_is_replaced():
    for kind, name in (("http", "gateway http1"), ("router", "the router")):
        with faulty_world() as (w, faults), w.stream("/v1/stream?channel=a") as s:
            s.item()
            rule = faults.rule("nng_close", process=kind, act="hang", pid=w.pids(kind)[0])
            w.kill("router" if kind == "http" else "http")
            eventually(lambda: rule.struck, "a line is closed")
            eventually(lambda: w.metric("nng_stuck") == 1, "the figure")
            eventually(lambda: status(w).startswith(f"DEGRADED: {name} (pid {w.pids(kind)[0]}) "
                                                    "cannot close its sockets"), "status")
            check("touchline upgrade" in status(w), "and what to do")
            equal(len(log(w, r"nng\.stuck .*cure=")), 1, "it is logged once")
            equal(w.publish("a", "x").status, 201)
            p = subprocess.run([os.path.join(BIN, "touchline"), "upgrade", "--dir", w.dir],
                               capture_output=True, timeout=DEADLINE)
            equal(p.returncode, 0, p.stdout)
            eventually(lambda: w.metric("nng_stuck") == 0, "it is another one")
            eventually(lambda: status(w) == "OK", "all is well")
            if kind == "http":
                equal(s.message()["data"], "x", "its clients went along")


def test_nng_that_had_no_memory_for_a_moment_is_well_again_or_replaced():
    """It may be deaf from then on, or dead."""
    replaced = 0
    for seed in range(1, 13 if full_size() else 3):
        with followed() as (w, faults, _):
            pids = w.pids("router")
            with faults.rule("memory", caller="nng", error="ENOMEM", chance=0.3, seed=seed):
                eventually(lambda: ready(w) != "ready", "it is noticed")
            eventually(lambda: ready(w) == "ready", "all is well")
            replaced += w.pids("router") != pids
    figure(f"the router was replaced {replaced} times")
