"""One small round of what `make chaos` does for longer; and of the peers' clients
what would be counted against their servers."""
import asyncio
import io
import os
import random
import shutil
import sys
from unittest import mock

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                "chaos"))
import stage  # noqa: E402
from peers import crowd, lies, mosquitto  # noqa: E402
from world import DEADLINE, Failed, equal, figure  # noqa: E402

SLOW = True
FEW = ("router-kill", "http-kill", "ws-stop", "tcp-term", "router-stop")


def test_what_clients_saw_holds_while_processes_die():
    """CHAOS_SEED repeats it."""
    seed = int(os.environ.get("CHAOS_SEED", 0)) or random.SystemRandom().randrange(1, 1 << 31)
    figure(f"CHAOS_SEED={seed}")
    table = {name: fault for name, fault in stage.faults.table().items() if name in FEW}
    figures = stage.Round(seed, table, 6, rate=120).run()
    figure(" ".join(f"{k}={v}" for k, v in figures.items() if v))


def test_what_breaks_the_same_waits_until_the_router_is_back():
    seen = []

    def answer(_word):
        seen.append("asked")
        if len(seen) < 4:
            raise Failed("no router yet")
        return "state=ready"

    kill, disk = (
        stage.faults.Fault(name, "F1", lambda _stage, _rng, name=name: seen.append(name),
                           lambda _stage, _held: None, hits=("router",), ends=name == "kill")
        for name in ("kill", "disk"))
    plan = [(0, kill, 1, 0), (0, disk, 1, 0)]
    r = stage.Round(1, {}, 1, 1)
    shutil.rmtree(r.base)
    place = mock.Mock(deadline=DEADLINE, world=mock.Mock(ctl=answer))
    with mock.patch.object(stage, "schedule", return_value=plan):
        r.break_things(place, mock.Mock(), mock.Mock())
    equal(seen, ["kill", "asked", "asked", "asked", "disk"], "what came when")


def test_who_counts_by_texts_tells_each_lie_from_the_truth():
    """Once for each round of `make chaos-peers` is too late."""
    figure(f"{lies.told_apart(os.path.join(stage.PROGRAMS, 'check'))} logs")


def test_a_peers_client_that_was_cut_before_it_had_subscribed_does_so_when_it_is_back():
    """The server has its session from the greeting on, and says so."""
    seen = []

    async def serve(reader, writer):
        await mosquitto.receive(reader)
        writer.write(mosquitto.packet(mosquitto.CONNACK, 0, bytes([len(seen) > 0, 0])))
        seen.append("greeting")
        if len(seen) > 1:
            kind, _, rest = await mosquitto.receive(reader)
            seen.append(kind)
            # What was kept comes first, as a server may have it.
            writer.write(mosquitto.packet(mosquitto.PUBLISH, 2,
                                          mosquitto.string(b"c") + b"\0\7" + b"kept"))
            writer.write(mosquitto.packet(mosquitto.SUBACK, 0, rest[:2] + b"\1"))
            seen.append((await mosquitto.receive(reader))[0])
        await writer.drain()
        writer.close()

    async def play():
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        log = crowd.Log(os.devnull)
        log.close()
        log.file = io.StringIO()
        client = mosquitto.Subscriber(log, port, 1, 1, "c", 0)
        task = asyncio.ensure_future(client.run())
        await asyncio.wait_for(client.well.wait(), DEADLINE)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        server.close()
        return [line.split()[0] for line in log.file.getvalue().splitlines()]

    lines = asyncio.run(play())
    equal(seen[:3], ["greeting", "greeting", mosquitto.SUBSCRIBE], "what the server saw")
    equal([x for x in lines if x in "BMN"], ["M", "B"], "what is written of it")
