"""Each way in which a store's history can break, and each edge: a client that
holds an old cursor, or is connected while it happens, is told, and takes no
message for another.

The table of docs/protocol.md ("When the history breaks") is this file: a test
for each way, which goes through all edges. Clients are of three kinds: those
that stay connected while the router is exchanged, whose gateways hold messages
of the old epoch; those that come later with the old cursor to the same
gateways; and those that come to new gateways."""
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys

from ctl_system import Tail
from resume_system import alive, cursor_of, forget_rings
from store_system import run_router
from world import (DEADLINE, EDGES, ROOT, Failed, Lines, World, check, equal, eventually,
                   readable)

sys.path.append(os.path.join(ROOT, "tests", "chaos"))
from inject import Injector  # noqa: E402  tests/chaos is no package

SLOW = True
NODE_READER = os.path.join(ROOT, "tests/node/touchline_reader.mjs")
CLONE_NEWUSER = 0x10000000
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
BOOT_ID = b"/proc/sys/kernel/random/boot_id"


# ---- edges: all say what comes in the same words ---------------------------
#
# next() gives ("gap", why), ("snapshot", cursor), ("resumed", cursor),
# ("message", cursor, text) or ("over", why).

def word(item):
    if "over" in item:
        return "over", item["over"]
    if "notice" not in item:
        return "message", cursor_of(item), item["data"]
    if item["notice"] == "gap":
        return "gap", item["why"]
    return item["notice"], item["cursor"]


class Streamed:
    def __init__(self, w, channel, since=None):
        self.s = w.stream(f"/v1/stream?channel={channel}" + (f"&since={since}" if since else ""))

    def next(self):
        return word(self.s.item())

    def close(self):
        self.s.close()


class Evented(Streamed):
    def __init__(self, w, channel, since=None):
        more = {"Last_Event_ID": since} if since else {}
        self.s = w.stream(f"/v1/stream?channel={channel}", Accept="text/event-stream", **more)

    def next(self):
        return word(json.loads(self.s.event()["data"]))


class Socketed:
    def __init__(self, w, channel, since=None):
        self.s = w.ws()
        more = {"since": since} if since else {}
        self.s.say(cmd="subscribe", channel=channel, ref=1, **more)
        self.s.reply(1)

    def next(self):
        return word(self.s.item())

    def close(self):
        self.s.close()


class Polled:
    """One poll is always open."""

    def __init__(self, w, channel, since=None):
        self.w, self.channel, self.cursor = w, channel, since
        self.items, self.c = [], w.client()
        self.told = since is not None
        self.ask()

    def ask(self):
        since = f"&since={self.cursor}" if self.cursor else ""
        self.c.ask("GET", f"/v1/poll?channel={self.channel}{since}&wait=20")

    def next(self):
        while not self.items:
            try:
                answer = self.c.answer().json()
            except (Failed, OSError):
                self.c.close()
                self.c = self.w.client()
                self.ask()
                continue
            # Each begins with one; that it goes on is news to the first alone.
            self.items = [i for i in answer["messages"]
                          if i.get("notice") != "resumed" or self.told]
            self.told = False
            self.cursor = answer["cursor"]
            self.ask()
        return word(self.items.pop(0))

    def close(self):
        self.c.close()


class Telnetted:
    def __init__(self, w, channel, since=None):
        self.t = w.telnet()
        self.t.send(f"SUB {channel} {since or ''}\r\n".encode())
        ok = self.t.line().decode().split()
        equal(ok[:3], ["OK", "SUB", channel])
        self.first = [] if since else [("snapshot", ok[3])]

    def next(self):
        if self.first:
            return self.first.pop()
        line = self.t.line().decode().split()
        if line[0] != "NOTICE":
            return "message", line[1], line[-1]
        if line[1] == "gap":
            return "gap", re.search(r"why=(\w+)", " ".join(line)).group(1)
        return line[1], line[3]

    def close(self):
        self.t.close()


class Raw:
    """Bare frames: no notices, and no way to come back with a cursor."""

    def __init__(self, w, channel, since=None):
        self.s = w.ws(f"/v1/raw?channel={channel}", welcome=False)
        self.first = [("snapshot", None)]

    def next(self):
        if self.first:
            return self.first.pop()
        kind, data = self.s.read()
        return ("over", data) if kind == "close" else ("message", None, data.decode())

    def close(self):
        self.s.close()


class Controlled:
    def __init__(self, w, channel, since=None):
        self.t = Tail(w, "subscribe", channel, "--json", *(["--since", since] if since else []))

    def next(self):
        return word(json.loads(self.t.line()))

    def close(self):
        self.t.__exit__()


class Browsed:
    """touchline.js."""
    transport = "sse"

    def __init__(self, w, channel, since=None):
        want = {"http": w.urls["http"], "channels": [channel], "transport": self.transport}
        if since:
            want["since"] = since
        self.p = subprocess.Popen(["node", NODE_READER, json.dumps(want)],
                                  stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.lines = Lines(self.p.stdout, lambda n: os.read(self.p.stdout.fileno(), n))

    def next(self):
        return word(json.loads(self.lines.line()))

    def close(self):
        self.p.kill()
        self.p.wait()
        self.p.stdout.close()


class BrowsedByPolls(Browsed):
    transport = "poll"


WAYS_IN = (Streamed, Evented, Polled, Socketed, Telnetted, Controlled, Browsed, BrowsedByPolls)


# ---- what a client may believe ---------------------------------------------

class Client:
    """Knows what it was given, by what names, and takes nothing for granted."""

    def __init__(self, edge, w, channel, since=None):
        self.edge, self.known, self.told, self.first = edge.__name__, {}, [], []
        self.c = edge(w, channel, since)
        w.clients.append(self.c)

    def hear_first(self):
        """From then on what is published arrives."""
        self.first = [self.c.next()]

    def until(self, text):
        """Reads up to this message; the words that came before it."""
        self.told = []
        while True:
            got = self.first.pop() if self.first else self.c.next()
            if got[0] != "message":
                self.told.append(got)
                if got[0] == "over":
                    return self.told
                continue
            _, cursor, data = got
            check(cursor is None or cursor not in self.known,
                  f"{self.edge}: {cursor} is {data!r} and was {self.known.get(cursor)!r}")
            if cursor:
                self.known[cursor] = data
            if data == text:
                return self.told

    def begin(self):
        got = self.c.next()
        check(got[0] in ("snapshot", "resumed"), f"{self.edge} begins with {got}")
        return self


def told(words):
    """Without cursors, which are their clients' business."""
    return [":".join(w) if w[0] == "gap" else w[0] for w in words]


def heard(client, words):
    """What this edge says of them: to people a gap, and the cursor in the OK;
    router-ctl does not say that it goes on."""
    if client.edge == "Telnetted":
        return [w for w in words if w.startswith("gap")]
    return [w for w in words if w != "resumed"] if client.edge == "Controlled" else words


# ---- the world in which it breaks ------------------------------------------

def own_boot(path):
    """For World(before=): the boot has the name that is in this file."""
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source, target, flags):
        if libc.mount(source, target, None, flags, None):
            raise OSError(ctypes.get_errno(), "mount")

    def own():
        uid = os.geteuid()
        if libc.unshare(CLONE_NEWNS | (CLONE_NEWUSER if uid else 0)):
            raise OSError(ctypes.get_errno(), "unshare")
        if uid:
            with open("/proc/self/uid_map", "w") as f:
                f.write(f"{uid} {uid} 1")
        mount(b"none", b"/", MS_REC | MS_PRIVATE)
        mount(path.encode(), BOOT_ID, MS_BIND)
    return own


class Breaking(World):
    def __init__(self, boots=False, faults=None):
        """boots: name_boot() says which boot this is. faults: an Injector."""
        more = {"under": faults.base, "env": faults.env} if faults else {}
        super().__init__([f"{edge}.workers=1" for edge in EDGES], start=False, **more)
        self.clients = []
        self.boot = os.path.join(self.base, "boot")
        if boots:
            self.name_boot("one")
            self.before = own_boot(self.boot)
        self.start()

    def close(self, keep=False):
        """Readers are processes, and outlive a test that fails."""
        for c in self.clients:
            with contextlib.suppress(OSError, ValueError):
                c.close()
        super().close(keep)

    def name_boot(self, name):
        with open(self.boot, "w") as f:
            f.write(name + "\n")

    def files(self, *suffixes):
        return [os.path.join(self.dir, "touchline.db" + s) for s in suffixes]

    def all_files(self):
        return [os.path.join(self.dir, n) for n in sorted(os.listdir(self.dir))
                if n.startswith("touchline.db")]

    def sql(self, text):
        with contextlib.closing(sqlite3.connect(self.files("")[0])) as db:
            db.execute(text)
            db.commit()

    def without_router(self, change, signo=signal.SIGKILL):
        """The router ends so, change() is done, and the supervisor, which was
        held meanwhile, starts another."""
        self.proc.send_signal(signal.SIGSTOP)
        pid, = self.pids("router")
        fd = os.pidfd_open(pid)
        os.kill(pid, signo)
        check(readable(fd, DEADLINE), "the router ends")
        os.close(fd)
        change()
        self.proc.send_signal(signal.SIGCONT)

    def kill_all(self):
        pids = [w for kind in ("router", *EDGES) for w in self.pids(kind)]
        gone = [os.pidfd_open(p) for p in (self.proc.pid, *pids)]
        for fd in gone:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
        for fd in gone:
            check(readable(fd, DEADLINE), "all are gone")
            os.close(fd)
        self.proc.wait()
        self.proc.stdout.close()
        self.proc = None

    def say(self, *texts):
        return [self.publish("a", t).json() for t in texts]


def save(files):
    return {f: open(f, "rb").read() for f in files}


def put_back(saved):
    """Into the same inodes, as `cp` does."""
    for name, data in saved.items():
        with open(name, "r+b") as f:
            f.truncate()
            f.write(data)


def everywhere(w, channel, since, wanted, count):
    """All edges, each with the old cursor: told so, and live behind it."""
    clients = [Client(edge, w, channel, since) for edge in WAYS_IN]
    if wanted != ["resumed"]:
        for c in clients:
            c.hear_first()
    text = f"to-{count}"
    w.say(text)
    for c in clients:
        words = told(c.until(text))
        equal(heard(c, words), heard(c, wanted), f"{c.edge} of {channel} since {since}")
        c.c.close()


def breaks(change, signo=signal.SIGKILL, prepare=None, wanted="epoch", boots=False,
           faults=None, says=""):
    """What all tests here do: clients at every edge, a history, the change
    while the router is away, and then everybody with the old cursor. says: in
    the log."""
    with Breaking(boots, faults) as w:
        w.say("1", "2", "3")
        saved = prepare(w) if prepare else None
        crowd = [Client(edge, w, "a").begin() for edge in (*WAYS_IN, Raw)]
        crowd.append(Client(Streamed, w, "*").begin())
        sent = w.say("4", "5", "6")
        for c in crowd:
            c.until("6")
        old, first = cursor_of(sent[2]), cursor_of(sent[0])
        w.without_router(lambda: change(w, saved), signo)
        for c in crowd:
            c.hear_first()
        w.say("new")
        for c in crowd:
            words = told(c.until("new"))
            if c.edge == "Raw":
                equal(c.told, [("over", 4010)], "raw")
            else:
                equal(heard(c, words), heard(c, ["gap:" + wanted, "snapshot"]), c.edge)
        new = w.say("newer")[0]
        check(new["epoch"] != sent[0]["epoch"], "the epoch is another")
        check(says in w.log_tail(1 << 20), says)
        everywhere(w, "a", old, ["gap:" + wanted, "snapshot"], 1)
        forget_rings(w)
        everywhere(w, "a", first, ["gap:" + wanted, "snapshot"], 2)
        for c in crowd:
            c.c.close()
        history(w, old, wanted)


def history(w, old, wanted):
    """Of the old cursor's neighbourhood nothing is given without a word."""
    for query in (f"since={old}&limit=1000", f"before={old}"):
        page = w.json("/v1/history/a?" + query)
        equal([m.get("why") for m in page["messages"]][:1], [wanted], f"history {query}")
    with w.ws() as c:
        c.say(cmd="history", channel="a", since=old, ref=1)
        equal([m.get("why") for m in c.reply(1)["messages"]][:1], [wanted], "history by ws")
    code = w.ctl("history", "a", "--since", old, "--json")
    check(f'"why":"{wanted}"' in code, f"router-ctl history: {code}")


def test_a_poll_that_waits_hears_of_every_channel():
    """One answer ends the poll: what is not in it is never heard."""
    with Breaking() as w:
        w.stop()
        w.sets.append("namespace room/.presence=no")  # who comes would end it, too
        w.start()
        w.say("1")
        w.publish("room/r", "hello")
        query = "/v1/poll?channel=a&channel=room/r&channel=b/*&wait=20"
        cursor = w.json(query)["cursor"]
        with w.client() as c:
            c.ask("GET", f"{query}&since={cursor}")
            eventually(lambda: len(json.loads(w.ctl("conns", "room/r", "--json"))["connections"]) > 0, "it waits")
            w.without_router(lambda: [os.unlink(f) for f in w.all_files()])
            answer = c.answer().json()
        gaps = {m["channel"] for m in answer["messages"] if m["notice"] == "gap"}
        equal(gaps, {"a", "room/r", "b/*"}, "gaps")
        told = [m for m in answer["messages"] if m["notice"] == "snapshot"]
        equal({x for m in told for x in m.get("channels", [m.get("channel")])},
              {"a", "room/r", "b/*"}, "snapshots")
        equal([m["state"]["messages"] for m in told if m.get("channel") == "room/r"], [[]], "state")


def nothing(w, saved):
    pass


def test_a_killed_router_breaks_nothing():
    """The same crowd and the same questions, and nobody is told anything."""
    with Breaking() as w:
        w.say("1", "2", "3")
        crowd = [Client(edge, w, "a").begin() for edge in (*WAYS_IN, Raw)]
        sent = w.say("4", "5", "6")
        for c in crowd:
            c.until("6")
        for signo in (signal.SIGKILL, signal.SIGTERM):
            w.without_router(lambda: None, signo)
            eventually(lambda: alive(w), "the router is back")
            w.say(f"after-{int(signo)}")
            for c in crowd:
                equal(told(c.until(f"after-{int(signo)}")), [], c.edge)
        for forget in (lambda: None, lambda: forget_rings(w)):
            forget()
            everywhere(w, "a", cursor_of(sent[1]), ["resumed"], 0)
        for c in crowd:
            c.c.close()


# ---- ways in which a history breaks ----------------------------------------

def test_a_new_file_is_told_at_every_edge():
    def change(w, saved):
        for name in w.all_files():
            os.unlink(name)
    breaks(change)


def test_a_restored_backup_is_told_at_every_edge():
    def prepare(w):
        w.ctl("backup", os.path.join(w.base, "backup.db"))

    def change(w, saved):
        code, text = run_router(w, "--restore", os.path.join(w.base, "backup.db"))
        equal(code, 0, text)
    breaks(change, prepare=prepare)


def test_a_copied_folder_is_told_at_every_edge():
    def change(w, saved):
        for name in w.all_files():
            shutil.copy2(name, name + ".copy")
        for name in w.all_files():
            if name.endswith(".copy"):
                os.replace(name, name[:-len(".copy")])
    breaks(change, signal.SIGTERM)


def test_another_boot_without_a_clean_end_is_told_at_every_edge():
    breaks(lambda w, saved: w.name_boot("two"), boots=True)


def test_a_seq_above_the_mark_is_told_at_every_edge():
    def change(w, saved):
        w.sql("UPDATE log SET seq = seq + (1 << 40) WHERE seq = (SELECT max(seq) FROM log)")
    breaks(change, signal.SIGTERM)


def test_a_lost_wal_is_told_at_every_edge():
    def change(w, saved):
        os.unlink(w.files("-wal")[0])
    breaks(change)


def test_a_file_replaced_under_a_running_router_is_told_at_every_edge():
    """What it says into the old one is gone with it."""
    def prepare(w):
        for name in w.files(""):
            shutil.copy2(name, name + ".other")
            os.replace(name + ".other", name)
    breaks(nothing, prepare=prepare)


def test_an_old_copy_put_back_is_told_at_every_edge():
    def prepare(w):
        w.without_router(lambda: kept.update(save(w.all_files())), signal.SIGTERM)
        eventually(lambda: w.publish("a", "between").status == 201, "it goes on")
    kept = {}

    def change(w, saved):
        for name in w.all_files():
            if name not in kept:
                os.unlink(name)
        put_back(kept)
    breaks(change, signal.SIGTERM, prepare=prepare)


def copy_hot(w):
    """The store as it is, without its guard, while the router runs."""
    w.kill("router", signal.SIGSTOP)
    kept = save(w.files("", "-wal"))
    w.kill("router", signal.SIGCONT)
    return kept


def put_back_hot(w, kept):
    os.unlink(w.files("-shm")[0])
    put_back(kept)


def test_a_copy_made_while_it_ran_and_put_back_is_told_at_every_edge():
    breaks(put_back_hot, prepare=copy_hot, says="epoch_why=copied")


def test_a_copy_made_while_it_ran_is_known_when_nobody_lives_who_was_served_more():
    with Breaking() as w:
        w.say("1", "2")
        kept = copy_hot(w)
        lost = cursor_of(w.say("3")[0])
        w.kill_all()
        put_back_hot(w, kept)
        w.start()
        w.say("another")
        everywhere(w, "a", lost, ["gap:epoch", "snapshot"], 1)


def test_a_gateway_that_has_seen_more_is_believed_and_all_are_told():
    """The guard could not be written any more: nobody but the gateways knows better."""
    with Injector() as faults:
        rules = []

        def prepare(w):
            rules.append(faults.rule("write", "guard", error="EIO"))
            return copy_hot(w)

        def change(w, kept):
            put_back_hot(w, kept)
            rules[0].off()

        breaks(change, prepare=prepare, faults=faults, says="link.ahead")
        check(rules[0].struck, "notes were refused")


def test_a_damaged_name_of_an_epoch_is_told_at_every_edge():
    def change(w, saved):
        w.sql("UPDATE epochs SET name = 'x'")
    breaks(change, signal.SIGTERM)


def test_a_damaged_row_of_numbers_is_told_at_every_edge():
    def change(w, saved):
        w.sql("UPDATE ids SET last_offset = last_offset - 1 WHERE id = 'a'")
    breaks(change, signal.SIGTERM)
