"""Touchline as somebody's service: what it tells systemd, whether it notices
who hangs, and how it does as process 1. Neither systemd nor a container engine
is needed: a socket plays the one, a pid namespace the other."""
import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import tempfile
import time

from world import BIN, DEADLINE, EDGES, Lines, World, check, equal, eventually, unshare

SO_TIMESTAMPNS = 35
SECONDS = 8  # the watchdog's time where a child may be ended for its silence


class Manager:
    """Listens as systemd does."""

    def __init__(self, abstract=False):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.dir = tempfile.TemporaryDirectory(prefix="tl-")
        if abstract:
            self.sock.bind("")  # the kernel chooses
            self.address = "@" + self.sock.getsockname()[1:].decode()
        else:
            self.address = self.dir.name + "/notify"
            self.sock.bind(self.address)
        self.said = []
        self.sent = None  # when the last one was, by the kernel's clock

    def env(self, watchdog=0):
        env = {"NOTIFY_SOCKET": self.address}
        return {**env, "WATCHDOG_USEC": str(int(watchdog * 1e6))} if watchdog else env

    def next(self, seconds=DEADLINE):
        """(sender's pid, text), or None when nothing came."""
        self.sock.settimeout(max(seconds, 0.001))
        try:
            text, control, _, _ = self.sock.recvmsg(4096, 256)
        except TimeoutError:
            return None
        words = {kind: data for _, kind, data in control}
        pid = int.from_bytes(words[socket.SCM_CREDENTIALS][:4], "little")
        self.sent = struct.unpack("qq", words[SO_TIMESTAMPNS])
        self.said.append((pid, text.decode()))
        return self.said[-1]

    def until(self, word):
        """The first text that contains the word."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            got = self.next(end - time.monotonic())
            if got and word in got[1]:
                return got[1]
        raise AssertionError(f"nobody said {word}; said: {self.said}")

    def drain(self):
        while self.next(0):
            pass

    def texts(self):
        """All but the beats, in order."""
        return [t for _, t in self.said if t != "WATCHDOG=1"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()
        self.dir.cleanup()


def told_in_order(abstract):
    with Manager(abstract) as m, World(env=m.env()) as w:
        m.until("READY=1")
        with open(f"/proc/{w.pids('http')[0]}/environ", "rb") as f:
            check(m.address.encode() not in f.read(), "children speak to their supervisor")
        m.until("STATUS=serving " + w.urls["http"])
        before = m.texts()
        check(all(t.startswith("STATUS=waiting for ") for t in before[:-2]), before)
        equal(before[-2], "READY=1", before)
        for kind in EDGES:
            check(w.urls[kind] in before[-1], before[-1])
        at = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        w.proc.send_signal(signal.SIGHUP)
        text = m.until("RELOADING=1")
        stamp = int(re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", text)[1])
        check(at <= stamp <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000, stamp)
        equal(m.next()[1], "READY=1")
        w.kill("tcp")
        m.until("STATUS=waiting for tcp-1")
        m.until("STATUS=serving ")
        pid = w.proc.pid
        equal(w.stop(), 0)
        text = m.until("STOPPING=1")
        # Twice drain_wait and two seconds, and one more.
        equal(text, "STOPPING=1\nEXTEND_TIMEOUT_USEC=25000000")
        equal(m.next()[1], "STATUS=draining")
        m.drain()
        check(not any("READY" in t or "RELOADING" in t
                      for t in m.texts()[m.texts().index(text):]), m.texts())
        equal({p for p, _ in m.said}, {pid}, "only the supervisor speaks")
        check("WATCHDOG=1" not in [t for _, t in m.said], "nobody asked for it")


def test_systemd_is_told_of_its_life_over_a_path():
    told_in_order(abstract=False)


def test_systemd_is_told_of_its_life_over_an_abstract_name():
    told_in_order(abstract=True)


def test_a_failed_start_is_never_ready():
    with Manager() as m, World(start=False, env=m.env()) as w:
        os.makedirs(os.path.join(w.dir, "touchline.db"))
        p = subprocess.run(w.args("touchline"), capture_output=True, env=w.env, timeout=60)
        equal(p.returncode, 1, p.stderr)
        m.drain()
        check("READY=1" not in m.texts() and m.texts()[-2].startswith("STOPPING=1"), m.texts())


def test_each_binary_alone_tells_systemd_as_well():
    with Manager() as m, World(start=False, env=m.env(2)) as w:
        procs = []
        try:
            for kind in ("router", *EDGES):
                p = subprocess.Popen(w.args("touchline-" + kind), env=w.env,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                procs.append(p)
                m.until("READY=1")
                m.until("WATCHDOG=1")
                equal({pid for pid, _ in m.said[-1:]} <= {q.pid for q in procs}, True)
            # One that hangs says nothing any more, the others go on.
            procs[1].send_signal(signal.SIGSTOP)
            m.drain()
            del m.said[:]
            eventually(lambda: m.next(0.1) and {procs[i].pid for i in (0, 2, 3)} <=
                       {pid for pid, _ in m.said}, "three beat")
            check(procs[1].pid not in {pid for pid, _ in m.said}, "a stopped one spoke")
            procs[1].send_signal(signal.SIGCONT)
        finally:
            for p in reversed(procs):
                m.drain()
                p.terminate()
                m.until("STOPPING=1")
                equal(p.wait(DEADLINE), 0)
        equal(m.texts().count("STOPPING=1"), 4, m.texts())


# ---- the watchdog ----------------------------------------------------------

def test_a_child_that_hangs_is_replaced_and_the_others_do_not_notice():
    with Manager() as m, World(env=m.env(SECONDS)) as w, \
            w.stream("/v1/stream?channel=a") as s, w.telnet() as t:
        s.item()
        m.until("WATCHDOG=1")
        before = {kind: w.pids(kind) for kind in ("router", *EDGES)}
        hung = ("ws", "router")
        for kind in hung:
            os.kill(before[kind][0], signal.SIGSTOP)
        for kind in hung:
            eventually(lambda: w.pids(kind) and w.pids(kind) != before[kind],
                       f"{kind} is replaced")
        m.until("STATUS=serving")
        eventually(lambda: w.http("GET", "/readyz").status == 200, "serving")
        log = w.log_tail(100000)
        for kind in hung:
            # Told to abort first, then killed: a stopped one cannot abort.
            signals = re.findall(f'child.hung name="{kind}-1" .* signal=(\\d+)', log)
            equal(signals[:2], ["6", "9"], log)
        for kind in ("http", "tcp"):
            equal(w.pids(kind), before[kind], "the others live on")
        w.publish("a", "still here")
        equal(s.message()["data"], "still here")
        t.send(b"PING\r\n")
        equal(t.line(), b"OK PING\r\n")
        with w.ws() as c:
            equal(c.say(cmd="ping", ref=1).reply(1)["ok"], True)
        m.drain()
        del m.said[:]
        m.until("WATCHDOG=1")


def test_nobody_says_that_all_is_well_while_a_child_hangs():
    """If a child cannot be ended, systemd ends the lot."""
    with Manager() as m, World(env=m.env(SECONDS)) as w:
        before = w.pids("http")
        beats = []

        def beat():
            m.until("WATCHDOG=1")
            beats.append(m.sent[0] + m.sent[1] / 1e9)
            return w.pids("http") not in ([], before)

        beat()
        os.kill(before[0], signal.SIGSTOP)
        eventually(beat, "it is replaced")
        # A look each eighth of the time: one says abort, one kills.
        longest = max(b - a for a, b in zip(beats, beats[1:]))
        check(longest > 2.5 * SECONDS / 8, beats)


def test_a_supervisor_that_was_stopped_is_silent_and_blames_nobody():
    with Manager() as m, World(env=m.env(4)) as w:
        m.until("WATCHDOG=1")
        os.kill(w.proc.pid, signal.SIGSTOP)
        eventually(lambda: state_of(w.proc.pid) == "T", "it is stopped")
        m.drain()
        equal(m.next(3), None, "it spoke")
        os.kill(w.proc.pid, signal.SIGCONT)
        for _ in range(5):
            m.until("WATCHDOG=1")
        check("child.hung" not in w.log_tail(100000), "children that could not be heard")


# ---- process 1 -------------------------------------------------------------

class Container(World):
    """A World whose touchline is process 1 of a pid namespace of its own; the
    engine's part is played by unshare(1)."""

    def __init__(self, words, prepare="", **more):
        self.words, self.prepare = words, prepare
        super().__init__(start=False, **more)

    def args(self, binary, *more):
        args = super().args(binary, *more)
        if binary != "touchline":
            return args
        return [*self.words, "sh", "-ec", self.prepare + ' exec "$@"', "sh", *args]

    def first(self):
        """The number by which we know its process 1."""
        with open(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children") as f:
            return int(f.read().split()[0])

    def signal(self, signo):
        """As `docker stop` does: to process 1 alone."""
        os.kill(self.first(), signo)
        try:
            return self.proc.wait(DEADLINE)
        finally:
            self.proc.stdout.close()
            self.proc = None


def pid_space(*more):
    words = unshare("--pid")
    return words and [*words, "--fork", "--kill-child", "--mount-proc", *more]


def skipped(words):
    if not words:
        print("     skipped: this machine lets nobody have a pid space of his own")
    return not words


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


def state_of(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[0]
    return None


def test_process_1_ends_on_a_signal_and_leaves_nothing():
    words = pid_space()
    if skipped(words):
        return
    with Container(words) as w:
        for signo in (signal.SIGTERM, signal.SIGINT):
            w.start()
            equal(os.readlink(f"/proc/{w.first()}/exe"), os.path.realpath(f"{BIN}/touchline"))
            equal(w.publish("a", "x").status, 201)
            pids = children_of(w.first())
            equal(len(pids), 4)
            equal(w.signal(signo), 0, "exit code")
            equal([p for p in pids if state_of(p)], [])
            left = sorted(os.listdir(w.dir))
            equal([n for n in left if not n.startswith("touchline.db")], ["link", "router.lock"], left)


def test_process_1_hears_a_signal_that_comes_while_it_starts():
    """Without a handler, process 1 would never get it."""
    words = pid_space()
    if skipped(words):
        return
    with Container(words) as w, open(w.base + "/fifo.log", "wb") as log:
        # A configuration that is a pipe holds the start up until it is written.
        fifo = w.base + "/touchline.conf"
        os.mkfifo(fifo)
        w.config = fifo
        for _ in range(5):
            p = w.proc = subprocess.Popen(w.args("touchline"), stdout=subprocess.PIPE, stderr=log,
                                          stdin=subprocess.DEVNULL)
            reading = eventually(lambda: writer_of(fifo), "it waits for its configuration")
            os.kill(w.first(), signal.SIGTERM)
            os.close(reading)
            # Its children read the same file: there is one writer for all.
            equal(feed_until_it_ends(p, fifo), 0)
            p.stdout.close()
            w.proc = None


def writer_of(fifo):
    """Of a pipe that somebody reads, or is about to; else None."""
    with contextlib.suppress(OSError):
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)


def feed_until_it_ends(p, fifo):
    def ended():
        if (fd := writer_of(fifo)) is not None:
            os.close(fd)
        return p.poll() is not None

    eventually(ended, "it ends")
    return p.returncode


def test_process_1_reaps_the_orphans_of_others():
    words = pid_space()
    if skipped(words):
        return
    with Container(words) as w:
        w.start()
        one = w.first()
        # Somebody comes in with `docker exec` and leaves grandchildren behind.
        enter = ["nsenter", f"--target={one}", "--pid"]
        if unshare("--pid")[1:2] == ["--map-root-user"]:
            enter += ["--user"]
        script = "for i in 1 2 3 4 5; do (sleep 0.2 & echo $!); done"
        p = subprocess.run([*enter, "--", "sh", "-c", script], capture_output=True, timeout=DEADLINE)
        equal(p.returncode, 0, p.stderr)
        eventually(lambda: len(children_of(one)) == 4, "only its own are left")
        check(all(state_of(c) != "Z" for c in children_of(one)), "no zombie")
        w.kill("ws")
        eventually(lambda: w.pids("ws"), "its own are started again")
        equal(w.signal(signal.SIGTERM), 0)


def test_process_1_needs_no_more_than_one_directory_that_it_can_write():
    """A read-only root, without the files that say who we are."""
    words = pid_space("--mount")
    if skipped(words):
        return
    with Container(words) as w:
        w.prepare = (f"mkdir -p {w.dir}; mount -t tmpfs none {w.dir}; "
                     "mount -o remount,bind,ro / / 2>/dev/null || "
                     "{ mount --bind / /; mount -o remount,bind,ro /; }; "
                     "mount --bind /dev/null /proc/self/oom_score_adj 2>/dev/null || true; "
                     "mount -t tmpfs -o ro none /sys 2>/dev/null || true; "
                     "! touch /etc/touchline-test 2>/dev/null;")
        w.start()
        equal(w.publish("a", "x").status, 201)
        equal([m["data"] for m in w.json("/v1/history/a")["messages"]], ["x"])
        equal(w.signal(signal.SIGTERM), 0, w.log_tail())
        check(not os.path.exists("/etc/touchline-test"), "the root was read-only")


def test_process_1_fails_as_it_should():
    words = pid_space()
    if skipped(words):
        return
    with Container(words) as w:
        w.sets.append("http.listen=192.0.2.1:80")
        p = subprocess.run(w.args("touchline"), capture_output=True, timeout=DEADLINE)
        equal((p.returncode, p.stdout), (1, b""), p.stderr)
        check(b"192.0.2.1" in p.stderr, p.stderr)
