#!/usr/bin/env python3
"""run.py [--seeds N] [--seed N] [--only NAME,...] [--keep]

Touchline, Nchan and Mosquitto under the same faults, with as many clients, judged
by the same program (`check --texts`, ../texts.h), and one table of what it counted.
A round: all subscribe; while publishers publish and subscribers come and go, and
one more does not read, in an order drawn from the seed: all processes of the
server are killed (twice) and started anew, and stopped for five seconds. Then
quiet, until nothing comes any more. A line each, then the table.

  --seeds N         rounds of each (3); CHAOS_SEEDS
  --seed N          of the first (1); CHAOS_SEED
  --only A,B        of touchline nchan nchan-workers mosquitto mosquitto-saves
  --subscribers N   24      --publishers N  3      --channels N  4
  --rate N          publications a second (60)
  --faults A,B      of kill, stop (both)
  --stay N          mean seconds until a subscriber leaves, to resume (4)
  --keep            logs stay, also those of rounds in which nothing was wrong

Exit 1: of Touchline something was lost, duplicated, out of order or made up, or
its rounds break any other law that `check` knows. The peers' figures are figures."""
import argparse
import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import stage  # noqa: E402
from peers import crowd, lies  # noqa: E402
from peers.mosquitto import Mosquitto  # noqa: E402
from peers.nchan import Nchan  # noqa: E402
from peers.touchline import Touchline  # noqa: E402

SYSTEMS = {
    "touchline": (Touchline, None),
    "nchan": (Nchan, 1),
    "nchan-workers": (Nchan, 2),
    "mosquitto": (Mosquitto, False),
    "mosquitto-saves": (Mosquitto, True),
}
CHECK = os.path.join(stage.PROGRAMS, "check")
COLUMNS = (("acked", "acknowledged"), ("due", "due"), ("lost", "lost"), ("told", "lost, told"),
           ("gaps", "gaps told"), ("duplicated", "duplicated"),
           ("retried", "of these sent twice"), ("disordered", "out of order"),
           ("ghosts", "ghosts"), ("crashes", "crashes of its own"))


def options():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--seeds", type=int, default=int(os.environ.get("CHAOS_SEEDS", 3)))
    p.add_argument("--seed", type=int, default=int(os.environ.get("CHAOS_SEED", 1)))
    p.add_argument("--only", default=",".join(SYSTEMS))
    for name, value in (("subscribers", 24), ("publishers", 3), ("channels", 4)):
        p.add_argument(f"--{name}", type=int, default=value)
    p.add_argument("--faults", default="kill,stop")
    p.add_argument("--rate", type=float, default=60)
    p.add_argument("--stay", type=float, default=4)
    p.add_argument("--keep", action="store_true")
    return p.parse_args()


def planned(seed, faults):
    """[(seconds to wait, what, how long it lasts)], the same for all systems."""
    rng = random.Random(seed)
    rows = [("kill", rng.uniform(0.2, 1.0)), ("kill", rng.uniform(0.2, 1.0)), ("stop", 5.0)]
    rng.shuffle(rows)
    rows = [(rng.uniform(1.5, 4.0), what, lasts) for what, lasts in rows]
    return [row for row in rows if row[1] in faults]


def broken(peer, plan, log):
    """What `play` awaits."""
    async def faults():
        stalled = peer.stall()
        for number, (wait, what, lasts) in enumerate(plan, 1):
            await asyncio.sleep(wait)
            log.say("F", 0, number, "start", what, "-", "-")
            if what == "kill":
                peer.kill()
                await asyncio.sleep(lasts)
                await peer.start()
                stalled.close()
                stalled = peer.stall()
            else:
                peer.signal(signal.SIGSTOP)
                await asyncio.sleep(lasts)
                peer.signal(signal.SIGCONT)
            log.say("F", 0, number, "heal")
        stalled.close()
    return faults


def foreign(make, setting, seed, plan, o):
    """(what check --texts said, nothing)"""
    base = tempfile.mkdtemp(prefix="tl-peers-")
    peer, path, whole = make(os.path.join(base, "server"), setting), os.path.join(base, "log"), False

    async def play():
        await peer.start()
        await crowd.play(peer, log, seed, o, broken(peer, plan, log))

    log = crowd.Log(path)
    try:
        asyncio.run(play())
        whole = True
    finally:
        log.close()
        peer.close()
        if not whole:
            print(f"logs in {base}", flush=True)
    out = subprocess.check_output([CHECK, "--texts", path], text=True)
    out = f"{out.strip()} crashes={peer.crashes()}"
    if o.keep:
        print(f"logs in {base}", flush=True)
    else:
        shutil.rmtree(base, ignore_errors=True)
    return out, ""


def one(name, seed, o):
    """(figures, what else is wrong)"""
    make, setting = SYSTEMS[name]
    plan, begin = planned(seed, o.faults.split(",")), time.monotonic()
    said, wrong = (Touchline.round(seed, plan, o) if make is Touchline else
                   foreign(make, setting, seed, plan, o))
    print(f"{time.strftime('%H:%M:%S')} {name} seed={seed} took={time.monotonic() - begin:.0f}s "
          f"faults={','.join(what for _, what, _ in plan)},stall {said.strip()}", flush=True)
    if wrong:
        print(f"FAIL {name} seed {seed}\n    " + wrong.replace("\n", "\n    "), flush=True)
    return lies.figures(said), wrong


def described(name):
    make, setting = SYSTEMS[name]
    if make is Touchline:
        return make.name, make.setting, make.version()
    base = tempfile.mkdtemp(prefix="tl-peers-")
    peer = make(base, setting)
    os.rmdir(base)
    return peer.name, peer.setting, peer.version()


def table(sums):
    heads = ("router", "version", *(title for _, title in COLUMNS))
    yield "| " + " | ".join(heads) + " |"
    yield "|---|---|" + "--:|" * len(COLUMNS)
    for name, sum_of in sums.items():
        who, setting, version = described(name)
        yield f"| {who}, {setting} | {version} | " + " | ".join(
            f"{sum_of[key]:,}" for key, _ in COLUMNS) + " |"


def main():
    o = options()
    print(f"{lies.told_apart(CHECK)} logs with a lie or none: told apart", flush=True)
    sums, failed = {}, 0
    for name in o.only.split(","):
        sums[name] = dict.fromkeys((key for key, _ in COLUMNS), 0)
        for seed in range(o.seed, o.seed + o.seeds):
            figures, wrong = one(name, seed, o)
            failed += bool(wrong)
            for key in sums[name]:
                sums[name][key] += figures.get(key, 0)
    print(f"\n{time.strftime('%F')}, seeds {o.seed} to {o.seed + o.seeds - 1}, "
          f"{o.subscribers} subscribers, {o.publishers} publishers, {o.channels} channels, "
          f"{o.rate:.0f} messages a second, faults {o.faults},stall\n")
    print("\n".join(table(sums)))
    ours = sums.get("touchline", {})
    failed += sum(ours.get(k, 0) for k in ("lost", "duplicated", "disordered", "ghosts"))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
