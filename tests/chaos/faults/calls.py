"""Calls of processes that fail, do less, or never return: preload/inject.h.

All rounds that may have one of these run with the library loaded and no rule
armed, in their cages."""
import os

from inject import Injector
from world import EDGES, eventually

from . import Fault

GATEWAYS = " ".join(EDGES)


def prepare(stage):
    """Once for all rows of this file."""
    if hasattr(stage, "injector"):
        return
    stage.under = stage.under or os.path.join(stage.base, "world")
    os.makedirs(stage.under, exist_ok=True)
    stage.injector = Injector(stage.under)
    stage.env.update(stage.injector.env)


def _arm(*rules):
    """start() of rules; each a function of the dice that gives its words."""
    def start(stage, rng):
        return [stage.injector.rule(seed=rng.getrandbits(63), **rule(rng)) for rule in rules]
    return start


def _disarm(_stage, rules):
    for rule in rules:
        rule.off()


def _disk_full(_rng):
    return dict(calls="write allocate", kinds="db wal ballast", error="ENOSPC")


def _disk_error(rng):
    calls, kinds = rng.choice((("write", "wal"), ("sync", "wal db"), ("write", "db"),
                               ("read", "db wal"), ("read write sync", "db wal guard")))
    return dict(calls=calls, kinds=kinds, error="EIO", chance=rng.choice((0.05, 0.5, 1.0)),
                at=rng.randrange(1, 10))


def _clock(rng):
    return dict(calls="clock", process="router " + GATEWAYS, act="shift",
                arg=rng.choice((-21600, -3600, -60, 60, 3600, 21600)) * 10 ** 9)


def _short(kinds, most):
    def rule(_rng):
        return dict(calls="recv send", kinds=kinds, process="router " + GATEWAYS, act="short",
                    arg=most, chance=0.5)
    return rule


def _odd(kinds, error):
    def rule(_rng):
        return dict(calls="recv send", kinds=kinds, process="router " + GATEWAYS, error=error,
                    chance=0.1)
    return rule


def _no_memory(kind):
    """Of Touchline's own code: NNG ends a process that has none left in the
    middle of opening a socket."""
    def rule(rng):
        return dict(calls="memory", process=kind, error="ENOMEM", at=rng.randrange(1, 200),
                    chance=rng.choice((0.002, 0.02, 0.2)), caller="own")
    return rule


def _accept(kind):
    def rule(rng):
        return dict(calls="accept", kinds="client", process=kind,
                    error=rng.choice(("EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "ECONNABORTED")))
    return rule


def _die_in_commit(stage, rng):
    calls, kinds = rng.choice((("write", "wal"), ("write", "wal"), ("sync", "wal"),
                               ("write sync", "db wal guard")))
    acts = ("kill", "kill_after", "tear") if calls == "write" else ("kill", "kill_after")
    before = stage.world.pids("router")
    return before, stage.injector.rule(calls, kinds, act=rng.choice(acts), times=1,
                                       at=rng.randrange(1, 30))


def _back_from_commit(stage, held):
    before, rule = held
    rule.off()
    if rule.struck:
        eventually(lambda: set(stage.world.pids("router")) - set(before), "another router",
                   stage.deadline)


FAULTS = [
    Fault("disk-full", "F7", _arm(_disk_full), _disarm, hits=("router",), loses=("refuse",),
          lasts=(0.2, 4.0), prepare=prepare),
    # Who waits for a page that cannot be read is sent away with his cursor.
    Fault("disk-error", "F8", _arm(_disk_error), _disarm, hits=("router", *EDGES),
          loses=("refuse", "read"), lasts=(0.1, 3.0), weight=2, prepare=prepare),
    Fault("commit-kill", "F3", _die_in_commit, _back_from_commit, hits=("router",),
          loses=("memory", "refuse"), lasts=(0.2, 1.0), weight=3, ends=True, prepare=prepare),
    Fault("clock-jump", "F10", _arm(_clock), _disarm, lasts=(0.1, 4.0), prepare=prepare),
    Fault("calls-short", "F12",
          _arm(_odd("client link", "EINTR"), _odd("client link", "EAGAIN"), _short("client", 7),
               _short("link", 60)),
          _disarm, loses=("slow",), lasts=(0.5, 3.0), weight=2, prepare=prepare),
    # Without memory the router refuses logins, too.
    Fault("router-no-memory", "F13", _arm(_no_memory("router")), _disarm,
          hits=("router", *EDGES), loses=("memory", "refuse", "read"), lasts=(0.1, 2.0),
          prepare=prepare),
    *(Fault(f"{kind}-no-memory", "F13", _arm(_no_memory(kind)), _disarm, hits=(kind,),
            loses=("memory", "refuse"), lasts=(0.1, 2.0), prepare=prepare)
      for kind in EDGES),
    *(Fault(f"{kind}-accept", "F14", _arm(_accept(kind)), _disarm, hits=(kind,),
            lasts=(0.1, 2.0), prepare=prepare) for kind in EDGES),
]
