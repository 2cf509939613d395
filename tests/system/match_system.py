"""Teams and matches over HTTP: their forms, and MatchStream's old ones."""
import json

from world import World, check, equal

JSON = {"Content-Type": "application/json"}
MATCH = "/v1/matches/elp-tig-2011-09-13"


def send(w, method, target, body=None, status=201, code=None, **headers):
    names = {k.replace("_", "-"): v for k, v in headers.items()}
    text = None if body is None else json.dumps(body)
    a = w.http(method, target, text, {**(JSON if text else {}), **names})
    equal(a.status, status, f"{method} {target} {body}: {a.body!r}")
    if code:
        equal(a.code(), code)
        check(a.json()["error"]["text"], "a reason")
    return a.json()


def make_teams(w):
    for team in ("elp", "tig"):
        send(w, "PUT", "/v1/teams/" + team, {"name": team.title(), "division": "A"})


def make_match(w, **more):
    make_teams(w)
    return send(w, "POST", "/v1/matches", {"home": "elp", "visit": "tig",
                                           "start_time": "2011-09-13", **more})


def event(w, kind, status=201, code=None, match=MATCH, **data):
    return send(w, "POST", match + "/events", {"kind": kind, "data": data}, status, code)


def test_teams_are_made_changed_and_read():
    with World() as w:
        first = send(w, "PUT", "/v1/teams/elp", {"name": "Estudiantes", "division": "A"})
        check(first["cursor"] and first["id"] == "elp", first)
        send(w, "PUT", "/v1/teams/elp", {"name": "El Palo", "division": "B"}, 200)
        team = {"id": "elp", "name": "El Palo", "division": "B"}
        listed = w.json("/v1/teams")
        equal((listed["teams"], bool(listed["cursor"])), ([team], True))
        one = w.json("/v1/teams/elp")
        equal({k: one[k] for k in team}, team)
        send(w, "GET", "/v1/teams/none", None, 404, "team.unknown")
        send(w, "PUT", "/v1/teams/" + "a" * 24, {"name": "x", "division": "y"})
        for bad in ("a" * 25, "A", "a-b", "%C3%A9"):
            send(w, "PUT", "/v1/teams/" + bad, {"name": "x", "division": "y"}, 400, "team.id")
        newest = w.json("/v1/history/team/elp?last=1")["messages"][0]["data"]
        equal((newest["name"], newest["division"]), ("El Palo", "B"))


def test_a_match_is_made_once_and_named_by_the_date_as_written():
    with World() as w:
        made = make_match(w, stadium="Ciudad")
        equal((made["id"], bool(made["cursor"])), ("elp-tig-2011-09-13", True))
        again = {"home": "elp", "visit": "tig", "start_time": "2011-09-13T20:00:00Z"}
        send(w, "POST", "/v1/matches", again, 409, "match.exists")
        send(w, "POST", "/v1/matches", {**again, "visit": "none"}, 404, "team.unknown")
        for wrong in ({"home": "elp"}, {**again, "visit": "elp"},
                      {**again, "start_time": "2011-02-30"}, {**again, "more": 1}):
            send(w, "POST", "/v1/matches", wrong, 400)
        for time, name, utc in (
                ("2011-09-14T23:59:00-03:00", "elp-tig-2011-09-14", "2011-09-15T02:59:00Z"),
                (1317000000000, "elp-tig-2011-09-26", "2011-09-26T01:20:00Z")):
            equal(send(w, "POST", "/v1/matches", {**again, "start_time": time})["id"], name)
            equal(w.json("/v1/matches/" + name)["start_time"], utc)
        event(w, "start")
        for query, count in (("", 3), ("?date=2011-09-13", 1), ("?team=tig", 3), ("?team=x", 0),
                             ("?period=first", 1), ("?period=not_started&date=2011-09-13", 0)):
            equal(len(w.json("/v1/matches" + query)["matches"]), count, query)
        for query in ("date=x", "period=x"):
            send(w, "GET", "/v1/matches?" + query, None, 400, "match.filter")


def test_events_are_taken_refused_and_undone():
    with World() as w:
        make_match(w)
        send(w, "POST", "/v1/matches/none/events", {"kind": "start"}, 404)
        event(w, "goal", 409, "match.rule", team="elp")
        answer = event(w, "start", home_players=[[7, "Luna"], {"9": "Paz"}])
        equal(list(answer), ["channel", "epoch", "seq", "offset", "reached"])
        with w.stream("/v1/stream?channel=match/elp-tig-2011-09-13") as s:
            equal(s.item()["state"]["home_players"], {"7": "Luna", "9": "Paz"})
            key = {"Idempotency_Key": "g1"}
            body = {"kind": "goal", "data": {"team": "elp", "player": [7, "Luna"]}}
            goal = send(w, "POST", MATCH + "/events", body, 201, **key)
            equal(send(w, "POST", MATCH + "/events", body, 200, **key)["duplicate"], True)
            equal(s.item()["data"]["player"], {"7": "Luna"})
            event(w, "goal", 409, "match.rule", team="elp", player=8)
            event(w, "retract", offset=goal["offset"], comment="offside")
            equal(s.item()["kind"], "retract")
            snapshot = s.item()
            equal((snapshot["notice"], snapshot["state"]["home_score"]), ("snapshot", 0))
        for offset in (goal["offset"], 1, 99):
            event(w, "retract", 409, "match.retract", offset=offset)
        # Any edge may say the same as JSON on the channel.
        equal(send(w, "POST", "/v1/publish/match/elp-tig-2011-09-13",
                   {"kind": "goal", "data": {"team": "tig"}})["offset"], 5)
        page = w.json(MATCH + "/events?last=1")
        equal((page["messages"][0]["kind"], page["more"]), ("goal", True))
        state = w.json(MATCH)
        equal((state["home_score"], state["visit_score"], state["retracted"]), (0, 1, [3]))
        send(w, "DELETE", MATCH, None, 409, "match.begun")
        equal(w.json(MATCH)["period"], "first")


def test_a_match_is_moved_postponed_and_cancelled():
    with World() as w:
        make_match(w)
        event(w, "status", start_time="2011-09-20T19:00:00Z", stadium="New", comment="rain")
        event(w, "status", period="postponed")
        state = w.json(MATCH)
        equal((state["start_time"], state["stadium"], state["period"]),
              ("2011-09-20T19:00:00Z", "New", "postponed"))
        send(w, "DELETE", MATCH, None, 200)
        last = w.json(MATCH + "/events?last=1")["messages"][0]
        equal((last["kind"], last["data"]["comment"]), ("status", "cancelled"))
        equal((w.json("/v1/matches")["matches"], w.json("/1/matches")), ([], []))
        state = w.json(MATCH)  # who has the link still learns what became of it
        equal((state["comment"], state["period"]), ("cancelled", "postponed"))
        send(w, "POST", MATCH + "/events", {"kind": "start"}, 409, "match.rule")
        send(w, "DELETE", MATCH, None, 409, "match.cancelled")
        send(w, "POST", "/v1/matches", {"home": "elp", "visit": "tig",
                                        "start_time": "2011-09-13"})
        state = w.json(MATCH)
        check("comment" not in state, "begun anew")
        equal((state["period"], len(w.json("/v1/matches")["matches"])), ("not_started", 1))
        send(w, "DELETE", "/v1/matches/none", None, 404)


def test_who_is_not_on_loopback_writes_no_match():
    with World() as w:
        make_match(w)
        away = {"X_Forwarded_For": "192.0.2.1"}
        denied = dict(status=403, code="publish.denied", **away)
        send(w, "PUT", "/v1/teams/x", {"name": "x", "division": "y"}, **denied)
        send(w, "POST", "/v1/matches", {"home": "elp", "visit": "tig",
                                        "start_time": "2012-01-01"}, **denied)
        send(w, "DELETE", MATCH, None, **denied)
        send(w, "POST", MATCH + "/events", {"kind": "start"}, **denied)
        send(w, "POST", MATCH + "/events", {"kind": "start"}, 403, "origin.denied",
             Origin="http://evil.example")
        equal(w.json(MATCH)["period"], "not_started")


def test_the_old_forms_are_as_they_were():
    with World() as w:
        make_match(w)
        event(w, "start", home_players={"7": "Luna"})
        goal = event(w, "goal", team="elp", player=7, minute=12)
        event(w, "goal", team="elp", player=7)
        event(w, "retract", offset=goal["offset"])

        def old(path, status=200):
            a = w.http("GET", path)
            equal((a.status, a.headers["Match-Stream-API-Version"]), (status, "2"), path)
            return a.body if status == 404 else a.json()

        equal(old("/1/matches"), ["elp-tig-2011-09-13"])
        equal(old("/1/match/elp-tig-2011-09-13"),
              {"home": "elp", "home-players": {"7": "Luna"}, "home-score": 1, "visit": "tig",
               "visit-score": 0, "period": "first", "start_time": "2011-09-13"})
        past = old("/1/match/elp-tig-2011-09-13/history")
        equal([list(e) for e in past], [["timestamp", "kind", "data"]] * 3)
        equal([e["kind"] for e in past], ["status", "start", "goal"])
        equal(past[2]["data"], {"player": {"7": "Luna"}, "team": "elp"})
        for path in ("/1/match/a-b-2011-09-10", "/1/match/a-b-2011-09-10/history"):
            equal(old(path, 404), b"404 Not found: a-b-2011-09-10\n")
        equal(old("/1/checkin"), {"port": w.address("tcp")[1]})
