"""Where a host stands, and how far two hosts are from each other.

A host carries labels: `zone`, `rack`, and any further level that an operator adds between them. The levels are ordered
from narrow to wide: host < rack < (the operator's levels) < zone. A rack label means the same rack only if every wider
label agrees too, because racks are numbered per room almost everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from brickyard.core import errors

HOST, RACK, ZONE = "host", "rack", "zone"

# One label with everything wider than it; None where the host does not carry that label.
Place = tuple[str | None, ...] | None


@dataclass(frozen=True, slots=True)
class Levels:
    """The names of the levels, narrow to wide. The first is the host itself."""

    names: tuple[str, ...] = (HOST, RACK, ZONE)

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names) or self.names[:2] != (HOST, RACK) or self.names[-1] != ZONE:
            raise errors.Invalid(f"levels run from host and rack to zone, each once; not {', '.join(self.names)}")

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        if name not in self.names:
            raise errors.Invalid(f"{name!r} is not a level of locality: {', '.join(self.names)}", field="locality")
        return self.names.index(name)


def levels(between: Sequence[str] = ()) -> Levels:
    """The levels with the operator's own ones between rack and zone."""
    return Levels((HOST, RACK, *between, ZONE))


def places(name: str, labels: Mapping[str, str], order: Levels) -> tuple[Place, ...]:
    """Where the host stands at each level, from itself to its zone.

    A wider label that is missing on two hosts counts as agreeing: a site of one room need not name the room.
    """
    full = {**labels, HOST: name}
    return tuple(
        tuple(full.get(wider) for wider in order.names[at:]) if full.get(level) is not None else None
        for at, level in enumerate(order.names)
    )


def distance(a: Sequence[Place], b: Sequence[Place]) -> int:
    """The index of the smallest level that both share; one more than the widest level if they share none."""
    for at, place in enumerate(a):
        if place is not None and place == b[at]:
            return at
    return len(a)
