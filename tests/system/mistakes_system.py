"""Mistakes that people make, and what they are told: each answer stands on standard
error in a line or two, with the right exit code, and names what is to be done.

docs/mistakes.md is these answers. `python3 tests/system/mistakes_system.py` writes it;
the tests fail when it says something else."""
import contextlib
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile

from world import BIN, DEADLINE, ROOT, World, check, equal, eventually, unshare

# A line of a service's log, which stands around its last word.
LOG = re.compile(r"\w+ \w+ \S+\[\d+\]|\d{4}-\d\d-\d\dT\S+ (error|warn|info|debug) ")
DOCUMENT = os.path.join(ROOT, "docs", "mistakes.md")
SAMPLE = os.path.join(ROOT, "tools/samples/worldcup-2022-final.json")
NEXT = os.path.join(ROOT, "build", "next", "bin")
DONE, FAILED, USAGE, NO_ROUTER, NOT_FOUND, REFUSED = range(6)
NOBODY = 65534
TOKEN = "a-secret-of-16-bytes-or-more"
# Who asks on behalf of a test sees a terminal nowhere.
QUIET = {k: v for k, v in os.environ.items() if k != "TOUCHLINE_ROUTER"}


class Place:
    """A directory in which somebody works: ./var is the router's."""

    def __init__(self, base, world=None):
        self.base, self.w = base, world
        self.words = [(os.path.realpath(base), "/home/you"), (base, "/home/you"),
                      (BIN + "/", ""), (NEXT + "/", ""), (SAMPLE, "final.json"),
                      ("/run/user/0", "/home/you")]
        if world:
            for kind, port in (("http", 8000), ("tcp", 9999), ("ws", 8001)):
                self.words.append((":%d" % world.address(kind)[1], f":{port}"))

    def file(self, name, text, mode=0o644):
        path = os.path.join(self.base, name)
        with open(path, "wb" if isinstance(text, bytes) else "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def plain(self, text):
        """As it would be anywhere: no path, port or number of this run."""
        for theirs, ours in self.words:
            text = text.replace(theirs, ours)
        text = re.sub(r"\b[a-z0-9]{10}-(\d+)\b", r"x7k2p9qa41-\1", text)
        text = re.sub(r"\b(pid|process) \d+", r"\1 4711", text)
        # Versions go on; the page need not.
        text = re.sub(r"(knows only up to) \d+", r"\1 3", text)
        text = re.sub(r"(link version) \d+", r"\1 9", text)
        return re.sub(r"(this router|router speaks version) \d+", r"\1 8", text)

    def run(self, line, who=None, under=(), programs=BIN):
        """A line of a shell: its exit code, and what it says. who: a user; under: words
        in front."""
        def become():
            if who is not None:
                os.setgroups([])
                os.setgid(who)
                os.setuid(who)

        env = {**QUIET, "PATH": programs + ":" + os.environ["PATH"], "LC_ALL": "C",
               "HOME": self.base}
        p = subprocess.run([*under, "bash", "-c", line], stdin=subprocess.DEVNULL, cwd=self.base,
                           env=env, capture_output=True, timeout=DEADLINE, preexec_fn=become)
        return p.returncode, p.stdout.decode(), p.stderr.decode()


class Mistake:
    """title: what was done; cure: what the answer must say; code: its exit code;
    answered: on standard output, for it is somebody else's program who asks."""

    def __init__(self, act, title, shown, code, cure, router, answered):
        self.act, self.title, self.shown, self.code, self.cure = act, title, shown, code, cure
        self.router, self.answered = router, answered

    def answer(self, place):
        """The lines that one reads; what is wrong with them is a Failed."""
        code, out, err = self.act(place)
        said, rest = (out, err) if self.answered else (err, out)
        lines = [x for x in place.plain(said).splitlines() if not LOG.match(x)]
        text = "\n".join(lines)
        where = f"{self.title}: {place.plain(said)}"
        equal((code, rest), (self.code, ""), where)
        check(0 < len(lines) <= 2, f"one or two lines: {where}")
        check(self.cure in text, f"it does not name its cure ({self.cure}): {where}")
        check("\033" not in text, f"no colour: {where}")
        return lines

    def section(self, number, lines):
        return "\n".join([f"## {number}. {self.title}", "", "```text", f"$ {self.shown}",
                          *lines, f"(exit code {self.code})", "```", ""])


MISTAKES = []
ROOT_ONLY = ("A user that there is not",)
CONFIG = f"""
[namespace news/]
publish = token
[namespace post/]
publish = token
[namespace board/]
publish = nobody
[token ana]
secret = {TOKEN}
publish = news/
"""


def mistake(title, shown, code, cure, router=False, answered=False):
    def keep(act):
        MISTAKES.append(Mistake(act or (lambda p: p.run(shown)), title, shown, code, cure,
                                router, answered))
        return act
    return keep


def plain_mistake(*args, **more):
    """The line alone is all of it."""
    mistake(*args, **more)(None)


# ---- the configuration ----------------------------------------------------------

plain_mistake("A typo in a key", "touchline --set http.lisen=127.0.0.1:8000", USAGE,
              "did you mean listen")


@mistake("A typo in a section", "touchline --config touchline.conf", USAGE, "did you mean http")
def typo_in_a_section(place):
    place.file("touchline.conf", "[htpp]\nlisten = 127.0.0.1:8000\n")
    return place.run("touchline --config touchline.conf")


plain_mistake("A value out of range", "touchline --set limits.message=5M", USAGE, "1M")
plain_mistake("A value with a unit that there is not", "touchline --set limits.ping=25sec", USAGE,
              "25s")
plain_mistake("A word that is none of those", "touchline --set log.level=verbose", USAGE, "debug")
plain_mistake("No such file of a configuration", "touchline --config touchlin.conf", FAILED,
              "--print-config")


@mistake("A configuration that one may not read", "touchline --config touchline.conf", FAILED,
         "chmod")
def unreadable(place):
    place.file("touchline.conf", "", 0o600 if os.getuid() == 0 else 0)
    os.chmod(place.base, 0o755)
    return place.run("touchline --config touchline.conf",
                     who=NOBODY if os.getuid() == 0 else None)


plain_mistake("A typo in an option", "touchline --confg touchline.conf", USAGE,
              "did you mean --config")
plain_mistake("A typo in what the supervisor is to do", "touchline relaod", USAGE,
              "did you mean reload")
plain_mistake("Reload where none runs", "touchline --dir var reload", NO_ROUTER, "--dir")

# ---- a start ------------------------------------------------------------------


@mistake("The port is taken", "touchline --set http.listen=127.0.0.1:8000", FAILED,
         "http.listen")
def port_taken(place):
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
        place.words.append((f":{port}", ":8000"))
        return place.run(f"touchline --set http.listen=127.0.0.1:{port}")


def port_taken_alone(edge, port):
    """Of a gateway that is started without the others."""
    command = f"touchline-{edge} --set {edge}.listen=127.0.0.1:"

    @mistake(f"The port is taken, {edge} alone", command + str(port), FAILED, edge + ".listen")
    def _(place):
        with socket.create_server(("127.0.0.1", 0)) as s:
            taken = s.getsockname()[1]
            place.words.append((f":{taken}", f":{port}"))
            return place.run(command + str(taken))


for gateway in (("http", 8000), ("tcp", 9999), ("ws", 8001)):
    port_taken_alone(*gateway)


@mistake("An address that this machine has not", "touchline --set http.listen=192.0.2.1:8000",
         FAILED, "http.listen")
def strange_address(place):
    return place.run("touchline --set http.listen=192.0.2.1:8000")


@mistake("No rights on the directory", "touchline --dir /var/lib/touchline", FAILED, "--dir")
def no_rights(place):
    os.chmod(place.base, 0o755)
    os.mkdir(os.path.join(place.base, "lib"), 0o500 if os.getuid() else 0o755)
    place.words.insert(0, (os.path.join(place.base, "lib/touchline"), "/var/lib/touchline"))
    return place.run("touchline --dir lib/touchline", who=NOBODY if os.getuid() == 0 else None)


@mistake("The directory is a file", "touchline --dir notes.txt", FAILED, "--dir")
def directory_is_a_file(place):
    place.file("notes.txt", "not a directory")
    return place.run("touchline --dir notes.txt")


@mistake("A socket whose path is too long", "touchline --set http.listen=unix:/srv/.../http",
         USAGE, "107")
def long_path(place):
    place.words.append(("d" * 110, "..."))
    return place.run(f"touchline --set http.listen=unix:/srv/{'d' * 110}/http")


plain_mistake("A user that there is not", "touchline --set process.user=tuchline", FAILED,
              "process.user")


@mistake("Too few files per process", "(ulimit -n 20; touchline)", FAILED, "ulimit -n")
def few_files(place):
    return place.run("ulimit -n 20; touchline --set http.listen=127.0.0.1:0 "
                     "--set tcp.listen=127.0.0.1:0 --set ws.listen=127.0.0.1:0")


@mistake("The disk is full", "touchline-router --dir disk/var", FAILED, "free")
def full_disk(place):
    words = unshare("--mount")
    check(words, "this machine lets nobody mount")
    os.mkdir(os.path.join(place.base, "disk"))
    return place.run("mount -t tmpfs -o size=32k none disk; mkdir disk/var; "
                     "cat /dev/zero >disk/rest 2>/dev/null; exec touchline-router --dir disk/var",
                     under=words)


def database(place, *lines):
    os.makedirs(os.path.join(place.base, "var"), mode=0o700, exist_ok=True)
    db = sqlite3.connect(os.path.join(place.base, "var", "touchline.db"))
    for line in lines:
        db.execute(line)
    db.commit()
    db.close()


@mistake("A database of a later version", "touchline-router --dir var", REFUSED, "start that one")
def later_schema(place):
    with World(under=place.base) as w:
        w.stop()
        w.base = os.path.join(place.base, "nothing")
    database(place, "pragma user_version = 99")
    return place.run("touchline-router --dir var")


@mistake("The file of the database is something else", "touchline-router --dir var", FAILED,
         "move it away")
def no_database(place):
    os.mkdir(os.path.join(place.base, "var"), 0o700)
    place.file("var/touchline.db", "this is a shopping list, not a database\n" * 100)
    return place.run("touchline-router --dir var")


@mistake("Restoring a file that is no backup", "touchline-router --dir var --restore notes.txt",
         FAILED, "router-ctl backup")
def no_backup(place):
    place.file("notes.txt", "this is a shopping list, not a database\n" * 100)
    os.mkdir(os.path.join(place.base, "var"), 0o700)
    return place.run("touchline-router --dir var --restore notes.txt")


# ---- router-ctl, and no router ------------------------------------------------------

plain_mistake("No router", "router-ctl channels", NO_ROUTER, "touchline --dir")
plain_mistake("The wrong directory", "router-ctl --dir elsewhere channels", NO_ROUTER, "--dir")
plain_mistake("A typo in a verb", "router-ctl statsu", USAGE, "did you mean stat")
plain_mistake("A typo in an option of router-ctl", "router-ctl history a --snce 0", USAGE,
              "did you mean --since")
plain_mistake("An option of another verb", "router-ctl history a --speed 60", USAGE, "replay")
plain_mistake("Too little said", "router-ctl publish room/lobby", USAGE, "CHANNEL TEXT|-")
plain_mistake("Quotes forgotten", "router-ctl publish room/lobby hello there", USAGE, "quotes")

plain_mistake("A crowd, and nobody listens",
              "touchline-flood --target 127.0.0.1:1 --connections 10 --hold 1", NO_ROUTER,
              "start the server")

# ---- a router that runs ---------------------------------------------------------------


@mistake("A second one in the same directory", "touchline --dir var", FAILED, "--dir", True)
def second(place):
    return place.run("touchline --dir var --set http.listen=127.0.0.1:0")


for title, shown, code, cure in (
        ("A channel with a space in it", "router-ctl publish 'room lobby' hello", USAGE,
         "room/lobby"),
        ("A pattern with a star inside a word", "router-ctl channels 'ro*m/a'", USAGE, "room/*"),
        ("A cursor that is none", "router-ctl history room/lobby --since yesterday", USAGE,
         "EPOCH-SEQ"),
        ("A connection that is gone", "router-ctl kick http1/99.9", NOT_FOUND, "router-ctl conns"),
        ("A channel that nobody listens to", "router-ctl kick room/nobody", NOT_FOUND,
         "router-ctl conns"),
        ("A match that there is not", "router-ctl match show elp-tig-1999-01-01", NOT_FOUND,
         "router-ctl match list"),
        ("A team that there is not", "router-ctl match new elp tog 2011-09-13", NOT_FOUND,
         "router-ctl match teams"),
        ("Broken JSON in an event", "router-ctl match event elp-tig-2011-09-13 goal "
         "'{\"team\":\"tig\"'", USAGE, "KEY=VALUE"),
        ("A kind of event that there is not", "router-ctl match event elp-tig-2011-09-13 gaol",
         REFUSED, "goal"),
        ("A number that is none", "router-ctl history room/lobby --last many", USAGE, "from 1 to 1000"),
        ("A colour that is none", "router-ctl status --color=red", USAGE, "always"),
        ("A file that is not there", "router-ctl replay worldcup.jsn", NOT_FOUND, "/home/you"),
        ("A speed that is none", f"router-ctl replay {SAMPLE} --speed fast", USAGE, "max"),
        ("A backup to where one may not write", "router-ctl backup /proc/touchline.db", FAILED,
         "another")):
    mistake(title, shown.replace(SAMPLE, "final.json"), code, cure, True)(
        lambda place, line=shown: place.run(line))


@mistake("A match that was played already", "router-ctl replay final.json --speed max "
         "--date 2031-01-01", REFUSED, "--date", True)
def played(place):
    line = f"router-ctl replay {SAMPLE} --speed max --date 2031-01-01"
    equal(place.run(line)[0], DONE)
    return place.run(line)


@mistake("A message that is too long", "head -c 100000 photo.jpg | router-ctl publish a -",
         REFUSED, "limits.message", True)
def too_long(place):
    return place.run("head -c 100000 /dev/zero | router-ctl publish a -")


@mistake("Standard input is closed", "router-ctl publish a - <&-", FAILED, "standard input", True)
def no_input(place):
    return place.run("router-ctl publish a - <&-")


@mistake("A router-ctl of another version", "router-ctl channels", REFUSED, "touchline upgrade",
         True)
def other_version(place):
    return place.run("router-ctl channels", programs=NEXT)


@mistake("A gateway of another version", "router-ctl status", FAILED, "install one version",
         True, True)
def other_gateway(place):
    """It goes on asking to be let in; what stands in its log, status says."""
    p = subprocess.Popen([os.path.join(NEXT, "touchline-http"), "--dir", place.w.dir,
                          "--set", "http.listen=127.0.0.1:0"], stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: place.run("router-ctl status")[0] == FAILED, "it is noticed")
        code, out, err = place.run("router-ctl status")
        return code, out.splitlines()[0] + "\n", err
    finally:
        p.kill()
        p.wait()


@mistake("The secret of a link is wrong", "router-ctl --router tcp://10.0.0.5:9000 "
         "--set link.secret=... channels", REFUSED, "link.secret")
def wrong_secret(place):
    with World(["router.url=tcp://127.0.0.1:0", f"link.secret={TOKEN}"], under=place.base) as w:
        w.base = os.path.join(place.base, "nothing")
        place.words.append((w.urls["router"], "tcp://10.0.0.5:9000"))
        return place.run(f"router-ctl --router {w.urls['router']} "
                         "--set link.secret=another-secret-of-16 channels")


def curl(title, path, code, cure, *headers):
    """The answer of the HTTP gateway to a publication."""
    shown = "curl " + "".join(f"-H '{h}' " for h in headers) + \
        f"-d hello http://127.0.0.1:8000{path}"

    def act(place):
        host, port = place.w.address("http")
        return place.run(shown.replace("curl", "curl -sS", 1)
                         .replace("127.0.0.1:8000", f"{host}:{port}"))
    mistake(title, shown, code, cure, True, True)(act)


curl("A token is needed, and none was shown", "/v1/publish/news/today", DONE,
     "or by router-ctl")
curl("A token that is not known", "/v1/publish/news/today", DONE, "[token",
     "Authorization: Bearer not-the-secret-at-all")
curl("A token that opens something else", "/v1/publish/post/today", DONE, "publish",
     f"Authorization: Bearer {TOKEN}")
curl("A channel that nobody may publish to", "/v1/publish/board/today", DONE, "router-ctl")


def ask(title, path, cure):
    """Of a reader."""
    shown = f"curl '127.0.0.1:8000{path}'"

    def act(place):
        host, port = place.w.address("http")
        return place.run(shown.replace("curl", "curl -sS", 1)
                         .replace("127.0.0.1:8000", f"{host}:{port}"))
    mistake(title, shown, DONE, cure, True, True)(act)


curl("A channel with a space in it, over HTTP", "/v1/publish/room%20lobby", DONE, "room/lobby")
ask("A channel with a star in it, where one is meant", "/v1/history/room/*", "room/lobby")
ask("No channel", "/v1/stream", "?channel=")
ask("A path that there is not", "/v2/stream?channel=room/lobby", "GET /")
ask("A number of seconds that is none", "/v1/poll?channel=room/lobby&wait=soon", "0 to 60")
curl("No JSON where JSON is meant", "/v1/publish", DONE, "single quotes",
     "Content-Type: application/json")


@mistake("A word that telnet's other side does not know", "printf 'PUBLISH a hello\\nQUIT\\n' | "
         "nc 127.0.0.1 9999", DONE, "HELP", True, True)
def telnet(place):
    with place.w.telnet() as t:
        t.send(b"PUBLISH a hello\r\n")
        return DONE, t.line().decode().replace("\r", ""), ""


# ---- a terminal -----------------------------------------------------------------------

@mistake("A line of a script for the shell that fails", "printf 'kick a\\nchannels\\n' | "
         "router-ctl shell", NOT_FOUND, "router-ctl conns", True)
def script(place):
    return place.run("printf 'kick a\nchannels\n' | router-ctl shell")


# ---- what holds them -------------------------------------------------------------------

@contextlib.contextmanager
def empty_place():
    base = tempfile.mkdtemp(prefix="tl-")
    try:
        yield Place(base)
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextlib.contextmanager
def place_of(world):
    for args in (("match", "teams", "elp", "Estudiantes"), ("match", "teams", "tig", "Tigre"),
                 ("match", "new", "elp", "tig", "2011-09-13"),
                 ("match", "event", "elp-tig-2011-09-13", "start")):
        world.ctl(*args)
    yield Place(world.base, world)


def answers(wanted):
    """(mistake, its lines), each in its place."""
    with contextlib.ExitStack() as stack:
        shared = None
        for m in wanted:
            if m.router:
                shared = shared or stack.enter_context(
                    place_of(stack.enter_context(World(config=CONFIG))))
                yield m, lambda m=m: m.answer(shared)
            else:
                def alone(m=m):
                    with empty_place() as place:
                        return m.answer(place)
                yield m, alone


def document():
    """docs/mistakes.md, as the programs answer now."""
    head = """# Mistakes

What one is told who makes one of them, word for word: on standard error, and with the exit
code that is shown (see `router-ctl --help`); what a service writes to its log besides is
left out. Paths, ports and numbers of processes stand for others.

This page is made by `python3 tests/system/mistakes_system.py write`; the system tests
`mistakes` make each of these mistakes again, and fail when the answer is another one, longer
than two lines, or without its cure.
"""
    return "\n".join([head, *(m.section(i, ask()) for i, (m, ask) in
                              enumerate(answers(MISTAKES), 1))])


def hold(wanted):
    """These mistakes are answered as the document says."""
    with open(DOCUMENT, encoding="utf-8") as f:
        text = f.read()
    for m, ask in answers([m for m in MISTAKES if wanted(m)]):
        if m.title in ROOT_ONLY and os.getuid() != 0:
            print(f"     skipped: {m.title}: only root makes it", flush=True)
            continue
        said = m.section(MISTAKES.index(m) + 1, ask())
        check(said in text, f"docs/mistakes.md does not say\n{said}")


def test_mistakes_without_a_router_are_answered_with_their_cure():
    hold(lambda m: not m.router)


def test_mistakes_with_a_router_are_answered_with_their_cure():
    hold(lambda m: m.router)


def test_the_document_has_each_mistake_once_and_no_other():
    with open(DOCUMENT, encoding="utf-8") as f:
        titles = re.findall(r"^## (\d+)\. (.*)$", f.read(), re.M)
    equal(titles, [(str(i), m.title) for i, m in enumerate(MISTAKES, 1)])
    check(len(titles) >= 30, f"{len(titles)} mistakes")


def look():
    """Present answers, for whoever mends them."""
    for m, ask in answers([m for m in MISTAKES if not sys.argv[2:] or sys.argv[2] in m.title]):
        try:
            lines = ask()
            print(f"ok   {m.title}")
            print(*lines, sep="\n")
        except Exception as e:
            print(f"FAIL {m.title}\n     {e}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        text = document()
        with open(DOCUMENT, "w", encoding="utf-8") as f:
            f.write(text)
    else:
        look()
