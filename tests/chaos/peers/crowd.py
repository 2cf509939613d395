"""Clients of a peer: what all have in common. One asyncio loop, one log."""
import asyncio
import contextlib
import hashlib
import random
import re
import time

TEXT = re.compile(rb"tl (\d+) (\d+) ([a-z0-9/]+) [a-z0-9]+")
ANSWER = 10.0  # seconds that a publisher waits; then its message's fate is unknown
BACKOFF = 2.0  # longest wait before a client comes back
PATIENCE = 60  # who is not answered for so long will not be
AFTERWARDS = 20  # messages of each publisher after everything was healed
BROKEN = (OSError, EOFError, asyncio.IncompleteReadError, asyncio.TimeoutError)


class Protocol(Exception):
    """A peer said what these clients do not understand: the round is void."""


def text(publisher, number, channel, rng):
    """As payload.h writes it; 40 to 400 bytes."""
    head = f"tl {publisher} {number} {channel} "
    return (head + "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789",
                                       k=rng.randint(20, 380)))).encode()


def hashed(data):
    """Any hash will do, as long as all lines of a run use the same."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


class Log:
    """Lines of ../history.h. last_ns: of the last message that anybody saw."""

    def __init__(self, path):
        self.file, self.last_ns = open(path, "w", encoding="ascii"), 0

    def say(self, kind, who, *words):
        self.file.write(" ".join([kind, str(time.monotonic_ns()), str(who), *map(str, words)])
                        + "\n")

    def close(self):
        self.file.close()


class Client:
    """A chain of connections. `session` is a peer's own: it talks over
    self.reader and self.writer until something breaks."""

    def __init__(self, log, port, number, seed):
        self.log, self.port, self.number, self.rng = log, port, number, random.Random(seed)
        self.reader = self.writer = None
        self.failures = 0
        self.well = asyncio.Event()  # of a subscriber: in force; of a publisher: answered

    async def dial(self):
        self.reader, self.writer = await asyncio.wait_for(
            asyncio.open_connection("127.0.0.1", self.port), ANSWER)

    def hang_up(self):
        """At once, as of a process that died."""
        if self.writer:
            self.writer.transport.abort()
        self.reader = self.writer = None

    async def pause(self):
        """Longer each time that it did not work."""
        self.failures += 1
        await asyncio.sleep(self.rng.uniform(0, min(BACKOFF, 0.05 * 2 ** self.failures)))


class Subscriber(Client):
    """stay: mean seconds until it leaves, to come back and resume; 0: it stays."""
    edge, form = "http", "-"

    def __init__(self, log, port, number, seed, channel, stay):
        super().__init__(log, port, number, seed)
        self.channel, self.stay, self.conn = channel, stay, 0

    async def run(self):
        while True:
            self.conn += 1
            self.well.clear()
            self.log.say("O", self.number, self.conn, self.edge, self.form)
            who, why = "peer", "cut"
            stays = self.rng.expovariate(1 / self.stay) if self.stay else None
            try:
                await self.dial()
                self.log.say("S", self.number, self.conn, "-", self.channel)
                await asyncio.wait_for(self.session(), stays)
                why = "end"
            except asyncio.TimeoutError:
                who = "self"
            except asyncio.CancelledError:
                who = "self"
                raise
            except BROKEN:
                why = "reset"
            finally:
                self.hang_up()
                self.log.say("E", self.number, self.conn, who, why)
            if why != "end":
                await self.pause()

    async def session(self):
        raise NotImplementedError

    def in_force(self):
        self.failures = 0
        self.log.say("B", self.number, self.conn)
        self.well.set()

    def saw(self, data):
        """One message; how it came is in none of its bytes."""
        m = TEXT.fullmatch(data)
        self.log.last_ns = time.monotonic_ns()
        self.log.say("M", self.number, self.conn, m[3].decode() if m else self.channel, "-", "-",
                     "-", hashed(data), m[1].decode() if m else "-", m[2].decode() if m else "-",
                     "-")

    def told_gap(self, why):
        """It was told that something may be missing; not what."""
        self.log.say("N", self.number, self.conn, "gap", self.channel, "-", "-", "-", "-", "-",
                     why)


class Publisher(Client):
    """One message at a time, each sent again until it is answered."""

    def __init__(self, log, port, number, seed, channels, interval):
        super().__init__(log, port, number, seed)
        self.channels, self.interval, self.stopped = channels, interval, False

    async def run(self):
        number = 0
        while not self.stopped:
            number += 1
            channel = self.rng.choice(self.channels)
            data = text(self.number, number, channel, self.rng)
            while not await self.one(number, channel, data):
                await self.pause()
            self.failures = 0
            await asyncio.sleep(self.rng.uniform(0, 2 * self.interval))
        self.hang_up()

    async def one(self, number, channel, data):
        """True: acknowledged."""
        with contextlib.suppress(*BROKEN):
            if not self.writer:
                await self.dial()
                await asyncio.wait_for(self.greet(), ANSWER)
        if not self.writer:
            return False
        self.log.say("I", self.number, number, channel, "memory", hashed(data), "-", "-")
        try:
            await asyncio.wait_for(self.publish(channel, data, number), ANSWER)
        except BROKEN as e:
            self.hang_up()
            self.log.say("U", self.number, number, type(e).__name__)
            return False
        self.log.say("A", self.number, number, "-", "-", "-", "-")
        self.well.set()
        return True

    async def answered(self, count):
        """So many more."""
        for _ in range(count):
            self.well.clear()
            await self.well.wait()

    async def greet(self):
        """What a connection begins with."""

    async def publish(self, channel, data, number):
        """Returns when it is acknowledged."""
        raise NotImplementedError


async def play(peer, log, seed, o, faults):
    """One round of a peer. faults: a coroutine function that breaks it, and
    returns when all is healed."""
    rng = random.Random(seed)
    channels = [f"plain/{i + 1}" for i in range(o.channels)]
    subs = [peer.subscriber(i)(log, peer.port, i + 1, rng.getrandbits(32),
                               channels[i % len(channels)], o.stay)
            for i in range(o.subscribers)]
    pubs = [peer.publisher()(log, peer.port, i + 1, rng.getrandbits(32), channels,
                             o.publishers / o.rate) for i in range(o.publishers)]
    readers = [asyncio.ensure_future(s.run()) for s in subs]
    writers = []
    try:
        await asyncio.wait_for(asyncio.gather(*(s.well.wait() for s in subs)), PATIENCE)
        writers += [asyncio.ensure_future(p.run()) for p in pubs]
        await faults()
        for s in subs:
            s.stay = 0
        await recovery(subs, pubs, writers)
        for p in pubs:
            p.stopped = True
        await asyncio.wait(writers, timeout=PATIENCE)
        await silence(log)
        for task in readers + writers:
            if task.done():
                task.result()  # what a client of ours died of is an error of ours
    finally:
        for task in readers + writers:
            task.cancel()
        await asyncio.gather(*readers, *writers, return_exceptions=True)
        for client in subs + pubs:
            client.hang_up()


async def recovery(subs, pubs, writers):
    """All is healed: everybody is in force again, and then each publisher is answered
    AFTERWARDS more times. Whoever does not come to that is left as he is."""
    async def well():
        await asyncio.gather(*(s.well.wait() for s in subs))
        await asyncio.gather(*(p.answered(AFTERWARDS) for p in pubs))

    last = asyncio.ensure_future(well())
    await asyncio.wait([last, *writers], timeout=PATIENCE,
                       return_when=asyncio.FIRST_COMPLETED)
    last.cancel()
    await asyncio.gather(last, return_exceptions=True)


async def silence(log):
    """Nobody has seen anything for as long as the longest way back takes, and
    a little more: what has not come by then does not come."""
    log.last_ns = time.monotonic_ns()
    while time.monotonic_ns() - log.last_ns < 4 * BACKOFF * 1e9:
        await asyncio.sleep(0.1)
