#!/usr/bin/env python3
"""Runs the benchmarks given as arguments; edge_bench against a Touchline of
its own, whose memory is measured as well. Says what it does as it goes."""
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))
from world import World  # noqa: E402

CONNECTIONS = 9000
KINDS = ("router", "http", "tcp", "ws")


def proportional_kib(world):
    """User memory by kind: the proportional set size of its processes."""
    out = {}
    for kind in KINDS:
        for pid in world.pids(kind):
            with open(f"/proc/{pid}/smaps_rollup") as f:
                line = next(x for x in f if x.startswith("Pss:"))
            out[kind] = out.get(kind, 0) + int(line.split()[1])
    return out


def memory(world):
    before = proportional_kib(world)
    held = [world.stream(f"/test/user/{n}") for n in range(CONNECTIONS)]
    for stream in held:
        stream.chunk()
    after = proportional_kib(world)
    each = {k: (after[k] - before[k]) * 1024 / CONNECTIONS for k in KINDS}
    print(f"memory      {CONNECTIONS} idle comet connections, each with its own id: "
          f"{sum(each.values()):.0f} bytes each "
          f"(router {each['router']:.0f}, http {each['http']:.0f}); at rest "
          + ", ".join(f"{k} {v} KiB" for k, v in before.items()), flush=True)
    for stream in held:
        stream.close()


def edge(binary):
    with World(sets=["http.workers=1", "tcp.workers=1", "ws.workers=1"]) as w:
        memory(w)
    with World(sets=["http.workers=1", "tcp.workers=1", "ws.workers=1",
                     "namespace slow/.slow=drop-oldest"]) as w:
        return subprocess.run([binary, str(w.address("http")[1])]).returncode


def main():
    worst = 0
    for binary in sys.argv[1:]:
        print("== " + binary, flush=True)
        run = edge if os.path.basename(binary) == "edge_bench" else \
            lambda b: subprocess.run([b]).returncode
        worst = max(worst, run(os.path.abspath(binary)))
    return worst


if __name__ == "__main__":
    sys.exit(main())
