"""Partition tables and labels: others understand what we write, we keep what they wrote, and a torn write is none."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.contract import loops

from brickyard.brick import devices, direct, faults
from brickyard.brick.disks import disk as disks
from brickyard.brick.disks import gpt, preparing, slots
from brickyard.brick.disks.slots import Record, State
from brickyard.core import errors
from brickyard.core.bricks import Did, Kind, Label
from brickyard.core.sizes import MIB

pytestmark = pytest.mark.root
SIZE = 64 * MIB
TYPE = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")  # somebody's file system


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[str]:
    disk = loops.new_disk(tmp_path / "image", SIZE)
    yield disk
    loops.detach(disk)


def sgdisk(*command: str) -> str:
    done = subprocess.run(["sgdisk", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def read(disk: str) -> gpt.Table | None:
    with direct.reading(disk) as descriptor:
        return gpt.read(descriptor)


def write(disk: str, table: gpt.Table) -> None:
    with devices.locked(disk), direct.writing(disk) as descriptor:
        gpt.write(descriptor, table)
        if not gpt.is_protected(descriptor):
            gpt.protect(descriptor, table)


def blank(disk: str) -> gpt.Table:
    with direct.reading(disk) as descriptor:
        return gpt.blank(descriptor)


def with_partition(table: gpt.Table, number: int, begin: int, end: int, name: str = "one") -> gpt.Table:
    return table.with_entry(number, gpt.entry(TYPE, uuid.uuid4(), begin // 512, end // 512 - 1, name))


def test_a_table_of_ours_is_what_other_tools_read(disk: str) -> None:
    id = str(uuid.uuid4())
    table = with_partition(with_partition(blank(disk), 1, MIB, 9 * MIB, id), 3, 20 * MIB, 30 * MIB, "ünï")
    write(disk, table)
    assert "No problems found" in sgdisk("-v", disk)
    shown = sgdisk("-i", "1", disk)
    assert f"'{id}'" in shown and f"{TYPE}".upper() in shown and "First sector: 2048" in shown
    assert "'ünï'" in sgdisk("-i", "3", disk) or "3" in sgdisk("-p", disk)
    assert read(disk) == table


def test_a_table_of_others_is_read_and_kept_to_the_bit_by_a_change(disk: str) -> None:
    sgdisk("-o", "-n", "1:0:+8M", "-t", "1:8e00", "-c", "1:theirs", "-A", "1:set:2", "-n", "5:0:+4M", disk)
    table = read(disk)
    assert table is not None
    assert table.plain and sorted(table.entries) == [1, 5]
    before = sgdisk("-i", "1", disk), sgdisk("-i", "5", disk)
    write(disk, with_partition(table, 2, 40 * MIB, 44 * MIB))
    assert (sgdisk("-i", "1", disk), sgdisk("-i", "5", disk)) == before
    assert "No problems found" in sgdisk("-v", disk)


def test_a_table_of_another_shape_is_read_and_never_written(disk: str) -> None:
    sgdisk("-o", "-S", "256", "-n", "1:0:+8M", disk)
    table = read(disk)
    assert table is not None and 1 in table.entries and not table.plain
    with pytest.raises(errors.BrickMismatch, match="unusual"):
        write(disk, table)


@pytest.mark.parametrize("what", ["empty", "dos", "text"])
def test_what_is_no_table_is_none(disk: str, what: str) -> None:
    with open(disk, "r+b") as file:
        if what == "text":
            file.write(b"EFI PART is what stands here" * 1000)
        if what == "dos":
            file.write(bytes(446) + b"\0\0\2\0\x83\xff\xff\xff" + b"\1\0\0\0\0\1\0\0" + bytes(48) + b"\x55\xaa")
    assert read(disk) is None


def test_free_space_is_told_in_whole_mib_and_without_what_is_taken(disk: str) -> None:
    table = blank(disk)
    assert table.free() == [(MIB, 63 * MIB)]
    table = with_partition(table, 1, MIB, 10 * MIB + 512)
    table = with_partition(table, 2, 20 * MIB + 512, 30 * MIB)
    assert table.free() == [(11 * MIB, 20 * MIB), (30 * MIB, 63 * MIB)]
    assert with_partition(table, 3, 11 * MIB, 20 * MIB).free() == [(30 * MIB, 63 * MIB)]


class Death(BaseException):
    pass


def test_dying_at_any_point_of_a_change_leaves_the_old_table_or_the_new_one(disk: str) -> None:
    old = with_partition(blank(disk), 1, MIB, 9 * MIB)
    new = with_partition(old, 2, 20 * MIB, 30 * MIB)
    seen = []
    for at in itertools.count(1):
        write(disk, old)
        passed = itertools.count(1)

        def die(_: str, at: int = at, passed: Iterator[int] = passed) -> None:
            if next(passed) >= at:
                raise Death

        try:
            with faults.installed(die):
                write(disk, new)
        except Death:
            now = read(disk)
            assert now in (old, new)
            seen.append(now == new)
            write(disk, new)
            assert "No problems found" in sgdisk("-v", disk)
        else:
            break
    assert seen == sorted(seen) and set(seen) == {False, True}, "what has happened stays so"


def test_a_write_that_is_torn_anywhere_leaves_the_old_table_or_the_new_one(disk: str) -> None:
    """Of one of the four writes any number of sectors came to the disk, in any order; the later ones did not begin."""
    chance = random.Random(7)
    old = with_partition(blank(disk), 1, MIB, 9 * MIB)
    new = with_partition(old, 2, 20 * MIB, 30 * MIB)
    write(disk, old)
    before = Path(disk).read_bytes()
    write(disk, new)
    after = Path(disk).read_bytes()
    last = SIZE // 512 - 1
    parts = [range(last - 32, last), range(last, last + 1), range(2, 34), range(1, 2)]
    for _ in range(60):
        torn = chance.randrange(4)
        arrived = [sector for part in parts[:torn] for sector in part]
        arrived += [sector for sector in parts[torn] if chance.random() < 0.5]
        with open(disk, "r+b") as file:
            for sector in itertools.chain(*parts):
                source = after if sector in arrived else before
                file.seek(sector * 512)
                file.write(source[sector * 512 : sector * 512 + 512])
        assert read(disk) in (old, new)


# label areas --------------------------------------------------------------------------------------------------------


def record(position: int = 0) -> Record:
    label = Label(Kind.SNAPSHOT, str(uuid.uuid4()), "p" * 255, 3, str(uuid.uuid4()))
    return Record("g", label, 7, "x", State.THERE, position=position)


def test_a_slot_keeps_a_record_and_a_torn_write_keeps_the_one_before(disk: str) -> None:
    chance = random.Random(11)
    with direct.writing(disk) as descriptor:
        kept = record()
        slots.write(descriptor, MIB, 5, slots.encode(kept))
        for number in range(30):
            before = direct.read(descriptor, MIB + 10 * 4096, 8192)
            newer = record(position=number)
            slots.write(descriptor, MIB, 5, slots.encode(newer))
            after = direct.read(descriptor, MIB + 10 * 4096, 8192)
            torn = b"".join((after if chance.random() < 0.5 else before)[at : at + 512] for at in range(0, 8192, 512))
            direct.write(descriptor, MIB + 10 * 4096, torn)
            found = slots.record(descriptor, MIB, 5, "g")
            assert found in (kept, newer)
            assert slots.record(descriptor, MIB, 5, "another partition") is None
            kept = found  # type: ignore[assignment]
        assert slots.record(descriptor, MIB, 4, "g") is None
        assert slots.record(descriptor, MIB, 6, "g") is None


@pytest.mark.parametrize("harm", ["zeros", "noise", "json", "kind", "id"])
def test_a_slot_that_says_nothing_is_no_label(disk: str, harm: str) -> None:
    with direct.writing(disk) as descriptor:
        fields = slots.encode(record())
        if harm in ("kind", "id"):
            slots.write(descriptor, MIB, 1, {**fields, harm: "../../etc"})
        elif harm == "json":
            slots.write(descriptor, MIB, 1, {"partition": "g"})
        else:
            direct.write(descriptor, MIB + 8192, random.Random(1).randbytes(8192) if harm == "noise" else bytes(8192))
        assert slots.record(descriptor, MIB, 1, "g") is None


def test_a_label_that_no_slot_can_hold_is_refused(disk: str) -> None:
    with direct.writing(disk) as descriptor, pytest.raises(errors.Invalid, match="at most"):
        slots.write(descriptor, MIB, 1, {"project": "p" * 5000})


# preparing ----------------------------------------------------------------------------------------------------------


def test_a_disk_is_prepared_once_and_given_back_empty(disk: str) -> None:
    assert preparing.facts(disk) is None
    assert preparing.prepare(disk, pool="fast", driver="partition") is Did.CHANGED
    assert preparing.prepare(disk, pool="fast", driver="partition") is Did.ALREADY
    facts = preparing.facts(disk)
    assert facts is not None and (facts["pool"], facts["driver"]) == ("fast", "partition")
    assert "No problems found" in sgdisk("-v", disk)
    for other in ({"pool": "slow", "driver": "partition"}, {"pool": "fast", "driver": "disk"}):
        with pytest.raises(errors.DeviceInUse, match="belongs to the pool fast"):
            preparing.prepare(disk, **other)
        with pytest.raises(errors.DeviceInUse, match="belongs to the pool fast"):
            preparing.forget(disk, **other)
    with pytest.raises(errors.DeviceInUse, match="signature gpt"):
        devices.claim(disk)
    assert preparing.forget(disk, pool="fast", driver="partition") is Did.CHANGED
    assert preparing.forget(disk, pool="fast", driver="partition") is Did.ALREADY
    assert devices.claim(disk).found == ()
    assert Path(disk).read_bytes() == bytes(SIZE)


def test_where_no_nodes_can_be_made_everything_goes_by_the_usual_ones(
    disk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(direct, "NODES", "/no_nodes")
    assert preparing.prepare(disk, pool="fast", driver="partition") is Did.CHANGED
    assert preparing.prepare(disk, pool="fast", driver="partition") is Did.ALREADY
    assert preparing.forget(disk, pool="fast", driver="partition") is Did.CHANGED


def test_a_disk_with_something_on_it_is_not_prepared(disk: str) -> None:
    subprocess.run(["mkswap", disk], check=True, capture_output=True)
    before = Path(disk).read_bytes()
    with pytest.raises(errors.DeviceInUse, match="swap"):
        preparing.prepare(disk, pool="fast", driver="partition")
    sgdisk("-Z", disk)
    sgdisk("-n", "1:0:+8M", disk)
    before = Path(disk).read_bytes()
    with pytest.raises(errors.DeviceInUse, match="gpt"):
        preparing.prepare(disk, pool="fast", driver="partition")
    assert Path(disk).read_bytes() == before


def test_a_shared_disk_keeps_what_others_have_on_it(disk: str) -> None:
    sgdisk("-n", "1:0:+8M", "-c", "1:theirs", disk)
    with open(disk, "r+b") as file:
        file.seek(MIB)
        file.write(b"theirs" * 1000)
    before = sgdisk("-i", "1", disk)
    preparing.prepare(disk, pool="fast", driver="partition", shared=True)
    assert preparing.facts(disk) is not None
    with disks.opened(disk) as seen:
        assert [number for number, _ in seen.strangers()] == [1]
        assert seen.free() == [(10 * MIB, 63 * MIB)]
    assert preparing.forget(disk, pool="fast", driver="partition") is Did.CHANGED
    assert sgdisk("-i", "1", disk) == before
    assert preparing.facts(disk) is None
    assert Path(disk).read_bytes()[MIB:].startswith(b"theirs" * 1000)


@pytest.mark.parametrize("verb", ["prepare", "forget"])
def test_preparing_and_giving_back_may_die_anywhere(disk: str, verb: str) -> None:
    act = getattr(preparing, verb)
    for at in itertools.count(1):
        with open(disk, "r+b") as file:
            file.write(bytes(2 * MIB))
            file.seek(SIZE - MIB)
            file.write(bytes(MIB))
        if verb == "forget":
            preparing.prepare(disk, pool="fast", driver="disk")
        passed = itertools.count(1)

        def die(_: str, at: int = at, passed: Iterator[int] = passed) -> None:
            if next(passed) >= at:
                raise Death

        try:
            with faults.installed(die):
                act(disk, pool="fast", driver="disk")
        except Death:
            ours = (preparing.facts(disk) or {}).get("pool") == "fast"
            assert ours or devices.claim(disk).found == (), "it is known to be ours, or it is clean"
            act(disk, pool="fast", driver="disk")
            assert act(disk, pool="fast", driver="disk") is Did.ALREADY
            if verb == "prepare":
                assert "No problems found" in sgdisk("-v", disk)
            else:
                assert devices.claim(disk).found == ()
        else:
            break
        for number in list(loops.blkpg.known(disk)):
            with direct.reading(disk) as descriptor:
                loops.blkpg.delete(disk, descriptor, number)
    assert at > 6


def test_two_that_change_one_table_at_once_lose_nothing(disk: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    preparing.prepare(disk, pool="fast", driver="partition")

    def add(number: int) -> None:
        with disks.changing(disk) as seen:
            begin = (2 + number) * MIB
            seen.commit(with_partition(seen.table, number + 2, begin, begin + MIB), [])

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, range(24)))
    table = read(disk)
    assert table is not None and len(table.entries) == 25
    device = os.stat(disk).st_rdev
    own = f"-{os.major(device)}-{os.minor(device)}"  # other tests of this machine have devices of their own
    assert not [name for name in os.listdir("/dev") if name.startswith(".brickyard-") and name.endswith(own)]
