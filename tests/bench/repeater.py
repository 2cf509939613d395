#!/usr/bin/env python3
"""What a message costs the router with k gateways that all want it: flat, and
behind repeaters. Calls and bytes are counted (strace), not time, which depends
on the machine; lone messages, each published when the one before is answered,
are the dearest, for nothing is sent together.

    repeater.py [MESSAGES]"""
import collections
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "system"))
from world import World, eventually  # noqa: E402

GATEWAYS, REPEATERS, BYTES = (1, 2, 4, 8, 16), (0, 1, 2), 200
SENDS = ("sendmsg", "sendto", "writev")  # on the sockets of links; the store writes otherwise


class Traced:
    """All calls of a process while it is in use."""

    def __init__(self, pid):
        self.file = tempfile.NamedTemporaryFile(prefix="tl-", suffix=".trace")
        self.proc = subprocess.Popen(["strace", "-f", "-qq", "-s", "0", "-o", self.file.name,
                                      "-p", str(pid)], stderr=subprocess.PIPE)
        eventually(lambda: int(re.search(r"TracerPid:\s(\d+)",
                                         open(f"/proc/{pid}/status").read())[1]), "traced")

    def end(self):
        """({call: times}, bytes sent)"""
        self.proc.send_signal(signal.SIGINT)
        self.proc.wait(20)
        calls, sent = collections.Counter(), 0
        with open(self.file.name, errors="replace") as f:
            for line in f:
                m = re.match(r"\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed>)", line)
                if not m or line.rstrip().endswith("<unfinished ...>"):
                    continue
                calls[m[1]] += 1
                done = re.search(r"= (\d+)$", line.rstrip())
                if m[1] in SENDS and done:
                    sent += int(done[1])
        self.file.close()
        return calls, sent


def seats(w):
    return {g["gateway"]: g["seats"] for g in json.loads(w.ctl("--json", "gateways"))["gateways"]
            if g["edge"] == "http"}


def everywhere(w, stack, gateways):
    """Every gateway has a watcher: the kernel chooses which one gets it."""
    while True:
        have = seats(w)
        if len(have) == gateways and all(have.values()):
            return
        for _ in range(gateways):
            stack.enter_context(w.stream("/v1/stream?channel=volatile/b")).item()


def measure(gateways, repeaters, messages):
    sets = [f"http.instances={gateways}", f"repeater.instances={repeaters}", "http.workers=1",
            "tcp.instances=0", "ws.instances=0", "process.canary=0"]
    with World(sets, start=False) as w, contextlib.ExitStack() as stack:
        w.start(("router", "http"))
        everywhere(w, stack, gateways)
        c = stack.enter_context(w.client())
        traced = {"router": Traced(w.pids("router")[0])}
        if repeaters:
            traced["repeater"] = Traced(w.pids("repeater")[0])
        for _ in range(messages):
            answer = c.ask("POST", "/v1/publish/volatile/b", "x" * BYTES).answer()
            assert answer.status == 201, answer.body
        return {kind: t.end() for kind, t in traced.items()}


def main():
    messages = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    if not shutil.which("strace"):
        print("no strace here")
        return 1
    print(f"{messages} lone messages of {BYTES} bytes, a watcher at each gateway; per message\n"
          f"{'gateways':>8} {'repeaters':>9} {'router: calls':>14} {'sends':>6} {'bytes':>6}"
          f" {'a repeater: calls':>18}", flush=True)
    for gateways in GATEWAYS:
        for repeaters in REPEATERS:
            if repeaters > gateways:
                continue
            got = measure(gateways, repeaters, messages)
            calls, sent = got["router"]
            below = sum(got["repeater"][0].values()) / messages if repeaters else None
            print(f"{gateways:8} {repeaters:9} {sum(calls.values()) / messages:14.1f} "
                  f"{sum(calls[s] for s in SENDS) / messages:6.1f} {sent / messages:6.0f} "
                  f"{'-' if below is None else format(below, '.1f'):>18}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
