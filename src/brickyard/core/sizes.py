"""Sizes: everything on disk is counted in bytes, everything promised in GiB."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
MAX_GIB = 2**31 - 1


def gib_to_bytes(size_gib: int) -> int:
    return size_gib * GIB


def bytes_to_gib(size_bytes: int) -> int:
    """Whole GiB that are needed to hold `size_bytes`, rounded up."""
    return -(-size_bytes // GIB)


def whole_gib(size_bytes: int) -> int:
    """Whole GiB that fit into `size_bytes`, rounded down."""
    return size_bytes // GIB
