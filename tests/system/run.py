#!/usr/bin/env python3
"""Runs the whole-system tests: run.py [NAME...], each in a process of its own.

A test is a function test_... in a file of this folder named *_system.py; its
name is the claim. The last line is "N passed, N failed"."""
import glob
import importlib
import multiprocessing
import os
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
LIMIT = float(os.environ.get("TOUCHLINE_TEST_LIMIT", "120"))


def tests():
    for path in sorted(glob.glob(os.path.join(HERE, "*_system.py"))):
        module = importlib.import_module(os.path.basename(path)[:-3])
        for name, value in vars(module).items():
            if name.startswith("test_") and callable(value):
                yield module.__name__[:-7] + "." + name[5:], value


def run_one(function, pipe):
    try:
        function()
        pipe.send("")
    except BaseException:
        pipe.send(traceback.format_exc())


def judge(name, function):
    ours, theirs = multiprocessing.Pipe()
    p = multiprocessing.Process(target=run_one, args=(function, theirs))
    begin = time.monotonic()
    p.start()
    theirs.close()
    trouble = f"took longer than {LIMIT:.0f} s"
    if ours.poll(LIMIT):
        try:
            trouble = ours.recv()
        except EOFError:
            trouble = "died"
    p.join(10)
    if p.is_alive():
        p.kill()
    took = time.monotonic() - begin
    word = "FAIL" if trouble else "ok"
    if sys.stdout.isatty():
        word = f"\033[{31 if trouble else 32}m{word}\033[0m"
    print(f"{word:4} {name} ({took:.1f} s)", flush=True)
    if trouble:
        print("     " + trouble.replace("\n", "\n     "), flush=True)
    return not trouble


def main():
    wanted = sys.argv[1:]
    results = [judge(n, f) for n, f in tests()
               if not wanted or any(w in n for w in wanted)]
    passed = sum(results)
    print(f"{passed} passed, {len(results) - passed} failed")
    return 0 if results and passed == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
