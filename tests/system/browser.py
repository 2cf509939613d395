"""Headless Chromium, driven through chromedriver's plain HTTP (WebDriver).

Every wait is for something the page shows, with a deadline."""
import base64
import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.parse

from world import DEADLINE, Failed, Lines, check, eventually

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
         "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--hide-scrollbars"]
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One window with a profile of its own, in a temporary directory."""

    def __init__(self, width=1280, height=900, dark=False, insecure=False,
                 names=(), hasty=False):
        """insecure: whoever has signed a certificate is believed; names: of
        hosts, which are this machine; hasty: a page is looked at before it
        has come whole."""
        self.insecure, self.names, self.hasty = insecure, names, hasty
        self.profile = tempfile.mkdtemp(prefix="tl-browser-")
        self.driver = self.session = None
        self.logged = {"browser": [], "performance": []}
        try:
            self._begin()
            self.size(width, height)
            if dark:
                self.cdp("Emulation.setEmulatedMedia", features=[
                    {"name": "prefers-color-scheme", "value": "dark"}])
        except BaseException:
            self.close()
            raise

    def _begin(self):
        self.port = eventually(self._start_driver, "chromedriver has a port")
        # Nothing but this machine has a name.
        rules = [f"MAP {name} 127.0.0.1" for name in self.names]
        rules += ["MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1"]
        options = {"args": FLAGS + ["--user-data-dir=" + self.profile,
                                    "--host-resolver-rules=" + ", ".join(rules)]}
        self.session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "acceptInsecureCerts": self.insecure, "goog:chromeOptions": options,
            "pageLoadStrategy": "none" if self.hasty else "normal",
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }}})["sessionId"]

    def _start_driver(self):
        """Its port; None when the one that it found was taken meanwhile."""
        self._stop_driver()
        self.driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            start_new_session=True, env={**os.environ, "HOME": self.profile})
        out = Lines(self.driver.stdout,
                    lambda n: os.read(self.driver.stdout.fileno(), n))
        try:
            out.until(b"started successfully on port ")
        except Failed:
            if out.ended:
                return None
            raise
        return int(out.until(b".").rstrip(b"."))

    def _stop_driver(self):
        if not self.driver:
            return
        with contextlib.suppress(OSError):
            os.killpg(self.driver.pid, signal.SIGKILL)
        self.driver.wait()
        self.driver.stdout.close()
        self.driver = None

    def close(self):
        with contextlib.suppress(OSError, Failed, http.client.HTTPException):
            if self.session:
                self._session("DELETE", "")
        self._stop_driver()
        shutil.rmtree(self.profile, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- the protocol
    def _ask(self, method, path, body=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=3 * DEADLINE)
        c.request(method, path, None if body is None else json.dumps(body),
                  {"Content-Type": "application/json"})
        r = c.getresponse()
        value = json.loads(r.read())["value"]
        c.close()
        check(r.status == 200, f"{method} {path}: {value}"[:2000])
        return value

    def _session(self, method, path, body=None):
        return self._ask(method, f"/session/{self.session}{path}", body)

    def cdp(self, command, **params):
        return self._session("POST", "/goog/cdp/execute",
                             {"cmd": command, "params": params})

    # ---- the window
    def size(self, width, height):
        """Of the page in CSS pixels; a phone's width is possible."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=1, mobile=width < 600)

    def open(self, url):
        self._session("POST", "/url", {"url": url})

    def reload(self):
        self._session("POST", "/refresh", {})

    def before_each_page(self, code):
        """JavaScript that runs before the scripts of every page."""
        self.cdp("Page.addScriptToEvaluateOnNewDocument", source=code)

    def network(self, there):
        """Takes it from the page, or gives it back."""
        self.cdp("Network.emulateNetworkConditions", offline=not there, latency=0,
                 downloadThroughput=-1, uploadThroughput=-1)

    def picture(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self._session("GET", "/screenshot")))

    # ---- the page
    def js(self, code, *args):
        """The value of an expression in the page; args are its `arguments`."""
        return self._session("POST", "/execute/sync",
                             {"script": "return " + code, "args": list(args)})

    def until(self, code, what, *args, deadline=None):
        """Waits until the expression is true; returns its value."""
        try:
            return eventually(lambda: self.js(code, *args), what, deadline)
        except Failed as e:
            raise Failed(f"{e}\npage: {self.text('body')[:1500]}\n"
                         f"console: {self.console()[-5:]}") from None

    def text(self, css):
        return self.js("(document.querySelector(arguments[0]) || {}).innerText || ''", css)

    def texts(self, css):
        return self.js("Array.from(document.querySelectorAll(arguments[0]),"
                       " (e) => e.textContent)", css)

    def shows(self, css, text, deadline=None):
        """Waits until the text of the first such element has this in it."""
        self.until("((document.querySelector(arguments[0]) || {}).textContent"
                   " || '').includes(arguments[1])", f"{text!r} in {css}", css, text,
                   deadline=deadline)

    def element(self, css):
        return self._session("POST", "/element",
                             {"using": "css selector", "value": css})[ELEMENT]

    def click(self, css):
        self._session("POST", f"/element/{self.element(css)}/click", {})

    def type(self, css, text):
        """Keys, one after the other; "\\ue007" is Enter."""
        self._session("POST", f"/element/{self.element(css)}/value", {"text": text})

    def fill(self, css, text):
        self._session("POST", f"/element/{self.element(css)}/clear", {})
        self.type(css, text)

    # ---- what happened behind it
    def _log(self, kind):
        self.logged[kind] += self._session("POST", "/se/log", {"type": kind})
        return self.logged[kind]

    def console(self):
        """What the page and the browser wrote to the console: errors of
        scripts, failed requests, violations of the content policy."""
        return [e["message"] for e in self._log("browser")
                if e["level"] in ("WARNING", "SEVERE")]

    def requests(self):
        """The addresses of all requests and sockets so far."""
        out = []
        for entry in self._log("performance"):
            m = json.loads(entry["message"])["message"]
            if m["method"] == "Network.requestWillBeSent":
                out.append(m["params"]["request"]["url"])
            elif m["method"] == "Network.webSocketCreated":
                out.append(m["params"]["url"])
        return out

    def hosts(self):
        """Those that were asked over the network."""
        urls = [urllib.parse.urlsplit(u) for u in self.requests()]
        return {u.hostname for u in urls if u.scheme in ("http", "https", "ws", "wss")}
