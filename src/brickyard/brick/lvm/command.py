"""The one door for LVM. Nothing else in the program runs it.

Three things make a call safe on a host where guests keep volume groups of their own. It names the devices that LVM
may look at (`--devices`), so a group inside a guest's disk is never seen. It brings its own configuration: no archive
of old metadata, no daemon that acts later, no discard behind our back. And it reads reports as JSON only, between
whatever warnings LVM prints around it; prose is looked at after a failure, to say what kind of failure it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Callable, Sequence

from brickyard.brick import shell, steps
from brickyard.core import errors
from brickyard.core.bricks import Did

# Freed extents are wiped by us, and verified; a discard by LVM afterwards could leave anything there (issue_discards).
SETTINGS = (
    "backup{backup=0 archive=0}",
    "activation{monitoring=0}",
    "global{use_lvmpolld=0 notify_dbus=0}",
    'devices{scan_lvs=0 hints="none" issue_discards=0}',
    'log{prefix="" command_names=0}',
)
TIMEOUT_S = 300.0
REPORT_S = 120.0
CRASHED = (-11, 139)  # LVM dies now and then when udev removes a device under it; a report is then asked for again
Row = dict[str, str]


class Exists(errors.BrickMismatch):
    """A logical volume of this name exists already."""


class InUse(errors.BrickError):
    """A process still uses the logical volume."""


class MissingDevice(errors.BrickError):
    """The volume group has lost a device."""


# What LVM says, what it means, and what to do about it.
MEANINGS: tuple[tuple[str, type[errors.BrickyardError], str], ...] = (
    (
        r"Multiple VGs found with the same name|has duplicate",
        errors.BrickMismatch,
        "rename the one that is not ours (vgrename <uuid> <name>), or leave its devices out of the option devices",
    ),
    (
        r"insufficient free space|Insufficient suitable|Insufficient free|not enough free|is above threshold|"
        r"free extents? .*required|Not enough PVs",
        errors.NoSpace,
        "delete something or add a device to the pool, then repeat",
    ),
    (
        r"while PVs are missing|PVs? missing|missing PV|[Rr]efusing activation of partial|is missing\.",
        MissingDevice,
        "bring the device back, or restore what it held; nothing was changed",
    ),
    (r"already exists in volume group|already exists", Exists, "use another name"),
    (
        r"in use|is used by|contains a filesystem|Device or resource busy|still open",
        InUse,
        "stop the process that has it open (lsof), then repeat",
    ),
    (
        r"[Vv]olume group .* not found|Failed to find (logical volume|LV|VG)|Failed to find logical|"
        r"Cannot process volume group",
        errors.NotFound,
        "look at the devices of the pool and at the option devices",
    ),
)


class Lvm:
    """LVM, allowed to see `devices` only; with none given it sees what the host's own configuration shows it."""

    def __init__(self, devices: Sequence[str] = (), *, settings: Sequence[str] = SETTINGS) -> None:
        self.devices = tuple(devices)
        self._settings = " ".join(settings)

    def argv(self, sub: str, *arguments: str) -> list[str]:
        # A stable name may be a link; LVM is told the device that it leads to now.
        seen = ["--devices", ",".join(map(os.path.realpath, self.devices))] if self.devices else []
        return ["lvm", sub, *seen, "--config", self._settings, *arguments]

    def run(
        self, sub: str, *arguments: str, timeout_s: float = TIMEOUT_S, watch: Callable[[str], None] | None = None
    ) -> str:
        """Run `lvm sub`. Exists, InUse, MissingDevice, NoSpace, NotFound where LVM says so, ToolFailed otherwise."""
        try:
            return shell.run(self.argv(sub, *arguments), timeout_s=timeout_s, watch=watch)
        except errors.ToolFailed as failed:
            raise explained(failed) from failed

    def change(
        self, sub: str, *arguments: str, timeout_s: float = TIMEOUT_S, watch: Callable[[str], None] | None = None
    ) -> None:
        """Run what writes metadata; it is on the disks when this returns."""
        self.run(sub, *arguments, timeout_s=timeout_s, watch=watch)
        self.flush()

    def flush(self) -> None:
        """LVM writes past the cache of the kernel and never flushes that of the disk: a power cut would take back what
        was answered, or would keep what a wipe has written and lose the tag that says so."""
        for device in self.devices:
            steps.sync(device)

    def kept(self) -> Did:
        """ALREADY, and on the disks: who did it may have died before that."""
        for device in self.devices:
            with contextlib.suppress(FileNotFoundError):  # it is lost, and nothing was changed since
                steps.sync(device)
        return Did.ALREADY

    def report(self, sub: str, *arguments: str) -> dict[str, list[Row]]:
        """Rows by the kind of report (vg, pv, lv); sizes are in bytes."""
        form = ("--reportformat", "json", "--units", "b", "--nosuffix")
        for attempt in (1, 2):
            try:
                return parse(self.run(sub, *form, *arguments, timeout_s=REPORT_S))
            except errors.ToolFailed as failed:
                if attempt == 2 or failed.returncode not in CRASHED:
                    raise
        raise AssertionError("not reached")


def explained(failed: errors.ToolFailed) -> errors.BrickyardError:
    """The failure as the error that it means, with what to do next; itself where nobody knows."""
    said = " ".join(line.strip() for line in failed.stderr.splitlines() if "WARNING" not in line and line.strip())
    for pattern, meaning, advice in MEANINGS:
        if re.search(pattern, failed.stderr if meaning is MissingDevice else said):
            sub = failed.argv[1] if len(failed.argv) > 1 else "?"
            return meaning(f"lvm {sub}: {said.rstrip('.') or failed.stderr.strip()}: {advice}")
    return failed


def parse(output: str) -> dict[str, list[Row]]:
    """The reports in `output`, whatever stands before, between or after them. ToolFailed if there is none."""
    decoder, rows, found = json.JSONDecoder(), dict[str, list[Row]](), False
    at = output.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(output, at)
        except ValueError:
            end = at + 1
        else:
            if isinstance(value, dict) and isinstance(value.get("report"), list):
                found = True
                for part in value["report"]:
                    for kind, lines in part.items():
                        rows.setdefault(kind, []).extend(lines)
        at = output.find("{", end)
    if not found:
        raise errors.ToolFailed(("lvm",), 0, f"no report in its output: {output[:500]!r}; look at its version")
    return rows
