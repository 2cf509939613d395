"""Who is compared. A peer is a class:

name      in options and in the JSON         title    in the document
package   of tools/deps.sh, or None          process  "one": all its clients in one process
only      rows that it is for (rows.py), or None: all
ids       what the ids of its clients begin with
publishers  connections to publish on
published how it is published to
setting   how it runs here                   lacks    what of this work it does not do

start(), stop(), pids(): its processes; clients(): options of touchline-flood that make
clients of it; publish(): those that publish to it. `version()` asks the program."""
import json
import os
import re
import shutil
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path[:0] = [os.path.join(ROOT, "tests", "system"), os.path.join(ROOT, "tests", "chaos")]
import asyncio  # noqa: E402

from peers.server import Server  # noqa: E402
from world import BIN, DEADLINE, Lines, World  # noqa: E402

FLOOD = os.path.join(BIN, "touchline-flood")
os.environ["PATH"] += ":/usr/sbin"  # where some servers are, and not everybody looks
WORKERS = max(2, os.cpu_count() or 1)  # event loops of whoever has several


def missing(package):
    """Why it cannot be had, after tools/deps.sh has tried to install it; "": it is there."""
    if not package:
        return ""
    p = subprocess.run([os.path.join(ROOT, "tools", "deps.sh"), "bench_" + package],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       stdin=subprocess.DEVNULL)
    if p.returncode == 0:
        return ""
    lines = [line.strip() for line in p.stdout.split("\n") if line.strip()]
    why = [line for line in lines[1:-2] if line.startswith("E: ")][-1:]
    return "; ".join(lines[:1] + why + lines[-2:]) or f"tools/deps.sh ended with {p.returncode}"


def first_line(*command):
    """Of what it says; "?": there is no such program."""
    try:
        p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                           check=False)
    except OSError:
        return "?"
    return p.stdout.split("\n")[0].strip() if p.returncode == 0 else "?"


def package_version(package):
    return first_line("dpkg-query", "-W", "-f", "${Version}", package)


class Peer:
    package, only, process, ids = None, None, "several", "bench/"
    publishers = 2
    published = "HTTP POST, pipelined; answered 201"

    @classmethod
    def absent(cls):
        """Why it is not here, as things are; "": it is."""
        program = getattr(cls, "program", FLOOD)
        return "" if shutil.which(program) else f"{program} is not installed"

    def __init__(self, directory, clients):
        """clients: at most so many at a time."""
        self.dir, self.most = directory, clients
        os.makedirs(directory, exist_ok=True)

    def close(self):
        self.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


# ---- ours, and the limit ---------------------------------------------------------

class Limit(Peer):
    name, title = "limit", "limit"
    setting = f"`touchline-flood --serve`, {WORKERS} processes"
    lacks = ("everything: it checks nothing, stores nothing, and drops whoever does not "
             "take at once what is sent")

    @staticmethod
    def version():
        return Touchline.version()

    def start(self):
        self.proc = subprocess.Popen([FLOOD, "--serve", "127.0.0.1:0", "--processes",
                                      str(WORKERS)], stdout=subprocess.PIPE,
                                     start_new_session=True)
        out = Lines(self.proc.stdout, lambda n: os.read(self.proc.stdout.fileno(), n))
        self.address = out.line(DEADLINE).decode().split("http://")[1].strip()

    def stop(self):
        self.proc.kill()
        self.proc.wait()
        self.proc.stdout.close()

    def pids(self):
        return [self.proc.pid]

    def clients(self):
        return ["--target", self.address]

    def publish(self):
        return []


class Touchline(Peer):
    name, title = "touchline", "Touchline"
    setting = ("plain ids, durability `process`: committed to SQLite before it is answered "
               f"and delivered; `http.instances={WORKERS}`, `http.workers=1`, all else as shipped")
    lacks = "nothing of what is asked for here"
    sets = []

    @staticmethod
    def version():
        """Of the program, and of what it is made from."""
        commit = first_line("git", "-C", ROOT, "describe", "--always", "--dirty")
        return (first_line(os.path.join(BIN, "touchline"), "--version").split()[-1]
                + (f" ({commit})" if commit != "?" else ""))

    def start(self):
        self.world = World(under=self.dir, before=os.setsid, start=False,
                           sets=[f"http.instances={WORKERS}", "http.workers=1", *self.sets])
        self.world.start()

    def stop(self):
        self.world.close(keep=True)

    def pids(self):
        return [self.world.proc.pid]

    def clients(self):
        return ["--target", "{}:{}".format(*self.world.address("http"))]

    def publish(self):
        return []


class TouchlineVolatile(Touchline):
    name, title, ids = "touchline-volatile", "Touchline, nothing kept", "volatile/bench/"
    setting = "the same, ids below `volatile/`: durability `memory`, nothing is stored"
    lacks = "storing; who was away does not get what he missed"
    only = "messages"


class TouchlinePower(Touchline):
    name, title, ids = "touchline-power", "Touchline, power", "power/bench/"
    setting = "the same, durability `power`: synced to disk before it is answered and delivered"
    sets = ["namespace power/.durability=power"]
    only = "addressed"


# ---- others --------------------------------------------------------------------

class Foreign(Server, Peer):
    """A server by the means of the chaos tests, which start each in a folder."""

    def __init__(self, directory, clients):
        Peer.__init__(self, directory, clients)
        Server.__init__(self, directory)

    def config(self):
        raise NotImplementedError

    def command(self):
        path = os.path.join(self.dir, "server.conf")
        with open(path, "w", encoding="ascii") as f:
            f.write(self.config())
        return [self.program, *self.options(path)]

    def start(self):
        asyncio.run(Server.start(self))

    def stop(self):
        Server.close(self)

    def pids(self):
        return [self.proc.pid]

    def clients(self):
        return ["--target", f"127.0.0.1:{self.port}", *self.speaks]

    def publish(self):
        return self.publishes


class Nchan(Foreign):
    name, title, package, program = "nchan", "Nchan", "nchan", "nginx"
    setting = (f"nginx, {WORKERS} workers; chunked streams; `nchan_message_buffer_length 0`, "
               "`reuseport`, backlog 65535, `multi_accept on`, access log off")
    lacks = ("storing (a buffer in memory is possible and off here, so nothing can be "
             "resumed), numbers of messages")
    publishes = ["--publish-url", "/pub/{id}"]
    published = "HTTP POST, pipelined; answered 201, or 202 where nobody listens"

    @classmethod
    def absent(cls):
        module = "/usr/lib/nginx/modules/ngx_nchan_module.so"
        return super().absent() or ("" if os.path.exists(module) else f"there is no {module}")

    @staticmethod
    def version():
        nginx = first_line("nginx", "-v").split("/")[-1]
        return f"{package_version('libnginx-mod-nchan')} in nginx {nginx}"

    def config(self):
        each = min(int(0.75 * self.most) + 4096, 20000)
        user = "user root root;" if os.geteuid() == 0 else ""
        return f"""
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
daemon off; {user}
worker_processes {WORKERS};
pid {self.dir}/pid;
error_log {self.dir}/error.log;
events {{ worker_connections {each}; multi_accept on; }}
http {{
    access_log off;
    client_body_temp_path {self.dir}/body;
    proxy_temp_path {self.dir}/proxy;
    fastcgi_temp_path {self.dir}/fastcgi;
    uwsgi_temp_path {self.dir}/uwsgi;
    scgi_temp_path {self.dir}/scgi;
    client_header_buffer_size 1k;
    keepalive_requests 1000000000;
    nchan_shared_memory_size 2G;
    server {{
        listen 127.0.0.1:{self.port} reuseport backlog=65535;
        location ~ ^/pub/(.+)$ {{
            nchan_publisher http;
            nchan_channel_id $1;
            nchan_message_buffer_length 0;
            nchan_message_timeout 60s;
        }}
        location ~ ^/sub/(.+)$ {{
            nchan_subscriber http-chunked;
            nchan_channel_id $1;
            nchan_subscriber_first_message newest;
        }}
    }}
}}
"""

    def options(self, path):
        return ["-p", self.dir, "-c", path, "-e", os.path.join(self.dir, "error.log")]

    speaks = ["--url", "/sub/{id}", "--ready", "head", "--header", "TE: chunked\\r\\n",
              "--split", "chunk"]


class Nats(Foreign):
    name, title, package, program = "nats", "NATS", "nats", "nats-server"
    process, ids = "one", "bench."
    setting = "core NATS; `ping_interval 30m`, `write_deadline 30s`, `max_pending 256MB`"
    lacks = "storing, resuming, numbers of messages; its `+OK` says that a message was read"
    published = "PUB with `verbose`; answered +OK"
    speaks = ["--edge", "lines", "--ready", "PONG", "--reply", "PING=PONG\\r\\n", "--line",
              'CONNECT {"verbose":false}\\r\\nSUB {id} 1\\r\\nPING\\r\\n']
    publishes = ["--publish-hello", 'CONNECT {"verbose":true}\\r\\nPING\\r\\n',
                 "--publish-ready", "PONG", "--publish-answer", "+OK",
                 "--publish-line", "PUB {id} {size}\\r\\n{body}\\r\\n"]

    @staticmethod
    def version():
        return package_version("nats-server")

    def config(self):
        return f"""
listen: "127.0.0.1:{self.port}"
max_connections: 1100000
ping_interval: "30m"
write_deadline: "30s"
max_pending: 256MB
log_file: "{self.dir}/log"
{self.more()}
"""

    def more(self):
        return ""

    def options(self, path):
        return ["-c", path]


class JetStream(Nats):
    name, title, only = "nats-jetstream", "NATS JetStream", "addressed"
    setting = ("a stream in files, synced at its own interval (2 min); what is stored is "
               "republished to subscribers")
    lacks = "syncing before it answers; resuming (its consumers can; plain subscribers here do not)"
    speaks = [x.replace("SUB {id}", "SUB out.{id}") for x in Nats.speaks]
    publishes = ["--publish-hello", 'CONNECT {"verbose":false}\\r\\nSUB ack.0 1\\r\\nPING\\r\\n',
                 "--publish-ready", "PONG", "--publish-answer", '{"stream":',
                 "--publish-line", "PUB {id} ack.0 {size}\\r\\n{body}\\r\\n"]
    published = "PUB with a reply subject, from one connection; answered by the stream"
    publishers = 1  # all answers go to one connection

    def more(self):
        return f'jetstream {{ store_dir: "{self.dir}/store" }}'

    def start(self):
        super().start()
        stream = json.dumps({"name": "BENCH", "subjects": [self.ids + ">"], "storage": "file",
                             "republish": {"src": self.ids + ">", "dest": "out." + self.ids + ">"}})
        with socket.create_connection(("127.0.0.1", self.port), DEADLINE) as c:
            c.settimeout(DEADLINE)
            c.sendall(b'CONNECT {"verbose":false}\r\nSUB made 1\r\nPUB $JS.API.STREAM.CREATE.BENCH '
                      b"made %d\r\n%s\r\n" % (len(stream), stream.encode()))
            said = b""
            while b'"type":"io.nats.jetstream.api.v1.stream_create_response"' not in said:
                got = c.recv(65536)
                said += got
                if not got or b'"error"' in said:
                    raise RuntimeError(f"JetStream makes no stream: {said[-400:]!r}")


class Redis(Foreign):
    name, title, package, program, process = "redis", "Redis", "redis", "redis-server", "one"
    setting = 'PUBLISH; `save ""`, `tcp-backlog 65535`, no limit of what waits for a subscriber'
    lacks = ("storing, resuming, numbers of messages; PUBLISH is answered when the message "
             "waits in the sockets' buffers")
    published = "PUBLISH in RESP, pipelined; answered with the number of receivers"
    speaks = ["--edge", "lines", "--ready", "subscribe", "--line", "SUBSCRIBE {id}\\r\\n"]
    publishes = ["--publish-answer", ":", "--publish-line",
                 "*3\\r\\n$7\\r\\nPUBLISH\\r\\n${idsize}\\r\\n{id}\\r\\n${size}\\r\\n{body}\\r\\n"]

    @staticmethod
    def version():
        return package_version("redis-server")

    def config(self):
        return f"""
bind 127.0.0.1
port {self.port}
protected-mode no
dir {self.dir}
logfile {self.dir}/log
save ""
appendonly no
maxclients 1048000
tcp-backlog 65535
client-output-buffer-limit pubsub 0 0 0
"""

    def options(self, path):
        return [path]


class Mosquitto(Foreign):
    name, title, package, program = "mosquitto", "Mosquitto", "mosquitto", "mosquitto"
    process = "one"
    setting = ("MQTT 3.1.1, subscribed at QoS 0 in clean sessions, no keepalive, no queue limit, "
               "no persistence, no log; published at QoS 1, so that each has its answer")
    lacks = ("storing, resuming, numbers of messages (QoS 1 with sessions that stay would "
             "hold what waits in memory); its backlog is 100 connections")
    speaks, publishes = ["--edge", "mqtt"], []
    published = "PUBLISH at QoS 1; answered PUBACK"

    @staticmethod
    def version():
        return package_version("mosquitto")

    def config(self):
        user = "user root" if os.geteuid() == 0 else ""
        return f"""
listener {self.port} 127.0.0.1
allow_anonymous true
{user}
persistence false
max_queued_messages 0
max_inflight_messages 0
log_dest none
set_tcp_nodelay true
"""

    def options(self, path):
        return ["-c", path]


PEERS = [Limit, Touchline, TouchlineVolatile, TouchlinePower, Nchan, Nats, JetStream, Redis,
         Mosquitto]


def lowest_file_limit():
    """Of a process here, by its hard limit."""
    with open("/proc/self/limits", encoding="ascii") as f:
        hard = re.search(r"Max open files +\S+ +(\S+)", f.read())[1]
    return 10 ** 9 if hard == "unlimited" else int(hard)
