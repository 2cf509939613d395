#!/usr/bin/env python3
"""comet.py [--clients N] [--minutes M | --hours H] [--rate R] [--idle SECONDS] [--out PREFIX]

The comet tables: N comet pages (/test/), each with an id of its own, to which R messages a
second are published for so long, with the memory of all processes against time: when
nobody is there, with all clients idle, under load, when it is over, and when they have
gone. Growth under load is given in percent of idle, slopes in bytes per connection and
hour.

A line a minute says how it stands. Ctrl-C ends the load and prints the table of what there
is; a second one ends at once.

  --clients N     connections, each with an id of its own (10K; CLIENTS)
  --minutes M     of load (20; MINUTES)
  --hours H       the same in hours (HOURS)
  --rate R        messages a second, each to one id by chance (1000; RATE)
  --idle S        seconds of nothing, before and behind the load (60)
  --edge EDGE     what clients are: test, stream, sse, poll, ws (test)
  --history N     messages kept of each id (as shipped: 1000; 0: nothing is stored)
  --set X=V       more settings of Touchline
  --out PREFIX    PREFIX.txt, .json, .csv (the table), -samples.csv and -memory.png
                  (build/bench/comet-N)"""
import argparse
import contextlib
import csv
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import crowd_run
from crowd_run import CTL, Crowd, Failed, Sampler, at, check, eventually, instances_for, touchline
from figures import (NotMeasured, art, faults, grown, held, megabytes, memory_of, ms, parts_of,
                     samples, slopes, table, within)

ROW_BYTES = 400         # of the database, for a message that is kept
OPEN_RATE = 3000        # new clients a second: limits.admit_rate as shipped lets them in
GO_RATE = 2000          # clients that go in a second, at least
MINUTE = float(os.environ.get("TOUCHLINE_BENCH_MINUTE", 60))
PART_LEAST = 100 * 1024 # bytes: what has grown by less is not worth a line
KINDS = ("router", "http", "tcp", "ws", "touchline", "all")


def options(argv):
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("--clients", type=crowd_run.number, default=os.environ.get("CLIENTS", "10K"))
    p.add_argument("--minutes", type=float, default=float(os.environ.get("MINUTES", 20)))
    p.add_argument("--hours", type=float, default=float(os.environ.get("HOURS", 0)))
    p.add_argument("--rate", type=int, default=int(os.environ.get("RATE", 1000)))
    p.add_argument("--idle", type=float, default=60)
    p.add_argument("--edge", default="test")
    p.add_argument("--history", type=int)
    p.add_argument("--set", action="append", default=[])
    p.add_argument("--every", type=float, default=0)
    p.add_argument("--out", default="")
    o = p.parse_args(argv)
    o.load = o.hours * 3600 or o.minutes * 60
    o.out = o.out or f"build/bench/comet-{o.clients}"
    o.every = o.every or min(60, max(1, round(o.load / 240)))
    return o


def room_on_disk(o):
    """Bytes that the store will have, as far as history keeps them."""
    kept = 1000 if o.history is None else o.history
    return int(min(o.rate * o.load, o.clients * kept) * ROW_BYTES)


# ---- one run -------------------------------------------------------------------------------------

class Run:
    """Its phases, one behind the other: (name, begin, end), in the samples' time."""

    def __init__(self, o):
        self.o, self.phases = o, []
        self.parts = {}
        self.stopped = False        # by a signal
        self.woken, self.wake = os.pipe()
        self.seen = self.published = None
        self.rate = min(OPEN_RATE, crowd_run.quiet_rate(crowd_run.backlog(), os.cpu_count()))
        self.sets = [f"http.instances={instances_for(o.clients, crowd_run.raise_files())}",
                     *([f"namespace user/.history={o.history}"] if o.history is not None else []),
                     *o.set]

    def begin(self, name):
        self.end()
        self.phases.append([name, time.time(), None])

    def end(self):
        if self.phases and self.phases[-1][2] is None:
            self.phases[-1][2] = time.time()

    def on_signal(self, *_):
        if self.stopped:
            raise KeyboardInterrupt
        self.stopped = True
        os.write(self.wake, b".")   # stays there: who waits later does not wait

    def wait(self, seconds):
        """True: a signal has come, or comes within this time."""
        return bool(select.select([self.woken], [], [], max(0, seconds))[0])

    def watch(self, w, base):
        """All phases. What flood says each second is in base."""
        o = self.o
        self.live = os.path.join(base, "crowd.csv")
        with Sampler(w, o.out + "-samples.csv", o.every) as self.sampler:
            self.begin("start")
            self.pause(max(4 * o.every, min(o.idle, 20)))
            self.begin("connect")
            with Crowd("--edge", o.edge, "--target", at(w, "http"), "--connections", o.clients,
                       "--ids", f"user/1..{o.clients}", "--rate", self.rate, "--hold", "all",
                       "--wait", 60, "--again", "2s", csv=self.live) as crowd:
                self.until_up(crowd)
                self.begin("idle")
                self.pause(o.idle)
                self.parts["idle"] = parts_now(w)
                self.begin("load")
                if not self.stopped:
                    self.load(w, crowd)
                self.begin("rest")
                self.pause(o.idle)
                self.begin("going")
                crowd.interrupt()
                self.seen = crowd.report(120 + o.clients / GO_RATE)
            self.begin("gone")
            self.pause(max(4 * o.every, min(o.idle, 20)))
            self.end()

    def pause(self, seconds):
        """Until then, or Ctrl-C; a line a minute."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if self.wait(min(left, MINUTE)):
                return
            if left > MINUTE:
                self.tell()

    def until_up(self, crowd):
        def there():
            check(crowd.running(), "the crowd has ended")
            row = self.last_second()
            return self.stopped or row and int(row["active"]) >= self.o.clients
        eventually(there, "all clients are up", 90 + self.o.clients / self.rate * 3)

    def load(self, w, crowd):
        """Published by a process of its own, over HTTP, whose one client has one of the ids,
        too."""
        o = self.o
        with Crowd("--edge", "stream", "--target", at(w, "http"), "--connections", 1, "--spread",
                   "uniform", "--ids", f"user/1..{o.clients}", "--probe", "none", "--hold", "all",
                   "--publish", o.rate, "--messages", int(o.rate * o.load)) as publisher:
            end = time.monotonic() + o.load
            while publisher.running() and time.monotonic() < end + 30:
                if self.wait(min(MINUTE, max(0.2, end - time.monotonic()))):
                    break
                check(crowd.running(), "the crowd has ended")
                if end - time.monotonic() > 1:
                    self.tell()
            self.parts["load"] = parts_now(w)
            publisher.interrupt()
            self.published = publisher.report(120)

    # ---- while it runs

    def last_second(self):
        """The newest whole row that the crowd wrote."""
        with contextlib.suppress(FileNotFoundError), open(self.live, encoding="utf-8") as f:
            head = f.readline().strip().split(",")
            f.seek(0, os.SEEK_END)
            f.seek(max(0, f.tell() - 4096))
            lines = f.read().split("\n")[:-1]
            if lines and len(row := lines[-1].split(",")) == len(head) and row[0][:1].isdigit():
                return dict(zip(head, row))
        return None

    def tell(self):
        row, found = self.last_second() or {}, samples(self.sampler.lines())[-1:]
        memory = found[0]["memory"] if found else {}
        print(f"{time.strftime('%H:%M:%S')} {self.phases[-1][0]} "
              f"minute={(time.time() - self.phases[-1][1]) / 60:.0f} "
              f"active={row.get('active', '-')} received={row.get('received', '-')}/s "
              f"p50={row.get('p50_us', '-')}us p99={row.get('p99_us', '-')}us "
              f"failed={row.get('failed', '-')} "
              + " ".join(f"{k}={megabytes(memory[k]).replace(' ', '')}" for k in KINDS
                         if k in memory), flush=True)


def parts_now(w):
    """Where the memory is now, as router-ctl mem says."""
    try:
        return parts_of(json.loads(w.ctl("--json", "mem")))
    except (Failed, ValueError) as e:
        print(f"router-ctl mem: {e}", file=sys.stderr)
        return {}


# ---- what it was -------------------------------------------------------------------------------

def figures(phases, found, clients):
    """Memory of each phase by kind (the median of its second half), bytes for each
    connection, growth; slopes of both halves of the load, for what is filled once (rings,
    the store's cache) is filled in the first one."""
    out = {"phases": {}, "each": {}, "growth": {}, "slope": {}, "held": {}}
    for name, begin, end in phases:
        if end is None or name in ("connect", "going"):
            continue
        late = within(found, begin + (end - begin) / 2, end)
        with contextlib.suppress(NotMeasured):
            out["phases"][name], out["held"][name] = memory_of(late), held(late)
    memory = out["phases"]
    for name in ("idle", "load", "rest"):
        if "start" in memory and name in memory:
            out["each"][name] = {k: (v - memory["start"].get(k, 0)) / clients
                                 for k, v in memory[name].items()}
    for name in ("load", "rest", "gone"):
        base = "start" if name == "gone" else "idle"
        if base in memory and name in memory:
            out["growth"][name] = {k: 100 * (v / memory[base][k] - 1) if memory[base].get(k)
                                   else None for k, v in memory[name].items()}
    for name, begin, end in phases:
        if name == "load" and end is not None:
            half = begin + (end - begin) / 2
            out["slope"] = {"first": slopes(within(found, begin, half), clients),
                            "second": slopes(within(found, half, end), clients)}
    return out


def missing(found, clients):
    """Words for clients that the servers no longer have, though they may not know it: what
    is said of memory is then of fewer. Empty: all were there."""
    short = {n: clients - found["held"][n] for n in ("idle", "load", "rest")
             if found["held"].get(n, clients) < clients}
    if not short:
        return ""
    return ("the servers did not have all clients: without "
            + ", ".join(f"{n:,} ({name})" for name, n in short.items())
            + "; does the kernel drop their keepalives? net.core.netdev_max_backlog, and "
              "router-ctl doctor --every 5s")


ROWS = (("start", "phases", "MB, nobody there"), ("idle", "phases", "MB, all idle"),
        ("load", "phases", "MB, under load"), ("rest", "phases", "MB, load over"),
        ("gone", "phases", "MB, all gone"), ("idle", "each", "bytes each, idle"),
        ("load", "each", "bytes each, under load"), ("rest", "each", "bytes each, load over"),
        ("load", "growth", "% under load, of idle"), ("rest", "growth", "% load over, of idle"),
        ("gone", "growth", "% all gone, of nobody there"))


def rows(found):
    """The table, as numbers: (what, {kind: value})."""
    for name, part, words in ROWS:
        values = found[part].get(name)
        if values:
            scale = 1 / (1 << 20) if part == "phases" else 1
            yield words, {k: None if v is None else v * scale for k, v in values.items()}
    for half, values in found["slope"].items():
        if any(v is not None for v in values.values()):
            yield f"bytes each an hour, {half} half of load", values


def words(found, run, network):
    o = run.o
    shown = [("memory (private)", *KINDS)]
    for what, values in rows(found):
        digits = 1 if what.startswith(("MB", "%")) else 0
        shown.append((what, *["-" if values.get(k) is None else f"{values[k]:,.{digits}f}"
                              for k in KINDS]))
    parts = grown(run.parts.get("idle", {}), run.parts.get("load", {}), PART_LEAST)
    out = [f"{o.clients:,} clients ({o.edge}), each with an id of its own, {o.rate:,} messages a "
           f"second, {sum(e - b for n, b, e in run.phases if n == 'load' and e) / 60:.1f} minutes "
           f"of load{' (interrupted)' if run.stopped else ''}", "", table(shown), ""]
    if parts:
        out += [table([("grown under load, MB", "idle", "load"),
                       *[(k, f"{a / (1 << 20):.1f}", f"{b / (1 << 20):.1f}")
                         for k, a, b in parts]]), ""]
    for name, report in (("clients", run.seen), ("publisher", run.published)):
        if report:
            out.append(f"{name}: {said(name, report)}")
    if missing(found, o.clients):
        out.append(missing(found, o.clients))
    out.append(f"{os.cpu_count()} processors, {network}; {' '.join(run.sets)}")
    out.append("")
    return "\n".join(out)


def said(name, report):
    if name == "publisher":
        p = report["published"]
        return (f"{p['sent']:,} sent, {p['answered']:,} answered, {p['refused']:,} refused, late "
                f"at most {ms(p['late_us'] / 1e3)}")
    with contextlib.suppress(NotMeasured):
        got = art(report, "latency")
        return (f"{report['received']:,} received; {faults(report) or 'nothing lost or doubled'}; "
                f"latency p50 {ms(got['p50'])}, p90 {ms(got['p90'])}")
    return f"{report['received']:,} received; {faults(report) or 'nothing lost or doubled'}"


def write(found, run, text, network):
    prefix = run.o.out
    with open(prefix + ".txt", "w", encoding="utf-8") as f:
        f.write(text)
    with open(prefix + ".json", "w", encoding="utf-8") as f:
        json.dump({"time": time.time(), "network": network, "clients": run.o.clients,
                   "rate": run.o.rate, "edge": run.o.edge, "sets": run.sets,
                   "interrupted": run.stopped, "when": run.phases, **found,
                   "parts": run.parts, "seen": run.seen, "published": run.published}, f, indent=1)
    with open(prefix + ".csv", "w", encoding="utf-8", newline="") as f:
        out = csv.writer(f)
        out.writerow(("what", *KINDS))
        for what, values in rows(found):
            out.writerow((what, *["" if values.get(k) is None else f"{values[k]:.2f}"
                                  for k in KINDS]))
    p = subprocess.run([CTL, "plot", prefix + "-samples.csv", prefix], capture_output=True)
    if p.returncode:
        print(f"no plot: {p.stderr.decode().strip()}", file=sys.stderr)


def main(argv):
    o = options(argv)
    network = crowd_run.in_a_network_of_its_own()
    os.makedirs(os.path.dirname(os.path.abspath(o.out)), exist_ok=True)
    free, needed = shutil.disk_usage(tempfile.gettempdir()).free, room_on_disk(o)
    if needed > free * 0.9:
        print(f"the store will have some {megabytes(needed)} in {tempfile.gettempdir()}, where "
              f"there are {megabytes(free)}: set TMPDIR, or --history", file=sys.stderr)
        return 1
    with contextlib.suppress(FileNotFoundError):
        os.unlink(o.out + "-samples.csv")
    run, trouble = Run(o), ""
    signal.signal(signal.SIGINT, run.on_signal)
    signal.signal(signal.SIGTERM, run.on_signal)
    with tempfile.TemporaryDirectory(prefix="tl-comet-") as base, touchline(run.sets) as w:
        try:
            run.watch(w, base)
        except Failed as e:
            trouble = str(e)
        except KeyboardInterrupt:
            trouble = "ended at once"
        run.end()
    with open(o.out + "-samples.csv", encoding="utf-8") as f:
        found = figures(run.phases, samples(f), o.clients)
    text = words(found, run, network)
    print(text, end="")
    write(found, run, text, network)
    if trouble:
        print(trouble, file=sys.stderr)
    return 1 if (trouble or not run.seen or faults(run.seen) or missing(found, o.clients)) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
