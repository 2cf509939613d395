#!/usr/bin/env python3
"""Counts the instructions of the hot paths under callgrind and compares them
with what is recorded in counts.txt, so that whoever makes one of them dearer
says so in the same commit.

    counts.py [OPTIONS] PROGRAM...     count_gateway, count_router, count_store

    --record        write what was counted to the file instead
    --file FILE     another file than counts.txt
    --only WORD     paths whose names contain it
    --profile PATH  where the instructions of this path go, function by function
    --flags TEXT    what the programs were compiled with
    --json          what was counted, for programs

Exit 1: a path costs over 5 % more than recorded, is not recorded, or did not come
to its end; or the file was written with other flags. Counts of another compiler,
library or processor say nothing about ours: then nothing is compared, which is
said, and the exit is 0. count.h says how counting is done."""
import argparse
import json
import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
FEW, MANY = 16, 48   # of count.h
MOST = 1.05          # of what is recorded, without a new record
OURS = "flags"       # of what is noted: the project's; the rest is the machine's

HEAD = """\
# What the hot paths cost: instructions under callgrind (docs/benchmarks-howto.md).
# Written by `make bench-count RECORD=1`; a path that gets dearer gets its new line
# in the commit that makes it so.
"""


# ---- what is recorded --------------------------------------------------------

def parse(text):
    """(what it was counted with, counts) of a record."""
    made, counts = {}, {}
    for line in text.splitlines():
        if line.startswith("# ") and ": " in line:
            key, value = line[2:].split(": ", 1)
            if " " not in key:
                made[key] = value
        elif line and not line.startswith("#"):
            path, count = line.split()
            counts[path] = int(count)
    return made, counts


def render(made, counts):
    width = max(map(len, counts), default=0)
    return (HEAD + "".join(f"# {k}: {v}\n" for k, v in sorted(made.items())) + "\n"
            + "".join(f"{p:{width}} {c:>9}\n" for p, c in sorted(counts.items())))


# ---- the judgement -----------------------------------------------------------

def elsewhere(made, recorded):
    """What of the machine differs from the record's; empty: it can be compared."""
    return [f"{k} {made.get(k)}, recorded with {recorded.get(k)}"
            for k in sorted({*made, *recorded} - {OURS})
            if made.get(k) != recorded.get(k)]


def verdict(was, now):
    """(good, what is said) of one path; None: it is not there."""
    if was is None:
        return False, "not recorded: make bench-count RECORD=1"
    if now is None:
        return False, "recorded, and counted no more: make bench-count RECORD=1"
    change = f"{(now - was) / was:+.1%}" if was else "was 0"
    if now > was * MOST:
        return False, f"{change}: dearer; mend it, or record it in the same commit"
    if now * MOST < was:
        return True, f"{change}: cheaper; make bench-count RECORD=1 keeps it so"
    return True, change


def compare(made, counts, recorded, was, only=None):
    """(passed, failed, lines)."""
    other = elsewhere(made, recorded)
    if other:
        return len(counts), 0, ["not compared: " + "; ".join(other)] + [
            f"     {p:40} {c:>9}" for p, c in sorted(counts.items())]
    lines, failed = [], 0
    if made.get(OURS) != recorded.get(OURS):
        failed += 1
        lines.append("FAIL the record was made with other flags "
                     f"({recorded.get(OURS)}): make bench-count RECORD=1")
    passed = 0
    for p in sorted({*counts, *(p for p in was if not only or only in p)}):
        good, text = verdict(was.get(p), counts.get(p))
        passed, failed = passed + good, failed + (not good)
        lines.append(f"{'ok  ' if good else 'FAIL'} {p:40} "
                     f"{counts.get(p, 0):>9}  {text}")
    return passed, failed, lines


# ---- counting ----------------------------------------------------------------

def first_line(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True,
                          check=True).stdout.splitlines()[0]


def counted_with(flags):
    cpu = open("/proc/cpuinfo").read() if os.path.exists("/proc/cpuinfo") else ""
    wide = [w for w in ("avx2", "avx512f") if re.search(rf"\b{w}\b", cpu)]
    return {"compiler": first_line(os.environ.get("CC", "gcc"), "--version"),
            "flags": flags,
            "libc": " ".join(platform.libc_ver()),
            "sqlite": sqlite3.sqlite_version,
            "valgrind": first_line("valgrind", "--version"),
            "processor": " ".join([platform.machine(), *wide])}


def begin(program, folder, only):
    os.makedirs(os.path.join(folder, "out"))
    return subprocess.Popen(
        ["valgrind", "-q", "--fair-sched=yes", "--tool=callgrind",
         "--toggle-collect=count_call",
         f"--callgrind-out-file={folder}/out/%p", program, folder]
        + ([only] if only else []))


def read(folder):
    """{path: {times: (instructions, file)}} of what a program has left."""
    found = {}
    out = os.path.join(folder, "out")
    for name in os.listdir(out):
        with open(os.path.join(out, name)) as f:
            text = f.read()
        what = re.search(r"^desc: Trigger: Client Request: (\S+) (\d+)$", text, re.M)
        if what:
            total = int(re.search(r"^totals: (\d+)$", text, re.M)[1])
            found.setdefault(what[1], {})[int(what[2])] = (total, f.name)
    return found


def count(programs, folder, only):
    """({path: instructions each time}, {path: file}, whether all came to an end)."""
    counts, files = {}, {}
    folders = [os.path.join(folder, str(i)) for i in range(len(programs))]
    running = [begin(p, f, only) for p, f in zip(programs, folders)]
    good = all([r.wait() == 0 for r in running])
    for f in folders:
        for path, at in read(f).items():
            counts[path] = round((at[MANY][0] - at[FEW][0]) / (MANY - FEW))
            files[path] = at[MANY][1]
    return counts, files, good


def arguments():
    p = argparse.ArgumentParser(add_help=False, usage=__doc__)
    p.add_argument("--record", action="store_true")
    p.add_argument("--file", default=os.path.join(HERE, "counts.txt"))
    p.add_argument("--only")
    p.add_argument("--profile")
    p.add_argument("--flags", default="")
    p.add_argument("--json", action="store_true")
    p.add_argument("programs", nargs="+")
    return p.parse_args()


def functions(text):
    """{function: [its own instructions, with all that it calls]} of a dump."""
    names, cost, at, called = {}, {}, None, False
    for line in text[text.index("summary:"):].splitlines():
        name = re.match(r"c?fn=(\(\d+\))(?: (.*))?$", line)
        if name:
            at = at if line[0] == "c" else name[1]
            names.setdefault(name[1], name[2] or "?")
        elif line.startswith("calls="):
            called = True
        elif at and re.match(r"[-+*0-9]\S* \d+$", line):
            each = cost.setdefault(at, [0, 0])
            each[1] += int(line.split()[1])
            each[0] += 0 if called else int(line.split()[1])
            called = False
    return {names[k]: v for k, v in cost.items()}


def profile(path, counts, files):
    if path not in files:
        sys.exit(f"no path is called {path}")
    with open(files[path]) as f:
        cost = functions(f.read())
    print(f"{path}: {counts[path]} each time\n{'itself':>9} {'with calls':>10}")
    for name, (own, all_) in sorted(cost.items(), key=lambda x: -x[1][0]):
        if own >= MANY:
            print(f"{own / MANY:9.0f} {all_ / MANY:10.0f}  {name}")
    return 0


def record(file, made, counts, only):
    if only and os.path.exists(file):
        with open(file) as f:
            counts = {**parse(f.read())[1], **counts}
    with open(file, "w") as f:
        f.write(render(made, counts))
    print(f"{len(counts)} paths are in {os.path.relpath(file)}")


def main():
    a = arguments()
    folder = tempfile.mkdtemp(prefix="tl-count-")
    try:
        counts, files, good = count(a.programs, folder, a.only or a.profile)
        if a.profile:
            return profile(a.profile, counts, files)
    finally:
        shutil.rmtree(folder)
    made = counted_with(a.flags)
    if a.json:
        print(json.dumps({"with": made, "counts": counts}, indent=1))
        return 0 if good else 1
    if a.record and good:
        record(a.file, made, counts, a.only)
        return 0
    with open(a.file) as f:
        recorded, was = parse(f.read())
    passed, failed, lines = compare(made, counts, recorded, was, a.only)
    print("\n".join(lines))
    print(f"{passed} passed, {failed + (not good)} failed")
    return 0 if good and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
