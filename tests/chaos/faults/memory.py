"""The kernel kills who takes too much: a control group for one process."""
import contextlib
import os

from world import EDGES, eventually

from . import Fault

GROUPS = "/sys/fs/cgroup/memory"
MORE = 1 << 20  # bytes until it is killed


def _limit(kind):
    def start(stage, rng):
        pid = eventually(lambda: stage.world.pids(kind), kind, stage.deadline)[0]
        group = os.path.join(GROUPS, f"touchline-{os.getpid()}-{kind}-{rng.getrandbits(32):x}")
        os.mkdir(group)
        for name, value in (("memory.limit_in_bytes", MORE), ("cgroup.procs", pid)):
            with open(os.path.join(group, name), "w", encoding="ascii") as f:
                f.write(str(value))
        return group, kind, pid
    return start


def _lift(stage, held):
    """Who has not reached it goes back where it was."""
    group, kind, pid = held
    with contextlib.suppress(OSError), open(GROUPS + "/cgroup.procs", "w", encoding="ascii") as f:
        f.write(str(pid))
    eventually(lambda: _removed(group), "the group is empty", stage.deadline)
    eventually(lambda: stage.world.pids(kind), f"another {kind}", stage.deadline)


def _removed(group):
    with contextlib.suppress(OSError):
        os.rmdir(group)
    return not os.path.exists(group)


FAULTS = [
    Fault(f"{kind}-oom", "F21", _limit(kind), _lift, hits=(kind,),
          loses=("memory", "refuse") if kind == "router" else (), lasts=(0.5, 3.0), ends=True,
          possible=os.access(GROUPS, os.W_OK))
    for kind in ("router", *EDGES)
]
