#!/usr/bin/env python3
"""run.py [THREAT...]: what threats.txt lists, row by row, in full size.

For each threat a line of verdict and counts, and below it the figures that its
tests have measured; of a test that failed, what it said. The last line is "N
passed, N failed"."""
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TABLE = os.path.join(HERE, "threats.txt")
KINDS = ("system", "unit", "none")


def rows():
    """{threat: [(kind, [words])]} in the table's order; of "none" the words
    are the reason."""
    out = {}
    with open(TABLE, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) < 3 or words[1] not in KINDS \
                    or not re.fullmatch(r"T[1-9]\d?", words[0]):
                raise SystemExit(f"{TABLE}:{number}: {line}")
            out.setdefault(words[0], []).append((words[1], words[2:]))
    return out


def programs(table):
    """Of unit tests, as make knows them."""
    return sorted({"build/tests/" + words[0] for entries in table.values()
                   for kind, words in entries if kind == "unit"})


def run(command, env=None):
    """What it printed, and how much passed and failed by its last count."""
    p = subprocess.run(command, cwd=ROOT, env={**os.environ, **(env or {})},
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = p.stdout.decode(errors="replace")
    counts = re.findall(r"^(\d+) passed, (\d+) failed$", out, re.M)
    passed, failed = map(int, counts[-1]) if counts else (0, 1)
    if (p.returncode and not failed) or not passed + failed:
        failed += 1
    return out, passed, failed


def run_row(threat, entries):
    """How many of its tests passed, and failed."""
    begin, passed, failed, said, figures = time.monotonic(), 0, 0, "", []
    words = [w for kind, w in entries if kind == "system"]
    commands = [["build/tests/" + w[0], *w[1:]] for kind, w in entries if kind == "unit"]
    if words:
        commands.append([sys.executable, "tests/system/run.py", *sum(words, [])])
    for command in commands:
        out, p, f = run(command, {"TOUCHLINE_HOSTILE": "full", "TOUCHLINE_TEST_LIMIT": "600",
                                  "TOUCHLINE_TEST_JOBS": "1"})
        passed, failed = passed + p, failed + f
        figures += re.findall(r"^ *figure: (.*)$", out, re.M)
        said += out if f else ""
    took = time.monotonic() - begin
    print(f"{threat:4} {'FAIL' if failed else 'ok  '} {passed} passed, {failed} failed "
          f"({took:.1f} s)", flush=True)
    for figure in figures:
        print(f"     {figure}", flush=True)
    if said:
        print("     " + said.replace("\n", "\n     "), flush=True)
    return passed, failed


def main():
    table, wanted = rows(), sys.argv[1:]
    for threat in wanted:
        if threat not in table:
            raise SystemExit(f"no threat {threat} in {TABLE}")
    chosen = {t: table[t] for t in table if not wanted or t in wanted}
    needed = programs(chosen)
    if needed:
        subprocess.run([os.environ.get("MAKE", "make"), "-s", "--no-print-directory", *needed],
                       cwd=ROOT, check=True)
    passed = failed = 0
    for threat, entries in chosen.items():
        if entries[0][0] == "none":
            print(f"{threat:4} none {' '.join(entries[0][1])}", flush=True)
            continue
        p, f = run_row(threat, entries)
        passed, failed = passed + p, failed + f
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
