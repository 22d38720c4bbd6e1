"""How long a call takes over a broker of our own, and how many go through one agent:

PYTHONPATH=. .venv/bin/python -m tests.agents.round_trip
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
import uuid
from pathlib import Path

from tests import rabbit
from tests.agents.test_calls import Bench

CALLS, THREADS = 500, 8


def look(bench: Bench, seconds: list[float]) -> None:
    for _ in range(CALLS):
        started = time.perf_counter()
        bench.node.find_brick("m", f"volume-{uuid.uuid4()}")
        seconds.append(time.perf_counter() - started)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory), rabbit.server())
        bench.node.guests()
        alone: list[float] = []
        look(bench, alone)
        cuts = statistics.quantiles(alone, n=100)
        print(f"one caller: median {cuts[49] * 1e3:.2f} ms, 99th of 100 {cuts[98] * 1e3:.2f} ms")
        threads = [threading.Thread(target=look, args=(bench, [])) for _ in range(THREADS)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(f"{THREADS} callers: {THREADS * CALLS / (time.perf_counter() - started):.0f} calls a second")
        bench.close()


if __name__ == "__main__":
    main()
