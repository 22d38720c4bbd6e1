"""Making, restoring, finding and deleting backups. Each may run twice, and goes on where a death ended it.

A chunk that is stored already is known by its name, which has its hash: it is not stored again. A restore reads what
the target has, and fetches and writes only what differs.
"""

from __future__ import annotations

import bisect
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import zstandard

from brickyard.backups import manifest as manifests
from brickyard.backups.manifest import Chunk, Manifest, Where
from brickyard.backups.places import Place
from brickyard.brick import faults
from brickyard.brick.content import Content
from brickyard.brick.driver import Progress, Ranges
from brickyard.core import errors

LOG = logging.getLogger(__name__)
ZEROS = bytes(manifests.CHUNK_BYTES)
BLOCK_BYTES = 65536  # what is zeros in a chunk is left out in pieces of this size when it is restored


@dataclass(frozen=True, slots=True)
class Kept:
    """What a backup consists of."""

    objects: int  # of its own, with the manifest
    stored_bytes: int  # of these
    size_bytes: int  # of what is restored
    volume_id: str
    read_bytes: int = field(default=0, compare=False)  # of the source, to make it


@dataclass(frozen=True, slots=True)
class Task:
    """A backup to be made. With a `parent` only what differs from that is stored; `parent_brick` is what that is a
    backup of, where it never changes, and so may still be compared with."""

    where: Where
    volume_id: str
    project_id: str
    size_bytes: int
    parent: Where | None = None
    parent_brick: str | None = None


def make(
    place: Place,
    content: Content,
    task: Task,
    *,
    progress: Progress | None,
    stopped: Callable[[], bool],
    changed: Ranges | None = None,
) -> Kept:
    """Cancelled when `stopped` says so; what is stored by then stays until `delete`. `changed`: outside of these ranges
    of bytes, which are in order, the content is that of the parent; None: all of it is read."""
    prefix = task.where.prefix
    stored = place.list(prefix)
    if prefix + manifests.NAME in stored:
        return _kept(_read(place, task.where), stored)
    parent, source = _inherited(place, task, changed), _Counted(content)
    compress = zstandard.ZstdCompressor(level=manifests.LEVEL).compress
    found = Manifest(task.volume_id, task.project_id, task.size_bytes, manifests.CHUNK_BYTES, parent.bases, [])
    for number in range(-(-task.size_bytes // found.chunk_bytes)):
        _go_on(stopped)
        begin, length = number * found.chunk_bytes, found.length_of(number)
        if parent.has(number, begin, begin + length):
            found.chunks.extend(parent.chunks.get(number, ()))
        elif (piece := _piece(source, begin, length)) is not None:
            digest = manifests.digest_of(piece)
            chunk = next((one for one in parent.chunks.get(number, ()) if one.digest == digest), None)
            if chunk is None:
                chunk = Chunk(number, digest, 0, 0)
                name = found.name_of(chunk)
                if name not in stored:
                    packed = compress(piece)
                    with faults.step("store a chunk"):
                        place.put(name, packed)
                    stored[name] = len(packed)
                chunk = Chunk(number, digest, stored[name], 0)
            found.chunks.append(chunk)
        if progress is not None:
            progress(begin + length, task.size_bytes)
    mine = {found.name_of(chunk) for chunk in found.own}
    place.delete(prefix, sorted(set(stored) - mine))  # of a run that died, and read something else
    packed = manifests.packed(found)
    with faults.step("store the manifest"):
        place.put(prefix + manifests.NAME, packed)
    kept = _kept(found, {prefix + manifests.NAME: len(packed)})
    return replace(kept, read_bytes=source.read_bytes)


def restore(
    place: Place, content: Content, where: Where, *, progress: Progress | None, stopped: Callable[[], bool]
) -> None:
    """Make the content that of the backup, and zeros after its end. DamagedBackup, with the name of what is wrong, and
    nothing of that is written; what came before it is."""
    found = _read(place, where)
    if content.size_bytes < found.size_bytes:
        raise errors.Invalid(
            f"The backup has {found.size_bytes} bytes, and there is room for {content.size_bytes}.", field="volume_id"
        )
    _check_complete(place, found)
    chunks = {chunk.number: chunk for chunk in found.chunks}
    for number in range(-(-found.size_bytes // found.chunk_bytes)):
        _go_on(stopped)
        begin, length = number * found.chunk_bytes, found.length_of(number)
        if number in chunks:
            _restore_chunk(place, content, found, chunks[number])
        else:
            content.zero(begin, length)
        if progress is not None:
            progress(begin + length, content.size_bytes)
    if content.size_bytes > found.size_bytes:
        content.zero(found.size_bytes, content.size_bytes - found.size_bytes)
        if progress is not None:
            progress(content.size_bytes, content.size_bytes)
    with faults.step("flush"):
        content.flush()


def find(place: Place, where: Where) -> Kept:
    """NotFound when there is no such backup; DamagedBackup when a part of it is missing, or as long as it should not
    be."""
    found = _read(place, where)
    _check_complete(place, found)
    return _kept(found, place.list(where.prefix))


def delete(place: Place, where: Where, *, progress: Progress | None) -> bool:
    """The manifest first: from then on there is no backup. False when there was nothing."""
    names = sorted(place.list(where.prefix), key=lambda name: (not name.endswith(manifests.NAME), name))
    for start in range(0, len(names), 1000):
        some = names[start : start + 1000]
        with faults.step("delete objects"):
            place.delete(where.prefix, some)
        if progress is not None:
            progress(start + len(some), len(names))
    place.delete(where.prefix, [])  # what a death left half stored
    return bool(names)


# inside ----------------------------------------------------------------------------------------------------------


def _go_on(stopped: Callable[[], bool]) -> None:
    if stopped():
        raise errors.Cancelled


def _read(place: Place, where: Where) -> Manifest:
    name = where.prefix + manifests.NAME
    try:
        content = place.get(name)
    except errors.NotFound:
        raise errors.NotFound(f"Backup {where.id} is not in container {where.container}: {name} is missing.") from None
    return manifests.unpacked(name, content)


def _kept(found: Manifest, stored: Mapping[str, int]) -> Kept:
    own = found.own
    in_manifest = stored.get(found.bases[0].prefix + manifests.NAME, 0)
    stored_bytes = sum(chunk.stored_bytes for chunk in own) + in_manifest
    return Kept(len(own) + 1, stored_bytes, found.size_bytes, found.volume_id)


@dataclass(frozen=True, slots=True)
class _Parent:
    """What a new manifest inherits: its bases, and the chunks that need not be stored, by number. Of the first
    `size_bytes` only what is `changed` may differ; all of it where that is None. What the place has `lost` is not among
    the chunks, and must be read."""

    bases: list[Where]
    chunks: Mapping[int, tuple[Chunk, ...]] = field(default_factory=dict)
    size_bytes: int = 0
    changed: Ranges | None = None
    lost: Collection[int] = ()

    def has(self, number: int, begin: int, end: int) -> bool:
        """Whether the content is there what it was."""
        if self.changed is None or end > self.size_bytes or number in self.lost:
            return False
        after = bisect.bisect_right(self.changed, begin, key=lambda one: one[1])  # the first that ends behind `begin`
        return after == len(self.changed) or self.changed[after][0] >= end


class _Counted:
    """The source of a backup, of which it is counted how much is read."""

    def __init__(self, content: Content) -> None:
        self._content, self.size_bytes, self.read_bytes = content, content.size_bytes, 0

    def holds(self, begin: int, end: int) -> bool:
        return self._content.holds(begin, end)

    def read(self, begin: int, length: int) -> bytes:
        self.read_bytes += length
        return self._content.read(begin, length)


def _inherited(place: Place, task: Task, changed: Ranges | None) -> _Parent:
    if task.parent is None:
        return _Parent([task.where])
    parent = _read(place, task.parent)
    bases = [task.where, *parent.bases]
    if parent.chunk_bytes != manifests.CHUNK_BYTES:
        return _Parent(bases)
    lost = {chunk.number for chunk, _ in _lost(place, parent)}
    if lost:
        LOG.warning("%s chunks of backup %s are lost or damaged, and stored anew", len(lost), task.parent.id)
    whole = [chunk for chunk in parent.chunks if chunk.number not in lost]
    chunks = {c.number: (Chunk(c.number, c.digest, c.stored_bytes, c.base + 1),) for c in whole}
    return _Parent(bases, chunks, parent.size_bytes, changed, lost)


def _piece(content: _Counted, begin: int, length: int) -> bytes | None:
    """A chunk of the source; None if it is all zeros, as is what lies behind its end."""
    there = min(length, content.size_bytes - begin)
    if there <= 0 or not content.holds(begin, begin + there):
        return None
    piece = content.read(begin, there).ljust(length, b"\0")
    return None if piece == ZEROS[:length] else piece


def _restore_chunk(place: Place, content: Content, found: Manifest, chunk: Chunk) -> None:
    begin, length = chunk.number * found.chunk_bytes, found.length_of(chunk.number)
    empty = not content.holds(begin, begin + length)
    if not empty and manifests.digest_of(content.read(begin, length)) == chunk.digest:
        return
    name = found.name_of(chunk)
    try:
        packed = place.get(name)
    except errors.NotFound:
        raise manifests.damaged(name, "it is missing") from None
    piece = manifests.expanded(name, packed, most=length, length=length)
    if manifests.digest_of(piece) != chunk.digest:
        raise manifests.damaged(name, "its content is not what was stored")
    with faults.step("restore a chunk"):
        _write(content, begin, piece, empty=empty)


def _write(content: Content, begin: int, piece: bytes, *, empty: bool) -> None:
    """Write a chunk, as few and as large pieces as there are between the zeros in it."""
    at = 0
    while at < len(piece):
        end, zero = at, _is_zero(piece, at)
        while end < len(piece) and _is_zero(piece, end) == zero:
            end = min(end + BLOCK_BYTES, len(piece))
        if not zero:
            content.write(begin + at, piece[at:end])
        elif not empty:
            content.zero(begin + at, end - at)
        at = end


def _is_zero(piece: bytes, at: int) -> bool:
    block = piece[at : at + BLOCK_BYTES]
    return block == ZEROS[: len(block)]


def _check_complete(place: Place, found: Manifest) -> None:
    """Look, before anything is written, whether all is there, and as long as it was."""
    for chunk, has in _lost(place, found):
        why = "it is missing" if has is None else f"it has {has} bytes and not {chunk.stored_bytes}"
        raise manifests.damaged(found.name_of(chunk), why)


def _lost(place: Place, found: Manifest) -> Iterator[tuple[Chunk, int | None]]:
    """The chunks that are not there as long as they were, and how many bytes they have now."""
    listed = {base: place.list(found.bases[base].prefix) for base in {chunk.base for chunk in found.chunks}}
    for chunk in found.chunks:
        has = listed[chunk.base].get(found.name_of(chunk))
        if has != chunk.stored_bytes:
            yield chunk, has
