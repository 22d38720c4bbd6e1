"""Storage made of disks: how the devices of a host become what a driver keeps its bricks on, and how that grows,
shrinks and goes again.

Each kind of driver says in KINDS who does it. What is made is told as the options that the driver takes, as text. Every
act may run twice. A device is claimed first (`devices.claim`), which refuses everything that is not empty or allowed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from brickyard.brick import devices as disks_of_host
from brickyard.brick import registry
from brickyard.brick.devices import Device
from brickyard.brick.disks import disk, preparing
from brickyard.brick.disks.driver import DiskDriver
from brickyard.brick.driver import Progress
from brickyard.brick.lvm import groups, reports
from brickyard.brick.lvm.command import Lvm
from brickyard.core import errors
from brickyard.core.bricks import Did, Receipt

Options = dict[str, str]
BY_ID = "/dev/disk/by-id"
NEVER = ("dm-", "lvm-", "md-")  # links that say what is on a disk, and not which one it is
BEST = ("wwn-", "nvme-eui.", "nvme-", "scsi-", "ata-", "virtio-")


class Kind(Protocol):
    """How one kind of storage is made. `options` are the driver's, as `make` or `take_over` told them."""

    def mine(self, name: str, devices: Sequence[str]) -> list[str]:
        """Those of the devices that a former call has made this of."""

    def make(self, name: str, devices: Sequence[str], *, raid1: bool) -> Options: ...

    def unmake(self, name: str, devices: Sequence[str]) -> Did: ...

    def take_over(self, volume_group: str, thin_pool: str | None) -> Options: ...

    def extend(self, options: Mapping[str, str], device: str) -> Options: ...

    def drain(self, options: Mapping[str, str], device: str, progress: Progress | None, held: Sequence[str]) -> Did: ...

    def wipe_moved(self, options: Mapping[str, str], device: str, progress: Progress | None) -> list[Receipt]: ...

    def refill(self, options: Mapping[str, str], device: str) -> Did: ...

    def remove_device(self, options: Mapping[str, str], device: str) -> Options: ...

    def destroy(self, options: Mapping[str, str]) -> Did: ...


# the verbs -------------------------------------------------------------------------------------------------------


def claim(devices: Sequence[str], *, wipe: Sequence[str] = ()) -> list[Device]:
    """All of them, or none: first it is asked of each whether it may be taken, and only then the first is emptied.

    `wipe` holds the serials of those whose content may be lost. DeviceInUse names what was found.
    """
    found = [disks_of_host.inspect(path) for path in devices]
    paths = [one.path for one in found]
    if twice := sorted({path for path in paths if paths.count(path) > 1}):
        raise errors.Invalid(f"{', '.join(twice)} is given twice: each device counts once", field="devices")
    if unknown := sorted(set(wipe) - {device.confirmation for device in found}):
        known = ", ".join(f"{device.confirmation} ({device.path})" for device in found)
        raise errors.Invalid(
            f"none of the devices has the serial {', '.join(unknown)}; they have: {known}", field="wipe"
        )
    for path, device in zip(devices, found, strict=True):
        if device.in_use or (device.found and device.confirmation not in wipe):
            disks_of_host.claim(path)  # which refuses, and says why
    return [
        disks_of_host.claim(path, serial=device.confirmation if device.confirmation in wipe else None)
        for path, device in zip(devices, found, strict=True)
    ]


def claim_for(driver: str, name: str, devices: Sequence[str], *, wipe: Sequence[str] = ()) -> list[str]:
    """Claim devices for the pool `name`. Those that are its own already, since an earlier call died or its database was
    lost, are left as they are; these are the answer."""
    mine = _kind(driver).mine(name, devices)
    if others := [device for device in devices if device not in mine]:
        confirmed = {disks_of_host.inspect(device).confirmation for device in mine}
        claim(others, wipe=[serial for serial in wipe if serial not in confirmed])
    return mine


def make_pool(
    driver: str,
    name: str,
    devices: Sequence[str],
    *,
    raid1: bool = False,
    wipe: Sequence[str] = (),
    claimed: bool = False,
) -> Options:
    """Storage for `driver` of these devices; its options. `name` is the pool's, so that a repeat finds what is there.

    `claimed`: the caller has done that, and keeps in mind that it has.
    """
    if not claimed:
        claim_for(driver, name, devices, wipe=wipe)
    return _kind(driver).make(name, _stable(devices), raid1=raid1)


def unmake_pool(driver: str, name: str, devices: Sequence[str]) -> Did:
    """The undo of `make_pool`, wherever that ended: `devices`, which were claimed for it, are blank again. What another
    call of that name has made of other devices stays."""
    return _kind(driver).unmake(name, devices)


def take_over(driver: str, volume_group: str, thin_pool: str | None = None) -> Options:
    """The options for a driver on a volume group that is there already; nothing is changed."""
    return _kind(driver).take_over(volume_group, thin_pool)


def extend_pool(
    driver: str, options: Mapping[str, str], device: str, *, wipe: Sequence[str] = (), claimed: bool = False
) -> Options:
    """Add a device; the options that change by it. `wipe` and `claimed` as in `make_pool`."""
    if not claimed and not _has(options, device):
        claim([device], wipe=wipe)
    return _kind(driver).extend(options, _stable([device])[0])


def drain_device(
    driver: str,
    options: Mapping[str, str],
    device: str,
    progress: Progress | None = None,
    *,
    held: Sequence[str] = (),
) -> Did:
    """Move everything from a device to the others; nothing new goes there from now on. NoSpace, with figures and with
    nothing changed, when the others have no room. DeviceInUse, with their names, where bricks that are open cannot be
    moved, or where those that are `held` would have another path. One that died goes on when it is repeated."""
    return _kind(driver).drain(options, device, progress, held)


def wipe_moved(driver: str, options: Mapping[str, str], device: str, progress: Progress | None = None) -> list[Receipt]:
    """Wipe what a drain has copied away from a device; the receipts of that. They are told again by every call until
    the device is refilled or removed, so keep them before. A device of a volume group is erased as a whole, once it is
    empty, and has none."""
    return _kind(driver).wipe_moved(options, device, progress)


def refill_device(driver: str, options: Mapping[str, str], device: str) -> Did:
    """The undo of a drain: bricks may lie there again. `wipe_moved` comes before it."""
    return _kind(driver).refill(options, device)


def remove_device(driver: str, options: Mapping[str, str], device: str) -> Options:
    """Take a drained device out and leave nothing of ours on it; the options that change by it."""
    return _kind(driver).remove_device(options, device)


def destroy_pool(driver: str, options: Mapping[str, str]) -> Did:
    """Take an empty pool apart that `make_pool` made: its devices are blank afterwards."""
    return _kind(driver).destroy(options)


def listed(options: Mapping[str, str]) -> list[str]:
    """The devices in the options of a driver."""
    return [path for path in options.get("devices", "").split(",") if path]


# volume groups ---------------------------------------------------------------------------------------------------


class Groups:
    """LVM: the devices become a volume group `brickyard-<name>`, with a thin pool in it where the driver is thin."""

    def __init__(self, *, thin: bool) -> None:
        self._thin = thin

    def mine(self, name: str, devices: Sequence[str]) -> list[str]:
        found = groups.find(_group(name))
        whole = found is not None and set(map(os.path.realpath, found[1])) == set(map(os.path.realpath, devices))
        return list(devices) if whole else []

    def make(self, name: str, devices: Sequence[str], *, raid1: bool) -> Options:
        uuid = groups.create(_group(name), devices, raid1=raid1, thin=self._thin)
        made = {"volume_group": _group(name), "volume_group_uuid": uuid, "devices": ",".join(devices)}
        if self._thin:
            made["thin_pool"] = f"{_group(name)}-pool"
        return {**made, "raid1": "true"} if raid1 else made

    def unmake(self, name: str, devices: Sequence[str]) -> Did:
        if not devices or (groups.find(_group(name)) is not None and not self.mine(name, devices)):
            return Did.ALREADY
        return groups.destroy(_group(name), devices)

    def take_over(self, volume_group: str, thin_pool: str | None) -> Options:
        found = groups.find(volume_group)
        if found is None:
            there = sorted({member.group for member in groups.members() if member.group})
            raise errors.Invalid(
                f"there is no volume group {volume_group}; there are: {', '.join(there) or 'none'}",
                field="volume_group",
            )
        uuid, devices = found
        taken = {"volume_group": volume_group, "volume_group_uuid": uuid, "devices": ",".join(_stable(devices))}
        if self._thin:
            taken["thin_pool"] = _thin_pool(reports.read(Lvm(devices), volume_group), thin_pool)
        return taken

    def extend(self, options: Mapping[str, str], device: str) -> Options:
        groups.extend(options["volume_group"], device, uuid=options["volume_group_uuid"])
        known = listed(options)
        return {"devices": ",".join(known if _has(options, device) else [*known, device])}

    def drain(self, options: Mapping[str, str], device: str, progress: Progress | None, held: Sequence[str]) -> Did:
        try:
            return groups.drain(options["volume_group"], device, progress, uuid=options["volume_group_uuid"])
        except errors.NoSpace:
            self.refill(options, device)
            raise

    def wipe_moved(self, options: Mapping[str, str], device: str, progress: Progress | None) -> list[Receipt]:
        """The whole device, and not volume by volume: there are no receipts."""
        group, uuid = options["volume_group"], options["volume_group_uuid"]
        groups.erase_left(group, device, progress, uuid=uuid, rate_bytes_s=registry.wipe_rate(options))
        return []

    def refill(self, options: Mapping[str, str], device: str) -> Did:
        return groups.refill(options["volume_group"], device, uuid=options["volume_group_uuid"])

    def remove_device(self, options: Mapping[str, str], device: str) -> Options:
        groups.remove_device(options["volume_group"], device, uuid=options["volume_group_uuid"])
        return {"devices": ",".join(one for one in listed(options) if not _same(one, device))}

    def destroy(self, options: Mapping[str, str]) -> Did:
        return groups.destroy(options["volume_group"], listed(options), uuid=options.get("volume_group_uuid"))


def _thin_pool(group: reports.Group, name: str | None) -> str:
    """The thin pool that is meant, by what it is usually called if nobody says; Invalid names those there are."""
    there = sorted(one.name for one in group.volumes.values() if {"thin", "pool"} <= one.layout)
    meant = name or f"{group.name}-pool"
    if meant not in there:
        raise errors.Invalid(
            f"the volume group {group.name} has no thin pool {meant}; it has: {', '.join(there) or 'none'}",
            field="thin_pool",
        )
    return meant


def _group(name: str) -> str:
    """Never a name that something in /dev has already."""
    return f"brickyard-{name}"


# whole disks and partitions --------------------------------------------------------------------------------------


class Disks:
    """Disks with a partition table and labels of ours. A brick lies on one of them, and moves while nobody has it."""

    def __init__(self, driver: str) -> None:
        self._driver = driver

    def mine(self, name: str, devices: Sequence[str]) -> list[str]:
        wanted = {"pool": name, "driver": self._driver}
        return [one for one in devices if wanted.items() <= (preparing.facts(one) or {}).items()]

    def make(self, name: str, devices: Sequence[str], *, raid1: bool) -> Options:
        if raid1:
            raise errors.Invalid(f"driver {self._driver} keeps nothing twice: use lvm or lvm-thin", field="raid1")
        for device in devices:
            preparing.prepare(device, pool=name, driver=self._driver)
        return {"devices": ",".join(devices)}

    def unmake(self, name: str, devices: Sequence[str]) -> Did:
        mine = self.mine(name, devices)
        done = [preparing.forget(device, pool=name, driver=self._driver) for device in mine]
        return Did.CHANGED if Did.CHANGED in done else Did.ALREADY

    def take_over(self, volume_group: str, thin_pool: str | None) -> Options:
        raise errors.Invalid(f"driver {self._driver} lies on disks and on no volume group", field="volume_group")

    def extend(self, options: Mapping[str, str], device: str) -> Options:
        preparing.prepare(device, pool=self._pool(options, device), driver=self._driver)
        known = listed(options)
        return {"devices": ",".join(known if _has(options, device) else [*known, device])}

    def drain(self, options: Mapping[str, str], device: str, progress: Progress | None, held: Sequence[str]) -> Did:
        return self._bricks(options).drain(device, progress, held) if preparing.facts(device) else Did.ALREADY

    def wipe_moved(self, options: Mapping[str, str], device: str, progress: Progress | None) -> list[Receipt]:
        return list(self._bricks(options).wipe_moved(device, progress)) if preparing.facts(device) else []

    def refill(self, options: Mapping[str, str], device: str) -> Did:
        return self._bricks(options).refill(device) if preparing.facts(device) else Did.ALREADY

    def remove_device(self, options: Mapping[str, str], device: str) -> Options:
        left = [one for one in listed(options) if not _same(one, device)]
        if not left:
            raise errors.BrickError(f"{device} is the last device of the pool: delete the pool instead")
        preparing.forget(device, pool=self._pool(options, device), driver=self._driver)
        return {"devices": ",".join(left)}

    def destroy(self, options: Mapping[str, str]) -> Did:
        devices = listed(options)
        name = self._pool(options, "")
        for device in devices:
            self._check_empty(device)  # of all, before the first is touched
        done = [preparing.forget(device, pool=name, driver=self._driver) for device in devices]
        return Did.CHANGED if Did.CHANGED in done else Did.ALREADY

    def _bricks(self, options: Mapping[str, str]) -> DiskDriver:
        return DiskDriver(listed(options), whole=self._driver == "disk", wipe_rate_bytes_s=registry.wipe_rate(options))

    def _check_empty(self, device: str) -> None:
        if not preparing.facts(device):
            return
        with disk.opened(disks_of_host.resolve(device)) as opened:
            names = [brick.name for brick in opened.bricks()]
        if names:
            shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            raise errors.DeviceInUse(f"{device} holds {len(names)} bricks: delete them first: {shown}", names)

    def _pool(self, options: Mapping[str, str], device: str) -> str:
        """The pool that the disks of these options say they belong to; `device` is asked last."""
        for path in sorted(listed(options), key=lambda one: _same(one, device)):
            if facts := preparing.facts(path):
                return str(facts.get("pool"))
        return ""


KINDS: dict[str, Kind] = {
    "lvm": Groups(thin=False),
    "lvm-thin": Groups(thin=True),
    "disk": Disks("disk"),
    "partition": Disks("partition"),
}


# names of devices ------------------------------------------------------------------------------------------------


def _stable(devices: Iterable[str]) -> list[str]:
    """Names that the next boot knows too: links by serial number where there are any, else the kernel's own."""
    links: dict[str, list[str]] = {}
    names = sorted(os.listdir(BY_ID)) if os.path.isdir(BY_ID) else []
    for name in names:
        if not name.startswith(NEVER) and "," not in name:
            links.setdefault(os.path.realpath(f"{BY_ID}/{name}"), []).append(name)
    found = []
    for device in devices:
        real = disks_of_host.resolve(device)
        best = sorted(links.get(real, ()), key=_rank)
        found.append(f"{BY_ID}/{best[0]}" if best else real)
    return found


def _rank(name: str) -> tuple[int, str]:
    return next((n for n, prefix in enumerate(BEST) if name.startswith(prefix)), len(BEST)), name


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _has(options: Mapping[str, str], device: str) -> bool:
    return any(_same(one, device) for one in listed(options))


def _kind(driver: str) -> Kind:
    if driver not in KINDS:
        raise errors.Invalid(
            f"driver {driver} is not made of devices; those that are: {', '.join(KINDS)}", field="driver"
        )
    return KINDS[driver]
