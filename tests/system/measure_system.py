"""What router-ctl measures with: doctor, sample, plot, gen, mem, trim, top."""
import contextlib
import csv
import json
import os
import signal
import subprocess
import time

from world import BIN, DEADLINE, ROOT, Lines, World, check, equal, eventually, figure

CTL = os.path.join(BIN, "router-ctl")
DONE, FAILED, USAGE, NO_ROUTER, NOT_FOUND, REFUSED = range(6)


def run(*args, cwd=None, env=None):
    """Exit code, standard output and standard error."""
    p = subprocess.run([CTL, *args], capture_output=True, cwd=cwd, timeout=DEADLINE,
                       stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})
    return p.returncode, p.stdout.decode(), p.stderr.decode()


class Running:
    """router-ctl, while it runs."""

    def __init__(self, w, *args):
        self.p = subprocess.Popen([CTL, "--dir", w.dir, *args], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.lines = Lines(self.p.stdout, lambda n: os.read(self.p.stdout.fileno(), n))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.kill()
        self.p.wait()
        self.p.stdout.close()
        self.p.stderr.close()

    def line(self):
        return self.lines.line().decode().rstrip("\n")

    def interrupted(self):
        """Its exit code after Ctrl-C."""
        self.p.send_signal(signal.SIGINT)
        return self.p.wait(DEADLINE)


# ---- doctor ------------------------------------------------------------------

def findings(*args):
    code, out, err = run(*args, "--json")
    return code, json.loads(out), err


def test_the_doctor_compares_the_machine_and_what_runs_on_it():
    with World(sets=["http.instances=2", "http.workers=1"]) as w:
        code, few, _ = findings("--dir", w.dir, "doctor", "--for", "10")
        states = {f["setting"]: f for f in few["settings"]}
        equal(states["RLIMIT_NOFILE"]["state"], "ok")
        equal({p["process"] for p in few["processes"]} >=
              {"router", "http1", "http2", "tcp1", "ws1", "touchline"}, True, few["processes"])
        check(all(p["files"] > 0 for p in few["processes"]), few["processes"])
        equal(code, FAILED if any(f["state"] == "low" for f in few["settings"]) else DONE)
        code, many, _ = findings("--dir", w.dir, "doctor", "--for", "90M")
        files, = [f for f in many["settings"] if f["setting"] == "RLIMIT_NOFILE"]
        equal((code, files["state"]), (FAILED, "low"))
        check("instances" in files["cure"] or "LimitNOFILE" in files["cure"], files)
        code, text, _ = run("--dir", w.dir, "doctor", "--for", "90M")
        equal(code, FAILED)
        check(files["cure"] in text and text.startswith("for 90000000 connections"), text)
        with Running(w, "doctor", "--for", "10", "--every", "100ms") as watch:
            while watch.line().split()[:1] != ["SoftnetDrops"]:
                pass
            check(watch.interrupted() in (DONE, FAILED), "Ctrl-C")
    code, alone, err = findings("--dir", "/nowhere", "doctor", "--for", "10")
    check("no router answers" in err and alone["settings"], "without a router")
    equal(run("doctor", "--for", "some")[0], USAGE)


# ---- sample and plot ---------------------------------------------------------

def rows(path):
    with open(path, encoding="utf-8") as f:
        return list(csv.DictReader(f))


def test_samples_are_rows_of_each_process_and_of_all():
    with World() as w, w.stream("/v1/stream?channel=a") as s:
        s.item()
        path = os.path.join(w.base, "s.csv")
        with Running(w, "sample", path, "--every", "1s") as sampler:
            eventually(lambda: os.path.exists(path) and
                       any(r["connections"] == "1" for r in rows(path)), "the stream is seen")

            def published():
                w.publish("a", "x")
                return any(float(r["published"] or 0) > 0 for r in rows(path)
                           if r["process"] == "all")

            eventually(published, "the rate is seen")
            equal(sampler.interrupted(), DONE)
        found = rows(path)
        names = {r["process"] for r in found}
        check(names >= {"router", "http1", "tcp1", "ws1", "touchline", "all"}, names)
        first = [r for r in found if r["time"] == found[0]["time"]]
        everyone, = [r for r in first if r["process"] == "all"]
        equal(int(everyone["private"]),
              sum(int(r["private"]) for r in first if r["process"] != "all"), "the sum")
        check(all(int(r["private"]) > 100_000 for r in first), "of each process")
        equal(run("--dir", w.dir, "sample", path, "--for", "1s")[0], DONE)
        check(len(rows(path)) > len(found), "an earlier file is continued")
        other = os.path.join(w.base, "other.txt")
        with open(other, "w", encoding="utf-8") as f:
            f.write("my diary\n")
        code, _, err = run("--dir", w.dir, "sample", other, "--for", "1s")
        equal((code, "no file of" in err), (REFUSED, True), err)
        with open(other, encoding="utf-8") as f:
            equal(f.read(), "my diary\n")


def test_a_sample_goes_on_when_the_router_is_back():
    with World() as w:
        path = os.path.join(w.base, "s.csv")
        with Running(w, "sample", path, "--every", "1s") as sampler:
            router = w.pids("router")[0]
            eventually(lambda: os.path.exists(path) and rows(path), "it has begun")
            w.kill("router")
            eventually(lambda: any(r["process"] == "router" and r["pid"] != str(router)
                                   for r in rows(path)), "the new router's rows")
            equal(sampler.interrupted(), DONE)


PNG = b"\x89PNG\r\n"


def test_plot_draws_samples_and_what_flood_has_measured():
    with World(start=False) as w:
        sample = os.path.join(w.base, "s.csv")
        with open(sample, "w", encoding="utf-8") as f:
            f.write("time,process,pid,private,cpu,connections,opened,delivered\n")
            for t in range(5):
                for name in ("router", "x'\";`$", "all"):
                    f.write(f"{1000 + t}.5,{name},1,{t * 1000000},0.5,{t},{t},\n")
        code, out, err = run("plot", sample)
        equal((code, err), (DONE, ""))
        made = [line.split()[0] for line in out.splitlines()[1:]]
        equal(made, [f"{w.base}/s-{name}.png" for name in
                     ("memory", "connections", "opened", "cpu")])
        flood = os.path.join(w.base, "flood.csv")
        with open(flood, "w", encoding="utf-8") as f:
            f.write("time,active,opened,closed,failed,received,lost,duplicates,"
                    "p50_us,p90_us,p99_us,p999_us,max_us\n")
            f.writelines(f"{1000 + t},{t},5,1,0,{t * 10},0,0,{t},{t * 2},{t * 9},99,999\n"
                         for t in range(5))
        code, out, err = run("plot", flood, os.path.join(w.base, "it's"), "--json")
        equal((code, err), (DONE, ""))
        made += [p["file"] for p in json.loads(out)["pictures"]]
        equal(made[4:], [f"{w.base}/it's-{name}.png" for name in
                         ("latency", "connections", "opened", "delivered")])
        for picture in made:
            with open(picture, "rb") as f:
                check(f.read(len(PNG)) == PNG, picture)
        code, _, err = run("plot", sample, env={"PATH": w.base})
        equal((code, "apt-get install gnuplot-nox" in err), (FAILED, True), err)
        with open(flood, "w", encoding="utf-8") as f:
            f.write("my diary\n")
        equal(run("plot", flood)[0], FAILED)
        equal(run("plot", sample, "a\nsystem 'true'")[0], USAGE)
        equal(run("plot", os.path.join(w.base, "none"))[0], NOT_FOUND)


# ---- mem and trim --------------------------------------------------------------

def memory(w):
    found = json.loads(w.ctl("mem", "--json"))
    return found["memory"], found["all"][0]


def test_the_rows_of_a_process_make_up_its_memory():
    with World(sets=["http.workers=2"]) as w, contextlib.ExitStack() as streams:
        for i in range(40):
            streams.enter_context(w.stream(f"/v1/stream?channel=user/{i}")).item()
        w.publish("user/1", "x" * 1000)

        def counted():
            w.rows, w.all = memory(w)
            return w.all["connections"] == 40

        eventually(counted, "the gateways have said how many clients they have")
        private = {r["process"]: r["bytes"] for r in w.rows if r["memory"] == "= private"}
        check(set(private) >= {"router", "http1", "tcp1", "ws1", "touchline"}, private)
        for process, bytes_ in private.items():
            equal(sum(r["bytes"] for r in w.rows if r["process"] == process), 2 * bytes_, process)
        equal(sum(private.values()), w.all["private"])
        of = {(r["process"], r["memory"]): r for r in w.rows}
        equal(of["router", "channels"]["count"] >= 40, True, of["router", "channels"])
        equal(of["http1", "channels"]["count"], 40, "of both workers")
        check(of["http1", "connections"]["bytes"] >= 40 * 64, "slots")
        check(of["http1", "recent messages"]["bytes"] >= 1000, "the ring")
        check(of["router", "store"]["bytes"] > 10000, "SQLite's")
        check("other" in w.ctl("mem"), "for a person")


def test_trim_says_what_each_process_gave_back():
    with World() as w:
        done = {r["process"]: r for r in json.loads(w.ctl("trim", "--json"))["trimmed"]}
        check(set(done) == {"router", "http1", "tcp1", "ws1", "all"}, done)
        for name, r in done.items():
            check(r["before"] > 0 and r["after"] > 0, name)
            check(name == "all" or "held_us" in r, name)
        check("given_back" in w.ctl("trim"), "for a person")


def user_memory(w):
    """What all processes of w together have alone and written to, in KiB: others that run
    the same programs do not change it."""
    total = 0
    for kind in ("router", "http", "tcp", "ws"):
        for pid in w.pids(kind):
            with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
                total += int(next(x for x in f if x.startswith("Private_Dirty:")).split()[1])
    return total


class Rest:
    """Nothing has changed for some seconds, but for pages that come and go."""

    def __init__(self, w, seconds=6):
        self.w, self.seconds = w, seconds
        self.kib, self.since = 0, 0

    def __call__(self):
        now = user_memory(self.w)
        if abs(now - self.kib) > 128:
            self.kib, self.since = now, time.monotonic()
        return time.monotonic() - self.since > self.seconds


def test_memory_goes_back_by_itself_when_crowds_have_gone():
    # As docs/operations.md has it: what the C library's caches hold is not looked for.
    with World(sets=[f"{kind}.workers=1" for kind in ("http", "tcp", "ws")],
               env={"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}) as w:
        eventually(Rest(w), "what the start took is given back", 3 * DEADLINE)
        base = user_memory(w)
        for _ in range(3):
            subprocess.run([os.path.join(BIN, "touchline-flood"), "--quiet", "--probe", "none",
                            "--edge", "test", "--target", "{}:{}".format(*w.address("http")),
                            "--connections", "2000", "--ids", "user/1..2000", "--hold", "0"],
                           check=True, capture_output=True, timeout=3 * DEADLINE)
        peak = user_memory(w)
        eventually(lambda: user_memory(w) <= base * 1.1, "base and a tenth", 3 * DEADLINE)
        check(w.metric("memory_trims_total", result="done") >= 4, "it was given back")
        figure(f"user memory {base} KiB at rest, {peak} when three crowds of 2,000 have gone, "
               f"{user_memory(w)} by itself")


def test_a_gateway_that_stands_still_is_left_out():
    with World() as w:
        pid = w.pids("tcp")[0]
        os.kill(pid, signal.SIGSTOP)
        try:
            processes = {r["process"] for r in memory(w)[0] if r["memory"] == "buffers"}
        finally:
            os.kill(pid, signal.SIGCONT)
        check("http1" in processes and "tcp1" not in processes, processes)


# ---- gen -------------------------------------------------------------------------

def test_gen_publishes_as_much_as_it_says_and_numbers_it():
    with World() as w:
        path = os.path.join(w.base, "g.csv")
        done, = json.loads(w.ctl("gen", "load", "--rate", "500", "--count", "1000", "--ids", "7",
                                 "--size", "200", "--connections", "2", "--csv", path,
                                 "--json"))["gen"]
        equal((done["sent"], done["acknowledged"], done["refused"], done["unknown"]),
              (1000, 1000, 0, 0))
        check(done["wanted_per_second"] == 500 and done["p50_us"] <= done["p99_us"], done)
        got = [json.loads(line) for i in range(1, 8) for line in
               w.ctl("history", f"load/{i}", "--since", "0", "--json").splitlines()]
        equal(len(got), 1000)
        for m in got:
            check(len(m["data"]) == 200, "their size")
            equal(m["data"].split(" t=")[0], f"mark n={m['offset']}", "numbers are dense")
        equal(sum(int(r["acknowledged"]) for r in rows(path)), 1000)
        equal(sum(int(r["sent"]) for r in rows(path)), 1000)
        check("late_max_us" in w.ctl("gen", "load/1", "--count", "1"), "for a person")


def test_what_takes_long_counts_from_the_moment_it_was_due():
    """A router that stands still: the messages of that time are late, and those behind
    them on time again."""
    with World() as w:
        pid = w.pids("router")[0]
        with Running(w, "gen", "volatile/a", "--rate", "200", "--json") as gen:
            eventually(lambda: w.metric("published_total") > 100, "it has begun")
            os.kill(pid, signal.SIGSTOP)
            stopped = time.monotonic()
            try:
                eventually(lambda: time.monotonic() - stopped > 0.7, "it stands still")
            finally:
                os.kill(pid, signal.SIGCONT)
            took = time.monotonic() - stopped
            before = w.metric("published_total")
            eventually(lambda: w.metric("published_total") > before + 300, "it goes on")
            equal(gen.interrupted(), DONE)
            done, = json.loads(gen.lines.all())["gen"]
        equal(done["sent"], done["acknowledged"])
        check(done["max_us"] > 600_000, done)
        # Some 200 a second waited for it, and not just the first of them.
        check(done["p50_us"] < 500_000 and took < 5, done)


def test_gen_has_shapes():
    with World() as w:
        cup = os.path.join(ROOT, "tools/samples/worldcup-2022-final.json")
        for how in (("--shape", "burst", "--burst", "50", "--rate", "100", "--count", "100"),
                    ("--shape", "zipf", "--ids", "1000", "--rate", "1000", "--count", "500"),
                    ("--shape", "match", "--file", cup, "--for", "1s", "--rate", "300")):
            done, = json.loads(w.ctl("gen", "volatile/x", *how, "--json"))["gen"]
            equal(done["sent"], done["acknowledged"], how)
            equal(done["sent"], 300 if "match" in how else int(how[-1]), how)
        for how, word in ((("--shape", "square"), "uniform"), (("--shape", "match"), "--file"),
                          (("--rate", "0"), "--rate"), (("--size", "5"), "--size"),
                          (("--skew", "x"), "--skew")):
            code, _, err = run("--dir", w.dir, "gen", "volatile/x", *how)
            equal((code, word in err), (USAGE, True), err)
        equal(run("--dir", w.dir, "gen", "a b")[0], USAGE)
        w.ctl("match", "teams", "elp", "Estudiantes")
        code, out, err = run("--dir", w.dir, "gen", "team/elp", "--count", "3", "--json")
        equal((code, json.loads(out)["gen"][0]["refused"]), (FAILED, 3), err)
