"""The table of drivers: their names, their options, and the names by which older configurations know them."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from brickyard.brick import memory, qcow2, raw, vdi
from brickyard.brick.disks.driver import DiskDriver
from brickyard.brick.driver import Driver
from brickyard.brick.guard import Guard
from brickyard.brick.lvm.growing import Limits
from brickyard.brick.lvm.thick import ThickDriver
from brickyard.brick.lvm.thin import ThinDriver
from brickyard.core import errors
from brickyard.core.sizes import GIB, KIB, MIB

LOG = logging.getLogger(__name__)
TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
UNITS = {"": 1, "k": KIB, "m": MIB}
USUAL_GROUP = "cinder-volumes"  # what older configurations mean when they do not say


class Options:
    """The options of one driver as text; each is taken once, and what nobody took is an error."""

    def __init__(self, driver_name: str, options: Mapping[str, str]) -> None:
        self._driver_name = driver_name
        self._left = dict(options)
        self._known: list[str] = []

    def text(self, name: str, default: str | None = None) -> str:
        self._known.append(name)
        value = self._left.pop(name, default)
        if value is None:
            raise errors.Invalid(f"driver {self._driver_name} needs the option {name!r}", field=name)
        return value

    def choice(self, name: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(name, default)
        if value not in allowed:
            raise self.wrong(name, value, ", ".join(allowed))
        return value

    def flag(self, name: str, default: bool) -> bool:
        return self.choice(name, str(default).lower(), TRUE + FALSE) in TRUE

    def number(self, name: str, default: int) -> int:
        value = self.text(name, str(default))
        if not re.fullmatch(r"[1-9][0-9]{0,9}", value):
            raise self.wrong(name, value, "a whole number from 1")
        return int(value)

    def percent(self, name: str, default: int) -> int:
        value = self.text(name, str(default))
        if not re.fullmatch(r"100|[1-9]?[0-9]", value):
            raise self.wrong(name, value, "a whole number from 0 to 100")
        return int(value)

    def paths(self, name: str) -> tuple[str, ...]:
        """Absolute paths with commas between them; none is none."""
        value = self.text(name, "")
        found = tuple(path.strip() for path in value.split(",") if path.strip())
        if not all(os.path.isabs(path) for path in found):
            raise self.wrong(name, value, "absolute paths with commas between them")
        return found

    def wrong(self, name: str, value: str, allowed: str) -> errors.Invalid:
        return errors.Invalid(
            f"driver {self._driver_name}: option {name} is {value!r}; allowed: {allowed}", field=name, allowed=allowed
        )

    def finish(self) -> None:
        for name in self._left:
            raise errors.Invalid(
                f"driver {self._driver_name} has no option {name!r}; allowed: {', '.join(self._known)}",
                field=name,
                allowed=", ".join(self._known),
            )


def _directory(options: Options) -> str:
    """The pool directory, made if only its last part is missing. A missing parent is a disk that is not mounted."""
    path = options.text("path")
    if not os.path.isabs(path):
        raise options.wrong("path", path, "an absolute path")
    return os.path.normpath(path)


def _made(path: str) -> str:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise errors.BrickError(
            f"the pool {path} cannot be created: {error.strerror}; mount or create its parent"
        ) from error
    return path


def _raw(options: Options) -> Driver:
    path, preallocate = _directory(options), options.flag("preallocate", False)
    options.finish()
    return raw.driver(_made(path), preallocate=preallocate)


def _qcow2(options: Options) -> Driver:
    path = _directory(options)
    preallocation = options.choice("preallocation", "off", qcow2.PREALLOCATIONS)
    cluster = options.text("cluster_size", "64k")
    match = re.fullmatch(r"([0-9]{1,8})([kmKM]?)", cluster)
    cluster_bytes = int(match[1]) * UNITS[match[2].lower()] if match else 0
    if cluster_bytes not in qcow2.CLUSTER_BYTES:
        raise options.wrong("cluster_size", cluster, "a power of two from 512 to 2M")
    options.finish()
    return qcow2.driver(_made(path), preallocation=preallocation, cluster_size_bytes=cluster_bytes)


def _vdi(options: Options) -> Driver:
    path = _directory(options)
    options.finish()
    return vdi.driver(_made(path))


def _memory(options: Options) -> Driver:
    capacity_gib, preallocate = options.number("capacity_gib", 1024), options.flag("preallocate", False)
    options.finish()
    return memory.MemoryDriver(memory.Store(capacity_gib * GIB), preallocate=preallocate)


def _lvm(options: Options) -> Driver:
    kind = options.choice("lvm_type", "default", ("default", "thin"))
    if kind == "thin":
        return _lvm_thin(options)
    group, uuid = options.text("volume_group", USUAL_GROUP), options.text("volume_group_uuid", "")
    devices, raid1 = options.paths("devices"), options.flag("raid1", False)
    rate = _wipe_rate(options)
    options.finish()
    return ThickDriver(group, uuid=uuid or None, devices=devices, raid1=raid1, wipe_rate_bytes_s=rate)


def wipe_rate(options: Mapping[str, str]) -> int | None:
    """Bytes per second, of options that a driver was loaded with; None: as fast as it goes."""
    rate_mib = options.get("wipe_rate_mib", "")
    return int(rate_mib) * MIB if re.fullmatch(r"[1-9][0-9]{0,6}", rate_mib) else None


def _wipe_rate(options: Options) -> int | None:
    rate_mib = options.text("wipe_rate_mib", "")
    rate = wipe_rate({"wipe_rate_mib": rate_mib})
    if rate_mib and rate is None:
        raise options.wrong("wipe_rate_mib", rate_mib, "a whole number of MiB from 1")
    return rate


def _disk(options: Options) -> Driver:
    older = options.paths("available_devices")
    return _disks(options, older, whole=True)


def _partition(options: Options) -> Driver:
    return _disks(options, (), whole=False)


def _disks(options: Options, older: tuple[str, ...], *, whole: bool) -> Driver:
    devices, rate = options.paths("devices") or older, _wipe_rate(options)
    options.finish()
    if not devices:
        raise options.wrong("devices", "", "absolute paths of disks with commas between them, at least one")
    return DiskDriver(devices, whole=whole, wipe_rate_bytes_s=rate)


def _lvm_thin(options: Options) -> Driver:
    options.choice("lvm_type", "thin", ("thin",))
    group, uuid = options.text("volume_group", USUAL_GROUP), options.text("volume_group_uuid", "")
    pool = options.text("thin_pool", f"{group}-pool")
    devices, raid1 = options.paths("devices"), options.flag("raid1", False)
    _wipe_rate(options)  # which is for a disk that leaves the group, and not for volumes
    make_pool = options.flag("make_thin_pool", False)
    usual = Limits()
    limits = Limits(
        data_percent_max=options.percent("data_percent_max", usual.data_percent_max),
        metadata_percent_max=options.percent("metadata_percent_max", usual.metadata_percent_max),
        autoextend_threshold=options.percent("autoextend_threshold", usual.autoextend_threshold),
        autoextend_percent=options.percent("autoextend_percent", usual.autoextend_percent),
        autoextend_keep_bytes=_whole_gib(options, "autoextend_keep_gib"),
    )
    options.finish()
    return ThinDriver(group, pool, uuid=uuid or None, devices=devices, raid1=raid1, make_pool=make_pool, limits=limits)


def _whole_gib(options: Options, name: str) -> int:
    value = options.text(name, "0")
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise options.wrong(name, value, "a whole number of GiB")
    return int(value) * GIB


DRIVERS: dict[str, Callable[[Options], Driver]] = {
    "raw": _raw,
    "qcow2": _qcow2,
    "vdi": _vdi,
    "memory": _memory,
    "lvm": _lvm,
    "lvm-thin": _lvm_thin,
    "disk": _disk,
    "partition": _partition,
}

# What older configurations call local storage, and what it is here.
FOREIGN = {
    "cinder.volume.drivers.lvm.LVMVolumeDriver": "lvm",
    "cinder.volume.drivers.lvm.LVMISCSIDriver": "lvm",
    "cinder.volume.drivers.lvm.LVMISERDriver": "lvm",
    "cinder.volume.drivers.lvm.ThinLVMVolumeDriver": "lvm-thin",
    "cinder.volume.drivers.block_device.BlockDeviceDriver": "disk",
    "cinder.volume.driver.ISCSIDriver": "lvm",
    "cinder.volume.driver.ISERDriver": "lvm",
    "nova.volume.driver.ISCSIDriver": "lvm",
    "brick.local_dev.lvm.LVM": "lvm",
    "cinder.brick.local_dev.lvm.LVM": "lvm",
    "os_brick.local_dev.lvm.LVM": "lvm",
}

# Known as well, and refused with the reason: what they store is not on a disk of this host.
REMOTE = {
    "cinder.volume.drivers.nfs.NfsDriver": "NFS",
    "cinder.volume.drivers.rbd.RBDDriver": "Ceph RBD",
    "cinder.volume.drivers.glusterfs.GlusterfsDriver": "GlusterFS",
}


@dataclass(frozen=True, slots=True)
class Canonical:
    name: str
    warning: str | None = None


def canonical(driver_name: str) -> Canonical:
    """Our name of a driver, with a warning where the configuration uses an older one. Invalid if nobody knows it."""
    if driver_name in DRIVERS:
        return Canonical(driver_name)
    if ours := FOREIGN.get(driver_name):
        return Canonical(ours, f"volume_driver {driver_name} is an older name: write {ours}")
    allowed = ", ".join(DRIVERS)
    if kind := REMOTE.get(driver_name):
        raise errors.Invalid(
            f"driver {driver_name} keeps its volumes on {kind}, and Brickyard is for local disks; allowed: {allowed}",
            field="volume_driver",
            allowed=allowed,
        )
    raise errors.Invalid(
        f"there is no driver {driver_name!r}; allowed: {allowed}", field="volume_driver", allowed=allowed
    )


def load(driver_name: str, options: Mapping[str, str]) -> Guard:
    """A guarded driver. Options are text, as they stand in a configuration file."""
    name = canonical(driver_name)
    if name.warning:
        LOG.warning(name.warning)
    driver = DRIVERS[name.name](Options(name.name, options))
    place = options.get("path") or options.get("volume_group") or options.get("devices")
    return Guard(driver, f"{name.name}:{place}" if place else name.name)
