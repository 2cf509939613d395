"""What is kept, for how long, and what happens when the disk fails."""
import contextlib
import glob
import os
import shutil
import signal
import sqlite3
import subprocess
import threading

from world import BIN, EDGES, World, check, equal, eventually


def rows(w, channel, query="since=0"):
    return w.json(f"/v1/history/{channel}?limit=1000&{query}")["messages"]


def offsets(w, channel):
    return [m.get("offset") or m["why"] for m in rows(w, channel)]


def epoch(w):
    return w.json("/v1/history/a")["cursor"].split("-")[0]


def database(w):
    """The file itself, while nothing runs: a way to do it harm."""
    return contextlib.closing(sqlite3.connect(os.path.join(w.dir, "touchline.db"),
                                              isolation_level=None))


def kill_everything(w):
    """As a power cut would, but for what the kernel still holds."""
    w.proc.kill()
    w.proc.wait()
    w.proc.stdout.close()
    w.proc = None
    for kind in (*EDGES, "router"):
        if w.pids(kind):
            w.kill(kind)


# ---- the disk --------------------------------------------------------------

@contextlib.contextmanager
def small_disk(w, size):
    """The directory is on a disk of its own."""
    os.makedirs(w.dir)
    subprocess.check_call(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", w.dir])
    try:
        yield
    finally:
        w.close(keep=True)
        subprocess.check_call(["umount", "-l", w.dir])


def fill(w, leave):
    free = os.statvfs(w.dir)
    with open(os.path.join(w.dir, "filler"), "wb") as f:
        f.write(b"x" * (free.f_bavail * free.f_bsize - leave))


def publish_until_refused(w):
    """How many were taken before the disk was full."""
    with w.client() as c:
        for n in range(200):
            answer = c.ask("POST", "/v1/publish/a", "b" * 60000).answer()
            if answer.status != 201:
                equal((answer.status, answer.code()), (503, "store.full"))
                check(int(answer.headers["Retry-After"]) > 0, "Retry-After")
                return n
    raise AssertionError("the disk never became full")


def a_full_disk(w, fill_it, make_room):
    with w.stream("/v1/stream?channel=volatile/x&channel=a") as s, w.telnet() as t:
        s.item()
        router = w.pids("router")
        fill_it()
        taken = publish_until_refused(w)
        check(w.ctl("status", code=1).startswith("DEGRADED"), "status")
        equal([s.message()["offset"] for _ in range(taken)], list(range(1, taken + 1)))
        equal(w.publish("volatile/x", "still").status, 201)
        equal(s.message()["data"], "still", "live, and no ghost before it")
        t.send(b"PUB a " + b"b" * 4000 + b"\r\n")
        line = t.line()
        check(line.startswith((b"ERROR store.full: ", b"OK PUB a ")), line)
        taken += line.startswith(b"OK")
        equal(len(rows(w, "a")), taken, "reading goes on")
        make_room()
        answer = eventually(lambda: again(w), "stored again").json()
        equal(answer["offset"], taken + 1, "nothing was taken in between")
        equal(offsets(w, "a"), list(range(1, taken + 2)))
        equal(w.pids("router"), router, "without a restart")


def again(w):
    answer = w.publish("a", "again")
    return answer if answer.status == 201 else None


def may_mount():
    return os.geteuid() == 0 and subprocess.call(
        ["unshare", "--mount", "true"], stderr=subprocess.DEVNULL) == 0


def test_on_a_full_disk_reading_and_volatile_publishing_go_on():
    if not may_mount():
        print("     skipped: only root may mount a small disk")
        return
    w = World(start=False)
    with small_disk(w, "8m"):
        w.start()
        a_full_disk(w, lambda: fill(w, 300000),
                    lambda: os.unlink(os.path.join(w.dir, "filler")))
    w.close()


BRIEF = """
[namespace brief/]
history_age = 4s
"""


def test_a_full_disk_is_trimmed_out_of_the_ballast_and_recovers_alone():
    if not may_mount():
        print("     skipped: only root may mount a small disk")
        return
    w = World(start=False, config=BRIEF, sets=["store.ballast=10M"])
    with small_disk(w, "32m"):
        w.start()
        ballast = os.path.join(w.dir, "touchline.db-ballast")
        w.publish("brief/a", "first")
        eventually(lambda: os.path.exists(ballast) and os.path.getsize(ballast) == 10 << 20,
                   "the ballast")
        fill(w, 6 << 20)
        with w.client() as c:
            for size in (60000, 100):  # until nothing at all fits
                status = 201
                while status == 201:
                    answer = c.ask("POST", "/v1/publish/brief/a", "b" * size).answer()
                    status = answer.status
        equal((answer.status, answer.code()), (503, "store.full"))
        # Nobody makes room: what is too old goes, and its place is used again.
        eventually(lambda: w.publish("brief/a", "again").status == 201, "stored again")
        eventually(lambda: os.path.exists(ballast) and os.path.getsize(ballast) == 10 << 20,
                   "the ballast again")
        check("store.ballast" in w.log_tail(1 << 20), "said so")
    w.close()


def limit_files(pid, size):
    subprocess.check_call(["prlimit", f"--pid={pid}",
                           f"--fsize={'unlimited' if size < 0 else size}:"])


def test_files_that_may_not_grow_kill_nobody():
    with World() as w:
        pid, = w.pids("router")
        limit_files(pid, 1 << 20)
        text, answers = "b" * 60000, []
        while not answers or answers[-1].status == 201:
            check(len(answers) < 100, "the limit is not felt")
            answers.append(w.publish("a", text))
        equal(answers[-1].status, 503)
        equal(w.publish("volatile/x", "x").status, 201)
        limit_files(pid, -1)
        eventually(lambda: again(w), "stored again")
        equal(offsets(w, "a"), list(range(1, len(answers) + 1)))
        equal(w.pids("router"), [pid])


def test_a_locked_database_is_busy_and_then_not():
    with World() as w:
        w.publish("a", "1")
        with database(w) as db:
            db.execute("BEGIN IMMEDIATE")
            answer = w.publish("a", "2")
            equal((answer.status, answer.code()), (503, "store.busy"))
            equal(w.publish("volatile/x", "x").status, 201)
            equal(offsets(w, "a"), [1])
            db.execute("ROLLBACK")
        eventually(lambda: again(w), "free again")
        equal(offsets(w, "a"), [1, 2])


# ---- damage ----------------------------------------------------------------

def test_a_damaged_row_is_a_gap_in_its_place():
    with World() as w:
        for n in range(10):
            equal(w.publish("a", f"message {n}").status, 201)
        before = epoch(w)
        w.stop()
        with database(w) as db:
            db.execute("UPDATE log SET data = CAST('MESSAGE 4' AS BLOB) WHERE offset = 5")
        w.start()
        wanted = [1, 2, 3, 4, "damaged", 6, 7, 8, 9, 10]
        equal(offsets(w, "a"), wanted)
        gap = rows(w, "a")[4]
        equal((gap["from"], gap["to"], gap["count"], gap["channel"]), (5, 5, 1, "a"))
        equal(epoch(w), before, "the epoch stays")
        with w.stream("/v1/stream?channel=a&since=0") as s:
            equal(s.item()["notice"], "resumed")
            got = [s.item() for _ in range(10)]
            equal([m.get("offset") or m["why"] for m in got], wanted)
        with w.ws("/v1/ws?channel=a&since=0") as c:
            equal(c.item()["notice"], "resumed")
            equal([m.get("offset") or m["why"] for m in (c.item() for _ in range(10))], wanted)
        with w.telnet() as t:
            t.send(b"SUB a 0\r\n")
            lines = [t.line() for _ in range(11)]
            check(lines[5].startswith(b"NOTICE gap a ") and b"why=damaged" in lines[5], lines[5])
        got, cursor = [], "0"
        while len(got) < 10:
            answer = w.json(f"/v1/poll?channel=a&since={cursor}&wait=1")
            got += [m.get("offset") or m["why"] for m in answer["messages"]
                    if m.get("notice") != "resumed"]
            cursor = answer["cursor"]
        equal(got, wanted, "polls")
        with w.stream("/test/a?since=0") as page:
            page.chunk()
            text = b"".join(page.chunk() for _ in range(10)).decode()
            check("'message 3'<br/>\nMissed 1 msgs<br/>\nRecvd msg #5: 'message 5'" in text, text)
        check(w.metric("damaged_total") > 0, "counted")
        equal(w.publish("a", "more").json()["offset"], 11)


def test_a_damaged_number_is_a_gap_too():
    with World() as w:
        for n in range(6):
            w.publish("a", str(n))
        w.stop()
        with database(w) as db:
            db.execute("UPDATE log SET offset = 99 WHERE offset = 3")
            db.execute("DELETE FROM log WHERE offset = 5")
        w.start()
        got = offsets(w, "a")
        equal([o for o in got if o != "damaged"], [1, 2, 4, 6])
        equal(got.index("damaged"), 2)


def test_a_file_that_is_no_database_is_refused_in_a_sentence():
    with World() as w:
        w.publish("a", "x")
        w.stop()
        path = os.path.join(w.dir, "touchline.db")
        for name in glob.glob(path + "-*"):
            if not name.endswith("guard"):
                os.unlink(name)
        with open(path, "r+b") as f:
            f.write(b"this is no database")
        code, text = run_router(w)
        equal(code, 1)
        check("touchline.db" in text and "database" in text, text)


def run_router(w, *more):
    """Runs the router alone until it ends: its code, and what it says."""
    p = subprocess.run(w.args("touchline-router", *more), capture_output=True, timeout=20)
    return p.returncode, p.stderr.decode()


def test_a_schema_from_the_future_is_refused_in_a_sentence():
    with World() as w:
        w.publish("a", "x")
        w.stop()
        with database(w) as db:
            db.execute("PRAGMA user_version = 99")
        for more in ((), ("--check",)):
            code, text = run_router(w, *more)
            equal(code, 5)
            check("later version" in text, text)
        # To start it again would not help, and is not tried.
        p = subprocess.run(w.args("touchline"), capture_output=True, timeout=20)
        text = p.stderr.decode()
        equal((p.returncode, text.count("child.start name=\"router-1\"")), (5, 1), text)
        check("later version" in text and "router-1 refuses to start" in text, text)
        with database(w) as db:
            equal(db.execute("PRAGMA user_version").fetchone(), (99,), "left alone")


# ---- whose history is it? --------------------------------------------------

def test_a_copied_directory_has_a_history_of_its_own():
    with World() as w:
        for n in range(5):
            sent = w.publish("a", str(n)).json()
        before = epoch(w)
        w.stop()
        shutil.copytree(w.dir, w.dir + ".copy")
        w.start()
        equal(epoch(w), before)
        w.stop()
        os.rename(w.dir, w.dir + ".moved")
        os.rename(w.dir + ".moved", w.dir)
        w.start()
        equal(epoch(w), before, "a move is no copy")
        w.stop()
        shutil.rmtree(w.dir)
        os.rename(w.dir + ".copy", w.dir)
        w.start()
        check(epoch(w) != before, "the copy's epoch")
        equal(offsets(w, "a"), [1, 2, 3, 4, 5])
        new = w.publish("a", "new").json()
        equal(new["offset"], 6)
        check(new["seq"] > sent["seq"] and new["epoch"] != before, "and goes on")
        with w.stream(f"/v1/stream?channel=a&since={before}-{sent['seq']}") as s:
            gap = s.item()
            equal((gap["notice"], gap["why"]), ("gap", "epoch"))


def test_a_store_behind_its_gateways_gets_a_new_epoch():
    """As when a power cut took what was not synced: no number means two."""
    with World() as w:
        w.publish("a", "1")
        w.stop()
        saved = {name: open(os.path.join(w.dir, name), "rb").read()
                 for name in os.listdir(w.dir) if name.startswith("touchline.db")}
        w.start()
        with w.stream("/v1/stream?channel=a") as s:
            s.item()
            for n in range(2, 5):
                w.publish("a", str(n))
            got = [s.message() for _ in range(3)]
            before = got[-1]["epoch"]
            w.kill("router", signal.SIGSTOP)
            pid, = w.pids("router")
            for name in os.listdir(w.dir):
                if name.startswith("touchline.db") and name not in saved:
                    os.unlink(os.path.join(w.dir, name))
            for name, data in saved.items():
                with open(os.path.join(w.dir, name), "r+b") as f:
                    f.truncate()
                    f.write(data)
            w.kill("router")
            gap = s.item()
            equal((gap["notice"], gap["why"], gap["channel"]), ("gap", "epoch", "a"))
            equal(s.item()["notice"], "snapshot")
            new = w.publish("a", "new").json()
            check(new["epoch"] != before, "a new epoch")
            message = s.message()
            equal((message["epoch"], message["offset"]), (new["epoch"], new["offset"]))
            seen = {(m["epoch"], m["offset"]) for m in got}
            check((new["epoch"], new["offset"]) not in seen, "no number means two")


def test_a_backup_is_whole_and_restores():
    with World() as w:
        for n in range(20):
            w.publish("a", str(n), Idempotency_Key=f"k{n}")
        before = epoch(w)
        file = os.path.join(w.base, "backup.db")
        w.ctl("backup", file)
        check(os.path.getsize(file) > 0, "a file")
        w.ctl("backup", file, code=5)  # nothing is overwritten
        w.publish("a", "after the backup")
        code, text = run_router(w, "--restore", file)
        check(code != 0, f"while it runs: {text}")
        w.stop()
        code, text = run_router(w, "--restore", file)
        equal(code, 0, text)
        w.start()
        equal(offsets(w, "a"), list(range(1, 21)))
        check(epoch(w) != before, "a new epoch")
        equal(w.publish("a", "3", Idempotency_Key="k3").status, 200, "keys came along")
        code, text = run_router(w, "--restore", os.path.join(w.base, "nothing"))
        check(code != 0 and text, "a file that is not there")


def test_a_backup_while_publishing_holds_what_was_acknowledged_before_it():
    with World() as w:
        acked, enough = [], threading.Event()

        def talk():
            with w.client() as c:
                while not enough.is_set():
                    acked.append(c.ask("POST", "/v1/publish/a", "x").answer()
                                 .json()["offset"])

        talker = threading.Thread(target=talk)
        talker.start()
        try:
            eventually(lambda: len(acked) > 200, "a beginning")
            sure = len(acked)
            file = os.path.join(w.base, "backup.db")
            w.ctl("backup", file)
        finally:
            enough.set()
            talker.join()
        with contextlib.closing(sqlite3.connect(file)) as db:
            equal(db.execute("PRAGMA integrity_check").fetchone(), ("ok",))
            count, last = db.execute("SELECT count(*), max(offset) FROM log").fetchone()
            check(last >= sure and count == min(last, count), f"{count}, {last} of {sure}")


# ---- how long --------------------------------------------------------------

KEEP = """
[namespace few/]
history = 5
[namespace short/]
history_age = 1s
[namespace slim/]
history_bytes = 10K
[namespace none/]
history = 0
"""


def test_history_is_kept_by_count_age_and_bytes():
    with World(config=KEEP) as w:
        for n in range(12):
            for channel in ("few/a", "short/a", "slim/a", "none/a"):
                equal(w.publish(channel, str(n) + "x" * 2000).status, 201)
        eventually(lambda: offsets(w, "few/a") == [8, 9, 10, 11, 12], "by count")
        eventually(lambda: len(rows(w, "slim/a")) <= 5, "by bytes")
        kept = offsets(w, "slim/a")
        equal(kept, list(range(13 - len(kept), 13)), "the newest")
        eventually(lambda: offsets(w, "short/a") == [], "by age")
        equal(rows(w, "none/a"), [])
        # An id that is empty goes on where it was.
        equal(w.publish("short/a", "x").json()["offset"], 13)
        equal(w.publish("few/a", "x").json()["offset"], 13)
        check(w.metric("trimmed_total") >= 3, "counted")
        w.stop()
        w.start()
        eventually(lambda: offsets(w, "few/a") == [9, 10, 11, 12, 13], "after a restart")
        equal(w.publish("short/a", "x").json()["offset"], 14)


# ---- what survives ---------------------------------------------------------

def test_what_was_acknowledged_survives_the_death_of_everything():
    with World() as w:
        acked, last = [], {}
        for _ in range(3):
            enough = threading.Event()
            talkers = [threading.Thread(target=talk_until_cut, args=(w, f"t/{n}", acked, enough))
                       for n in range(3)]
            begin = len(acked)
            for t in talkers:
                t.start()
            eventually(lambda: len(acked) > begin + 150, "progress")
            enough.set()
            kill_everything(w)
            for t in talkers:
                t.join()
            w.start()
        kept = {(m["channel"], m["epoch"], m["offset"]): m for n in range(3)
                for m in rows(w, f"t/{n}")}
        for a in acked[-400:]:
            m = kept.get((a["channel"], a["epoch"], a["offset"]))
            check(m and m["seq"] == a["seq"], f"lost {a}")
        seqs = sorted(a["seq"] for a in acked)
        equal(len(seqs), len(set(seqs)), "numbers are never given twice")
        equal(len({a["epoch"] for a in acked}), 1, "and the epoch stays")
        for n in range(3):
            last = [m["offset"] for m in rows(w, f"t/{n}")]
            equal(last, list(range(last[0], last[0] + len(last))), "dense")


def talk_until_cut(w, channel, acked, enough):
    """Publishes also while everything dies: what is acknowledged counts."""
    with contextlib.suppress(Exception), w.client() as c:
        n = 0
        while not enough.is_set() or n < 100000:
            answer = c.ask("POST", "/v1/publish/" + channel, f"{n}").answer()
            if answer.status == 201:
                acked.append(answer.json())
            n += 1


def test_durability_is_what_the_namespace_says():
    config = "[namespace safe/]\ndurability = power\n[namespace fast/]\ndurability = memory\n"
    with World(config=config) as w:
        def syncs(channel, count=1):
            before = w.metric("store_syncs_total")
            for _ in range(count):
                equal(w.publish(channel, "x").status, 201)
            return w.metric("store_syncs_total") - before

        syncs("a")
        equal(syncs("safe/a", 5), 5, "power: each is synced")
        equal(syncs("a", 5), 0, "process: none")
        equal(syncs("fast/a", 5), 0, "memory: none")
        before = w.metric("store_syncs_total")
        batch = '[{"channel":"a","data":1},{"channel":"safe/a","data":1},{"channel":"a","data":2}]'
        equal(w.http("POST", "/v1/publish", batch,
                     {"Content-Type": "application/json"}).status, 201)
        equal(w.metric("store_syncs_total") - before, 1, "a batch as a whole")
        kill_everything(w)
        w.start()
        equal(len(rows(w, "safe/a")), 6)
        equal(len(rows(w, "fast/a")), 0)
        equal(w.publish("fast/a", "x").json()["offset"], 1, "numbers of one life")


def test_a_restart_reads_what_types_remember():
    with World() as w:
        for team in ("elp", "tig"):
            equal(w.http("PUT", f"/v1/teams/{team}", '{"name":"T","division":"1"}',
                         {"Content-Type": "application/json"}).status, 201)
        match = w.http("POST", "/v1/matches", '{"home":"elp","visit":"tig",'
                       '"start_time":"2031-09-13T15:00:00Z"}',
                       {"Content-Type": "application/json"}).json()["id"]
        for kind in ('{"kind":"start"}', '{"kind":"goal","data":{"team":"elp"}}'):
            equal(w.http("POST", f"/v1/matches/{match}/events", kind,
                         {"Content-Type": "application/json"}).status, 201)
        before = w.json(f"/v1/matches/{match}")
        kill_everything(w)
        w.start()
        after = w.json(f"/v1/matches/{match}")
        equal({k: v for k, v in after.items() if k != "cursor"},
              {k: v for k, v in before.items() if k != "cursor"})
        equal(after["home_score"], 1)
