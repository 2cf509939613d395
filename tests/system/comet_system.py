"""Step by step through the comet edge: the page, the streams, the poll."""
import json
import signal

from world import World, check, equal, eventually


def test_a_message_from_the_shell_reaches_the_page():
    with World() as w, w.stream("/test/user/ana") as page:
        equal(page.status, 200, "status")
        equal(page.chunk(), b"Touchline welcomes you! Your Id: user/ana<br/>\n", "welcome")
        out = w.ctl("publish", "user/ana", "hello <b>")
        check("1" in out, out)
        equal(page.chunk(), b"Recvd msg #1: 'hello &lt;b&gt;'<br/>\n", "message")


def test_the_page_survives_the_death_of_the_router():
    with World() as w, w.stream("/test/user/ana") as page:
        page.chunk()
        for n in range(1, 4):
            equal(w.publish("user/ana", f"m{n}").status, 201)
            equal(page.chunk(), f"Recvd msg #{n}: 'm{n}'<br/>\n".encode())
            w.kill("router")
            eventually(lambda: w.http("GET", "/readyz").status == 200, "ready again")


def test_a_stream_begins_with_a_snapshot_and_gives_what_follows():
    with World() as w, w.stream("/v1/stream?channel=a&channel=b") as s:
        first = s.item()
        equal(first["notice"], "snapshot")
        equal(sorted(first["channels"]), ["a", "b"])
        equal(first["state"], None)
        sent = [w.publish("ab"[i % 2], f"{i}").json() for i in range(20)]
        for i, answer in enumerate(sent):
            m = s.item()
            equal((m["channel"], m["data"]), ("ab"[i % 2], str(i)))
            equal((m["seq"], m["offset"], m["epoch"]),
                  (answer["seq"], answer["offset"], answer["epoch"]))
            equal(answer["reached"], 1)


def test_a_stream_resumes_by_cursor_without_gap_or_duplicate():
    with World() as w:
        with w.stream("/v1/stream?channel=a&channel=b") as s:
            cursor = s.item()["cursor"]
        for i in range(50):
            w.publish("ab"[i % 2], str(i))
        with w.stream(f"/v1/stream?channel=a&channel=b&since={cursor}") as s:
            equal(s.item()["notice"], "resumed")
            got = [s.message() for _ in range(20)]
        last = got[-1]
        with w.stream("/v1/stream?channel=a&channel=b", Accept="text/event-stream",
                      Last_Event_ID=f"{last['epoch']}-{last['seq']}") as s:
            equal(json.loads(s.event()["data"])["notice"], "resumed")
            got += [json.loads(s.event()["data"]) for _ in range(30)]
        equal([m["data"] for m in got], [str(i) for i in range(50)])


def test_everything_is_there_after_a_restart():
    with World() as w:
        for i in range(10):
            equal(w.publish("room/x", f"line {i}").status, 201)
        before = w.json("/v1/history/room/x")
        equal(w.stop(), 0, "exit code")
        w.start()
        after = w.json("/v1/history/room/x")
        equal(after["messages"], before["messages"])
        equal(len(after["messages"]), 10)
        answer = w.publish("room/x", "again").json()
        equal(answer["epoch"], before["messages"][0]["epoch"], "epoch")
        equal(answer["offset"], 11)


def test_a_poll_answers_at_once_and_then_waits():
    with World() as w:
        first = w.json("/v1/poll?channel=p")
        equal([m["notice"] for m in first["messages"]], ["snapshot"])
        empty = w.json(f"/v1/poll?channel=p&since={first['cursor']}&wait=1")
        equal(empty["messages"], [])
        w.publish("p", "one")
        got = w.json(f"/v1/poll?channel=p&since={first['cursor']}")
        equal([m["data"] for m in got["messages"] if "data" in m], ["one"])
        equal(w.json(f"/v1/poll?channel=p&since={got['cursor']}&wait=0")["messages"], [])


def test_an_idempotent_publication_is_stored_once():
    with World() as w:
        one = w.publish("a", "x", Idempotency_Key="k1")
        equal(one.status, 201)
        two = w.publish("a", "x", Idempotency_Key="k1")
        equal(two.status, 200)
        equal(two.json()["duplicate"], True)
        equal(two.json()["seq"], one.json()["seq"])
        equal(w.publish("a", "y", Idempotency_Key="k1").status, 409)
        w.kill("router")
        eventually(lambda: w.http("GET", "/readyz").status == 200, "ready again")
        equal(w.publish("a", "x", Idempotency_Key="k1").json()["seq"], one.json()["seq"])
        equal(len(w.json("/v1/history/a")["messages"]), 1)


def test_it_ends_in_order_on_sigterm():
    with World() as w:
        s = w.stream("/v1/stream?channel=a")
        s.item()
        equal(w.stop(signal.SIGTERM), 0, "exit code")
        equal(s.item()["notice"], "closing")
        equal(s.chunk(), b"", "a proper end")
