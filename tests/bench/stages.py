#!/usr/bin/env python3
"""stages.py [--clients N] [--in-flight C] [--rounds R] [--only NAME,...] [--without NAME,...]
[--events E] [--rate R] [--out PREFIX]

The stage sheet: the steps by which the MatchStream talk got from 1,000 watchers to
100,000, on Touchline. It begins with all of them switched off; each line switches one on
and keeps it. N clients with telnet, C of them under way at a time, say V:2 and are told
the state of a match; then events come, one at a time, and in bursts.

ART is given in both of its meanings: from dialling to the first frame, and from an event
to its last watcher; means, of the median round. Each stands beside what a bare epoll
server (touchline-flood --serve) does in the same minute with the same clients, as a ratio.

  --clients N        watchers (100K, or as many as the files of a stage allow; STAGES_N)
  --in-flight C      of them not yet up at a time (32K; STAGES_C)
  --rounds R         of all stages; the medians count (3; STAGES_ROUNDS)
  --only A,B         only these stages, each with all that is in front of it
  --without A,B      these stay switched off throughout
  --events E         one at a time, and as many bursts (5)
  --rate R           of them a second (1)
  --out PREFIX       PREFIX.txt, .json and .csv (build/bench/stages)
  --list             the stages, and what each switches"""
import argparse
import csv
import json
import os
import sys
import time

import crowd_run
from crowd_run import Limit, at, flood, instances_for, new_match, number, room, touchline
from figures import NotMeasured, art, faults, middle, ms, ratio, table

BURST = 20
LEAST_LIMIT = os.cpu_count()    # processes of the bare server
GATEWAYS = 4
WAIT = 30           # seconds: who has no first frame by then has failed


class Stage:
    """off, on: values of settings. n, c: at most so many clients, under way at a time.
    talk: what the talk has for it, as (N, C, ART) in words."""

    def __init__(self, name, what, off=(), on=(), n=0, c=0, talk=None, why=""):
        self.name, self.what, self.off, self.on = name, what, list(off), list(on)
        self.n, self.c, self.talk, self.why = n, c, talk, why


MANY = 1 << 20
STAGES = [
    Stage("begin", "all of what follows is off", n=1000, c=4, talk=("1K", "4", "26 s")),
    Stage("crowd", "the same for a crowd: nothing is switched"),
    Stage("backlog", "clients that the kernel keeps ready to be accepted: 5, 65,535",
          ["limits.accept_backlog=5"], ["limits.accept_backlog=65535"]),
    Stage("listeners", "one listener, one for each processor, each with a loop of its own",
          ["tcp.workers=1"], ["tcp.workers=0"]),
    Stage("repeaters", "a message goes once over each link",
          why="cannot be switched off: a DELIVER names a channel and no connections, so a "
              "link carries it once for all of them"),
    Stage("slices", "clients served in a turn of a loop: a million, 512 (half a megabyte "
                    "is sent in a turn at most, in any case)",
          [f"limits.fanout_slice={MANY}"], ["limits.fanout_slice=512"]),
    Stage("commit", "events committed together: 1, 256",
          ["limits.commit_group=1"], ["limits.commit_group=256"]),
    Stage("logging", "the log says each connection and visit, or what operators want to know",
          ["log.level=debug"], ["log.level=info"]),
    Stage("gateways", f"one gateway process, {GATEWAYS}",
          ["tcp.instances=1"], [f"tcp.instances={GATEWAYS}"]),
    Stage("all", "as many gateway processes as N needs, where that is more",
          talk=("100K", "32K", "10 ms")),
    Stage("routers", "several routers",
          why="open: there is one router, and this stage of the talk is not done"),
]
COLUMNS = ("first", "last", "burst")
NOT_SWITCHED = ["limits.admit_rate=0", "http.workers=1", "ws.workers=1"]


def options(argv):
    p = argparse.ArgumentParser(usage=__doc__, add_help=True)
    p.add_argument("--clients", type=number, default=os.environ.get("STAGES_N", "100K"))
    p.add_argument("--in-flight", type=number, default=os.environ.get("STAGES_C", "32K"))
    p.add_argument("--rounds", type=int, default=int(os.environ.get("STAGES_ROUNDS", 3)))
    p.add_argument("--only", default="")
    p.add_argument("--without", default="")
    p.add_argument("--events", type=int, default=5)
    p.add_argument("--rate", type=int, default=1)
    p.add_argument("--out", default="build/bench/stages")
    p.add_argument("--list", action="store_true")
    o = p.parse_args(argv)
    for key in ("only", "without"):
        names = [x for x in getattr(o, key).split(",") if x]
        for x in names:
            if x not in [s.name for s in STAGES]:
                p.error(f"no stage is called {x}; --list names them")
        setattr(o, key, names)
    return o


def settings(upto, without=()):
    """What is set in this stage: all in front of it are on, all behind it off."""
    out, reached = list(NOT_SWITCHED), False
    for s in STAGES:
        out += s.off if reached or s.name in without else s.on
        reached = reached or s is upto
    return out


def gateways(sets):
    return max(int(x.split("=")[1]) for x in sets if x.startswith("tcp.instances="))


def size(stage, o, files):
    """(settings, clients, under way at a time) of a stage."""
    sets = settings(stage, o.without)
    if stage.name == "all":
        sets += [f"tcp.instances={max(gateways(sets), instances_for(o.clients, files))}"]
    n = min(o.clients, stage.n or o.clients, room(gateways(sets), files))
    return sets, n, min(o.in_flight, stage.c or o.in_flight, n)


# ---- measuring -------------------------------------------------------------------------------

WORDS = ["--body", '{"kind":"status","data":{"comment":"{mark}"}}', "--size", 0,
         "--publish-header", "Content-Type: application/json\\r\\n"]


def crowd(target, publish_at, ids, n, c, o, burst):
    """The report of one crowd, to which events come."""
    return flood("--edge", "telnet", "--target", target, "--publish-target", publish_at,
                 "--ids", ids, "--connections", n, "--in-flight", c, "--hold", "all",
                 "--publish", o.rate * burst, "--burst", burst, "--messages", o.events * burst,
                 *WORDS, "--wait", WAIT, "--drain", 30, "--reset")


def read(one, burst):
    """What a line says of two crowds, of which one gets events one at a time and the other
    one bursts; failed: of the worse one."""
    out = {"failed": max(one["failed"], burst["failed"]), "up_after": one["up_after"],
           "faults": "; ".join(x for x in (faults(one), faults(burst)) if x)}
    for name, report, histogram in (("first", one, "first"), ("last", one, "last"),
                                    ("burst", burst, "last")):
        try:
            out[name] = art(report, histogram)
        except NotMeasured:
            out[name] = None
    return out


def measure(target, publish_at, ids, n, c, o):
    return read(crowd(target, publish_at, ids, n, c, o, 1),
                crowd(target, publish_at, ids, n, c, o, BURST))


def one_round(stage, o, files):
    sets, n, c = size(stage, o, files)
    with Limit(max(LEAST_LIMIT, instances_for(n, files))) as limit:
        bare = measure(limit.address, limit.address, "match/a", n, c, o)
    with touchline(sets) as w:
        ours = measure(at(w, "tcp"), at(w, "http"), "match/" + new_match(w), n, c, o)
    return {"n": n, "c": c, "set": sets, "touchline": ours, "limit": bare}


# ---- the sheet ---------------------------------------------------------------------------------

def means(rounds, who, column):
    return [r[who][column]["mean"] if r[who][column] else None for r in rounds]


def line(stage, rounds):
    """A line of the sheet: medians of the rounds; ratios of ours to the limit's."""
    out = {"stage": stage.name, "what": stage.what, "why": stage.why, "talk": stage.talk,
           "rounds": rounds}
    if not rounds:
        return out
    out.update(n=rounds[0]["n"], c=rounds[0]["c"],
               failed=max(r["touchline"]["failed"] for r in rounds),
               faults="; ".join(x for x in dict.fromkeys(r["touchline"]["faults"] for r in rounds)
                                if x),
               up_after=middle([r["touchline"]["up_after"] or None for r in rounds]),
               limit_up_after=middle([r["limit"]["up_after"] or None for r in rounds]))
    for column in COLUMNS:
        ours, bare = means(rounds, "touchline", column), means(rounds, "limit", column)
        out[column] = {"ms": middle(ours), "limit_ms": middle(bare), "ratio": ratio(ours, bare)}
    return out


HEAD = ("stage", "N", "C", "failed", "all up", "ART first frame", "x limit", "ART last watcher",
        "x limit", "of bursts", "x limit", "the talk: N", "C", "ART")


def cells(found):
    talk = found["talk"] or ("", "", "")
    if "n" not in found:
        return (found["stage"], *[""] * 10, *talk)
    up = found["up_after"]
    out = [found["stage"], f"{found['n']:,}", f"{found['c']:,}", f"{found['failed']:,}",
           f"{up['median']:.2f} s" if up else "-"]
    for column in COLUMNS:
        f = found[column]
        out += [ms(f["ms"] and f["ms"]["median"]),
                f"{f['ratio']['median']:.2f}" if f["ratio"] else "-"]
    return (*out, *talk)


def notes(found):
    for f in found:
        if f["why"]:
            yield f"{f['stage']}: {f['why']}."
        if f.get("faults"):
            yield f"{f['stage']}: {f['faults']}."


def sheet(found, o, network):
    rows = [HEAD, *[cells(f) for f in found]]
    spread = "median of 1 round" if o.rounds == 1 else f"medians of {o.rounds} rounds"
    return "\n".join([
        table(rows), "", *notes(found),
        f"ART: mean within a round, {spread}; bursts are of {BURST} events; --list says what "
        "each stage switches.",
        f"Clients, publisher and servers share {os.cpu_count()} processors and {network}.",
        "Of the talk's figures the first and the last are known here.", ""])


CSV = ("stage", "n", "c", "failed", "up_after_s", "limit_up_after_s",
       *[f"{c}_{x}" for c in COLUMNS for x in ("ms", "least_ms", "most_ms", "limit_ms", "ratio")],
       "talk_n", "talk_c", "talk_art")


def csv_row(f):
    if "n" not in f:
        return [f["stage"], *[""] * (len(CSV) - 4), *(f["talk"] or ("", "", ""))]
    value = lambda m, key="median": "" if m is None else f"{m[key]:.3f}"  # noqa: E731
    out = [f["stage"], f["n"], f["c"], f["failed"], value(f["up_after"]),
           value(f["limit_up_after"])]
    for c in COLUMNS:
        out += [value(f[c]["ms"]), value(f[c]["ms"], "least"), value(f[c]["ms"], "most"),
                value(f[c]["limit_ms"]), value(f[c]["ratio"])]
    return [*out, *(f["talk"] or ("", "", ""))]


def write(prefix, found, text, o, network):
    os.makedirs(os.path.dirname(os.path.abspath(prefix)), exist_ok=True)
    with open(prefix + ".txt", "w", encoding="utf-8") as f:
        f.write(text)
    with open(prefix + ".json", "w", encoding="utf-8") as f:
        json.dump({"time": time.time(), "network": network, "rounds": o.rounds,
                   "burst": BURST, "without": o.without, "stages": found}, f, indent=1)
    with open(prefix + ".csv", "w", encoding="utf-8", newline="") as f:
        csv.writer(f).writerows([CSV, *[csv_row(x) for x in found]])


def tell(r, stage, found):
    ours, bare = found["touchline"], found["limit"]
    both = [f"{c} " + " / ".join(ms(x[c] and x[c]["mean"]) for x in (ours, bare))
            for c in COLUMNS]
    print(f"{time.strftime('%H:%M:%S')} round {r} {stage.name}: N {found['n']:,} "
          f"C {found['c']:,} failed {ours['failed']:,}  ours / limit: {', '.join(both)}",
          file=sys.stderr, flush=True)


def main(argv):
    o = options(argv)
    if o.list:
        print(table([("stage", "off, on"), *[(s.name, s.what) for s in STAGES]]))
        return 0
    network = crowd_run.in_a_network_of_its_own()
    files = crowd_run.raise_files()
    wanted = [s for s in STAGES if not o.only or s.name in o.only]
    rounds = {s.name: [] for s in wanted}
    try:
        for r in range(1, o.rounds + 1):
            for s in [s for s in wanted if not s.why]:
                found = one_round(s, o, files)
                rounds[s.name].append(found)
                tell(r, s, found)
    except KeyboardInterrupt:
        print("interrupted: the sheet is of what there is", file=sys.stderr)
    found = [line(s, rounds[s.name]) for s in wanted]
    text = sheet(found, o, network)
    print(text, end="")
    write(o.out, found, text, o, network)
    last = [f for f in found if "n" in f][-1:]
    return 1 if not last or last[0]["faults"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
