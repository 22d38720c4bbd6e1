"""What differs between two thin volumes is told by the pool of the kernel: an incremental backup reads no more, to the
byte the same, and the pool keeps no picture of its map when who asked for it has died."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.contract.content import MIB, snapshot_of, volume

from brickyard.backups.copying import Kept, Task
from brickyard.backups.manifest import CHUNK_BYTES, Where
from brickyard.brick import faults, shell
from brickyard.brick.guard import Guard
from brickyard.brick.lvm import groups
from brickyard.brick.lvm.thin import ThinDriver
from brickyard.core import settings
from brickyard.nodes import keeping

from .lvm import run
from .thin_volumes import (
    BLOCK,
    POOL,
    TPOOL,
    Take,
    digest,
    is_marked,
    kept_snapshot,
    one_volume,
    picture,
    put,
    read_bytes,
    thin,
)

pytestmark = [pytest.mark.guest, pytest.mark.timeout(900)]
SIZE, WRITTEN = 256 * MIB, 64 * MIB


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
    assert slow.objects == quick.objects == 6  # the manifests differ in ids, and so in their compressed size
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


def test_a_release_that_answers_wrongly_is_not_asked(
    take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _, driver, label = one_volume(take)
    first = kept_snapshot(driver, label)
    keeper, full = keeping.Keeper(settings.Backups("volumes", tmp_path / "kept")), Where("volumes", str(uuid.uuid4()))
    keeper.make(driver, first.name, Task(full, label.id, "project", 16 * MIB), None)
    script = tmp_path / "thin_delta"
    script.write_text("#!/bin/sh\necho thin_delta 1.0.5\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    shell.find.cache_clear()
    try:
        more = Task(Where("volumes", str(uuid.uuid4())), label.id, "project", 16 * MIB, full, first.name)
        assert keeper.make(driver, label.name, more, None).read_bytes == 16 * MIB
    finally:
        shell.find.cache_clear()
    assert "thin_delta 1.0.5: this release" in caplog.text


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
    disk, driver, label = one_volume(take)
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


def test_what_was_looked_at_without_a_picture_is_not_told(take: Take) -> None:
    """As long as a pool keeps a picture it uses none of its blocks anew; when somebody drops ours, what is read of it
    may be anything, and one that they keep then is not ours to drop."""
    disk, driver, label = one_volume(take)
    first = kept_snapshot(driver, label)
    put(driver, label.name, {MIB: b"x" * 4096})

    def after(*messages: str) -> Callable[[str], None]:
        def tell(at: str) -> None:
            if at == "after run thin_delta -m":
                for message in messages:
                    run("dmsetup", "message", TPOOL, "0", message)

        return tell

    with faults.installed(after("release_metadata_snap")):
        assert driver.changed_since(label.name, first.name) is None
    assert (picture(), is_marked(disk)) == ("-", False)
    put(driver, label.name, {2 * MIB: b"y" * 4096})  # or the same block is taken for the next picture
    with faults.installed(after("release_metadata_snap", "create_thin 77", "reserve_metadata_snap")):
        assert driver.changed_since(label.name, first.name) is None
    assert (picture() != "-", is_marked(disk)) == (True, False)
    run("dmsetup", "message", TPOOL, "0", "release_metadata_snap")
    assert driver.changed_since(label.name, first.name) == [(MIB, MIB + BLOCK), (2 * MIB, 2 * MIB + BLOCK)]


def test_what_is_not_yet_in_the_pool_has_changed(take: Take) -> None:
    """What was written through the memory of the host is read from there, and has no block until it leaves it."""
    _, driver, label = one_volume(take)
    first = kept_snapshot(driver, label)
    descriptor = os.open(driver.open(label.name).path, os.O_RDWR)
    try:
        os.pwrite(descriptor, b"x" * 4096, MIB)
        assert driver.changed_since(label.name, first.name) == [(MIB, MIB + BLOCK)]
        os.pwrite(descriptor, b"y" * 4096, 2 * MIB)
        second = kept_snapshot(driver, label)
    finally:
        os.close(descriptor)
        driver.close(label.name)
    assert driver.changed_since(second.name, first.name) == [(MIB, MIB + BLOCK), (2 * MIB, 2 * MIB + BLOCK)]


def test_what_lies_behind_the_end_of_one_of_them_may_differ(take: Take) -> None:
    """A volume that somebody made smaller keeps its blocks behind the end, and shows them when it grows again."""
    disk, driver, label = one_volume(take)
    put(driver, label.name, {9 * MIB: b"x" * 4096})
    run("lvm", "lvreduce", "-y", "-f", "--devices", disk, "-L", "8m", f"ours/{label.name}")
    first = kept_snapshot(driver, label)
    driver.grow(label.name, 16 * MIB)
    assert driver.changed_since(label.name, first.name) == [(8 * MIB, 16 * MIB)]
    assert driver.changed_since(first.name, label.name) == [(8 * MIB, 16 * MIB)]


def test_of_a_volume_that_reads_another_one_where_it_has_no_block_nothing_is_told(take: Take) -> None:
    """An adopted one may lie on a read-only volume outside of the pool, and so may all that are made of it."""
    [disk] = take(1)
    groups.create("ours", [disk], thin=True)
    driver, label, plain = thin(), volume(), volume()
    run("lvm", "lvcreate", "--devices", disk, "-y", "-Wn", "-Zn", "-n", "below", "-l", "4", "ours")
    Path("/dev/ours/below").write_bytes(b"x" * 4096)
    run("lvm", "lvchange", "--devices", disk, "-an", "ours/below")
    run("lvm", "lvchange", "--devices", disk, "-pr", "ours/below")
    run("lvm", "lvcreate", "--devices", disk, "-s", "ours/below", "--thinpool", POOL, "-n", "above")
    driver.adopt("above", label)
    snapshot = kept_snapshot(driver, label)
    driver.create(plain, 16 * MIB)
    assert digest(driver, snapshot.name) == digest(driver, label.name) != digest(driver, plain.name)
    for name, earlier in ((label, plain), (plain, snapshot), (snapshot, label)):
        assert driver.changed_since(name.name, earlier.name) is None
