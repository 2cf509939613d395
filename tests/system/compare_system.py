"""`make bench-peers`: what its document says is what was measured; it runs, in small,
with whoever is installed; who is missing is named; Ctrl-C leaves what there is."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

from docs_system import blocks
from world import DEADLINE, ROOT, Lines, check, equal, eventually, figure, heed_interrupts

COMPARE = os.path.join(ROOT, "tests", "bench", "compare")
sys.path.insert(0, os.path.dirname(COMPARE))
from compare import render, rows, servers  # noqa: E402

DONE, USAGE, INTERRUPTED = 0, 2, 130


# ---- the document ------------------------------------------------------------------

def peer(name, title):
    return {"name": name, "title": title, "version": name + " 1.0", "setting": "as it is",
            "published": "somehow", "lacks": "much"}


ROW = {"key": "one", "title": "One message to 500", "what": "All have the same id.",
       "figures": [{"key": "p50", "title": "last, p50", "unit": "ms", "less": True},
                   {"key": "whole", "title": "delivered", "unit": "%", "less": False}]}


def result(number, name, p50, whole=100, **other):
    return {"round": number, "row": "one", "peer": name,
            **(other or {"figures": {"p50": p50, "whole": whole}})}


def measured():
    return {
        "command": "make bench-peers PEERS_N=500", "begun": "2026-01-02 03:04 UTC", "n": 500,
        "rounds": 3, "seconds_each": 2, "seconds": 600, "interrupted": False, "load_before": 0.1,
        "network": "a network of its own",
        "machine": {"processor": "Abacus", "virtual": True, "processors": 2, "memory_gib": 24,
                    "kernel": "9.9", "system": "Debian", "files": 20000,
                    "sysctls": {"net.core.somaxconn": "4096"}},
        "peers": [peer("limit", "limit"), peer("touchline", "Touchline"), peer("nats", "NATS"),
                  peer("redis", "Redis")],
        "skipped": [], "rows": [ROW],
        "results": [result(1, "limit", 10), result(2, "limit", 20), result(3, "limit", 50),
                    result(1, "touchline", 20), result(2, "touchline", 50),
                    result(3, "touchline", 75), result(1, "nats", 5, 80), result(2, "nats", 5, 80),
                    result(1, "redis", 0, trouble="it did not come up"), result(2, "redis", 80)]}


def cells(text, first):
    """Of the lines of tables that begin so."""
    return [[c.strip() for c in line.strip("|").split("|")] for line in text.split("\n")
            if line.startswith(f"| {first} |")]


def test_a_document_has_medians_spreads_and_ratios_by_rounds():
    text = render.document(measured(), {})
    # 20/10, 50/20, 75/50: the median of the ratios, not the ratio of the medians
    equal(cells(text, "Touchline")[1], ["Touchline", "50 (20 - 75)", "100", "2.00x"])
    equal(cells(text, "limit")[1][1:3], ["20 (10 - 50)", "100"])
    equal(cells(text, "NATS")[1][1:], ["5", "80", "0.38x"], "no spread where there is none")
    equal(cells(text, "One message to 500: last, p50, ms"),
          [["One message to 500: last, p50, ms", "20", "**50** (2.00x)", "5† (0.38x)",
            "80 (4.00x)"]], "in short; who delivers a part is not the best")


def test_a_document_says_who_has_no_figure_and_why():
    data = measured()
    text = render.document(data, {})
    check("- Redis: it did not come up" in text, text)
    check("Not measured" not in text and "interrupted" not in text and "not quiet" not in text,
          text)
    data["skipped"] = [{"name": "x", "title": "Squid", "reason": "no such package"}]
    data.update(interrupted=True, load_before=3.5)
    data["results"] = [r for r in data["results"] if r["peer"] != "redis"] + \
        [result(1, "redis", 0, trouble="it | fell")]
    text = render.document(data, {})
    for words in ("- Squid: no such package", "interrupted in round 3 of 3", "not quiet",
                  "- Redis: it | fell"):
        check(words in text, f"{words}: {text}")
    equal(cells(text, "Redis")[1:], [], "nobody has a row of nothing")


def test_each_figure_of_a_document_is_measured():
    """One that is changed is another document; a document has no other place for it."""
    data = measured()
    before = render.document(data, {})
    for r in data["results"]:
        for key in r.get("figures", ()):
            was, r["figures"][key] = r["figures"][key], 123456.0
            check("123,456" in render.document(data, {}), f"{r} is nowhere")
            r["figures"][key] = was
    equal(render.document(data, {}), before)
    for words in ("Abacus", "9.9", "20,000 files", "somaxconn` 4096", "nats 1.0",
                  "2026-01-02 03:04 UTC", "10 minutes", data["command"]):
        check(words in before, words)


def test_a_document_obeys_the_rules_of_all_documents():
    with tempfile.TemporaryDirectory() as base:
        path = os.path.join(base, "benchmarks.md")
        said = render.write({**measured(), "rows": [{**ROW, "title": "It's one | two"}]}, path)
        equal(said, [f"{path}, 1 pictures"])
        equal([(b.lang, bool(b.text())) for b in blocks(path)], [("sh", True)])
        with open(path, encoding="utf-8") as f:
            text = f.read()
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            check(os.path.exists(os.path.join(base, target))
                  or os.path.exists(os.path.join(ROOT, "docs", target)), target)
        for name in re.findall(r"`(tests/[\w/.-]+)`", text):
            check(os.path.exists(os.path.join(ROOT, name)), name)
        for part in re.findall(r"(?:^\|.*\n)+", text, re.M):
            width = {line.count("|") - line.count("\\|") for line in part.strip().split("\n")}
            equal(len(width), 1, f"a table has as many columns in each line: {part}")
        with open(os.path.join(base, "bench-one.svg"), encoding="utf-8") as f:
            drawn = f.read()
        for words in ("Touchline", "NATS", "Redis", "limit", "last, p50, ms"):
            check(words in drawn, f"{words} is not drawn")


def test_pictures_are_left_out_where_nobody_draws():
    with tempfile.TemporaryDirectory() as base:
        path, was = os.path.join(base, "benchmarks.md"), os.environ["PATH"]
        try:
            os.environ["PATH"] = base
            said = render.write(measured(), path)
        finally:
            os.environ["PATH"] = was
        check("gnuplot-nox" in said[0], said)
        equal(os.listdir(base), ["benchmarks.md"])


# ---- the rounds ----------------------------------------------------------------------

class Run:
    def __init__(self, *args, env=None):
        self.base = tempfile.mkdtemp(prefix="tl-")
        self.json = os.path.join(self.base, "bench.json")
        self.document = os.path.join(self.base, "benchmarks.md")
        self.mark = "TL_BENCH_MARK=" + self.base
        self.p = subprocess.Popen(
            [sys.executable, os.path.join(COMPARE, "run.py"), "--as-is", "--seconds", "1",
             "--json", self.json, "--document", self.document, *args],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=heed_interrupts, env={**os.environ, **(env or {}), "TL_BENCH_MARK": self.base})
        self.out = Lines(self.p.stdout, lambda n: os.read(self.p.stdout.fileno(), n))

    def end(self, code):
        said = self.out.all(deadline=100).decode()
        equal(self.p.wait(DEADLINE), code, said)
        return said

    def data(self):
        with open(self.json, encoding="utf-8") as f:
            return json.load(f)

    def text(self):
        with open(self.document, encoding="utf-8") as f:
            return f.read()

    def left(self):
        """Processes that were started by it and are there still."""
        out = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/environ", "rb") as f:
                    if self.mark.encode() in f.read().split(b"\0"):
                        out.append(int(pid))
            except OSError:
                pass
        return out

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.p.poll() is None:
            self.p.send_signal(signal.SIGTERM)
            self.p.wait(DEADLINE)
        self.p.stdout.close()
        shutil.rmtree(self.base, ignore_errors=True)


def expect_figures(data, names, keys):
    """All of them, for each of these peers and rows."""
    by = {(r["peer"], r["row"]): r for r in data["results"]}
    for row in rows.ROWS:
        if row.key not in keys:
            continue
        for p in (p for p in servers.PEERS if p.name in names and row.is_for(p)):
            got = by[(p.name, row.key)]
            check(set(got.get("figures", ())) == {f.key for f in row.figures}, got)
            check(got["figures"].get("whole", 100) == 100 and not got["figures"].get("wrong")
                  and not got["figures"].get("failed"), got)


SMALL = ("memory", "addressed", "burst", "ask")


def test_touchline_and_the_limit_do_each_kind_of_work():
    with Run("--n", "40", "--rounds", "1", "--only", "limit,touchline",
             "--rows", ",".join(SMALL)) as run:
        said = run.end(DONE)
        equal(len(re.findall(r"^\[\d/8\] 0:\d\d, left \d:\d\d  round 1  ", said, re.M)), 8, said)
        expect_figures(run.data(), ("limit", "touchline"), SMALL)
        equal([line[0] for line in cells(run.text(), "Touchline")], ["Touchline"] * 5,
              "how it runs, and a line in each row")
        eventually(lambda: not run.left(), "all that was started is gone")


def test_all_who_are_installed_do_the_same():
    names = [p.name for p in servers.PEERS if not p.absent()]
    figure(f"bench-peers with {', '.join(names)}")
    with Run("--n", "20", "--rounds", "1", "--rows", "addressed") as run:
        said = run.end(DONE)
        expect_figures(run.data(), names, ("addressed",))
        absent = [p for p in servers.PEERS if p.absent()]
        for p in absent:
            check(f"SKIPPED {p.title}: " in said, said)
        equal([s["name"] for s in run.data()["skipped"]], [p.name for p in absent])


def test_who_is_missing_is_named_and_the_others_are_measured():
    with tempfile.TemporaryDirectory() as bare:
        for name in ("unshare", "true", "ip"):
            os.symlink(shutil.which(name), os.path.join(bare, name))
        with Run("--n", "20", "--rounds", "1", "--rows", "ask", "--only", "limit,redis",
                 env={"PATH": bare}) as run:
            said = run.end(DONE)
            check("SKIPPED Redis: redis-server is not installed" in said, said)
            check("no pictures" in said, said)
            expect_figures(run.data(), ("limit",), ("ask",))
            check("- Redis: redis-server is not installed" in run.text(), run.text())


def test_who_cannot_be_installed_is_named_with_what_apt_said():
    """By tools/deps.sh itself, with an apt-get that has nothing. While it is at work a rule
    keeps daemons from starting, which is gone behind it; one that was there stays."""
    with tempfile.TemporaryDirectory() as bare:
        rule = os.path.join(bare, "policy-rc.d")
        for name in ("sh", "dirname", "stat", "id", "chmod", "rm", "find", "grep", "ls"):
            os.symlink(shutil.which(name), os.path.join(bare, name))
        for name, text in (("apt-get", '[ "$1" = update ] && exit 0\n'
                                       f'[ "$({rule}; echo $?)" = 101 ] && echo "E: no package $4"\n'
                                       "exit 100"),
                           ("sudo", '[ "$1" = -n ] || exec "$@"')):
            path = os.path.join(bare, name)
            with open(path, "w", encoding="ascii") as f:
                f.write(f"#!/bin/sh\n{text}\n")
            os.chmod(path, 0o755)
        was = dict(os.environ)
        try:
            os.environ.update(PATH=bare, TOUCHLINE_POLICY_RC_D=rule)
            said = [servers.missing("redis"), os.path.exists(rule)]
            with open(rule, "w", encoding="ascii") as f:
                f.write("#!/bin/sh\nexit 101\n")
            os.chmod(rule, 0o755)
            said += [servers.missing("redis"), os.path.exists(rule)]
        finally:
            os.environ.update(was)
            del os.environ["TOUCHLINE_POLICY_RC_D"]
        why = ("missing: redis-server; E: no package redis-server; that did not work; by hand, as "
               "root:; apt-get install -y --no-install-recommends redis-server")
        equal(said, [why, False, why, True])
        equal(servers.missing(None), "", "what is built here is here")


def test_ctrl_c_leaves_what_there_is():
    with Run("--n", "20", "--rounds", "50", "--rows", "ask", "--only", "limit,touchline") as run:
        while not run.out.line().startswith(b"[1/100] "):
            pass
        run.p.send_signal(signal.SIGINT)
        said = run.end(INTERRUPTED)
        check("interrupted" in said, said)
        data = run.data()
        check(data["interrupted"] and 1 <= len(data["results"]) < 10, data["results"])
        check("It was interrupted in round 1 of 50" in run.text(), run.text())
        eventually(lambda: not run.left(), "all that was started is gone")


INTERRUPTED_AS_IT_STARTS = """
import os, signal, subprocess, sys
from compare import ends, rows

class Slow(subprocess.Popen):
    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        started.append(self)
        os.kill(os.getpid(), signal.SIGINT)

started = []
rows.subprocess.Popen = Slow
ends.heed()
try:
    with rows.running(["sleep", "100"]):
        print("it was not interrupted")
except KeyboardInterrupt:
    print("interrupted;", "left" if started[0].returncode is None else "gone")
"""


def test_who_is_interrupted_as_it_starts_a_process_leaves_none():
    p = subprocess.run([sys.executable, "-c", INTERRUPTED_AS_IT_STARTS], capture_output=True,
                       timeout=DEADLINE, text=True, check=False, preexec_fn=heed_interrupts,
                       env={**os.environ, "PYTHONPATH": os.path.dirname(COMPARE)})
    equal(p.stdout, "interrupted; gone\n", p.stderr)


def test_a_word_that_is_none_is_said():
    for args, word in ((("--only", "limit,nobody"), "nobody"), (("--rows", "memry"), "memory"),
                       (("--n", "0"), "--n")):
        with Run(*args) as run:
            said = run.end(USAGE)
            check(word in said, said)
            check(not os.path.exists(run.json), "nothing was measured")


def test_who_holds_more_than_files_allow_is_not_asked_to():
    with Run("--n", "1000000", "--rounds", "1", "--rows", "devices-20", "--only",
             "limit,mosquitto") as run:
        said = run.end(1)
        check("NO FIGURE: its processes may open" in said, said)
