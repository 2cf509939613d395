"""What is measured. A row is a run, or several, of touchline-flood against a server that
has been started for it:

key, title    for whom     None: all; "messages", "addressed": see servers.Peer.only
what          how it is done, in words of the document
figures       [Figure]; the first one is compared with the limit in the summary
run(bench)    {key of a figure: value}; bench: Bench, below

Numbers of clients are parts of bench.n (PEERS_N); times are bench.seconds."""
import contextlib
import json
import shutil
import signal
import subprocess
from collections import namedtuple

from . import ends, servers

# less: the smaller, the better.
Figure = namedtuple("Figure", "key title unit less")

WINDOW = 64      # messages unanswered in all, where there is no schedule
BURST = 100
DEVICE_MS = 1000
DRAIN = 20       # seconds at most until what was published has come
PLACES = 256     # connections under way where they come and go as fast as they can
EVENTS = ("raw_syscalls:sys_enter", *("syscalls:sys_enter_" + name for name in
                                      ("sendto", "sendmsg", "sendmmsg", "write", "writev")))


class Trouble(Exception):
    """There is no figure, and why."""


class Bench:
    """One server that runs, and what is run against it."""

    def __init__(self, peer, n, seconds):
        self.peer, self.n, self.seconds = peer, n, seconds

    def ids(self, count=None):
        """Each client its own, or all the same."""
        return ["--ids", f"{self.peer.ids}1..{count}" if count else self.peer.ids + "1"]

    def crowd(self, count, ids=None):
        return [*self.peer.clients(), "--connections", count, *self.ids(ids)]

    def command(self, *args):
        return [servers.FLOOD, "--quiet", "--probe", "none", "--json", "-", "--watch",
                ",".join(map(str, self.peer.pids())), *map(str, args)]

    def flood(self, *args):
        """The report."""
        with running(self.command(*args)) as p:
            said, why = p.communicate(timeout=70 + self.seconds)
        if not said:
            raise Trouble(why.strip().split("\n")[-1] or f"flood ended with {p.returncode}")
        report = json.loads(said)
        if report["published"]["failed"]:
            raise Trouble(why.strip().split("\n")[-1])
        if report["server"] is None:
            raise Trouble("a process of the server ended while it was measured")
        if not report["up"]:
            raise Trouble(f"nobody came up: {report['sample']}")
        return report

    def publish(self, *how):
        return [*self.peer.publish(), "--publishers", self.peer.publishers, "--drain", DRAIN, *how]


def per_message_us(r):
    return r["server"]["cpu_s"] * 1e6 / max(1, r["received"])


def whole(r):
    """In percent: of what should have come, what has."""
    return 100 * (r["received"] - r["duplicates"]) / max(1, r["published"]["due"])


def wrong(r):
    """What has not come is not told from what would have come later: whole() has both."""
    return r["duplicates"] + r["reordered"]


# ---- memory ---------------------------------------------------------------------

def memory(part):
    def run(bench):
        count = int(bench.n * part)
        r = bench.flood(*bench.crowd(count, count), "--hold", "1s")
        if not r["server"]["exact"]:
            raise Trouble("only root sees how much memory the server's processes have")
        return {"bytes": r["server"]["memory"] / r["server"]["clients"],
                "failed": r["failed"]}
    return run


MEMORY = [Figure("bytes", "user memory for each connection", "B", True),
          Figure("failed", "failed", "", True)]

# ---- messages -------------------------------------------------------------------


def addressed(rate):
    def run(bench):
        r = bench.flood(*bench.crowd(bench.n, bench.n), "--hold", f"{bench.seconds}s",
                        *bench.publish("--publish", rate))
        return {"p50": r["latency_us"]["p50"], "p99": r["latency_us"]["p99"],
                "cpu": per_message_us(r), "whole": whole(r), "wrong": wrong(r)}
    return run


def addressed_most(bench):
    r = bench.flood(*bench.crowd(bench.n, bench.n), "--hold", f"{bench.seconds}s",
                    *bench.publish("--window", WINDOW // bench.peer.publishers))
    return {"rate": r["published"]["sent"] / r["published"]["seconds"],
            "p50": r["latency_us"]["p50"], "p99": r["latency_us"]["p99"],
            "cpu": per_message_us(r), "whole": whole(r), "wrong": wrong(r)}


def to_all(rate, messages):
    """messages: of each second."""
    def run(bench):
        count = messages(bench)
        r = bench.flood(*bench.crowd(bench.n), "--hold", "all",
                        *bench.publish("--publish", rate, "--messages", count))
        return {"p50": r["last_us"]["p50"] / 1e3 if r["last_us"]["count"] else None,
                "max": r["latency_us"]["max"] / 1e3, "cpu": per_message_us(r),
                "whole": whole(r), "wrong": wrong(r)}
    return run


def burst(bench):
    r = bench.flood(*bench.crowd(bench.n), "--hold", "all",
                    *bench.publish("--publish", BURST, "--burst", BURST, "--messages", BURST))
    return {"rate": r["received"] / max(1, r["latency_us"]["max"]) * 1e6,
            "max": r["latency_us"]["max"] / 1e3, "cpu": per_message_us(r), "whole": whole(r),
            "wrong": wrong(r)}


CPU = Figure("cpu", "server CPU for each delivery", "us", True)
WHOLE = Figure("whole", "delivered", "%", False)
WRONG = Figure("wrong", "doubled, swapped", "", True)
LATENCY = [Figure("p50", "p50", "us", True), Figure("p99", "p99", "us", True), CPU, WHOLE, WRONG]
LAST = [Figure("p50", "until the last has it, p50", "ms", True),
        Figure("max", "most", "ms", True), CPU, WHOLE, WRONG]

# ---- connections ----------------------------------------------------------------


def come_and_go(edge):
    def run(bench):
        who = edge(bench)
        r = bench.flood(*who, "--connections", min(PLACES, bench.n), "--script", "receive(0)",
                        "--from", "127.0.0.0/24", "--hold", f"{bench.seconds}s")
        h = r["first_us"]
        return {"rate": r["closed"] / r["seconds"], "p90": h["p90"] / 1e3, "failed": r["failed"]}
    return run


def bare(bench):
    """The same places as clients, which say nothing."""
    target = bench.peer.clients()
    return ["--edge", "tcp", "--target", target[target.index("--target") + 1], *bench.ids()]


def subscribed(bench):
    return [*bench.peer.clients(), *bench.ids(bench.n)]


def devices(part):
    def run(bench):
        count = int(bench.n * part)
        r = bench.flood(*bare(bench), "--connections", count, "--ramp-up", f"{DEVICE_MS}ms",
                        "--script", f"delay({DEVICE_MS}, 0.1)", "--hold", f"{bench.seconds}s")
        return {"p90": r["connect_us"]["p90"] / 1e3, "p99": r["connect_us"]["p99"] / 1e3,
                "rate": r["opened"] / r["seconds"], "failed": r["failed"]}
    return run


def at_once(part):
    def run(bench):
        count = int(bench.n * part)
        r = bench.flood(*bench.crowd(count, count), "--in-flight", count, "--hold", "100ms")
        return {"up": r["up_after"], "p90": r["first_us"]["p90"] / 1e3, "failed": r["failed"]}
    return run


# ---- system calls ---------------------------------------------------------------

@contextlib.contextmanager
def running(command):
    """A process that is gone behind it, whatever happens."""
    p = None
    try:
        with ends.wait():
            p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 text=True, stdin=subprocess.DEVNULL, start_new_session=True)
        yield p
    finally:
        if p:
            p.kill()
            p.wait()
            p.stdout.close()
            p.stderr.close()


def ended(p):
    """What it says in the end."""
    p.send_signal(signal.SIGINT)
    return p.communicate(timeout=60)[1]


def until_up(crowd, count):
    """By its row of each second."""
    for second, line in enumerate(crowd.stdout):
        if line.split(",")[1] == str(count):
            return
        if second > 60:
            break
    raise Trouble("the crowd did not come up")


def descendants(pids):
    found = list(pids)
    for pid in found:
        with contextlib.suppress(OSError), \
                open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
            found += [int(x) for x in f.read().split()]
    return found


def counts(said):
    """{event: how often} of perf's lines."""
    lines = [line.split(",") for line in said.split("\n")]
    return {words[2]: int(words[0]) for words in lines if len(words) > 2 and words[0].isdigit()}


def counted(bench, ids, *how):
    """System calls of all processes while one client and the publisher are at work, with a
    crowd that has been up before: (all, those that write, deliveries)."""
    pids = ",".join(map(str, descendants(bench.peer.pids())))
    # two that write: rows to standard output, the report to the other
    crowd_args = ("--hold", "all", "--csv", "-", "--json", "/dev/stderr")
    with running(bench.command(*bench.crowd(bench.n, ids), *crowd_args)) as crowd:
        until_up(crowd, bench.n)
        with running(["perf", "stat", "-x,", "-e", ",".join(EVENTS), "-p", pids]) as perf:
            one = bench.flood(*bench.crowd(1, ids), *how)
            said = ended(perf)
        report = ended(crowd)
    found = counts(said)
    if EVENTS[0] not in found:
        raise Trouble("perf counts no system calls here: " + said.strip()[-200:])
    received = json.loads(report[report.index('{"edge"'):report.rindex("}") + 1])["received"]
    return (found[EVENTS[0]], sum(found.get(e, 0) for e in EVENTS[1:]),
            received + one["received"])


def calls(bench):
    if not shutil.which("perf"):
        raise Trouble("there is no perf here")
    out = {}
    for key, ids, how in (
            ("each", bench.n, ("--publish", 1000, "--messages", 1000)),
            ("all", None, ("--publish", 2, "--messages", 4)),
            ("burst", None, ("--publish", BURST, "--burst", BURST, "--messages", BURST))):
        every, writes, deliveries = counted(bench, ids, "--hold", "all", *bench.publish(*how))
        out[key] = every / max(1, deliveries)
        out[key + "_writes"] = writes / max(1, deliveries)
    return out


# ---- the table ------------------------------------------------------------------

class Row:
    """clients: as a part of n. once: in the first round alone."""

    def __init__(self, key, title, whom, clients, run, figures, what, once=False):
        self.key, self.title, self.whom, self.clients = key, title, whom, clients
        self.run, self.figures, self.what, self.once = run, figures, what, once

    def is_for(self, peer):
        return not peer.only or peer.only == self.whom or \
            (peer.only == "messages" and self.whom == "addressed")


ROWS = [
    Row("memory", "Memory of an idle connection, {n}", None, 1, memory(1), MEMORY,
        "Each client is subscribed to an id of its own. How much the proportional share (PSS) of "
        "all processes of the server has grown, by client. The kernel's part is the same for all."),
    Row("memory-more", "The same, {n}", None, 1.9, memory(1.9), MEMORY, "On a server just started."),
    Row("addressed", "1,000 messages/s, each to one of {n}", "addressed", 1, addressed(1000),
        LATENCY, "Each client has an id of its own. From when a message is due until it is read."),
    Row("addressed-most", "As fast as it goes, each to one of {n}", "addressed", 1,
        addressed_most, [Figure("rate", "messages", "/s", False), *LATENCY],
        f"{WINDOW} messages are unanswered at any time, on two connections (JetStream: on one). "
        "From when a message is sent until it is read."),
    Row("one", "One message to {n}", "messages", 1, to_all(2, lambda b: 2 * b.seconds), LAST,
        "All clients have the same id; two messages a second."),
    Row("steady-20", "20 messages/s to {n}", "messages", 1, to_all(20, lambda b: 20 * b.seconds),
        LAST, f"Where the last message takes much longer than the median, the server falls behind "
        f"for as long as it goes on. What has not come {DRAIN} s behind the last one counts as "
        "not delivered."),
    Row("steady-40", "40 messages/s to {n}", "messages", 1, to_all(40, lambda b: 40 * b.seconds),
        LAST, "The same, twice as much."),
    Row("burst", f"Burst of {BURST} messages to {{n}}", "messages", 1, burst,
        [Figure("rate", "deliveries", "/s", False), Figure("max", "until all have all", "ms", True),
         CPU, WHOLE, WRONG], "All are due at the same moment."),
    Row("open", "New connections, opened and closed", None, 0, come_and_go(bare),
        [Figure("rate", "connections", "/s", False), Figure("p90", "connect p90", "ms", True),
         Figure("failed", "failed", "", True)],
        f"{PLACES} at a time; each is closed as soon as it is there, and says nothing."),
    Row("ask", "New connections, subscribed, answered, closed", None, 0, come_and_go(subscribed),
        [Figure("rate", "connections", "/s", False), Figure("p90", "first answer p90", "ms", True),
         Figure("failed", "failed", "", True)],
        f"{PLACES} at a time; each asks for an id and is closed when it is told that it has it."),
    Row("devices-15", "{n} devices that stay a second", None, 1.5, devices(1.5),
        [Figure("p90", "connect p90", "ms", True), Figure("p99", "p99", "ms", True),
         Figure("rate", "connections", "/s", False), Figure("failed", "failed", "", True)],
        "Evenly, give or take a tenth; each says nothing, goes, and another comes."),
    Row("devices-20", "{n} devices that stay a second", None, 2, devices(2),
        [Figure("p90", "connect p90", "ms", True), Figure("p99", "p99", "ms", True),
         Figure("rate", "connections", "/s", False), Figure("failed", "failed", "", True)],
        "The same, a third more."),
    Row("at-once", "{n} at once", None, 1.9, at_once(1.9),
        [Figure("up", "until all are subscribed", "s", True),
         Figure("p90", "first answer p90", "ms", True), Figure("failed", "failed", "", True)],
        "All are begun without waiting for one another; each has an id of its own."),
    Row("calls", "System calls for each delivery, {n}", "messages", 1, calls,
        [Figure("each", "1,000/s to one", "", True), Figure("each_writes", "that write", "", True),
         Figure("all", "one to all", "", True), Figure("all_writes", "that write", "", True),
         Figure("burst", "burst to all", "", True), Figure("burst_writes", "that write", "", True)],
        "Of all processes of the server, those between them included; that write: send, write and "
        "their like. Counted by perf in a run of its own, once.", once=True),
]
