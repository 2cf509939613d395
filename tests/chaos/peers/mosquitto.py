"""Mosquitto: MQTT 3.1.1 at QoS 1, sessions that stay when a client has gone."""
import os
import socket
import subprocess

from . import crowd
from .server import Server

CONFIG = """
listener {port} 127.0.0.1
allow_anonymous true
{user}
persistence true
persistence_location {dir}/
max_queued_messages 0
log_dest file {dir}/mosquitto.log
{autosave}
"""
CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9


def string(data):
    return len(data).to_bytes(2, "big") + data


def packet(kind, flags, rest):
    size, n = b"", len(rest)
    while True:
        n, low = n >> 7, n & 127
        size += bytes([low | (0x80 if n else 0)])
        if not n:
            return bytes([kind << 4 | flags]) + size + rest


def connect(name):
    """Not a clean session, no keepalive."""
    return packet(CONNECT, 0, string(b"MQTT") + b"\x04\x00\x00\x00" + string(name))


def subscribe(topic):
    return packet(SUBSCRIBE, 2, b"\x00\x01" + string(topic) + b"\x01")


async def receive(reader):
    """(kind, flags, rest)"""
    first = (await reader.readexactly(1))[0]
    size = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return first >> 4, first & 15, await reader.readexactly(size)


async def expect(reader, wanted):
    kind, _, rest = await receive(reader)
    if kind != wanted:
        raise crowd.Protocol(f"packet {kind} instead of {wanted}")
    return rest


async def greet(client, name):
    """True: the server has the session still."""
    client.writer.write(connect(name))
    rest = await expect(client.reader, CONNACK)
    if rest[1]:
        raise EOFError(f"refused: {rest[1]}")
    return bool(rest[0] & 1)


class Publisher(crowd.Publisher):
    """What was not answered is sent again as it was, marked as such."""
    sent = 0

    async def greet(self):
        await greet(self, b"publisher-%d" % self.number)

    async def publish(self, channel, data, number):
        again = 8 if number == self.sent else 0
        self.sent = number
        name = (number & 0x7fff | 1 << 15).to_bytes(2, "big")
        self.writer.write(packet(PUBLISH, again | 2, string(channel.encode()) + name + data))
        if await expect(self.reader, PUBACK) != name:
            raise crowd.Protocol("an answer to something else")


class Subscriber(crowd.Subscriber):
    """Its session is at the server; that it is not there any more is a gap told. A
    session is there from the greeting on: whoever leaves before SUBACK has one that
    is subscribed to nothing."""
    edge, form, subscribed = "tcp", "mqtt", False

    async def session(self):
        present = await greet(self, b"subscriber-%d" % self.number)
        if self.subscribed and not present:
            self.told_gap("session")
            self.subscribed = False
        if not self.subscribed:
            await self.subscribe()
        self.in_force()
        while True:
            self.take(*await receive(self.reader))

    async def subscribe(self):
        """What came of an earlier subscription may come in front of the answer."""
        self.writer.write(subscribe(self.channel.encode()))
        while True:
            kind, flags, rest = await receive(self.reader)
            if kind == SUBACK:
                self.subscribed = True
                return
            self.take(kind, flags, rest)

    def take(self, kind, flags, rest):
        if kind != PUBLISH or flags & 6 != 2:
            raise crowd.Protocol(f"packet {kind} with flags {flags}")
        at = 2 + int.from_bytes(rest[:2], "big")
        self.saw(rest[at + 2:])
        self.writer.write(packet(PUBACK, 0, rest[at:at + 2]))


class Mosquitto(Server):
    """saves: writes its store at every change; else as it comes, every half hour
    and when it ends in order."""
    name = "Mosquitto"

    def __init__(self, directory, saves):
        super().__init__(directory)
        self.saves = saves
        self.setting = ("saved at every change" if saves else
                        "saved every 1800 s (its default)")

    @staticmethod
    def version():
        return subprocess.check_output(["dpkg-query", "-W", "-f", "${Version}", "mosquitto"],
                                       text=True)

    def command(self):
        path = os.path.join(self.dir, "mosquitto.conf")
        with open(path, "w", encoding="ascii") as f:
            f.write(CONFIG.format(
                dir=self.dir, port=self.port, user="user root" if os.geteuid() == 0 else "",
                autosave="autosave_interval 1\nautosave_on_changes true" if self.saves else ""))
        return ["mosquitto", "-c", path]

    def publisher(self):
        return Publisher

    def subscriber(self, _i):
        return Subscriber

    def stall(self):
        """A subscriber to everything that does not read."""
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", self.port))
        s.sendall(connect(b"stalled") + subscribe(b"plain/#"))
        return s
