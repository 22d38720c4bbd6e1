"""The verbs of a node: everything that a conductor may ask of the host that holds the disks and runs the guests.

Each is idempotent, with names and ids chosen by the caller: a node may be asked twice, may die in the middle, may
answer after the asker gave up. Arguments and results are plain values, so that a verb can travel. `backend` is the name
of a section of the node's configuration. Errors: those of the drivers and the hypervisor, and Unavailable when the
backend is down.

What may take long has `progress`, which is called with bytes done and bytes in all while the verb runs, as often as the
driver likes and from any thread. It is the one argument that is no value: what carries a verb to another machine sends
the figures back as events of that call. It may leave out all but the latest and may lose any of them, for nothing is
decided by them; they are over when the verb answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from brickyard.backups.copying import Kept, Task
from brickyard.backups.manifest import Where
from brickyard.brick.devices import Device
from brickyard.brick.driver import Progress
from brickyard.core.bricks import Capabilities, Connection, Did, Export, Exported, Found, Label, Receipt, Usage
from brickyard.core.fullness import Fullness
from brickyard.hypervisor.machine import Running


@dataclass(frozen=True, slots=True)
class Image:
    """A disk image that this node can read: its file and the format that it claims."""

    path: str
    format: str


@dataclass(frozen=True, slots=True)
class BackendReport:
    """One backend as it is now. Down: `why_down` says the reason, usage and capabilities may be missing."""

    name: str  # the section
    driver: str
    volume_backend_name: str
    availability_zone: str
    options: Mapping[str, Any]  # reserved_percentage, max_over_subscription_ratio, extra_capabilities
    from_api: bool  # made through the API, and not in the configuration
    up: bool
    why_down: str | None = None
    usage: Usage | None = None
    capabilities: Capabilities | None = None
    fullness: Fullness = field(default_factory=Fullness)  # how full it really is, where that can hurt, and what follows


@dataclass(frozen=True, slots=True)
class BackupReport:
    """The backup service of a host. `place` is the same on every host that reaches the same backups."""

    driver: str  # directory | s3
    container: str
    up: bool
    why_down: str | None = None
    place: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a host says of itself, in full."""

    host: str
    labels: Mapping[str, str]
    vcpus: int
    memory_mib: int
    hypervisor: str | None  # None: no instances run here
    backends: Sequence[BackendReport]
    backups: BackupReport | None = None  # None: none are made here
    export_address: str | None = None  # None: its bricks are for its own guests


@dataclass(frozen=True, slots=True)
class Disk:
    """A block device of the host, and the backend that has it."""

    device: Device
    backend: str | None


@dataclass(frozen=True, slots=True)
class Wish:
    """Storage to be made of devices, or a volume group to be taken over as it is."""

    driver: str
    devices: tuple[str, ...] = ()
    raid1: bool = False
    volume_group: str | None = None
    thin_pool: str | None = None


@dataclass(frozen=True, slots=True)
class BrickDisk:
    """A disk of a guest: a brick of this node, or with `export` one that another node serves to this guest."""

    backend: str
    brick: str
    serial: str
    read_only: bool = False
    shared: bool = False  # several guests may have it
    export: Export | None = None


@dataclass(frozen=True, slots=True)
class Boot:
    """An instance to run. With a kernel it boots that, otherwise from its first disk."""

    id: str
    name: str
    vcpus: int
    memory_mib: int
    disks: tuple[BrickDisk, ...] = ()
    kernel: str | None = None
    initrd: str | None = None
    cmdline: str = ""


class Node(Protocol):
    def report(self) -> Report: ...

    # bricks -------------------------------------------------------------------------------------------------------

    def create_brick(self, backend: str, label: Label, size_bytes: int, progress: Progress | None = None) -> Did: ...

    def clone_brick(
        self,
        backend: str,
        source: str,
        label: Label,
        size_bytes: int,
        serial: str | None = None,
        progress: Progress | None = None,
    ) -> Did:
        """A brick with the content of another one of this backend; `serial` names the disk of a running guest that
        must be paused meanwhile, so that what is copied is consistent."""

    def import_brick(
        self, backend: str, image: Image, label: Label, size_bytes: int, progress: Progress | None = None
    ) -> Did: ...

    def copy_brick(
        self,
        source_backend: str,
        source: str,
        backend: str,
        label: Label,
        size_bytes: int,
        progress: Progress | None = None,
    ) -> Did:
        """A brick with the content of one of another backend of this host, which nobody uses and which is a file or a
        device."""

    def fetch_brick(
        self, backend: str, label: Label, size_bytes: int, export: Export, progress: Progress | None = None
    ) -> Did:
        """A brick with the content of one that another host exports to us. It has a lower generation until it is
        whole."""

    def snapshot_brick(self, backend: str, name: str, label: Label, progress: Progress | None = None) -> Did:
        """Keep the content of a brick; a guest of this node that uses it is paused meanwhile."""

    def revert_brick(self, backend: str, name: str, snapshot: str, progress: Progress | None = None) -> Did: ...

    def grow_brick(self, backend: str, name: str, size_bytes: int, progress: Progress | None = None) -> Did:
        """Also while a guest of this node uses it, which is told, or one of another host: see `resize_disk` there."""

    def wipe_brick(self, backend: str, name: str, progress: Progress | None = None) -> Receipt:
        """Make the content of a brick unreadable for whoever gets its space next; it cannot be opened any more. May
        take hours, goes on where a former call died. NotFound when there is no such brick."""

    def delete_brick(self, backend: str, name: str) -> Did:
        """Remove it, wiped before if nobody did that."""

    def relabel_brick(self, backend: str, label: Label) -> Did:
        """The brick `label.name` is of this project and generation from now on, whoever uses it."""

    def open_brick(self, backend: str, name: str) -> Connection: ...

    def close_brick(self, backend: str, name: str) -> Did: ...

    def bricks(self, backend: str) -> list[Found]: ...

    def find_brick(self, backend: str, name: str) -> Found | None: ...

    def leftovers(self, backend: str) -> dict[str, tuple[str, ...]]:
        """Name of a brick → what verbs on it left that died."""

    def tidy_brick(self, backend: str, name: str) -> Did:
        """Remove the leftovers of a brick; the brick itself stays."""

    def strangers(self, backend: str) -> list[Found]:
        """What lies in a pool and belongs to nobody, by the names that `adopt_brick` takes."""

    def adopt_brick(self, backend: str, name: str, label: Label) -> Did:
        """Take over what lies in a pool and belongs to nobody; nothing is copied."""

    def disown_brick(self, backend: str, name: str) -> Did:
        """Give a brick up: it stays with its content, and belongs to nobody. ALREADY when it is not there."""

    def rewrite_brick(self, backend: str, name: str, image: Image, progress: Progress | None = None) -> Did:
        """Make the content of a brick that nobody uses that of an image, and zeros after its end."""

    def export_brick(self, backend: str, name: str, image: Image, progress: Progress | None = None) -> Did:
        """Write the content of a brick that nobody writes to as an image; it is at its path when it is whole."""

    # backups ------------------------------------------------------------------------------------------------------

    def backup_brick(self, backend: str, name: str, task: Task, progress: Progress | None = None) -> Kept:
        """Store the content of a brick that nobody writes to. Cancelled after `cancel_backup` or `delete_backup`."""

    def restore_brick(self, backend: str, name: str, where: Where, progress: Progress | None = None) -> Did:
        """Make the content of a brick that nobody uses that of a backup. DamagedBackup names what is wrong with it."""

    def find_backup(self, where: Where) -> Kept:
        """NotFound when there is none, DamagedBackup when it is not whole."""

    def delete_backup(self, where: Where, progress: Progress | None = None) -> Did:
        """Also one that is only half stored, or being stored."""

    def cancel_backup(self, id: str) -> Did: ...

    # exports ------------------------------------------------------------------------------------------------------

    def export(self, backend: str, name: str, client: str, read_only: bool = False, nqn: str = "") -> Export:
        """Serve a brick to one guest of another host, until `unexport`; the same again answers the same. It comes back
        when this host is started again. With the NQN of a host it is served to that by NVMe, for an attachment that is
        the client, and Invalid says that it is of a format which cannot be."""

    def unexport(self, backend: str, name: str, client: str) -> Did:
        """Whoever uses it is cut off."""

    def exports(self) -> list[Exported]: ...

    # backends -----------------------------------------------------------------------------------------------------

    def add_backend(self, name: str, options: Mapping[str, Any]) -> BackendReport:
        """Serve a backend that was made through the API; raises Invalid for options that no driver takes."""

    def remove_backend(self, name: str) -> Did: ...

    # disks --------------------------------------------------------------------------------------------------------

    def devices(self, paths: Sequence[str] = ()) -> list[Disk]:
        """Every disk of this host, or those that are named."""

    def claim_devices(
        self, backend: str, paths: Sequence[str], wipe: Sequence[str] = (), driver: str | None = None
    ) -> list[str]:
        """Make sure that devices are free for a backend, all or none; DeviceInUse says what was found. `wipe` holds the
        serials of those whose content may be lost. With the driver of a backend that is to be made, those that are its
        own since an earlier life (a database that was lost) are left as they are; these are the answer."""

    def make_pool(self, backend: str, wish: Wish) -> dict[str, str]:
        """Storage of claimed devices; the options of the driver. It is not served before `add_backend`."""

    def unmake_pool(self, backend: str, driver: str, paths: Sequence[str]) -> Did:
        """The undo of `make_pool` of claimed devices, wherever that ended."""

    def extend_pool(self, backend: str, device: str) -> dict[str, str]:
        """Add a claimed device to a backend that is served; the options that changed."""

    def grow_pool(self, backend: str, device: str) -> Did:
        """Let a thin pool grow onto a device that was added to it; ALREADY for other storage."""

    def drain_device(
        self, backend: str, device: str, held: Sequence[str] = (), progress: Progress | None = None
    ) -> Did:
        """Move what lies on a device to the others. May take hours, goes on where a former call died. `held` are bricks
        that must keep their path: DeviceInUse where one would have another one."""

    def wipe_moved(self, backend: str, device: str, progress: Progress | None = None) -> list[Receipt]:
        """Wipe what a drain has copied away from a device; the receipts of that, told again by every call until the
        device is refilled or removed."""

    def refill_device(self, backend: str, device: str) -> Did:
        """The undo of a drain, after `wipe_moved`."""

    def remove_device(self, backend: str, device: str) -> dict[str, str]:
        """Take a drained device out; the options that changed."""

    def destroy_pool(self, backend: str, driver: str, options: Mapping[str, Any]) -> Did:
        """Take the empty storage of a backend apart, which is served no longer; also one that is not served."""

    # guests -------------------------------------------------------------------------------------------------------

    def boot(self, boot: Boot) -> Did: ...

    def stop(self, id: str) -> Did:
        """Shut a guest down, or switch it off where it does not react in time; it can be booted again. ALREADY when it
        does not run, or is not there."""

    def destroy(self, id: str) -> Did: ...

    def attach(self, id: str, disk: BrickDisk) -> Did: ...

    def detach(self, id: str, serial: str) -> Did: ...

    def resize_disk(self, id: str, serial: str, size_bytes: int) -> Did:
        """Tell a guest that a disk has grown whose brick another host exports. ALREADY when it has that size, or more.
        GuestError when it cannot be told, Unreachable while the export is not served."""

    def mirror_disk(self, id: str, disk: BrickDisk, progress: Progress | None = None) -> Did:
        """Copy a disk of a guest to this one, which has its serial, and follow what the guest writes; it answers when
        both hold nearly the same. ALREADY when the guest uses that one."""

    def still_disk(self, id: str, serial: str) -> Did:
        """Hold a guest until the copy of its disk holds the same, and for as long as neither `pivot_disk` nor
        `unmirror_disk` lets it go."""

    def pivot_disk(self, id: str, disk: BrickDisk) -> Did:
        """Let a guest that stands still use this disk from here on. ALREADY when it does; GuestError when it cannot."""

    def unmirror_disk(self, id: str, serial: str) -> Did:
        """End the copy of a disk; the guest goes on with what it uses."""

    def hold_far(self, wanted: Mapping[str, Sequence[str]]) -> Did:
        """Hold these guests until they are named no more: each writes to the pools of other hosts (host@backend) that
        are named with it, which are almost full."""

    def console(self, id: str, max_bytes: int = 65536) -> str: ...

    def guests(self) -> list[Running]: ...
