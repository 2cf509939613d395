"""Gateways behind repeaters, beside some that have their own link to the same
router: clients of the same kind hear the same there, whatever breaks between.

The tree is of two levels:

    router -- http-1 tcp-1 ws-1             flat, touchline's own
       \\-- repeater1 -- http-2 tcp-2
               \\-- repeater2 -- http-3 ws-3
"""
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

from world import (BIN, EDGES, ROOT, Failed, Lines, World, check, equal, eventually, figure,
                   )

sys.path.append(os.path.join(ROOT, "tests", "chaos"))
from relay import Relay  # noqa: E402  tests/chaos is no package

SLOW = True
KEEP_ALL = "[namespace talk/]\nhistory = all\nhistory_age = all\nhistory_bytes = all\n"
WHERE = {"http2": "repeater1", "tcp2": "repeater1", "http3": "repeater2", "ws3": "repeater2"}


class Side(World):
    """Clients' way to some gateways of another world."""

    def __init__(self, w, urls):
        self.dir, self.urls, self.log = w.dir, urls, w.log

    def address(self, kind):
        host, port = self.urls[kind].rsplit("/", 1)[1].rsplit(":", 1)
        return host, int(port)


class Process:
    """One that nobody supervises: it is started anew by hand."""

    def __init__(self, w, binary, *more, sets=()):
        self.w = w
        self.args = [os.path.join(BIN, binary), "--dir", w.dir, *more]
        for s in sets:
            self.args += ["--set", s]
        self.proc = None
        self.start()

    def start(self):
        with open(self.w.log, "ab") as err:
            self.proc = subprocess.Popen(self.args, stdout=subprocess.PIPE, stderr=err,
                                         stdin=subprocess.DEVNULL)
        fd = self.proc.stdout.fileno()
        line = Lines(fd, lambda n: os.read(fd, n)).line().decode().split()
        equal(line[:1], ["ready"], self.args)
        self.url = line[2]

    def end(self, signo=signal.SIGTERM):
        if not self.proc:
            return
        self.proc.send_signal(signal.SIGCONT)
        self.proc.send_signal(signo)
        self.proc.wait(20)
        self.proc.stdout.close()
        self.proc = None

    def again(self):
        self.end(signal.SIGKILL)
        self.start()


class Tree:
    """The world with the tree in it. above, below: link.url of the first
    repeater, and of the gateways behind it, where a relay stands."""

    def __init__(self, above=None, below=None, **more):
        sets = [f"{kind}.workers=1" for kind in EDGES]
        if above:
            sets.append("router.url=tcp://127.0.0.1:0")
        self.w = World(sets, start=False, **more)
        if above:
            above.follow(self.w.dir)
        if below:
            below.follow(os.path.join(self.w.dir, "repeater1"))
        self.above, self.below = above, below
        self.all = {}

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise

    def start(self):
        w = self.w.start()
        self.repeater("repeater1", [
            *([f"link.url=tcp://127.0.0.1:{self.above.port}"] if self.above else []),
            *self.tcp()])
        self.repeater("repeater2", ["link.through=repeater1", *self.tcp()])
        for name, through in WHERE.items():
            self.gateway(name, through)
        urls = {name: p.url for name, p in self.all.items()}
        self.flat = Side(w, w.urls)
        self.one = Side(w, {"http": urls["http2"], "tcp": urls["tcp2"], "ws": urls["ws3"]})
        self.two = Side(w, {"http": urls["http3"], "tcp": urls["tcp2"], "ws": urls["ws3"]})
        eventually(lambda: w.live() == self.names(), "all are linked")
        return self

    def tcp(self):
        """Where a relay is to stand below; all have to know it."""
        return ["repeater.url=tcp://127.0.0.1:0"] if self.below else []

    def names(self):
        """Of all gateways."""
        return {"http1", "tcp1", "ws1", *WHERE}

    def repeater(self, name, sets):
        self.all[name] = Process(self.w, "touchline-repeater", "--instance",
                                 str(int(name[-1]) - 1), sets=sets)

    def gateway(self, name, through):
        kind, number = name[:-1], int(name[-1]) - 1
        link = f"link.through={through}"
        if self.below and through == "repeater1":
            link = f"link.url=tcp://127.0.0.1:{self.below.port}"
        self.all[name] = Process(self.w, f"touchline-{kind}", "--instance", str(number),
                                 sets=[f"{kind}.listen=127.0.0.1:0", "http.admin=",
                                       f"{kind}.workers=1", link, *self.tcp()])

    def __exit__(self, kind, *_):
        if kind and os.environ.get("TOUCHLINE_LOG"):
            print(self.w.log_tail(20000))
        for p in reversed(self.all.values()):
            with contextlib.suppress(Exception):
                p.end(signal.SIGKILL)
        self.w.close()


# ---- what clients hear -----------------------------------------------------

class Followers:
    """One subscriber of talk/* of each kind on each side, which reads all the
    while."""

    def __init__(self, tree, stack):
        self.seen, self.next = {}, {}
        for name, side in (("flat", tree.flat), ("one", tree.one), ("two", tree.two)):
            self.add(f"{name} http", stack.enter_context(
                side.stream("/v1/stream?channel=talk/*")).item)
        for name, side in (("flat", tree.flat), ("two", tree.two)):
            self.add(f"{name} ws", stack.enter_context(side.ws("/v1/ws?channel=talk/*")).item)
        self.lines = {}
        for name, side in (("flat", tree.flat), ("one", tree.one)):
            t = stack.enter_context(side.telnet())
            t.send(b"SUB talk/*\r\n")
            check(t.line().startswith(b"OK SUB"), name)
            self.lines[name] = (t, [])

    def add(self, name, item):
        equal(item()["notice"], "snapshot", name)
        self.seen[name], self.next[name] = [], item

    def until(self, answer):
        """All have this one, and before it everything, once, in order."""
        for name, item in self.next.items():
            seen = self.seen[name]
            while not seen or seen[-1]["seq"] < answer["seq"]:
                m = item()
                check("notice" not in m, f"{name}: {m}")
                check(not seen or seen[-1]["seq"] < m["seq"], f"{name}: {m} behind {seen[-1:]}")
                seen.append(m)
        mark = f"{answer['epoch']}-{answer['seq']} ".encode()
        for name, (t, seen) in self.lines.items():
            while not seen or mark not in seen[-1]:
                seen.append(t.line())
        for name, seen in self.seen.items():
            equal(seen, self.seen["flat http"], name)
        equal(self.lines["one"][1], self.lines["flat"][1], "telnet")
        equal(len(self.lines["one"][1]), len(self.seen["flat http"]), "lines")
        last = {}
        for m in self.seen["flat http"]:
            equal(m["offset"], last.get(m["channel"], 0) + 1, f"no hole in {m['channel']}")
            last[m["channel"]] = m["offset"]
        return len(self.seen["flat http"])


class Talk:
    """Publishes at each side some fifty times a second, none far ahead of the others; keeps
    what was acknowledged."""

    def __init__(self, tree):
        self.sides = {"flat": tree.flat, "one": tree.one, "two": tree.two}
        self.acked = {name: {} for name in self.sides}
        self.enough = threading.Event()
        self.strange = []
        self.threads = [threading.Thread(target=self.run, args=item)
                        for item in self.sides.items()]

    def run(self, name, side):
        n = 0
        while not self.enough.is_set():
            with contextlib.suppress(OSError, Failed, ValueError), side.client() as c:
                while not self.enough.wait(0.02):
                    if self.is_ahead(name):
                        continue
                    n += 1
                    text = f"{name} {n} " + "x" * (n % 7 * 300)
                    a = c.ask("POST", f"/v1/publish/talk/{name}", text).answer()
                    if a.status == 201:
                        self.acked[name][a.json()["offset"]] = text
                    elif a.status != 503:
                        self.strange.append(a.body)

    def is_ahead(self, name):
        return len(self.acked[name]) > min(map(len, self.acked.values())) + 20

    def progress(self, count=25):
        """So many more are taken at each side."""
        goal = {name: len(acked) + count for name, acked in self.acked.items()}
        eventually(lambda: all(len(self.acked[n]) >= goal[n] for n in goal),
                   f"so many taken: {goal}")

    def __enter__(self):
        for t in self.threads:
            t.start()
        self.progress()
        return self

    def __exit__(self, *_):
        self.enough.set()
        for t in self.threads:
            t.join()

    def judge(self, seen):
        """What was acknowledged has been heard, with that number."""
        equal(self.strange, [])
        for name, acked in self.acked.items():
            heard = {m["offset"]: m["data"] for m in seen if m["channel"] == f"talk/{name}"}
            for offset, text in acked.items():
                equal(heard.get(offset), text, f"{name} {offset}")


def mark(tree, side=None):
    """One more, which everybody has to have."""
    def publish():
        with contextlib.suppress(OSError, Failed):
            a = (side or tree.flat).publish("talk/mark", "here")
            return a.json() if a.status == 201 else None

    return eventually(publish, "published")


def through(tree, faults):
    """Each fault is begun and ended among talk; everybody hears the same."""
    with contextlib.ExitStack() as stack:
        followers = Followers(tree, stack)
        with Talk(tree) as talk:
            for name, fault in faults:
                try:
                    fault(talk)
                    talk.progress()
                    eventually(lambda: tree.w.live() == tree.names(), "all are linked")
                    followers.until(mark(tree, tree.two))
                except Failed as e:
                    raise Failed(f"{name}: {e}")
        count = followers.until(mark(tree))
        talk.judge(followers.seen["flat http"])
        figure(f"{count} messages, alike at {len(followers.seen)} streams and 2 telnets; "
               f"{ {n: len(a) for n, a in talk.acked.items()} } acknowledged")


def pass_time(seconds):
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > seconds, "so long", seconds + 20)


# ---- tests ------------------------------------------------------------------

def test_a_tree_of_two_levels_delivers_what_a_flat_one_does():
    with Tree(config=KEEP_ALL) as tree:
        through(tree, [("nothing", lambda talk: None)])
        gateways = {g["gateway"]: g["via"]
                    for g in json.loads(tree.w.ctl("--json", "gateways"))["gateways"]}
        equal({gateways[n] for n in WHERE}, {"repeater1"})
        equal(gateways["repeater1"], "router")
        equal(tree.w.metric("repeater_lanes", gateway="repeater1"), 5)
        equal(tree.w.metric("repeater_lanes", gateway="repeater2"), 2)


def alike(tree, question):
    """Each side answers the same; that."""
    answers = [question(side) for side in (tree.flat, tree.one, tree.two)]
    equal(answers[1:], answers[:1] * 2)
    return answers[0]


def items_until(stream, seq):
    out = []
    while not out or out[-1].get("seq") != seq:
        out.append(stream.item())
    return out


def test_history_resumes_snapshots_presence_and_answers_are_alike():
    with Tree(config=KEEP_ALL) as tree, contextlib.ExitStack() as stack:
        sides = (tree.flat, tree.one, tree.two)
        # Matches and rooms: state and what follows it.
        for name in ("elp", "tig"):
            equal(tree.one.http("PUT", f"/v1/teams/{name}", json.dumps(
                {"name": name, "division": "1"})).status, 201)
        made = tree.two.http("POST", "/v1/matches", json.dumps(
            {"home": "elp", "visit": "tig", "start_time": "2011-09-13"}))
        equal(made.status, 201, made.body)
        match = "match/" + made.json()["id"]
        streams = [stack.enter_context(s.stream(f"/v1/stream?channel={match}&channel=room/a&name=n"))
                   for s in sides]
        begin = [s.item() for s in streams]
        equal([i["notice"] for i in begin], ["snapshot"] * 3)
        rooms = [s.item() for s in streams]
        equal([r["channel"] for r in rooms], ["room/a"] * 3)
        for s in sides:
            eventually(lambda: s.json("/v1/presence/room/a")["count"] == 3, "all are there")
        equal(alike(tree, lambda s: s.json("/v1/presence/room/a")["names"]),
              [{"name": "n", "connections": 3}])
        answers = [tree.two.http("POST", f"/v1/matches/{match[6:]}/events", json.dumps(e)).json()
                   for e in ({"kind": "start", "data": {}},
                             {"kind": "goal", "data": {"team": "elp"}})]
        said = tree.one.publish("room/a", "hello").json()
        heard = [[m for m in items_until(s, said["seq"]) if "seq" in m] for s in streams]
        equal(heard[1:], heard[:1] * 2)
        equal([m["seq"] for m in heard[0]], [a["seq"] for a in answers] + [said["seq"]])
        check(alike(tree, lambda s: s.json(f"/v1/matches/{match[6:]}"))["home_score"] == 1, "scored")
        # An answer is given once, wherever the same is said again.
        first = tree.one.publish("talk/a", "once", Idempotency_Key="k")
        for s in sides:
            again = s.publish("talk/a", "once", Idempotency_Key="k")
            equal((again.status, again.json()), (200, {**first.json(), "duplicate": True}))
            equal(s.publish("talk/a", "another", Idempotency_Key="k").status, 409)
        # History, and cursors from the middle of it.
        seqs = [sides[n % 3].publish("talk/a", f"{n}").json()["seq"] for n in range(60)]
        alike(tree, lambda s: s.json("/v1/history/talk/a?last=50"))
        epoch = said["epoch"]
        for target in (f"/v1/stream?channel=talk/a&since={epoch}-{seqs[20]}",
                       "/v1/stream?channel=talk/*&since=0"):
            def resume(side):
                with side.stream(target) as s:
                    return items_until(s, seqs[-1])
            items = alike(tree, resume)
            check(len(items) >= 40, items[:2])
        alike(tree, lambda s: s.json(f"/v1/poll?channel=talk/a&since={epoch}-{seqs[5]}"))
        # What is published together is committed together.
        before = tree.flat.metric("commit_batches_total")
        batch = [{"channel": "talk/b", "data": {"n": n, "fill": "f" * 3000}} for n in range(256)]
        rows = tree.two.http("POST", "/v1/publish", json.dumps(batch),
                             {"Content-Type": "application/json"}).json()
        equal([r["offset"] for r in rows], list(range(1, 257)))
        equal(tree.flat.metric("commit_batches_total") - before, 1, "commits")
        # Who is kicked is gone; the others stay.
        conns = json.loads(tree.w.ctl("--json", "conns", "room/a"))["connections"]
        victim = next(c["connection"] for c in conns if c["connection"].startswith("http3/"))
        tree.w.ctl("kick", victim)
        with contextlib.suppress(Failed):
            while streams[2].item():
                pass
        for s in (tree.flat, tree.one):
            eventually(lambda: s.json("/v1/presence/room/a")["count"] == 2, "one is gone")


def test_whoever_of_the_tree_is_killed_or_stopped_nothing_is_lost_or_told_twice():
    with Tree(config=KEEP_ALL) as tree:
        def kill(name):
            return lambda talk: tree.all[name].again()

        def stop(name, seconds):
            def fault(talk):
                tree.all[name].proc.send_signal(signal.SIGSTOP)
                pass_time(seconds)
                tree.all[name].proc.send_signal(signal.SIGCONT)
            return fault

        def end(name):
            def fault(talk):
                tree.all[name].end()
                tree.all[name].start()
            return fault

        through(tree, [
            ("the router is killed", lambda talk: tree.w.kill("router")),
            ("the router ends in order", lambda talk: tree.w.kill("router", signal.SIGTERM)),
            ("the first repeater is killed", kill("repeater1")),
            ("the second repeater is killed", kill("repeater2")),
            ("the first repeater ends in order", end("repeater1")),
            ("the second repeater stands still for a moment", stop("repeater2", 1)),
            ("the first repeater stands still for long", stop("repeater1", 4)),
        ])


def test_a_gateway_of_the_tree_that_is_killed_is_missed_by_nobody_else():
    with Tree(config=KEEP_ALL) as tree, contextlib.ExitStack() as stack:
        s = stack.enter_context(tree.flat.stream("/v1/stream?channel=room/a&name=flat"))
        equal(s.item()["notice"], "snapshot")
        v = stack.enter_context(tree.two.stream("/v1/stream?channel=room/a&name=two"))
        equal(v.item()["notice"], "snapshot")
        equal(tree.flat.json("/v1/presence/room/a")["count"], 2)
        tree.all["http3"].end(signal.SIGKILL)
        eventually(lambda: tree.flat.json("/v1/presence/room/a")["count"] == 1, "it is gone")
        equal(tree.w.live(), tree.names() - {"http3"})
        tree.all["http3"].start()
        eventually(lambda: tree.w.live() == tree.names(), "it is back")


def wire_faults(relay):
    def share(what, amount, *only):
        def fault(talk):
            relay.only = only
            setattr(relay, what, amount)
            talk.progress()
            setattr(relay, what, 0.0)
        return fault

    def hold(seconds, *directions):
        def fault(talk):
            relay.hold(*directions)
            pass_time(seconds)
            relay.release()
        return fault

    def delay(talk):
        relay.delay = 0.05
        talk.progress()
        relay.calm()

    yield "cut", lambda talk: relay.cut()
    for what, amount in (("lose", 0.1), ("twice", 0.1), ("swap", 0.1), ("spoil", 0.03)):
        yield what, share(what, amount, "up", "down")
    yield "delayed", delay
    yield "held downwards", hold(1, "down")
    yield "held for longer than a link may be silent", hold(4, "up", "down")


def test_a_bad_wire_above_the_repeaters_is_mended_unseen():
    with Relay() as above, Tree(above=above, config=KEEP_ALL) as tree:
        through(tree, wire_faults(above))
        check(all(above.injected[w] for w in ("cut", "lose", "twice", "swap", "spoil", "hold")),
              above.injected)


def test_a_bad_wire_below_a_repeater_is_mended_unseen():
    with Relay(2) as below, Tree(below=below, config=KEEP_ALL) as tree:
        through(tree, wire_faults(below))
        check(all(below.injected[w] for w in ("cut", "lose", "twice", "swap", "spoil", "hold")),
              below.injected)


def test_touchline_starts_repeaters_in_front_of_its_gateways():
    with World(["repeater.instances=2", "http.instances=2", *(f"{k}.workers=1" for k in EDGES)]) as w:
        rows = json.loads(w.ctl("--json", "gateways"))["gateways"]
        via = {r["gateway"]: r["via"] for r in rows if r["edge"] != "repeater"}
        equal(sorted(via.values()), ["repeater1"] * 2 + ["repeater2"] * 2)
        with w.stream("/v1/stream?channel=a") as s, w.telnet() as t:
            equal(s.item()["notice"], "snapshot")
            w.kill("repeater")
            a = eventually(lambda: (lambda a: a if a.status == 201 else None)(w.publish("a", "1")),
                           "published")
            equal(s.message()["seq"], a.json()["seq"])
            t.send(b"PING\r\n")
            check(t.line().startswith(b"OK"), "the socket is open")
        eventually(lambda: w.live() == set(via), "all are back")
        check(w.ctl("status").startswith("OK"), "all is well")
        equal(w.stop(), 0)


def walls(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        status = dict(line.split(":\t", 1) for line in f.read().strip().split("\n") if ":\t" in line)
    return {name: status.get(name, "").strip() for name in ("NoNewPrivs", "Seccomp")}


def test_a_repeater_stands_in_a_cage_as_a_gateway_does():
    with World(["repeater.instances=1", *(f"{k}.workers=1" for k in EDGES)]) as w:
        equal(walls(w.pids("repeater")[0]), walls(w.pids("http")[0]))
        p = subprocess.run([os.path.join(BIN, "touchline-repeater"), "--dir", w.dir, "--check"],
                           capture_output=True, timeout=20)
        check(p.returncode == 0 and b"cage: " in p.stdout, p)


def test_without_a_router_a_repeater_lets_nobody_in():
    with World(["repeater.instances=1", *(f"{k}.workers=1" for k in EDGES)]) as w:
        w.kill("router", signal.SIGSTOP)
        eventually(lambda: w.http("GET", "/readyz").status == 503, "not ready")
        eventually(lambda: "the repeater has no router" in w.log_tail(100000), "they are told so")
        w.kill("router", signal.SIGCONT)
        eventually(lambda: w.http("GET", "/readyz").status == 200, "ready again")
