"""Making a part of a file or block device read as zeros, by asking whoever keeps it rather than by writing them."""

from __future__ import annotations

import ctypes
import os

KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 0x01, 0x02, 0x10  # <linux/falloc.h>

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)


def punch(descriptor: int, begin: int, length: int) -> None:
    """Give the blocks back. OSError where that is not offered; bytes."""
    _ask(descriptor, KEEP_SIZE | PUNCH_HOLE, begin, length)


def zero(descriptor: int, begin: int, length: int) -> None:
    """The same for what keeps its blocks: it is allocated as before."""
    _ask(descriptor, KEEP_SIZE | ZERO_RANGE, begin, length)


def _ask(descriptor: int, mode: int, begin: int, length: int) -> None:
    if _libc.fallocate(descriptor, mode, begin, length) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
