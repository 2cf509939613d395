"""router-ctl against a running router: each verb, what programs and people
read, and the exit codes."""
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile

from world import BIN, DATA, DEADLINE, ROOT, Lines, World, check, equal, eventually, unshare

SAMPLE = os.path.join(ROOT, "tools/samples/worldcup-2022-final.json")
MATCH = "elp-tig-2011-09-13"
DONE, FAILED, USAGE, NO_ROUTER, NOT_FOUND, REFUSED = range(6)


def ctl(*args, cwd=None, env=None, stdin=b""):
    """Exit code, standard output and standard error, without a --dir."""
    env = {k: v for k, v in {**os.environ, **(env or {})}.items() if v is not None}
    p = subprocess.run([os.path.join(BIN, "router-ctl"), *args], input=stdin,
                       capture_output=True, cwd=cwd, env=env, timeout=DEADLINE)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def at(w, *args, stdin=b""):
    return ctl("--dir", w.dir, *args, stdin=stdin)


def as_json(w, *args):
    """What a program reads: one JSON document a line, nothing else."""
    return [json.loads(line) for line in w.ctl(*args, "--json").splitlines()]


def refuses(w, code, word, *args):
    """Words for people stand on standard error, none on standard output."""
    got, out, err = at(w, *args)
    equal((got, out), (code, ""), f"{args}: {err}")
    check(word in err, f"{args}: {err}")


class Tail:
    """`router-ctl subscribe`, while it runs."""

    def __init__(self, w, *args):
        self.p = subprocess.Popen([os.path.join(BIN, "router-ctl"), "--dir", w.dir, *args],
                                  stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.lines = Lines(self.p.stdout, lambda n: os.read(self.p.stdout.fileno(), n))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.p.kill()
        self.p.wait()
        self.p.stdout.close()

    def line(self):
        return self.lines.line().decode()

    def message(self):
        """The next message; notices are lines with --, or have no data."""
        line = self.line()
        while line.startswith("-- ") or '"notice":' in line:
            line = self.line()
        return line.rstrip("\n")


def test_without_a_verb_it_says_what_there_is():
    """On standard error, with exit code 2: people read it, scripts have failed."""
    code, out, err = ctl()
    equal((code, out), (USAGE, ""))
    code, out, _ = ctl("help")
    equal(code, DONE)
    verbs = re.findall(r"^  ([a-z]+) ", out, re.M)
    check(len(verbs) > 20, out)
    lines = err.split("\n")
    for verb in verbs:
        equal(len([x for x in lines if x.startswith(f"  {verb} ")]), 1, f"{verb}: {err}")
    groups = re.findall(r"^([a-z ]+):$", err, re.M)
    equal(groups[-1], "for example")
    check(len(groups) > 4 and all(len(x) <= 80 for x in lines), err)
    equal(len(re.findall(r"^  router-ctl ", err, re.M)), 3, "examples")
    check(groups[:-1] == re.findall(r"^([a-z ]+):$", out, re.M), "help has the same groups")
    equal(ctl("--json")[0], USAGE, "an option is no verb")


# ---- saying and hearing ----------------------------------------------------

def test_publish_takes_its_text_from_the_line_or_from_standard_input():
    with World() as w, w.stream("/v1/stream?channel=a") as s:
        s.item()
        check("reached 1" in w.ctl("publish", "a", "hello"), "for a person")
        w.ctl("send", "a", "-", stdin=b"two\nlines")
        w.ctl("publish", "--from", "cron", "a", "-", "--key", "k", stdin=b"")
        w.ctl("publish", "a", "-", stdin=b"\xff\0")
        w.ctl("publish", "--format", "json", "a", '{"n":1}')
        got = [s.message() for _ in range(5)]
        equal([m["data"] for m in got], ["hello", "two\nlines", "",
                                         {"base64": "/wA="}, {"n": 1}])
        equal((got[2]["from"], got[2]["key"]), ("cron", "k"))
        answer, = as_json(w, "publish", "a", "x", "--idempotency", "i")
        equal((answer["channel"], answer["offset"], answer["reached"]), ("a", 6, 1))
        again, = as_json(w, "publish", "a", "x", "--idempotency", "i")
        equal((again["seq"], again["offset"], again["duplicate"]),
              (answer["seq"], answer["offset"], True))
        refuses(w, REFUSED, "idempotency.conflict",
                "publish", "a", "y", "--idempotency", "i")
        refuses(w, USAGE, "channel", "publish", "a b", "x")
        code, _, err = at(w, "publish", "a", "-", stdin=b"x" * 65537)
        equal(code, REFUSED, err)


def test_tail_prints_what_comes_and_what_came_since():
    with World() as w:
        first = w.publish("a", "one").json()
        w.publish("a", "two\x1b[31m")
        cursor = f"{first['epoch']}-{first['seq']}"
        with Tail(w, "tail", "a", "b/*", "--since", cursor, "--json") as program, \
                Tail(w, "subscribe", "a", "--since", "0") as person:
            item = json.loads(program.message())
            equal((item["data"], item["offset"]), ("two\x1b[31m", 2))
            check(person.message().endswith(" a #1: one"), "the first")
            check(person.message().endswith(r" a #2: two\x1b[31m"), "made safe")
            w.publish("b/c", "three")
            item = json.loads(program.message())
            equal((item["channel"], item["data"]), ("b/c", "three"))
            w.kill("router")  # it comes back by itself
            eventually(lambda: w.publish("a", "four").status == 201, "taken")
            check(person.message().endswith(" a #3: four"), "after a restart")
            equal(json.loads(program.message())["data"], "four")
            person.p.send_signal(signal.SIGINT)
            equal(person.p.wait(DEADLINE), DONE, "Ctrl-C")


def test_history_pages_oldest_first():
    with World() as w:
        sent = [w.publish("a", str(i)).json() for i in range(5)]
        cursor = f"{sent[2]['epoch']}-{sent[2]['seq']}"

        def data(*how):
            return [m["data"] for m in as_json(w, "history", "a", *how)]

        equal(data(), ["0", "1", "2", "3", "4"])
        equal(data("--last", "2"), ["3", "4"])
        equal(data("--since", cursor), ["3", "4"])
        equal(data("--before", cursor), ["0", "1"])
        equal(data("--before", "0"), [])
        equal(data("--since", "0")[0], "0")
        equal(as_json(w, "history", "empty"), [])
        check(w.ctl("history", "a").splitlines()[0].endswith(" a #1: 0"), "for a person")


# ---- who is there ----------------------------------------------------------

def test_who_channels_and_connections_are_listed():
    with World() as w, w.ws("/v1/ws?channel=room/r&name=ana") as c, \
            w.stream("/v1/stream?channel=room/r&channel=b") as s:
        c.item()
        s.item()
        s.item()
        w.publish("a", "x")
        for verb in ("who", "presence"):
            answer, = as_json(w, verb, "room/r")
            equal(answer["presence"], [{"channel": "room/r", "count": 2}])
            equal(sorted((n["name"], n["connections"]) for n in answer["names"]),
                  [("ana", 1), ("anon", 1)])
        rows = as_json(w, "channels")[0]["channels"]
        equal([(r["channel"], r["connections"], r["offset"]) for r in rows],
              [("a", 0, 1), ("b", 1, 0), ("room/r", 2, 0)])
        equal([r["channel"] for r in as_json(w, "channels", "room/*")[0]["channels"]],
              ["room/r"])
        everybody = as_json(w, "conns")[0]["connections"]
        equal(sorted((r["connection"].split("/")[0].rstrip("0123456789"),
                      r["channels"], r["name"]) for r in everybody),
              [("http", 2, ""), ("ws", 1, "ana")])
        equal(len(as_json(w, "conns", "b")[0]["connections"]), 1)
        check("ana" in w.ctl("conns"), "for a person")


def test_a_list_of_very_many_channels_is_complete_page_by_page():
    """A page looks at 16,384 names, and says after which one to go on."""
    wanted = [f"{n:05}/{'yes' if n % 5000 == 0 else 'no'}" for n in range(17_000)]
    with World() as w, w.stream("/v1/stream?channel=04000/yes&channel=16999/no/yes"
                                "&channel=x/yes") as s:
        s.item()
        for i in range(0, len(wanted), 250):
            equal(w.http("POST", "/v1/publish", json.dumps(
                [{"channel": c, "data": ""} for c in wanted[i:i + 250]])).status, 201)
        found, pages, page = [], 0, {"more": True, "after": "0"}
        while page["more"]:
            page = w.json(f"/v1/channels?match=*/yes&after={page['after']}")
            found += [c["channel"] for c in page["channels"]]
            pages += 1
        equal(found, ["00000/yes", "04000/yes", "05000/yes", "10000/yes", "15000/yes", "x/yes"])
        equal(pages, 2)
        for pattern, count in (("*/yes", 6), ("*/no", 16_996), ("*/*/yes", 1)):
            rows = [r["channel"] for page in as_json(w, "channels", pattern)
                    for r in page["channels"]]
            equal((len(rows), rows), (count, sorted(set(rows))))
        equal(len(as_json(w, "channels", "*/yes")), 2)
        equal(len(as_json(w, "channels", "*/never")), 1)


def test_kick_closes_a_connection_or_all_of_a_channel():
    with World() as w, w.ws("/v1/ws?channel=a&name=ana") as c, \
            w.stream("/v1/stream?channel=b") as s, w.telnet() as t:
        c.item()
        s.item()
        t.send(b"SUB b\r\n")
        t.until(b"OK SUB")
        name = next(r["connection"] for r in as_json(w, "conns", "a")[0]["connections"])
        w.ctl("kick", name)
        while (frame := c.read())[0] != "close":
            pass
        equal(frame[1], 1008)
        equal(c.all(), b"")
        eventually(lambda: not as_json(w, "conns", "a")[0]["connections"], "it is gone")
        check(f"conn.kicked conn={name} peer=127.0.0.1\n" in w.log_tail(20000), "who it was")
        refuses(w, NOT_FOUND, "connection.none", "kick", name)
        check("2" in w.ctl("kick", "b"), "both")
        check(b"why=an operator closed this connection\r\n" in t.all(), "in words")
        heard = s.chunk()
        while not s.over:
            heard += s.chunk()
        check(b'"why":"An operator closed this connection."' in heard, heard)
        eventually(lambda: not as_json(w, "conns")[0]["connections"], "nobody is left")
        refuses(w, NOT_FOUND, "connection.none", "kick", "b")


# ---- how it is -------------------------------------------------------------

def test_status_says_in_its_first_line_whether_all_is_well():
    with World() as w:
        first = w.ctl("status").splitlines()[0]
        check(first.startswith("OK"), first)
        status = as_json(w, "status")[0]["status"][0]
        equal((status["state"], status["why"], status["store"]), ("OK", "", "ok"))
        w.kill("router", signal.SIGSTOP)
        code, out, _ = at(w, "status")
        w.kill("router", signal.SIGCONT)
        equal((code, out.split(":")[0]), (NO_ROUTER, "DOWN"))
        eventually(lambda: at(w, "status")[0] == DONE, "again")


def test_status_misses_a_gateway_that_died():
    with World() as w:
        pid = w.pids("tcp")[0]
        os.kill(pid, signal.SIGSTOP)  # silent: for the router it has died
        try:
            eventually(lambda: at(w, "status")[0] == FAILED, "missed")
            first = at(w, "status")[1].splitlines()[0]
            check(first.startswith("DEGRADED: gateway tcp"), first)
            check(f"(pid {pid})" in first, first)
            check("missing" in w.ctl("gateways"), "listed")
        finally:
            os.kill(pid, signal.SIGCONT)
        eventually(lambda: at(w, "status")[0] == DONE, "it is back")


def test_gateways_and_stats_tell_all_processes():
    with World() as w:
        rows = as_json(w, "gateways")[0]["gateways"]
        equal({r["edge"] for r in rows}, {"http", "tcp", "ws"})
        equal({r["pid"] for r in rows},
              {p for kind in ("http", "tcp", "ws") for p in w.pids(kind)})
        equal({r["state"] for r in rows}, {"live"})
        for row in rows:
            check(row["gateway"] in w.ctl("gateways"), "for a person")
        w.publish("a", "x")
        figures = as_json(w, "stats")[0]
        check(figures, "some")
        text = w.ctl("stats")
        check(any(line.split() == ["router", "1", "published_total"]
                  for line in text.splitlines()), text)


# ---- matches ---------------------------------------------------------------

def test_a_match_from_its_teams_to_its_end():
    with World() as w:
        refuses(w, NOT_FOUND, "team.unknown", "match", "new", "elp", "tig", "2011-09-13")
        w.ctl("match", "teams", "elp", "Estudiantes de La Plata")
        w.ctl("match", "teams", "tig", "Tigre", "Primera")
        teams = w.ctl("match", "teams")
        check("Estudiantes de La Plata" in teams and "tig" in teams, teams)
        check(MATCH in w.ctl("match", "new", "elp", "tig", "2011-09-13", "La Plata"), "id")
        refuses(w, REFUSED, "match.exists", "match", "new", "elp", "tig", "2011-09-13")
        refuses(w, REFUSED, "match.rule", "match", "event", MATCH, "goal", "team=tig")
        w.ctl("match", "event", MATCH, "start")
        goal, = as_json(w, "match", "event", MATCH, "goal", "team=tig", "player=7", "minute=23")
        equal((goal["channel"], goal["offset"], goal["reached"]), ("match/" + MATCH, 3, 0))
        w.ctl("match", "event", MATCH, "card", '{"team":"elp","player":[5,"Desabato"],'
                                               '"card":"red"}')
        refuses(w, REFUSED, "match.rule", "match", "event", MATCH, "shot", "team=xyz")
        refuses(w, NOT_FOUND, "match.unknown", "match", "event", "no-one-2011-01-01",
                "goal", "team=tig")
        refuses(w, NOT_FOUND, "match.unknown", "match", "show", "no-one-2011-01-01")
        refuses(w, REFUSED, "match.begun", "match", "cancel", MATCH)
        w.ctl("match", "event", MATCH, "retract", "offset=3")
        show = w.ctl("match", "show", MATCH)
        check("Desabato" in show and "La Plata" in show, show)
        w.ctl("match", "event", MATCH, "stop")
        w.ctl("match", "new", "tig", "elp", "2011-10-01")
        listed = as_json(w, "match", "list", "--period", "ended")[0]["matches"]
        equal([(m["id"], m["home_score"], m["visit_score"]) for m in listed],
              [(MATCH, 0, 0)])
        w.ctl("match", "cancel", "tig-elp-2011-10-01")
        equal([m["id"] for m in as_json(w, "match")[0]["matches"]], [MATCH])
        equal(w.json(f"/v1/matches/{MATCH}")["period"], "ended")


def test_what_has_been_played_is_not_played_again():
    with World() as w:
        w.ctl("replay", SAMPLE, "--speed", "max")
        history = w.json("/v1/history/match/arg-fra-2022-12-18")["messages"]
        code, _, err = at(w, "replay", SAMPLE, "--speed", "max")
        equal(code, REFUSED, err)
        check("arg-fra-2022-12-18" in err, err)
        equal(w.json("/v1/history/match/arg-fra-2022-12-18")["messages"], history)
        w.ctl("replay", SAMPLE, "--speed", "max", "--date", "2031-01-01")
        code, _, err = at(w, "replay", w.base + "/none.json")
        check(code in (FAILED, NOT_FOUND) and "none.json" in err, f"{code} {err}")
        bad = os.path.join(w.base, "bad.json")
        with open(bad, "w") as f:
            f.write("{")
        code, _, err = at(w, "replay", bad)
        check(code == FAILED and "bad.json" in err, f"{code} {err}")


OLD_CUP = {"name": "World Cup 1930", "rounds": [
    {"name": "Group 1", "matches": [
        # Neither half time nor goals; a name that is no id.
        {"date": "1930-07-13", "team1": {"name": "M\u00e9xico (MX)"}, "team2": "Brazil",
         "score1": 3, "score2": 1},
        # Goals whose minutes are text, or missing; more than the score has.
        {"date": "1930-07-14", "time": "15:00 UTC-3", "team1": {"name": "Chile", "code": "CHI"},
         "team2": "Brazil", "score1i": 1, "score2i": 0, "score1": 2, "score2": 2,
         "goals1": [{"name": "A", "minute": "45+2"}, {"name": "B", "minute": 80}, {"name": "C"}],
         "goals2": [{"name": "D", "minute": "60'", "penalty": True},
                    {"name": "E", "minute": 90, "offset": 4, "owngoal": True}]},
        # Not played, as far as the file knows.
        {"date": "1930-07-15", "team1": "Brazil", "team2": "Per\u00fa"}]},
    {"name": "Final", "matches": [
        # The longest way there is.
        {"date": "1930-07-30", "team1": "Brazil", "team2": {"title": "Per\u00fa"},
         "score": {"ht": [0, 1], "ft": [1, 1], "et": [2, 2], "p": [5, 4]},
         "goals1": None, "goals2": [{"name": "F", "minute": "118"}]}]}]}


def test_old_files_end_with_their_scores():
    with World() as w:
        path = os.path.join(w.base, "1930.json")
        with open(path, "w") as f:
            json.dump(OLD_CUP, f)
        w.ctl("replay", path, "--speed", "max")
        got = {m["id"]: [m["period"], m["home_score"], m["visit_score"],
                         m.get("home_shootout"), m.get("visit_shootout")]
               for m in w.json("/v1/matches")["matches"]}
        equal(got, {"mexicomx-brazil-1930-07-13": ["ended", 3, 1, None, None],
                    "chi-brazil-1930-07-14": ["ended", 2, 2, None, None],
                    "brazil-peru-1930-07-15": ["not_started", 0, 0, None, None],
                    "brazil-peru-1930-07-30": ["ended", 2, 2, 5, 4]})
        goals = [(m["data"]["team"], m["data"].get("minute"), m["data"].get("player_team"))
                 for m in w.json("/v1/history/match/chi-brazil-1930-07-14")["messages"]
                 if m["kind"] == "goal"]
        equal(goals, [("chi", "45+2", None), ("brazil", 60, None), ("chi", 80, None),
                      ("brazil", "90+4", "chi")])
        w.ctl("replay", path, "--match", "4", "--speed", "max", "--date", "1950-01-01")
        equal(w.json("/v1/matches/brazil-peru-1950-01-01")["home_shootout"], 5)


def test_backup_copies_a_store_that_can_be_restored():
    with World() as w:
        for i in range(3):
            w.publish("a", str(i))
        copy = os.path.join(w.base, "copy.db")
        check(copy in w.ctl("backup", copy), "it says where")
        w.publish("a", "later")
        db = sqlite3.connect(f"file:{copy}?mode=ro", uri=True)
        equal(db.execute("pragma integrity_check").fetchall(), [("ok",)])
        db.close()
        code, _, err = at(w, "backup", copy)
        equal(code, REFUSED, err)
        check(copy in err, err)
        code, _, err = at(w, "backup", os.path.join(w.base, "none/copy.db"))
        equal(code, FAILED, err)
        epoch = w.json("/v1/poll?channel=a")["cursor"].split("-")[0]
        equal(w.stop(), 0)
        p = subprocess.run(w.args("touchline-router", "--restore", copy),
                           capture_output=True, timeout=DEADLINE)
        equal(p.returncode, 0, p.stderr)
        w.start()
        equal([m["data"] for m in w.json("/v1/history/a")["messages"]], ["0", "1", "2"])
        check(w.json("/v1/poll?channel=a")["cursor"].split("-")[0] != epoch, "a new epoch")


# ---- finding the router ----------------------------------------------------

def test_no_router_names_the_places_looked_at():
    with tempfile.TemporaryDirectory(prefix="tl-") as place:
        for args, env, names in (
                ((), {}, ("$TOUCHLINE_ROUTER", "./var", "/run/touchline")),
                (("--dir", place), {}, ("--dir", place)),
                (("--router", f"ipc://{place}/none"), {}, ("--router", place)),
                ((), {"TOUCHLINE_ROUTER": place}, ("$TOUCHLINE_ROUTER", place))):
            env.setdefault("TOUCHLINE_ROUTER", None)
            code, out, err = ctl(*args, "gateways", cwd=place, env=env)
            equal((code, out), (NO_ROUTER, ""), err)
            for name in names:
                check(name in err, f"{name} is not named: {err}")
            code, out, _ = ctl(*args, "status", cwd=place, env=env)
            equal((code, out[:4]), (NO_ROUTER, "DOWN"))


def test_the_router_is_found_in_each_of_its_places():
    with World() as w:
        none = {"TOUCHLINE_ROUTER": None}
        url = w.urls["router"]
        for args, cwd, env in ((("--dir", w.dir), "/", none),
                               (("--router", url), "/", none),
                               ((), w.base, none),  # ./var
                               ((), "/", {"TOUCHLINE_ROUTER": w.dir}),
                               ((), "/", {"TOUCHLINE_ROUTER": url})):
            code, out, err = ctl("status", *args, cwd=cwd, env=env)
            check(code == DONE and out.startswith("OK"), f"{args} {cwd} {env}: {out}{err}")


def test_the_router_of_the_machine_is_found_in_run_touchline():
    alone = unshare("--mount")
    if not alone:
        print("     skipped: this machine lets nobody have a /run of his own")
        return
    with World() as w:
        p = subprocess.run(
            [*alone, "sh", "-ec",
             "mount -t tmpfs none /run; mkdir /run/touchline; "
             'mount --bind "$1" /run/touchline; cd /; exec "$2" status',
             "sh", w.dir, os.path.join(BIN, "router-ctl")],
            capture_output=True, timeout=DEADLINE,
            env={k: v for k, v in os.environ.items() if k != "TOUCHLINE_ROUTER"})
        check(p.returncode == DONE and p.stdout.startswith(b"OK"), f"{p.stdout} {p.stderr}")


def test_wrong_usage_is_exit_2_and_says_how():
    with World() as w:
        for args in ((), ("nope",), ("publish",), ("publish", "a"), ("subscribe",),
                     ("history",), ("kick",), ("gateways", "x"), ("backup",),
                     ("history", "a", "--last", "many"), ("history", "a", "--nope"),
                     ("tail", "a", "--since", "soon"), ("match", "nope"),
                     ("replay", SAMPLE, "--speed", "fast"), ("who", "a b")):
            code, out, err = at(w, *args)
            equal((code, out), (USAGE, ""), f"{args}: {err}")
            check("router-ctl" in err, err)


def test_help_has_an_example_of_every_verb():
    code, out, _ = ctl("help")
    equal(code, DONE)
    for verb in ("publish", "subscribe", "history", "presence", "channels", "conns",
                 "kick", "gateways", "status", "stats", "match", "replay", "backup"):
        check(f"\n  {verb}" in out, f"{verb} is not listed")
        code, text, _ = ctl("help", verb)
        equal(code, DONE)
        check(f"for example:\n  router-ctl {verb}" in text
              or f"router-ctl {verb}" in text.split("for example:")[1], text)


def example_lines():
    for verb in ("publish", "subscribe", "history", "presence", "channels", "conns", "kick",
                 "gateways", "status", "stats", "match", "replay", "backup", "help"):
        text = ctl("help", verb)[1].partition("for example:\n")[2]
        yield from (line.strip() for line in text.splitlines())


def test_the_examples_of_help_work():
    """All but what they cannot find here, or is meant to be refused."""
    other = {"router-ctl kick http1/42.7": NOT_FOUND,
             "router-ctl match cancel elp-tig-2011-09-13": REFUSED}
    with World() as w:
        w.ctl("match", "teams", "tig", "Tigre")
        shutil.copy(os.path.join(DATA, "worldcup", "2022.json"), w.base + "/worldcup.json")
        env = {**os.environ, "TOUCHLINE_ROUTER": w.dir, "PATH": BIN + ":" + os.environ["PATH"]}
        for line in example_lines():
            here = line.replace("/backup/", w.base + "/").replace(" --speed 60", "")
            if " replay " in here and "--speed" not in here:
                here += " --speed max"
            p = subprocess.Popen(["bash", "-c", "exec " + here if "|" not in here else here],
                                 cwd=w.base, env=env, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
            out = Lines(p.stdout, lambda n: os.read(p.stdout.fileno(), n))
            if re.search(r"\b(tail|subscribe)\b", line):
                out.line()
                p.send_signal(signal.SIGINT)
            text = out.all().decode()
            equal(p.wait(DEADLINE), other.get(line, DONE), f"{line}\n{text}")
            p.stdout.close()
