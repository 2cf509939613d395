"""Processes that are alive and mute: their loops turn, and nothing gets through.

A thread is stopped by ptrace(2), the others of its process go on: the store's
writer, as by a disk that hangs, or those that carry the link."""
import contextlib
import ctypes
import os
import re
import subprocess

from world import BIN, DEADLINE, World, check, equal, eventually

SEIZE, INTERRUPT, DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000

# A second and a half without a canary is too long, three more are the end.
SETS = ["process.canary=200ms", "process.canary_wait=1500ms", "process.canary_restart=3s",
        "process.sandbox=off", "http.workers=1", "tcp.workers=1", "ws.workers=1"]


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
                if os.waitpid(tid, WALL | os.WNOHANG)[0]:
                    self.threads.remove(tid)
        return not self.threads

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.go_on()


def writer(name, place):
    return place == 1


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


def test_a_gateway_that_is_mute_is_started_anew_alone():
    with World(SETS) as w:
        eventually(lambda: ready(w) == "ready", "ready")
        before = {kind: w.pids(kind) for kind in ("router", "http", "tcp", "ws")}
        with Stopped(before["tcp"][0], link) as dumb:
            with w.telnet() as t: # its loop turns
                t.send(b"PING\r\n")
                equal(t.line(), b"OK PING\r\n")
            eventually(lambda: dumb.reap() and w.pids("tcp") not in ([], before["tcp"]),
                       "it is replaced")
        for kind in ("router", "http", "ws"):
            equal(w.pids(kind), before[kind], kind)
        eventually(lambda: w.metric("mute_restarts_total", gateway="tcp1") == 1, "counted")
        equal(w.metric("mute_restarts_total"), 1)
        equal(log(w, r'child\.mute name="(.*?)"'), ["tcp-1"])
        eventually(lambda: status(w) == "OK", "status")


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
