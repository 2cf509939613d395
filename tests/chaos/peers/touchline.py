"""Touchline, with as many clients of the crowd (../crowd.h) as the peers have."""
import os
import re
import signal
import subprocess
import threading

import stage
from faults import Fault, readers
from world import EDGES

SUBS = {"sse": 3, "poll": 2, "ndjson": 2, "ws": 3, "telnet": 2}
PUBS = {"post": 2, "ws": 1}
KINDS = ("router", *EDGES)
KILL = Fault("all-kill", "F1", None, None, hits=KINDS, loses=("memory", "refuse"))
STOP = Fault("all-stop", "F6", None, None, hits=KINDS, loses=("memory", "refuse"))


def shared(shares, total):
    """{word: count} in about these shares, and exactly so many in all."""
    counts = {k: total * n // sum(shares.values()) for k, n in shares.items()}
    for k in list(shares)[:total - sum(counts.values())]:
        counts[k] += 1
    return counts


def listed(counts, none):
    return ",".join(f"{k}={n}" for k, n in {**dict.fromkeys(none, 0), **counts}.items())


class Round(stage.Round):
    """plan: [(wait, what, lasts)] (run.py)."""

    def __init__(self, seed, plan, o):
        options = ["--spaces", f"plain:process:{o.channels}", "--no-patterns",
                   "--subs", listed(shared(SUBS, o.subscribers), ("raw", "test")),
                   "--pubs", listed(shared(PUBS, o.publishers),
                                  ("batch", "raw", "telnet", "report")),
                   "--size", "40-400", "--stay", str(int(o.stay * 1000)), "--die", "0"]
        super().__init__(seed, {}, 0, o.rate, options, keep=o.keep)
        self.plan, self.texts = plan, None

    def break_things(self, on, log, crowd):
        stalled = readers.FAULTS[0].start(on, self.rng)
        for wait, what, lasts in self.plan:
            threading.Event().wait(wait)
            number = log.fault(KILL if what == "kill" else STOP)
            pids = [on.world.proc.pid, *(p for kind in KINDS for p in on.world.pids(kind))]
            self.send(pids, signal.SIGKILL if what == "kill" else signal.SIGSTOP)
            threading.Event().wait(lasts)
            if what == "kill":
                on.restart()
                readers.FAULTS[0].heal(on, stalled)
                stalled = readers.FAULTS[0].start(on, self.rng)
            else:
                self.send(pids, signal.SIGCONT)
            log.say("F", number, "heal")
        readers.FAULTS[0].heal(on, stalled)

    @staticmethod
    def send(pids, signo):
        for pid in pids:
            os.kill(pid, signo)

    def judge(self, crowd):
        """By texts, as the others; and by everything that check.h asks."""
        logs = sorted(os.path.join(crowd.dir, name) for name in os.listdir(crowd.dir))
        self.texts = subprocess.check_output([os.path.join(stage.PROGRAMS, "check"), "--texts",
                                              *logs], text=True)
        with open(os.path.join(self.base, "world", "log"), encoding="utf-8") as f:
            crashes = len(re.findall(r"\bchild\.(?:exited|killed|hung|mute)\b", f.read()))
        self.texts = f"{self.texts.strip()} crashes={crashes}"
        return super().judge(crowd)


class Touchline:
    name, setting = "Touchline", "durability `process`"

    @staticmethod
    def version():
        return subprocess.check_output(["git", "-C", stage.ROOT, "rev-parse", "--short", "HEAD"],
                                       text=True).strip()

    @staticmethod
    def round(seed, plan, o):
        """(what check --texts said, what else is wrong)"""
        r, wrong = Round(seed, plan, o), ""
        try:
            r.run()
        except stage.Violated as e:
            wrong = str(e)
        if r.texts is None:
            raise RuntimeError(wrong)
        return r.texts, wrong
