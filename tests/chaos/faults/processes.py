"""Processes that die, stop, and start anew."""
import contextlib
import os
import signal

from world import EDGES, Failed, eventually

from . import Fault


def _signal(kind, signo):
    """One that is just being started again is waited for."""
    def once(stage):
        with contextlib.suppress(Failed, OSError):  # gone since it was looked for
            return stage.world.kill(kind, signo)
        return None

    def start(stage, _rng):
        return eventually(lambda: once(stage), kind, stage.deadline)
    return start


def _back(kind):
    """The supervisor starts another; it is a fault of ours if it does not."""
    def heal(stage, gone):
        eventually(lambda: set(stage.world.pids(kind)) - set(gone), f"another {kind}",
                   stage.deadline)
    return heal


def _continue(_stage, pids):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _stop_supervisor(stage, _rng):
    stage.world.proc.send_signal(signal.SIGSTOP)
    return [stage.world.proc.pid]


def _kill_supervisor(stage, _rng):
    stage.world.proc.kill()


def _all_anew(stage, _rng):
    """In order: SIGTERM, everything drains, and a new one."""
    stage.world.proc.send_signal(signal.SIGTERM)


def _restart(stage, _):
    stage.restart()


FAULTS = [
    Fault("router-kill", "F1", _signal("router", signal.SIGKILL), _back("router"),
          hits=("router",), loses=("memory", "refuse"), lasts=(0.0, 0.5), weight=4, ends=True),
    Fault("router-term", "F18", _signal("router", signal.SIGTERM), _back("router"),
          hits=("router",), loses=("memory", "refuse"), lasts=(0.0, 0.5), ends=True),
    Fault("router-stop", "F6", _signal("router", signal.SIGSTOP), _continue,
          hits=("router",), loses=("memory", "refuse"), lasts=(0.1, 6.0), weight=2),
    *(Fault(f"{edge}-kill", "F2", _signal(edge, signal.SIGKILL), _back(edge),
            hits=(edge,), lasts=(0.0, 0.5), ends=True) for edge in EDGES),
    *(Fault(f"{edge}-term", "F18", _signal(edge, signal.SIGTERM), _back(edge),
            hits=(edge,), lasts=(0.0, 0.5), ends=True) for edge in EDGES),
    *(Fault(f"{edge}-stop", "F5", _signal(edge, signal.SIGSTOP), _continue,
            hits=(edge,), lasts=(0.1, 6.0)) for edge in EDGES),
    # To the gateways behind it as if the router went.
    Fault("repeater-kill", "F2", _signal("repeater", signal.SIGKILL), _back("repeater"),
          hits=("router",), loses=("memory", "refuse"), lasts=(0.0, 0.5), weight=4, ends=True,
          repeater=True),
    Fault("repeater-term", "F18", _signal("repeater", signal.SIGTERM), _back("repeater"),
          hits=("router",), loses=("memory", "refuse"), lasts=(0.0, 0.5), weight=2, ends=True,
          repeater=True),
    Fault("repeater-stop", "F5", _signal("repeater", signal.SIGSTOP), _continue,
          hits=("router",), loses=("memory", "refuse"), lasts=(0.1, 6.0), weight=4, repeater=True),
    Fault("supervisor-stop", "F5", _stop_supervisor, _continue, lasts=(0.5, 4.0)),
    Fault("supervisor-kill", "F2", _kill_supervisor, _restart,
          hits=("router", *EDGES), loses=("memory", "refuse"), lasts=(0.0, 1.0), alone=True, ends=True),
    Fault("all-restart", "F18", _all_anew, _restart,
          hits=("router", *EDGES), loses=("memory", "refuse"), lasts=(0.0, 0.5), alone=True, ends=True),
]
