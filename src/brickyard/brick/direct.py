"""Reading and writing a disk past the page cache, whole blocks at a time.

The cache of a disk and the caches of its partitions know nothing of each other, so what is kept on a disk beside its
partitions is read from the disk itself and is on it when a write returns.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import threading
from collections.abc import Iterator

BLOCK_BYTES = 4096
NODES = "/dev"


def is_possible(path: str) -> bool:
    """Whether the page cache can be passed by. It cannot on tmpfs."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(descriptor)
    return True


@contextlib.contextmanager
def reading(path: str) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(path: str) -> Iterator[int]:
    """Open a disk for writing without udev noticing.

    When a disk that was open for writing is closed, udev makes the kernel read its partition table again, and for a
    moment all partitions that nobody has open are gone. It watches the node in /dev; so a node of our own, which lives
    only while it is opened, is used instead. A death in that moment leaves it in /dev until the next boot.
    """
    device = os.stat(path).st_rdev
    node = os.path.join(NODES, f".brickyard-{threading.get_native_id()}-{os.major(device)}-{os.minor(device)}")
    flags = os.O_RDWR | os.O_DIRECT | os.O_DSYNC | os.O_CLOEXEC
    try:
        with contextlib.suppress(FileExistsError):  # of a thread that died and had the same number
            os.mknod(node, stat.S_IFBLK | 0o600, device)
        try:
            descriptor = os.open(node, flags)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(node)
    except OSError:
        descriptor = os.open(path, flags)  # no nodes can be made here, and then no udev runs here either
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def read(descriptor: int, begin: int, length: int) -> bytes:
    """Bytes of a disk that is open for direct reads; fewer at its end. Both figures are whole sectors."""
    with mmap.mmap(-1, _whole(length)) as buffer, memoryview(buffer) as view, view[:length] as into:
        got = os.preadv(descriptor, [into], begin)
        return bytes(into[:got])


def write(descriptor: int, begin: int, content: bytes) -> None:
    """Whole sectors to a disk that is open for direct writes; they are on it when this returns."""
    with mmap.mmap(-1, _whole(len(content))) as buffer, memoryview(buffer) as view, view[: len(content)] as source:
        source[:] = content
        done = 0
        while done < len(content):
            with source[done:] as rest:
                done += os.pwritev(descriptor, [rest], begin + done)


def _whole(length: int) -> int:
    return -(-length // BLOCK_BYTES) * BLOCK_BYTES
