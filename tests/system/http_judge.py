"""The judge of HTTP/1.1 servers: what the tables of the probe cases say of what
a live server does. P pass, W warning, F failure.

Whether a connection is open is no question of time: where the server has not
said that it closes, one more request is sent, with `Connection: close`, and all
is read until the end. One answer is that request's; none means it was closed;
more means that the server saw requests which nobody sent. A server that says
408 has waited as long as it wants to: that is the table's `timeout`."""
import contextlib
import json
import re
from concurrent.futures import ThreadPoolExecutor

import http_cases
from http_cases import Malformed, Talk
from world import equal

PARALLEL = 32
ALIVE = "COMP-BASELINE"
ALIVE_EVERY = 20 # cases
# Seen by all as two requests: one behind the other, both well-formed.
PIPELINES = {"SMUG-CLTE-PIPELINE", "SMUG-TECL-PIPELINE"}
BODY = {"COMP-POST-CL-BODY": b"hello", "COMP-CHUNKED-BODY": b"hello",
        "COMP-CHUNKED-MULTI": b"hello world", "COMP-CHUNKED-EXTENSION": b"hello",
        "COMP-CHUNKED-TRAILER-VALID": b"hello",
        "COMP-CHUNKED-HEX-UPPERCASE": b"helloworld"}


class Step:
    def __init__(self, answer, state):
        self.answer = answer
        self.status = answer.status if answer else 0
        if self.status == 408:
            self.status, state = 0, "timeout"
        self.state = state # open, closed, timeout

    def __str__(self):
        return f"{self.status or 'none'}+{self.state}"


class Outcome:
    """steps: what each request met; extra: answers to nothing; fault: why
    there was no talk."""

    def __init__(self, steps, extra=0, interim=0, fault=""):
        self.steps, self.extra, self.interim, self.fault = steps, extra, interim, fault

    def __str__(self):
        return self.fault or " > ".join(map(str, self.steps)) + \
            f" and {self.extra} more" * bool(self.extra)


# ---- the talk

def conditional(case, answer):
    """The second request of those whose text depends on the first answer."""
    tag, when = answer.get("etag"), answer.get("last-modified")
    fields = {"CAP-LAST-MODIFIED-304": f"If-Modified-Since: {when}",
              "CAP-INM-UNQUOTED": "If-None-Match: " + tag.strip('"'),
              "CAP-ETAG-WEAK": f"If-None-Match: W/{tag}",
              "CAP-INM-PRECEDENCE": f"If-None-Match: {tag}\r\nIf-Modified-Since: "
                                    "Thu, 01 Jan 1970 00:00:00 GMT"}
    field = fields.get(case["id"], f"If-None-Match: {tag}")
    return f"GET / HTTP/1.1\r\nHost: @@HOST@@\r\n{field}\r\n\r\n"


def requests_of(case, host):
    """The bytes of each step; a function of the first answer where need be."""
    if "send" in case:
        return [http_cases.text_of(case["send"], host)]
    return [(lambda a: http_cases.text_of(conditional(case, a), host))
            if step == "dynamic" else http_cases.step_bytes(step, host)
            for step in case["steps"]]


def last_state(talk, answer, host):
    """Closed, or open; and how many answers came that nobody is waiting for."""
    if not answer.said_close:
        talk.send(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    rest = talk.rest()
    if answer.said_close:
        return "closed" if talk.ended else "open", len(rest)
    return ("open", len(rest) - 1) if rest else ("closed", 0)


def host_of(address):
    return f"{address[0]}:{address[1]}"


def play(case, address, deadline=None):
    host = host_of(address)
    steps, extra = [], 0
    with Talk(address, deadline) as talk:
        requests = requests_of(case, host)
        for request in requests:
            if callable(request):
                request = request(steps[0].answer)
            talk.send(request)
            answer = talk.answer(head=request.startswith(b"HEAD "))
            if not answer:
                steps.append(Step(None, "closed" if talk.ended else "timeout"))
                break
            if answer.said_close or request is requests[-1]:
                state, extra = last_state(talk, answer, host)
                steps.append(Step(answer, state))
                break
            steps.append(Step(answer, "open"))
        return Outcome(steps, extra, talk.interim)


# ---- the tables

def by_status(table, step):
    if "open" in table or "closed" in table:
        return by_status(table["closed" if step.state == "closed" else "open"], step)
    return next((letter for letter, statuses in table.items()
                 if letter != "else" and step.status in statuses), table["else"])


def is_date(text):
    return re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d (Jan|Feb|Mar|Apr|May|Jun|Jul|"
                        r"Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d GMT", text)


def by_reading(case, outcome):
    """Where the rule looks at fields and body; None: the table decides."""
    name, first = case["id"], outcome.steps[0]
    a = first.answer
    if not a or ("also_reads" not in case and name != "CAP-INM-WILDCARD"):
        return None
    if name in BODY:
        return "P" if a.status == 200 and a.body == BODY[name] else "F"
    if name == "COMP-HEAD-NO-BODY": # a body would have been an extra answer
        return "P" if a.status == 200 and a.get("content-length") else "F"
    if name in ("COMP-405-ALLOW", "COMP-OPTIONS-ALLOW"):
        wanted = (405,) if name == "COMP-405-ALLOW" else (200, 204)
        return "P" if a.status in wanted and "GET" in a.get("allow") else "F"
    if name in ("COMP-DATE-HEADER", "COMP-DATE-FORMAT"):
        return "P" if is_date(a.get("date")) else "F"
    if name == "COMP-NO-CL-IN-204":
        return "P" if a.status == 204 and not a.get("content-length") else "F"
    if name == "COMP-CONTENT-TYPE":
        return "P" if a.status == 200 and "/" in a.get("content-type") else "F"
    if name == "COMP-TRACE-SENSITIVE" and b"secret-token-123" in a.body:
        return "F"
    if name.startswith("CAP-"):
        return by_condition(case, outcome)
    return None


def by_condition(case, outcome):
    """304 to what still has the same tag; 200 to what has no tag of ours."""
    if len(outcome.steps) < 2 or not outcome.steps[1].answer:
        return "F"
    first, second = (s.answer for s in outcome.steps)
    if case["id"] == "CAP-INM-UNQUOTED":
        return "P" if second.status == 200 else "W"
    if case["id"] == "CAP-LAST-MODIFIED-304" and not first.get("last-modified"):
        return "W"
    if not first.get("etag"):
        return "W"
    return "P" if second.status == 304 and not second.body and \
        second.get("etag") == first.get("etag") else "F"


def by_sequence(table, outcome):
    """The table knows one status of each kind: the others are of that kind."""
    def kind(match):
        status = match.group()
        return status if status == "400" else {"2": "200", "4": "404", "5": "501"}.get(
            status[0], status)

    text = re.sub(r"\d\d\d", kind, str(outcome))
    return next((letter for letter, rows in table.items()
                 if letter != "else" and text in rows), table["else"])


def judge(case, outcome):
    """P, W or F; "-": the rule is about something that is not offered."""
    first = outcome.steps[0]
    if outcome.extra and (case["cat"] == "Smuggling" or "steps" in case) and \
            case["id"] not in PIPELINES:
        return "F"
    if case["cat"] == "Cookies" and first.status == 404:
        return "-" # an application that echoes them
    read = by_reading(case, outcome)
    if read:
        return read
    if case["id"] == "COMP-NO-1XX-HTTP10" and outcome.interim:
        return "F"
    if "verdict" in case:
        return by_sequence(case["verdict"], outcome)
    if first.status:
        return by_status(case["status"], first)
    return case["no_reply"][first.state]


# ---- the run

class Verdict:
    def __init__(self, case, letter, outcome):
        self.case, self.letter, self.outcome = case, letter, outcome
        self.name, self.scored = case["id"], case["scored"]


def verdict(case, address, deadline=None):
    try:
        outcome = play(case, address, deadline)
        return Verdict(case, judge(case, outcome), outcome)
    except (OSError, Malformed) as e:
        return Verdict(case, "F", Outcome([], fault=repr(e)))


def run(address, deadline=None):
    """All verdicts, in the order of the cases; and how often the server was
    found alive, and dead, on the way."""
    cases = http_cases.probe_cases()
    baseline = next(c for c in cases if c["id"] == ALIVE)
    with ThreadPoolExecutor(PARALLEL) as pool:
        def ask(case):
            return pool.submit(verdict, case, address, deadline)
        alive, jobs = [ask(baseline)], []
        for i, case in enumerate(cases):
            jobs.append(ask(case))
            if i % ALIVE_EVERY == ALIVE_EVERY - 1:
                alive.append(ask(baseline))
        verdicts = [job.result() for job in jobs]
        alive.append(ask(baseline))
        good = [job.result().letter == "P" for job in alive]
    return verdicts, good.count(True), good.count(False)


def table(verdicts):
    """Lines: pass, warning, failure by category, of the scored cases."""
    out = [f"{'':16} pass warn fail"]
    groups = {v.case["cat"]: None for v in verdicts if v.scored}
    for group in [*groups, "all"]:
        of = [v.letter for v in verdicts if v.scored and group in (v.case["cat"], "all")]
        out.append(f"{group:16} {of.count('P'):4} {of.count('W'):4} "
                   f"{len(of) - of.count('P') - of.count('W'):4}")
    return out


# ---- who must not notice

@contextlib.contextmanager
def unaffected(w):
    """Around it a stream goes on and the gateway stays the process it was. Gives
    a function that publishes one more message to that stream, in the midst."""
    before, said = w.pids("http"), []

    def say(text="during"):
        equal(w.publish("canary", text).status, 201)
        said.append(text)

    with w.stream("/v1/stream?channel=canary", Accept="text/event-stream") as canary:
        canary.event()
        say("before")
        yield say
        say("after")
        heard = []
        while len(heard) < len(said):
            data = json.loads(canary.event()["data"])
            heard += [data["data"]] if "data" in data else []
        equal(heard, said, "what the stream has heard")
    equal(w.pids("http"), before, "the gateway's processes")
