"""The HTTP edge before a judge that nobody here wrote, as a live process."""
import socket
from concurrent.futures import ThreadPoolExecutor

import http_judge
from http_judge import unaffected
from http_lax import obliging, server
from world import Failed, World, check, equal

WARNINGS = 8
SCORED = 161
WHITESPACE = "white space around a value is no part of it (RFC 9110 5.5)"
# What the judge only warns of among the scored cases, and why it is so here.
REASONS = {
    "MAL-CL-TAB-BEFORE-VALUE": WHITESPACE,
    "SMUG-CL-TRAILING-SPACE": WHITESPACE,
    "SMUG-CL-EXTRA-LEADING-SP": WHITESPACE,
}


def show(verdicts):
    print(*http_judge.table(verdicts), sep="\n")
    for v in verdicts:
        if v.scored and v.letter != "P":
            print(v.letter, v.name, v.outcome, "-", REASONS.get(v.name, "no reason given"))


def accept(verdicts, alive, dead):
    """Fails unless the run shows a server without fault."""
    scored = [v for v in verdicts if v.scored]
    check(dead == 0 and alive > 2, f"{http_judge.ALIVE}: {alive} times, not {dead} times")
    equal(len(scored), SCORED, "scored cases")
    equal([v.name for v in scored if v.letter not in "PW"], [], "failures")
    warned = {v.name for v in scored if v.letter == "W"}
    equal(warned - set(REASONS), set(), "warnings without a reason")
    check(len(warned) <= WARNINGS, f"{len(warned)} warnings")


def test_the_judge_of_http_1_1_finds_no_fault_in_a_live_gateway():
    with World() as w, unaffected(w) as say_something:
        with ThreadPoolExecutor(1) as pool:
            run = pool.submit(http_judge.run, w.address("http"))
            say_something()
            verdicts, alive, dead = run.result()
        show(verdicts)
        accept(verdicts, alive, dead)


# ---- the judge itself

PATIENCE = 5 # seconds for these servers, of which none is slow to answer


def is_refused(address):
    verdicts, alive, dead = http_judge.run(address, PATIENCE)
    try:
        accept(verdicts, alive, dead)
    except Failed:
        return verdicts, alive
    raise Failed("the judge was content")


def test_the_judge_is_not_content_with_a_port_that_nobody_listens_at():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        verdicts, alive = is_refused(bound.getsockname())
    equal(alive, 0, "found alive")
    equal({v.letter for v in verdicts}, {"F"}, "verdicts")


def test_the_judge_is_not_content_with_a_server_that_hangs_up_at_once():
    with server(lambda sock: sock.recv(1)) as address:
        verdicts, alive = is_refused(address)
    equal(alive, 0, "found alive")
    check(sum(v.letter == "P" for v in verdicts) > 20, "hanging up is often right")


def test_the_judge_finds_the_faults_of_a_server_that_accepts_everything():
    with server(obliging) as address:
        verdicts, alive = is_refused(address)
    check(alive > 2, "it does answer")
    failed = [v for v in verdicts if v.scored and v.letter == "F"]
    check(len(failed) > 80, f"only {len(failed)} faults found")
    check(any(v.outcome.extra for v in failed), "no answer to a smuggled request seen")
