"""permessage-deflate: with clients that know nothing of this server, and by
hand."""
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import zlib

from browser import Browser
from world import DEADLINE, ROOT, World, Ws, check, equal, eventually

ON = ["ws.deflate=on"]
OFFER = "permessage-deflate"
RAW = "/v1/raw?channel=a&publish=a"
TEXT = "gól de Luna, minuto 7 ⚽ "


def pack(data, level=6):
    z = zlib.compressobj(level, zlib.DEFLATED, -15)
    return (z.compress(data) + z.flush(zlib.Z_SYNC_FLUSH))[:-4]


class Packed(Ws):
    """A client that has agreed on compression; packed: was the frame read last,
    wire: bytes that came of its payload."""

    def __init__(self, w, target=RAW, offer=OFFER):
        super().__init__(w.address("ws"), target, Sec_WebSocket_Extensions=offer)
        equal(self.status, 101, self.head)
        check(OFFER in self.head, self.head)

    def put(self, first, payload):
        """A frame with this first byte and a mask of zeroes."""
        size = len(payload)
        head = bytes([first, 0x80 | size]) if size < 126 else \
            bytes([first, 0x80 | 126]) + size.to_bytes(2, "big")
        self.send(head + b"\0\0\0\0" + payload)
        return self

    def any_frame(self, deadline=None):
        head = self.exactly(2, deadline)
        self.rest = bytes([head[0] & ~0x40]) + head[1:] + self.rest
        name, data = super().any_frame(deadline)
        self.packed, self.wire = bool(head[0] & 0x40), len(data)
        if self.packed:
            check(name in ("text", "bytes"), f"RSV1 on a frame of {name}")
            data = zlib.decompressobj(-12).decompress(data + b"\0\0\xff\xff")
        return name, data


# ---- by hand ----------------------------------------------------------------

def test_it_is_offered_to_nobody_as_shipped():
    with World() as w, w.ws(RAW, Sec_WebSocket_Extensions=OFFER) as c:
        check("extensions" not in c.head.lower(), c.head)
        c.frame("text", TEXT * 100)
        equal(c.read(), ("text", (TEXT * 100).encode()))


def test_a_message_is_compressed_once_and_others_get_it_plain():
    with World(ON + ["ws.workers=1"]) as w, w.ws("/v1/raw?channel=a") as plain, \
            w.ws("/v1/ws?channel=a") as json_plain, contextlib.ExitStack() as stack:
        json_plain.item()
        raw = [stack.enter_context(Packed(w)) for _ in range(10)]
        cmd = [stack.enter_context(Packed(w, "/v1/ws?channel=a")) for _ in range(10)]
        for c in cmd:
            equal([c.item()["notice"], c.item()["notice"]], ["welcome", "snapshot"])
        text = TEXT * 100
        w.publish("a", text.encode())
        for c in raw:
            equal((c.read(), c.packed), (("text", text.encode()), True))
            check(c.wire < len(text) / 10, f"{c.wire} bytes travelled")
        for c in cmd:
            equal((c.item()["data"], c.packed), (text, True))
        equal(plain.read(), ("text", text.encode()))
        equal(json_plain.item()["data"], text)
        w.publish("a", "short")
        for c in raw:
            equal((c.read(), c.packed), (("text", b"short"), False))
        eventually(lambda: w.metric("deflate_total", result="compressed") == 2,
                   "once for each format")
        check(w.metric("deflate_bytes_total", way="before")
              > 10 * w.metric("deflate_bytes_total", way="after"), "it is worth it")


def test_who_resumes_gets_what_it_missed_compressed():
    with World(ON) as w:
        sent = [w.publish("a", (TEXT * 50 + str(i)).encode()).json() for i in range(20)]
        w.kill("ws")  # nobody has them but the store
        eventually(lambda: w.pids("ws") and len(w.live()) >= 3, "it is back")
        cursor = f"{sent[4]['epoch']}-{sent[4]['seq']}"
        with Packed(w, f"/v1/ws?channel=a&since={cursor}") as c:
            equal([c.item()["notice"], c.item()["notice"]], ["welcome", "resumed"])
            for i in range(5, 20):
                equal((c.item()["data"], c.packed), (TEXT * 50 + str(i), True))


def test_a_window_that_is_named_is_kept():
    with World(ON) as w, Packed(w, offer=OFFER + "; server_max_window_bits=9") as c:
        check("server_max_window_bits=9" in c.head, c.head)
        for n, packed in ((10, True), (100, False)):
            c.frame("text", TEXT * n)
            equal((c.read(), c.packed), (("text", (TEXT * n).encode()), packed))


def test_compressed_messages_are_taken_in_any_shape():
    with World(ON) as w, Packed(w) as c:
        text = (TEXT * 500).encode()
        half = pack(text)
        c.put(0xc1, half)
        equal(c.read(), ("text", text))
        c.put(0x42, half[:50]).put(0x89, b"?").put(0x00, b"").put(0x80, half[50:])
        equal([c.read(), c.read()], [("pong", b"?"), ("bytes", text)])
        c.put(0xc1, b"\0")
        equal(c.read(), ("text", b""))
        c.put(0xc1, bytes.fromhex("f348cdc9c9070000"))  # BFINAL: RFC 7692 7.2.3.4
        equal(c.read(), ("text", b"Hello"))
        noise = os.urandom(60000)
        c.put(0xc2, pack(noise))
        equal((c.read(), c.packed), (("bytes", noise), False))


def test_what_must_not_be_ends_the_connection_and_no_other():
    text = pack((TEXT * 50).encode())
    with World(ON) as w, Packed(w, "/v1/raw?channel=b&publish=b") as canary:
        for frames, code in (
                ([(0xa1, b"\0")], 1002), ([(0x91, b"\0")], 1002), ([(0xe1, text)], 1002),
                ([(0xc9, b"")], 1002), ([(0xca, b"")], 1002), ([(0xc8, b"")], 1002),
                ([(0x41, text[:9]), (0xc0, text[9:])], 1002),
                ([(0xc1, text[:-20])], 1007), ([(0xc1, text + b"\xff")], 1007),
                ([(0xc1, b"plain words")], 1007), ([(0xc1, pack(b"\xc3\x28" * 99))], 1007),
                ([(0xc2, pack(bytes(65537)))], 1009)):
            with Packed(w) as c:
                for first, payload in frames:
                    c.put(first, payload)
                equal(c.read(), ("close", code), frames)
        with w.ws(RAW) as c:  # nothing agreed on
            Packed.put(c, 0xc1, text)
            equal(c.read(), ("close", 1002))
        canary.put(0xc1, text)
        equal(canary.read(), ("text", (TEXT * 50).encode()))
        eventually(lambda: w.metric("inflate_refused_total", why="broken") == 3
                   and w.metric("inflate_refused_total", why="size") == 1, "counted")
        equal(w.json("/v1/history/a")["messages"], [])


# ---- others' clients ---------------------------------------------------------

def test_ws_of_node_speaks_compressed():
    with World(ON) as w:
        p = subprocess.run(
            ["node", os.path.join(ROOT, "tests/node/ws_deflate.js"),
             str(w.address("ws")[1])], capture_output=True, timeout=3 * DEADLINE,
            env={**os.environ, "NODE_PATH": os.path.join(ROOT, "build/node/node_modules")})
        check(p.returncode == 0, p.stderr)
        seen = json.loads(p.stdout)
        equal((seen["wrong"], seen["messages"]), ([], 12))
        equal(seen["extensions"], ["permessage-deflate", ""])
        check(seen["to_plain"] > seen["bytes"], seen)
        noise = 65536 + 2 * 1003  # does not shrink
        for way in ("to_packed", "from_packed"):
            check(seen[way] - noise < (seen["bytes"] - noise) / 20, seen)


async def python_speaks(port, compression):
    sys.path.append("/usr/lib/python3/dist-packages")  # whichever python3 runs
    import websockets

    url = f"ws://127.0.0.1:{port}{RAW}"
    noise = os.urandom(60000)
    async with websockets.connect(url, compression=compression) as ws:
        names = [e.name for e in ws.extensions]
        equal(names, [OFFER] if compression else [])
        for message in ("", b"", "x", b"\xff", TEXT, TEXT * 2000, "z" * 65536, bytes(65536),
                        noise):
            await ws.send(message)
            equal(await asyncio.wait_for(ws.recv(), DEADLINE), message)
        await ws.send(["in ", TEXT * 100, "", "pieces"])
        equal(await asyncio.wait_for(ws.recv(), DEADLINE), "in " + TEXT * 100 + "pieces")
        await asyncio.wait_for(await ws.ping(), DEADLINE)


def test_websockets_of_python_speaks_compressed():
    with World(ON + ["limits.message=128K"]) as w:
        port = w.address("ws")[1]
        asyncio.run(python_speaks(port, "deflate"))
        eventually(lambda: w.metric("inflate_total") == 10, "all came compressed")
        equal(w.metric("deflate_total", result="compressed"), 4)
        asyncio.run(python_speaks(port, None))


PAGE = """(() => {
  const url = arguments[0], text = 'gól de Luna ⚽ ';
  const noise = crypto.getRandomValues(new Uint8Array(60000));
  const messages = ['', 'x', text.repeat(3000), 'z'.repeat(65536), new Uint8Array(0),
                    new Uint8Array([255]), new Uint8Array(65536), noise];
  const ws = new WebSocket(url);
  const seen = window.seen = { right: 0, wrong: [], extensions: null, over: false };
  const bytes = (m) => typeof m === 'string' ? m : Array.from(new Uint8Array(m)).join();
  let at = 0;
  const next = () => at < messages.length ? ws.send(messages[at]) : seen.over = true;
  ws.binaryType = 'arraybuffer';
  ws.onopen = () => { seen.extensions = ws.extensions; next(); };
  ws.onclose = (e) => { seen.over = true; seen.closed = e.code; };
  ws.onmessage = (e) => {
    const m = messages[at++];
    if (typeof m === typeof e.data && bytes(m) === bytes(e.data)) seen.right++;
    else seen.wrong.push(at - 1);
    next();
  };
  return true;
})()"""


def test_a_browser_speaks_compressed():
    with World(ON) as w, Browser() as b:
        b.open(w.urls["http"] + "/healthz")
        b.js(PAGE, w.urls["ws"] + RAW)
        b.until("window.seen.over", "all has come back", deadline=3 * DEADLINE)
        seen = b.js("window.seen")
        equal((seen["right"], seen["wrong"], seen.get("closed")), (8, [], None), seen)
        check(seen["extensions"].startswith(OFFER), seen)
        eventually(lambda: w.metric("inflate_total") > 0
                   and w.metric("deflate_total", result="compressed") == 3, "it is used")
