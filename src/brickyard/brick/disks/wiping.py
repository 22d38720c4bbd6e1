"""How the content of a brick on a disk goes: states first, so that whoever comes after a death goes on."""

from __future__ import annotations

import dataclasses

from brickyard.brick import wipe
from brickyard.brick.disks import disk as disks
from brickyard.brick.disks.disk import Brick
from brickyard.brick.disks.pool import Pool
from brickyard.brick.disks.slots import State
from brickyard.brick.driver import Progress
from brickyard.core import clock

GONE = (State.WIPING, State.WIPED)


def wiped(pool: Pool, brick: Brick, rate_bytes_s: int | None, progress: Progress | None) -> Brick:
    """The brick with nothing in it that could be read. Its own lock is held, and none of the disk.

    DeviceInUse while somebody has it open; from the first write on nobody gets it any more.
    """
    record = disks.record_of(brick)
    if record.state is State.WIPED:
        return brick
    if record.state is State.WIPING:
        pool.show(brick)
    else:
        record = dataclasses.replace(record, state=State.WIPING, position=0)
        brick = pool.begin_alone(brick, record)

    def note(position: int) -> None:
        disks.keep(brick, dataclasses.replace(record, position=position))

    method, verified = wipe.erase(
        brick.path,
        brick.length,
        start=record.position,
        note=note,
        progress=progress,
        rate_bytes_s=rate_bytes_s,
    )
    done = dataclasses.replace(
        record,
        state=State.WIPED,
        position=brick.length,
        method=method.value,
        verified=verified,
        finished_at=clock.stamp(),
    )
    disks.keep(brick, done)
    return dataclasses.replace(brick, record=done)
