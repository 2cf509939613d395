"""What a process may do once it serves: whose it is, what holds it, and that
everything works in there (T25). Of the build that people run: one with a
sanitizer has no wall of calls (proto/cage.h), and fails some of these."""
import ctypes
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import tempfile

from world import BIN, DEADLINE, EDGES, Lines, World, check, equal, eventually, unshare

NOBODY = 65534
KINDS = ("router", *EDGES)
BINARIES = ("touchline", *(f"touchline-{kind}" for kind in KINDS))


def open_world(*sets, **more):
    """In a directory that others can get to."""
    w = World(sets=sets, start=False, **more)
    os.chmod(w.base, 0o755)
    return w


def pids(w):
    """Of all processes, by kind."""
    return {"touchline": [w.proc.pid], **{kind: w.pids(kind) for kind in KINDS}}


def threads(pid):
    """What /proc/PID/status says, of each thread."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as f:
            yield dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def run(w, binary, *more, before=None):
    p = subprocess.run(w.args(binary, *more), capture_output=True, timeout=DEADLINE,
                       stdin=subprocess.DEVNULL, preexec_fn=before)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def is_root():
    return os.geteuid() == 0


# ---- the walls -------------------------------------------------------------

def test_t25_every_thread_of_every_process_is_in_the_cage():
    with open_world("process.user=nobody" if is_root() else "log.level=info") as w:
        w.start()
        for kind, each in pids(w).items():
            check(each, f"no {kind} runs")
            for pid in each:
                seen = list(threads(pid))
                check(kind == "touchline" or len(seen) > 4, f"{kind}: {len(seen)} threads")
                for status in seen:
                    what = f"{kind}, {status['Name']}"
                    equal(status["NoNewPrivs"], "1", what)
                    equal(status["Seccomp"], "2", what)
                    equal(int(status["CapEff"], 16) | int(status["CapPrm"], 16), 0, what)
                    uid = NOBODY if is_root() else os.getuid()
                    equal(status["Uid"].split(), [str(uid)] * 4, what)
                    check("0" not in status["Gid"].split() or not is_root(), what)
                    check("0" not in status["Groups"].split() or not is_root(), what)


def test_t25_others_of_the_same_user_cannot_look_into_a_process():
    """Neither by a core nor by ptrace: what belongs to root in /proc cannot be
    read by its own user."""
    if not is_root():
        raise AssertionError("needs to be root, to become two users")
    with open_world("process.user=nobody") as w:
        w.start()
        for kind in KINDS:
            for pid in w.pids(kind):
                equal(os.stat(f"/proc/{pid}/environ").st_uid, 0, kind)


def test_t25_the_self_test_of_every_binary_holds():
    with open_world() as w:
        for binary in BINARIES:
            code, out, err = run(w, binary, "--check")
            equal(code, 0, f"{binary}: {out} {err}")
            check(re.search(r"^cage: ok \(user=\S+ sandbox=auto no_new_privs=yes "
                            r"seccomp=yes landlock=[1-9]", out, re.M), f"{binary}: {out}")
        check(not os.path.exists(w.dir), "--check has made the directory")


def test_t25_the_self_test_says_when_there_is_no_cage():
    with open_world("process.sandbox=off") as w:
        for binary in BINARIES:
            code, out, _ = run(w, binary, "--check")
            equal(code, 0, binary)
            check(re.search(r"^cage: off \(user=\S+\)$", out, re.M), f"{binary}: {out}")
        w.start()
        equal({t["Seccomp"] for each in pids(w).values() for p in each for t in threads(p)},
              {"0"})
        equal({t["NoNewPrivs"] for each in pids(w).values() for p in each for t in threads(p)},
              {"1"})


# ---- root ------------------------------------------------------------------

def test_t25_root_binds_the_port_and_is_nobody_afterwards():
    """In a network of its own, where port 80 is free and root's."""
    words = unshare("--net")
    if not words or words != ["unshare", "--net"]:
        raise AssertionError("needs to be root, and a network of its own")
    with open_world("process.user=nobody", "http.listen=127.0.0.1:80") as w:
        p = subprocess.Popen([*words, "sh", "-c", 'ip link set lo up && exec "$@"', "-",
                              *w.args("touchline")], stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL)
        try:
            out = Lines(p.stdout, lambda n: os.read(p.stdout.fileno(), n))
            out.until(b"ready http http://127.0.0.1:80\n", DEADLINE)
            for pid in (p.pid, *w.pids("http"), *w.pids("router")):
                for status in threads(pid):
                    equal(status["Uid"].split(), [str(NOBODY)] * 4, status["Name"])
            # Started again, it has the port without a right to it.
            old = w.kill("http")
            eventually(lambda: w.pids("http") not in ([], old), "another http")
        finally:
            p.terminate()
            equal(p.wait(DEADLINE), 0)
            p.stdout.close()


def test_t25_a_gateway_alone_gives_root_up_as_well():
    if not is_root():
        raise AssertionError("needs to be root")
    with open_world("process.user=nobody") as w:
        procs = []
        try:
            for binary in ("touchline-router", "touchline-http"):
                p = subprocess.Popen(w.args(binary), stdout=subprocess.PIPE,
                                     stderr=subprocess.DEVNULL)
                procs.append(p)
                out = Lines(p.stdout, lambda n, p=p: os.read(p.stdout.fileno(), n))
                check(out.line().startswith(b"ready "), binary)
                for status in threads(p.pid):
                    equal(status["Uid"].split(), [str(NOBODY)] * 4, binary)
            equal(os.stat(w.dir).st_uid, NOBODY)
        finally:
            for p in reversed(procs):
                p.terminate()
                equal(p.wait(DEADLINE), 0)
                p.stdout.close()


def test_t25_a_unix_socket_is_its_server_s():
    """Bound by root, in a directory of root's; --check leaves nothing there."""
    if not is_root():
        raise AssertionError("needs to be root")
    with open_world("process.user=nobody") as w:
        path = os.path.join(w.base, "web.sock")
        w.sets.append(f"http.listen=unix:{path}")
        for binary in ("touchline", "touchline-http"):
            code, out, err = run(w, binary, "--check")
            equal(code, 0, f"{binary}: {out} {err}")
            check(not os.path.exists(path), f"{binary} --check leaves {path}")
        w.start()
        equal(os.stat(path).st_uid, NOBODY)


def test_t25_a_directory_of_another_is_refused_in_words():
    if not is_root():
        raise AssertionError("needs to be root")
    with open_world("process.user=nobody") as w:
        os.mkdir(w.dir, 0o700)
        with open(os.path.join(w.dir, "touchline.db"), "w"):
            pass
        for binary in BINARIES:
            code, _, err = run(w, binary)
            equal(code, 1, binary)
            check(f"{w.dir} does not belong to nobody; `chown -R nobody {w.dir}`" in err, err)
        equal(os.stat(w.dir).st_uid, 0)


def test_t25_who_owns_the_directory_is_who_serves():
    if not is_root():
        raise AssertionError("needs to be root")
    with open_world() as w:
        os.mkdir(w.dir, 0o700)
        os.chown(w.dir, NOBODY, NOBODY)
        w.start()
        for each in pids(w).values():
            for pid in each:
                equal(next(threads(pid))["Uid"].split(), [str(NOBODY)] * 4)
        check("process.root" not in w.log_tail(), w.log_tail())
        for name in os.listdir(w.dir):
            equal(os.lstat(os.path.join(w.dir, name)).st_uid, NOBODY, name)


def test_t25_root_that_stays_root_is_warned_of():
    if not is_root():
        raise AssertionError("needs to be root")
    with open_world() as w:
        os.mkdir(w.dir, 0o700)
        open(os.path.join(w.dir, "something"), "w").close()
        w.start()
        check("warn touchline process.root" in w.log_tail(20000), w.log_tail(20000))
    with open_world("process.user=root") as w:
        w.start()
        check("process.root" not in w.log_tail(20000), w.log_tail(20000))


# ---- kernels that have less ------------------------------------------------

def without(*calls):
    """For preexec_fn: the kernel does not know these calls any more."""
    code = b"".join(
        [struct.pack("HBBI", 0x20, 0, 0, 0)] +
        [struct.pack("HBBI", 0x15, len(calls) - i, 0, nr) for i, nr in enumerate(calls)] +
        [struct.pack("HBBI", 0x06, 0, 0, 0x7fff0000),
         struct.pack("HBBI", 0x06, 0, 0, 0x00050000 | 38)])
    libc = ctypes.CDLL(None)

    def forget():
        at = ctypes.create_string_buffer(code)
        program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(at))
        libc.prctl(38, 1, 0, 0, 0) # PR_SET_NO_NEW_PRIVS
        if libc.prctl(22, 2, program, 0, 0): # PR_SET_SECCOMP
            os._exit(99)
    return forget


LANDLOCK = (444, 445, 446)


def test_t25_without_landlock_it_works_and_says_what_is_missing():
    forget = without(*LANDLOCK)
    with open_world(before=forget) as w:
        w.start()
        equal(w.publish("a", "x").status, 201)
        w.ctl("backup", os.path.join(w.base, "copy.db"))
        log = w.log_tail(20000)
        for name in ("touchline", "router", "http1", "tcp1", "ws1"):
            check(re.search(rf"warn {name} process.cage_weak missing=\"landlock "
                            r"\(Function not implemented\)\" .*seccomp=yes landlock=0",
                            log), log)
        code, out, _ = run(w, "touchline-http", "--check", "--set", "http.listen=127.0.0.1:0",
                           before=forget)
        equal(code, 0)
        check("cage: weak (" in out and "missing: landlock" in out, out)


def test_t25_wholly_or_not_at_all():
    forget = without(*LANDLOCK)
    with open_world("process.sandbox=on") as w:
        for binary in BINARIES:
            code, _, err = run(w, binary, before=forget)
            equal(code, 1, binary)
            check("process.sandbox = on, and there is no landlock (Function not "
                  "implemented)" in err, err)
            code, out, _ = run(w, binary, "--check", before=forget)
            equal(code, 1, binary)
            check("cage: cannot be had: landlock" in out, out)
        w.start()
        equal(w.publish("a", "x").status, 201)


# ---- everything works in there ---------------------------------------------

def test_t25_a_backup_gets_where_only_the_operator_may_write():
    with open_world("process.user=nobody" if is_root() else "log.level=info") as w:
        w.start()
        equal(w.publish("kept/1", "x").status, 201)
        closed = os.path.join(w.base, "closed")
        os.mkdir(closed, 0o700)
        file = os.path.join(closed, "copy.db")
        equal(w.ctl("backup", file), f"file  {file}\n")
        equal(stat.S_ISREG(os.lstat(file).st_mode), True)
        # Nothing is left of the way there, and nothing is written over.
        equal([n for n in os.listdir(w.dir) if "backup" in n or ".part" in n], [])
        equal(os.listdir(closed), ["copy.db"])
        size = os.stat(file).st_size
        w.ctl("backup", file, code=5)
        equal(os.stat(file).st_size, size)
        restored = tempfile.mkdtemp(prefix="tl-")
        try:
            p = subprocess.run([os.path.join(BIN, "touchline-router"), "--dir", restored,
                                "--restore", file], capture_output=True, timeout=DEADLINE)
            equal(p.returncode, 0, p.stderr)
        finally:
            shutil.rmtree(restored)


def test_t25_a_backup_to_another_file_system_arrives_whole():
    if not os.path.isdir("/dev/shm"):
        raise AssertionError("needs another file system")
    with open_world() as w, tempfile.TemporaryDirectory(dir="/dev/shm") as there:
        w.start()
        for i in range(200):
            equal(w.publish(f"kept/{i}", "x" * 1000).status, 201)
        file = os.path.join(there, "copy.db")
        w.ctl("backup", file)
        equal(os.listdir(there), ["copy.db"])
        equal([n for n in os.listdir(w.dir) if "backup" in n], [])
        os.mkdir(os.path.join(there, "var"))
        p = subprocess.run([os.path.join(BIN, "touchline-router"), "--dir",
                            os.path.join(there, "var"), "--restore", file],
                           capture_output=True, timeout=DEADLINE)
        equal(p.returncode, 0, p.stderr)


def test_t25_the_directory_for_backups_is_the_router_s_to_write():
    with open_world() as w:
        backups = os.path.join(w.base, "backups")
        os.mkdir(backups)
        w.sets.append(f"store.backup_dir={backups}")
        w.start()
        file = os.path.join(backups, "copy.db")
        w.ctl("backup", file)
        check(f'ctl.backup file="{file}" result=OK' in w.log_tail(20000), w.log_tail())


def test_t25_logs_are_opened_anew_in_the_cage():
    """Moved away by rotation; in a directory of their own they are no hole."""
    with open_world("log.file=log/all.log") as w:
        os.makedirs(os.path.join(w.dir, "log"))
        if is_root():
            for name in (w.dir, os.path.join(w.dir, "log")):
                os.chown(name, NOBODY, NOBODY)
        w.start()
        log = os.path.join(w.dir, "log", "all.log")
        with open(log) as f:
            check("cage_weak" not in f.read(), "the log is a hole")
        os.rename(log, log + ".1")
        w.proc.send_signal(signal.SIGHUP)
        eventually(lambda: os.path.exists(log), "a new log")
        before = w.pids("http")
        w.kill("http")
        eventually(lambda: w.pids("http") not in ([], before), "another http")

        def all_write():
            with open(log) as f:
                text = f.read()
            return all(f" {name} " in text for name in ("touchline", "router", "http1"))
        eventually(all_write, "lines of all in the new log")


def test_t25_a_gateway_finds_a_router_that_comes_later():
    """It could not name router.url when it went into the cage: there was no
    directory. Nor is it lost when the router is another."""
    with open_world() as w:
        http = subprocess.Popen(w.args("touchline-http"), stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL)
        routers = []
        try:
            out = Lines(http.stdout, lambda n: os.read(http.stdout.fileno(), n))
            eventually(lambda: os.path.isdir(os.path.join(w.dir, "link")), "DIR/link")
            for _ in range(2):
                routers.append(subprocess.Popen(w.args("touchline-router"),
                                                stdout=subprocess.PIPE,
                                                stderr=subprocess.DEVNULL))
                if len(routers) == 1:
                    w.urls["http"] = out.line().decode().split()[2]
                eventually(lambda: w.http("GET", "/readyz").status == 200, "ready")
                routers[-1].terminate()
                equal(routers[-1].wait(DEADLINE), 0)
                eventually(lambda: w.http("GET", "/readyz").status == 503, "router away")
        finally:
            for p in (*routers, http):
                if p.poll() is None:
                    p.kill()
                p.wait(DEADLINE)
                p.stdout.close()


def test_t25_a_link_over_tcp_works_in_the_cage():
    secret = "link.secret=0123456789abcdef0123"
    with open_world("router.url=tcp://127.0.0.1:0", secret, "process.sandbox=on") as w:
        router = subprocess.Popen(w.args("touchline-router"), stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL)
        url = Lines(router.stdout, lambda n: os.read(router.stdout.fileno(), n)) \
            .line().decode().split()[2]
        # By a name, which is looked up.
        port = url.rsplit(":", 1)[1]
        http = subprocess.Popen(w.args("touchline-http", "--set",
                                       f"link.url=tcp://localhost:{port}"),
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            out = Lines(http.stdout, lambda n: os.read(http.stdout.fileno(), n))
            w.urls["http"] = out.line().decode().split()[2]
            equal(w.publish("a", "x").status, 201)
        finally:
            for p in (http, router):
                p.terminate()
                p.wait(DEADLINE)
                p.stdout.close()


def test_t25_a_socket_of_its_own_is_removed_at_the_end():
    with open_world() as w:
        path = os.path.join(w.base, "web.sock")
        w.sets.append(f"http.listen=unix:{path}")
        router = subprocess.Popen(w.args("touchline-router"), stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL)
        http = subprocess.Popen(w.args("touchline-http"), stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL)
        try:
            Lines(http.stdout, lambda n: os.read(http.stdout.fileno(), n)).line()
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(DEADLINE)
                s.connect(path)
                s.sendall(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
                check(s.recv(100).startswith(b"HTTP/1.1 200"), "no answer")
        finally:
            for p in (http, router):
                p.terminate()
                equal(p.wait(DEADLINE), 0)
                p.stdout.close()
        check(not os.path.exists(path), "the socket's file is left")
