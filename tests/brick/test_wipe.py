"""Wiping: what was there cannot be read any more, whatever the device claims, whenever we die, and not too quickly."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.contract import loops

from brickyard.brick import faults, wipe
from brickyard.core import clock, errors
from brickyard.core.bricks import WipeMethod
from brickyard.core.sizes import MIB

SECRET = b"the former owner's secret......\n"  # 32 bytes


def filled(path: Path, size_bytes: int) -> Path:
    path.write_bytes((SECRET * (size_bytes // len(SECRET) + 1))[:size_bytes])
    return path


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    """A loop device of 96 MiB that is full of secrets: large enough to be verified by samples."""
    disk = loops.attach(filled(tmp_path / "image", 96 * MIB))
    yield disk
    loops.detach(disk)


def content(path: str | Path) -> bytes:
    return Path(path).read_bytes()


@pytest.mark.parametrize("size_bytes", [1, 511, 4096, 3 * MIB + 17, 65 * MIB])
def test_a_file_of_any_size_reads_as_zeros_and_nothing_behind_it_is_touched(tmp_path: Path, size_bytes: int) -> None:
    path = filled(tmp_path / "file", size_bytes + 100)
    told: list[tuple[int, int]] = []
    method, verified = wipe.erase(str(path), size_bytes, progress=lambda *figures: told.append(figures))
    assert method is WipeMethod.OVERWRITE
    assert "zeros" in verified
    assert content(path)[:size_bytes] == bytes(size_bytes)
    assert content(path)[size_bytes:] == (SECRET * (size_bytes // 32 + 9))[size_bytes : size_bytes + 100]
    assert told == sorted(told) and told[-1] == (size_bytes, size_bytes)


def test_only_the_part_that_was_named_is_erased(tmp_path: Path) -> None:
    path = filled(tmp_path / "file", 4 * MIB)
    wipe.erase(str(path), 3 * MIB, begin=MIB)
    assert content(path) == (SECRET * MIB)[:MIB] + bytes(2 * MIB) + (SECRET * MIB)[3 * MIB : 4 * MIB]
    assert wipe.reads_as_zeros(str(path), MIB, 3 * MIB) is not None
    assert wipe.reads_as_zeros(str(path), MIB - 1, 3 * MIB) is None


@pytest.mark.root
def test_a_device_is_erased_by_the_quickest_method_and_its_file_holds_nothing(device: str, tmp_path: Path) -> None:
    method, verified = wipe.erase(device, 96 * MIB)
    assert method in (WipeMethod.DISCARD, WipeMethod.WRITE_ZEROES)
    assert "random places" in verified
    assert SECRET not in content(tmp_path / "image")


@pytest.mark.root
@pytest.mark.parametrize("act", [wipe._punch, wipe._write_zeroes, wipe._overwrite])
def test_every_method_erases_a_device(device: str, tmp_path: Path, act: wipe.Act) -> None:
    descriptor = os.open(device, os.O_RDWR)
    try:
        region = wipe.Region(descriptor, device, 0, 96 * MIB)
        wipe.by([(WipeMethod.OVERWRITE, act)], region, 0, wipe.Pace(None), None, None)
    finally:
        os.close(descriptor)
    assert SECRET not in content(tmp_path / "image")


@pytest.mark.root
def test_a_device_that_lies_is_found_out_and_overwritten_from_the_beginning(device: str, tmp_path: Path) -> None:
    """It takes discards and keeps its content; the last chunk it really forgets."""

    def lies(descriptor: int, begin: int, length: int) -> None:
        if begin >= 64 * MIB:
            wipe._overwrite(descriptor, begin, length)

    notes: list[int] = []
    descriptor = os.open(device, os.O_RDWR)
    try:
        region = wipe.Region(descriptor, device, 0, 96 * MIB)
        methods = [(WipeMethod.DISCARD, lies), (WipeMethod.OVERWRITE, wipe._overwrite)]
        method, _ = wipe.by(methods, region, 32 * MIB, wipe.Pace(None), notes.append, None)
        assert method is WipeMethod.OVERWRITE
        os.pwrite(descriptor, SECRET, 5 * MIB)
        with pytest.raises(errors.BrickError, match="out of use"):
            wipe.by([(WipeMethod.DISCARD, lies)], region, 0, wipe.Pace(None), None, None)
    finally:
        os.close(descriptor)
    assert notes == [96 * MIB, 0, 96 * MIB]
    assert content(tmp_path / "image").count(SECRET) == 1


@pytest.mark.root
@pytest.mark.parametrize("place", [0, 96 * MIB - 32, 50 * MIB])
def test_one_sector_that_was_left_is_found_in_a_small_device(tmp_path: Path, place: int) -> None:
    size = 60 * MIB
    image = tmp_path / "small"
    with image.open("wb") as file:
        file.truncate(size)
        file.seek(min(place, size - 32))
        file.write(SECRET)
    assert wipe.reads_as_zeros(str(image), 0, size) is None


def test_a_slot_of_old_content_is_found_in_a_large_file_wherever_it_is(tmp_path: Path) -> None:
    """Of a large device a sample is read in every thousandth of it: what a chunk skipped is always found."""
    image, size = tmp_path / "large", 512 * MIB
    for place in (0, 31 * MIB, size // 2, size - MIB):
        with image.open("wb") as file:
            file.truncate(size)
            file.seek(place)
            file.write(SECRET * (MIB // len(SECRET)))
        assert wipe.reads_as_zeros(str(image), 0, size) is None
    with image.open("wb") as file:
        file.truncate(size)
    assert wipe.reads_as_zeros(str(image), 0, size) is not None


def test_what_is_read_back_comes_from_the_disk_and_not_from_the_cache(tmp_path: Path) -> None:
    path = filled(tmp_path / "file", 8 * MIB)
    wipe.erase(str(path), 8 * MIB)
    with wipe._reader(str(path)) as read:
        assert bytes(read(5, 4096)) == bytes(4096)
        assert len(read(8 * MIB - 3, 4096)) == 3


# resuming ---------------------------------------------------------------------------------------------------------


class Death(BaseException):
    pass


def test_dying_at_any_point_goes_on_from_the_last_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wipe, "CHUNK_BYTES", MIB)
    monkeypatch.setattr(wipe, "NOTE_BYTES", 2 * MIB)
    size, seen = 7 * MIB, set()
    for at in itertools.count(1):
        path, notes, passed = filled(tmp_path / "file", size), [0], itertools.count(1)

        def die(_: str, at: int = at, passed: Any = passed) -> None:
            if next(passed) >= at:
                raise Death

        try:
            with faults.installed(die):
                wipe.erase(str(path), size, note=notes.append)
        except Death:
            now = content(path)
            assert now[: notes[-1]] == bytes(notes[-1]), "a note promised what was not yet so"
            seen.add(notes[-1])
            told: list[tuple[int, int]] = []
            wipe.erase(str(path), size, start=notes[-1], progress=lambda *f, told=told: told.append(f))
            assert told[0] == (notes[-1] + MIB, size), "it went on where it was"
            assert content(path) == bytes(size)
        else:
            break
    assert seen == {0, 2 * MIB, 4 * MIB, 6 * MIB, 7 * MIB} - {7 * MIB}
    assert notes == [0, 2 * MIB, 4 * MIB, 6 * MIB, 7 * MIB]


@pytest.mark.root
def test_what_somebody_holds_is_not_erased(device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wipe, "BUSY_PAUSE_S", 0.001)
    holder = os.open(device, os.O_RDONLY | os.O_EXCL)
    try:
        with pytest.raises(errors.DeviceInUse, match="mounted or held"):
            wipe.erase(device, 96 * MIB)
    finally:
        os.close(holder)
    assert content(tmp_path / "image").count(SECRET) == 96 * MIB // len(SECRET)


def test_more_than_there_is_is_refused(tmp_path: Path) -> None:
    path = filled(tmp_path / "file", 100)
    with pytest.raises(errors.BrickMismatch, match="100 bytes and 101"):
        wipe.erase(str(path), 101)


# the rate ---------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that only sleeping moves, and work that takes the time that it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(clock, "monotonic", lambda: self.now)
        monkeypatch.setattr(clock, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@pytest.mark.parametrize("rate_mib", [1, 3, 8, 200])
def test_the_rate_is_kept_as_a_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate_mib: int) -> None:
    time = Clock(monkeypatch)
    path, size, sent = filled(tmp_path / "file", 40 * MIB), 40 * MIB, [(1000.0, 0)]
    wipe.erase(str(path), size, rate_bytes_s=rate_mib * MIB, progress=lambda done, _: sent.append((time.now, done)))
    chunk = wipe.Pace(rate_mib * MIB).chunk_bytes()
    assert time.now == pytest.approx(1000 + (size - chunk) / (rate_mib * MIB), abs=chunk / (rate_mib * MIB))
    for (t0, b0), (t1, b1) in itertools.combinations(sent, 2):
        assert b1 - b0 <= rate_mib * MIB * (t1 - t0) + 2 * chunk, "never more than the rate and one step"
    assert content(path) == bytes(size)


def test_a_slow_device_is_not_made_slower_and_makes_up_for_little(monkeypatch: pytest.MonkeyPatch) -> None:
    time, pace = Clock(monkeypatch), wipe.Pace(10 * MIB)
    for _ in range(10):
        before = time.now
        pace.wait(MIB)
        assert time.now == before, "it does not sleep while the device is slower than the rate"
        time.now += 1.0
    time.now += 3600
    before = time.now
    for _ in range(20):
        pace.wait(MIB)
    assert time.now - before == pytest.approx(19 / 10 - wipe.BURST_S, abs=0.01)


def test_without_a_rate_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    time, pace = Clock(monkeypatch), wipe.Pace(None)
    for _ in range(1000):
        pace.wait(wipe.CHUNK_BYTES)
    assert time.now == 1000.0
