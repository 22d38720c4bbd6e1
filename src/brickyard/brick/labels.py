"""The sidecar of a file brick: its identity in JSON, in the hidden file `.<name>.label` next to the data.

The form never changes without the old one still being read: a reader ignores fields that it does not know.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import stat
from dataclasses import dataclass
from typing import Any

from brickyard.brick import steps
from brickyard.core import bricks, errors
from brickyard.core.bricks import Did, Kind, Label

BYTES_MAX = 65536
# Whatever lies where a label should be says nothing of a brick, and must not keep the others from being listed.
NO_FILE = (errno.ELOOP, errno.ENXIO)  # a link, a socket
UNUSABLE = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, errors.Invalid)


@dataclass(frozen=True, slots=True)
class Sidecar:
    label: Label
    format: str
    size_bytes: int  # as promised; the image itself says how large it has become
    source: str  # what the content came from: "" for an empty brick, the name of a brick, or "image"


def path_of(directory: str, name: str) -> str:
    return os.path.join(directory, f".{name}.label")


def brick_of(entry: str) -> str | None:
    """The name of the brick that a hidden file of a pool belongs to; None for every other file."""
    for ending in (".label.tmp", ".label", ".tmp", ".spare"):
        if entry.startswith(".") and entry.endswith(ending):
            name = entry[1 : -len(ending)]
            return name if bricks.parse(name) else None
    return None


def encode(sidecar: Sidecar) -> bytes:
    label = sidecar.label
    fields: dict[str, Any] = {
        "version": 1,
        "kind": label.kind.value,
        "id": label.id,
        "project": label.project,
        "generation": label.generation,
        "parent": label.parent,
        "format": sidecar.format,
        "size_bytes": sidecar.size_bytes,
        "source": sidecar.source,
    }
    return json.dumps(fields).encode() + b"\n"


def decode(content: bytes) -> Sidecar:
    fields = json.loads(content)
    label = Label(Kind(fields["kind"]), fields["id"], fields["project"], int(fields["generation"]), fields["parent"])
    return Sidecar(label, str(fields["format"]), int(fields["size_bytes"]), str(fields.get("source", "")))


def read(directory: str, name: str) -> Sidecar | None:
    """The sidecar of a brick; None when there is none, BrickMismatch when it cannot be read or is another's."""
    path = path_of(directory, name)
    try:
        with steps.opened(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK) as descriptor:
            content = os.read(descriptor, BYTES_MAX) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in NO_FILE:
            raise
        content = b""
    try:
        sidecar = decode(content)
        if sidecar.label.name != name:
            raise ValueError(f"it is the label of {sidecar.label.name}")
    except UNUSABLE as error:
        raise errors.BrickMismatch(f"the label {path} is unusable ({error}): restore it or move it away") from error
    return sidecar


def write(directory: str, sidecar: Sidecar) -> None:
    """Write or replace a sidecar; at no moment is there half of one."""
    path = path_of(directory, sidecar.label.name)
    steps.write(f"{path}.tmp", encode(sidecar))
    steps.rename(f"{path}.tmp", path)


def relabel(directory: str, sidecar: Sidecar, label: Label) -> Did:
    """Give a brick another owner; also on the disk when somebody who died before that has written it."""
    if sidecar.label != label:
        write(directory, dataclasses.replace(sidecar, label=label))
    steps.sync(directory)
    return Did.ALREADY if sidecar.label == label else Did.CHANGED
