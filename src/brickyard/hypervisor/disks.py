"""A disk in QEMU's words: the block node that opens the file, and the device that the guest sees.

The format is always stated and never guessed, and no other file is ever opened on the word of an image: what QEMU may
read is decided here and not in a header that a tenant wrote.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Any

from brickyard.brick import direct
from brickyard.core import bricks, errors
from brickyard.hypervisor.machine import Disk

FORMATS = frozenset({"raw", "qcow2", "vdi"})
SERIAL_CHARACTERS = 20  # what the virtio block device has room for
NODE_CHARACTERS = 24  # of the id: QEMU's node names end at 31 characters
QCOW2_MAGIC = b"QFI\xfb"
QCOW2_BACKING = slice(8, 16)  # offset of the backing file's name, 0 where there is none
QCOW2_INCOMPATIBLE = slice(72, 80)
QCOW2_EXTERNAL_DATA = 1 << 2
PLACES = ("disk", "next")  # a disk that moves has two block nodes for a while, and keeps the second
RECONNECT_S = 600  # longer than a host takes to start


def check_words(disk: Disk) -> None:
    """Raise Invalid for a serial or a format that no disk can have."""
    if not re.fullmatch(bricks.UUID, disk.serial):
        raise errors.Invalid(f"{disk.serial!r} is not the id of a volume: give a lower-case uuid", field="serial")
    if disk.format not in FORMATS:
        raise errors.Invalid(f"format {disk.format!r} is not one of {', '.join(sorted(FORMATS))}", field="format")


def check_growth(format: str, serial: str) -> None:
    """Raise GuestError for a format that QEMU cannot make larger."""
    if format == "vdi":
        raise errors.GuestError(
            f"disk {serial} is a vdi image, which cannot grow in use: detach it, extend the volume, attach it"
        )


def check(disk: Disk) -> None:
    """Raise unless the disk exists here and may be given to a guest."""
    check_words(disk)
    if disk.export is not None:
        return  # its own host has opened it
    try:
        status = os.stat(disk.path)
    except OSError as failed:
        raise errors.GuestError(f"disk {disk.serial} cannot be used: {failed}; open its volume first") from failed
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISBLK(status.st_mode):
        raise errors.GuestError(f"disk {disk.serial}: {disk.path} is neither a file nor a block device; give its path")
    if disk.format == "qcow2":
        _check_qcow2(disk)


def _check_qcow2(disk: Disk) -> None:
    """Refuse an image whose content lies elsewhere: without the other file the guest would read zeros for data."""
    with open(disk.path, "rb") as file:
        header = file.read(104)
    if header[:4] != QCOW2_MAGIC:
        raise errors.UnsafeImage(f"disk {disk.serial}: {disk.path} is no qcow2 image; state the format that it has")
    if any(header[QCOW2_BACKING]):
        raise errors.UnsafeImage(f"disk {disk.serial} has a backing file, which is never followed; flatten it first")
    version, incompatible = header[4:8], int.from_bytes(header[QCOW2_INCOMPATIBLE], "big")
    if version != b"\0\0\0\2" and incompatible & QCOW2_EXTERNAL_DATA:
        raise errors.UnsafeImage(
            f"disk {disk.serial} keeps its data in another file; convert it to a plain image first"
        )


def node_name(serial: str, place: str = PLACES[0]) -> str:
    return f"{place}-{serial.replace('-', '')[:NODE_CHARACTERS]}"


def device_id(serial: str) -> str:
    return f"disk-{serial}"


def serial_of(qdev: str) -> str | None:
    """The serial of the disk whose device QEMU calls `qdev` (an id or a path); None if it is not one of ours."""
    match = re.search(rf"(?:^|/)disk-({bricks.UUID})(?:/|$)", qdev)
    return match[1] if match else None


def node(disk: Disk, place: str = PLACES[0]) -> dict[str, Any]:
    """The block node. What the guest discards, or fills with zeros, is given back to the pool."""
    file = _exported(disk, disk.export, place) if disk.export is not None else _file(disk)
    cache = file["cache"]
    words: dict[str, Any] = {
        "driver": disk.format,
        "node-name": node_name(disk.serial, place),
        "read-only": disk.read_only,
        "cache": cache,
        "discard": "unmap",
        "detect-zeroes": "off" if disk.read_only else "unmap",
        "file": {**file, "read-only": disk.read_only},
    }
    if disk.format == "qcow2":
        words["backing"] = None
    return words


def _file(disk: Disk) -> dict[str, Any]:
    cache = {"direct": direct.is_possible(disk.path), "no-flush": False}  # writeback is as safe, with flushes
    kind = "host_device" if stat.S_ISBLK(os.stat(disk.path).st_mode) else "file"
    return {"driver": kind, "filename": disk.path, "aio": "threads", "discard": "unmap", "cache": cache}


def _exported(disk: Disk, export: bricks.Export, place: str) -> dict[str, Any]:
    """While its host is away, as during a restart, requests wait; after that time the guest gets errors."""
    return {
        "driver": "nbd",
        "server": {"type": "inet", "host": export.address, "port": str(export.port)},
        "export": export.name,
        "tls-creds": credentials_id(disk.serial, place),
        "reconnect-delay": RECONNECT_S,
        "discard": "unmap",
        "cache": {"direct": False, "no-flush": False},
    }


def credentials_id(serial: str, place: str = PLACES[0]) -> str:
    return f"key-{serial}" if place == PLACES[0] else f"key-{place}-{serial}"


def credentials(disk: Disk, directory: str, place: str = PLACES[0]) -> dict[str, Any]:
    """The object with which QEMU proves to the host of an exported brick who it is. `directory` holds keys.psk, which
    is read once."""
    assert disk.export is not None
    return {
        "qom-type": "tls-creds-psk",
        "id": credentials_id(disk.serial, place),
        "endpoint": "client",
        "dir": directory,
        "username": disk.export.client,
    }


def device(disk: Disk, slot: str) -> dict[str, Any]:
    return {
        "driver": "virtio-blk-pci",
        "id": device_id(disk.serial),
        "bus": slot,
        # The only place behind a port where a guest looks. Without this QEMU puts a second disk beside the first one,
        # and warns of it in its log only.
        "addr": "0",
        "drive": node_name(disk.serial),
        "serial": disk.serial[:SERIAL_CHARACTERS],
        # The cache of the host is told to the guest as what it is: one that a flush empties.
        "write-cache": "on",
        # A write that finds no room in a thin pool stops the guest and waits to be repeated; the guest never hears of
        # it. Any other error is the guest's to deal with.
        "werror": "enospc",
        "rerror": "report",
        # Without this QEMU's lock on the file keeps a second guest out.
        "share-rw": disk.shared,
    }
