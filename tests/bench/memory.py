#!/usr/bin/env python3
"""User memory of a running Touchline, by process: at rest, for each idle connection of
each edge, and after crowds that came and went.

    tests/bench/memory.py [--connections N] [--ids USER/{n}] [EDGE...]
    tests/bench/memory.py --crowds 3 --connections N [EDGE]

User memory is the proportional set size (PSS) of a process: what it has alone, and its
share of what it has with others. Each connection has an id of its own, but telnet, where
all watch one match. EDGE: test (the comet page), stream, sse, poll, ws, telnet, lines
(SUB); without one all of them.
Says what it does as it goes."""
import argparse
import os
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))
from world import BIN, World, check, eventually  # noqa: E402

EDGES = {"test": "http", "stream": "http", "sse": "http", "poll": "http", "ws": "ws",
         "telnet": "tcp", "lines": "tcp"}
KINDS = ("router", "http", "tcp", "ws")
OWN_MATCH = ("elp", "tig")
QUIET = 6.0  # seconds without a change of a page are rest: longer than two looks


# ---- what the kernel says -------------------------------------------------------

def pss(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return int(next(x for x in f if x.startswith("Pss:")).split()[1]) * 1024


class Memory:
    """Bytes by process of a world, of those that were there when it was made."""

    def __init__(self, world):
        self.pids = {kind: sorted(world.pids(kind)) for kind in KINDS}

    def by_kind(self):
        return {kind: sum(map(pss, pids)) for kind, pids in self.pids.items()}

    def at_rest(self, deadline=60):
        """Once it has not changed by more than a page for each process for a while."""
        until, since, last = time.monotonic() + deadline, time.monotonic(), None
        while time.monotonic() < until:
            now = self.by_kind()
            if last is None or any(abs(now[k] - last[k]) > 4096 * len(self.pids[k])
                                   for k in KINDS):
                last, since = now, time.monotonic()
            elif time.monotonic() - since > QUIET:
                break
            time.sleep(0.2)
        return self.by_kind()


# ---- a crowd --------------------------------------------------------------------

class Crowd:
    """touchline-flood, whose clients stay until it is told to end."""

    def __init__(self, world, edge, connections, ids, more=()):
        at = [x for kind in ("http", "tcp", "ws")
              for x in ("--set", "{}.listen={}:{}".format(kind, *world.address(kind)))]
        ready = ["--ready", "OK SUB"] if edge == "lines" else []
        self.world, self.edge, self.connections = world, edge, connections
        self.p = subprocess.Popen(
            [os.path.join(BIN, "touchline-flood"), "--quiet", "--probe", "none", "--edge", edge,
             "--connections", str(connections), "--ids", ids, "--hold", "all", "--wait", "120",
             "--again", "2s",
             *at, *ready, *more], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def seated(self):
        return self.world.metric("router_connections")

    def all_there(self):
        def there():
            check(self.p.poll() is None, "flood ended")
            # A poll is between two of them now and then.
            return self.seated() >= self.connections * (0.98 if self.edge == "poll" else 1)

        eventually(there, f"{self.connections} are there", deadline=300)

    def end(self):
        self.p.send_signal(signal.SIGINT)
        said = self.p.communicate()[0].decode()
        eventually(lambda: self.seated() == 0, "all have gone", deadline=120)
        return said


def start_match(world):
    """What a telnet client watches."""
    for team in OWN_MATCH:
        world.ctl("match", "teams", team, team)
    world.ctl("match", "new", *OWN_MATCH, "2011-09-13")


# ---- the tables -----------------------------------------------------------------

def kib(by_kind):
    return ", ".join(f"{k} {v // 1024}" for k, v in by_kind.items())


def sets_of(options):
    return [f"{kind}.workers={options.workers if kind != 'router' else 1}"
            for kind in KINDS[1:]] + options.set


def per_connection(edge, options):
    n = options.connections
    with World(sets=sets_of(options)) as w:
        if edge == "telnet":
            start_match(w)
        memory = Memory(w)
        before = memory.at_rest()
        crowd = Crowd(w, edge, n, options.ids.format(n=f"1..{n}"))
        crowd.all_there()
        there = memory.at_rest()
        crowd.end()
        after = memory.at_rest()
    each = {k: (there[k] - before[k]) / n for k in KINDS}
    gateway = EDGES[edge]
    print(f"{edge:8} {n:7} {sum(each.values()):7.0f} {each['router']:7.0f} {each[gateway]:8.0f}"
          f"   KiB at rest: {kib(before)}; after: {kib(after)}", flush=True)


def crowds(edge, options):
    n = options.connections
    with World(sets=sets_of(options)) as w:
        if edge == "telnet":
            start_match(w)
        memory = Memory(w)
        base = memory.at_rest()
        print(f"{'':10}{'KiB':>9}  {'of base':>7}")
        print(f"{'base':10}{sum(base.values()) // 1024:9}           {kib(base)}", flush=True)
        for i in range(options.crowds):
            crowd = Crowd(w, edge, n, options.ids.format(n=f"1..{n}"))
            crowd.all_there()
            row(f"crowd {i + 1}", memory.by_kind(), base)
            crowd.end()
            row("  gone", memory.at_rest(), base)
        w.ctl("trim")
        row("  trimmed", memory.at_rest(), base)


def row(what, now, base):
    share = sum(now.values()) / sum(base.values()) - 1
    print(f"{what:10}{sum(now.values()) // 1024:9}  {share:+7.1%}  {kib(now)}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--connections", type=int, default=10000)
    p.add_argument("--ids", default="user/{n}", help="{n} becomes the range")
    p.add_argument("--workers", type=int, default=1, help="of each gateway")
    p.add_argument("--crowds", type=int, default=0)
    p.add_argument("--set", action="append", default=[], help="SECTION.KEY=VALUE")
    p.add_argument("edges", nargs="*", metavar="EDGE", choices=[[], *EDGES])
    options = p.parse_args()
    if options.crowds:
        crowds((options.edges or ["test"])[0], options)
        return 0
    print(f"{'edge':8} {'N':>7} {'B each':>7} {'router':>7} {'gateway':>8}")
    for edge in options.edges or EDGES:
        per_connection(edge, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
