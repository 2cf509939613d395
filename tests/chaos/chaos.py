#!/usr/bin/env python3
"""chaos.py [--seconds N] [--round N] [--seed N] [--faults NAME,...] [--soak] [--keep]

Breaks a Touchline under load, round after round, and has the checker judge what
its clients saw. Every round has a Touchline of its own, clients on all edges,
faults drawn from its seed, and ends in quiet: all healed, everybody back. A
line each: time, round, seed, faults, messages, clients, memory, violations.
What a round found is printed with the lines of the logs that show it, and these
stay; `--seed` repeats it. The last line is "N passed, N failed".

  --seconds N    begin no round after so long (150; --soak: 8 hours)
  --round N      seconds of faults in a round (14)
  --seed N       of the first round; CHAOS_SEED; else drawn, and printed
  --faults A,B   only these; --list shows what there is
  --rate N       publications a second (250)
  --keep         the logs of rounds without violations stay, too"""
import argparse
import os
import random
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import stage  # noqa: E402


def options():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--seconds", type=float)
    p.add_argument("--round", type=float, default=14)
    p.add_argument("--seed", type=int, default=int(os.environ.get("CHAOS_SEED", 0)))
    p.add_argument("--faults", default="")
    p.add_argument("--rate", type=float, default=250)
    p.add_argument("--soak", action="store_true")
    p.add_argument("--keep", action="store_true")
    p.add_argument("--list", action="store_true")
    o = p.parse_args()
    o.seconds = o.seconds or (8 * 3600 if o.soak else 150)
    o.seed = o.seed or random.SystemRandom().randrange(1, 1 << 31)
    return o


def one(o, table, number, seed):
    """Prints its line; True: nothing is wrong."""
    r, begin, trouble = stage.Round(seed, table, o.round, o.rate, keep=o.keep), time.monotonic(), ""
    try:
        r.run()
    except (stage.Violated, stage.Failed, OSError) as e:
        trouble = str(e) or type(e).__name__
    f = r.figures
    memory = " ".join(f"{k}={v // 1024}M" for k, v in r.memory.items())
    print(f"{time.strftime('%H:%M:%S')} round={number} seed={seed} "
          f"took={time.monotonic() - begin:.0f}s faults={','.join(r.broken) or '-'} "
          f"published={f.get('acked', 0)} seen={f.get('delivered', f.get('messages', 0))} "
          f"clients={f.get('subscribers', 0)} connections={f.get('connections', 0)} "
          f"resumed={f.get('resumed', 0)} gaps={f.get('gaps', 0)} "
          f"slowest={f.get('slowest_ms', 0)}ms {memory} "
          f"violations={'yes' if trouble else 'none'}", flush=True)
    if trouble:
        print(f"FAIL seed {seed}, logs in {r.base}\n    " + trouble.replace("\n", "\n    "),
              flush=True)
    return not trouble


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
    begin, passed, failed = time.monotonic(), 0, 0
    while not passed + failed or time.monotonic() - begin < o.seconds:
        if one(o, table, passed + failed + 1, o.seed + passed + failed):
            passed += 1
        else:
            failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
