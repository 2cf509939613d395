"""A peer's server: a process tree in a directory of its own, on a port that stays."""
import asyncio
import contextlib
import os
import select
import signal
import socket
import subprocess

DEADLINE = 20.0


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def children(pid):
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            return [int(x) for x in f.read().split()]
    except OSError:
        return []


class Server:
    """command(): what to start; its files are in self.dir."""

    def __init__(self, directory):
        self.dir, self.port, self.proc = directory, free_port(), None
        self.died = 0  # of itself, found when it was to be killed
        os.makedirs(directory, exist_ok=True)

    def command(self):
        raise NotImplementedError

    async def start(self):
        with open(os.path.join(self.dir, "stderr"), "ab") as err:
            self.proc = subprocess.Popen(self.command(), stdout=err, stderr=err,
                                         stdin=subprocess.DEVNULL)
        end = asyncio.get_running_loop().time() + DEADLINE
        while not self.answers():
            if self.proc.poll() is not None or asyncio.get_running_loop().time() > end:
                with open(os.path.join(self.dir, "stderr"), errors="replace") as f:
                    raise RuntimeError(f"{self.command()[0]} does not come up: {f.read()[-800:]}")
            await asyncio.sleep(0.05)

    def answers(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def signal(self, signo):
        """To all of its processes."""
        for pid in [self.proc.pid, *children(self.proc.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signo)

    def kill(self):
        """All at once, without a last word; returns when they are gone."""
        if self.proc.poll() is not None:
            self.died += 1
            return
        self.proc.send_signal(signal.SIGSTOP)  # it is not to start another meanwhile
        gone = []
        for pid in children(self.proc.pid):
            with contextlib.suppress(ProcessLookupError):
                gone.append(os.pidfd_open(pid))
        self.signal(signal.SIGKILL)
        self.proc.wait()
        for fd in gone:
            select.select([fd], [], [], DEADLINE)
            os.close(fd)

    def crashes(self):
        """How many of its processes died of themselves."""
        return self.died

    def close(self):
        if self.proc:
            self.kill()
