"""Threats to the core: secrets that leak, the router's own sockets, its disk,
its control tool, its figures. The names begin with the number of the threat.

T22 (hash flooding) is tests/gateways/flood_test.c; replayed and forged challenges
of T16 are tests/proto/rendezvous_test.c; T19 with 200 bits is
tests/store/damage_test.c; T28's fuzzing is tests/fuzz/router_fuzz.c."""
import contextlib
import glob
import json
import os
import random
import shutil
import signal
import socket
import stat
import subprocess

from store_system import a_full_disk, fill, may_mount, small_disk
from world import (BIN, DEADLINE, EDGES, Failed, World, check, equal, eventually, full_size,
                   readable)

NOBODY = 65534
MARK = "canarybird"  # in every secret of this file, and in every wrong one


# ---- T13: secrets ----------------------------------------------------------

SECRETS = f"""
[router]
url = tcp://127.0.0.1:0
[link]
secret = {MARK}-of-the-link-0123456789
[token gate]
secret = {MARK}-of-the-gate-0123456789
publish = locked/
[namespace locked/]
publish = token
[log]
level = debug
"""
RIGHT = f"{MARK}-of-the-gate-0123456789"
SPOKEN = f"{MARK}-of-the-line-0123456789"
WRONG = f"{MARK}-that-nobody-has"


def try_tokens_over_http(w):
    """Right and wrong, and in all the places where they do not belong."""
    said = []
    for token, wanted in ((RIGHT, 201), (SPOKEN, 201), (WRONG, 403)):
        answer = w.publish("locked/a", "x", Authorization=f"Bearer {token}")
        equal(answer.status, wanted, token)
        said.append(answer.body)
    for value in (f"Basic {RIGHT}", f"Bearer  {RIGHT} {RIGHT}", RIGHT, f"Bearer {WRONG * 500}"):
        said.append(w.publish("locked/a", "x", Authorization=value).body)
    for target in (f"/v1/poll?token={RIGHT}", f"/v1/poll?channel=a&wait=0&access_token={RIGHT}",
                   f"/v1/stream?since={WRONG}", f"/v1/history/a?since={WRONG}",
                   f"/v1/ws?token={RIGHT}", f"/?secret={RIGHT}"):
        said.append(w.http("GET", target).body)
    with w.client() as c:
        c.send(f"POST /v1/publish/locked/a HTTP/1.1\r\nHost: localhost\r\n"
               f"Authorization: Bearer {RIGHT}\r\nBad Header: {RIGHT}\r\n\r\n".encode())
        said.append(c.all())
    return said


def try_tokens_on_sockets(w):
    said = []
    for token, wanted in ((WRONG, b"ERROR token.unknown"), (RIGHT, b"OK AUTH gate")):
        with w.telnet() as t:
            t.send(f"AUTH {token}\r\nAUTH\r\nAUTH {token} {token}\r\nAUT {token}\r\n"
                   f"PUB locked/b x\r\nPING\r\n".encode())
            said.append(t.until(b"OK PING\r\n"))
            check(wanted in said[-1], said[-1])
        with w.ws() as s:
            for n, command in enumerate(({"token": token}, {"secret": token}, {"token": [token]})):
                s.say(cmd="auth", ref=n, **command)
                said.append(json.dumps(s.reply(n)).encode())
            s.frame("text", f'{{"cmd":"auth","token":"{token}"')
            said.append(json.dumps(s.item()).encode())
    return said


def everything_printed(w):
    said = [w.http("GET", target).body for target in ("/metrics", "/v1/stats")]
    told = [w.args("router-ctl", *verb) for verb in (["stats"], ["--json", "conns"], ["gateways"])]
    told += [w.args(binary, "--print-config")
             for binary in ("touchline", "touchline-router", "touchline-http", "touchline-tcp",
                            "touchline-ws", "router-ctl")]
    for command in told:
        done = subprocess.run(command, capture_output=True, timeout=DEADLINE)
        equal(done.returncode, 0, done.stderr)
        said += [done.stdout, done.stderr]
    return said


def command_lines(w):
    out = []
    for pid in [w.proc.pid] + [p for kind in ("router", *EDGES) for p in w.pids(kind)]:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            out.append(f.read())
    check(len(out) >= 5, "all processes run")
    return out


def files_of(w):
    for folder, _, names in os.walk(w.base):
        for path in (os.path.join(folder, name) for name in names):
            if path != w.config and stat.S_ISREG(os.lstat(path).st_mode):
                with open(path, "rb") as f:
                    yield path, f.read()


def test_t13_a_secret_is_nowhere_but_in_the_configuration():
    with World(config=SECRETS, sets=[f"token line.secret={SPOKEN}",
                                     "token line.publish=locked/"]) as w:
        said = try_tokens_over_http(w) + try_tokens_on_sockets(w)
        for text in said + everything_printed(w) + command_lines(w):
            check(MARK.encode() not in text, f"a secret was told: {text[:2000]!r}")
        w.kill("tcp", signal.SIGSEGV)  # whose report goes to the log
        eventually(lambda: b"fatal signal" in open(w.log, "rb").read(), "a report of the crash")
        w.stop()
        for path, text in files_of(w):
            check(MARK.encode() not in text, f"a secret is in {path}")
        check(b"debug" in open(w.log, "rb").read(), "the log says all it has to say")


def test_t13_pages_tell_no_other_site_where_they_are():
    with World() as w:
        for page in ("/", "/report"):
            answer = w.http("GET", page, headers={"Accept": "text/html"})
            equal(answer.headers["Referrer-Policy"], "no-referrer", page)


# ---- T16, T28: the router's sockets -----------------------------------------

def sockets(w):
    """The rendezvous, and the lines of the gateways."""
    paths = glob.glob(os.path.join(w.dir, "link", "*"))
    check(len(paths) >= 1, "there are sockets")
    return paths


def knock(path, data=b""):
    """A connection to it; None: it did not take one."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(DEADLINE)
    try:
        s.connect(path)
        s.sendall(data)
        return s
    except OSError:
        s.close()
        return None


def is_shut(s):
    """The other side ends it, having said no more than its greeting."""
    with contextlib.suppress(OSError):
        while s.recv(64):
            pass
    s.close()


def as_nobody(work):
    """Runs it in a process of another user, who has none of our groups."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            work()
            os._exit(0)
        except BaseException as e:
            print(f"as nobody: {e!r}", flush=True)
            os._exit(1)
    equal(os.waitpid(pid, 0)[1], 0, "what another user found")


def still_served(w, stream, n):
    """A client that was there before goes on as if nothing had been."""
    equal(w.publish("user/ana", f"still {n}").status, 201)
    equal(stream.message()["data"], f"still {n}")


def refused(w, why):
    return w.metric("link_refused_total", why=why)


def test_t16_another_user_cannot_enter_where_the_sockets_are():
    with World() as w:
        for folder in (w.dir, os.path.join(w.dir, "link")):
            equal(stat.S_IMODE(os.stat(folder).st_mode), 0o700, folder)
        for path in sockets(w):
            equal(stat.S_IMODE(os.stat(path).st_mode), 0o600, path)
        paths = sockets(w)
        as_nobody(lambda: check(all(knock(p) is None for p in paths), "it got in"))


def test_t16_and_t28_another_user_is_refused_though_the_door_stands_open():
    with World() as w, w.stream("/v1/stream?channel=user/ana") as stream:
        stream.item()
        for folder in (w.base, w.dir, os.path.join(w.dir, "link")):
            os.chmod(folder, 0o711)
        for path in sockets(w):
            os.chmod(path, 0o666)
        paths = sockets(w)

        def intrude():
            for path in paths:
                s = knock(path, b"\0SP\0\0\x30\0\0")
                if s:
                    is_shut(s)
            status = subprocess.run([os.path.join(BIN, "router-ctl"), "--router",
                                     f"ipc://{w.dir}/link/router", "status"],
                                    capture_output=True, timeout=DEADLINE)
            check(b"OK" not in status.stdout, status.stdout)

        before = refused(w, "user")
        as_nobody(intrude)
        eventually(lambda: refused(w, "user") > before, "it was counted")
        still_served(w, stream, 1)


def noises():
    """What is no link: from no bytes at all to a message of a tebibyte."""
    greeting = {kind: b"\0SP\0\0" + kind + b"\0\0" for kind in (b"\x30", b"\x10", b"\xff")}
    length = [b"\1" + n.to_bytes(8, "big") for n in (0, 1, 100, 1 << 20, 1 << 40, (1 << 64) - 1)]
    yield from (b"", b"\0", b"\0SP", b"GET / HTTP/1.1\r\n\r\n", random.randbytes(4096))
    for hello in greeting.values():
        yield hello
        yield from (hello + n + random.randbytes(60) for n in length)


def test_t16_noise_on_the_sockets_harms_nobody():
    with World() as w, w.stream("/v1/stream?channel=user/ana") as stream:
        stream.item()
        router = w.pids("router")
        held = []
        for n, noise in enumerate(noises()):
            held += [s for s in (knock(path, noise) for path in sockets(w)) if s]
            if n % 2:
                while held:
                    held.pop().close()
        still_served(w, stream, 1)
        equal(w.pids("router"), router, "the router lives")
        eventually(lambda: w.live() == {"http1", "tcp1", "ws1"} or len(w.live()) >= 3,
                   "all gateways are whole")


def test_t16_a_crowd_that_never_speaks_keeps_nobody_out():
    with World() as w, w.stream("/v1/stream?channel=user/ana") as stream:
        stream.item()
        path = os.path.join(w.dir, "link", "router")
        crowd = []

        def comes():  # the kernel keeps only so many at the door
            crowd.extend(filter(None, (knock(path, b"\0SP\0\0\x30\0\0") for _ in range(100))))
            return refused(w, "crowd")

        eventually(lambda: comes() >= 300, "they make way")
        files = f"/proc/{w.pids('router')[0]}/fd"
        eventually(lambda: len(os.listdir(files)) < 400, "what made way is closed")
        check(w.ctl("status").startswith("OK"), "who has something to ask gets in")
        still_served(w, stream, 1)
        for s in crowd:
            s.close()


def test_t16_an_address_that_is_not_local_needs_a_secret():
    w = World(start=False)
    os.makedirs(w.dir)
    for more, wanted in (([], "link.secret"), (["--set", "link.secret=short"], "16")):
        done = subprocess.run(w.args("touchline-router", "--set", "router.url=tcp://0.0.0.0:0",
                                     *more), capture_output=True, timeout=DEADLINE)
        check(done.returncode != 0 and wanted.encode() in done.stderr, done.stderr)
    w.close()


def test_t16_who_has_another_secret_does_not_join():
    with World(sets=["router.url=tcp://127.0.0.1:0", f"link.secret={RIGHT}"]) as w:
        with open(os.path.join(w.dir, "router.url")) as f:
            url = f.read().strip()
        for secret in ([], ["--set", f"link.secret={WRONG}"]):
            done = subprocess.run([os.path.join(BIN, "router-ctl"), "--router", url, *secret,
                                   "status"], capture_output=True, timeout=DEADLINE)
            check(done.returncode != 0 and b"OK" not in done.stdout, done.stdout + done.stderr)


# ---- T18: the disk is full ---------------------------------------------------

def test_t18_two_megabytes_fill_up_and_are_freed():
    if not may_mount():
        print("     skipped: only root may mount a small disk")
        return
    w = World(start=False, sets=["store.ballast=64K"])
    with small_disk(w, "2m"):
        w.start()
        a_full_disk(w, lambda: fill(w, 200000),
                    lambda: os.unlink(os.path.join(w.dir, "filler")))
    w.close()


# ---- T19: bits flip ----------------------------------------------------------

FLIPS = 200 if full_size() else 5


def flip(path, rng):
    """One bit; returns the way back."""
    at, bit = rng.randrange(os.path.getsize(path)), 1 << rng.randrange(8)
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ bit]))


def told(w, channel):
    """What is given out of it, by offset, and how many are told to be missing."""
    have, missed = {}, 0
    for m in w.json(f"/v1/history/{channel}?limit=1000&since=0")["messages"]:
        if "data" in m:
            have[m["offset"]] = m["data"]
        else:
            missed += m.get("count") or 1000
    return have, missed


def honest(w):
    """What is delivered is what was said, and what is not is told; or the
    start is refused, in words."""
    try:
        w.start()
    except Failed:
        check(b"damage" in open(w.log, "rb").read(), "it says why: " + w.log_tail())
        w.close(keep=True)
        return
    report = open(w.log, "rb").read()
    for channel in ("flip/a", "flip/b"):
        have, missed = told(w, channel)
        for offset, data in have.items():
            equal(data, f"{channel} {offset} " + "x" * 100, "a byte of it")
        check(len(have) + missed >= 100 or b"damaged" in report or b"epoch_why=new" in report,
              f"{channel}: {len(have)} there, {missed} told")
    w.stop()


def test_t19_a_flipped_bit_is_told_and_never_delivered():
    rng = random.Random(19)
    with World() as w:
        for n in range(1, 101):
            batch = [{"channel": c, "data": f"{c} {n} " + "x" * 100} for c in ("flip/a", "flip/b")]
            equal(w.http("POST", "/v1/publish", json.dumps(batch)).status, 201)
        w.stop()
        path = os.path.join(w.dir, "touchline.db")
        good = shutil.copytree(w.dir, os.path.join(w.base, "good"))
        for _ in range(FLIPS):
            for name in os.listdir(good):
                if name.startswith("touchline.db"):
                    with open(os.path.join(good, name), "rb") as f, \
                            open(os.path.join(w.dir, name), "r+b" if os.path.exists(
                                os.path.join(w.dir, name)) else "wb") as t:
                        t.truncate(0)
                        t.write(f.read())
            flip(path, rng)
            open(w.log, "wb").close()
            honest(w)


# ---- T28: what the control tool can do to files ------------------------------

def test_t28_a_backup_never_takes_the_place_of_a_file():
    with World() as w:
        equal(w.publish("a", "kept").status, 201)
        database = os.path.join(w.dir, "touchline.db")
        precious = os.path.join(w.base, "precious")
        names = {n: os.path.join(w.base, n) for n in ("plain", "to_db", "dangling", "good")}
        for path in (precious, names["plain"], names["good"] + ".part.real"):
            with open(path, "w") as f:
                f.write("precious")
        os.symlink(database, names["to_db"])
        os.symlink(os.path.join(w.base, "nowhere"), names["dangling"])
        for name in ("plain", "to_db", "dangling"):
            check(w.ctl("backup", names[name], code=5) == "", name)
        for file in (database, w.dir, os.path.join(w.base, "no", "folder")):
            p = subprocess.run([os.path.join(BIN, "router-ctl"), "--dir", w.dir, "backup", file],
                               capture_output=True, timeout=DEADLINE)
            check(p.returncode not in (0, -signal.SIGSEGV), file)
        check(not os.path.lexists(os.path.join(w.base, "nowhere")), "a link was followed")
        os.symlink(precious, names["good"] + ".part")
        w.ctl("backup", names["good"])
        for path in (precious, names["plain"]):
            equal(open(path).read(), "precious", path)
        equal(w.publish("a", "still").json()["offset"], 2, "the store is as it was")


# ---- T30: figures ------------------------------------------------------------

FIGURES = ("/metrics", "/v1/stats", "/metrics?x=1", "/%6detrics", "/metrics/", "//metrics",
           "/./metrics", "/v1/../metrics", "/v1/%73tats", "http://127.0.0.1/metrics",
           "/METRICS")


def test_t30_figures_are_not_on_the_public_port():
    with World(start=False) as w:
        admin = os.path.join(w.base, "admin")
        w.sets.append(f"http.admin=unix:{admin}")
        w.start()
        for target in FIGURES:
            for method in ("GET", "HEAD", "POST", "OPTIONS"):
                for host in ("localhost", "127.0.0.1:8002"):
                    with w.client() as c:
                        c.ask(method, target, Host=host)
                        answer = c.answer(head=method == "HEAD")
                        check(answer.status in (400, 403, 404, 405, 411),
                              f"{method} {target}: {answer.status}")
                        check(b"touchline_" not in answer.body, answer.body)
        with contextlib.closing(knock(admin, b"GET /metrics HTTP/1.0\r\n\r\n")) as s:
            check(s.recv(100).startswith(b"HTTP/1.1 200"), "http.admin has them")


def test_t30_figures_name_no_channel_and_nobody():
    with World() as w, w.stream("/v1/stream?channel=room/verborgen&name=geheim") as s, \
            w.stream("/v1/stream?channel=verborgen/*"):
        s.item()
        equal(w.publish("verborgen/a", "vertrouwelijk", Touchline_From="geheim").status, 201)
        w.http("GET", "/v1/presence/room/verborgen")
        for text in (w.http("GET", "/metrics").body, w.http("GET", "/v1/stats").body,
                     w.ctl("stats").encode()):
            for word in (b"verborgen", b"geheim", b"vertrouwelijk"):
                check(word not in text, f"{word} is among the figures")
