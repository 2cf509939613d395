"""The documents: every line to paste is run, every output shown is compared,
and lists that have a source in the code are held against it.

docs/testing.md says how blocks are written. What cannot be run here says why
in the document, and its reasons are printed."""
import importlib.util
import inspect
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time

from browser import Browser
from world import BIN, DATA, DEADLINE, ROOT, Failed, World, check, equal, heed_interrupts

LANGUAGES = {"sh", "console", "ini", "json", "js", "html", "python", "go", "text", "unit", "c"}
# What a command that goes on has to say is over when nothing comes for so
# long: it only decides how long one more line, a wrong one, has to turn up.
QUIET = 0.2


class Block:
    def __init__(self, path, line, words, lines):
        self.where = f"{path}:{line}"
        self.lang, _, self.note = words.partition(" ")
        self.lines = lines

    def text(self):
        return "\n".join(self.lines) + "\n"


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def blocks(path):
    """The fenced blocks of a document; a fence without a language is a fault."""
    out, start = [], None
    for number, line in enumerate(read(path).split("\n"), 1):
        if not line.startswith("```"):
            if start:
                lines.append(line)
        elif start:
            check(line == "```", f"{path}:{number}: {line}")
            out.append(Block(path, start, words, lines))
            start = None
        else:
            start, words, lines = number, line[3:].strip(), []
            check(words.split(" ")[0] in LANGUAGES,
                  f"{path}:{number}: a block of no known language: {words!r}")
    check(not start, f"{path}:{start}: a block without an end")
    return out


# ---- what varies ----------------------------------------------------------

# What a line of a document may differ in from what is printed: "..." stands
# for anything, an epoch for an epoch, a number for a number.
VARIES = re.compile(r"""(?P<any>\.\.\.)
                     | (?P<epoch>\b[a-z0-9]{10}(?=-\d) | (?<="epoch":")[a-z0-9]{10})
                     | (?P<number>\d+)""", re.X)
STANDS_FOR = {"any": ".*", "epoch": "[a-z0-9]{10}", "number": "[0-9]+"}


def pattern(line):
    """A line of a document as a regular expression for what is printed."""
    out, at = "", 0
    for m in VARIES.finditer(line):
        out += re.escape(line[at:m.start()]) + STANDS_FOR[m.lastgroup]
        at = m.end()
    return re.compile(out + re.escape(line[at:]) + r"\Z")


CURSOR = re.compile(r"""\b([a-z0-9]{10})-(\d+)\b|"epoch":"([a-z0-9]{10})","seq":(\d+)""")


def cursors(line):
    """Those that stand in a line, and those of messages whose parts do."""
    return [f"{m[1] or m[3]}-{m[2] or m[4]}" for m in CURSOR.finditer(line)]


# ---- a terminal -------------------------------------------------------------

class Command:
    """One command of a console block: its output, line by line."""

    def __init__(self, text, cwd, env):
        self.text = text
        self.proc = subprocess.Popen(["bash", "-c", text], cwd=cwd, env=env,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.STDOUT, start_new_session=True,
                                     preexec_fn=heed_interrupts)
        self.rest, self.ended = b"", False

    def type(self, line):
        self.proc.stdin.write(line.encode() + b"\n")
        self.proc.stdin.flush()

    def take(self):
        """Lines that are there now; a last one without LF when it has ended."""
        data = os.read(self.proc.stdout.fileno(), 65536)
        self.ended = not data
        self.rest += data
        *lines, self.rest = self.rest.split(b"\n")
        if self.ended and self.rest:
            lines, self.rest = lines + [self.rest], b""
        return [x.decode(errors="replace").rstrip("\r") for x in lines]

    def interrupt(self):
        """What a terminal does on Ctrl-C; it must be heeded."""
        os.killpg(self.proc.pid, signal.SIGINT)
        self.proc.wait(DEADLINE)

    def kill(self):
        if self.proc.poll() is None:
            os.killpg(self.proc.pid, 9)
        self.proc.wait()
        self.proc.stdin.close()
        self.proc.stdout.close()


class Terminal:
    """Runs a console block. What a command prints must be what stands below
    it. It must end by itself, and well, unless ^C follows; commands that end
    in & go on, and what they print later joins in. command: what the block
    before has left, with which this one begins; stays: the last one is left to
    the next block."""

    def __init__(self, block, place, command=None, stays=False):
        self.block, self.place, self.live, self.got = block, place, [], []
        self.left, self.stays = command, stays

    def fail(self, command, text):
        raise Failed(f"{self.block.where}: {command.text}\n  {text}")

    def step(self, wait):
        """Takes what comes, or ends, within so many seconds; False: nothing."""
        fds = {c.proc.stdout.fileno(): c for c in self.live if not c.ended}
        ready = select.select(list(fds), [], [], max(0, wait))[0]
        for fd in ready:
            self.got += fds[fd].take()
        return bool(ready)

    def match(self, command, left, loose):
        """Crosses what has come off the list."""
        for line in self.got:
            at = next((i for i, w in enumerate(left) if pattern(w).match(line)), None)
            if at is not None:
                self.place.learn(left.pop(at), line)
            elif not loose:
                self.fail(command, f"printed  {line}\n  wanted   "
                                   f"{left[0] if left else '(nothing more)'}")
        self.got = []

    def expect(self, wanted, command, ends):
        """These lines come, in any order between commands that run beside each
        other, and no others; ends: and then the command ends."""
        until = time.monotonic() + self.place.patience
        left = [w for w in wanted if w != "..."]
        loose = len(left) < len(wanted)
        while left or (ends and not command.ended):
            if not self.step(until - time.monotonic()):
                self.fail(command, f"did not print {left[0]}" if left else "does not end")
            self.match(command, left, loose)
            if left and not any(not c.ended for c in self.live):
                self.fail(command, f"ended without {left[0]}")
        while not ends and self.step(QUIET):
            self.match(command, left, loose)

    def session(self, command, stages, stays):
        stopped = stages[-1][1][-1:] == ["^C"]
        ends = not (stopped or command.goes_on or stays)
        for i, (typed, wanted) in enumerate(stages):
            last = i == len(stages) - 1
            if typed is not None:
                command.type(self.place.typed(typed))
            self.expect([self.place.localise(w) for w in wanted if w != "^C"], command, ends and last)
        if ends:
            code = command.proc.wait(DEADLINE)
            # telnet calls it a failure when the other side closes.
            if code and not command.text.startswith("telnet "):
                self.fail(command, f"exit {code}")
        if stopped:
            command.interrupt()
        if not command.goes_on and not stays:
            self.live.remove(command)
            command.kill()

    def begin(self, text):
        if self.left:
            command, self.left = self.left, None
        else:
            command = self.place.command(text.removesuffix("&").rstrip())
            command.text, command.goes_on = text, text.endswith("&")
        self.live.append(command)
        return command

    def run(self):
        """The command that is left to the next block, or None."""
        kept = None
        try:
            todo = sessions(self.block, self.left)
            for i, (text, stages) in enumerate(todo):
                command = self.begin(text)
                stays = self.stays and i == len(todo) - 1
                self.session(command, stages, stays)
                kept = command if stays else None
        finally:
            for c in self.live:
                if c is not kept:
                    c.kill()
        return kept


def sessions(block, left=None):
    """[(command, [(what is typed or None, [lines that follow])])]; left: the command
    with which the block begins."""
    out, lines = [], list(block.lines)
    if left:
        out.append((left.text, [(None, [])]))
    while lines:
        line = lines.pop(0)
        if line.startswith("$ "):
            while line.endswith("\\"):
                line = line[:-1] + lines.pop(0).lstrip()
            out.append((line[2:], [(None, [])]))
        elif not out:
            raise Failed(f"{block.where}: output in front of the first command")
        elif line.startswith("> "):
            out[-1][1].append((line[2:], []))
        else:
            out[-1][1][-1][1].append(line)
    return out


# ---- a place to run them in -------------------------------------------------

class Place:
    """A running system that takes the place of the one in the documents. patience:
    seconds that a command may take."""
    patience = DEADLINE

    def __init__(self, world):
        self.w = world
        self.cursors = {}
        self.cwd = os.path.join(world.base, "cwd")
        os.makedirs(self.cwd, exist_ok=True)
        self.conf = os.path.join(self.cwd, "touchline.conf")
        host, port = world.address("tcp")
        self.names = [
            ("127.0.0.1:8000", "%s:%d" % world.address("http")),
            ("127.0.0.1:8001", "%s:%d" % world.address("ws")),
            ("127.0.0.1 9999", f"{host} {port}"),
            ("127.0.0.1:9999", f"{host}:{port}"),
            ("build/demo/var", world.dir),
            ("/var/lib/touchline", world.dir),
            ("/etc/touchline/touchline.conf", self.conf),
            ("/backup/", self.cwd + "/"),
            ("build/bin/", BIN + "/"),
        ]
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
        self.env.update(PATH=BIN + ":" + os.environ["PATH"], LC_ALL="C", HOME=self.cwd)

    def localise(self, text):
        for theirs, ours in self.names:
            text = text.replace(theirs, ours)
        return text

    def learn(self, wanted, printed):
        """A cursor of the document is the one that was printed in its place."""
        theirs, ours = cursors(wanted), cursors(printed)
        if len(theirs) == len(ours):
            self.cursors.update(zip(theirs, ours))

    def typed(self, text):
        """What is typed, with the cursors that the reader has in front of him."""
        return CURSOR.sub(lambda m: self.cursors.get(m[0], m[0]), self.localise(text))

    def command(self, text):
        cwd = ROOT if re.match(r"(make|tools/|grep|python3 tests/)", text) else self.cwd
        return Command(self.typed(text), cwd, self.env)

    def script(self, block):
        """A block of lines to paste, none of which may fail."""
        text = self.localise(block.text())
        cwd = ROOT if re.match(r"(make|tools/|grep|python3 tests/)", text) else self.cwd
        try:
            p = subprocess.run(["bash", "-e", "-o", "pipefail", "-c", text], cwd=cwd,
                               env=self.env, stdin=subprocess.DEVNULL, capture_output=True,
                               timeout=DEADLINE * 3)
        except subprocess.TimeoutExpired:
            raise Failed(f"{block.where}: does not end")
        check(p.returncode == 0, f"{block.where}: exit {p.returncode}\n{text}\n"
              f"{p.stdout.decode()}{p.stderr.decode()}")

    def config(self, block):
        """A configuration that the binaries understand; the last one shown is
        the /etc/touchline/touchline.conf of the lines that follow."""
        with open(self.conf, "w") as f:
            f.write(block.text())
        p = subprocess.run([os.path.join(BIN, "touchline"), "--config", self.conf,
                            "--print-config"], capture_output=True, timeout=DEADLINE)
        check(p.returncode == 0, f"{block.where}: {p.stderr.decode()}")


def syntax(block):
    p = subprocess.run(["bash", "-n", "-c", block.text()], capture_output=True)
    check(p.returncode == 0, f"{block.where}: {p.stderr.decode()}")


def run_block(block, place):
    """True when it was run, or is nothing to run; False: it says why not."""
    elsewhere = re.search(r'elsewhere="([^"]+)"', block.note)
    if elsewhere:
        syntax(block)
        print(f"     {block.where} not run here: {elsewhere[1]}", flush=True)
        return False
    if block.lang == "sh":
        place.script(block)
    elif block.lang == "console":
        Terminal(block, place).run()
    elif block.lang == "ini":
        place.config(block)
    return True


def run_document(path, prepare=None):
    with World() as w:
        place = Place(w)
        if prepare:
            prepare(w)
        for block in blocks(path):
            run_block(block, place)


# ---- the documents ----------------------------------------------------------

def documents():
    for folder, _, names in os.walk(os.path.join(ROOT, "docs")):
        for name in sorted(names):
            if name.endswith(".md"):
                yield os.path.relpath(os.path.join(folder, name), ROOT)
    yield "README.md"


def test_lines_of_the_readme_work():
    run_document("README.md")


def test_lines_of_the_protocol_work():
    run_document("docs/protocol.md")


def test_lines_of_operations_work():
    run_document("docs/operations.md")


def test_the_script_for_a_browser_works():
    """README's, in the console of a page of this server."""
    with World() as w, Browser() as page:
        place = Place(w)
        page.open(w.urls["http"])
        script, = (b for b in blocks("README.md") if b.lang == "js")
        page.cdp("Runtime.evaluate", expression=place.localise(script.text()) + """
            got = []; s.addEventListener("message", (m) => got.push(JSON.parse(m.data)));""")
        page.until('window.got.some((m) => m.data === "hi") && window.got.some((m) => m.ok)',
                   "the message and the reply have come")


def test_no_other_document_has_lines_that_are_not_run():
    with World() as w:
        place = Place(w)
        for path in documents():
            if path in ("README.md", "docs/protocol.md", "docs/operations.md",
                        "docs/clients.md", "docs/tour.md"):  # files of their names run those
                continue
            for block in blocks(path):
                run_block(block, place)


def test_links_between_documents_lead_somewhere():
    for path in documents():
        for target in re.findall(r"\]\(([^)#\s]*)(?:#[^)]*)?\)", read(path)):
            if not target or "://" in target:
                continue
            there = os.path.normpath(os.path.join(ROOT, os.path.dirname(path), target))
            check(os.path.exists(there), f"{path}: {target} does not exist")


def headings(path):
    out, fenced = set(), False
    for line in read(path).split("\n"):
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            text = line.lstrip("#").strip().lower()
            out.add(re.sub(r"[^\w\- ]", "", text).replace(" ", "-"))
    return out


def test_anchors_lead_to_headings():
    for path in documents():
        for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", read(path)):
            if "://" in target:
                continue
            there = os.path.normpath(os.path.join(os.path.dirname(path), target)) \
                if target else path
            check(anchor in headings(there), f"{path}: no heading #{anchor} in {there}")


# ---- documents and code -----------------------------------------------------

def frame_fields():
    """{name: [(type, field)]} of frame.c, with the items of lists."""
    small = {"peer_kind", "yesno", "format", "fetch_mode", "status", "hole_why"}
    out = {}
    for name, body in re.findall(r"#define (\w+)\(X\)(.*?)(?=\n\n)",
                                 read("proto/frame.c"), re.S):
        fields = re.findall(r"X\((\w+),\s*(\w+)\)", body)
        if fields:
            out[name] = [("u8" if k in small else k, f) for k, f in fields]
    return out


def drawn_frames():
    """[(code, name, sender, least)], {name: [(type, field)]} of protocol.md"""
    heads, fields = [], {}
    for block in blocks("docs/protocol.md"):
        if block.note != "frames":
            continue
        for line in block.lines:
            head = re.match(r"(0x\w\w) (\w+) +(gateway|router), at least (\d+) bytes", line)
            field = re.match(r" +((?:u|i|str)\d+) +(\w+)", line)
            if head:
                heads.append(head.groups())
                fields[head[2]] = []
            elif field:
                fields[heads[-1][1]].append(field.groups())
    return heads, fields


def test_the_frames_drawn_are_those_of_the_code():
    rows = re.findall(r"FRAME\((0x\w\w), (\w+),\s+(\w+),\s+(\d+),", read("proto/frames.def"))
    heads, drawn = drawn_frames()
    equal(heads, [(c, n, w.lower(), size) for c, n, w, size in rows])
    coded = frame_fields()
    items = {"LOGIN": "LOGIN_ID", "LOGOUT": "LOGOUT_ID", "LOGGED_IN": "LOGGED_IN_ID"}
    for _, name, _, _ in rows:
        if name in coded:
            equal(drawn[name], coded[name] + coded.get(items.get(name), []), name)


def sources(*folders):
    for folder in folders:
        for path, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in names:
                if name.endswith((".c", ".h", ".def")):
                    with open(os.path.join(path, name), encoding="utf-8") as f:
                        yield f.read()


def test_files_and_functions_that_documents_name_exist():
    code = "\n".join(sources("proto", "store", "router", "gateways", "tools"))
    for path in documents():
        text = re.sub(r"```.*?```", "", read(path), flags=re.S)
        for name in re.findall(r"`([a-z_]+)\(\)`", text):
            if name not in ("input", "put", "sendmsg", "ini_parse"):
                check(f"{name}(" in code, f"{path}: no function {name}()")
        for name in re.findall(r"`((?:proto|store|router|gateways|tools|tests)/[\w/.-]+)`", text):
            if "X_" not in name:
                check(os.path.exists(os.path.join(ROOT, name)), f"{path}: no file {name}")


def test_decisions_have_numbers_of_their_own_and_are_listed():
    folder = os.path.join(ROOT, "docs", "decisions")
    files = sorted(n for n in os.listdir(folder) if n != "README.md")
    index = read("docs/decisions/README.md")
    numbers = [int(name[:4]) for name in files]
    equal(len(set(numbers)), len(files), "numbers that are used once")
    for number, name in zip(numbers, files):
        title = read("docs/decisions/" + name).split("\n")[0]
        equal((name[:5], title.split(" ")[:2]), (f"{number:04}-", ["#", f"{number}."]), name)
        line = f"{number}. [{title.split('. ', 1)[1]}]({name})\n"
        check(line in index, f"docs/decisions/README.md lacks {line}")
    equal(len(re.findall(r"^\d+\. ", index, re.M)), len(files), "lines of the index")


def test_system_tests_that_documents_name_exist():
    from run import tests  # which imports this file
    names = [t.name for t in tests()]
    for path in documents():
        for words in re.findall(r"system/run\.py((?: [a-z_]+(?:\.[a-z_]+)?)+)", read(path)):
            for word in words.split():
                check(any(word in name for name in names), f"{path}: no test is named {word}")


def hostile():
    """tests/hostile/run.py, which is no module of this folder."""
    path = os.path.join(ROOT, "tests", "hostile", "run.py")
    spec = importlib.util.spec_from_file_location("hostile", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names_of_units(program):
    """The tests of a unit test program."""
    return re.findall(r"^TEST\((\w+)\)", read(f"tests/{program}.c"), re.M)


def test_every_threat_is_written_down_and_its_tests_exist():
    from run import tests  # which imports this file
    system = [t.name for t in tests()]
    described = re.findall(r"^### (T\d+)\. ", read("docs/threats.md"), re.M)
    equal(described, [f"T{n}" for n in range(1, 33)], "headings of docs/threats.md")
    table = hostile().rows()
    equal(sorted(set(described) - set(table)), [], "threats without a line in threats.txt")
    equal(sorted(set(table) - set(described)), [], "lines of threats that are none")
    for threat, entries in table.items():
        for kind, words in entries:
            names = system
            if kind == "none":
                continue
            if kind == "unit":
                names, words = names_of_units(words[0]), words[1:]
            for word in words:
                check(any(word in n for n in names), f"{threat}: no test is named {word}")


def test_what_shows_a_threat_is_run_for_it():
    """Each test that a row of docs/threats.md is shown by is in its lines of
    threats.txt."""
    table = hostile().rows()
    for row in read("docs/threats.md").split("\n### ")[1:]:
        threat = row.split(".")[0]
        shown = re.findall(r"^\*Shown by\* (.*?)(?:;|\n\n|$)", row, re.M | re.S)
        run = {w for kind, words in table[threat] if kind != "none"
               for w in (words if kind == "system" else words[:1])}
        equal(len(shown), 1 if run else 0, f"{threat}: lines that say what shows it")
        for name in re.findall(r"`([^`]+)`", "".join(shown)):
            name = re.sub(r"^tests/(.*)\.c$", r"\1", name)
            check(name in run, f"{threat}: {name} is not in threats.txt")


def chaos_rows():
    """{name: row of the table} of the faults that tests/chaos draws."""
    sys.path.append(os.path.join(ROOT, "tests", "chaos"))
    from faults import table
    return {f.name: f.row for f in table().values()}


def test_every_fault_is_shown_by_tests_that_exist():
    from run import tests  # which imports this file
    system = [t.name for t in tests()]
    text = read("docs/testing.md").partition("\n## Faults\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| (F\d+) \| (.*) \|$", text, re.M))
    equal(list(rows), [f"F{n}" for n in range(1, 22)], "rows of the table")
    drawn = chaos_rows()
    for fault, cells in rows.items():
        shown = re.findall(r"`([^`]+)`", cells)
        check(shown, f"{fault}: shown by nothing")
        chaos = {name[6:] for name in shown if name.startswith("chaos ")}
        equal(chaos, {name for name, row in drawn.items() if row == fault}, fault)
        for name in shown:
            if re.match(r"(?!tests/)\w+/\w+ ", name):
                program, unit = name.split()
                check(unit in names_of_units(program), f"{fault}: no test is named {name}")
            elif "." in name:
                check(any(name in n for n in system), f"{fault}: no test is named {name}")


def test_every_error_code_is_listed():
    """In codes.def, of which the counters are made, and in protocol.md, there
    perhaps as one of a group: `request.*`. Codes in the source are the words
    with a dot that are handed to a function that tells an error."""
    text = read("docs/protocol.md").partition("## Errors")[2].partition("\n## ")[0]
    cells = "".join(re.findall(r"^\|([^|]*)\|", text, re.M))
    listed = set(re.findall(r"`([a-z_]+(?:\.[a-z_*0-9]+)?)`", cells))
    codes = set(re.findall(r'CODE\("([a-z_.0-9]+)"\)', read("proto/codes.def")))
    calls = (r'(?:refuse|refused|bad|deny|fail|reply_error|tcp_error|ws_error|plug_refusef?|'
             r'refuse_fault|upgrade_refuse|url_bad|REFUSAL|X|SLICE_INIT|gateway_refused)'
             r'\([^;"]*?"([a-z]+\.[a-z_]+)"')
    found = set()
    for source in sources("gateways", "router"):
        found |= set(re.findall(calls, source))
    check(len(found) > 60, f"only {len(found)} codes found in the code")
    equal(sorted(found - codes), [], "codes that proto/codes.def does not list")
    equal(sorted(c for c in codes
                 if c not in listed and c.partition(".")[0] + ".*" not in listed), [],
          "codes that docs/protocol.md does not list")
    equal(sorted(c for c in listed if "*" not in c and c not in codes), [],
          "codes of docs/protocol.md that proto/codes.def does not list")
    equal(sorted(c for c in listed if c.endswith(".*") and
                 not any(x.startswith(c[:-1]) for x in codes)), [], "groups without a code")


def test_every_reason_of_an_end_is_explained():
    text = read("docs/operations.md").partition("Why\nconnections end:")[2].partition("\n## ")[0]
    equal(sorted(re.findall(r"^\| `(\w+)` \|", text, re.M)),
          re.findall(r'CLOSE\("(\w+)"', read("gateways/common/closes.def")))


def test_every_counter_is_explained():
    text = read("docs/operations.md")
    names = set()
    for path in ("router/stats.h", "router/repeater/stats.h", "gateways/common/stats.h",
                 "proto/repairs.h"):
        names |= set(re.findall(r'X\(\w+, (?:COUNTER|GAUGE),\s+"(\w+)"', read(path)))
    check(len(names) > 40, f"only {len(names)} counters found")
    equal(sorted(n for n in names if f"`{n}`" not in text and f"`{n}{{" not in text), [],
          "counters that docs/operations.md does not name")


def source_of(name, system):
    """The text of a test: `file.name` of system tests, else `program name`."""
    if name in system:
        return inspect.getsource(system[name])
    program, _, unit = name.partition(" ")
    found = re.search(rf"^TEST\({unit}\)\n{{.*?^}}", read(f"tests/{program}.c"), re.M | re.S)
    check(found, f"docs/testing.md: no test is named {name}")
    return found[0]


def test_every_limit_is_counted_and_tested():
    from run import tests  # which imports this file
    system = {t.name: t.function for t in tests()}
    rows = re.findall(r"^\| `([a-z_]+)` \| `([^`]+)` \|$",
                      read("docs/testing.md").partition("## Limits")[2].partition("\n## ")[0], re.M)
    limits = re.findall(r"F\(X, ([A-Z_]+), ([a-z_]+), [A-Z]+,", read("proto/limits.h"))
    check(len(limits) > 25, f"only {len(limits)} limits found")
    equal([key for key, _ in rows], [key for _, key in limits if key in dict(rows)], "their order")
    equal(sorted(set(key for _, key in limits) - set(dict(rows))), [], "limits without a test")
    for row, key in limits:
        text = source_of(dict(rows)[key], system)
        check((f'"{key}"' in text and "limit_reached(" in text) or f"STAT_LIMIT_{row})" in text or
              (key == "drain_wait" and "gateway.hurried" in text),
              f"{dict(rows)[key]} does not look whether {key} was counted")


def test_every_event_of_the_log_is_explained():
    text = read("docs/operations.md")
    names = set()
    for source in sources("gateways", "router", "store", "tools/touchline"):
        names |= set(re.findall(r'log_(?:error|warn|info)\(\s*"([a-z_.]+)"', source))
    check(len(names) > 30, f"only {len(names)} events found")
    equal(sorted(n for n in names if f"`{n}`" not in text), [],
          "events that docs/operations.md does not name")


def test_options_md_is_what_make_docs_makes():
    out = os.path.join(ROOT, "build", "print-options")
    if not os.path.exists(out):
        env = {k: v for k, v in os.environ.items() if not k.startswith("MAKE")}
        p = subprocess.run(["make", "build/print-options"], cwd=ROOT, env=env,
                           capture_output=True, timeout=120)
        check(p.returncode == 0, p.stderr.decode())
    equal(subprocess.run([out], capture_output=True).stdout.decode() == read("docs/options.md"),
          True, "docs/options.md is up to date: make docs")


# ---- manuals ----------------------------------------------------------------

def manuals():
    folder = os.path.join(ROOT, "docs", "man")
    return [os.path.join(folder, n) for n in sorted(os.listdir(folder))]


def test_there_is_a_manual_for_each_binary():
    have = {os.path.basename(m) for m in manuals()}
    for name in ("touchline", "touchline-router", "touchline-http", "touchline-tcp",
                 "touchline-ws", "touchline-repeater", "touchline-flood", "router-ctl"):
        check(name + ".1" in have, f"no docs/man/{name}.1")
    check("touchline.conf.5" in have, "no docs/man/touchline.conf.5")


def test_manuals_have_the_sections_that_one_looks_for():
    for path in manuals():
        with open(path, encoding="utf-8") as f:
            text = f.read()
        wanted = ["NAME", "DESCRIPTION", "FILES", "EXAMPLES", "SEE ALSO"]
        if path.endswith(".1"):
            wanted += ["SYNOPSIS", "EXIT STATUS", "ENVIRONMENT"]
        for section in wanted:
            check(re.search(rf"^\.SH {section}$", text, re.M), f"{path}: no {section}")


def test_manuals_are_well_formed():
    """groff without a word of warning; where there is none, the macros are
    looked at by hand: balanced, and known."""
    groff = shutil.which("groff")
    for path in manuals():
        with open(path, encoding="utf-8") as f:
            text = f.read()
        check(re.search(r"^\.(TH|Dt) ", text, re.M), f"{path}: no title")
        for begin, end in (("nf", "fi"), ("RS", "RE"), ("EX", "EE")):
            equal(len(re.findall(rf"^\.{begin}\b", text, re.M)),
                  len(re.findall(rf"^\.{end}\b", text, re.M)), f"{path}: .{begin}")
        if groff:
            p = subprocess.run([groff, "-man", "-ww", "-z", "-Tutf8", "-K", "utf8", path],
                               capture_output=True)
            noise = "\n".join(x for x in p.stderr.decode().split("\n")
                              if x and "preconv" not in x)
            equal(noise, "", path)


ROFF = (("\\-", "-"), ("\\(aq", "'"), ("\\(dq", '"'), ("\\e", "\\"), ("\\&", ""))


def examples(path):
    """The displayed blocks of a manual, as a terminal shows them."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    for block in re.findall(r"^\.(?:EX|nf)\n(.*?)^\.(?:EE|fi)", text, re.M | re.S):
        for theirs, plain in ROFF:
            block = block.replace(theirs, plain)
        yield block


def example_block(path, text):
    """How it is run; None: it shows what is printed, or what is typed."""
    first = text.split()[0]
    if first.startswith("["):
        return Block(path, 0, "ini", text.splitlines())
    if first.startswith("touchline"):
        return Block(path, 0, "sh", [text.rstrip() + " --print-config"])
    if first in ("curl", "router-ctl", "date", "printf"):
        lines = []
        for line in text.replace("page-somebody", "true").splitlines():
            goes_on = " -N " in line or " tail " in line or "--match 64" in line
            lines += ["$ " + line, "...", *(["^C"] if goes_on else [])]
        return Block(path, 0, "console", lines)
    check(first in ("ready", "$", "s", ".B"), f"{path}: {text}")
    return None


def test_examples_in_the_manuals_work():
    with World() as w:
        place = Place(w)
        place.env["TOUCHLINE_ROUTER"] = w.dir
        shutil.copy(os.path.join(DATA, "worldcup", "2022.json"), place.cwd + "/worldcup.json")
        found = [b for path in manuals() for text in examples(path)
                 if (b := example_block(path, text))]
        check(len(found) > 10, f"only {len(found)} examples found")
        for block in sorted(found, key=lambda b: b.lang != "ini"):
            run_block(block, place)


def test_manuals_name_every_option():
    for name in ("touchline", "touchline-router", "touchline-http", "touchline-tcp",
                 "touchline-ws", "touchline-repeater", "touchline-flood"):
        p = subprocess.run([os.path.join(BIN, name), "--help"], capture_output=True)
        with open(os.path.join(ROOT, "docs", "man", name + ".1"), encoding="utf-8") as f:
            manual = f.read().replace("\\-", "-")
        for option in re.findall(r"^  (--[a-z-]+)", p.stdout.decode(), re.M):
            check(option in manual, f"{name}.1 does not name {option}")


def test_touchline_conf_names_every_key():
    with open(os.path.join(ROOT, "docs", "man", "touchline.conf.5"), encoding="utf-8") as f:
        manual = f.read().replace("\\-", "-").replace("\\fB", "").replace("\\fR", "")
    for key in re.findall(r"^\| `(\w+)` \|", read("docs/options.md"), re.M):
        check(re.search(rf"\b{key}\b", manual), f"touchline.conf.5 does not name {key}")


# ---- the test itself ---------------------------------------------------------

def test_a_wrong_output_is_found():
    with World() as w:
        place = Place(w)
        for lines in (["$ echo seq 12", "seq 7"], ["$ printf 'a\\nb\\n'", "a", "..."],
                      ["$ cat", "> a", "a", "^C"], ["$ cat &", "$ echo a", "a"],
                      ["$ echo abcdefghi0-17", "x7k2p9qa41-5",
                       "$ test x7k2p9qa41-5 = abcdefghi0-17"]):
            run_block(Block("t", 1, "console", lines), place)
        for lines in (["$ echo a", "b"], ["$ echo a"], ["$ false"], ["$ true", "a"],
                      ["$ printf 'a\\nb\\n'", "a"], ["$ cat", "> a", "b", "^C"],
                      ["$ (echo a; sleep 9) &", "b"]):
            try:
                run_block(Block("t", 1, "console", lines), place)
            except Failed:
                continue
            raise Failed(f"taken for right: {lines}")
