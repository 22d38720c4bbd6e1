"""The verbs of a node that read or write what is in a brick: by the bytes, and with any driver."""

from __future__ import annotations

from typing import Protocol

from brickyard.backups.copying import Kept, Task
from brickyard.backups.manifest import Where
from brickyard.brick import content, exporting, images, nbd
from brickyard.brick.driver import Driver, Progress
from brickyard.core import errors
from brickyard.core.bricks import Did
from brickyard.nodes import keeping, verbs


class Contents(Protocol):
    """A part of a node, which has the drivers and the keeper of backups."""

    keeper: keeping.Keeper

    def _driver(self, backend: str) -> Driver: ...

    def rewrite_brick(self, backend: str, name: str, image: verbs.Image, progress: Progress | None = None) -> Did:
        driver = self._driver(backend)
        found = driver.find(name)
        if found is None:
            raise errors.NotFound(f"Brick {name} is not in pool {backend}.")
        images.check_import(image.path, image.format, found.size_bytes)
        with (
            nbd.opened(image.path, image.format, writable=False) as source,
            content.opened(driver, name, writable=True) as target,
        ):
            content.copy(source, target, progress)
        return Did.CHANGED

    def export_brick(self, backend: str, name: str, image: verbs.Image, progress: Progress | None = None) -> Did:
        exporting.export(self._driver(backend), name, image.path, image.format, progress)
        return Did.CHANGED

    def backup_brick(self, backend: str, name: str, task: Task, progress: Progress | None = None) -> Kept:
        return self.keeper.make(self._driver(backend), name, task, progress)

    def restore_brick(self, backend: str, name: str, where: Where, progress: Progress | None = None) -> Did:
        return self.keeper.restore(self._driver(backend), name, where, progress)

    def find_backup(self, where: Where) -> Kept:
        return self.keeper.find(where)

    def delete_backup(self, where: Where, progress: Progress | None = None) -> Did:
        return self.keeper.delete(where, progress)

    def cancel_backup(self, id: str) -> Did:
        return self.keeper.cancel(id)
