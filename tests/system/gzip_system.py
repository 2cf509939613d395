"""Gzip over HTTP: clients that nobody here wrote, a whole match to the byte, and
that it is made once for all."""
import contextlib
import gzip
import json
import os
import re
import subprocess
import zlib

from browser import Browser
from match_system import event, make_match
from world import (DATA, DEADLINE, ROOT, Lines, Stream, World, check, equal, eventually,
                   figure)
from reload_system import reload
from upgrade_system import upgrade

ONE = ["http.workers=1"]
FINAL = "match/argentina-france-2022-12-18"
OPEN = ["namespace room/.compress=yes", "namespace room/.presence=no"]
FORMS = {"SSE": "text/event-stream", "NDJSON": "application/x-ndjson"}
# What differs between two streams that are told the same: when to come again.
LUCK = re.compile(rb"retry: \d+|\"retry_ms\":\d+")


class Gunzipped(Stream):
    """A stream as its client reads it: strictly. wire: bytes of its body that came."""

    def __init__(self, w, target, accept="application/x-ndjson", coding="gzip", **more):
        self.wire, self.whole, self.room = 0, b"", more.pop("room", 0)
        super().__init__(w.address("http"), target,
                         {"Accept": accept, "Accept-Encoding": coding, **more},
                         room=self.room)
        self.gzip = "\r\nContent-Encoding: gzip\r\n" in self.head
        self.inflate = zlib.decompressobj(31) if self.gzip else None

    def chunk(self, deadline=None):
        raw = super().chunk(deadline)
        self.wire += len(raw) + len(f"{len(raw):x}") + 4
        text = self.inflate.decompress(raw) if self.gzip else raw
        if self.gzip:
            check(not self.inflate.unused_data, "something stands behind the end")
            check(raw or self.inflate.eof, "ended without a trailer")
        self.whole += text
        # An empty text is no end of the stream.
        return text if text or not raw else self.chunk(deadline)

    def rest(self):
        """To the proper end; all that was said, but for luck."""
        while not self.over:
            self.chunk()
        return LUCK.sub(b"", self.whole)


def twins(w, target, accept, stack, **more):
    return [stack.enter_context(Gunzipped(w, target, accept, coding, **more))
            for coding in ("identity", "gzip")]


def made(w):
    return w.metric("gzip_total", what="message")


def play_the_final(w):
    """Of 2022; its 24 events are what anybody can measure again."""
    w.ctl("replay", os.path.join(DATA, "worldcup", "2022.json"), "--match", "64",
          "--speed", "max")


def kick(w, channel):
    w.ctl("kick", channel)


LINE_UPS = {side + "_players": [[n, f"{side.title()} Player {n}"] for n in range(1, 12)]
            for side in ("home", "visit")}


def report(w):
    """All that is seen of a match, minute by minute; undoes its last goal."""
    seen = ("throwin", "foul", "freekick", "shot", "save", "corner", "offside", "goalkick")
    event(w, "start", **LINE_UPS)
    for minute in range(1, 91):
        if minute == 46:
            event(w, "halftime_start")
            event(w, "halftime_stop")
        what = {"team": ("elp", "tig")[minute % 3 % 2], "player": minute * 7 % 11 + 1,
                "minute": minute}
        event(w, seen[minute * 5 % len(seen)], **what)
        if minute in (12, 55, 77):
            goal = event(w, "goal", **what)["offset"]
    event(w, "retract", offset=goal, comment="offside")
    event(w, "stop")


# ---- a match ------------------------------------------------------------------

def test_a_full_match_costs_a_third_and_is_the_same_to_the_byte():
    with World(ONE) as w, contextlib.ExitStack() as stack:
        live = {name: twins(w, "/v1/stream?channel=" + FINAL, accept, stack)
                for name, accept in FORMS.items()}
        for plain, packed in live.values():
            check(packed.gzip and not plain.gzip, packed.head)
            plain.line(), packed.line()
        play_the_final(w)
        past = {name: twins(w, f"/v1/stream?since=0&channel={FINAL}", accept, stack)
                for name, accept in FORMS.items()}
        for s in [s for group in (live, past) for two in group.values() for s in two]:
            while b'"kind":"stop"' not in s.whole:
                s.chunk()
        kick(w, FINAL)
        for what, group in (("live", live), ("from the beginning", past)):
            for name, (plain, packed) in group.items():
                equal(packed.rest(), plain.rest(), f"{name} {what}")
                share = packed.wire / plain.wire
                heads = (packed.wire + len(packed.head)) / (plain.wire + len(plain.head))
                figure(f"{name} {what}: {packed.wire} bytes of {plain.wire}, "
                       f"{share:.1%}; with the answer's head {heads:.1%}")
                check(share <= 0.35, f"{name} {what}: {share:.1%}")


def test_a_match_that_is_reported_minute_by_minute_costs_less():
    with World(ONE) as w, contextlib.ExitStack() as stack:
        match = "match/" + make_match(w)["id"]
        both = {name: twins(w, "/v1/stream?channel=" + match, accept, stack)
                for name, accept in FORMS.items()}
        for two in both.values():
            for s in two:
                s.line()
        report(w)
        for name, two in both.items():
            for s in two:
                while b'"kind":"stop"' not in s.whole:
                    s.chunk()
        kick(w, match)
        for name, (plain, packed) in both.items():
            equal(packed.rest(), plain.rest(), name)
            check(plain.whole.count(b'"snapshot"') == 2, "undone, and told so")
            share = packed.wire / plain.wire
            heads = (packed.wire + len(packed.head)) / (plain.wire + len(plain.head))
            figure(f"{name}: {packed.wire} bytes of {plain.wire}, {share:.1%}; with the "
                   f"answer's head {heads:.1%}")
            check(heads <= 0.35, f"{name}: {heads:.1%}")


def test_it_is_made_once_for_all_watchers():
    with World(ONE) as w, contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(Gunzipped(w, "/v1/stream?channel=" + FINAL, accept))
                 for accept in list(FORMS.values()) * 25]
        for s in crowd:
            s.line()
        play_the_final(w)
        for s in crowd:
            while b'"kind":"stop"' not in s.whole:
                s.chunk()
        said = crowd[1].whole.count(b'"seq":')
        eventually(lambda: w.metric("gzip_streams_total") == len(crowd), "counted")
        # Once for each form, and once more where a gathered visit began elsewhere.
        eventually(lambda: made(w) == 2 * said, f"{made(w)} made of {said} messages")
        for a in crowd[2::2]:
            equal(LUCK.sub(b"", a.whole), LUCK.sub(b"", crowd[0].whole))
        before = w.metric("gzip_bytes_total", way="before")
        after = w.metric("gzip_bytes_total", way="after")
        check(after < before * 0.4, f"{after} of {before}")


# ---- whatever happens to a stream -------------------------------------------------

def test_a_gzipped_stream_resumes_and_catches_up_as_a_plain_one():
    sets = ONE + OPEN + ["limits.page=7", "limits.ring_total=1M"]
    with World(sets) as w, contextlib.ExitStack() as stack:
        cursors = []
        for i in range(60):
            cursors.append("{epoch}-{seq}".format(
                **json.loads(w.http("POST", "/v1/publish/room/a", "x" * 40000 + str(i)).body)))
        pairs = []
        for at in (0, 1, 30, 58, 59):
            for accept in FORMS.values():
                pairs.append(twins(w, "/v1/stream?channel=room/a", accept, stack,
                                   **{"Last-Event-ID": cursors[at]}))
                for s in pairs[-1]:
                    while s.whole.count(b'"seq":') < 59 - at:
                        s.chunk()
        pairs.append(twins(w, "/v1/stream?channel=room/a&since=e0-5", "x/y", stack))
        for s in pairs[-1]:
            while b'"snapshot"' not in s.whole:
                s.chunk()
            check(b'"why":"epoch"' in s.whole, s.whole)
        w.publish("room/a", "the last")
        kick(w, "room/a")
        for plain, packed in pairs:
            equal(packed.rest(), plain.rest())
            check(b"the last" in packed.whole, "goes on live")


def test_pings_do_not_break_what_is_in_view():
    with World(ONE + OPEN + ["limits.ping=1s"]) as w, contextlib.ExitStack() as stack:
        both = [stack.enter_context(Gunzipped(w, "/v1/stream?channel=room/a", accept))
                for accept in FORMS.values()]
        texts = []
        for s in both:
            s.line()
        for i in range(4):
            said = f'{{"kind":"goal","data":{{"team":"tig","minute":{i}}}}}'
            w.publish("room/a", said)
            texts.append(said)
            for s in both:
                want = len(s.whole) + 1
                while s.whole.count(b"goal") <= i or len(s.whole) < want:
                    s.chunk()
                have = s.wire
                s.chunk()  # a ping
                check(s.wire - have < 24, "a ping is short")
        kick(w, "room/a")
        for s in both:
            s.rest()
        equal([json.loads(m)["data"] for m in both[1].whole.decode().split("\n")
               if '"offset"' in m], texts)


def test_who_does_not_read_gets_whole_messages_and_its_gap():
    """Under each policy: what is left out is never in view of what comes."""
    sets = ONE + ["http.gzip=on", "limits.queue=256K", "limits.queue_age=60s"] + [
        f"namespace {name}/.{key}" for name in ("old", "new")
        for key in ("compress=yes", f"slow={'drop-oldest' if name == 'old' else 'conflate'}")]
    # What does not shrink, so that sockets get full.
    noise = [os.urandom(20000).hex() for _ in range(4)]
    with World(sets) as w:
        for name, policy in (("old", "slow"), ("new", "conflated")):
            with Gunzipped(w, f"/v1/stream?channel={name}/a", room=4096) as slow, \
                    w.client() as c:
                slow.line()
                for i in range(300):
                    c.ask("POST", f"/v1/publish/{name}/a", noise[i % 4],
                          Touchline_Key=f"k{i % 3}")
                    equal(c.answer().status, 201)
                items = []
                while not items or items[-1].get("offset") != 300:
                    items.append(slow.item())
                place, missed = 0, 0
                for item in items:
                    if "notice" in item:
                        equal((item["notice"], item["from"]), ("gap", item["from"]))
                        missed += item["count"] or 0
                        continue
                    check(item["offset"] > place, "in order")
                    equal(item["data"], noise[(item["offset"] - 1) % 4])
                    place = item["offset"]
                got = sum("offset" in i for i in items)
                equal(got + missed, 300, f"{name}: told, or got")
                check(missed > 0, f"{name}: nothing was left out")
                kick(w, f"{name}/a")
                slow.rest()


def test_an_upgrade_hands_a_gzipped_stream_over():
    with World(ONE + OPEN) as w, contextlib.ExitStack() as stack:
        both = [twins(w, "/v1/stream?channel=room/a", accept, stack)
                for accept in FORMS.values()]
        for round in range(3):
            for i in range(5):
                w.publish("room/a", f"round {round} message {i}")
            for two in both:
                for s in two:
                    while f"round {round} message 4".encode() not in s.whole:
                        s.chunk()
            if round < 2:
                upgrade(w)
        kick(w, "room/a")
        for plain, packed in both:
            check(packed.gzip, packed.head)
            equal(packed.rest(), plain.rest())


def test_a_gateway_that_goes_down_ends_its_gzipped_streams():
    with World(ONE + OPEN) as w, contextlib.ExitStack() as stack:
        plain, packed = twins(w, "/v1/stream?channel=room/a", "x/y", stack)
        for s in (plain, packed):
            s.line()
        w.publish("room/a", "one")
        w.stop()
        equal(packed.rest(), plain.rest())
        check(b'"closing"' in packed.whole, packed.whole)


# ---- who gets it -------------------------------------------------------------------

def test_private_channels_and_old_clients_stay_plain():
    with World(ONE) as w:
        for target, gzipped in (("/v1/stream?channel=" + FINAL, True),
                                ("/v1/stream?channel=match/*", True),
                                ("/v1/stream?channel=user/ana", False),
                                (f"/v1/stream?channel={FINAL}&channel=user/ana", False),
                                ("/test/" + FINAL, False)):
            with Gunzipped(w, target) as s:
                equal(s.gzip, gzipped, target)
                if gzipped:
                    check("\r\nVary: Accept-Encoding\r\n" in s.head, s.head)
        with w.client() as c:
            a = c.ask("GET", "/v1/stream?channel=" + FINAL,
                      Accept_Encoding="br, identity;q=0").answer()
            equal((a.status, a.code()), (406, "encoding.none"))


def test_a_reload_is_for_streams_that_come_later():
    with World(config="[http]\ngzip = off\nworkers = 1\n") as w, \
            Gunzipped(w, "/v1/stream?channel=match/*") as early:
        check(not early.gzip and "Vary: Accept-Encoding" not in early.head, early.head)
        equal(reload(w, "[http]\ngzip = on\nworkers = 1\n"),
              ["changed http.gzip: for new connections"])
        with Gunzipped(w, "/v1/stream?channel=match/*") as late:
            check(late.gzip, late.head)
            late.line()
            equal(reload(w, "[http]\ngzip = on\nworkers = 1\n[namespace match/]\n"
                            "compress = no\n"),
                  ["changed namespace match/.compress: for new connections"])
            with Gunzipped(w, "/v1/stream?channel=match/*") as last:
                check(not last.gzip, last.head)
            kick(w, "match/*")
            check(b'"closing"' in late.rest(), "went on as it had begun")


def test_answers_and_pages_are_gzipped_too():
    with World(ONE) as w, w.client() as c:
        play_the_final(w)
        for target in ("/", "/touchline.js", "/report", "/v1/history/" + FINAL,
                       "/v1/poll?since=0&channel=" + FINAL,
                       f"/v1/matches/{FINAL[6:]}/events", f"/1/match/{FINAL[6:]}/history"):
            plain = c.ask("GET", target, Accept="text/html").answer()
            packed = c.ask("GET", target, Accept="text/html", Accept_Encoding="gzip").answer()
            equal(packed.headers["Content-Encoding"], "gzip", target)
            check("Content-Encoding" not in plain.headers, target)
            equal(gzip.decompress(packed.body), plain.body, target)
            check(len(packed.body) < 0.45 * len(plain.body),
                  f"{target}: {len(packed.body)} of {len(plain.body)}")
            head = c.ask("HEAD", target, Accept="text/html", Accept_Encoding="gzip").answer(True)
            if "poll" not in target and "/v1/history" not in target and "event" not in target:
                equal(head.headers.get("Content-Length", len(packed.body)),
                      str(len(packed.body)), target)
            tag = packed.headers.get("ETag")
            if tag:
                again = c.ask("GET", target, Accept="text/html", Accept_Encoding="gzip",
                              If_None_Match=tag).answer()
                equal((again.status, again.headers["ETag"]), (304, tag), target)


# ---- clients -----------------------------------------------------------------------

def test_curl_reads_it_to_the_end():
    with World(ONE) as w:
        target = w.urls["http"] + "/v1/stream?channel=" + FINAL
        ask = ["curl", "-sSN", "--max-time", str(DEADLINE)]
        plain = subprocess.Popen([*ask, target], stdout=subprocess.PIPE)
        packed = subprocess.Popen([*ask, "--compressed", target], stdout=subprocess.PIPE)
        lines = Lines(packed.stdout, lambda n: os.read(packed.stdout.fileno(), n))
        first = lines.line()  # though the stream has not ended
        check(b'"snapshot"' in first, first)
        plain_lines = Lines(plain.stdout, lambda n: os.read(plain.stdout.fileno(), n))
        equal(plain_lines.line(), first)
        play_the_final(w)
        goal = lines.until(b'"kind":"stop"')
        equal(plain_lines.until(b'"kind":"stop"'), goal)
        kick(w, FINAL)
        rest = lines.all()
        check(b'"closing"' in rest, rest)
        equal(packed.wait(DEADLINE), 0, "curl checks sum and length")
        plain_lines.all()
        equal(plain.wait(DEADLINE), 0)


def test_node_reads_it_as_it_comes_and_to_the_end():
    with World(ONE + OPEN) as w:
        url = w.urls["http"] + "/v1/stream?channel=room/a"
        p = subprocess.Popen(["node", os.path.join(ROOT, "tests/node/gzip.mjs"), url],
                             stdout=subprocess.PIPE)
        lines = Lines(p.stdout, lambda n: os.read(p.stdout.fileno(), n))
        firsts = [json.loads(lines.line()) for _ in range(2)]
        equal({f["who"] for f in firsts}, {"fetch", "gunzip"}, firsts)
        for i in range(20):
            w.publish("room/a", f"gól número {i} ⚽".encode())
        kick(w, "room/a")
        seen = {}
        for _ in range(2):
            got = json.loads(lines.line())
            check("error" not in got, got)
            equal(got["coding"], "gzip", got)
            seen[got["who"]] = [json.loads(l)["data"] for l in got["text"].splitlines()
                                if '"offset"' in l]
        equal(p.wait(DEADLINE), 0)
        equal(seen, {who: [f"gól número {i} ⚽" for i in range(20)]
                     for who in ("fetch", "gunzip")})


PAGE = """(() => {
  const url = arguments[0];
  const seen = window.seen = { data: [], notices: 0, open: 0, text: '', over: false };
  const source = new EventSource(url);
  source.onopen = () => seen.open++;
  source.addEventListener('notice', () => seen.notices++);
  source.onmessage = (e) => seen.data.push(JSON.parse(e.data).data);
  fetch(url).then(async (answer) => {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      seen.text += value;
    }
    seen.over = true;
  });
  return true;
})()"""


def test_a_browser_reads_it_and_comes_back():
    with World(ONE + OPEN) as w, Browser() as b:
        b.open(w.urls["http"] + "/healthz")
        b.js(PAGE, "/v1/stream?channel=room/a")
        b.until("window.seen.notices > 0 && window.seen.text.includes('snapshot')",
                "both have begun")
        for i in range(10):
            w.publish("room/a", f"gól {i} ⚽".encode())
        b.until("window.seen.data.length === 10", "as they come")
        b.until("window.seen.text.includes('gól 9')", "also to fetch")
        streams = w.metric("gzip_streams_total")
        kick(w, "room/a")
        b.until("window.seen.over", "fetch has read the end")
        b.until("window.seen.open > 1", "EventSource has come back", deadline=3 * DEADLINE)
        w.publish("room/a", "and on")
        b.until("window.seen.data.length === 11", "with its cursor")
        seen = b.js("window.seen")
        equal(seen["data"], [f"gól {i} ⚽" for i in range(10)] + ["and on"])
        eventually(lambda: w.metric("gzip_streams_total") > streams, "gzipped again")
