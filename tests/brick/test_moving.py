"""Bricks move from one disk of a pool to another: whole, with one of each at any moment, wherever somebody dies."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract import loops
from tests.contract.content import MIB, SIZE, fill, holds, snapshot_of, volume
from tests.contract.deaths import POINTS_MAX, Death, Hook

from brickyard.brick import devices, direct, faults, making
from brickyard.brick.disks import disk as disks
from brickyard.brick.disks import moving, preparing
from brickyard.brick.disks.driver import DiskDriver
from brickyard.brick.guard import Guard
from brickyard.core import errors
from brickyard.core.bricks import Did

pytestmark = pytest.mark.root
SECRET = b"\x5a" * 4096


@pytest.fixture
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="brickyard-", dir="/dev/shm"))
    yield directory
    loops.forget_all()
    shutil.rmtree(directory)


class Rig:
    """A pool of disks; what is on the first is what a test moves."""

    def __init__(self, pool: Path, *, whole: bool = False, sizes: tuple[int, ...] = (24, 24)) -> None:
        self.pool, self.whole = pool, whole
        if pool not in loops.DISKS:
            loops.new_pool(pool, self.kind, [size * MIB for size in sizes], dirty=b"former owner's\n\0" * 256)
        self.disks = loops.DISKS[pool]
        self.options = {"devices": ",".join(self.disks)}
        self.driver = DiskDriver(self.disks, whole=whole)
        self.guard = Guard(self.driver, "under test")

    @property
    def kind(self) -> str:
        return "disk" if self.whole else "partition"

    def here(self, *labels: Any) -> str:
        """Make bricks on the first disk, each full of a byte of its own; the disk."""
        for other in self.disks[1:]:
            moving.keep_off(other, drained=True)
        for number, label in enumerate(labels, 1):
            self.guard.create(label, SIZE)
            fill(self.guard, label.name, number, 0, SIZE)
        for other in self.disks[1:]:
            moving.keep_off(other, drained=False)
        return self.disks[0]

    def where(self, label: Any) -> str:
        brick = self.driver._pool.find(label.name)
        assert brick is not None
        return brick.disk

    def drain(self, device: str, progress: Any = None) -> Did:
        return making.drain_device(self.kind, self.options, device, progress)

    def wipe_moved(self, device: str) -> Any:
        return making.wipe_moved(self.kind, self.options, device)

    def refill(self, device: str) -> Did:
        return making.refill_device(self.kind, self.options, device)

    def entries(self, path: str) -> int:
        """Of a disk, beside its labels."""
        with disks.opened(path) as disk:
            return len(disk.table.entries) - 1

    def content(self, path: str) -> bytes:
        return Path(path).read_bytes()


@pytest.mark.parametrize("whole", [False, True])
def test_a_drain_moves_everything_and_leaves_nothing_to_read(pool: Path, whole: bool) -> None:
    rig, told = Rig(pool, whole=whole), []
    labels = [volume()] if whole else [volume(), volume()]
    old = rig.here(*labels)
    [new] = set(rig.disks) - {old}
    before = {found.name: found for found in rig.guard.list()}
    promised = rig.guard.usage().provisioned_bytes
    assert rig.drain(old, lambda done, total: told.append((done, total))) is Did.CHANGED
    assert told[-1] == (2 * len(labels) * SIZE,) * 2
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {found.name: found for found in rig.guard.list()} == before
    assert rig.guard.usage().provisioned_bytes == promised
    assert [rig.where(label) for label in labels] == [new] * len(labels)
    for number, label in enumerate(labels, 1):
        assert holds(rig.guard, label.name, number, 0, SIZE)
        assert rig.guard.create(label, SIZE) is Did.ALREADY
    receipts = rig.wipe_moved(old)
    assert rig.wipe_moved(old) == receipts  # until the disk is refilled or removed
    assert {(one.name, one.size_bytes) for one in receipts} == {(label.name, SIZE) for label in labels}
    assert all("moved to another disk" in one.verified and one.method.value != "none" for one in receipts)
    for number in range(1, len(labels) + 1):
        assert bytes([number]) * 4096 not in rig.content(old)
    assert rig.drain(old) is Did.ALREADY
    with pytest.raises(errors.NoSpace):
        rig.guard.create(volume(), 2 * SIZE)  # nothing new lies on a drained disk
    assert making.remove_device(rig.kind, rig.options, old)["devices"] == new
    assert devices.inspect(old).found == ()


def test_a_refilled_disk_takes_bricks_again(pool: Path) -> None:
    rig, label = Rig(pool), volume()
    old = rig.here(label)
    rig.drain(old)
    rig.wipe_moved(old)
    assert rig.refill(old) is Did.CHANGED
    assert rig.refill(old) is Did.ALREADY
    assert rig.entries(old) == 0
    assert rig.guard.usage().wiping_bytes == 0
    rig.guard.create(volume(), 2 * SIZE)
    assert rig.wipe_moved(old) == []


def test_open_bricks_are_refused_by_name_and_nothing_is_changed(pool: Path) -> None:
    rig, labels = Rig(pool), [volume(), volume()]
    old = rig.here(*labels)
    with open(rig.guard.open(labels[1].name).path, "rb"), pytest.raises(errors.DeviceInUse) as caught:
        rig.drain(old)
    assert caught.value.found == (labels[1].name,)
    assert f"{labels[1].name} is open: stop or detach" in str(caught.value)
    assert {rig.where(label) for label in labels} == {old}
    assert not rig.wipe_moved(old)
    with disks.opened(old) as disk:
        assert not disk.is_drained


@pytest.mark.parametrize(("whole", "sizes"), [(False, (24, 12)), (True, (24, 8))])
def test_without_room_nothing_is_changed_and_the_figures_are_told(pool: Path, whole: bool, sizes: Any) -> None:
    rig = Rig(pool, whole=whole, sizes=sizes)
    labels = [volume()] if whole else [volume(), volume()]
    old = rig.here(*labels)
    with pytest.raises(
        errors.NoSpace, match=rf"needs a free {'disk' if whole else 'stretch'} of {SIZE} bytes.*free there"
    ):
        rig.drain(old)
    assert {rig.where(label) for label in labels} == {old}
    assert rig.entries(rig.disks[1]) == 0


def test_a_brick_that_is_opened_while_it_moves_is_told_so_and_stays_whole(pool: Path) -> None:
    rig, label = Rig(pool), volume()
    old = rig.here(label)
    refused: list[str] = []

    def open_now(name: str) -> None:
        if name == "copying":
            with pytest.raises(errors.DeviceInUse, match="is being moved to another disk") as caught:
                rig.guard.open(label.name)
            refused.append(str(caught.value))

    with faults.installed(open_now):
        rig.drain(old)
    assert refused
    assert holds(rig.guard, label.name, 1, 0, SIZE)


def test_a_brick_that_somebody_has_opened_behind_our_back_does_not_leave(pool: Path) -> None:
    """By a path that it got before: it may write, and what it writes would be lost."""
    rig, label = Rig(pool), volume()
    old = rig.here(label)
    path, held = rig.guard.open(label.name).path, []

    def write(name: str) -> None:
        if name == "after compare" and not held:
            held.append(open(path, "r+b"))  # noqa: SIM115 - it stays open until the test ends
            held[0].write(b"\x77" * MIB)

    try:
        with faults.installed(write), pytest.raises(errors.DeviceInUse):
            rig.drain(old)
    finally:
        held[0].close()
    assert rig.where(label) == old
    assert holds(rig.guard, label.name, 0x77)
    assert rig.entries(next(path for path in rig.disks if path != old)) == 0


def test_a_copy_that_differs_is_not_taken(pool: Path) -> None:
    rig, label = Rig(pool), volume()
    old = rig.here(label)
    [new] = set(rig.disks) - {old}

    def spoil(name: str) -> None:
        if name == "before compare":
            with disks.opened(new) as disk:
                [target] = disk.moved(disks.ARRIVING)
            with direct.writing(new) as descriptor:
                direct.write(descriptor, target.begin + 3 * MIB, SECRET)

    with faults.installed(spoil), pytest.raises(errors.BrickError, match="differs from it after byte"):
        rig.drain(old)
    assert (rig.where(label), rig.entries(new)) == (old, 0)
    assert holds(rig.guard, label.name, 1, 0, SIZE)
    assert rig.drain(old) is Did.CHANGED
    assert holds(rig.guard, label.name, 1, 0, SIZE)


def _state(pool: Path) -> Path:
    ready = pool / "ready"
    ready.mkdir()
    return ready


@pytest.mark.parametrize("error", [Death, errors.BrickError])
@pytest.mark.parametrize("whole", [False, True])
def test_wherever_a_drain_dies_there_is_one_whole_brick_and_the_repeat_goes_on(
    pool: Path, whole: bool, error: type[BaseException]
) -> None:
    ready, label = _state(pool), volume()
    rig = Rig(ready, whole=whole)
    rig.here(label)
    for at in range(1, POINTS_MAX):
        copy = pool / f"at-{at}"
        loops.duplicate(ready, copy)
        rig, hook = Rig(copy, whole=whole), Hook(at, error)
        old, new = rig.disks
        interrupted = True
        with faults.installed(hook):
            try:
                rig.drain(old)
                rig.wipe_moved(old)
                rig.refill(old)
                interrupted = False
            except error:
                pass
        assert interrupted or hook.points < at, "an error was swallowed"
        again = Rig(copy, whole=whole)
        _check_one(again, label)
        if interrupted:
            choice = at % 3
            if choice == 0:  # it is used in between, and what is written must not be lost
                fill(again.guard, label.name, 9, 0, SIZE)
            elif choice == 1:  # it is given up
                again.wipe_moved(old)
                again.refill(old)
                _check_one(again, label)
                assert sum(again.entries(path) for path in again.disks) == 1
            again.drain(old)
            assert holds(again.guard, label.name, 9 if choice == 0 else 1, 0, SIZE)
            assert len(again.wipe_moved(old)) <= 1
            again.refill(old)
        assert (again.entries(old), again.entries(new)) == (0, 1)
        assert bytes([1]) * 4096 not in again.content(old)
        assert not again.guard.leftovers()
        again.guard.delete(label.name)
        assert (again.entries(old), again.entries(new)) == (0, 0)
        loops.forget(copy)
        if not interrupted:
            return
    pytest.fail(f"more than {POINTS_MAX} points")


def _check_one(rig: Rig, label: Any) -> None:
    """It is listed once, found, and says the same of itself wherever it is."""
    [found] = rig.guard.list()
    assert found == rig.guard.find(label.name)
    assert (found.label, found.size_bytes, found.wiping) == (label, SIZE, False)
    assert holds(rig.guard, label.name, 1, 0, SIZE)
    assert rig.guard.create(label, SIZE) is Did.ALREADY
    assert rig.guard.usage().provisioned_bytes == SIZE


@pytest.mark.parametrize("at", [5, 12, 16, 20, 24, 30])
def test_a_brick_whose_drain_died_may_be_deleted_and_nothing_is_left_of_it(pool: Path, at: int) -> None:
    rig, label = Rig(pool), volume()
    old = rig.here(label)
    with faults.installed(Hook(at, Death)), pytest.raises(Death):
        _ = rig.drain(old), rig.wipe_moved(old)
    again = Rig(pool)
    again.guard.delete(label.name)
    assert again.guard.find(label.name) is None
    assert list(again.guard.list()) == []
    again.drain(old)
    again.wipe_moved(old)
    again.refill(old)
    assert [again.entries(path) for path in again.disks] == [0, 0]
    assert all(bytes([1]) * 4096 not in again.content(path) for path in again.disks)


@pytest.mark.parametrize("at", range(14, 40, 2))
def test_a_brick_whose_drain_died_may_change_its_owner_or_lose_its_label(pool: Path, at: int) -> None:
    rig, label = Rig(pool), volume()
    old = rig.here(label)
    with faults.installed(Hook(at, Death)), pytest.raises(Death):
        _ = rig.drain(old), rig.wipe_moved(old)
    again, other = Rig(pool), volume("another")
    other = type(label)(label.kind, label.id, other.project)
    again.guard.relabel(other)
    again.drain(old)
    assert again.guard.create(other, SIZE) is Did.ALREADY
    assert holds(again.guard, label.name, 1, 0, SIZE)
    again.wipe_moved(old)
    again.refill(old)
    with faults.installed(Hook(at, Death)), pytest.raises(Death):
        _ = again.drain(again.where(label)), again.wipe_moved(again.where(label))
    again.guard.disown(label.name)
    [found] = again.guard.list()
    assert (found.name, found.label) == (label.name, None)
    again.guard.adopt(label.name, label)
    assert holds(again.guard, label.name, 1, 0, SIZE)


def test_a_copy_that_died_goes_on_where_it_was(pool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moving, "STRETCH_BYTES", 2 * MIB)
    rig, label = Rig(pool), volume()
    old = rig.here(label)
    stretches = 0

    def die(name: str) -> None:
        nonlocal stretches
        stretches += name == "before copy"
        if stretches >= 3:
            raise Death

    with faults.installed(die), pytest.raises(Death):
        rig.drain(old)
    told: list[int] = []
    rig.drain(old, lambda done, total: told.append(done))
    assert told[0] >= 4 * MIB
    assert holds(rig.guard, label.name, 1, 0, SIZE)


def test_snapshots_move_and_reverts_still_work(pool: Path) -> None:
    rig, label = Rig(pool), volume()
    old = rig.here(label)
    snapshot = snapshot_of(label)
    moving.keep_off(next(path for path in rig.disks if path != old), drained=True)
    rig.guard.snapshot(label.name, snapshot)
    rig.refill(next(path for path in rig.disks if path != old))
    fill(rig.guard, label.name, 2)
    rig.drain(old)
    assert rig.where(snapshot) == rig.where(label) != old
    rig.guard.revert(label.name, snapshot.name)
    assert holds(rig.guard, label.name, 1, 0, SIZE)


def test_a_disk_that_still_has_what_has_moved_is_not_given_back_before_it_is_wiped(pool: Path) -> None:
    rig, label = Rig(pool), volume()
    old = rig.here(label)
    rig.drain(old)
    with pytest.raises(errors.DeviceInUse, match="still holds bricks"):
        preparing.forget(old, pool="under test", driver="partition")
    rig.wipe_moved(old)
    preparing.forget(old, pool="under test", driver="partition")


def test_verbs_of_others_go_on_while_a_disk_is_drained(pool: Path) -> None:
    rig, label = Rig(pool, sizes=(24, 24, 24)), volume()
    old = rig.here(label)
    failed: list[BaseException] = []
    over = threading.Event()

    def work() -> None:
        try:
            while not over.is_set():
                other = volume()
                rig.guard.create(other, SIZE)
                assert rig.where(other) != old or not started.is_set()
                rig.guard.delete(other.name)
        except BaseException as error:
            failed.append(error)

    started = threading.Event()
    moving.keep_off(old, drained=True)
    started.set()
    thread = threading.Thread(target=work)
    thread.start()
    try:
        rig.drain(old)
        rig.wipe_moved(old)
    finally:
        over.set()
        thread.join(60)
    assert not failed
    assert holds(rig.guard, label.name, 1, 0, SIZE)
