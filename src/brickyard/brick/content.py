"""The content of a brick as bytes, whatever it is kept in: a file, a block device, an image, or memory.

What reads as zeros need not be read, and is not written: a brick that was thin stays so. Nobody else may use the brick
meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import Protocol

from brickyard.brick import falloc, faults, nbd, steps
from brickyard.brick.driver import Driver, Progress
from brickyard.brick.memory import BLOCK_BYTES, MemoryDriver
from brickyard.core import errors

ZEROS = bytes(1024 * 1024)
NOT_OFFERED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENOTTY)


class Content(Protocol):
    """Offsets and lengths are bytes, and multiples of 512."""

    size_bytes: int

    def holds(self, begin: int, end: int) -> bool:
        """False only if all of that reads as zeros."""

    def read(self, begin: int, length: int) -> bytes: ...

    def write(self, begin: int, content: bytes) -> None: ...

    def zero(self, begin: int, length: int) -> None:
        """Make it read as zeros, without taking room for them where it need not."""

    def flush(self) -> None:
        """What was written is on the disk when this returns."""


@contextlib.contextmanager
def opened(driver: Driver, name: str, *, writable: bool = False) -> Iterator[Content]:
    """The content of a brick, which the driver opens and closes."""
    connection = driver.open(name)
    try:
        inner = getattr(driver, "driver", driver)  # what a guard stands before
        if isinstance(inner, MemoryDriver):
            yield Memory(inner, name, connection.size_bytes)
        elif connection.format == "raw":
            flags = os.O_RDWR if writable else os.O_RDONLY
            with steps.opened(connection.path, flags) as descriptor:
                yield File(descriptor, connection.size_bytes, thin=driver.capabilities.thin)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        else:
            with nbd.opened(connection.path, connection.format, writable=writable) as client:
                yield client
    finally:
        driver.close(name)


def copy(source: Content, target: Content, progress: Progress | None = None) -> None:
    """Make the content of `target` that of `source`, and zeros after its end; repeated after a death it is whole."""
    end = min(source.size_bytes, target.size_bytes)
    for begin in range(0, end, len(ZEROS)):
        there = min(len(ZEROS), end - begin)
        length = min(len(ZEROS), target.size_bytes - begin)  # up to the end of a block, which may be behind the source
        piece = source.read(begin, there).ljust(length, b"\0") if source.holds(begin, begin + there) else b""
        with faults.step("copy"):
            if piece and piece != ZEROS[:length]:
                target.write(begin, piece)
            else:
                target.zero(begin, length)
        if progress is not None:
            progress(begin + length, target.size_bytes)
    rest = -(-end // len(ZEROS)) * len(ZEROS)
    if rest < target.size_bytes:
        with faults.step("zero the rest"):
            target.zero(rest, target.size_bytes - rest)
    with faults.step("flush"):
        target.flush()
    if progress is not None and rest < target.size_bytes:
        progress(target.size_bytes, target.size_bytes)


class File:
    """A raw file or a block device. `thin`: what is zeros needs no blocks."""

    def __init__(self, descriptor: int, size_bytes: int, *, thin: bool) -> None:
        self._descriptor, self.size_bytes, self._thin = descriptor, size_bytes, thin
        self._device = stat.S_ISBLK(os.fstat(descriptor).st_mode)

    def holds(self, begin: int, end: int) -> bool:
        if self._device:
            return True
        try:
            return os.lseek(self._descriptor, begin, os.SEEK_DATA) < end
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return False
            raise

    def read(self, begin: int, length: int) -> bytes:
        content = os.pread(self._descriptor, length, begin)
        while len(content) < length:
            more = os.pread(self._descriptor, length - len(content), begin + len(content))
            if not more:
                raise OSError(errno.EIO, f"it ends at byte {begin + len(content)}, before byte {begin + length}")
            content += more
        return content

    def write(self, begin: int, content: bytes) -> None:
        view = memoryview(content)
        while view:
            written = os.pwrite(self._descriptor, view, begin)
            view, begin = view[written:], begin + written

    def zero(self, begin: int, length: int) -> None:
        if not self.holds(begin, begin + length):
            return
        try:
            (falloc.punch if self._thin or self._device else falloc.zero)(self._descriptor, begin, length)
        except OSError as error:
            if error.errno not in NOT_OFFERED:
                raise
            self._overwrite(begin, length)

    def _overwrite(self, begin: int, length: int) -> None:
        """A thin device cannot promise zeros: it is asked to let go, and only what still reads as something else is
        written, or the pool would fill up with zeros."""
        only_unlike = self._thin and self._device
        if only_unlike:
            try:
                falloc.discard(self._descriptor, begin, length)
            except OSError as error:
                if error.errno not in NOT_OFFERED:
                    raise
        for at in range(begin, begin + length, len(ZEROS)):
            zeros = ZEROS[: begin + length - at]
            if not only_unlike or self.read(at, len(zeros)) != zeros:
                self.write(at, zeros)

    def flush(self) -> None:
        os.fsync(self._descriptor)


class Memory:
    """A brick of the simulated driver."""

    def __init__(self, driver: MemoryDriver, name: str, size_bytes: int) -> None:
        self._driver, self._name, self.size_bytes = driver, name, size_bytes

    def holds(self, begin: int, end: int) -> bool:
        return self._driver.holds(self._name, begin, end)

    def read(self, begin: int, length: int) -> bytes:
        return self._driver.read(self._name, begin, length)

    def write(self, begin: int, content: bytes) -> None:
        if begin % BLOCK_BYTES or len(content) % BLOCK_BYTES:
            raise errors.BrickError(f"{len(content)} bytes at {begin} are no whole blocks of the memory driver")
        self._driver.write(self._name, begin, content)

    def zero(self, begin: int, length: int) -> None:
        self._driver.discard(self._name, begin, length)

    def flush(self) -> None:
        """Memory is as safe as it will ever be."""
