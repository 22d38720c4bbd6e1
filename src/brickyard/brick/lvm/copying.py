"""Copying the content of one block device into another. What reads as zeros is not sent where zeros are already."""

from __future__ import annotations

import fcntl
import os
import struct

from brickyard.brick import faults, steps
from brickyard.brick.driver import Progress
from brickyard.core.sizes import MIB

BLKZEROOUT = 0x127F  # <linux/fs.h>; where the device cannot do it by itself the kernel writes the zeros
CHUNK_BYTES = MIB
REPORT_BYTES = 16 * MIB  # between two reports of progress
ZEROS = bytes(CHUNK_BYTES)


def copy(source: str, target: str, size_bytes: int, *, zeroed: bool, progress: Progress | None, begin: int = 0) -> None:
    """Copy `source` from `begin` up to the byte `size_bytes`; `zeroed` says that all of `target` reads as zeros. It is
    on the disk when this returns."""
    with (
        faults.step("copy"),
        steps.opened(source, os.O_RDONLY) as reader,
        steps.opened(target, os.O_RDWR) as writer,
    ):
        offset = begin
        while offset < size_bytes:
            if offset % REPORT_BYTES == 0:
                faults.point("copying")
                if progress is not None:
                    progress(offset, size_bytes)
            chunk = os.pread(reader, min(CHUNK_BYTES, size_bytes - offset), offset)
            if not chunk:
                raise OSError(f"{source} ends at byte {offset}, before byte {size_bytes}")
            if chunk != ZEROS[: len(chunk)]:
                _write(writer, chunk, offset)
            elif not zeroed:
                fcntl.ioctl(writer, BLKZEROOUT, struct.pack("QQ", offset, len(chunk)))
            offset += len(chunk)
        os.fsync(writer)
        for descriptor in (reader, writer):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        if progress is not None:
            progress(size_bytes, size_bytes)


def _write(writer: int, chunk: bytes, offset: int) -> None:
    view = memoryview(chunk)
    while view:
        written = os.pwrite(writer, view, offset)
        view, offset = view[written:], offset + written
