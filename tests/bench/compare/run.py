#!/usr/bin/env python3
"""run.py [--n N] [--rounds N] [--seconds N] [--only PEER,...] [--rows ROW,...]

The same work for each peer, interleaved: in a round every row is done by every peer,
one behind the other, each by a server that has just been started; the next round has
another order. A line for each run; build/bench-peers.json has all figures, and is
written after each of them. docs/benchmarks.md and its pictures are made of it in the
end (render.py). Ctrl-C, or SIGTERM, ends with what there is.

  --n N          clients (10000); PEERS_N
  --rounds N     (3); ROUNDS
  --seconds N    that something is published, or clients come and go (4); PEERS_SECONDS
  --only A,B     peers    --rows A,B    rows    --list    what there is of both
  --as-is        who is not installed is left out, and not installed
  --json FILE    build/bench-peers.json
  --document F   docs/benchmarks.md

Exit 1: Touchline, or the limit, has a row without a figure. 130: it was interrupted."""
import argparse
import contextlib
import datetime
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from compare import ends, render, rows, servers  # noqa: E402
from crowd_run import ALONE, in_a_network_of_its_own  # noqa: E402

SYSCTLS = ("fs/file-max", "net/core/somaxconn", "net/ipv4/tcp_max_syn_backlog",
           "net/ipv4/ip_local_port_range", "net/ipv4/tcp_mem")
OURS = ("limit", "touchline")
AWAY = "TOUCHLINE_BENCH_AWAY"  # who could not be had, for whom this program becomes
SPARE = 200  # files of a server that are no clients


def default(every):
    return ",".join(getattr(x, "name", None) or x.key for x in every)


def options():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--n", type=int, default=int(os.environ.get("PEERS_N", 10000)))
    p.add_argument("--rounds", type=int, default=int(os.environ.get("ROUNDS", 3)))
    p.add_argument("--seconds", type=int, default=int(os.environ.get("PEERS_SECONDS", 4)))
    p.add_argument("--only", default=default(servers.PEERS))
    p.add_argument("--rows", default=default(rows.ROWS))
    p.add_argument("--list", action="store_true")
    p.add_argument("--as-is", action="store_true")
    p.add_argument("--json", default=os.path.join(servers.ROOT, "build", "bench-peers.json"))
    p.add_argument("--document", default=os.path.join(servers.ROOT, "docs", "benchmarks.md"))
    o = p.parse_args()
    for words, known in ((o.only, {p.name for p in servers.PEERS}),
                         (o.rows, {r.key for r in rows.ROWS})):
        unknown = set(words.split(",")) - known
        if unknown:
            p.error(f"no such: {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    if min(o.n, o.rounds, o.seconds) < 1:
        p.error("--n, --rounds and --seconds are at least 1")
    return o


# ---- what is measured on -----------------------------------------------------------

def read(path):
    with contextlib.suppress(OSError):
        with open(path, encoding="utf-8", errors="replace") as f:
            return f.read()
    return ""


def found(pattern, text):
    m = re.search(pattern, text, re.M)
    return m[1].strip() if m else "?"


def machine():
    cpu = read("/proc/cpuinfo")
    kib = found(r"^MemTotal: +(\d+)", read("/proc/meminfo"))
    return {
        "processor": found(r"^model name\s*: (.*)", cpu),
        "virtual": " hypervisor" in cpu,
        "processors": os.cpu_count(),
        "memory_gib": round(int(kib) / 2 ** 20) if kib.isdigit() else 0,
        "kernel": platform.release(),
        "system": found(r'^PRETTY_NAME="(.*)"', read("/etc/os-release")),
        "files": servers.lowest_file_limit(),
        "sysctls": {s.replace("/", "."): " ".join(read("/proc/sys/" + s).split()) for s in SYSCTLS},
    }


def command(o):
    words = [f"{k}={v}" for k, v in (("PEERS_N", o.n), ("ROUNDS", o.rounds),
                                     ("PEERS_SECONDS", o.seconds))]
    for name, value, every in (("PEERS", o.only, servers.PEERS), ("ROWS", o.rows, rows.ROWS)):
        if value != default(every):
            words.append(f"{name}={value}")
    return " ".join(["make bench-peers", *words])


def absent(o):
    """[{name, title, reason}] of those that are not here, and cannot be had."""
    away = []
    for peer in servers.PEERS:
        if peer.name not in o.only.split(","):
            continue
        reason = peer.absent() if o.as_is else servers.missing(peer.package)
        if reason:
            away.append({"name": peer.name, "title": peer.title, "reason": reason})
            print(f"SKIPPED {peer.title}: {reason}", flush=True)
    return away


def alone(o):
    """Looks who is there, which may need the net, and goes where none is: (who is not,
    words for where this is)."""
    if ALONE not in os.environ:
        os.environ[AWAY] = json.dumps(absent(o))
    where = in_a_network_of_its_own()
    return json.loads(os.environ.get(AWAY, "[]")), where


def described(peer):
    return {"name": peer.name, "title": peer.title, "version": peer.version(),
            "setting": peer.setting, "published": peer.published, "lacks": peer.lacks}


def told(row, o):
    return {"key": row.key, "title": row.title.format(n=f"{int(row.clients * o.n):,}"),
            "what": row.what, "figures": [f._asdict() for f in row.figures]}


# ---- a run -------------------------------------------------------------------------

def too_many(peer, row, o):
    """Why this peer cannot hold so many; "": it can."""
    files = servers.lowest_file_limit()
    room = (files - SPARE) * (1 if peer.process == "one" else 0.95 * servers.WORKERS)
    if row.clients * o.n <= room:
        return ""
    return f"a process may open {files:,} files here, and this server is one process" \
        if peer.process == "one" else f"its processes may open {files:,} files each"


def one(peer, row, o):
    """{"figures": ...} or {"trouble": why}"""
    reason = too_many(peer, row, o)
    if reason:
        return {"trouble": reason}
    base = tempfile.mkdtemp(prefix="tl-bench-", dir=os.path.join(servers.ROOT, "build"))
    server = peer(os.path.join(base, "server"), int(2 * o.n))
    try:
        with ends.wait():
            server.start()
        return {"figures": row.run(rows.Bench(server, o.n, o.seconds))}
    except (rows.Trouble, RuntimeError, AssertionError, OSError, ValueError, KeyError,
            subprocess.SubprocessError) as e:
        return {"trouble": f"{type(e).__name__}: {e}".replace("\n", " ")[:300]}
    finally:
        with ends.wait():
            with contextlib.suppress(AttributeError):  # it never started
                server.stop()
            shutil.rmtree(base, ignore_errors=True)


def plan(here, o):
    """[(round, row, peer)]: the order turns by one with each row, and the other way
    round in every second round."""
    out = []
    chosen = [r for r in rows.ROWS if r.key in o.rows.split(",")]
    for number in range(1, o.rounds + 1):
        for i, row in enumerate(chosen):
            if row.once and number > 1:
                continue
            turn = (number + i) % len(here)
            order = (here[turn:] + here[:turn])[::1 if number % 2 else -1]
            out += [(number, row, peer) for peer in order if row.is_for(peer)]
    return out


class Progress:
    """A line each, with how far it is and how long the rest may take; on a terminal also
    what is under way."""

    def __init__(self, total):
        self.total, self.done, self.begin = total, 0, time.monotonic()

    def begins(self, number, row, peer):
        if sys.stdout.isatty():
            print(f"[{self.done + 1}/{self.total}] round {number}  {row.key}  {peer.name} ...",
                  end="", flush=True)

    def line(self, number, row, peer, out, took):
        if sys.stdout.isatty():
            print("\r\033[K", end="")
        self.done += 1
        passed = time.monotonic() - self.begin
        left = passed / self.done * (self.total - self.done)
        if "figures" in out:
            said = ", ".join(f"{f.title} {render.number(out['figures'][f.key])} {f.unit}".strip()
                             for f in row.figures if out["figures"].get(f.key) is not None)
        else:
            said = "NO FIGURE: " + out["trouble"]
        print(f"[{self.done}/{self.total}] {render.clock(passed)}, left {render.clock(left)}  "
              f"round {number}  {row.key}  {peer.name} ({took:.0f} s)  {said}", flush=True)


def store(data, path):
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as f:
        json.dump(data, f, indent=1)
    os.replace(path + ".new", path)


def rounds(data, work, o):
    progress = Progress(len(work))
    for number, row, peer in work:
        begin = time.monotonic()
        progress.begins(number, row, peer)
        data["results"].append({"round": number, "row": row.key, "peer": peer.name,
                                **one(peer, row, o)})
        data["seconds"] = time.monotonic() - progress.begin
        store(data, o.json)
        progress.line(number, row, peer, data["results"][-1], time.monotonic() - begin)


def failed(data):
    """Rows of ours that have no figure."""
    return [r for r in data["results"] if r["peer"] in OURS and "figures" not in r]


def main():
    o = options()
    if o.list:
        print("\n".join(["peers: " + ", ".join(p.name for p in servers.PEERS),
                         "rows: " + ", ".join(r.key for r in rows.ROWS)]))
        return 0
    ends.heed()
    away, where = alone(o)
    here = [p for p in servers.PEERS if p.name in o.only.split(",")
            and p.name not in {a["name"] for a in away}]
    work = plan(here, o) if here else []
    data = {"command": command(o), "begun": datetime.datetime.now(datetime.timezone.utc)
            .strftime("%Y-%m-%d %H:%M UTC"), "n": o.n, "rounds": o.rounds,
            "seconds_each": o.seconds, "seconds": 0, "interrupted": False,
            "load_before": os.getloadavg()[0], "network": where.split(",")[0], "machine": machine(),
            "peers": [described(p) for p in here], "skipped": away,
            "rows": [told(r, o) for r in rows.ROWS if r.key in o.rows.split(",")], "results": []}
    if data["load_before"] > 0.5:
        print(f"This machine is not quiet: its load is {data['load_before']:.1f}. The figures "
              "will not be its best.", flush=True)
    try:
        rounds(data, work, o)
    except KeyboardInterrupt:
        data["interrupted"] = True
        print("\ninterrupted: what there is follows", flush=True)
    store(data, o.json)
    for line in render.write(data, o.document):
        print(line, flush=True)
    if data["interrupted"]:
        return 130
    return 1 if failed(data) else 0


if __name__ == "__main__":
    sys.exit(main())
