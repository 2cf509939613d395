"""Interrupts that wait. Python raises KeyboardInterrupt between any two steps, also where
a process has just been started and nobody has its number yet: it would be left."""
import contextlib
import signal

ENDS = (signal.SIGINT, signal.SIGTERM)

_waits, _came = 0, False


def _handle(*_):
    global _came
    if _waits:
        _came = True
    else:
        raise KeyboardInterrupt


def heed():
    """From now on both of ENDS raise KeyboardInterrupt."""
    for signo in ENDS:
        signal.signal(signo, _handle)


@contextlib.contextmanager
def wait():
    """What is done in here is done whole; who was interrupted meanwhile hears it behind."""
    global _waits, _came
    _waits += 1
    try:
        yield
    finally:
        _waits -= 1
        if _came and not _waits:
            _came = False
            raise KeyboardInterrupt
