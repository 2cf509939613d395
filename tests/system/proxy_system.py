"""Behind nginx, HAProxy and Caddy: the samples of docs/proxies run as they are,
but for the names, ports and paths that REPLACED lists; the configuration of
Touchline is the one that docs/proxies.md shows.

Clients differ by their source address in 127.0.0.0/8; the proxy is 127.0.0.1,
which alone is trusted."""
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import tempfile
import shutil

from browser import Browser
from docs_system import blocks
from world import (DEADLINE, ROOT, Failed, Http, Stream, Tcp, World, Ws, check, equal,
                   eventually, readable)

NAME = "live.example.org"
STREAMS = int(os.environ.get("TOUCHLINE_PROXY_STREAMS", "100"))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listening(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def certificate(folder):
    """Writes a throw-away key and certificate of NAME."""
    pem, key = os.path.join(folder, "pem"), os.path.join(folder, "key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=" + NAME, "-addext", f"subjectAltName=DNS:{NAME},IP:127.0.0.1",
                    "-keyout", key, "-out", pem], check=True, capture_output=True)
    with open(os.path.join(folder, "all"), "w") as out:
        for path in (pem, key):
            with open(path) as f:
                out.write(f.read())


# What stands in each sample, and what takes its place in a test. All of it must
# be there: a sample that has changed is not tested by halves.
COMMON = {"127.0.0.1:8000": "{http}", "127.0.0.1:8001": "{ws}",
          "/etc/ssl/live.example.org.pem": "{dir}/pem"}
REPLACED = {
    "nginx.conf": {
        **COMMON, "127.0.0.1:9999": "{tcp}", "/etc/ssl/live.example.org.key": "{dir}/key",
        "listen 443 ": "listen 127.0.0.1:{tls} ", "listen 9992 ": "listen 127.0.0.1:{telnet} ",
        # Files that it would keep in the system's folders.
        "\nhttp {": "\nhttp {{ access_log off; client_body_temp_path {dir}/body; "
                  "proxy_temp_path {dir}/temp; fastcgi_temp_path {dir}/f; "
                  "uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;",
        "worker_processes auto": "worker_processes 1",
    },
    "haproxy.cfg": {
        "127.0.0.1:8000": "{http}", "127.0.0.1:8001": "{ws}", "127.0.0.1:9999": "{tcp}",
        "/etc/ssl/live.example.org.all.pem": "{dir}/all",
        "bind :443 ": "bind 127.0.0.1:{tls} ", "bind :9992 ": "bind 127.0.0.1:{telnet} ",
        "maxconn 30000": "maxconn 3000",
    },
    "Caddyfile": {
        **COMMON, "/etc/ssl/live.example.org.key": "{dir}/key",
        # It would take port 80 and an admin port, too.
        "\nlive.example.org {": "\n{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n"
                                "https://live.example.org:{tls} {{",
    },
}


def run_as_root_or_not():
    """nginx drops root for a user who may not enter our directory."""
    return "user root;" if os.geteuid() == 0 else ""


COMMANDS = {
    "nginx.conf": lambda d, conf: ["nginx", "-e", d + "/log", "-c", conf, "-g",
                                   f"daemon off; pid {d}/pid; {run_as_root_or_not()}"],
    "haproxy.cfg": lambda d, conf: ["haproxy", "-db", "-f", conf],
    "Caddyfile": lambda d, conf: ["caddy", "run", "--config", conf, "--adapter", "caddyfile"],
}


class Proxy:
    """One of the samples, in front of a World; edit: (old, new) pairs of a test
    that shows what a line is good for; text: instead of the sample, with
    %(names)s in it."""

    def __init__(self, sample, world, edit=(), text=None):
        self.sample, self.dir = sample, tempfile.mkdtemp(prefix="tl-proxy-")
        self.proc = None
        try:
            certificate(self.dir)
            for _ in range(5):  # somebody may take the port that was free
                if self._start(world, edit, text):
                    return
            raise Failed(f"{sample} does not start\n" + self.log())
        except BaseException:
            self.close()
            raise

    def _text(self, edit, names):
        with open(os.path.join(ROOT, "docs", "proxies", self.sample)) as f:
            text = f.read()
        ours = [(old, new.format(**names)) for old, new in REPLACED[self.sample].items()]
        for old, new in [*edit, *ours]:
            check(old in text, f"{self.sample}: nothing says {old!r}")
            text = text.replace(old, new)
        return text

    def _start(self, world, edit, text):
        names = {k: "%s:%d" % world.address(k) for k in ("http", "tcp", "ws")}
        names.update(dir=self.dir, tls=free_port(), telnet=free_port())
        text = text % names if text else self._text(edit, names)
        conf = os.path.join(self.dir, self.sample)
        with open(conf, "w") as f:
            f.write(text)
        with open(self.dir + "/out", "ab") as out:
            self.proc = subprocess.Popen(COMMANDS[self.sample](self.dir, conf), stdout=out,
                                         stderr=out, stdin=subprocess.DEVNULL,
                                         start_new_session=True,
                                         env={**os.environ, "HOME": self.dir,
                                              "XDG_DATA_HOME": self.dir,
                                              "XDG_CONFIG_HOME": self.dir})
        self.tls, self.telnet_port = names["tls"], names["telnet"]
        eventually(lambda: self.proc.poll() is not None or listening(self.tls), "it listens")
        return self.proc.poll() is None

    def log(self):
        text = ""
        for name in ("out", "log"):
            with contextlib.suppress(OSError):
                with open(os.path.join(self.dir, name), errors="replace") as f:
                    text += f.read()[-3000:]
        return text

    def close(self):
        if self.proc:
            with contextlib.suppress(OSError):
                os.killpg(self.proc.pid, signal.SIGKILL)
            self.proc.wait()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            print(self.log())
        self.close()

    # ---- clients
    def wrap(self, sock):
        context = ssl.create_default_context(cafile=os.path.join(self.dir, "pem"))
        context.set_alpn_protocols(["http/1.1"])
        return context.wrap_socket(sock, server_hostname=NAME)

    def client(self, source="127.0.0.2"):
        return Http(("127.0.0.1", self.tls), source=source, wrap=self.wrap)

    def ask(self, method, target, body=None, source="127.0.0.2", **headers):
        headers.setdefault("Host", NAME)
        with self.client(source) as c:
            return c.ask(method, target, body, **headers).answer()

    def stream(self, target, source="127.0.0.2", **headers):
        headers = {"Host": NAME, **{k.replace("_", "-"): v for k, v in headers.items()}}
        return Stream(("127.0.0.1", self.tls), target, headers, source=source, wrap=self.wrap)

    def ws(self, target="/v1/ws", source="127.0.0.2", **headers):
        return Ws(("127.0.0.1", self.tls), target, source=source, wrap=self.wrap,
                  **{"Host": NAME, **headers})

    def telnet(self, source="127.0.0.2"):
        return Tcp(("127.0.0.1", self.telnet_port), source=source, wrap=self.wrap)


def shown():
    """The configuration that docs/proxies.md shows."""
    config, = (b.text() for b in blocks("docs/proxies.md") if b.lang == "ini")
    return config


def behind(*sets):
    """A World as the document says; figures are asked for directly."""
    return World(["http.admin=", *sets], config=shown())


# ---- what all three do -----------------------------------------------------

def test_the_samples_are_complete():
    equal(sorted(os.listdir(os.path.join(ROOT, "docs", "proxies"))), sorted(REPLACED))


def carries_http(w, p):
    equal(p.ask("GET", "/healthz").status, 200)
    with p.stream("/v1/stream?channel=a", Accept="text/event-stream") as events, \
            p.stream("/v1/stream?channel=a") as lines:
        # What begins comes while the stream is open, and so does what follows.
        equal(json.loads(events.event()["data"])["notice"], "snapshot")
        equal(lines.item()["notice"], "snapshot")
        body = "x" * 65536
        equal(p.ask("POST", "/v1/publish/a", body, Content_Type="text/plain",
                    Expect="100-continue", Origin="https://" + NAME).status, 201)
        equal(json.loads(events.event()["data"])["data"], body)
        equal(lines.message()["data"], body)
        for n in range(3):
            equal(p.ask("POST", "/v1/publish/a", str(n), Content_Type="text/plain").status, 201)
            equal(json.loads(events.event()["data"])["data"], str(n))
    cursor = p.ask("GET", "/v1/poll?channel=b").json()["cursor"]
    with p.client() as c:
        c.ask("GET", f"/v1/poll?channel=b&since={cursor}&wait=60", Host=NAME)
        eventually(lambda: w.json("/v1/presence/b")["count"] >= 1, "the poll is open")
        w.ctl("publish", "b", "news")
        equal([m["data"] for m in c.answer().json()["messages"] if "data" in m], ["news"])
    equal(p.ask("GET", "/v1/history/a%2Fb%252Fc").status, 200)
    equal(p.ask("POST", "/v1/publish/a%252Fb", "x").json()["channel"], "a%2Fb")


def knows_who_has_gone(w, p):
    """At once; not with the next ping, which is far away here."""
    with p.stream("/v1/stream?channel=g"), p.client() as poll:
        poll.ask("GET", "/v1/poll?channel=g&since=0&wait=60", Host=NAME)
        eventually(lambda: w.json("/v1/presence/g")["count"] == 2, "both are there")
    eventually(lambda: w.json("/v1/presence/g")["count"] == 0, "both have gone")


def carries_websocket(w, p):
    with p.ws("/v1/ws?channel=c", Origin=f"https://{NAME}") as ws, \
            p.ws("/v1/raw?channel=c&publish=c") as raw:
        equal((ws.status, raw.status), (101, 101))
        raw.frame("text", "bare")
        equal(ws.message()["data"], "bare")
        equal(raw.read(), ("text", b"bare"))
    with p.ws(Origin="https://evil.example") as ws:
        equal(ws.status, 403)
    # Who asks without an upgrade is told that it is spoken here.
    answer = p.ask("GET", "/v1/ws")
    equal((answer.status, answer.code(), "url" in answer.json()),
          (426, "upgrade.required", False))


def carries_telnet(w, p):
    with p.telnet() as t:
        t.until(b"<your-name>\r\n")
        t.send(b"SUB d\r\n")
        t.until(b"OK SUB d ")
        w.ctl("publish", "d", "hello")
        t.until(b": hello\r\n")


def has_bounds(w, p, telnet):
    """Each client has its own bound (2 here), however it comes in."""
    with contextlib.ExitStack() as stack:
        def polls(source, **headers):
            c = stack.enter_context(p.client(source))
            c.ask("GET", "/v1/stream?channel=e", Host=NAME, **headers)
            return int(c.until(b"\r\n\r\n").split()[1])

        def sockets(source, **headers):
            return stack.enter_context(p.ws(source=source, **headers)).status

        def lines(source):
            t = stack.enter_context(p.telnet(source))
            t.send(b"PING\r\n")
            while True:
                word = t.line().split()[0]
                if word in (b"OK", b"ERROR"):
                    return word

        for ask, good, bad in ((polls, 200, 503), (sockets, 101, 503),
                               *([(lines, b"OK", b"ERROR")] * telnet)):
            equal([ask(f"127.0.0.{n}") for n in (7, 7, 7, 8, 8, 8)],
                  [good, good, bad] * 2, ask.__name__)
        # Its own word gives nobody another name.
        for ask in (polls, sockets):
            for k, v in (("X_Forwarded_For", "192.0.2.1"), ("Forwarded", "for=192.0.2.1"),
                         ("Forwarded", 'for="192.0.2.1'), ("X_Real_IP", "192.0.2.1")):
                equal(ask("127.0.0.7", **{k: v}), 503, k)


NAMES_LOOPBACK = ({}, {"X_Forwarded_For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"},
                  {"Forwarded": 'for="[::1]:80"'}, {"X_Real_IP": "127.0.0.1"},
                  {"X_Forwarded_For": "127.0.0.1, ::1"}, {"Via": "1.1 localhost"})


def is_never_loopback(p, telnet):
    """match/ is loopback's: nobody outside may publish there, nor see figures."""
    for source in ("127.0.0.2", "127.0.0.1"):  # the latter is trusted itself
        for headers in NAMES_LOOPBACK:
            with p.client(source) as c:
                answer = c.ask("POST", "/v1/publish/match/x", "{}", Host=NAME, **headers).answer()
                equal((answer.status, answer.code()), (403, "publish.denied"), headers)
                for path in ("/metrics", "/v1/stats", "/%6detrics"):
                    equal(c.ask("GET", path, Host=NAME, **headers).answer().status, 404, path)
            with p.ws(source=source, **headers) as ws:
                ws.say(cmd="publish", channel="match/x", data={}, ref=1)
                equal(ws.reply(1)["error"]["code"], "publish.denied", headers)
        if telnet:
            with p.telnet(source) as t:
                t.send(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\nPUB match/x {}\r\n")
                t.until(b"ERROR publish.denied: ")


def through(sample, telnet=True):
    with behind("limits.ping=10m") as w, Proxy(sample, w) as p:
        carries_http(w, p)
        knows_who_has_gone(w, p)
        carries_websocket(w, p)
        if telnet:
            carries_telnet(w, p)
        is_never_loopback(p, telnet)
    names_clients(sample, telnet)


def names_clients(sample, telnet=True, edit=()):
    with behind("limits.connections_per_address=2") as w, Proxy(sample, w, edit) as p:
        has_bounds(w, p, telnet)
        w.limit_reached("connections_per_address", 10)


def test_nginx_carries_all_edges_and_names_clients():
    through("nginx.conf")


def test_nginx_that_appends_names_the_same_clients():
    names_clients("nginx.conf", edit=[("X-Forwarded-For $remote_addr",
                                       "X-Forwarded-For $proxy_add_x_forwarded_for")])


def test_haproxy_carries_all_edges_and_names_clients():
    through("haproxy.cfg")


def test_caddy_carries_http_and_websocket_and_names_clients():
    through("Caddyfile", telnet=False)


# ---- other clients -----------------------------------------------------------

PEERS = os.path.join(ROOT, "build", "node", "node_modules")
NPM_WS = """
const fs = require("fs"), WebSocket = require("ws");
const [url, ca] = process.argv.slice(1);
const s = new WebSocket(url, {ca: fs.readFileSync(ca), origin: "https://live.example.org",
    headers: {Host: "live.example.org"}, servername: "live.example.org"});
s.on("open", () => s.send(JSON.stringify({cmd: "publish", channel: "npm", data: "hi", ref: 1})));
s.on("message", (m) => { if (JSON.parse(m).data === "hi") { console.log("got"); s.close(1000); } });
s.on("close", (code) => { console.log("closed", code); });
"""
PYTHON_WS = """
import asyncio, json, ssl, sys, websockets
async def main(url, ca):
    context = ssl.create_default_context(cafile=ca)
    async with websockets.connect(url, ssl=context, server_hostname="live.example.org",
                                  origin="https://live.example.org", host="127.0.0.1") as s:
        await s.send(json.dumps({"cmd": "publish", "channel": "py", "data": "hi", "ref": 1}))
        while json.loads(await s.recv()).get("data") != "hi":
            pass
    print("got\\nclosed", s.close_code)
asyncio.run(main(*sys.argv[1:]))
"""


def says(*command, **env):
    p = subprocess.run(command, env={**os.environ, **env}, capture_output=True,
                       timeout=2 * DEADLINE)
    check(p.returncode == 0, p.stderr.decode())
    return p.stdout.decode()


def test_websocket_libraries_come_through_tls():
    with behind() as w, Proxy("nginx.conf", w) as p:
        ca, at = p.dir + "/pem", f":{p.tls}/v1/ws?channel="
        equal(says("node", "-e", NPM_WS, "wss://127.0.0.1" + at + "npm", ca, NODE_PATH=PEERS),
              "got\nclosed 1000\n")
        equal(says("/usr/bin/python3", "-c", PYTHON_WS, f"wss://{NAME}" + at + "py", ca),
              "got\nclosed 1000\n")


def test_the_page_works_over_every_transport():
    """The real page and its client; WebSocket is found behind the same name,
    streams and polls come over HTTP/2."""
    with behind() as w, Proxy("nginx.conf", w) as p, Browser(insecure=True) as page:
        page.open(f"https://127.0.0.1:{p.tls}/")
        for n, transport in enumerate(("ws", "sse", "poll"), 1):
            page.cdp("Runtime.evaluate", expression="""
                got = []; states = []; answer = 0;
                sub = Touchline.subscribe("", "room/x", {transport: "%s",
                    onmessage: (m) => got.push(m.data), onstate: (s) => states.push(s)});"""
                     % transport)
            page.until('window.states.some((s) => s.state === "live")', f"live by {transport}")
            equal(page.js("window.states.every((s) => s.transport === arguments[0])", transport),
                  True)
            page.cdp("Runtime.evaluate", expression="""
                Touchline.publish("", "room/x", "from the page, %s")
                    .then((a) => { answer = a.offset; }, (e) => { answer = String(e); });"""
                     % transport)
            page.until("window.got.includes(arguments[0])", "the message is back",
                       f"from the page, {transport}")
            equal(page.until("window.answer", "the answer"), n)
            page.js("sub.close()")


def test_a_crowd_streams_through_nginx():
    with behind() as w, Proxy("nginx.conf", w) as p, contextlib.ExitStack() as stack:
        crowd = [stack.enter_context(p.stream("/v1/stream?channel=crowd"))
                 for _ in range(STREAMS)]
        equal({s.item()["notice"] for s in crowd}, {"snapshot"})
        equal(w.publish("crowd", "to all").json()["reached"], STREAMS)
        equal({s.message()["data"] for s in crowd}, {"to all"})
        for s in crowd:
            s.close()
        # Nothing is left behind on the gateway's side.
        eventually(lambda: w.json("/v1/presence/crowd")["count"] == 0, "all have gone")


# ---- what a line of the samples is good for ---------------------------------

IGNORES = ("proxy_buffering off;", "proxy_ignore_headers X-Accel-Buffering;")


def test_streams_ask_nginx_not_to_gather_them():
    with behind() as w:
        # A sample without the line still works: each stream says it itself.
        with Proxy("nginx.conf", w, [(IGNORES[0], "")]) as p, \
                p.stream("/v1/stream?channel=a", Accept="text/event-stream") as s:
            equal(json.loads(s.event()["data"])["notice"], "snapshot")
        # One that does not listen keeps the first event until more has come.
        with Proxy("nginx.conf", w, [IGNORES]) as p, p.client() as c:
            c.ask("GET", "/v1/stream?channel=b", Host=NAME)
            eventually(lambda: w.json("/v1/presence/b")["count"] == 1, "the login")
            equal(p.ask("GET", "/healthz").status, 200)  # so it is no matter of time
            check(not c.pending() and not readable(c.fd, 0), "it has come at once")
            while not readable(c.fd, 0):
                w.publish("b", "x" * 4000)
            c.until(b'"snapshot"')


# ---- who is a proxy ----------------------------------------------------------

def proxy_line(client):
    return f"PROXY TCP4 {client} 127.0.0.1 4000 80\r\n".encode()


def test_a_header_that_must_come_is_missed():
    with behind("limits.connections_per_address=1") as w:
        for direct, answer in (("127.0.0.1", b""), ("127.0.0.9", b"OK PING\r\n")):
            with Tcp(w.address("tcp"), b"PING\r\n", source=direct) as t:
                t.line(), t.line()
                equal(t.all() if not answer else t.line(), answer, direct)
        eventually(lambda: w.metric("refused_total", code="proxy.missing") == 1, "counter")
        check("code=proxy.missing" in w.log_tail(), "log")
        # Where none may come it is an error of the edge.
        with Http(w.address("http"), proxy_line("192.0.2.1")) as c:
            equal(c.answer().status, 400)
        eventually(lambda: w.metric("refused_total", code="request.line") == 1, "counter")


V2 = b"\r\n\r\n\0\r\nQUIT\n"


def test_a_header_from_anybody_else_is_counted():
    with World() as w:
        for edge in ("http", "ws"):
            for header in (proxy_line("192.0.2.1"), V2 + b"\x21\x11\0\x0c" + b"\1" * 12):
                with Http(w.address(edge), header) as c:
                    equal(c.answer().status, 400)
                    c.over()
        for header in (proxy_line("192.0.2.1"), V2 + b"\x21\x11\0\x0c" + b"\1" * 12):
            with Tcp(w.address("tcp"), header) as t:
                t.until(b"ERROR verb.unknown: ")
        eventually(lambda: w.metric("refused_total", code="request.line") == 4 and
                   w.metric("refused_total", code="verb.unknown") >= 1, "counters")


def test_a_proxy_on_a_unix_socket_is_one_when_listed():
    with tempfile.TemporaryDirectory(prefix="tl-") as d:
        path = os.path.join(d, "http")
        for trusted, status in (("", 201), ("unix", 403)):
            with World(["http.listen=127.0.0.1:0, unix:" + path,
                        "http.trusted_proxies=" + trusted,
                        "limits.connections_per_address=1"]) as w:
                def ask(method, target, body=None, **headers):
                    c = Http.__new__(Http)
                    c.sock = socket.socket(socket.AF_UNIX)
                    c.sock.settimeout(DEADLINE)
                    c.sock.connect(path)
                    super(Tcp, c).__init__(c.sock, c._recv)
                    return c, c.ask(method, target, body, **headers).answer()

                c, answer = ask("POST", "/v1/publish/match/x", "{}",
                                Content_Type="application/json")
                # Not listed it is this machine; the type may have its own word.
                check((answer.status == 403) == (status == 403), answer.body)
                c.close()
                kept = [ask("GET", "/healthz", X_Forwarded_For="192.0.2.1, unix:")
                        for _ in range(2)]
                equal([a.status for _, a in kept], [200, 503 if trusted else 200])
                for c, _ in kept:
                    c.close()


def test_nginx_over_unix_sockets_names_the_same_clients():
    with tempfile.TemporaryDirectory(prefix="tl-") as d:
        edit = [(f"server 127.0.0.1:{port};", f"server unix:{d}/{port}; # 127.0.0.1:{port}")
                for port in (8000, 8001)]
        with behind("limits.connections_per_address=2",
                    f"http.listen=127.0.0.1:0, unix:{d}/8000", "http.trusted_proxies=unix",
                    f"ws.listen=127.0.0.1:0, unix:{d}/8001", "ws.trusted_proxies=unix") as w, \
                Proxy("nginx.conf", w, edit) as p:
            is_never_loopback(p, telnet=False)
            has_bounds(w, p, telnet=False)


def test_each_request_of_a_kept_connection_is_for_itself():
    with World(["http.trusted_proxies=127.0.0.1", "limits.connections_per_address=1",
                "http.workers=1"]) as w, contextlib.ExitStack() as stack:
        def client():
            return stack.enter_context(w.client())

        def status(c, **headers):
            return c.ask("GET", "/healthz", **headers).answer().status

        one, two = client(), client()
        equal(status(one, X_Forwarded_For="192.0.2.1"), 200)
        equal(status(one), 200)  # the proxy asks for itself
        equal(status(two, X_Forwarded_For="192.0.2.1"), 200)
        equal(status(one, X_Forwarded_For="192.0.2.2"), 200)
        equal(status(one, X_Forwarded_For="unknown"), 200)
        eventually(lambda: w.metric("proxy_unnamed_total") == 1, "counter")
        equal(status(client(), X_Forwarded_For="192.0.2.2"), 200)
        equal(status(one, X_Forwarded_For="192.0.2.9", Forwarded="for=192.0.2.9"), 200)
        answer = one.ask("GET", "/healthz", X_Forwarded_For="192.0.2.9",
                         Forwarded="for=192.0.2.8").answer()
        equal((answer.status, answer.code()), (400, "forwarded.differs"))
        one.over()
        eventually(lambda: w.metric("refused_total", code="forwarded.differs") == 1,
                   "counter")


# ---- T29: a cache in front ---------------------------------------------------

CACHE = """
error_log %(dir)s/log;
events { worker_connections 200; }
http {
    access_log off;
    client_body_temp_path %(dir)s/body;
    proxy_temp_path %(dir)s/temp;
    fastcgi_temp_path %(dir)s/f;
    uwsgi_temp_path %(dir)s/u;
    scgi_temp_path %(dir)s/s;
    proxy_cache_path %(dir)s/cache keys_zone=all:1m;
    proxy_cache all;
    proxy_cache_valid any 1h;
    proxy_cache_revalidate on;
    proxy_cache_key $request_uri;
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $remote_addr;
    proxy_set_header Connection "";
    server {
        listen 127.0.0.1:%(tls)d;
        add_header X-Cache $upstream_cache_status always;
        location / { proxy_pass http://%(http)s; }
        location = /static { add_header X-Cache $upstream_cache_status always;
                             proxy_pass http://127.0.0.1:%(telnet)d/; }
    }
    server { listen 127.0.0.1:%(telnet)d; location / { return 200 "static"; } }
}
"""
# What a request carries that must be in no answer.
CANARY = {"X_Canary": "canary1", "User_Agent": "canary2", "Referer": "http://canary3/",
          "X_Forwarded_Host": "canary4", "Cookie": "a=canary5", "Accept_Language": "canary6",
          "X_Original_URL": "/canary7", "X_HTTP_Method_Override": "PUT",
          "Forwarded": "for=127.0.0.2;host=canary8"}
PATHS = ("/v1/poll?channel=%s&wait=0", "/v1/presence/room/%s", "/v1/history/%s?last=5",
         "/v1/channels?match=%s", "/v1/stats?%s", "/v1/matches?team=%s", "/1/matches?%s",
         "/healthz?%s", "/readyz?%s", "/?%s", "/touchline.js?%s", "/v1/ws?%s", "/nothing/%s")


def cache_in_front_of(world):
    """nginx that keeps what it may keep."""
    return Proxy("nginx.conf", world, text=CACHE)


def plain(p, method, target, body=None, source="127.0.0.2", **headers):
    """Asks a proxy that speaks no TLS."""
    headers.setdefault("Host", NAME)
    with Http(("127.0.0.1", p.tls), source=source) as c:
        return c.ask(method, target, body, **headers).answer()


def test_t29_a_cache_in_front_is_never_hit_across_users():
    with behind() as w, cache_in_front_of(w) as p:
        # The cache works: what says nothing of itself is kept.
        equal([plain(p, "GET", "/static").headers["X-Cache"] for _ in range(2)],
              ["MISS", "HIT"])
        for path in PATHS:
            answers = [plain(p, "GET", path % "a", None, source, Accept=accept, **CANARY)
                       for source in ("127.0.0.2", "127.0.0.3")
                       for accept in ("text/html", "*/*", "text/html")]
            equal([a.headers.get("X-Cache") for a in answers], ["MISS"] * len(answers), path)
            for a in answers:
                check(a.headers["Cache-Control"] in ("no-store", "no-cache"), path)
                check("canary" not in str(a.headers).lower(), f"{path}: {a.headers}")
                check(b"canary" not in a.body, f"{path}: {a.body[:300]}")
        # A poll hears what came between, the same URL asked again.
        for n in range(3):
            equal(plain(p, "POST", "/v1/publish/b", str(n)).status, 201)
            state = plain(p, "GET", "/v1/history/b?last=1").json()
            equal(state["messages"][-1]["data"], str(n))


def test_t29_a_tag_is_asked_for_each_time_and_good_until_something_came():
    with behind() as w, Proxy("nginx.conf", w) as p, cache_in_front_of(w) as cache:
        w.publish("a", "one")
        first = p.ask("GET", "/v1/history/a")
        tag = first.headers["ETag"]
        equal(first.headers["Cache-Control"], "no-cache")
        for source in ("127.0.0.2", "127.0.0.3"):
            again = p.ask("GET", "/v1/history/a", None, source, If_None_Match=tag)
            equal((again.status, again.body, again.headers["ETag"]), (304, b"", tag))
        # nginx with a cache takes the tag off the question: the answer is whole.
        whole = plain(cache, "GET", "/v1/history/a", If_None_Match=tag)
        equal((whole.status, whole.body, whole.headers["ETag"]), (200, first.body, tag))
        w.publish("a", "two")
        for changed in (p.ask("GET", "/v1/history/a", If_None_Match=tag),
                        plain(cache, "GET", "/v1/history/a", If_None_Match=tag)):
            equal((changed.status, len(changed.json()["messages"])), (200, 2))
            check(changed.headers["ETag"] != tag, "another tag")
        # A poll has none, and what is asked with a tag is not hurt by it.
        equal(p.ask("GET", "/v1/poll?channel=a&wait=0", If_None_Match=tag).status, 200)


def test_t29_answers_say_what_they_depend_on():
    with behind("http.origins=friend.example") as w, cache_in_front_of(w) as p:
        for path, accept in (("/", True), ("/v1/history/a", False), ("/touchline.js", False)):
            for origin in (None, "https://friend.example", "https://evil.example"):
                a = plain(p, "GET", path, Origin=origin, Accept="text/html")
                with w.client() as c:  # nginx joins nothing; a dict would lose lines
                    c.ask("GET", path, Host=NAME, Origin=origin, Accept="text/html")
                    head = c.until(b"\r\n\r\n").decode()
                check("\r\nVary: Origin\r\n" in head, f"{path} {origin}: {head}")
                equal("\r\nVary: Accept\r\n" in head, accept, path)
                equal(a.headers.get("Access-Control-Allow-Origin"),
                      origin if origin == "https://friend.example" else None)


def test_t29_a_path_is_decoded_once():
    with behind() as w, cache_in_front_of(w) as p:
        for path, channel in (("a/b", "a/b"), ("a%2Fb", "a/b"), ("a%2fb", "a/b"),
                              ("a%252Fb", "a%2Fb"), ("%61/b", "a/b"), ("a%25%32Fb", "a%2Fb")):
            equal(plain(p, "POST", "/v1/publish/" + path, "x").json()["channel"], channel)
        for path in ("a/../b", "a/%2e%2e/b", "a//b", "a/./b", "a/%2E/b", "a%00b", "%"):
            a = plain(p, "POST", "/v1/publish/" + path, "x")
            equal(a.status, 400, path)
