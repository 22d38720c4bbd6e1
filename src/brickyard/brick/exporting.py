"""What a brick holds, as a file of its own: a disk image that goes elsewhere. Nobody writes to the brick meanwhile."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator

from brickyard.brick import content, images, steps
from brickyard.brick.driver import Driver, Progress
from brickyard.core import errors


def export(driver: Driver, name: str, path: str, format: str, progress: Progress | None = None) -> None:
    """Write the content of a brick to `path`, an image of `format`, which is there when it is whole and on the disk.

    It is written under a name of its own beside it, which begins with that of `path`. Invalid for a format that is not
    made, NoSpace when the file system is full.
    """
    images.check_format(format)
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise errors.BrickError(
            f"the image store {directory} is not on this host; mount it where the conductors have it, then repeat"
        )
    part = f"{path}.{uuid.uuid4()}"
    try:
        with space_told("The image store is full: delete images, or give its file system more space."):
            if format == "raw":
                _write_raw(driver, name, part, progress)
            else:
                with _readable(driver, name, f"{part}.raw") as (source, source_format, size_bytes):
                    images.convert_out(source, source_format, part, format, size_bytes, progress)
            steps.restrict(part)
            steps.sync(part)
        steps.rename(part, path)
    finally:
        for left in (part, f"{part}.raw"):
            steps.unlink(left)


@contextlib.contextmanager
def space_told(message: str) -> Iterator[None]:
    """A full disk is told as what it is."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise errors.NoSpace(message) from error


def _write_raw(driver: Driver, name: str, path: str, progress: Progress | None) -> None:
    with (
        content.opened(driver, name) as source,
        steps.opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL) as descriptor,
    ):
        os.ftruncate(descriptor, source.size_bytes)
        content.copy(source, content.File(descriptor, source.size_bytes, thin=True), progress)


@contextlib.contextmanager
def _readable(driver: Driver, name: str, temporary: str) -> Iterator[tuple[str, str, int]]:
    """A path that a tool can read the brick at, its format and the size of the disk. What has no path is copied."""
    connection = driver.open(name)
    try:
        if os.path.exists(connection.path):
            yield connection.path, connection.format, connection.size_bytes
            return
    finally:
        driver.close(name)
    _write_raw(driver, name, temporary, None)
    yield temporary, "raw", connection.size_bytes
