"""The whole service, measured: a table of what it does, what we want of it, and what the field is used to.

    scripts/bench [--json FILE] [--rounds N] [--seconds N]

Starts `brickyard serve` in a temporary directory, with real files and synchronous commits, loads it over loopback, and
stops it. Each figure is the median of the rounds, with the lowest and the highest beside it. The yardstick is the
standard service of the field on a machine like ours: two processors, and a backend that does nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import measures
import running


@dataclass(slots=True)
class Measure:
    name: str
    unit: str
    goal: float | None  # at most, or, of what is counted per second, at least
    yardstick: str
    figures: list[float] = field(default_factory=list)

    @property
    def reached(self) -> bool | None:
        if self.goal is None or not self.figures:
            return None
        value = measures.median(self.figures)
        return value >= self.goal if self.unit == "/s" else value <= self.goal


def table() -> dict[str, Measure]:
    rows = (
        ("ready", "start to the first answer", "s", 2.0, "5"),
        ("fresh", "resident memory, fresh", "MB", 200.0, "688"),
        ("create", "create to available, raw", "ms", 15.0, "269 (no files)"),
        ("qemu-img", "qemu-img create, alone", "ms", None, "-"),
        ("qcow2", "create to available, qcow2", "ms", None, "-"),
        ("burst", "200 creates at concurrency 32", "s", 2.0, "57 (no files)"),
        ("attachment", "attachment create to delete", "ms", 15.0, "176"),
        ("show", "show a volume, concurrency 16", "/s", 2500.0, "122"),
        ("show alone", "show a volume, alone", "ms", None, "17.7"),
        ("list", "list 1000 in detail, concurrency 8", "/s", 100.0, "2.8"),
        ("list alone", "list 1000 in detail, alone", "ms", None, "700"),
        ("loaded", "resident memory, after the load", "MB", 200.0, "-"),
        ("1000 pools", "a decision over 1,000 pools", "ms", None, "105"),
        ("10000 pools", "a decision over 10,000 pools", "ms", 3.0, "1300"),
    )
    return {key: Measure(name, unit, goal, yardstick) for key, name, unit, goal, yardstick in rows}


def measure(rows: dict[str, Measure], directory: pathlib.Path, rounds: int, seconds: float) -> None:
    """One service from its start to its end; each figure of it as often as there are rounds."""

    def add(key: str, what: Callable[[], float]) -> None:
        rows[key].figures.append(what())

    with running.service(directory) as service:
        rows["ready"].figures.append(service.ready_s)
        add("fresh", service.resident_mb)
        measures.prepare(service)
        for _ in range(10 * rounds):
            add("create", lambda: measures.create_ms(service, "raw"))
            add("qemu-img", lambda: measures.qemu_img_ms(directory))
            add("qcow2", lambda: measures.create_ms(service, "qcow2"))
        for _ in range(rounds):
            add("burst", lambda: measures.burst_s(service, measures.BURST))
        ids = measures.fill(service, max(measures.LISTED, 20 * rounds + rounds * measures.BURST))
        for id in ids[: 10 * rounds]:
            add("attachment", lambda id=id: measures.attachment_ms(service, id))  # type: ignore[misc]
        for _ in range(rounds):
            add("show", lambda: measures.show_per_s(service, ids, seconds))
            add("show alone", lambda: measures.alone_ms(service, f"/v3/volumes/{ids[0]}", 300))
            add("list", lambda: measures.list_per_s(service, seconds))
            add("list alone", lambda: measures.alone_ms(service, "/v3/volumes/detail", 20))
        add("loaded", service.resident_mb)
    rows["qcow2"].goal = 1.5 * measures.median(rows["qemu-img"].figures) + 10


def show(rows: dict[str, Measure]) -> str:
    lines = [f"{'measure':36} {'ours':>9} {'(lowest to highest)':>22} {'goal':>11}  {'field':<15}"]
    for row in rows.values():
        sign = "≥" if row.unit == "/s" else "≤"
        goal = f"{sign} {row.goal:.4g} {row.unit}" if row.goal is not None else "-"
        if not row.figures:
            lines.append(f"{row.name:36} {'-':>9}")
            continue
        ours = f"{measures.median(row.figures):.4g} {row.unit}"
        spread = f"({min(row.figures):.4g} to {max(row.figures):.4g})"
        verdict = {None: "", True: "", False: "  missed"}[row.reached]
        lines.append(f"{row.name:36} {ours:>9} {spread:>22} {goal:>11}  {row.yardstick:<15}{verdict}")
    return "\n".join(line.rstrip() for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of load, for each figure per second")
    options = parser.parse_args()
    load_before = os.getloadavg()
    rows = table()
    with tempfile.TemporaryDirectory(prefix="brickyard-bench-") as directory:
        measure(rows, pathlib.Path(directory), options.rounds, options.seconds)
    for pools in (1000, 10000):
        rows[f"{pools} pools"].figures.append(measures.decision_ms(pools))
    print(show(rows))
    print(f"processors {os.cpu_count()}, load before {load_before[0]:.1f}, after {os.getloadavg()[0]:.1f}")
    if options.json:
        machine = {"python": platform.python_version(), "machine": platform.machine(), "processors": os.cpu_count()}
        where = {**machine, "load_before": load_before, "load_after": os.getloadavg()}
        kept = [
            asdict(row) | {"median": measures.median(row.figures) if row.figures else None} for row in rows.values()
        ]
        options.json.write_text(json.dumps({"where": where, "rows": kept}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
