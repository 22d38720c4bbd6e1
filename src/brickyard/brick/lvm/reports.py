"""What a volume group says of itself: one report with everything, shared by all who ask at the same time.

A report costs about as much as a change, so nobody asks LVM about a single volume. `Shared` answers each caller with a
report that began after the call: those who call while one runs wait for the next, and share that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from brickyard.brick.lvm import tags
from brickyard.brick.lvm.command import Lvm, Row
from brickyard.brick.lvm.tags import Tags
from brickyard.core import clock, errors

VG = "vg_name,vg_uuid,vg_size,vg_free,vg_extent_size,vg_missing_pv_count,vg_tags"
PV = "pv_name,pv_uuid,pv_size,pv_used,pv_free,pv_missing,pv_allocatable,pv_tags,pe_start"
LV = (
    "lv_name,lv_uuid,lv_size,lv_tags,lv_attr,lv_layout,lv_active,lv_health_status,pool_lv,origin,data_percent,"
    "metadata_percent,lv_metadata_size,lv_kernel_major,lv_kernel_minor"
)

STOPPED = "sdiX"  # suspended, without a table, with one that waits to be taken, with another than LVM knows


@dataclass(frozen=True, slots=True)
class Volume:
    """A logical volume, ours or not."""

    name: str  # what LVM calls it
    uuid: str
    size_bytes: int
    layout: frozenset[str]  # linear, raid, raid1, thin, pool, snapshot, …
    active: bool
    stopped: bool  # its device is not as it should be: whoever was changing it has died, or is doing it now
    device: str  # of the kernel, as major:minor; nothing of one that is not active
    open: bool  # a process, or another device, has it open
    zeroes: bool  # of a thin pool: a block is filled with zeros before somebody gets it
    health: str  # "" where all is well; "partial" where a device is missing
    pool: str
    origin: str
    data_percent: float | None  # None while it is not active
    metadata_percent: float | None
    metadata_bytes: int
    has_snapshots: bool  # snapshots of the older kind, which depend on it
    is_cow: bool  # it is such a snapshot
    raw_tags: tuple[str, ...]
    tags: Tags


@dataclass(frozen=True, slots=True)
class Device:
    """A physical volume of the group."""

    path: str
    uuid: str
    size_bytes: int
    used_bytes: int
    free_bytes: int
    missing: bool
    allocatable: bool
    begin: int  # where on the disk its size begins, in bytes
    left: int | None  # what was moved away may be read behind so many bytes; None if nothing was


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    uuid: str
    size_bytes: int
    free_bytes: int
    extent_bytes: int
    missing: int  # how many devices are gone
    tags: frozenset[str]
    devices: tuple[Device, ...]
    volumes: dict[str, Volume]

    def rounded(self, size_bytes: int) -> int:
        """The size that a volume gets that is to have `size_bytes`: whole extents."""
        return -(-size_bytes // self.extent_bytes) * self.extent_bytes


def mirrored(free_bytes: Iterable[int]) -> int:
    """What can be kept twice, on two devices, where each has so much room."""
    free = list(free_bytes)
    return min(sum(free) // 2, sum(free) - max(free, default=0))


def read(lvm: Lvm, name: str) -> Group:
    """One look at a group. NotFound if LVM sees none of that name."""
    # A field of another kind of report would change the kind, so each has its own; two are of no use, and empty.
    none = ("-S", "lv_name=none")
    rows = lvm.report(
        "fullreport",
        *("--configreport", "vg", "-o", VG),
        *("--configreport", "pv", "-o", PV),
        *("--configreport", "lv", "-o", LV),
        *("--configreport", "seg", *none),
        *("--configreport", "pvseg", *none),
        name,
    )
    return build(rows, name)


def build(rows: dict[str, list[Row]], name: str) -> Group:
    groups = rows.get("vg", [])
    if not groups:
        raise errors.NotFound(f"the volume group {name} is not there: look at its devices (pvs), or correct the option")
    if len(groups) > 1:
        found = ", ".join(row["vg_uuid"] for row in groups)
        raise errors.BrickMismatch(
            f"several volume groups are called {name} ({found}): rename one (vgrename <uuid> <name>), or name the "
            "devices of ours in the option devices"
        )
    vg = groups[0]
    return Group(
        name=vg["vg_name"],
        uuid=vg["vg_uuid"],
        size_bytes=int(vg["vg_size"]),
        free_bytes=int(vg["vg_free"]),
        extent_bytes=int(vg["vg_extent_size"]),
        missing=int(vg["vg_missing_pv_count"] or 0),
        tags=frozenset(_listed(vg["vg_tags"])),
        devices=tuple(_device(row) for row in rows.get("pv", [])),
        volumes={volume.name: volume for volume in map(_volume, rows.get("lv", []))},
    )


def _device(row: Row) -> Device:
    return Device(
        path=row["pv_name"],
        uuid=row["pv_uuid"],
        size_bytes=int(row["pv_size"] or 0),
        used_bytes=int(row["pv_used"] or 0),
        free_bytes=int(row["pv_free"] or 0),
        missing=bool(row["pv_missing"]),
        allocatable=bool(row["pv_allocatable"]),
        begin=int(row["pe_start"] or 0),
        left=tags.left_of(_listed(row["pv_tags"])),
    )


def _volume(row: Row) -> Volume:
    attributes = row["lv_attr"].ljust(10, "-")
    own = _listed(row["lv_tags"])
    return Volume(
        name=row["lv_name"],
        uuid=row["lv_uuid"],
        size_bytes=int(row["lv_size"]),
        layout=frozenset(_listed(row["lv_layout"])),
        active=row["lv_active"] not in ("", "unknown") or attributes[4] == "a",
        stopped=attributes[4] in STOPPED,
        device="" if row["lv_kernel_major"] == "-1" else f"{row['lv_kernel_major']}:{row['lv_kernel_minor']}",
        open=attributes[5] == "o",
        zeroes=attributes[7] == "z",
        health=row["lv_health_status"],
        pool=row["pool_lv"],
        origin=row["origin"],
        data_percent=_percent(row["data_percent"]),
        metadata_percent=_percent(row["metadata_percent"]),
        metadata_bytes=int(row["lv_metadata_size"] or 0),
        has_snapshots=attributes[0] in "oO" and "thin" not in _listed(row["lv_layout"]),
        is_cow=attributes[0] in "sS",
        raw_tags=tuple(own),
        tags=tags.read(own),
    )


def _listed(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _percent(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


class Shared:
    """Reports for many callers. `fresh` answers with one that began after the call, `recent` with one that is young."""

    def __init__(self, look: Callable[[], Group]) -> None:
        self._look = look
        self._changed = threading.Condition()
        self._running = False
        self._begun = 0  # the number of the last report that was begun
        self._number = 0  # the number of the report in `_answer`
        self._answer: Group | Exception | None = None
        self._at_s = 0.0

    def fresh(self) -> Group:
        with self._changed:
            needed = self._begun + 1
        return self._report(needed)

    def _report(self, needed: int) -> Group:
        """The report of this number or a later one, begun by whoever comes first of those who need it."""
        with self._changed:
            while self._number < needed and self._running:
                self._changed.wait()
            if self._number >= needed:
                return self._told()
            self._running = True
            self._begun += 1
        answer: Group | Exception | None = None
        at_s = clock.monotonic()
        try:
            answer = self._look()
        except Exception as error:
            answer = error
        finally:
            with self._changed:
                self._running = False
                if answer is not None:
                    self._number, self._answer, self._at_s = self._begun, answer, at_s
                self._changed.notify_all()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def recent(self, age_s: float) -> Group:
        """The last report if it began no longer than `age_s` ago, or the one that is being made; else a fresh one."""
        with self._changed:
            while self._running:
                self._changed.wait()
            if isinstance(self._answer, Group) and clock.monotonic() - self._at_s <= age_s:
                return self._answer
            needed = self._begun + 1  # of many who find it too old at once the first one looks, for all of them
        return self._report(needed)

    def _told(self) -> Group:
        if isinstance(self._answer, Exception):
            raise self._answer
        assert self._answer is not None
        return self._answer
