"""What is restored of a backup is what was kept, to the byte, whatever keeps it and whatever was there before."""

from __future__ import annotations

import random
import uuid
from pathlib import Path

from brickyard.backups.copying import Task
from brickyard.backups.manifest import Where
from brickyard.brick import content
from brickyard.brick.guard import Guard
from brickyard.core import settings
from brickyard.nodes import keeping

from .content import MIB, SIZE, volume

STRETCH = 64 * 1024


class RestoringContract:
    gives_back = True  # whether what was written once can be free again

    def test_zeros_take_no_room_where_it_is_shared(self, driver: Guard) -> None:
        """Neither those of a copy, nor where something else was before."""
        if not driver.capabilities.thin:
            return  # its room is its own, whatever lies there
        copied, emptied, size = volume(), volume(), 8 * MIB
        driver.create(copied, size)
        driver.create(emptied, size)
        before = driver.usage().allocated_bytes
        with (
            content.opened(driver, emptied.name) as source,
            content.opened(driver, copied.name, writable=True) as target,
        ):
            content.copy(source, target)
        assert driver.usage().allocated_bytes - before < MIB
        with content.opened(driver, emptied.name, writable=True) as opened:
            opened.write(0, random.Random(6).randbytes(size))
            opened.flush()
            assert driver.usage().allocated_bytes - before >= size
            opened.zero(0, size)
            opened.flush()
            assert opened.read(0, size) == bytes(size)
        assert driver.usage().allocated_bytes - before < (MIB if self.gives_back else 2 * size)

    def test_a_backup_is_restored_to_the_byte(self, driver: Guard, tmp_path: Path) -> None:
        """A full one, and one of what changed since; over what a larger brick held before."""
        keeper = keeping.Keeper(settings.Backups("volumes", tmp_path / "kept"))
        source, target, dice = volume(), volume(), random.Random(5)
        driver.create(source, SIZE)
        driver.create(target, SIZE + MIB)
        kept, before = bytearray(SIZE), Where("volumes", str(uuid.uuid4()))
        backups: list[tuple[Where, bytes]] = []
        for parent in (None, before):
            with content.opened(driver, source.name, writable=True) as opened:
                for _ in range(8):
                    begin = dice.randrange(SIZE // STRETCH) * STRETCH
                    kept[begin : begin + STRETCH] = dice.randbytes(STRETCH)
                    opened.write(begin, bytes(kept[begin : begin + STRETCH]))
                opened.flush()
            where = before if parent is None else Where("volumes", str(uuid.uuid4()))
            keeper.make(driver, source.name, Task(where, source.id, "project", SIZE, parent), None)
            backups.append((where, bytes(kept)))
        with content.opened(driver, target.name, writable=True) as opened:
            for begin in range(0, SIZE + MIB, MIB):
                opened.write(begin, dice.randbytes(MIB))
            opened.flush()
        for where, wanted in reversed(backups):
            keeper.restore(driver, target.name, where, None)
            with content.opened(driver, target.name) as opened:
                assert opened.read(0, opened.size_bytes) == wanted.ljust(opened.size_bytes, b"\0")
