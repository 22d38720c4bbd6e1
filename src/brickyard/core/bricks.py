"""What a brick says of itself, in the words that every layer shares.

A brick is one piece of local storage: a file, a logical volume, a partition, a disk. Its name on disk is made of its
kind and its id (`volume-<uuid>`, `_snapshot-<uuid>`, `root-<uuid>`, `_image-<uuid>`) and never changes
its form: names are for ever.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field

from brickyard.core import errors

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
NAME = re.compile(rf"(volume-|_snapshot-|root-|_image-)({UUID})")
NQN = re.compile(r"nqn\.\d{4}-\d{2}\.[A-Za-z0-9][A-Za-z0-9.-]*(:[A-Za-z0-9.:_+@=-]+)?", re.ASCII)
NQN_MAX = 223


class Kind(enum.StrEnum):
    VOLUME = "volume"
    SNAPSHOT = "snapshot"
    ROOT = "root"  # the root disk of an instance
    IMAGE = "image"  # an image as a pool keeps it, to clone volumes from


PREFIX = {Kind.VOLUME: "volume-", Kind.SNAPSHOT: "_snapshot-", Kind.ROOT: "root-", Kind.IMAGE: "_image-"}
NOBODY = "image-cache"  # the project of what belongs to none: the images that a pool keeps
KIND = {prefix: kind for kind, prefix in PREFIX.items()}


class Did(enum.StrEnum):
    """Every action may be repeated; its result says whether it changed anything."""

    CHANGED = "changed"
    ALREADY = "already"


def name_of(kind: Kind, id: str) -> str:
    """The name on disk. Raises Invalid unless `id` is a lower-case uuid."""
    return checked(PREFIX[Kind(kind)] + id)


def checked(name: str) -> str:
    """`name` itself if it is the name of a brick; Invalid otherwise, before it reaches a path or a command line."""
    if not NAME.fullmatch(name):
        raise errors.Invalid(
            f"{name!r} is not the name of a brick: volume-, _snapshot-, root- or _image- and a uuid", field="name"
        )
    return name


def checked_nqn(nqn: object) -> str:
    """`nqn` itself if it is the name of a host as NVMe has them; Invalid otherwise, before it reaches a path."""
    if not isinstance(nqn, str) or len(nqn) > NQN_MAX or not NQN.fullmatch(nqn):
        raise errors.Invalid(
            f"{nqn!r} is not the NQN of a host: nqn.<year>-<month>.<domain>:<name>, of letters, digits and . : - _ + @ "
            f"=, at most {NQN_MAX} characters; it is in /etc/nvme/hostnqn there",
            field="nqn",
        )
    return nqn


def parse(name: str) -> tuple[Kind, str] | None:
    """Kind and id of a name on disk; None if it is not ours."""
    match = NAME.fullmatch(name)
    return (KIND[match[1]], match[2]) if match else None


@dataclass(frozen=True, slots=True)
class Label:
    """The identity that is written next to the data, so that a lost database is a re-adoption and not a loss."""

    kind: Kind
    id: str
    project: str
    generation: int = 1
    parent: str | None = None  # of a snapshot: the id of its volume; of an image: its id in the image service

    @property
    def name(self) -> str:
        return name_of(self.kind, self.id)


@dataclass(frozen=True, slots=True)
class Found:
    """One brick as it lies in its pool. `label` is None where nothing on disk says whose it is."""

    name: str
    size_bytes: int
    used_bytes: int
    label: Label | None
    wiping: bool = False  # deleted, and its content is being made unreadable; it cannot be opened any more


class WipeMethod(enum.StrEnum):
    NONE = "none"  # the storage itself never shows old content to the next owner
    DISCARD = "discard"  # the device reads as zeros what was discarded
    WRITE_ZEROES = "write-zeroes"  # the device was told to write zeros
    OVERWRITE = "overwrite"  # zeros were sent to it


@dataclass(frozen=True, slots=True)
class Receipt:
    """That the content of a deleted brick can no longer be read: what, how, how that was verified, and when."""

    name: str
    size_bytes: int
    method: WipeMethod
    verified: str  # in words: what was read back, or why nothing need be
    finished_at: str  # UTC, in the form of the wire


@dataclass(frozen=True, slots=True)
class Usage:
    """Capacity of a pool as the storage itself reports it."""

    total_bytes: int
    free_bytes: int
    provisioned_bytes: int  # the sum of the sizes that were promised
    allocated_bytes: int  # what our bricks really take; blocks that two of them share may count twice
    wiping_bytes: int = 0  # of bricks that are deleted and not yet wiped: neither free nor anybody's
    data_percent: float | None = None  # how full a thin pool really is; None where there is none
    metadata_percent: float | None = None
    storage: str = ""  # what the pool lies on, where others may lie too: the same text, the same file system


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a driver can do, as questions; a verb that a capability denies is absent from the driver."""

    thin: bool  # provisioned sizes may exceed what is allocated
    snapshots: bool = False
    clones: bool = False
    constant_time_clones: bool = False
    revert: bool = False
    imports: bool = False
    online_grow: bool = False
    multiattach: bool = False
    wipes: bool = False  # a delete takes as long as making the content unreadable
    adopts: bool = False


@dataclass(frozen=True, slots=True)
class Connection:
    """Where an opened brick is on its own host, and what is inside."""

    path: str
    format: str  # raw | qcow2 | vdi
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Export:
    """Where the one client of an export finds a brick of another host, and how it proves that it is that client: by a
    key that both sides have, over TLS."""

    address: str
    port: int
    name: str  # of the brick
    client: str  # the id of the guest, or of the attachment of a host that is no node of ours
    key: str = field(default="", repr=False)  # hexadecimal; empty in what is kept, and where `target` is said
    target: str = ""  # by NVMe, what to connect to: its client proves nothing, it only says its NQN


@dataclass(frozen=True, slots=True)
class Exported:
    """A brick that a host serves to a guest of another one, by NBD, or by NVMe to the host with an NQN."""

    backend: str
    name: str
    client: str
    read_only: bool = False
    nqn: str = ""
