"""The npm package against real processes, installed into an empty project:
what it consists of, its types, and that nothing is lost or doubled when a
gateway or its own process is killed."""
import contextlib
import json
import os
import subprocess

from npm_package import PEERS, Node, install, pack, place
from world import BIN, DEADLINE, ROOT, World, check, equal, eventually

WAYS = ("ws", "sse", "poll")
SCRIPTS = {
    # {"url","channels","since","transport"}: a line for each item and state.
    "reader.mjs": """
import WebSocket from "ws";
import { subscribe } from "touchline";
const want = JSON.parse(process.argv[2]);
const put = (item) => process.stdout.write(JSON.stringify(item) + "\\n");
const sub = subscribe(want.url, want.channels, {
  since: want.since, name: want.name, transport: want.transport, WebSocket,
  onmessage: (m) => put({...m, cursor: sub.cursor}), onnotice: put, onstate: put,
});
""",
    # {"url","channel","count"}: the messages 1 to count, one after the other.
    "writer.mjs": """
import { publish } from "touchline";
const want = JSON.parse(process.argv[2]);
for (let n = 1; n <= want.count; n += 1) {
  const answer = await publish(want.url, want.channel, {n}, {from: "writer"});
  process.stdout.write(JSON.stringify({n, offset: answer.offset}) + "\\n");
}
""",
    "asker.cjs": """
const { publish, history, presence } = require("touchline");
const url = process.argv[2];
(async () => {
  await publish(url, "room/a b/é".replace(" ", ""), "hello", {from: "Zoë"});
  const page = await history(url, "room/ab/é", {last: 1});
  const here = await presence(url, "room/ab/é");
  const errors = [];
  for (const question of [
    () => publish(url, "not good", 1),
    () => history(url, "room/ab/é", {since: "junk"}),
    () => presence("http://127.0.0.1:1", "a", {give_up: 0}),
  ])
    await question().catch((e) => errors.push([e.code, e.status]));
  console.log(JSON.stringify({page, here, errors}));
})();
""",
}

USE = """
import { subscribe, publish, history, presence } from "touchline";
import type { Message, RequestError, State } from "touchline";

interface Line { text: string }
const sub = subscribe<Line>("", ["room/*"], {
  since: "0", name: "ana", transport: "sse",
  WebSocket: class { constructor(url: string) { void url; } },
  onmessage: (m: Message<Line>) => { const text: string = m.data.text; void text; },
  onnotice: (n) => {
    if (n.notice === "gap") { const why: "trimmed" | string = n.why; void why; }
    if (n.notice === "join") { const names: string[] = n.names; void names; }
  },
  onstate: (s: State) => { if (s.state === "waiting") void (s.retryIn ?? 0); },
});
const cursor: string = sub.cursor;
publish("", "a", { any: 1 }, { from: "x", key: "k", token: "t", idempotency: "i" })
  .then((a) => a.offset + a.reached)
  .catch((e: RequestError) => e.code + e.status);
history<Line>("", "a", { last: 5 }).then((page) => {
  for (const m of page.messages)
    if ("notice" in m) { void m.why; } else { void m.data.text; }
});
presence("", "a").then((p) => p.names[0].connections + p.count);
sub.close();
// @ts-expect-error there is no such transport
subscribe("", "a", { transport: "pigeon" });
// @ts-expect-error it is read only
sub.cursor = cursor;
// @ts-expect-error a state that there is not
if (sub.state.state === "dead") sub.close();
// @ts-expect-error messages have offsets, not indexes
subscribe("", "a", { onmessage: (m) => m.index });
// @ts-expect-error a channel is missing
publish("");
"""
USE_ELEMENT = """
import "touchline/match";
import type { TouchlineMatchElement } from "touchline/match";
const e: TouchlineMatchElement = document.createElement("touchline-match");
e.addEventListener("touchline-event", (event) => { void event.detail.offset; });
e.addEventListener("touchline-state", (event) => { void event.detail.state; });
// @ts-expect-error a message has no such field
e.addEventListener("touchline-event", (event) => { void event.detail.index; });
"""


@contextlib.contextmanager
def project(make=place):
    """A World, and a project with the package and SCRIPTS in it."""
    with World() as w:
        folder = make(w.base)
        for name, text in SCRIPTS.items():
            with open(os.path.join(folder, name), "w") as f:
                f.write(text)
        yield w, folder


def ask(w, **want):
    return json.dumps({"url": w.urls["http"], **want})


def begins(reader):
    """Waits for its first notice; it is in force then."""
    while True:
        item = reader.item()
        if item.get("notice") in ("snapshot", "resumed"):
            return item


# ---- what it consists of

def test_the_package_is_what_the_gateway_serves():
    with World() as w:
        tarball, files = pack(w.base)
        equal(files, ["LICENSE", "README.md", "dist/index.d.cts", "dist/index.d.mts",
                      "dist/match.mjs", "dist/touchline.cjs", "dist/touchline.mjs",
                      "match.d.ts", "package.json"])
        subprocess.run(["tar", "-xzf", tarball, "-C", w.base], check=True)
        package = os.path.join(w.base, "package")

        def text(name):
            with open(os.path.join(package, name), "rb") as f:
                return f.read()

        client, element = (w.http("GET", "/" + name).body
                           for name in ("touchline.js", "touchline-match.js"))
        equal(text("dist/touchline.cjs"), client)
        check(client in text("dist/touchline.mjs"), "the module is the script")
        equal(client + text("dist/match.mjs").split(b"\n", 1)[1], element)
        version = subprocess.run([os.path.join(BIN, "touchline"), "--version"],
                                 capture_output=True).stdout.decode().split()[-1]
        described = json.loads(text("package.json"))
        equal(described["version"], version, "as the router's")
        check("dependencies" not in described, "it depends on nothing")
        left = os.listdir(os.path.join(w.base, "tree", "tools", "js"))
        check("dist" not in left and "LICENSE" not in left, f"left behind: {left}")


def test_its_types_say_what_it_takes_and_gives():
    with World(start=False) as w:
        folder = install(w.base)
        for name, text in (("use.ts", USE), ("use_common.cts", USE), ("element.ts", USE_ELEMENT)):
            with open(os.path.join(folder, name), "w") as f:
                f.write(text)
        p = subprocess.run(
            [os.path.join(PEERS, ".bin", "tsc"), "--strict", "--noEmit", 
             "--module", "node16", "--target", "es2022", "--lib", "es2022,dom,dom.iterable",
             "use.ts", "use_common.cts", "element.ts"],
            cwd=folder, capture_output=True, timeout=6 * DEADLINE)
        equal((p.returncode, p.stdout.decode()), (0, ""), "tsc")


# ---- what it does

def nothing_is_lost(way, make=place):
    total, cuts = 90, {20: "http", 45: "ws", 70: "http"}
    with project(make) as (w, folder):
        want = ask(w, channels=["news/a", "news/b"], transport=way)
        with Node(folder, "reader.mjs", want) as reader:
            begins(reader)
            with Node(folder, "writer.mjs", ask(w, channel="news/a", count=total)) as writer:
                for n in range(1, total + 1):
                    equal(writer.item(), {"n": n, "offset": n})
                    if n in cuts:
                        w.kill(cuts[n])
            got = [reader.message() for _ in range(total)]
            equal([m["data"]["n"] for m in got], list(range(1, total + 1)), "what was read")
            eventually(lambda: published(w, "news/b", "last"), "the last one")
            equal(reader.message()["data"], "last", "and nothing besides")


def published(w, channel, text):
    with contextlib.suppress(OSError):
        return w.publish(channel, text.encode(), Idempotency_Key=text).status in (200, 201)
    return False


def test_nothing_is_lost_over_a_websocket_of_npm():
    nothing_is_lost("ws", install)


def test_nothing_is_lost_over_server_sent_events():
    nothing_is_lost("sse")


def test_nothing_is_lost_over_a_long_poll():
    nothing_is_lost("poll")


def test_a_process_that_was_killed_goes_on_from_its_cursor():
    with project() as (w, folder):
        for n in range(1, 11):
            published(w, "news/a", f"m{n}")
        cursor, got = "0", []
        for way in WAYS:
            want = ask(w, channels=["news/*"], since=cursor, transport=way)
            with Node(folder, "reader.mjs", want) as reader:
                equal(begins(reader)["notice"], "resumed")
                for _ in range(3):
                    m = reader.message()
                    cursor = m["cursor"]
                    got.append(m["data"])
        equal(got, [f"m{n}" for n in range(1, 10)])


def test_without_a_websocket_streams_are_read():
    """node 20 has none of its own."""
    with project() as (w, folder):
        script = "import {subscribe} from 'touchline'; const s = subscribe(process.argv[1], 'a', " \
                 "{onnotice: () => { console.log(s.state.transport); s.close(); }});"
        has_none = "process.exit(typeof WebSocket === 'undefined' ? 0 : 1)"
        if subprocess.run(["node", "-e", has_none]).returncode == 0:
            out = subprocess.run(["node", "--input-type=module", "-e", script, w.urls["http"]],
                                 cwd=folder, capture_output=True, timeout=DEADLINE).stdout
            equal(out, b"sse\n", "how it is read; and a closed one lets node end")
        else:
            print("     this node has a WebSocket: what is done without one is not tested")


def test_a_socket_that_is_refused_does_not_end_the_process():
    """npm ws throws where nobody listens for its errors: of a port that is
    closed, and of a socket that is given up before it is open."""
    script = """
import http from "node:http";
import net from "node:net";
import WebSocket from "ws";
import { subscribe } from "touchline";
let address = "ws://127.0.0.1:1/";
const deaf = net.createServer(() => {}).listen(0, "127.0.0.1");
const server = http.createServer((ask, answer) => {
  answer.writeHead(426, {"Content-Type": "application/json"});
  answer.end(JSON.stringify({url: address}));
}).listen(0, "127.0.0.1", () => {
  const url = "http://127.0.0.1:" + server.address().port;
  const refused = subscribe(url, "a", {WebSocket, transport: "ws", onstate: (s) => {
    if (s.state !== "waiting")
      return;
    refused.close();
    address = "ws://127.0.0.1:" + deaf.address().port;
    deaf.once("connection", () => {
      early.close();
      setImmediate(() => { console.log("alive"); process.exit(0); });
    });
    const early = subscribe(url, "a", {WebSocket, transport: "ws"});
  }});
});
"""
    with World(start=False) as w:
        p = subprocess.run(["node", "--input-type=module", "-e", script], cwd=place(w.base),
                           capture_output=True, timeout=DEADLINE)
        equal((p.returncode, p.stdout), (0, b"alive\n"), p.stderr.decode())


def test_questions_and_refusals():
    with project() as (w, folder):
        want = ask(w, channels=["room/ab/é"], name="ben")
        with Node(folder, "reader.mjs", want) as reader:
            begins(reader)
            with Node(folder, "asker.cjs", w.urls["http"]) as asker:
                said = asker.item()
        message, = said["page"]["messages"]
        equal((message["data"], message["from"], message["channel"]),
              ("hello", "Zoë", "room/ab/é"))
        equal(said["page"]["cursor"], f'{message["epoch"]}-{message["seq"]}')
        equal(said["here"], {"count": 1, "names": [{"name": "ben", "connections": 1}]})
        equal(said["errors"], [["channel.bad", 400], ["page.bad", 400], ["net", 0]])


def test_the_element_can_be_imported_where_there_is_no_page():
    with World(start=False) as w:
        out = subprocess.run(["node", "--input-type=module", "-e",
                              "import 'touchline/match'; console.log('fine')"],
                             cwd=place(w.base), capture_output=True, timeout=DEADLINE)
        equal((out.stdout, out.stderr), (b"fine\n", b""))
