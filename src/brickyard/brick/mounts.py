"""What this host has mounted or uses as swap, from the tables of the kernel."""

from __future__ import annotations

import os
import re


def points(path: str) -> list[str]:
    """Where a device is mounted. Btrfs says an invented number of a device, so the name of the source counts too."""
    number = os.stat(path).st_rdev
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            _, _, device, _, point, *_ = before.split()
            source = _unescaped(after.split()[1]) if len(after.split()) > 1 else ""
            same = source.startswith("/dev/") and os.path.realpath(source) == path
            if same or device == f"{os.major(number)}:{os.minor(number)}":
                found.append(_unescaped(point))
    return found


def swaps() -> list[str]:
    """The paths of the devices and files that are swap."""
    with open("/proc/swaps", encoding="utf-8") as file:
        names = [_unescaped(line.split()[0]) for line in file.readlines()[1:]]
    return [os.path.realpath(name) for name in names]


def _unescaped(text: str) -> str:
    """The kernel writes blanks in its tables as \\040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
