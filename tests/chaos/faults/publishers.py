"""Publishers whose process is killed: in the middle of a request, a batch or a
frame, and between sending and the answer. Another process goes on with their
work, with the keys that they had."""
import contextlib
import os
import signal
import subprocess

from . import Fault

HERE = os.path.dirname(os.path.abspath(__file__))
CROWD = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(HERE))),
                     "build/tests/chaos/crowd")
FIRST = 900000  # no other client has such a number


class Publisher:
    """One name, one log, one process after the other."""

    def __init__(self, stage, form):
        number = FIRST + next(stage.publishers)
        self.args = [CROWD, "--log", os.path.join(stage.base, "logs"), "--spaces", stage.spaces,
                     "--pubs", f"{form}=1", "--first", str(number), "--as", f"killed-{number}",
                     "--rate", "200", "--size", "40-1500", "--pieces", "--seed", str(number)]
        for kind, port in stage.ports.items():
            self.args += [f"--{kind}", str(port)]
        self.proc = None
        self.begin()

    def begin(self, *more):
        self.proc = subprocess.Popen(self.args + list(more), stdin=subprocess.PIPE,
                                     stdout=subprocess.DEVNULL, start_new_session=True)

    def kill(self):
        """At once, with the process that minds it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.proc.pid, signal.SIGKILL)
        self.proc.wait()
        self.proc.stdin.close()

    def finish(self, deadline):
        """All that was begun has its answer."""
        self.begin("--again")
        try:
            self.proc.communicate(b"stop\nend\n", timeout=deadline)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        if self.proc.returncode:
            raise RuntimeError(f"it ended with {self.proc.returncode}")


def _start(stage, rng):
    publisher = Publisher(stage, rng.choice(("post", "batch", "ws")))
    return publisher, [rng.uniform(0.05, 0.5) for _ in range(rng.randrange(1, 4))]


def _kill(stage, held):
    publisher, lives = held
    publisher.kill()
    for seconds in lives:
        publisher.begin("--again")
        stage.over.wait(seconds)
        publisher.kill()
    publisher.finish(2 * stage.deadline)


FAULTS = [
    Fault("publisher-kill", "F20", _start, _kill, lasts=(0.1, 1.5), weight=3),
]
