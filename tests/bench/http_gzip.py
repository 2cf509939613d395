#!/usr/bin/env python3
"""What gzip over HTTP costs the gateway, in instructions: one worker under
callgrind, streams on one channel, messages like those of a match; with and
without Accept-Encoding. Counted is what is done for each connection when it is
its turn, from the ring to sendmsg; not what the kernel does.

    python3 tests/bench/http_gzip.py [STREAMS]"""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))
from world import BIN, Failed, Lines, Stream  # noqa: E402

FEW, MANY = 20, 120  # messages: what the difference cost is theirs
SETS = ["--set", "http.listen=127.0.0.1:0", "--set", "http.workers=1", "--set",
        "process.sandbox=off", "--set", "namespace feed/.compress=yes", "--set",
        "limits.ping=0", "--set", "process.canary=0", "--set", "limits.queue_age=0"]


def serve(binary, place, *under):
    p = subprocess.Popen([*under, os.path.join(BIN, binary), "--dir", place, *SETS],
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    line = Lines(p.stdout, lambda n: os.read(p.stdout.fileno(), n)).line(60).decode().split()
    if line[0] != "ready":
        raise Failed(line)
    return p, line[2]


def instructions(streams, messages, fields):
    place = tempfile.mkdtemp(prefix="tl-bench-")
    out = os.path.join(place, "callgrind")
    router, _ = serve("touchline-router", place)
    http, url = serve("touchline-http", place, "valgrind", "--tool=callgrind",
                      "--toggle-collect=conn_flush", "--callgrind-out-file=" + out)
    host, port = re.match(r"http://(.*):(\d+)", url).groups()
    crowd = [Stream((host, int(port)), "/v1/stream?channel=feed/a", fields)
             for _ in range(streams)]
    for s in crowd:
        s.chunk(60)
        if not fields.get("Accept-Encoding"):
            continue
        s.chunk(60)  # the head of gzip was a chunk of its own
    for n in range(messages):
        text = ('{"kind":"goal","data":{"player":{"%d":"Luna"},"team":"tig","minute":%d}}'
                % (n % 23, n % 90))
        subprocess.run([os.path.join(BIN, "router-ctl"), "--dir", place, "--format", "json",
                        "publish", "feed/a", text], check=True, stdout=subprocess.DEVNULL)
        for s in crowd:
            s.chunk(60)
    for s in crowd:
        s.close()
    for p in (http, router):
        p.send_signal(signal.SIGTERM)
        p.wait()
    with open(out) as f:
        total = int(re.search(r"^(?:summary|totals): (\d+)", f.read(), re.M).group(1))
    shutil.rmtree(place)
    return total


def a_message(streams, fields):
    return (instructions(streams, MANY, fields) - instructions(streams, FEW, fields)) / (
        MANY - FEW)


def main():
    streams = int(sys.argv[1]) if len(sys.argv) > 1 else 201
    print(f"instructions of the gateway for a message, and how many more for each of "
          f"{streams - 1} more watchers")
    print("            one watcher  each more")
    for name, coding in (("plain", {}), ("gzip", {"Accept-Encoding": "gzip"})):
        one, all_ = a_message(1, coding), a_message(streams, coding)
        print(f"{name:10}  {one:11,.0f}  {(all_ - one) / (streams - 1):9,.0f}", flush=True)


if __name__ == "__main__":
    main()
