"""What breaks, and how it heals: a table of functions.

A file of this folder holds a list `FAULTS` of Fault; every one is a row that
the driver (`../run.py`) may draw, from its seed, while all clients are at work.
To add one, write a row: nothing else needs an edit.

A fault has three moments. `prepare(stage)`, before the processes start, says
what they must be started with (an LD_PRELOAD, a small file system, an
address). It is called in every round in which the fault may happen, so it must
break nothing. `start(stage, rng)` breaks and returns what `heal` needs;
`heal(stage, held)` ends the cause and returns at once when that is done: it is
the driver that then waits until all is well, within `stage.deadline`. Both run
in a thread of their own, several faults at a time: they touch only what is
theirs and what Stage offers. All chance comes from `rng` (random.Random), so
that a seed repeats the same faults; no function looks at a clock to decide.

What the checker is told: the moments of start and heal, `hits` and `loses`.
What is not named there is a promise: of a gateway that no fault `hits` no
client may be closed or miss anything, and what is not in `loses` may not be
lost. Name as little as is true.
"""
import dataclasses
import importlib
import itertools
import os
import pkgutil
import threading
from typing import Any, Callable, Optional, Tuple


@dataclasses.dataclass(frozen=True)
class Fault:
    name: str  # a word for logs and for --faults, as in "router-kill"
    row: str  # of the table in docs/testing.md: "F1"
    start: Callable[["Stage", Any], Any]
    heal: Callable[["Stage", Any], None]
    # Kinds of processes whose clients may be closed or be late by it: of
    # "http", "tcp", "ws". That the router is away closes nobody: a fault of it
    # has none of these, and says "router", which only makes everything late.
    hits: Tuple[str, ...] = ()
    # What the promise lets go meanwhile, of
    # "memory"   messages without history (the router's life ends)
    # "refuse"   publications may be refused (always told, never lost)
    # "read"     history and resumes may be told gaps (`damaged`)
    # "epoch"    continuity cannot be proven: a new epoch, told as such
    # "slow"     who reads may be taken for slow: his socket takes nothing
    loses: Tuple[str, ...] = ()
    lasts: Tuple[float, float] = (0.0, 2.0)  # seconds from start to heal
    ends: bool = False  # processes end by it, and start anew
    alone: bool = False  # never beside another fault
    weight: int = 1  # how often it is drawn, beside the others
    prepare: Optional[Callable[["Stage"], None]] = None
    wire: bool = False  # needs a relay in the link: drawn in half of the rounds, only there
    possible: bool = True  # this machine lets it be done
    repeater: bool = False  # needs repeaters: drawn where there are some


class Stage:
    """What a fault may use of the round that it happens in.

    world     the World (tests/system/world.py): pids(kind), kill(), ctl(), dir
    base      a folder of this round, gone afterwards
    env       for prepare: variables for touchline and its children
    sets      for prepare: further `--set` ("limits.ping=2s")
    under     for prepare: the folder in which var/ is to be (a small tmpfs), or None
    before    for prepare: called in the child before it becomes touchline, or None
    cleanup   for prepare: functions called when the round is over
    deadline  seconds that anything may take to be well again
    ports     {"http": 8123, ...}: they stay, over restarts as well
    spaces    the channels of the crowd (`crowd --spaces`)
    publishers  a number for each publisher of a fault's own
    over      threading.Event: the round is being given up
    """

    def __init__(self, base, ports, spaces, deadline=20.0):
        self.base, self.ports, self.deadline = base, ports, deadline
        self.spaces, self.publishers = spaces, itertools.count()
        self.over = threading.Event()
        self.world = None
        self.env, self.sets, self.cleanup = {}, [], []
        self.under = self.before = None
        self.world_lock = threading.RLock()

    def preload(self, library):
        """Adds a library to LD_PRELOAD; sandboxes that forbid what it does
        are prepare's to open, with `sets`."""
        have = self.env.get("LD_PRELOAD")
        self.env["LD_PRELOAD"] = f"{have}:{library}" if have else library

    def restart(self):
        """Starts `touchline` anew in the same folder and on the same ports,
        after its supervisor has gone; returns when all kinds are ready."""
        with self.world_lock:
            if self.world.proc:
                self.world.proc.wait(self.deadline)
                self.world.proc.stdout.close()
                self.world.proc = None
            self.world.start()


def drawable(rng, rows, repeaters=0):
    """Of a table those of one round: what this machine lets be done, and what
    needs a relay in the link in half of the rounds, so that in the others
    processes meet as they do in the field."""
    rows = {name: f for name, f in rows.items() if f.possible and (repeaters or not f.repeater)}
    wired = rng.random() < 0.5 or all(f.wire for f in rows.values())
    return {name: f for name, f in rows.items() if wired or not f.wire}


def table():
    """{name: Fault} of all files of this folder."""
    out = {}
    for module in pkgutil.iter_modules([os.path.dirname(__file__)]):
        for fault in importlib.import_module(f"{__name__}.{module.name}").FAULTS:
            assert fault.name not in out, fault.name
            out[fault.name] = fault
    return out
