"""The fan's page as people meet it: slow links, networks that go away, phones,
keyboards, dark rooms; in Chromium, with the real system."""
import asyncio
import datetime
import gzip
import json
import os
import subprocess
import threading
import zlib

from browser import Browser
from page_system import FINAL, FINAL_ID, happen, is_clean, lines, look, make_match, post, ready, say
from world import BIN, World, check, equal, eventually

SLOW = PAGES = True
RTT_MS, BYTES_A_SECOND = 400, 50_000
FILES = ("/touchline.js", "/chat.js", "/app.js", "/late.css")
# What all of the page may cost who opens it for the first time.
WHOLE_PAGE = 60_000
# What it may take to show a score, head and all: two round trips, the first of
# which opens the connection, and these bytes are 940 ms of the slow link. A
# server's first flight (ten segments) holds them twice.
FIRST_SCORE = 7_000
NAMED_JO = "localStorage.setItem('touchline name', 'jo');"
# Everything that moved though nobody touched the page.
SHIFTS = """{
    window.shifts = [];
    new PerformanceObserver((list) => list.getEntries().forEach((e) => {
        if (!e.hadRecentInput) window.shifts.push([e.value, e.sources.map((s) => [s.node
            && (s.node.id || s.node.className || s.node.nodeName),
            Math.round(s.previousRect.y), Math.round(s.currentRect.y)].join(' '))]);
    })).observe({type: 'layout-shift', buffered: true});
}"""
# When a score was first there to be seen.
FIRST_SCORE_SEEN = """{
    const watch = new MutationObserver(() => {
        const node = document.getElementById('home-score');
        if (!node || !/\\d/.test(node.textContent)) return;
        watch.disconnect();
        // While a page is loading none of its deferred scripts has run.
        window.score_made = document.readyState;
        requestAnimationFrame(() => setTimeout(() => {
            window.score_drawn = performance.now();
        }));
    });
    watch.observe(document, {childList: true, characterData: true, subtree: true});
}"""


class Link:
    """A slow one in front of a server; what `only` says is all that ever comes
    of its answers, of each connection."""

    def __init__(self, port, only=None):
        self.to, self.only, self.free_at = port, only, 0.0
        self.tasks = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.port = self.ask(self.listen())

    def ask(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    async def listen(self):
        self.server = await asyncio.start_server(self.client, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def client(self, reader, writer):
        self.tasks.add(asyncio.current_task())
        await asyncio.sleep(RTT_MS / 1000)      # SYN, and its answer
        up, to = await asyncio.open_connection("127.0.0.1", self.to)
        await asyncio.gather(self.carry(reader, to, None), self.carry(up, writer, self.only),
                             return_exceptions=True)

    async def carry(self, reader, writer, left):
        """Both directions share the link: a piece follows the one before as soon as that
        has left, and comes half a round trip later."""
        comes = 0.0
        while data := await reader.read(1460):
            if left is not None:
                data = data[:left]
                left -= len(data)
            self.free_at = max(self.loop.time(), self.free_at) + len(data) / BYTES_A_SECOND
            comes = self.free_at + RTT_MS / 2000
            self.loop.call_at(comes, writer.write, data)
        self.loop.call_at(max(self.loop.time(), comes), writer.close)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ask(self.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def stop(self):
        self.server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def port_of(w):
    return int(w.urls["http"].rsplit(":", 1)[1])


def play_final(w, *more):
    subprocess.run([os.path.join(BIN, "router-ctl"), "--dir", w.dir, "replay", FINAL, *more],
                   stdout=subprocess.DEVNULL, check=True)


def today():
    return datetime.date.today()


def match_on(w, date, home="elp", visit="tig"):
    for team in (home, visit):
        post(w, "/v1/teams/" + team, {"name": team.title(), "division": "One"}, "PUT")
    return post(w, "/v1/matches", {"home": home, "visit": visit,
                                   "start_time": str(date)})["id"]


def record(b, *ids):
    """From now on all that the nodes with these ids say is in window.was."""
    b.js("""void (() => {
        window.was = {};
        for (const id of arguments[0]) {
            window.was[id] = [];
            const look = () => {
                const text = document.getElementById(id).textContent;
                if (window.was[id].at(-1) !== text) window.was[id].push(text);
            };
            look();
            new MutationObserver(look).observe(document.body,
                {childList: true, characterData: true, subtree: true});
        }
    })()""".replace("arguments[0]", json.dumps(ids)))


def received(b):
    """Path -> bytes over the network, heads included."""
    b.requests()
    paths, size = {}, {}
    for entry in b.logged["performance"]:
        m = json.loads(entry["message"])["message"]
        p = m["params"]
        if m["method"] == "Network.requestWillBeSent" and p["request"]["url"].startswith("http"):
            paths[p["requestId"]] = "/" + p["request"]["url"].split("/", 3)[3]
        elif m["method"] == "Network.loadingFinished" and p["requestId"] in paths:
            size[paths[p["requestId"]]] = int(p["encodedDataLength"])
    return size


# ---- how soon, and how much

def test_the_first_answer_alone_puts_the_score_on_screen():
    """One round trip, whatever becomes of all other requests."""
    with World() as w, Browser(360, 740) as b:
        play_final(w, "--speed", "100000")
        b.cdp("Network.enable")
        b.cdp("Network.setBlockedURLs", urls=["*.js", "*.css", "*/v1/*"])
        b.open(w.urls["http"] + "/")
        equal((b.text("#home-name"), b.text("#home-score"), b.text("#visit-score")),
              ("Argentina", "3", "3"))
        check("4–2 on penalties" in b.text("#shootout"), b.text("#shootout"))
        check("4–2 pen." in b.text("#match-list"), b.text("#match-list"))
        equal(b.js("getComputedStyle(document.querySelector('.board')).color"),
              "rgb(255, 255, 255)", "it has its style")
        equal([p for p in received(b) if p != "/icon.svg"], ["/"], "what was received")


def test_a_score_is_painted_when_its_bytes_have_come_and_no_more():
    """Neither the rest of the first answer nor anything else is waited for."""
    with World() as w, Link(port_of(w), only=FIRST_SCORE) as link, \
            Browser(360, 740, hasty=True) as b:
        play_final(w, "--speed", "100000")
        b.before_each_page(FIRST_SCORE_SEEN)
        b.open(f"http://127.0.0.1:{link.port}/")
        b.until("window.score_drawn", "a score")
        equal((b.text("#home-name"), b.text("#home-score"), b.text("#visit-score")),
              ("Argentina", "3", "3"))
        check("4–2 on penalties" in b.text("#shootout"), b.text("#shootout"))
        equal(b.js("getComputedStyle(document.querySelector('.board')).color"),
              "rgb(255, 255, 255)", "it has its style")
        b.until("performance.getEntriesByName('first-contentful-paint').length === 1", "paint")
        equal(b.js("document.getElementById('panel-chat')"), None, "the rest has not come")


def test_a_slow_link_shows_a_score_behind_one_request():
    with World() as w, Link(port_of(w)) as link, Browser(360, 740, hasty=True) as b:
        play_final(w, "--speed", "100000")
        b.before_each_page(FIRST_SCORE_SEEN)
        b.open(f"http://127.0.0.1:{link.port}/")
        drawn = b.until("window.score_drawn", "a score")
        print(f"first score after {drawn:.0f} ms with {RTT_MS} ms and"
              f" {BYTES_A_SECOND * 8 // 1000} kbit/s, the opening of the connection in it")
        equal(b.js("window.score_made"), "loading", "when it was made")
        b.shows("#conn-text", "Live")


def test_all_of_the_page_is_small():
    with World() as w, Browser() as b:
        play_final(w, "--speed", "100000")
        for n in range(20):
            match_on(w, today() + datetime.timedelta(days=n - 10), "a" + str(n), "b" + str(n))
        look(w, b)
        b.until("document.querySelectorAll('#timeline li').length > 0", "a timeline")
        size = received(b)
        files = {p: size[p] for p in ("/", *FILES)}
        print("bytes received:", files, "in all", sum(size.values()))
        check(sum(size.values()) < WHOLE_PAGE, f"{size}")
        a = w.http("GET", "/", headers={"Accept": "text/html", "Accept-Encoding": "gzip"})
        enough = b"return {known, wanted};\n}());\n</script>"
        unpack, text, n = zlib.decompressobj(31), b"", 0
        while enough not in text:
            text += unpack.decompress(a.body[n:n + 16])
            n += 16
        n += sum(len(k) + len(v) + 4 for k, v in a.headers.items()) + 40
        plain = w.http("GET", "/", headers={"Accept": "text/html"}).body
        equal(gzip.decompress(a.body) == plain, True, "packed and plain are one page")
        shown = text.count(b'"home":')
        print(f"a score and {shown} matches need {n} bytes of {len(a.body)}: with two round"
              f" trips {2 * RTT_MS + n * 1000 // BYTES_A_SECOND} ms of the slow link")
        check(n < FIRST_SCORE, f"{n} bytes")


def test_matches_and_room_come_over_one_connection():
    with World() as w, Browser() as b:
        match = make_match(w)
        happen(w, match, "start")
        look(w, b)
        say(w, "lobby", "hello")
        b.shows("#talk", "hello")
        happen(w, match, "goal", team="elp")
        b.shows("#home-score", "1")
        sockets = [u for u in b.requests() if u.startswith("ws:")]
        equal(len(sockets), 1, f"{sockets}")
        for channel in ("match%2F*", "room%2Flobby"):
            check("channel=" + channel in sockets[0], sockets[0])
        equal([u for u in b.requests() if "/v1/stream" in u or "/v1/poll" in u], [])
        is_clean(w, b)


# ---- a match

def stays_put(width, height):
    with World() as w, Browser(width, height) as b:
        match = make_match(w)
        happen(w, match, "start", home_players=[[n, f"Ana Man{n}"] for n in range(1, 12)])
        happen(w, match, "goal", team="elp", player=7, minute=3)
        for n in range(4):
            say(w, "lobby", f"in front {n}")
        b.before_each_page(SHIFTS + NAMED_JO)
        look(w, b)
        b.shows("#home-scorers", "Man7")
        b.until("document.querySelectorAll('#talk .line').length === 4", "the talk")
        for n in range(6):
            last = happen(w, match, ("goal", "card", "corner")[n % 3], team="elp", minute=10 + n,
                          **({"player": 1 + n % 11, "card": "yellow"} if n % 3 == 1 else {}))
            say(w, "lobby", f"line {n}")
            b.until("document.querySelectorAll('#timeline li').length === arguments[0]",
                    "the event", 4 + n)
        happen(w, match, "retract", offset=happen(w, match, "goal", team="tig")["offset"])
        b.shows("#toast", "Correction")
        b.network(False)
        b.shows("#conn-text", "Offline since")
        happen(w, match, "goal", team="tig", minute=60)
        b.network(True)
        b.shows("#conn-text", "Live")
        b.shows("#visit-score", "1")
        b.js("new Promise((r) => requestAnimationFrame(() => requestAnimationFrame(r)))")
        shifts = b.js("window.shifts")
        print(f"{width} wide: layout shifts {sum(v for v, _ in shifts):.5f}", shifts[:6])
        check(last and sum(v for v, _ in shifts) < 0.001, f"{shifts}")


def test_nothing_jumps_on_a_phone():
    stays_put(360, 740)


def test_nothing_jumps_on_a_desk():
    stays_put(1280, 900)


def test_who_wants_no_motion_gets_none():
    with World() as w, Browser() as b:
        b.cdp("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-reduced-motion", "value": "reduce"}])
        match = make_match(w)
        happen(w, match, "start")
        look(w, b)
        b.shows("#timeline", "Kick-off")
        b.js("document.querySelector('#timeline li').classList.add('fresh')")
        moves = ("['#timeline .fresh', '#timeline', '.lamp', '.board', '#toast', '.fixture']"
                 ".map((css) => getComputedStyle(document.querySelector(css)))"
                 ".filter((s) => s.animationName !== 'none' || parseFloat(s.transitionDuration) > 0)"
                 ".length")
        equal(b.js(moves), 0, "what moves")
        b.cdp("Emulation.setEmulatedMedia", features=[])
        check(b.js(moves) > 0, "others see it move")


def test_a_correction_is_told():
    with World() as w, Browser() as b:
        match = make_match(w)
        happen(w, match, "start", home_players=[[7, "Luna"]])
        look(w, b)
        b.shows("#timeline", "Kick-off")
        record(b, "announce")
        b.js("""void new MutationObserver((list) => list.forEach((m) => {
            if (m.target.classList.contains('corrected')) window.corrected = true;
        })).observe(document.getElementById('home-score'), {attributes: true})""")
        goal = happen(w, match, "goal", team="elp", player=7, minute=12)
        b.shows("#announce", "Goal – Luna, El Porvenir, 1–0")
        happen(w, match, "retract", offset=goal["offset"], comment="offside")
        b.shows("#toast.on", "Correction: Goal – Luna is taken back, offside, now 0–0")
        b.until("window.corrected", "the score says so, too")
        b.shows("#announce", "Correction: Goal – Luna is taken back, offside, now 0–0")
        b.shows("#timeline .undone", "Taken back at")
        b.shows("#timeline .retract", "Goal – Luna 12′ · offside")
        equal(b.js("getComputedStyle(document.querySelector('.undone b')).textDecorationLine"),
              "line-through")
        equal(b.text("#home-scorers"), "")
        is_clean(w, b)


def test_penalties_are_dots():
    with World() as w, Browser(360, 740) as b:
        match = make_match(w)
        for kind in ("start", "halftime_start", "halftime_stop"):
            happen(w, match, kind)
        look(w, b)
        happen(w, match, "penalties")
        dots = ("['home', 'visit'].map((s) => Array.from(document.querySelectorAll("
                "'#' + s + '-kicks i'), (i) => i.className).join(' '))")
        five = " ".join(["open"] * 5)
        b.until(f"JSON.stringify({dots}) === JSON.stringify([arguments[0], arguments[0]])",
                "five to come on each side", five)
        happen(w, match, "goal", team="elp")
        happen(w, match, "shot", team="tig")
        happen(w, match, "save", team="tig")     # of a kick of the other side
        wrong = happen(w, match, "goal", team="tig")
        b.shows("#shootout", "1–1 on penalties")
        equal(b.js(dots), ["in out open open open", "out in open open open"])
        equal(b.js("document.getElementById('home-kicks').getAttribute('aria-label')"),
              "El Porvenir: scored, missed")
        happen(w, match, "retract", offset=wrong["offset"])
        b.shows("#shootout", "1–0 on penalties")
        b.until(f"{dots}[1] === 'out open open open open'", "taken back")
        happen(w, match, "stop")
        b.shows("#period", "Full time")
        equal(b.js(dots), ["in out", "out"])
        is_clean(w, b)


def test_line_ups_stand_on_a_pitch_in_the_order_of_the_announcement():
    order = [1, 4, 2, 6, 3, 5, 8, 10, 7, 9, 11]
    with World() as w, Browser() as b:
        match = make_match(w)
        happen(w, match, "start", home_players={str(n): f"Ana Man{n}" for n in order})
        look(w, b)
        b.click("#tab-lineups")
        b.shows("#placed", "order of the announcement")
        at = """Object.fromEntries(Array.from(document.querySelectorAll('#home-players li'), (li) => {
            const p = document.querySelector('.grass').getBoundingClientRect();
            const r = li.getBoundingClientRect();
            return [li.children[0].textContent, [(r.x + r.width / 2 - p.x) / p.width,
                                                 (r.y + r.height / 2 - p.y) / p.height]];
        }))"""
        was = b.js(at)
        for row in (order[1:5], order[5:8], order[8:11]):
            x = {round(was[str(n)][0], 3) for n in row}
            equal(len(x), 1, f"a line of {row}")
            y = [was[str(n)][1] for n in row]
            equal(y, sorted(y, reverse=True), "from the right to the left of who plays")
        check(was["1"][0] < was["4"][0] < was["5"][0] < was["7"][0] < 0.5, f"{was}")
        check(all(0 < x < 1 and 0 < y < 1 for x, y in was.values()), f"{was}")
        happen(w, match, "substitution", team="elp", player_out=10, player_in=[12, "Bo New"])
        b.until("document.querySelector('#home-off').textContent.includes('Man10')", "he went")
        equal(b.js(at)["12"], was["10"], "in his place")
        happen(w, match, "card", team="elp", player=4, card="red")
        b.until("document.querySelector('#home-off').textContent.includes('Man4')", "sent off")
        now = b.js(at)
        check("4" not in now and now["2"] == was["2"], "his place stays empty")
        b.shows("#visit-players", "Not announced")
        shown = b.js(at)
        b.reload()
        b.shows("#conn-text", "Live")
        b.click("#tab-lineups")
        b.until(f"JSON.stringify({at}) === JSON.stringify(arguments[0])", "the same later", shown)
        is_clean(w, b)


def test_who_was_there_at_kick_off_gets_the_order_when_it_is_looked_at():
    with World() as w, Browser() as b:
        match = make_match(w)
        look(w, b)
        happen(w, match, "start", home_players={str(n): f"Man{n}" for n in (9, 1, 4)})
        b.shows("#period", "First half")
        b.click("#tab-lineups")
        b.shows("#placed", "order of the announcement")
        equal(b.texts("#home-players .shirt"), ["9", "1", "4"])


# ---- the network goes away

def test_it_says_since_when_it_is_offline_and_from_when_it_catches_up():
    with World() as w, Browser(360, 740) as b:
        match = make_match(w)
        happen(w, match, "start")
        look(w, b)
        b.shows("#timeline", "Kick-off")
        record(b, "conn-text", "announce")
        b.network(False)
        b.shows("#conn-text", "Offline since ")
        since = b.text("#conn-text").split()[-1]
        equal(b.text("#as-of"), "as of " + since)
        equal(b.js("document.body.classList.contains('stale')"), True)
        for n in range(3):
            happen(w, match, "goal", team="tig", minute=10 + n)
        b.network(True)
        b.shows("#conn-text", "Live")
        b.shows("#visit-score", "3")
        was = b.js("window.was")
        check("Catching up from " + since in was["conn-text"], f"{was}")
        b.shows("#toast.on", f"3 things happened since {since}, and nothing is missing")
        b.until("document.getElementById('announce').textContent.includes('nothing is missing')",
                "said aloud")
        check(any("Connection lost" in t for t in was["announce"]), f"{was}")
        equal((b.text("#as-of"), b.js("document.body.classList.contains('stale')")), ("", False))
        is_clean(w, b, outages=True)


def test_what_delivers_is_live_whatever_the_browser_thinks_of_its_network():
    """As on a machine that has none but its own."""
    with World() as w, Browser() as b:
        match = make_match(w)
        b.before_each_page("Object.defineProperty(navigator, 'onLine', {value: false})")
        look(w, b)
        happen(w, match, "start")
        b.shows("#timeline", "Kick-off")
        b.shows("#conn-text", "Live")
        is_clean(w, b)
        b.open(w.urls["http"] + "/report#match=" + match)
        b.shows("#conn-text", "Live")


def test_gateways_that_die_cost_nothing_but_a_word():
    with World() as w, Browser() as b:
        match = make_match(w)
        happen(w, match, "start")
        look(w, b)
        b.shows("#timeline", "Kick-off")
        record(b, "conn-text")
        for turn in range(2):
            w.kill("ws")
            w.kill("http")
            eventually(lambda: ready(w), "ready again")
            happen(w, match, "goal", team="tig", minute=turn + 1)
            b.shows("#visit-score", str(turn + 1))
            b.shows("#conn-text", "Live")
        was = b.js("window.was")["conn-text"]
        check(any(t.startswith("Offline since") for t in was), f"{was}")
        check(any(t.startswith("Catching up from") for t in was), f"{was}")
        is_clean(w, b, outages=True)


def test_what_was_not_kept_is_said_to_be_missing():
    config = "[namespace room/]\nhistory = 5\n"
    with World(config=config) as w, Browser() as b:
        match = make_match(w)
        happen(w, match, "start")
        look(w, b)
        say(w, "lobby", "in front")
        b.shows("#talk", "in front")
        b.network(False)
        b.shows("#conn-text", "Offline since ")
        for n in range(30):
            say(w, "lobby", f"meanwhile {n}")
        b.network(True)
        b.shows("#talk .note", "missing here")
        b.shows("#conn-text", "Live")
        check(["ana", "meanwhile 29"] in lines(b), f"{lines(b)}")
        is_clean(w, b, outages=True)


def test_a_page_that_came_while_the_router_was_away_fills_itself():
    with World() as w, Browser() as b:
        match = make_match(w)
        happen(w, match, "start")
        w.kill("http")
        eventually(lambda: ready(w), "ready again")
        b.before_each_page("""{
            const at = Object.getOwnPropertyDescriptor(Node.prototype, 'textContent');
            Object.defineProperty(Node.prototype, 'textContent', {...at,
                get() { return this.id === 'known' ? 'null' : at.get.call(this); }});
        }""")
        b.open(w.urls["http"] + "/")
        b.shows("#home-name", "El Porvenir")
        b.shows("#conn-text", "Live")
        happen(w, match, "goal", team="elp")
        b.shows("#home-score", "1")
        is_clean(w, b)


# ---- the room

def test_unread_messages_are_counted_until_they_are_seen():
    with World() as w, Browser(360, 740) as b:
        b.before_each_page(NAMED_JO)
        say(w, "lobby", "old")
        look(w, b)
        b.shows("#talk", "old")
        for n in range(3):
            say(w, "lobby", f"new {n}")
        b.until("document.getElementById('unread').textContent === '3'", "three unread")
        equal(b.js("document.getElementById('tab-chat').getAttribute('aria-label')"),
              "Chat, 3 unread")
        check(b.js("document.title").startswith("(3) "), "the title counts, too")
        b.click("#tab-chat")
        b.until("document.getElementById('unread').hidden", "all seen")
        check(not b.js("document.title").startswith("("), "the title, too")
        equal(b.js("document.querySelector('#talk .divider').nextElementSibling.textContent")
              .endswith("new 0"), True, "the line in front of what is new")
        for n in range(30):
            say(w, "lobby", f"more {n}")
        b.shows("#talk", "more 29")
        b.js("void (document.getElementById('talk').scrollTop = 200)")
        b.until("!document.getElementById('newer').hidden", "the way back")
        say(w, "lobby", "below")
        b.shows("#newer", "1 new")
        b.click("#newer")
        b.until("document.getElementById('newer').hidden", "at the end")
        is_clean(w, b)


def test_one_can_scroll_back_to_where_the_room_begins():
    with World() as w, Browser() as b:
        wanted = [["ana", f"line {n}"] for n in range(130)]
        for _, text in wanted:
            say(w, "lobby", text)
        look(w, b)
        b.until("document.querySelectorAll('#talk .line').length === 50", "the last fifty")
        equal(lines(b), wanted[-50:])
        for known in (50, 100):
            top = ("(() => { const l = Array.from(document.querySelectorAll('#talk .line'))"
                   ".find((l) => l.textContent.endsWith(arguments[0]));"
                   " return l.getBoundingClientRect().y; })()")
            text = f"line {130 - known}"
            b.js("void (document.getElementById('talk').scrollTop = 10)")
            y = b.js(top, text)
            b.until("document.querySelectorAll('#talk .line').length > arguments[0]",
                    "more of it", known)
            check(abs(b.js(top, text) - y) < 40, "what is looked at stays")
        b.until("document.querySelectorAll('#talk .line').length === 130", "all of it")
        equal(lines(b), wanted)
        equal(b.js("document.getElementById('talk').dataset.begin"), "yes")
        say(w, "lobby", "and now")
        b.until("document.querySelectorAll('#talk .line').length === 131", "and what comes")
        equal(lines(b), wanted + [["ana", "and now"]])
        is_clean(w, b)


# ---- light and dark, keys, readers

def test_dark_and_light_follow_the_device_until_one_chooses():
    with World() as w, Browser(dark=True) as b:
        make_match(w)
        look(w, b)
        back = "getComputedStyle(document.body).backgroundColor"
        dark, light = "rgb(15, 21, 18)", "rgb(242, 244, 241)"
        equal(b.js(back), dark)
        b.click("#theme")
        equal((b.js(back), b.js("document.getElementById('theme').getAttribute('aria-label')")),
              (light, "Colours: light"))
        # It is light from the first picture on, before any other file has come.
        b.cdp("Network.enable")
        b.cdp("Network.setBlockedURLs", urls=["*.js", "*.css"])
        b.reload()
        equal(b.js(back), light)
        b.cdp("Network.setBlockedURLs", urls=[])
        b.reload()
        b.shows("#conn-text", "Live")
        b.click("#theme")
        equal(b.js(back), dark)
        b.cdp("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "light"}])
        equal(b.js(back), dark, "chosen")
        b.click("#theme")
        equal(b.js(back), light, "as the device")


def test_all_text_can_be_read_in_both():
    """WCAG 2.1: a contrast of 4.5, of 3 where letters are large."""
    with World() as w:
        for dark in (False, True):
            with Browser(dark=dark) as b:
                match = make_match(w, home=("elp", "Elp"), visit=("tig", "Tig")) if not dark \
                    else w.json("/v1/matches")["matches"][0]["id"]
                if not dark:
                    happen(w, match, "start", home_players=[[7, "Luna"]])
                    goal = happen(w, match, "goal", team="elp", player=7, minute=2)
                    happen(w, match, "retract", offset=goal["offset"])
                    happen(w, match, "corner", team="tig")
                    say(w, "lobby", "hello")
                look(w, b)
                b.shows("#talk", "hello")
                b.shows("#timeline", "Kick-off")
                equal(b.js(POOR), [], "too little contrast")


POOR = """(() => {
    const parts = (c) => (c.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
    const lum = ([r, g, b]) => [r, g, b].map((v) => (v /= 255) <= .03928 ? v / 12.92
        : ((v + .055) / 1.055) ** 2.4).reduce((s, v, i) => s + v * [.2126, .7152, .0722][i], 0);
    const behind = (e) => {
        for (; e; e = e.parentElement) {
            const c = parts(getComputedStyle(e).backgroundColor);
            if (e.matches('.board, .grass')) return [13, 92, 56];
            if (c.length < 4 || c[3] === 1) return c;
        }
        return [255, 255, 255];
    };
    const out = [];
    document.querySelectorAll('body *').forEach((e) => {
        const own = Array.from(e.childNodes).some((n) => n.nodeType === 3 && n.data.trim());
        if (!own || e.offsetParent === null || e.closest('.sr, .skip, #toast, .crest, script')) return;
        const s = getComputedStyle(e);
        if (s.visibility === 'hidden') return;
        const a = lum(parts(s.color)), z = lum(behind(e));
        const ratio = (Math.max(a, z) + .05) / (Math.min(a, z) + .05);
        const large = parseFloat(s.fontSize) >= 18.66;
        if (ratio < (large ? 3 : 4.5)) out.push([e.id || e.className || e.nodeName,
            e.textContent.slice(0, 20), s.color, behind(e).join(), ratio.toFixed(2)]);
    });
    return out;
})()"""


def keys(b, *names):
    codes = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowRight": 39, "Home": 36, "End": 35}
    for name in names:
        for kind in ("keyDown", "keyUp"):
            more = {"text": "\r"} if name == "Enter" and kind == "keyDown" else {}
            b.cdp("Input.dispatchKeyEvent", type=kind, key=name, code=name,
                  windowsVirtualKeyCode=codes[name], **more)


FOCUS = "document.activeElement.id || document.activeElement.className || document.activeElement.tagName"


def test_everything_works_from_the_keyboard():
    with World() as w, Browser() as b:
        match = make_match(w)
        happen(w, match, "start")
        other = match_on(w, today(), "abc", "xyz")
        look(w, b)
        order = []
        for _ in range(9):
            keys(b, "Tab")
            order.append(b.js(FOCUS))
        equal(order, ["skip", "theme", "fixture", "fixture", "tab-timeline", "key-only",
                      "panel-timeline", "SUMMARY", "talk"])
        b.js("document.querySelector('.skip').focus()")
        keys(b, "Enter")
        equal(b.js(FOCUS), "panel-timeline")
        b.js("document.getElementById('tab-timeline').focus()")
        keys(b, "ArrowRight")
        equal((b.js(FOCUS), b.js("document.body.dataset.view")), ("tab-lineups", "lineups"))
        keys(b, "Home")
        equal(b.js(FOCUS), "tab-timeline")
        b.js("Array.from(document.querySelectorAll('.fixture')).at(-1).focus()")
        keys(b, "Enter")
        equal(b.js("document.querySelectorAll('.fixture[aria-current=true]').length"), 1)
        check(other in b.js("location.hash") or match in b.js("location.hash"), "it is chosen")
        b.js("document.querySelector('summary').focus()")
        keys(b, "Enter")
        b.until("document.getElementById('who').open", "room and name")
        keys(b, "Tab", "Escape")
        equal((b.js("document.getElementById('who').open"), b.js(FOCUS)), (False, "SUMMARY"))


def test_a_screen_reader_finds_its_way():
    with World() as w, Browser() as b:
        match = make_match(w)
        happen(w, match, "start")
        happen(w, match, "goal", team="elp")
        look(w, b)
        b.shows("#home-score", "1")
        tree = b.cdp("Accessibility.getFullAXTree")["nodes"]
        seen = [(n["role"]["value"], n.get("name", {}).get("value", ""))
                for n in tree if not n["ignored"]]
        for wanted in (("banner", ""), ("navigation", "Matches"), ("main", ""),
                       ("region", "El Porvenir 1, Tigre 0"), ("complementary", "Chat"),
                       ("tablist", "What to show"), ("log", "Messages"),
                       ("heading", "Touchline"), ("textbox", "Say something")):
            check(wanted in seen, f"{wanted} in {[s for s in seen if s[0] == wanted[0]]}")
        nameless = [role for role, name in seen
                    if role in ("button", "link", "tab", "textbox") and not name]
        equal(nameless, [], "without a name")
        # What is said in the room is read to who is in it, and to nobody else.
        aloud = "document.getElementById('talk').getAttribute('aria-live')"
        equal(b.js(aloud), "off")
        b.js("document.getElementById('text').focus()")
        equal(b.js(aloud), "polite")


# ---- which match

def test_an_address_names_a_match_and_the_way_back_leads_back():
    with World() as w, Browser() as b:
        first, second = match_on(w, today(), "aaa", "bbb"), match_on(w, today(), "ccc", "ddd")
        happen(w, first, "start")
        look(w, b, "#match=" + second)
        equal(b.text("#home-name"), "Ccc")
        b.js("document.querySelector('.fixture').click()")
        b.shows("#home-name", "Aaa")
        check("match=" + first in b.js("location.hash"), b.js("location.hash"))
        b.js("history.back()")
        b.shows("#home-name", "Ccc")
        b.js("history.forward()")
        b.shows("#home-name", "Aaa")
        equal(b.texts(".fixture[aria-current=true] span")[:1], ["Aaa"])
        is_clean(w, b)


def test_a_match_that_is_not_there_is_said_so_and_appears_when_it_is():
    with World() as w, Browser(360, 740) as b:
        match = f"elp-tig-{today()}"
        b.open(w.urls["http"] + "/#match=" + match)
        b.shows("#period", "No such match")
        b.shows("#missing-id", match)
        equal(b.js("document.querySelector('.missing').offsetHeight > 0"), True)
        match_on(w, today())
        b.shows("#home-name", "Elp")
        equal(b.js("document.getElementById('no-events').hidden"), True)


def test_without_a_match_it_says_what_to_try():
    with World() as w, Browser(360, 740) as b:
        look(w, b)
        b.shows("#period", "No match yet")
        equal(b.js("document.querySelector('#no-events .none a').getAttribute('href')"), "/report")
        equal(b.js("document.querySelector('#no-events .none').offsetHeight > 0"), True)
        b.shows("#match-list", "No matches yet.")
        b.until("document.getElementById('silence').offsetParent !== undefined", "the room")
        match_on(w, today())
        b.shows("#home-name", "Elp")
        is_clean(w, b)


def test_todays_matches_stand_together_and_do_not_move():
    with World() as w, Browser() as b:
        day = datetime.timedelta(days=1)
        for n in range(30):
            match_on(w, today() - (n + 2) * day, "p" + str(n), "q" + str(n))
        match_on(w, today() + day, "morrow", "xyz")
        ids = [match_on(w, today(), home, "xyz") for home in ("aaa", "bbb", "ccc")]
        look(w, b)
        rows = "Array.from(document.querySelectorAll('#match-list li'), (li) => li.innerText.split('\\n')[0])"
        top = ["TODAY", "Aaa", "Bbb", "Ccc"]
        equal(b.js(rows)[:4], top)
        happen(w, ids[2], "start")
        happen(w, ids[2], "goal", team="ccc")
        b.until("document.querySelectorAll('.fixture')[2].textContent.includes('Ccc1')", "its score")
        equal(b.js(rows)[:4], top, "where it was")
        b.shows("#home-name", "Ccc")
        shown = b.js("document.querySelectorAll('.fixture').length")
        check(shown < 20, f"{shown} are enough at first")
        b.click(".all-matches")
        b.until("document.querySelectorAll('.fixture').length === 34", "all of them")
        b.until("!document.querySelector('.all-matches')", "no more of them")
        is_clean(w, b)
