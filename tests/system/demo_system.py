"""`make run`: everything starts, a match is played, Ctrl-C leaves nothing."""
import os
import re
import signal
import subprocess
import tempfile
import urllib.request

from world import DEADLINE, ROOT, Lines, check, equal, eventually

DEMO = os.path.join(ROOT, "tools/demo.sh")


def heed_interrupts():
    """A shell cannot trap what was ignored when it began, as it is for
    everything that a script runs in the background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Demo:
    def __init__(self, **env):
        self.err = tempfile.TemporaryFile()
        self.proc = subprocess.Popen([DEMO], stdout=subprocess.PIPE, stderr=self.err,
                                     stdin=subprocess.DEVNULL, start_new_session=True,
                                     preexec_fn=heed_interrupts,
                                     env={**os.environ, "SPEED": "4000", **env})
        self.out = Lines(self.proc.stdout, lambda n: os.read(self.proc.stdout.fileno(), n))
        self.urls = {}
        while len(self.urls) < 4:
            word, kind, url = self.out.line().decode().split()
            equal(word, "ready")
            self.urls[kind] = url

    def words(self):
        self.err.seek(0)
        return self.err.read().decode()

    def dir(self):
        return eventually(lambda: re.search(r"--dir (\S+) tail", self.words()),
                          "the lines to paste").group(1)

    def interrupt(self):
        """What a terminal does on Ctrl-C."""
        os.killpg(self.proc.pid, signal.SIGINT)
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


def test_it_plays_the_final_and_ctrl_c_leaves_nothing():
    first = Demo()
    directory = first.dir()
    eventually(lambda: '"period":"ended"' in get(first.urls["http"] + "/v1/matches"),
               "the match is over")
    check('"home_shootout":4' in get(first.urls["http"] + "/v1/matches"), "the score")
    check("<html" in urllib.request.urlopen(urllib.request.Request(
        first.urls["http"] + "/", headers={"Accept": "text/html"})).read().decode(), "the page")
    eventually(lambda: "the match is over" in first.words(), "it says so")
    equal(first.interrupt(), 0, "exit code")
    equal(processes_of(directory), [], "processes left")
    check(not os.path.exists(directory + "/touchline.lock"), "the lock is left")


def test_a_second_one_runs_beside_the_first_on_other_ports():
    first = Demo()
    second = Demo(LC_ALL="C", LANG="C")
    try:
        check(first.urls != second.urls, "ports")
        check(first.dir() != second.dir(), "directories")
        equal(get(second.urls["http"] + "/healthz"), "alive\n")
        equal(get(first.urls["http"] + "/healthz"), "alive\n")
    finally:
        equal(second.interrupt(), 0)
        equal(first.interrupt(), 0)


def test_install_honours_destdir_and_prefix():
    with tempfile.TemporaryDirectory() as root:
        p = subprocess.run(["make", "-C", ROOT, "install", "DESTDIR=" + root, "PREFIX=/opt/tl"],
                           capture_output=True, timeout=300)
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
