"""What differs between two volumes of a thin pool, told by the pool and not by reading them.

Two volumes that have the same block of the pool at a place have the same content there, and neither can change it while
the other one has it. So the map of the pool, looked at once, says where they may differ; `thin_delta` compares it.

A pool that works changes its map all the time, and keeps a picture of it when it is told to: one, until it is told to
drop it. As long as it keeps one, what is freed of its metadata is not free, so a picture must not stay when who asked
for it has died. The tag `brickyard.delta` on the pool says that one is ours: it is written before the pool is told to
keep it, and taken away after it was dropped; `mend` drops what a death has left. A picture without that tag is
somebody else's, and nothing is told until they drop it.

Whoever believes this does not read the rest, and so nobody would notice that something is missing. On any doubt
nothing is told: when somebody dropped the picture while it was read, since its blocks may have been used anew; when the
answer is not of the form that is known; and when the program is of a release that is not known to answer rightly.
"""

from __future__ import annotations

import re

from brickyard.brick import shell, steps
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
END = ["</diff>", "</superblock>"]
RELEASE = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)")
# From 1.0.0 to 1.0.5 it looks at the first block of what is written without a gap, and calls the rest the same as that.
RIGHT = (((0, 9, 0), (1, 0, 0)), ((1, 0, 6), (2, 0, 0)))  # the first release, and the first one after them


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
    said = shell.run(["thin_delta", "--version"], timeout_s=TIMEOUT_S).strip()
    if not is_right(said):
        raise errors.BrickError(
            f"{said}: this release of thin_delta is not asked what has changed, since it may be wrong; install "
            "thin-provisioning-tools 0.9.0, or 1.0.6 or a later one"
        )
    with volumes.queue().brick_lock(_lock(pool)):
        _drop_ours(volumes, pool)
        group = volumes.look()
        before = _both(group, pool, earlier, later)
        if before is None or _kept(volumes, pool) != "-":
            return None
        if group.volumes[later].active:  # what is still in the memory of the host is read, and has no block yet
            steps.sync(volumes.path(later))
        volumes.retag(pool, [TAG])
        try:
            found = _compared(volumes, pool, earlier, later)
        finally:
            _drop_ours(volumes, pool)
        # a brick may have been deleted meanwhile, and another one have got its number
        if found is None or _both(volumes.look(), pool, earlier, later) != before:
            return None
    return _and_behind(found, *sorted(size_bytes for _, size_bytes in before))


def is_right(said: str) -> bool:
    """Whether what `thin_delta --version` says is a release that can be believed."""
    release = RELEASE.search(said)
    number = tuple(map(int, release.groups())) if release else ()
    return any(first <= number < after for first, after in RIGHT)


def read(output: str, earlier: str, later: str) -> Ranges | None:
    """The ranges that `thin_delta` does not call the same between these two numbers; None unless all that it says is
    understood."""
    lines = [line.strip() for line in output.splitlines()]
    block = BLOCK.search(lines[0]) if lines and lines[0].startswith("<superblock ") else None
    if block is None or lines[1:2] != [f'<diff left="{earlier}" right="{later}">'] or lines[-2:] != END:
        return None
    size, found, furthest = int(block[1]) * SECTOR_BYTES, Ranges(), 0
    for line in lines[2:-2]:
        told = RANGE.fullmatch(line)
        if told is None or int(told[2]) * size < furthest:
            return None
        begin, furthest = int(told[2]) * size, (int(told[2]) + int(told[3])) * size
        if told[1] == "same":
            continue
        if found and found[-1][1] == begin:
            begin = found.pop()[0]
        found.append((begin, furthest))
    return found


def _and_behind(found: Ranges, begin: int, end: int) -> Ranges:
    """With all that is behind the end of the smaller one: a volume that was made smaller keeps its blocks there, where
    they are the same as before, and nobody could read them."""
    if begin == end:
        return found
    return [(one[0], min(one[1], begin)) for one in found if one[0] < begin] + [(begin, end)]


def _compared(volumes: Volumes, pool: str, earlier: str, later: str) -> Ranges | None:
    """What `thin_delta` says; None when the pool keeps no picture for us, or not until the end."""
    foreign = False  # the picture, if there is one
    with volumes.turn() as lvm:  # nobody makes or removes a volume between the numbers and the picture
        device, _ = pending.in_kernel(volumes.name, pool)
        rows = lvm.report("lvs", "-o", "lv_name,thin_id", volumes.name)["lv"]
        try:
            shell.run(["dmsetup", "message", device, "0", "reserve_metadata_snap"], timeout_s=TIMEOUT_S)
        except errors.ToolFailed as failed:
            foreign = failed.returncode > 0  # of somebody who was faster
        kept = _kept(volumes, pool)
    number = {row["lv_name"]: row["thin_id"] for row in rows}
    if not foreign and kept != "-" and {earlier, later} <= number.keys():
        metadata = f"/dev/mapper/{pending.device_of(volumes.name, f'{pool}_tmeta')}"
        which = ("--thin1", number[earlier], "--thin2", number[later])
        output = shell.run(["thin_delta", "-m", *which, metadata], timeout_s=COMPARE_S)
        if _kept(volumes, pool) == kept:
            return read(output, number[earlier], number[later])
        foreign = True
    if foreign:
        volumes.retag(pool, remove=[TAG])
    return None


def _both(group: Group, pool: str, *names: str) -> tuple[tuple[str, int], ...] | None:
    """What tells the volumes of these bricks from all others, and their sizes, if they are whole and of this pool, and
    of nothing else."""
    found: list[Volume | None] = [group.volumes.get(name) for name in names]
    whole = [one for one in found if one and one.pool == pool and one.tags.label and not one.tags.making]
    if len(whole) != len(names) or any(_reads_another(group, one) for one in whole):
        return None
    return tuple((one.uuid, one.size_bytes) for one in whole)


def _reads_another(group: Group, volume: Volume) -> bool:
    """Whether it may read a volume outside of the pool where it has no block, as one can that was adopted, and all that
    was made of it: then it does not read zeros there."""
    origin, pool = group.volumes.get(volume.origin), volume.pool
    while origin is not None and origin.pool == pool:
        origin = group.volumes.get(origin.origin)
    return origin is not None


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
