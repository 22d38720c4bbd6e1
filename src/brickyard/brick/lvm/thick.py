"""Thick logical volumes: every byte that is promised is set aside, and none of it was ever anybody's.

Where a volume begins nobody knows what the disk held before, so it is filled with zeros before it is a brick, unless
the group says that what is free in it reads as zeros (tag `brickyard.clean`). A delete wipes: the volume is retired, so
that it can never be opened again, then erased outside every lock of the group, and only then given back. A snapshot or
a clone is a full copy (docs/decisions/0013): nothing in the group depends on anything else, and nothing can fill up.

States, by tag: making → (whole) → wiping → wiped → gone; and growing, which `open` ends before it lets anybody in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from brickyard.brick import images, steps, wipe
from brickyard.brick.driver import Progress
from brickyard.brick.lvm import copying, reports, tags
from brickyard.brick.lvm.command import InUse
from brickyard.brick.lvm.reports import Group, Volume
from brickyard.brick.lvm.volumes import MAKING, ONLY_WHEN_OPENED, Volumes, size_of
from brickyard.core import bricks, clock, errors
from brickyard.core.bricks import Capabilities, Connection, Did, Found, Label, Receipt, Usage, WipeMethod

MIRROR = (
    "--type",
    "raid1",
    "-m",
    "1",
    "--nosync",
)  # both halves are filled by us, so there is nothing to bring in step
LOOKS_MAX = 5
Fill = Callable[[str, bool], None]  # path of the new device, whether it reads as zeros already


def _belongs(volume: Volume) -> bool:
    return not volume.layout & {"thin", "pool"}


class ThickDriver:
    def __init__(
        self,
        group: str,
        *,
        uuid: str | None = None,
        devices: Sequence[str] = (),
        raid1: bool = False,
        wipe_rate_bytes_s: int | None = None,
    ) -> None:
        self._volumes = Volumes(group, _belongs, uuid=uuid, devices=devices)
        self._raid1 = raid1
        self._rate = wipe_rate_bytes_s
        self.capabilities = Capabilities(
            thin=False,
            snapshots=True,
            clones=True,
            revert=True,
            imports=True,
            online_grow=True,
            multiattach=True,
            wipes=True,
            adopts=True,
        )

    # what is there ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        group = self._volumes.look()
        self._volumes.check_changeable(group)
        if self._raid1 and len(group.devices) < 2:
            raise errors.BrickError(f"raid1 needs two devices, and {group.name} has one: add one, or set raid1 = false")

    def usage(self) -> Usage:
        group = self._volumes.look()
        ours = [(name, volume) for name, volume in self._volumes.listed(group) if volume.tags.label is not None]
        wiping = sum(volume.size_bytes for _, volume in ours if volume.tags.wiping_bytes is not None)
        whole = sum(volume.size_bytes for _, volume in ours if volume.tags.wiping_bytes is None)
        return Usage(
            total_bytes=group.size_bytes // (2 if self._raid1 else 1),
            free_bytes=self._free(group),
            provisioned_bytes=whole,
            allocated_bytes=whole,
            wiping_bytes=wiping,
            storage=f"lvm-{group.uuid}",
        )

    def _free(self, group: Group) -> int:
        """What a volume can still get. A mirror needs its two halves on two devices."""
        if not self._raid1:
            return group.free_bytes
        room = reports.mirrored(device.free_bytes for device in group.devices if device.allocatable)
        return room // group.extent_bytes * group.extent_bytes

    def list(self) -> Iterable[Found]:
        group = self._volumes.look()
        return [self._volumes.found(name, volume, size_of(volume)) for name, volume in self._volumes.listed(group)]

    def find(self, name: str) -> Found | None:
        return self._volumes.find(name, lambda _, volume: size_of(volume))

    # verbs ------------------------------------------------------------------------------------------------------

    def create(self, label: Label, size_bytes: int, progress: Progress | None = None) -> Did:
        return self._place(label, "", size_bytes, partial(self._zeros, progress), exact=True)

    def delete(self, name: str) -> Did:
        volumes = self._volumes
        with volumes.queue().brick_lock(name):
            group = volumes.look()
            if volumes.of_brick(group, name) is None:
                return volumes.kept()
            self._wipe(group, volumes.owned(group, name), None)
            volumes.remove(name)
            return Did.CHANGED

    def wipe(self, name: str, progress: Progress | None = None) -> Receipt:
        with self._volumes.queue().brick_lock(name):
            group = self._volumes.look()
            return self._wipe(group, self._volumes.owned(group, name), progress)

    def grow(self, name: str, size_bytes: int, progress: Progress | None = None) -> Did:
        volumes = self._volumes
        with volumes.queue().brick_lock(name):
            group, volume, told = volumes.told(name)
            promised, growing = group.rounded(size_bytes), volume.tags.growing_bytes
            if growing is None and volume.size_bytes >= promised:
                volumes.kept()
                return told
            volumes.check_changeable(group)
            self._check_alone(volume)
            clean = tags.CLEAN in group.tags and growing is None
            if not clean and growing is None:
                self._check_room(group, promised - volume.size_bytes)
                volumes.retag(volume, add=[tags.tag("growing", volume.size_bytes)])
            if volume.size_bytes < promised:
                mirror = ("--nosync",) if "raid" in volume.layout else ()
                volumes.change("lvextend", *mirror, "-L", f"{promised}b", volumes.place(volume))
            if not clean:
                self._finish_growing(name, progress)
            return Did.CHANGED

    def open(self, name: str) -> Connection:
        volumes = self._volumes
        for _ in range(LOOKS_MAX):
            if (connection := volumes.open(name, _is_ready)) is not None:
                return connection
            volume = volumes.whole(volumes.look(), name)
            with volumes.queue().brick_lock(name, reading=volume.tags.reverting):
                self._finish_growing(name)
                if volume.tags.reverting is not None:
                    self._finish_reverting(name, volume.tags.reverting)
        raise errors.BrickError(f"{name} grows or is reverted again and again: look who does it, then repeat")

    def close(self, name: str) -> Did:
        return self._volumes.close(name)

    def snapshot(self, name: str, label: Label, progress: Progress | None = None) -> Did:
        return self.clone(name, label, 0, progress)

    def clone(self, source: str, label: Label, size_bytes: int, progress: Progress | None = None) -> Did:
        def fill(path: str, zeroed: bool) -> None:
            present = size_of(self._volumes.told(source)[1])
            with self._volumes.using(source) as original:
                copying.copy(original, path, present, zeroed=zeroed, progress=progress)
            if not zeroed:
                self._erase(path, present)

        return self._place(label, source, size_bytes, fill)

    def revert(self, name: str, snapshot: str, progress: Progress | None = None) -> Did:
        """A copy over the old content. A tag says which, so that whoever opens it after a death sees no mixture."""
        volumes = self._volumes
        with volumes.queue().brick_lock(name, reading=snapshot):
            group = volumes.look()
            volume = volumes.whole(group, name)
            volumes.whole(group, snapshot)
            if volume.open:
                raise InUse(f"{name} is in use: stop what has it open, then repeat")
            self._check_alone(volume)
            if volume.tags.reverting != snapshot:
                before = [tags.tag("reverting", volume.tags.reverting)] if volume.tags.reverting else []
                volumes.retag(volume, [tags.tag("reverting", snapshot)], before)
            self._finish_reverting(name, snapshot, progress)
            return Did.CHANGED

    def import_image(
        self, label: Label, path: str, format: str, size_bytes: int, progress: Progress | None = None
    ) -> Did:
        def fill(device: str, zeroed: bool) -> None:
            if not zeroed:
                self._erase(device, 0)
            images.convert_into(path, format, device, "raw", progress)
            steps.sync(device)

        check = partial(images.check_import, path, format, size_bytes)
        return self._place(label, "image", size_bytes, fill, before=check)

    def relabel(self, label: Label) -> Did:
        return self._volumes.relabel(label)

    def adopt(self, name: str, label: Label) -> Did:
        return self._volumes.adopt(name, label, _check_adoptable)

    def disown(self, name: str) -> Did:
        return self._volumes.disown(name)

    def strangers(self) -> Iterable[Found]:
        return self._volumes.strangers(_check_adoptable)

    def leftovers(self) -> dict[str, tuple[str, ...]]:
        return self._volumes.unfinished(self._volumes.look())

    def tidy(self, name: str) -> Did:
        volumes = self._volumes
        with volumes.queue().brick_lock(name):
            group = volumes.look()
            volume = volumes.of_brick(group, name)
            if volume is None or not volume.tags.making:
                return volumes.kept()
            self._wipe(group, volume, None)
            volumes.remove(name)
            return Did.CHANGED

    # how a brick comes to be ------------------------------------------------------------------------------------

    def _place(
        self,
        label: Label,
        source: str,
        size_bytes: int,
        fill: Fill,
        *,
        exact: bool = False,
        before: Callable[[], object] | None = None,
    ) -> Did:
        """A new volume with its tags and one that says that it is not whole; its content; and that tag away."""
        volumes, name = self._volumes, label.name
        copied = source if bricks.parse(source) else None
        with volumes.queue().brick_lock(name, reading=copied):
            group = volumes.look()
            there = group.volumes.get(name)
            if there is not None and not there.tags.making:
                wanted = group.rounded(size_bytes)
                return volumes.matched(volumes.owned(group, name), label, source, wanted, exact=exact)
            if copied is not None:
                size_bytes = max(size_bytes, size_of(volumes.whole(group, copied)))
            if before is not None:
                before()
            volumes.check_changeable(group)
            if there is not None:  # what a death left may hold anything, so it is wiped and not built upon
                self._wipe(group, volumes.owned(group, name), None)
                volumes.remove(name)
            self._allocate(group, label, source, group.rounded(size_bytes))
            with volumes.using(name) as path:
                fill(path, tags.CLEAN in group.tags)
            volumes.finish(name)
            return Did.CHANGED

    def _allocate(self, group: Group, label: Label, source: str, size_bytes: int) -> None:
        """The volume, inactive, and without anything that looks like a file system or another signature."""
        self._check_room(group, size_bytes)
        own = tags.changes([*tags.of_label(label, source), MAKING])
        mirror = MIRROR if self._raid1 else ()
        clean = tags.CLEAN in group.tags
        # LVM looks for signatures in the new volume before anybody else can see it, and only if it is activated.
        how = ("-an", "-Wn", "-Zn") if clean and not mirror else ("-K", "-y", "-Wy", "-Zy")
        size = ("-L", f"{size_bytes}b", "-n", label.name)
        self._volumes.change("lvcreate", *how, *ONLY_WHEN_OPENED, *mirror, *size, *own, group.name)

    def _zeros(self, progress: Progress | None, path: str, zeroed: bool) -> None:
        if not zeroed:
            self._erase(path, 0, progress)

    def _erase(self, path: str, begin: int, progress: Progress | None = None) -> None:
        with steps.opened(path, os.O_RDONLY) as descriptor:
            size_bytes = os.lseek(descriptor, 0, os.SEEK_END)
        if begin < size_bytes:
            wipe.erase(path, size_bytes, begin=begin, progress=progress, rate_bytes_s=self._rate)

    def _finish_growing(self, name: str, progress: Progress | None = None) -> None:
        """Fill the new part with zeros. A volume of which it is not known where that begins is left alone."""
        _, volume, _ = self._volumes.told(name)  # or the end that is not there yet would count as zeros
        begin = volume.tags.growing_bytes
        if begin is None:
            return
        with self._volumes.using(name) as path:
            self._erase(path, begin, progress)
        self._volumes.retag(volume, remove=[tags.tag("growing", begin)])

    def _finish_reverting(self, name: str, snapshot: str, progress: Progress | None = None) -> None:
        group, volume, _ = self._volumes.told(name)
        kept = self._volumes.whole(group, snapshot)
        if volume.tags.reverting is None:
            return
        with self._volumes.using(name) as path, self._volumes.using(snapshot) as original:
            copying.copy(original, path, size_of(kept), zeroed=False, progress=progress)
            self._erase(path, size_of(kept))
        self._volumes.retag(volume, remove=[tags.tag("reverting", snapshot)])

    def _check_room(self, group: Group, size_bytes: int) -> None:
        free = self._free(group)
        if size_bytes > free:
            raise errors.NoSpace(
                f"{group.name} has {free} bytes free and {size_bytes} are needed: delete something, or add a device"
            )

    def _check_alone(self, volume: Volume) -> None:
        if volume.has_snapshots:
            raise errors.BrickMismatch(
                f"{self._volumes.place(volume)} has snapshots that depend on it and are not ours: remove them (lvs)"
            )

    # how it goes ------------------------------------------------------------------------------------------------

    def _wipe(self, group: Group, volume: Volume, progress: Progress | None) -> Receipt:
        """Retire it and erase it, or go on where a former call died. The lock of the brick is held, no other."""
        volumes, name = self._volumes, volume.name
        if volume.tags.wiped is not None and (receipt := _receipt(volume)) is not None:
            volumes.kept()
            return receipt
        volumes.check_changeable(group)
        self._check_alone(volume)
        start = volume.tags.wiping_bytes
        if start is None:
            volumes.shut(name, volume)
            volumes.retag(volume, add=[tags.tag("wiping", 0)])
        noted = [tags.tag("wiping", start or 0)]

        def note(offset: int) -> None:
            if offset < volume.size_bytes and noted[0] != tags.tag("wiping", offset):
                volumes.retag(volume, [tags.tag("wiping", offset)], noted)
                noted[0] = tags.tag("wiping", offset)

        with volumes.using(name) as path:
            method, verified = wipe.erase(
                path, volume.size_bytes, start=start or 0, note=note, progress=progress, rate_bytes_s=self._rate
            )
        receipt = Receipt(name, volume.size_bytes, method, verified, clock.stamp())
        volumes.retag(volume, [tags.tag("wiped", f"{method} {receipt.finished_at} {verified}")])
        return receipt


def _is_ready(volume: Volume) -> bool:
    """Whether all of it may be read: no part that was just added, and no mixture of two contents."""
    return volume.tags.growing_bytes is None and volume.tags.reverting is None


def _receipt(volume: Volume) -> Receipt | None:
    """The receipt of a volume that is wiped wholly, from its tag."""
    try:
        method, finished_at, verified = (volume.tags.wiped or "").split(" ", 2)
        return Receipt(volume.name, volume.size_bytes, WipeMethod(method), verified, finished_at)
    except ValueError:
        return None


def _check_adoptable(volume: Volume) -> None:
    """A plain volume that depends on nothing. The older snapshots fill up and break, so they are not taken over."""
    if volume.is_cow:
        raise errors.Invalid(
            f"{volume.name} is a copy-on-write snapshot of {volume.origin}, which can fill up and is lost then: make a "
            "volume of it where it was made, or remove it, and adopt the rest",
            field="name",
        )
    if volume.has_snapshots:
        raise errors.Invalid(
            f"{volume.name} has copy-on-write snapshots, which a delete would take with it: remove them first (lvs)",
            field="name",
        )
    if not volume.layout & {"linear", "striped", "raid"}:
        raise errors.Invalid(f"{volume.name} is {', '.join(sorted(volume.layout))}: only plain volumes are adopted")
