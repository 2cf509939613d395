"""router-ctl shell: on a terminal, and with lines that are piped in."""
import os
import re
import signal
import stat
import subprocess

from terminal_system import CTL, Terminal
from world import DEADLINE, Failed, World, check, equal, eventually

DONE, FAILED, USAGE, NO_ROUTER, NOT_FOUND, REFUSED = range(6)
SGR = re.compile(r"\033\[([0-9;]*)m")


def plain(text):
    """What stands there, without colours and movements."""
    return re.sub(r"\033\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")


def line_of(text):
    """The last line as it stands on the screen after this: the editor writes what has
    changed alone."""
    cells, at = [], 0
    for move, count, letter, char in re.findall(r"(\033\[([0-9;?]*)([A-Za-z]))|(.)", text, re.S):
        n = int(count) if count.isdigit() else 1
        if char == "\n":
            cells, at = [], 0
        elif char in ("\r", "\b"):
            at = 0 if char == "\r" else at - 1
        elif letter == "G":
            at = n - 1
        elif letter in ("C", "D"):
            at += n if letter == "C" else -n
        elif letter == "K":
            del cells[at:]
        elif letter == "P":
            del cells[at:at + n]
        elif letter == "@":
            cells[at:at] = " " * n
        elif char and char != "\a":
            cells += " " * (at - len(cells) + 1)
            cells[at] = char
            at += 1
    return "".join(cells)


class Shell(Terminal):
    """The shell as one types into it; its home is the directory of the world."""

    def __init__(self, w, *args, **env):
        self.w = w
        super().__init__(CTL, "--dir", w.dir, *args, "shell", controls=True, HOME=w.base, **env)
        self.first = self.until(b"leaves") + self.prompt()

    def prompt(self):
        """Up to and with the next prompt."""
        have = b""
        while not plain(have.decode()).endswith("> "):
            more = self.bytes()
            check(more, f"ended without a prompt: {have}")
            have += more
        return have

    def say(self, line):
        """What is answered, with the echo in front and the next prompt behind."""
        self.type(line + "\n")
        self.until(b"\n")
        return plain(self.prompt().decode())


def history(w):
    with open(os.path.join(w.base, ".router-ctl_history")) as f:
        return f.read()


def test_a_line_is_a_verb_and_the_prompt_says_where_one_is_and_how_it_went():
    with World() as w, Shell(w) as s:
        check(plain(s.first.decode()).endswith("dev> "), s.first)
        check("a #1" in s.say("publish a 'hello there'"), "a text in quotes is one word")
        said = s.say("history a")
        check("a #1: hello there\n" in said and said.endswith("dev> "), said)
        said = s.say("kick nobody")
        check("connection.none" in said and said.endswith("dev [4]> "), said)
        check(s.say("publish a 'x").endswith("dev [2]> "), "an open quote")
        check(s.say("shell").endswith("dev [2]> "), "a shell within the shell")
        check(s.say("status").endswith("dev> "), "all is well again")
        check(s.say("").endswith("dev> "), "nothing")
        s.type("exit\n")
        s.all()
        equal(s.proc.wait(DEADLINE), DONE)


def test_the_prompt_turns_red_after_a_failure_where_colours_are_wanted():
    with World() as w:
        with Shell(w) as s:
            check(b"\033[31m" not in s.first, s.first)
            s.type("kick nobody\n")
            shown = s.prompt()
            check(b"dev\033[0;31m [4]>\033[0m " in shown, shown)
        with Shell(w, NO_COLOR="1") as s:
            s.type("kick nobody\n")
            s.until(b"\n")
            shown = s.prompt()
            check(not SGR.search(shown.decode()), shown)


def test_the_environment_of_the_router_is_shown_and_followed():
    with World(config="[process]\nenvironment = live\n") as w, Shell(w) as s:
        check(b"\033[1;97;41mlive\033[0m>" in s.first, s.first)
        check("environment" in w.ctl("status") and "live" in w.ctl("status"), "in status, too")
        with open(w.config, "w") as f:
            f.write("[process]\nenvironment = staging\n")
        w.proc.send_signal(signal.SIGHUP)
        eventually(lambda: "staging" in w.ctl("status"), "it is read again")
        check(s.say("status").endswith("staging> "), "followed")
        w.stop()
        check(s.say("channels").endswith("no router [3]> "), "it has gone")


def test_where_it_is_live_what_cannot_be_taken_back_is_asked_for():
    with World(config="[process]\nenvironment = live\n") as w, \
            w.stream("/v1/stream?channel=a") as c, Shell(w) as s:
        c.item()
        for answer, code in (("n", "[5]"), ("", "[5]")):
            s.type("kick a\n")
            check("kick a? [y/N] " in plain(s.until(b"[y/N] ").decode()), "the question")
            s.type(answer + "\n")
            said = plain(s.prompt().decode())
            check("--yes" in said and said.endswith(f"live {code}> "), said)
        s.type("kick a\n")
        s.until(b"[y/N] ")
        s.type("y\n")
        check(plain(s.prompt().decode()).endswith("live> "), "done")


def test_nobody_is_asked_elsewhere_or_with_yes_or_without_a_terminal():
    for environment in ("live", "dev"):
        with World([f"process.environment={environment}"]) as w, \
                w.stream("/v1/stream?channel=a") as a, w.stream("/v1/stream?channel=b") as b:
            a.item()
            b.item()
            check("1" in w.ctl("kick", "a"), "from a script")
            more = ["--yes"] if environment == "live" else []
            with Terminal(CTL, "--dir", w.dir, "kick", "b", *more) as t:
                check(b"[y/N]" not in t.all(), "not asked")
                equal(t.proc.wait(DEADLINE), DONE)


def test_the_history_is_kept_for_its_owner_alone_and_without_secrets():
    with World() as w:
        with Shell(w) as s:
            s.say("publish a one")
            s.say("--set link.secret=hidden-hidden-hidden status")
            s.say(" publish a quietly")
            s.type("\x04")
            s.all()
            equal(s.proc.wait(DEADLINE), DONE, "Ctrl-D leaves")
        path = os.path.join(w.base, ".router-ctl_history")
        equal(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        equal(history(w), "publish a one\n")
        with Shell(w) as s:
            s.type("\x1b[A\n")  # the line of before
            s.until(b"publish a one")
            check("a #3" in plain(s.prompt().decode()), "it was run again")
        os.remove(path)
        os.symlink("/dev/full", path)
        with Shell(w) as s:
            check("a #4" in s.say("publish a x"), "a link is no history, and no matter")


def test_ctrl_c_gives_up_a_line_or_ends_what_runs_and_the_shell_goes_on():
    with World() as w, Shell(w) as s:
        s.type("publish a never\x03")
        check(plain(s.prompt().decode()).endswith("dev> "), "the line is gone")
        check("a #1" in s.say("publish a first"), "nothing of it was run")
        s.type("tail b\n")
        eventually(lambda: "b " in w.ctl("channels"), "it listens")
        s.type("\x03")
        said = plain(s.prompt().decode())
        check(said.endswith("dev> ") or said.endswith("]> "), said)
        check("a #2" in s.say("publish a second"), "and goes on")


def test_tab_completes_verbs_options_channels_and_matches():
    with World() as w:
        w.ctl("match", "teams", "elp", "Estudiantes")
        w.ctl("match", "teams", "tig", "Tigre")
        w.ctl("match", "new", "elp", "tig", "2011-09-13")
        for name in ("room/lobby", "room/kitchen", "user/ana", "it's"):
            w.ctl("publish", name, "x")
        with Shell(w) as s:
            for typed, wanted in (("hist", "history "), ("history us", "history user/ana "),
                                  ("history a --bef", "history a --before "),
                                  ("tail user/ana room/l", "tail user/ana room/lobby "),
                                  ("help kic", "help kick "), ("match ca", "match cancel "),
                                  ("match show e", "match show elp-tig-2011-09-13 "),
                                  ("match new elp t", "match new elp tig "),
                                  ("history room", "history room/"),
                                  ("history it", "history it\\'s ")):
                s.type(typed + "\t")
                shown = b""
                while line_of("dev> " + shown.decode()) != "dev> " + wanted:
                    try:
                        shown += s.bytes()
                    except Failed:
                        raise Failed(f"{typed}: {line_of(shown.decode())}")
                s.type("\x03")
                s.prompt()
            s.type("history room/\t")
            s.until(b"room/kitchen  room/lobby")
            s.type("\x03")
            s.until(b"^C")
            s.prompt()
            check("it's #1: x" in s.say("history it\t"), "quoted")


# ---- without a terminal ---------------------------------------------------------

def run(w, lines, *args):
    p = subprocess.run([CTL, "--dir", w.dir, *args, "shell"], input=lines.encode(),
                       capture_output=True, timeout=DEADLINE, env={**os.environ, "HOME": w.base})
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def test_lines_that_are_piped_in_are_run_until_one_fails():
    with World() as w:
        code, out, err = run(w, "# a comment\npublish a one\n\npublish a -\n")
        equal((code, err), (DONE, ""))
        check("a #1" in out and "\033" not in out and "> " not in out, out)
        code, out, err = run(w, "publish a 2\nkick nobody\npublish a 3\n")
        equal(code, NOT_FOUND)
        check("line 2 ended with exit code 4" in err, err)
        code, out, err = run(w, "publish a -\nthis is its text\nand this\n")
        equal((code, err), (DONE, ""), "what follows is its standard input")
        code, out, _ = run(w, "history a\n", "--json")
        data = re.findall(r'"data":"([^"]*)"', out)
        equal(data, ["one", "", "2", "this is its text\\nand this\\n"])
        code, _, _ = run(w, "exit\nkick nobody\n")
        equal(code, DONE)
        check(not os.path.exists(os.path.join(w.base, ".router-ctl_history")), "no history")
