"""Faults for a Touchline that runs: the driver's side of preload/inject.h.

    with Injector() as faults, World(under=faults.base, env=faults.env) as w:
        broken = faults.rule("sync", "wal", process="router", error="EIO", at=3)
        ...
        broken.off()
        print(broken.seen, broken.struck)

The file of the rules lies in the World's directory: what starts in the
supervisor's cage can open no other for writing."""
import ctypes
import errno
import mmap
import os
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
LIBRARY = os.path.join(ROOT, "build/tests/chaos/inject.so")

MAGIC = 0x31544345464e49
RULES = 32
FOREVER = 2 ** 64 - 1

PROCESSES = {"touchline": 1, "router": 2, "http": 4, "tcp": 8, "ws": 16, "others": 32}
CALLS = {"open": 1, "read": 2, "write": 4, "sync": 8, "resize": 16, "allocate": 32,
         "recv": 64, "send": 128, "accept": 256, "memory": 512, "clock": 1024,
         "thread": 2048, "nng_close": 4096}
KINDS = {"other": 1, "db": 2, "wal": 4, "shm": 8, "guard": 16, "ballast": 32, "log": 64,
         "client": 128, "link": 256}
CALLERS = {"anybody": 0, "own": 1, "library": 2, "nng": 3}
ACTS = {"fail": 0, "short": 1, "kill": 2, "tear": 3, "kill_after": 4, "shift": 5, "hang": 6}
WORDS = ("armed", "process", "calls", "kinds", "caller", "pid", "first", "last", "millionths",
         "seed", "act", "arg", "seen", "struck")


class Row(ctypes.Structure):
    _fields_ = [(w, ctypes.c_int64 if w == "arg" else ctypes.c_uint64) for w in WORDS]


class Page(ctypes.Structure):
    _fields_ = [("magic", ctypes.c_uint64), ("rule_size", ctypes.c_uint64),
                ("rules", ctypes.c_uint64), ("rule", Row * RULES)]


def bits(names, known):
    return sum(known[name] for name in names.split())


class Rule:
    """One fault that is on until it is switched off."""

    def __init__(self, row):
        self.row = row

    seen = property(lambda self: self.row.seen, doc="calls that it was about")
    struck = property(lambda self: self.row.struck, doc="of these, how many it changed")

    def off(self):
        self.row.armed = 0
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.off()


class Injector:
    """The rules of one World. base: the World's directory; its own to remove."""

    def __init__(self, base=None):
        if not os.path.exists(LIBRARY): # the loader would go on without it
            raise SystemExit(f"{LIBRARY} is missing: make build/tests/chaos/inject.so")
        self.base = base or tempfile.mkdtemp(prefix="tl-")
        os.makedirs(os.path.join(self.base, "var"), mode=0o700, exist_ok=True)
        self.path = os.path.join(self.base, "var", "inject")
        with open(self.path, "w+b") as f:
            f.truncate(ctypes.sizeof(Page))
            self.memory = mmap.mmap(f.fileno(), 0)
        self.page = Page.from_buffer(self.memory)
        self.page.rule_size, self.page.rules = ctypes.sizeof(Row), RULES
        self.page.magic = MAGIC
        self.next = 0
        self.env = {"LD_PRELOAD": LIBRARY, "TOUCHLINE_INJECT": self.path,
                    "ASAN_OPTIONS": "verify_asan_link_order=0"}

    def rule(self, calls, kinds="", process="router", act="fail", error=None, arg=0, at=1,
             times=None, chance=1.0, seed=1, caller="anybody", pid=0):
        """Arms a rule. calls, kinds, process: words of the tables above. error:
        errno's name, for `fail`. It strikes from the call number `at`, so many
        times or for ever, each time with this chance."""
        number, self.next = self.next, (self.next + 1) % RULES
        row = self.page.rule[number]
        row.armed = 0
        row.process, row.calls = bits(process, PROCESSES), bits(calls, CALLS)
        row.kinds, row.caller, row.pid = bits(kinds, KINDS), CALLERS[caller], pid
        row.first, row.last = at, FOREVER if times is None else at + times - 1
        row.millionths, row.seed = int(chance * 1000000), seed
        row.act, row.arg = ACTS[act], getattr(errno, error) if error else arg
        row.seen = row.struck = 0
        row.armed = 1
        return Rule(row)

    def calm(self):
        """No fault is on any more."""
        for row in self.page.rule:
            row.armed = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.calm()
