"""Making a part of a file or block device read as zeros, by asking whoever keeps it rather than by writing them."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct

KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 0x01, 0x02, 0x10  # <linux/falloc.h>
BLKDISCARD = 0x1277  # <linux/fs.h>; the first byte and the length, as two 64-bit numbers

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def punch(descriptor: int, begin: int, length: int) -> None:
    """Give the blocks back. OSError where that is not offered; bytes."""
    _ask(descriptor, KEEP_SIZE | PUNCH_HOLE, begin, length)


def zero(descriptor: int, begin: int, length: int) -> None:
    """The same for what keeps its blocks: it is allocated as before."""
    _ask(descriptor, KEEP_SIZE | ZERO_RANGE, begin, length)


def discard(descriptor: int, begin: int, length: int) -> None:
    """Give the blocks of a block device back as far as it likes; what is read there afterwards is for it to say."""
    fcntl.ioctl(descriptor, BLKDISCARD, struct.pack("QQ", begin, length))


def _ask(descriptor: int, mode: int, begin: int, length: int) -> None:
    if _libc.fallocate(descriptor, mode, begin, length) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
