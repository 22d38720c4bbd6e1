"""A driver whose bricks live in the memory of this process, for simulation and for tests of everything above.

It is held to the same contract as the drivers that keep data, down to the fault points. The bricks are in a `Store`
that outlives the driver, as a disk outlives the process that uses it.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from brickyard.brick import faults, images
from brickyard.brick.driver import Progress, Ranges
from brickyard.core import bricks, errors
from brickyard.core.bricks import Capabilities, Connection, Did, Found, Label, Usage
from brickyard.core.sizes import GIB

BLOCK_BYTES = 4096
ZEROS = bytes(BLOCK_BYTES)


@dataclass(frozen=True, slots=True)
class Brick:
    label: Label
    size_bytes: int
    promised_bytes: int
    source: str
    blocks: dict[int, bytes]  # what is not here reads as zeros


@dataclass(slots=True)
class Store:
    """The imitation of a disk."""

    capacity_bytes: int = 1024 * GIB
    bricks: dict[str, Brick] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)


class MemoryDriver:
    def __init__(self, store: Store | None = None, *, preallocate: bool = False) -> None:
        self._store = store or Store()
        self.capabilities = Capabilities(
            thin=not preallocate,
            snapshots=True,
            clones=True,
            constant_time_clones=True,
            revert=True,
            imports=True,
            online_grow=True,
            multiattach=True,
        )

    def check(self) -> None:
        """Memory is always there."""

    def usage(self) -> Usage:
        with self._store.lock:
            provisioned = sum(brick.size_bytes for brick in self._store.bricks.values())
            used = sum(self._used(brick) for brick in self._store.bricks.values())
            return Usage(self._store.capacity_bytes, max(0, self._store.capacity_bytes - used), provisioned, used)

    def list(self) -> Iterable[Found]:
        with self._store.lock:
            return [self._found(name) for name in sorted(self._store.bricks)]

    def find(self, name: str) -> Found | None:
        with self._store.lock:
            return self._found(name) if name in self._store.bricks else None

    def create(self, label: Label, size_bytes: int, progress: Progress | None = None) -> Did:
        return self._place(Brick(label, size_bytes, size_bytes, "", {}), exact=True)

    def delete(self, name: str) -> Did:
        with self._store.lock, faults.step("delete"):
            return Did.CHANGED if self._store.bricks.pop(name, None) else Did.ALREADY

    def grow(self, name: str, size_bytes: int, progress: Progress | None = None) -> Did:
        with self._store.lock:
            brick = self._present(name)
            if brick.size_bytes >= size_bytes:
                return Did.ALREADY
            self._room(size_bytes - brick.size_bytes)
            self._keep(dataclasses.replace(brick, size_bytes=size_bytes, promised_bytes=size_bytes))
            return Did.CHANGED

    def relabel(self, label: Label) -> Did:
        with self._store.lock:
            brick = self._present(label.name)
            if brick.label == label:
                return Did.ALREADY
            self._keep(dataclasses.replace(brick, label=label))
            return Did.CHANGED

    def open(self, name: str) -> Connection:
        return Connection(f"memory:{name}", "raw", self._present(name).size_bytes)

    def close(self, name: str) -> Did:
        return Did.ALREADY

    def snapshot(self, name: str, label: Label, progress: Progress | None = None) -> Did:
        return self.clone(name, label, 0, progress)

    def clone(self, source: str, label: Label, size_bytes: int, progress: Progress | None = None) -> Did:
        with self._store.lock:
            wanted = Brick(label, size_bytes, size_bytes, source, {})
            if label.name not in self._store.bricks:
                origin = self._present(source)
                size_bytes = max(size_bytes, origin.size_bytes)
                wanted = Brick(label, size_bytes, size_bytes, source, dict(origin.blocks))
            did = self._place(wanted)
        return _told(did, wanted.size_bytes, progress)

    def revert(self, name: str, snapshot: str, progress: Progress | None = None) -> Did:
        with self._store.lock:
            brick, kept = self._present(name), self._present(snapshot)
            self._keep(dataclasses.replace(brick, blocks=dict(kept.blocks)))
        return _told(Did.CHANGED, brick.size_bytes, progress)

    def import_image(
        self, label: Label, path: str, format: str, size_bytes: int, progress: Progress | None = None
    ) -> Did:
        blocks: dict[int, bytes] = {}
        if self.find(label.name) is None:
            facts = images.check_import(path, format, size_bytes)
            blocks = _content(path, facts)
        return _told(self._place(Brick(label, size_bytes, size_bytes, "image", blocks)), size_bytes, progress)

    def changed_since(self, name: str, earlier: str) -> Ranges:
        with self._store.lock:
            now, before = self._present(name).blocks, self._present(earlier).blocks
            changed = sorted(at for at in now.keys() | before.keys() if now.get(at) is not before.get(at))
        return [(at * BLOCK_BYTES, (at + 1) * BLOCK_BYTES) for at in changed]

    # what a guest would do --------------------------------------------------------------------------------------

    def read(self, name: str, offset_bytes: int, length_bytes: int) -> bytes:
        """The content of a brick; whole blocks only."""
        blocks = self._present(name).blocks
        first, last = offset_bytes // BLOCK_BYTES, (offset_bytes + length_bytes) // BLOCK_BYTES
        return b"".join(blocks.get(number, ZEROS) for number in range(first, last))

    def write(self, name: str, offset_bytes: int, content: bytes) -> None:
        """Change the content of a brick; whole blocks only."""
        with self._store.lock:
            blocks = self._present(name).blocks
            for at in range(0, len(content), BLOCK_BYTES):
                blocks[(offset_bytes + at) // BLOCK_BYTES] = content[at : at + BLOCK_BYTES]

    def holds(self, name: str, begin: int, end: int) -> bool:
        """Whether anything but zeros was written between these bytes."""
        blocks = self._present(name).blocks
        first, last = begin // BLOCK_BYTES, -(-end // BLOCK_BYTES)
        if len(blocks) < last - first:
            return any(first <= number < last for number in list(blocks))
        return any(number in blocks for number in range(first, last))

    def discard(self, name: str, offset_bytes: int, length_bytes: int) -> None:
        """Make it read as zeros; whole blocks only."""
        with self._store.lock:
            blocks = self._present(name).blocks
            first, last = offset_bytes // BLOCK_BYTES, (offset_bytes + length_bytes) // BLOCK_BYTES
            for number in [number for number in blocks if first <= number < last]:
                del blocks[number]

    # inside -----------------------------------------------------------------------------------------------------

    def _place(self, wanted: Brick, *, exact: bool = False) -> Did:
        with self._store.lock:
            there = self._store.bricks.get(wanted.label.name)
            if there is None:
                self._room(wanted.size_bytes)
                self._keep(wanted)
                return Did.CHANGED
            large_enough = (
                there.promised_bytes == wanted.promised_bytes
                if exact
                else there.promised_bytes >= wanted.promised_bytes
            )
            if there.label != wanted.label or there.source != wanted.source or not large_enough:
                raise errors.BrickMismatch(
                    f"{wanted.label.name} exists already and is another one: {there.label}, "
                    f"{there.promised_bytes} bytes; use another id, or delete it first"
                )
            return Did.ALREADY

    def _keep(self, brick: Brick) -> None:
        with faults.step("keep"):
            self._store.bricks[brick.label.name] = brick

    def _room(self, more_bytes: int) -> None:
        """A pool that allocates in advance refuses what it cannot hold; a thin one promises freely."""
        usage = self.usage()
        if not self.capabilities.thin and usage.provisioned_bytes + more_bytes > usage.total_bytes:
            raise errors.NoSpace(f"{more_bytes} bytes do not fit: {usage}; delete something first")

    def _present(self, name: str) -> Brick:
        with self._store.lock:
            if name not in self._store.bricks:
                raise errors.NotFound(f"{name} is not in memory")
            return self._store.bricks[name]

    def _found(self, name: str) -> Found:
        brick = self._store.bricks[bricks.checked(name)]
        return Found(name, brick.size_bytes, self._used(brick), brick.label)

    def _used(self, brick: Brick) -> int:
        return len(brick.blocks) * BLOCK_BYTES if self.capabilities.thin else brick.size_bytes


def _told(did: Did, size_bytes: int, progress: Progress | None) -> Did:
    """What takes no time here is told once, as done."""
    if progress is not None and did is Did.CHANGED:
        progress(size_bytes, size_bytes)
    return did


def _content(path: str, facts: images.ImageFacts) -> dict[int, bytes]:
    """The blocks of an image that are not zeros; another format than raw is converted to a temporary file first."""
    with tempfile.NamedTemporaryFile() as temporary:
        if facts.format != "raw":
            os.truncate(temporary.name, facts.virtual_size_bytes)
            images.convert_into(path, facts.format, temporary.name, "raw", None)
            path = temporary.name
        blocks, number = {}, 0
        with open(path, "rb") as file:
            while block := file.read(BLOCK_BYTES):
                if block != ZEROS[: len(block)]:
                    blocks[number] = block.ljust(BLOCK_BYTES, b"\0")
                number += 1
        return blocks
