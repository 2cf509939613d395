"""Every process replaced by another one while clients stay connected."""
import json
import os
import re
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import world
from world import (DEADLINE, EDGES, Http, Stream, Tcp, World, Ws, check, equal, eventually,
                   figure, full_size)

SLOW = True

sys.path.insert(0, os.path.join(world.ROOT, "tests", "chaos"))
from inject import Injector  # noqa: E402

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
        began = time.monotonic()
        crowd = Judged(w, {k: n * part // 100 for k, part in parts.items()}, big,
                       n // 25, 1000 if full_size() else 200, 4 if full_size() else 1)
        try:
            crowd.say("ready", 6 * DEADLINE)
            for _ in range(TIMES):
                upgrade(w)
            took = time.monotonic() - began  # it publishes from its first client on
            last, code, said = crowd.judge()
        finally:
            crowd.close()
        equal(code, 0, said)
        equal((last["closed_by_peer"], last["gaps"], last["missed"], last["unknown"]), (0, 0, 0, 0))
        figure(f"{n} clients, {last['acked']} messages to {last['messages']} readers, {TIMES} "
               f"upgrades: no socket closed, no gap, nothing twice; {last['acked'] / took:.0f} "
               "publications a second")


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
        pid = eventually(lambda: children(w, "sleep"), "it sleeps")[0]
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


def children(w, name):
    """Of this touchline, those of which this is the program."""
    out = []
    for pid in os.listdir("/proc"):
        try:
            with open(f"/proc/{pid}/stat") as f:
                parent = int(f.read().rsplit(")", 1)[1].split()[1])
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except (OSError, IndexError, ValueError):
            continue
        if w.proc and parent == w.proc.pid and os.path.basename(words[0]) == name.encode():
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


# ---- nobody alone holds it up -------------------------------------------------

BIG = "x" * 10000 # so that what a socket takes is a part of it
PAGES = ["limits.page=20", "limits.queue=4M", "limits.queue_age=60s",
         "namespace user/.history=10K"]


def stored(w, channel, n):
    """So many messages k0n<number>k, each of 10,000 bytes."""
    with w.ws() as p:
        for i in range(1, n + 1):
            p.say(cmd="publish", channel=channel, data=f"k0n{i}k{BIG}", ref=i)
            if i % 100 == 0 or i == n:
                p.reply(i)


def test_who_subscribes_behind_pages_that_it_does_not_read_is_handed_over():
    """Its second subscription begins when the first has: the successor answers
    it, and all that was behind it in line."""
    with World(PAGES) as w:
        stored(w, "user/a", 1200)
        equal(w.publish("user/b", "second").status, 201)
        ws = Ws(w.address("ws"), "/v1/ws?channel=user/a&since=0", room=4096)
        check(ws.message()["data"].startswith("k0n1k"), "it reads a page")
        ws.say(cmd="subscribe", channel="user/b", since="0", ref="second")
        ws.say(cmd="subscribe", channel="room/c", name="ana", ref=[3])
        ws.say(cmd="subscribe", channel="match/*", ref=4)
        t, gone = (Tcp(w.address("tcp"), room=4096) for _ in range(2))
        for c in (t, gone):
            c.until(b"your-name>\r\n")
            c.send(b"SUB user/a 0\r\n")
            check(c.line().startswith(b"OK SUB user/a"), "OK SUB")
            c.send(b"SUB user/b 0\r\nPUB user/d behind\r\nPING\r\n")
        gone.sock.shutdown(socket.SHUT_WR)
        for _ in range(2):
            said = upgrade(w)
            check("ws-1: replaced, 1 clients kept" in said, said)
            check("tcp-1: replaced, 2 clients kept" in said, said)
        for n in range(2, 1201):
            check(ws.message()["data"].startswith(f"k0n{n}k"), f"page {n}")
        replies, seen = {}, []
        while len(replies) < 3 or "second" not in seen:
            item = ws.item()
            if "ref" in item:
                check(item.get("ok"), item)
                replies[str(item["ref"])] = item
            elif "data" in item:
                check(item["channel"] != "user/a", item)
                seen.append(item["data"])
        equal(sorted(replies), ["4", "[3]", "second"])
        equal(replies["second"]["channel"], "user/b")
        for c in (t, gone):
            for n in range(1, 1201):
                check(b"k0n%dk" % n in c.line(), f"line {n}")
            check(c.line().startswith(b"OK SUB user/b"), "OK SUB")
        due = [b"OK PUB user/d", b"OK PING", b"user/b - -: second"]
        while due:
            line = t.line()
            due = [x for x in due if not line.startswith(x)]
        rest = gone.all()  # it is answered what it has asked, and ends
        check(b"OK PUB user/d" in rest and b"OK PING" in rest, rest)
        for c in (ws, t, gone):
            c.close()


class Trickle:
    """Clients that are in the middle of something and go on with it, a byte at a
    time, or as fast as they may: send(socket) is called again and again."""

    def __init__(self, clients, every=0.01):
        self.clients, self.every, self.over = clients, every, threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.over.wait(self.every):
            for sock, data in self.clients:
                try:
                    sock.send(data, socket.MSG_DONTWAIT)
                except OSError:
                    pass

    def close(self):
        self.over.set()
        self.thread.join()


def test_no_client_alone_delays_an_upgrade():
    """Bodies that never end, heads, headers of proxies and handshakes of which
    half is there, requests whose answers nobody reads, fragments, floods of pings
    and publications, and clients who come and go all the while."""
    behind = [f"{k}.trusted_proxies=127.0.0.1" for k in EDGES]
    with World(["limits.header_wait=60s", "limits.handshake_wait=60s", *behind,
                "http.websocket=on", "limits.control_frames_per_second=0"]) as w:
        stored(w, "user/a", 40)
        post = b"POST /v1/publish%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\n%s\r\n"
        plain = lambda more: post % (b"/user/b", b"text/plain", more)
        slow, endless, expects, head = (w.client() for _ in range(4))
        slow.send(plain(b"Content-Length: 60000\r\n"))
        endless.send(plain(b"Transfer-Encoding: chunked\r\n"))
        expects.send(plain(b"Expect: 100-continue\r\nContent-Length: 9\r\n"))
        expects.until(b"100 Continue\r\n\r\n")
        head.send(b"GET /v1/history/user/a HTTP/1.1\r\nX-A: ")
        trickles = [(slow.sock, b"x"), (endless.sock, b"1\r\nx\r\n"), (head.sock, b"a")]
        headers = []
        for kind in EDGES:
            c = Tcp(w.address(kind), b"PROXY TCP4 192.0.2.1 192.0.2.2 56")
            trickles.append((c.sock, b""))
            headers.append(c)
        asked = w.client()
        asked.send(b"GET /v1/history/user/a?last=40 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 60)
        batch = json.dumps([{"channel": "user/c", "data": n} for n in range(256)]).encode()
        many = Http(w.address("http"), room=4096)
        many.send((post % (b"", b"application/json", b"Content-Length: %d\r\n" % len(batch))
                   + batch) * 20)
        polls = w.client()
        polls.send(b"GET /v1/poll?channel=user/e HTTP/1.1\r\nHost: localhost\r\n\r\n"
                   b"GET /v1/poll?channel=user/e&since=0&wait=60 HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        shakes = [Tcp(w.address(kind), b"GET /v1/ws?channel=user/a HTTP/1.1\r\nUpgrade: webso")
                  for kind in ("http", "ws")]
        parts, pings, talks = w.ws(), w.ws(), w.ws()
        parts.frame("text", b"{", fin=False)
        trickles += [(parts.sock, b"\x00\x81\0\0\0\0 "), (pings.sock, b"\x89\x80\0\0\0\0" * 1000)]
        said = json.dumps({"cmd": "publish", "channel": "user/f", "data": "x"}).encode()
        trickles.append((talks.sock, bytes([0x81, 0x80 | len(said)]) + b"\0\0\0\0" + said))
        lists = Tcp(w.address("tcp"), b"HISTORY user/a 40\r\n" * 200, room=4096)
        telnet = Tcp(w.address("tcp"), b"\xff\xfa")
        trickles += [(telnet.sock, b"x"), (lists.sock, b"HISTORY user/a 40\r\n")]
        over = threading.Event()

        def come_and_go():
            while not over.wait(0.005):
                for kind in EDGES:
                    try:
                        socket.create_connection(w.address(kind), 1).close()
                    except OSError:
                        pass

        passers = threading.Thread(target=come_and_go)
        passers.start()
        trickle = Trickle(trickles)
        try:
            for _ in range(2):
                before = time.monotonic()
                answer = upgrade(w)
                check("everything is replaced" in answer, answer)
                check(" cut" not in answer, answer)
                figure(f"an upgrade among them: {time.monotonic() - before:.1f} s")
        finally:
            trickle.close()
            over.set()
            passers.join()
        expects.send(b"its body!")
        equal(expects.answer().status, 201)
        headers[0].send(b"789 80\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        check(headers[0].line().startswith(b"HTTP/1.1 200"), "behind a proxy's header")
        headers[1].send(b"789 80\r\nPING\r\n")
        check(headers[1].until(b"OK PING\r\n"), "behind a proxy's header")
        rest = (b"cket\r\nHost: localhost\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
        for c in shakes:
            c.send(rest)
            check(c.line().startswith(b"HTTP/1.1 101"), "the handshake")
        equal(sum(1 for _ in range(60) if asked.answer().status == 200), 60)
        for c in (slow, endless, expects, head, asked, many, polls, parts, pings, talks, lists,
                  telnet, *headers, *shakes):
            c.close()


def successor_of(w, kind, before):
    """The pid of one that has been started beside those."""
    return eventually(lambda: set(w.pids(kind)) - set(before), f"the successor of {kind}").pop()


def asking(w):
    return subprocess.Popen([os.path.join(world.BIN, "touchline"), "upgrade", "--dir", w.dir],
                            stdout=subprocess.PIPE, text=True)


class Witness:
    """A client of each edge: all hear the same, each thing once."""

    def __init__(self, w):
        self.w, self.n = w, 0
        self.stream, self.ws, self.telnet = (w.stream("/v1/stream?channel=user/a"), w.ws(),
                                             w.telnet())
        equal(self.stream.item()["notice"], "snapshot")
        self.ws.say(cmd="subscribe", channel="user/a", ref=1).reply(1)
        self.telnet.send(b"SUB user/a\r\n")
        check(self.telnet.line().startswith(b"OK SUB"), "OK SUB")

    def hear(self):
        self.n += 1
        equal(self.w.publish("user/a", f"word{self.n}").status, 201)
        self.heard()

    def heard(self):
        equal(self.stream.message()["data"], f"word{self.n}")
        equal(self.ws.message()["data"], f"word{self.n}")
        check(self.telnet.line().endswith(b": word%d\r\n" % self.n), "telnet")

    def close(self):
        for c in (self.stream, self.ws, self.telnet):
            c.close()


def test_a_successor_that_stands_still_costs_nothing():
    """Before it says a word its predecessor serves as ever. In the middle of it
    all waits for it, for 5 s, and goes on with one of the two."""
    with Installed() as w:
        witness = Witness(w)
        before = w.pids("http")
        w.install("touchline-http", "kill -STOP $$\n")
        asked = asking(w)
        pid = eventually(lambda: children(w, "sh"), "the successor")[0]
        eventually(lambda: is_stopped(pid), "it stands still")
        witness.hear()
        os.kill(pid, signal.SIGKILL)
        check(GONE.search(asked.communicate(timeout=DEADLINE)[0]), w.log_tail())
        equal(asked.returncode, 1)
        witness.hear()
        w.install("touchline-http")
        for pause in (0.01, 0.04, 0.07, 0.1):
            before, asked = w.pids("http"), asking(w)
            pid = successor_of(w, "http", before)
            threading.Event().wait(pause)
            os.kill(pid, signal.SIGSTOP)
            said = asked.communicate(timeout=2 * DEADLINE)[0]
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                check("http-1: the successor" in said, said)
            witness.hear()
        check("everything is replaced" in upgrade(w), "again")
        witness.hear()
        witness.close()


def holds_hup(pid):
    with open(f"/proc/{pid}/status") as f:
        return any(int(x, 16) & 1 for x in re.findall(r"Sig(?:Blk|Cgt):\s*(\w+)", f.read()))


def is_stopped(pid):
    with open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "T"


def test_signals_and_questions_in_the_middle_of_an_upgrade():
    """A reload, SIGHUP to a successor that starts, another SIGUSR2: each has its
    turn, and the upgrade goes on."""
    with World(config="[log]\nlevel = info\n[limits]\npage = 100\n") as w:
        witness = Witness(w)
        before = w.pids("tcp")
        for pid in before:
            os.kill(pid, signal.SIGSTOP)
        asked = asking(w)
        pid = successor_of(w, "tcp", before)
        w.proc.send_signal(signal.SIGUSR2)
        eventually(lambda: "an upgrade is under way" in w.log_tail(20000), "refused")
        eventually(lambda: holds_hup(pid), "it is past its beginning")
        with open(w.config, "w") as f:
            f.write("[log]\nlevel = info\n[limits]\npage = 50\n")
        w.proc.send_signal(signal.SIGHUP)
        os.kill(pid, signal.SIGHUP)
        for pid in before:
            os.kill(pid, signal.SIGCONT)
        said = asked.communicate(timeout=DEADLINE)[0]
        equal(asked.returncode, 0, said)
        check("tcp-1: replaced, 1 clients kept" in said, said)
        eventually(lambda: 'config.changed key="limits.page"' in w.log_tail(20000), "read again")
        witness.hear()
        p = subprocess.run([os.path.join(world.BIN, "touchline"), "reload", "--dir", w.dir],
                           capture_output=True, timeout=DEADLINE)
        equal(p.returncode, 0, p.stdout + p.stderr)
        check("everything is replaced" in upgrade(w), "again")
        witness.hear()
        witness.close()


def test_touchline_that_is_ended_in_the_middle_of_an_upgrade_ends_in_order():
    """At each step of it; clients are told, and nothing stays behind."""
    for kind in ("router", "http", "ws"):
        with World(["limits.drain_wait=2s"]) as w:
            witness = Witness(w)
            witness.hear()
            asked = asking(w)
            eventually(lambda: "upgrade.begin" in w.log_tail(20000), "begun")
            if kind != "router":
                successor_of(w, kind, w.pids(kind))
            equal(w.stop(), 0)
            said = asked.communicate(timeout=DEADLINE)[0]
            if asked.returncode:
                check("the upgrade has ended before its end" in said, said)
            equal([w.pids(k) for k in ("router", *EDGES)], [[], [], [], []])
            witness.close()


class Strange(Installed):
    """Its successors get what they ask of the system by an Injector's rules; the
    processes that were there before do not."""

    def __init__(self, faults, sets=()):
        self.faults = faults
        super().__init__(sets, under=faults.base)

    def strange(self, name):
        env = " ".join(f"{k}='{v}'" for k, v in self.faults.env.items())
        real = os.path.join(self.bin, "real", name)
        os.makedirs(os.path.dirname(real), exist_ok=True)
        shutil.copy(os.path.join(world.BIN, name), real)
        self.install(name, f"exec env {env} {real} \"$@\"\n")


def test_a_successor_without_memory_or_threads_costs_nothing():
    """Memory that is refused at one call, wherever it takes the clients up, and
    threads that it cannot have: it is refused, or does without."""
    with Injector() as faults, Strange(faults, ["ws.workers=2", "http.workers=3"]) as w:
        witness = Witness(w)
        stored(w, "user/b", 50)
        crowd = [w.stream(f"/v1/stream?channel=user/{k}") for k in range(60)]
        for s in crowd:
            equal(s.item()["notice"], "snapshot")
        w.strange("touchline-http")
        with faults.rule("thread", process="http", error="EAGAIN", at=10 ** 6,
                         caller="own") as rule:
            upgrade(w)
            threads = rule.seen  # the last are those of its workers
        witness.hear()
        with faults.rule("thread", process="http", error="EAGAIN", at=threads, times=1,
                         caller="own") as rule:
            said = upgrade(w, 1)
            equal(rule.struck, 1)
            check("http-1: cannot start the threads of its workers" in said, said)
        witness.hear()
        refused = 0
        for at in (20, 150, 400, 700, 1200):
            with faults.rule("memory", process="http", error="ENOMEM", at=at, times=1,
                             caller="own") as rule:
                code = subprocess.run([os.path.join(world.BIN, "touchline"), "upgrade", "--dir",
                                       w.dir], stdout=subprocess.DEVNULL,
                                      timeout=DEADLINE).returncode
                refused += code == 1 and rule.struck
            witness.hear()
        check(refused, "no successor was refused memory")
        check("everything is replaced" in upgrade(w), "again")
        witness.hear()
        for k, s in enumerate(crowd):
            equal(w.publish(f"user/{k}", str(k)).status, 201)
            equal(s.message()["data"], str(k))
            s.close()
        witness.close()


def test_a_full_disk_costs_an_upgrade_nothing():
    """A router that starts without room is refused, or starts and says so; who
    is connected stays, and goes on when there is room."""
    with Injector() as faults, World(under=faults.base, env=faults.env) as w:
        witness = Witness(w)
        witness.hear()
        with faults.rule("write resize allocate", "db wal shm other", process="router",
                         error="ENOSPC"):
            p = subprocess.run([os.path.join(world.BIN, "touchline"), "upgrade", "--dir", w.dir],
                               capture_output=True, timeout=3 * DEADLINE)
            figure(f"an upgrade on a full disk: exit {p.returncode}, {p.stdout[:200]}")
        eventually(lambda: w.publish("user/b", "x").status == 201, "there is room again")
        witness.hear()
        check("everything is replaced" in upgrade(w), "again")
        witness.hear()
        witness.close()


def test_a_clock_that_jumps_does_not_hinder_workers_from_coming_to_rest_together():
    with Injector() as faults, World(["http.workers=3"], under=faults.base, env=faults.env) as w:
        witness = Witness(w)
        for hours in (-24, 24):
            with faults.rule("clock", process="http", act="shift", arg=hours * 3600 * 10 ** 9,
                             caller="own"):
                check("http-1: replaced" in upgrade(w), "replaced")
            witness.hear()
        witness.close()


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
