"""What an administrator may ask for when a pool is made, and what is wrong with it, told before anything is touched."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from brickyard.brick import registry
from brickyard.core import errors
from brickyard.nodes import verbs

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
DEVICE = re.compile(r"/dev/[A-Za-z0-9][A-Za-z0-9._:+@=/-]{0,240}")
GROUP = re.compile(r"[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,99}")
NAMED = ("driver", "path", "availability_zone", "volume_backend_name")
NOT_OPTIONS = {
    *NAMED, "volume_driver", "backend_availability_zone", "devices", "volume_group", "volume_group_uuid", "thin_pool",
    "raid1", "made", "serials",
}  # fmt: skip
OF_GROUPS = ("lvm", "lvm-thin")
# driver → what a pool of it is made of: one of these. A driver that is not named here is made of a directory.
MADE_OF: dict[str, tuple[str, ...]] = {
    "memory": (),
    "lvm": ("devices", "volume_group"),
    "lvm-thin": ("devices", "volume_group"),
    "disk": ("devices",),
    "partition": ("devices",),
}
WORDS = {
    "path": "the absolute path of a directory on the host",
    "devices": "disks of the host, such as /dev/vdb",
    "volume_group": "the name of a volume group that is there",
}
NONE = "nothing besides its options"


@dataclass(frozen=True, slots=True)
class NewPool:
    """A directory on a host, or disks, or a volume group, that shall hold bricks. `wipe`: the serials of disks whose
    content may be lost. `options`: what a section of the configuration may say besides."""

    host: str
    name: str
    driver: str
    path: str | None = None
    devices: tuple[str, ...] = ()
    wipe: tuple[str, ...] = ()
    raid1: bool = False
    volume_group: str | None = None
    thin_pool: str | None = None
    availability_zone: str | None = None
    volume_backend_name: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def given(self) -> dict[str, Any]:
        """As the node and the database keep it; what follows from devices or a volume group is not in it."""
        named = {name: getattr(self, name) for name in NAMED}
        return {**self.options, **{name: value for name, value in named.items() if value is not None}}

    def differing(self, options: Mapping[str, Any]) -> list[str]:
        """Names of what the options of a backend that exists say otherwise; "3" says what 3.0 says."""
        return sorted(name for name, value in self.given().items() if _meant(options.get(name)) != _meant(value))


def _meant(value: Any) -> Any:
    """What a text stands for, where it is a number, a truth or JSON."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def check(new: NewPool) -> None:
    """Raise Invalid, naming the field and what is allowed."""
    if not NAME.fullmatch(new.name):
        raise errors.Invalid(
            f"name is {new.name!r}; allowed: letters, digits, dots, dashes and underscores, at most 63.", field="name"
        )
    if new.driver not in registry.DRIVERS:
        raise errors.Invalid(f"driver is {new.driver!r}; allowed: {', '.join(registry.DRIVERS)}.", field="driver")
    _check_made_of(new)
    if wrong := sorted(NOT_OPTIONS & set(new.options)):
        raise errors.Invalid(f"{wrong[0]} is not an option of a driver: send it beside options.", field="options")
    for device in new.devices:
        check_device(device, "devices")
    for name in ("volume_group", "thin_pool"):
        value = getattr(new, name)
        if value is not None and not GROUP.fullmatch(value):
            raise errors.Invalid(f"{name} is {value!r}; allowed: letters, digits and _ + . -, at most 100.", field=name)


def check_device(device: str, field: str) -> None:
    if not DEVICE.fullmatch(device) or os.path.normpath(device) != device:
        raise errors.Invalid(
            f"{field}: {device!r} is no device; allowed: an absolute path below /dev, such as /dev/vdb.", field=field
        )


def _check_made_of(new: NewPool) -> None:
    """One of what its driver is made of, and nothing that it has no use for."""
    allowed = MADE_OF.get(new.driver, ("path",))
    there = [name for name in WORDS if getattr(new, name)]
    need = " or ".join(f"{name} ({WORDS[name]})" for name in allowed) or NONE
    if wrong := [name for name in there if name not in allowed]:
        raise errors.Invalid(f"driver {new.driver} takes no {wrong[0]}; it is made of {need}.", field=wrong[0])
    if allowed and not there:
        raise errors.Invalid(f"driver {new.driver} needs a {need}.", field=allowed[0])
    if len(there) > 1:
        raise errors.Invalid(f"driver {new.driver} is made of one of {need}, and not of both.", field=there[1])
    for name, fits, why in (
        ("raid1", bool(new.devices) and new.driver in OF_GROUPS, "is for drivers lvm and lvm-thin on devices"),
        ("thin_pool", bool(new.volume_group) and new.driver == "lvm-thin", "is for driver lvm-thin on a volume group"),
        ("wipe", bool(new.devices), "is for devices"),
    ):
        if getattr(new, name) and not fits:
            raise errors.Invalid(f"{name} {why}.", field=name)
    if new.raid1 and len(new.devices) < 2:
        raise errors.Invalid("raid1 keeps everything twice: it needs two devices at least.", field="devices")


def check_path(path: str, report: verbs.Report, images: os.PathLike[str]) -> None:
    """Refuse a directory that another pool or the image store has, is inside of, or contains, by whichever path."""
    if not os.path.isabs(path) or os.path.normpath(path) != path or path == "/" or not path.isprintable():
        raise errors.Invalid(
            f"path is {path!r}; allowed: the absolute path of a directory, without '..', '//', '/' at its end and "
            "control characters.",
            field="path",
        )
    guests = os.path.join(os.path.dirname(images), "guests")
    others = {f"of backend {backend.name}": backend.options.get("path") for backend in report.backends}
    for name, other in [*others.items(), ("of images", os.fspath(images)), ("of guests", guests)]:
        if not other:
            continue
        mine, its = os.path.realpath(path), os.path.realpath(other)
        shared = os.path.commonpath([mine, its])
        if shared in (mine, its):
            relation = "is" if mine == its else ("is inside" if shared == its else "contains")
            raise errors.Invalid(f"path {path} {relation} {other}, the store {name} already.", field="path")
