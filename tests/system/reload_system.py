"""The configuration is read again while clients of all edges are connected: what
may change does so at once, what cannot is named, and nobody is closed."""
import json
import os
import select
import signal
import socket
import subprocess
import threading

import limits_system
from world import (BIN, DEADLINE, Failed, Lines, Stream, World, Ws, check, equal,
                   eventually, figure, full_size)

SECRET = "a-secret-of-the-reporter"
KINDS = ("router", "http", "tcp", "ws")
FIRST = f"""
[limits]
message = 8K
[token reporter]
secret = {SECRET}
publish = locked/
[token other]
secret = another-secret-of-two
publish = locked/
[namespace locked/]
publish = token
"""


def write(w, text):
    """As an editor does it: beside the file, and then in its place."""
    with open(w.config + ".new", "w") as f:
        f.write(text)
    os.rename(w.config + ".new", w.config)


def touchline(w, *args):
    p = subprocess.run([os.path.join(BIN, "touchline"), "--dir", w.dir, *args],
                       capture_output=True, timeout=DEADLINE)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def reload(w, text=None):
    """The lines of the answer; all processes follow."""
    if text is not None:
        write(w, text)
    code, out, err = touchline(w, "reload")
    equal((code, err), (0, ""), "touchline reload")
    return out.splitlines()


def log_has(w, *words):
    def found():
        return any(all(word in line for word in words)
                   for line in w.log_tail(1 << 20).splitlines())
    eventually(found, f"a line of the log with {words}")


def sse_message(stream):
    """The next one of an event stream; notices and comments skipped."""
    while True:
        event = stream.event()
        if "event" not in event and "data" in event:
            return json.loads(event["data"])


class Crowd:
    """One of each kind of reader of `news`, and one that may publish in
    locked/ on each edge that remembers it."""

    def __init__(self, w):
        self.w = w
        self.comet = w.stream("/test/news")
        self.comet.chunk()
        self.sse = w.stream("/v1/stream?channel=news", Accept="text/event-stream")
        self.sse.event()
        self.ndjson = w.stream("/v1/stream?channel=news")
        self.ndjson.item()
        self.telnet = w.telnet()
        self.telnet.send(b"AUTH " + SECRET.encode() + b"\r\nSUB news\r\n")
        self.telnet.until(b"OK AUTH")
        self.telnet.until(b"OK SUB news")
        self.telnet.line()
        self.ws = w.ws()
        self.ws.say(cmd="auth", token=SECRET, ref=1)
        check(self.ws.reply(1)["ok"], "auth")
        self.ws.say(cmd="subscribe", channel="news", ref=2)
        check(self.ws.reply(2)["ok"], "subscribed")
        self.raw = w.ws("/v1/raw?channel=news")
        self.poll = w.client()
        self.cursor = w.json("/v1/poll?channel=news")["cursor"]
        self.poll.ask("GET", f"/v1/poll?channel=news&since={self.cursor}&wait=60")
        eventually(lambda: w.json("/v1/presence/news")["count"] == 7, "all listen")

    def all_get(self, text):
        """One message, to everybody, on the connections there were."""
        self.w.publish("news", text)
        check(text.encode() in self.comet.chunk(), "comet")
        equal(sse_message(self.sse)["data"], text)
        equal(self.ndjson.message()["data"], text)
        self.telnet.until(text.encode() + b"\r\n")
        equal(self.ws.message()["data"], text)
        equal(self.raw.read()[1], text.encode())
        answer = self.poll.answer().json()
        equal([m["data"] for m in answer["messages"] if "data" in m], [text])
        self.poll.ask("GET", f"/v1/poll?channel=news&since={answer['cursor']}&wait=60")

    def telnet_publishes(self, channel):
        self.telnet.send(f"PUB {channel} x\r\n".encode())
        while True:
            line = self.telnet.line()
            if line.startswith((b"OK PUB", b"ERROR")):
                return line.split()[0] == b"OK"

    def ws_publishes(self, channel, data="x"):
        self.ws.say(cmd="publish", channel=channel, data=data, ref=9)
        return self.ws.reply(9)

    def close(self):
        for c in (self.comet, self.sse, self.ndjson, self.telnet, self.ws, self.raw, self.poll):
            c.close()


def test_a_reload_changes_what_it_may_and_closes_nobody():
    with World(config=FIRST) as w:
        crowd = Crowd(w)
        crowd.all_get("before")
        check(crowd.telnet_publishes("locked/a"), "the token opens it")
        check(crowd.ws_publishes("locked/a")["ok"], "the token opens it")
        equal(w.publish("room/a", "x" * 5000).status, 201)
        closed = w.metric("closed_total")
        lines = reload(w, f"""
[limits]
message = 4K
[http]
workers = 9
origins = www.example.org
[store]
readers = 1
[token other]
secret = another-secret-of-two
publish = locked/b
[namespace locked/]
publish = token
[namespace room/]
publish = nobody
[namespace quiet/]
history = 0
[log]
level = debug
""")
        equal(sorted(lines), sorted([
            "unchanged http.workers: with the next start of all",
            "changed http.origins: at once",
            "unchanged store.readers: with the next start of the process",
            "changed log.level: at once",
            "changed limits.message: at once",
            "unchanged namespace quiet/.history: with the next start of the process",
            "unchanged namespace quiet/.durability: with the next start of the process",
            "changed namespace room/.publish: at once",
            "changed token other.publish: at once",
            "changed token reporter.secret: at once",
            "changed token reporter.publish: at once"]))
        # Each on its own connection, from before.
        equal(w.publish("room/a", "x").code(), "publish.denied")
        equal(w.publish("news", "x" * 5000).status, 413)
        check(not crowd.telnet_publishes("locked/a"), "the token is gone")
        check(not crowd.telnet_publishes("room/a"), "nobody may")
        equal(crowd.ws_publishes("locked/a")["error"]["code"], "publish.denied")
        equal(crowd.ws_publishes("news", "x" * 5000)["error"]["code"], "message.big")
        other = {"Authorization": "Bearer another-secret-of-two"}
        equal(w.publish("locked/a", "x", **other).code(), "publish.denied")
        equal(w.publish("locked/b", "x", **other).status, 201)
        equal(w.http("POST", "/v1/publish/news", "x", {"Origin": "http://www.example.org"}).status,
              201)
        crowd.comet.chunk()
        equal(w.publish("quiet/a", "x").status, 201)
        equal(len(w.json("/v1/history/quiet/a")["messages"]), 1, "it is kept as before")
        log_has(w, "config.unchanged", 'key="http.workers"')
        log_has(w, "config.changed", 'key="limits.message"')
        log_has(w, "config.reloaded", "changed=7", "unchanged=4")
        check("another-secret" not in w.log_tail(1 << 20), "secrets are in no log")
        for kind in KINDS:
            eventually(lambda: any(
                'result="done"} 1' in line and f'gateway="{kind}' in line
                for line in w.http("GET", "/metrics").body.decode().split("\n")
                if line.startswith("touchline_reloads_total")), f"counted by {kind}")
        eventually(lambda: w.metric("tokens_lost_total") == 2, "two have lost it")
        equal(w.metric("closed_total", why="kicked"), 0)
        sse_message(crowd.sse)
        crowd.ndjson.message()
        crowd.ws.message()
        crowd.telnet.until(b"\r\n")
        crowd.raw.read()
        answer = crowd.poll.answer().json()
        crowd.poll.ask("GET", f"/v1/poll?channel=news&since={answer['cursor']}&wait=60")
        crowd.all_get("behind")
        check(closed <= w.metric("closed_total"), "counted")
        crowd.close()


def test_what_is_kept_follows_and_old_messages_go():
    with World(config="[namespace a/]\nhistory = 10\n") as w:
        for i in range(10):
            w.publish("a/1", str(i))
            w.publish("a/2", str(i))
        equal(reload(w, "[namespace a/]\nhistory = 3\n"),
              ["changed namespace a/.history: at once"])
        for name in ("a/1", "a/2"):
            eventually(lambda: [m["data"] for m in w.json(f"/v1/history/{name}")["messages"]
                                if "data" in m] == ["7", "8", "9"], f"{name} is cut")
        reload(w, "[namespace a/]\nhistory = 5\n")
        for i in range(10, 20):
            w.publish("a/1", str(i))
        eventually(lambda: len([m for m in w.json("/v1/history/a/1")["messages"]
                                if "data" in m]) == 5, "five are kept")


def test_a_file_with_an_error_changes_nothing():
    with World(config=FIRST) as w:
        crowd = Crowd(w)
        for text, why in ((FIRST + "[limits]\nmessage = many\n", "touchline.conf:13: "),
                          ("[limit]\nmessage = 4K\n", "touchline.conf:2: unknown section"),
                          (FIRST + "[limits]\nqueue = 64M\nqueue_total = 1M\n",
                           "limits.queue_total is smaller"), (None, "No such file")):
            if text is None:
                os.unlink(w.config)
            else:
                write(w, text)
            code, out, err = touchline(w, "reload")
            equal((code, out), (2 if text else 1, ""), err)
            check(why in err and err.endswith("nothing has changed\n"), err)
            log_has(w, "config.refused", why)
        equal(w.publish("news", "x" * 5000).status, 201)
        crowd.comet.chunk()
        check(crowd.ws_publishes("locked/a")["ok"], "the token is good")
        eventually(lambda: w.metric("reloads_total", result="refused") == 4 * 4, "counted")
        # Whoever is started again gets what is in force, not what is edited.
        for kind in ("tcp", "router"):
            before = w.pids(kind)
            w.kill(kind)
            eventually(lambda: w.pids(kind) not in ([], before), f"another {kind}")
        eventually(lambda: w.publish("other", "x" * 5000).status == 201, "the router is back")
        with eventually_telnet(w) as t:
            t.send(b"AUTH " + SECRET.encode() + b"\r\nPUB locked/a x\r\n")
            t.until(b"OK AUTH")
            t.until(b"OK PUB")
        equal(w.metric("restarts_total") >= 1, True)
        crowd.close()


def eventually_telnet(w):
    def ask():
        try:
            return w.telnet()
        except (OSError, Failed):
            return None
    return eventually(ask, "telnet answers")


def test_who_is_started_again_has_what_the_others_have():
    """Also of a key that only a start of all changes."""
    with World(sets=["tcp.workers=1"], config="[ws]\nworkers = 1\n") as w:
        reload(w, "[ws]\nworkers = 3\n[namespace x/]\npublish = nobody\n")
        before = w.pids("ws")
        w.kill("ws")
        eventually(lambda: w.pids("ws") not in ([], before), "another ws")

        def refused():
            try:
                ws = w.ws()
            except (OSError, Failed):
                return False
            ws.say(cmd="publish", channel="x/1", data="x", ref=1)
            return ws.reply(1).get("error", {}).get("code") == "publish.denied"
        eventually(refused, "the rule of the reload")
        eventually(lambda: [n for n in w.live() if n.startswith("ws")] == ["ws1"],
                   "one worker, as before")
        equal(reload(w), ["unchanged ws.workers: with the next start of all"])


def test_what_the_command_line_sets_stays_over_the_file():
    with World(sets=["limits.message=2K", "namespace room/.publish=nobody"],
               config="[limits]\nmessage = 8K\n") as w:
        equal(reload(w, "[limits]\nmessage = 16K\nline = 8K\n"
                        "[namespace room/]\npublish = anyone\n"),
              ["changed limits.line: at once"])
        equal(w.publish("a", "x" * 4000).status, 413)
        equal(w.publish("room/a", "x").status, 403)


def test_without_a_file_there_is_nothing_to_read():
    with World() as w:
        code, _, err = touchline(w, "reload")
        equal(code, 1)
        check("without --config" in err, err)
        equal(touchline(w, "reread")[0], 2)
        equal(touchline(w, "reload", "now")[0], 2)
        equal(w.publish("a", "x").status, 201)
        w.stop()
        code, _, err = touchline(w, "reload")
        equal(code, 3)
        check("no touchline answers" in err, err)
        equal(os.path.exists(os.path.join(w.dir, "touchline.sock")), False)


def test_pings_begin_and_end_and_addresses_get_a_limit():
    with World(config="[limits]\nping = 0\n") as w:
        ws = w.ws()
        others = [w.client() for _ in range(4)]
        for c in others:
            c.ask("GET", "/healthz").answer()
        reload(w, "[limits]\nping = 500ms\nconnections_per_address = 3\n")
        equal(ws.any_frame()[0], "ping")
        ws.frame("pong", b"")
        stream = w.stream("/v1/stream?channel=a", Accept="text/event-stream")
        stream.event()
        more = [w.client() for _ in range(2)]
        for c in more:
            equal(c.ask("GET", "/healthz").answer().status, 200)
        with w.client() as c:
            equal(c.ask("GET", "/healthz").answer().status, 503)
        for c in others:  # they came before
            equal(c.ask("GET", "/healthz").answer().status, 200)
            c.close()
        write(w, "[limits]\nping = 0\n")
        w.proc.send_signal(signal.SIGHUP)
        eventually(lambda: can_come(w), "the limit is gone")
        for c in (*more, stream, ws):
            c.close()


def can_come(w):
    with w.client() as c:
        try:
            return c.ask("GET", "/healthz").answer().status == 200
        except (OSError, Failed):
            return False


def test_deflate_is_offered_once_it_is_on():
    with World(config="[ws]\ndeflate = off\n") as w:
        offer = {"Sec_WebSocket_Extensions": "permessage-deflate"}
        with w.ws(**offer) as early:
            check("permessage-deflate" not in early.head, early.head)
            equal(reload(w, "[ws]\ndeflate = on\n"),
                  ["changed ws.deflate: for new connections"])
            with w.ws(welcome=False, **offer) as late:
                check("permessage-deflate" in late.head, late.head)
                late.any_frame()
            early.say(cmd="ping", ref=1)
            check(early.reply(1)["ok"], "the early one goes on")


def test_without_shared_memory_each_process_reads_the_file():
    with World(config="[limits]\nmessage = 8K\n", before=limits_system.without_shared_memory) as w:
        log_has(w, "config.sheet")
        write(w, "[limits]\nmessage = 2K\n[http]\nworkers = 7\n")
        code, _, err = touchline(w, "reload")
        equal(code, 1)
        check("by itself" in err, err)
        eventually(lambda: w.publish("a", "x" * 4000).status == 413, "they follow")
        log_has(w, "http1 config.unchanged", 'key="http.workers"')
        log_has(w, "router config.reloaded", "changed=1")


def test_whatever_ends_a_reload_its_reason_is_said():
    """By supervisors that are none: one that says only a code, one that goes."""
    for says, wanted in ((b"exit 1\n", "has not said why"), (b"", "before it had answered"),
                         (b"a reason\nexit 1\n", "a reason\n")):
        with World(start=False) as w, socket.socket(socket.AF_UNIX) as s:
            os.makedirs(w.dir, exist_ok=True)
            s.bind(os.path.join(w.dir, "touchline.sock"))
            s.listen()

            def answer():
                with s.accept()[0] as asker:
                    asker.send(says)
            t = threading.Thread(target=answer)
            t.start()
            code, out, err = touchline(w, "reload")
            t.join()
            equal((code, out), (1, ""))
            check(wanted in err, err)


# ---- alone -----------------------------------------------------------------

class Alone:
    """Router and one gateway, started by nobody's supervisor."""

    def __init__(self, config):
        self.w = World(config=config, start=False)
        self.procs = []

    def start(self, binary, *more):
        w = self.w
        with open(w.log, "ab") as err:
            p = subprocess.Popen(w.args(binary, *more), stdout=subprocess.PIPE, stderr=err,
                                 stdin=subprocess.DEVNULL)
        self.procs.append(p)
        line = Lines(p.stdout, lambda n: os.read(p.stdout.fileno(), n)).line().decode().split()
        equal(line[0], "ready")
        w.urls[line[1]] = line[2]
        return p

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for p in reversed(self.procs):
            p.terminate()
            p.wait(DEADLINE)
            p.stdout.close()
        self.w.close()


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


def test_a_process_that_runs_alone_reads_it_again_in_its_cage():
    with Alone(FIRST) as a:
        w = a.w
        router = a.start("touchline-router")
        http = a.start("touchline-http")
        keepers = [p for proc in (router, http) for p in children(proc.pid)]
        equal(len(keepers), 2, "one that reads for each")
        with w.stream("/v1/stream?channel=news", Accept="text/event-stream") as sse:
            sse.event()
            write(w, FIRST.replace("8K", "4K") + "[http]\nworkers = 3\n[store]\nreaders = 1\n"
                  "[namespace room/]\npublish = nobody\n[namespace news]\nhistory = 2\n")
            for p in (router, http):
                p.send_signal(signal.SIGHUP)
            eventually(lambda: w.publish("room/a", "x").status == 403, "the rule is in force")
            eventually(lambda: w.publish("a", "x" * 5000).status == 413, "the limit, too")
            for i in range(4):
                equal(w.publish("news", str(i)).status, 201)
                equal(sse_message(sse)["data"], str(i))
            eventually(lambda: len([m for m in w.json("/v1/history/news")["messages"]
                                    if "data" in m]) == 2, "the router follows")
            log_has(w, "http1 config.unchanged", 'key="http.workers"')
            log_has(w, "router config.unchanged", 'key="store.readers"')
            log_has(w, "router config.reloaded", "changed=2", "unchanged=1")
            check("http1 config.unchanged key=\"store.readers\"" not in w.log_tail(1 << 20),
                  "each names what it reads")
            write(w, "[nonsense\n")
            http.send_signal(signal.SIGHUP)
            log_has(w, "http1 config.refused", "touchline.conf:1: ")
            os.unlink(w.config)
            http.send_signal(signal.SIGHUP)
            log_has(w, "http1 config.refused", "No such file")
            equal(w.publish("room/a", "x").status, 403)
            eventually(lambda: w.metric("reloads_total", result="refused") == 2, "counted")
            w.publish("news", "still there")
            equal(sse_message(sse)["data"], "still there")
        fds = [os.pidfd_open(p) for p in keepers]
        http.kill()
        router.terminate()
        for fd in fds:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            check(poll.poll(DEADLINE * 1000), "they end with those they read for")
            os.close(fd)


# ---- under load ------------------------------------------------------------

class Reader(threading.Thread):
    """Notes each offset of `load`; ends with the message `end`."""

    def __init__(self, name, next_message):
        super().__init__(daemon=True)
        self.reader, self.next = name, next_message
        self.offsets, self.error = [], None

    def run(self):
        try:
            while True:
                offset, data = self.next()
                self.offsets.append(offset)
                if data == "end":
                    return
        except Exception as e:  # pylint: disable=broad-except
            self.error = e


def json_reader(message, c):
    def next_message():
        m = message(c)
        return m["offset"], m["data"]
    return next_message


def telnet_reader(t):
    """Offsets are counted: a line says the cursor alone."""
    count = [0]

    def next_message():
        while True:
            line = t.line().decode()
            check(not line.startswith("NOTICE gap"), line)
            if line.startswith("load "):
                count[0] += 1
                return count[0], line.rsplit(": ", 1)[1].strip()
    return next_message


def test_many_reloads_under_load_lose_and_close_nothing():
    """Dense offsets on each edge, with every answer to who publishes."""
    times = 300 if full_size() else 50
    with World(config="# nothing yet\n") as w:
        write_even = "[namespace load]\nhistory = 100\n[limits]\nping = 1s\nqueue = 2M\n"
        write_odd = ("[namespace load]\nhistory = 1000\ndurability = power\n[limits]\n"
                     "ping = 25s\nring_total = 1M\n[token t]\nsecret = 0123456789abcdef\n"
                     "[log]\nlevel = debug\n")
        readers, clients = [], []
        for kind in ("sse", "ndjson", "ws", "telnet"):
            for n in range(3):
                if kind == "telnet":
                    c = w.telnet()
                    c.send(b"SUB load\r\n")
                    c.until(b"OK SUB load")
                    c.line()
                    readers.append(Reader(f"telnet {n}", telnet_reader(c)))
                elif kind == "ws":
                    c = w.ws("/v1/ws?channel=load")
                    readers.append(Reader(f"ws {n}", json_reader(Ws.message, c)))
                else:
                    c = w.stream("/v1/stream?channel=load",
                                 **({"Accept": "text/event-stream"} if kind == "sse" else {}))
                    readers.append(Reader(f"{kind} {n}", json_reader(
                        sse_message if kind == "sse" else Stream.message, c)))
                clients.append(c)
        eventually(lambda: w.json("/v1/presence/load")["count"] == 12, "all listen")
        for r in readers:
            r.start()
        done = threading.Event()
        sent = []

        def publish():
            with w.client() as c:
                while not done.is_set():
                    answer = c.ask("POST", "/v1/publish/load", "x" * 100).answer()
                    equal(answer.status, 201)
                    sent.append(answer.json()["offset"])
                sent.append(c.ask("POST", "/v1/publish/load", "end",
                                  Content_Type="text/plain").answer().json()["offset"])
        publisher = threading.Thread(target=publish, daemon=True)
        publisher.start()
        try:
            for i in range(times):
                reload(w, write_odd if i % 2 else write_even)
        finally:
            done.set()
        publisher.join(DEADLINE)
        for r in readers:
            r.join(DEADLINE)
        equal(sent, list(range(1, len(sent) + 1)), "each was answered")
        for r in readers:
            check(r.error is None, f"{r.reader}: {r.error!r}")
            equal(r.offsets, sent, r.reader)
        eventually(lambda: w.metric("reloads_total", result="done") == 4 * times, "all counted")
        figure(f"{times} reloads, {len(sent)} messages to {len(readers)} readers of three edges")
        for c in clients:
            c.close()


def test_a_supervisor_that_stands_still_is_not_waited_for():
    with World(config=FIRST) as w:
        w.proc.send_signal(signal.SIGSTOP)
        code, _, err = touchline(w, "reload")
        equal(code, 1)
        check(f"pid {w.proc.pid}) stands still" in err
              and f"kill -CONT {w.proc.pid}" in err, err)
        w.proc.send_signal(signal.SIGCONT)
        eventually(lambda: touchline(w, "reload")[0] == 0, "it goes on")
