"""What benches of crowds reckon, and small runs of them: the stage sheet, the comet
tables."""
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile

from world import BIN, DEADLINE, ROOT, Lines, check, equal, readable

BENCH = os.path.join(ROOT, "tests/bench")
sys.path.insert(0, BENCH)
import comet  # noqa: E402
import crowd_run  # noqa: E402
import figures  # noqa: E402
import stages  # noqa: E402


def raises(error, function, *args):
    try:
        function(*args)
    except error:
        return
    check(False, f"no {error.__name__} of {function.__name__}{args}")


# ---- arithmetic -----------------------------------------------------------------------

def report(**more):
    return {**dict.fromkeys(figures.FAULTS, 0), "failures": {"timeout": 0, "sample": None},
            "published": {"refused": 0}, **more}


def test_art_is_the_mean_of_a_reports_histogram_in_ms():
    h = {"count": 4, "mean": 2500.0, "p50": 2000, "p90": 4000, "buckets": [[1000, 1000, 2],
                                                                           [4000, 4000, 2]]}
    equal(figures.art({"first_us": h}, "first"), {"mean": 2.5, "p50": 2, "p90": 4, "count": 4})
    equal(figures.mean_of_buckets(h), 2500)
    raises(figures.NotMeasured, figures.art, {"first_us": {"count": 0}}, "first")
    raises(figures.NotMeasured, figures.art, {}, "last")


def test_floods_own_report_is_understood():
    """Its mean is that of its buckets, and its time is that of our clock."""
    with crowd_run.Limit(2) as limit:
        r = crowd_run.flood("--edge", "telnet", "--target", limit.address, "--publish-target",
                            limit.address, "--connections", 50, "--ids", "match/a", "--hold",
                            "all", "--publish", 100, "--messages", 20)
    equal(figures.faults(r), "")
    for name, count in (("first", 50), ("last", 20)):
        a = figures.art(r, name)
        equal(a["count"], count, name)
        mean = figures.mean_of_buckets(r[name + "_us"]) / 1e3
        check(abs(a["mean"] - mean) <= 0.05 * mean + 0.001, (name, a, mean))
        check(0 < a["mean"] < 1000 * r["seconds"], (name, a, r["seconds"]))


def test_faults_are_said_with_their_reasons():
    equal(figures.faults(report()), "")
    equal(figures.faults(report(failed=3, failures={"timeout": 2, "reset": 1, "sample": "x"})),
          "3 failed, (timeout 2, reset 1)")
    equal(figures.faults(report(lost=1234)), "1,234 lost")
    equal(figures.faults(report(published={"refused": 2})), "2 refused")


def test_ratios_compare_what_was_measured_in_the_same_round():
    equal(figures.ratio([2, 30, 8], [1, 10, 8])["median"], 2)
    equal(figures.ratio([2, None], [0, 3]), None)
    equal(figures.middle([3, None, 1]), {"median": 2, "least": 1, "most": 3, "of": 2})
    equal(figures.middle([None]), None)


def test_a_slope_is_found_beneath_what_lies_beside_it():
    line = [(t, 1000 + 2 * t) for t in range(0, 600, 5)]
    equal(figures.slope(line), 7200)
    equal(figures.slope([(t, v + (10 ** 6 if t % 50 == 0 else 0)) for t, v in line]), 7200)
    equal(figures.slope([(t, 5) for t in range(2000)]), 0)
    equal(figures.slope(line[:2]), None)


SAMPLES = """time,process,pid,private,pss,rss,cpu,connections,opened
10.000,router,1,100,1,1,,0,
10.000,http1,2,40,1,1,,5,
10.000,http2,3,60,1,1,,5,
10.000,all,,200,1,1,,10,
15.000,router,1,100,1,1,0.1,0,
15.000,all,,100,1,1,0.1,10,
20.000,router,1,999,1,1"""


def test_samples_are_summed_by_kind_and_half_a_moment_is_none():
    found = figures.samples(SAMPLES.split("\n"))
    equal([s["time"] for s in found], [10, 15])
    equal(found[0]["memory"], {"router": 100, "http": 100, "all": 200})
    equal(found[0]["connections"], 10)
    raises(figures.NotMeasured, figures.memory_of, figures.within(found, 16, 30))


def test_what_has_grown_is_named_the_largest_first():
    mem = {"memory": [{"process": p, "memory": m, "bytes": b} for p, m, b in
                      (("http1", "ring", 10), ("http2", "ring", 20), ("router", "store", 5),
                       ("router", "= private", 999))]}
    before = figures.parts_of(mem)
    equal(before, {"http: ring": 30, "router: store": 5})
    equal(figures.grown(before, {"http: ring": 40, "router: store": 105, "tcp: new": 7}, 8),
          [("router: store", 5, 105), ("http: ring", 30, 40)])


def synthetic(leak):
    """A start of 1,000 bytes, 100 clients of 10 each, 500 more under load, and a leak of
    so many bytes a second."""
    phases, found = [], []
    for name, begin, end, extra in (("start", 0, 100, 0), ("connect", 100, 110, 0),
                                    ("idle", 110, 200, 1000), ("load", 200, 2000, 1500),
                                    ("rest", 2000, 2100, 1500), ("gone", 2100, 2200, 500)):
        phases.append([name, begin, end])
        for t in range(begin + 1, end, 5):
            more = leak * (t - 200) if t > 200 else 0
            found.append({"time": float(t), "connections": 100,
                          "memory": {"http": 1000 + extra + more, "all": 1000 + extra + more}})
    return comet.figures(phases, found, 100)


def test_the_comet_table_tells_growth_from_a_slope():
    flat, leaking = synthetic(0), synthetic(1)
    equal(flat["each"]["idle"]["http"], 10)
    equal(flat["each"]["load"]["http"], 15)
    equal(flat["growth"]["load"]["all"], 25)
    equal(flat["growth"]["gone"]["all"], 50)
    equal(flat["slope"]["second"], {"http": 0, "all": 0})
    equal(leaking["slope"]["second"]["http"], 36)
    check(leaking["growth"]["load"]["http"] > 80, leaking["growth"])
    equal((flat["held"]["load"], comet.missing(flat, 100)), (100, ""))
    check("without 20 (idle), 20 (load), 20 (rest)" in comet.missing(flat, 120),
          "clients that the servers do not have are missed")
    equal(dict(comet.rows(flat))["bytes each, under load"]["all"], 15)


def test_gateways_are_as_many_as_clients_need():
    equal([crowd_run.instances_for(n, 20000) for n in (1, 19800, 19801, 100000)], [1, 1, 2, 6])
    for n in (1, 19800, 19801, 100000, 1000000):
        i = crowd_run.instances_for(n, 20000)
        check(crowd_run.room(i, 20000) >= n, (n, i))
    equal([crowd_run.quiet_rate(n, 2) for n in (1000, 65536)], [487, 31968])
    equal([crowd_run.number(x) for x in ("10K", "32k", "7")], [10000, 32000, 7])


# ---- stages ------------------------------------------------------------------------------

def switched(sets):
    """The last word of each key."""
    return dict(x.split("=", 1) for x in sets)


def test_each_stage_switches_on_what_it_says_and_nothing_else():
    before = switched(stages.settings(stages.STAGES[0]))
    for stage in stages.STAGES:
        for word in stage.off:
            equal(before[word.split("=")[0]], word.split("=")[1], f"off in front of {stage.name}")
    for stage in stages.STAGES[1:]:
        now = switched(stages.settings(stage))
        equal({f"{k}={v}" for k, v in now.items() if before[k] != v}, set(stage.on), stage.name)
        check(len(stage.on) == len(stage.off) and not (stage.why and stage.on), stage.name)
        before = now
    last = stages.STAGES[-1]
    without = switched(stages.settings(last, ["slices", "logging"]))
    equal((without["limits.fanout_slice"], without["log.level"], without["limits.commit_group"]),
          (str(stages.MANY), "debug", "256"))


def configuration(*sets):
    p = subprocess.run([os.path.join(BIN, "touchline"), "--print-config",
                        *[x for s in sets for x in ("--set", s)]], capture_output=True)
    equal(p.returncode, 0, p.stderr)
    return p.stdout.decode().splitlines()


def test_what_stages_switch_is_what_an_operator_may_set():
    first, last = (configuration(*stages.settings(s)) for s in
                   (stages.STAGES[0], stages.STAGES[-1]))
    equal(sum(a != b for a, b in zip(first, last)), sum(len(s.off) for s in stages.STAGES),
          "lines that differ")
    on = [x for s in stages.STAGES if s.name != "gateways" for x in s.on]
    equal(configuration(*on), configuration(), "what is on is as it is shipped")


def test_a_stage_has_no_more_clients_than_its_gateways_have_files():
    o = stages.options(["--clients", "100K", "--in-flight", "32K"])
    sizes = {s.name: stages.size(s, o, 20000) for s in stages.STAGES if not s.why}
    equal(sizes["begin"][1:], (1000, 4))
    equal(sizes["slices"][1:], (19800, 19800))
    equal(sizes["gateways"][1:], (75240, 32000))
    equal(sizes["all"][1:], (100000, 32000))
    check(sizes["all"][0][-1] == "tcp.instances=6", sizes["all"][0])


def test_the_stage_sheet_in_small():
    with tempfile.TemporaryDirectory(prefix="tl-") as base:
        prefix = os.path.join(base, "s")
        p = subprocess.run([sys.executable, os.path.join(BENCH, "stages.py"), "--clients", "60",
                            "--in-flight", "30", "--rounds", "1", "--events", "2", "--rate", "20",
                            "--only", "begin,repeaters,logging,gateways,routers", "--out", prefix],
                           capture_output=True, timeout=100)
        text = p.stdout.decode()
        equal(p.returncode, 0, text + p.stderr.decode())
        with open(prefix + ".json", encoding="utf-8") as f:
            found = {s["stage"]: s for s in json.load(f)["stages"]}
        with open(prefix + ".csv", encoding="utf-8") as f:
            rows = {r["stage"]: r for r in csv.DictReader(f)}
    equal(list(rows), ["begin", "repeaters", "logging", "gateways", "routers"])
    for name in ("begin", "logging", "gateways"):
        equal((found[name]["n"], found[name]["failed"]), (60, 0), name)
        for column in stages.COLUMNS:
            f = found[name][column]
            check(f["ms"]["median"] > 0 and f["limit_ms"]["median"] > 0, (name, column, f))
            ratio = f["ms"]["median"] / f["limit_ms"]["median"]
            check(abs(f["ratio"]["median"] - ratio) < 1e-6, (name, column, f))
            equal(rows[name][column + "_ms"], f"{f['ms']['median']:.3f}")
    equal((rows["begin"]["talk_n"], rows["begin"]["talk_art"]), ("1K", "26 s"))
    check("repeaters: cannot be switched off: " in text and "routers: open: " in text, text)


def test_what_a_bench_has_started_ends_with_it():
    """Even where it is killed: half a day of load is left to nobody."""
    code = ("import sys; sys.path.insert(0, sys.argv[1]); from crowd_run import Limit, Crowd; "
            "import time; l = Limit(1); c = Crowd('--target', l.address, '--hold', 'all'); "
            "print(l.p.pid, c.p.pid, flush=True); time.sleep(1000)")
    p = subprocess.Popen([sys.executable, "-c", code, BENCH], stdout=subprocess.PIPE)
    fds = [os.pidfd_open(int(x)) for x in p.stdout.readline().split()]
    p.kill()
    p.wait()
    p.stdout.close()
    for fd in fds:
        check(readable(fd, DEADLINE), "somebody goes on")
        os.close(fd)


# ---- comet tables ------------------------------------------------------------------------

def test_the_comet_table_in_small_ends_in_order_with_ctrl_c():
    with tempfile.TemporaryDirectory(prefix="tl-") as base:
        prefix = os.path.join(base, "c")
        p = subprocess.Popen([sys.executable, os.path.join(BENCH, "comet.py"), "--clients", "50",
                              "--rate", "100", "--minutes", "60", "--idle", "3", "--every", "1",
                              "--out", prefix], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env={**os.environ, "TOUCHLINE_BENCH_MINUTE": "1"})
        try:
            out = Lines(p.stdout, lambda n: os.read(p.stdout.fileno(), n))
            for _ in range(3):
                line = out.until(b"\n", 60).decode()
                while " load " not in line:
                    line = out.until(b"\n", 60).decode()
            check("active=50" in line and "all=" in line, line)
            p.send_signal(signal.SIGINT)
            text = out.all(60).decode()
            equal(p.wait(DEADLINE), 0, text + p.stderr.read().decode())
        finally:
            p.kill()
            p.stdout.close()
            p.stderr.close()
        check("(interrupted)" in text and "\nbytes each, under load" in text, text)
        with open(prefix + ".json", encoding="utf-8") as f:
            r = json.load(f)
        made = sorted(os.listdir(base))
    equal([x[0] for x in r["when"]], ["start", "connect", "idle", "load", "rest", "going", "gone"])
    equal((r["seen"]["up"], figures.faults(r["seen"])), (50, ""))
    equal(r["seen"]["received"], r["published"]["published"]["answered"], "each has one id")
    check(r["phases"]["load"]["all"] > 0 and r["parts"]["load"], r["phases"])
    check({"c.txt", "c.csv", "c.json", "c-samples.csv", "c-memory.png"} <= set(made), made)
