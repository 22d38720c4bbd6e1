"""The disks of a node and the storage that is made of them: the part of the verbs that needs no driver."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from brickyard.brick import devices, making
from brickyard.brick.driver import Progress
from brickyard.brick.lvm import groups
from brickyard.core import errors, pools
from brickyard.core.bricks import Did, Receipt
from brickyard.nodes import verbs

Owners = Mapping[str, Mapping[str, Any]]  # backend → its options

# One at a time on a host: each looks at what the others have before it takes a device.
_taking = threading.Lock()


def listed(owners: Owners, paths: Sequence[str] = ()) -> list[verbs.Disk]:
    """Every disk of this host, or those that are named, with what is on it and the backend that has it."""
    found = [devices.inspect(path) for path in paths] if paths else devices.list_devices()
    mine = _owned(owners)
    return [verbs.Disk(device, mine.get(device.path)) for device in found]


def claim(owners: Owners, backend: str, paths: Sequence[str], wipe: Sequence[str], driver: str | None) -> list[str]:
    """Empty devices for a backend, or refuse them with what was found. With a driver, those that are the backend's own
    since an earlier life stay as they are; these are the answer."""
    with _taking:
        mine = _owned(owners)
        for path in paths:
            owner = mine.get(devices.resolve(path))
            if owner not in (None, backend):
                raise errors.DeviceInUse(f"{path} is a device of backend {owner}: use another one", (str(owner),))
        if driver is not None:
            return making.claim_for(driver, backend, paths, wipe=wipe)
        making.claim(paths, wipe=wipe)
        return []


def make(backend: str, wish: verbs.Wish) -> dict[str, str]:
    with _taking:
        if wish.volume_group is not None:
            return making.take_over(wish.driver, wish.volume_group, wish.thin_pool)
        return making.make_pool(wish.driver, backend, wish.devices, raid1=wish.raid1, claimed=True)


def unmake(backend: str, driver: str, paths: Sequence[str]) -> Did:
    with _taking:
        return making.unmake_pool(driver, backend, paths)


def extend(driver: str, options: Mapping[str, Any], device: str) -> dict[str, str]:
    with _taking:
        return making.extend_pool(driver, _texts(options), device, claimed=True)


def drain(driver: str, options: Mapping[str, Any], device: str, held: Sequence[str], progress: Progress | None) -> Did:
    return making.drain_device(driver, _texts(options), device, progress, held=held)


def wipe_moved(driver: str, options: Mapping[str, Any], device: str, progress: Progress | None) -> list[Receipt]:
    return making.wipe_moved(driver, _texts(options), device, progress)


def refill(driver: str, options: Mapping[str, Any], device: str) -> Did:
    return making.refill_device(driver, _texts(options), device)


def remove_device(driver: str, options: Mapping[str, Any], device: str) -> dict[str, str]:
    with _taking:
        return making.remove_device(driver, _texts(options), device)


def destroy(driver: str, options: Mapping[str, Any]) -> Did:
    with _taking:
        return making.destroy_pool(driver, _texts(options))


def _owned(owners: Owners) -> dict[str, str]:
    """Path of a device → the backend that it belongs to, by its options or as a member of its volume group."""
    found: dict[str, str] = {}
    by_group: dict[str, str] = {}
    for backend, options in owners.items():
        place = pools.place(options)
        for path in place.get("devices", ()):
            found[os.path.realpath(path)] = backend
        if "volume_group" in place:
            by_group[place["volume_group"]] = backend
    if by_group:
        with contextlib.suppress(errors.BrickError):  # without LVM there are no members to be told of
            for member in groups.members():
                if member.group in by_group:
                    found.setdefault(os.path.realpath(member.path), by_group[member.group])
    return found


def _texts(options: Mapping[str, Any]) -> dict[str, str]:
    """As a driver takes them: the API may have been given a number."""
    return {name: str(value) for name, value in options.items() if isinstance(value, (str, int))}
