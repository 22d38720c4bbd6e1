"""The storage library against LVM alone: sixteen thin volumes made at once, and sixteen `lvcreate` one after the other.

    scripts/bench brick [--rounds N] [--volumes N] [--json FILE]

Needs device-mapper. On a machine without it, it runs in the test guest; what counts is the ratio, and both sides are
measured in the same place, in turns, on the same empty thin pool. The goal is at most 1.2.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from brickyard.brick.lvm import groups  # noqa: E402
from brickyard.brick.lvm.thin import ThinDriver  # noqa: E402
from brickyard.core.bricks import Kind, Label  # noqa: E402

GROUP = "bench"
POOL = f"{GROUP}-pool"
DISK_BYTES = 1024 * 1024 * 1024
SIZE_BYTES = 64 * 1024 * 1024
GOAL = 1.2


def has_device_mapper() -> bool:
    return os.geteuid() == 0 and "device-mapper" in pathlib.Path("/proc/misc").read_text()


def alone_s(device: str, number: int) -> float:
    """The same volumes by LVM with its own settings, one command after the other."""
    names = [f"alone-{uuid.uuid4()}" for _ in range(number)]
    started = time.perf_counter()
    for name in names:
        command = ["lvm", "lvcreate", "-q", "--devices", device, "-V", f"{SIZE_BYTES}b", "-T", f"{GROUP}/{POOL}"]
        subprocess.run([*command, "-ky", "-n", name], check=True, capture_output=True)
    spent = time.perf_counter() - started
    _remove(device, names)
    return spent


def ours_s(device: str, number: int) -> float:
    """`number` creates at the same time, by a driver that has not looked at anything yet."""
    labels = [Label(Kind.VOLUME, str(uuid.uuid4()), "bench") for _ in range(number)]
    with ThreadPoolExecutor(number) as threads:
        list(threads.map(int, range(number)))  # the threads are there
        started = time.perf_counter()
        driver = ThinDriver(GROUP, POOL, devices=[device])
        list(threads.map(lambda label: driver.create(label, SIZE_BYTES), labels))
        spent = time.perf_counter() - started
    _remove(device, [label.name for label in labels])
    return spent


def _remove(device: str, names: list[str]) -> None:
    command = ["lvm", "lvremove", "-q", "-y", "--devices", device, *(f"{GROUP}/{name}" for name in names)]
    subprocess.run(command, check=True, capture_output=True)


def measure(rounds: int, volumes: int) -> dict[str, list[float]]:
    """Seconds for all volumes, round by round, in turns so that a busy machine is busy for both."""
    figures: dict[str, list[float]] = {"alone": [], "ours": []}
    with tempfile.TemporaryDirectory(prefix="brickyard-bench-", dir="/dev/shm") as directory:
        disk = pathlib.Path(directory, "disk")
        with open(disk, "wb") as file:
            file.truncate(DISK_BYTES)
        attach = ["losetup", "--find", "--show", str(disk)]
        device = subprocess.run(attach, check=True, capture_output=True, text=True).stdout.strip()
        try:
            groups.create(GROUP, [device], thin=True)
            for number in range(rounds):
                both = [("alone", alone_s), ("ours", ours_s)]
                for name, what in both if number % 2 == 0 else reversed(both):
                    figures[name].append(what(device, volumes))
            groups.destroy(GROUP, [device])
        finally:
            subprocess.run(["losetup", "-d", device], check=True)
    return figures


def in_guest(arguments: list[str]) -> int:
    command = [str(ROOT / "scripts" / "guest"), "run", "--", "python3", str(pathlib.Path(__file__).resolve())]
    return subprocess.run([*command, *arguments], check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--volumes", type=int, default=16)
    options = parser.parse_args()
    if not has_device_mapper():
        if options.json:
            parser.error("--json works where the measuring is done: on a machine with device-mapper, as root")
        return in_guest(sys.argv[1:])
    figures = measure(options.rounds, options.volumes)
    ratios = [ours / alone for ours, alone in zip(figures["ours"], figures["alone"], strict=True)]
    for name, what in (("alone", f"{options.volumes} × lvcreate, one after the other"), ("ours", "creates at once")):
        values = figures[name]
        print(f"{what:40} {statistics.median(values):7.2f} s  ({min(values):.2f} to {max(values):.2f})")
    ratio = statistics.median(ratios)
    verdict = "" if ratio <= GOAL else "  missed"
    print(f"{'ratio':40} {ratio:7.2f}    ({min(ratios):.2f} to {max(ratios):.2f})  goal ≤ {GOAL}{verdict}")
    if options.json:
        options.json.write_text(json.dumps({**figures, "ratio": ratio}, indent=1) + "\n")
    return 0 if ratio <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
