"""How bricks leave a disk of a pool for the others, and how whoever comes after a death knows where each of them is.

    partition on the old disk    partition on the new disk    the brick is
    the brick                    -                            the old one
    the brick                    ARRIVING, making             the old one
    LEAVING, moving to …         ARRIVING, there              the new one, which `Pool.find` knows by what the old says
    LEAVING, moving to …         the brick                    the new one
    LEAVING, wiped               the brick                    the new one

That the old partition becomes LEAVING, in one change of its table, is the moment. It says by its unique GUID which
partition it has become, so nothing else that may be arriving under its name is ever taken for it. Everything before is
dropped or gone on with, everything after is gone on with. A brick that is opened, reverted or grown while nobody copies
it takes `moving` back, and the copy begins anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager

from brickyard.brick import direct, faults, undo, wipe
from brickyard.brick.disks import disk as disks
from brickyard.brick.disks import pool as pools
from brickyard.brick.disks import slots, wiping
from brickyard.brick.disks.disk import Brick
from brickyard.brick.disks.pool import Pool
from brickyard.brick.disks.slots import State
from brickyard.brick.driver import Progress
from brickyard.brick.lvm import copying
from brickyard.core import errors
from brickyard.core.bricks import Did, Receipt
from brickyard.core.sizes import MIB

Lock = Callable[[str], AbstractContextManager[None]]
STRETCH_BYTES = 256 * MIB  # is on the new disk before it is noted that it is
LOOK_BYTES = 4 * MIB
NAMES_MAX = 5


class Sum:
    """Progress of several acts, one after the other, as progress of all together."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self._total, self._progress, self._before = total, progress, 0

    def part(self, length: int) -> Progress:
        begin, self._before = self._before, self._before + length

        def tell(done: int, _: int) -> None:
            if self._progress is not None:
                self._progress(min(begin + min(done, length), self._total), self._total)

        return tell


# a disk -----------------------------------------------------------------------------------------------------------


def drain(
    pool: Pool,
    path: str,
    lock: Lock,
    rate_bytes_s: int | None,
    progress: Progress | None,
    *,
    held: Collection[str],
    end_revert: Callable[[str], object],
) -> Did:
    """Move every brick of a disk to the others; see `DiskDriver.drain`."""
    did, told = Did.ALREADY, None
    drop_lost(pool, lock, rate_bytes_s, going_on=True)
    while seen := check_movable(
        pool, path, held
    ):  # once more for what was being made when nothing new was let on the disk
        keep_off(path, drained=True)
        told = told or Sum(2 * sum(brick.length for brick in seen), progress)
        for one in seen:
            if disks.record_of(one).reverting:
                end_revert(one.name)
            with lock(one.name):
                brick = pool.find(one.name)
                if brick is None or brick.disk != path:
                    continue
                if disks.record_of(brick).state is State.MAKING:  # whoever made it is dead
                    pool.release(wiping.wiped(pool, brick, rate_bytes_s, None), clean=True)
                    continue
                move(pool, brick, rate_bytes_s, told.part(brick.length), told.part(brick.length))
        did = Did.CHANGED
    return Did.CHANGED if keep_off(path, drained=True) else did


def keep_off(path: str, *, drained: bool) -> bool:
    """Let nothing new lie on the disk from now on, or (False) let it again; whether that was otherwise."""
    with disks.changing(path) as disk:
        if disk.is_drained == drained:
            return False
        slots.write(disk.descriptor, disk.area, 0, {**disk.facts(), "draining": drained})
        return True


def check_movable(pool: Pool, path: str, held: Collection[str] = ()) -> list[Brick]:
    """The bricks of a disk; DeviceInUse with the names of those that cannot leave it now, NoSpace with figures."""
    with disks.changing(path) as disk:
        bricks = list(disk.bricks())
        stuck = {brick.name: "has no label: adopt it, or delete it by hand" for brick in bricks if not brick.record}
        for brick in bricks:
            if brick.name in held:
                stuck[brick.name] = "is attached to somebody who keeps its path: detach it"
            try:
                disk.hide(brick.number)
                disk.show(brick.number)
            except errors.DeviceInUse:
                stuck[brick.name] = "is open: stop or detach the instance that has it"
            if brick.record and brick.record.state in wiping.GONE:
                stuck[brick.name] = "is being deleted: wait for that"
    if stuck:
        shown = "; ".join(f"{name} {why}" for name, why in list(stuck.items())[:NAMES_MAX])
        more = f"; and {len(stuck) - NAMES_MAX} more" if len(stuck) > NAMES_MAX else ""
        raise errors.DeviceInUse(
            f"{path} holds {len(stuck)} bricks that cannot be moved now: {shown}{more}. Then repeat the drain",
            list(stuck),
        )
    _check_room(pool, path, bricks)
    return bricks


def _check_room(pool: Pool, path: str, bricks: Iterable[Brick]) -> None:
    """NoSpace unless all of them fit on the other disks, the largest placed first. What has arrived in part has its
    place already."""
    here = {target.partition for target in pool.arriving()}
    listed = sorted((one for one in bricks if disks.record_of(one).moving not in here), key=lambda one: -one.length)
    if not listed:
        return
    room = sorted(end - begin for disk in pool.fitting(listed[0]) for begin, end in pool.capacity(disk))
    free = room[::-1]
    for brick in listed:
        length = -(-brick.length // MIB) * MIB
        at = next((at for at, left in enumerate(room) if left >= length), None)
        if at is None:
            unit = "disk" if pool.whole else "stretch"
            raise errors.NoSpace(
                f"{path} cannot be drained: {brick.name} needs a free {unit} of {length} bytes on another disk of the "
                f"pool with sectors of the same size, beside what else has to move; free there are {free or 'none'}; "
                "add a disk, or delete something"
            )
        room[at] = 0 if pool.whole else room[at] - length
        room.sort()


# one brick --------------------------------------------------------------------------------------------------------


def move(pool: Pool, brick: Brick, rate_bytes_s: int | None, copied: Progress, compared: Progress) -> None:
    """Let a brick, whose lock is held, be on another disk. DeviceInUse when somebody has it open, NoSpace."""
    record = disks.record_of(brick)
    target = _going_on(pool, brick)
    drop_arriving(pool, brick.name, rate_bytes_s, keep=target)
    with undo.on_error() as on_error:
        if target is None:
            on_error.callback(drop_arriving, pool, brick.name, rate_bytes_s)
            target, _ = pool.allocate(record.label, brick.length, record.source, moving=brick)
        brick = pool.begin_alone(brick, dataclasses.replace(record, moving=target.partition))
        pool.show(target)
        target = _copy(brick, target, rate_bytes_s, copied)
        with undo.on_error() as unlike:
            unlike.callback(drop_arriving, pool, brick.name, rate_bytes_s)
            _compare(brick, target, compared)
        assert target.record is not None
        target = dataclasses.replace(target, record=dataclasses.replace(target.record, state=State.THERE))
        disks.keep(target, disks.record_of(target))
        with disks.changing(brick.disk) as disk:
            pools.same(disk, brick)
            disk.hide(brick.number)  # whoever has opened it since may have written to it
            disk.retype(brick.number, disks.LEAVING)
    settle(target)


def settle(brick: Brick) -> None:
    """Let the partition of a brick that has moved say itself that it is the brick; its lock is held."""
    with disks.changing(brick.disk) as disk:
        pools.same(disk, brick)
        if disk.table.entries[brick.number].type == disks.ARRIVING:
            disk.show(brick.number)
            disk.retype(brick.number, disks.TYPES[disks.record_of(brick).label.kind])


def stay(brick: Brick) -> None:
    """Let a brick, whose lock is held, not go on to move."""
    disks.keep(brick, dataclasses.replace(disks.record_of(brick), moving=""))


def drop_lost(pool: Pool, lock: Lock, rate_bytes_s: int | None, *, going_on: bool) -> bool:
    """Drop what is arriving in the pool and nobody copies any more; all of it, or what cannot be gone on with."""
    names = {brick.name for brick in pool.arriving()}
    dropped = False
    for name in sorted(names):
        with lock(name):
            brick = pool.find(name) if going_on else None
            dropped |= drop_arriving(pool, name, rate_bytes_s, keep=_going_on(pool, brick) if brick else None)
    return dropped


def drop_arriving(pool: Pool, name: str, rate_bytes_s: int | None, *, keep: Brick | None = None) -> bool:
    """Wipe and give back what was to become the brick and will not; its lock is held."""
    arriving = _arriving(pool, name)
    decided = {brick.partition for brick in pool.arrived()} if arriving else set()
    dropped = False
    for brick in arriving:
        if brick.partition not in decided and (keep is None or brick.partition != keep.partition):
            pool.release(wiping.wiped(pool, brick, rate_bytes_s, None), clean=True)
            dropped = True
    return dropped


def _going_on(pool: Pool, brick: Brick) -> Brick | None:
    """Where a copy that died was going, if that may be gone on with: nobody has had the brick since."""
    moving, length = brick.record.moving if brick.record else "", -(-brick.length // MIB) * MIB
    for target in _arriving(pool, brick.name):
        is_left = disks.record_of(target).state not in wiping.GONE
        if moving == target.partition and target.length == length and is_left:
            return target
    return None


def _copy(brick: Brick, target: Brick, rate_bytes_s: int | None, progress: Progress) -> Brick:
    """Stretch by stretch, each noted when it is on the disk; the new partition with its record."""
    record = dataclasses.replace(disks.record_of(target), state=State.MAKING)
    for begin in range(record.position, brick.length, STRETCH_BYTES):
        end = min(begin + STRETCH_BYTES, brick.length)
        copying.copy(brick.path, target.path, end, zeroed=False, progress=progress, begin=begin)
        record = dataclasses.replace(record, position=end)
        disks.keep(target, record)
    if brick.length < target.length:
        wipe.erase(target.path, target.length, begin=brick.length, rate_bytes_s=rate_bytes_s)
    progress(brick.length, brick.length)
    return dataclasses.replace(target, record=record)


def _compare(brick: Brick, target: Brick, progress: Progress) -> None:
    """BrickError unless the disks themselves give the same bytes."""
    with faults.step("compare"), direct.reading(brick.path) as one, direct.reading(target.path) as other:
        for begin in range(0, brick.length, LOOK_BYTES):
            length = min(LOOK_BYTES, brick.length - begin)
            if direct.read(one, begin, length) != direct.read(other, begin, length):
                raise errors.BrickError(
                    f"the copy of {brick.name} on {target.disk} differs from it after byte {begin}: it was written to, "
                    "or a disk fails (see smartctl); the brick stays on the old disk"
                )
            progress(begin + length, brick.length)


def _arriving(pool: Pool, name: str) -> list[Brick]:
    return [brick for brick in pool.arriving() if brick.name == name]


# what has left ----------------------------------------------------------------------------------------------------


def finish(pool: Pool, path: str, lock: Lock, rate_bytes_s: int | None, progress: Progress | None) -> list[Receipt]:
    """Wipe what has left the disk; the receipts of all of it, until `forget_left`."""
    left, receipts = _left(path), []
    told = Sum(sum(brick.length for brick in left), progress)
    for seen in left:
        with lock(seen.name):
            brick = next((one for one in _left(path) if one.partition == seen.partition), None)
            if brick is None:
                continue
            for target in pool.arrived():
                if target.partition == disks.record_of(brick).moving:
                    settle(target)
            brick = wiping.wiped(pool, brick, rate_bytes_s, told.part(brick.length))
        record = disks.record_of(brick)
        why = f"{record.verified}; the brick had been moved to another disk"
        receipts.append(dataclasses.replace(record.receipt(brick.length), verified=why))
    return receipts


def forget_left(pool: Pool, path: str) -> bool:
    """Give back what has left the disk and is wiped: its receipts are kept by now."""
    wiped = [brick for brick in _left(path) if disks.record_of(brick).state is State.WIPED]
    for brick in wiped:
        pool.release(brick, clean=True)
    return bool(wiped)


def _left(path: str) -> list[Brick]:
    with disks.opened(path) as disk:
        return disk.moved(disks.LEAVING)
