"""The judge before its work: logs in which one thing is wrong, and what it has to say."""
import os
import subprocess
import tempfile

# Two subscribers; 1 has begun before everything, 2 after the first message.
TRUTH = """\
O 1 1 1 http sse
S 2 1 1 - c/1
B 3 1 1
I 10 1 1 c/1 memory a1 - -
A 12 1 1 e - 1 -
M 13 1 1 c/1 - - - a1 1 1 -
O 20 2 1 http sse
S 21 2 1 - c/1
B 22 2 1
I 30 1 2 c/1 memory a2 - -
A 32 1 2 e - 2 -
M 33 1 1 c/1 - - - a2 1 2 -
M 33 2 1 c/1 - - - a2 1 2 -
I 40 1 3 c/1 memory a3 - -
A 42 1 3 e - 3 -
M 43 1 1 c/1 - - - a3 1 3 -
M 43 2 1 c/1 - - - a3 1 3 -
"""
SEEN = "M 43 2 1 c/1 - - - a3 1 3 -\n"
BEFORE = "M 33 2 1 c/1 - - - a2 1 2 -\n"
GAP = "N {} 2 1 gap c/1 - - {} {} - w\n"
ALL = {"acked": 3, "due": 5, "lost": 0, "lost_messages": 0, "told": 0, "gaps": 0,
       "duplicated": 0, "retried": 0, "disordered": 0, "ghosts": 0}

LIES = [
    ("the truth", TRUTH, {}),
    ("a loss", TRUTH.replace(SEEN, ""), {"lost": 1, "lost_messages": 1}),
    ("a loss for everybody", TRUTH.replace(SEEN, "").replace(SEEN.replace(" 2 1 ", " 1 1 ", 1), ""),
     {"lost": 2, "lost_messages": 1}),
    ("a loss that a gap names", TRUTH.replace(SEEN, GAP.format(43, 3, 3)), {"told": 1, "gaps": 1}),
    ("a loss that a gap does not name", TRUTH.replace(SEEN, GAP.format(43, 2, 2)),
     {"lost": 1, "lost_messages": 1, "gaps": 1}),
    ("a loss before a gap without numbers", TRUTH.replace(SEEN, GAP.format(43, "-", "-")),
     {"told": 1, "gaps": 1}),
    ("a loss after a gap without numbers", TRUTH.replace(SEEN, GAP.format(39, "-", "-")),
     {"lost": 1, "lost_messages": 1, "gaps": 1}),
    ("what nobody promised", TRUTH.replace(SEEN, "").replace("A 42 1 3 e - 3 -\n", ""),
     {"acked": 2, "due": 3}),
    ("a duplicate", TRUTH + SEEN, {"duplicated": 1}),
    ("a duplicate on the next connection",
     TRUTH + "E 44 2 1 peer cut\nO 45 2 2 http sse\n" + SEEN.replace(" 2 1 ", " 2 2 ", 1),
     {"duplicated": 1}),
    ("a duplicate of what was sent twice",
     TRUTH.replace("A 42", "U 41 1 3 gone\nI 41 1 3 c/1 memory a3 - -\nA 42") + SEEN,
     {"duplicated": 1, "retried": 1}),
    ("a swap", TRUTH.replace(BEFORE, "").replace(SEEN, SEEN + BEFORE), {"disordered": 1}),
    ("a swap of what was sent together",
     TRUTH.replace("A 32", "A 41").replace(BEFORE, "").replace(SEEN, SEEN + BEFORE), {}),
    ("another text", TRUTH.replace(SEEN, SEEN.replace("a3", "a4")),
     {"ghosts": 1, "lost": 1, "lost_messages": 1}),
    ("another channel", TRUTH + SEEN.replace("c/1", "c/2"), {"ghosts": 1}),
    ("nobody's message", TRUTH + SEEN.replace(" 1 3 -", " 1 4 -"), {"ghosts": 1}),
    ("a text that names nobody", TRUTH + SEEN.replace(" 1 3 -", " - - -"), {"ghosts": 1}),
    ("what was refused", TRUTH.replace("A 42 1 3 e - 3 -", "R 42 1 3 no"),
     {"acked": 2, "due": 3, "ghosts": 2}),
]


def figures(line):
    return {k: int(v) for k, v in (w.split("=") for w in line.split())}


def told_apart(check):
    """How many there were; AssertionError: it took one for something else."""
    with tempfile.TemporaryDirectory() as base:
        path = os.path.join(base, "log")
        for name, log, wrong in LIES:
            with open(path, "w", encoding="ascii") as f:
                f.write(log)
            got = figures(subprocess.check_output([check, "--texts", path], text=True))
            want = {**ALL, **wrong}
            assert {k: got[k] for k in want} == want, f"{name}: {got}"
    return len(LIES)
