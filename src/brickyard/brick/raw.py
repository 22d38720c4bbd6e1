"""Raw files: the bytes of the brick are the bytes of the file. Sparse, or with every block allocated in advance."""

from __future__ import annotations

import os
from dataclasses import dataclass

from brickyard.brick import steps, undo
from brickyard.brick.driver import Progress
from brickyard.brick.files import FileDriver


@dataclass(frozen=True, slots=True)
class Raw:
    preallocate: bool = False
    name: str = "raw"
    online_grow: bool = True
    multiattach: bool = True  # there is nothing in the file that two who write it would keep in their memories

    @property
    def thin(self) -> bool:
        return not self.preallocate

    def check(self) -> None:
        """Nothing is needed but the file system; qemu-img is asked for when an image of another format is imported."""

    def make(self, path: str, size_bytes: int, progress: Progress | None = None) -> None:
        if self.preallocate:
            steps.allocate(path, size_bytes, progress)
        else:
            steps.truncate(path, size_bytes)

    def size_bytes(self, path: str, status: os.stat_result) -> int:
        return status.st_size

    def grow(self, path: str, size_bytes: int, spare: str, progress: Progress | None = None) -> str:
        if self.preallocate:
            before = os.path.getsize(path)
            with undo.on_error() as on_error:
                # A full disk stops the allocation half way, with the file longer than it was.
                on_error.callback(steps.truncate, path, before)
                steps.allocate(path, size_bytes, progress)
        else:
            steps.truncate(path, size_bytes)
        return path


def driver(directory: str, *, preallocate: bool = False) -> FileDriver:
    return FileDriver(directory, Raw(preallocate))
