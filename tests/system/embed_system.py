"""<touchline-match> on a page of another origin, in a real browser: the HTML of
docs/embed.md as it stands there, but for the router's address."""
import base64
import contextlib
import hashlib
import http.server
import json
import os
import re
import subprocess
import threading

from browser import Browser
from docs_system import blocks
from npm_package import place
from page_system import FINAL, FINAL_ID, happen, make_match, ready
from world import BIN, World, check, equal, eventually

SLOW = PAGES = True
SITE = "www.example.org"
LISTED = [f"http.origins={SITE}", f"ws.origins={SITE}"]
STATES = """document.querySelector('touchline-match').getAttribute('state')"""
SHADOW = "document.querySelector('touchline-match').shadowRoot.querySelector(arguments[0])"


class Site:
    """Somebody's web server: pages by path, with headers of its own."""

    def __init__(self, pages, headers=()):
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                page = site.pages.get(self.path)
                self.send_response(200 if page else 404)
                kind = "text/javascript" if self.path.endswith(".js") else "text/html"
                self.send_header("Content-Type", kind + "; charset=utf-8")
                for name, value in site.headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(page or b"")

            def log_message(self, *_):
                pass

        self.pages, self.headers = pages, list(headers)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://{SITE}:{self.server.server_port}/"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def html(w, *numbers, **replaced):
    """These blocks of the document, at the address of this router."""
    found = [b.text() for b in blocks("docs/embed.md") if b.lang == "html"]
    text = "".join(found[n] for n in numbers)
    for old, new in {"https://live.example.org": w.urls["http"], **replaced}.items():
        check(old in text, f"docs/embed.md: nothing says {old!r}")
        text = text.replace(old, new)
    return ("<!DOCTYPE html><html lang=en><title>A site</title>"
            "<link rel=icon href=data:,><meta name=viewport content=width=device-width>"
            + text).encode()


@contextlib.contextmanager
def page(body, sets=(), headers=(), js="", width=600, **browser):
    """body(w): pages of the site, or its one page. Gives (w, b)."""
    with World(LISTED if sets == () else list(sets)) as w, \
            Browser(width, names=(SITE,), **browser) as b:
        pages = body(w)
        site = Site(pages if isinstance(pages, dict) else {"/": pages},
                    headers(w) if callable(headers) else headers)
        try:
            if js:
                b.before_each_page(js)
            b.open(site.url)
            yield w, b
        finally:
            site.close()


def shown(b, css):
    return b.js(f"({SHADOW} || {{}}).textContent || ''", css)


def shows(b, css, text):
    b.until(f"(({SHADOW} || {{}}).textContent || '').includes(arguments[1])",
            f"{text!r} in {css}", css, text)


def score(b, home, visit):
    b.until(f"""JSON.stringify(Array.from(document.querySelector('touchline-match')
        .shadowRoot.querySelectorAll('dd'), (n) => n.textContent)) === arguments[0]""",
            f"{home}-{visit}", json.dumps([str(home), str(visit)], separators=(",", ":")))


def clean(b, *also):
    """Nothing in the console, but that the HTTP gateway names the WebSocket's address."""
    wrong = [m for m in b.console() if not any(e in m for e in ("status of 426", *also))]
    equal(wrong, [], "console")


def two_lines(match, *more):
    return lambda w: html(w, 0, *more, **{"arg-fra-2022-12-18": match(w)})


def new_match(w):
    match = make_match(w)
    happen(w, match, "start", home_players=[[7, "Luna"]], visit_players=[[9, "Paz"]])
    return match


def streams(b):
    return [u for u in b.requests() if "/v1/stream" in u]


# ---- another origin

def test_two_lines_of_html_show_a_match_live():
    with page(two_lines(new_match)) as (w, b):
        match = "elp-tig-2011-09-13"
        score(b, 0, 0)
        shows(b, "[part=period]", "First half")
        shows(b, "dl", "El Porvenir0Tigre0")
        happen(w, match, "goal", team="elp", player=7, minute=12)
        score(b, 1, 0)
        shows(b, "ol li:first-child", "12′Goal – Luna (El Porvenir)")
        shows(b, "[role=status]", "Goal – Luna (El Porvenir). El Porvenir 1, Tigre 0")
        goal = happen(w, match, "goal", team="tig", player=9, minute=20)
        score(b, 1, 1)
        happen(w, match, "retract", offset=goal["offset"])
        score(b, 1, 0)
        shows(b, "ol li.undone", "Goal – Paz")
        shows(b, "[role=status]", "A decision was reversed. El Porvenir 1, Tigre 0")
        equal(b.js(STATES), "live")
        check(any(u.startswith("ws:") for u in b.requests()), "over a WebSocket")
        equal(streams(b), [])
        clean(b)


def test_where_websockets_may_not_come_in_streams_are_read():
    with page(two_lines(new_match), sets=LISTED[:1]) as (w, b):
        score(b, 0, 0)
        happen(w, "elp-tig-2011-09-13", "goal", team="elp")
        score(b, 1, 0)
        check(streams(b), "Server-Sent Events")
        clean(b, "WebSocket connection to")


def test_where_streams_do_not_get_through_polls_do():
    block = """{ delete window.WebSocket; const real = window.fetch;
        window.fetch = (url, ...more) => String(url).includes('/v1/stream')
            ? Promise.reject(new TypeError('blocked')) : real(url, ...more); }"""
    with page(two_lines(new_match), js=block) as (w, b):
        score(b, 0, 0)
        happen(w, "elp-tig-2011-09-13", "goal", team="elp")
        score(b, 1, 0)
        check(any("/v1/poll" in u for u in b.requests()), "long poll")
        clean(b)


def test_a_site_that_is_not_listed_is_told_what_to_add():
    with page(two_lines(new_match), sets=["http.hosts=x"]) as (w, b):
        shows(b, "[part=note]", "No connection")
        equal([shown(b, "dd"), shown(b, "dt").strip()], ["–", ""])
        eventually(lambda: any("http.origins" in m and SITE in m for m in b.console()),
                   "the console names the line")


def test_a_gateway_that_is_killed_costs_no_event():
    with page(two_lines(new_match)) as (w, b):
        match, goals = "elp-tig-2011-09-13", 0
        score(b, 0, 0)
        b.js("""void (() => { window.heard = []; addEventListener('touchline-event',
            (e) => heard.push(e.detail.offset)); })()""")
        last = 2
        for kind in ("ws", "http", "router", "ws"):
            w.kill(kind)
            eventually(lambda: ready(w), "ready again")
            goal = happen(w, match, "goal", team="elp")
            happen(w, match, "retract", offset=goal["offset"])
            last = happen(w, match, "goal", team="tig")["offset"]
            goals += 1
            score(b, 0, goals)
        equal(b.js("heard"), list(range(3, last + 1)), "each once, in order")
        b.until(STATES + " === 'live'", "live again")
        equal(w.json("/v1/matches/" + match)["visit_score"], goals)


def test_it_agrees_with_the_server_over_a_whole_final():
    """Every score and period that it shows is one that there was; who comes in the
    middle, and who comes late, see the same."""
    with page(lambda w: html(w, 0)) as (w, b):
        shows(b, "[part=period]", "Not announced yet")
        b.js("""void (() => { window.was = []; addEventListener('touchline-event', (e) =>
            was.push(Array.from(e.target.shadowRoot.querySelectorAll('dd'),
                                (n) => n.textContent).join('-'))); })()""")
        play = subprocess.Popen([os.path.join(BIN, "router-ctl"), "--dir", w.dir, "replay",
                                 FINAL, "--speed", "1500"], stdout=subprocess.DEVNULL)
        try:
            shows(b, "[part=period]", "Full time")
            equal(play.wait(20), 0, "replay")
        finally:
            play.kill()
            play.wait()
        score(b, 3, 3)
        shows(b, "[part=shootout]", "4–2 on penalties")
        shows(b, "ol li:nth-child(2)", "Penalty scored – Gonzalo Montiel (Argentina)")
        shows(b, "[role=status]", "Full time. Argentina 3, France 3; 4–2 on penalties")
        was = b.js("was.filter((s, i) => s !== was[i - 1])")
        equal(was, ["–-–", "0-0", "1-0", "2-0", "2-1", "2-2", "3-2", "3-3"], "scores in between")
        whole = "document.querySelector('touchline-match').shadowRoot.querySelector('section')" \
                ".textContent"
        live = b.js(whole)
        b.reload()
        b.until(whole + " === arguments[0]", "the same to who comes late", live)
        equal(w.json("/v1/matches/" + FINAL_ID)["home_score"], 3)
        clean(b)


def test_elements_of_one_server_share_a_connection():
    def body(w):
        one, two = make_match(w), make_match(w, ("arg", "Argentina"), ("fra", "France"))
        for match in (one, two):
            happen(w, match, "start")
        return html(w, 0, **{"arg-fra-2022-12-18": one}) + b"".join(
            b"<touchline-match match='%s' events=0></touchline-match>" % m.encode()
            for m in (two, one, two))
    with page(body) as (w, b):
        scores = ("JSON.stringify(Array.from(document.querySelectorAll('touchline-match'),"
                  " (e) => e.shadowRoot.querySelector('dd').textContent)) === arguments[0]")
        b.until(scores, "all", '["0","0","0","0"]')
        happen(w, "arg-fra-2011-09-13", "goal", team="arg")
        b.until(scores, "those of one match", '["0","1","0","1"]')
        sockets = [u for u in b.requests() if u.startswith("ws:")]
        check(0 < len(sockets) <= 2, f"sockets: {sockets}")
        histories = [u for u in b.requests() if "/v1/history/" in u]
        check(not any("arg-fra" in u for u in histories), f"events=0 asks for none: {histories}")
        b.js("void document.querySelectorAll('touchline-match').forEach((e, i) => i && e.remove())")
        happen(w, "elp-tig-2011-09-13", "goal", team="elp")
        score(b, 1, 0)
        b.js("void document.querySelector('touchline-match').setAttribute('match',"
             " 'arg-fra-2011-09-13')")
        shows(b, "dl", "Argentina1France0")
        clean(b)


def test_the_modules_of_the_package_work_in_a_page():
    """As a bundler would find them; the element is told where the router is."""
    def body(w):
        package = os.path.join(place(w.base), "node_modules", "touchline", "dist")
        pages = {"/": b"""<!DOCTYPE html><link rel=icon href=data:,><p id=said></p>
            <script type=module>
            import {publish, subscribe} from "./touchline.js";
            import "./match.js";
            subscribe("%s", "news/a", {onmessage: (m) => { said.textContent += m.data; },
                onnotice: () => publish("%s", "news/a", "hello")});
            </script>
            <touchline-match match=%s server=%s></touchline-match>""" % tuple(
                x.encode() for x in (w.urls["http"], w.urls["http"], new_match(w), w.urls["http"]))}
        for name in ("touchline", "match"):
            with open(os.path.join(package, name + ".mjs"), "rb") as f:
                pages[f"/{name}.js"] = f.read().replace(b"./touchline.mjs", b"./touchline.js")
        return pages
    with page(body) as (w, b):
        score(b, 0, 0)
        b.shows("#said", "hello")
        happen(w, "elp-tig-2011-09-13", "goal", team="elp")
        score(b, 1, 0)
        clean(b)


# ---- policies of the site

def policy(w):
    """As the document has it, with this router's addresses."""
    text = next(b.text() for b in blocks("docs/embed.md") if "script-src" in b.text())
    text = text.replace("wss://live.example.org", w.urls["ws"].rpartition("/v1")[0] or w.urls["ws"])
    text = text.replace("https://live.example.org", w.urls["http"]).replace("\n", " ")
    return [("Content-Security-Policy", "default-src 'none'; img-src data:; " + text)]


def test_it_needs_no_more_than_the_policy_of_the_document():
    with page(two_lines(new_match), headers=policy) as (w, b):
        score(b, 0, 0)
        happen(w, "elp-tig-2011-09-13", "goal", team="elp")
        score(b, 1, 0)
        equal(b.js("getComputedStyle(%s).borderTopWidth" % SHADOW, "section"), "1px",
              "it has its style")
        check(any(u.startswith("ws:") for u in b.requests()), "over a WebSocket")
        clean(b)


def a_copy(w, spoilt=b""):
    script = w.http("GET", "/touchline-match.js").body
    digest = base64.b64encode(hashlib.sha384(script).digest()).decode()
    return {"/": html(w, 3, HASH=digest, **{"arg-fra-2022-12-18": new_match(w)}),
            "/js/touchline-match.js": script + spoilt}


def test_a_copy_with_its_hash_works_from_the_sites_own_server():
    with page(a_copy) as (w, b):
        score(b, 0, 0)
        clean(b)


def test_a_copy_that_was_changed_is_not_run():
    with page(lambda w: a_copy(w, b"\n")) as (_, b):
        eventually(lambda: any("integrity" in m for m in b.console()), "refused")
        equal(b.js("!!document.querySelector('touchline-match').shadowRoot"), False)


def test_a_hash_of_the_routers_own_file_is_believed():
    def body(w):
        script = w.http("GET", "/touchline-match.js").body
        digest = base64.b64encode(hashlib.sha384(script).digest()).decode()
        return html(w, 0, **{"arg-fra-2022-12-18": new_match(w), "<script async": "<script async "
                             f"crossorigin integrity='sha384-{digest}'"})
    with page(body) as (_, b):
        score(b, 0, 0)
        clean(b)


# ---- how it looks, and to whom

def colours(b, css="section"):
    return b.js(f"[getComputedStyle({SHADOW}).backgroundColor, getComputedStyle({SHADOW}).color]",
                css)


def luminance(rgb):
    parts = [int(x) / 255 for x in re.findall(r"\d+", rgb)[:3]]
    parts = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one, two):
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def readable(b):
    ground, text = colours(b)
    dim = colours(b, "header")[1]
    check(contrast(ground, text) >= 7 and contrast(ground, dim) >= 4.5,
          f"{text}, {dim} on {ground}")
    return luminance(ground)


def test_it_is_light_or_dark_as_the_reader_or_the_page_says():
    with page(two_lines(new_match), dark=True) as (_, b):
        score(b, 0, 0)
        check(readable(b) < 0.1, "dark")
        b.js("void document.querySelector('touchline-match').setAttribute('theme', 'light')")
        check(readable(b) > 0.9, "light")
        b.cdp("Emulation.setEmulatedMedia", features=[])
        b.js("void document.querySelector('touchline-match').setAttribute('theme', 'dark')")
        check(readable(b) < 0.1, "dark")
        b.js("void document.querySelector('touchline-match').removeAttribute('theme')")
        check(readable(b) > 0.9, "light")


def test_it_takes_the_colours_and_the_events_of_the_document():
    with page(two_lines(new_match, 1, 2)) as (w, b):
        score(b, 0, 0)
        equal(colours(b), ["rgb(253, 246, 227)", "rgb(7, 54, 66)"])
        equal(b.js(f"getComputedStyle({SHADOW}).fontFamily", "section"), "Georgia, serif")
        happen(w, "elp-tig-2011-09-13", "goal", team="elp", player=7)
        b.until("document.title === 'Goal!'", "the page's own script heard of it")
        b.until(f"{SHADOW} && getComputedStyle({SHADOW}).textTransform === 'uppercase'",
                "parts are styled", "li.goal")


def test_the_client_alone_reads_news():
    with page(lambda w: html(w, 4)) as (w, b):
        eventually(lambda: w.json("/v1/channels?match=news/*") and
                   w.publish("news/x", b"<b>rain</b>").json()["reached"] > 0, "somebody listens")
        b.shows("#news", "<b>rain</b>")
        clean(b)


def test_text_of_others_is_text_and_narrow_places_hold_it():
    evil = "<img src=x onerror=alert(1)>Llanfairpwllgwyngyllgogerychwyrndrobwllllantysilio"

    def body(w):
        match = make_match(w, home=("elp", evil))
        happen(w, match, "start", home_players=[[7, evil]])
        happen(w, match, "goal", team="elp", player=7, minute="45+1", comment=evil)
        return html(w, 0, **{"arg-fra-2022-12-18": match})
    with page(body, width=320) as (_, b):
        shows(b, "ol", evil)
        shows(b, "dt", evil)
        equal(b.js("document.querySelector('touchline-match').shadowRoot"
                   ".querySelectorAll('img').length"), 0)
        equal(b.js("document.documentElement.scrollWidth <= 320"), True, "it fits")
        clean(b)


def test_a_screen_reader_finds_a_region_with_the_teams_name():
    with page(two_lines(new_match)) as (_, b):
        shows(b, "dl", "El Porvenir0Tigre0")
        b.cdp("Accessibility.enable")
        tree = b.cdp("Accessibility.getFullAXTree")["nodes"]
        said = {(n["role"]["value"], n.get("name", {}).get("value")) for n in tree if "role" in n}
        check(("region", "El Porvenir – Tigre") in said, f"{said}")
        check(any(role == "status" for role, _ in said), f"{said}")


def test_it_is_small():
    with World() as w:
        a = w.http("GET", "/touchline-match.js", headers={"Accept-Encoding": "gzip"})
        equal((a.status, a.headers["Content-Type"], a.headers["Content-Encoding"]),
              (200, "text/javascript; charset=utf-8", "gzip"))
        check(len(a.body) < 20000, f"{len(a.body)} bytes")
        again = w.http("GET", "/touchline-match.js", headers={
            "Accept-Encoding": "gzip", "If-None-Match": a.headers["ETag"]})
        equal(again.status, 304)
