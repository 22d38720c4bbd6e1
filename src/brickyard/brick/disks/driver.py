"""Bricks that lie on disks themselves: as partitions of a GPT, or one on each whole disk.

    making → there → wiping → wiped → gone

A state stands in the slot of a brick (see `slots`), and all that is needed to know a brick again is on its disk: the
host may be imaged anew, the database may be lost. Snapshots and clones are whole copies, wherever they fit. A delete
wipes, before the place is given back; what is known to read as zeros is remembered and not written again.

What keeps two verbs apart: the lock of a brick, held through copies and wipes, and the lock of a disk, held while its
table changes and never for long.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import partial

from brickyard.brick import blkpg, devices, images, locks, steps, undo, wipe
from brickyard.brick.disks import adopting, moving, wiping
from brickyard.brick.disks import disk as disks
from brickyard.brick.disks.disk import Brick
from brickyard.brick.disks.pool import Pool
from brickyard.brick.disks.slots import Record, State
from brickyard.brick.driver import Progress
from brickyard.brick.lvm import copying
from brickyard.core import bricks, errors
from brickyard.core.bricks import Capabilities, Connection, Did, Found, Label, Receipt, Usage
from brickyard.core.sizes import MIB

RUN = os.environ.get("BRICKYARD_RUN_DIR", "/run/brickyard")
SECTOR_BYTES = 512


class DiskDriver:
    """`paths` are disks that were prepared (see `making`); with `whole` each of them is one brick."""

    capabilities = Capabilities(
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

    def __init__(self, paths: Sequence[str], *, whole: bool, wipe_rate_bytes_s: int | None = None) -> None:
        self._pool = Pool(paths, whole=whole)
        self._rate = wipe_rate_bytes_s
        self._locks = os.path.join(RUN, "disks")

    # what is there --------------------------------------------------------------------------------------------------

    def check(self) -> None:
        self._pool.check()
        os.makedirs(self._locks, mode=0o700, exist_ok=True)

    def usage(self) -> Usage:
        total = free = taken = gone = locked = 0
        pools = set()
        for disk in self._pool.opened():
            pools.add(str(disk.facts().get("pool")))
            room = sum(end - begin for begin, end in self._pool.capacity(disk))
            ours = list(disk.bricks())
            lengths = [(brick.length, brick.record is not None and brick.record.state in wiping.GONE) for brick in ours]
            taken += sum(length for length, is_gone in lengths if not is_gone)
            gone += sum(length for length, is_gone in lengths if is_gone)
            gone += sum(brick.length for brick in disk.moved(disks.LEAVING))
            free += room
            if self._pool.whole and ours:  # the rest of a disk is nobody's, and cannot be had
                locked += sum(end - begin for begin, end in disk.free())
        taken += sum(brick.length for brick in self._pool.arrived())
        total = free + taken + gone + locked
        storage = f"disks-{min(pools, default='')}"  # what a disk says of itself, however many there are
        return Usage(total, free, taken, taken + locked, wiping_bytes=gone, storage=storage)

    def list(self) -> Iterable[Found]:
        found = []
        for disk in self._pool.opened():
            found += [_found(brick) for brick in disk.bricks() if not _is_making(brick)]
            found += adopting.listed(disk)
        found += [_found(brick) for brick in self._pool.arrived()]
        return sorted(found, key=lambda one: one.name)

    def find(self, name: str) -> Found | None:
        brick = self._pool.find(name)
        return _found(brick) if brick is not None and not _is_making(brick) else None

    # verbs ----------------------------------------------------------------------------------------------------------

    def create(self, label: Label, size_bytes: int, progress: Progress | None = None) -> Did:
        return self._place(label, size_bytes, "", partial(self._zero, progress=progress), exact=True)

    def delete(self, name: str) -> Did:
        with self._lock(name):
            swept = self._pool.drop_spares(name)
            swept |= moving.drop_arriving(self._pool, name, self._rate)
            brick = self._pool.find(name)
            if brick is None:
                return Did.CHANGED if swept else Did.ALREADY
            self._discard(brick, None)
            return Did.CHANGED

    def wipe(self, name: str, progress: Progress | None = None) -> Receipt:
        with self._lock(name):
            brick = self._pool.find(name)
            if brick is None:
                raise errors.NotFound(f"{name} is not on the disks of this pool")
            brick = wiping.wiped(self._pool, brick, self._rate, progress)
            assert brick.record is not None
            return brick.record.receipt(brick.length)

    def grow(self, name: str, size_bytes: int, progress: Progress | None = None) -> Did:
        promised = _whole(size_bytes, SECTOR_BYTES)
        with self._lock(name):
            brick, record = self._owned(name)
            if brick.length >= promised and record.size_bytes >= promised:
                return Did.ALREADY
            with undo.on_error() as on_error:
                on_error.callback(self._pool.drop_spares, name)
                self._pool.drop_spares(name)
                if brick.length < promised:
                    brick = self._enlarge(brick, _whole(promised, MIB), progress)
                else:
                    self._pool.show(brick)  # a grow died before the kernel and the label knew of it
            disks.keep(brick, dataclasses.replace(record, size_bytes=promised, moving=""))
            return Did.CHANGED

    def relabel(self, label: Label) -> Did:
        with self._lock(label.name):
            brick, record = self._owned(label.name)
            if record.label == label:
                return Did.ALREADY
            disks.keep(brick, dataclasses.replace(record, label=label, moving=""))
            return Did.CHANGED

    def open(self, name: str) -> Connection:
        brick, record = self._owned(name)
        if record.moving:
            if locks.is_held(self._ready_locks(), name):
                raise errors.DeviceInUse(
                    f"{name} is being moved to another disk: repeat when the drain is over", [name]
                )
            with self._lock(name):
                moving.stay(self._owned(name)[0])
            brick, record = self._owned(name)
        if record.reverting:
            with self._lock(name, reading=record.reverting):
                brick, record = self._owned(name)
                self._finish_reverting(brick, record)
        self._pool.show(brick)
        return Connection(brick.path, "raw", brick.length)

    def close(self, name: str) -> Did:
        return Did.ALREADY  # a partition needs no deactivation

    def snapshot(self, name: str, label: Label, progress: Progress | None = None) -> Did:
        return self.clone(name, label, 0, progress)

    def clone(self, source: str, label: Label, size_bytes: int, progress: Progress | None = None) -> Did:
        def fill(target: Brick, clean: bool) -> None:
            original, _ = self._whole_source(source)
            self._copy(original, target, clean=clean, progress=progress)

        def length() -> int:
            return max(size_bytes, self._whole_source(source)[0].length)

        return self._place(label, size_bytes, source, fill, reading=source, length=length)

    def revert(self, name: str, snapshot: str, progress: Progress | None = None) -> Did:
        """A copy over the old content. The record says which, so that whoever opens it later sees no mixture."""
        with self._lock(name, reading=snapshot):
            brick, record = self._owned(name)
            self._owned(snapshot)
            record = dataclasses.replace(record, reverting=snapshot, moving="")
            self._finish_reverting(self._pool.begin_alone(brick, record), record, progress)
            return Did.CHANGED

    def import_image(
        self, label: Label, path: str, format: str, size_bytes: int, progress: Progress | None = None
    ) -> Did:
        def fill(target: Brick, clean: bool) -> None:
            self._zero(target, clean)
            images.convert_into(os.path.abspath(path), format, target.path, "raw", progress)
            steps.sync(target.path)

        check = partial(images.check_import, path, format, _whole(size_bytes, SECTOR_BYTES))
        return self._place(label, size_bytes, "image", fill, before=check)

    def adopt(self, name: str, label: Label) -> Did:
        with locks.held(self._ready_locks(), label.name, taking=name):
            there = self._pool.find(label.name)
            if there is not None and there.record is not None:
                other = name != label.name and adopting.strangers(self._pool, name)
                if there.record.label != label or there.record.source != "adopted" or other:
                    raise errors.BrickMismatch(f"{label.name} exists already: {there.record.label}; choose another id")
                return Did.ALREADY
            if there is not None and name != label.name:
                raise errors.BrickMismatch(f"{label.name} exists already, without a label: choose another id")
            adopting.adopt(self._pool, name, label)
            return Did.CHANGED

    def disown(self, name: str) -> Did:
        with self._lock(name):
            self._pool.drop_spares(name)
            brick = self._pool.find(name)
            if brick is None or brick.record is None:
                return Did.ALREADY
            self._whole_source(name)
            moving.settle(brick)  # what has no record is known by its type
            adopting.disown(brick)
            return Did.CHANGED

    def strangers(self) -> Iterable[Found]:
        return [found for found in self.list() if found.label is None]

    # how a disk is emptied ------------------------------------------------------------------------------------------

    def drain(self, device: str, progress: Progress | None = None, held: Sequence[str] = ()) -> Did:
        """Move every brick of a disk to the others, and let no new one lie there until `refill`. DeviceInUse with the
        names of those that are open or `held`, NoSpace with figures: before anything is changed, as far as can be
        known then."""
        path = devices.resolve(device)
        return moving.drain(self._pool, path, self._lock, self._rate, progress, held=held, end_revert=self.open)

    def wipe_moved(self, device: str, progress: Progress | None = None) -> Sequence[Receipt]:
        """Wipe the places on a disk that bricks have left; their receipts, until `refill` or the disk is removed."""
        return moving.finish(self._pool, devices.resolve(device), self._lock, self._rate, progress)

    def refill(self, device: str) -> Did:
        """Let bricks lie on a drained disk again; what a dead drain has left anywhere is removed."""
        path = devices.resolve(device)
        lost = moving.drop_lost(self._pool, self._lock, self._rate, going_on=False)
        left = moving.forget_left(self._pool, path)
        return Did.CHANGED if moving.keep_off(path, drained=False) or left or lost else Did.ALREADY

    def leftovers(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        decided = {brick.partition for brick in self._pool.arrived()}
        for disk in self._pool.opened():
            for brick in disk.bricks():
                if _is_making(brick) and not locks.is_held(self._ready_locks(), brick.name):
                    found[brick.name] = (*found.get(brick.name, ()), brick.path)
            for brick in disk.moved(disks.ARRIVING):
                if brick.partition not in decided and not locks.is_held(self._ready_locks(), brick.name):
                    found[brick.name] = (*found.get(brick.name, ()), brick.path)
            for number, id in disk.spares():
                for kind in bricks.PREFIX.values():
                    name = kind + id
                    if self._pool.find(name) is not None and not locks.is_held(self._ready_locks(), name):
                        found[name] = (*found.get(name, ()), blkpg.path_of(disk.path, number))
        return found

    def tidy(self, name: str) -> Did:
        with self._lock(name):
            swept = self._pool.drop_spares(name)
            swept |= moving.drop_arriving(self._pool, name, self._rate)
            return Did.CHANGED if self._sweep(name) or swept else Did.ALREADY

    # how a brick comes to be ----------------------------------------------------------------------------------------

    def _place(
        self,
        label: Label,
        size_bytes: int,
        source: str,
        fill: Callable[[Brick, bool], None],
        *,
        reading: str | None = None,
        length: Callable[[], int] | None = None,
        before: Callable[[], object] | None = None,
        exact: bool = False,
    ) -> Did:
        """Let `fill` make the content of a new partition, and call it a brick when everything is on the disk."""
        promised = _whole(size_bytes, SECTOR_BYTES)
        with self._lock(label.name, reading=reading):
            there = self._pool.find(label.name)
            if there is not None and not _is_making(there):
                _match(there, label, source, promised, exact)
                return Did.ALREADY
            if there is not None:
                self._discard(there, None)
            if before is not None:
                before()
            if length is not None:
                promised = max(promised, length())
            with undo.on_error() as on_error:
                on_error.callback(self._sweep, label.name)
                brick, clean = self._pool.allocate(label, promised, source)
                fill(brick, clean)
                assert brick.record is not None
                disks.keep(brick, dataclasses.replace(brick.record, state=State.THERE))
            return Did.CHANGED

    def _zero(self, brick: Brick, clean: bool, progress: Progress | None = None) -> None:
        """What we know to be clean is looked at all the same: somebody may have written to the disk."""
        if not clean or wipe.reads_as_zeros(brick.path, 0, brick.length) is None:
            self._erase(brick.path, brick.length, progress=progress)

    def _erase(self, path: str, size_bytes: int, begin: int = 0, progress: Progress | None = None) -> None:
        if begin < size_bytes:
            wipe.erase(path, size_bytes, begin=begin, rate_bytes_s=self._rate, progress=progress)

    def _copy(self, source: Brick, target: Brick, *, clean: bool, progress: Progress | None) -> None:
        """All of the source, and zeros behind it."""
        self._pool.show(source)
        clean = clean and wipe.reads_as_zeros(target.path, 0, target.length) is not None
        copying.copy(source.path, target.path, source.length, zeroed=clean, progress=progress)
        if not clean:
            self._erase(target.path, target.length, source.length)

    def _enlarge(self, brick: Brick, length: int, progress: Progress | None) -> Brick:
        """The new part is reserved and erased first, and only then a part of the brick: nobody sees what was there."""
        path, clean = self._pool.take_behind(brick, length)
        if not clean or wipe.reads_as_zeros(path, 0, length - brick.length) is None:
            self._erase(path, length - brick.length, progress=progress)
        return self._pool.join(brick, length)

    def _finish_reverting(self, brick: Brick, record: Record, progress: Progress | None = None) -> None:
        if not record.reverting:
            return
        kept, _ = self._owned(record.reverting)
        self._pool.show(brick)
        self._copy(kept, brick, clean=False, progress=progress)
        disks.keep(brick, dataclasses.replace(record, reverting=""))

    # how it goes ----------------------------------------------------------------------------------------------------

    def _discard(self, brick: Brick, progress: Progress | None) -> None:
        self._pool.release(wiping.wiped(self._pool, brick, self._rate, progress), clean=True)

    def _sweep(self, name: str) -> bool:
        """Remove a brick that was still in the making."""
        brick = self._pool.find(name)
        if brick is None or brick.record is None or not (_is_making(brick) or brick.record.state in wiping.GONE):
            return False
        self._discard(brick, None)
        return True

    # looking --------------------------------------------------------------------------------------------------------

    def _lock(self, name: str, reading: str | None = None) -> AbstractContextManager[None]:
        return locks.held(self._ready_locks(), name, reading=reading)

    def _ready_locks(self) -> str:
        os.makedirs(self._locks, mode=0o700, exist_ok=True)
        return self._locks

    def _owned(self, name: str) -> tuple[Brick, Record]:
        """A brick that a verb needs: it is there, wholly, and has a label."""
        brick = self._pool.find(name)
        if brick is None or _is_making(brick):
            raise errors.NotFound(f"{name} is not on the disks of this pool")
        record = disks.record_of(brick)
        if record.state in wiping.GONE:
            raise errors.NotFound(f"{name} is deleted and being wiped: it cannot be used any more")
        return brick, record

    def _whole_source(self, name: str) -> tuple[Brick, Record]:
        brick, record = self._owned(name)
        if record.reverting:
            raise errors.BrickMismatch(f"a revert of {name} has not ended: repeat it, or open the volume, first")
        return brick, record


def _is_making(brick: Brick) -> bool:
    return brick.record is not None and brick.record.state is State.MAKING


def _found(brick: Brick) -> Found:
    record = brick.record
    gone = record is not None and record.state in wiping.GONE
    return Found(brick.name, brick.length, brick.length, record.label if record else None, wiping=gone)


def _match(there: Brick, label: Label, source: str, promised: int, exact: bool) -> None:
    """Raise BrickMismatch unless the brick that exists is the one that is wanted."""
    record = disks.record_of(there)
    if record.state in wiping.GONE:
        raise errors.BrickMismatch(f"{label.name} is deleted and being wiped: finish that with a delete, then repeat")
    large_enough = record.size_bytes == promised if exact else record.size_bytes >= promised
    if record.label != label or record.source != source or not large_enough:
        raise errors.BrickMismatch(
            f"{label.name} exists already and is another one: {record}; use another id, or delete it first"
        )


def _whole(size_bytes: int, unit: int) -> int:
    return -(-size_bytes // unit) * unit
