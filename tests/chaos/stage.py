"""One round: a Touchline, a crowd on all its edges, faults, and a verdict."""
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "system"))
sys.path.insert(0, HERE)

import faults  # noqa: E402
from world import EDGES, Failed, Lines, World, eventually  # noqa: E402

PROGRAMS = os.path.join(ROOT, "build", "tests", "chaos")
KINDS = ("router", "repeater", *EDGES)
# Every kind of history: kept for good, synced, trimmed, none, with presence; with
# a state; and every policy for slow readers.
SPACES = ",".join(("plain:process:4", "power:power:2", "short:process:2:trims",
                   "volatile:memory:2", "room:process:1:trims:drop-oldest",
                   "feed:process:2:drop-oldest", "news:process:2:conflate",
                   "match:power:2:conflate", "team:power:4:conflate"))
CONFIG = """
[namespace plain/]
history = all
[namespace power/]
history = all
durability = power
[namespace short/]
history = 50
[namespace feed/]
history = all
slow = drop-oldest
[namespace news/]
history = all
slow = conflate
"""
# What may wait for a slow reader: little, so that it happens within a round.
SLOW = ["limits.queue=64K", "limits.queue_age=2s"]
SUBS = "ndjson=16,sse=16,poll=12,test=8,ws=20,raw=8,telnet=16"
PUBS = "post=4,batch=2,ws=4,raw=1,telnet=2,report=2"


class Violated(Exception):
    """The checker has found something; the text says what."""


class Ended(BaseException):
    """Somebody wants it to end (SIGINT, SIGTERM)."""


def free_ports():
    """One for each edge, that stay the same when everything starts anew."""
    held = [socket.socket() for _ in EDGES]
    for s in held:
        s.bind(("127.0.0.1", 0))
    ports = {kind: s.getsockname()[1] for kind, s in zip(EDGES, held)}
    for s in held:
        s.close()
    return ports


class Log:
    """The driver's own lines (history.h)."""

    def __init__(self, path):
        self.file, self.lock, self.number = open(path, "w", encoding="ascii"), threading.Lock(), 0

    def say(self, kind, *words):
        with self.lock:
            self.file.write(" ".join([kind, str(time.monotonic_ns()), "0", *map(str, words)]) + "\n")
            self.file.flush()

    def fault(self, fault):
        with self.lock:
            self.number += 1
            number = self.number
        self.say("F", number, "start", fault.name, ",".join(fault.hits) or "-",
                 ",".join(fault.loses) or "-")
        return number

    def close(self):
        self.file.close()


class Crowd:
    """The clients: a process that obeys words."""

    def __init__(self, base, ports, seed, options):
        self.dir = os.path.join(base, "logs")
        args = [os.path.join(PROGRAMS, "crowd"), "--log", self.dir, "--seed", str(seed)]
        for kind, port in ports.items():
            args += [f"--{kind}", str(port)]
        self.proc = subprocess.Popen(args + options, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     start_new_session=True)
        self.lines = Lines(self.proc.stdout, lambda n: os.read(self.proc.stdout.fileno(), n))

    def ask(self, word, deadline=20.0):
        """The figures of the answer."""
        self.proc.stdin.write(word.encode() + b"\n")
        self.proc.stdin.flush()
        try:
            line = self.lines.line(deadline).decode().split()
        except Failed as e:
            raise Violated(f"live: the crowd was not {word} within {deadline:.0f} s ({e})")
        return {k: int(v) for k, v in (w.split("=") for w in line[1:])}

    def close(self):
        with contextlib.suppress(ProcessLookupError):  # and its own, whatever they wait for
            os.killpg(self.proc.pid, signal.SIGKILL)
        self.proc.wait()
        self.proc.stdin.close()
        self.proc.stdout.close()


class Running(threading.Thread):
    """A fault from its start until all is well again."""

    def __init__(self, stage, log, fault, seed, lasts):
        super().__init__(daemon=True)
        self.stage, self.log, self.fault, self.lasts = stage, log, fault, lasts
        self.rng = random.Random(seed)
        self.trouble = None
        self.start()

    def run(self):
        number = self.log.fault(self.fault)
        try:
            held = self.fault.start(self.stage, self.rng)
            self.stage.over.wait(self.lasts)
            self.fault.heal(self.stage, held)
        except Exception as e:  # whatever a fault of anybody's raises is shown
            self.trouble = f"{self.fault.name}: {type(e).__name__}: {e}"
        with contextlib.suppress(ValueError):  # the round has failed, its log is closed
            self.log.say("F", number, "heal")


def clash(a, b):
    """Two that would break the same thing tell nothing that one does not."""
    return a.alone or b.alone or a.name == b.name or bool(set(a.hits) & set(b.hits))


def schedule(rng, table, seconds):
    """[(at, fault, seed, lasts)]: one to three at a time, from the seed alone."""
    plan, at = [], 0.5
    rows = sorted(table.values(), key=lambda f: f.name)
    while at < seconds:
        fault = rng.choices(rows, [f.weight for f in rows])[0]
        lasts = rng.uniform(*fault.lasts)
        live = [f for begin, f, _, long in plan if begin + long > at]
        if len(live) < 3 and not any(clash(f, fault) for f in live):
            plan.append((at, fault, rng.getrandbits(32), lasts))
        at += lasts + 1.0 if fault.alone else rng.uniform(0.1, 2.5)
    return plan


def resident(world):
    """{(kind, pid): KiB} of the processes that there are."""
    out = {}
    for kind in KINDS:
        for pid in world.pids(kind):
            with contextlib.suppress(OSError, StopIteration):
                with open(f"/proc/{pid}/status", encoding="ascii") as f:
                    line = next(x for x in f if x.startswith("VmRSS:"))
                out[kind, pid] = int(line.split()[1])
    return out


def slope(points):
    """KiB a minute, by least squares over (seconds, KiB)."""
    n = len(points)
    t, m = sum(p[0] for p in points) / n, sum(p[1] for p in points) / n
    over = sum((p[0] - t) ** 2 for p in points)
    return 60 * sum((p[0] - t) * (p[1] - m) for p in points) / over if over else 0.0


class Sampler(threading.Thread):
    """Looks each second what memory each process has."""

    def __init__(self, stage):
        super().__init__(daemon=True)
        self.stage, self.lives = stage, {}
        self.start()

    def run(self):
        while not self.stage.over.wait(1.0):
            with contextlib.suppress(Failed, OSError):
                for life, kib in (resident(self.stage.world) if self.stage.world else {}).items():
                    self.lives.setdefault(life, []).append((time.monotonic(), kib))

    def most(self):
        """{kind: KiB}"""
        out = {}
        for (kind, _), points in list(self.lives.items()):
            out[kind] = max(out.get(kind, 0), *(kib for _, kib in points))
        return out

    def slopes(self, least):
        """{kind: (KiB a minute, KiB at the end)} of processes that lived so many
        seconds, without the first third, in which caches fill."""
        out = {}
        for (kind, _), points in list(self.lives.items()):
            if points[-1][0] - points[0][0] >= least:
                out[kind] = slope(points[len(points) // 3:]), points[-1][1]
        return out


class Round:
    """seconds: of faults. options: more for the crowd. repeaters: how many stand
    between the router and the gateways."""

    def __init__(self, seed, table, seconds, rate=250, options=(), keep=False, repeaters=0):
        self.seed, self.seconds, self.keep = seed, seconds, keep
        self.rng = random.Random(seed)
        self.table = faults.drawable(self.rng, table, repeaters)
        self.sets = SLOW + ([f"repeater.instances={repeaters}"] if repeaters else [])
        self.base = tempfile.mkdtemp(prefix="tl-chaos-")
        self.figures, self.memory, self.broken, self.running = {}, {}, [], []
        self.sampler = None
        self.options = ["--spaces", SPACES, "--subs", SUBS, "--pubs", PUBS, "--rate", str(rate),
                        "--size", "40-6000", "--stay", "4000", "--die", "0.01", "--zero", "--lazy", "27",
                        *options]

    def run(self):
        """The checker's figures. Violated: something is wrong; the logs stay."""
        stage = faults.Stage(self.base, free_ports(), SPACES)
        log = Log(os.path.join(self.base, "driver.log"))
        crowd, wrong = None, True
        self.sampler = Sampler(stage)
        try:
            for fault in self.table.values():
                if fault.prepare:
                    fault.prepare(stage)
            stage.world = self.start(stage)
            crowd = Crowd(self.base, stage.ports, self.seed, self.options)
            crowd.ask("ready", 60)
            self.break_things(stage, log, crowd)
            self.calm_down(stage, log, crowd)
            self.figures.update(self.judge(crowd))
            wrong = False
            return self.figures
        except (Ended, KeyboardInterrupt):
            wrong = False
            raise
        finally:
            stage.over.set()
            self.sampler.join()
            for r in self.running:
                r.join(3 * stage.deadline)
            if crowd:
                crowd.close()
            log.close()
            if stage.world:
                with contextlib.suppress(Failed, OSError):
                    stage.world.close(keep=True)
            for undo in stage.cleanup:
                undo()
            if not wrong and not self.keep:
                shutil.rmtree(self.base, ignore_errors=True)

    def start(self, stage):
        under = stage.under or os.path.join(self.base, "world")
        os.makedirs(under, exist_ok=True)
        sets = [f"{kind}.listen=127.0.0.1:{port}" for kind, port in stage.ports.items()]
        return World(sets=sets + self.sets + stage.sets, config=CONFIG, under=under, before=stage.before,
                     env=stage.env)

    def let_end(self, stage, those):
        """They may take longer than was planned. A router that is coming back is
        waited for: what breaks next would soon keep it away for the whole round."""
        ended = [r.fault.name for r in those if r.fault.ends and "router" in r.fault.hits]
        for r in those:
            r.join(60)
        if ended:
            eventually(lambda: self.serves(stage), f"a router after {ended[-1]}", stage.deadline)

    @staticmethod
    def serves(stage):
        with contextlib.suppress(Failed, OSError, subprocess.TimeoutExpired):
            return stage.world.ctl("status")
        return None

    def break_things(self, stage, log, crowd):
        begin, running = time.monotonic(), self.running
        for at, fault, seed, lasts in schedule(self.rng, self.table, self.seconds):
            threading.Event().wait(max(0, begin + at - time.monotonic()))
            self.let_end(stage, [r for r in running if clash(r.fault, fault)])
            running.append(Running(stage, log, fault, seed, lasts))
            self.broken.append(fault.name)
        for r in running:
            r.join(60)
            if r.is_alive():
                raise Violated(f"{r.fault.name} does not heal")
            if r.trouble:
                raise Violated(r.trouble)
        self.figures = crowd.ask("status")

    def calm_down(self, stage, log, crowd):
        """All is healed: everybody comes back, what is said now arrives."""
        eventually(lambda: self.ready(stage), "serving after all has healed", stage.deadline)
        crowd.ask("calm", 60)
        log.say("Q", "quiet")
        threading.Event().wait(2)
        crowd.ask("stop", 60)
        crowd.ask("drained", 60)
        log.say("Q", "end")
        self.memory = self.sampler.most()
        log.say("K", "gaps_total", stage.world.metric("gaps_total"))
        dump = [os.path.join(PROGRAMS, "crowd"), "--http", str(stage.ports["http"]), "--spaces",
                SPACES, "--dump", os.path.join(crowd.dir, "store.log")]
        if subprocess.call(dump, stdout=subprocess.DEVNULL):
            raise Violated("acks: the store cannot be read")
        self.figures = crowd.ask("end", 60)
        crowd.proc.wait(20)

    @staticmethod
    def ready(stage):
        try:
            return stage.world.http("GET", "/readyz").status == 200
        except OSError:
            return False

    def judge(self, crowd):
        logs = sorted(os.path.join(crowd.dir, name) for name in os.listdir(crowd.dir))
        p = subprocess.run([os.path.join(PROGRAMS, "check"), os.path.join(self.base, "driver.log"),
                            *logs], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out = p.stdout.decode(errors="replace")
        if p.returncode:
            raise Violated(out + f"\nlogs: {self.base}")
        return {k: int(v) for k, v in (w.split("=") for w in out.split())}
