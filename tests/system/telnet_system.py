"""The TCP edge: what a person with telnet sees, byte for byte. In a transcript
`>` is a line that is typed, EPOCH the store's epoch, TIME the time of a frame."""
import json
import os
import pty
import re
import subprocess

from world import DEADLINE, Lines, World, check, equal, eventually

MATCH = "elp-tig-2011-09-13"
WATCH = f"VERSION:1:CONNECT:ana:MATCH:{MATCH}\r\n".encode()
TIME = re.compile(rb"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?=: \w+:\n)", re.M)
SECRET = "letmein-letmein-letmein"
TOKEN = ("[namespace secret/]\npublish = token\n"
         f"[token desk]\nsecret = {SECRET}\npublish = secret/\n")


class Golden:
    """A connection of which every byte is accounted for; but lines that begin
    with hidden may come at any time."""

    def __init__(self, w, greeting=True, hidden=b"\0"):
        self.t, self.hidden = w.telnet(greeting), hidden
        self.epoch = w.http("GET", "/v1/poll?channel=x").json()["cursor"].split("-")[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.t.close()

    def expect(self, text):
        """Exactly these lines come next."""
        for wanted in text.replace("EPOCH", self.epoch).encode().splitlines(True):
            got = self.t.line()
            while got.startswith(self.hidden):
                got = self.t.line()
            equal(TIME.sub(b"TIME", got), wanted, "transcript")

    def transcript(self, text):
        """Lines with > are typed, all others must come, with CR LF; a line
        that begins with a tab or TIME belongs to a frame: LF."""
        for line in text.removeprefix("\n").removesuffix("\n").split("\n"):
            if line.startswith("> "):
                typed = line[2:].replace("EPOCH", self.epoch)
                self.t.send(typed.encode() + b"\r\n")
            elif line.startswith(("\t", "TIME")):
                self.expect(line + "\n")
            else:
                self.expect(line + "\r\n")

    def nothing_more(self):
        self.transcript("> PING\nOK PING")
        equal(self.t.rest, b"")

    def closed(self):
        equal(self.t.all(), b"", "before the end")


def post(w, target, body, status=201, method="POST"):
    answer = w.http(method, target, (body or "").encode(), {"Content-Type": "application/json"})
    equal(answer.status, status, answer.body)


def event(w, text, match=MATCH):
    post(w, f"/v1/matches/{match}/events", text)


def teams(w):
    post(w, "/v1/teams/elp", '{"name":"Estudiantes","division":"a"}', method="PUT")
    post(w, "/v1/teams/tig", '{"name":"Tigre","division":"a"}', method="PUT")


def new_match(w, start="2011-09-13T13:00:00Z", stadium="La \\\"Plata\\\""):
    post(w, "/v1/matches", '{"home":"elp","visit":"tig","start_time":"%s",'
                           '"stadium":"%s"}' % (start, stadium))


# ---- words -----------------------------------------------------------------

def test_the_server_speaks_first():
    with World() as w, Golden(w, greeting=False) as g:
        g.transcript("Welcome to Match Stream.\n"
                     "To watch the current game use: V:2:<your-name>")
        g.nothing_more()


def test_subscribing_publishing_and_asking():
    with World() as w, Golden(w) as g:
        g.transcript(r"""
> SUB a
OK SUB a EPOCH-0
> PUB a hello  two  spaces 
OK PUB a EPOCH-1 reached=1
a EPOCH-1 -: hello  two  spaces 
> NICK ana
OK NICK ana
> send a by another name
OK PUB a EPOCH-2 reached=1
a EPOCH-2 ana: by another name
> UNSUB a
OK UNSUB
> PUB a unheard
OK PUB a EPOCH-3 reached=0
> LOGIN a EPOCH-1
OK SUB a EPOCH-1
a EPOCH-2 ana: by another name
a EPOCH-3 ana: unheard
> HISTORY a 2
a EPOCH-2 ana: by another name
a EPOCH-3 ana: unheard
OK HISTORY 2
> HISTORY empty
OK HISTORY 0
> WHO a
ana 1
OK WHO 1
> LOGOUT
OK UNSUB
> WHO a
OK WHO 0
> Ping
OK PING
> QUIT
OK QUIT
""")
        g.closed()


def test_a_late_sub_is_replayed_and_an_unknown_cursor_is_told():
    with World() as w, Golden(w) as g:
        g.transcript("""
> PUB old one
OK PUB old EPOCH-1 reached=0
> SUB live
OK SUB live EPOCH-1
> SUB old 0
OK SUB old EPOCH-0
old - -: one
NOTICE resumed old EPOCH-1
> SUB third zzzzzzzzzz-7
OK SUB third EPOCH-1
NOTICE gap third EPOCH-1 why=epoch
> SUB x/*
OK SUB x/* EPOCH-1
> PUB x/y z
OK PUB x/y EPOCH-2 reached=1
x/y EPOCH-2 -: z
""")
        g.nothing_more()


def test_verbs_typed_while_a_long_history_comes_are_answered_each():
    with World(["tcp.workers=1", "namespace.history=all"]) as w, Golden(w) as g:
        for _ in range(20):
            post(w, "/v1/publish", json.dumps([{"channel": "b", "data": 1}] * 200))
        g.t.send(b"SUB b 0\r\n" + b"WHO b\r\n" * 300 + b"QUIT\r\n")
        answers = [line for line in g.t.all().decode().split("\r\n")
                   if not line.startswith("b ")]
        equal(answers, [f"OK SUB b {g.epoch}-0"] + ["anon 1", "OK WHO 1"] * 300
              + ["OK QUIT", ""])


def test_publications_are_taken_in_the_order_typed():
    with World() as w, Golden(w) as g:
        g.t.send(b"".join(b"PUB a %d\r\n" % n for n in range(1, 101)) + b"HISTORY a 3\r\n")
        for n in range(1, 101):
            g.expect(f"OK PUB a EPOCH-{n} reached=0\r\n")
        g.expect("".join(f"a EPOCH-{n} -: {n}\r\n" for n in (98, 99, 100)))
        g.expect("OK HISTORY 3\r\n")
        g.nothing_more()


def test_chat():
    with World() as w, Golden(w, hidden=b"NOTICE join ") as g:
        g.transcript("""
> NICK ana
OK NICK ana
> JOIN lobby
OK JOIN room/lobby EPOCH-0
NOTICE snapshot room/lobby EPOCH-0 count=1 names=[{"name":"ana","connections":1}] messages=[]
> SAY lobby hello: all
OK SAY room/lobby EPOCH-1 reached=1
room/lobby EPOCH-1 ana: hello: all
> SAY lobby
ERROR line.bad: write it as: SAY lobby hello everybody
> WHO room/lobby
ana 1
OK WHO 1
> HISTORY room/lobby
room/lobby EPOCH-1 ana: hello: all
OK HISTORY 1
> LEAVE lobby
OK LEAVE room/lobby
> SAY lobby from outside
OK SAY room/lobby EPOCH-2 reached=0
> LEAVE lobby
ERROR channel.unknown: you are not subscribed to it
""")
        g.nothing_more()


def test_a_newcomer_is_announced_in_one_line():
    with World() as w, Golden(w, hidden=b"NOTICE snapshot ") as g:
        g.transcript("> JOIN lobby\nOK JOIN room/lobby EPOCH-0")
        with w.stream("/v1/stream?channel=room/lobby&name=bo%22") as s:
            s.item()
            line = g.t.until(b"\r\n").decode()
            while "bo" not in line or "snapshot" in line:
                line = g.t.until(b"\r\n").decode()
            check(re.fullmatch(r'NOTICE join room/lobby \S+-0 count=\d present=2 '
                               r'names=\[("anon",)?"bo\\""\]\r\n', line), line)


def test_errors_say_what_is_wrong_and_the_connection_stays():
    name = ("ERROR name.bad: a name has 1 to 64 bytes of UTF-8, and no control "
            "character, space or colon")
    with World(config=TOKEN) as w, Golden(w) as g:
        g.transcript(f"""
> nonsense
ERROR verb.unknown: there is no such verb; HELP shows what there is
> PUB a
ERROR line.bad: write it as: PUB user/ana hello
> SUB
ERROR line.bad: write it as: SUB match/*
> SUB a b c
ERROR line.bad: write it as: SUB match/*
> SUB a/../b
ERROR channel.bad: it has a segment "." or ".."; a channel is like room/lobby or user/ana
> PUB a/* x
ERROR channel.bad: it contains "*", which only patterns do; a channel is like room/lobby or user/ana
> SUB a soon
ERROR cursor.bad: this is no cursor: 0, or what an OK or a message showed
> UNSUB a
ERROR channel.unknown: you are not subscribed to it
> NICK a:b
{name}
> NICK {"n" * 65}
{name}
> HISTORY a 0
ERROR limit.bad: how many: 1 to 1000
> V:2:ana
ERROR match.none: there is no match
> V:2:
{name}
> {WATCH.decode().strip()}
ERROR match.unknown: there is no such match
> AUTH wrong
ERROR token.unknown: no [token NAME] section of touchline.conf has this secret
""")
        g.t.send(b"PUB secret/x 1\r\n")
        check(g.t.line().startswith(b"ERROR publish.denied: "), "it says how to open it")
        g.transcript(f"""
> AUTH {SECRET}
OK AUTH desk
> PUB secret/x 1
OK PUB secret/x EPOCH-1 reached=0
""")
        g.nothing_more()


def test_lines_come_in_any_pieces_and_negotiation_is_ignored():
    with World() as w, Golden(w) as g:
        g.t.send(b"pi")
        g.t.send(b"ng\nPING\n\r\n\nPING\r")
        g.expect("OK PING\r\nOK PING\r\n")
        g.t.send(b"\n")
        g.expect("OK PING\r\n")
        # WILL and DO options, a subnegotiation with a line end, NOP, an
        # escaped 255, cut in two where it hurts.
        g.t.send(b"\xff\xfb\x18P\xff")
        g.t.send(b"\xfd\x01I\xff\xfa\x18\0xterm\r\n\xff")
        g.t.send(b"\xf0N\xff\xf1G\r\n")
        g.expect("OK PING\r\n")
        g.t.send(b"PUB a \xff\xff\r\nHISTORY a\r\n")
        g.expect("OK PUB a EPOCH-1 reached=0\r\n"
                 "a EPOCH-1 -: base64:/w==\r\nOK HISTORY 1\r\n")
        g.nothing_more()


def test_nobodys_control_characters_reach_a_terminal():
    with World() as w, Golden(w) as g:
        g.transcript("> SUB a\nOK SUB a EPOCH-0")
        hostile = "\x1b]0;x\x07 \x9b31m \u202egnp.exe \r\n2nd\tline é \u2066 \x7f \\"
        w.publish("a", hostile.encode(), Touchline_From="b\u202eo".encode())
        g.expect("a EPOCH-1 b\\u{202e}o: \\x1b]0;x\\x07 \\u{9b}31m \\u{202e}gnp.exe "
                 "\\x0d\\n2nd\\x09line é \\u{2066} \\x7f \\\r\n")
        w.http("POST", "/v1/publish/a", b"\xff\0", {"Content-Type": "text/html; x"})
        w.http("POST", "/v1/publish/a", b"\xff\0",
               {"Content-Type": "application/octet-stream"})
        g.expect("a EPOCH-2 -: base64:/wA=\r\n")
        w.http("POST", "/v1/publish/a", '{"a":\n"\u2069\u0085"}'.encode(),
               {"Content-Type": "application/json"})
        g.expect('a EPOCH-3 -: {"a": "\\u{2069}\\u{85}"}\r\n')
        g.t.send("SUB \x1b[31m\r\nNICK \x1b[31m\r\n\x1b[31m\r\n".encode())
        for _ in range(3):
            line = g.t.line()
            check(line.startswith(b"ERROR ") and b"\x1b" not in line, line)
        g.nothing_more()


# ---- matches ---------------------------------------------------------------

STATUS = """
TIME: status:
	home: <<"elp">>
	home_players:
		 Albil (25) 
		 Verón (11) 
	home_score: 1
	visit: <<"tig">>
	visit_score: 0
	period: first
	stadium: <<"La \\x22Plata\\x22">>
	start_time: 2011-09-13 13:00:00

"""


def begin(w):
    event(w, '{"kind":"start","data":{"home_players":[[25,"Albil"],[11,"Verón"]]}}')
    event(w, '{"kind":"goal","data":{"team":"elp","player":11,"minute":3}}')


def frames(w, g):
    """Each detail once, and all that others wrote made safe."""
    event(w, r'{"kind":"goal","data":{"team":"tig","player":{"7":"Lu\u202e\"na"},'
             r'"minute":"45+1","comment":"a\\b \"q\" \u202e é"}}')
    g.transcript("""
TIME: goal:
	player: Lu\\u{202e}"na (7) 
	team: <<"tig">>
	minute: <<"45+1">>
	comment: <<"a\\x5cb \\x22q\\x22 \\u{202e} é">>

""" + "> PING\nOK PING")
    event(w, '{"kind":"card","data":{"team":"elp","player":11,"card":"red","minute":46}}')
    event(w, '{"kind":"substitution","data":{"team":"elp","player_out":25,'
             '"player_in":[30,"Suplente"]}}')
    event(w, '{"kind":"halftime_start"}')
    g.transcript("""
TIME: card:
	player: Verón (11) 
	card: red
	team: <<"elp">>
	minute: 46

TIME: substitution:
	player_out: Albil (25) 
	team: <<"elp">>
	player_in: Suplente (30) 

TIME: halftime_start:

""" + "> PING\nOK PING")


def test_a_match_is_watched_from_status_to_stop():
    with World() as w:
        teams(w)
        new_match(w)
        begin(w)
        with Golden(w) as g, Golden(w) as v2:
            g.t.send(WATCH)
            g.transcript(STATUS)
            v2.transcript("> v:2:bo\n" + STATUS[1:])
            g.transcript(f"> {WATCH.decode().strip()}\n"
                         "ERROR match.watching: you watch a match already; UNSUB leaves it")
            for c in (g, v2):
                c.nothing_more()
            frames(w, g)
            event(w, '{"kind":"stop","data":{"comment":"over"}}')
            g.transcript('TIME: stop:\n\tcomment: <<"over">>\n\n')
            g.closed()
            check(TIME.sub(b"TIME", v2.t.all()).endswith(
                b'TIME: stop:\n\tcomment: <<"over">>\n\r\n'), "both are closed")
        eventually(lambda: w.metric("visits_total") == 2,
                   "two visits", 5)


def test_what_is_taken_back_is_shown_and_the_state_behind_it():
    with World() as w:
        teams(w)
        new_match(w)
        begin(w)
        with Golden(w) as g:
            g.t.send(WATCH)
            g.transcript(STATUS)
            event(w, '{"kind":"retract","data":{"offset":3,"comment":"offside"}}')
            g.transcript("TIME: retract:\n\tcomment: <<\"offside\">>\n\toffset: 3\n\n"
                         + STATUS[1:].replace("home_score: 1", "home_score: 0"))
            g.transcript("> UNSUB\nOK UNSUB")
            event(w, '{"kind":"stop"}')
            g.nothing_more()


def test_a_match_that_is_not_played_closes_after_its_status():
    with World() as w:
        teams(w)
        new_match(w)
        for period in ("not_started", "ended"):
            with Golden(w) as g:
                g.t.send(WATCH)
                text = g.t.all().decode()
                check(text.count(": status:\n") == 1 and f"\tperiod: {period}\n" in text
                      and text.endswith("\n\r\n"), text)
            if period == "not_started":
                event(w, '{"kind":"start"}')
                event(w, '{"kind":"stop"}')


def test_v2_chooses_what_is_in_play_then_the_next_then_the_latest():
    def chosen():
        with Golden(w) as g:
            g.t.send(b"V:2:ana\r\n")
            text = g.t.until(b"\n\r\n").decode()
            return re.search(r"start_time: (\S+)", text).group(1)

    with World() as w:
        teams(w)
        for day in ("2010-01-01", "2012-01-01", "2990-01-01", "2991-01-01"):
            new_match(w, day, "x")
        for day in ("2010-01-01", "2012-01-01"):
            event(w, '{"kind":"start"}', "elp-tig-" + day)
        equal(chosen(), "2012-01-01", "in play, started last")
        event(w, '{"kind":"stop"}', "elp-tig-2012-01-01")
        equal(chosen(), "2010-01-01", "in play")
        event(w, '{"kind":"stop"}', "elp-tig-2010-01-01")
        equal(chosen(), "2990-01-01", "next to start")
        for day in ("2990-01-01", "2991-01-01"):
            post(w, "/v1/matches/elp-tig-" + day, None, 200, "DELETE")
        equal(chosen(), "2012-01-01", "the latest")
        with Golden(w) as g:
            g.transcript("""
> MATCHES
elp-tig-2010-01-01 ended elp 0-0 tig 2010-01-01T00:00:00Z
elp-tig-2012-01-01 ended elp 0-0 tig 2012-01-01T00:00:00Z
OK MATCHES 2
""")
            g.nothing_more()


def test_help_lists_every_verb_with_an_example():
    with World() as w, Golden(w) as g:
        g.t.send(b"HELP\r\n")
        lines = g.t.until(b"OK HELP").decode().split("\r\n")[:-1]
        g.expect(f" {len(lines)}\r\n")
        verbs = {re.match(r"[A-Z0-9:]+?(?=:? |:<|: )", line).group(0) for line in lines}
        for verb in ("V:2", "VERSION:1:CONNECT", "SUB", "UNSUB", "PUB", "NICK", "JOIN",
                     "LEAVE", "SAY", "HISTORY", "WHO", "MATCHES", "AUTH", "PING", "HELP",
                     "QUIT"):
            check(verb in verbs, f"{verb} of {verbs}")
        for line in lines:
            check(", as in: " in line, line)


# ---- the real thing --------------------------------------------------------

def test_a_person_with_telnet():
    with World() as w:
        teams(w)
        new_match(w, stadium="x")
        event(w, '{"kind":"start"}')
        ours, theirs = pty.openpty()
        host, port = w.address("tcp")
        p = subprocess.Popen(["telnet", host, str(port)], stdin=theirs, stdout=theirs,
                             stderr=theirs, env={**os.environ, "TERM": "dumb"})
        os.close(theirs)
        try:
            screen = Lines(ours, lambda n: read_screen(ours, n))
            check(b"Welcome to Match Stream.\r\n" in
                  screen.until(b"To watch the current game use: V:2:<your-name>\r\n"), "")
            os.write(ours, b"PUB room/x hello\n")
            screen.until(b"OK PUB room/x ")
            os.write(ours, b"V:2:ana\n")
            screen.until(b": status:")
            event(w, '{"kind":"goal","data":{"team":"elp","player":[7,"Luna"]}}')
            screen.until(b": goal:")
            screen.until(b"player: Luna (7) ")
            event(w, '{"kind":"stop"}')
            screen.until(b": stop:")
            screen.until(b"Connection closed by foreign host.")
            p.wait(DEADLINE)
        finally:
            p.kill()
            p.wait()
            os.close(ours)


def read_screen(fd, n):
    try:
        return os.read(fd, n)
    except OSError:  # the other end of a pty has closed
        return b""
