"""The operators' page in a real browser: what it shows is what /v1/stats says, of
real processes, some of which are killed."""
import gzip
import json
import os
import re
import signal

from browser import Browser
from world import ROOT, Http, World, check, equal, eventually, figure

SLOW = PAGES = True
HTML = {"Accept": "text/html"}
PARTS = ("/admin", "/admin.css", "/admin.js")
PAGE_MOST = 30 * 1000     # bytes of the page in all, as they are sent
ANSWER_MOST = 4 * 1000    # of an answer to it, of a small system
MINUTE = 60000

# What the page was answered, one after the other, and how many questions were under
# way at once.
LISTEN = """{
    const real = window.fetch;
    window.answers = []; window.asked = 0; window.out = 0; window.most = 0;
    window.fetch = async (...args) => {
        window.asked++;
        window.most = Math.max(window.most, ++window.out);
        try {
            const r = await real(...args);
            const text = await r.clone().text();
            if (r.ok) window.answers.push(JSON.parse(text));
            return r;
        } finally {
            window.out--;
        }
    };
}"""
# Instead of the server: the first real answer, changed by `change`.
INSTEAD = """{
    const real = window.fetch, change = %s;
    window.fetch = async (...args) => {
        const a = await (await real(...args)).json();
        return new Response(JSON.stringify(change(a)));
    };
}"""
# {row: {column: [text, value]}} of a table.
TABLE = """Object.fromEntries(Array.from(document.querySelectorAll('#' + arguments[0] +
    ' tbody tr'), (tr) => [tr.dataset.id, Array.from(tr.cells,
        (td) => [td.textContent, td.dataset.v])]))"""
COLUMNS = ["name", "state", "connections", "in", "out", "memory", "lagging", "queued", "link",
           "repairs", "canary", "restarts"]


def look(w, b, name="http"):
    b.before_each_page(LISTEN)
    b.open(w.urls[name] + "/admin")
    b.until("window.answers.length > 0 && document.querySelector('#processes tbody tr')",
            "the first figures")


def state(b):
    return b.text("#state")


def is_clean(b, outages=False):
    wrong = [m for m in b.console() if not outages or
             not any(e in m for e in ("net::ERR_", "status of 503"))]
    equal(wrong, [], "console")
    equal(b.hosts(), {"127.0.0.1"}, "hosts that were asked")


# ---- the same figures, worked out here

def total(values, name):
    return sum(v for k, v in values.items() if k == name or k.startswith(name + "{"))


def everywhere(answer, name):
    return sum(total(s["values"], name) for s in answer["stats"])


LE = ["0.00005", "0.0001", "0.0002", "0.0005", "0.001", "0.002", "0.005", "0.01", "0.02", "0.05",
      "0.1", "0.2", "0.5", "1", "2", "5", "10"]


def full(values, name):
    out, n = dict(values), 0
    for le in LE:
        n = out.setdefault(f"{name}{{le={le}}}", n)
    return out


def grown(answers, name, ms):
    """By how much this has grown, within the last ms, in processes that were there
    before."""
    now = answers[-1]
    old = [a for a in answers if now["time"]["ts"] - a["time"]["ts"] <= ms + 500][0]
    if old is now:
        return 0, 0
    before = {(s["gateway"], s["process"]): s["values"] for s in old["stats"]}
    if "_bucket{" in name:  # what is left out is as the bound before it
        filled = [dict(s, values=full(s["values"], name.split("{")[0])) for s in now["stats"]]
        now = dict(now, stats=filled)
        before = {k: full(v, name.split("{")[0]) for k, v in before.items()}
    growth = sum(max(0, total(s["values"], name) -
                     total(before[s["gateway"], s["process"]], name))
                 for s in now["stats"] if (s["gateway"], s["process"]) in before)
    return growth, (now["time"]["ts"] - old["time"]["ts"]) / 1000


def per_second(answers, name):
    growth, seconds = grown(answers, name, 10000)
    return growth / seconds if seconds else 0


def percentile(answers, name, q):
    bounds = [float(le) for le in LE]
    upto = [grown(answers, f"{name}_bucket{{le={le}}}", MINUTE)[0] for le in LE]
    count = grown(answers, name + "_count", MINUTE)[0]
    if not count:
        return None
    i = next((i for i, n in enumerate(upto) if n >= q * count), None)
    if i is None:
        return float("inf")
    low, under = (bounds[i - 1], upto[i - 1]) if i else (0, 0)
    return low + (bounds[i] - low) * (q * count - under) / (upto[i] - under)


def near(a, b):
    return abs(a - b) <= 1e-9 + 1e-6 * abs(b)


def differences(b):
    """What the page shows otherwise than its last answers say; one round trip."""
    answers, procs, latency, slow, store, tiles = b.js(
        "[window.answers.slice(-40), %s, %s, %s, %s,"
        " Array.from(document.querySelectorAll('#tiles dd'), (dd) => dd.dataset.v)]"
        % tuple(TABLE.replace("arguments[0]", f"'{t}'")
                for t in ("processes", "latency", "slow", "store")))
    now, wrong = answers[-1], []

    def same(what, shown, wanted):
        if shown is None or not near(float(shown), wanted):
            wrong.append(f"{what}: shows {shown}, wanted {wanted}")

    links = {(g["gateway"], str(g["pid"])): g for g in now["gateways"]}
    for s in now["stats"]:
        row = dict(zip(COLUMNS, procs[f"process {s['gateway']} {s['process']}"]))
        link, v = links.get((s["gateway"], s["process"])), s["values"]
        same(s["gateway"] + " connections", row["connections"][1], total(v, "connections"))
        same(s["gateway"] + " memory", row["memory"][1], v.get("memory_bytes{what=private}", 0))
        same(s["gateway"] + " repairs", row["repairs"][1], total(v, "link_repairs_total"))
        same(s["gateway"] + " kept", row["queued"][1], total(v, "queued_bytes"))
        if link:
            same(s["gateway"] + " link", row["link"][1], link["queued_bytes"])
            same(s["gateway"] + " canary", row["canary"][1], v.get("canary_seconds{what=took}", 0))
            if row["state"][0] != link["state"]:
                wrong.append(f"{s['gateway']} is {link['state']}, not {row['state'][0]}")
    for edge in ("http", "tcp", "ws"):
        own = [s for s in now["stats"] if s["gateway"].startswith(edge)]
        row = procs.get("sum " + edge) or procs[f"process {own[0]['gateway']} {own[0]['process']}"]
        same(edge + " connections", row[2][1], sum(total(s["values"], "connections") for s in own))
    same("all connections", procs["all"][2][1], everywhere(now, "connections"))
    same("all out", procs["all"][4][1], per_second(answers, "delivered_total"))
    for i, wanted in enumerate([everywhere(now, "connections"), per_second(answers, "published_total"),
                                per_second(answers, "delivered_total"), None,
                                everywhere(now, "memory_bytes{what=private}"),
                                everywhere(now, "publish_queued")]):
        if wanted is not None:
            same(f"tile {i}", tiles[i], wanted)
    for name in ("publish_seconds", "commit_seconds", "canary_trip_seconds"):
        for i, q in ((1, 0.5), (2, 0.9), (3, 0.99)):
            wanted = percentile(answers, name, q)
            if wanted is not None:
                same(f"{name} {q}", latency["latency " + name][i][1], wanted)
    same("cut", slow["slow cut_total"][1][1], everywhere(now, "cut_total"))
    same("lagging", slow["slow lagging_connections"][1][1], everywhere(now, "lagging_connections"))
    same("WAL", store["store wal"][1][1], now["status"]["wal_bytes"])
    same("database", store["store database"][1][1], everywhere(now, "store_bytes{file=database}"))
    same("commits", store["store commits"][1][1], per_second(answers, "commit_batches_total"))
    return wrong


def test_what_it_shows_is_what_stats_says():
    with World() as w, Browser() as b:
        look(w, b)
        streams = [w.stream("/v1/stream?channel=room/a") for _ in range(5)]
        sockets, lines = [w.ws() for _ in range(3)], [w.telnet() for _ in range(2)]
        for i in range(50):
            w.publish("room/a", f"text {i}")
        b.until("document.querySelector('[data-id=\"all\"] td:nth-child(3)').dataset.v >= 10",
                "all are counted")
        last, said = [], [50]

        def equals():  # while something happens, so that rates are not all 0
            w.publish("room/a", f"text {said[0]}")
            said[0] += 1
            last[:] = differences(b)
            return not last and b.js("document.querySelector('[data-id=\"all\"]')"
                                     ".cells[4].dataset.v") not in ("0", None)
        try:
            eventually(equals, "page and answers say the same", 10)
        except AssertionError:
            equal(last, [], "differences")
        # And the answers are those of everybody else.
        mine = b.js("window.answers[window.answers.length - 1]")
        own = w.json("/v1/stats")
        for name in ("published_total", "commit_batches_total", "subscribe_refused_total"):
            check(everywhere(own, name) >= everywhere(mine, name) >= 0, name)
        equal(everywhere(own, "published_total"), said[0])
        equal(mine["status"]["state"], "OK")
        check(os.path.getsize(f"{w.dir}/touchline.db-wal") >= own["status"]["wal_bytes"] - (1 << 20) > 0
              or own["status"]["wal_bytes"] <= 1 << 20, "the WAL's size")
        for pid in w.pids("router"):
            with open(f"/proc/{pid}/statm") as f:
                pages = [int(n) for n in f.read().split()]
            real, said = (pages[1] - pages[2]) * 4096, \
                own["stats"][0]["values"]["memory_bytes{what=private}"]
            check(abs(real - said) < 4 << 20, f"memory of the router: {said}, the kernel: {real}")
        equal((state(b), b.text("#why")), ("OK", "all is well"))
        is_clean(b)
        for c in streams + sockets + lines:
            c.close()


def test_a_killed_gateway_shows_and_is_back():
    with World() as w, Browser() as b:
        look(w, b)
        b.shows("#state", "OK")
        pid = w.pids("tcp")[0]
        w.proc.send_signal(signal.SIGSTOP)  # nobody starts it again
        try:
            w.kill("tcp")
            b.shows("#state", "DEGRADED")
            b.shows("#why", "went ")
            b.shows("#alarms [data-alarm=GatewayMissing]", "docs/runbook.md#TouchlineGatewayMissing")
            b.shows(f"[data-id='process tcp1 {pid}'] td.bad", "missing")
            check(b.text("[data-id='sum tcp'] td.bad") or not b.text("[data-id='sum tcp']"), "the sum")
            check(b.js("document.title").startswith("DEGRADED"), "the title")
        finally:
            w.proc.send_signal(signal.SIGCONT)
        b.shows("#state", "OK")
        b.until("!document.querySelector('[data-alarm=GatewayMissing]')", "no alarm")
        b.shows("#alarms [data-alarm=Restarted]", "Started again: tcp1")
        b.until(f"!document.querySelector(\"[data-id='process tcp1 {pid}']\")", "its row is gone")
        is_clean(b)


def test_one_that_stands_still_is_asked_once_and_shown():
    with World() as w, Browser() as b:
        look(w, b)
        b.shows("#state", "OK")
        w.kill("http", signal.SIGSTOP)
        try:
            b.until("document.getElementById('fresh').dataset.state === 'late'", "late")
            b.shows("#state", "NO ANSWER")
            b.shows("#age", "asking")
            asked = b.js("window.asked")
            b.until("document.getElementById('age').textContent.match(/(\\d+)\\s*s old/)[1] >= 7",
                    "they get older")
            equal(b.js("[window.asked, window.out]"), [asked, 1], "questions meanwhile")
            check(b.js("document.body.classList.contains('stale')"), "what is old looks so")
            b.shows("#alarms", "docs/runbook.md#TouchlineDown")
        finally:
            w.kill("http", signal.SIGCONT)
        b.shows("#state", "OK")
        b.until("!document.body.classList.contains('stale')", "it is fresh")
        equal(b.js("window.most"), 1, "questions at once")
        is_clean(b)


def test_a_router_that_is_away_is_shown():
    with World() as w, Browser() as b:
        look(w, b)
        b.shows("#state", "OK")
        w.proc.send_signal(signal.SIGSTOP)  # nobody starts it again
        try:
            w.kill("router")
            b.shows("#why", "router.away")
            b.shows("#state", "DOWN")
            b.shows("#age", "next try in")
        finally:
            w.proc.send_signal(signal.SIGCONT)
        b.shows("#state", "OK", 40)
        is_clean(b, outages=True)


def test_a_server_that_cannot_be_reached_is_shown_and_asked_less():
    with World() as w, Browser() as b:
        look(w, b)
        b.shows("#state", "OK")
        b.network(False)
        b.shows("#why", "nobody answers")
        b.shows("#state", "NO ANSWER")
        first = b.js("window.asked")
        b.until("window.asked >= arguments[0] + 2", "it tries again", first, deadline=40)
        b.until("+(document.getElementById('age').textContent.match(/in (\\d+)/) || [])[1] >= 3",
                "it backs off, and says when it asks again", deadline=40)
        b.network(True)
        b.shows("#state", "OK", 40)
        is_clean(b, outages=True)


def test_it_is_there_where_stats_is_and_nowhere_else():
    with World(sets=["http.admin=127.0.0.1:0", "http.instances=1"]) as w:
        for path in PARTS + ("/v1/stats", "/metrics"):
            equal(w.http("GET", path, headers=HTML).status, 404, path)
        port = admin_port(w)

        def ask(path, method="GET", **headers):
            with Http(("127.0.0.1", port)) as c:
                return c.ask(method, path, **headers).answer(head=method == "HEAD")
        for path in PARTS:
            a = ask(path)
            equal(a.status, 200, path)
            check("frame-ancestors 'none'" in a.headers["Content-Security-Policy"] and
                  "unsafe" not in a.headers["Content-Security-Policy"], a.headers)
            equal(ask(path, Host="example.org").status, 421, path)
            equal(ask(path, "POST", body="", Content_Type="text/plain").status, 405, path)
            equal(ask(path, "HEAD").status, 200, path)
        a = ask("/", Accept="text/html")
        equal((a.status, a.headers["Location"]), (302, "/admin"))
        check(b"curl" in ask("/", Accept="*/*").body, "text for who asks for it")
        equal(ask("/v1/stats", Origin="http://elsewhere.example").headers.get(
            "Access-Control-Allow-Origin"), None)
    with World() as w:  # the main listener, which is loopback
        for path in PARTS:
            equal(w.http("GET", path).status, 200, path)
            equal(w.http("GET", path, headers={"X-Forwarded-For": "10.0.0.9"}).status, 404, path)
        check(b"<title>Touchline \xc2\xb7 operations" not in w.http("GET", "/", headers=HTML).body,
              "the fans' page stays at /")


def admin_port(w):
    """Of the one listener of the HTTP gateway that is not its main one."""
    main = w.address("http")[1]
    inodes = set()
    for pid in w.pids("http"):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                inodes.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
            except OSError:
                pass
    with open("/proc/net/tcp") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    ports = {int(r[1].split(":")[1], 16) for r in rows
             if r[3] == "0A" and f"socket:[{r[9]}]" in inodes} - {main}
    equal(len(ports), 1, "other listeners")
    return ports.pop()


EVIL = "<img src=x onerror=window.hacked=1><script>window.hacked=2</script>\"'&amp;"


def test_names_of_strangers_are_text():
    with World(config=f"[token <b>x</b>]\nsecret = 0123456789abcdef0123\npublish = x/\n") as w, \
            Browser() as b:
        w.publish("room/%3Cimg%20src=x%3E".replace("%20", ""), "<script>1</script>")
        # Whatever text there is in an answer: this one.
        b.before_each_page(INSTEAD % """(a) => {
            const evil = %s;
            a.status.why = a.status.server = a.status.epoch = a.status.store = evil;
            a.status.state = 'DEGRADED';
            a.warnings = [{gateway: evil, edge: evil, pid: 1, number: 1, ts: Date.now(),
                level: 'error', event: evil, text: evil}];
            for (const g of a.gateways) g.state = g.via = evil;
            a.gateways.push({gateway: evil, edge: evil, pid: 7, state: evil});
            a.stats.push({gateway: evil, process: evil, values: {[evil]: 1, connections: 3,
                'memory_bytes{what=private}': 1e6, __proto__: 5, constructor: 6}});
            return a;
        }""" % json.dumps(EVIL))
        b.open(w.urls["http"] + "/admin")
        b.shows("#warnings td:last-child", EVIL)
        b.shows("#why", EVIL)
        b.shows("#processes", EVIL)
        b.shows("#legend", EVIL)
        b.shows("#store", EVIL)
        equal(b.js("[window.hacked, document.querySelectorAll('img, main script').length]"), [None, 0])
        is_clean(b)


MANY = """(a) => {
    const one = a.stats.find((s) => s.gateway === 'http1');
    const link = a.gateways.find((g) => g.gateway === 'http1');
    for (let i = 3; i <= 60; i++) {
        a.stats.push({gateway: 'http' + i, process: String(1000 + i),
            values: {...one.values, connections: i, 'memory_bytes{what=private}': 1e6 * i}});
        a.gateways.push({...link, gateway: 'http' + i, pid: 1000 + i, state: i === 40 ? 'stale' : 'live'});
    }
    return a;
}"""


def test_sixty_processes_stay_readable():
    with World() as w, Browser(width=360, height=740) as b:
        b.before_each_page(INSTEAD % MANY)
        b.open(w.urls["http"] + "/admin")
        b.until("document.querySelector('[data-id=\"sum http\"]')", "the sum")
        equal(b.text("[data-id='sum http'] th").replace("\u25b8 ", ""), "http × 60")
        shown = "Array.from(document.querySelectorAll('#processes tbody th'), (th) => th.textContent)" \
                ".filter((t) => /^http\\d/.test(t))"
        equal(b.js(shown), ["http40"], "folded, but for who is not well")
        equal(b.text("[data-id='sum http'] td"), "1 of 60 stale")
        equal(int(b.js("document.querySelector('[data-id=\"sum http\"] td:nth-child(3)').dataset.v")) >=
              sum(range(3, 61)), True)
        check("router" in b.text("#legend") and "http × " in b.text("#legend") and
              b.js("document.querySelectorAll('#legend li').length") <= 5, "the legend has kinds")
        # By keyboard: unfold, then sort.
        b.js("document.querySelector('[data-id=\"sum http\"] button').focus()")
        b.type("[data-id='sum http'] button", "\ue007")
        b.until(shown + ".length === 60", "unfolded")
        equal(b.js("document.activeElement.getAttribute('aria-expanded')"), "true")
        b.type("[data-by=connections] button", "\ue007")
        equal(b.js(shown)[0], "http60")
        equal(b.js("document.querySelector('[data-by=connections]').getAttribute('aria-sort')"), "descending")
        b.type("[data-by=connections] button", "\ue007")
        b.until(shown + "[59] === 'http60'", "the other way round")
        for width in (360, 1280):
            b.size(width, 740)
            b.until("document.documentElement.scrollWidth <= arguments[0]", "nothing sticks out", width)
        is_clean(b)


def test_the_graph_keeps_what_was():
    with World() as w, Browser() as b:
        look(w, b)
        b.until("window.answers.length >= 3", "some answers")
        equal(b.js("Array.from(document.querySelectorAll('#legend span'), (n) => n.textContent)"),
              ["router", "http1", "tcp1", "ws1"])
        equal(b.js("document.querySelectorAll('#memory path[class^=k]').length"), 4)
        # Keys go through time.
        b.js("document.getElementById('graph').focus()")
        b.type("#graph", "\ue012")
        tip = b.text("#tip")
        check(re.search(r"UTC\nrouter\s+[\d.,]+\s[KM]iB\n", tip) and "all " in tip, tip)
        b.type("#graph", "\ue012")
        check(b.text("#tip") != tip, "another moment")
        # Pausing asks nothing.
        b.click("#pause")
        b.until("window.out === 0", "nothing is out")
        b.shows("#age", "paused")
        asked = b.js("window.asked")
        b.until("parseInt(document.getElementById('age').textContent.match(/\\d+/)[0]) >= 3", "older")
        equal(b.js("window.asked"), asked)
        b.click("#pause")
        b.until("window.asked > arguments[0]", "it goes on", asked)
        is_clean(b)


def test_it_is_small():
    with World() as w:
        sizes = {}
        for path in PARTS:
            a = w.http("GET", path, headers={"Accept-Encoding": "gzip"})
            sizes[path] = len(a.body)
            equal(len(gzip.decompress(a.body)) > len(a.body), True)
        figure(f"the operators' page: {sizes}, together {sum(sizes.values())} bytes")
        check(sum(sizes.values()) < PAGE_MOST, f"{sizes}")
        w.publish("room/a", "x")
        eventually(lambda: len(w.json("/v1/stats")["stats"]) == 7, "all have reported")
        whole = w.http("GET", "/v1/stats")
        brief = w.http("GET", "/v1/stats?zero=no")
        packed = w.http("GET", "/v1/stats?zero=no", headers={"Accept-Encoding": "gzip"})
        figure(f"/v1/stats: {len(whole.body)} bytes, without zeros {len(brief.body)}, "
               f"gzipped {len(packed.body)}")
        equal(packed.headers.get("Content-Encoding"), "gzip")
        check(len(packed.body) < ANSWER_MOST, f"{len(packed.body)}")
        values = [v for s in brief.json()["stats"] for v in s["values"].values()]
        check(values and all(values), "none is 0")
        known = {(s["gateway"], k) for s in whole.json()["stats"] for k in s["values"]}
        check({(s["gateway"], k) for s in brief.json()["stats"] for k in s["values"]} <= known | {
            (s["gateway"], k) for s in w.json("/v1/stats")["stats"] for k in s["values"]}, "names")


def test_alarms_are_those_of_the_runbook():
    with open(os.path.join(ROOT, "gateways/http/pages/admin.js")) as f:
        shown = re.findall(r"\[\s*'([A-Z]\w+)',\s*([01]),", f.read())
    with open(os.path.join(ROOT, "docs/runbook.md")) as f:
        told = re.findall(r'<a id="Touchline(\w+)">', f.read())
    equal(sorted(name for name, _ in shown), sorted(told))
    with open(os.path.join(ROOT, "tools/monitoring/touchline.rules.yml")) as f:
        rules = dict(re.findall(r"alert: Touchline(\w+).*?severity: (\w+)", f.read(), re.S))
    for name, page in shown:
        equal("page" if page == "1" else "ticket", rules[name], name)
