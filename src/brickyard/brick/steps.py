"""The steps that change a pool directory, each with a fault point before and after it, and the copying of files."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from brickyard.brick import faults
from brickyard.brick.driver import Progress
from brickyard.core.sizes import MIB

FICLONE = 0x40049409  # <linux/fs.h>: share all blocks of another file
COPY_BYTES = 16 * MIB  # between two reports of progress
ALLOCATE_BYTES = 256 * MIB  # likewise; small enough for file systems that write what they allocate
MODE = 0o600
# What the kernel says when a file system, or this pair of files, cannot share blocks.
CANNOT_SHARE = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM, errno.EBADF}


@contextmanager
def opened(path: str, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, MODE)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def make_empty(path: str) -> None:
    """A new empty file that only its owner may read. It must not exist yet."""
    with faults.step("make"), opened(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY):
        pass


def write(path: str, content: bytes) -> None:
    """A new file with this content, safe on the disk."""
    with faults.step("write"), opened(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY) as descriptor:
        os.write(descriptor, content)
        os.fsync(descriptor)


def sync(path: str) -> None:
    with faults.step("fsync"), opened(path, os.O_RDONLY) as descriptor:
        os.fsync(descriptor)


def truncate(path: str, size_bytes: int) -> None:
    with faults.step("truncate"):
        os.truncate(path, size_bytes)


def allocate(path: str, size_bytes: int, progress: Progress | None = None) -> None:
    """Give every byte up to `size_bytes` a block on the disk; content stays, the rest reads as zeros."""
    with faults.step("allocate"), opened(path, os.O_RDWR) as descriptor:
        for offset in range(0, size_bytes, ALLOCATE_BYTES):
            end = min(offset + ALLOCATE_BYTES, size_bytes)
            os.posix_fallocate(descriptor, offset, end - offset)
            if progress is not None:
                progress(end, size_bytes)


def restrict(path: str) -> None:
    """From here on only its owner may read it."""
    with faults.step("restrict"):
        os.chmod(path, MODE)


def rename(source: str, target: str) -> None:
    with faults.step("rename"):
        os.rename(source, target)


def unlink(path: str) -> bool:
    """Remove a file; False when there was none."""
    if not os.path.lexists(path):
        return False
    with faults.step("unlink"):
        os.unlink(path)
    return True


def is_read_only(directory: str) -> bool:
    """True if nothing can be changed there, so that there is no lock to be had, and nothing can be in the making."""
    return bool(os.statvfs(directory).f_flag & os.ST_RDONLY)


def can_share(directory: str) -> bool:
    """True if files of this directory can share blocks, found out by trying with two files that never get a name."""
    try:
        with (
            opened(directory, os.O_TMPFILE | os.O_RDWR) as source,
            opened(directory, os.O_TMPFILE | os.O_RDWR) as target,
        ):
            os.write(source, bytes(4096))
            return _share(source, target)
    except OSError:
        return False  # no O_TMPFILE here, or no pool: `check` says so


def copy(source: str, target: str, *, share: bool, progress: Progress | None = None) -> None:
    """Make `target` a new file with the content of `source`, with shared blocks where that is wanted and possible."""
    with (
        faults.step("copy"),
        opened(source, os.O_RDONLY) as reader,
        opened(target, os.O_CREAT | os.O_EXCL | os.O_RDWR) as writer,
    ):
        size_bytes = os.fstat(reader).st_size
        if not (share and _share(reader, writer)):
            _copy_data(reader, writer, size_bytes, progress)
        if progress is not None:
            progress(size_bytes, size_bytes)


def _share(source: int, target: int) -> bool:
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno in CANNOT_SHARE:
            return False
        raise
    return True


def _copy_data(reader: int, writer: int, size_bytes: int, progress: Progress | None) -> None:
    """Copy what is allocated and leave holes as holes. sendfile and not copy_file_range, which may share blocks."""
    os.ftruncate(writer, size_bytes)
    offset = 0
    while offset < size_bytes:
        try:
            offset = os.lseek(reader, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = os.lseek(reader, offset, os.SEEK_HOLE)
        os.lseek(writer, offset, os.SEEK_SET)
        while offset < end:
            faults.point("copying")
            sent = os.sendfile(writer, reader, offset, min(COPY_BYTES, end - offset))
            if sent == 0:
                raise OSError(errno.EIO, "the source became shorter while it was copied")
            offset += sent
            if progress is not None:
                progress(offset, size_bytes)
