"""A bad wire between gateways and router: relay.py."""
import os

from relay import Relay
from world import EDGES

from . import Fault

DIRECTIONS = ("up",), ("down",), ("up", "down")


def prepare(stage):
    """Once for all rows of this file: every link leads through the relay."""
    if hasattr(stage, "relay"):
        return
    stage.relay = Relay()
    stage.under = stage.under or os.path.join(stage.base, "world")
    stage.relay.follow(os.path.join(stage.under, "var"))
    stage.sets += stage.relay.sets
    stage.cleanup.append(stage.relay.close)


def _cut(stage, _rng):
    stage.relay.cut()


def _hold(stage, rng):
    stage.relay.hold(*rng.choice(DIRECTIONS))


def _spoil(stage, rng):
    relay = stage.relay
    relay.only = rng.choice(DIRECTIONS)
    for what in rng.sample(("lose", "twice", "swap", "spoil"), rng.randrange(1, 5)):
        setattr(relay, what, rng.choice((0.01, 0.1) if what == "spoil" else (0.02, 0.2)))
    relay.delay = rng.choice((0.0, 0.0, 0.02))


def _calm(stage, _held):
    stage.relay.calm()


FAULTS = [
    Fault("link-cut", "F15", _cut, _calm, hits=("router",), loses=("memory", "refuse"),
          lasts=(0.0, 1.0), prepare=prepare, wire=True),
    Fault("link-hold", "F15", _hold, _calm, hits=("router",), loses=("memory", "refuse"),
          lasts=(0.2, 6.0), prepare=prepare, wire=True),
    Fault("link-spoil", "F16", _spoil, _calm, hits=("router",), loses=("memory", "refuse"),
          lasts=(0.5, 4.0), weight=2, prepare=prepare, wire=True),
]
