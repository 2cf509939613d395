"""Every process replaced by another one while clients stay connected."""
import json
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import world
from world import (DEADLINE, EDGES, Http, Stream, Tcp, World, Ws, check, equal, eventually,
                   figure, full_size)

SLOW = True

TIMES = 3
TOKEN = re.compile(rb"k(\d+)n(\d+)k")


def upgrade(w, code=0):
    """`touchline upgrade`; what it says."""
    p = subprocess.run([os.path.join(world.BIN, "touchline"), "upgrade", "--dir", w.dir],
                       capture_output=True, timeout=4 * DEADLINE)
    check(p.returncode == code, f"upgrade: exit {p.returncode}, wanted {code}: {p.stdout!r} "
          f"{p.stderr!r}\n{w.log_tail()}")
    return p.stdout.decode()


# ---- a crowd that counts ---------------------------------------------------

class Client:
    """Hears one channel, whose messages say k<channel>n<number>k, each number
    once and none missing, whatever is around them."""

    def __init__(self, sock, channel):
        self.sock, self.channel = sock, channel
        self.next, self.rest, self.wrong = 1, b"", None
        self.gaps = 0
        sock.setblocking(False)

    def fail(self, text):
        self.wrong = self.wrong or f"{type(self).__name__} {self.channel}: {text}"

    def readable(self):
        try:
            got = self.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as e:
            return self.fail(f"broken: {e}")
        if not got:
            return self.fail(f"closed at {self.next}")
        self.take(got)

    def take(self, got):
        self.rest += got
        end = 0
        for m in TOKEN.finditer(self.rest):
            self.number(int(m[1]), int(m[2]))
            end = m.end()
        self.rest = self.rest[max(end, len(self.rest) - 40):]

    def number(self, channel, n):
        if channel != self.channel:
            self.fail(f"hears of {channel}")
        elif n != self.next:
            self.fail(f"{n}, and not {self.next}")
        self.next = n + 1


class Poller(Client):
    """On one connection, a poll behind the other."""

    def __init__(self, sock, channel):
        super().__init__(sock, channel)
        self.cursor = None
        self.ask()

    def ask(self):
        since = f"&since={self.cursor}&wait=30" if self.cursor else ""
        self.sock.sendall(f"GET /v1/poll?channel=user/{self.channel}{since} HTTP/1.1\r\n"
                          "Host: localhost\r\n\r\n".encode())

    def take(self, got):
        self.rest += got
        head, mark, body = self.rest.partition(b"\r\n\r\n")
        if not mark:
            return
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])
        if len(body) < length:
            return
        self.rest = body[length:]
        answer = json.loads(body[:length])
        for m in answer["messages"]:
            if m.get("notice") == "gap":
                self.fail(f"a gap: {m}")
            if "data" in m:
                super().number(self.channel, int(TOKEN.match(m["data"].encode())[2]))
        self.cursor = answer["cursor"]
        self.ask()


class Forgetful(Client):
    """Of what is not kept: a gap that is told may miss any number."""

    def take(self, got):
        self.rest += got
        while b"\n" in self.rest:
            line, self.rest = self.rest.split(b"\n", 1)
            if b'"notice":"gap"' in line:
                self.gaps += 1
                self.next = None
            for m in TOKEN.finditer(line):
                if self.next is None:
                    self.next = int(m[2])
                self.number(int(m[1]), int(m[2]))


def opened(w, kind, k):
    if kind == "tcp":
        t = w.telnet()
        t.send(b"SUB user/%d\r\n" % k)
        check(t.line().startswith(b"OK SUB"), "OK SUB")
        return Client(t.sock, k)
    if kind in ("ws", "raw"):
        path = f"/v1/raw?channel=user/{k}" if kind == "raw" else f"/v1/ws?channel=user/{k}"
        c = Ws(w.address("ws"), path)
        equal(c.status, 101)
        return Client(c.sock, k)
    if kind == "poll":
        return Poller(Http(w.address("http")).sock, k)
    target = {"test": f"/test/user/{k}", "volatile": f"/v1/stream?channel=volatile/{k}"}
    s = Stream(w.address("http"), target.get(kind, f"/v1/stream?channel=user/{k}"),
               {"Accept": "text/event-stream"} if kind == "sse" else {})
    equal(s.status, 200)
    s.tcp.sock.setblocking(True)
    return (Forgetful if kind == "volatile" else Client)(s.tcp.sock, k)


KINDS = ("sse", "ndjson", "test", "poll", "tcp", "ws", "raw", "volatile")


class Crowd:
    """Clients of every kind, read in a thread of their own."""

    def __init__(self, w, channels, each):
        self.clients = [opened(w, kind, k % channels) for kind in KINDS for k in range(each)]
        self.poll = selectors.DefaultSelector()
        for c in self.clients:
            self.poll.register(c.sock, selectors.EVENT_READ, c)
        self.over = False
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        while not self.over:
            for key, _ in self.poll.select(0.1):
                key.data.readable()
                if key.data.wrong:
                    self.poll.unregister(key.data.sock)

    def wrong(self):
        return [c.wrong for c in self.clients if c.wrong]

    def close(self):
        self.over = True
        self.thread.join()
        for c in self.clients:
            c.sock.close()


class Publisher:
    """Publishes to all channels in turn over a connection of its own, as fast as
    it may, and counts what is acknowledged; kept ones to one side, the others to
    the other."""

    def __init__(self, w, channels, rate):
        self.ws = w.ws()
        self.channels, self.rate = channels, rate
        self.said = self.acked = 0
        self.count, self.wrong = [0] * channels, None
        self.over = threading.Event()
        self.threads = [threading.Thread(target=f) for f in (self.say, self.hear)]
        for t in self.threads:
            t.start()

    def say(self):
        step = max(1, self.rate // 50)
        while not self.over.is_set():
            for _ in range(step):
                k = (self.said // 2) % self.channels
                if self.said % 2 == 0:
                    self.count[k] += 1
                name = "user" if self.said % 2 == 0 else "volatile"
                self.ws.say(cmd="publish", channel=f"{name}/{k}",
                            data=f"k{k}n{self.count[k]}k", ref=self.said)
                self.said += 1
            self.over.wait(1 / 50)

    def hear(self):
        try:
            while True:
                item = self.ws.item()
                if item.get("ref") == "last":
                    return
                if "ref" in item:
                    if not item.get("ok"):
                        self.wrong = self.wrong or item
                    self.acked += 1
        except world.Failed as e:
            self.wrong = self.wrong or str(e)

    def stop(self):
        self.over.set()
        self.threads[0].join()
        self.ws.say(cmd="ping", ref="last")
        self.threads[1].join()
        self.ws.close()


def test_clients_stay_while_every_process_is_replaced_again_and_again():
    each, channels = (60 if full_size() else 12), 6
    with World() as w:
        crowd, publisher = Crowd(w, channels, each), Publisher(w, channels, 200)
        before = {kind: set(w.pids(kind)) for kind in ("router", *EDGES)}
        try:
            for _ in range(TIMES):
                eventually(lambda: publisher.acked > 100 or publisher.wrong, "published")
                said = upgrade(w)
                check("everything is replaced" in said, said)
            eventually(lambda: publisher.acked == publisher.said, "answered")
            for kind in before:
                eventually(lambda: not before[kind] & set(w.pids(kind)), f"{kind}: the old are gone")
        finally:
            publisher.stop()
            wanted = [n + 1 for n in publisher.count]
            try:
                if not crowd.wrong():
                    eventually(lambda: crowd.wrong() or all(
                        c.next == wanted[c.channel] for c in crowd.clients), "all is heard")
            finally:
                crowd.close()
        equal(publisher.wrong, None)
        equal(crowd.wrong(), [])
        for c in crowd.clients:  # a router without its memory tells it once
            if isinstance(c, Forgetful):
                check(c.gaps <= TIMES, f"{c.gaps} gaps of what is not kept")
        figure(f"{len(crowd.clients)} clients, {sum(publisher.count)} messages kept, "
               f"{TIMES} upgrades, nobody closed, nothing missing, nothing twice")
        equal(w.metric("link_lost_total") <= 2 * TIMES * 6, True)


# ---- a crowd that is judged ------------------------------------------------

CHAOS = os.path.join(world.ROOT, "build", "tests", "chaos")


def ports():
    """So many clients of one address this machine has room for."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        low, high = map(int, f.read().split())
    return high - low


class Judged:
    """The crowd of tests/chaos: subscribers and publishers in C, who write down
    what they see; `check` then says what of it is wrong."""

    def __init__(self, w, subs, pubs, channels, rate, processes):
        self.logs = tempfile.mkdtemp(prefix="tl-crowd-")
        ports_of = [x for k in EDGES for x in (f"--{k}", str(w.address(k)[1]))]
        self.command = [os.path.join(CHAOS, "crowd"), *ports_of, "--log", self.logs,
                        "--subs", ",".join(f"{k}={v}" for k, v in subs.items()),
                        "--pubs", ",".join(f"{k}={v}" for k, v in pubs.items()),
                        "--spaces", f"plain:process:{channels}", "--rate", str(rate),
                        "--size", "40-80", "--processes", str(processes), "--no-patterns",
                        "--dense", "--open-rate", "1500"]
        self.proc = subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True)
        self.lines = world.Lines(self.proc.stdout, lambda n: os.read(self.proc.stdout.fileno(), n))

    def say(self, word, deadline=DEADLINE):
        """Its figures, when that is so."""
        self.proc.stdin.write(word + "\n")
        self.proc.stdin.flush()
        words = self.lines.line(deadline).decode().split()
        equal(words[0], word)
        return {k: int(v) for k, v in (x.split("=") for x in words[1:])}

    def judge(self):
        """Nothing new is published, all has had its time; what check says."""
        with open(os.path.join(self.logs, "driver.log"), "w") as f:
            print(f"Q {time.monotonic_ns()} 0 quiet", file=f)
            self.say("stop", 3 * DEADLINE)
            self.say("drained", 3 * DEADLINE)
            print(f"Q {time.monotonic_ns()} 0 end", file=f)
        last = self.say("end", 3 * DEADLINE)
        equal(self.proc.wait(3 * DEADLINE), 0)
        subprocess.run([*self.command, "--dump", os.path.join(self.logs, "store.log")],
                       stdin=subprocess.DEVNULL, check=True, timeout=10 * DEADLINE)
        p = subprocess.run([os.path.join(CHAOS, "check"),
                            *(os.path.join(self.logs, n) for n in os.listdir(self.logs))],
                           capture_output=True, text=True, timeout=10 * DEADLINE)
        return last, p.returncode, p.stdout

    def close(self):
        if self.proc.poll() is None:
            self.proc.kill()
        self.proc.wait()
        self.proc.stdin.close()
        self.proc.stdout.close()
        shutil.rmtree(self.logs, ignore_errors=True)


def test_a_crowd_is_judged_whole_though_every_process_was_replaced():
    """Mixed clients and a stream of publications on all edges, every process
    replaced three times: no socket closed, no gap, nothing missing or twice, by a
    checker that knows nothing of upgrades."""
    n = min(50000, ports() * 10 // 7) if full_size() else 600
    parts = {"sse": 30, "ndjson": 14, "poll": 10, "test": 10, "telnet": 18, "ws": 18}
    big = {"post": 40, "ws": 40, "telnet": 20} if full_size() else {"post": 8, "ws": 8, "telnet": 4}
    sets = ["namespace plain/.history=10M", "tcp.workers=1", "ws.workers=1", "http.workers=1",
            "http.instances=2"]
    with World(sets) as w:
        crowd = Judged(w, {k: n * part // 100 for k, part in parts.items()}, big,
                       n // 25, 1000 if full_size() else 200, 4 if full_size() else 1)
        try:
            crowd.say("ready", 6 * DEADLINE)
            for _ in range(TIMES):
                upgrade(w)
            last, code, said = crowd.judge()
        finally:
            crowd.close()
        equal(code, 0, said)
        equal((last["closed_by_peer"], last["gaps"], last["missed"], last["unknown"]), (0, 0, 0, 0))
        figure(f"{n} clients, {last['acked']} messages to {last['messages']} readers, {TIMES} "
               "upgrades: no socket closed, no gap, nothing twice")


def test_what_was_half_said_is_finished_to_the_successor():
    """A head, two bodies, a frame, a message in fragments, a line, telnet's
    own words: each cut in two by an upgrade."""
    with World() as w:
        head, body, behind, echoed = w.client(), w.client(), w.client(), w.client()
        head.send(b"GET /v1/hist")
        body.send(b"POST /v1/publish/user/a HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
                  b"Content-Length: 9\r\n\r\nhalf")
        behind.send(b"POST /v1/publish/user/b HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
                    b"Content-Length: 4\r\n\r\nfour"
                    b"POST /v1/publish/user/a HTTP/1.1\r\nHost: localhost\r\n")
        equal(behind.answer().status, 201)
        echoed.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
                    b"Transfer-Encoding: chunked\r\n\r\n5\r\nchunk\r\n6\r\ned")
        frame, parts = w.ws(), w.ws()
        text = json.dumps({"cmd": "publish", "channel": "user/a", "data": "frame", "ref": 1}).encode()
        frame.send(bytes([0x81, 0x80 | len(text)]) + b"\x01\x02\x03\x04" +
                   bytes(c ^ (i % 4 + 1) for i, c in enumerate(text[:20])))
        parts.frame("text", text[:10], fin=False)
        parts.send(bytes([0x80]))  # and half a header
        line, telnet = w.telnet(), w.telnet()
        line.send(b"NICK ana\r\n")
        check(line.line().startswith(b"OK NICK"), "NICK")
        line.send(b"PUB user/a li")
        telnet.send(b"PI\xff\xfd")
        upgrade(w)
        head.send(b"ory/user/a HTTP/1.1\r\nHost: localhost\r\n\r\n")
        equal(head.answer().status, 200)
        body.send(b"-body")
        equal(body.answer().status, 201)
        behind.send(b"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nagain")
        equal(behind.answer().status, 201)
        echoed.send(b"body\r\n0\r\n\r\n")
        equal(echoed.answer().body, b"chunkedbody")
        frame.send(bytes(c ^ (i % 4 + 1) for i, c in enumerate(text))[20:])
        equal(frame.reply(1)["ok"], True)
        rest = text[10:]
        parts.send(bytes([0x80 | len(rest)]) + b"\0\0\0\0" + rest)
        equal(parts.reply(1)["ok"], True)
        line.send(b"ne\r\n")
        check(line.line().startswith(b"OK PUB user/a"), "PUB")
        telnet.send(b"\x01NG\r\n")
        equal(telnet.line(), b"OK PING\r\n")
        kept = [(m["data"], m.get("from")) for m in w.json("/v1/history/user/a")["messages"]]
        equal(kept, [("half-body", None), ("again", None), ("frame", None), ("frame", None),
                     ("line", "ana")])
        for c in (head, body, behind, echoed, frame, parts, line, telnet):
            c.close()


def test_who_reads_pages_or_nothing_at_all_goes_on_from_there():
    """One is behind by pages of the store and reads slowly, one does not read
    what waits for it; both get all of it, in order."""
    text = "x" * 2000
    with World(["limits.page=20", "limits.queue=4M", "limits.queue_age=60s",
                "namespace user/.history=10K"]) as w:
        with w.ws() as p:
            for n in range(1, 1501):
                p.say(cmd="publish", channel="user/a", data=f"k0n{n}k{text}", ref=n)
                if n % 100 == 0:
                    p.reply(n)
            asleep = Ws(w.address("ws"), "/v1/ws?channel=user/a", room=4096)
            equal(asleep.item()["notice"], "welcome")
            pager = Ws(w.address("ws"), "/v1/ws?channel=user/a&since=0", room=4096)
            for n in range(1, 11):
                check(pager.message()["data"].startswith(f"k0n{n}k"), n)
            for n in range(1501, 1801):
                p.say(cmd="publish", channel="user/a", data=f"k0n{n}k{text}", ref=n)
                if n % 100 == 0:
                    p.reply(n)
            for _ in range(2):
                upgrade(w)
                check(pager.message()["data"].startswith("k0n"), "it goes on")
                n += 1
            for n in range(13, 1801):
                check(pager.message()["data"].startswith(f"k0n{n}k"), f"page {n}")
            for n in range(1501, 1801):
                check(asleep.message()["data"].startswith(f"k0n{n}k"), f"queue {n}")
            pager.close()
            asleep.close()


# ---- what fails costs nothing -----------------------------------------------

class Installed(World):
    """Its binaries lie in a directory of its own, where others can take their
    place."""

    def __init__(self, sets=(), **more):
        self.bin = tempfile.mkdtemp(prefix="tl-bin-")
        for name in os.listdir(world.BIN):
            shutil.copy(os.path.join(world.BIN, name), self.bin)
        super().__init__(sets, **more)

    def args(self, binary, *more):
        return [os.path.join(self.bin, binary), *super().args(binary, *more)[1:]]

    def install(self, name, script=None):
        """A shell script, or the real one again; as an installer does it."""
        path = os.path.join(self.bin, name)
        if script:
            with open(path + ".new", "w") as f:
                f.write("#!/bin/sh\n" + script)
            os.chmod(path + ".new", 0o755)
        else:
            shutil.copy(os.path.join(world.BIN, name), path + ".new")
        os.rename(path + ".new", path)

    def close(self, keep=False):
        super().close(keep)
        shutil.rmtree(self.bin, ignore_errors=True)


def test_a_router_that_would_not_start_costs_nothing():
    with Installed() as w, w.stream("/v1/stream?channel=user/a") as s:
        equal(s.item()["notice"], "snapshot")
        router = w.pids("router")
        w.install("touchline-router", "echo 'database: another format' >&2; exit 1\n")
        check("router-1: the new one would not start" in upgrade(w, 1), "why")
        equal(w.pids("router"), router)
        equal(w.publish("user/a", "one").status, 201)
        equal(s.message()["data"], "one")
        w.install("touchline-router")
        upgrade(w)
        equal(w.publish("user/a", "two").status, 201)
        equal(s.message()["data"], "two")


# By the predecessor's word, or the supervisor's, whoever notices first.
GONE = re.compile(r"http-1: (the successor has gone|the new one ended with .*); it stays as it is")


def test_a_successor_that_fails_costs_nothing():
    """One that ends at once, one of which nothing is heard and that is killed,
    and one that is killed in the middle."""
    with Installed() as w, w.stream("/v1/stream?channel=user/a") as s:
        equal(s.item()["notice"], "snapshot")
        http = w.pids("http")
        w.install("touchline-http", "exit 7\n")
        check(GONE.search(upgrade(w, 1)), w.log_tail())
        w.install("touchline-http", "exec sleep 1000\n")
        asked = subprocess.Popen([os.path.join(world.BIN, "touchline"), "upgrade", "--dir", w.dir],
                                 stdout=subprocess.PIPE)
        pid = eventually(lambda: sleepers(w), "it sleeps")[0]
        os.kill(pid, signal.SIGKILL)
        check(GONE.search(asked.communicate(timeout=DEADLINE)[0].decode()), w.log_tail())
        equal(w.pids("http"), http)
        equal(w.publish("user/a", "one").status, 201)
        equal(s.message()["data"], "one")
        w.install("touchline-http")
        check("http-1: replaced, " in upgrade(w), "replaced")
        check(w.pids("http") != http, "another process")
        equal(w.publish("user/a", "two").status, 201)
        equal(s.message()["data"], "two")


def sleepers(w):
    """Children of this touchline that are no binaries of ours."""
    out = []
    for pid in os.listdir("/proc"):
        try:
            with open(f"/proc/{pid}/stat") as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except (OSError, IndexError, ValueError):
            continue
        if w.proc and parent == w.proc.pid and words[0] == b"sleep":
            out.append(int(pid))
    return out


def test_a_predecessor_that_dies_is_started_again():
    with World() as w:
        old = w.pids("tcp")
        for pid in old:
            os.kill(pid, signal.SIGSTOP)
        asked = subprocess.Popen([os.path.join(world.BIN, "touchline"), "upgrade", "--dir", w.dir],
                                 stdout=subprocess.PIPE)
        eventually(lambda: len(w.pids("tcp")) > len(old), "the successor is there")
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        asked.communicate(timeout=DEADLINE)
        equal(asked.returncode, 1)
        eventually(lambda: len(w.pids("tcp")) == 1 and w.pids("tcp") != old, "started again")
        with w.telnet() as t:
            t.send(b"PING\r\n")
            equal(t.line(), b"OK PING\r\n")


def test_one_upgrade_at_a_time():
    with World() as w:
        first = subprocess.Popen([os.path.join(world.BIN, "touchline"), "upgrade", "--dir", w.dir],
                                 stdout=subprocess.PIPE)
        eventually(lambda: "upgrade.begin" in w.log_tail(20000), "begun")
        second = subprocess.run([os.path.join(world.BIN, "touchline"), "upgrade", "--dir", w.dir],
                                capture_output=True, timeout=DEADLINE)
        out = first.communicate(timeout=2 * DEADLINE)[0]
        equal(first.returncode, 0, out)
        if second.returncode:
            equal(second.stdout, b"an upgrade is under way\n")


def test_a_signal_does_what_the_command_does():
    with World() as w, w.ws() as c:
        c.say(cmd="subscribe", channel="user/a", ref=1).reply(1)
        before = {kind: w.pids(kind) for kind in ("router", *EDGES)}
        w.proc.send_signal(signal.SIGUSR2)
        eventually(lambda: "everything is replaced" in w.log_tail(), "replaced", 3 * DEADLINE)
        for kind, pids in before.items():
            eventually(lambda: not set(pids) & set(w.pids(kind)), kind)
        equal(w.publish("user/a", "x").status, 201)
        equal(c.message()["data"], "x")
        eventually(lambda: w.metric("taken_over_total") >= 1, "taken_over_total")


def test_several_instances_and_workers_are_replaced_too():
    with World(["http.instances=2", "http.workers=2", "ws.workers=3"]) as w:
        streams = [w.stream(f"/v1/stream?channel=user/{k}") for k in range(20)]
        for s in streams:
            equal(s.item()["notice"], "snapshot")
        said = upgrade(w)
        for name in ("router-1", "http-1", "http-2", "tcp-1", "ws-1"):
            check(f"{name}: replaced" in said, said)
        for k, s in enumerate(streams):
            equal(w.publish(f"user/{k}", str(k)).status, 201)
            equal(s.message()["data"], str(k))
            s.close()


# ---- who ends, and when -------------------------------------------------------

def test_who_says_goodbye_and_reads_nothing_holds_up_no_upgrade():
    """A close frame waits a second for what its sender has published, which is
    behind all that it does not read; one such client comes after the other."""
    with World(["limits.queue=4M", "limits.queue_age=60s"]) as w:
        asleep = [Ws(w.address("ws"), "/v1/ws?channel=user/a", room=4096) for _ in range(40)]
        for c in asleep:
            equal(c.item()["notice"], "welcome")
        with w.ws() as p:
            for n in range(300):
                p.say(cmd="publish", channel="user/a", data="x" * 15000, ref=n)
                p.reply(n)
        over = threading.Event()

        def leave():
            for c in asleep:
                c.say(cmd="publish", channel="user/a", data="last", ref=1)
                c.send(b"\x88\x80\0\0\0\0")
                over.wait(0.05)

        leaving = threading.Thread(target=leave)
        leaving.start()
        try:
            check("ws-1: replaced" in upgrade(w), "replaced")
        finally:
            over.set()
            leaving.join()
        for c in asleep:
            c.close()


def test_touchline_ends_though_a_predecessor_died_and_its_successor_has_not_come_up():
    with World() as w:
        old = w.pids("tcp")
        for pid in old:
            os.kill(pid, signal.SIGSTOP)
        asked = subprocess.Popen([os.path.join(world.BIN, "touchline"), "upgrade", "--dir", w.dir],
                                 stdout=subprocess.PIPE)
        eventually(lambda: len(w.pids("tcp")) > len(old), "the successor is there")
        for pid in set(w.pids("tcp")) - set(old):
            os.kill(pid, signal.SIGSTOP)
        for pid in old:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in old), "reaped")
        equal(w.stop(), 0)
        asked.communicate(timeout=DEADLINE)
        equal(asked.returncode, 1)


def test_the_signal_to_everybody_of_that_name_ends_nobody():
    with World() as w:
        before = {kind: w.pids(kind) for kind in ("router", *EDGES)}
        for pids in before.values():
            for pid in pids:
                os.kill(pid, signal.SIGUSR2)
        equal(w.publish("user/a", "x").status, 201)
        equal({kind: w.pids(kind) for kind in before}, before)


def test_a_predecessor_that_hangs_when_it_has_handed_over_is_killed():
    """One client is on its way out, and reads nothing: it stays behind."""
    with World(["limits.drain_wait=1s", "limits.queue_age=60s"]) as w:
        with w.ws() as p:
            for n in range(200):
                p.say(cmd="publish", channel="user/a", data="x" * 15000, ref=n)
                p.reply(n)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.connect(w.address("http"))
            s.sendall(b"GET /v1/history/user/a?limit=200 HTTP/1.1\r\nHost: localhost\r\n"
                      b"Connection: close\r\n\r\n")
            check(s.recv(1, socket.MSG_PEEK), "it is answered")
            old = w.pids("http")
            asked = subprocess.Popen([os.path.join(world.BIN, "touchline"), "upgrade", "--dir",
                                      w.dir], stdout=subprocess.PIPE, text=True)
            for line in asked.stdout:
                if line.startswith("http-1: replaced"):
                    os.kill(old[0], signal.SIGSTOP)
            equal(asked.wait(DEADLINE), 0)
            eventually(lambda: "did not end in time" in w.log_tail(), "killed")
            eventually(lambda: len(w.pids("http")) == 1 and w.pids("http") != old, "gone")
        equal(w.stop(), 0)
