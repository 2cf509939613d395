"""What router-ctl measures with: doctor, sample, plot, gen, mem, trim, top."""
import json
import os
import signal
import subprocess

from world import BIN, DEADLINE, Lines, World, check, equal

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
