"""How a thin pool grows: by itself when it is almost full, and onto a disk that was added to its group.

Who looks at a pool and lets it grow by what was seen holds its lock meanwhile, so that of two who find it full at the
same time the second one finds it grown. The metadata come first: they are small, and a pool without room for them
cannot even delete. They take their size twice, since LVM lets its spare area grow with them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from brickyard.brick.lvm import groups, reports
from brickyard.brick.lvm.reports import Group, Volume
from brickyard.brick.lvm.volumes import Volumes
from brickyard.core import errors
from brickyard.core.bricks import Did
from brickyard.core.sizes import MIB

METADATA_STEP_BYTES = 16 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """When nothing more is promised, and how the pool grows before that; all in percent."""

    data_percent_max: int = 90
    metadata_percent_max: int = 80
    autoextend_threshold: int = 75
    autoextend_percent: int = 0  # of the pool's size at a time; 0: never
    autoextend_keep_bytes: int = 0  # of the group, left alone


def when_due(volumes: Volumes, group: Group, pool: Volume, limits: Limits, *, raid1: bool) -> Did:
    """Let the pool grow, if it is full to the threshold, into what the group has free beyond what is to be kept."""
    did, free = Did.ALREADY, _free(group, limits, raid1=raid1)
    data_at = min(limits.autoextend_threshold, limits.data_percent_max)
    metadata_at = min(limits.autoextend_threshold, limits.metadata_percent_max)
    if (pool.metadata_percent or 0) >= metadata_at and free >= METADATA_STEP_BYTES * 2:
        more = max(METADATA_STEP_BYTES, pool.metadata_bytes * limits.autoextend_percent // 100)
        more = min(group.rounded(more), free // 2 // group.extent_bytes * group.extent_bytes)
        volumes.change("lvextend", "--poolmetadatasize", f"+{more}b", volumes.place(pool))
        free, did = free - 2 * more, Did.CHANGED
    more = min(group.rounded(pool.size_bytes * limits.autoextend_percent // 100), free)
    more = more // group.extent_bytes * group.extent_bytes
    if (pool.data_percent or 0) >= data_at and more > 0:
        volumes.change("lvextend", "-L", f"+{more}b", volumes.place(pool))
        did = Did.CHANGED
    return did


def onto(volumes: Volumes, group: Group, pool: Volume, limits: Limits, device: str, *, raid1: bool) -> Did:
    """Let the pool take a disk of its group, but for the tenth that was left of those that it was made of, and its
    metadata what they need then. A mirrored pool grows when there are two such disks."""
    if all(os.path.realpath(one.path) != os.path.realpath(device) for one in group.devices):
        raise errors.NotFound(f"{device} is no device of {group.name}: add it first")
    more, _ = _room(volumes, group, pool, limits, device, raid1=raid1)
    if more == 0:
        return Did.ALREADY
    missing = group.rounded(groups.metadata_bytes(pool.size_bytes + more)) - pool.metadata_bytes
    missing = min(missing, _free(group, limits, raid1=raid1) // 2 // group.extent_bytes * group.extent_bytes)
    if missing > 0:
        volumes.change("lvextend", "--poolmetadatasize", f"+{missing}b", volumes.place(pool))
        group = volumes.look()
    more, paths = _room(volumes, group, pool, limits, device, raid1=raid1)
    if more > 0:
        volumes.change("lvextend", "-L", f"+{more}b", volumes.place(pool), *paths)
    return Did.CHANGED


def _room(
    volumes: Volumes, group: Group, pool: Volume, limits: Limits, device: str, *, raid1: bool
) -> tuple[int, list[str]]:
    """By how many bytes the pool may grow onto a disk, or onto all that are about empty where it is mirrored, and the
    paths of these."""
    held, found = _held(volumes, group, pool), dict[str, int]()
    for one in group.devices:
        share = one.size_bytes * groups.POOL_PERCENT // 100 - held.get(one.path, 0)
        is_meant = os.path.realpath(one.path) == os.path.realpath(device)
        if one.allocatable and (2 * share > one.size_bytes * groups.POOL_PERCENT // 100 if raid1 else is_meant):
            found[one.path] = max(0, min(share, one.free_bytes))
    room = reports.mirrored(found.values()) if raid1 else sum(found.values())
    more = min(room, _free(group, limits, raid1=raid1))
    return more // group.extent_bytes * group.extent_bytes, list(found)


def _held(volumes: Volumes, group: Group, pool: Volume) -> dict[str, int]:
    """Bytes of the pool's data on each device."""
    with volumes.turn() as lvm:
        rows = lvm.report("pvs", "--segments", "-o", "pv_name,vg_name,lv_name,pvseg_size")["pvseg"]
    held = dict[str, int]()
    for row in rows:
        if row["vg_name"] == group.name and row["lv_name"].strip("[]").startswith(f"{pool.name}_tdata"):
            held[row["pv_name"]] = held.get(row["pv_name"], 0) + int(row["pvseg_size"]) * group.extent_bytes
    return held


def _free(group: Group, limits: Limits, *, raid1: bool) -> int:
    return max(0, group.free_bytes - limits.autoextend_keep_bytes) // (2 if raid1 else 1)


def full(pool: Volume, limits: Limits) -> str:
    """In words what of a pool is too full to promise more; nothing where all is well."""
    if (pool.data_percent or 0) >= limits.data_percent_max:
        return f"full to {pool.data_percent} % of its {pool.size_bytes} bytes (limit {limits.data_percent_max} %)"
    if (pool.metadata_percent or 0) >= limits.metadata_percent_max:
        what = f"{pool.metadata_percent} % of its {pool.metadata_bytes} bytes of metadata"
        return f"full to {what} (limit {limits.metadata_percent_max} %)"
    return ""
