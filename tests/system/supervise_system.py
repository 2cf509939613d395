"""Starting, watching over, and ending: the processes as their operator sees
them."""
import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import time

from world import (BIN, DEADLINE, EDGES, Http, Lines, World, check, equal, eventually, readable,
                   unshare)

BINARIES = ("touchline", "touchline-router", "touchline-http", "touchline-tcp",
            "touchline-ws", "router-ctl")


def run(w, binary, *more, env=None):
    """Until it ends: its code, standard output and standard error."""
    p = subprocess.run(w.args(binary, *more), capture_output=True, timeout=20,
                       stdin=subprocess.DEVNULL, env=env)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def alive(w):
    try:
        return w.http("GET", "/readyz").status == 200
    except OSError:
        return False


def all_pids(w):
    return [pid for kind in ("router", *EDGES) for pid in w.pids(kind)]


# ---- watching over ---------------------------------------------------------

def test_who_dies_is_started_again_at_once():
    with World() as w:
        for kind in ("http", "tcp", "ws", "router"):
            before = w.kill(kind)
            eventually(lambda: w.pids(kind) and w.pids(kind) != before, kind)
            eventually(lambda: alive(w), "serving")
        equal(w.publish("a", "x").status, 201)
        # On the ports that they had: clients need not look for them.
        with w.telnet() as t, w.ws() as c:
            t.send(b"PING\r\n")
            equal(t.line(), b"OK PING\r\n")
            equal(c.say(cmd="ping", ref=1).reply(1)["ok"], True)


def test_clients_wait_while_their_gateway_is_started_again():
    """The supervisor keeps the listening sockets: nobody is refused."""
    with World(["http.workers=1"]) as w:
        for _ in range(3):
            w.kill("http")
            equal(w.http("GET", "/healthz").status, 200)


def test_it_gives_up_on_who_never_becomes_ready():
    with World() as w:
        w.stop()
        with open(os.path.join(w.dir, "touchline.db"), "r+b") as f:
            f.write(b"this is no database")
        begin = time.monotonic()
        code, out, err = run(w, "touchline", "--check")
        check(code == 1 and "database" in out + err, f"--check: {out}{err}")
        code, out, err = run(w, "touchline")
        equal(code, 1)
        check("router" in err and "5" in err, err)
        check(time.monotonic() - begin > 1.5, "0.1 s, doubling")
        equal(out, "", "nothing was ready")
        equal(all_pids(w), [])


def test_who_has_served_is_started_until_it_can_again():
    """What hinders a router may end; clients wait for it where they are."""
    with World() as w, w.stream("/v1/stream?channel=a") as s:
        s.item()
        database = os.path.join(w.dir, "touchline.db")
        files = [database + end for end in ("", "-wal", "-shm") if os.path.exists(database + end)]
        for file in files:
            os.rename(file, file + ".away")
        with open(database, "wb") as f:
            f.write(b"this is no database")
        w.kill("router")
        eventually(lambda: w.log_tail(10 ** 6).count("store.failed") > 6,
                   "more starts than a first one gets", 4 * DEADLINE)
        for file in files:
            os.rename(file + ".away", file)
        eventually(lambda: alive(w), "serving", 2 * DEADLINE)
        equal(w.publish("a", "x").status, 201)
        equal(s.message()["data"], "x", "who was there all the time")


def test_a_port_in_use_is_an_error_that_names_its_owner():
    with World() as w, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for key in ("http", "tcp", "ws"):
            other = World(start=False, under=w.base)
            other.dir = os.path.join(w.base, key)
            code, out, err = run(other, "touchline", "--set", f"{key}.listen=127.0.0.1:{port}")
            equal((code, out), (1, ""), err)
            check(str(port) in err and str(os.getpid()) in err, err)
        # Ours are no exception, though they would share.
        port = w.address("http")[1]
        for more in ((), ("--check",)):
            code, _, err = run(other, "touchline", "--set", f"http.listen=127.0.0.1:{port}",
                               *more)
            equal(code, 1, err)
            check("touchline" in err and str(port) in err, err)
        code, _, err = run(other, "touchline-http", "--set", f"http.listen=127.0.0.1:{port}")
        equal(code, 1, err)


def test_one_directory_has_one_supervisor_and_one_router():
    with World() as w:
        code, out, err = run(w, "touchline")
        equal((code, out), (1, ""))
        check(str(w.proc.pid) in err, err)
        code, out, err = run(w, "touchline-router")
        equal((code, out), (1, ""), err)
        check(err, "a reason")
        equal(w.publish("a", "x").status, 201, "the first one did not notice")


def only_one_serves(w):
    """Of three that start at once; the others name it. Returns it."""
    ps = [subprocess.Popen(w.args("touchline"), stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) for _ in range(3)]
    eventually(lambda: sum(p.poll() is not None for p in ps) == 2, "two give way")
    winner, = (p for p in ps if p.poll() is None)
    for p in ps:
        if p is not winner:
            err = p.stderr.read().decode()
            check(p.returncode == 1 and f"pid {winner.pid}" in err, err)
            p.stderr.close()
    eventually(lambda: len(all_pids(w)) == 4, "its children run")
    return winner


def test_of_several_that_start_at_once_one_serves():
    with World(start=False) as w:
        winner = only_one_serves(w)
        winner.kill()
        winner.wait()
        winner.stderr.close()
        before = all_pids(w)
        winner = only_one_serves(w)
        check(not set(before) & set(all_pids(w)), "the orphans are gone")
        winner.terminate()
        equal(winner.wait(DEADLINE), 0)
        winner.stderr.close()


def test_children_outlive_their_supervisor_until_the_next_one_comes():
    with World() as w, w.stream("/v1/stream?channel=a") as s:
        s.item()
        before = sorted(all_pids(w))
        port = w.address("http")[1]
        w.proc.kill()
        w.proc.wait()
        w.proc.stdout.close()
        equal(w.publish("a", "orphans serve").status, 201)
        equal(s.message()["data"], "orphans serve")
        # The next one finds them, drains them and starts its own on the port.
        w.sets.append(f"http.listen=127.0.0.1:{port}")
        w.start()
        equal(s.item()["notice"], "closing")
        equal(s.chunk(), b"", "a proper end")
        check(not set(all_pids(w)) & set(before), "its own")
        for pid in before:
            check(not os.path.exists(f"/proc/{pid}") or zombie(pid), f"{pid} is left")
        equal([m["data"] for m in w.json("/v1/history/a")["messages"]], ["orphans serve"])


def test_a_supervisor_that_dies_while_it_starts_is_followed_by_the_next():
    with World(start=False) as w:
        def listed():
            """(pid, kind) of those whom the lock names."""
            with contextlib.suppress(OSError), open(os.path.join(w.dir, "touchline.lock")) as f:
                return [(int(line.split()[0]), line.split()[2]) for line in f]
            return []

        for kinds in range(1, 5):
            p = subprocess.Popen(w.args("touchline"), stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
            eventually(lambda: (p.pid, "touchline") in listed() and len(listed()) > kinds,
                       f"{kinds} are listed")
            p.kill()
            p.wait()
        w.start()
        equal(sorted(kind for _, kind in listed()), ["http", "router", "tcp", "touchline", "ws"])
        equal(w.publish("a", "x").status, 201)
        equal(sorted(len(w.pids(k)) for k in ("router", *EDGES)), [1, 1, 1, 1])


def zombie(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    return True


# ---- ending ----------------------------------------------------------------

def sockets_under(directory):
    out = []
    for base, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(base, name)
            if stat.S_ISSOCK(os.lstat(path).st_mode):
                out.append(path)
    return out


def test_sigterm_ends_everything_in_order():
    with World() as w:
        with w.stream("/v1/stream?channel=a") as s, w.telnet() as t, \
                w.ws("/v1/ws?channel=a") as c, w.ws("/v1/raw?channel=a") as raw, \
                w.client() as poll, w.client() as idle, w.stream("/test/a") as page:
            s.item(), c.item(), page.chunk()
            t.send(b"SUB a\r\n")
            t.line()
            cursor = w.json("/v1/poll?channel=a")["cursor"]
            poll.ask("GET", f"/v1/poll?channel=a&since={cursor}&wait=60")
            idle.ask("GET", "/healthz").answer()
            eventually(lambda: w.json("/v1/presence/a")["count"] == 6, "all are there")
            last = w.publish("a", "last words").json()
            for item in (s.item(), c.item()):
                equal(item["data"], "last words")
            equal(raw.read()[1], b"last words")
            t.line(), page.chunk()
            equal(poll.answer().json()["messages"][-1]["data"], "last words")
            poll.ask("GET", f"/v1/poll?channel=a&since={cursor.split('-')[0]}-{last['seq']}"
                     "&wait=60")
            eventually(lambda: w.json("/v1/presence/a")["count"] == 6, "it polls again")
            pids, begin = all_pids(w), time.monotonic()
            equal(w.stop(), 0, "exit code")
            check(time.monotonic() - begin < 10, "nobody uses up drain_wait")
            closing = s.item()
            equal((closing["notice"], closing["cursor"]),
                  ("closing", f"{last['epoch']}-{last['seq']}"))
            equal(s.chunk(), b"", "a proper end of the chunks")
            equal(poll.answer().json()["messages"], [], "a poll is answered")
            equal(c.item()["notice"], "closing")
            for ws in (c, raw):
                equal(ws.read(), ("close", 1001))
            check(t.line().startswith(b"NOTICE closing "), "telnet")
            equal(t.all(), b"")
            equal(page.chunk(), b"", "the page ends properly, too")
            idle.over()
        for pid in pids:
            check(zombie(pid), f"{pid} is left")
        equal(sockets_under(w.dir), [])
        with open(w.log) as f:
            check("child.kill" not in f.read(), "nobody had to be killed")


def test_sigint_ends_as_well_and_a_second_signal_does_not_wait():
    with World() as w:
        equal(w.stop(signal.SIGINT), 0)
        w.start()
        with w.client() as c:
            c.send(b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
            eventually(lambda: w.metric("connections") >= 1, "it is there")
            w.proc.send_signal(signal.SIGTERM)
            eventually(lambda: "gateway.drain" in w.log_tail(), "draining")
            begin = time.monotonic()
            w.stop()
            check(time.monotonic() - begin < 9, "drain_wait is ten seconds")
        equal(all_pids(w), [])


def test_the_end_is_bounded_whatever_a_child_does():
    with World(["limits.drain_wait=1s"]) as w:
        w.publish("a", "kept")
        w.kill("http", signal.SIGSTOP)
        begin = time.monotonic()
        equal(w.stop(), 0)
        check(time.monotonic() - begin < 10, "drain_wait and two seconds")
        with open(w.log) as f:
            text = f.read()
        check('child.kill name="http-1"' in text and 'child.kill name="tcp' not in text, text)
        equal(sockets_under(w.dir), [])
        # The same when it is an orphan.
        w.start()
        w.kill("tcp", signal.SIGSTOP)
        w.proc.kill()
        w.proc.wait()
        w.proc.stdout.close()
        w.start()
        equal([m["data"] for m in w.json("/v1/history/a")["messages"]], ["kept"])


def test_too_few_files_for_the_sockets_is_said():
    few = World(["http.workers=64"], start=False,
                before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)))
    with few as w:
        p = subprocess.run(w.args("touchline"), capture_output=True, timeout=DEADLINE,
                           preexec_fn=w.before)
        equal((p.returncode, p.stdout), (1, b""))
        check(b"no socket for worker" in p.stderr and b"Too many open files" in p.stderr, p.stderr)


def test_a_gateway_that_drains_takes_nobody_in_and_loses_nothing():
    with World(["http.workers=1"]) as w, w.client() as c, w.client() as keep:
        equal(keep.ask("GET", "/healthz").answer().status, 200)
        c.send(b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nha")
        eventually(lambda: w.metric("connections") >= 2, "half a request is there")
        w.kill("http", signal.SIGTERM)
        keep.over()
        c.send(b"lf")
        answer = c.answer()
        equal((answer.status, answer.headers["Connection"]), (201, "close"))
        c.over()
        eventually(lambda: alive(w), "the next one serves")
        equal(w.json("/v1/history/a")["messages"][0]["data"], "half")


def test_a_worker_that_has_drained_does_not_hurry_the_others():
    with World(start=False) as w:
        # A unix socket is one worker's: the second one is the second worker's.
        paths = [f"{w.base}/{n}.sock" for n in (1, 2)]
        w.sets += ["http.workers=2", "limits.body_rate=0", "limits.drain_wait=60s",
                   "http.listen=127.0.0.1:0, " + ", ".join("unix:" + p for p in paths)]
        w.start()
        clients = [socket.socket(socket.AF_UNIX) for _ in paths]
        for s, path in zip(clients, paths):
            s.settimeout(DEADLINE)
            s.connect(path)
            s.sendall(b"POST /v1/publish/a HTTP/1.1\r\nHost: localhost\r\n"
                      b"Content-Length: 4\r\n\r\nha")
        eventually(lambda: w.metric("connections") >= 3, "they are there, and who asks")
        w.kill("http", signal.SIGTERM)
        # Who asked for the figure may not have been seen to go yet.
        eventually(lambda: len(re.findall(r"gateway\.drain clients=[12]\b",
                                          w.log_tail(20000))) == 2, "both drain")
        for n, s in enumerate(clients):
            if n:  # the first has ended, and the router was told so
                eventually(lambda: re.search(r"link.gone link=http1 .*has left",
                                             w.log_tail(20000)), "the first has ended")
                check(not readable(s.fileno(), 1.5), "the second is cut")
            s.sendall(b"lf")
            check(s.recv(1000).startswith(b"HTTP/1.1 201 "), f"client {n} is not hurried")
            s.close()
        check("gateway.hurried" not in w.log_tail(20000), "nobody was hurried")


# ---- many ------------------------------------------------------------------

def test_instances_and_workers_share_one_port():
    with World(["http.instances=2", "http.workers=2", "tcp.instances=2",
                "tcp.workers=1", "ws.instances=2", "ws.workers=1"]) as w:
        equal([len(w.pids(kind)) for kind in EDGES], [2, 2, 2])
        streams = [w.stream("/v1/stream?channel=a") for _ in range(32)]
        for s in streams:
            equal(s.item()["notice"], "snapshot")
        equal(w.publish("a", "to all").json()["reached"], 32)
        for s in streams:
            equal(s.message()["data"], "to all")
        names = {"http1", "http2", "http3", "http4"}
        eventually(lambda: gateways(w) >= names | {"tcp1", "tcp2", "ws1", "ws2"}, "all report")
        used = eventually(lambda: sum(w.metric("connections", gateway=n) > 0 for n in names),
                          "connections are counted")
        check(used >= 2, f"{used} of four serve")
        # One dies: the clients of the other do not notice, nobody is refused.
        victim = w.pids("http")[0]
        os.kill(victim, signal.SIGKILL)
        for _ in range(10):
            equal(w.http("GET", "/healthz").status, 200)
        w.publish("a", "again")
        lived = 0
        for s in streams:
            with contextlib.suppress(Exception):
                lived += s.message()["data"] == "again"
        check(0 < lived < 32, f"{lived} lived on")
        eventually(lambda: len(w.pids("http")) == 2 and victim not in w.pids("http"), "back")
        for s in streams:
            s.close()


def gateways(w):
    text = w.http("GET", "/metrics").body.decode()
    return set(re.findall(r'gateway="(\w+)"', text))


def test_every_worker_has_a_socket_of_its_own_on_every_address():
    """The kernel spreads the clients of an address over its sockets: with all
    of them at one worker the others would idle."""
    with World(["http.workers=3", "tcp.workers=2", "ws.workers=2"]) as w:
        w.stop()
        path = os.path.join(w.base, "http.sock")
        w.sets.append(f"http.listen=127.0.0.1:0, [::1]:0, unix:{path}")
        w.start()
        port = w.address("http")[1]
        for host in ("127.0.0.1", "::1"):
            clients = [Http((host, port)) for _ in range(60)]
            for c in clients:
                equal(c.ask("GET", "/healthz").answer().status, 200)
            for i in (1, 2, 3):
                eventually(lambda: w.metric("connections", gateway=f"http{i}") > 0,
                           f"worker {i} serves clients of {host}")
            for c in clients:
                c.close()
            eventually(lambda: w.metric("connections") == 1, "they are gone")
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            s.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            check(s.recv(100).startswith(b"HTTP/1.1 200"), "the unix socket")


def test_a_unix_socket_is_shared_by_all_instances():
    with World(start=False) as w:
        path = os.path.join(w.base, "http.sock")
        w.sets += [f"http.listen=unix:{path}", "http.instances=2", "http.workers=2"]
        w.start()
        equal(len(w.pids("http")), 2)
        for victim in w.pids("http"):
            os.kill(victim, signal.SIGKILL)
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(DEADLINE)
                s.connect(path)
                s.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                check(s.recv(100).startswith(b"HTTP/1.1 200"), "served")
            eventually(lambda: len(w.pids("http")) == 2 and victim not in w.pids("http"), "back")
        equal(w.stop(), 0)
        check(not os.path.exists(path), "the socket file is gone")


def test_a_big_machine_may_have_many_workers():
    with World(["http.workers=70", "tcp.workers=1", "ws.workers=1"]) as w:
        eventually(lambda: len(gateways(w)) == 73, "all report")
        clients = [w.client() for _ in range(200)]
        for c in clients:
            equal(c.ask("GET", "/healthz").answer().status, 200)
        for c in clients:
            c.close()
        equal(w.stop(), 0)


def test_each_binary_runs_alone():
    with World(start=False) as w:
        procs = []
        try:
            for binary, kind in (("touchline-http", "http"), ("touchline-router", "router"),
                                 ("touchline-tcp", "tcp"), ("touchline-ws", "ws")):
                p = subprocess.Popen(w.args(binary), stdout=subprocess.PIPE,
                                     stderr=subprocess.DEVNULL)
                procs.append((p, kind))
            for p, kind in procs:
                out = Lines(p.stdout, lambda n, p=p: os.read(p.stdout.fileno(), n))
                word, name, url = out.line().decode().split()
                equal((word, name), ("ready", kind))
                w.urls[kind] = url
            equal(w.publish("a", "x").status, 201)
            with w.telnet() as t, w.ws() as c:
                t.send(b"HISTORY a\r\n")
                check(t.line().endswith(b"-: x\r\n"), "telnet")
                c.say(cmd="history", channel="a", ref=1)
                equal(len(c.reply(1)["messages"]), 1)
        finally:
            for p, _ in reversed(procs):
                p.terminate()
            codes = [p.wait(20) for p, _ in procs]
            for p, _ in procs:
                p.stdout.close()
        equal(codes, [0] * 4)


def test_it_listens_on_unix_sockets_and_takes_handed_ones():
    with World() as w:
        path = os.path.join(w.base, "http.sock")
        with socket.create_server(("127.0.0.1", 0)) as handed:
            port = handed.getsockname()[1]
            p = subprocess.Popen(
                w.args("touchline-http", "--instance", "7", "--set", f"http.listen=unix:{path}"),
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            q = subprocess.Popen(
                ["bash", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&%d' % handed.fileno(),
                 "bash", *w.args("touchline-http", "--instance", "8")],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=[handed.fileno()])
            try:
                line = p.stdout.readline().decode().split()
                equal(line, ["ready", "http", f"unix:{path}"])
                with socket.socket(socket.AF_UNIX) as s:
                    s.connect(path)
                    s.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
                    check(s.recv(100).startswith(b"HTTP/1.1 200"), "served")
                equal(q.stdout.readline().decode(), f"ready http http://127.0.0.1:{port}\n",
                      "handed")
            finally:
                for x in (p, q):
                    x.terminate()
                    equal(x.wait(20), 0)
                    x.stdout.close()
        check(not os.path.exists(path), "the socket file is gone")


# ---- configuration ---------------------------------------------------------

def test_every_binary_helps_and_says_its_version():
    with World(start=False) as w:
        for binary in BINARIES:
            path = os.path.join(BIN, binary)
            for option, word in (("--help", "--print-config"), ("--version", binary)):
                p = subprocess.run([path, option], capture_output=True, timeout=20)
                equal((p.returncode, p.stderr), (0, b""), binary)
                check(word in p.stdout.decode() and p.stdout.endswith(b"\n"), p.stdout)
            code, out, err = run(w, binary, "--nonsense")
            equal((code, out), (2, ""), binary)
            check("--nonsense" in err and "--help" in err, err)


def test_what_is_printed_can_be_read_back():
    config = ("# a comment\n[http]\norigins = a.example, b.example\n[limits]\nqueue = 2M\n"
              "[namespace x/]\nhistory = 7\n[token t]\nsecret = \"sixteen#bytes;!!\"\n"
              "publish = x/\n")
    with World(["limits.ping=10s", "tcp.workers=3"], config=config, start=False) as w:
        code, first, err = run(w, "touchline", "--print-config")
        equal((code, err), (0, ""))
        for text in ("origins = a.example, b.example", "queue = 2M", "history = 7",
                     "ping = 10s", "workers = 3"):
            check("\n" + text + "\n" in first, text)
        check("sixteen" not in first, "a secret is not printed")
        keys = [line for line in first.split("\n") if "=" in line and line[0] != "#"]
        check(len(keys) > 50, "every key")
        again = os.path.join(w.base, "printed.conf")
        with open(again, "w") as f:
            f.write(first)
        p = subprocess.run([os.path.join(BIN, "touchline"), "--dir", w.dir, "--config", again,
                            "--print-config"], capture_output=True, timeout=20)
        equal((p.returncode, p.stderr), (0, b""))
        # All but the secret, which only a comment tells of.
        equal(p.stdout.decode().strip(), first.split("\n# [token t]")[0].strip())


def test_a_mistake_is_a_usage_error_that_says_where():
    for text, words in (("[limits]\nqeue = 1M\n", ("did you mean queue", "2")),
                        ("[limit]\nqueue = 1M\n", ("did you mean limits",)),
                        ("[limits]\nqueue = many\n", ("queue", "2")),
                        ("[limits]\nqueue = 1\n", ("queue", "4K")),
                        ("[http]\nlisten = nowhere\n", ("listen",)),
                        ("[namespace x/]\npublish = everyone\n", ("publish", "anyone"))):
        with World(config=text, start=False) as w:
            for binary in ("touchline", "touchline-http"):
                code, out, err = run(w, binary, "--check")
                equal((code, out), (2, ""), text + err)
                for word in words:
                    check(word in err, f"{word} in {err}")
    with World(start=False) as w:
        code, _, err = run(w, "touchline", "--set", "limits.qeue=1M")
        equal(code, 2)
        check("did you mean queue" in err, err)
        code, _, err = run(w, "touchline", "--config", "/nowhere/at/all")
        check(code in (1, 2) and "/nowhere/at/all" in err, err)


def test_check_looks_and_changes_nothing():
    with World(start=False) as w:
        for binary in BINARIES[:-1]:
            code, out, err = run(w, binary, "--check")
            equal((code, err), (0, ""), binary + out)
        check(not os.path.exists(w.dir), "nothing was made")
        w.start()
        equal(w.publish("a", "x").status, 201)
        code, out, err = run(w, "touchline-router", "--check")
        check(code == 0 and "good" in out, f"while it runs: {out}{err}")
        equal(w.publish("a", "y").status, 201)


def as_nobody(w, binary, *options):
    """Run by somebody who may do nothing, until it ends. In a place of its own: a
    checkout may be in a home that is shut."""
    bin_dir = os.path.join(w.base, "bin")
    if not os.path.exists(bin_dir):
        os.chmod(w.base, 0o755)
        shutil.copytree(BIN, bin_dir)
    sets = [word for key in w.sets for word in ("--set", key)]
    p = subprocess.run([os.path.join(bin_dir, binary), *sets, *options], cwd=w.base, text=True,
                       capture_output=True, timeout=60, user=65534, group=65534,
                       extra_groups=[])
    return p.returncode, p.stdout, p.stderr


def test_a_directory_of_somebody_else_is_said_with_its_owner():
    if os.geteuid():
        print("     skipped: only root can make a directory of somebody else")
        return
    with World(start=False) as w:
        os.mkdir(w.dir, 0o700)
        whose = "it belongs to root, and this is nobody"
        for binary in ("touchline", "touchline-router"):
            for more in ((), ("--check",)):
                code, out, err = as_nobody(w, binary, "--dir", w.dir, *more)
                check(code == 1 and whose in err, f"{binary} {more}: {code} {out}{err}")
        code, _, err = as_nobody(w, "router-ctl", "--dir", w.dir, "channels")
        check(code == 3 and "only its owner and root" in err, err)
        os.mkdir(w.dir + "/link", 0o700)
        os.symlink("link/router.url", w.dir + "/router.url")
        os.chmod(w.dir, 0o755)
        code, _, err = as_nobody(w, "router-ctl", "--dir", w.dir, "channels")
        check(code == 3 and "only its owner and root" in err, err)
        mine = os.path.join(w.base, "mine")
        os.mkdir(mine)
        os.chown(mine, 65534, 65534)
        for folder, expected, words in ((w.dir, 1, whose),
                                        (mine, 4, "cannot be read: Permission denied")):
            code, _, err = as_nobody(w, "touchline-router", "--dir", folder, "--restore",
                                     w.dir + "/link/backup.db")
            check(code == expected and words in err, err)


def test_a_low_port_and_a_log_that_cannot_be_opened_say_why():
    if os.geteuid():
        print("     skipped: only root can become somebody who may not")
        return
    with World(start=False) as w:
        mine = os.path.join(w.base, "mine")
        os.mkdir(mine)
        os.chown(mine, 65534, 65534)
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start") as f:
            free = int(f.read()) <= 7
        if not free:
            code, _, err = as_nobody(w, "touchline", "--dir", mine + "/var",
                                     "--set", "http.listen=127.0.0.1:7")
            check(code == 1 and "127.0.0.1:7: " in err and "needs root" in err, err)
        log = w.base + "/touchline.log"
        os.mkdir(log)
        for binary in BINARIES[:-1]:
            code, _, err = as_nobody(w, binary, "--dir", mine + "/var",
                                     "--set", "log.file=" + log)
            check(code == 1 and log + ": Is a directory" in err, f"{binary}: {err}")


# ---- the surroundings ------------------------------------------------------

def test_it_runs_in_the_c_locale():
    with World(env={"LC_ALL": "C", "LANG": "C"}) as w, w.stream("/v1/stream?channel=caf%C3%A9") \
            as s, w.telnet() as t:
        s.item()
        t.send("SUB caf\u00e9\r\n".encode())
        t.line()
        equal(w.publish("caf%C3%A9", "na\u00efve \u2713".encode()).status, 201)
        equal(s.message()["data"], "na\u00efve \u2713")
        check("na\u00efve \u2713" in t.line().decode(), "telnet")
        check("na\u00efve \u2713" in w.ctl("history", "caf\u00e9"), "the shell")


def test_the_path_of_its_directory_may_be_long():
    """Longer than the address of a unix socket can be."""
    with World() as outer:
        base = os.path.join(outer.base, "d" * 100, "e" * 100)
        os.makedirs(base)
        with World(under=base) as w:
            equal(w.publish("a", "x").status, 201)
            check(w.ctl("status").startswith("OK"), "the shell finds it")
            w.kill("router")
            eventually(lambda: alive(w), "and again")
            equal(w.stop(), 0)
            equal(sockets_under(base), [])


def test_without_ipv6_the_default_addresses_do():
    alone = unshare("--net")
    if not alone:
        print("     skipped: this machine lets nobody have a net of his own")
        return
    with World(start=False) as w:
        w.sets = []
        p = subprocess.Popen(
            [*alone, "sh", "-ec", "ip link set lo up; "
             "[ ! -d /proc/sys/net/ipv6 ] || echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; "
             'exec "$@"',
             "sh", *w.args("touchline")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            out = Lines(p.stdout, lambda n: os.read(p.stdout.fileno(), n))
            ready = {out.line().split()[1] for _ in range(4)}
            equal(ready, {b"router", b"http", b"tcp", b"ws"})
            check(w.ctl("status").startswith("OK"), "status")
        finally:
            p.terminate()
            _, err = p.communicate(timeout=20)
        equal(p.returncode, 0)
        check(b"error" not in err, err)


def test_few_files_are_said_at_the_start():
    with World(before=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))) as w:
        with open(w.log) as f:
            rooms = re.findall(r"listen.room clients=(\d+) files=1000", f.read())
        check(rooms and all(0 < int(r) < 1000 for r in rooms), rooms)
