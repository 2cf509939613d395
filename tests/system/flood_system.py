"""touchline-flood: every edge of a running Touchline, servers of others by
template, what it says of a server that loses, doubles or swaps messages, and
how it ends."""
import contextlib
import csv
import io
import json
import os
import pty
import re
import resource
import selectors
import signal
import socket
import subprocess
import threading

from world import (BIN, DEADLINE, ROOT, Lines, World, check, equal, eventually, figure,
                   readable)

FLOOD = os.path.join(BIN, "touchline-flood")
DONE, FAILED, USAGE, NOBODY = 0, 1, 2, 3
CSV = ("time,active,opened,closed,failed,received,lost,duplicates,"
       "p50_us,p90_us,p99_us,p999_us,max_us")


def flood(*args, before=None):
    """(exit code, report, what it said)"""
    p = subprocess.run([FLOOD, "--quiet", "--json", "-", *map(str, args)], capture_output=True,
                       timeout=60, preexec_fn=before)
    said = p.stderr.decode()
    return p.returncode, json.loads(p.stdout) if p.stdout else None, said


def at(world):
    """Where this world listens, as flood reads a configuration."""
    return [x for kind in ("http", "tcp", "ws")
            for x in ("--set", "{}.listen={}:{}".format(kind, *world.address(kind)))]


def good(*args, **named):
    code, report, said = flood(*args, **named)
    check(code == DONE, f"{args}: exit {code}\n{said}")
    for name in ("failed", "lost", "duplicates", "reordered", "told", "silent"):
        equal(report[name], 0, f"{name} of {args}")
    return report


# ---- Touchline -----------------------------------------------------------------

CROWD = ("--connections", 40, "--ids", "flood/1..10", "--hold", "all")
PUBLISH = ("--publish", 400, "--messages", 100)


def test_every_edge_that_hears_messages_gets_all_of_them_once():
    with World() as w:
        edges = [("stream",), ("sse",), ("poll",), ("test",), ("ws",),
                 ("lines", "--ready", "OK SUB")]
        for edge, *more in edges:
            r = good(*at(w), "--edge", edge, *more, *CROWD, *PUBLISH)
            equal((r["edge"], r["up"], r["published"]["sent"], r["published"]["due"],
                   r["received"]), (edge, 40, 100, 400, 400), edge)
            for name in ("connect_us", "welcome_us", "first_us"):
                equal(r[name]["count"], 40, f"{edge}: {name}")
            equal(r["latency_us"]["count"], 400, edge)
            equal(r["last_us"]["count"], 100, f"{edge}: a last watcher each")
            check(r["latency_us"]["p50"] <= r["latency_us"]["p99"] <= r["latency_us"]["max"],
                  r["latency_us"])
            check(r["probe"]["visits"] >= 1 and r["probe"]["first_us"]["count"] >= 1, r["probe"])


def start_match(w):
    for team in ("elp", "tig"):
        w.http("PUT", f"/v1/teams/{team}", json.dumps({"name": team}),
               {"Content-Type": "application/json"})
    for path, body in (("/v1/matches", {"home": "elp", "visit": "tig",
                                        "start_time": "2011-09-13"}),
                       ("/v1/matches/elp-tig-2011-09-13/events", {"kind": "start"})):
        a = w.http("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        equal(a.status, 201, path)


def test_watchers_by_telnet_get_every_frame_of_a_match():
    with World() as w:
        code, r, said = flood(*at(w), "--edge", "telnet", "--connections", 5, "--hold", 1)
        equal((code, r["failures"]["answer"]), (FAILED, 5), "there is no match yet")
        check("ERROR match.none" in r["sample"] and "sample: ERROR match.none" in said, said)
        start_match(w)
        r = good(*at(w), "--edge", "telnet", "--connections", 40, "--hold", "all",
                 "--ids", "match/elp-tig-2011-09-13", *PUBLISH,
                 "--publish-header", "Content-Type: application/json\\r\\n",
                 "--body", '{"kind":"status","data":{"comment":"{mark}"}}', "--size", 0)
        equal((r["received"], r["latency_us"]["count"], r["last_us"]["count"]),
              (4000, 4000, 100), "frames")


def test_plain_requests_and_bare_connections():
    with World() as w:
        r = good(*at(w), "--edge", "http", "--connections", 10, "--hold", "500ms")
        check(r["answers"] > 10 and r["answer_us"]["count"] == r["answers"], r["answers"])
        r = good(*at(w), "--edge", "http", "--connections", 3, "--hold", "500ms", "--script",
                 "request delay(10) request repeat(2)")
        check(r["finished"] >= 3 and r["answers"] >= 4 * r["finished"], r)
        r = good(*at(w), "--edge", "tcp", "--connections", 10, "--hold", "100ms")
        equal((r["up"], r["closed"]), (10, 10))


def test_what_others_publish_is_checked_by_its_offsets_and_a_gap_is_told():
    with World() as w:
        for n in range(10):
            w.publish("few/1", f"message {n}")
        args = (*at(w), "--ids", "few/1", "--connections", 3, "--hold", "300ms", "--probe", "none")
        r = good(*args, "--url", "/v1/stream?channel={id}&since=0")
        equal((r["received"], r["gaps"]), (30, 0))
        r = good(*args, "--url", "/v1/stream?channel={id}&since=anotherone-7")
        equal((r["received"], r["gaps"]), (0, 3))


# ---- servers of others ------------------------------------------------------------

class Foreign:
    """Speaks lines of its own: SUB ID, PUB ID SIZE and that many bytes; asks
    HELLO of everybody and wants HI. spoil(id, n, line): the lines that the first
    subscriber of an id gets for its n-th message, counted from 1."""

    def __init__(self, spoil=None):
        self.spoil = spoil or (lambda channel, n, line: [line])
        self.subscribers, self.counts, self.greeted = {}, {}, 0
        self.server = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.address = "127.0.0.1:%d" % self.server.getsockname()[1]
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.server, selectors.EVENT_READ, self.accept)
        self.ours, theirs = socket.socketpair()
        self.selector.register(theirs, selectors.EVENT_READ, None)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    return
                key.data(key.fileobj)

    def greet(self, c):
        c.sendall(b"HELLO\r\n")

    def answer(self, c):
        c.sendall(b"+OK\r\n")

    def accept(self, server):
        c, _ = server.accept()
        self.greet(c)
        rest = bytearray()
        self.selector.register(c, selectors.EVENT_READ, lambda sock: self.read(sock, rest))

    def read(self, c, rest):
        try:
            got = c.recv(65536)
        except ConnectionResetError:
            got = b""
        if not got:
            self.selector.unregister(c)
            for subscribers in self.subscribers.values():
                if c in subscribers:
                    subscribers.remove(c)
            c.close()
            return
        rest += got
        self.take(c, rest)

    def take(self, c, rest):
        while b"\r\n" in rest:
            line, after = bytes(rest).split(b"\r\n", 1)
            words = line.split() or [b""]
            if words[0] == b"PUB":
                size = int(words[2])
                if len(after) < size + 2:
                    return
                self.publish(words[1], after[:size])
                after = after[size + 2:]
                self.answer(c)
            elif words[0] == b"SUB":
                self.subscribers.setdefault(words[1], []).append(c)
                c.sendall(b"+OK " + words[1] + b"\r\n")
            elif words[0] == b"HI":
                self.greeted += 1
            rest[:] = after

    def publish(self, channel, body):
        n = self.counts[channel] = self.counts.get(channel, 0) + 1
        for i, c in enumerate(list(self.subscribers.get(channel, []))):
            for line in self.spoil(channel, n, body) if i == 0 else [body]:
                c.sendall(b"MSG " + channel + b" " + line + b"\r\n")

    def flood(self, *args):
        """Each of 4 ids has 3 clients, 25 messages."""
        return flood("--edge", "lines", "--target", self.address, "--ready", "+OK",
                     "--reply", "HELLO=HI\\r\\n", "--ids", "a/1..4", "--connections", 12,
                     "--hold", "all", "--publish", 1000, "--messages", 100, "--probe", "none",
                     "--publish-line", "PUB {id} {size}\\r\\n{body}\\r\\n", *args)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ours.close()
        self.thread.join(DEADLINE)
        self.server.close()


def test_a_server_of_others_by_templates():
    with Foreign() as server:
        code, r, said = server.flood()
        equal((code, r["received"], r["lost"], r["duplicates"], r["reordered"]),
              (DONE, 300, 0, 0, 0), said)
        equal((r["published"]["answered"], r["last_us"]["count"]), (101, 100),
              "HELLO, and an answer each; a last watcher each")
        equal(server.greeted, 12, "HELLO is answered")


def test_who_begins_to_deliver_late_is_waited_for():
    class Late(Foreign):
        """Two seconds behind the last one: --drain says for how long that may be."""

        def publish(self, channel, body):
            self.held = getattr(self, "held", []) + [(channel, body)]
            if len(self.held) == 100:
                readable(self.ours, 2)
                for held in self.held:
                    super().publish(*held)

    with Late() as server:
        code, r, said = server.flood("--drain", 20)
        equal((code, r["received"], r["lost"]), (DONE, 300, 0), said)


def spoilt(spoil):
    with Foreign(spoil) as server:
        code, r, said = server.flood()
        equal(code, FAILED, said)
        return r["received"], r["lost"], r["duplicates"], r["reordered"]


def test_a_message_that_is_dropped_is_one_lost():
    def drop(which):
        return lambda channel, n, line: [] if (channel, n) == (b"a/2", which) else [line]

    equal(spoilt(drop(10)), (299, 1, 0, 0), "from the middle")
    equal(spoilt(drop(1)), (299, 1, 0, 0), "the first")
    equal(spoilt(drop(25)), (299, 1, 0, 0), "the last")


def test_the_last_one_that_nobody_gets_is_lost_three_times():
    class Mute(Foreign):
        def publish(self, channel, body):
            if channel == b"a/3" and self.counts.get(channel) == 24:
                return
            super().publish(channel, body)

    with Mute() as server:
        code, r, said = server.flood()
        equal((code, r["received"], r["lost"]), (FAILED, 297, 3), said)


def test_what_comes_twice_or_late_is_that():
    held = []

    def twice(channel, n, line):
        return [line, line] if (channel, n) == (b"a/1", 7) else [line]

    def late(channel, n, line):
        if channel != b"a/1" or n not in (7, 8, 9):
            return [line]
        held.append(line)
        return [] if n != 9 else [held[2], held[0], held[1]]

    equal(spoilt(twice), (301, 0, 1, 0), "twice")
    with Foreign(late) as server:
        code, r, said = server.flood()
        equal((code, r["received"], r["lost"], r["duplicates"], r["reordered"]),
              (FAILED, 300, 0, 0, 2), said)


def test_who_gets_nothing_though_others_do_is_silent():
    """Somebody else publishes: flood has only what its clients see."""
    def deaf(channel, n, line):
        return []

    with Foreign(deaf) as server:
        p = subprocess.Popen([FLOOD, "--edge", "lines", "--target", server.address, "--ready",
                              "+OK", "--ids", "a/1", "--connections", "3", "--hold", "all",
                              "--probe", "none", "--json", "-", "--quiet"],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        eventually(lambda: len(server.subscribers.get(b"a/1", [])) == 3, "all are there")
        with socket.create_connection(server.server.getsockname()) as c:
            for n in range(1, 6):
                body = b"mark n=%d t=1" % n
                c.sendall(b"PUB a/1 %d\r\n%s\r\n" % (len(body), body))
            lines = Lines(c, c.recv)
            for _ in range(6):
                lines.line()
            p.send_signal(signal.SIGINT)
            r = json.loads(p.communicate(timeout=DEADLINE)[0])
        equal((r["received"], r["silent"]), (10, 1))


class ClosesAfterTen:
    """A server for POST alone, which ends each connection behind ten answers."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.server.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                c, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(c,), daemon=True).start()

    def serve(self, c):
        rest = b""
        for n in range(10):
            while b"\r\n\r\n" not in rest or not rest.split(b"\r\n\r\n", 1)[1]:
                got = c.recv(65536)
                if not got:
                    return
                rest += got
            self.connections += n == 0
            rest = rest.split(b"\r\n\r\n.", 1)[1]
            c.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        c.close()


def test_a_publisher_comes_again_where_a_connection_ends_behind_its_answers():
    server = ClosesAfterTen()
    try:
        code, r, said = flood("--target", server.address, "--edge", "tcp", "--connections", 1,
                              "--probe", "none", "--publish-target", server.address,
                              "--publish", 20, "--burst", 10, "--messages", 30, "--hold", "all",
                              "--body", ".", "--size", 0, "--drain", 0)
    finally:
        server.server.close()
    p = r["published"]
    equal((p["sent"], p["answered"], p["refused"], p["failed"], server.connections),
          (30, 30, 0, False, 3), said)


# ---- answers that a publisher waits for ------------------------------------------

def test_a_publisher_greets_and_counts_the_answers_alone():
    """HELLO is said to it, and +OK for what it subscribes to, before it may publish."""
    with Foreign() as server:
        code, r, said = server.flood("--publish-hello", "SUB ready/{n}\\r\\n", "--publish-ready",
                                     "+OK ready", "--publish-answer", "+OK", "--publishers", 2)
        equal((code, r["received"], r["published"]["sent"], r["published"]["answered"],
               r["published"]["refused"]), (DONE, 300, 100, 100, 0), said)
        equal(sorted(k for k in server.subscribers if k.startswith(b"ready/")),
              [b"ready/0", b"ready/1"])


def test_a_publisher_that_is_never_let_in_says_so():
    with Foreign() as server:
        code, r, said = server.flood("--publish-ready", "WELCOME", "--wait", "200ms")
        equal((code, r["published"]["sent"]), (FAILED, 0))
        check("--publish-ready" in said, said)


class Hesitant(Foreign):
    """Answers when so many publications have come, all of them at once; `most` were
    ever unanswered."""

    def __init__(self, wanted):
        super().__init__()
        self.wanted, self.owed, self.most, self.total = wanted, [], 0, 0

    def publish(self, channel, body):
        super().publish(channel, body)
        self.total += 1

    def answer(self, c):
        self.owed.append(c)
        self.most = max(self.most, len(self.owed))

    def take(self, c, rest):
        super().take(c, rest)
        enough = len(self.owed) >= self.wanted or self.total >= 100
        if enough and not any(readable(who, 0.05) for who in set(self.owed)):
            for who in self.owed:
                who.sendall(b"+OK\r\n")
            self.owed = []


def test_a_window_keeps_so_many_unanswered_and_no_more():
    """All that the window allows come without an answer, or nothing would go on."""
    with Hesitant(16) as server:
        code, r, said = server.flood("--publish", 0, "--window", 8, "--publishers", 2,
                                     "--publish-answer", "+OK")
        equal((code, r["received"], r["published"]["answered"], server.most),
              (DONE, 300, 100, 16), said)
        check(0 < r["published"]["seconds"] < r["seconds"], r["published"])
        equal(r["published"]["late_us"], 0, "no schedule, so nothing is late")
    code, r, said = flood("--publish", 5, "--window", 5, "--target", "127.0.0.1:1")
    equal(code, USAGE, said)


class Broker(Foreign):
    """MQTT 3.1.1 instead. deny: the code of each SUBACK is a refusal."""

    def __init__(self, deny=False):
        super().__init__()
        self.deny, self.names = deny, []

    def greet(self, c):
        pass

    @staticmethod
    def packet(rest):
        """(kind and flags, what is in it), taken from the front; None: not whole."""
        size = shift = 0
        for at in range(1, len(rest)):
            size |= (rest[at] & 127) << shift
            shift += 7
            if rest[at] < 128:
                if len(rest) < at + 1 + size:
                    return None
                got = rest[0], bytes(rest[at + 1:at + 1 + size])
                del rest[:at + 1 + size]
                return got
        return None

    def take(self, c, rest):
        while got := self.packet(rest):
            first, data = got
            size = int.from_bytes(data[:2], "big")
            if first == 0x10:
                equal(data[:10], b"\0\4MQTT\4\2\0\0")
                self.names.append(data[12:])
                c.sendall(b"\x20\2\0\0")
            elif first == 0x82:
                topic = data[4:-1]
                equal((data[:2], data[-1], int.from_bytes(data[2:4], "big")),
                      (b"\0\1", 0, len(topic)))
                self.subscribers.setdefault(topic, []).append(c)
                c.sendall(b"\x90\3\0\1" + (b"\x80" if self.deny else b"\0"))
            else:
                equal(first, 0x32)
                topic, number = data[2:2 + size], data[2 + size:4 + size]
                for who in self.subscribers.get(topic, []):
                    body = data[:2 + size] + data[4 + size:]
                    who.sendall(b"\x30" + bytes([len(body) & 127 | 128, len(body) >> 7]) + body)
                c.sendall(b"\x40\2" + number)

    def flood(self, *args):
        return flood("--edge", "mqtt", "--target", self.address, "--ids", "a/1..4",
                     "--connections", 12, "--hold", "all", "--messages", 100, "--size", 200,
                     "--probe", "none", "--wait", 5, *args)


def test_clients_and_publishers_of_mqtt():
    for how in (("--publish", 1000), ("--window", 4, "--publishers", 2)):
        with Broker() as server:
            code, r, said = server.flood(*how)
            equal((code, r["edge"], r["up"], r["received"], r["published"]["answered"],
                   r["last_us"]["count"]), (DONE, "mqtt", 12, 300, 100, 100), said)
            equal(len(set(server.names)), len(server.names), "each has a name of its own")
    with Broker(deny=True) as server:
        code, r, said = server.flood("--publish", 1000, "--hold", 0)
        equal((code, r["up"], r["failures"]["answer"]), (FAILED, 0, 12), said)


# ---- the bare server ----------------------------------------------------------------

class Serve:
    def __init__(self, *args):
        self.p = subprocess.Popen([FLOOD, "--serve", "127.0.0.1:0", *args],
                                  stdout=subprocess.PIPE)
        out = Lines(self.p.stdout, lambda n: os.read(self.p.stdout.fileno(), n))
        self.address = out.line().decode().split("http://")[1].strip()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.terminate()
        code = self.p.wait(DEADLINE)
        self.p.stdout.close()
        equal(code, DONE, "the bare server's end")


def test_the_bare_server_delivers_everything_from_each_of_its_processes():
    with Serve("--processes", "2") as s:
        r = good("--target", s.address, *CROWD, *PUBLISH, "--burst", 20, "--publishers", 4,
                 "--processes", 3)
        equal((r["received"], r["processes"], r["last_us"]["count"]), (400, 3, 100))
        r = good("--target", s.address, "--edge", "telnet", "--line", "{id}\\r\\n",
                 "--publish-target", s.address, *CROWD, *PUBLISH)
        equal(r["received"], 400)
        r = good("--target", s.address, "--edge", "telnet", "--publish-target", s.address,
                 "--connections", 40, "--ids", "match/a", "--hold", "all", *PUBLISH)
        equal((r["received"], r["last_us"]["count"]), (4000, 100), "all watch the same")
        r = good("--target", s.address, "--edge", "http", "--connections", 5, "--hold", "200ms")
        check(r["answers"] > 5, r["answers"])


def private_kib(pid):
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return sum(int(x.split()[1]) for x in f if x.startswith("Private_"))


def test_a_client_is_a_few_hundred_bytes():
    def held(server, n):
        p = subprocess.Popen([FLOOD, "--target", server.address, "--connections", str(n), "--hold",
                              "all", "--probe", "none", "--processes", "1", "--ids", "a/1..10",
                              "--csv", "-", "--quiet"], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)
        out = Lines(p.stdout, lambda k: os.read(p.stdout.fileno(), k))
        equal(out.line().decode().strip(), CSV)
        while out.line().split(b",")[1] != str(n).encode():
            pass
        with open(f"/proc/{p.pid}/task/{p.pid}/children") as f:
            kib = private_kib(int(f.read().split()[0]))
        p.send_signal(signal.SIGINT)
        out.all()
        p.stdout.close()
        equal(p.wait(DEADLINE), DONE)
        return kib

    with Serve() as s:
        each = (held(s, 8000) - held(s, 10)) * 1024 / 7990
    figure(f"touchline-flood: {each:.0f} bytes a client")
    check(each < 400, f"{each} bytes a client")


def test_what_the_server_takes_is_reported():
    with Serve("--processes", "2") as s:
        args = ("--target", s.address, "--connections", 300, "--ids", "a/1", "--hold", "all",
                "--publish", 200, "--messages", 100)
        r = good(*args, "--watch", s.p.pid)
        cost = r["server"]
        equal((cost["processes"], cost["clients"]), (3, 300), "it, and those that come from it")
        check(0 < cost["cpu_s"] < 20 and cost["memory"] > 0, cost)
        equal(good(*args)["server"], None, "nobody is watched")
        p = subprocess.Popen(["true"])
        p.wait()
        code, r, said = flood(*args, "--watch", p.pid)
        equal((code, r), (USAGE, None))
        check(str(p.pid) in said, said)
        text = subprocess.run([FLOOD, "--quiet", *map(str, args), "--watch", str(s.p.pid)],
                              capture_output=True, timeout=60).stdout.decode()
        check(re.search(r"\nserver +processes 3  cpu \d+\.\d\d s, \d+\.\d\d us a message  memory "
                        r"[+-]\d+\.\d MB, -?\d+ bytes a client\n", text), text)


# ---- limits, processes, ends --------------------------------------------------------

def few_files(n):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (n, n))


def test_where_files_are_few_there_are_more_processes_or_a_word_what_to_set():
    with Serve() as s:
        args = ("--target", s.address, "--connections", 200, "--hold", "100ms")
        r = good(*args, before=few_files(100))
        equal((r["processes"], r["up"]), (3, 200))
        code, r, said = flood(*args, "--processes", 1, before=few_files(100))
        equal((code, r), (FAILED, None))
        check("--processes 3" in said and "ulimit -n 233" in said, said)
        code, r, said = flood(*args, "--from", "127.0.0.7", "--connections", 100000)
        equal((code, r), (FAILED, None))
        check("--from" in said and "ip_local_port_range" in said, said)
        r = good(*args, "--from", "127.0.0.7,127.1.0.0/30", "--processes", 2)
        equal((r["processes"], r["up"]), (2, 200))


def test_nobody_there_and_wrong_words_are_said():
    with socket.create_server(("127.0.0.1", 0)) as s:
        address = "127.0.0.1:%d" % s.getsockname()[1]
    code, r, said = flood("--target", address)
    equal((code, r), (NOBODY, None))
    check(address in said and "--target" in said, said)
    for args, word in ((("--conections", "5"), "--connections"),
                       (("--edge", "strem"), "stream"), (("--script", "dely(1)"), "--script"),
                       (("--ids", "a/5..1"), "--ids"), (("--url", "/{idd}"), "{idd}"),
                       (("--target", "nowhere"), "ADDRESS:PORT"), (("more",), "more"),
                       (("--from", "127.0.0.x"), "--from")):
        code, r, said = flood(*args)
        equal((code, r), (USAGE, None), args)
        check(word in said, f"{args}: {said}")


def test_a_server_that_speaks_another_language_is_not_understood():
    with Foreign() as server:
        code, r, said = flood("--target", server.address, "--connections", 3, "--hold", "100ms",
                              "--probe", "none", "--wait", "1")
        equal((code, r["failed"], r["up"]), (FAILED, 3, 0))
        check("touchline-flood: " not in said, said)


def test_a_script_lets_clients_come_and_go_and_ramps_are_as_long_as_said():
    with Serve() as s:
        r = good("--target", s.address, "--edge", "tcp", "--connections", 50, "--hold", 1,
                 "--script", "delay(100, 0.5)", "--reset")
        check(r["finished"] >= 100 and r["opened"] >= r["finished"], r["finished"])
        r = good("--target", s.address, "--edge", "tcp", "--connections", 300, "--in-flight", 16,
                 "--script", "receive(0)", "--from", "127.0.0.0/24", "--hold", 1)
        check(r["finished"] > 300, "who goes at once leaves room for those never tried")
        r = good("--target", s.address, "--connections", 50, "--hold", 0,
                 "--ramp-up", "1", "--ramp-down", "1")
        check(r["seconds"] >= 2 and r["up_after"] >= 0.9, r["seconds"])
        r = good("--target", s.address, "--connections", 50, "--hold", 0, "--rate", 100)
        check(r["up_after"] >= 0.4, r["up_after"])


def test_who_is_dropped_has_failed_and_comes_again_when_asked():
    with World() as w:
        args = [FLOOD, *at(w), "--connections", "20", "--ids", "a/1..20", "--hold", "all",
                "--again", "200ms", "--probe", "none", "--csv", "-", "--quiet"]
        p = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out = Lines(p.stdout, lambda k: os.read(p.stdout.fileno(), k))

        def until_active(n):
            failed = 0
            while True:
                row = out.line().decode().strip().split(",")
                failed += int(row[4]) if row[0] != "time" else 0
                if row[1] == str(n):
                    return failed

        equal(until_active(20), 0)
        w.kill("http")
        while not int(out.line().decode().split(",")[4]):
            pass
        until_active(20)
        p.send_signal(signal.SIGINT)
        out.all()
        said = p.stderr.read().decode()
        equal(p.wait(DEADLINE), FAILED)
        check("dropped 20" in said, said)
        p.stdout.close()
        p.stderr.close()


def test_a_signal_ends_with_the_report_and_rows_add_up_to_it():
    with World() as w:
        path, json_path = os.path.join(w.base, "run.csv"), os.path.join(w.base, "run.json")
        p = subprocess.Popen([FLOOD, *at(w), "--connections", "20", "--ids", "flood/1..4",
                              "--hold", "all", "--publish", "50", "--csv", path,
                              "--json", json_path], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE)
        err = Lines(p.stderr, lambda n: os.read(p.stderr.fileno(), n))
        for _ in range(3):
            line = err.line().decode()
            check(re.match(r"(opening|holding) +[\d,]+ active  failed 0 ", line), line)
        p.send_signal(signal.SIGINT)
        text = p.stdout.read().decode()
        err.all()
        equal(p.wait(DEADLINE), DONE, text)
        check("(interrupted)" in text and "\nprobe " in text and "\nlatency " in text, text)
        with open(json_path) as f:
            r = json.load(f)
        with open(path) as f:
            rows = list(csv.DictReader(io.StringIO(f.read())))
        equal(",".join(rows[0]), CSV)
        check(r["interrupted"] and len(rows) >= 3, len(rows))
        for name in ("opened", "closed", "failed", "received", "lost", "duplicates"):
            equal(sum(int(row[name]) for row in rows), r[name], name)
        times = [float(row["time"]) for row in rows]
        equal(times, sorted(times))
        hist = r["latency_us"]
        equal(sum(n for _, _, n in hist["buckets"]), hist["count"])
        p.stdout.close()
        p.stderr.close()


def test_on_a_terminal_there_is_one_line_with_a_bar():
    with Serve() as s:
        ours, theirs = pty.openpty()
        p = subprocess.Popen([FLOOD, "--target", s.address, "--connections", "20", "--hold", "1"],
                             stdout=subprocess.PIPE, stderr=theirs)
        os.close(theirs)
        shown = Lines(ours, lambda n: os.read(ours, n))
        shown.until(b"holding  [####")
        text = p.stdout.read().decode()
        equal(p.wait(DEADLINE), DONE)
        check(text.startswith("touchline-flood  stream  ") and "\r" not in text, text)
        rest = b""
        with contextlib.suppress(OSError):    # a terminal that is gone
            while got := os.read(ours, 65536):
                rest += got
        check(b"\n" not in rest and rest.endswith(b"\r\x1b[K"), rest)
        os.close(ours)
        p.stdout.close()


def test_completion_knows_every_option():
    text = subprocess.run([FLOOD, "--help"], capture_output=True).stdout.decode()
    options = re.findall(r"^  (--[a-z-]+)", text, re.M)
    check(len(options) > 40, options)
    script = os.path.join(ROOT, "tools/flood/completion.bash")

    def complete(*words):
        line = " ".join(words)
        run = (f'source {script}; COMP_WORDS=({line}); [ "{line[-1]}" = " " ] && COMP_WORDS+=(""); '
               f'COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _touchline_flood; '
               f'printf "%s\\n" "${{COMPREPLY[@]}}"')
        return subprocess.run(["bash", "-c", run], capture_output=True,
                              env={**os.environ, "PATH": BIN + ":" + os.environ["PATH"]}
                              ).stdout.decode().split()

    equal(sorted(complete("touchline-flood", "--")), sorted(options))
    equal(complete("touchline-flood", "--edge", "te"), ["test", "telnet"])
