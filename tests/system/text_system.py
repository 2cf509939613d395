"""Text everywhere: whatever is said at any edge is read at every other as it
was, or is refused where it is said. The strings are those that break programs
(conformance/naughty-strings.json), documents (json-parsing-suite.json) and
sequences of bytes (utf8-cases.txt) which others have gathered, and ATTACKS."""
import concurrent.futures
import contextlib
import json
import os
import re
import subprocess

from browser import Browser
from terminal_system import CTL, Terminal
from world import DATA, DEADLINE, ROOT, Lines, World, check, equal, eventually, full_size

END = "-- that was all --"
ALL = 10 * DEADLINE  # until all has been said
NODE_READERS = os.path.join(ROOT, "tests/node/readers.mjs")

# Fields, events and lines that a text would like to add to a stream, commands
# that a terminal would obey.
ATTACKS = [
    "\r", "\n", "\r\n", "\r\n\r\n", "a\rb", "cut\r", "\r\r\n\n",
    "x\n\nevent: admin\ndata: y", "event:admin\rdata:z\r\r", "\nid: 9", "\nretry: 1",
    ": comment", "data: x", "\0", "a\0b\u2028c\u2029d\x85e", "\ufeffbom",
    "\x1b]0;title\x07\x1b[6n\x1bP$q\x1b\\\x9b6n", "\x1b]52;c;eA==\x07\u202egnp.exe\u2066",
    "'<br/>\nRecvd msg #9: '", "\\n is \\x0a, \\u{a} and \\\\n",
]


def conformance(name):
    with open(os.path.join(DATA, "conformance", name), encoding="utf-8") as f:
        return f.read()


def strings():
    return json.loads(conformance("naughty-strings.json")) + ATTACKS


# ---- who says it -----------------------------------------------------------
# Each returns the strings that cannot be said there, each with the rule, and
# brings texts into the order in which they were taken.

def say_over_http(w, channel, texts):
    with w.client() as c:
        for some in slices(texts, 100):
            for text in some:
                c.ask("POST", f"/v1/publish/{channel}", text, Content_Type="text/plain")
            for text in some:
                equal(c.answer().status, 201, repr(text))
    return {}


def say_in_batches(w, channel, texts):
    for some in slices(texts, 256):
        body = json.dumps([{"channel": channel, "data": t} for t in some],
                          ensure_ascii=False).encode()
        answer = w.http("POST", "/v1/publish", body, {"Content-Type": "application/json"})
        equal((answer.status, len(answer.json())), (201, len(some)))
    return {}


def say_over_websocket(w, channel, texts):
    with w.ws() as ws:
        for some in slices(texts, 100):
            for n, text in enumerate(some):
                ws.frame("text", json.dumps({"cmd": "publish", "channel": channel,
                                             "data": text, "ref": n}, ensure_ascii=False))
            for n, text in enumerate(some):
                check(ws.reply(n).get("ok"), repr(text))
    return {}


def say_raw(w, channel, texts):
    with w.ws(f"/v1/raw?channel=nobody&publish={channel}") as ws:
        for text in texts:
            ws.frame("text", text)
        ws.frame("close", b"\x03\xe8")
        equal(ws.read(), ("close", 1000))
    return {}


def say_over_telnet(w, channel, texts):
    refused = {t: "a line ends at its LF" for t in texts if "\n" in t}
    said = [t for t in texts if t not in refused]
    with w.telnet() as t:
        for some in slices(said, 100):
            t.send(b"".join(f"PUB {channel} {text}\r\n".encode() for text in some))
            for text in some:
                line = t.line()
                check(line.startswith(b"OK PUB "), f"{text!r}: {line!r}")
    return refused


def say_from_the_shell(w, channel, texts, how):
    """One process a string, so not in order: the answers tell it."""
    def say(text):
        args, stdin = how(text)
        p = subprocess.run([CTL, "--dir", w.dir, "--json",
                            "publish", "--", channel, *args], input=stdin,
                           capture_output=True, timeout=DEADLINE)
        equal(p.returncode, 0, f"{text!r}: {p.stderr!r}")
        return json.loads(p.stdout)["offset"], text

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        texts[:] = [text for _, text in sorted(pool.map(say, texts))]


def say_in_the_command_line(w, channel, texts):
    refused = {t: "an argument ends at its NUL" for t in texts if "\0" in t}
    refused["-"] = "- is standard input"
    texts[:] = [t for t in texts if t not in refused]
    say_from_the_shell(w, channel, texts, lambda text: ([text], b""))
    return refused


def say_on_standard_input(w, channel, texts):
    say_from_the_shell(w, channel, texts, lambda text: (["-"], text.encode()))
    return {}


def slices(items, n):
    return [items[i:i + n] for i in range(0, len(items), n)]


SPEAKERS = {"http": say_over_http, "batch": say_in_batches, "ws": say_over_websocket,
            "raw": say_raw, "telnet": say_over_telnet, "ctl": say_in_the_command_line,
            "ctl-": say_on_standard_input}
AS_JSON = ("batch", "ws")  # what these say is kept as JSON, a string
# A process for each string takes its time.
SAMPLED = () if full_size() else ("ctl", "ctl-")


def texts_for(speaker):
    """What this one says: all, or the attacks and a sample of the others."""
    texts = strings()
    return texts[:-len(ATTACKS):25] + ATTACKS if speaker in SAMPLED else texts


# ---- who reads it ----------------------------------------------------------
# A reader is subscribed to text/* when it has been made; read() returns what
# came on each channel up to its END, as the texts that were said.

class Heard:
    """Texts by channel, until each channel has said END."""

    def __init__(self, channels):
        self.texts = {c: [] for c in channels}
        self.left = set(channels)

    def take(self, channel, text):
        """True: that was the last one."""
        if text == END:
            self.left.remove(channel)
        else:
            check(channel in self.left, f"{text!r} behind the end of {channel}")
            self.texts[channel].append(text)
        return not self.left


def text_in(channel, shown):
    """Of an edge that shows JSON as it is: what was said in it."""
    if channel.split("/")[1] in AS_JSON and shown != END:
        with contextlib.suppress(ValueError):
            return json.loads(shown)
        return "no JSON: " + shown
    return shown


class Ndjson:
    def __init__(self, w, channels):
        self.heard = Heard(channels)
        self.stream = w.stream("/v1/stream?channel=text/*")
        equal(self.stream.item()["notice"], "snapshot")

    def read(self):
        with self.stream as s:
            while True:
                m = s.item()
                if self.heard.take(m["channel"], m["data"]):
                    return self.heard.texts


class Poll:
    def __init__(self, w, channels):
        self.heard, self.client = Heard(channels), w.client()
        self.cursor = self.ask("/v1/poll?channel=text/*")["cursor"]

    def ask(self, target):
        return self.client.ask("GET", target).answer().json()

    def read(self):
        with self.client:
            while True:
                page = self.ask(f"/v1/poll?channel=text/*&wait=5&since={self.cursor}")
                self.cursor = page["cursor"]
                for m in page["messages"]:
                    equal(m.get("notice", "resumed"), "resumed")
                    if "notice" not in m and self.heard.take(m["channel"], m["data"]):
                        return self.heard.texts


class TestPage:
    """/test/ shows one channel a page, one message a chunk."""

    def __init__(self, w, channels):
        self.heard = Heard(channels)
        self.pages = {c: w.stream(f"/test/{c}") for c in channels}
        for channel, page in self.pages.items():
            equal(page.chunk(), f"Touchline welcomes you! Your Id: {channel}<br/>\n".encode())

    def read(self):
        for channel, page in self.pages.items():
            with page:
                for n in range(1, 10000):
                    head, tail = f"Recvd msg #{n}: '", "'<br/>\n"
                    got = page.chunk().decode()
                    check(got.startswith(head) and got.endswith(tail), got)
                    text = text_in(channel, unescape(got[len(head):-len(tail)]))
                    self.heard.take(channel, text)
                    if text == END:
                        break
        return self.heard.texts


def unescape(html):
    """As an HTML parser does, which takes any line end for LF."""
    html = re.sub("\r\n?", "\n", html)
    for c in "<>\"'":
        check(c not in html, f"{c!r} is no text in HTML: {html!r}")
    words = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "#39": "'", "#13": "\r"}
    return re.sub(r"&([^;]*);", lambda m: words[m[1]], html)


class History:
    """Read at the end, all of it."""

    def __init__(self, w, channels):
        self.w, self.heard = w, Heard(channels)

    def read(self):
        for channel in sorted(self.heard.left):
            page = eventually(lambda: self.whole(channel), f"the end of {channel} is kept", ALL)
            for m in page:
                self.heard.take(channel, m["data"])
        return self.heard.texts

    def whole(self, channel):
        page = self.w.json(f"/v1/history/{channel}?last=1000")["messages"]
        return page if page and page[-1]["data"] == END else None


class Screen:
    """A program on a terminal, which shows messages as lines; nothing that it
    writes may be a command to the terminal."""

    def __init__(self, channels, line, args, typed="", begun=b""):
        """line: a message, as (channel, text) in its groups."""
        self.heard, self.line = Heard(channels), re.compile(line)
        self.screen = Terminal(*args, NO_COLOR="1")
        if typed:
            self.screen.until(b"<your-name>")
            self.screen.type(typed)
        self.screen.until(begun)
        self.screen.line()

    def read(self):
        with self.screen as screen:
            while True:
                line = screen.line()
                fit_for_a_terminal(line)
                text = line.decode().rstrip("\r\n")
                m = self.line.fullmatch(text)
                check(m or not text or text.startswith("-- "), f"a line of its own: {text!r}")
                if m and self.heard.take(m[1], self.text_of(m[1], m[2])):
                    return self.heard.texts

    def text_of(self, channel, shown):
        return text_in(channel, self.decode(shown))

    @staticmethod
    def decode(shown):
        return re.sub(r"\\(n|\\|x([0-9a-f]{2})|u\{([0-9a-f]+)\})", Screen.character, shown)

    @staticmethod
    def character(m):
        return chr(int(m[2] or m[3], 16)) if m[2] or m[3] else {"n": "\n", "\\": "\\"}[m[1]]


class Telnet(Screen):
    """Debian's telnet."""

    def __init__(self, w, channels):
        host, port = w.address("tcp")
        super().__init__(channels, r"(text/\S+) \S+-\d+ -: (.*)", ["telnet", host, str(port)],
                         "SUB text/*\n", b"OK SUB text/* ")

    ESCAPES = {  # in text; in JSON, whose own escapes stay as they are
        False: re.compile(r"\\(n|x([0-9a-f]{2})|u\{([0-9a-f]+)\})"),
        True: re.compile(r"\\([^xu]|u[^{]|x([0-9a-f]{2})|u\{([0-9a-f]+)\})")}

    def text_of(self, channel, shown):
        is_json = channel.split("/")[1] in AS_JSON and shown != END
        return text_in(channel, self.ESCAPES[is_json].sub(
            lambda m: m[0] if is_json and not (m[2] or m[3]) else self.character(m), shown))


class Tail(Screen):
    """router-ctl tail."""

    def __init__(self, w, channels):
        super().__init__(channels, r"\S+ \S+ (text/\S+) #\d+: (.*)",
                         [CTL, "--dir", w.dir, "tail", "text/*"],
                         begun=b"-- snapshot text/*")


class TailJson(Screen):
    """router-ctl subscribe --json."""

    def __init__(self, w, channels):
        super().__init__(channels, r'(\{"channel":)(.*)',
                         [CTL, "--dir", w.dir, "--json",
                          "subscribe", "text/*"], begun=b'"notice":"snapshot"')
        take = self.heard.take
        self.heard.take = lambda _, m: take(m["channel"], m["data"])

    def text_of(self, channel, shown):
        return json.loads(channel + shown)


OBEYED = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
                    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def fit_for_a_terminal(shown, tabs=False):
    """Of all that a terminal obeys only CR and LF are there; TAB in the frames
    of a match."""
    text = shown.decode()  # so there is no IAC, and no C1 in one byte
    found = OBEYED.search(text) or (not tabs and re.search("\t", text))
    check(not found, f"{found and found[0]!r} reaches the terminal in {text!r}")


class Node:
    """npm eventsource, eventsource-parser and ws, in one process."""

    def __init__(self, w, channels):
        self.channels = channels
        config = {"http": w.urls["http"], "ws": w.urls["ws"], "pattern": "text/*",
                  "channels": channels, "end": END}
        self.proc = subprocess.Popen(["node", NODE_READERS, json.dumps(config)],
                                     stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.out = Lines(self.proc.stdout, lambda n: os.read(self.proc.stdout.fileno(), n))
        self.who = {"eventsource", "parser", "ws", *(f"raw {c}" for c in channels)}
        ready = set()
        while ready != self.who:
            line = json.loads(self.out.line())
            check("ready" in line or line["who"] == "ws", line)
            ready.add(line["who"])

    def read(self):
        heard = {who: Heard(self.channels) for who in ("eventsource", "parser", "ws", "raw")}
        while self.who:
            line = json.loads(self.out.line())
            who = line["who"]
            if "over" in line:
                equal(line["over"], "end", who)
                self.who.remove(who)
            elif who.startswith("raw "):
                equal(line["event"], "text", who)
                channel = who.split()[1]
                heard["raw"].take(channel, text_in(channel, line["data"]))
            elif who == "ws" and "notice" in json.loads(line["data"]):
                continue
            else:
                equal(line["event"], "text" if who == "ws" else "message", line)
                m = json.loads(line["data"])
                heard[who].take(m["channel"], m["data"])
        equal(self.proc.wait(DEADLINE), 0)
        self.proc.stdout.close()
        return {who: h.texts for who, h in heard.items()}


class Chromium:
    """Chromium's EventSource."""

    def __init__(self, w, channels):
        self.heard, self.browser = Heard(channels), Browser()
        self.browser.open(w.urls["http"] + "/")
        self.browser.js("""(window.got = [], window.ready = false, window.ended = 0,
            window.es = new EventSource('/v1/stream?channel=text/*'),
            es.addEventListener('notice', (e) => { ready = true; }),
            es.addEventListener('admin', (e) => got.push(['admin', e.data])),
            es.addEventListener('error', (e) => got.push(['error', ''])),
            es.addEventListener('message', (e) => {
              got.push(['message', e.data]);
              ended += JSON.parse(e.data).data === arguments[0];
            }), 0)""", END)
        self.browser.until("ready", "the notice is there")

    def read(self):
        with self.browser as b:
            b.until("ended >= arguments[0] || got.some((g) => g[0] !== 'message')",
                    "each channel has ended", len(self.heard.left), deadline=ALL)
            for kind, data in b.js("got"):
                equal(kind, "message", data)
                m = json.loads(data)
                self.heard.take(m["channel"], m["data"])
        return self.heard.texts


READERS = {"ndjson": Ndjson, "poll": Poll, "test": TestPage, "history": History,
           "telnet": Telnet, "tail": Tail, "tail --json": TailJson, "node": Node,
           "chromium": Chromium}


# ---- all to all ------------------------------------------------------------

def heard_by_all(w, channels, speak):
    """What each reader has heard of what speak() says, up to the END of each."""
    with concurrent.futures.ThreadPoolExecutor(len(READERS)) as pool:
        begun = {name: pool.submit(kind, w, channels) for name, kind in READERS.items()}
        readers = {name: b.result() for name, b in begun.items()}
        results = {name: pool.submit(r.read) for name, r in readers.items()}
        try:
            speak()
        except BaseException:
            w.stop()  # nobody has to wait for the rest
            raise
        heard = {name: r.result() for name, r in results.items()}
    heard.update(heard.pop("node"))
    return heard


def differences(said, heard):
    """Up to three of them."""
    if len(said) != len(heard):
        yield f"{len(said)} were said, {len(heard)} heard"
    for a, b in [(a, b) for a, b in zip(said, heard) if a != b][:3]:
        yield f"said {a!r}, heard {b!r}"


def matrix(said, refused, heard):
    """How many strings each reader has of each speaker, and how many that one
    was told by a rule not to say; and what is wrong with the others."""
    wrong = []
    lines = ["intact + refused where they are said", " " * 12 + "".join(
        f"{s} of {len(said[s]) + len(refused[s])}".rjust(15) for s in said)]
    for reader, texts in sorted(heard.items()):
        line = f"{reader:<12}"
        for speaker in said:
            want, got = said[speaker], texts[f"text/{speaker}"]
            intact = sum(a == b for a, b in zip(want, got))
            line += f"{intact} +{len(refused[speaker]):>2}".rjust(15)
            wrong += [f"{speaker} to {reader}: {d}" for d in differences(want, got)]
        lines.append(line)
    return "\n".join(lines), wrong


def test_t09_no_text_is_changed_or_becomes_an_event_on_its_way():
    equal(len(strings()), 535)
    said, refused = {}, {}

    def speak():
        for name, say in SPEAKERS.items():
            mine = texts_for(name)
            told = say(w, f"text/{name}", said.setdefault(name, list(mine)))
            equal(w.publish(f"text/{name}", END).status, 201)
            refused[name] = [t for t in mine if t in told]
            said[name] = [t for t in said[name] if t not in told]

    with World() as w:
        heard = heard_by_all(w, [f"text/{s}" for s in SPEAKERS], speak)
    shown, wrong = matrix(said, refused, heard)
    print(shown, flush=True)
    check(not wrong, "\n".join(wrong[:40]))


# ---- a terminal ------------------------------------------------------------

# What a terminal does with these is seen by all, or sent as if it were typed:
# clipboard, title, cursor report, settings report, the same with C1, telnet.
COMMANDS = ["\x1b]52;c;eA==\x07", "\x1b]0;title\x07", "\x1b[6n", "\x1bP$q\x1b\\", "\x1b[c",
            "\x9b6n", "\x9d0;title\x9c", "\x90$q\x9c", "\x05", "\x7f\b\r\x0b\x0c",
            "\u202egnp.exe\u2066", "\xff\xfd\x01"]


def say_commands(w):
    """As text, in JSON, as bytes, as names and keys; where they are refused
    nobody reads them."""
    for command in COMMANDS:
        for channel in ("room/x", "user/x"):
            equal(w.publish(channel, command.encode()).status, 201)
            equal(w.http("POST", "/v1/publish/" + channel, command.encode("latin-1", "ignore"),
                         {"Content-Type": "application/octet-stream"}).status, 201)
        with w.ws() as ws:
            ws.frame("text", json.dumps({
                "cmd": "publish", "channel": "room/x", "data": {command: command}, "ref": 1},
                ensure_ascii=False))
            check(ws.reply(1)["ok"], command)
            ws.say(cmd="publish", channel="room/x", data=1, ref=2, key=command)
            ws.reply(2)
            ws.say(cmd="publish", channel="room/x", data=1, ref=3, **{"from": command})
            ws.reply(3)
            ws.say(cmd="publish", channel=command, data=1, ref=4)
            ws.reply(4)
    who = "ana\u202e\u2066"
    with w.ws() as ws:
        ws.say(cmd="subscribe", channel="room/x", name=who, ref=1)
        check(ws.reply(1)["ok"], who)
        check(who in [n["name"] for n in w.json("/v1/presence/room/x")["names"]], who)
    equal(w.publish("room/x", END, Touchline_From=who.encode()).status, 201)


TURNED = "\u202egnp.exe\u2066"  # what a match takes of COMMANDS


def act(w, method, target, body):
    """What has control characters is refused, what turns text is not."""
    for command in COMMANDS[:-2]:
        a = w.http(method, target, json.dumps(body).replace("TEXT", json.dumps(command)[1:-1]))
        equal((a.status, a.code()), (400, "match.data" if "match" in target else "team.data"))
    a = w.http(method, target, json.dumps(body).replace("TEXT", TURNED).encode())
    check(a.status in (200, 201), a.body)
    return a.json()


def hostile_match(w):
    """Where its events go."""
    for team in ("elp", "tig"):
        act(w, "PUT", f"/v1/teams/{team}", {"name": "TEXT", "division": "1"})
    match = act(w, "POST", "/v1/matches", {
        "home": "elp", "visit": "tig", "start_time": "2011-09-13", "stadium": "TEXT"})
    return f"/v1/matches/{match['id']}/events"


def play(w, events):
    act(w, "POST", events, {"kind": "foul", "data": {"team": "elp", "comment": "TEXT"}})
    act(w, "POST", events, {"kind": "goal", "data": {"team": "elp", "player": [7, "TEXT"]}})
    equal(w.http("POST", events, '{"kind":"stop"}').status, 201)


def everything_shown(w):
    """By each verb of router-ctl that shows what others said."""
    for verb in (["history", "room/x"], ["who", "room/x"], ["channels"], ["conns"],
                 ["match", "list"], ["match", "show", "elp-tig-2011-09-13"], ["gateways"],
                 ["status"], ["match", "teams"]):
        for form in ([], ["--json"]):
            with Terminal(CTL, "--dir", w.dir, *form, *verb, NO_COLOR="1") as t:
                yield verb, t.all()


def test_t10_nothing_that_a_terminal_obeys_reaches_one():
    with World() as w:
        events = hostile_match(w)
        host, port = map(str, w.address("tcp"))
        with Terminal("telnet", host, port) as telnet, Terminal("telnet", host, port) as watch, \
                Terminal(CTL, "--dir", w.dir, "tail", "room/**", NO_COLOR="1") as tail, \
                Terminal(CTL, "--dir", w.dir, "--json", "tail", "room/**") as as_json:
            for t in (telnet, watch):
                t.until(b"<your-name>")
            telnet.type("SUB room/**\n")
            telnet.until(b"OK SUB room/**")
            tail.until(b"-- snapshot room/**")
            as_json.until(b'"snapshot"')
            w.http("POST", events, '{"kind":"start"}')
            watch.type("V:2:ana\n")
            begun = watch.until(b": status:")
            play(w, events)
            fit_for_a_terminal(begun + watch.until(b"Connection closed"), tabs=True)
            say_commands(w)
            shown = telnet.until(END.encode())
            telnet.type("HISTORY room/x 100\nWHO room/x\nMATCHES\nHISTORY user/x\n")
            fit_for_a_terminal(shown + telnet.until(b"OK HISTORY 24"))
            for t in (tail, as_json):
                fit_for_a_terminal(t.until(END.encode()))
            for verb, shown in everything_shown(w):
                check(shown, verb)
                fit_for_a_terminal(shown)
