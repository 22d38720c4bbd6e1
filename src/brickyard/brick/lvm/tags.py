"""Who a logical volume is, in its LVM tags: they lie in the metadata of the group, on every disk of it.

    brickyard.id=<uuid>  brickyard.kind=volume  brickyard.project=<text>  brickyard.generation=1
    brickyard.parent=<uuid>       of a snapshot
    brickyard.source=<name>       what the content came from: a brick, or "image"; absent for an empty one
    brickyard.making              not whole yet: never listed, made anew by a repeat, removed by delete
    brickyard.growing=<bytes>     the size from which on the content is not zeros yet
    brickyard.reverting=<name>    the content is being replaced by that of this snapshot
    brickyard.wiping=<bytes>      deleted; so many bytes of it are wiped, and it is never opened again
    brickyard.wiped=<text>        wiped wholly, and what there is to say of it

Of a thin pool: brickyard.delta, while it keeps a picture of its map for us, see `deltas`.
And of a physical volume: brickyard.left=<bytes>, while what was moved away from it is erased only up to there.

LVM takes letters, digits and _ + . - / = ! : & # in a tag. Everything else is written as # and two hexadecimal digits
per byte of UTF-8. The form never changes without the old one still being read; unknown tags are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from brickyard.core import errors
from brickyard.core.bricks import Kind, Label

PREFIX = "brickyard."
GROUP = f"{PREFIX}group"  # on a volume group: made by us
CLEAN = f"{PREFIX}clean"  # on a volume group: what is free in it reads as zeros
RAID1 = f"{PREFIX}raid1"  # on a volume group: made to be mirrored
LEFT = f"{PREFIX}left="
PLAIN = re.compile(r"[A-Za-z0-9_+.:/=-]")
ENCODED = re.compile(r"#([0-9a-f]{2})")
CHARACTERS_MAX = 900  # LVM allows 1024 for a tag


@dataclass(frozen=True, slots=True)
class Tags:
    """What the tags of one logical volume say; `label` is None where they do not say whose it is."""

    label: Label | None = None
    source: str = ""
    making: bool = False
    growing_bytes: int | None = None
    reverting: str | None = None
    wiping_bytes: int | None = None
    wiped: str | None = None


def encode(text: str) -> str:
    encoded = "".join(c if PLAIN.fullmatch(c) else "".join(f"#{b:02x}" for b in c.encode()) for c in text)
    if len(encoded) > CHARACTERS_MAX:
        raise errors.Invalid(f"{text[:40]!r}… is too long for a tag of LVM: {len(encoded)} of {CHARACTERS_MAX}")
    return encoded


def decode(text: str) -> str:
    """The text; ValueError unless `encode` could have made it."""
    whole = re.sub(r"#([0-9a-f]{2})", "", text)
    if "#" in whole:
        raise ValueError(f"not encoded: {text!r}")
    pieces = bytearray()
    at = 0
    while at < len(text):
        if text[at] == "#":
            pieces.append(int(text[at + 1 : at + 3], 16))
            at += 3
        else:
            pieces += text[at].encode()
            at += 1
    return pieces.decode()


def of_label(label: Label, source: str = "") -> list[str]:
    """The tags that say who a brick is."""
    fields = {"id": label.id, "kind": label.kind.value, "project": label.project, "generation": str(label.generation)}
    if label.parent is not None:
        fields["parent"] = label.parent
    if source:
        fields["source"] = source
    return [tag(name, value) for name, value in fields.items()]


def tag(name: str, value: str | int | None = None) -> str:
    return f"{PREFIX}{name}" if value is None else f"{PREFIX}{name}={encode(str(value))}"


def read(tags: Iterable[str]) -> Tags:
    """What the tags say. Tags that are not ours, or that make no sense, say nothing."""
    fields: dict[str, str] = {}
    for text in tags:
        name, _, value = text.removeprefix(PREFIX).partition("=")
        if text.startswith(PREFIX):
            try:
                fields[name] = decode(value)
            except ValueError:
                continue
    return Tags(
        label=_label(fields),
        source=fields.get("source", ""),
        making="making" in fields,
        growing_bytes=_number(fields.get("growing")),
        reverting=fields.get("reverting"),
        wiping_bytes=_number(fields.get("wiping")),
        wiped=fields.get("wiped"),
    )


def left_of(tags: Iterable[str]) -> int | None:
    """Up to where a physical volume is erased from which something was moved away; None if nothing was."""
    found = [text.removeprefix(LEFT) for text in tags if text.startswith(LEFT)]
    return min(_number(text) or 0 for text in found) if found else None


def _label(fields: dict[str, str]) -> Label | None:
    try:
        label = Label(
            Kind(fields["kind"]),
            fields["id"],
            fields["project"],
            int(fields["generation"]),
            fields.get("parent"),
        )
        return label if label.name and label.project else None  # `name` raises unless the id is a uuid
    except (KeyError, ValueError, errors.Invalid):
        return None


def _number(text: str | None) -> int | None:
    """A tag that is there and says no number counts as zero: everything is still to be done."""
    if text is None:
        return None
    return int(text) if re.fullmatch(r"[0-9]{1,20}", text) else 0


def changes(add: Iterable[str], remove: Iterable[str] = ()) -> list[str]:
    """Arguments of lvchange and lvcreate: the tags are changed in one write of the metadata."""
    arguments = []
    for text in remove:
        arguments += ["--deltag", text]
    for text in add:
        arguments += ["--addtag", text]
    return arguments
