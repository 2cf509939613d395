"""The threats to the HTTP edge, tried on live processes: floods, sizes that are
only declared, smuggling, pipelining. The names say which threat (T2, T3 ...)
of the model they prove."""
import collections
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

import http_cases
import http_judge
from http_cases import Talk
from http_judge import unaffected
from limits_system import only_worker, push, rss
from world import DEADLINE, Tcp, World, check, equal, eventually, figure, full_size

LINE = 8 << 10    # limits.request_line
BLOCK = 16 << 10  # limits.header_block
MESSAGE = 64 << 10
SLACK = 2 << 20   # of a process whose figures are taken; not of connections


# ---- T2: floods in front of a request

FLOODS = [ # how it begins, what comes again and again, the answer
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"x", 431, "request.fields_large"),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n", 431, "request.fields_many"),
    (b"GET /", b"x", 414, "request.target_long"),
    (b"GET ", b"x", 414, "request.target_long"),
    (b"", b"G", 400, "request.line"),
    (b"GET / HTTP/1.1\r\n", b"x", 431, "request.fields_large"),
]
FLOOD = 4 << 20


def flood(address, start, again, limit=FLOOD):
    """Sends so much, or until the server has had enough: its answer."""
    with Talk(address) as talk:
        talk.send(start + again * (limit // len(again)))
        return talk.answer(), talk.rest(), talk.ended


def test_t02_floods_are_refused_before_more_than_the_limit_is_kept():
    with only_worker() as w, unaffected(w):
        pid, = w.pids("http")
        before = rss(pid)
        tries = FLOODS * 10
        with ThreadPoolExecutor(30) as pool:
            met = list(pool.map(lambda f: flood(w.address("http"), *f[:2]), tries))
        grown = rss(pid) - before
        for (start, _, status, code), (answer, rest, ended) in zip(tries, met):
            equal((answer and answer.status, answer and answer.code(), rest, ended),
                  (status, code, [], True), repr(start))
        figure(f"{len(tries)} floods of {FLOOD >> 20} MB: {grown >> 10} KB more")
        check(grown <= len(tries) * 2 * BLOCK + SLACK, f"{grown} bytes more")
        for limit in ("request_line", "header_block", "headers"):
            w.limit_reached(limit)


def test_t02_heads_that_are_held_back_cost_their_limit_and_no_more():
    count = 400
    head = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: "
    with only_worker("limits.header_wait=120s") as w, contextlib.ExitStack() as stack:
        pid, = w.pids("http")
        warm = [stack.enter_context(Talk(w.address("http"))) for _ in range(count)]
        equal(w.http("GET", "/healthz").status, 200)
        before = rss(pid)
        for talk in warm:
            talk.send(head + b"x" * (BLOCK - len(head) - 1))
        read = count * (BLOCK - 1)
        eventually(lambda: stat(w, "client_bytes_total", 'way="in"') >= read, "all is read")
        grown = rss(pid) - before
        figure(f"{count} heads of {BLOCK - 1} bytes: {grown >> 10} KB more")
        check(grown <= count * BLOCK * 5 // 4 + SLACK, f"{grown} bytes more")
        for talk in warm:
            talk.send(b"xx")
            equal(talk.answer().code(), "request.fields_large")
            equal((talk.rest(), talk.ended), ([], True))


# ---- T3: sizes that are declared

def declared(size):
    return (b"POST /v1/publish/t3 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
            b"Content-Length: %d\r\n\r\n" % size)


def chunk_declared(size):
    return (b"POST /v1/publish/t3 HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % size)


TOO_BIG = {2**63 - 1: 413, 2**64 - 1: 413, 2**31: 413, MESSAGE + 1: 413, 2**64: 400, 10**30: 400}


def test_t03_a_body_is_refused_for_the_size_it_declares():
    with World() as w, unaffected(w):
        for size, status in TOO_BIG.items():
            for head in (declared(size), chunk_declared(size)):
                with Talk(w.address("http")) as talk:
                    talk.send(head) # and not one byte of the body
                    answer = talk.answer()
                    equal((answer and answer.status, talk.rest(), talk.ended),
                          (status, [], True), repr(head))
        w.limit_reached("message", 2 * list(TOO_BIG.values()).count(413))


def test_t03_a_body_as_big_as_it_may_be_passes():
    with World() as w:
        for size in (MESSAGE - 1, MESSAGE):
            for head, end in ((declared(size), b""), (chunk_declared(size), b"\r\n0\r\n\r\n")):
                with Talk(w.address("http")) as talk:
                    talk.send(head + b"x" * size + end)
                    equal(talk.answer().status, 201, repr(head))


def test_t03_chunks_that_are_too_big_together_are_refused_at_the_one_too_many():
    with World() as w, Talk(w.address("http")) as talk:
        half = b"x" * (MESSAGE // 2)
        talk.send(chunk_declared(len(half)) + half + b"\r\n%x\r\n" % (len(half) + 1))
        answer = talk.answer()
        equal((answer.status, answer.code()), (413, "body.too_big"))
        equal((talk.rest(), talk.ended), ([], True))


# ---- T4: smuggling

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


def test_t04_every_disguise_of_a_transfer_coding_is_refused_once_and_for_all():
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


# ---- T4 with a proxy in front

NGINX = """
daemon off; master_process off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 512; }}
http {{
    log_format requests '$upstream_addr';
    access_log {dir}/requests requests;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
    fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
    upstream touchline {{ server {host}; keepalive 4; }}
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_next_upstream off;
    proxy_ignore_client_abort on;
    ignore_invalid_headers off; underscores_in_headers on;
    server {{ listen unix:{dir}/gathers;
        location / {{ proxy_pass http://touchline; proxy_set_header Host {host}; }} }}
    server {{ listen unix:{dir}/passes; proxy_request_buffering off;
        location / {{ proxy_pass http://touchline; proxy_set_header Host {host}; }} }}
}}
"""
FRONTS = ("gathers", "passes") # it reads a body whole first, or hands it on


class Nginx:
    """In front of the gateway, as lenient with fields as it can be made, with
    connections to the gateway that it uses again."""

    def __init__(self, address):
        self.dir = tempfile.mkdtemp(prefix="tl-")
        config = os.path.join(self.dir, "nginx.conf")
        with open(config, "w") as f:
            f.write(NGINX.format(dir=self.dir, host=http_judge.host_of(address)))
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        self.proc = subprocess.Popen([program, "-p", self.dir, "-c", config],
                                     stderr=subprocess.DEVNULL)
        eventually(self.is_up, "nginx listens")

    def is_up(self):
        check(self.proc.poll() is None, "nginx did not start")
        with contextlib.suppress(OSError):
            self.connect(FRONTS[1]).close()
            return True

    def connect(self, front):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(DEADLINE)
        try:
            sock.connect(os.path.join(self.dir, front))
        except OSError:
            sock.close()
            raise
        return sock

    def passed_on(self):
        """How many requests it has passed on to the gateway so far."""
        with open(os.path.join(self.dir, "requests")) as f:
            return sum(line.strip() != "-" for line in f)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.terminate()
        self.proc.wait(DEADLINE)
        shutil.rmtree(self.dir, ignore_errors=True)


def stat(w, name, label="", edge="http"):
    """Said by the router, which costs no request."""
    return sum(s["value"] for s in json.loads(w.ctl("--json", "stats"))["stats"]
               if (s["edge"], s["name"], s["label"]) == (edge, name, label))


def requests_seen(w):
    """How many requests the only gateway has met, with one made here: it reports
    all its figures at once, and is waited for until it tells of that one."""
    equal(w.publish("fence", "x").status, 201)
    published = stat(w, "published_total", edge="router")
    eventually(lambda: stat(w, "publish_total", 'result="taken"') >= published, "a report")
    return stat(w, "requests_total")


def say(nginx, front, data):
    """Through nginx; all it has to say to that, until it closes."""
    with Talk(sock=nginx.connect(front)) as talk:
        talk.send(data)
        talk.end()
        while talk.more():
            pass
        check(talk.ended, f"nginx does not end: {data[:200]!r}")


GADGETS_EACH = 1 if full_size() else 12


def smuggled():
    """All that could look like two requests to somebody."""
    for case in http_cases.probe_cases():
        if case["cat"] in ("Smuggling", "Normalization"):
            yield http_cases.probe_bytes(case, "localhost")
    for _, line in http_cases.gadgets()[::GADGETS_EACH]:
        yield by_length(line)
        yield by_coding(line)


def test_t04_what_nginx_sees_as_one_request_is_one_here():
    with only_worker() as w, Nginx(w.address("http")) as nginx, unaffected(w):
        for front in FRONTS:
            tries = list(smuggled())
            before, passed_before = requests_seen(w), nginx.passed_on()
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda data: say(nginx, front, data), tries))
            passed = nginx.passed_on() - passed_before
            seen = requests_seen(w) - before - 1
            figure(f"{front}: {len(tries)} tries, {passed} passed on, {seen} seen here")
            equal(seen, passed, "requests met here, against those that nginx passed on")
            check(passed > 100, f"nginx passed on only {passed}")


# ---- T26: pipelining

PIPELINED = 10000


def numbered(n):
    """The page in text names the host it was asked at."""
    return b"GET / HTTP/1.1\r\nHost: localhost:%d\r\n\r\n" % n


def number_of(answer):
    return int(re.search(rb"http://localhost:(\d+)/v1/stream", answer.body).group(1))


QUEUE = 300 << 10 # what a connection may wait with: 64 KB in, 64 KB out, room


def peak(pid):
    """The most resident bytes that the process ever had."""
    with open(f"/proc/{pid}/status") as f:
        return 1024 * int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1))


def pipeline(talk, data):
    """First as much as the server takes while nobody reads, then all."""
    sent = push(talk, data)
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(talk.send, data[sent:])
        got = [number_of(talk.answer()) for _ in range(PIPELINED)]
        rest.result()
    return got


def test_t26_10000_pipelined_requests_are_answered_in_order_and_never_queued():
    data = b"".join(numbered(n) for n in range(1, PIPELINED + 1))
    count = 2
    with only_worker() as w, unaffected(w), contextlib.ExitStack() as stack, \
            ThreadPoolExecutor(count) as pool:
        talks = [stack.enter_context(Talk(sock=Tcp(w.address("http"), room=4096).sock))
                 for _ in range(count)]
        pid, = w.pids("http")
        before = peak(pid)
        for got in pool.map(lambda talk: pipeline(talk, data), talks):
            equal(got, list(range(1, PIPELINED + 1)), "answers")
        grown = peak(pid) - before
        figure(f"{count} times {PIPELINED} requests: at most {grown >> 10} KB more")
        check(grown <= count * QUEUE + SLACK // 2, f"{grown} bytes more")


def test_t26_a_connection_ends_at_its_bound_however_many_more_are_in_it():
    cap = 100
    with only_worker(f"limits.requests_per_connection={cap}") as w, \
            Talk(w.address("http")) as talk:
        talk.send(b"".join(numbered(n) for n in range(1, PIPELINED + 1)))
        answers = talk.rest()
        equal([number_of(a) for a in answers], list(range(1, cap + 1)))
        equal([a.said_close for a in answers], [False] * (cap - 1) + [True])
        check(talk.ended, "closed")
        w.limit_reached("requests_per_connection")


def test_t26_a_poll_holds_back_what_is_pipelined_behind_it():
    with only_worker() as w, Talk(w.address("http")) as talk:
        first = w.json("/v1/poll?channel=t26")
        talk.send(b"GET /v1/poll?channel=t26&wait=60&since=%s HTTP/1.1\r\nHost: localhost\r\n\r\n"
                  % first["cursor"].encode() + numbered(1) + numbered(2))
        eventually(lambda: w.json("/v1/presence/t26")["count"] == 1, "the poll is there")
        equal(talk.have, b"")
        w.publish("t26", "now")
        texts = [m.get("data") for m in json.loads(talk.answer().body)["messages"]]
        check("now" in texts, texts)
        equal([number_of(talk.answer()) for _ in range(2)], [1, 2])


def test_t26_bytes_behind_a_stream_do_not_hide_that_its_client_has_left():
    request = b"GET /v1/stream?channel=t26 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with World() as w:
        for behind in (b"", b"G", numbered(1)):
            talk = Talk(w.address("http"))
            talk.send(request + behind)
            while b"snapshot" not in talk.have:
                check(talk.more(), "a stream")
            equal(w.json("/v1/presence/t26")["count"], 1)
            talk.sock.close()
            eventually(lambda: w.json("/v1/presence/t26")["count"] == 0, f"gone: {behind}")


def test_t26_what_waits_behind_a_poll_does_not_hide_that_its_client_has_left():
    with World() as w:
        cursor = w.json("/v1/poll?channel=t26")["cursor"].encode()
        request = b"GET /v1/poll?channel=t26&wait=60&since=%s HTTP/1.1\r\n" \
                  b"Host: localhost\r\n\r\n" % cursor
        for behind in (b"", b"G", numbered(1), numbered(1) * 100):
            for together in (True, False):
                talk = Talk(w.address("http"))
                talk.send(request + behind if together else request)
                eventually(lambda: w.json("/v1/presence/t26")["count"] == 1, "it polls")
                if not together:
                    talk.send(behind)
                talk.sock.close()
                eventually(lambda: w.json("/v1/presence/t26")["count"] == 0,
                           f"gone: {behind[:20]}")
