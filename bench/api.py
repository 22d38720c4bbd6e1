"""What a project's requests cost when 99 others have volumes too, and what they cost when it is alone.

    scripts/bench api [--database sqlite|postgresql|mariadb] [--volumes N] [--projects N] [--rounds N] [--json FILE]

A real service, asked over loopback by one project that has its share of them: first alone, then with the others there.
What an answer costs must not grow with them; the goal is at most 1.5 times, because machines are busy. That no
statement reads every row of a table is held by tests/db/test_plans.py, on the same rows. The rows are written into the
database directly and lie on no pool; nothing else is left out.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import measures  # noqa: E402
import running  # noqa: E402
from tests import crowd, engines  # noqa: E402

from brickyard.api import auth  # noqa: E402
from brickyard.db import database  # noqa: E402

GOAL = 1.5
MINE = auth.NOBODY
REQUESTS = {
    "show a volume": "/v3/volumes/{volume}",
    "list 20": "/v3/volumes?limit=20",
    "list all of the project, in detail": "/v3/volumes/detail",
    "list by status, with the count": "/v3/volumes/detail?status=in-use&with_count=true",
    "list by name": "/v3/volumes/detail?name=volume+3",
    "summary": "/v3/volumes/summary",
    "snapshots, in detail": "/v3/snapshots/detail",
    "limits and what is used": "/v3/limits",
    "flows of a volume": "/v1/flows?resource_id={volume}",
    "newest flows": "/v1/flows?limit=20",
}


def figures(service: running.Service, volume: str, rounds: int) -> dict[str, float]:
    """What each request takes in ms when little is in its way; nine of ten take longer, and much so if it is busy."""
    return {
        name: measures.alone_ms(service, path.format(volume=volume), rounds, "p10_ms")
        for name, path in REQUESTS.items()
    }


def measure(kind: str, volumes: int, projects: int, rounds: int) -> dict[str, list[float]]:
    """By request: alone, and with the others there."""
    each = volumes // projects
    with tempfile.TemporaryDirectory(prefix="brickyard-bench-") as directory:
        url = engines.url(kind) if kind != "sqlite" else f"sqlite:///{directory}/state/brickyard.db"
        with running.service(pathlib.Path(directory), f"[database]\nconnection = {url}\n") as service:
            db = database.Database(url)
            try:
                crowd.fill(db, [MINE], each)
                volume = service.ask("GET", "/v3/volumes?limit=1", expect=200)["volumes"][0]["id"]
                alone = figures(service, volume, rounds)
                started = time.perf_counter()
                crowd.fill(db, [f"other-{number}" for number in range(1, projects)], each)
                print(f"{each * (projects - 1)} volumes of others written in {time.perf_counter() - started:.1f} s")
                crowded = figures(service, volume, rounds)
            finally:
                db.close()
    return {name: [alone[name], crowded[name]] for name in REQUESTS}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--database", choices=engines.KINDS, default="sqlite")
    parser.add_argument("--volumes", type=int, default=10_000)
    parser.add_argument("--projects", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    before = os.getloadavg()[0]
    found = measure(options.database, options.volumes, options.projects, options.rounds)
    print(f"{options.database}: {options.volumes} volumes in {options.projects} projects, asked by one of them")
    print(f"{'request':38} {'alone ms':>9} {'crowded ms':>11} {'ratio':>6}   goal ≤ {GOAL}")
    worst = 0.0
    for name, (alone, crowded) in found.items():
        worst = max(worst, crowded / alone)
        verdict = "" if crowded / alone <= GOAL else "  missed"
        print(f"{name:38} {alone:9.2f} {crowded:11.2f} {crowded / alone:6.2f}{verdict}")
    print(f"processors {os.cpu_count()}, load before {before:.1f}, after {os.getloadavg()[0]:.1f}")
    if options.json:
        where = {"python": platform.python_version(), "processors": os.cpu_count(), "load_before": before}
        asked = {"database": options.database, "volumes": options.volumes, "projects": options.projects}
        options.json.write_text(json.dumps({"where": {**where, **asked}, "ms": found}, indent=1) + "\n")
    return 0 if worst <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
