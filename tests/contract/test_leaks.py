"""Not a byte of a former owner is read by the next one: on every driver, by every way in which a brick gets content.

The markers are looked for in what the next owner can read, and, where deleting wipes, on the disks themselves as well.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from brickyard.brick import faults, qcow2, raw, vdi, wipe
from brickyard.brick.disks.driver import DiskDriver
from brickyard.brick.guard import Guard
from brickyard.core import errors
from brickyard.core.bricks import Label, WipeMethod

from . import loops
from .content import MIB, SIZE, snapshot_of, volume
from .deaths import Death

MARKER = b"MARKER-OF-THE-FORMER-OWNER-42.\n\0"  # 32 bytes: sectors are whole multiples


class Rig:
    """A driver over a pool of four places, which a former owner filled to the last byte."""

    def __init__(self, pool: Path, make: Callable[[Path], Any], images: list[Path]) -> None:
        self.pool, self.make, self.images = pool, make, images
        self.driver = Guard(make(pool), "under test")

    def content(self, name: str) -> bytes:
        """Everything that the owner of a brick can read."""
        connection = self.driver.open(name)
        if connection.format == "raw":
            return Path(connection.path).read_bytes()
        out = self.pool / "content"
        convert = ["qemu-img", "convert", "-f", connection.format, "-O", "raw", connection.path, str(out)]
        subprocess.run(convert, check=True)
        content = out.read_bytes()
        out.unlink()
        return content

    def mark(self, name: str) -> None:
        """Fill a brick to its last byte."""
        connection = self.driver.open(name)
        content = MARKER * (connection.size_bytes // len(MARKER))
        if connection.format == "raw":
            with open(connection.path, "r+b") as file:
                file.write(content)
            return
        source = self.pool / "content"
        source.write_bytes(content)
        convert = ["qemu-img", "convert", "-n", "-f", "raw", "-O", connection.format, str(source), connection.path]
        subprocess.run(convert, check=True)
        source.unlink()

    def former_owner(self) -> None:
        labels = [volume("former") for _ in range(4)]
        for label in labels:
            self.driver.create(label, SIZE)
            self.mark(label.name)
            self.driver.grow(label.name, 2 * SIZE)
            self.mark(label.name)
        for label in labels:
            assert MARKER in self.content(label.name)
            self.driver.delete(label.name)

    def on_disk(self) -> bytes:
        for disk in loops.DISKS.get(self.pool, []):
            loops.steps.sync(disk)
        return b"".join(image.read_bytes() for image in self.images)


FILES = {
    "raw": lambda pool: raw.driver(str(pool / "bricks")),
    "raw, preallocated": lambda pool: raw.driver(str(pool / "bricks"), preallocate=True),
    "qcow2": lambda pool: qcow2.driver(str(pool / "bricks")),
    "qcow2, preallocated": lambda pool: qcow2.driver(str(pool / "bricks"), preallocation="falloc"),
    "vdi": lambda pool: vdi.driver(str(pool / "bricks")),
}
DISKS = {"partition": False, "disk": True}


@pytest.fixture(params=[*FILES, *(pytest.param(name, marks=pytest.mark.root) for name in DISKS)])
def rig(request: pytest.FixtureRequest, pool: Path) -> Iterator[Rig]:
    if request.param in FILES:
        (pool / "bricks").mkdir()
        yield Rig(pool, FILES[request.param], [])
        return
    loops.new_pool(pool, "under test", [20 * MIB] * 4, dirty=MARKER * 128)
    whole = DISKS[request.param]
    yield Rig(pool, lambda pool: DiskDriver(loops.DISKS[pool], whole=whole), sorted(pool.glob("disk-*")))
    loops.forget(pool)


def next_owner(rig: Rig, image: Path) -> dict[str, bytes]:
    """What somebody can read who comes after and uses every way to get a brick."""
    driver, one, two = rig.driver, volume("next"), volume("next")
    seen = {}
    driver.create(one, SIZE)
    seen["create"] = rig.content(one.name)
    driver.grow(one.name, SIZE + 3 * MIB + 512)
    seen["grow"] = rig.content(one.name)
    driver.clone(one.name, two, 2 * SIZE)
    seen["clone, with its tail"] = rig.content(two.name)
    snapshot = snapshot_of(one)
    driver.snapshot(one.name, snapshot)
    seen["snapshot"] = rig.content(snapshot.name)
    driver.delete(two.name)
    driver.import_image(two, str(image), "raw", SIZE)
    seen["import, with its tail"] = rig.content(two.name)
    driver.grow(one.name, 2 * SIZE)
    driver.revert(one.name, snapshot.name)
    seen["revert, with its tail"] = rig.content(one.name)
    for label in (one, two, snapshot):
        driver.delete(label.name)
    return seen


@pytest.fixture
def image(tmp_path: Path) -> Path:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.write(b"\x11" * MIB)
        file.truncate(3 * MIB)
    return image


def check_clean(rig: Rig, seen: dict[str, bytes], imported: bytes) -> None:
    for way, content in seen.items():
        if way.startswith("import"):
            assert content[: len(imported)] == imported, way
            content = content[len(imported) :]
        assert content.count(b"\0") == len(content), f"{way}: something that is not zero is read"


def test_the_next_owner_reads_zeros_on_every_way(rig: Rig, image: Path) -> None:
    if not rig.images:  # of the disks every sector was somebody's before
        rig.former_owner()
    check_clean(rig, next_owner(rig, image), image.read_bytes())
    rig.former_owner()
    check_clean(rig, next_owner(rig, image), image.read_bytes())


def test_a_receipt_tells_what_was_done_and_stays_the_same(rig: Rig) -> None:
    label = volume()
    rig.driver.create(label, SIZE)
    before = rig.on_disk().count(MARKER)
    rig.mark(label.name)
    told: list[tuple[int, int]] = []
    receipt = rig.driver.wipe(label.name, lambda *figures: told.append(figures))
    assert (receipt.name, receipt.size_bytes) == (label.name, SIZE)
    if not rig.driver.capabilities.wipes:
        assert receipt.method is WipeMethod.NONE
        return
    assert receipt.method is not WipeMethod.NONE and "read back as zeros" in receipt.verified
    assert told[-1] == (SIZE, SIZE)
    assert rig.on_disk().count(MARKER) == before
    assert rig.driver.wipe(label.name) == receipt, "a repeat tells of the same wipe"
    [found] = rig.driver.list()
    assert found.wiping and found.label == label
    usage = rig.driver.usage()
    assert (usage.wiping_bytes, usage.provisioned_bytes) == (SIZE, 0)
    for verb in (rig.driver.open, lambda name: rig.driver.grow(name, 2 * SIZE)):
        with pytest.raises(errors.NotFound, match="wiped"):
            verb(label.name)
    with pytest.raises(errors.BrickMismatch, match="wiped"):
        rig.driver.create(label, SIZE)
    rig.driver.delete(label.name)
    with pytest.raises(errors.NotFound):
        rig.driver.wipe(label.name)
    assert rig.driver.usage().wiping_bytes == 0


# dying while it is wiped -------------------------------------------------------------------------------------------


@pytest.fixture(params=DISKS)
def disks(request: pytest.FixtureRequest, pool: Path) -> Iterator[Rig]:
    loops.new_pool(pool, "under test", [20 * MIB] * 2)
    whole = DISKS[request.param]
    yield Rig(pool, lambda pool: DiskDriver(loops.DISKS[pool], whole=whole), sorted(pool.glob("disk-*")))
    loops.forget(pool)


@pytest.mark.root
def test_dying_at_any_point_of_a_wipe_goes_on_and_nobody_reads_the_rest(
    disks: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wipe, "CHUNK_BYTES", 2 * MIB)
    monkeypatch.setattr(wipe, "NOTE_BYTES", 4 * MIB)
    label, went_on = volume("former"), set()
    for at in itertools.count(1):
        disks.driver.create(label, SIZE)
        disks.mark(label.name)
        assert MARKER in disks.on_disk()
        passed = itertools.count(1)

        def die(_: str, at: int = at, passed: Iterator[int] = passed) -> None:
            if next(passed) >= at:
                raise Death

        try:
            with faults.installed(die):
                disks.driver.wipe(label.name)
        except Death:
            pass
        else:
            disks.driver.delete(label.name)
            break
        driver = Guard(disks.make(disks.pool), "of the next process")
        found = driver.find(label.name)
        assert found is not None
        if found.wiping:
            with pytest.raises(errors.NotFound, match="wiped"):
                driver.open(label.name)
        told: list[tuple[int, int]] = []
        receipt = driver.wipe(label.name, lambda *figures, told=told: told.append(figures))
        assert receipt.size_bytes == SIZE
        if told:
            went_on.add(told[0][0])
        driver.delete(label.name)
        assert MARKER not in disks.on_disk(), "not even on the disk itself"
    assert {2 * MIB, 6 * MIB} <= went_on, "it began where the last note was"


@pytest.mark.root
def test_what_died_in_the_making_leaves_nothing_of_its_source(disks: Rig) -> None:
    source, target = volume("former"), volume("former")
    disks.driver.create(source, SIZE)
    disks.mark(source.name)
    for at in itertools.count(1):
        passed = itertools.count(1)

        def die(_: str, at: int = at, passed: Iterator[int] = passed) -> None:
            if next(passed) >= at:
                raise Death

        try:
            with faults.installed(die):
                disks.driver.clone(source.name, target, SIZE)
        except Death:
            assert target.name not in {found.name for found in disks.driver.list()} or at > 8
            disks.driver.tidy(target.name)
            disks.driver.delete(target.name)
            assert disks.on_disk().count(MARKER) == SIZE // len(MARKER), "only the source has its content"
            assert disks.driver.leftovers() == {}
        else:
            return


@pytest.mark.root
def test_what_somebody_has_open_is_not_wiped_and_stays_whole(disks: Rig) -> None:
    label = volume()
    disks.driver.create(label, SIZE)
    disks.mark(label.name)
    with open(disks.driver.open(label.name).path, "rb") as held:
        for verb in (disks.driver.wipe, disks.driver.delete):
            with pytest.raises(errors.DeviceInUse, match="open"):
                verb(label.name)
        found = disks.driver.find(label.name)
        assert found is not None and not found.wiping
        assert held.read(32) == MARKER
    disks.driver.delete(label.name)
    assert MARKER not in disks.on_disk()


@pytest.mark.root
def test_what_somebody_wrote_past_us_into_free_space_is_not_taken_for_clean(disks: Rig) -> None:
    """That it was wiped is remembered, and looked at all the same."""
    label: Label = volume()
    disks.driver.create(label, SIZE)
    disks.driver.delete(label.name)
    for disk in loops.DISKS[disks.pool]:
        loops.soil(disk, MARKER * 128)
    disks.driver.create(label, SIZE)
    assert disks.content(label.name) == bytes(SIZE)
