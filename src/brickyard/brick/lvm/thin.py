"""Thin logical volumes: blocks are taken out of a pool as they are written, and given back when a volume goes.

The pool fills a block with zeros before it hands it out, so nobody ever reads what another one wrote; a pool that does
not is refused. Snapshots and clones share blocks and take no time, and each can be deleted at any time. What is
promised may exceed what there is, so everything that promises more is refused when the pool is really full to a
threshold, in its data or in its metadata, however much the arithmetic of promises would allow.

A revert swaps names: a snapshot of the snapshot is made as `revert-<name>`, the volume becomes `reverted-<name>` and is
still the brick for that moment, the new one gets the name, and the old one goes. A repeat starts over from anywhere.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence

from brickyard.brick import images, steps
from brickyard.brick.driver import Progress, Ranges
from brickyard.brick.lvm import deltas, groups, growing, pending, tags
from brickyard.brick.lvm.command import Exists, InUse, Lvm
from brickyard.brick.lvm.growing import Limits
from brickyard.brick.lvm.reports import Group, Volume
from brickyard.brick.lvm.volumes import MAKING, ONLY_WHEN_OPENED, REVERTED, REVERTING, YOUNG_S, Volumes, is_told
from brickyard.core import errors
from brickyard.core.bricks import Capabilities, Connection, Did, Found, Label, Usage


class ThinDriver:
    def __init__(
        self,
        group: str,
        pool: str,
        *,
        uuid: str | None = None,
        devices: Sequence[str] = (),
        raid1: bool = False,
        make_pool: bool = False,
        limits: Limits | None = None,
    ) -> None:
        self._pool_name = groups.checked(pool)
        self._volumes = Volumes(
            group,
            lambda volume: volume.pool == pool,
            uuid=uuid,
            devices=devices,
            mend=lambda failed, lvm: (
                pending.forget(failed, lvm, group, pool) or pending.take_down(failed, lvm, group, pool)
            ),
        )
        self._raid1 = raid1
        self._make_pool = make_pool
        self._limits = limits or Limits()
        self._waking = threading.Lock()
        self.capabilities = Capabilities(
            thin=True,
            snapshots=True,
            clones=True,
            constant_time_clones=True,
            revert=True,
            imports=True,
            online_grow=True,
            multiattach=True,
            adopts=True,
        )

    # what is there ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        group = self._volumes.look()
        self._volumes.check_changeable(group)
        if self._make_pool and self._pool_name not in group.volumes:
            lvm = Lvm([device.path for device in group.devices])
            groups.make_thin_pool(lvm, group.name, self._pool_name, raid1=self._raid1)
            group = self._volumes.look()
        pool = self._pool(group)
        if not pool.zeroes:
            raise errors.BrickError(
                f"the pool {self._volumes.place(pool)} hands out blocks with what their last owner wrote: "
                f"lvchange -Zy {self._volumes.place(pool)}"
            )
        self._settle(group)
        deltas.mend(self._volumes, self._pool_name)

    def _pool(self, group: Group) -> Volume:
        pool = group.volumes.get(self._pool_name)
        if pool is None:
            raise errors.NotFound(
                f"there is no thin pool {self._pool_name} in {group.name}: correct the option thin_pool, or let it be "
                "made by make_thin_pool = true"
            )
        if not {"thin", "pool"} <= pool.layout:
            raise errors.BrickMismatch(f"{self._volumes.place(pool)} is no thin pool: correct the option thin_pool")
        return pool

    def _awake(self, group: Group) -> tuple[Group, Volume]:
        """The group with a pool that works and says how full it is; a pool that is not active says nothing."""
        pool = self._pool(group)
        if pool.data_percent is None or pool.metadata_percent is None or not is_told(pool):
            with self._waking:  # of many who come at once the first one wakes it
                group = self._volumes.look()  # fresh, since a device may have come back a moment ago
                pool = self._pool(group)
                if self._volumes.tell(group, pool) is Did.CHANGED:
                    group = self._volumes.look()
                if self._pool(group).data_percent is None:
                    self._volumes.change("lvchange", "-ay", "-K", self._volumes.place(pool))
                    pending.settle(self._volumes, self._pool_name)
                    group = self._volumes.look()
            pool = self._pool(group)
        return group, pool

    def _settle(self, group: Group) -> Did:
        """What a command has left that was killed is brought to its end, see `pending`."""
        self._awake(group)
        return pending.settle(self._volumes, self._pool_name)

    def _matched(self, group: Group, label: Label, source: str, size_bytes: int, *, exact: bool) -> Did:
        """ALREADY, once that is true of the pool in the kernel as well; BrickMismatch."""
        there = self._volumes.owned(group, label.name)
        did = self._volumes.matched(there, label, source, group.rounded(size_bytes), exact=exact)
        self._settle(group)
        return did

    def usage(self) -> Usage:
        group = self._volumes.look()
        pool = self._pool(group)
        if deltas.TAG in pool.raw_tags and pool.data_percent is not None:
            deltas.mend(self._volumes, pool.name)
        inside = [volume for volume in group.volumes.values() if volume.pool == pool.name]
        ours = [volume for _, volume in self._volumes.listed(group) if volume.tags.label is not None]
        allocated = sum(_used(group, volume) for volume in ours)
        # A pool that is not active tells nothing: then what is promised counts as used.
        used = sum(volume.size_bytes for volume in inside) if pool.data_percent is None else _used(group, pool)
        return Usage(
            total_bytes=pool.size_bytes,
            free_bytes=max(0, pool.size_bytes - used),
            provisioned_bytes=sum(volume.size_bytes for volume in inside),
            allocated_bytes=allocated,
            data_percent=pool.data_percent,
            metadata_percent=pool.metadata_percent,
            storage=f"lvm-thin-{group.uuid}-{pool.uuid}",
        )

    def list(self) -> Iterable[Found]:
        group = self._volumes.look()
        listed = self._volumes.listed(group)
        return [self._volumes.found(name, volume, _used(group, volume)) for name, volume in listed]

    def find(self, name: str) -> Found | None:
        return self._volumes.find(name, _used)

    # verbs ------------------------------------------------------------------------------------------------------

    def create(self, label: Label, size_bytes: int, progress: Progress | None = None) -> Did:
        """One command of LVM where nothing is in the way. Whether something is, LVM says itself, so that many who
        create at once share a report that need not be of this moment."""
        volumes, name = self._volumes, label.name
        with volumes.queue().brick_lock(name):
            group = volumes.reports.recent(YOUNG_S)
            for _ in range(2):
                if name not in group.volumes:
                    self._check_room(group, size_bytes)
                    try:
                        self._provision(group, name, size_bytes, tags.of_label(label))
                        return Did.CHANGED
                    except Exists:
                        pass
                group = volumes.look()
                if name in group.volumes and not self._remove_unfinished(group, name):
                    return self._matched(group, label, "", size_bytes, exact=True)
                group = volumes.look()
            raise errors.BrickError(f"{name} comes and goes in {group.name}: look who else makes it, then repeat")

    def delete(self, name: str) -> Did:
        volumes = self._volumes
        with volumes.queue().brick_lock(name):
            group = volumes.look()
            volume = volumes.of_brick(group, name)
            self._tell(group, self._pool_name)
            swept = self._sweep(group, name)
            if volume is None:
                return Did.CHANGED if swept else volumes.kept()
            volumes.owned(group, name)
            volumes.shut(name, volume)
            volumes.remove(volume)
            return Did.CHANGED

    def grow(self, name: str, size_bytes: int, progress: Progress | None = None) -> Did:
        volumes = self._volumes
        with volumes.queue().brick_lock(name):
            group, volume, told = volumes.told(name)
            promised = group.rounded(size_bytes)
            if volume.size_bytes >= promised:
                volumes.kept()
                return told
            self._check_room(group, promised - volume.size_bytes)
            volumes.change("lvextend", "-L", f"{promised}b", volumes.place(volume))
            return Did.CHANGED

    def open(self, name: str) -> Connection:
        group, _ = self._awake(self._volumes.reports.recent(YOUNG_S))
        try:
            connection = self._volumes.open(name)
        except errors.ToolFailed:
            if self._settle(group) is Did.ALREADY:
                raise
            connection = self._volumes.open(name)
        assert connection is not None  # a thin volume is always ready
        return connection

    def close(self, name: str) -> Did:
        return self._volumes.close(name)

    def snapshot(self, name: str, label: Label, progress: Progress | None = None) -> Did:
        return self.clone(name, label, 0, progress)

    def clone(self, source: str, label: Label, size_bytes: int, progress: Progress | None = None) -> Did:
        volumes, name = self._volumes, label.name
        with volumes.queue().brick_lock(name, reading=source):
            group = volumes.look()
            self._tell(group, source)
            there = group.volumes.get(name)
            if there is not None and not there.tags.making:
                return self._matched(group, label, source, size_bytes, exact=False)
            origin = volumes.whole(group, source)
            size_bytes = max(group.rounded(size_bytes), origin.size_bytes)
            self._check_room(group, size_bytes)
            self._remove_unfinished(group, name)
            larger = size_bytes > origin.size_bytes
            own = tags.of_label(label, source) + ([MAKING] if larger else [])
            self._share(origin, name, own)
            if larger:
                volumes.change("lvextend", "-L", f"{size_bytes}b", volumes.place(name))
                volumes.finish(name)
            if progress is not None:
                progress(size_bytes, size_bytes)
            return Did.CHANGED

    def revert(self, name: str, snapshot: str, progress: Progress | None = None) -> Did:
        volumes = self._volumes
        with volumes.queue().brick_lock(name, reading=snapshot):
            group = volumes.look()
            volume, kept = volumes.whole(group, name), volumes.whole(group, snapshot)
            self._tell(group, snapshot)
            if volume.open:
                raise InUse(f"{name} is in use: stop what has it open, then repeat")
            self._check_room(group, 0)
            self._sweep(group, name)
            if volume.name != name:
                volumes.change("lvrename", group.name, volume.name, name)
            volumes.shut(name, volume)
            self._share(kept, f"{REVERTING}{name}", volume.raw_tags)
            if kept.size_bytes < volume.size_bytes:
                volumes.change("lvextend", "-L", f"{volume.size_bytes}b", volumes.place(f"{REVERTING}{name}"))
            volumes.change("lvrename", group.name, name, f"{REVERTED}{name}")
            volumes.change("lvrename", group.name, f"{REVERTING}{name}", name)
            volumes.remove(f"{REVERTED}{name}")
            if progress is not None:
                progress(volume.size_bytes, volume.size_bytes)
            return Did.CHANGED

    def import_image(
        self, label: Label, path: str, format: str, size_bytes: int, progress: Progress | None = None
    ) -> Did:
        volumes, name = self._volumes, label.name
        with volumes.queue().brick_lock(name):
            group = volumes.look()
            there = group.volumes.get(name)
            if there is not None and not there.tags.making:
                return self._matched(group, label, "image", size_bytes, exact=False)
            images.check_import(path, format, size_bytes)
            self._check_room(group, size_bytes)
            self._remove_unfinished(group, name)
            self._provision(group, name, size_bytes, [*tags.of_label(label, "image"), MAKING])
            with volumes.using(name) as device:
                images.convert_into(path, format, device, "raw", progress)
                steps.sync(device)
            volumes.finish(name)
            return Did.CHANGED

    def relabel(self, label: Label) -> Did:
        return self._volumes.relabel(label)

    def adopt(self, name: str, label: Label) -> Did:
        return self._volumes.adopt(name, label, self._check_adoptable)

    def disown(self, name: str) -> Did:
        return self._volumes.disown(name)

    def strangers(self) -> Iterable[Found]:
        return self._volumes.strangers(self._check_adoptable)

    def leftovers(self) -> dict[str, tuple[str, ...]]:
        return self._volumes.unfinished(self._volumes.look())

    def tidy(self, name: str) -> Did:
        with self._volumes.queue().brick_lock(name):
            group = self._volumes.look()
            swept = self._sweep(group, name)
            return Did.CHANGED if self._remove_unfinished(group, name) or swept else self._volumes.kept()

    def changed_since(self, name: str, earlier: str) -> Ranges | None:
        self._awake(self._volumes.look())
        return deltas.between(self._volumes, self._pool_name, earlier, name)

    # the pool's own ---------------------------------------------------------------------------------------------

    def autoextend(self) -> Did:
        """Let the pool grow, if it is full to the threshold, into what the group has free beyond what is to be kept."""
        if self._limits.autoextend_percent == 0:
            return Did.ALREADY
        with self._alone() as (group, pool):
            if group.missing:
                return Did.ALREADY
            return growing.when_due(self._volumes, group, pool, self._limits, raid1=self._raid1)

    def grow_onto(self, device: str) -> Did:
        with self._alone() as (group, pool):
            self._volumes.check_changeable(group)
            return growing.onto(self._volumes, group, pool, self._limits, device, raid1=self._raid1)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[tuple[Group, Volume]]:
        """The pool as it is now, which nobody else lets grow meanwhile. Who holds a brick may wait for this, and never
        the other way round."""
        with self._volumes.queue().brick_lock(self._pool_name):
            yield self._awake(self._volumes.look())

    def _check_room(self, group: Group, size_bytes: int) -> None:
        """NoSpace if the pool is really too full to promise more, whatever the promises add up to."""
        self._volumes.check_changeable(group)
        group, pool = self._awake(group)
        if growing.full(pool, self._limits) and self._limits.autoextend_percent:
            self.autoextend()
            pool = self._pool(self._volumes.look())  # somebody else may have been faster
        if full := growing.full(pool, self._limits):
            raise errors.NoSpace(
                f"the thin pool {self._volumes.place(pool)} is {full}: nothing more is promised; delete something, or "
                f"extend the pool (wanted: {size_bytes} bytes)"
            )

    # how a brick comes to be, and goes --------------------------------------------------------------------------

    def _provision(self, group: Group, name: str, size_bytes: int, own: Sequence[str]) -> None:
        size = ("-V", f"{group.rounded(size_bytes)}b", "-n", name)
        marks = tags.changes(own)
        self._volumes.change("lvcreate", *ONLY_WHEN_OPENED, *size, *marks, "--thinpool", self._pool_name, group.name)

    def _share(self, origin: Volume, name: str, own: Sequence[str]) -> None:
        """A new volume with all the blocks of another one."""
        self._volumes.change(
            "lvcreate", "-s", *ONLY_WHEN_OPENED, "-n", name, *tags.changes(own), self._volumes.place(origin)
        )

    def _tell(self, group: Group, name: str) -> None:
        """A volume, or the pool, stands still while others are made of it or removed; let it go on if who did that has
        died. What is not ours stays as it is."""
        volume = group.volumes.get(name)
        if volume is not None and (volume.tags.label is not None or name == self._pool_name):
            self._volumes.tell(group, volume)

    def _remove_unfinished(self, group: Group, name: str) -> bool:
        there = group.volumes.get(name)
        if there is None or not there.tags.making:
            return False
        volume = self._volumes.owned(group, name)
        self._volumes.shut(name, volume)
        self._volumes.remove(volume)
        return True

    def _sweep(self, group: Group, name: str) -> bool:
        """Remove what a revert that died has left, but never what is the brick at this moment."""
        brick, swept = self._volumes.of_brick(group, name), False
        for left in (f"{REVERTING}{name}", f"{REVERTED}{name}"):
            volume = group.volumes.get(left)
            if volume is not None and volume is not brick and _is_of(volume, name):
                self._volumes.shut(left, volume)
                self._volumes.remove(volume)
                swept = True
        return swept

    def _check_adoptable(self, volume: Volume) -> None:
        if volume.pool != self._pool_name:
            raise errors.Invalid(
                f"{volume.name} is no volume of the thin pool {self._pool_name}: adopt it with the driver lvm, or "
                "correct the option thin_pool",
                field="name",
            )


def _is_of(volume: Volume, name: str) -> bool:
    return volume.tags.label is not None and volume.tags.label.name == name


def _used(group: Group, volume: Volume) -> int:
    """What a volume, or the pool, really takes. One that is not active does not say it, and counts as nothing."""
    return int(volume.size_bytes * (volume.data_percent or 0) / 100)
