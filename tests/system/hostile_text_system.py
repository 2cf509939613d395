"""Bytes that are not UTF-8, documents that are not JSON, strings that are no
names: each edge gives the same verdict on them, keeps what it takes as it was,
and nobody else notices."""
import base64
import contextlib
import json
import os
import re
import sqlite3
import subprocess

from text_system import ATTACKS, END, conformance, slices, strings
from world import BIN, DEADLINE, World, check, equal

JSON = {"Content-Type": "application/json"}


# ---- bytes -----------------------------------------------------------------

def utf8_cases():
    """(name, bytes, is it UTF-8?)"""
    for line in conformance("utf8-cases.txt").splitlines():
        if line and not line.startswith("#"):
            name, kind, data = (part.strip() for part in line.split(":")[:3])
            yield (name, bytes.fromhex(data) if kind.endswith(" hex") else data.encode(),
                   not kind.startswith("invalid"))


def as_said(data, is_text):
    """What readers see of it."""
    return data.decode() if is_text else {"base64": base64.b64encode(data).decode()}


def post_cases(w, cases, kind):
    """The answers to all of them on one connection."""
    with w.client() as c:
        for some in slices(cases, 100):
            for _, data, _ in some:
                c.ask("POST", "/v1/publish/http", data, Content_Type=kind)
            for _ in some:
                yield c.answer()


def say_bytes_over_http(w, cases):
    for (name, _, good), a in zip(cases, post_cases(w, cases, "text/plain")):
        equal(a.status, 201 if good else 400, name)
        check(good or a.code() == "data.utf8", a.body)
    for answer in post_cases(w, cases, "application/octet-stream"):
        equal(answer.status, 201)
    for answer in post_cases(w, cases, "image/x-any"):
        equal(answer.status, 201)
    return ([as_said(d, True) for _, d, good in cases if good]
            + [as_said(d, False) for _, d, _ in cases]
            + [as_said(d, good) for _, d, good in cases])


def say_bytes_over_websocket(w, cases):
    """A frame that is not UTF-8 ends the connection that sent it."""
    good = [d for _, d, is_good in cases if is_good]
    with w.ws("/v1/raw?channel=nobody&publish=ws") as ws:
        for data in good:
            ws.frame("text", data)
        for _, data, _ in cases:
            ws.frame("bytes", data)
        ws.frame("close", b"\x03\xe8")
        equal(ws.read(), ("close", 1000))
    for name, data, is_good in cases:
        if is_good:
            continue
        with w.ws("/v1/raw?channel=nobody&publish=ws") as ws:
            ws.frame("text", data)
            equal(ws.read(), ("close", 1007), name)
        with w.ws() as ws:
            ws.frame("text", b'{"cmd":"publish","channel":"ws","data":"' + data + b'"}')
            equal(ws.read(), ("close", 1007), name)
    return [as_said(d, True) for d in good] + [as_said(d, False) for _, d, _ in cases]


def say_bytes_over_telnet(w, cases):
    """0xff begins a command of telnet there, and stands doubled for itself."""
    said = [(d, good) for _, d, good in cases if b"\n" not in d]
    with w.telnet() as t:
        for some in slices(said, 100):
            t.send(b"".join(b"PUB tcp " + d.replace(b"\xff", b"\xff\xff") + b"\r\n"
                            for d, _ in some))
            for _ in some:
                check(t.line().startswith(b"OK PUB "), "taken")
    return [as_said(d, good) for d, good in said]


def say_bytes_from_the_shell(w, cases):
    for _, data, _ in cases[::12]:
        w.ctl("publish", "ctl", "-", stdin=data)
    p = subprocess.run([os.path.join(BIN, "router-ctl"), "--dir", w.dir, "publish", "ctl",
                        "--format", "text", "-"], input=b"\xc3", capture_output=True,
                       timeout=DEADLINE)
    equal((p.returncode, b"UTF-8" in p.stderr), (5, True))
    return [as_said(d, good) for _, d, good in cases[::12]]


class Crowd:
    """20 subscribers of these channels, at every edge, of whom none may be cut."""

    def __init__(self, w, channels):
        query = "&".join("channel=" + c for c in channels)
        self.stack = contextlib.ExitStack()
        enter = self.stack.enter_context
        self.streams = [enter(w.stream(f"/v1/stream?{query}")) for _ in range(4)]
        self.events = [enter(w.stream(f"/v1/stream?{query}", Accept="text/event-stream"))
                       for _ in range(4)]
        self.sockets = [enter(w.ws(f"/v1/ws?{query}")) for _ in range(4)]
        self.raw = [enter(w.ws(f"/v1/raw?channel={c}")) for c in channels]
        self.terminals = [enter(w.telnet()) for _ in range(4)]
        for s in self.streams:
            s.item()
        for s in self.events:
            s.event()
        for t in self.terminals:
            for c in channels:
                t.send(f"SUB {c}\r\n".encode())
                check(t.line().startswith(b"OK SUB "), c)
        equal(sum(map(len, (self.streams, self.events, self.sockets, self.raw,
                            self.terminals))), 20)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

    def read(self, reader, count):
        """So many messages of one that reads envelopes."""
        if reader in self.events:
            return [json.loads(reader.event()["data"]) for _ in range(count)]
        return [reader.message() for _ in range(count)]

    def hear(self, said):
        """Everybody has heard what was said, by channel, and nothing else."""
        count = sum(map(len, said.values()))
        for reader in self.streams + self.events + self.sockets:
            heard = self.read(reader, count)
            for channel, want in said.items():
                equal([m["data"] for m in heard if m["channel"] == channel], want, channel)
        for reader, want in zip(self.raw, said.values()):
            for data in want:
                equal(reader.read(), ("bytes", base64.b64decode(data["base64"]))
                      if isinstance(data, dict) else ("text", data.encode()))
        for reader in self.terminals:
            for _ in range(count):
                check(b"-: " in reader.line(), "a line for each")
            reader.send(b"PING\r\n")
            equal(reader.line(), b"OK PING\r\n")


def test_t11_bytes_that_are_not_utf8_cut_nobody():
    cases = list(utf8_cases())
    equal(len(cases), 222)
    speakers = {"http": say_bytes_over_http, "ws": say_bytes_over_websocket,
                "tcp": say_bytes_over_telnet, "ctl": say_bytes_from_the_shell}
    with World() as w, Crowd(w, list(speakers)) as crowd:
        said = {channel: say(w, cases) for channel, say in speakers.items()}
        for channel in said:
            equal(w.publish(channel, END).status, 201)
            said[channel].append(END)
        crowd.hear(said)
        equal([len(s) for s in said.values()],
              [len(w.json(f"/v1/history/{c}?last=1000")["messages"]) for c in said])


# ---- documents -------------------------------------------------------------

def documents():
    """(name, bytes) of conformance/json-parsing-suite.json."""
    for name, spec in sorted(json.loads(conformance("json-parsing-suite.json")).items()):
        yield name, (base64.b64decode(spec["b64"]) * spec.get("times", 1)
                     + base64.b64decode(spec.get("tail_b64", "")))


def is_utf8(data):
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False


def try_as_body(w, docs):
    with w.client() as c:
        for some in slices(docs, 100):
            for _, doc in some:
                c.ask("POST", "/v1/publish/http", doc, Content_Type="application/json")
            for name, _ in some:
                a = c.answer()
                yield a.status == 201
                check(a.status == 201 or (a.status, a.code()) == (400, "data.json"),
                      (name, a.body))


def try_in_batches(w, docs):
    """One each: one that is malformed takes its batch with it."""
    with w.client() as c:
        for name, doc in docs:
            c.ask("POST", "/v1/publish", b'[{"channel":"batch","data":' + doc + b"}]",
                  Content_Type="application/json")
            a = c.answer()
            yield a.status == 201
            check(a.status == 201 or (a.status, a.code()) in (
                (400, "body.json"), (400, "batch.bad")), (name, a.body))


def try_in_commands(w, docs):
    ws = w.ws()
    for name, doc in docs:
        ws.frame("text", b'{"cmd":"publish","channel":"ws","ref":1,"data":' + doc + b"}")
        kind, reply = ws.read()
        if kind == "close":
            equal((reply, is_utf8(doc)), (1007, False), name)
            ws.close()
            ws = w.ws()
            yield False
            continue
        reply = json.loads(reply)
        yield reply.get("ok", False)
        check("ok" in reply or reply["error"]["code"] in ("json.bad", "data.missing"),
              (name, reply))
    ws.close()


def try_from_the_shell(w, docs):
    for name, doc in docs:
        p = subprocess.run([os.path.join(BIN, "router-ctl"), "--dir", w.dir, "publish", "ctl",
                            "--format", "json", "-"], input=doc, capture_output=True,
                           timeout=DEADLINE)
        check(p.returncode in (0, 5), (name, p.stderr))
        yield p.returncode == 0


def one_line(doc):
    return doc.replace(b"\r", b" ").replace(b"\n", b" ")


def data_in(line, channel):
    """The bytes of the data of a message, as they travel; None: of another."""
    m = re.fullmatch(rb'(?:data: )?\{"channel":"(\w+)",.*?,"ts":\d+,"data":(.*)\}', line)
    return m[2] if m and m[1].decode() == channel else None


def expect_travels(lines, channel, docs):
    """Byte for byte, in this order."""
    got = [d for d in (data_in(line, channel) for line in lines) if d is not None]
    for (name, doc), data in zip(docs, got):
        equal(data, doc, f"{name} on {channel}")
    equal(len(got), len(docs), channel)


def lines_of(stream, count):
    """The lines that hold messages, as they are."""
    while count:
        line = stream.line()
        if b'"data":' in line:
            count -= 1
            yield line


def test_a_document_gets_one_verdict_at_every_edge_and_travels_as_it_was():
    docs = list(documents())
    equal(len(docs), 318)
    tries = {"http": try_as_body, "batch": try_in_batches, "ws": try_in_commands}
    query = "/v1/stream?channel=http&channel=batch&channel=ws"
    with World(["limits.message=1M"]) as w, w.stream(query) as lines, \
            w.stream(query, Accept="text/event-stream") as events, \
            w.ws("/v1/ws?channel=http&channel=batch&channel=ws") as ws, \
            w.ws("/v1/raw?channel=http") as raw:
        verdicts = {edge: list(t(w, docs)) for edge, t in tries.items()}
        for n, (name, doc) in enumerate(docs):
            got = {edge: v[n] for edge, v in verdicts.items()}
            equal(len(set(got.values())), 1, f"{name}: one verdict, {got}")
            check(name[0] == "i" or got["http"] == (name[0] == "y"), f"{name}: {got}")
        sample = [i for i in range(len(docs)) if i % 16 == 0]
        equal(list(try_from_the_shell(w, [docs[i] for i in sample])),
              [verdicts["http"][i] for i in sample], "router-ctl")

        taken = [d for n, d in enumerate(docs) if verdicts["http"][n]]
        bodies = [(name, one_line(doc)) for name, doc in taken]
        values = [(name, one_line(doc.strip(b" \t\r\n"))) for name, doc in taken]
        heard = list(lines_of(lines, 3 * len(taken)))
        on_events = list(lines_of(events, 3 * len(taken)))
        on_socket = []
        while len(on_socket) < 3 * len(taken):
            frame = ws.read()[1]
            on_socket += [frame] * (b'"data":' in frame)
        for kept in (heard, on_events, on_socket):
            expect_travels(kept, "http", bodies)
            expect_travels(kept, "batch", values)
            expect_travels(kept, "ws", values)
        for name, doc in taken:
            equal(raw.read(), ("text", doc), name)
        page = w.http("GET", "/v1/history/http?last=1000").body
        for name, doc in bodies:
            check(b'"data":' + doc + b"}" in page, name)


def test_what_is_nested_too_deep_is_refused_and_costs_nobody_anything():
    with World(["limits.message=1M"]) as w, w.stream("/v1/stream?channel=a") as s, \
            w.client() as c, w.ws() as ws:
        s.item()
        pids = {kind: w.pids(kind) for kind in ("http", "ws", "router")}
        for depth, good in ((512, True), (513, False), (100_000, False)):
            for opening, closing in ((b"[", b"]"), (b'{"":', b"}")):
                doc = opening * depth + b"1" + closing * depth
                a = c.ask("POST", "/v1/publish/a", doc, Content_Type="application/json").answer()
                equal(a.status, 201 if good else 400, (depth, opening))
                if good:
                    equal(data_in(s.line(), "a"), doc)
        for doc in (b"[" * 100_000, b'{"a":' * 100_000):
            for frame in (doc, b'{"cmd":"publish","channel":"a","ref":' + doc,
                          b'{"cmd":"publish","channel":"a","data":' + doc + b"}"):
                ws.frame("text", frame)
                equal(ws.item()["error"]["code"], "json.bad")
        equal(w.publish("a", END).status, 201)
        equal(s.message()["data"], END)
        equal({kind: w.pids(kind) for kind in pids}, pids)


def test_a_frame_that_is_no_command_gets_an_error_and_cuts_nobody_else():
    docs = list(documents())
    with World(["limits.message=1M"]) as w, w.ws("/v1/ws?channel=a") as other, \
            w.stream("/v1/stream?channel=a") as s:
        other.item()
        s.item()
        ws = w.ws()
        for name, doc in docs:
            ws.frame("text", doc)
            kind, reply = ws.read()
            if kind == "close":
                equal((reply, is_utf8(doc)), (1007, False), name)
                ws.close()
                ws = w.ws()
                continue
            code = json.loads(reply)["error"]["code"]
            wanted = {"n": ("json.bad",), "y": ("command.bad", "command.missing"),
                      "i": ("json.bad", "command.bad", "command.missing")}[name[0]]
            check(code in wanted, f"{name}: {code}")
        equal(ws.say(cmd="publish", channel="a", data=END, ref=1).reply(1)["ok"], True)
        ws.close()
        equal(other.item()["data"], END, "the first that came")
        equal(s.item()["data"], END, "the first that came")


# ---- names -----------------------------------------------------------------
# What is a name, by the words of docs/protocol.md.

CONTROL = "\0-\x1f\x7f-\x9f"
BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"


def is_channel(s):
    return (1 <= len(s.encode()) <= 200 and not re.search(f"[ {CONTROL}{BIDI}*]", s)
            and not any(part in ("", ".", "..") for part in s.split("/")))


def is_name(s):
    return 1 <= len(s.encode()) <= 64 and not re.search(f"[ :{CONTROL}]", s)


def is_key(s):
    return 1 <= len(s.encode()) <= 200 and not re.search(f"[{CONTROL}]", s)


def is_idempotency(s):
    return bool(re.fullmatch("[!-~]{1,128}", s))


FIELDS = {"from": is_name, "key": is_key, "idempotency": is_idempotency}
HEADERS = {"from": "Touchline-From", "key": "Touchline-Key", "idempotency": "Idempotency-Key"}


def percent(s):
    return "".join(f"%{b:02X}" for b in s.encode())


def no_namespace(texts):
    """Without those that are of a type, of which each has rules of its own."""
    return [t for t in dict.fromkeys(texts) if not t.startswith(("match/", "team/", "room/"))]


def post_to_each(w, texts):
    """How many were stored. A control byte in a path closes the connection."""
    hidden = [t for t in texts if re.search("[\0-\x1f\x7f]", t)]
    for text in hidden:
        a = w.publish(percent(text), "x")
        equal((a.status, a.code()), (400, "request.escape"), repr(text))
    with w.client() as c:
        for some in slices([t for t in texts if t not in hidden], 100):
            for text in some:
                c.ask("POST", "/v1/publish/" + percent(text), text.encode(),
                      Content_Type="text/plain")
            for text in some:
                a = c.answer()
                if is_channel(text):
                    equal((a.status, a.json()["channel"]), (201, text))
                else:
                    equal((a.status, a.code()), (400, "channel.bad") if text
                          else (404, "path.unknown"), repr(text))
    return sum(map(is_channel, texts))


def batch_to_each(w, texts):
    for some in slices(texts, 256):
        a = w.http("POST", "/v1/publish", json.dumps(
            [{"channel": t, "data": t} for t in some]), JSON)
        for text, answer in zip(some, a.json()):
            if is_channel(text):
                equal(answer["channel"], text)
            else:
                equal(answer["error"]["code"], "channel.bad", repr(text))
    return sum(map(is_channel, texts))


def command_to_each(w, texts):
    with w.ws() as ws:
        for some in slices(texts, 100):
            for n, text in enumerate(some):
                ws.say(cmd="publish", channel=text, data=text, ref=n)
            replies = {r["ref"]: r for r in (ws.item() for _ in some)}
            for n, text in enumerate(some):
                if is_channel(text):
                    equal(replies[n]["channel"], text)
                else:
                    equal(replies[n]["error"]["code"], "channel.bad", repr(text))
    return sum(map(is_channel, texts))


def line_to_each(w, texts):
    """A channel is a word there: the words of what has spaces are no rest of
    it, and it takes its text behind a space."""
    said = [t for t in texts if t and "\n" not in t and " " not in t]
    with w.telnet() as t:
        for some in slices(said, 100):
            t.send(b"".join(f"PUB {text} x\r\n".encode() for text in some))
            for text in some:
                line = t.line()
                wanted = f"OK PUB {text} " if is_channel(text) else "ERROR channel.bad: "
                check(line.startswith(wanted.encode()), f"{text!r}: {line!r}")
    return sum(map(is_channel, said))


def with_field(field, text):
    return (b"POST /v1/publish/fields HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
            + f"{HEADERS[field]}: {text}\r\n\r\nx".encode())


def fields_over_http(w, texts):
    """One of each kind beside a message. A header has no control byte but TAB,
    and the white space around its value is none of it."""
    stored = []
    asked = [(f, t) for t in texts for f in FIELDS
             if not re.search("[\r\n]", t) and t == t.strip(" \t")]
    hidden = [(f, t) for f, t in asked if re.search("[\0-\x08\x0b-\x1f\x7f]", t)]
    for field, text in hidden:
        a = w.raw(with_field(field, text))
        equal((a.status, a.code()), (400, "request.field"), (field, text))
    with w.client() as c:
        for some in slices([x for x in asked if x not in hidden], 100):
            c.send(b"".join(with_field(*x) for x in some))
            for field, text in some:
                a = c.answer()
                if FIELDS[field](text):
                    equal(a.status, 201, (field, text))
                    stored.append((field, text))
                else:
                    equal((a.status, a.code()), (400, f"{field}.bad"), (field, text))
    return stored


def fields_in_commands(w, texts):
    stored = []
    with w.ws() as ws:
        for text in texts:
            for field, is_good in FIELDS.items():
                ws.say(cmd="publish", channel="commands", data="x", ref=1, **{field: text})
                reply = ws.reply(1)
                if is_good(text):
                    check(reply.get("ok"), (field, text, reply))
                    stored.append((field, text))
                else:
                    equal(reply["error"]["code"], f"{field}.bad", (field, text))
    return stored


def expect_fields(w, channel, stored):
    """They are read back as they were; an idempotency key is nobody's to see."""
    kept, cursor = [], "0"
    while cursor:
        page = w.json(f"/v1/history/{channel}?since={cursor}&limit=1000")
        kept += page["messages"]
        cursor = page["cursor"] if page["more"] else None
    kept = [m for m in kept if "notice" not in m]
    equal(len(kept), len(stored), channel)
    for m, (field, text) in zip(kept, stored):
        equal({f: m[f] for f in HEADERS if f in m},
              {} if field == "idempotency" else {field: text})


def names_of_listeners(w, texts):
    """At each edge, one after the other on one channel each."""
    for some in slices(texts, 60):
        with contextlib.ExitStack() as stack, w.ws() as ws, w.telnet() as t:
            here = []
            for n, text in enumerate(some):
                ws.say(cmd="subscribe", channel=f"ws/{n}", name=text, ref=n)
                reply = ws.reply(n)
                equal(reply.get("error", {}).get("code"), None if is_name(text) else "name.bad",
                      repr(text))
                here += [(f"ws/{n}", text)] * is_name(text)
                if "\n" in text or " " in text or not text:
                    continue
                t.send(f"NICK {text}\r\nSUB tcp/{n}\r\n".encode())
                line = t.line()
                check(line.startswith(b"OK NICK " if is_name(text) else b"ERROR name.bad"), line)
                check(t.line().startswith(b"OK SUB"), text)
                here += [(f"tcp/{n}", text)] * is_name(text)
            for n, text in enumerate(some):
                if is_name(text):
                    s = stack.enter_context(
                        w.stream(f"/v1/stream?channel=http/{n}&name={percent(text)}"))
                    s.item()
                    here.append((f"http/{n}", text))
                else:
                    a = w.http("GET", f"/v1/stream?channel=x&name={percent(text)}")
                    equal((a.status, a.code()), (400, "name.bad"), repr(text))
            with w.client() as c:
                for channel, text in here:
                    a = c.ask("GET", f"/v1/presence/{channel}").answer().json()
                    check({"name": text, "connections": 1} in a["names"], (channel, text, a))


# ---- what is kept of them, and what is logged ------------------------------

def query(w, sql):
    """Of the store, while nobody writes to it."""
    with contextlib.closing(sqlite3.connect(os.path.join(w.dir, "touchline.db"))) as db:
        return db.execute(sql).fetchall()


def schema(w):
    return query(w, "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name")


def rows(w):
    return query(w, "SELECT count(*) FROM log")[0][0]


LOG_LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warn|info|debug) [\w.-]+ ([a-z_]+(\.[a-z_]+)+)"
    r'(?: [a-z_0-9]+=(?:[^\s"=]\S*|"(?:[^"\\]|\\["\\]|\\x[0-9A-F]{2})*"(?!\S))?)*')


def expect_log(w, events):
    """Each line is one event, its values in balanced quotes; of some events it
    is known how many there were."""
    with open(os.path.join(w.dir, "log.txt"), "rb") as f:
        lines = f.read().decode("ascii").split("\n")
    equal(lines.pop(), "", "the log ends with a line")
    counts = {}
    for line in lines:
        m = LOG_LINE.fullmatch(line)
        check(m, f"no line of a log: {line!r}")
        counts[m[2]] = counts.get(m[2], 0) + 1
    equal({e: counts.get(e) for e in events}, events)


def visits(w, texts):
    """Names that the log quotes; how many it has of them."""
    said = [t for t in texts if t and "\n" not in t and t == t.strip()]
    with w.telnet() as t:
        for some in slices(said, 100):
            t.send(b"".join(f"V:2:{text}\r\n".encode() for text in some))
            for text in some:
                line = t.line()
                check(line.startswith(b"ERROR match.none" if is_name(text)
                                      else b"ERROR name.bad"), f"{text!r}: {line!r}")
    return sum(map(is_name, said))


def test_t17_strings_as_names_are_kept_as_they_are_or_refused():
    texts = no_namespace(strings())
    with World(["log.level=debug", "log.file=log.txt"]) as w:
        equal(w.publish("first", "x").status, 201)
        w.stop()
        before = schema(w)
        w.start()
        stored = 1 + sum(say(w, texts) for say in (
            post_to_each, batch_to_each, command_to_each, line_to_each))
        channels, page = [], {"more": True}
        while page["more"]:
            after = "&after=" + percent(page["after"]) if channels else ""
            page = w.json("/v1/channels?match=**" + after)
            channels += [c["channel"] for c in page["channels"]]
        wanted = {t for t in texts if is_channel(t)} | {"first"}
        equal((len(channels), set(channels)), (len(wanted), wanted))
        for text in sorted(wanted)[::8]:
            page = w.json("/v1/history/" + percent(text))["messages"]
            equal({m["channel"] for m in page}, {text})

        for channel, say in (("fields", fields_over_http), ("commands", fields_in_commands)):
            some = say(w, texts)
            expect_fields(w, channel, some)
            stored += len(some)
        names_of_listeners(w, texts[::6] + ATTACKS)
        seen = visits(w, texts)
        quoted = [t for t in sorted(wanted) if re.search("[\"'\\\\=]", t)][-15:]
        for text in quoted:
            with w.stream("/v1/stream?channel=" + percent(text)) as s:
                s.item()
                w.ctl("kick", "--", text)
        w.stop()
        equal(schema(w), before)
        equal(rows(w), stored, "messages that are kept")
        expect_log(w, {"tcp.visit": seen, "ctl.kick": len(quoted), "child.start": 8})
