"""What finds the mistakes must be able to find one: the log is read as it was written, and a driver that forgets an
fsync is caught."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable

import pytest

from brickyard.brick import labels, steps
from brickyard.core.sizes import MIB

from . import crashing
from .test_crash_files import POOL_BYTES, Files
from .write_log import TORN_BYTES, ZEROS, Crash, Fingerprint, Flag, Log

pytestmark = pytest.mark.guest
PIECE_BYTES = 4 * MIB


def _digest(path: str, size_bytes: int) -> list[int]:
    with open(path, "rb") as disk:
        return [hash(disk.read(PIECE_BYTES)) for _ in range(size_bytes // PIECE_BYTES)]


def _fingerprint(path: str, size_bytes: int) -> int:
    """As `Fingerprint`, read from the disk itself."""
    value = 0
    with open(path, "rb") as disk:
        for begin in range(0, size_bytes, PIECE_BYTES):
            piece = disk.read(PIECE_BYTES)
            if piece.count(0) == len(piece):
                continue
            for at in range(0, len(piece), TORN_BYTES):
                if (content := piece[at : at + TORN_BYTES]) != ZEROS:
                    value ^= hash((begin + at, content))
    return value


def test_the_whole_log_replayed_is_the_disk(disks: Callable[[int], list[str]]) -> None:
    found = disks(4)
    begin, _, steps_ = crashing.story()
    crashing.record(Files("ext4", "raw"), found, POOL_BYTES, steps_[:1], begin)
    log = Log(found[1])
    try:
        assert any(entry.flags & Flag.FUA for entry in log.entries)
        replay = crashing.Replay(log, found, POOL_BYTES)
        replay.forward(len(log.entries))
        fingerprint = Fingerprint(log).after(Crash(len(log.entries)))
    finally:
        log.close()
    assert _digest(found[2], POOL_BYTES) == _digest(found[0], POOL_BYTES)
    assert fingerprint == _fingerprint(found[0], POOL_BYTES)


@pytest.mark.thorough
def test_of_states_that_hold_the_same_one_is_looked_at(disks: Callable[[int], list[str]]) -> None:
    """That two states are the same must show on the disks that are made of them, a torn write included."""
    found = disks(4)
    begin, world, steps_ = crashing.story()
    crashing.record(Files("ext4", "raw"), found, POOL_BYTES, steps_[:1], begin)
    with contextlib.closing(Log(found[1])) as log:
        [states] = crashing.all_states(Files("ext4", "raw"), log, world, steps_[:1], random.Random(1))
        assert any(state.crash.sampled for state in states)
        chosen = crashing.different(log, crashing.in_order(states))
        assert 1 < len(chosen) < len(states)
        fingerprint, replay, known = Fingerprint(log), crashing.Replay(log, found, POOL_BYTES), dict[int, int]()
        for state in crashing.in_order(states):
            with replay.crashed(state.crash) as disk:
                known[fingerprint.after(state.crash)] = _fingerprint(disk, POOL_BYTES)
        assert known == {value: value for value in known}
        assert len(known) == len(chosen)


def test_a_label_that_is_not_flushed_is_found(
    disks: Callable[[int], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content and the directory are flushed as always, and only the label is not."""

    def write(path: str, content: bytes) -> None:
        with open(path, "wb") as file:
            file.write(content)

    storage, found = Files("xfs", "raw"), disks(4)
    begin, world, steps_ = crashing.story()
    with monkeypatch.context() as broken:
        broken.setattr(steps, "write", write)
        assert labels.steps.write is write
        crashing.record(storage, found, POOL_BYTES, steps_[:1], begin)
    log = Log(found[1])
    try:
        chance = random.Random(0)
        [states] = crashing.all_states(storage, log, world, steps_[:1], chance)
        replay = crashing.Replay(log, found, POOL_BYTES)
        last = crashing.in_order(states)[-1]
        assert last.acknowledged
        with replay.crashed(last.crash) as disk, pytest.raises(AssertionError, match=r"not whole|it is lost"):
            crashing.examine(storage, disk, last, chance)
    finally:
        log.close()
    assert not os.path.ismount(storage.point)
