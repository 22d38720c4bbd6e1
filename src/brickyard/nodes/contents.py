"""The verbs of a node that read or write what is in a brick: by the bytes, and with any driver."""

from __future__ import annotations

import dataclasses
from typing import Protocol, cast

from brickyard.backups.copying import Kept, Task
from brickyard.backups.manifest import Where
from brickyard.brick import content, exporting, images, nbd
from brickyard.brick.driver import Driver, Importer, Progress
from brickyard.core import errors
from brickyard.core.bricks import Did, Export, Label
from brickyard.nodes import keeping, verbs


class Contents(Protocol):
    """A part of a node, which has the drivers and the keeper of backups."""

    keeper: keeping.Keeper

    def _driver(self, backend: str) -> Driver: ...

    def _open_driver(self, backend: str, brick: str, size_bytes: int = 0) -> Driver: ...

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

    def copy_brick(
        self,
        source_backend: str,
        source: str,
        backend: str,
        label: Label,
        size_bytes: int,
        progress: Progress | None = None,
    ) -> Did:
        driver = cast(Importer, self._open_driver(backend, label.name))
        origin = self._driver(source_backend)
        found = origin.open(source)
        try:
            return driver.import_image(label, found.path, found.format, size_bytes, progress)
        finally:
            origin.close(source)

    def fetch_brick(
        self, backend: str, label: Label, size_bytes: int, export: Export, progress: Progress | None = None
    ) -> Did:
        with nbd.exported(export) as origin:
            return self._filled(backend, label, size_bytes, origin, progress)

    def _filled(
        self, backend: str, label: Label, size_bytes: int, origin: content.Content, progress: Progress | None
    ) -> Did:
        """By its generation it counts less than what it is made of until it is whole."""
        driver = self._open_driver(backend, label.name)
        found = driver.find(label.name)
        if found is not None and found.label == label:
            return Did.ALREADY
        driver.create(dataclasses.replace(label, generation=label.generation - 2), size_bytes)
        with content.opened(driver, label.name, writable=True) as target:
            content.copy(origin, target, progress)
        return driver.relabel(label)

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
