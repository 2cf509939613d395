"""The router dies under load, again and again: nobody notices."""
import http.client
import json
import signal
import threading

from world import World, check, equal, eventually

SLOW = True
ROUNDS = 5


class Publisher(threading.Thread):
    """Publishes numbered messages one after the other until told to stop;
    keeps what was acknowledged, and what ended unknown."""

    def __init__(self, world, name, channels):
        super().__init__()
        self.world, self.name_, self.channels = world, name, channels
        self.acked, self.unknown, self.other = [], [], []
        self.enough = threading.Event()

    def run(self):
        c = http.client.HTTPConnection(*self.world.address("http"), timeout=30)
        n = 0
        while not self.enough.is_set():
            channel = self.channels[n % len(self.channels)]
            text = f"{self.name_}:{n}"
            c.request("POST", f"/v1/publish/{channel}", text, {"Content-Type": "text/plain"})
            r = c.getresponse()
            body = json.loads(r.read())
            if r.status == 201:
                self.acked.append((body["seq"], channel, body["offset"], text))
            elif body.get("error", {}).get("code") == "publish.unknown":
                self.unknown.append(text)
            else:
                self.other.append((r.status, body))
            n += 1
        c.close()


def drain_to(stream, last):
    """Messages of a stream up to the one with this seq."""
    out = []
    while not out or out[-1]["seq"] < last:
        out.append(stream.message())
    return out


def test_acknowledged_messages_survive_and_arrive_once_in_order():
    channels = ["a", "b", "room/c"]
    query = "&".join("channel=" + c for c in channels)
    with World() as w:
        streams = [w.stream("/v1/stream?" + query) for _ in range(4)]
        for s in streams:
            for _ in range(2):  # one for the plain ids, one for the room
                equal(s.item()["notice"], "snapshot")
        publishers = [Publisher(w, f"p{i}", channels) for i in range(3)]
        for p in publishers:
            p.start()
        for _ in range(ROUNDS):
            before = [len(p.acked) for p in publishers]
            eventually(lambda: all(len(p.acked) > b + 30
                                   for p, b in zip(publishers, before)), "progress")
            w.kill("router")
        before = [len(p.acked) for p in publishers]
        eventually(lambda: all(len(p.acked) > b + 30
                               for p, b in zip(publishers, before)), "progress at the end")
        for p in publishers:
            p.enough.set()
        for p in publishers:
            p.join()
            equal(p.other, [], "refusals")
        acked = sorted(a for p in publishers for a in p.acked)
        unknown = {t for p in publishers for t in p.unknown}
        check(len(acked) > ROUNDS * 90, f"only {len(acked)} acknowledged")
        for s in streams:
            got = drain_to(s, acked[-1][0])
            seqs = [m["seq"] for m in got]
            equal(seqs, sorted(set(seqs)), "order, each once")
            seen = {(m["seq"], m["channel"], m["offset"], m["data"]) for m in got}
            missing = [a for a in acked if a not in seen]
            equal(missing, [], "acknowledged but not delivered")
            texts = [m["data"] for m in got]
            equal(len(texts), len(set(texts)), "stored twice")
            ghosts = [t for t in texts if t not in unknown and
                      t not in {a[3] for a in acked}]
            equal(ghosts, [], "never sent")
        offsets = {}
        for m in got:
            offsets.setdefault(m["channel"], []).append(m["offset"])
        for channel, numbers in offsets.items():
            equal(numbers, list(range(numbers[0], numbers[0] + len(numbers))),
                  f"offsets of {channel}")
        # What history says is what was seen.
        page = w.json("/v1/history/a?last=100")["messages"]
        mine = [m["data"] for m in got if m["channel"] == "a"]
        equal([m["data"] for m in page][-100:], mine[-100:])


def test_a_stopped_router_is_waited_for():
    with World() as w, w.stream("/v1/stream?channel=a") as s:
        s.item()
        w.publish("a", "1")
        equal(s.message()["data"], "1")
        w.kill("router", signal.SIGSTOP)
        p = Publisher(w, "p", ["a"])
        p.start()
        # Longer than a link may be silent: it breaks, and mends.
        eventually(lambda: w.http("GET", "/readyz").status == 503, "not ready")
        w.kill("router", signal.SIGCONT)
        eventually(lambda: len(p.acked) > 5, "publications go through again")
        p.enough.set()
        p.join()
        got = drain_to(s, p.acked[-1][0])
        texts = [m["data"] for m in got]
        equal(len(texts), len(set(texts)), "each once")
        equal([a for a in p.acked if a[3] not in texts], [], "lost")


def stop_for(w, kind, seconds):
    """How long the stop takes is what is tested: there is nothing to wait for."""
    w.kill(kind, signal.SIGSTOP)
    threading.Event().wait(seconds)
    w.kill(kind, signal.SIGCONT)


def test_whoever_is_stopped_for_a_moment_loses_nothing_and_says_nothing_twice():
    # Within a heartbeat or two; long enough for the line to be changed for
    # another; long enough for the link to be given up.
    stops = [(kind, s) for s in (1, 2.5, 5) for kind in ("router", "http")]
    with World() as w, w.stream("/v1/stream?channel=a") as s, w.telnet() as t:
        s.item()
        t.send(b"SUB a\r\n")
        check(t.line().startswith(b"OK SUB a "), "subscribed")
        p = Publisher(w, "p", ["a"])
        p.start()
        for kind, seconds in stops:
            before = len(p.acked)
            stop_for(w, kind, seconds)
            eventually(lambda: len(p.acked) > before + 5, f"{kind} {seconds}: it goes on")
        p.enough.set()
        p.join()
        equal(p.other, [], "refusals")
        got = drain_to(s, p.acked[-1][0])
        seqs = [m["seq"] for m in got]
        texts = [m["data"] for m in got]
        equal(seqs, sorted(set(seqs)), "order, each once")
        equal(len(texts), len(set(texts)), "stored twice")
        equal([a for a in p.acked if a[3] not in texts], [], "lost")
        lines = [t.line().split()[-1].decode() for _ in texts]
        equal(lines, texts, "the same by telnet")


def test_a_gateways_death_is_invisible_at_the_other():
    with World() as w, w.telnet() as t:
        t.send(b"SUB a\r\n")
        check(t.line().startswith(b"OK SUB a "), "subscribed")
        for n in range(3):
            w.kill("http")
            eventually(lambda: ready(w), "http is back")
            equal(w.publish("a", f"m{n}").status, 201)
            check(t.line().endswith(f"m{n}\r\n".encode()), "delivered")


def ready(w):
    try:
        return w.http("GET", "/readyz").status == 200
    except OSError:
        return False
