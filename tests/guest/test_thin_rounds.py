"""What a thin pool says of changes, over many of them: written, given back, grown, reverted and deleted at random, and
every backup in between is what was backed up, byte for byte. BRICKYARD_ROUNDS says how many rounds, and BRICKYARD_SEED
repeats a run."""

from __future__ import annotations

import os
import random
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.contract.content import MIB, volume

from brickyard.backups import copying, places
from brickyard.backups.copying import Task
from brickyard.backups.manifest import Where
from brickyard.brick import content
from brickyard.brick.lvm import groups
from brickyard.core import settings
from brickyard.core.bricks import Label
from brickyard.nodes import keeping

from . import crashing
from .thin_volumes import BLOCK, Take, is_marked, kept_snapshot, picture, thin

pytestmark = [pytest.mark.guest, pytest.mark.timeout(0)]
ROUNDS = int(os.environ.get("BRICKYARD_ROUNDS", "4"))
SIZE, SIZE_MAX = 12 * MIB, 32 * MIB
SNAPSHOTS_MAX, CHAIN = 4, 10


@dataclass(frozen=True)
class Made:
    """A backup, what it must be, and the snapshot that it is one of."""

    where: Where
    content: bytes
    brick: str | None


class Pool:
    """A volume in use that is changed and backed up, among others that come and go and leave their numbers. What it
    must hold is known without it: `model`, and for each snapshot what that was when it was made."""

    def __init__(self, chance: random.Random, directory: Path) -> None:
        self.chance, self.driver, self.room = chance, thin(), directory
        self.keeper = keeping.Keeper(settings.Backups("volumes", directory / "kept"))
        self.label, self.model = volume(), bytearray(SIZE)
        self.snapshots: list[tuple[Label, bytes]] = []
        self.others: list[Label] = []
        self.made: list[Made] = []
        self.told = 0  # backups that did not read all
        self.driver.create(self.label, SIZE)
        self.use()

    def use(self) -> None:
        self.descriptor = os.open(self.driver.open(self.label.name).path, os.O_RDWR)
        self.device = content.File(self.descriptor, len(self.model), thin=True)

    def leave(self) -> None:
        os.close(self.descriptor)
        self.driver.close(self.label.name)

    def change(self) -> None:
        rare = self.chance.random() < 0.1
        acts = (self.grow, self.revert, self.forget) if rare else (self.write, self.write, self.give_back)
        self.chance.choice(acts)()

    def _place(self, unit: int) -> tuple[int, int]:
        begin = self.chance.randrange(0, len(self.model), unit)
        return begin, min(self.chance.choice((unit, BLOCK, 3 * BLOCK, MIB, 5 * MIB)), len(self.model) - begin)

    def write(self) -> None:
        """Into the memory of the host; it is flushed now and then."""
        begin, length = self._place(512)
        text = bytes(length) if self.chance.random() < 0.2 else self.chance.randbytes(length)
        self.device.write(begin, text)
        self.model[begin : begin + length] = text
        if self.chance.random() < 0.5:
            self.device.flush()

    def give_back(self) -> None:
        begin, length = self._place(self.chance.choice((4096, BLOCK)))
        self.device.zero(begin, length)
        self.model[begin : begin + length] = bytes(length)

    def grow(self) -> None:
        size = min(len(self.model) + self.chance.choice((4, 8)) * MIB, SIZE_MAX)
        self.driver.grow(self.label.name, size)
        self.model = self.model.ljust(size, b"\0")
        self.device.size_bytes = size

    def revert(self) -> None:
        if self.snapshots:
            snapshot, was = self.chance.choice(self.snapshots)
            self.leave()
            self.driver.revert(self.label.name, snapshot.name)
            self.model = bytearray(was.ljust(len(self.model), b"\0"))
            self.use()

    def forget(self) -> None:
        """A snapshot goes, and what is made next gets its number; something else has it before, now and then."""
        if self.snapshots:
            self.driver.delete(self.snapshots.pop(self.chance.randrange(len(self.snapshots)))[0].name)
        if self.chance.random() < 0.5:
            self.others.append(volume())
            self.driver.clone(self.label.name, self.others[-1], len(self.model))
        while len(self.others) > 2:
            self.driver.delete(self.others.pop(0).name)

    def back_up(self) -> None:
        """Mostly a snapshot, now and then the volume itself, in use by somebody who has not flushed."""
        brick = None
        if self.chance.random() < 0.85:
            made = kept_snapshot(self.driver, self.label)
            self.snapshots.append((made, bytes(self.model)))
            brick = made.name
        parent = self.chance.choice(self.made[-3:]) if self.made and self.chance.random() < 0.95 else None
        where = Where("volumes", str(uuid.uuid4()))
        base = (parent.where, parent.brick) if parent else (None, None)
        task = Task(where, self.label.id, "project", len(self.model), *base)
        if brick is None:
            self._keep_open(task)
        else:
            self.told += self.keeper.make(self.driver, brick, task, None).read_bytes < len(self.model)
        self.made.append(Made(where, bytes(self.model), brick))
        self.check(self.made[-1])
        while len(self.snapshots) > SNAPSHOTS_MAX:
            self.driver.delete(self.snapshots.pop(0)[0].name)

    def _keep_open(self, task: Task) -> None:
        """What the keeper does, but for closing the volume, which is in use."""
        brick = task.parent_brick
        changed = self.driver.changed_since(self.label.name, brick) if brick is not None else None
        copying.make(self._place_of_backups(), self.device, task, progress=None, stopped=lambda: False, changed=changed)

    def _place_of_backups(self) -> places.Directory:
        place = places.Directory(self.room / "kept")
        place.check()
        return place

    def check(self, made: Made) -> None:
        with (self.room / "restored").open("w+b") as file:
            file.truncate(len(made.content))
            target = content.File(file.fileno(), len(made.content), thin=True)
            copying.restore(self._place_of_backups(), target, made.where, progress=None, stopped=lambda: False)
            found, wanted = target.read(0, len(made.content)), made.content
        # only where it differs: a report of both would not fit into the memory of a guest
        assert [at for at in range(0, len(wanted), BLOCK) if found[at : at + BLOCK] != wanted[at : at + BLOCK]] == []

    def begin_anew(self) -> None:
        """All that was backed up is still what it was; it goes, or it would not fit into the memory of a guest."""
        for made in reversed(self.made):
            self.check(made)
            self.keeper.delete(made.where, None)
        self.made.clear()

    def compare(self) -> None:
        """Two at once ask what differs between two, whatever these are."""
        bricks = [(label.name, was) for label, was in self.snapshots] + [(self.label.name, bytes(self.model))]
        pairs = [(self.chance.choice(bricks), self.chance.choice(bricks)) for _ in range(2)]
        with ThreadPoolExecutor() as both:
            told = list(both.map(lambda pair: self.driver.changed_since(pair[0][0], pair[1][0]), pairs))
        for ((_, now), (_, then)), ranges in zip(pairs, told, strict=True):
            assert ranges is not None
            for begin in range(0, max(len(now), len(then)), BLOCK):
                if now[begin : begin + BLOCK].ljust(BLOCK, b"\0") != then[begin : begin + BLOCK].ljust(BLOCK, b"\0"):
                    assert any(one[0] <= begin and begin + BLOCK <= one[1] for one in ranges), (begin, ranges)


def test_every_backup_is_what_was_backed_up(take: Take, tmp_path: Path) -> None:
    [disk] = take(1)
    groups.create("ours", [disk], thin=True)
    pool = Pool(random.Random(crashing.SEED), tmp_path)
    print(f"{ROUNDS} rounds, BRICKYARD_SEED={crashing.SEED}", flush=True)
    try:
        for number in range(1, ROUNDS + 1):
            for _ in range(pool.chance.randrange(1, 8)):
                pool.change()
            pool.back_up()
            if number % 4 == 0:
                pool.compare()
            if number % CHAIN == 0:
                print(f"round {number}: {pool.told} backups did not read all", flush=True)
                pool.begin_anew()
        pool.begin_anew()
    finally:
        pool.leave()  # or its disk could not be taken away, and a failure would be told by nobody
    assert (picture(), is_marked(disk)) == ("-", False)
