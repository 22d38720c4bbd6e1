"""A driver cannot be called wrongly and cannot answer wrongly."""

from __future__ import annotations

import dataclasses
import errno
import uuid
from typing import Any

import pytest

from brickyard import brick
from brickyard.brick import memory
from brickyard.core import errors

LABEL = brick.Label(brick.Kind.VOLUME, str(uuid.uuid4()), "demo")
SNAPSHOT = brick.Label(brick.Kind.SNAPSHOT, str(uuid.uuid4()), "demo", parent=LABEL.id)


def failing(error: BaseException) -> Any:
    def verb(*_: object) -> None:
        raise error

    return verb


@pytest.mark.parametrize(
    ("capability", "verb"),
    [
        ("snapshots", lambda d: d.snapshot(LABEL.name, SNAPSHOT)),
        ("revert", lambda d: d.revert(LABEL.name, SNAPSHOT.name)),
        ("clones", lambda d: d.clone(SNAPSHOT.name, LABEL, brick.GIB)),
        ("imports", lambda d: d.import_image(LABEL, "/image", "raw", brick.GIB)),
    ],
)
def test_a_verb_that_a_capability_denies_is_refused_with_both_names(capability: str, verb: Any) -> None:
    driver = memory.MemoryDriver()
    driver.capabilities = dataclasses.replace(driver.capabilities, **{capability: False})
    with pytest.raises(errors.Invalid, match=f"pool-1.*{capability}"):
        verb(brick.Guard(driver, "pool-1"))


@pytest.mark.parametrize("verb", ["find", "open", "usage", "list", "delete"])
def test_an_answer_of_the_wrong_type_stops_at_the_border(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    driver = memory.MemoryDriver()
    monkeypatch.setattr(driver, verb, lambda *_: ["nonsense"])
    with pytest.raises(errors.BrickError, match=f"pool-1: {verb}"):
        getattr(brick.Guard(driver, "pool-1"), verb)(*([] if verb in ("usage", "list") else [LABEL.name]))


def test_errors_of_the_system_leave_with_the_name_of_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = memory.MemoryDriver()
    guard = brick.Guard(driver, "pool-1")
    monkeypatch.setattr(driver, "delete", failing(OSError(errno.ENOSPC, "full")))
    with pytest.raises(errors.NoSpace, match="pool-1"):
        guard.delete(LABEL.name)
    monkeypatch.setattr(driver, "delete", failing(OSError(errno.EIO, "broken")))
    with pytest.raises(errors.BrickError, match=r"pool-1.*broken"):
        guard.delete(LABEL.name)


def test_only_the_verb_snapshot_makes_a_snapshot() -> None:
    guard = brick.Guard(memory.MemoryDriver(), "pool-1")
    guard.create(LABEL, brick.GIB)
    for verb in (
        lambda: guard.create(SNAPSHOT, brick.GIB),
        lambda: guard.clone(LABEL.name, SNAPSHOT, brick.GIB),
        lambda: guard.snapshot(LABEL.name, LABEL),
        lambda: guard.revert(LABEL.name, LABEL.name),
        lambda: guard.clone(LABEL.name, LABEL, brick.GIB),
    ):
        with pytest.raises(errors.Invalid):
            verb()


def test_a_pool_that_allocates_in_advance_promises_no_more_than_it_has() -> None:
    guard = brick.load("memory", {"capacity_gib": "1", "preallocate": "yes"})
    guard.create(LABEL, brick.GIB)
    with pytest.raises(errors.NoSpace):
        guard.grow(LABEL.name, 2 * brick.GIB)
