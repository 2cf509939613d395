#!/usr/bin/env python3
"""chaos.py [--seconds N] [--round N] [--seed N] [--faults NAME,...] [--soak] [--keep]

Breaks a Touchline under load, round after round, and has the checker judge what
its clients saw. Every round has a Touchline of its own, clients on all edges,
faults drawn from its seed, and ends in quiet: all healed, everybody back. A
line each: time, round, seed, faults, what was checked, memory, violations.
What a round found is printed with the lines of the logs that show it, and these
stay; `--seed` repeats it. The last line is "N passed, N failed"; SIGINT and
SIGTERM end it with what there is so far.

  --seconds N    begin no round after so long (150; --soak: 8 hours), nor one
                 that may last beyond --within
  --within N     seconds that all of it may take (--soak: no end)
  --round N      seconds of faults in a round (14)
  --seed N       of the first round; CHAOS_SEED; else drawn, and printed
  --faults A,B   only these; --list shows what there is
  --rate N       publications a second (250)
  --repeaters N  so many stand between the router and the gateways, and break, too
  --soak         a line a minute for hours, instead of one for each round; every
                 fifth round is long, ends no process, and tells how the memory
                 of each has grown (which is no verdict)
  --keep         the logs of rounds without violations stay, too"""
import argparse
import os
import random
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import stage  # noqa: E402

LONG_EACH, LONG_SECONDS, LEAST_LIFE = 5, 150.0, 60.0
CHECKED = (("published", "acked"), ("seen", "delivered"), ("clients", "subscribers"),
           ("connections", "connections"), ("resumed", "resumed"), ("gaps", "gaps"),
           ("slow", "thinned"), ("states", "states"))


def options():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--seconds", type=float)
    p.add_argument("--within", type=float, default=float("inf"))
    p.add_argument("--round", type=float, default=14)
    p.add_argument("--seed", type=int, default=int(os.environ.get("CHAOS_SEED", 0)))
    p.add_argument("--faults", default="")
    p.add_argument("--rate", type=float, default=250)
    p.add_argument("--repeaters", type=int, default=0)
    p.add_argument("--soak", action="store_true")
    p.add_argument("--keep", action="store_true")
    p.add_argument("--list", action="store_true")
    o = p.parse_args()
    o.seconds = o.seconds or (8 * 3600 if o.soak else 150)
    o.seed = o.seed or random.SystemRandom().randrange(1, 1 << 31)
    return o


def megabytes(kib):
    return f"{kib / 1024:.0f}M"


class Run:
    """What there is so far."""

    def __init__(self, o, table):
        self.o, self.table, self.begin = o, table, time.monotonic()
        self.passed = self.failed = self.faults = self.longest = 0
        self.sum = {name: 0 for name, _ in CHECKED}
        self.round = None

    def elapsed(self):
        return time.monotonic() - self.begin

    def may_begin(self):
        if not self.passed + self.failed:
            return True
        return (self.elapsed() < self.o.seconds and
                self.elapsed() + self.longest < self.o.within)

    def one(self):
        number = self.passed + self.failed + 1
        long = self.o.soak and number % LONG_EACH == 0
        table = {n: f for n, f in self.table.items() if not f.ends} if long else self.table
        seed, begin, trouble = self.o.seed + number - 1, time.monotonic(), ""
        r = self.round = stage.Round(seed, table, LONG_SECONDS if long else self.o.round,
                                     self.o.rate, keep=self.o.keep,
                                     repeaters=self.o.repeaters)
        try:
            r.run()
        except (stage.Violated, stage.Failed, OSError) as e:
            trouble = str(e) or type(e).__name__
        took = time.monotonic() - begin
        self.longest = max(self.longest, took)
        self.count(r, trouble)
        if trouble or not self.o.soak:
            self.tell_round(number, seed, took, r, trouble)
        if long:
            self.tell_growth(seed, r)

    def count(self, r, trouble):
        self.passed += not trouble
        self.failed += bool(trouble)
        self.faults += len(r.broken)
        for name, figure in CHECKED:
            self.sum[name] += r.figures.get(figure, 0)

    @staticmethod
    def tell_round(number, seed, took, r, trouble):
        checked = " ".join(f"{name}={r.figures.get(figure, 0)}" for name, figure in CHECKED)
        memory = " ".join(f"{k}={megabytes(v)}" for k, v in r.memory.items())
        print(f"{time.strftime('%H:%M:%S')} round={number} seed={seed} took={took:.0f}s "
              f"faults={','.join(r.broken) or '-'} {checked} "
              f"slowest={r.figures.get('slowest_ms', 0)}ms {memory} "
              f"violations={'yes' if trouble else 'none'}", flush=True)
        if trouble:
            print(f"FAIL seed {seed}, logs in {r.base}\n    " + trouble.replace("\n", "\n    "),
                  flush=True)

    @staticmethod
    def tell_growth(seed, r):
        grown = " ".join(f"{kind}={megabytes(kib)}{kib_a_minute / 1024:+.1f}M/min"
                         for kind, (kib_a_minute, kib) in r.sampler.slopes(LEAST_LIFE).items())
        print(f"{time.strftime('%H:%M:%S')} memory seed={seed} {grown or 'nobody lived long'}",
              flush=True)

    def tell_minute(self):
        """--soak: now, whatever is under way."""
        checked = " ".join(f"{k}={v}" for k, v in self.sum.items())
        lives = self.round.sampler.lives if self.round and self.round.sampler else {}
        memory = " ".join(f"{kind}/{pid}={megabytes(points[-1][1])}"
                          for (kind, pid), points in list(lives.items())
                          if time.monotonic() - points[-1][0] < 3)
        print(f"{time.strftime('%H:%M:%S')} minute={self.elapsed() / 60:.0f} "
              f"passed={self.passed} failed={self.failed} faults={self.faults} {checked} "
              f"{memory}", flush=True)

    def tell_sum(self):
        checked = ", ".join(f"{v} {k}" for k, v in self.sum.items())
        print(f"{self.elapsed():.0f} s, seeds from {self.o.seed}: {self.faults} faults; {checked}")
        print(f"{self.passed} passed, {self.failed} failed", flush=True)


def every_minute(run, over):
    while not over.wait(60):
        run.tell_minute()


def end(_signo, _frame):
    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, signal.SIG_IGN)  # once is enough
    raise stage.Ended


def main():
    o = options()
    table = stage.faults.table()
    if o.list:
        for f in sorted(table.values(), key=lambda f: f.name):
            print(f"{f.row:4} {f.name:20} hits {','.join(f.hits) or '-':22} "
                  f"loses {','.join(f.loses) or '-'}")
        return 0
    if o.faults:
        table = {name: table[name] for name in o.faults.split(",")}
    print(f"CHAOS_SEED={o.seed}", flush=True)
    run, over = Run(o, table), threading.Event()
    if o.soak:
        threading.Thread(target=every_minute, args=(run, over), daemon=True).start()
    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, end)
    try:
        while run.may_begin():
            run.one()
    except stage.Ended:
        print("ended: the round under way does not count", flush=True)
    over.set()
    run.tell_sum()
    return 1 if run.failed else 0


if __name__ == "__main__":
    sys.exit(main())
