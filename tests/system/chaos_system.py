"""One small round of what `make chaos` does for longer."""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                "chaos"))
import stage  # noqa: E402
from world import figure  # noqa: E402

SLOW = True
FEW = ("router-kill", "http-kill", "ws-stop", "tcp-term", "router-stop")


def test_what_clients_saw_holds_while_processes_die():
    """CHAOS_SEED repeats it."""
    seed = int(os.environ.get("CHAOS_SEED", 0)) or random.SystemRandom().randrange(1, 1 << 31)
    figure(f"CHAOS_SEED={seed}")
    table = {name: fault for name, fault in stage.faults.table().items() if name in FEW}
    figures = stage.Round(seed, table, 6, rate=120).run()
    figure(" ".join(f"{k}={v}" for k, v in figures.items() if v))
