"""The record of what the hot paths cost: how it is judged, that a path that gets
dearer is seen, and that nothing but the path changes a count. System calls of a
gateway for who comes and for what is delivered."""
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile

from world import BIN, ROOT, World, check, equal, eventually, figure

sys.path.append(os.path.join(ROOT, "tests", "bench"))  # behind: it has a run.py, too
import counts  # noqa: E402

COUNTS = os.path.join(ROOT, "tests/bench/counts.py")
GATEWAY = os.path.join(ROOT, "build/tests/bench/count_gateway")
HERE = {"compiler": "gcc 12", "flags": "-O2", "libc": "glibc 2.36"}

# A library in front of the C library, with which each send costs more.
SLOWER = r"""
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    for (volatile int i = 0; i < 400; i++)
        ;
    return syscall(SYS_sendmsg, fd, m, flags);
}
"""


def judged(now, was, **more):
    passed, failed, lines = counts.compare(HERE, now, {**HERE, **more}, was)
    return passed, failed, "\n".join(lines)


def test_a_path_may_cost_five_percent_more_than_recorded_and_no_more():
    equal(judged({"a": 1050, "b": 1000}, {"a": 1000, "b": 1000})[:2], (2, 0))
    passed, failed, text = judged({"a": 1051, "b": 1000}, {"a": 1000, "b": 1000})
    equal((passed, failed), (1, 1))
    check("FAIL a" in text and "+5.1%" in text, text)


def test_a_path_that_got_cheaper_passes_and_is_told():
    passed, failed, text = judged({"a": 900}, {"a": 1000})
    equal((passed, failed), (1, 0))
    check("-10.0%: cheaper" in text and "RECORD=1" in text, text)
    check("cheaper" not in judged({"a": 960}, {"a": 1000})[2], "4 % are noise")


def test_a_path_that_is_new_or_gone_needs_a_record():
    equal(judged({"a": 1, "b": 1}, {"a": 1})[:2], (1, 1))
    equal(judged({"a": 1}, {"a": 1, "b": 1})[:2], (1, 1))


def test_counts_of_another_compiler_are_not_compared():
    passed, failed, text = judged({"a": 2000}, {"a": 1000}, compiler="gcc 13")
    equal((passed, failed), (1, 0))
    check(text.startswith("not compared: compiler gcc 12, recorded with gcc 13"), text)


def test_other_flags_need_a_record():
    passed, failed, text = judged({"a": 1000}, {"a": 1000}, flags="-O1")
    equal((passed, failed), (1, 1))
    check("other flags" in text, text)


def test_what_is_written_is_read_again():
    now = {"b/long": 12, "a": 3}
    equal(counts.parse(counts.render(HERE, now)), (HERE, now))
    text = counts.render(HERE, now)
    check(text.index("\na ") < text.index("\nb/long "), "sorted: " + text)


def test_the_record_is_of_what_is_counted():
    with open(os.path.join(ROOT, "tests/bench/counts.txt")) as f:
        made, was = counts.parse(f.read())
    equal(sorted(made), ["compiler", "flags", "libc", "processor", "sqlite", "valgrind"])
    check(list(was) == sorted(was) and len(was) > 20, str(was))


def count(record, *more, preload=None):
    env = {**os.environ, **({"LD_PRELOAD": preload} if preload else {})}
    run = subprocess.run(
        ["python3", COUNTS, "--file", record, "--only", "deliver-to-100", *more,
         GATEWAY], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env)
    return run.returncode, run.stdout


def test_a_path_that_gets_dearer_fails_and_nothing_else_does():
    with tempfile.TemporaryDirectory(prefix="tl-counts-") as folder:
        record = os.path.join(folder, "counts.txt")
        equal(count(record, "--record")[0], 0)
        for _ in range(2):
            code, text = count(record)
            equal(code, 0, text)
            check("+0.0%" in text or "-0.0%" in text, text)
        source, slower = os.path.join(folder, "s.c"), os.path.join(folder, "s.so")
        with open(source, "w") as f:
            f.write(SLOWER)
        subprocess.run(["gcc", "-O1", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", slower,
                        source], check=True)
        code, text = count(record, preload=slower)
        equal(code, 1, text)
        check("FAIL gateway/deliver-to-100" in text and "dearer" in text, text)
        check("0 passed, 1 failed" in text, text)
        equal(count(record, "--record", preload=slower)[0], 0)
        code, text = count(record)
        equal(code, 0, text)
        check("cheaper" in text, text)


# ---- system calls ------------------------------------------------------------

CLIENTS = 300
LEAST = 190  # bytes on the wire that a message of a hundred has at least


@contextlib.contextmanager
def calls(pid, into):
    """{call: how often} of a process meanwhile, threads included."""
    with subprocess.Popen(["strace", "-f", "-q", "-c", "-U", "calls,name", "-p", str(pid)],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as p:
        def traced():
            with open(f"/proc/{pid}/status") as f:
                return f"TracerPid:\t{p.pid}\n" in f.read()
        try:
            eventually(traced, "strace looks")
            yield
        finally:
            p.send_signal(signal.SIGINT)
            said = p.communicate()[1].decode()
    into.update((name, int(n)) for n, name in re.findall(r"^ *(\d+) (\w+)$", said, re.M)
                if name != "total")


def flood(w, ids, *more):
    return [os.path.join(BIN, "touchline-flood"), "--quiet", "--json", "-", "--probe", "none",
            "--set", "http.listen={}:{}".format(*w.address("http")), "--connections",
            str(CLIENTS), "--ids", ids, "--hold", "all", *more]


def stat(w, name, label=""):
    return sum(row["value"] for row in json.loads(w.ctl("--json", "stats"))["stats"]
               if row["name"] == name and label in row["label"])


@contextlib.contextmanager
def crowd(w, ids):
    """All of them logged in; its report, when it has gone."""
    report = {}
    with subprocess.Popen(flood(w, ids), stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL) as p:
        try:
            eventually(lambda: stat(w, "seats") >= CLIENTS, "all are logged in")
            yield report
        finally:
            p.send_signal(signal.SIGINT)
            report.update(json.loads(p.communicate()[0]))


def without_waiting(found):
    """NNG's threads wait for each other, as often as the machine pleases."""
    return sum(n for call, n in found.items() if call != "futex")


def test_who_comes_costs_five_calls_until_the_first_frame():
    """accept, epoll_ctl, recv, send; and a part of what all of them share."""
    found = {}
    with World(sets=["http.workers=1"]) as w, contextlib.ExitStack() as later:
        with calls(w.pids("http")[0], found):
            report = later.enter_context(crowd(w, f"user/1..{CLIENTS}"))
    equal((report["up"], report["failed"]), (CLIENTS, 0))
    each = without_waiting(found) / CLIENTS
    figure(f"{each:.2f} calls a client: {found}")
    check(4 <= each <= 5, found)


def delivered(w, pid, watchers, messages, *gen):
    """Calls of the gateway for each of so many deliveries."""
    sent = lambda: stat(w, "client_bytes_total", "out")  # noqa: E731
    found, before = {}, sent()
    with calls(pid, found):
        w.ctl("gen", "news", "--count", str(messages), *gen)
        eventually(lambda: sent() - before >= messages * watchers * LEAST, "all is sent")
    figure(f"{without_waiting(found) / messages / watchers:.3f} calls a delivery: {found}")
    return without_waiting(found) / messages / watchers


def test_a_delivery_costs_one_call_and_those_of_a_burst_share_theirs():
    with World(sets=["http.workers=1"]) as w, crowd(w, "news") as report:
        pid = w.pids("http")[0]
        check(delivered(w, pid, CLIENTS, 10, "--rate", "5") <= 1.1, "one to all")
        check(delivered(w, pid, CLIENTS, 100, "--shape", "burst", "--rate", "100") <= 0.05,
              "a burst of 100 to all")
    equal((report["up"], report["received"], report["lost"]),
          (CLIENTS, 110 * CLIENTS, 0))
