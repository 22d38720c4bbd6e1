"""Volume groups: made of disks, extended, drained, and destroyed when empty. Every act may run twice.

A change is on the disks before it is answered. Whether a disk may be taken at all is asked before, in
`brick/devices.py`: a disk that still shows a signature is refused here too, since LVM asks then and nobody answers. A
group of ours has the tag `brickyard.group`, is not activated at boot, and has room in its metadata for thousands of
volumes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from brickyard.brick import wipe
from brickyard.brick.driver import Progress
from brickyard.brick.lvm import reports, tags
from brickyard.brick.lvm.command import Lvm
from brickyard.brick.lvm.queue import Queue
from brickyard.brick.lvm.reports import Device, Group
from brickyard.core import errors
from brickyard.core.bricks import Did
from brickyard.core.sizes import MIB

NAME = re.compile(r"[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,99}")
METADATA_AREA = "32m"  # on each disk; the usual 1 MiB is full after some thousands of tagged volumes
POOL_PERCENT = 90  # of the group becomes the thin pool; the rest is what it may grow into
METADATA_PERCENT = 1  # of the pool, between the two below
METADATA_MIN, METADATA_MAX = 16 * MIB, 15 * 1024 * MIB
DRAIN_S = 7 * 86400.0
PERCENT = re.compile(r"Moved: (\d+(?:\.\d+)?)%")


class Member(NamedTuple):
    """A physical volume as the host sees it; `group` and `group_uuid` are empty where it belongs to none."""

    path: str
    uuid: str
    group: str
    group_uuid: str


# looking ---------------------------------------------------------------------------------------------------------


def members(devices: Sequence[str] = ()) -> list[Member]:
    """The physical volumes on `devices`, or all that the host's own LVM configuration shows, guests' disks aside."""
    rows = Lvm(devices).report("pvs", "-o", "pv_name,pv_uuid,vg_name,vg_uuid")
    return [Member(row["pv_name"], row["pv_uuid"], row["vg_name"], row["vg_uuid"]) for row in rows.get("pv", [])]


def find(name: str, *, uuid: str | None = None, devices: Sequence[str] = ()) -> tuple[str, tuple[str, ...]] | None:
    """UUID and devices of the group called `name`; None if there is none. A name is not an identity: BrickMismatch if
    several groups have it and `uuid` does not say which, or if the one there is has another uuid."""
    found: dict[str, list[str]] = {}
    for member in members(devices):
        if member.group == checked(name):
            found.setdefault(member.group_uuid, []).append(member.path)
    if not found:
        return None
    if uuid is None and len(found) > 1:
        raise errors.BrickMismatch(
            f"several volume groups are called {name}: {_told(found)}; say which is meant by the option "
            "volume_group_uuid, or rename the other one (vgrename <uuid> <name>)"
        )
    if uuid is not None and uuid not in found:
        raise errors.BrickMismatch(
            f"the volume group {name} is another one: {_told(found)}; wanted: {uuid}; bring its devices back, or "
            "correct the option volume_group_uuid"
        )
    one = uuid or next(iter(found))
    return one, tuple(sorted(path for path in found[one] if path.startswith("/")))


def _told(found: dict[str, list[str]]) -> str:
    return ", ".join(f"{uuid} on {' '.join(paths)}" for uuid, paths in found.items())


def checked(name: str) -> str:
    if not NAME.fullmatch(name) or name in (".", ".."):
        raise errors.Invalid(f"{name!r} is no name for a volume group: letters, digits and _ + . - only", field="name")
    return name


def _group(name: str, uuid: str | None) -> tuple[Lvm, Group]:
    found = find(name, uuid=uuid)
    if found is None:
        raise errors.NotFound(f"the volume group {name} is not there: look at its devices (pvs)")
    lvm = Lvm(found[1])
    return lvm, reports.read(lvm, name)


def _device(group: Group, device: str) -> Device | None:
    real = os.path.realpath(device)
    return next((one for one in group.devices if os.path.realpath(one.path) == real), None)


# making ----------------------------------------------------------------------------------------------------------


def create(name: str, devices: Sequence[str], *, raid1: bool = False, thin: bool = False, clean: bool = False) -> str:
    """A volume group on `devices`, with a thin pool `<name>-pool` where `thin`; its uuid.

    `raid1` is for groups that mirror what they hold, on two devices at least. `clean` says that every byte of the
    devices reads as zeros, so that new volumes need not be wiped first. BrickMismatch if a device or the name belongs
    to another group.
    """
    checked(name)
    _check_devices(devices, raid1)
    there = find(name)
    for member in members(devices):
        if member.group and (there is None or member.group_uuid != there[0]):
            raise errors.BrickMismatch(
                f"{member.path} belongs to the volume group {member.group} ({member.group_uuid}): use another device"
            )
    if there is None:
        marks = [tags.GROUP, *([tags.RAID1] if raid1 else []), *([tags.CLEAN] if clean else [])]
        arguments = ["--metadatasize", METADATA_AREA, "--setautoactivation", "n", *tags.changes(marks)]
        Lvm(devices).change("vgcreate", *arguments, name, *devices)
        there = find(name)
    if there is None:
        raise errors.BrickError(f"the volume group {name} was made and is not seen: look at filters in lvm.conf")
    lvm = Lvm(there[1])
    group = reports.read(lvm, name)
    if tags.GROUP not in group.tags or any(_device(group, device) is None for device in devices):
        raise errors.BrickMismatch(
            f"a volume group {name} ({group.uuid}) exists already and is another one, on {' '.join(there[1])}: "
            "use another name, or adopt it"
        )
    if thin:
        make_thin_pool(lvm, name, f"{name}-pool", raid1=raid1)
    return there[0]


def _check_devices(devices: Sequence[str], raid1: bool) -> None:
    if not devices or not all(os.path.isabs(device) and "," not in device for device in devices):
        raise errors.Invalid(f"devices are absolute paths, one at least: {list(devices)}", field="devices")
    if raid1 and len({os.path.realpath(device) for device in devices}) < 2:
        raise errors.Invalid("a mirrored group needs two devices at least", field="devices")


def make_thin_pool(lvm: Lvm, name: str, pool: str, *, raid1: bool = False) -> Did:
    """A thin pool in most of what is free in the group, which fills new blocks with zeros."""
    group = reports.read(lvm, name)
    if pool in group.volumes and "pool" in group.volumes[pool].layout:
        return lvm.kept()
    if pool in group.volumes and not (raid1 and tags.tag("making") in group.volumes[pool].raw_tags):
        raise errors.BrickMismatch(f"{name}/{pool} exists and is no thin pool: use another name")
    copies = 2 if raid1 else 1
    room = group.free_bytes // copies
    metadata = group.rounded(metadata_bytes(room))
    # A spare of the metadata is set aside by LVM for repairs, of the same size.
    data = (room - 2 * metadata) * POOL_PERCENT // 100 // group.extent_bytes * group.extent_bytes
    if data < 4 * group.extent_bytes:
        raise errors.NoSpace(f"{name} has {group.free_bytes} bytes free, too few for a thin pool: add a device")
    with Queue(group.uuid).turn():
        if not raid1:
            sizes = ("-L", f"{data}b", "--poolmetadatasize", f"{metadata}b")
            lvm.change("lvcreate", "--type", "thin-pool", *sizes, *_pool_settings(), "-n", pool, name)
        else:
            _make_mirrored(lvm, group, pool, data, metadata)
    return Did.CHANGED


def metadata_bytes(data_bytes: int) -> int:
    """How large the metadata of a thin pool are to be."""
    return min(METADATA_MAX, max(METADATA_MIN, data_bytes * METADATA_PERCENT // 100))


def _pool_settings() -> list[str]:
    return ["-y", "-Zy", "--discards", "passdown", *tags.changes([f"{tags.PREFIX}pool"])]


def _make_mirrored(lvm: Lvm, group: Group, pool: str, data: int, metadata: int) -> None:
    """Data and metadata as mirrors first, and then the two as a pool. What a death left of them is made anew."""
    mirror = ("--type", "raid1", "-m", "1", "--nosync", "-y", "-Wy", "-Zy", *tags.changes([tags.tag("making")]))
    for part in (pool, f"{pool}_meta"):
        if part in group.volumes:
            lvm.change("lvremove", "-y", "-f", f"{group.name}/{part}")
    lvm.change("lvcreate", *mirror, "-L", f"{metadata}b", "-n", f"{pool}_meta", group.name)
    lvm.change("lvcreate", *mirror, "-L", f"{data}b", "-n", pool, group.name)
    parts = ("--poolmetadata", f"{group.name}/{pool}_meta", f"{group.name}/{pool}")
    lvm.change("lvconvert", "-y", "--type", "thin-pool", "-Zy", "--discards", "passdown", *parts)
    own = tags.changes([f"{tags.PREFIX}pool"], [tags.tag("making")])
    lvm.change("lvchange", "--setautoactivation", "n", *own, f"{group.name}/{pool}")


# changing --------------------------------------------------------------------------------------------------------


def extend(name: str, device: str, *, uuid: str | None = None) -> Did:
    """Add a device, which must be free of everything."""
    lvm, group = _group(name, uuid)
    if _device(group, device) is not None:
        return lvm.kept()
    for member in members([device]):
        if member.group:
            raise errors.BrickMismatch(
                f"{device} belongs to the volume group {member.group} ({member.group_uuid}): use another device"
            )
    with Queue(group.uuid).turn():
        if tags.CLEAN in group.tags:  # nobody says that the new one reads as zeros
            lvm.change("vgchange", "--deltag", tags.CLEAN, name)
        Lvm((*lvm.devices, device)).change("vgextend", "--metadatasize", METADATA_AREA, name, device)
    return Did.CHANGED


def drain(name: str, device: str, progress: Progress | None = None, *, uuid: str | None = None) -> Did:
    """Move everything from a device to the others, which goes on where a former call died. NoSpace if they are full."""
    lvm, group = _group(name, uuid)
    one = _device(group, device)
    if one is None or (one.used_bytes == 0 and not one.allocatable):
        return lvm.kept()
    if len(group.devices) == 1:
        raise errors.BrickError(f"{device} is the last device of {name}: add another one first, or destroy the pool")
    queue = Queue(group.uuid)
    if one.allocatable:
        with queue.turn():
            lvm.change("pvchange", "-x", "n", one.path)
    if one.used_bytes:
        room = sum(other.free_bytes for other in group.devices if other != one and other.allocatable)
        if room < one.used_bytes and not any(volume.startswith("pvmove") for volume in group.volumes):
            raise errors.NoSpace(
                f"{device} holds {one.used_bytes} bytes and the other devices of {name} have {room} free: add a device"
            )
        with queue.turn():  # the blocks move, and what they held stays where it was
            if tags.CLEAN in group.tags:
                lvm.change("vgchange", "--deltag", tags.CLEAN, name)
            _note_left(lvm, one, 0)
        lvm.change("pvmove", "-i", "1", one.path, timeout_s=DRAIN_S, watch=_percent(one.used_bytes, progress))
    return Did.CHANGED


def erase_left(
    name: str,
    device: str,
    progress: Progress | None = None,
    *,
    uuid: str | None = None,
    rate_bytes_s: int | None = None,
) -> Did:
    """Erase a drained device, if anything was moved away from it: all of it, since nobody knows what lay where. It goes
    on where a former call died. Nothing is done while something lies there, or may come to lie there."""
    lvm, group = _group(name, uuid)
    one = _device(group, device)
    if one is None or one.left is None or one.used_bytes or one.allocatable:
        return lvm.kept()
    noted, queue = one, Queue(group.uuid)

    def note(offset: int | None) -> None:
        nonlocal noted
        with queue.turn():
            _note_left(lvm, noted, offset)
        noted = replace(noted, left=offset)

    begin, start = one.begin, max(one.begin, one.left)
    end = begin + one.size_bytes
    wipe.erase(one.path, end, begin=begin, start=start, note=note, progress=progress, rate_bytes_s=rate_bytes_s)
    note(None)
    return Did.CHANGED


def _note_left(lvm: Lvm, one: Device, left: int | None) -> None:
    """Write down up to where a device is erased. The group's turn is held."""
    if one.left != left:
        old = [] if one.left is None else [f"{tags.LEFT}{one.left}"]
        new = [] if left is None else [f"{tags.LEFT}{left}"]
        lvm.change("pvchange", *tags.changes(new, old), one.path)


def refill(name: str, device: str, *, uuid: str | None = None) -> Did:
    """The undo of a drain: something may lie there again."""
    lvm, group = _group(name, uuid)
    one = _device(group, device)
    if one is None or one.allocatable:
        return lvm.kept()
    with Queue(group.uuid).turn():
        lvm.change("pvchange", "-x", "y", one.path)
    return Did.CHANGED


def _percent(total_bytes: int, progress: Progress | None) -> Callable[[str], None] | None:
    if progress is None:
        return None

    def watch(output: str) -> None:
        if figures := PERCENT.findall(output):
            progress(int(total_bytes * float(figures[-1]) / 100), total_bytes)

    return watch


def remove_device(name: str, device: str, *, uuid: str | None = None) -> Did:
    """Take a drained device out of the group."""
    lvm, group = _group(name, uuid)
    one = _device(group, device)
    if one is None:
        return _forget([device])
    if one.used_bytes:
        raise errors.BrickError(f"{device} still holds {one.used_bytes} bytes of {name}: drain it first")
    if one.left is not None:
        raise errors.BrickError(f"what was moved away from {device} is not erased: drain it first")
    if len(group.devices) == 1:
        raise errors.BrickError(f"{device} is the last device of {name}: destroy the pool instead")
    with Queue(group.uuid).turn():
        lvm.change("vgreduce", name, one.path)
    _forget([device])
    return Did.CHANGED


def destroy(name: str, devices: Sequence[str] = (), *, uuid: str | None = None) -> Did:
    """Remove a group that holds nothing but a thin pool of ours without volumes. `devices`, where they are known, are
    left without a trace of LVM also when a former call died in the middle."""
    found = find(name, uuid=uuid)
    if found is None:
        return _forget(devices)
    lvm = Lvm(found[1])
    with Queue(found[0]).turn():
        _remove_empty(lvm, name)
    _forget({*found[1], *devices})
    return Did.CHANGED


def _remove_empty(lvm: Lvm, name: str) -> None:
    """Looked at and removed in one turn: removing a pool would take the volumes in it along."""
    group = reports.read(lvm, name)
    held = [one for one in group.volumes.values() if f"{tags.PREFIX}pool" not in one.raw_tags]
    if held:
        shown = ", ".join(sorted(one.name for one in held)[:5])
        raise errors.BrickError(
            f"the volume group {name} still holds {len(held)} volumes ({shown}…): delete them first"
        )
    for pool in group.volumes:
        lvm.change("lvremove", "-y", f"{name}/{pool}")
    lvm.change("vgremove", name)


def _forget(devices: Sequence[str] | set[str]) -> Did:
    """Remove the label of LVM from devices that belong to no group."""
    present = [device for device in sorted(devices) if os.path.exists(device)]
    mine = [member for member in members(present) if not member.group] if present else []
    for member in mine:
        Lvm([member.path]).change("pvremove", member.path)
    return Did.CHANGED if mine else Did.ALREADY
