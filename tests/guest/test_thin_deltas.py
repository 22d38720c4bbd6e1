"""What differs between two thin volumes is told by the pool of the kernel: an incremental backup reads no more, to the
byte the same, and the pool keeps no picture of its map when who asked for it has died."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.contract.content import MIB, snapshot_of, volume

from brickyard.backups.copying import Kept, Task
from brickyard.backups.manifest import CHUNK_BYTES, Where
from brickyard.brick import content, faults
from brickyard.brick.guard import Guard
from brickyard.brick.lvm import deltas, groups
from brickyard.brick.lvm.thin import ThinDriver
from brickyard.core import settings
from brickyard.core.bricks import Label
from brickyard.nodes import keeping

from .lvm import lvm, run

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]
SIZE, WRITTEN = 256 * MIB, 64 * MIB
POOL, TPOOL = "ours/ours-pool", "ours-ours--pool-tpool"
BLOCK = 65536
Take = Callable[[int], list[str]]


def thin() -> Guard:
    return Guard(ThinDriver("ours", "ours-pool"), "thin")


def put(driver: Guard, name: str, parts: dict[int, bytes], *, zero: tuple[int, int] | None = None) -> None:
    with content.opened(driver, name, writable=True) as opened:
        for at, text in parts.items():
            opened.write(at, text)
        if zero is not None:
            opened.zero(*zero)
        opened.flush()


def digest(driver: Guard, name: str) -> str:
    found = hashlib.sha256()
    with content.opened(driver, name) as opened:
        for begin in range(0, opened.size_bytes, MIB):
            found.update(opened.read(begin, MIB))
    return found.hexdigest()


def kept_snapshot(driver: Guard, label: Label) -> Label:
    made = snapshot_of(label)
    driver.snapshot(label.name, made)
    return made


def picture() -> str:
    """What the pool keeps of its map."""
    return run("dmsetup", "status", TPOOL).split()[deltas.KEPT]


def is_marked(disk: str) -> bool:
    return deltas.TAG in lvm(disk, "lvs", "--noheadings", "-o", "lv_tags", POOL)


def read_bytes() -> int:
    """What was read of the data of the pool."""
    device = os.path.basename(os.path.realpath("/dev/mapper/ours-ours--pool_tdata"))
    return int(Path("/sys/block", device, "stat").read_text().split()[2]) * 512


def test_an_incremental_backup_reads_what_changed_and_is_the_same_to_the_byte(take: Take, tmp_path: Path) -> None:
    [disk] = take(1)
    groups.create("ours", [disk], thin=True)
    driver, label, target = thin(), volume(), volume()
    keeper = keeping.Keeper(settings.Backups("volumes", tmp_path / "kept"))

    def back_up(name: str, parent: Where | None = None, brick: str | None = None) -> tuple[Where, Kept, int]:
        where, before = Where("volumes", str(uuid.uuid4())), read_bytes()
        kept = keeper.make(driver, name, Task(where, label.id, "project", SIZE, parent, brick), None)
        return where, kept, read_bytes() - before

    driver.create(label, SIZE)
    put(driver, label.name, {at: os.urandom(MIB) for at in range(0, WRITTEN, MIB)})
    first = kept_snapshot(driver, label)
    full, whole, _ = back_up(first.name)
    assert whole.objects == WRITTEN // CHUNK_BYTES + 1
    # over what is shared, across the edge of two chunks, where nothing was, and a part of what was is given back
    put(
        driver,
        label.name,
        {
            3 * MIB + 4096: os.urandom(4096),
            12 * CHUNK_BYTES - BLOCK: os.urandom(2 * BLOCK),
            SIZE - BLOCK: os.urandom(BLOCK),
        },
        zero=(8 * CHUNK_BYTES, 2 * BLOCK),
    )
    second = kept_snapshot(driver, label)
    told, quick, read = back_up(second.name, full, first.name)
    assert quick.read_bytes == 5 * CHUNK_BYTES
    assert read <= 5 * CHUNK_BYTES + MIB  # and what the kernel reads ahead
    read_whole, slow, all_of_it = back_up(second.name, full)
    assert slow.read_bytes == SIZE
    assert all_of_it > WRITTEN - 2 * MIB
    assert (slow.objects, slow.stored_bytes) == (quick.objects, quick.stored_bytes) == (6, slow.stored_bytes)
    driver.create(target, SIZE)
    wanted = digest(driver, second.name)
    for where in (told, read_whole):
        keeper.restore(driver, target.name, where, None)
        assert digest(driver, target.name) == wanted
        keeper.restore(driver, target.name, full, None)
        assert digest(driver, target.name) == digest(driver, first.name)
    assert (picture(), is_marked(disk)) == ("-", False)
    # the volume goes back to the first, which is another volume of the pool since, and on from there
    driver.revert(label.name, first.name)
    assert driver.changed_since(label.name, first.name) == []
    put(driver, label.name, {CHUNK_BYTES: os.urandom(4096)})
    assert driver.changed_since(label.name, first.name) == [(CHUNK_BYTES, CHUNK_BYTES + BLOCK)]


def test_what_the_pool_cannot_say_is_read(take: Take, tmp_path: Path) -> None:
    """No earlier snapshot, one of another pool, or a picture that somebody else keeps: that one stays."""
    disk, other = take(2)
    groups.create("ours", [disk], thin=True)
    groups.create("theirs", [other], thin=True)
    driver, label, stranger = thin(), volume(), volume()
    elsewhere = Guard(ThinDriver("theirs", "theirs-pool"), "theirs")
    elsewhere.create(stranger, 16 * MIB)
    driver.create(label, 16 * MIB)
    first = kept_snapshot(driver, label)
    assert driver.changed_since(label.name, first.name) == []
    for missing in (stranger.name, snapshot_of(label).name):
        assert driver.changed_since(label.name, missing) is None
    run("dmsetup", "message", TPOOL, "0", "reserve_metadata_snap")
    assert driver.changed_since(label.name, first.name) is None
    thin().check()
    driver.usage()
    assert picture() != "-"
    keeper, full = keeping.Keeper(settings.Backups("volumes", tmp_path / "kept")), Where("volumes", str(uuid.uuid4()))
    keeper.make(driver, first.name, Task(full, label.id, "project", 16 * MIB), None)
    more = Task(Where("volumes", str(uuid.uuid4())), label.id, "project", 16 * MIB, full, first.name)
    assert keeper.make(driver, label.name, more, None).read_bytes == 16 * MIB
    run("dmsetup", "message", TPOOL, "0", "release_metadata_snap")
    assert driver.changed_since(label.name, first.name) == []


class Death(BaseException):
    """The process ends here."""


def dying(point: str, nth: int) -> Callable[[str], None]:
    """Nothing more is done from there on, not even to clean up."""
    left = nth

    def die(at: str) -> None:
        nonlocal left
        left -= at == point
        if left <= 0:
            raise Death

    return die


# where it dies, the how manieth time that it comes there, and whether the pool keeps a picture then
DEATHS = (
    ("before run dmsetup message", 1, False),
    ("after run dmsetup message", 1, True),
    ("before run thin_delta -m", 1, True),
    ("after run dmsetup message", 2, False),
    ("after run thin_delta -m", 1, True),
)


def test_the_picture_of_a_dead_one_is_dropped(take: Take) -> None:
    """By the next start, the next report, or the next who asks."""
    [disk] = take(1)
    groups.create("ours", [disk], thin=True)
    driver, label = thin(), volume()
    driver.create(label, 16 * MIB)
    first = kept_snapshot(driver, label)
    put(driver, label.name, {MIB: b"x" * 4096})
    mends: tuple[Callable[[], object] | None, ...] = (driver.usage, thin().check, driver.usage, thin().check, None)
    for (point, nth, kept), mend in zip(DEATHS, mends, strict=True):
        with pytest.raises(Death), faults.installed(dying(point, nth)):
            driver.changed_since(label.name, first.name)
        assert (picture() != "-", is_marked(disk)) == (kept, True), point
        if mend is not None:
            mend()
            assert (picture(), is_marked(disk)) == ("-", False), point
    assert driver.changed_since(label.name, first.name) == [(MIB, MIB + BLOCK)]
    assert (picture(), is_marked(disk)) == ("-", False)
