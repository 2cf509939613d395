#!/usr/bin/env python3
"""Runs the whole-system tests: run.py [--pages | NAME...], each in a process of its own,
TOUCHLINE_TEST_JOBS at a time: a processor each, and two more, for most of them
wait for most of their time.

A test is a function test_... in a file of this folder named *_system.py; its
name is the claim. Those of a file that says ONE_AT_A_TIME = True share
something and never run beside each other. They begin, and those of a file that
says SLOW = True, so that no long test is left when all others are through. Those of
a file that says PAGES = True look at pages in a browser, which takes long in all: they
are run by --pages and by name.

Beside each verdict stands how long it took and how long processors worked for
it, which depends less on what else goes on; behind all of them the sums of each
file. The last line is "N passed, N failed"."""
import glob
import importlib
import multiprocessing
import multiprocessing.connection
import os
import resource
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
LIMIT = float(os.environ.get("TOUCHLINE_TEST_LIMIT", "120"))
JOBS = int(os.environ.get("TOUCHLINE_TEST_JOBS", (os.cpu_count() or 1) + 2))


class Test:
    """group: of those that never run beside each other, or None. first: it
    begins. pages: looks at pages in a browser. took, worked: seconds, of the clock
    and of processors."""

    def __init__(self, name, function, group, first, pages):
        self.name, self.function, self.group = name, function, group
        self.first, self.pages = first, pages
        self.took = self.worked = 0

    def start(self):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = multiprocessing.Process(target=run_one, args=(self.function, theirs))
        self.begin = time.monotonic()
        self.process.start()
        theirs.close()

    def left(self):
        return max(0, self.begin + LIMIT - time.monotonic())

    def finish(self):
        """Prints the verdict; True: it passed."""
        trouble = f"took longer than {LIMIT:.0f} s"
        if self.pipe.poll():
            try:
                trouble, self.worked = self.pipe.recv()
            except EOFError:
                trouble = "died"
        self.process.join(10)
        if self.process.is_alive():
            self.process.kill()
        self.pipe.close()
        self.took = time.monotonic() - self.begin
        word = "FAIL" if trouble else "ok"
        if sys.stdout.isatty():
            word = f"\033[{31 if trouble else 32}m{word}\033[0m"
        print(f"{word:4} {self.name} ({self.took:.1f} s, worked {self.worked:.1f} s)", flush=True)
        if trouble:
            print("     " + trouble.replace("\n", "\n     "), flush=True)
        return not trouble


def worked():
    """Seconds that processors were at work for this process and all that it, or
    one of them, has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def run_one(function, pipe):
    trouble = ""
    try:
        function()
    except BaseException:
        trouble = traceback.format_exc()
    pipe.send((trouble, worked()))


def tests():
    for path in sorted(glob.glob(os.path.join(HERE, "*_system.py"))):
        module = importlib.import_module(os.path.basename(path)[:-3])
        group = module.__name__ if getattr(module, "ONE_AT_A_TIME", False) else None
        first = bool(group or getattr(module, "SLOW", False))
        pages = getattr(module, "PAGES", False)
        for name, value in vars(module).items():
            if name.startswith("test_") and callable(value):
                yield Test(module.__name__[:-7] + "." + name[5:], value, group, first, pages)


def next_of(waiting, running):
    """The first whose group is not busy."""
    busy = {t.group for t in running if t.group}
    return next((t for t in waiting if t.group not in busy), None)


def run_all(waiting):
    """How many passed."""
    running, passed = [], 0
    while waiting or running:
        while len(running) < JOBS and (test := next_of(waiting, running)):
            waiting.remove(test)
            test.start()
            running.append(test)
        ready = multiprocessing.connection.wait([t.pipe for t in running],
                                                min(t.left() for t in running))
        for test in [t for t in running if t.pipe in ready or t.left() == 0]:
            running.remove(test)
            passed += test.finish()
    return passed


def sums(ran):
    """A line for each file, the longest first."""
    files = {}
    for t in ran:
        files.setdefault(t.name.partition(".")[0], []).append(t)
    for took, name in sorted(((sum(t.took for t in ts), n) for n, ts in files.items()),
                             reverse=True):
        yield (f"{name}: {len(files[name])} tests, {took:.0f} s, "
               f"worked {sum(t.worked for t in files[name]):.0f} s")


def main():
    pages = sys.argv[1:] == ["--pages"]
    wanted = [] if pages else sys.argv[1:]
    chosen = [t for t in tests() if any(w in t.name for w in wanted)
              or (not wanted and t.pages == pages)]
    count = len(chosen)
    passed = run_all(sorted(chosen, key=lambda t: not t.first))
    if not wanted:
        print(*sums(chosen), sep="\n")
    print(f"{passed} passed, {count - passed} failed")
    return 0 if count and passed == count else 1


if __name__ == "__main__":
    sys.exit(main())
