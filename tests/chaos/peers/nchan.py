"""nginx with Nchan, its messages in memory (there is no other store but Redis)."""
import base64
import os
import re
import socket
import subprocess

from . import crowd
from .server import Server

CONFIG = """
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
daemon off;
{user}
worker_processes {workers};
pid {dir}/pid;
error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi;
    scgi_temp_path {dir}/scgi;
    nchan_shared_memory_size 128M;
    server {{
        listen 127.0.0.1:{port};
        location ~ ^/pub/(.+)$ {{
            nchan_publisher http;
            nchan_channel_id $1;
            nchan_message_buffer_length 100000;
            nchan_message_timeout 1h;
        }}
        location ~ ^/sub/(.+)$ {{
            nchan_subscriber websocket eventsource longpoll;
            nchan_channel_id $1;
            nchan_subscriber_first_message oldest;
        }}
    }}
}}
"""


async def head(reader):
    """(status, {name: value}) of a response."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = (line.split(":", 1) for line in lines[1:] if line)
    return int(lines[0].split()[1]), {k.lower(): v.strip() for k, v in fields}


async def chunks(reader, fields):
    """The bytes of a body, as they come, until it ends."""
    if "content-length" in fields:
        left = int(fields["content-length"])
        if left:
            yield await reader.readexactly(left)
    elif fields.get("transfer-encoding") == "chunked":
        while True:
            size = int((await reader.readline()).split(b";")[0] or b"-1", 16)
            if size < 0:
                raise EOFError
            data = await reader.readexactly(size + 2)
            if not size:
                return
            yield data[:-2]
    else:
        while True:
            data = await reader.read(65536)
            if not data:
                raise EOFError
            yield data


async def body(reader, fields):
    return b"".join([data async for data in chunks(reader, fields)])


class Publisher(crowd.Publisher):
    async def publish(self, channel, data, number):
        self.writer.write(b"POST /pub/%s HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\n"
                          b"Content-Length: %d\r\n\r\n%s" % (channel.encode(), len(data), data))
        status, fields = await head(self.reader)
        await body(self.reader, fields)
        if status not in (201, 202):  # somebody listens, or nobody
            raise EOFError(status)


class Subscriber(crowd.Subscriber):
    def get(self, *lines, query=""):
        self.writer.write("\r\n".join([f"GET /sub/{self.channel}{query} HTTP/1.1", "Host: x",
                                       *lines, "", ""]).encode())


class EventSource(Subscriber):
    """Resumes with the id of the last event."""
    form, last_id = "sse", None

    async def session(self):
        self.get("Accept: text/event-stream",
                 *([f"Last-Event-ID: {self.last_id}"] if self.last_id else []))
        status, fields = await head(self.reader)
        if status != 200:
            raise EOFError(status)
        self.in_force()
        rest = b""
        async for data in chunks(self.reader, fields):
            *events, rest = (rest + data).replace(b"\r\n", b"\n").split(b"\n\n")
            for event in events:
                self.event(event.split(b"\n"))
        raise EOFError

    def event(self, lines):
        fields = dict(line.split(b": ", 1) for line in lines if b": " in line[1:])
        if b"id" in fields:
            self.last_id = fields[b"id"].decode()
        if b"data" in fields:
            self.saw(fields[b"data"])


class LongPoll(Subscriber):
    """Resumes with what the last answer said it was: Last-Modified and Etag. It
    is in force with its first question: an answer begins with the oldest."""
    form, after = "poll", ()

    async def session(self):
        self.get(*self.after)
        self.in_force()
        status, fields = await head(self.reader)
        data = await body(self.reader, fields)
        if status == 200:
            self.after = (f"If-Modified-Since: {fields['last-modified']}",
                          f"If-None-Match: {fields['etag']}")
            self.saw(data)
        elif status not in (304, 408):
            raise EOFError(status)


class WebSocket(Subscriber):
    """Resumes with the id in front of the last message (ws+meta.nchan)."""
    form, last_id = "ws", None

    async def session(self):
        key = base64.b64encode(self.rng.randbytes(16)).decode()
        self.get("Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}",
                 "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: ws+meta.nchan",
                 query=f"?last_event_id={self.last_id}" if self.last_id else "")
        status, _ = await head(self.reader)
        if status != 101:
            raise EOFError(status)
        self.in_force()
        while True:
            code, data = await self.frame()
            if code == 8:
                raise EOFError
            if code == 9:
                self.writer.write(b"\x8a" + bytes([0x80 | len(data)]) + bytes(4) + data)
            if code == 1:
                self.message(data)

    async def frame(self):
        first, size = await self.reader.readexactly(2)
        if size >= 126:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        if not first & 0x80:
            raise crowd.Protocol("a message in parts")
        return first & 15, await self.reader.readexactly(size)

    def message(self, data):
        meta, data = data.split(b"\n\n", 1)
        self.last_id = re.search(rb"^id: (\S+)", meta, re.M)[1].decode()
        self.saw(data)


class Nchan(Server):
    name = "Nchan"
    forms = (EventSource, LongPoll, WebSocket)

    def __init__(self, directory, workers):
        super().__init__(directory)
        self.workers = workers
        self.setting = f"in memory, {workers} worker{'s' if workers > 1 else ''}"

    @staticmethod
    def version():
        package = subprocess.check_output(["dpkg-query", "-W", "-f", "${Version}",
                                           "libnginx-mod-nchan"], text=True)
        nginx = subprocess.run(["nginx", "-v"], stderr=subprocess.PIPE, text=True, check=True)
        return f"{package} in {nginx.stderr.split()[-1]}"

    def command(self):
        path = os.path.join(self.dir, "nginx.conf")
        with open(path, "w", encoding="ascii") as f:
            f.write(CONFIG.format(dir=self.dir, port=self.port, workers=self.workers,
                                  user="user root root;" if os.geteuid() == 0 else ""))
        return ["nginx", "-p", self.dir, "-c", path, "-e", os.path.join(self.dir, "error.log")]

    def crashes(self):
        with open(os.path.join(self.dir, "error.log"), errors="replace") as f:
            return self.died + len(re.findall(r"exited on signal (?!9\b)", f.read()))

    def publisher(self):
        return Publisher

    def subscriber(self, i):
        return self.forms[i % len(self.forms)]

    def stall(self):
        """A reader of the first channel that does not read."""
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.connect(("127.0.0.1", self.port))
        s.sendall(b"GET /sub/plain/1 HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
        return s
