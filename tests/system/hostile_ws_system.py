"""WebSockets that mean harm: each row of the threat model that is about them,
against real processes, beside a client that means none."""
import asyncio
import glob
import os
import zlib

from world import DATA, DEADLINE, World, Ws, check, equal, eventually, figure
from ws_cases_system import Ended, Peer, canary, header

RAW = "/v1/raw?channel=a&publish=a"
MIB = 1 << 20


def rss(w):
    """Bytes of memory that the WebSocket gateway holds."""
    total = 0
    for pid in w.pids("ws"):
        with open(f"/proc/{pid}/statm") as f:
            total += int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return total


def cpu(w):
    """Seconds that its threads have run."""
    total = 0
    for pid in w.pids("ws"):
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            with open(path) as f:
                total += int(f.read().split()[0])
    return total / 1e9


def unharmed(w, pids):
    """Its processes are those that were, and serve."""
    equal(sorted(w.pids("ws")), pids, "processes")
    with w.ws("/v1/raw?channel=other&publish=other") as c:
        c.frame("text", "well?")
        equal(c.read(), ("text", b"well?"))


async def besides(address, harm):
    """The result of harm, while a canary sings."""
    done = asyncio.Event()
    singing = asyncio.ensure_future(canary(address, done))
    result = await harm
    done.set()
    await singing
    return result


async def end_of(peer):
    """(close code, what came before it), read to the end."""
    before, code = [], None
    try:
        while True:
            op, payload = await asyncio.wait_for(peer.read(), DEADLINE)
            check(code is None, "something behind the close frame")
            if op == 8:
                code = int.from_bytes(payload[:2], "big")
            else:
                before.append((op, payload))
    except Ended:
        peer.writer.close()
        return code, before


# ---- T5: masking, reserved bits, fragments -----------------------------------

async def fragments(address, count, size):
    """One message in so many fragments, without an end."""
    peer = await Peer.connect(address, RAW)
    one = header(0x00, size, b"\0\0\0\0") + b"x" * size
    peer.write(header(0x02, size, b"\0\0\0\0") + b"x" * size)
    for _ in range(count // 256):
        peer.write(one * 256)
        try:
            await asyncio.wait_for(peer.writer.drain(), DEADLINE)
        except ConnectionError:
            break
    return await end_of(peer)


def test_t05_65536_fragments_end_at_the_cap():
    with World(["limits.message=1M"]) as w:  # the message itself would be small enough
        pids, before = sorted(w.pids("ws")), rss(w)
        code, got = asyncio.run(besides(w.address("ws"), fragments(
            w.address("ws"), 65536, 64)))
        equal((code, got), (1008, []))
        w.limit_reached("fragments")
        check(rss(w) - before < 4 * MIB, f"{rss(w) - before} bytes more")
        equal(w.json("/v1/history/a")["messages"], [])
        unharmed(w, pids)
        with w.ws(RAW) as c:  # the cap itself is kept
            for i in range(1023):
                c.frame("more" if i else "bytes", b"x", fin=False)
            c.frame("more", b"x")
            equal(c.read(), ("bytes", b"x" * 1024))


async def each_end(address, starts):
    """The close codes of connections that begin so."""
    async def one(data):
        peer = await Peer.connect(address, RAW)
        peer.write(data)
        return (await end_of(peer))[0]
    return await asyncio.gather(*(one(data) for data in starts))


def test_t05_frames_that_no_client_may_send_are_1002():
    mask = b"\1\2\3\4"
    starts = [b"\x81\x05hello", b"\x89\x00", b"\x88\x00", b"\x81\x7e\x01\x00", b"\x01\x00"]
    starts += [header(0x80 | rsv << 4 | op, 0, mask) for rsv in range(1, 8)
               for op in (0, 1, 2, 8, 9, 10)]
    starts += [header(0x80 | op, 0, mask) for op in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)]
    with World() as w:
        pids = sorted(w.pids("ws"))
        codes = asyncio.run(besides(w.address("ws"), each_end(w.address("ws"), starts)))
        equal(codes, [1002] * len(starts))
        eventually(lambda: w.metric("refused_total", code="ws.protocol") == len(starts),
                   "each is counted")
        unharmed(w, pids)


# ---- T6: pings ---------------------------------------------------------------

def test_t06_a_flood_of_pings_is_1008():
    with World() as w:
        pids = sorted(w.pids("ws"))
        flood = (header(0x89, 1, b"\0\0\0\0") + b"!") * 100
        for kind in (0x89, 0x8a):  # pings, and pongs that nobody asked for
            code, = asyncio.run(besides(w.address("ws"), each_end(
                w.address("ws"), [flood.replace(b"\x89", bytes([kind]))])))
            equal(code, 1008)
        w.limit_reached("control_frames_per_second", 2)
        unharmed(w, pids)


def test_t06_a_million_pings_of_who_never_reads_cost_no_memory():
    count, step = 1_000_000, 10_000
    with World(["limits.control_frames_per_second=0", "limits.queue_age=1h",
                "limits.ping=0"]) as w, w.ws(RAW, room=4096) as c:
        pids = sorted(w.pids("ws"))
        head = header(0x89, 8, b"\0\0\0\0")

        def flood(begin):
            c.send(b"".join(head + n.to_bytes(8, "big") for n in range(begin, begin + step)))

        flood(0)
        before = rss(w)
        for begin in range(step, count, step):
            flood(begin)
        check(rss(w) - before < 2 * MIB, f"{rss(w) - before} bytes more")
        last, pongs = -1, 0
        while last < count - 1:
            name, data = c.any_frame()
            equal((name, len(data)), ("pong", 8))
            check(int.from_bytes(data, "big") > last, "pongs go back")
            last, pongs = int.from_bytes(data, "big"), pongs + 1
        check(pongs < count, "nothing has been left out: this tests nothing")
        unharmed(w, pids)


# ---- T7: bombs ---------------------------------------------------------------

def bomb(mib):
    """So many MiB of zeros, a thousandth as long."""
    z = zlib.compressobj(9, zlib.DEFLATED, -15)
    return ((z.compress(bytes(MIB)) + z.flush(zlib.Z_SYNC_FLUSH)) * mib)[:-4]


class Bomber(Ws):
    def __init__(self, w, target=RAW):
        super().__init__(w.address("ws"), target,
                         Sec_WebSocket_Extensions="permessage-deflate")
        equal(self.status, 101, self.head)

    def throw(self, payload, first=0xc2):
        self.send(header(first, len(payload), b"\0\0\0\0") + payload)
        return self.read()


def test_t07_a_compression_bomb_is_1009_and_costs_nothing():
    small, big = bomb(1), bomb(1000)
    check(MIB / len(small) > 1000, f"{len(small)} bytes for 1 MiB")
    with World(["ws.deflate=on"]) as w:
        pids = sorted(w.pids("ws"))
        with Bomber(w) as c:  # what is made once is made
            equal(c.throw(small), ("close", 1009))
        memory, begin, times = rss(w), cpu(w), 100
        for _ in range(times):
            with Bomber(w) as c:
                equal(c.throw(small), ("close", 1009))
        each = (cpu(w) - begin) / times
        figure(f"{each * 1e6:.0f} us of CPU for a connection and its bomb")
        check(each < 0.01, f"{each * 1000:.1f} ms of CPU for one")
        with Bomber(w) as c:  # a million bytes of it are not even waited for
            equal(c.throw(big), ("close", 1009))
        with Bomber(w, "/v1/ws") as c:
            c.item()
            equal(c.throw(small, 0xc1), ("close", 1009))
        with Bomber(w) as c:  # blocks of nothing, to keep us busy
            equal(c.throw(b"\0\0\0\xff\xff" * 15000), ("close", 1008))
        check(rss(w) - memory < 2 * MIB, f"{rss(w) - memory} bytes more")
        eventually(lambda: w.metric("inflate_refused_total", why="size") == times + 1
                   and w.metric("inflate_refused_total", why="ratio") == 1
                   and w.metric("inflate_refused_total", why="blocks") == 1, "counted")
        unharmed(w, pids)


def test_t07_nothing_is_inflated_as_shipped():
    with World() as w, w.ws(RAW, Sec_WebSocket_Extensions="permessage-deflate") as c:
        equal(Bomber.throw(c, bomb(1)), ("close", 1002))


# ---- T11: text that is not UTF-8 ---------------------------------------------

def utf8_cases():
    """[(bytes, is it UTF-8?)]"""
    out = []
    with open(os.path.join(DATA, "conformance", "utf8-cases.txt"), encoding="ascii") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                _, kind, data = line.strip("\n").split(":")[:3]
                out.append((bytes.fromhex(data) if "hex" in kind else data.encode(),
                            kind.strip().startswith("valid")))
    return out


async def say_all(address, cases):
    """Each case by a publisher of its own, as text; how each ended: a code, or
    "kept". And what each of 20 subscribers has heard."""
    async def publish(data):
        peer = await Peer.connect(address, "/v1/raw?channel=own&publish=a")
        peer.frame(1, data)
        peer.frame(9, b"over")
        op, payload = await asyncio.wait_for(peer.read(), DEADLINE)
        peer.writer.close()
        return int.from_bytes(payload[:2], "big") if op == 8 else "kept"

    async def hear(peer, count):
        heard = [await asyncio.wait_for(peer.read(), DEADLINE) for _ in range(count)]
        peer.frame(9, b"still there?")
        equal(await asyncio.wait_for(peer.read(), DEADLINE), (10, b"still there?"))
        peer.writer.close()
        return heard

    listeners = [await Peer.connect(address, "/v1/raw?channel=a") for _ in range(20)]
    hearing = [asyncio.ensure_future(hear(p, sum(valid for _, valid in cases)))
               for p in listeners]
    ends = await asyncio.gather(*(publish(data) for data, _ in cases))
    return ends, await asyncio.gather(*hearing)


def test_t11_text_that_is_no_utf8_ends_its_publisher_and_no_subscriber():
    cases = utf8_cases()
    check(len(cases) >= 216, f"{len(cases)} cases")
    with World() as w:
        ends, heard = asyncio.run(say_all(w.address("ws"), cases))
        equal(ends, ["kept" if valid else 1007 for _, valid in cases])
        wanted = sorted(data for data, valid in cases if valid)
        for frames in heard:
            equal(sorted(data for op, data in frames), wanted)
            check(all(op == 1 for op, _ in frames), "text came as text")
