"""A crowd of streams that comes, is cut, and comes back at once with its cursors.

One process may open only so many files, so the crowd is several; each is a loop
over its clients. A client reads /v1/stream as lines (every second one as events),
resumes with its newest cursor whenever it loses its stream, without any wait of
its own but the slot that the server names, and holds what it gets against one
rule: offsets are dense."""
import heapq
import json
import os
import re
import select
import signal
import socket
import time

from world import DEADLINE, Failed, check

PER_PROCESS = 12500
KNOCKING = 800      # of a process that have no answer yet: the kernel's queue for a
                    # port is short, and who is dropped there waits for many seconds
IP_BIND_ADDRESS_NO_PORT = 24    # an address has 28,000 ports to dial from
WINDOW = 1.0        # seconds: so many slots lie in each
AGAIN = 0.2         # seconds, where nobody listens
TELL = 0.02         # seconds between two figures
OFFSET = re.compile(rb'"epoch":"([^"]+)","seq":(\d+),"offset":(\d+)')
CURSOR = re.compile(rb'"cursor":"([^"]+)"')
SLOT = re.compile(rb'"retry_ms":(\d+)')


class Client:
    """A stream, or the lack of one."""
    __slots__ = ("sock", "rest", "cursor", "offset", "live", "events", "slot", "asked", "knocks")

    def __init__(self, events, cursor, offset):
        self.sock = None
        self.rest = b""
        self.cursor = cursor
        self.offset = offset
        self.live = False       # its stream has begun
        self.events = events
        self.slot = 0.0         # seconds, until it comes again
        self.asked = self.knocks = False


class Part:
    """The clients of one process."""

    def __init__(self, address, target, cursors, out, source):
        self.address, self.target, self.out, self.source = address, target, out, source
        self.clients = [Client(i % 2 == 1, c, o) for i, (c, o) in enumerate(cursors)]
        self.epoll = select.epoll()
        self.by_fd = {}
        self.later = []         # (when, number)
        self.wrong = []
        self.slots = {}         # number of a window: slots in it
        self.live = self.busy = self.lost = self.knocking = 0

    def say(self, **words):
        os.write(self.out, json.dumps(words).encode() + b"\n")

    def dial(self, n):
        c = self.clients[n]
        c.sock = socket.socket()
        c.sock.setblocking(False)
        c.sock.setsockopt(socket.SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        c.sock.bind((self.source, 0))
        c.rest, c.live, c.asked, c.slot = b"", False, False, 0.0
        c.knocks = True
        self.knocking += 1
        c.sock.connect_ex(self.address)
        self.by_fd[c.sock.fileno()] = n
        self.epoll.register(c.sock, select.EPOLLOUT)

    def ask(self, c):
        since = f"&since={c.cursor}" if c.cursor else ""
        accept = "Accept: text/event-stream\r\n" if c.events else ""
        c.sock.send(f"GET {self.target}{since} HTTP/1.1\r\nHost: localhost\r\n"
                    f"{accept}\r\n".encode())
        c.asked = True
        self.epoll.modify(c.sock, select.EPOLLIN)

    def let_in(self, c):
        self.knocking -= c.knocks
        c.knocks = False

    def lose(self, n, c):
        self.epoll.unregister(c.sock)
        del self.by_fd[c.sock.fileno()]
        c.sock.close()
        c.sock = None
        self.let_in(c)
        self.live -= c.live
        self.lost += c.live
        self.busy += c.slot > 0
        c.live = False
        due = time.monotonic() + (c.slot or AGAIN * (not c.asked))
        if c.slot:
            self.slots[int(due / WINDOW)] = self.slots.get(int(due / WINDOW), 0) + 1
        heapq.heappush(self.later, (due, n))

    def line(self, c, line):
        at = OFFSET.search(line)
        slot = SLOT.search(line)
        if slot:
            c.slot = int(slot.group(1)) / 1000
            return
        if b'"notice":"gap"' in line:
            self.wrong.append(line.decode())
        if at:
            offset = int(at.group(3))
            if c.offset is not None and offset != c.offset + 1:
                self.wrong.append(f"offset {offset} behind {c.offset}")
            c.offset = offset
            c.cursor = (at.group(1) + b"-" + at.group(2)).decode()
        elif b'"notice":' in line and CURSOR.search(line):
            c.cursor = CURSOR.search(line).group(1).decode()
        if not c.live and b'"' in line:
            c.live = True
            self.live += 1

    def read(self, n, c):
        try:
            got = c.sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            got = b""
        if not got:
            self.lose(n, c)
            return
        self.let_in(c)
        *lines, c.rest = (c.rest + got).split(b"\n")
        for line in lines:
            if b"{" in line:
                self.line(c, line)
        if c.slot and not c.live:   # told to go: nothing of use follows
            self.lose(n, c)

    def event(self, fd, what):
        n = self.by_fd[fd]
        c = self.clients[n]
        if c.asked:
            self.read(n, c)
        elif what & (select.EPOLLERR | select.EPOLLHUP):
            self.lose(n, c)
        else:
            try:
                self.ask(c)
            except OSError:
                self.lose(n, c)

    def figures(self):
        offsets = [c.offset if c.offset is not None else -1 for c in self.clients]
        return {"live": self.live, "least": min(offsets), "busy": self.busy, "lost": self.lost,
                "wrong": self.wrong[:3], "slots": self.slots}

    def run(self):
        for n in range(len(self.clients)):
            heapq.heappush(self.later, (0, n))
        said, due, parent = None, 0, os.getppid()
        while os.getppid() == parent:
            now = time.monotonic()
            for _ in range(64):
                if not self.later or self.later[0][0] > now or self.knocking == KNOCKING:
                    break
                self.dial(heapq.heappop(self.later)[1])
            for fd, what in self.epoll.poll(TELL, 256):
                self.event(fd, what)
            if now < due:
                continue
            due = now + TELL
            figures = self.figures()
            if figures != said:
                self.say(**figures)
                said = figures


class Crowd:
    """n clients of target; cursors: (cursor, offset) for each, where it begins."""

    def __init__(self, address, target, n, cursors=None):
        self.n = n
        self.parts = []
        cursors = cursors or [("", None)] * n
        for begin in range(0, n, PER_PROCESS):
            self.parts.append(self._start(address, target, cursors[begin:begin + PER_PROCESS]))

    def _start(self, address, target, cursors):
        ours, out = os.pipe()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            try:
                Part(address, target, cursors, out, f"127.0.0.{len(self.parts) + 1}").run()
            except BaseException as e:
                os.write(out, json.dumps({"died": repr(e)}).encode() + b"\n")
            os._exit(0)
        os.close(out)
        return {"pid": pid, "fd": ours, "rest": b"", "last": {}}

    def _hear(self, part):
        while select.select([part["fd"]], [], [], 0)[0]:
            got = os.read(part["fd"], 65536)
            check(got, "a part of the crowd is gone")
            *lines, part["rest"] = (part["rest"] + got).split(b"\n")
            if lines:
                part["last"] = json.loads(lines[-1])

    def figures(self):
        for part in self.parts:
            self._hear(part)
        last = [p["last"] for p in self.parts]
        for f in last:
            check("died" not in f, f)
            check(not f.get("wrong"), f"out of order: {f.get('wrong')}")
        slots = {}
        for f in last:
            for window, n in f.get("slots", {}).items():
                slots[int(window)] = slots.get(int(window), 0) + n
        return {"slots": slots, "live": sum(f.get("live", 0) for f in last),
                "least": min(f.get("least", -1) for f in last),
                "busy": sum(f.get("busy", 0) for f in last),
                "lost": sum(f.get("lost", 0) for f in last)}

    def until(self, question, what, deadline=None):
        """The figures, as soon as the question is true of them."""
        end = time.monotonic() + (deadline or DEADLINE)
        while not question(f := self.figures()):
            left = end - time.monotonic()
            if left <= 0 or not select.select([p["fd"] for p in self.parts], [], [], left)[0]:
                raise Failed(f"{what}: {f}")
        return f

    def close(self):
        for part in self.parts:
            os.kill(part["pid"], signal.SIGKILL)
            os.waitpid(part["pid"], 0)
            os.close(part["fd"])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
