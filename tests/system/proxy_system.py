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
STREAMS = int(os.environ.get("TOUCHLINE_PROXY_STREAMS", "200"))


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
    that shows what a line is good for; text: instead of the sample."""

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

    def _text(self, edit):
        with open(os.path.join(ROOT, "docs", "proxies", self.sample)) as f:
            text = f.read()
        for old, new in edit:
            check(old in text, f"{self.sample}: nothing says {old!r}")
            text = text.replace(old, new)
        return text

    def _start(self, world, edit, text):
        names = {k: "%s:%d" % world.address(k) for k in ("http", "tcp", "ws")}
        names.update(dir=self.dir, tls=free_port(), telnet=free_port())
        text = text or self._text(edit)
        for old, new in REPLACED[self.sample].items():
            check(old in text, f"{self.sample}: nothing says {old!r}")
            text = text.replace(old, new.format(**names))
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
                    Origin="https://" + NAME).status, 201)
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
            answer = p.ask("POST", "/v1/publish/match/x", "{}", source, **headers)
            equal((answer.status, answer.code()), (403, "publish.denied"), headers)
            for path in ("/metrics", "/v1/stats", "/%6detrics"):
                equal(p.ask("GET", path, None, source, **headers).status, 404, path)
            with p.ws(source=source, **headers) as ws:
                ws.say(cmd="publish", channel="match/x", data={}, ref=1)
                equal(ws.reply(1)["error"]["code"], "publish.denied", headers)
        if telnet:
            with p.telnet(source) as t:
                t.send(b"PROXY TCP4 127.0.0.1 127.0.0.1 1 1\r\nPUB match/x {}\r\n")
                t.until(b"ERROR publish.denied: ")


def through(sample, telnet=True, edit=()):
    with behind() as w, Proxy(sample, w, edit) as p:
        carries_http(w, p)
        carries_websocket(w, p)
        if telnet:
            carries_telnet(w, p)
        is_never_loopback(p, telnet)
    with behind("limits.connections_per_address=2", "http.workers=1") as w, \
            Proxy(sample, w, edit) as p:
        has_bounds(w, p, telnet)
        w.limit_reached("connections_per_address", 10)


def test_nginx_carries_all_edges_and_names_clients():
    through("nginx.conf")


def test_haproxy_carries_all_edges_and_names_clients():
    through("haproxy.cfg")


def test_caddy_carries_http_and_websocket_and_names_clients():
    through("Caddyfile", telnet=False)
