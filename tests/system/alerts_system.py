"""Faults and alarms: a real Prometheus with the rules of tools/monitoring scrapes
systems in which something is broken. Each alarm comes within 30 s of its fault, not
before, and ends when all is well again."""
import concurrent.futures
import contextlib
import json
import os
import re
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

from mute_system import Stopped, writer
from store_system import database, fill, may_mount
from world import ROOT, Stream, Tcp, World, check, equal, eventually, figure

sys.path.insert(0, os.path.join(ROOT, "tests", "chaos"))
from inject import Injector  # noqa: E402  tests/chaos is no package

SLOW = True
MONITORING = os.path.join(ROOT, "tools", "monitoring")
SOON = 30  # seconds from a fault to its alarm: the claim

# So that alarms of what has happened end within the test. What is not in the
# rules fails.
SHORTER = [("[5m]", "[20s]"), ("[1m]", "[20s]"), ("[30s]", "[20s]"), ("offset 5m", "offset 20s"),
           ("offset 1m", "offset 20s")]
ONE_WORKER = ["http.workers=1", "tcp.workers=1", "ws.workers=1", "process.sandbox=off",
              "process.canary_restart=5m"]


# ---- Prometheus --------------------------------------------------------------

class Prometheus:
    def __init__(self, targets):
        self.dir = tempfile.mkdtemp(prefix="tl-")
        with open(os.path.join(MONITORING, "touchline.rules.yml")) as f:
            rules = f.read()
        for long, short in SHORTER:
            check(long in rules, f"no {long} in the rules")
            rules = rules.replace(long, short)
        self.write("rules.yml", rules)
        self.write("prometheus.yml", json.dumps({
            "global": {"scrape_interval": "5s", "scrape_timeout": "4s",
                       "evaluation_interval": "5s"},
            "rule_files": ["rules.yml"],
            "scrape_configs": [{"job_name": "touchline",
                                "static_configs": [{"targets": targets}]}]}))
        with socket.create_server(("127.0.0.1", 0)) as s:
            self.port = s.getsockname()[1]
        self.log = open(os.path.join(self.dir, "log"), "w+")
        self.proc = subprocess.Popen(
            ["prometheus", f"--config.file={self.dir}/prometheus.yml",
             f"--storage.tsdb.path={self.dir}/data",
             f"--web.listen-address=127.0.0.1:{self.port}"],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL,
            env={**os.environ, "GOMAXPROCS": "1"})

    def write(self, name, text):
        with open(os.path.join(self.dir, name), "w") as f:
            f.write(text)

    def ask(self, path, **query):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?" + urllib.parse.urlencode(query)
        try:
            with urllib.request.urlopen(url, timeout=10) as f:
                return json.load(f)["data"]
        except OSError:
            check(self.proc.poll() is None, "prometheus ended")
            return None

    def scrapes(self):
        """How many there were of each target, by address."""
        got = self.ask("query", query="count_over_time(up[5m])") or {"result": []}
        return {r["metric"]["instance"]: int(r["value"][1]) for r in got["result"]}

    def firing(self):
        """{(alarm, address)}"""
        got = self.ask("alerts") or {"alerts": []}
        return {(a["labels"]["alertname"], a["labels"].get("instance"))
                for a in got["alerts"] if a["state"] == "firing"}

    def close(self):
        self.proc.terminate()
        self.proc.wait(20)
        self.log.close()
        shutil.rmtree(self.dir, ignore_errors=True)


# ---- faults -------------------------------------------------------------------
#
# Each is a generator: up to the first yield nothing is wrong, up to the second
# the fault is there, then it is healed.

def router_killed(w):
    yield
    w.kill("router")
    yield


def gateway_killed(w):
    yield
    w.kill("tcp")
    yield


def gateway_stopped(w):
    yield
    w.kill("ws", signal.SIGSTOP)
    yield
    w.kill("ws", signal.SIGCONT)


def router_stopped(w):
    yield
    w.kill("router", signal.SIGSTOP)
    yield
    w.kill("router", signal.SIGCONT)


def link_cut(w):
    yield
    w.kill("router", signal.SIGSTOP)
    eventually(lambda: w.log_tail(1 << 20).count("link.down") == 3, "the links are given up")
    w.kill("router", signal.SIGCONT)
    yield


def nng_hangs(w):
    """So it closes nothing; the links have to be cut for that to show."""
    yield
    rule = w.faults.rule("nng_close", process="tcp", act="hang")
    yield
    rule.off()


def gateway_of_the_figures_stopped(w):
    yield
    w.kill("http", signal.SIGSTOP)
    yield
    w.kill("http", signal.SIGCONT)


def supervisor_killed(w):
    yield
    w.proc.kill()
    w.proc.wait()
    w.proc.stdout.close()
    yield
    w.sets.append(f"http.listen=127.0.0.1:{w.address('http')[1]}")
    w.start()


def supervisor_stopped(w):
    yield
    w.proc.send_signal(signal.SIGSTOP)
    yield
    w.proc.send_signal(signal.SIGCONT)


def disk_full(w):
    yield
    fill(w, 100000)
    with w.client() as c:
        status, refused = 201, 0
        while refused < 20:
            answer = c.ask("POST", "/v1/publish/a", "b" * 60000).answer()
            refused += answer.status == 503
            check(answer.status in (201, 503), answer.body)
    yield
    os.unlink(os.path.join(w.dir, "filler"))
    eventually(lambda: w.publish("a", "again").status == 201, "stored again")


def disk_errors(w):
    yield
    rule = w.faults.rule("write sync", "wal db", error="EIO")
    equal(w.publish("a", "x").status, 503)
    yield
    rule.off()
    eventually(lambda: w.publish("a", "again").status == 201, "stored again")


def row_damaged(w):
    for n in range(10):
        equal(w.publish("a", f"message {n}").status, 201)
    w.sets.append(f"http.listen=127.0.0.1:{w.address('http')[1]}")
    w.stop()
    with database(w) as db:
        db.execute("UPDATE log SET data = CAST('MESSAGE 4' AS BLOB) WHERE offset = 5")
    w.start()
    yield
    check("damaged" in w.http("GET", "/v1/history/a?since=0").body.decode(), "it is seen")
    yield


def store_hangs(w):
    yield
    with Stopped(w.pids("router")[0], writer):
        yield


def files_used_up(w):
    yield
    clients = []
    with contextlib.suppress(OSError):
        for _ in range(200):
            clients.append(Tcp(w.address("tcp")))
    yield
    for c in clients:
        c.close()


def readers_do_not_read(w):
    yield
    readers = [Stream(w.address("http"), "/v1/stream?channel=a", room=4096) for _ in range(15)]
    eventually(lambda: w.publish("a", "b" * 60000).status == 201
               and w.metric("cut_total") == len(readers), "all are cut")
    yield
    for r in readers:
        r.close()


def clients_cut(w):
    clients = [Tcp(w.address("tcp")) for _ in range(80)]
    for c in clients:
        c.line()
    yield
    for c in clients:
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        c.close()
    yield


def storm_of_publications(w):
    yield
    with w.client() as c:
        for _ in range(150):
            c.ask("POST", "/v1/publish/a", "x").answer()
    yield


def clock_jumps(w):
    yield
    rule = w.faults.rule("clock", process="router http tcp ws", act="shift",
                         arg=86400 * 10 ** 9)
    equal(w.publish("a", "tomorrow").status, 201)
    yield
    rule.off()


def a_reader_is_cut(w):
    reader = Stream(w.address("http"), "/v1/stream?channel=a", room=4096)
    yield
    eventually(lambda: w.publish("a", "b" * 60000).status == 201
               and w.metric("cut_total") == 1, "it is cut")
    yield
    reader.close()


FEW_FILES = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)))

# Faults that do not meet may share a system: (faults with their alarms, what is set).
SYSTEMS = {
    "router killed": ([(router_killed, "TouchlineRestarted")], {}),
    "router stopped": ([(router_stopped, "TouchlineDown")], {}),
    "link": ([(nng_hangs, "TouchlineNngStuck"), (link_cut, "TouchlineLinkLost")],
             {"inject": True}),
    "gateways": ([(gateway_killed, "TouchlineRestarted"),
                  (gateway_stopped, "TouchlineGatewayMissing")], {}),
    "figures": ([(gateway_of_the_figures_stopped, "TouchlineDown")], {}),
    "supervisor killed": ([(supervisor_killed, "TouchlineSupervisorLost")], {}),
    "supervisor stopped": ([(supervisor_stopped, "TouchlineSupervisorLost")], {}),
    "errors of the disk": ([(disk_errors, "TouchlineStoreFailing")], {"inject": True}),
    "damage": ([(row_damaged, "TouchlineDamaged")], {}),
    "store": ([(store_hangs, "TouchlineStoreStuck"), (store_hangs, "TouchlineMute")], {}),
    "files": ([(files_used_up, "TouchlineFull")], {"before": FEW_FILES}),
    "clients": ([(readers_do_not_read, "TouchlineSlowReaders"),
                 (clients_cut, "TouchlinePeersVanish")], {"sets": ["limits.queue=4K"]}),
    # What raises none, as the runbook says.
    "clock": ([(clock_jumps, None)], {"inject": True}),
    "one reader": ([(a_reader_is_cut, None)], {"sets": ["limits.queue=4K"]}),
    "limits": ([(storm_of_publications, "TouchlineLimit")],
               {"sets": ["limits.publish_rate=1"]}),
}
DISK = {"disk": ([(disk_full, "TouchlineStoreFailing"), (disk_full, "TouchlineRefusing")], {})}


class System:
    """One of them, with its faults."""

    def __init__(self, name, faults, sets=(), before=None, inject=False):
        self.name, self.faults = name, faults
        injector = Injector() if inject else None
        self.w = World([*ONE_WORKER, *sets], start=False, before=before,
                       under=injector and injector.base, env=injector and injector.env)
        self.w.faults = injector
        self.mounted = name == "disk"
        if self.mounted:
            os.makedirs(self.w.dir)
            subprocess.check_call(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", self.w.dir])

    def start(self):
        self.w.start()
        self.runs = [fault(self.w) for fault in dict.fromkeys(f for f, _ in self.faults)]
        for run in self.runs:
            next(run)
        self.address = "{}:{}".format(*self.w.address("http"))

    def step(self):
        """The fault comes, or is healed; returns when that was done."""
        for run in self.runs:
            next(run, None)
        return time.monotonic()

    def alarms(self):
        return {(alarm, self.address) for _, alarm in self.faults if alarm}

    def close(self):
        for run in getattr(self, "runs", []):
            run.close()
        with contextlib.suppress(Exception):
            for kind in ("router", "http", "tcp", "ws"):
                if self.w.pids(kind):
                    self.w.kill(kind, signal.SIGCONT)
            if self.w.proc:
                self.w.proc.send_signal(signal.SIGCONT)
        self.w.close(keep=self.mounted)
        if self.mounted:
            subprocess.call(["umount", "-l", self.w.dir])
            shutil.rmtree(self.w.base, ignore_errors=True)


@contextlib.contextmanager
def running(systems):
    try:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(System.start, systems))
        yield
    finally:
        for s in systems:
            s.close()


def await_alarms(prometheus, wanted):
    """wanted: {(alarm, address): (its fault's name, when it came)}. Says how long
    each took."""
    left, took = dict(wanted), {}
    while left:
        firing = prometheus.firing()
        now = time.monotonic()
        for key in [k for k in left if k in firing]:
            fault, since = left.pop(key)
            took[f"{fault}: {key[0]}"] = now - since
        late = [k for k, (_, since) in left.items() if now - since > SOON]
        check(not late, f"not within {SOON} s: {[(left[k][0], k[0]) for k in late]}; "
              f"firing: {sorted(map(str, firing))}")
        select.select([], [], [], 0.1)
    figure("alarms after (s) " + ", ".join(f"{name} {s:.0f}" for name, s in sorted(took.items())))


def test_each_fault_raises_its_alarm_within_half_a_minute_and_no_longer_than_it_lasts():
    kinds = dict(SYSTEMS)
    if may_mount():
        kinds.update(DISK)
    else:
        print("     skipped: only root may mount a small disk, which is filled up")
    systems = [System(name, faults, **more) for name, (faults, more) in kinds.items()]
    with running(systems), contextlib.closing(
            Prometheus([s.address for s in systems])) as prometheus:
        eventually(lambda: len(n := prometheus.scrapes()) == len(systems)
                   and min(n.values()) >= 3, "all are scraped", 60)
        equal(prometheus.firing(), set(), "alarms before anything is wrong")
        wanted = {}
        for s in systems:
            since = s.step()
            wanted.update({key: (s.name, since) for key in s.alarms()})
        await_alarms(prometheus, wanted)
        quiet = {s.address for s in systems if not s.alarms()}
        equal({a for a in prometheus.firing() if a[1] in quiet}, set(), "what should raise none")
        for s in systems:
            s.step()
        eventually(lambda: not prometheus.firing(), "all is well", 90)


# ---- rules, runbook, figures: they belong together ------------------------------

def text_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def run(*command):
    p = subprocess.run(command, capture_output=True, text=True, cwd=MONITORING, timeout=60)
    check(p.returncode == 0, p.stdout + p.stderr)


def test_the_rules_are_rules_and_each_raises_its_alarm():
    run("promtool", "check", "rules", "touchline.rules.yml")
    run("promtool", "test", "rules", "touchline.test.yml")
    rules = text_of("tools/monitoring/touchline.rules.yml")
    tested = re.findall(r"name: (Touchline\w+)", text_of("tools/monitoring/touchline.test.yml"))
    equal(sorted(set(tested)), sorted(re.findall(r"alert: (\w+)", rules)), "rules with a test")


def test_each_alarm_has_its_row_in_the_runbook():
    rules = re.findall(r"- alert: (\w+)\n.*?severity: (\w+).*?runbook: (\S+)",
                       text_of("tools/monitoring/touchline.rules.yml"), re.S)
    rows = re.findall(r'^\| <a id="(\w+)"></a>`(\w+)` \|(.*)\|$', text_of("docs/runbook.md"), re.M)
    equal([name for name, _, _ in rules], [name for name, _, _ in rows])
    for name, _, at in rules:
        equal(at, f"docs/runbook.md#{name}")
    for name, again, cells in rows:
        equal(name, again)
        check(len([c for c in re.split(r"(?<!\\)\|", cells) if c.strip()]) == 5, cells)


def test_what_rules_and_dashboard_look_at_is_there():
    used = {}
    for name in ("touchline.rules.yml", "touchline.dashboard.json"):
        for metric in re.findall(r"\btouchline_(\w+)", text_of("tools/monitoring/" + name)):
            used.setdefault(metric, name)
    rows = re.findall(r'^\| <a id=.*?\|.*?\|(.*?)\|', text_of("docs/runbook.md"), re.M)
    explained = text_of("docs/operations.md")
    for metric, name in used.items():
        check(re.search(rf"`{metric}\b", explained), f"{name}: {metric} is in no table")
    with World() as w:
        eventually(lambda: w.metric("linked") >= 3, "all report")
        w.http("GET", "/nothing")

        def names_now():
            text = w.http("GET", "/metrics").body.decode()
            return set(re.findall(r"^touchline_(\w+)\{", text, re.M))

        # These two appear with their first time.
        names = eventually(lambda: {"refused_total", "closed_total"} <= (n := names_now()) and n,
                           "an error is counted")
    for metric, name in used.items():
        check(metric in names, f"{name}: nobody says {metric}")
    for metric in re.findall(r"`([a-z_]+)[`{]", "".join(rows)):
        check(metric in names | {"up", "no_pong"}, f"the runbook: nobody says {metric}")
    dashboard = json.loads(text_of("tools/monitoring/touchline.dashboard.json"))
    check(all(p["targets"] for p in dashboard["panels"]), "a panel without a question")
