#!/usr/bin/env python3
"""What compressing costs and saves: a thousand WebSockets on one channel, with
ws.deflate off and on; CPU of the gateway and bytes on the wire, a message.

    python3 tests/bench/deflate.py [RECEIVERS]"""
import glob
import json
import os
import select
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))
from world import Failed, World, Ws, eventually  # noqa: E402

ROUNDS = 20
SIZES = (100, 300, 1000, 4000, 20000)


def cpu_us(pid):
    """Microseconds that all threads of a process have run."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path) as f:
            total += int(f.read().split()[0])
    return total / 1000


def payload(size):
    """Events of a match, as many as make so many bytes."""
    events = []
    while len(json.dumps(events)) < size:
        n = len(events)
        events.append({"kind": ("goal", "shot", "card", "foul")[n % 4], "minute": n % 90,
                       "data": {"player": {str(n * 7 % 23): "Luna Albil Xavi Puyol".split()
                                           [n * 5 % 4]}, "team": ("tig", "elp")[n % 3 % 2]}})
    return json.dumps(events)[:size]


class Crowd:
    def __init__(self, w, count, headers):
        self.socks = {}
        self.poll = select.epoll()
        for _ in range(count):
            s = Ws(w.address("ws"), "/v1/raw?channel=bench", **headers)
            s.sock.setblocking(False)
            self.socks[s.sock.fileno()] = s
            self.poll.register(s.sock, select.EPOLLIN)

    def take(self, wanted):
        """Waits until so many bytes have come to each; 0: learns how many."""
        got = dict.fromkeys(self.socks, 0)
        left = len(got)
        while left or not wanted:
            events = self.poll.poll(0.5 if not wanted else 30)
            if not events:
                if wanted:
                    raise Failed("nothing came")
                return max(got.values())
            for fd, _ in events:
                n = len(self.socks[fd].sock.recv(1 << 20))
                if n == 0:
                    raise Failed("a receiver was cut")
                left -= got[fd] < wanted <= got[fd] + n
                got[fd] += n
        return wanted


def measure(w, pid, crowd, size):
    text = payload(size)
    w.publish("bench", text)
    wire = crowd.take(0)
    begin = cpu_us(pid)
    for _ in range(ROUNDS):
        w.publish("bench", text)
        crowd.take(wire)
    return wire, (cpu_us(pid) - begin) / ROUNDS


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    print(f"{count} receivers, one gateway worker, {ROUNDS} messages of each size")
    print("payload  deflate  bytes to each  CPU of the gateway a message")
    for deflate in ("off", "on"):
        with World([f"ws.deflate={deflate}", "ws.workers=1", "http.workers=1"]) as w:
            headers = {"Sec_WebSocket_Extensions": "permessage-deflate"}
            crowd = Crowd(w, count, headers)
            pid = eventually(lambda: w.pids("ws"), "it runs")[0]
            for size in SIZES:
                wire, cpu = measure(w, pid, crowd, size)
                print(f"{size:7}  {deflate:7}  {wire:13}  {cpu:8.0f} us", flush=True)


if __name__ == "__main__":
    main()
