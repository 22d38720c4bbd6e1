"""The logical volumes of one group as bricks: everything that thick and thin share.

A brick is a logical volume with its name and with tags that say whose it is (see `tags`). One that has such a name and
no such tags is foreign: it is listed without a label, and no verb touches it but `adopt`. A volume that is still being
made is not listed at all. No brick is activated at boot or by a look: `open` activates, `close` deactivates.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from brickyard.brick import shell
from brickyard.brick.lvm import groups, reports, tags
from brickyard.brick.lvm.command import InUse, Lvm, MissingDevice
from brickyard.brick.lvm.queue import Queue
from brickyard.brick.lvm.reports import Group, Shared, Volume
from brickyard.core import bricks, errors
from brickyard.core.bricks import Connection, Did, Found, Label

# While a thin volume is reverted its old content has this name for a moment (see `thin`), and is still the brick.
REVERTED = "reverted-"
YOUNG_S = 5.0  # how old a report may be that says how full a pool is, and other things that LVM checks by itself
REVERTING = "revert-"  # and this name has the content that it gets
ONLY_WHEN_OPENED = ("-ky",)  # a flag that whoever activates a whole group, or all at boot, passes over
MAKING = tags.tag("making")
SECTOR_BYTES = 512  # in /sys, whatever the device
DMSETUP_S = 60.0


class Volumes:
    """The volumes of the group `name` that `belongs` says are this driver's. With `uuid` only that group is ours; with
    `devices` LVM looks at nothing else, and otherwise at the devices that the group was found on. `mend` is asked once
    when a change has failed, in its turn, and says whether it may be tried again."""

    def __init__(
        self,
        name: str,
        belongs: Callable[[Volume], bool],
        *,
        uuid: str | None = None,
        devices: Sequence[str] = (),
        mend: Callable[[errors.ToolFailed, Lvm], bool] = lambda failed, lvm: False,
    ) -> None:
        self.name = groups.checked(name)
        self.reports = Shared(self._look)
        self._belongs, self._mend = belongs, mend
        self._uuid = uuid
        self._devices = tuple(devices)
        self._lvm: Lvm | None = None

    # looking ----------------------------------------------------------------------------------------------------

    def look(self) -> Group:
        """The group as it is now, not as it was before the call."""
        return self.reports.fresh()

    def _look(self) -> Group:
        if self._devices:
            group = reports.read(self._door(), self.name)
        else:
            try:
                group = reports.read(self._door(), self.name)
            except errors.NotFound:
                group = reports.read(self._door(again=True), self.name)
            if group.missing:  # or it has more devices than when we looked last
                group = reports.read(self._door(again=True), self.name)
        if self._uuid is None:
            self._uuid = group.uuid
        if group.uuid != self._uuid:
            raise errors.BrickMismatch(
                f"the volume group {self.name} is another one now: {group.uuid}, and not {self._uuid}; bring the "
                "devices of ours back, or correct the option volume_group_uuid"
            )
        return group

    def _door(self, *, again: bool = False) -> Lvm:
        if self._lvm is None or again:
            devices = self._devices
            if not devices:
                found = groups.find(self.name, uuid=self._uuid)
                if found is None:
                    raise errors.NotFound(f"there is no volume group {self.name}: look at its devices (pvs)")
                devices = found[1]
            self._lvm = Lvm(devices)
        return self._lvm

    def queue(self) -> Queue:
        if self._uuid is None:
            self.reports.recent(YOUNG_S)
        assert self._uuid is not None
        return Queue(self._uuid)

    def of_brick(self, group: Group, name: str) -> Volume | None:
        """The volume that is, or claims to be, the brick `name`."""
        found = group.volumes.get(name) or group.volumes.get(f"{REVERTED}{name}")
        return found if found is not None and self._belongs(found) else None

    def listed(self, group: Group) -> list[tuple[str, Volume]]:
        """Names and volumes of the bricks that are there, ours or not; the unfinished ones are not there yet."""
        names = {name.removeprefix(REVERTED) for name in group.volumes}
        found = [(name, self.of_brick(group, name)) for name in sorted(names) if bricks.parse(name)]
        return [(name, volume) for name, volume in found if volume is not None and not volume.tags.making]

    def found(self, name: str, volume: Volume, used_bytes: int) -> Found:
        label = volume.tags.label
        own = label if label is not None and label.name == name else None
        wiping = own is not None and volume.tags.wiping_bytes is not None
        return Found(name, size_of(volume), used_bytes, own, wiping=wiping)

    def owned(self, group: Group, name: str) -> Volume:
        """The volume of a brick of ours, whatever its state. NotFound, or BrickMismatch if it is somebody else's."""
        volume = self.of_brick(group, name)
        if volume is None:
            raise errors.NotFound(f"{name} is not in the volume group {self.name}")
        if volume.tags.label is None or volume.tags.label.name != name:
            raise errors.BrickMismatch(
                f"{self.name}/{volume.name} has no label (tags of ours), so nothing says whose it is: adopt it, or "
                "rename it"
            )
        return volume

    def whole(self, group: Group, name: str) -> Volume:
        """The volume of a brick that can be used."""
        volume = self.owned(group, name)
        if volume.tags.wiping_bytes is not None:
            raise errors.NotFound(f"{name} in {self.name} is deleted and being wiped: it cannot be used any more")
        if volume.tags.making:
            raise errors.NotFound(f"{name} in {self.name} was never finished: repeat what made it, or delete it")
        return volume

    def matched(self, volume: Volume, label: Label, source: str, size_bytes: int, *, exact: bool) -> Did:
        """ALREADY, or BrickMismatch unless the brick that exists is the one that is wanted."""
        same_size = volume.size_bytes == size_bytes if exact else volume.size_bytes >= size_bytes
        wiping = volume.tags.wiping_bytes is not None
        if wiping or volume.tags.label != label or volume.tags.source != source or not same_size:
            state = "is being wiped" if wiping else f"is {volume.tags.label} of {volume.size_bytes} bytes"
            raise errors.BrickMismatch(
                f"{label.name} exists in {self.name} and {state}; wanted: {label} of {size_bytes} bytes"
                f"{f' from {source}' if source else ''}; use another id, or delete it first"
            )
        return self.kept()

    def check_changeable(self, group: Group) -> None:
        if group.missing:
            lost = ", ".join(device.uuid for device in group.devices if device.missing)
            raise MissingDevice(
                f"the volume group {self.name} has lost {group.missing} of its devices ({lost}): bring them back; "
                "until then nothing in it is changed"
            )

    # changing ---------------------------------------------------------------------------------------------------

    def change(self, sub: str, *arguments: str) -> None:
        """One change of the group's metadata, in its turn; it is on the disks when this returns."""
        with self.turn() as lvm:
            try:
                lvm.run(sub, *arguments)
            except errors.ToolFailed as failed:
                if not self._mend(failed, lvm):
                    raise
                lvm.run(sub, *arguments)
        if sub != "lvchange" or not {"-ay", "-an"} & set(arguments):  # those two write nothing
            lvm.flush()

    def kept(self) -> Did:
        """ALREADY, and on the disks."""
        return self._door().kept()

    @contextlib.contextmanager
    def turn(self) -> Iterator[Lvm]:
        """The group for ourselves, for what `change` cannot say; whoever writes metadata flushes it afterwards."""
        lvm = self._door()
        with self.queue().turn():
            yield lvm

    def place(self, volume: Volume | str) -> str:
        return f"{self.name}/{volume if isinstance(volume, str) else volume.name}"

    def path(self, volume: Volume | str) -> str:
        return f"/dev/{self.place(volume)}"

    def retag(self, volume: Volume | str, add: Sequence[str] = (), remove: Sequence[str] = ()) -> None:
        self.change("lvchange", *tags.changes(add, remove), self.place(volume))

    def finish(self, name: str) -> None:
        """It is whole: from here on it is listed."""
        self.retag(name, remove=[MAKING])

    def activate(self, volume: Volume | str) -> str:
        self.change("lvchange", "-ay", "-K", self.place(volume))
        if not os.path.exists(self.path(volume)):
            raise errors.BrickError(f"{self.path(volume)} did not appear: look at systemd-udevd, then repeat")
        return self.path(volume)

    def deactivate(self, volume: Volume | str) -> None:
        """Of a device without a table LVM does not see that it lies on the pool, would remove that too, and refuses."""
        if isinstance(volume, str) or not self._remove_empty(volume):
            self.change("lvchange", "-an", self.place(volume))

    def _remove_empty(self, volume: Volume) -> bool:
        """Remove a device that has no table, because who was activating it has died; whether it was one."""
        if not volume.stopped:
            return False
        named = ("--uuid", "LVM-" + f"{self._uuid}{volume.uuid}".replace("-", ""))
        look = ("dmsetup", "info", "-c", "--noheadings", "-o", "tables_loaded", *named)
        with self.turn(), contextlib.suppress(errors.ToolFailed):  # it is gone, or open: LVM says so itself
            if shell.run(look, timeout_s=DMSETUP_S).strip() in ("None", "Inactive"):
                shell.run(["dmsetup", "remove", *named], timeout_s=DMSETUP_S)
                return True
        return False

    def told(self, name: str) -> tuple[Group, Volume, Did]:
        """The volume of a brick that can be used, and its group; CHANGED if its device was not what it should be."""
        with self.queue().activation(name):
            group = self.look()
            volume = self.whole(group, name)
            return group, volume, self.tell(group, volume)

    def tell(self, group: Group, volume: Volume) -> Did:
        """LVM writes down what is to be, and tells the kernel in several calls. Who died between two of them has left a
        device that has another size, that stands still, or that waits with a table nobody wants any more."""
        pool = group.volumes.get(volume.pool)
        did = self.tell(group, pool) if pool is not None else Did.ALREADY
        if is_told(volume):
            return did
        if self._remove_empty(volume) or not volume.device:
            self.change("lvchange", "-ay", "-K", self.place(volume))
            return Did.CHANGED
        major, minor = volume.device.split(":")
        with self.turn() as lvm:
            shell.run(["dmsetup", "clear", "--major", major, "--minor", minor], timeout_s=DMSETUP_S)
            lvm.run("lvchange", "--refresh", self.place(volume))
        return Did.CHANGED

    def remove(self, volume: Volume | str) -> None:
        self.change("lvremove", "-y", self.place(volume))

    @contextlib.contextmanager
    def using(self, name: str) -> Iterator[str]:
        """The device of a volume for a while. Afterwards it is active only if somebody opened it."""
        queue = self.queue()
        with queue.activation(name):
            path = self.activate(name)
        try:
            yield path
        finally:
            with queue.activation(name):
                if not queue.is_opened(name):
                    with contextlib.suppress(InUse):  # by somebody who did not open it through us
                        self.deactivate(name)

    # verbs ------------------------------------------------------------------------------------------------------

    def find(self, name: str, used: Callable[[Group, Volume], int]) -> Found | None:
        group = self.look()
        volume = self.of_brick(group, name)
        if volume is None or volume.tags.making:
            return None
        return self.found(name, volume, used(group, volume))

    def unfinished(self, group: Group) -> dict[str, tuple[str, ...]]:
        """Name of a brick → the volumes that a dead verb left of it."""
        queue, found = self.queue(), dict[str, list[str]]()
        for volume in group.volumes.values():
            name = volume.name.removeprefix(REVERTED).removeprefix(REVERTING)
            hidden = volume.name != name and self.of_brick(group, name) is not volume
            mine = bricks.parse(name) and self._belongs(volume) and volume.tags.label is not None
            if mine and (hidden or volume.tags.making) and not queue.is_busy(name):
                found.setdefault(name, []).append(volume.name)
        return {name: tuple(sorted(volumes)) for name, volumes in found.items()}

    def open(self, name: str, is_ready: Callable[[Volume], bool] = lambda volume: True) -> Connection | None:
        """Activate it; None, and nothing done, where `is_ready` says that something has to be finished before."""
        queue = self.queue()
        with queue.activation(name):
            group = self.look()
            volume = self.whole(group, name)
            if not is_ready(volume):
                return None
            if not volume.active:
                self.activate(volume)
            self.tell(group, volume)
            queue.mark_opened(name)
        return Connection(self.path(volume), "raw", volume.size_bytes)

    def close(self, name: str) -> Did:
        queue = self.queue()
        with queue.activation(name):
            group = self.look()
            volume = self.of_brick(group, name)
            if volume is None or not volume.active or volume.tags.wiping_bytes is not None or volume.tags.making:
                queue.unmark_opened(name)
                return Did.ALREADY
            self.owned(group, name)
            self.deactivate(volume)
            queue.unmark_opened(name)
            return Did.CHANGED

    def shut(self, name: str, volume: Volume) -> None:
        """Deactivate before a delete; InUse while a process has it open."""
        queue = self.queue()
        with queue.activation(name):
            if volume.active:
                self.deactivate(volume)
            queue.unmark_opened(name)

    def relabel(self, label: Label) -> Did:
        with self.queue().brick_lock(label.name):
            group = self.look()
            volume = self.whole(group, label.name)
            if volume.tags.label == label:
                return self.kept()
            self.check_changeable(group)
            assert volume.tags.label is not None  # or it is not ours, and `whole` says so
            old, new = tags.of_label(volume.tags.label), tags.of_label(label)
            self.retag(volume, [tag for tag in new if tag not in old], [tag for tag in old if tag not in new])
            return Did.CHANGED

    def adopt(self, name: str, label: Label, adoptable: Callable[[Volume], None]) -> Did:
        queue = self.queue()
        with queue.brick_lock(label.name):
            group = self.look()
            self.check_changeable(group)
            volume, there = group.volumes.get(name), group.volumes.get(label.name)
            if there is not None and name != label.name and (volume is not None or there.tags.label != label):
                raise errors.BrickMismatch(f"{self.place(there)} exists already: choose another id")
            if volume is None and there is not None:
                return self.kept()  # a former call has renamed it
            if volume is None:
                raise errors.NotFound(f"there is no volume {name} in {self.name}")
            if volume.tags.label is not None and volume.tags.label != label:
                raise errors.BrickMismatch(f"{self.place(volume)} belongs to {volume.tags.label}: it is not adopted")
            if volume.tags.label == label and name == label.name:
                return self.kept()
            if volume.tags.label is None:
                adoptable(volume)
                own = tags.changes([*tags.of_label(label), tags.tag("adopted", name)])
                self.change("lvchange", *ONLY_WHEN_OPENED, *own, self.place(volume))
            if name != label.name:
                self.change("lvrename", self.name, name, label.name)
            return Did.CHANGED

    def disown(self, name: str) -> Did:
        with self.queue().brick_lock(name):
            group = self.look()
            self.check_changeable(group)
            volume = self.of_brick(group, name)
            if volume is None or volume.tags.label is None:
                return self.kept()
            self.whole(group, name)
            if volume.name != name or volume.tags.reverting or volume.tags.growing_bytes is not None:
                raise errors.BrickMismatch(f"a verb on {self.place(volume)} has not ended that died: repeat that first")
            ours = [text for text in volume.raw_tags if text.startswith(tags.PREFIX)]
            self.change("lvchange", "-kn", *tags.changes([], ours), self.place(volume))
            return Did.CHANGED

    def strangers(self, adoptable: Callable[[Volume], None]) -> Iterator[Found]:
        """The volumes of the group without a label that may be adopted."""
        for name, volume in sorted(self.look().volumes.items()):
            with contextlib.suppress(errors.Invalid):
                if volume.tags.label is None and self._belongs(volume):
                    adoptable(volume)
                    yield Found(name, volume.size_bytes, volume.size_bytes, None)


def is_told(volume: Volume) -> bool:
    """Whether the kernel has it as LVM has written it down, where it is active."""
    if not volume.active:
        return True
    if not volume.device:  # LVM tells no number of one that never had a table
        return not volume.stopped
    place = Path("/sys/dev/block", volume.device)
    try:
        size_bytes = int((place / "size").read_text()) * SECTOR_BYTES
        still = (place / "dm" / "suspended").read_text().strip() == "1"
    except FileNotFoundError:  # closed since
        return True
    return size_bytes == volume.size_bytes and not still and not volume.stopped


def size_of(volume: Volume) -> int:
    """What the brick promises: while it grows, the size up to which it is known to read as zeros."""
    growing = volume.tags.growing_bytes
    return volume.size_bytes if growing is None else min(growing, volume.size_bytes)
