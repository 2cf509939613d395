"""A bad wire between whole gateways and their router.

    with Relay() as relay, World(relay.sets, under=...) as w: ...
    relay.follow(w.dir)  in front of the start
    relay.spoil = 0.02   # share of batches in which a bit is flipped
    relay.hold("down")   # nothing comes from the router any more
    relay.cut()

It stands at the link's TCP address (`link.url`), asks the router for the peers
(what `DIR/router.url` says just then), and puts its own ports into the offers
that it brings back; so every line leads through it. It knows where a message of
NNG ends, so that it can lose, repeat, swap and spoil single batches. What it did
is counted by name in `injected`. `up` is towards the router.

Its loop is a thread of its own; what is set from others holds from the next
message on."""
import asyncio
import collections
import random
import struct
import threading

DIRECTIONS = ("up", "down")
OFFER = 0x81
HANDSHAKE = 8


class Relay:
    def __init__(self, seed=1):
        self.rng = random.Random(seed)
        self.lose = self.twice = self.swap = self.spoil = 0.0  # shares of batches
        self.only = DIRECTIONS  # the directions in which these strike
        self.delay = 0.0  # seconds that every message waits
        self.injected = collections.Counter()
        self.dir = None
        self.writers, self.servers = set(), []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.port = self.ask(self.begin())
        self.sets = ["router.url=tcp://127.0.0.1:0", f"link.url=tcp://127.0.0.1:{self.port}"]

    def ask(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def follow(self, directory):
        """Where the router of this directory is, there peers are brought."""
        self.dir = directory
        return self

    # ---- what is done to everything

    def hold(self, *directions):
        """No byte is taken any more; TCP holds what it can. None: both."""
        self.ask(self.set_gates(directions or DIRECTIONS, False))
        self.injected["hold"] += 1

    def release(self):
        self.ask(self.set_gates(DIRECTIONS, True))

    def cut(self):
        """Every connection ends. The next ones pass."""
        self.ask(self.close_all())
        self.injected["cut"] += 1

    def calm(self):
        self.lose = self.twice = self.swap = self.spoil = self.delay = 0.0
        self.only = DIRECTIONS
        self.release()

    async def set_gates(self, directions, is_open):
        for d in directions:
            (self.gates[d].set if is_open else self.gates[d].clear)()

    async def close_all(self):
        for w in list(self.writers):
            w.transport.abort()

    # ---- connections

    async def begin(self):
        self.gates = {d: asyncio.Event() for d in DIRECTIONS}
        await self.set_gates(DIRECTIONS, True)
        return await self.listen(self.router_port, self.pass_word)

    async def listen(self, target, each):
        """The port of a new listener, whose connections lead to target()."""
        async def connected(reader, writer):
            await self.connect(reader, writer, target, each)

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        self.servers.append(server)
        return server.sockets[0].getsockname()[1]

    def router_port(self):
        with open(self.dir + "/router.url") as f:
            return int(f.read().strip().rsplit(":", 1)[1])

    async def connect(self, reader, writer, target, each):
        try:
            there = await asyncio.open_connection("127.0.0.1", target())
        except (OSError, ValueError):
            writer.transport.abort()
            return
        self.writers |= {writer, there[1]}
        ends = [self.pump(reader, there[1], "up", each), self.pump(there[0], writer, "down", each)]
        try:
            # One side is gone: so is the other.
            await asyncio.wait([asyncio.ensure_future(e) for e in ends],
                               return_when=asyncio.FIRST_COMPLETED)
        finally:
            for w in (writer, there[1]):
                w.transport.abort()
                self.writers.discard(w)

    async def pump(self, reader, writer, direction, each):
        held = []  # a batch that the next one overtakes
        try:
            writer.write(await reader.readexactly(HANDSHAKE))
            while True:
                size, = struct.unpack(">Q", await reader.readexactly(8))
                body = await reader.readexactly(size)
                await self.gates[direction].wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                for out in await each(direction, body, held):
                    writer.write(struct.pack(">Q", len(out)) + out)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass

    # ---- messages

    async def pass_word(self, direction, body, _held):
        """At the rendezvous: what is offered is offered here."""
        front = body[:4] + b"TJ"  # behind the number of the request
        if direction == "down" and body[4:6] == b"TJ" and body[7] == OFFER:
            at = len(front) + 2 + 8
            size, = struct.unpack_from("<H", body, at)
            address = body[at + 2:at + 2 + size].decode()
            ports = []
            for port in address.rsplit(":", 1)[1].split(","):
                ports.append(await self.listen(lambda p=int(port): p, self.pass_batch))
            text = (address.rsplit(":", 1)[0] + ":" + ",".join(map(str, ports))).encode()
            body = body[:at] + struct.pack("<H", len(text)) + text + body[at + 2 + size:]
        return [body]

    def draws(self, name, share):
        if not share or self.rng.random() >= share:
            return False
        self.injected[name] += 1
        return True

    async def pass_batch(self, direction, body, held):
        """The messages that leave, in order."""
        out = [body]
        if direction in self.only:
            if self.draws("lose", self.lose):
                out = []
            elif self.draws("spoil", self.spoil):
                at = self.rng.randrange(len(body) * 8)
                out = [body[:at // 8] + bytes([body[at // 8] ^ 1 << at % 8]) + body[at // 8 + 1:]]
            elif self.draws("twice", self.twice):
                out = [body, body]
            elif not held and self.draws("swap", self.swap):
                held.append(body)
                return []
        late = held[:]
        held.clear()
        return out + late

    # ---- the end

    def close(self):
        async def end():
            for s in self.servers:
                s.close()
            await self.close_all()

        self.ask(end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
