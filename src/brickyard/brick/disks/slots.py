"""The label area of a disk: a small partition of ours with a slot for each entry of the partition table.

A name in a GPT has 36 characters, which a uuid fills; project, generation and everything else that a label says stands
in the slot of the same number. A slot has two copies of a record, and a write replaces the older one: whatever dies
under it, the younger one is still whole. A record names the partition that it speaks of by its unique GUID, so what a
deleted partition has left in a slot is never taken for its successor's. Slot 0 speaks of the disk itself.

The form never changes without the old one still being read: a reader ignores fields that it does not know.
"""

from __future__ import annotations

import enum
import json
import struct
import zlib
from dataclasses import dataclass
from typing import Any

from brickyard.brick import direct, faults
from brickyard.core import bricks, errors
from brickyard.core.bricks import Kind, Label, Receipt, WipeMethod
from brickyard.core.sizes import MIB

COPY_BYTES = 4096
SLOTS = 128
AREA_BYTES = SLOTS * 2 * COPY_BYTES
assert AREA_BYTES == MIB
MAGIC = b"BRICKYRD"
HEAD = struct.Struct("<8sQII")  # magic, sequence, length of the text, checksum of the sequence and the text
UNUSABLE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, errors.Invalid)


class State(enum.StrEnum):
    MAKING = "making"  # not yet a brick: its content is being written
    THERE = "there"
    WIPING = "wiping"  # deleted; up to `position` nothing is left of it
    WIPED = "wiped"  # deleted, and nothing is left to read


@dataclass(frozen=True, slots=True)
class Record:
    partition: str  # the unique GUID of the partition that this speaks of
    label: Label
    size_bytes: int  # as promised
    source: str  # what the content came from: "" for an empty brick, the name of a brick, or "image"
    state: State
    reverting: str = ""  # the snapshot that is being copied over the old content
    position: int = 0  # up to where it is wiped, or has arrived
    method: str = ""  # of the wipe, once it is done
    verified: str = ""
    finished_at: str = ""
    moving: str = ""  # the partition that it moves or has moved to, by its unique GUID

    def receipt(self, size_bytes: int) -> Receipt:
        return Receipt(self.label.name, size_bytes, WipeMethod(self.method), self.verified, self.finished_at)


def read(descriptor: int, area: int, number: int) -> dict[str, Any] | None:
    """The fields of a slot; None where nothing was ever written, or nothing that is whole."""
    copies = _copies(descriptor, area, number)
    return max(copies, key=lambda copy: copy[0])[1]


def write(descriptor: int, area: int, number: int, fields: dict[str, Any]) -> None:
    """Replace the record of a slot."""
    copies = _copies(descriptor, area, number)
    sequence = max(copy[0] for copy in copies) + 1
    older = 0 if copies[0][0] < copies[1][0] else 1
    text = json.dumps(fields).encode()
    if HEAD.size + len(text) > COPY_BYTES:
        raise errors.Invalid(f"the label of a brick has {len(text)} bytes: at most {COPY_BYTES - HEAD.size} are kept")
    content = HEAD.pack(MAGIC, sequence, len(text), _checksum(sequence, text)) + text
    with faults.step("write a slot"):
        direct.write(descriptor, _place(area, number, older), content.ljust(COPY_BYTES, b"\0"))


def record(descriptor: int, area: int, number: int, partition: str) -> Record | None:
    """What the slot says of this very partition; None when it speaks of another one or cannot be read."""
    fields = read(descriptor, area, number)
    try:
        found = decode(fields) if fields is not None else None
    except UNUSABLE:
        return None
    return found if found is not None and found.partition == partition else None


def encode(record: Record) -> dict[str, Any]:
    label = record.label
    return {
        "version": 1,
        "partition": record.partition,
        "kind": label.kind.value,
        "id": label.id,
        "project": label.project,
        "generation": label.generation,
        "parent": label.parent,
        "size_bytes": record.size_bytes,
        "source": record.source,
        "state": record.state.value,
        "reverting": record.reverting,
        "position": record.position,
        "method": record.method,
        "verified": record.verified,
        "finished_at": record.finished_at,
        "moving": record.moving,
    }


def decode(fields: dict[str, Any]) -> Record:
    label = Label(Kind(fields["kind"]), fields["id"], fields["project"], int(fields["generation"]), fields["parent"])
    bricks.checked(label.name)
    return Record(
        str(fields["partition"]),
        label,
        int(fields["size_bytes"]),
        str(fields["source"]),
        State(fields["state"]),
        str(fields.get("reverting", "")),
        int(fields.get("position", 0)),
        str(fields.get("method", "")),
        str(fields.get("verified", "")),
        str(fields.get("finished_at", "")),
        str(fields.get("moving", "")),
    )


def _copies(descriptor: int, area: int, number: int) -> list[tuple[int, dict[str, Any] | None]]:
    """Sequence and fields of both copies; sequence 0 for one that is not whole."""
    content = direct.read(descriptor, _place(area, number, 0), 2 * COPY_BYTES)
    return [_parse(content[:COPY_BYTES]), _parse(content[COPY_BYTES:])]


def _parse(content: bytes) -> tuple[int, dict[str, Any] | None]:
    if len(content) < HEAD.size or not content.startswith(MAGIC):
        return 0, None
    _, sequence, length, checksum = HEAD.unpack_from(content)
    text = content[HEAD.size : HEAD.size + length]
    if _checksum(sequence, text) != checksum:
        return 0, None
    try:
        fields = json.loads(text)
    except ValueError:
        return 0, None
    return (sequence, fields) if isinstance(fields, dict) else (0, None)


def _checksum(sequence: int, text: bytes) -> int:
    return zlib.crc32(text, zlib.crc32(struct.pack("<Q", sequence)))


def _place(area: int, number: int, copy: int) -> int:
    return area + (2 * number + copy) * COPY_BYTES
