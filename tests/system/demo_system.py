"""`make run`: everything starts, a match is played, Ctrl-C leaves nothing."""
import contextlib
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import urllib.request

from world import (BIN, DEADLINE, ROOT, Failed, Lines, check, equal, eventually,
                   heed_interrupts)

ONE_AT_A_TIME = True  # build/demo is one, and so are the default ports
NOBODY = 65534
WEBSOCKETS = "/usr/bin/python3"  # python3-websockets is Debian's


class Demo:
    """tools/demo.sh of a checkout, or make run."""

    def __init__(self, root=ROOT, command=("tools/demo.sh",), user=None, **env):
        self.err = tempfile.TemporaryFile()
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
        self.proc = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=self.err,
                                     stdin=subprocess.DEVNULL, start_new_session=True,
                                     preexec_fn=heed_interrupts, user=user,
                                     env={**clean, "SPEED": "4000", **env})
        self.out = Lines(self.proc.stdout, lambda n: os.read(self.proc.stdout.fileno(), n))
        self.urls = {}
        try:
            while len(self.urls) < 4:
                self.take_line()
        except BaseException as e:
            self.interrupt()
            raise Failed(f"{e}\n{self.words()}") from None

    def take_line(self):
        line = self.out.line().decode().rstrip("\n")
        if line.startswith("ready "):
            _, kind, url = line.split(maxsplit=2)
            self.urls[kind] = url

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.proc.poll() is None:
            self.interrupt()

    def words(self):
        """The place in the file is shared with who writes, and stays its own."""
        fd = self.err.fileno()
        return os.pread(fd, os.fstat(fd).st_size, 0).decode()

    def said(self, pattern):
        """The first group of what it has said, or is going to say."""
        with contextlib.suppress(Failed):
            return eventually(lambda: re.search(pattern, self.words()), pattern).group(1)
        raise Failed(f"it never said {pattern}, but:\n{self.words()}")

    def dir(self):
        return self.said(r"--dir '([^']+)' tail")

    def log(self):
        with open(os.path.dirname(self.dir()) + "/log") as f:
            return f.read()

    def interrupt(self, signo=signal.SIGINT):
        """What a terminal does on Ctrl-C."""
        os.killpg(self.proc.pid, signo)
        code = self.proc.wait(DEADLINE)
        self.proc.stdout.close()
        return code


def processes_of(directory):
    out = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if directory.encode() in f.read():
                    out.append(int(pid))
        except OSError:
            pass
    return out


def get(url):
    with urllib.request.urlopen(url, timeout=DEADLINE) as r:
        return r.read().decode()


def leaves_nothing(demo):
    """It ended in order: nobody was killed, no socket is left."""
    eventually(lambda: processes_of(demo.dir()) == [], "no process is left")
    check(not os.path.exists(demo.dir() + "/touchline.lock"), "the lock is left")
    check("child.kill" not in demo.log(), demo.log())
    for base, _, names in os.walk(demo.dir()):
        for name in names:
            check(not stat.S_ISSOCK(os.lstat(os.path.join(base, name)).st_mode), name)


def test_it_plays_the_final_and_ctrl_c_leaves_nothing():
    with Demo() as first:
        web = first.urls["http"]
        eventually(lambda: '"period":"ended"' in get(web + "/v1/matches"), "the match is over")
        check('"home_shootout":4' in get(web + "/v1/matches"), "the score")
        check("<html" in urllib.request.urlopen(urllib.request.Request(
            web + "/", headers={"Accept": "text/html"})).read().decode(), "the page")
        first.said("(the match is over)")
        equal(first.interrupt(), 0, "exit code")
        leaves_nothing(first)


def test_make_run_ends_with_ctrl_c_in_order():
    with Demo(command=("make", "run"), SPEED="60") as demo:
        demo.dir()
        demo.interrupt()
        leaves_nothing(demo)


def test_a_terminal_that_is_closed_ends_it():
    with Demo(SPEED="60") as demo:
        demo.dir()
        equal(demo.interrupt(signal.SIGHUP), 0)
        leaves_nothing(demo)


def pasted(command, wanted, typed=b""):
    """A line that was printed to be pasted: it prints what is wanted, whether
    or not it ends by itself."""
    p = subprocess.Popen(["bash", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, start_new_session=True)
    try:
        p.stdin.write(typed)
        p.stdin.flush()
        Lines(p.stdout, lambda n: os.read(p.stdout.fileno(), n)).until(wanted)
    finally:
        os.killpg(p.pid, signal.SIGKILL)
        p.wait()
        p.stdin.close()
        p.stdout.close()


def test_the_lines_to_paste_work():
    with Demo() as demo:
        check("<html" in urllib.request.urlopen(urllib.request.Request(
            demo.said(r"a browser: +(\S+)#match"), headers={"Accept": "text/html"}))
            .read().decode(), "the page")
        pasted(demo.said(r"curl: +(.+)"), b'"notice":"snapshot"')
        pasted(demo.said(r"telnet: +(.+?)  +then type   V:2:me"), b"status", b"V:2:me\n")
        line = demo.said(r"a WebSocket: +(.+)")
        pasted(re.sub("^python3", WEBSOCKETS, line), b'"notice":"snapshot"')
        pasted(demo.said(r"router-ctl: +(.+)"), b"snapshot")
        page = demo.said(r"Send something to (\S+), open in a browser")
        pasted(f"(curl -sN {page} & sleep inf) & until {demo.said('( .+ send user/me hello)')} | "
               "grep -v 'reached 0'; do :; done; wait", b"'hello'")


def test_a_second_one_runs_beside_the_first_on_other_ports():
    with Demo() as first, Demo(LC_ALL="C", LANG="C") as second:
        check(not set(first.urls.values()) & set(second.urls.values()), "ports")
        check(first.dir() != second.dir(), "directories")
        check("is in use: taking" in second.words(), "it says so")
        equal(get(second.urls["http"] + "/healthz"), "alive\n")
        equal(get(first.urls["http"] + "/healthz"), "alive\n")
        equal(second.interrupt(), 0)
        equal(first.interrupt(), 0)


def test_two_that_begin_at_once_do_not_meet():
    demos = []

    def begin():
        demos.append(Demo(SPEED="60"))

    threads = [threading.Thread(target=begin) for _ in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    try:
        equal(len(demos), 2, "both run")
        check(demos[0].dir() != demos[1].dir(), "directories")
    finally:
        for d in demos:
            equal(d.interrupt(), 0)


def test_a_port_that_is_taken_on_ipv6_alone_is_left():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as s:
        port = s.getsockname()[1]
        with open(os.path.join(ROOT, "tools/demo.sh")) as f:
            script = f.read().replace("http:8000", f"http:{port}")
        with checkout("ipv6") as root:
            with open(root + "/tools/demo.sh", "w") as f:
                f.write(script)
            with Demo(root) as demo:
                check(f"port {port} is in use" in demo.words(), demo.words())


@contextlib.contextmanager
def checkout(name):
    """What a demo needs of the project, in a place of its own."""
    with tempfile.TemporaryDirectory() as top:
        root = os.path.join(top, name)
        os.makedirs(root + "/build")
        shutil.copytree(BIN, root + "/build/bin")
        shutil.copytree(ROOT + "/tools/samples", root + "/tools/samples")
        shutil.copy(ROOT + "/tools/demo.sh", root + "/tools/demo.sh")
        yield root


# In the place of touchline: at the first start somebody takes its port.
FASTER = """#!/usr/bin/python3
import os, re, socket, subprocess, sys, time
args = [sys.argv[0] + ".real", *sys.argv[1:]]
if os.path.exists("build/faster"):
    os.execv(args[0], args)
open("build/faster", "w").close()
port = re.search(r"http.listen=127.0.0.1:(\\d+)", " ".join(args)).group(1)
end = time.monotonic() + 10
while True: # a --check somewhere may hold it for a moment
    try:
        taken = socket.create_server(("127.0.0.1", int(port)))
        break
    except OSError:
        if time.monotonic() > end:
            raise
        time.sleep(0.02)
sys.exit(subprocess.call(args))
"""


def test_a_port_that_is_taken_at_the_last_moment_is_another_ones():
    with checkout("faster") as root:
        touchline = root + "/build/bin/touchline"
        os.rename(touchline, touchline + ".real")
        with open(touchline, "w") as f:
            f.write(FASTER)
        os.chmod(touchline, 0o755)
        with Demo(root) as demo:
            demo.said("(somebody was faster)")
            equal(get(demo.urls["http"] + "/healthz"), "alive\n")
            demo.dir()
            equal(demo.interrupt(), 0)
            leaves_nothing(demo)


def test_it_leaves_what_another_user_has_made():
    """As after a run as root; in a folder with a blank in its name."""
    with checkout("a checkout") as root:
        user = NOBODY if os.geteuid() == 0 else None
        os.makedirs(root + "/build/demo/var/link/x")
        for path in (root, root + "/build"):
            os.chmod(os.path.dirname(path), 0o755)
            if user:
                os.chown(path, user, -1)
        os.chmod(root + "/build/demo/var/link", 0)
        with Demo(root, user=user) as demo:
            check(demo.dir().endswith("/a checkout/build/demo-2/var"), demo.dir())
            demo.said("(the match is over)")
            equal(demo.interrupt(), 0)
        os.chmod(root + "/build/demo/var/link", 0o700)


def test_who_may_not_write_to_build_is_told_whose_it_is():
    """As after `make run` as root, by a user who comes later."""
    with checkout("roots") as root:
        shutil.copy(ROOT + "/tools/deps.sh", root + "/tools/deps.sh")
        for path in (os.path.dirname(root), root):
            os.chmod(path, 0o755)
        os.chmod(root + "/build", 0o555)
        p = subprocess.run([root + "/tools/deps.sh", "build"], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True, timeout=DEADLINE,
                           user=NOBODY if os.geteuid() == 0 else None)
        os.chmod(root + "/build", 0o755)
        equal(p.returncode, 1, p.stdout)
        check(re.match(r"build/ belongs to \w+, and you are \w+: ", p.stdout), p.stdout)
        check("`make clean`" in p.stdout, p.stdout)


def installed_unit(path):
    """It starts what was installed; package_system has what systemd says."""
    with open(path) as f:
        text = f.read()
    check("ExecStart=/opt/tl/bin/touchline --config /etc/touchline/touchline.conf" in text, text)
    check("/usr/local" not in text, text)


def check_links(documents):
    for base, _, names in os.walk(documents):
        for name in (n for n in names if n.endswith(".md")):
            with open(os.path.join(base, name)) as f:
                for target in re.findall(r"\]\((?!https?:)([^)#:]+)", f.read()):
                    check(os.path.exists(os.path.join(base, target)), f"{name} leads to {target}")


def test_install_honours_destdir_and_prefix():
    with tempfile.TemporaryDirectory() as root:
        env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
        destdir = "DESTDIR=" + os.path.relpath(root, ROOT)  # packages give it whole
        p = subprocess.run(["make", "-C", ROOT, "install", destdir, "PREFIX=/opt/tl"],
                           capture_output=True, timeout=300, env=env)
        equal(p.returncode, 0, p.stderr)
        binary = root + "/opt/tl/bin/touchline"
        p = subprocess.run([binary, "--version"], capture_output=True)
        check(p.stdout.startswith(b"touchline "), p.stdout)
        for name in ("touchline-router", "touchline-http", "touchline-tcp", "touchline-ws",
                     "router-ctl"):
            check(os.access(f"{root}/opt/tl/bin/{name}", os.X_OK), name)
            check(os.path.exists(f"{root}/opt/tl/share/man/man1/{name}.1"), name + ".1")
        check(os.path.exists(root + "/opt/tl/share/man/man5/touchline.conf.5"), "conf.5")
        equal(sorted(os.listdir(root)), ["opt"], "outside PREFIX")
        installed_unit(root + "/opt/tl/lib/systemd/system/touchline.service")
        completion = "/opt/tl/share/bash-completion/completions/router-ctl"
        check(os.path.exists(root + completion), completion)
        check_links(root + "/opt/tl/share/doc/touchline")


def test_a_destdir_that_is_relative_gets_all_of_it():
    staged = f"build/staged-{os.getpid()}"
    env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
    try:
        p = subprocess.run(["make", "-s", "-C", ROOT, "install", "DESTDIR=" + staged,
                            "PREFIX=/usr"], capture_output=True, timeout=300, env=env)
        equal(p.returncode, 0, p.stderr)
        check(os.path.exists(f"{ROOT}/{staged}/usr/lib/systemd/system/touchline.service"), "unit")
        for base, folders, _ in os.walk(ROOT + "/tools"):
            check("build" not in folders, f"something was put into {base}")
    finally:
        shutil.rmtree(f"{ROOT}/{staged}", ignore_errors=True)
