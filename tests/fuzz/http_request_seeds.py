#!/usr/bin/env python3
"""Seeds for http_request_fuzz out of the cases beside the checkout, into the
folder named: the corpus of h2o's fuzzer, and what the tests send. Without that
data it does nothing."""
import hashlib
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "system"))
import http_cases # noqa: E402

LONGEST = 5000 # the target's own limits are smaller than the edge's
CUT = b"\x11"  # the first byte says where the target cuts what follows


def inputs():
    yield from http_cases.seeds()
    for case in http_cases.probe_cases():
        yield http_cases.probe_bytes(case, "localhost")
    for fixture in http_cases.fixtures():
        yield http_cases.fixture_bytes(fixture, "localhost")
    for _, line in http_cases.gadgets():
        yield b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" + line + b"\r\n\r\n0\r\n\r\n"


def main(folder):
    if not os.path.isdir(http_cases.FOLDER):
        return
    os.makedirs(folder, exist_ok=True)
    for data in inputs():
        if 0 < len(data) <= LONGEST:
            seed = CUT + data
            with open(os.path.join(folder, hashlib.sha1(seed).hexdigest()), "wb") as f:
                f.write(seed)


main(sys.argv[1])
