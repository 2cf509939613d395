"""A Touchline, a bare server and crowds of touchline-flood, for benches of many clients.

Everything here is started in a session of its own, so Ctrl-C reaches the bench alone, and
it ends the others in order."""
import contextlib
import ctypes
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))
from world import BIN, DEADLINE, Failed, Lines, World, check, eventually, unshare  # noqa: E402

FLOOD = os.path.join(BIN, "touchline-flood")
CTL = os.path.join(BIN, "router-ctl")
OWN_FILES = 200     # of a gateway that are no clients, and the reserve
UNEVEN = 0.95       # SO_REUSEPORT shares out by chance
ALONE = "TOUCHLINE_BENCH_ALONE"
BACKLOG = "/proc/sys/net/core/netdev_max_backlog"   # of the machine: networks have none
TOGETHER = 2.05     # seconds: timers of 25 s that the kernel lets go off at once (HZ=250)
KERNEL = (("net/ipv4/ip_local_port_range", "1024 65535"), ("net/core/somaxconn", "65535"),
          ("net/ipv4/tcp_max_syn_backlog", "65535"))


def in_a_network_of_its_own():
    """Runs the program anew in a network of its own, if this machine lets it: nobody
    else's connections, and settings for crowds that end with it. Says what it is that
    is used; called first."""
    words = unshare("--net")
    if words and ALONE not in os.environ:
        os.environ[ALONE] = str(backlog())
        os.execvp(words[0], [*words, sys.executable, *sys.argv])
    if ALONE not in os.environ:
        return "the machine's network, as it is set (router-ctl doctor --for N looks at it)"
    subprocess.check_call(["ip", "link", "set", "lo", "up"])
    set_here = []
    for name, value in KERNEL:
        with contextlib.suppress(OSError), open("/proc/sys/" + name, "w") as f:
            f.write(value)
            set_here.append(f"{name.replace('/', '.')}={value.replace(' ', '-')}")
    return "a network of its own, " + ", ".join(set_here)


def backlog():
    """Packets that wait for a processor; more are dropped."""
    if ALONE in os.environ:
        return int(os.environ[ALONE])
    with open(BACKLOG, encoding="ascii") as f:
        return int(f.read())


def quiet_rate(packets, processors):
    """New clients a second whose keepalives, and the answers, have room when they go off
    together, 25 s later."""
    return int(packets * processors / 2 / TOGETHER)


def raise_files():
    """Takes as many files as there may be; returns how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def room(instances, files):
    """Clients that so many gateway processes hold, each with so many files."""
    each = files - OWN_FILES
    return each if instances == 1 else int(each * instances * UNEVEN)


def instances_for(clients, files):
    """Gateway processes that hold so many clients."""
    if clients <= room(1, files):
        return 1
    return math.ceil(clients / ((files - OWN_FILES) * UNEVEN))


def number(text):
    """100K is 100,000 and 1M a million, as touchline-flood reads them."""
    scale = {"K": 1000, "M": 1000000}.get(text[-1:].upper())
    return int(text[:-1]) * scale if scale else int(text)


LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1


def own_session():
    """In a child: Ctrl-C does not reach it, and it ends with the bench, however that
    does."""
    os.setsid()
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Crowd:
    """touchline-flood while it runs. said: what it says of trouble."""

    def __init__(self, *args, csv=None):
        fd, self.path = tempfile.mkstemp(prefix="tl-flood-", suffix=".json")
        os.close(fd)
        more = ["--csv", csv] if csv else []
        self.p = subprocess.Popen([FLOOD, "--quiet", "--json", self.path, *map(str, args), *more],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, preexec_fn=own_session)

    def running(self):
        return self.p.poll() is None

    def interrupt(self):
        """Its report is next."""
        with contextlib.suppress(OSError):
            self.p.send_signal(signal.SIGINT)

    def report(self, deadline=None):
        """Waits for its end."""
        try:
            said = self.p.communicate(timeout=deadline)[1].decode()
            with open(self.path, encoding="utf-8") as f:
                text = f.read()
        except subprocess.TimeoutExpired:
            raise Failed("touchline-flood does not end")
        finally:
            self.close()
        check(text, f"touchline-flood reports nothing: {said}")
        return json.loads(text)

    def close(self):
        if self.running():
            self.p.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.p.wait(DEADLINE)
            self.p.kill()
        self.p.wait()
        self.p.stderr.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def flood(*args, deadline=600):
    """One run to its end: the report, clean or not."""
    with Crowd(*args) as c:
        return c.report(deadline)


class Limit:
    """The bare server: what any server can reach at most."""

    def __init__(self, processes):
        self.p = subprocess.Popen([FLOOD, "--serve", "127.0.0.1:0", "--processes",
                                   str(processes)], stdout=subprocess.PIPE,
                                  preexec_fn=own_session)
        out = Lines(self.p.stdout, lambda n: os.read(self.p.stdout.fileno(), n))
        self.address = out.line().decode().split("http://")[1].strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.terminate()
        self.p.wait(DEADLINE)
        self.p.stdout.close()


def touchline(sets):
    return World(sets=sets, before=own_session)


def at(world, kind):
    return "{}:{}".format(*world.address(kind))


def new_match(world):
    """A match in play, which V:2 watches."""
    for team in ("elp", "tig"):
        put(world, "PUT", f"/v1/teams/{team}", {"name": team})
    put(world, "POST", "/v1/matches", {"home": "elp", "visit": "tig",
                                       "start_time": "2011-09-13"})
    put(world, "POST", "/v1/matches/elp-tig-2011-09-13/events", {"kind": "start"})
    return "elp-tig-2011-09-13"


def put(world, method, path, body):
    a = world.http(method, path, json.dumps(body), {"Content-Type": "application/json"})
    check(a.status == 201, f"{method} {path}: {a.status} {a.body!r}")


class Sampler:
    """router-ctl sample, into a file."""

    def __init__(self, world, path, every):
        self.path = path
        self.p = subprocess.Popen([CTL, "--dir", world.dir, "sample", path, "--every",
                                   f"{every:g}s"], stdin=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, preexec_fn=own_session)
        eventually(lambda: os.path.exists(path) or self.p.poll() is not None,
                   "sampling begins")

    def lines(self):
        with open(self.path, encoding="utf-8") as f:
            return f.read().splitlines()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.send_signal(signal.SIGINT)
        said = self.p.communicate(timeout=DEADLINE)[1].decode()
        if self.p.returncode:
            print(f"router-ctl sample: {said}", file=sys.stderr)
