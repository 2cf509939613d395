"""router-ctl on a terminal: colours, progress, and what the Tab key does."""
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios

from world import BIN, DEADLINE, ROOT, Lines, World, check, equal

SAMPLE = os.path.join(ROOT, "tools/samples/worldcup-2022-final.json")
COMPLETIONS = [os.path.join(ROOT, "tools", name, "completion.bash")
               for name in ("router-ctl", "touchline", "flood")]
CTL = os.path.join(BIN, "router-ctl")


class Terminal(Lines):
    """A command whose three files, or those that are named, are a terminal; controls:
    of its session, so that Ctrl-C is a signal."""

    def __init__(self, *args, on=("stdin", "stdout", "stderr"), cwd=None, controls=False, **env):
        ours, theirs = pty.openpty()
        files = {n: theirs if n in on else subprocess.DEVNULL
                 for n in ("stdin", "stdout", "stderr")}
        clean = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TOUCHLINE_ROUTER")}
        take = (lambda: fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)) if controls else None
        self.proc = subprocess.Popen(args, start_new_session=True, cwd=cwd, preexec_fn=take,
                                     env={**clean, "TERM": "xterm", **env}, **files)
        os.close(theirs)
        super().__init__(ours, self._recv)

    def _recv(self, n):
        try:
            return os.read(self.fd, n)
        except OSError:  # nobody has the other side any more
            return b""

    def type(self, text):
        os.write(self.fd, text.encode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.proc.poll() is None:
            os.killpg(self.proc.pid, signal.SIGKILL)
        self.proc.wait()
        os.close(self.fd)


# ---- what is printed -------------------------------------------------------

def test_colour_is_for_terminals_alone():
    with World() as w:
        args = (CTL, "--dir", w.dir, "status")
        with Terminal(*args) as t:
            check(b"\033[" in t.all(), "in colour")
        check("\033" not in w.ctl("status"), "none into a pipe")
        with Terminal(*args, NO_COLOR="1") as t:
            check(b"\033" not in t.all(), "nor for who wants none")
        with Terminal(*args, TERM="dumb") as t:
            check(b"\033" not in t.all(), "nor on a terminal that has none")
        with Terminal(*args, "--json") as t:
            check(b"\033" not in t.all(), "nor in JSON")
        check("\033[" in w.ctl("status", "--color=always"), "but where they are asked for")
        with Terminal(*args, "--color", "never") as t:
            check(b"\033" not in t.all(), "or not wanted")


def test_what_takes_long_shows_how_far_it_is_on_a_terminal_alone():
    with World() as w:
        def args(date, speed):
            return (CTL, "--dir", w.dir, "replay", SAMPLE, "--speed", speed, "--date", date)

        with Terminal(*args("2031-01-01", "2000"), on=("stderr",)) as t:
            shown = t.all().decode()
            equal(t.proc.wait(DEADLINE), 0)
        bars = re.findall(r"\rplaying \[([#.]{30})\] +(\d+)% minute \d+ of \d+", shown)
        check(len(bars) > 2 and bars[0][0] < bars[-1][0] or bars[0] != bars[-1], shown)
        check(shown.endswith("\r\033[K"), "it is wiped away")
        with Terminal(*args("2031-02-01", "max"), on=("stderr",)) as t:
            equal(t.all(), b"", "what is short shows nothing")
        p = subprocess.run(args("2031-03-01", "2000"), capture_output=True, timeout=3 * DEADLINE)
        equal((p.returncode, p.stderr), (0, b""), "nothing into a pipe")


# ---- top -------------------------------------------------------------------

class Top(Terminal):
    """top on a terminal whose other side is kept, to see how that is left."""

    ENTER, LEAVE = b"\033[?1049h", b"\033[?1049l"

    def __init__(self, w, *args):
        super().__init__(CTL, "--dir", w.dir, "top", "--every", "1s", *args)
        self.before = termios.tcgetattr(self.fd)
        self.until(self.ENTER)
        self.until(b"touchline")
        self.until(b"q ends")
        check(termios.tcgetattr(self.fd) != self.before, "no echo")

    def left(self, code):
        """It has ended; the terminal is as it was."""
        shown = self.until(self.LEAVE)
        equal(self.proc.wait(DEADLINE), code)
        equal(termios.tcgetattr(self.fd), self.before, "the terminal's modes")
        check(b"\033[?25h" in shown, "the cursor is back")


def test_top_is_a_screen_that_leaves_the_terminal_as_it_was():
    with World() as w:
        with Top(w) as t:
            fcntl.ioctl(t.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 5, 20, 0, 0))
            os.kill(t.proc.pid, signal.SIGWINCH)
            t.until(b"\033[H")
            frame = t.until(b"\033[J").decode()
            lines = re.sub(r"\033\[[0-9;]*[A-Za-z]", "", frame).split("\r\n")
            check(len(lines) <= 5 and max(map(len, lines)) <= 20, lines)
            t.type("q")
            t.left(0)
        for signo, code in ((signal.SIGINT, 0), (signal.SIGTERM, 0),
                            (signal.SIGHUP, -signal.SIGHUP), (signal.SIGABRT, -signal.SIGABRT)):
            with Top(w) as t:
                os.kill(t.proc.pid, signo)
                t.left(code)
        with Top(w, "--for", "2s") as t:
            t.left(0)
        with Top(w) as t:
            w.stop()
            t.until(b"no answer from the router")
            t.type("q")
            t.left(0)


def test_top_into_a_pipe_is_one_frame_after_the_other():
    with World() as w:
        frames = w.ctl("top", "--every", "1s", "--for", "2s")
        check("\033" not in frames and frames.count("OK  20") >= 2, frames)
        check("http1" in frames and "touchline" in frames, frames)
        for line in w.ctl("top", "--every", "1s", "--for", "1s", "--json").splitlines():
            check('"process":"all"' in line, line)


# ---- completion ------------------------------------------------------------

class Shell(Terminal):
    """bash as one types into it, with the completion of router-ctl."""

    PROMPT = b"READY> "

    def __init__(self, cwd):
        super().__init__("bash", "--norc", "--noprofile", "-i", cwd=cwd, PS1="", HOME=cwd,
                         PATH=BIN + ":" + os.environ["PATH"], TERM="dumb", INPUTRC="/dev/null")
        # One word with the marks apart, so that the echo of the line is none.
        self.type("bind 'set page-completions off'; bind 'set bell-style none'; "
                  "bind 'set show-all-if-ambiguous on'; "
                  + "".join(f"source '{c}'; " for c in COMPLETIONS)
                  + "PS1='READY'\\>' '\n")
        self.until(self.PROMPT)

    def answered(self, keys):
        """What stands on the screen after these keys; the line is given up."""
        self.type(keys + "#")
        got = self.until(b"#").decode()[:-1]
        self.type("\x15\n")  # Ctrl-U
        self.until(b"\n" + self.PROMPT)
        return got.replace("\r", "").split("\n")

    def completed(self, line):
        """The line after a Tab."""
        return self.answered(line + "\t")[0].rstrip()

    def offered(self, line):
        """What a Tab lists."""
        return self.answered(line + "\t")[1:-1]


def words(lines):
    return sorted(word for line in lines for word in line.split())


def test_tab_completes_verbs_options_and_their_values():
    with World() as w, Shell(w.base) as bash:
        for typed, wanted in (
                ("router-ctl hist", "router-ctl history"),
                ("router-ctl help kic", "router-ctl help kick"),
                ("router-ctl --json statu", "router-ctl --json status"),
                ("router-ctl --dir var --router=x statu", "router-ctl --dir var --router=x status"),
                ("router-ctl history a --bef", "router-ctl history a --before"),
                ("router-ctl publish a x --format js", "router-ctl publish a x --format json"),
                ("router-ctl match list --period=post", "router-ctl match list --period=postponed"),
                ("router-ctl match ev", "router-ctl match event"),
                ("router-ctl match event x corn", "router-ctl match event x corner"),
                ("router-ctl --dir va", "router-ctl --dir var/"),
                (f"{CTL} gatew", f"{CTL} gateways")):
            equal(bash.completed(typed), wanted, typed)
        equal(words(bash.offered("router-ctl match ")),
              ["cancel", "event", "list", "new", "show", "teams"])
        equal(words(bash.offered("router-ctl st")), ["stats", "status"])


def said_by(*words):
    """The help of a program."""
    return subprocess.run([os.path.join(BIN, words[0]), *words[1:]], capture_output=True,
                          timeout=DEADLINE).stdout.decode()


def options_in(text):
    return sorted(re.findall(r"^  (--[a-z-]+)", text, re.M))


def test_each_verb_and_option_of_each_program_is_completed_and_nothing_else():
    with World() as w, Shell(w.base) as bash:
        for name in ("touchline", "touchline-router", "touchline-http", "touchline-tcp",
                     "touchline-ws", "touchline-repeater", "touchline-flood"):
            equal(words(bash.offered(f"{name} --")), options_in(said_by(name, "--help")), name)
        equal(words(bash.offered("touchline ")), ["reload", "upgrade"])
        equal(bash.completed("touchline --set http.insta"), "touchline --set http.instances=")
        equal(bash.completed("touchline-ws --set link.thr"), "touchline-ws --set link.through=")
        help_text = said_by("router-ctl", "help")
        verbs = re.findall(r"^  ([a-z]+) ", help_text, re.M)
        aliases = re.findall(r"\(also ([a-z]+)\)", help_text)
        check(len(verbs) > 20 and len(aliases) == 3, help_text)
        equal(words(bash.offered("router-ctl ")), sorted(verbs + aliases))
        equal(words(bash.offered("router-ctl help ")), sorted(verbs + aliases))
        common = ["--check", "--color", "--config", "--dir", "--help", "--json", "--print-config",
                  "--router", "--set", "--version"]
        equal(options_in(said_by("router-ctl", "--help")), common)
        for verb in verbs:
            equal(said_by("router-ctl", verb, "--help"), said_by("router-ctl", "help", verb))
            equal(words(bash.offered(f"router-ctl {verb} --")),
                  sorted(common + options_in(said_by("router-ctl", "help", verb))), verb)


def test_tab_knows_channels_matches_teams_and_files():
    with World() as w, Shell(w.base) as bash:
        for channel in ("room/lobby", "room/kitchen", "user/ana", "a:b:c"):
            equal(w.publish(channel, "x").status, 201)
        w.ctl("match", "teams", "elp", "Estudiantes")
        w.ctl("match", "teams", "tig", "Tigre")
        w.ctl("match", "new", "elp", "tig", "2011-09-13")
        with open(os.path.join(w.base, "cup.json"), "w"):
            pass
        for typed, wanted in (
                ("router-ctl history us", "router-ctl history user/ana"),
                ("router-ctl tail user/ana room/lo", "router-ctl tail user/ana room/lobby"),
                ("router-ctl history a:", "router-ctl history a:b:c"),
                ("router-ctl match show e", "router-ctl match show elp-tig-2011-09-13"),
                ("router-ctl match new elp t", "router-ctl match new elp tig"),
                ("router-ctl match list --team el", "router-ctl match list --team elp"),
                (f"router-ctl --dir={w.dir} who user", f"router-ctl --dir={w.dir} who user/ana"),
                ("router-ctl replay cu", "router-ctl replay cup.json")):
            equal(bash.completed(typed), wanted, typed)
        equal(words(bash.offered("router-ctl who room/")), ["room/kitchen", "room/lobby"])
        w.stop()
        equal(bash.completed("router-ctl history us"), "router-ctl history us", "no router")


def test_the_names_that_strangers_give_are_not_run():
    with World() as w, Shell(w.base) as bash:
        spoilt = os.path.join(w.base, "spoilt")
        for name in ("x$(touch${IFS}spoilt)", "y`touch${IFS}spoilt`", "z;touch${IFS}spoilt"):
            quoted = "".join(f"%{b:02x}" for b in name.encode())
            equal(w.publish(quoted, "x").status, 201)
        bash.offered("router-ctl history ")
        check(not os.path.exists(spoilt), "a command within a name was run by Tab")
        for first, name in (("x", "x$(touch${IFS}spoilt)"), ("y", "y`touch${IFS}spoilt`"),
                            ("z", "z;touch${IFS}spoilt")):
            bash.type(f"router-ctl history {first}\t --json\n")
            shown = bash.until(bash.PROMPT).decode()
            check(f'"channel":"{name}"' in shown, shown)
        check(not os.path.exists(spoilt), "it was run by Enter")
