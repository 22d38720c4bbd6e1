"""Files in the directory of a pool that nobody owns: somebody else's, or bricks that were given up."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from brickyard.brick import images, labels
from brickyard.core import bricks, errors, sizes
from brickyard.core.bricks import Found

if TYPE_CHECKING:
    from brickyard.brick.files import Format

SECTOR_BYTES = 512


def listed(directory: str, format: Format) -> Iterator[Found]:
    """Every file without a label that is an image of this format; hidden ones are nobody's business."""
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        try:
            status = os.lstat(path)
            if name.startswith(".") or not stat.S_ISREG(status.st_mode) or _is_labelled(directory, name):
                continue
            yield Found(name, format.size_bytes(path, status), status.st_blocks * 512, None)
        except (FileNotFoundError, errors.BrickMismatch):
            continue  # it has just gone, or it is no such image


def _is_labelled(directory: str, name: str) -> bool:
    return bricks.parse(name) is not None and labels.read(directory, name) is not None


def adoptable(directory: str, format: Format, name: str) -> int:
    """The virtual size of a file that nobody owns and that is whole in itself."""
    path = os.path.join(directory, name)
    if name.startswith("."):
        raise errors.Invalid(f"{name} is hidden: rename it before it is adopted", field="name")
    if not os.path.isfile(path) or os.path.islink(path):
        raise errors.NotFound(f"there is no file {name} in the pool {directory}")
    if _is_labelled(directory, name):
        raise errors.BrickMismatch(f"{name} has a label already: it belongs to somebody")
    status = os.lstat(path)
    if status.st_nlink != 1:
        raise errors.Invalid(f"{path} has another name elsewhere (a hard link): copy it instead", field="name")
    images.check_import(path, format.name, sizes.MAX_GIB * sizes.GIB)
    size_bytes = format.size_bytes(path, status)
    if size_bytes == 0 or size_bytes % SECTOR_BYTES:
        raise errors.Invalid(
            f"{path} has {size_bytes} bytes, and a brick is whole sectors of {SECTOR_BYTES}: make it longer with "
            f"truncate --size=%{SECTOR_BYTES}",
            field="name",
        )
    return size_bytes
