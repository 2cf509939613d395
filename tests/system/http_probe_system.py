"""The HTTP edge before a judge that nobody here wrote, as a live process."""
import collections
import contextlib
import re
import socket
from concurrent.futures import ThreadPoolExecutor

import http_cases
import http_judge
from http_cases import Talk
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


@contextlib.contextmanager
def unaffected(w):
    """Around it a stream goes on and the gateway stays the process it was."""
    before = w.pids("http")
    with w.stream("/v1/stream?channel=canary", Accept="text/event-stream") as canary:
        canary.event()
        w.publish("canary", "before")
        yield lambda: w.publish("canary", "during")
        w.publish("canary", "after")
        texts = []
        while '"after"' not in "".join(texts):
            texts.append(canary.event()["data"])
        equal([t for t in ("before", "during", "after") if f'"{t}"' not in "".join(texts)],
              [], "what the canary has not heard")
    equal(w.pids("http"), before, "the gateway's processes")


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


# ---- disguises of Transfer-Encoding

GADGETS = 1703, 6
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"


def by_length(line):
    """Who goes by the length sees one request, who by the coding two."""
    body = b"0\r\n\r\n" + HIDDEN
    return (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s\r\n\r\n%s"
            % (len(body), line, body))


def by_coding(line):
    """Who goes by the coding sees one request, who by the length two."""
    size = b"%x\r\n" % len(HIDDEN)
    return (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n%s\r\n\r\n"
            b"%s%s\r\n0\r\n\r\n" % (len(size), line, size, HIDDEN))


def is_ordinary(line):
    """By its grammar it is another field, whatever its value says."""
    name, colon, value = line.partition(b":")
    return (colon and name.lower() != b"transfer-encoding" and
            re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) and
            re.fullmatch(rb"[\t -~\x80-\xff]*", value))


def try_gadget(address, line, form):
    """(status, answers to nothing, open or closed); (0, 0, ...) without one."""
    with Talk(address) as talk:
        talk.send(form(line))
        answer = talk.answer()
        if not answer:
            return 0, 0, "closed" if talk.ended else "silent"
        state, extra = http_judge.last_state(talk, answer, http_judge.host_of(address))
        return answer.status, extra, state


def test_every_disguise_of_a_transfer_coding_is_refused_once_and_for_all():
    tries = [(name, line, form) for name, line in http_cases.gadgets()
             for form in (by_length, by_coding)]
    ordinary = {name for name, line, _ in tries if is_ordinary(line)}
    equal((len(tries) // 2, len(ordinary)), GADGETS, "disguises, and what is none")
    with World() as w, unaffected(w) as say_something:
        with ThreadPoolExecutor(http_judge.PARALLEL) as pool:
            met = pool.map(lambda t: try_gadget(w.address("http"), t[1], t[2]), tries)
            say_something()
            met = list(met)
    for (name, line, form), (status, extra, state) in zip(tries, met):
        what = f"{name} {form.__name__} {line!r}: {status}, {extra} more, {state}"
        check(status and not extra, what)
        check(name in ordinary or (status >= 400 and state == "closed"), what)
    print(collections.Counter(met))
