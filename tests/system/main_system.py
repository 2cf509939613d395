"""The main job on real input: World Cups played into the router and watched on
every edge at once, while somebody chats; all of it still there afterwards."""
import glob
import json
import os
import re
import signal
import subprocess

from world import BIN, DATA, ROOT, World, check, eventually, equal

SLOW = True
SAMPLE = os.path.join(ROOT, "tools/samples/worldcup-2022-final.json")
FINAL = "match/arg-fra-2022-12-18"


def player(w, *args):
    """A replay under way."""
    return subprocess.Popen([os.path.join(BIN, "router-ctl"), "--dir", w.dir, "replay", *args],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def replay(w, *args):
    p = player(w, *args)
    text = p.communicate(timeout=100)[0].decode()
    return p.returncode, text


def whole_match(next_event):
    """Kinds and scores as one watcher sees them, from start to stop."""
    kinds = []
    while not kinds or kinds[-1] != "stop":
        kinds.append(next_event())
    return kinds


def telnet_kinds(t):
    def frame():
        text = t.until(b"\n\r\n").decode()
        return re.match(r"\S+ \S+: (\w+):", text).group(1)
    return frame


def test_the_final_is_seen_alike_on_every_edge_while_people_chat():
    with World() as w:
        code, text = replay(w, SAMPLE, "--speed", "max", "--match", "1", "--date", "2030-01-01")
        equal(code, 0, text)  # another day's match beside it, over already
        equal(w.http("PUT", "/v1/teams/arg", '{"name":"Argentina","division":"wc"}',
                     {"Content-Type": "application/json"}).status // 100, 2)
        ndjson = w.stream(f"/v1/stream?channel={FINAL}")
        ndjson.item()
        sse = w.stream("/v1/stream?channel=match/*", Accept="text/event-stream")
        sse.event()
        ws = w.ws("/v1/ws?channel=" + FINAL)
        ws.item()
        room = w.stream("/v1/stream?channel=room/lobby&name=ana")
        room.item()
        chat = w.telnet()
        chat.send(b"NICK bob\r\nJOIN lobby\r\n")
        chat.until(b"OK JOIN")
        play = player(w, SAMPLE, "--speed", "2000")
        first = ndjson.message()
        equal((first["kind"], first["offset"]), ("status", 1))
        equal(ndjson.message()["kind"], "start")
        play.send_signal(signal.SIGSTOP)  # telnet watches what is in play, only
        t = w.telnet()
        t.send(f"VERSION:1:CONNECT:joe:MATCH:{FINAL[6:]}\r\n".encode())
        kind_on_tcp = telnet_kinds(t)
        equal(kind_on_tcp(), "status")
        play.send_signal(signal.SIGCONT)
        chat.send(b"SAY lobby Vamos!\r\n")
        equal(room.message()["data"], "Vamos!")
        seen = ["status", "start"] + whole_match(lambda: ndjson.message()["kind"])
        on_sse = whole_match(lambda: next_kind(sse))
        on_ws = whole_match(lambda: ws.message()["kind"])
        on_tcp = whole_match(kind_on_tcp)
        text = play.communicate(timeout=100)[0].decode()
        equal(play.returncode, 0, text)
        equal(on_sse, seen, "server-sent events")
        equal(on_ws, seen, "WebSocket")
        # The telnet watcher came a little later: what followed its status.
        equal(on_tcp, seen[-len(on_tcp):], "telnet")
        equal(t.all(), b"", "telnet closes after stop")
        check(seen.count("goal") >= 6 and "penalties" in seen, f"{seen}")
        before = w.json("/v1/" + FINAL.replace("match/", "matches/"))
        equal((before["home_score"], before["visit_score"]), (3, 3))
        equal((before["home_shootout"], before["visit_shootout"]), (4, 2))
        equal(before["period"], "ended")
        history = w.json(f"/v1/history/{FINAL}?last=1000")["messages"]
        equal([m["kind"] for m in history], seen)
        equal(w.stop(), 0)
        w.start()
        equal(w.json("/v1/" + FINAL.replace("match/", "matches/"))["home_shootout"], 4)
        equal(w.json(f"/v1/history/{FINAL}?last=1000")["messages"], history)
        equal([m["data"] for m in w.json("/v1/history/room/lobby")["messages"]], ["Vamos!"])
        code, text = replay(w, SAMPLE, "--speed", "max")
        equal(code, 5, "a match already played is refused: " + text)


def next_kind(sse):
    while True:
        event = sse.event()
        data = json.loads(event["data"])
        if event.get("event") != "notice" and data["channel"] == FINAL:
            return data["kind"]


def test_every_world_cup_ends_with_the_files_scores():
    files = sorted(glob.glob(os.path.join(DATA, "worldcup", "*.json")))
    check(len(files) >= 3, f"no data in {DATA}/worldcup")
    with World() as w:
        for path in files:
            code, text = replay(w, path, "--match", "all", "--speed", "max")
            equal(code, 0, text)
        matches = {m["id"]: m for m in eventually(
            lambda: w.json("/v1/matches")["matches"], "matches")}
        wanted = sum(len(json.load(open(p))["matches"]) for p in files)
        equal(len(matches), wanted)
        equal({m["period"] for m in matches.values()}, {"ended"})
        for path in files:
            goals = sum(sum(m["score"].get("et", m["score"]["ft"]))
                        for m in json.load(open(path))["matches"])
            year = os.path.basename(path)[:4]
            got = sum(m["home_score"] + m["visit_score"] for m in matches.values()
                      if year in m["id"])
            equal(got, goals, f"goals of {year}")
        w.kill("router")
        eventually(lambda: w.http("GET", "/readyz").status == 200, "ready again")
        equal({m["id"]: m for m in w.json("/v1/matches")["matches"]}, matches,
              "after the router's death")
