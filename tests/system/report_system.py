"""The reporter's page in a real browser, against the real system: with one
thumb, and with the network going away in the middle."""
import contextlib
import json

from browser import Browser
from page_system import happen, make_match, ready
from world import World, check, equal, eventually

SLOW = PAGES = True
SECRET = "a-secret-of-enough-bytes"
TOKENS = f"[token desk]\nsecret = {SECRET}\npublish = match/, team/\n" \
    "[token other]\nsecret = another-secret-of-enough\npublish = room/\n"
FILES = {"/report": "text/html; charset=utf-8", "/report.css": "text/css; charset=utf-8",
         **{f"/{name}.js": "text/javascript; charset=utf-8" for name in (
             "report", "report-worker", "lineup", "outbox", "play", "sheets", "score", "shared",
             "touchline")}}
ELEVEN = ["Armani", "Mercado", "Vega", "Luna", "Paz", "Ruiz", "Mora", "Silva", "Ponce",
          "Godoy", "Rojas"]
# Every event that the page sends leaves a mark in its storage, whichever tab it is. While
# `hold` is there answers are kept back, while `lose` is there the first one of each is lost.
WATCHED = """{
    const real = window.fetch, seen = new Set();
    window.fetch = async (url, options) => {
        const key = options && options.headers && options.headers['Idempotency-Key'];
        if (!key) return real(url, options);
        const bare = localStorage.getItem('bare') && !options.headers.Authorization;
        const name = (bare ? 'refused ' : 'sent ') + Math.random();
        const began = Date.now();
        localStorage.setItem(name, key);
        const answer = await real(url, options);
        while (localStorage.getItem('hold'))
            await new Promise((go) => setTimeout(go, 20));
        localStorage.setItem('time of ' + name, JSON.stringify([began, Date.now()]));
        if (localStorage.getItem('lose') && !seen.has(key)) {
            seen.add(key);
            throw new TypeError('lost');
        }
        return answer;
    };
}"""
SENDS = """Object.keys(localStorage).filter((k) => k.startsWith('sent '))
    .map((k) => localStorage.getItem(k))"""
TIMES = """Object.keys(localStorage).filter((k) => k.startsWith('time of sent '))
    .map((k) => localStorage.getItem(k))"""
VISIBLE = """Array.from(document.querySelectorAll(arguments[0]))
    .filter((b) => b.checkVisibility({visibilityProperty: true}))
    .map((b) => b.textContent)"""


# ---- what a reporter does

def report(w, b, match):
    b.open(w.urls["http"] + "/report#match=" + match)
    b.shows("#conn-text", "Live")
    b.until("document.getElementById('home-name').textContent", "the match")


def opened(b):
    b.until("document.getElementById('sheet').open", "a sheet")


def closed(b):
    b.until("!document.getElementById('sheet').open", "the sheet is done")


def begin(b, *buttons):
    """One after the other, and no other: each is there when its turn comes."""
    for css in buttons:
        b.until("document.querySelector(arguments[0])", css, css)
        b.click(css)


def tap(b, *buttons):
    begin(b, *buttons)
    closed(b)


def man(number):
    """His button on the sheet."""
    return f"#sheet .player:nth-child({number})"


def go(b, what, **fields):
    """A button, the sheet that it opens filled in, and the button at its bottom."""
    b.click(what)
    opened(b)
    for name, value in fields.items():
        b.fill(f"#sheet [name={name}]", str(value))
    b.click("#sheet-go")


def paste(b, side, text):
    b.click(f"#{side}-pad [data-act=lineup]")
    opened(b)
    b.js("""void (() => {
        const area = document.querySelector('#sheet textarea');
        area.value = arguments[0];
        area.dispatchEvent(new Event('input'));
    })()""".replace("arguments[0]", json.dumps(text)))


def whistle(b, period):
    go(b, "#next")
    b.shows("#period", period)
    closed(b)


def row(b, text, state="li"):
    """Presses the newest row of the list that says so."""
    b.until(f"Array.from(document.querySelectorAll('#log {state}'))"
            ".find((r) => r.textContent.includes(arguments[0]))", f"a row {text!r}", text)
    b.js(f"void Array.from(document.querySelectorAll('#log {state}'))"
         ".find((r) => r.textContent.includes(arguments[0])).firstChild.click()", text)
    opened(b)


def press(b, text):
    """The button of the sheet that says so."""
    b.js("void Array.from(document.querySelectorAll('#sheet button'))"
         ".find((r) => r.textContent.includes(arguments[0])).click()", text)


def happened(w, match):
    return [(m["kind"], {k: v for k, v in m["data"].items() if k != "minute"})
            for m in w.json(f"/v1/matches/{match}/events?last=1000")["messages"]]


def all_sent(w, b, match, wanted):
    eventually(lambda: len(happened(w, match)) >= len(wanted) + 1, "events are there")
    equal(happened(w, match)[1:], wanted)
    b.until("!document.querySelector('#log .waiting')", "nothing waits")
    b.until("document.getElementById('conn-text').textContent === 'Live'", "all sent")


def is_clean(b):
    """Nothing went wrong that the page could help. It asks whether it may report with an
    event that is none."""
    expected = ["/v1/ws - Failed to load resource: the server responded with a status of 426",
                "/v1/matches - Failed to load resource: the server responded with a status of "
                "400", "/events - Failed to load resource: the server responded with a status "
                "of 400", "net::ERR_", "WebSocket connection to", "status of 503",
                "status of 403", "status of 409"]
    wrong = [m for m in b.console() if not any(e in m for e in expected)]
    equal(wrong, [], "console")
    equal(b.hosts(), {"127.0.0.1"}, "hosts that were asked")


def works_offline(b):
    """The page has been put by, with all that belongs to it."""
    b.until("navigator.serviceWorker.ready.then(() => caches.open('touchline report'))"
            ".then((c) => c.keys()).then((k) => k.length >= 11)", "kept files")
    b.until("localStorage.getItem('touchline match ' + arguments[0].slice(7)) !== null",
            "a kept match", b.js("location.hash"))


# ---- the whole of it

def test_a_whole_match_with_the_network_away_in_the_middle():
    with World() as w, Browser(360, 640) as b:
        make_match(w)
        b.open(w.urls["http"] + "/report")
        b.shows("#match-list", "El Porvenir")
        b.click("#new")
        opened(b)
        b.fill("[name=home]", "Río Negro")
        b.type("[name=visit]", "tig")
        b.click(".team-field:nth-child(2) .suggest button")
        b.fill("[name=stadium]", "Norte")
        b.click("#sheet-go")
        b.shows("#home-name", "Río Negro")
        made = next(m for m in w.json("/v1/matches")["matches"] if m["home"] == "rionegro")
        equal((made["visit"], made["stadium"]), ("tig", "Norte"))
        match = made["id"]
        names = {str(n): name for n, name in enumerate(ELEVEN, 1)}
        paste(b, "home", "\n".join(f"{n}. {x}" for n, x in names.items()) +
              "\nSubs: 12 Soto, 14 Juárez")
        b.shows("#sheet .preview", "On the pitch · 11")
        b.shows("#sheet .preview", "Bench · 2")
        tap(b, "#sheet-go")
        whistle(b, "First half")
        b.shows("#log", "Kick-off")

        tap(b, "#home-pad [data-act=goal]", man(9))     # team and player: two taps
        wanted = [("start", {"home_players": names}),
                  ("goal", {"player": {"9": "Ponce"}, "team": "rionegro"})]
        all_sent(w, b, match, wanted)
        equal(w.json(f"/v1/matches/{match}/events")["messages"][-1]["data"]["minute"], 1)
        b.click("#visit-pad [data-act=goal]")
        opened(b)
        tap(b, "#sheet [name=own]", man(4))             # Luna's own goal
        b.click("#visit-pad [data-act=goal]")
        opened(b)
        b.fill("#sheet [name=minute]", "45+1")
        tap(b, "#sheet [name=pen]", man(10))
        tap(b, "#home-pad [data-act=card]", man(5))
        tap(b, "#home-pad [data-act=card]", man(5))     # his second: he is off
        tap(b, "#home-pad [data-act=third]", man(6), man(1))
        wanted += [("goal", {"player": {"4": "Luna"}, "team": "tig",
                             "player_team": "rionegro"}),
                   ("goal", {"player": {"10": ""}, "team": "tig", "comment": "penalty"}),
                   ("card", {"player": {"5": "Paz"}, "card": "yellow", "team": "rionegro"}),
                   ("card", {"player": {"5": "Paz"}, "card": "yellow", "team": "rionegro"}),
                   ("substitution", {"player_out": {"7": "Mora"}, "team": "rionegro",
                                     "player_in": {"12": "Soto"}})]
        all_sent(w, b, match, wanted)
        b.click("#home-pad [data-act=card]")
        opened(b)
        on = b.texts("#sheet .player span:nth-child(2)")
        equal(sorted(on), sorted(set(ELEVEN) - {"Paz", "Mora"} | {"Soto"}), "on the pitch")
        b.click("#sheet-close")
        whistle(b, "Half time")
        all_sent(w, b, match, wanted + [("halftime_start", {})])

        works_offline(b)
        # The driver takes the network from the page, not from its worker: what is kept
        # has a mark, by which it is known again.
        b.js("""caches.open('touchline report').then(async (kept) => {
            const css = await (await kept.match('/report.css')).text();
            await kept.put('/report.css', new Response(css + ':root { --kept: yes }',
                {headers: {'Content-Type': 'text/css'}}));
        })""")
        b.network(False)
        whistle(b, "Second half")
        tap(b, "#home-pad [data-act=goal]", man(1))
        b.shows("#conn-text", "Offline · 2 waiting")
        b.reload()                              # it is all still there, and goes on
        b.shows("#period", "Second half")
        b.shows("#home-score", "2")
        equal(b.js("getComputedStyle(document.documentElement).getPropertyValue('--kept')"),
              "yes", "the files that were kept")
        equal((b.text("#home-name"), b.text("#visit-score")), ("Río Negro", "2"))
        equal(len(b.texts("#log .waiting")), 2)
        tap(b, "#visit-pad [data-act=card]", "#sheet [value=red]", man(3))
        b.shows("#conn-text", "Offline · 3 waiting")
        equal(len(happened(w, match)), len(wanted) + 2, "what the server has")
        b.network(True)
        wanted += [("halftime_start", {}), ("halftime_stop", {}),
                   ("goal", {"player": {"1": "Armani"}, "team": "rionegro"}),
                   ("card", {"player": {"3": ""}, "card": "red", "team": "tig"})]
        all_sent(w, b, match, wanted)

        go(b, "#next")                          # it ends in a draw: a sheet of choices
        b.shows("#period", "Full time")
        b.click("#undo")
        tap(b, "#sheet-go")
        b.shows("#period", "Second half")
        for what, period in (("Extra time", "Extra time, first half"),
                             ("", "Half time of extra time"),
                             ("", "Extra time, second half"),
                             ("Penalty shoot-out", "Penalty shoot-out")):
            b.click("#next")
            opened(b)
            press(b, what or b.text("#sheet-go"))
            b.shows("#period", period)
        tap(b, "#home-pad [data-act=goal]", man(2))
        tap(b, "#visit-pad [data-act=third]", "#sheet .unknown")
        b.shows("#shootout", "1–0")
        whistle(b, "Full time")
        stop = len(wanted) + 2
        all_sent(w, b, match, wanted + [
            ("stop", {}), ("retract", {"offset": stop}), ("extratime", {}),
            ("halftime_start", {}), ("halftime_stop", {}), ("penalties", {}),
            ("goal", {"player": {"2": "Mercado"}, "team": "rionegro"}),
            ("shot", {"team": "tig"}), ("stop", {})])
        state = w.json("/v1/matches/" + match)
        equal([state[k] for k in ("period", "home_score", "visit_score", "home_shootout",
                                  "visit_shootout")], ["ended", 2, 2, 1, 0])
        is_clean(b)
        b.open(w.urls["http"] + "/report#match=unknown")
        b.until("document.body.dataset.view === 'choose'", "the matches there are")


def test_what_another_reporter_enters_appears_and_moves_nothing():
    places = """Array.from(document.querySelectorAll('.pad button, .board, #log, .top > *'),
        (e) => [e.id || e.tagName, ...Object.values(e.getBoundingClientRect().toJSON())])"""
    with World() as w, Browser(360, 640) as b, Browser(360, 640) as other:
        match = make_match(w)
        happen(w, match, "start")
        report(w, b, match)
        report(w, other, match)
        b.shows("#clock-main", ":")
        before = b.js(places)
        tap(other, "#visit-pad [data-act=goal]", man(8))
        b.shows("#visit-score", "1")
        b.shows("#log .sent", "Goal – No. 8")
        b.shows("#announce", "Goal – No. 8, from elsewhere.")
        happen(w, match, "halftime_start")
        b.shows("#period", "Half time")
        equal([pair for pair in zip(before, b.js(places)) if pair[0] != pair[1]], [],
              "what has moved")
        tap(b, "#visit-pad [data-act=card]", man(8))
        other.shows("#log", "Yellow card – No. 8")
        is_clean(b)
        is_clean(other)


# ---- what waits, what was sent, what was refused

def test_of_events_whose_answers_are_lost_each_is_stored_once():
    with World() as w, Browser(360, 640) as b:
        match = make_match(w)
        happen(w, match, "start")
        b.before_each_page(WATCHED + "localStorage.setItem('lose', '1');")
        report(w, b, match)
        tap(b, "#home-pad [data-act=goal]", man(3))
        b.shows("#home-score", "1")
        tap(b, "#visit-pad [data-act=goal]", man(4))
        wanted = [("start", {}), ("goal", {"player": {"3": ""}, "team": "elp"}),
                  ("goal", {"player": {"4": ""}, "team": "tig"})]
        all_sent(w, b, match, wanted)
        equal(len(b.js(SENDS)), 4, "each was sent twice")
        equal((b.text("#home-score"), b.text("#visit-score")), ("1", "1"))
        w.kill("http")
        tap(b, "#home-pad [data-act=goal]", man(5))
        eventually(lambda: ready(w), "ready again")
        all_sent(w, b, match, wanted + [("goal", {"player": {"5": ""}, "team": "elp"})])
        is_clean(b)


def test_an_event_counts_once_while_its_answer_is_on_the_way():
    with World() as w, Browser(360, 640) as b:
        match = make_match(w)
        happen(w, match, "start", home_players=[[7, "Luna"]])
        b.before_each_page(WATCHED)
        report(w, b, match)
        b.js("""void (() => {
            const node = document.getElementById('home-score');
            localStorage.setItem('hold', '1');
            window.scores = [];
            new MutationObserver(() => window.scores.push(node.textContent))
                .observe(node, {childList: true, characterData: true, subtree: true});
        })()""")
        tap(b, "#home-pad [data-act=goal]", man(1))
        b.until("document.querySelector('#log .goal.sent')", "the goal, from the stream")
        equal(b.texts("#log .goal b:first-child"), ["Goal – Luna", "1–0"])
        b.js("void localStorage.removeItem('hold')")
        all_sent(w, b, match, [("start", {"home_players": {"7": "Luna"}}),
                               ("goal", {"player": {"7": "Luna"}, "team": "elp"})])
        equal(b.js("window.scores"), ["1"], "scores that were shown")


def test_of_two_tabs_only_one_sends_at_a_time():
    with World(config=TOKENS + "[namespace match/]\npublish = token\n") as w, \
            Browser(360, 640) as b:
        match = make_match_with_token(w)
        tabs = [b.js("1") and b._session("GET", "/window")]
        tabs.append(b._session("POST", "/window/new", {"type": "tab"})["handle"])
        for tab in tabs:
            b._session("POST", "/window", {"handle": tab})
            b.before_each_page(WATCHED)
            b.open(w.urls["http"] + "/report#match=" + match)
            opened(b)                           # it wants a token
            b.click("#sheet-close")
            b.shows("#home-name", "El Porvenir")
        b.js("void localStorage.setItem('bare', '1')")  # without a token nothing is sent
        for n in (3, 4):
            tap(b, "#home-pad [data-act=goal]", man(n))     # in the second
        b.shows("#conn-text", "Token needed · 2 waiting")
        equal(b.js("document.getElementById('sheet').open"), False, "asked once")
        b._session("POST", "/window", {"handle": tabs[0]})
        b.until("document.querySelectorAll('#log .waiting').length === 2", "the other's, too")
        tap(b, "#home-pad [data-act=goal]", man(5))
        b.js("void localStorage.setItem('hold', '1')")
        b.click("#token")
        opened(b)
        b.fill("[name=token]", SECRET)
        b.click("#sheet-go")
        closed(b)
        for tab in tabs:                        # both have reason to send now
            b._session("POST", "/window", {"handle": tab})
            b.js("void dispatchEvent(new Event('online'))")
        b.until(f"{SENDS}.length > 0", "one sends")
        b.js("void localStorage.removeItem('hold')")
        b.until("!document.querySelector('#log .waiting')", "all is sent")
        # A tab may hear late that what waits has been sent by the other one, which
        # is why each has a key; but there is one try at a time.
        equal(len(set(b.js(SENDS))), 3)
        times = sorted(json.loads(t) for t in b.js(TIMES))
        check(len(times) >= 3 and all(x[1] <= y[0] for x, y in zip(times, times[1:])), times)
        equal([d["player"] for kind, d in happened(w, match) if kind == "goal"],
              [{"3": ""}, {"4": ""}, {"5": ""}])
        # What waits outlives the tab in which it was entered.
        b.js("void localStorage.setItem('touchline token', 'wrong')")
        begin(b, "#visit-pad [data-act=goal]", man(6))
        b.shows("#conn-text", "Token needed · 1 waiting")
        for tab in tabs:
            b._session("POST", "/window", {"handle": tab})
            if tab == tabs[0]:
                b._session("DELETE", "/window")
        b.open("about:blank")
        b.open(w.urls["http"] + "/report")
        opened(b)
        b.shows("#match-list", "1 not sent")
        b.fill("[name=token]", SECRET)
        tap(b, "#sheet-go")
        eventually(lambda: happened(w, match)[-1] ==
                   ("goal", {"player": {"6": ""}, "team": "tig"}), "the last one")
        b.until("!document.querySelector('#match-list em')", "nothing is left to send")


def make_match_with_token(w):
    head = {"Content-Type": "application/json", "Authorization": "Bearer " + SECRET}
    for team, name in (("elp", "El Porvenir"), ("tig", "Tigre")):
        w.http("PUT", "/v1/teams/" + team, json.dumps({"name": name}), head)
    match = w.http("POST", "/v1/matches", json.dumps(
        {"home": "elp", "visit": "tig", "start_time": "2011-09-13"}), head).json()["id"]
    a = w.http("POST", f"/v1/matches/{match}/events", json.dumps({"kind": "start"}), head)
    equal(a.status, 201, "kick-off")
    return match


def test_what_is_refused_says_why_and_is_edited_or_thrown_away():
    with World() as w, Browser(360, 640) as b:
        match = make_match(w)
        happen(w, match, "start", home_players=[[7, "Luna"], [9, "Paz"]])
        report(w, b, match)
        b.network(False)
        tap(b, "#home-pad [data-act=goal]", man(1))
        tap(b, "#home-pad [data-act=card]", man(1))
        tap(b, "#visit-pad [data-act=goal]", man(3))
        happen(w, match, "card", team="elp", player=7, card="red")
        b.network(True)
        b.shows("#visit-score", "1")            # it holds up nobody
        b.until("document.querySelectorAll('#log .refused').length === 2", "two refused")
        b.shows("#log .refused", "player 7 of elp is not on the pitch: sent off")
        b.shows("#conn-text", "2 refused")
        b.reload()                              # they wait for an answer
        b.shows("#conn-text", "Live · 2 refused")
        row(b, "Goal – Luna", ".refused")
        b.shows("#sheet", "not on the pitch: sent off")
        press(b, "Edit it")
        b.shows("#sheet-title", "Goal for El Porvenir")
        tap(b, man(1))                          # Paz; Luna is not offered
        b.shows("#log .sent", "Goal – Paz")
        row(b, "Yellow card – Luna", ".refused")
        press(b, "Throw it away")
        closed(b)
        all_sent(w, b, match, [
            ("start", {"home_players": {"7": "Luna", "9": "Paz"}}),
            ("card", {"player": {"7": "Luna"}, "card": "red", "team": "elp"}),
            ("goal", {"player": {"3": ""}, "team": "tig"}),
            ("goal", {"player": {"9": "Paz"}, "team": "elp"})])
        is_clean(b)


def test_any_event_of_the_list_is_taken_back_and_asked_once():
    with World() as w, Browser(360, 640) as b:
        match = make_match(w)
        happen(w, match, "start")
        b.before_each_page(WATCHED)
        report(w, b, match)
        tap(b, "#home-pad [data-act=goal]", man(1))
        tap(b, "#visit-pad [data-act=goal]", man(2))
        wanted = [("start", {}), ("goal", {"player": {"1": ""}, "team": "elp"}),
                  ("goal", {"player": {"2": ""}, "team": "tig"})]
        all_sent(w, b, match, wanted)
        row(b, "Goal – No. 1")
        b.shows("#sheet-title", "Take this back?")
        b.click("#sheet-close")
        equal(b.text("#home-score"), "1", "asked, and left")
        row(b, "Goal – No. 1")
        tap(b, "#sheet-go")
        b.shows("#home-score", "0")
        b.shows("#log .undone", "taken back")
        wanted.append(("retract", {"offset": 3}))
        all_sent(w, b, match, wanted)
        row(b, "Goal – No. 1")
        b.shows("#sheet", "It was taken back")
        b.click("#sheet-close")
        # Of one that is on its way nobody knows yet; of one that never left nobody hears.
        b.js("void localStorage.setItem('hold', '1')")
        tap(b, "#visit-pad [data-act=card]", man(5))
        eventually(lambda: len(happened(w, match)) == 6, "it is there, unanswered")
        tap(b, "#home-pad [data-act=goal]", man(6))
        tap(b, "#undo", "#sheet-go")
        tap(b, "#undo", "#sheet-go")
        b.js("void localStorage.removeItem('hold')")
        wanted += [("card", {"player": {"5": ""}, "card": "yellow", "team": "tig"}),
                   ("retract", {"offset": 6})]
        all_sent(w, b, match, wanted)
        # Without a network it was tried in vain, and has not left.
        b.network(False)
        tap(b, "#home-pad [data-act=goal]", man(7))
        b.shows("#conn-text", "Offline · 1 waiting")
        tap(b, "#undo", "#sheet-go")
        b.until("document.getElementById('conn-text').textContent === 'Offline'", "none waits")
        b.network(True)
        tap(b, "#home-pad [data-act=goal]", man(8))
        all_sent(w, b, match, wanted + [("goal", {"player": {"8": ""}, "team": "elp"})])
        # Without the kick-off the goal is impossible: the server says so.
        row(b, "Kick-off")
        tap(b, "#sheet-go")
        b.shows("#log .refused small", "goal")
        is_clean(b)


# ---- the token

def test_a_token_is_asked_for_once_kept_and_replaced():
    with World(config=TOKENS) as w, Browser(360, 640) as b:
        match = make_match(w)
        happen(w, match, "start")
        b.cdp("Network.enable")
        b.cdp("Network.setExtraHTTPHeaders", headers={"X-Forwarded-For": "192.0.2.1"})
        b.open(w.urls["http"] + "/report#match=" + match)
        b.shows("#sheet", "publish with a token")       # before the first event
        for wrong, words in (("", "has given you"), ("two words", "no spaces"),
                             ("wrong", "This token is not known here."),
                             ("another-secret-of-enough", "publish with a token")):
            b.fill("[name=token]", wrong)
            b.click("#sheet-go")
            b.shows("#sheet-error", words)
        equal(b.js("localStorage.getItem('touchline token')"), None, "a wrong one is not kept")
        b.fill("[name=token]", SECRET)
        tap(b, "#sheet-go")
        tap(b, "#home-pad [data-act=goal]", man(3))
        wanted = [("start", {}), ("goal", {"player": {"3": ""}, "team": "elp"})]
        all_sent(w, b, match, wanted)
        b.reload()
        b.shows("#conn-text", "Live")
        tap(b, "#home-pad [data-act=goal]", man(3))
        wanted.append(wanted[-1])
        all_sent(w, b, match, wanted)
        equal(b.js("document.getElementById('sheet').open"), False, "asked once")
        b.js("void localStorage.setItem('touchline token', 'worn-out')")
        begin(b, "#home-pad [data-act=card]", man(3))
        b.shows("#sheet", "This token is not known here.")
        b.shows("#conn-text", "Token needed · 1 waiting")
        b.fill("[name=token]", SECRET)
        tap(b, "#sheet-go")
        wanted.append(("card", {"player": {"3": ""}, "card": "yellow", "team": "elp"}))
        all_sent(w, b, match, wanted)
        b.click("#token")
        b.shows("#sheet", "A token is kept")
        press(b, "Forget")
        b.shows("#sheet", "publish with a token")
        is_clean(b)


# ---- line-ups

def test_line_ups_are_pasted_previewed_and_their_faults_named():
    with World() as w, Browser(360, 640) as b:
        match = make_match(w)
        report(w, b, match)
        for text in ("7 Luna\n9 Paz", "7. Luna\r\n9. Paz", "Luna (7)\nPaz (9)",
                     "7 Luna, 9 Paz", "7,Luna\n9,Paz", "Starting XI: #7 Luna; #9 Paz"):
            paste(b, "home", text)
            equal(b.texts("#sheet .chips li"), ["7 Luna", "9 Paz"], text)
            equal(b.texts("#sheet .faults li"), [], text)
            b.click("#sheet-close")
        paste(b, "visit", "1 Soto\nMora\n3 Ruiz")
        b.shows("#sheet .faults", "Line 2: “Mora” has no number.")
        b.click("#sheet .faults button")
        equal(b.js("(() => { const a = document.querySelector('#sheet textarea');"
                   " return a.value.slice(a.selectionStart, a.selectionEnd); })()"), "Mora")
        b.click("#sheet-go")
        b.shows("#sheet-error", "One line cannot be read.")
        b.click("#sheet-close")
        b.shows("#visit-pad [data-act=lineup]", "line 2")
        b.reload()                              # what was typed is still there
        b.shows("#visit-pad [data-act=lineup]", "line 2")
        go(b, "#next")
        b.shows("#sheet", "Tigre: line 2: “Mora” has no number.")
        b.shows("#sheet-error", "First mend the line-up of Tigre")
        equal([kind for kind, _ in happened(w, match)], ["status"])
        b.click("#sheet-close")
        paste(b, "visit", "1 Soto\n2 Mora\n3 Ruiz\nSubs\n14 Vera")
        tap(b, "#sheet-go")
        whistle(b, "First half")
        all_sent(w, b, match, [("start", {"home_players": {"7": "Luna", "9": "Paz"},
                                          "visit_players": {"1": "Soto", "2": "Mora",
                                                            "3": "Ruiz"}})])
        is_clean(b)


def test_a_sent_event_is_corrected_in_one_step_and_an_unsent_one_cancelled():
    with World() as w, Browser(360, 640) as b:
        match = make_match(w)
        happen(w, match, "start", home_players=[[7, "Luna"], [9, "Paz"], [10, "Mora"]])
        report(w, b, match)
        tap(b, "#home-pad [data-act=goal]", man(1))
        wanted = [("start", {"home_players": {"7": "Luna", "9": "Paz", "10": "Mora"}}),
                  ("goal", {"player": {"7": "Luna"}, "team": "elp"})]
        all_sent(w, b, match, wanted)
        row(b, "Goal – Luna")
        press(b, "Correct it")
        b.shows("#sheet-title", "Goal for El Porvenir")
        tap(b, man(2))
        b.shows("#log .sent", "Goal – Paz")
        wanted += [("retract", {"offset": 3, "comment": "corrected"}),
                   ("goal", {"player": {"9": "Paz"}, "team": "elp"})]
        all_sent(w, b, match, wanted)
        equal((b.text("#home-score"), b.texts("#log .undone .fate small")), ("1", ["corrected"]))
        equal(len(b.texts("#log li")), 4, "what was said, what it is now, and the beginning")
        # A man who was sent off by mistake is there to be chosen.
        tap(b, "#home-pad [data-act=card]", "#sheet [value=red]", man(3))
        wanted.append(("card", {"player": {"10": "Mora"}, "card": "red", "team": "elp"}))
        all_sent(w, b, match, wanted)
        row(b, "Red card – Mora")
        press(b, "Correct it")
        b.shows("#sheet-title", "Card for El Porvenir")
        tap(b, "#sheet [value=yellow]", man(3))
        wanted += [("retract", {"offset": 6, "comment": "corrected"}),
                   ("card", {"player": {"10": "Mora"}, "card": "yellow", "team": "elp"})]
        all_sent(w, b, match, wanted)
        # Without a network: one is corrected, one cancelled before it goes.
        b.network(False)
        tap(b, "#visit-pad [data-act=goal]", man(4))
        row(b, "Goal – Paz")
        press(b, "Correct it")
        b.shows("#sheet-title", "Goal for El Porvenir")
        tap(b, man(1))
        b.shows("#conn-text", "Offline · 2 waiting")
        equal((b.text("#home-score"), b.text("#visit-score")), ("1", "1"))
        row(b, "Goal – No. 4", ".waiting")
        b.shows("#sheet-title", "Not sent yet")
        press(b, "Throw it away")
        closed(b)
        b.shows("#conn-text", "Offline · 1 waiting")
        b.network(True)
        all_sent(w, b, match, wanted + [
            ("retract", {"offset": 5, "comment": "corrected"}),
            ("goal", {"player": {"7": "Luna"}, "team": "elp"})])
        # What a goal would be now, it was not then.
        for kind in ("halftime_start", "halftime_stop", "penalties"):
            happen(w, match, kind)
        b.shows("#period", "shoot-out")
        row(b, "Goal – Luna", ".goal")
        b.shows("#sheet", "cannot be corrected in this period")
        is_clean(b)


def test_teams_and_a_match_are_made_when_the_network_is_back():
    with World() as w, Browser(360, 640) as b:
        make_match(w)
        b.open(w.urls["http"] + "/report")
        b.shows("#match-list", "El Porvenir")
        b.until("navigator.serviceWorker.ready.then(() => caches.open('touchline report'))"
                ".then((c) => c.keys()).then((k) => k.length >= 11)", "kept files")
        b.network(False)
        b.click("#new")
        opened(b)
        b.fill("[name=home]", "Río Negro")
        b.type("[name=visit]", "Tigre")
        tap(b, "#sheet-go")
        b.shows("#home-name", "Río Negro")
        b.shows("#log .waiting", "Match announced")
        whistle(b, "First half")
        tap(b, "#home-pad [data-act=goal]", man(9))
        b.shows("#home-score", "1")
        b.reload()
        b.shows("#home-name", "Río Negro")
        b.shows("#home-score", "1")
        b.click("#back")
        b.shows("#match-list", "4 not sent")
        b.js("void Array.from(document.querySelectorAll('.fixture')).find((f) =>"
             " f.textContent.includes('Río Negro')).click()")
        b.shows("#log .waiting", "Goal")
        # Meanwhile somebody else has made such a team, under a name of his own.
        a = w.http("PUT", "/v1/teams/rionegro", json.dumps({"name": "Rio Negro FC"}),
                   {"Content-Type": "application/json"})
        equal(a.status, 201)
        b.network(True)
        made = eventually(lambda: next((m for m in w.json("/v1/matches")["matches"]
                                        if m["home"] == "rionegro"), None), "the match")
        all_sent(w, b, made["id"], [("start", {}),
                                    ("goal", {"player": {"9": ""}, "team": "rionegro"})])
        b.shows("#home-name", "Rio Negro FC")
        happen(w, made["id"], "goal", team="tig")
        b.shows("#visit-score", "1")            # it follows the match
        is_clean(b)


# ---- only what is allowed

def test_what_the_page_offers_is_what_the_match_allows():
    acts = {"goal": "goal", "card": "card", "third": "substitution"}
    ways = {"halftime": "halftime_start", "last": "halftime_stop", "first_extra": "extratime",
            "halftime_extra": "halftime_start", "last_extra": "halftime_stop",
            "penalties": "penalties", "ended": "stop"}
    with World() as w, Browser(360, 640) as b:
        match = make_match(w)
        report(w, b, match)
        equal(b.js(VISIBLE, ".pad button"), ["Line-up", "Line-up", "Kick-off"])
        for period in ("first", *ways):
            happen(w, match, ways.get(period, "start"))
            name = {"ended": "Full time"}.get(period) or b.js(
                "Shared.PERIODS[arguments[0]]", period)
            b.shows("#period", name)
            b.until("document.getElementById('period').textContent === arguments[0]", name, name)
            shown = set(b.js("""Array.from(document.querySelectorAll('#home-pad button'))
                .filter((b) => b.checkVisibility({visibilityProperty: true}))
                .map((b) => b.dataset.act)"""))
            for act, kind in acts.items():
                kind = "shot" if period == "penalties" and act == "third" else kind
                data = {"goal": {"player": 1}, "shot": {"player": 1},
                        "card": {"player": 40, "card": "yellow"},
                        "substitution": {"player_out": 50, "player_in": 51}}[kind]
                a = w.http("POST", f"/v1/matches/{match}/events", json.dumps(
                    {"kind": kind, "data": {"team": "elp", **data}}),
                    {"Content-Type": "application/json"})
                allowed = a.status == 201
                if allowed:
                    happen(w, match, "retract", offset=a.json()["offset"])
                equal((period, act, act in shown), (period, act, allowed))
        equal(b.js(VISIBLE, ".pad button"), ["Undo"])
        is_clean(b)


# ---- the clock

CLOCKS = """{
    const real = Date.now;
    Date.now = () => real() + Number(localStorage.getItem('shift'));
}"""


def test_the_clock_runs_fills_in_the_minute_and_can_be_set():
    with World() as w, Browser(360, 640) as b:
        match = make_match(w)
        happen(w, match, "start")
        # A phone whose clock is 50 minutes wrong.
        b.before_each_page(CLOCKS + "localStorage.setItem('shift', '3000000');")
        report(w, b, match)
        b.until("/^0:[0-5]/.test(document.getElementById('clock-main').textContent)",
                "the first minute")
        go(b, "#clock", clock="never")
        b.shows("#sheet-error", "Write it as")
        b.fill("[name=clock]", "44:59")
        tap(b, "#sheet-go")
        b.shows("#clock-added", "+0:0")         # it runs
        equal(b.text("#clock-main"), "45:00")
        tap(b, "#home-pad [data-act=goal]", man(2))
        b.shows("#log .goal .minute", "45+1′")
        b.click("#visit-pad [data-act=card]")
        opened(b)
        b.click("#sheet .minute-field button:last-child")
        equal(b.js("document.querySelector('#sheet [name=minute]').value"), "45+2")
        b.fill("[name=minute]", "x")
        b.click(man(2))
        b.shows("#sheet-error", "such as 23, or 45+2")
        b.fill("[name=minute]", "44")
        tap(b, man(2))
        eventually(lambda: len(happened(w, match)) == 4, "both")
        equal([m["data"].get("minute") for m in
               w.json(f"/v1/matches/{match}/events")["messages"][2:]], ["45+1", 44])
        whistle(b, "Half time")
        b.shows("#clock-added", "break")
        whistle(b, "Second half")
        b.shows("#clock-main", "45:0")
        is_clean(b)


def test_the_clock_counts_from_when_a_whistle_was_entered_not_sent():
    with World() as w, Browser(360, 640) as b:
        match = make_match(w)
        b.before_each_page(CLOCKS)
        report(w, b, match)
        works_offline(b)
        b.network(False)
        b.js("void localStorage.setItem('shift', '-600000')")   # ten minutes ago
        whistle(b, "First half")
        b.js("void localStorage.removeItem('shift')")
        b.shows("#clock-main", "10:0")
        b.network(True)
        all_sent(w, b, match, [("start", {})])
        b.until("document.querySelector('#log .sent + .sent')", "both rows are sent")
        b.reload()
        b.shows("#conn-text", "Live")
        b.shows("#clock-main", "10:")


# ---- for everybody

AUDIT = """(() => {
    const rgb = (text) => {
        const n = text.match(/[\\d.]+/g).map(Number);
        return n.length < 4 ? [...n, 1] : n;
    };
    const over = (top, under) => top.slice(0, 3).map((v, i) =>
        v * top[3] + under[i] * (1 - top[3])).concat(1);
    const ground = (e) => {
        if (!e) return rgb('rgb(255, 255, 255)');
        const s = getComputedStyle(e);
        const image = /rgba?\\([^)]*\\)/.exec(s.backgroundImage);
        const own = image ? rgb(image[0]) : rgb(s.backgroundColor);
        const up = e.tagName === 'DIALOG' ? null : e.parentElement;
        return own[3] === 1 ? own : over(own, ground(up));
    };
    const light = (c) => {
        const [r, g, b] = c.map((v) => (v /= 255) <= .03928 ? v / 12.92
            : Math.pow((v + .055) / 1.055, 2.4));
        return .2126 * r + .7152 * g + .0722 * b;
    };
    const wrong = [];
    const within = document.querySelector('dialog[open]') || document.body;
    for (const e of within.querySelectorAll('*')) {
        const box = e.getBoundingClientRect();
        const seen = e.checkVisibility({visibilityProperty: true}) && box.width > 2 &&
            (within !== document.body || !e.closest('dialog'));
        if (!seen) continue;
        const named = e.ariaLabel || e.textContent.trim() || (e.labels && e.labels.length);
        if (e.matches('button, input:not([type=checkbox], [type=radio]), textarea, summary')) {
            if (box.height < 47.5 || box.width < 47.5)
                wrong.push(['small', e.id, e.textContent, box.width, box.height]);
            if (!named) wrong.push(['nameless', e.outerHTML.slice(0, 80)]);
        }
        const text = Array.from(e.childNodes).some((n) => n.nodeType === 3 && n.data.trim());
        if (!text || e.closest('[aria-hidden=true]')) continue;
        const s = getComputedStyle(e);
        const size = parseFloat(s.fontSize);
        const bg = ground(e);
        const [a, b] = [light(over(rgb(s.color), bg)), light(bg)].sort((x, y) => y - x);
        const ratio = (a + .05) / (b + .05);
        if (ratio < (size >= 24 || size >= 18.6 && s.fontWeight >= 700 ? 3 : 4.5))
            wrong.push(['contrast', e.id || e.className, e.textContent, ratio.toFixed(2)]);
    }
    if (document.documentElement.scrollWidth > innerWidth)
        wrong.push(['wide', document.documentElement.scrollWidth]);
    return wrong;
})()"""


def audit(b, where):
    b.js("void document.getAnimations().forEach((a) => a.finish())")
    equal(b.js(AUDIT), [], where)


def every_state(w, b):
    """Goes through what the page can show; says where it is."""
    match = make_match(w)
    b.open(w.urls["http"] + "/report")
    b.shows("#match-list", "El Porvenir")
    yield "the list"
    b.click("#new")
    b.type("[name=home]", "e")
    yield "a new match"
    b.click("#sheet-close")
    report(w, b, match)
    yield "before the match"
    paste(b, "home", "7 Luna\n8\n9 Paz\nSubs: 12 Soto")
    yield "a line-up with a fault"
    paste_again(b, "7 Luna\n9 Paz\nSubs: 12 Soto")
    tap(b, "#sheet-go")
    b.click("#next")
    yield "kick-off"
    tap(b, "#sheet-go")
    b.shows("#log .sent", "Kick-off")
    for act, what in (("goal", "a goal"), ("card", "a card"), ("third", "a substitution")):
        for side in ("home", "visit"):
            b.click(f"#{side}-pad [data-act={act}]")
            opened(b)
            yield f"{what}, {side}"
            if act == "third":
                b.click(man(1))
                yield f"who comes on, {side}"
            b.click("#sheet-close")
    b.network(False)
    tap(b, "#home-pad [data-act=goal]", man(1))
    tap(b, "#visit-pad [data-act=card]", man(1))
    yield "two wait"
    happen(w, match, "halftime_start")
    b.network(True)
    b.shows("#log .refused", "period")
    b.shows("#conn-text", "Live · 1 refused")
    yield "one is refused"
    row(b, "Goal – Luna", ".refused")
    yield "what is refused"
    b.click("#sheet-close")
    row(b, "Yellow card")
    yield "undo"
    tap(b, "#sheet-go")
    b.shows("#log .undone", "taken back")
    for what in ("#token", "#next"):
        b.click(what)
        opened(b)
        yield what
        b.click("#sheet-close")
    happen(w, match, "halftime_stop")
    happen(w, match, "penalties")
    b.shows("#period", "shoot-out")
    yield "kicks"
    happen(w, match, "stop")
    b.shows("#period", "Full time")
    yield "the end"


def paste_again(b, text):
    b.click("#sheet-close")
    paste(b, "home", text)


def test_it_is_readable_and_in_reach_of_a_thumb_in_every_state():
    with World() as w, Browser(360, 640) as b:
        for where in every_state(w, b):
            audit(b, where)


def test_it_is_so_in_the_dark_and_on_a_desk():
    with World() as w, Browser(1280, 800, dark=True) as b:
        for where in every_state(w, b):
            audit(b, where)


def test_a_goal_is_reported_with_keys_alone():
    tab, enter, escape = "\ue004", "\ue007", "\ue00c"
    focused = "document.activeElement.id || document.activeElement.textContent"

    def keys(text):
        b._session("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": [
            {"type": kind, "value": c} for c in text for kind in ("keyDown", "keyUp")]}]})

    def to(what):
        for _ in range(40):
            if b.js(focused) == what:
                return
            keys(tab)
        check(False, f"no way to {what}: {b.js(focused)}")
    with World() as w, Browser(1280, 800) as b:
        match = make_match(w)
        happen(w, match, "start", home_players=[[7, "Luna"]])
        report(w, b, match)
        to("Goal")
        keys(enter)
        opened(b)
        equal(b.js(focused), "sheet-title", "where the focus is")
        keys(escape)
        closed(b)
        equal(b.js(focused), "Goal", "where the focus returns to")
        keys(enter)
        opened(b)
        to("7Luna")
        keys(enter)
        closed(b)
        all_sent(w, b, match, [("start", {"home_players": {"7": "Luna"}}),
                               ("goal", {"player": {"7": "Luna"}, "team": "elp"})])
        is_clean(b)


def test_it_fits_a_small_phone_with_long_names():
    word = "Llanfairpwllgwyngyllgogerychwyrndrobwllllantysiliogogogoch"
    wide = ("[document.documentElement, document.body, ...document.querySelectorAll("
            "'main, #log, .board, #match-list, #sheet')].filter((e) => "
            "e.scrollWidth > e.clientWidth + 2).map((e) => e.id + ' ' + e.scrollWidth)")
    reach = ("Array.from(document.querySelectorAll('main button'))"
             ".filter((e) => e.checkVisibility() && !e.closest('#log, #match-list'))"
             ".map((e) => [e.id || e.textContent, e.getBoundingClientRect()])"
             ".filter(([, r]) => r.left < 0 || r.right > innerWidth || r.bottom > innerHeight)")
    with World() as w, Browser(320, 568) as b:
        match = make_match(w, home=("elp", word))
        b.open(w.urls["http"] + "/report")
        b.shows("#match-list", word)
        equal((b.js(wide), b.js(reach)), ([], []), "the list")
        report(w, b, match)
        equal((b.js(wide), b.js(reach)), ([], []), "before the match")
        happen(w, match, "start", home_players=[[n, word] for n in range(1, 12)])
        b.shows("#period", "First half")
        tap(b, "#home-pad [data-act=goal]", man(3))
        b.shows("#log .sent", word)
        equal((b.js(wide), b.js(reach)), ([], []), "a match")
        check(b.js("document.getElementById('log').clientHeight") > 100, "room for the list")
        b.click("#home-pad [data-act=goal]")
        opened(b)
        equal(b.js(wide), [], "a sheet")
        is_clean(b)


def test_hostile_text_is_text():
    evil = "<img src=x onerror=alert(1)><script>window.hacked=1</script>"
    with World() as w, Browser(360, 640) as b:
        match = make_match(w, home=("elp", evil))
        b.open(w.urls["http"] + "/report")
        b.shows("#match-list", evil)
        report(w, b, match)
        paste(b, "home", "7 " + evil)
        b.shows("#sheet .preview", evil)
        tap(b, "#sheet-go")
        whistle(b, "First half")
        tap(b, "#home-pad [data-act=goal]", man(1))
        b.shows("#log .sent", evil)
        equal(b.js("document.querySelectorAll('img, script:not([src])').length"), 0)
        equal(b.js("'hacked' in window"), False)
        is_clean(b)


def test_its_files_are_typed_tagged_and_small():
    size = {}
    with World() as w:
        for path, kind in FILES.items():
            a = w.http("GET", path, headers={"Accept": "text/html"})
            equal((a.status, a.headers["Content-Type"]), (200, kind), path)
            check("default-src 'self'" in a.headers["Content-Security-Policy"], path)
            again = w.http("GET", path, headers={"Accept": "text/html",
                                                 "If-None-Match": a.headers["ETag"]})
            equal((again.status, again.body), (304, b""), path)
            packed = w.http("GET", path, headers={"Accept-Encoding": "gzip"})
            size[path] = len(packed.body)
            with contextlib.suppress(KeyError):
                equal(packed.headers["Content-Encoding"], "gzip", path)
        kept = w.http("GET", "/report-worker.js").body.decode()
        page = w.http("GET", "/report").body.decode()
        for path in FILES:
            if path != "/report-worker.js":
                check(f"'{path}'" in kept, f"{path} is kept for the time without a network")
                check(path == "/report" or f'"{path}"' in page, f"{path} is of the page")
    check(sum(size.values()) < 48000, f"{sum(size.values())}: {size}")
