"""What a stranger's bytes cost us: processor time and memory, for each kind of
input, measured against an ordinary publication in the same run. docs/cost.md
says what is counted and why the bound is 100.

Time is that of the serving processes together, never the wall's, and what is
compared are ratios: a busy machine makes both sides dearer. TOUCHLINE_COST=all
prints the table.
"""
import json
import os
import time

from world import EDGES, World, check, equal, eventually, readable

BOUND = 100
LOUD = os.environ.get("TOUCHLINE_COST")


# ---- measuring -------------------------------------------------------------

def pids(w):
    return [pid for kind in ("router", *EDGES) for pid in w.pids(kind)]


def spent(processes):
    """Seconds of processor time so far, of all threads."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in processes)


def kept(processes):
    """Bytes of memory that are the processes' own."""
    total = 0
    for pid in processes:
        with open(f"/proc/{pid}/status") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith("RssAnon"))
    return total * 1024


class Tally:
    """Bytes that went over one client's connection, both ways."""

    def __init__(self, client):
        self.client, self.bytes = client, 0
        self.recv, client.recv = client.recv, self.count
        self.send, client.send = client.send, self.count_sent

    def count(self, n):
        data = self.recv(n)
        self.bytes += len(data)
        return data

    def count_sent(self, data):
        self.bytes += len(data)
        self.send(data)


class Scale:
    """The table, and the price of an ordinary byte."""

    def __init__(self, w):
        self.w, self.pids, self.rows = w, pids(w), []
        self.price = None

    def time(self, name, inputs, times=1):
        """inputs(): sends, waits for the answers, returns the bytes carried."""
        inputs()
        before, carried = spent(self.pids), 0
        for _ in range(times):
            carried += inputs()
        each = (spent(self.pids) - before) / carried
        if self.price is None:
            self.price = each
        self.rows.append((name, carried, each / self.price))
        if LOUD:
            print(f"     {name:40} {carried:9} B {1e9 * each:9.0f} ns/B  x{each / self.price:.2f}", flush=True)
        return each / self.price

    def judge(self):
        dear = [f"{name}: x{ratio:.0f}" for name, _, ratio in self.rows if ratio > BOUND]
        check(not dear, "dearer than an ordinary byte: " + ", ".join(dear))


# ---- how each edge is talked to --------------------------------------------

def request(method, target, body=b"", **headers):
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n"
    if body or method in ("POST", "PUT"):
        head += f"Content-Length: {len(body)}\r\n"
    for k, v in headers.items():
        head += f"{k.replace('_', '-')}: {v}\r\n"
    return head.encode() + b"\r\n" + body


def http(w, *requests, wanted=(200, 201), times=32):
    """inputs of Scale.time(): these requests on one connection, pipelined."""
    def inputs():
        with w.client() as c:
            tally = Tally(c)
            c.send(b"".join(requests) * times)
            for _ in range(times * len(requests)):
                answer = c.answer()
                check(answer.status in wanted, f"{answer.status} {answer.body[:200]!r}")
            return tally.bytes
    return inputs


def lone(w, data, times=100):
    def inputs():
        with w.client() as c:
            tally = Tally(c)
            for _ in range(times):
                c.send(data)
                check(c.answer().status in (200,201), "refused")
            return tally.bytes
    return inputs


def telnet(w, lines, times=32, first=b""):
    def inputs():
        with w.telnet() as t:
            tally = Tally(t)
            t.send(first + lines * times + b"PING\r\n")
            t.until(b"OK PING\r\n")
            return tally.bytes
    return inputs


def ws(w, send, times=32):
    """send(socket, n): one input."""
    def inputs():
        with w.ws() as s:
            tally = Tally(s)
            for n in range(times):
                send(s, n)
            s.say(cmd="ping", ref="end")
            s.reply("end")
            return tally.bytes
    return inputs


def command(**fields):
    text = json.dumps(fields)
    return lambda s, n: s.frame("text", text)


def ordinary(w):
    return http(w, request("POST", "/v1/publish/cost/ordinary", b"hello, world"), times=100)
