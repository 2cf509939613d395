#!/usr/bin/env python3
"""The measures that count, small, each beside the limit: a bare server
(`touchline-flood --serve`) with the same clients in the same run.

    quick.py [--json] [--only WORD] [--connections N]

A row says what is to be reached, what was measured, at ours and at the limit,
and their ratio. Ratios compare machines and days, figures do not; nothing here
is a verdict. docs/benchmarks-howto.md explains the rows."""
import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))
import crowd_run  # noqa: E402
from crowd_run import FLOOD, instances_for, number, raise_files  # noqa: E402
from world import EDGES, Failed, Lines, World, eventually  # noqa: E402

SERVERS = ("router", *EDGES)
ROUNDS = 3         # of what is over fast; the median counts
SETS = ["http.workers=1", "tcp.workers=1", "ws.workers=1", "limits.admit_rate=0",
        "namespace power/.durability=power"]
# What a delivery is told by, for edges that need more than their name.
MATCH = "match/elp-tig-2011-09-13"


# ---- servers -----------------------------------------------------------------

class Size:
    """Processes of each gateway, and of the bare server: more than one for more clients
    than a process may have files."""
    instances = 1


class Limit:
    """The bare server, as many processes as each of our gateways has."""

    def __enter__(self):
        self.proc = subprocess.Popen([FLOOD, "--serve", "127.0.0.1:0", "--processes",
                                      str(Size.instances)], stdout=subprocess.PIPE)
        out = Lines(self.proc.stdout, lambda n: os.read(self.proc.stdout.fileno(), n))
        self.target = out.line().decode().split("//")[1].strip()
        return self

    def __exit__(self, *_):
        self.proc.terminate()
        self.proc.wait()
        self.proc.stdout.close()

    def at(self, edge):
        return ["--target", self.target]

    def pids(self):
        """The one that serves, and not the one that waits for it."""
        with open(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children") as f:
            return [int(pid) for pid in f.read().split()] or [self.proc.pid]


class Touchline(World):
    def __init__(self, *sets):
        more = [] if Size.instances == 1 else [f"{kind}.instances={Size.instances}"
                                               for kind in EDGES]
        super().__init__(sets=[*SETS, *more, *sets])

    def at(self, edge):
        return [x for kind in EDGES
                for x in ("--set", "{}.listen={}:{}".format(kind, *self.address(kind)))]

    def pids(self, kinds=SERVERS):
        return [p for kind in ([kinds] if isinstance(kinds, str) else kinds)
                for p in super(Touchline, self).pids(kind)]


def start_match(world):
    for team in ("elp", "tig"):
        world.http("PUT", f"/v1/teams/{team}", json.dumps({"name": team}),
                   {"Content-Type": "application/json"})
    world.http("POST", "/v1/matches", json.dumps({"home": "elp", "visit": "tig",
               "start_time": "2011-09-13"}), {"Content-Type": "application/json"})
    world.http("POST", f"/v1/matches/{MATCH[6:]}/events", json.dumps({"kind": "start"}),
               {"Content-Type": "application/json"})


# ---- crowds ------------------------------------------------------------------

def command(server, edge, count, ids, *more):
    return [FLOOD, "--quiet", "--json", "-", "--probe", "none", "--edge", edge,
            "--connections", str(count), "--ids", ids, *server.at(edge), *map(str, more)]


def flood(server, edge, count, ids, *more):
    p = subprocess.run(command(server, edge, count, ids, *more),
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    if not p.stdout:
        raise Failed(p.stderr.decode())
    report = json.loads(p.stdout)
    for what in ("failed", "lost", "duplicates", "reordered"):
        if report[what]:
            raise Failed(f"{what}: {report[what]}\n{p.stderr.decode()}")
    return report


def files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def rests(pids):
    """Nobody has worked for a while."""
    before = cpu_seconds(pids)
    time.sleep(0.3)
    return cpu_seconds(pids) - before < 0.003


@contextlib.contextmanager
def crowd(server, edge, count, ids, *more):
    """One that stays, all of it in and at rest."""
    p = subprocess.Popen(command(server, edge, count, ids, "--hold", "all", *more),
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: sum(map(files, server.pids())) >= count, "the crowd is in", 60)
        eventually(lambda: rests(server.pids()), "the crowd is at rest", 60)
        yield p
    finally:
        p.send_signal(signal.SIGINT)
        p.wait()


# ---- what is measured --------------------------------------------------------

def median(values):
    return sorted(values)[len(values) // 2]


def user_bytes(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup") as f:
            total += int(next(x for x in f if x.startswith("Pss:")).split()[1])
    return total * 1024


def cpu_seconds(pids):
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def perf_works():
    return shutil.which("perf") and subprocess.run(
        ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "true"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


PERF = perf_works()


def counts_events(p):
    """perf has opened one for each thread that it looks at."""
    with contextlib.suppress(OSError):
        return any("perf_event" in os.readlink(f"/proc/{p.pid}/fd/{fd}")
                   for fd in os.listdir(f"/proc/{p.pid}/fd"))
    return False


def traced(pids, by):
    for pid in pids:
        with open(f"/proc/{pid}/status") as f:
            if f"TracerPid:\t{by.pid}\n" not in f.read():
                return False
    return True


class Calls:
    """System calls of these processes, threads included, from begin to end: by
    perf, which delays nobody; where that may not look by strace, which does."""

    def __init__(self, pids):
        if PERF:
            tool = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p",
                    ",".join(map(str, pids))]
        else:
            tool = ["strace", "-f", "-q", "-c", "-U", "calls,name",
                    *(x for p in pids for x in ("-p", str(p)))]
        self.tool = subprocess.Popen(tool, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.PIPE)
        there = counts_events if PERF else lambda p: traced(pids, p)
        eventually(lambda: there(self.tool), "the calls are counted", 20)

    def end(self):
        self.tool.send_signal(signal.SIGINT)
        said = self.tool.communicate()[1].decode()
        if PERF:
            return sum(int(line.split(",")[0]) for line in said.splitlines()
                       if "sys_enter" in line and line[0].isdigit())
        return sum(int(n) for n in re.findall(r"^\s*(\d+)\s+(?!total)\w+$", said, re.M))


# ---- rows --------------------------------------------------------------------

class Bench:
    def __init__(self, connections, loud):
        self.n, self.loud, self.rows = connections, loud, []

    def row(self, name, target, ours, limit=None, unit="", ratio=None):
        r = {"row": name, "target": target, "measured": ours, "limit": limit, "unit": unit,
             "ratio": ratio if ratio is not None else
             (ours / limit if limit and ours is not None else None)}
        self.rows.append(r)
        if self.loud:
            print(f"{name:58} {shown(ours):>9} {shown(limit):>9} {unit:8} "
                  f"{shown(r['ratio']):>6}  {target}", flush=True)

    def both(self, name, target, unit, measure, again=ROUNDS, *sets):
        """Interleaved: ours, the limit, ours ..."""
        ours, limits = [], []
        with Touchline(*sets) as t, Limit() as limit:
            for _ in range(again):
                ours.append(measure(t))
                limits.append(measure(limit))
        self.row(name, target, median(ours), median(limits), unit)

    # -- memory

    def memory_of(self, server, edge, ids, *more):
        time.sleep(0.5)  # what starting has taken is given back
        pids = server.pids()
        before = user_bytes(pids)
        with crowd(server, edge, self.n, ids, *more):
            return (user_bytes(pids) - before) / self.n

    def memory(self):
        with Limit() as limit:
            least = self.memory_of(limit, "stream", f"user/1..{self.n}")
        for edge, what in (("test", "comet stream"), ("sse", "SSE"), ("poll", "long poll"),
                           ("ws", "WebSocket"), ("telnet", "telnet V:2")):
            with Touchline() as t:
                if edge == "telnet":
                    start_match(t)
                ids = MATCH if edge == "telnet" else f"user/1..{self.n}"
                self.row(f"memory of an idle connection, {what}", "512 B, goal 256 B",
                         self.memory_of(t, edge, ids), least, "B")

    # -- connections

    def connections(self):
        def rate(edge, *more):
            return lambda server: self.n / flood(server, edge, self.n, f"user/1..{self.n}",
                                                 "--hold", 0, *more)["up_after"]
        self.both("new connections a second, until open", "0.98 x limit", "/s", rate("tcp"))
        self.both("the same until the first frame of a stream", "1.05 x Nchan", "/s",
                  rate("stream"))

    # -- one message to many

    def last(self, count, *how):
        return lambda server: flood(server, "stream", count, "news", "--drain", 60, *how
                                    )["last_us"]["p50"] / 1000

    def watchers(self):
        n = self.n
        self.both(f"one message to {n:,} watchers, until the last", "1.15 x limit", "ms",
                  self.last(n, "--publish", 4, "--messages", 6))
        self.both(f"40 messages/s to {n:,} watchers, until the last", "1.08 x limit", "ms",
                  self.last(n, "--publish", 40, "--messages", 100), 1)
        burst = self.last(n, "--publish", 100, "--burst", 100, "--messages", 200)
        self.both(f"burst of 100 to {n:,} watchers", "3 M/s", "M/s",
                  lambda server: n * 100 / burst(server) / 1e3)

    # -- a message to one

    def latency(self, server, kind, rate, seconds):
        return flood(server, "stream", self.n, f"{kind}/1..{self.n}", "--publish", rate,
                     "--messages", rate * seconds, "--spread", "uniform")["latency_us"]

    def lone(self):
        with Touchline() as t, Limit() as limit:
            least = self.latency(limit, "user", 1000, 3)
            for kind, target in (("user", ("180 us", "600 us")),
                                 ("power", ("450 us", "1,000 us"))):
                ours = self.latency(t, kind, 1000, 3)
                for part, goal in zip(("p50", "p99"), target):
                    self.row(f"message to one of {self.n:,} at 1,000/s, "
                             f"{'power' if kind == 'power' else 'process'}, {part}", goal,
                             ours[part], least[part], "us")

    def fast(self):
        def rate(kind):
            def measure(server):
                r = flood(server, "stream", self.n, f"{kind}/1..{self.n}", "--window", 64,
                          "--publishers", 2, "--messages", 60000, "--spread", "uniform",
                          "--hold", "all")["published"]
                return r["sent"] / r["seconds"] / 1e3
            return measure
        for kind, what, target in (("user", "stored", "60k/s, goal 91k/s"),
                                   ("volatile", "unstored", "100k/s")):
            self.both(f"the same as fast as it goes, {what}", target, "k/s", rate(kind), 1)

    # -- system calls

    def calls_of(self, server, ids, messages, gen, *how):
        """(system calls meanwhile of all its processes, sends to watchers by its
        own account), for so many messages each, to a crowd that is there."""
        with crowd(server, "stream", self.n, ids):
            counter = Calls(server.pids())
            flood(server, "stream", 1, ids, "--messages", messages, "--spread", "uniform",
                  *how)
            all_ = counter.end()
            if isinstance(server, Limit):
                return all_, None
            before = sends(server)
            server.ctl("gen", *gen, "--count", str(messages))
            return all_, sends(server) - before

    def calls(self):
        n = self.n
        for what, target, ids, each, messages, how, gen in (
                ("1,000/s to one of {:,}", 1.1, f"user/1..{n}", 1, 3000,
                 ("--publish", 1000), ("user", "--ids", str(n), "--rate", "1000")),
                ("one to all {:,}", 1.1, "news", n, 6,
                 ("--publish", 4), ("news", "--rate", "4")),
                ("burst of 100 to all {:,}", 0.05, "news", n, 200,
                 ("--publish", 100, "--burst", 100),
                 ("news", "--shape", "burst", "--rate", "100"))):
            with Touchline() as t, Limit() as limit:
                least = self.calls_of(limit, ids, messages, gen, *how)[0]
                all_, sent = self.calls_of(t, ids, messages, gen, *how)
            what, deliveries = what.format(n), messages * each
            self.row(f"sends to watchers a delivery, {what}", str(target),
                     sent / deliveries)
            self.row(f"all system calls a delivery, {what}",
                     "-" if each == 1 else str(target), all_ / deliveries,
                     least / deliveries)

    def entry(self):
        """Of those who come together: from accept to the first frame."""
        def per(server, pids):
            eventually(lambda: rests(server.pids()), "the last crowd is gone", 60)
            counter = Calls(pids)
            with crowd(server, "stream", self.n, f"user/1..{self.n}"):
                return counter.end() / self.n
        with Touchline() as t, Limit() as limit:
            least = per(limit, limit.pids())
            self.row("system calls from accept to first frame, gateway", "5",
                     per(t, t.pids("http")), least)
            self.row("the same of all processes", "5", per(t, t.pids()), least)

    # -- rest, and death

    def idle(self):
        with Touchline("limits.ping=0") as t, crowd(t, "stream", self.n,
                                                    f"user/1..{self.n}"):
            before, begin = cpu_seconds(t.pids()), time.monotonic()
            time.sleep(4)
            used = (cpu_seconds(t.pids()) - before) / (time.monotonic() - begin)
            self.row(f"{self.n:,} idle connections, pings off, all processes",
                     "0.5 % of a core", used * 100, None, "%")

    def killed(self):
        """Each with its own id, 2,000 messages a second: nobody waits longer for
        one than from the kill until all of them are back and have caught up."""
        with Touchline() as t:
            p = subprocess.Popen(command(t, "stream", self.n, f"user/1..{self.n}",
                                         "--publish", 2000, "--messages", 12000,
                                         "--spread", "uniform", "--drain", 20),
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            eventually(lambda: sum(map(files, t.pids())) >= self.n, "the crowd is in", 60)
            time.sleep(2)  # it is published to meanwhile
            t.kill("router")
            r = json.loads(p.communicate(timeout=60)[0])
        if r["lost"] or r["duplicates"] or r["failed"]:
            raise Failed(f"router killed: {r['lost']} lost, {r['failed']} failed")
        self.row(f"router killed with {self.n:,} logged in: all caught up", "2 s",
                 r["latency_us"]["max"] / 1e6, None, "s")


def sends(server):
    """By the gateways' own account, which they give each second."""
    last = [None]

    def same():
        was, last[0] = last[0], sum(
            row["value"] for row in json.loads(server.ctl("--json", "stats"))["stats"]
            if row["name"] == "sends_total")
        time.sleep(1.2)
        return was == last[0]

    eventually(same, "the gateways' account", 20)
    return last[0]


def shown(x):
    if x is None:
        return "-"
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


MEASURES = ("memory", "connections", "watchers", "lone", "fast", "calls", "entry", "idle",
            "killed")


def main():
    p = argparse.ArgumentParser(usage=__doc__, add_help=False)
    p.add_argument("--json", action="store_true")
    p.add_argument("--only", choices=MEASURES)
    p.add_argument("--connections", type=number, default="5K")
    a = p.parse_args()
    network = crowd_run.in_a_network_of_its_own()
    Size.instances = instances_for(a.connections, raise_files())
    bench = Bench(a.connections, not a.json)
    begin = time.monotonic()
    if not a.json:
        print(f"{'':58} {'ours':>9} {'limit':>9} {'':8} {'ratio':>6}  to reach", flush=True)
    for measure in MEASURES:
        if a.only in (None, measure):
            getattr(bench, measure)()
    took = time.monotonic() - begin
    if a.json:
        print(json.dumps({"connections": a.connections, "seconds": round(took, 1),
                          "network": network, "calls_by": "perf" if PERF else "strace",
                          "rows": bench.rows}, indent=1))
    else:
        print(f"{took:.0f} s; {network}; system calls counted by "
              f"{'perf' if PERF else 'strace'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
