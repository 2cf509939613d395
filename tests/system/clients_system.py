"""The programs of docs/clients.md, as they stand there, against real processes:
each task in each language, over gateways that are killed and answers that are
lost. The first line of a program says how it is run."""
import contextlib
import functools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading

from docs_system import blocks
from npm_package import place
from page_system import happen, make_match, ready
from world import DEADLINE, ROOT, Lines, World, check, equal, eventually

SLOW = True
LANGUAGES = {"curl": "curl", "python": "python3", "node": "node", "go": "go", "shell": "bash"}
TASKS = ("publish", "subscribe", "resume", "history", "presence", "chat", "goal")
HTTP = ("curl", "python", "node", "go")
TOKEN = "a-secret-of-enough-bytes"
MATCHES = f"[namespace match/]\npublish = token\n\n[token desk]\nsecret = {TOKEN}\npublish = match/\n"


class Lossy:
    """A wire to the HTTP gateway: the answer to each of the first so many
    requests is read, and lost with the connection."""

    def __init__(self, world, lost):
        self.world, self.lost, self.asked = world, lost, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                self.asked += 1
                threading.Thread(target=self._pass_on, daemon=True,
                                 args=(client, self.asked <= self.lost)).start()

    def _pass_on(self, client, lose):
        with client, contextlib.suppress(OSError), \
                socket.create_connection(self.world.address("http")) as server:
            if not lose:
                threading.Thread(target=self._copy, args=(client, server), daemon=True).start()
                self._copy(server, client)
                return
            request = b""
            while not whole(request):
                request += client.recv(65536)
            server.sendall(request)
            server.recv(65536)

    @staticmethod
    def _copy(one, other):
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)

    def close(self):
        self.listener.close()


def whole(request):
    head, found, body = request.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return found and len(body) >= (int(length[1]) if length else 0)


class Program(Lines):
    """One that runs; its lines are both of its outputs."""

    def __init__(self, args, folder, env):
        self.proc = subprocess.Popen(args, cwd=folder, env=env, stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                     start_new_session=True)
        super().__init__(self.proc.stdout, lambda n: os.read(self.proc.stdout.fileno(), n))

    def type(self, text):
        self.proc.stdin.write(text.encode() + b"\n")
        self.proc.stdin.flush()

    def said(self, texts):
        """Waits for lines with these texts, in this order, and no other message
        among them, nor one of before."""
        known = map(re.escape, sorted(texts, key=len, reverse=True))
        some = re.compile(rf"\b(?:{'|'.join(known)}|m\d+)\b")
        for text in texts:
            found = []
            while not found:
                found = some.findall(line := self.line().decode())
            equal(found, [text], line)

    def signal(self, signo):
        """To all of its session: a shell's jobs are groups of their own."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.getsid(int(pid)) == self.proc.pid:
                    os.kill(int(pid), signo)

    def misses(self, world, kind, channel, *texts):
        """This is said while its gateway dies and it cannot come back."""
        self.signal(signal.SIGSTOP)
        world.kill(kind)
        publish(world, channel, *texts)
        self.signal(signal.SIGCONT)

    def close(self):
        self.signal(signal.SIGKILL)
        self.proc.wait()
        self.proc.stdin.close()
        self.proc.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Clients:
    """The programs of one language in a folder, at this World."""

    def __init__(self, world, language, http=None):
        self.world, self.language = world, language
        self.env = {**os.environ, "LC_ALL": "C.UTF-8", "HOME": world.base}
        self.folder = os.path.join(world.base, "programs")
        if language == "node":
            self.folder = place(world.base)
        os.makedirs(self.folder, exist_ok=True)
        host, port = world.address("tcp")
        names = {"127.0.0.1:8000": http or "%s:%d" % world.address("http"),
                 "127.0.0.1/9999": f"{host}/{port}", "127.0.0.1 9999": f"{host} {port}"}
        self.usage = {}
        for name, text in programs(language):
            for theirs, ours in names.items():
                text = text.replace(theirs, ours)
            with open(os.path.join(self.folder, name), "w") as f:
                f.write(text)
            self.usage[name.partition(".")[0]] = re.match(r"(?:#|//) ([^A-Z\n]*)", text)

    def args(self, task):
        words = self.usage[task][1].split()
        if words[:2] != ["go", "run"]:
            return words
        # A signal for `go run` does not reach what it runs.
        binary = os.path.join(self.folder, task)
        if not os.path.exists(binary):
            p = subprocess.run(["go", "build", "-o", binary, *words[2:]], cwd=self.folder,
                               env={**self.env, "GO111MODULE": "off", "GOFLAGS": "",
                                    "GOCACHE": os.path.join(ROOT, "build", "go-cache")},
                               capture_output=True, timeout=10 * DEADLINE)
            check(p.returncode == 0, p.stderr.decode())
        return [binary]

    def start(self, task, *args):
        return Program([*self.args(task), *args], self.folder, self.env)

    def run(self, task, *args, ok=True, **env):
        """What it printed; ok: it must end with 0, else with something else."""
        p = subprocess.run([*self.args(task), *args], cwd=self.folder, env={**self.env, **env},
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, timeout=3 * DEADLINE)
        text = p.stdout.decode()
        check((p.returncode == 0) == ok, f"{task}: exit {p.returncode}\n{text}")
        return text


def programs(language):
    """[(name, text)] of the document."""
    for b in blocks("docs/clients.md"):
        name = re.match(r"file=(\w+)/(\S+)", b.note)
        if name and name[1] == language:
            yield name[2], b.text()


def kept(w, channel):
    return [m["data"] for m in w.json("/v1/history/" + channel)["messages"]]


def publish(w, channel, *texts):
    for text in texts:
        def taken():
            with contextlib.suppress(OSError):
                return w.publish(channel, text.encode(), Idempotency_Key=text,
                                 Touchline_From="bo").status in (200, 201)
            return False
        eventually(taken, f"published {text}")


def listened_to(w, channel, times=1):
    def there():
        with contextlib.suppress(OSError):
            return w.json("/v1/presence/" + channel)["count"] >= times
        return False
    eventually(there, f"somebody listens to {channel}")


def numbered(first, last):
    return [f"m{n}" for n in range(first, last + 1)]


# ---- the tasks

def a_publication(language):
    with World() as w:
        wire = Lossy(w, 2)
        clients = Clients(w, language, wire.address)
        clients.run("publish", "news/a", "it's 5 < 6 & \"so\" é")
        equal(kept(w, "news/a"), ["it's 5 < 6 & \"so\" é"], "stored once")
        if language in HTTP:
            check(wire.asked > 2, f"{wire.asked} requests: no answer was lost")
        before = wire.asked
        said = clients.run("publish", "bad//id", "x", ok=False)
        check("channel.bad" in said, said)
        if language in HTTP:
            equal(wire.asked - before, 1, "a refusal is not tried again")
        if language == "shell":
            nc(clients)


def nc(clients):
    if not shutil.which("nc"):
        print("     there is no nc here: shell/nc.sh of docs/clients.md is not tested")
        return
    clients.run("nc", "news/b", "hello")
    equal(kept(clients.world, "news/b"), ["hello"])
    clients.run("nc", "bad//id", "hello", ok=False)


def a_subscription(language):
    with World() as w:
        clients = Clients(w, language)
        with clients.start("subscribe", "news/a") as program:
            listened_to(w, "news/a")
            publish(w, "news/a", *numbered(1, 5))
            program.said(numbered(1, 5))
            program.misses(w, "tcp" if language == "shell" else "http", "news/a",
                           *numbered(6, 9))
            if language in ("curl", "shell"):
                check(program.proc.wait(DEADLINE) != 0, "it says that it ended")
            else:
                program.said(numbered(6, 9))
        check("channel.bad" in clients.run("subscribe", "bad//id", ok=False), "refused")


def a_break(language):
    with World() as w:
        clients = Clients(w, language)
        file = os.path.join(w.base, "cursor")
        edge = "tcp" if language == "shell" else "http"

        def reached(channel="news/a"):
            newest = w.json("/v1/history/" + channel)["cursor"]
            def there():
                with contextlib.suppress(OSError), open(file) as f:
                    return f.read().strip() == newest
                return False
            eventually(there, "the cursor is kept")

        publish(w, "news/a", *numbered(1, 4))
        with clients.start("resume", "news/a", file) as program:
            program.said(numbered(1, 4))
            program.misses(w, edge, "news/a", *numbered(5, 70))
            program.said(numbered(5, 70))
            reached()
        publish(w, "news/a", *numbered(71, 75))     # while nobody runs
        with clients.start("resume", "news/a", file) as program:
            program.said(numbered(71, 75))
            w.kill("router")
            publish(w, "news/a", *numbered(76, 80))
            program.said(numbered(76, 80))
            reached()
        with clients.start("resume", "news/a", file) as program:
            listened_to(w, "news/a")
            publish(w, "news/a", "last")
            program.said(["last"])
        os.remove(file)
        check("channel.bad" in clients.run("resume", "bad//id", file, ok=False), "refused")


def a_history(language):
    with World(["namespace news/.history=10K"]) as w:
        clients = Clients(w, language, Lossy(w, 1).address)
        publish(w, "news/a", *numbered(1, 30))
        said = clients.run("history", "news/a", "7")
        equal(re.findall(r"\bm\d+\b", said), numbered(24, 30), said)
        if language == "python":
            batches(w, 1500)
            said = clients.run("history", "news/long", "1400")
            equal(re.findall(r"\bn\d+\b", said), [f"n{n}" for n in range(101, 1501)])
        check("channel.bad" in clients.run("history", "bad//id", "7", ok=False), "refused")


def batches(w, count):
    for first in range(1, count + 1, 250):
        body = [{"channel": "news/long", "data": f"n{n}"} for n in range(first, first + 250)]
        equal(w.http("POST", "/v1/publish", json.dumps(body),
                     {"Content-Type": "application/json"}).status, 201)


def a_presence(language):
    with World() as w, w.stream("/v1/stream?channel=room/a&name=ana") as ana, \
            w.stream("/v1/stream?channel=room/a&name=ana"), \
            w.stream("/v1/stream?channel=room/a") as nobody:
        clients = Clients(w, language, Lossy(w, 1).address)
        for stream in (ana, nobody):
            stream.item()
        listened_to(w, "room/a", 3)
        said = clients.run("presence", "room/a")
        check(re.search(r"^ana 2$", said, re.M) and re.search(r"^anon 1$", said, re.M), said)
        if language in HTTP:
            check(re.search(r"^3 here$", said, re.M), said)
        check("channel.bad" in clients.run("presence", "bad//id", ok=False), "refused")


def a_chat(language):
    with World() as w:
        clients = Clients(w, language)
        with clients.start("chat", "lobby", "ana") as program:
            eventually(lambda: [n for n in w.json("/v1/presence/room/lobby")["names"]
                                if n["name"] == "ana"], "she is there")
            # What is said before that, she has of the snapshot.
            eventually(lambda: w.metric("starts_total") >= 1, "she hears what is new")
            publish(w, "room/lobby", "m1")
            program.said(["bo: m1"])
            program.type("hello all")
            program.said(["ana: hello all"])
            edge = "tcp" if language == "shell" else "http"
            program.misses(w, edge, "room/lobby", "m2")
            program.said(["bo: m2"])
            program.type("still here")
            program.said(["ana: still here"])
            equal([(m["from"], m["data"]) for m in w.json("/v1/history/room/lobby")["messages"]],
                  [("bo", "m1"), ("ana", "hello all"), ("bo", "m2"), ("ana", "still here")])


def a_goal(language):
    with World(config=MATCHES) as w:
        # Teams may be written from here; the match's own log only with the token.
        match = with_token(w)
        token = os.path.join(w.base, "token")
        with open(token, "w") as f:
            f.write(TOKEN + "\n")
        wire = Lossy(w, 1)
        clients = Clients(w, language, wire.address)
        clients.run("goal", match, "elp", "7", "45+1", TOKEN_FILE=token)
        state = w.json("/v1/matches/" + match)
        equal((state["home_score"], state["visit_score"]), (1, 0), "counted once")
        event = w.json(f"/v1/matches/{match}/events")["messages"][-1]
        equal(event["data"], {"player": {"7": "Luna"}, "team": "elp", "minute": "45+1"})
        if language in HTTP:
            check(wire.asked > 1, "no answer was lost")
        said = clients.run("goal", match, "elp", "8", "50", ok=False, TOKEN_FILE=token)
        check("not on the pitch" in said, said)
        said = clients.run("goal", match, "elp", "7", "50", ok=False)
        check("publish.denied" in said or "with a token" in said, said)
        equal(w.json("/v1/matches/" + match)["home_score"], 1)


def with_token(w):
    def ask(method, target, body):
        a = w.http(method, target, json.dumps(body), {
            "Content-Type": "application/json", "Authorization": "Bearer " + TOKEN})
        check(a.status in (200, 201), f"{target}: {a.status} {a.body!r}")
        return a.json()
    for team, name in (("elp", "El Porvenir"), ("tig", "Tigre")):
        w.ctl("publish", "team/" + team, json.dumps({"name": name, "division": "One"}),
              "--format", "json")
    match = ask("POST", "/v1/matches", {"home": "elp", "visit": "tig",
                                        "start_time": "2011-09-13"})["id"]
    ask("POST", f"/v1/matches/{match}/events",
        {"kind": "start", "data": {"home_players": [[7, "Luna"]]}})
    return match


STORIES = {"publish": a_publication, "subscribe": a_subscription, "resume": a_break,
           "history": a_history, "presence": a_presence, "chat": a_chat, "goal": a_goal}


def where_it_is_installed(task, language):
    if not shutil.which(LANGUAGES[language]):
        print(f"     there is no {LANGUAGES[language]} here: {language} of docs/clients.md, "
              f"{task}, is NOT TESTED", flush=True)
        return
    STORIES[task](language)


for _task in TASKS:
    for _language in LANGUAGES:
        globals()[f"test_{_task}_with_{_language}"] = functools.partial(
            where_it_is_installed, _task, _language)


def test_each_task_is_shown_in_each_language():
    found = {f"{language}/{name.partition('.')[0]}" for language in LANGUAGES
             for name, _ in programs(language)}
    equal(sorted(f"{language}/{task}" for task in TASKS for language in LANGUAGES
                 if f"{language}/{task}" not in found), [], "missing")


def test_a_lost_answer_is_lost_after_the_work_was_done():
    """What the tests of publishing rest on."""
    with World() as w:
        wire = Lossy(w, 1)
        host, port = wire.address.split(":")
        with socket.create_connection((host, int(port))) as s:
            s.sendall(b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
                      b"Content-Length: 2\r\n\r\nhi")
            equal(s.recv(100), b"")
        equal(kept(w, "a"), ["hi"])
