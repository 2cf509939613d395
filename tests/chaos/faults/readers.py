"""Clients that do not read what they asked for."""
import contextlib

from world import Failed, Stream, Tcp, Ws

from . import Fault

PATTERNS = "plain/*", "power/*"
ROOM = 4096  # bytes that their kernel takes for them


def _stall(stage, _rng):
    """One at each edge. That it cannot even begin may be another fault's doing."""
    at = {kind: ("127.0.0.1", port) for kind, port in stage.ports.items()}
    query = "&".join(f"channel={p}" for p in PATTERNS)
    clients = []
    with contextlib.suppress(OSError, Failed):
        clients.append(Stream(at["http"], f"/v1/stream?{query}&since=0", room=ROOM))
        clients.append(Ws(at["ws"], f"/v1/ws?{query}&since=0", room=ROOM))
        clients.append(Tcp(at["tcp"], room=ROOM))
        clients[-1].send(b"".join(f"SUB {p} 0\r\n".encode() for p in PATTERNS))
    return clients


def _leave(_stage, clients):
    for c in clients:
        c.close()


FAULTS = [
    Fault("readers-stall", "F19", _stall, _leave, lasts=(1.0, 6.0)),
]
