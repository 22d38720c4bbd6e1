"""What every driver promises. A driver's own test file says how to make it; the promises are all here."""

from __future__ import annotations

import dataclasses
import subprocess
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from brickyard.brick.driver import Adopter, Cloner, Importer, Reverter, Snapshotter, Wiper
from brickyard.brick.guard import Guard
from brickyard.brick.memory import MemoryDriver
from brickyard.core import errors
from brickyard.core.bricks import Did, Kind, Label, name_of
from brickyard.hypervisor import disks
from brickyard.hypervisor.machine import Disk

from .company import CompanyContract
from .content import MIB, SIZE, fill, holds, snapshot_of, volume
from .deaths import DeathContract, needs
from .restoring import RestoringContract


class Told:
    """A callback that remembers what it was told."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.totals: set[int] = set()

    def __call__(self, done: int, total: int) -> None:
        self.done.append(done)
        self.totals.add(total)


class DriverContract(DeathContract, CompanyContract, RestoringContract):
    side_by_side = False  # a brick grows only into what is free behind it

    def make(self, pool: Path) -> Any:
        """The driver over `pool`; called again for the same pool it finds what the first one left."""
        raise NotImplementedError

    @pytest.fixture
    def driver(self, pool: Path) -> Guard:
        driver = Guard(self.make(pool), "under test")
        driver.check()
        return driver

    # create, find, list, delete -----------------------------------------------------------------------------------

    def test_create_makes_a_brick_that_is_found_and_reads_as_zeros(self, driver: Guard) -> None:
        label = volume()
        assert driver.create(label, SIZE) is Did.CHANGED
        found = driver.find(label.name)
        assert found is not None
        assert (found.name, found.size_bytes, found.label) == (label.name, SIZE, label)
        assert list(driver.list()) == [found]
        assert holds(driver, label.name, 0, 0, SIZE)

    def test_create_twice_is_one_volume(self, driver: Guard) -> None:
        label = volume()
        driver.create(label, SIZE)
        fill(driver, label.name, 7)
        assert driver.create(label, SIZE) is Did.ALREADY
        assert holds(driver, label.name, 7)

    def test_create_with_another_size_is_refused(self, driver: Guard) -> None:
        label = volume()
        driver.create(label, SIZE)
        with pytest.raises(errors.BrickMismatch):
            driver.create(label, 2 * SIZE)

    @pytest.mark.parametrize("other", [{"project": "another"}, {"generation": 2}])
    def test_create_for_another_owner_is_refused(self, driver: Guard, other: dict[str, Any]) -> None:
        label = volume()
        driver.create(label, SIZE)
        fields = {"project": label.project, "generation": label.generation, **other}
        with pytest.raises(errors.BrickMismatch):
            driver.create(Label(Kind.VOLUME, label.id, **fields), SIZE)

    def test_a_size_that_is_no_whole_sector_is_rounded_up(self, driver: Guard) -> None:
        label = volume()
        driver.create(label, SIZE + 1)
        assert driver.open(label.name).size_bytes >= SIZE + 1
        assert driver.create(label, SIZE + 1) is Did.ALREADY

    def test_delete_twice_is_fine(self, driver: Guard) -> None:
        label = volume()
        driver.create(label, SIZE)
        assert driver.delete(label.name) is Did.CHANGED
        assert driver.delete(label.name) is Did.ALREADY
        assert driver.find(label.name) is None
        assert list(driver.list()) == []

    def test_delete_of_absent_volume_is_fine(self, driver: Guard) -> None:
        assert driver.delete(volume().name) is Did.ALREADY

    def test_a_deleted_id_may_be_used_again_and_reads_as_zeros(self, driver: Guard) -> None:
        label = volume()
        driver.create(label, SIZE)
        fill(driver, label.name, 9)
        driver.delete(label.name)
        driver.create(label, 2 * SIZE)
        assert holds(driver, label.name, 0, 0, 2 * SIZE)

    def test_verbs_that_need_a_brick_say_that_it_is_absent(self, driver: Guard) -> None:
        absent, other = volume(), volume()
        for capability, verb in (
            ("", lambda: driver.open(absent.name)),
            ("", lambda: driver.grow(absent.name, SIZE)),
            ("", lambda: driver.relabel(absent)),
            ("snapshots", lambda: driver.snapshot(absent.name, snapshot_of(absent))),
            ("clones", lambda: driver.clone(absent.name, other, SIZE)),
            ("revert", lambda: driver.revert(absent.name, snapshot_of(absent).name)),
        ):
            # What a driver does not offer is refused as such, whatever it is asked for.
            offered = not capability or getattr(driver.capabilities, capability)
            with pytest.raises(errors.NotFound if offered else errors.Invalid):
                verb()
        assert driver.find(absent.name) is None

    def test_open_and_close_may_be_repeated(self, driver: Guard) -> None:
        label = volume()
        driver.create(label, SIZE)
        assert driver.open(label.name) == driver.open(label.name)
        driver.close(label.name)
        assert driver.close(label.name) is Did.ALREADY

    def test_what_is_opened_may_be_given_to_a_guest(self, driver: Guard) -> None:
        """The hypervisor refuses other formats, and a path that is neither a file nor a block device."""
        label = volume()
        driver.create(label, SIZE)
        connection = driver.open(label.name)
        disk = Disk(label.id, connection.path, connection.format)
        (disks.check_words if isinstance(driver.driver, MemoryDriver) else disks.check)(disk)
        driver.close(label.name)

    def test_close_of_an_absent_brick_is_fine(self, driver: Guard) -> None:
        absent, gone = volume(), volume()
        driver.create(gone, SIZE)
        driver.open(gone.name)
        driver.close(gone.name)
        driver.delete(gone.name)
        for label in (absent, gone):
            assert driver.close(label.name) is Did.ALREADY
            assert driver.find(label.name) is None

    @pytest.mark.parametrize("other", [{"project": "another"}, {"project": "another", "generation": 2}])
    def test_a_new_owner_is_written_beside_the_content(self, driver: Guard, pool: Path, other: dict[str, Any]) -> None:
        label, second = volume(), volume()
        driver.create(label, SIZE)
        driver.create(second, SIZE)
        fill(driver, label.name, 7)
        mine = dataclasses.replace(label, **other)
        assert driver.relabel(mine) is Did.CHANGED
        assert driver.relabel(mine) is Did.ALREADY
        again = Guard(self.make(pool), "under test")
        found = {one.name: (one.label, one.size_bytes) for one in again.list()}
        assert found == {label.name: (mine, SIZE), second.name: (second, SIZE)}
        assert holds(again, label.name, 7)
        with pytest.raises(errors.BrickMismatch):
            driver.create(label, SIZE)

    def test_the_owner_of_a_brick_that_is_open_may_change(self, driver: Guard) -> None:
        label = volume()
        driver.create(label, SIZE)
        before = driver.open(label.name)
        mine = dataclasses.replace(label, project="another")
        assert driver.relabel(mine) is Did.CHANGED
        assert driver.open(label.name) == before
        driver.close(label.name)

    @needs("snapshots")
    def test_a_snapshot_keeps_its_parent_whoever_owns_it(self, driver: Guard) -> None:
        label, other = volume(), volume()
        kept = snapshot_of(label)
        driver.create(label, SIZE)
        driver.snapshot(label.name, kept)
        assert driver.relabel(dataclasses.replace(kept, project="another")) is Did.CHANGED
        with pytest.raises(errors.BrickMismatch):
            driver.relabel(dataclasses.replace(kept, parent=other.id))

    def test_usage_counts_what_was_promised(self, driver: Guard) -> None:
        before = driver.usage()
        labels = [volume(), volume()]
        for label in labels:
            driver.create(label, SIZE)
        driver.grow(labels[0].name, 2 * SIZE)
        usage = driver.usage()
        assert usage.provisioned_bytes - before.provisioned_bytes == 3 * SIZE
        assert 0 < usage.free_bytes <= usage.total_bytes
        for label in labels:
            driver.delete(label.name)
        assert driver.usage().provisioned_bytes == before.provisioned_bytes

    def test_a_root_disk_is_a_brick_too(self, driver: Guard) -> None:
        label = Label(Kind.ROOT, str(uuid.uuid4()), "demo")
        driver.create(label, SIZE)
        assert driver.delete(label.name) is Did.CHANGED

    # grow -----------------------------------------------------------------------------------------------------------

    def test_grow_keeps_content_and_the_new_part_reads_as_zeros(self, driver: Guard) -> None:
        label = volume()
        driver.create(label, SIZE)
        fill(driver, label.name, 5, SIZE - MIB)
        assert driver.grow(label.name, 2 * SIZE) is Did.CHANGED
        assert driver.grow(label.name, 2 * SIZE) is Did.ALREADY
        assert driver.open(label.name).size_bytes == 2 * SIZE
        assert holds(driver, label.name, 5, SIZE - MIB)
        assert holds(driver, label.name, 0, SIZE, SIZE)

    def test_grow_never_shrinks(self, driver: Guard) -> None:
        label = volume()
        driver.create(label, 2 * SIZE)
        assert driver.grow(label.name, SIZE) is Did.ALREADY
        assert driver.open(label.name).size_bytes == 2 * SIZE

    # snapshot, clone, revert ------------------------------------------------------------------------------------------

    @needs("snapshots")
    def test_a_snapshot_keeps_the_content(self, driver: Guard) -> None:
        label = volume()
        snapshot = snapshot_of(label)
        driver.create(label, SIZE)
        fill(driver, label.name, 1)
        assert driver.snapshot(label.name, snapshot) is Did.CHANGED
        fill(driver, label.name, 2)
        assert driver.snapshot(label.name, snapshot) is Did.ALREADY
        assert holds(driver, snapshot.name, 1)
        assert holds(driver, label.name, 2)
        found = driver.find(snapshot.name)
        assert found is not None
        assert found.label == snapshot

    @needs("snapshots", "revert")
    def test_a_snapshot_of_another_volume_is_refused(self, driver: Guard) -> None:
        one, other = volume(), volume()
        for label in (one, other):
            driver.create(label, SIZE)
        driver.snapshot(one.name, snapshot_of(one))
        with pytest.raises(errors.Invalid):
            driver.snapshot(one.name, snapshot_of(other))
        snapshot = snapshot_of(other)
        driver.snapshot(other.name, snapshot)
        fill(driver, one.name, 1)
        with pytest.raises(errors.BrickMismatch, match=rf"{snapshot.name} is a snapshot of {other.id} and not of"):
            driver.revert(one.name, snapshot.name)
        assert holds(driver, one.name, 1)

    @needs("clones")
    def test_a_clone_is_independent_and_may_be_larger(self, driver: Guard) -> None:
        source, clone = volume(), volume("another")
        driver.create(source, SIZE)
        fill(driver, source.name, 3)
        seen: list[tuple[int, int]] = []
        assert driver.clone(source.name, clone, 2 * SIZE, lambda done, total: seen.append((done, total))) is Did.CHANGED
        assert driver.clone(source.name, clone, 2 * SIZE) is Did.ALREADY
        assert seen[-1][0] == seen[-1][1]
        fill(driver, source.name, 4)
        assert holds(driver, clone.name, 3)
        fill(driver, clone.name, 6)
        assert holds(driver, source.name, 4)
        assert driver.open(clone.name).size_bytes == 2 * SIZE
        assert holds(driver, clone.name, 0, SIZE, SIZE)

    @needs("clones")
    def test_a_clone_is_never_smaller_than_its_source(self, driver: Guard) -> None:
        source, clone = volume(), volume()
        driver.create(source, SIZE)
        driver.clone(source.name, clone, MIB)
        assert driver.open(clone.name).size_bytes == SIZE
        assert driver.clone(source.name, clone, MIB) is Did.ALREADY

    @needs("clones")
    def test_a_clone_of_another_source_under_the_same_id_is_refused(self, driver: Guard) -> None:
        one, other, clone = volume(), volume(), volume()
        driver.create(one, SIZE)
        driver.create(other, SIZE)
        driver.clone(one.name, clone, SIZE)
        with pytest.raises(errors.BrickMismatch):
            driver.clone(other.name, clone, SIZE)

    @needs("snapshots", "clones")
    def test_source_and_snapshot_may_be_deleted_while_a_clone_lives(self, driver: Guard) -> None:
        source, clone = volume(), volume()
        snapshot = snapshot_of(source)
        driver.create(source, SIZE)
        fill(driver, source.name, 8)
        driver.snapshot(source.name, snapshot)
        driver.delete(source.name)
        driver.clone(snapshot.name, clone, SIZE)
        driver.delete(snapshot.name)
        assert holds(driver, clone.name, 8)
        assert driver.clone(snapshot.name, clone, SIZE) is Did.ALREADY

    @needs("snapshots", "revert")
    def test_revert_brings_the_content_back_and_keeps_snapshot_and_size(self, driver: Guard) -> None:
        label = volume()
        snapshot = snapshot_of(label)
        driver.create(label, SIZE)
        fill(driver, label.name, 1)
        driver.snapshot(label.name, snapshot)
        driver.grow(label.name, 2 * SIZE)
        fill(driver, label.name, 2, 0, 2 * SIZE)
        for _ in range(2):
            assert driver.revert(label.name, snapshot.name) is Did.CHANGED
        assert driver.open(label.name).size_bytes == 2 * SIZE
        assert holds(driver, label.name, 1)
        assert holds(driver, label.name, 0, SIZE, SIZE)
        fill(driver, label.name, 3)
        assert holds(driver, snapshot.name, 1)

    # import -----------------------------------------------------------------------------------------------------------

    @needs("imports")
    @pytest.mark.parametrize("format", ["raw", "qcow2", "vdi", "vmdk"])
    def test_import_brings_the_content_of_an_image(self, driver: Guard, tmp_path: Path, format: str) -> None:
        image, label = tmp_path / "image", volume()
        with open(tmp_path / "content", "wb") as file:
            file.truncate(4 * MIB)
            file.seek(MIB)
            file.write(b"\x11" * MIB)
        convert = ["qemu-img", "convert", "-f", "raw", "-O", format, str(tmp_path / "content"), str(image)]
        subprocess.run(convert, check=True)
        seen: list[tuple[int, int]] = []
        for did in (Did.CHANGED, Did.ALREADY):
            assert driver.import_image(label, str(image), format, SIZE, lambda *done: seen.append(done)) is did
        assert holds(driver, label.name, 0x11, MIB, MIB)
        assert holds(driver, label.name, 0, 2 * MIB, SIZE - 2 * MIB)
        assert driver.open(label.name).size_bytes == SIZE

    @needs("imports")
    def test_import_of_an_image_that_is_too_large_is_refused_with_both_figures(
        self, driver: Guard, tmp_path: Path
    ) -> None:
        label = volume()
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(tmp_path / "image"), "64M"], check=True)
        with pytest.raises(errors.Invalid, match=rf"{64 * MIB}.*{SIZE}"):
            driver.import_image(label, str(tmp_path / "image"), "qcow2", SIZE)
        assert driver.find(label.name) is None

    # progress ---------------------------------------------------------------------------------------------------------

    @needs("snapshots", "clones", "revert", "imports")
    def test_progress_never_goes_back_and_ends_with_all(self, driver: Guard, tmp_path: Path) -> None:
        """Of every verb that copies; one that was only repeated has nothing to tell."""
        source, imported = volume(), volume()
        clone, snapshot = volume(), snapshot_of(source)
        (tmp_path / "image").write_bytes(b"\x11" * 6 * MIB)
        driver.create(source, SIZE, lambda done, total: None)
        fill(driver, source.name, 1, 0, SIZE)
        for verb in (
            lambda tell: driver.snapshot(source.name, snapshot, tell),
            lambda tell: driver.clone(snapshot.name, clone, 2 * SIZE, tell),
            lambda tell: driver.import_image(imported, str(tmp_path / "image"), "raw", SIZE, tell),
            lambda tell: driver.revert(source.name, snapshot.name, tell),
        ):
            told, again = Told(), Told()
            assert verb(told) is Did.CHANGED
            assert told.done
            assert told.done == sorted(told.done)
            assert told.totals == {told.done[-1]}
            if verb(again) is Did.ALREADY:
                assert not again.done
        told = Told()
        driver.grow(source.name, 2 * SIZE, told)
        assert told.done == sorted(told.done)

    # all together -----------------------------------------------------------------------------------------------------

    def test_capability_and_method_agree(self, pool: Path) -> None:
        driver = self.make(pool)
        able = driver.capabilities
        assert able.snapshots == isinstance(driver, Snapshotter)
        assert able.revert == isinstance(driver, Reverter)
        assert able.clones == isinstance(driver, Cloner)
        assert able.imports == isinstance(driver, Importer)
        assert able.adopts == isinstance(driver, Adopter)
        assert able.wipes == isinstance(driver, Wiper)

    def test_names_and_sizes_that_are_wrong_never_reach_the_driver(self, driver: Guard) -> None:
        for name in ("../volume-x", "volume-", name_of(Kind.VOLUME, str(uuid.uuid4())).upper(), "", "-f"):
            with pytest.raises(errors.Invalid):
                driver.open(name)
        for size in (0, -1, 2**80, True, 1.5):
            with pytest.raises(errors.Invalid):
                driver.create(volume(), size)  # type: ignore[arg-type]
        with pytest.raises(errors.Invalid):
            driver.create(Label(Kind.VOLUME, "../etc", "demo"), SIZE)

    def test_sixteen_threads_work_on_bricks_of_their_own(self, driver: Guard) -> None:
        def work(_: int) -> list[Did]:
            label = volume()
            verbs = [driver.create(label, SIZE), self._grown(driver, label.name), driver.delete(label.name)]
            list(driver.list())
            driver.usage()
            return verbs

        with ThreadPoolExecutor(16) as threads:
            assert list(threads.map(work, range(32))) == [[Did.CHANGED] * 3] * 32
        assert list(driver.list()) == []

    def _grown(self, driver: Guard, name: str) -> Did:
        try:
            return driver.grow(name, 2 * SIZE)
        except errors.NoSpace:
            if not self.side_by_side:
                raise
            return Did.CHANGED  # another brick came to lie behind it meanwhile, and nothing has changed

    def test_sixteen_threads_that_create_and_delete_one_brick_take_turns(self, driver: Guard) -> None:
        label, start = volume(), threading.Barrier(16)

        def at_once(verb: Any) -> list[Did]:
            def work(_: int) -> Did:
                start.wait()
                return verb()

            with ThreadPoolExecutor(16) as threads:
                return list(threads.map(work, range(16)))

        assert at_once(lambda: driver.create(label, SIZE)).count(Did.CHANGED) == 1
        assert at_once(lambda: driver.delete(label.name)).count(Did.CHANGED) == 1
        assert driver.find(label.name) is None
