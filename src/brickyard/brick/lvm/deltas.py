"""What differs between two volumes of a thin pool, told by the pool and not by reading them.

Two volumes that have the same block of the pool at a place have the same content there, and neither can change it while
the other one has it. So the map of the pool, looked at once, says where they may differ; `thin_delta` compares it.

A pool that works changes its map all the time, and keeps a picture of it when it is told to: one, until it is told to
drop it. As long as it keeps one, what is freed of its metadata is not free, so a picture must not stay when who asked
for it has died. The tag `brickyard.delta` on the pool says that one is ours: it is written before the pool is told to
keep it, and taken away after it was dropped; `mend` drops what a death has left. A picture without that tag is
somebody else's, and nothing is told until they drop it.
"""

from __future__ import annotations

import re

from brickyard.brick import shell
from brickyard.brick.driver import Ranges
from brickyard.brick.lvm import pending, tags
from brickyard.brick.lvm.reports import Group, Volume
from brickyard.brick.lvm.volumes import Volumes
from brickyard.core import errors

TAG = tags.tag("delta")
KEPT = 6  # word of the status of a pool: begin, length, thin-pool, transaction, metadata, data, its picture or -
TIMEOUT_S = 60.0
COMPARE_S = 600.0
SECTOR_BYTES = 512
BLOCK = re.compile(r'data_block_size="([0-9]+)"')
RANGE = re.compile(r'<(same|different|left_only|right_only) begin="([0-9]+)" length="([0-9]+)"/>')
OTHER = ("<superblock ", "<diff ", "</diff>", "</superblock>")


def mend(volumes: Volumes, pool: str) -> None:
    """Drop the picture of a dead one. Whoever compares now is not disturbed."""
    queue = volumes.queue()
    if not queue.is_busy(_lock(pool)):
        with queue.brick_lock(_lock(pool)):
            _drop_ours(volumes, pool)


def between(volumes: Volumes, pool: str, earlier: str, later: str) -> Ranges | None:
    """Where the content of two bricks of the pool may differ; None when the pool cannot say it now."""
    if earlier == later:
        return []
    with volumes.queue().brick_lock(_lock(pool)):
        _drop_ours(volumes, pool)
        before = _both(volumes.look(), pool, earlier, later)
        if before is None or _kept(volumes, pool) != "-":
            return None
        volumes.retag(pool, [TAG])
        try:
            output = _compared(volumes, pool, earlier, later)
        finally:
            _drop_ours(volumes, pool)
        # a brick may have been deleted meanwhile, and another one have got its number
        return read(output) if output is not None and _both(volumes.look(), pool, earlier, later) == before else None


def read(output: str) -> Ranges | None:
    """The ranges that `thin_delta` does not call the same; None unless all that it says is understood."""
    block = BLOCK.search(output)
    if block is None or not output.rstrip().endswith("</superblock>"):
        return None
    size, found = int(block[1]) * SECTOR_BYTES, Ranges()
    for line in map(str.strip, output.splitlines()):
        told = RANGE.fullmatch(line)
        if told is None and line and not line.startswith(OTHER):
            return None
        if told is None or told[1] == "same":
            continue
        begin, end = int(told[2]) * size, (int(told[2]) + int(told[3])) * size
        if found and found[-1][1] == begin:
            begin = found.pop()[0]
        found.append((begin, end))
    return found


def _compared(volumes: Volumes, pool: str, earlier: str, later: str) -> str | None:
    """What `thin_delta` says; None when the pool keeps no picture for us."""
    refused = False
    with volumes.turn() as lvm:  # nobody makes or removes a volume between the numbers and the picture
        device, _ = pending.in_kernel(volumes.name, pool)
        rows = lvm.report("lvs", "-o", "lv_name,thin_id", volumes.name)["lv"]
        try:
            shell.run(["dmsetup", "message", device, "0", "reserve_metadata_snap"], timeout_s=TIMEOUT_S)
        except errors.ToolFailed as failed:
            refused = failed.returncode != shell.TIMED_OUT  # because of somebody's who was faster: it is not ours
    if refused:
        volumes.retag(pool, remove=[TAG])
        return None
    number = {row["lv_name"]: row["thin_id"] for row in rows}
    if not {earlier, later} <= number.keys():
        return None
    metadata = f"/dev/mapper/{pending.device_of(volumes.name, f'{pool}_tmeta')}"
    which = ("--thin1", number[earlier], "--thin2", number[later])
    return shell.run(["thin_delta", "-m", *which, metadata], timeout_s=COMPARE_S)


def _both(group: Group, pool: str, *names: str) -> tuple[str, ...] | None:
    """What tells the volumes of these bricks from all others, if they are whole and of this pool."""
    found: list[Volume | None] = [group.volumes.get(name) for name in names]
    whole = [one for one in found if one and one.pool == pool and one.tags.label and not one.tags.making]
    return tuple(one.uuid for one in whole) if len(whole) == len(names) else None


def _drop_ours(volumes: Volumes, pool: str) -> None:
    """May run twice."""
    if TAG not in volumes.look().volumes[pool].raw_tags:
        return
    if _kept(volumes, pool) != "-":
        device, _ = pending.in_kernel(volumes.name, pool)
        shell.run(["dmsetup", "message", device, "0", "release_metadata_snap"], timeout_s=TIMEOUT_S)
    volumes.retag(pool, remove=[TAG])


def _kept(volumes: Volumes, pool: str) -> str:
    """The picture that the pool keeps; - for none."""
    _, status = pending.in_kernel(volumes.name, pool)
    if len(status) <= KEPT:
        raise errors.BrickError(f"the thin pool {volumes.place(pool)} does not work: repair it (lvconvert --repair)")
    return status[KEPT]


def _lock(pool: str) -> str:
    """Other than that of the pool, which whoever lets it grow holds."""
    return f"{pool}.delta"
