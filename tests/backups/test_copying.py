"""Backups of bricks of every driver that needs no root, byte for byte, in both kinds of places; and what goes wrong."""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.backups.conftest import bucket

from brickyard.backups import copying, manifest, places
from brickyard.backups.manifest import CHUNK_BYTES, Where
from brickyard.brick import content, faults, registry
from brickyard.brick.driver import Ranges
from brickyard.core import errors
from brickyard.core.bricks import Kind, Label

SIZE = 40 * 1024 * 1024
DRIVERS = {
    "raw": {},
    "raw-preallocated": {"preallocate": "true"},
    "qcow2": {},
    "vdi": {},
    "memory": {},
}
NEVER: Callable[[], bool] = lambda: False  # noqa: E731


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    name = request.param.partition("-")[0]
    path = {} if name == "memory" else {"path": str(tmp_path / "pool")}
    return registry.load(name, {**path, **DRIVERS[request.param]})


@pytest.fixture
def raw(tmp_path: Path) -> Any:
    return registry.load("raw", {"path": str(tmp_path / "pool")})


def new(driver: Any, size: int = SIZE) -> str:
    label = Label(Kind.VOLUME, str(uuid.uuid4()), "project")
    driver.create(label, size)
    return label.name


def write(driver: Any, name: str, parts: dict[int, bytes]) -> None:
    with content.opened(driver, name, writable=True) as opened:
        for at, text in parts.items():
            opened.write(at, text)
        opened.flush()


def read(driver: Any, name: str) -> bytes:
    with content.opened(driver, name) as opened:
        return opened.read(0, opened.size_bytes)


def scattered(seed: int = 1) -> dict[int, bytes]:
    """Some blocks here and there: at the beginning, at the end, across two chunks, and some that are zeros."""
    dice = random.Random(seed)
    return {
        0: dice.randbytes(4096),
        CHUNK_BYTES - 8192: dice.randbytes(16384),
        5 * CHUNK_BYTES: dice.randbytes(CHUNK_BYTES),
        7 * CHUNK_BYTES + 65536: bytes(4096),
        SIZE - 4096: dice.randbytes(4096),
    }


def task(parent: Where | None = None, size: int = SIZE) -> copying.Task:
    return copying.Task(Where("volumes", str(uuid.uuid4())), "volume", "project", size, parent)


def back_up(
    place: places.Place, driver: Any, name: str, wanted: copying.Task, changed: Ranges | None = None
) -> copying.Kept:
    with content.opened(driver, name) as opened:
        return copying.make(place, opened, wanted, progress=None, stopped=NEVER, changed=changed)


def restore(place: places.Place, driver: Any, name: str, where: Where) -> None:
    with content.opened(driver, name, writable=True) as opened:
        copying.restore(place, opened, where, progress=None, stopped=NEVER)


def test_what_is_restored_is_what_was_kept(directory: places.Place, driver: Any) -> None:
    source, target, wanted = new(driver), new(driver), task()
    write(driver, source, scattered())
    kept = back_up(directory, driver, source, wanted)
    assert (kept.objects, kept.size_bytes, kept.volume_id) == (5, SIZE, "volume")
    restore(directory, driver, target, wanted.where)
    assert read(driver, target) == read(driver, source)
    assert copying.find(directory, wanted.where) == kept


def test_a_volume_with_other_content_becomes_the_backup(directory: places.Place, driver: Any) -> None:
    source, target, wanted = new(driver), new(driver, 2 * SIZE), task()
    write(driver, source, scattered())
    back_up(directory, driver, source, wanted)
    write(driver, target, {at + 4096: b"x" * len(text) for at, text in scattered(2).items()})
    restore(directory, driver, target, wanted.where)
    assert read(driver, target) == read(driver, source) + bytes(SIZE)


def test_an_incremental_backup_has_only_what_changed(directory: places.Place, driver: Any) -> None:
    source, target, full = new(driver), new(driver), task()
    write(driver, source, scattered())
    back_up(directory, driver, source, full)
    before = read(driver, source)
    write(driver, source, {2 * CHUNK_BYTES: b"new" * 4096, 0: bytes(4096)})
    second = task(full.where)
    assert back_up(directory, driver, source, second).objects == 3  # two chunks, and the manifest
    write(driver, source, {8 * CHUNK_BYTES: b"more" * 1024})
    third = task(second.where)
    assert back_up(directory, driver, source, third).objects == 2
    after = read(driver, source)
    restore(directory, driver, target, third.where)
    assert read(driver, target) == after
    restore(directory, driver, target, full.where)
    assert read(driver, target) == before


def test_what_is_sparse_stays_sparse(place: places.Place, raw: Any) -> None:
    source, target, wanted = new(raw, 4096 * 1024 * 1024), new(raw, 4096 * 1024 * 1024), task(size=4096 * 1024 * 1024)
    write(raw, source, {3 * 1024**3 + 65536: b"here" * 1024})
    kept = back_up(place, raw, source, wanted)
    assert kept.objects == 2 and kept.stored_bytes < 4096
    restore(place, raw, target, wanted.where)
    path = raw.open(target).path
    assert os.stat(path).st_blocks * 512 <= 65536
    assert os.pread(os.open(path, os.O_RDONLY), 4096, 3 * 1024**3 + 65536) == b"here" * 1024


def test_a_restore_writes_only_what_differs(place: places.Place, raw: Any) -> None:
    source, wanted, seen = new(raw), task(), []
    write(raw, source, scattered())
    back_up(place, raw, source, wanted)
    write(raw, source, {5 * CHUNK_BYTES: b"other"})
    with faults.installed(seen.append):
        restore(place, raw, source, wanted.where)
    assert seen.count("after restore a chunk") == 1


class Death(BaseException):
    """The process ends here."""


def dying_at(what: str, times: int) -> Callable[[str], None]:
    left = [times]

    def hook(point: str) -> None:
        left[0] -= point == what
        if point == what and left[0] == 0:
            raise Death

    return hook


def test_a_backup_goes_on_where_it_died(place: places.Place, raw: Any) -> None:
    source, target, wanted, seen = new(raw), new(raw), task(), []
    write(raw, source, scattered())
    with pytest.raises(Death), faults.installed(dying_at("after store a chunk", 2)):
        back_up(place, raw, source, wanted)
    with pytest.raises(errors.NotFound, match="manifest is missing"):
        restore(place, raw, target, wanted.where)
    with faults.installed(seen.append):
        kept = back_up(place, raw, source, wanted)
    assert seen.count("after store a chunk") == 2  # of four
    assert back_up(place, raw, source, wanted) == kept  # the reply was lost
    restore(place, raw, target, wanted.where)
    assert read(raw, target) == read(raw, source)


def test_what_a_dead_run_stored_of_other_content_is_removed(place: places.Place, raw: Any) -> None:
    source, wanted = new(raw), task()
    write(raw, source, scattered())
    with pytest.raises(Death), faults.installed(dying_at("after store a chunk", 3)):
        back_up(place, raw, source, wanted)
    write(raw, source, scattered(3))
    kept = back_up(place, raw, source, wanted)
    assert len(place.list(wanted.where.prefix)) == kept.objects == 5


def test_a_restore_that_died_is_repeated(directory: places.Place, driver: Any) -> None:
    source, target, wanted = new(driver), new(driver), task()
    write(driver, source, scattered())
    back_up(directory, driver, source, wanted)
    with pytest.raises(Death), faults.installed(dying_at("after restore a chunk", 2)):
        restore(directory, driver, target, wanted.where)
    restore(directory, driver, target, wanted.where)
    assert read(driver, target) == read(driver, source)


def chunk_name(place: places.Place, where: Where, number: int) -> str:
    return next(name for name in place.list(where.prefix) if name.startswith(f"{where.prefix}{number:08x}-"))


def flipped(text: bytes) -> bytes:
    return text[:-5] + bytes([text[-5] ^ 1]) + text[-4:]


@pytest.mark.parametrize("how", ["flipped", "swapped", "cut", "gone"])
def test_a_damaged_chunk_is_named_and_never_restored(place: places.Place, raw: Any, how: str) -> None:
    source, target, wanted = new(raw), new(raw), task()
    write(raw, source, scattered())
    back_up(place, raw, source, wanted)
    name, other = chunk_name(place, wanted.where, 0), chunk_name(place, wanted.where, 5)
    if how == "gone":
        place.delete(wanted.where.prefix, [name])
    else:
        stored = place.get(name)
        changed = {"flipped": flipped(stored), "swapped": place.get(other)[: len(stored)], "cut": stored[:100]}[how]
        place.put(name, changed)
    with pytest.raises(errors.DamagedBackup, match=name):
        restore(place, raw, target, wanted.where)
    assert read(raw, target)[:CHUNK_BYTES] == bytes(CHUNK_BYTES)
    if how in ("cut", "gone"):  # seen before anything is written
        assert read(raw, target) == bytes(SIZE)
        with pytest.raises(errors.DamagedBackup, match=name):
            copying.find(place, wanted.where)


@pytest.mark.parametrize("changed", [None, []], ids=["compared", "told"])
def test_what_the_base_has_lost_is_stored_anew(place: places.Place, raw: Any, changed: Ranges | None) -> None:
    """Or every later backup would be as broken as that one, and nobody would know before it is restored."""
    source, target, full = new(raw), new(raw), task()
    write(raw, source, scattered())
    back_up(place, raw, source, full)
    second = task(full.where)
    back_up(place, raw, source, second, changed)
    lost, short = chunk_name(place, full.where, 0), chunk_name(place, full.where, 5)
    place.delete(full.where.prefix, [lost])
    place.put(short, place.get(short)[:100])
    for where in (full.where, second.where):
        with pytest.raises(errors.DamagedBackup):
            copying.find(place, where)
    third = task(second.where)
    kept = back_up(place, raw, source, third, changed)
    assert kept.objects == 3
    assert changed is None or kept.read_bytes == 2 * CHUNK_BYTES
    assert back_up(place, raw, source, task(third.where), changed).objects == 1
    restore(place, raw, target, third.where)
    assert read(raw, target) == read(raw, source)


def test_a_damaged_manifest_is_named(place: places.Place, raw: Any) -> None:
    source, wanted = new(raw), task()
    back_up(place, raw, source, wanted)
    name = wanted.where.prefix + manifest.NAME
    for changed in (flipped(place.get(name)), b"", b"x" * 100):
        place.put(name, changed)
        with pytest.raises(errors.DamagedBackup, match=name):
            restore(place, raw, source, wanted.where)


def test_a_backup_that_is_stopped_is_not_there(place: places.Place, raw: Any) -> None:
    source, wanted, asked = new(raw), task(), []
    write(raw, source, scattered())

    def stopped() -> bool:
        asked.append(1)
        return len(asked) == 4

    with content.opened(raw, source) as opened, pytest.raises(errors.Cancelled):
        copying.make(place, opened, wanted, progress=None, stopped=stopped)
    assert copying.delete(place, wanted.where, progress=None)
    assert place.list(wanted.where.prefix) == {}


def test_deleting_leaves_nothing_and_may_be_repeated(place: places.Place, raw: Any) -> None:
    source, first, second = new(raw), task(), task()
    write(raw, source, scattered())
    for one in (first, second):
        back_up(place, raw, source, one)
    with pytest.raises(Death), faults.installed(dying_at("before delete objects", 1)):
        copying.delete(place, first.where, progress=None)
    assert copying.delete(place, first.where, progress=None)
    assert not copying.delete(place, first.where, progress=None)
    assert place.list(first.where.prefix) == {}
    assert copying.find(place, second.where)


def test_progress_never_goes_back_and_ends_with_all(place: places.Place, raw: Any) -> None:
    source, wanted, told = new(raw), task(), []
    write(raw, source, scattered())
    with content.opened(raw, source) as opened:
        copying.make(place, opened, wanted, progress=lambda *figures: told.append(figures), stopped=NEVER)
    assert told == sorted(told) and told[-1] == (SIZE, SIZE)


def test_a_volume_that_is_too_small_is_refused(place: places.Place, raw: Any) -> None:
    source, target, wanted = new(raw), new(raw, SIZE // 2), task()
    back_up(place, raw, source, wanted)
    with pytest.raises(errors.Invalid, match="there is room for"):
        restore(place, raw, target, wanted.where)


@pytest.mark.parametrize("container", ["", "..", "a/b", ".hidden", "x" * 64, "a\nb", "-v"])
def test_a_container_is_a_plain_name(container: str) -> None:
    with pytest.raises(errors.Invalid, match="container"):
        _ = Where(container, str(uuid.uuid4())).prefix


@pytest.mark.parametrize("id", ["", "../..", "x", "B5B3A8BD-0000-0000-0000-000000000000"])
def test_an_id_is_an_id(id: str) -> None:
    with pytest.raises(errors.Invalid, match="id"):
        _ = Where("volumes", id).prefix


def test_a_place_is_the_same_for_whoever_comes(tmp_path: Path, s3_url: str) -> None:
    one, other = places.Directory(tmp_path / "kept"), places.Directory(tmp_path / "kept")
    elsewhere = places.Directory(tmp_path / "elsewhere")
    for place in (one, other, one, elsewhere):
        place.check()
    assert one.id == other.id != elsewhere.id
    assert bucket(s3_url, "one").id == bucket(s3_url, "one").id != bucket(s3_url, "two").id


def test_a_directory_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(errors.BrickError, match="create its parent"):
        places.Directory(tmp_path / "no" / "where").check()


def test_an_object_store_that_is_not_there_says_so() -> None:
    with pytest.raises(errors.BrickError, match="object store http://127.0.0.1:9/"):
        bucket("http://127.0.0.1:9").check()


def test_files_of_a_directory_are_for_its_owner_only(tmp_path: Path, raw: Any) -> None:
    place, source, wanted = places.Directory(tmp_path / "kept"), new(raw), task()
    place.check()
    write(raw, source, scattered())
    back_up(place, raw, source, wanted)
    for path in [tmp_path / "kept", *(tmp_path / "kept").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0
