"""The fans' page in a real browser, against the real system."""
import contextlib
import json
import os
import subprocess

from browser import Browser
from world import BIN, ROOT, World, check, equal, eventually

SLOW = PAGES = True
FINAL = os.path.join(ROOT, "tools", "samples", "worldcup-2022-final.json")
FINAL_ID = "arg-fra-2022-12-18"
NO_SOCKET = "delete window.WebSocket;"
NO_STREAM = """{
    const real = window.fetch;
    window.fetch = (url, ...more) => String(url).includes('/v1/stream')
        ? Promise.reject(new TypeError('blocked')) : real(url, ...more);
}"""
# Everything the page says about a match, for comparing.
SHOWN = """['board', 'timeline', 'home-players', 'visit-players', 'home-off', 'visit-off'].map(
    (id) => document.getElementById(id).textContent)"""


# ---- what fans and their reporters do

def post(w, target, body, method="POST"):
    a = w.http(method, target, json.dumps(body), {"Content-Type": "application/json"})
    check(a.status in (200, 201), f"{method} {target}: {a.status} {a.body!r}")
    return a.json()


def make_match(w, home=("elp", "El Porvenir"), visit=("tig", "Tigre")):
    for team, name in (home, visit):
        post(w, "/v1/teams/" + team, {"name": name, "division": "One"}, "PUT")
    return post(w, "/v1/matches", {"home": home[0], "visit": visit[0],
                                   "start_time": "2011-09-13T13:00:00Z"})["id"]


def happen(w, match, kind, **data):
    return post(w, f"/v1/matches/{match}/events", {"kind": kind, "data": data})


def say(w, room, text, name="ana"):
    """Until it is certain that it was said, whoever dies meanwhile."""
    def said():
        with contextlib.suppress(OSError):
            a = w.publish("room/" + room, text.encode(), Touchline_From=name,
                          Idempotency_Key="k" + str(hash(text)))
            check(a.status in (200, 201, 503), f"{a.status} {a.body!r}")
            return a.status != 503
        return False
    eventually(said, f"said {text!r}")


def look(w, b, hash_=""):
    b.open(w.urls["http"] + "/" + hash_)
    b.shows("#conn-text", "Live")


def lines(b):
    """What was said, as the page shows it."""
    return b.js("Array.from(document.querySelectorAll('#talk .line'),"
                " (li) => [li.dataset.from, li.lastChild.textContent])")


def expect_lines(b, wanted):
    """Exactly these, each once, in this order, all confirmed."""
    b.until("document.querySelectorAll('#talk .line:not(.pending)').length"
            " >= arguments[0]", f"{len(wanted)} lines", len(wanted))
    equal(lines(b), [list(x) for x in wanted], "the talk")
    equal(b.texts("#talk .pending"), [], "unconfirmed")


def is_clean(w, b, outages=False):
    """Nothing went wrong that the page could help."""
    expected = ["/v1/ws - Failed to load resource: the server responded with a "
                "status of 426"]
    if outages:
        expected += ["net::ERR_", "status of 503", "WebSocket connection to"]
    wrong = [m for m in b.console() if not any(e in m for e in expected)]
    equal(wrong, [], "console")
    equal(b.hosts(), {"127.0.0.1"}, "hosts that were asked")


# ---- a match

def test_a_match_is_shown_as_it_happens_and_the_same_to_who_comes_late():
    with World() as w, Browser() as b:
        look(w, b)
        # What was there for a moment only, too.
        b.js("""void (() => {
            window.was = {};
            for (const id of ['home-score', 'period', 'match-list']) {
                const node = document.getElementById(id);
                window.was[id] = [];
                new MutationObserver(() => window.was[id].push(node.textContent))
                    .observe(node, {childList: true, characterData: true, subtree: true});
            }
        })()""")
        play = subprocess.Popen([os.path.join(BIN, "router-ctl"), "--dir", w.dir, "replay",
                                 FINAL, "--speed", "1500"], stdout=subprocess.DEVNULL)
        try:
            b.shows("#home-scorers", "Lionel Messi 23′")
            b.shows("#period", "Full time")
            equal(play.wait(20), 0, "replay")
        finally:
            play.kill()
            play.wait()
        b.shows("#shootout", "4–2 on penalties")
        equal((b.text("#home-score"), b.text("#visit-score")), ("3", "3"))
        was = b.js("window.was")
        # What comes together is drawn once.
        between = [n for n in was["home-score"] if n != "–"]
        check(between == sorted(between) and len(between) > 1 and between[-1] == "3",
              f"scores in between: {between}")
        periods = [text.split(" · ")[0] for text in was["period"]]
        for period in ("First half", "Second half"):
            check(period in periods, f"{period} in {periods}")
        b.shows("#timeline", "Penalty shoot-out")
        check(any("Argentina2France0" in text for text in was["match-list"]), "2-0 in the list")
        b.shows("#visit-scorers", "Kylian Mbappé 80′, 81′, 118′")
        events = w.json(f"/v1/matches/{FINAL_ID}/events?last=1000")["messages"]
        equal(b.js("document.querySelectorAll('#timeline li').length"), len(events))
        state = w.json("/v1/matches/" + FINAL_ID)
        on = b.js("Array.from(document.querySelectorAll('#home-players li'),"
                  " (li) => [li.children[0].textContent, li.children[1].textContent])")
        equal(dict(on), state["home_players"], "who is on the pitch")
        live = b.js(SHOWN)
        b.reload()
        b.shows("#timeline", "Kick-off")
        b.until(f"JSON.stringify({SHOWN}) === JSON.stringify(arguments[0])",
                "the same after a reload", live)
        is_clean(w, b)


def test_a_decision_is_reversed():
    with World() as w, Browser() as b:
        match = make_match(w)
        happen(w, match, "start", home_players=[[7, "Luna"], [9, "Paz"]])
        look(w, b)
        goal = happen(w, match, "goal", team="elp", player=7, minute=12)
        b.shows("#home-score", "1")
        b.shows("#home-scorers", "Luna 12′")
        card = happen(w, match, "card", team="elp", player=9, card="red", minute=20)
        b.shows("#home-off .off", "Paz")
        happen(w, match, "retract", offset=goal["offset"], comment="offside")
        b.until("document.getElementById('home-score').textContent === '0'", "0 again")
        b.shows("#timeline .undone", "Goal – Luna")
        equal(b.text("#home-scorers"), "")
        happen(w, match, "retract", offset=card["offset"])
        b.until("!document.querySelector('#home-off .off')", "Paz is back")
        happen(w, match, "goal", team="tig", minute=30)
        b.shows("#visit-score", "1")
        live = b.js(SHOWN)
        b.reload()
        b.shows("#timeline", "Kick-off")
        b.until(f"JSON.stringify({SHOWN}) === JSON.stringify(arguments[0])",
                "the same after a reload", live)
        is_clean(w, b)


def test_who_comes_in_the_middle_of_events_counts_none_twice():
    with World() as w, Browser() as b:
        match, other = make_match(w), make_match(w, ("arg", "Argentina"), ("fra", "France"))
        happen(w, match, "start")
        happen(w, other, "start")
        # Before and behind each of the page's own requests one goal in both.
        b.before_each_page("""{
            const real = window.fetch;
            const shoot = () => Promise.all(%s.map(([match, team]) =>
                real('/v1/matches/' + match + '/events', {
                    method: 'POST', headers: {'Content-Type': 'application/json'},
                    body: JSON.stringify({kind: 'goal', data: {team: team}})})));
            window.fetch = async (url, ...more) => {
                await shoot();
                const answer = await real(url, ...more);
                await shoot();
                return answer;
            };
        }""" % json.dumps([[match, "elp"], [other, "arg"]]))
        look(w, b)
        b.until("document.querySelectorAll('#timeline .goal').length >= 8", "goals")
        scores = "Array.from(document.querySelectorAll('.fixture b'), (n) => n.textContent)"
        eventually(lambda: b.js(scores) == [
            str(w.json("/v1/matches/" + m)[side + "_score"])
            for m in sorted([match, other]) for side in ("home", "visit")], "the right scores")
        is_clean(w, b)


# ---- the room

def test_a_chat_between_the_page_and_the_rest_of_the_world():
    with World() as w, Browser() as b:
        say(w, "lobby", "before")
        b.before_each_page("localStorage.setItem('touchline name', 'jo')")
        look(w, b)
        expect_lines(b, [("ana", "before")])
        with w.stream("/v1/stream?channel=room/lobby&name=ben") as ben:
            equal(ben.item()["notice"], "snapshot")
            b.shows("#people", "2 here")
            b.shows("#talk .note", "ben joined")
            b.until("document.getElementById('names').textContent === 'jo,ben'.replace(',', '')",
                    "names of who is there")
            b.type("#text", "hello\ue008\ue007\ue008all of you\ue007")
            m = ben.message()
            equal((m["from"], m["data"]), ("jo", "hello\nall of you"))
            say(w, "lobby", "2 < 3 & 4")
            expect_lines(b, [("ana", "before"), ("jo", "hello\nall of you"),
                             ("ana", "2 < 3 & 4")])
        b.shows("#people", "1 here")
        b.shows("#talk .note:last-child", "ben left")
        b.click("#who summary")
        b.fill("#room-input", "north/stand")
        b.fill("#name-input", "jo:anna")
        b.click("#identity button")
        b.shows("#identity-error", "no colon")
        b.fill("#name-input", "joanna")
        b.click("#identity button")
        b.shows("#room-name", "north/stand")
        eventually(lambda: w.json("/v1/presence/room/north/stand")["names"]
                   == [{"name": "joanna", "connections": 1}], "presence")
        say(w, "north/stand", "in here")
        expect_lines(b, [("ana", "in here")])
        is_clean(w, b)


def test_a_name_that_was_typed_counts_also_without_enter():
    with World() as w, Browser() as b:
        look(w, b)
        with w.stream("/v1/stream?channel=room/lobby&name=ben") as ben:
            ben.item()
            b.click("#who summary")
            equal(b.js("document.getElementById('name-input').value"), "", "none that was given")
            b.click("#name-input")
            b.click("#text")
            equal(b.text("#identity-error"), "", "the given one stays")
            b.fill("#name-input", "jo anna")
            b.click("#text")
            b.shows("#identity-error", "no spaces")
            b.fill("#name-input", "jo")
            b.type("#text", "it is me\ue007")
            m = ben.message()
            equal((m["from"], m["data"]), ("jo", "it is me"))
            expect_lines(b, [("jo", "it is me")])
            with w.stream("/v1/stream?channel=room/lobby&name=cy") as cy:
                cy.item()
            b.shows("#talk .note:last-child", "cy left")
            equal(b.js("document.getElementById('talk').textContent.includes('fan-')"), False,
                  "whom he was before has not left")
        eventually(lambda: w.json("/v1/presence/room/lobby")["names"]
                   == [{"name": "jo", "connections": 1}], "presence")
        is_clean(w, b)


def test_who_has_gone_to_another_page_is_not_there_and_finds_all_on_the_way_back():
    """The browser keeps a page that was left, with its sockets if they are open."""
    with World() as w, Browser() as b:
        def here(count):
            eventually(lambda: w.json("/v1/presence/room/lobby")["count"] == count, f"{count} here")
        look(w, b)
        say(w, "lobby", "before")
        expect_lines(b, [("ana", "before")])
        b.open(w.urls["http"] + "/healthz")
        here(0)
        say(w, "lobby", "meanwhile")
        b.js("void history.back()")
        expect_lines(b, [("ana", "before"), ("ana", "meanwhile")])
        here(1)
        is_clean(w, b)


def test_hostile_text_is_text():
    evil = "<img src=x onerror=alert(1)><script>window.hacked=1</script>"
    with World() as w, Browser() as b:
        match = make_match(w, home=("elp", evil))
        happen(w, match, "start", home_players=[[7, evil]])
        happen(w, match, "goal", team="elp", player=7, comment=evil)
        with w.stream("/v1/stream?channel=room/lobby&name=%3Cb%3Ex%3C%2Fb%3E"):
            look(w, b)
            say(w, "lobby", evil, name="<i>y</i>")
            expect_lines(b, [("<i>y</i>", evil)])
            b.shows("#names", "<b>x</b>")
        for css in ("#home-name", "#home-scorers", "#timeline", "#home-players",
                    ".fixture", "#home-line"):
            b.shows(css, evil)
        equal(b.js("document.querySelectorAll('img, main i:not([aria-hidden])')"
                   ".length"), 0, "elements that nobody made")
        equal(b.js("'hacked' in window"), False)
        is_clean(w, b)


# ---- outages

def survives_outages(how, script=None):
    wanted = []
    with World() as w, Browser() as b:
        match = make_match(w)
        happen(w, match, "start")
        b.before_each_page("localStorage.setItem('touchline name', 'jo');" + (script or ""))
        look(w, b)
        equal(b.js("document.getElementById('conn').title"), how, "transport")
        for turn, kind in enumerate(("router", "http", "ws", "router")):
            for n in range(5):
                wanted.append(("ana", f"{turn}.{n} in time"))
                say(w, "lobby", wanted[-1][1])
            expect_lines(b, wanted)
            w.kill(kind)
            for n in range(60):     # more than a room's snapshot holds
                wanted.append(("ana", f"{turn}.{n} meanwhile"))
                say(w, "lobby", wanted[-1][1])
            wanted.append(("jo", f"{turn} from the page"))
            b.type("#text", wanted[-1][1] + "\ue007")
            eventually(lambda: ready(w), "ready again")
            goal = happen(w, match, "goal", team="tig", minute=10 * turn + 1)
            happen(w, match, "goal", team="tig", minute=10 * turn + 2)
            happen(w, match, "retract", offset=goal["offset"])
            expect_lines(b, wanted)
            b.shows("#visit-score", str(turn + 1))
            b.shows("#conn-text", "Live")
        equal(b.js("document.getElementById('conn').title"), how, "transport at the end")
        equal(b.texts("#timeline .goal .tally"), ["0–4", "0–3", "0–2", "0–1"])
        shown = b.js(SHOWN)
        b.reload()
        b.shows("#timeline", "Kick-off")
        b.until(f"JSON.stringify({SHOWN}) === JSON.stringify(arguments[0])",
                "the same after a reload", shown)
        is_clean(w, b, outages=True)


def ready(w):
    with contextlib.suppress(OSError):
        return w.http("GET", "/readyz").status == 200
    return False


def test_nothing_is_lost_over_a_websocket():
    survives_outages("ws")


def test_nothing_is_lost_where_websockets_are_blocked():
    survives_outages("sse", NO_SOCKET)


def test_nothing_is_lost_where_streams_are_blocked_too():
    survives_outages("long poll", NO_SOCKET + NO_STREAM)


def test_what_is_said_without_a_network_is_sent_once_it_is_back():
    with World() as w, Browser() as b:
        b.before_each_page("localStorage.setItem('touchline name', 'jo')")
        look(w, b)
        b.network(False)
        b.type("#text", "from the tunnel\ue007")
        say(w, "lobby", "anybody there?")
        b.shows("#talk .pending", "from the tunnel")
        equal([m["data"] for m in w.json("/v1/history/room/lobby")["messages"]],
              ["anybody there?"])
        b.network(True)
        expect_lines(b, [("ana", "anybody there?"), ("jo", "from the tunnel")])
        is_clean(w, b, outages=True)


HELD = """{
    const real = window.fetch;
    window.held = [];
    window.hold = '';
    window.fetch = async (url, options) => {
        const post = options && options.method === 'POST' && window.hold;
        const wait = () => new Promise((go) => window.held.push(go));
        if (post === 'request') await wait();
        const answer = await real(url, post ? {...options, signal: null} : options);
        if (post === 'answer') await wait();
        return answer;
    };
}"""


def hold(b, what):
    b.js("void (window.hold = arguments[0])", what)


def let_go(b, n=0):
    """The nth that is held."""
    b.until("window.held.length > arguments[0]", "one is held", n)
    b.js("void window.held.splice(arguments[0], 1)[0]()", n)


def test_what_is_heard_before_the_answer_is_shown_once():
    with World() as w, Browser() as b:
        b.before_each_page("localStorage.setItem('touchline name', 'jo');" + HELD)
        look(w, b)
        hold(b, "answer")
        for n in (1, 2):        # the same words twice are two messages
            b.type("#text", "hello\ue007")
            expect_lines(b, [("jo", "hello")] * n)
        let_go(b, 1)
        let_go(b, 0)
        say(w, "lobby", "and then?")
        expect_lines(b, [("jo", "hello")] * 2 + [("ana", "and then?")])
        is_clean(w, b)


def test_of_two_lines_of_the_same_words_the_younger_may_come_first():
    with World() as w, Browser() as b:
        b.before_each_page("localStorage.setItem('touchline name', 'jo');" + HELD)
        look(w, b)
        hold(b, "request")
        for _ in range(2):
            b.type("#text", "me\ue007")
        for waiting in (1, 0):
            let_go(b, waiting)
            b.until("document.querySelectorAll('#talk .line:not(.pending)').length"
                    " === arguments[0]", f"{2 - waiting} said", 2 - waiting)
            b.until("document.querySelectorAll('#talk .pending').length === arguments[0]",
                    "what is not said yet", waiting)
        expect_lines(b, [("jo", "me")] * 2)
        is_clean(w, b)


def test_the_same_words_in_another_window_hide_no_message():
    with World() as w, Browser() as b:
        b.before_each_page("localStorage.setItem('touchline name', 'jo');" + HELD)
        look(w, b)
        hold(b, "request")
        b.type("#text", "me\ue007")
        b.until("window.held.length === 1", "it is on its way")
        say(w, "lobby", "me", name="jo")
        expect_lines(b, [("jo", "me")])
        let_go(b)
        expect_lines(b, [("jo", "me")] * 2)
        is_clean(w, b)


# ---- the pages themselves

def test_it_fits_a_phone():
    word = "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch"
    with World() as w, Browser(320, 640) as b:
        match = make_match(w, home=("elp", word), visit=("tig", "Club Atlético Tigre de Victoria"))
        happen(w, match, "start", home_players=[[7, word], [10, "Di"]])
        happen(w, match, "goal", team="elp", player=7, minute="45+11", comment=word)
        look(w, b)
        say(w, "lobby", word * 5, name=word)
        b.shows("#talk", word)
        b.shows("#home-players", word)
        for tab in ("timeline", "lineups", "chat"):
            b.click("#tab-" + tab)
            b.until("document.getElementById('panel-' + arguments[0]).offsetHeight > 150",
                    "a panel of some height", tab)
            equal(b.js("[document.documentElement, document.body, ...document"
                       ".querySelectorAll('.panel, #talk, .board')]"
                       ".filter((e) => e.scrollWidth > e.clientWidth + 2)"
                       ".map((e) => e.id + ' ' + e.scrollWidth)"), [], "wider than the phone")
            equal(b.js("Array.from(document.querySelectorAll('button, summary, textarea'))"
                       ".filter((e) => e.offsetParent !== null && !e.closest('.matches'))"
                       ".map((e) => [e.id, e.getBoundingClientRect()])"
                       ".filter(([, r]) => r.left < 0 || r.right > innerWidth || r.bottom > 640)"),
                  [], "out of reach")
        is_clean(w, b)


def test_its_files_are_typed_and_tagged():
    types = {"/": "text/html; charset=utf-8", "/score.js": "text/javascript; charset=utf-8",
             "/app.js": "text/javascript; charset=utf-8",
             "/chat.js": "text/javascript; charset=utf-8",
             "/late.css": "text/css; charset=utf-8",
             "/shared.js": "text/javascript; charset=utf-8",
             "/touchline.js": "text/javascript; charset=utf-8",
             "/touchline-match.js": "text/javascript; charset=utf-8",
             "/icon.svg": "image/svg+xml", "/favicon.ico": "image/svg+xml"}
    with World() as w:
        for path, kind in types.items():
            a = w.http("GET", path, headers={"Accept": "text/html"})
            equal((a.status, a.headers["Content-Type"]), (200, kind), path)
            check("default-src 'self'" in a.headers["Content-Security-Policy"], path)
            again = w.http("GET", path, headers={"Accept": "text/html",
                                                 "If-None-Match": a.headers["ETag"]})
            equal((again.status, again.body), (304, b""), path)


def test_a_list_of_matches_and_its_cursor_agree():
    """The http gateway hears of nothing here: it has no seats."""
    with World() as w:
        match = make_match(w)
        happen(w, match, "start")
        for n in range(1, 50):
            goal = happen(w, match, "goal", team="elp")
            for target in ("/v1/matches", "/v1/matches/" + match):
                answer = w.json(target)
                state = answer["matches"][0] if "matches" in answer else answer
                equal((state["home_score"], answer["cursor"]),
                      (n, f"{goal['epoch']}-{goal['seq']}"), target)
