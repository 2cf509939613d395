"""docs/tour.md, as a newcomer goes through it: `make run` in one terminal, and every
line in its order. What stands in the document as a page is looked at by
tour_pages_system.py in Chromium; here somebody without a browser takes its place.

The package goes into a copy of this machine that is thrown away, in a network of its
own. Lines that begin with `sudo` are for root, who has a `sudo` here that runs them."""
import contextlib
import os
import re
import shlex
import signal
import subprocess
import tempfile

from demo_system import Demo, leaves_nothing
from docs_system import Command, Place, Terminal, blocks, pattern, run_block
from package_system import is_fresh, one_packer
from proxy_system import REPLACED, free_port
from world import DEADLINE, ROOT, Failed, Lines, Stream, check, equal, unshare

DOCUMENT = "docs/tour.md"
SLOW = True
SAMPLE = "../../docs/proxies/nginx.conf"


def word(block, key):
    """The value of a word of the fence; "": it stands there alone; None: not at all."""
    found = re.search(rf"(?:^| ){key}(?:=(\S+))?(?: |$)", block.note)
    return found and (found[1] or "")


class NoBrowser:
    """Does at the server what a page does: what it shows is not looked at."""

    def __init__(self):
        self.streams, self.name = contextlib.ExitStack(), None

    def open(self, url):
        self.streams.close()
        scheme, self.address, path = re.match(r"(\w+)://([^/]+)(/[^#]*)", url).groups()
        if path != "/":
            self.listen(path)
        elif self.name and scheme == "http":
            self.enter()

    def listen(self, target):
        host, port = self.address.split(":")
        stream = self.streams.enter_context(Stream((host, int(port)), target))
        stream.chunk()

    def enter(self):
        self.listen("/v1/stream?channel=room/lobby&name=" + self.name)

    def type(self, field, text):
        if field == "Your name":
            self.name = text
            self.enter()
        else:
            equal(field, "Say something")
            subprocess.run(["curl", "-sf", "-d", text, "-H", "Touchline-From: " + self.name,
                            f"http://{self.address}/v1/publish/room/lobby"],
                           check=True, stdout=subprocess.DEVNULL)

    def shows(self, line):
        pass

    def close(self):
        self.streams.close()


class Machine:
    """A copy of this one for `apt-get`: mounts, processes and network are its own. That
    all of its manuals are indexed anew would take longest, and is switched off."""

    SCRIPT = """
mount -t tmpfs -o mode=755 none "$1"
mkdir "$1"/upper "$1"/work "$1"/root
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" none "$1/root"
mount -t proc none "$1/root/proc"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs none "$1/root/run"
mount -t tmpfs -o mode=1777 none "$1/root/tmp"
mkdir -p "$1/root$2" && mount --bind "$2" "$1/root$2"
rm -f "$1/root/var/lib/man-db/auto-update"
ip link set lo up
echo ready
exec sleep infinity
"""

    def __init__(self):
        self.base, self.service = tempfile.mkdtemp(prefix="tl-"), None
        self.proc = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-ec",
             self.SCRIPT, "sh", self.base, ROOT], stdout=subprocess.PIPE)
        equal(self.lines(self.proc).line(), b"ready\n")
        with open(f"/proc/{self.proc.pid}/task/{self.proc.pid}/children") as f:
            self.first = int(f.read())

    @staticmethod
    def lines(proc):
        return Lines(proc.stdout, lambda n: os.read(proc.stdout.fileno(), n))

    def words(self, *more):
        return ["nsenter", f"--target={self.first}", "--mount", "--net", "--pid", "chroot",
                self.base + "/root", *more]

    def start(self):
        """What systemd would do behind the installation: there is none here."""
        unit = self.words("sed", "-n", "s/^ExecStart=//p", "/lib/systemd/system/touchline.service")
        said = subprocess.run(unit, check=True, capture_output=True, text=True).stdout.split()
        self.service = subprocess.Popen(
            self.words("setpriv", "--reuid", "touchline", "--regid", "touchline",
                       "--clear-groups", "--no-new-privs", *said),
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        out = self.lines(self.service)
        for _ in range(4):
            equal(out.line().split()[0], b"ready")

    def stop(self):
        """And before it is removed."""
        self.service.terminate()
        self.service.wait(DEADLINE)

    def left(self):
        """Files that have its name."""
        return [os.path.join(base, n) for base, folders, files in os.walk(self.base + "/upper")
                for n in (*folders, *files) if "touchline" in n]

    def close(self):
        self.proc.kill()
        for p in filter(None, (self.proc, self.service)):
            p.wait(DEADLINE)
            p.stdout.close()
        os.rmdir(self.base)


class Tour(Place):
    """The reader's two terminals, and where what he types is typed."""

    def __init__(self, demo, folder):
        self.demo, self.folder = demo, folder
        self.cursors, self.cwd = {}, ROOT
        self.tls = free_port()
        http, tcp = (demo.urls[k].split("/")[2] for k in ("http", "tcp"))
        self.names = [
            (SAMPLE, self.sample(http, demo.urls["ws"].split("/")[2], tcp)),
            ("127.0.0.1:8000", http), ("127.0.0.1 9999", tcp.replace(":", " ")),
            ("listen 8443", f"listen 127.0.0.1:{self.tls}"), (":8443", f":{self.tls}"),
            ("build/demo", os.path.relpath(os.path.dirname(demo.dir()), ROOT)),
        ]
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith("MAKE") and k != "TOUCHLINE_ROUTER"}
        self.env.update(LC_ALL="C", PATH=self.sudo() + ":" + os.environ["PATH"])

    def sample(self, http, ws, tcp):
        """Ports of others, and no file of the system's; the rest is the reader's to
        change."""
        with open(os.path.join(ROOT, "docs", "proxies", "nginx.conf")) as f:
            text = f.read()
        names = {"http": http, "ws": ws, "tcp": tcp, "dir": self.folder, "telnet": free_port()}
        for old, new in REPLACED["nginx.conf"].items():
            if "ssl" not in old and "443" not in old:
                check(old in text, f"nginx.conf: nothing says {old!r}")
                text = text.replace(old, new.format(**names))
        path = os.path.join(self.folder, "sample.conf")
        with open(path, "w") as f:
            f.write(text)
        return path

    def sudo(self):
        """The folder with a command of this name, for root."""
        path = os.path.join(self.folder, "sudo")
        with open(path, "w") as f:
            f.write('#!/bin/sh\nexec "$@"\n')
        os.chmod(path, 0o755)
        return self.folder

    def script(self, block):
        """What it leaves in the shell stays there for all that follow."""
        place = os.path.join(self.folder, "shell")
        text = f"{self.localise(block.text())}\nenv -0 >{place}.env; pwd >{place}.pwd"
        p = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", text], cwd=self.cwd,
                           env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
                           timeout=DEADLINE * 3)
        check(p.returncode == 0, f"{block.where}: exit {p.returncode}\n{text}\n"
              f"{p.stdout.decode()}{p.stderr.decode()}")
        with open(place + ".env") as e, open(place + ".pwd") as d:
            self.env = dict(x.split("=", 1) for x in e.read().split("\0") if x)
            self.cwd = d.read().rstrip("\n")

    def command(self, text):
        return Command(self.typed(text), self.cwd, self.env)

    def end_nginx(self):
        """Where a line that should have ended it has not been reached."""
        with contextlib.suppress(OSError, ValueError):
            with open(os.path.dirname(self.demo.dir()) + "/nginx.pid") as f:
                os.kill(int(f.read()), signal.SIGQUIT)


class Fresh(Tour):
    """A new terminal in the checkout, on the machine where the package is installed if
    there is one: no port is another, and no folder."""
    patience = 5 * DEADLINE

    def __init__(self, machine=None):
        self.machine, self.cursors, self.names = machine, {}, []
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}

    def command(self, text):
        if not self.machine:
            return Command(text, ROOT, self.env)
        words = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C",
                 "sh", "-c", f"cd {ROOT}; {text.removeprefix('sudo ')}"]
        return Command(shlex.join(self.machine.words(*words)), ROOT, self.env)


def walk(page):
    """Through the document; the page is a browser, or somebody without."""
    todo = list(blocks(DOCUMENT))
    with contextlib.ExitStack() as stack:
        stack.callback(page.close)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="tl-"))
        block = next(b for b in todo if word(b, "terminal") == "first")
        todo.remove(block)
        demo = stack.enter_context(Demo(command=block.lines[0].split()[1:], SPEED="60"))
        printed(block, demo)
        tour = Tour(demo, folder)
        stack.callback(tour.end_nginx)
        stack.enter_context(contextlib.closing(Walk(tour, page, todo))).go()


def printed(block, demo):
    """By the command that goes on in the first terminal, among other lines."""
    lines = [f"ready {kind} {url}" for kind, url in demo.urls.items()]
    for wanted in block.lines[1:]:
        check(wanted == "..." or any(pattern(wanted).match(line) for line in lines),
              f"{block.where}: {lines} and not {wanted}")


class Walk:
    """left: the command that the next block goes on with."""

    def __init__(self, tour, page, todo):
        self.tour, self.page, self.todo, self.left = tour, page, todo, None

    def close(self):
        if self.left:
            self.left.kill()

    def go(self):
        while self.todo:
            block = self.todo.pop(0)
            terminal = word(block, "terminal")
            if terminal == "first":
                equal(block.lines, ["^C"], block.where)
                self.tour.demo.interrupt()
                leaves_nothing(self.tour.demo)
            elif terminal:
                continue  # the package has a test of its own
            elif word(block, "page") is not None:
                self.look(block)
            elif block.lang == "console":
                self.type(block)
            else:
                check(block.lang == "sh", f"{block.where}: nobody runs it")
                run_block(block, self.tour)

    def type(self, block):
        """It stays when the next one of this terminal begins with what it prints."""
        following = next((b for b in self.todo if b.lang == "console"), None)
        stays = following and not following.note and not following.lines[0].startswith("$ ")
        self.left = Terminal(block, self.tour, self.left, stays).run()

    def look(self, block):
        url = self.tour.localise(word(block, "page"))
        if url:
            self.page.open(url)
        for line in block.lines:
            field, _, text = line.removeprefix("> ").partition(": ")
            try:
                if line.startswith("> "):
                    self.page.type(field, text)
                else:
                    self.page.shows(line)
            except Failed as e:
                raise Failed(f"{block.where}: {line}\n{e}") from None


def test_every_line_of_the_tour_works():
    walk(NoBrowser())


# ---- the package, which takes longer to make than all else --------------------

def test_the_package_of_the_tour_is_made_installed_and_removed():
    made, *todo = (b for b in blocks(DOCUMENT) if word(b, "terminal") in ("third", "root"))
    with contextlib.ExitStack() as stack:
        with one_packer():
            if not is_fresh():  # else package_system.py has just made it
                Terminal(made, Fresh()).run()
        if os.geteuid() or not unshare("--mount"):
            print("     the rest is skipped: only root may install, in a copy of the machine")
            return
        machine = stack.enter_context(contextlib.closing(Machine()))
        installed, *talk, purged = todo
        for block in (installed, *talk, purged):
            if block is purged:
                machine.stop()
            Terminal(block, Fresh(machine)).run()
            if block is installed:
                machine.start()
        equal(machine.left(), [], "what is left")
