"""What a driver cannot do, by what its pool has reported: a request for it is refused before anything is begun.

The names are those of `bricks.Capabilities`, and `online_extend_support`, as which operators know `online_grow`. What a
pool never reported is not held against it: a backend that is down keeps its last word, and a new one has none yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# capability → what its driver cannot do, and what to do instead, by the capability that this needs ("": none)
LACKS: dict[str, tuple[str, dict[str, str]]] = {
    "snapshots": (
        "make snapshots",
        {"": "use a volume on a backend that can", "clones": "create a volume from this one"},
    ),
    "clones": (
        "copy a volume or a snapshot",
        {"": "copy the data inside an instance that has both volumes"},
    ),
    "revert": (
        "revert a volume to a snapshot",
        {"": "use a volume on a backend that can", "clones": "create a volume from the snapshot, and use that one"},
    ),
    "imports": ("take an image", {"": "use a backend that can, or create an empty volume"}),
    "adopts": (
        "take over what is there, or give it up",
        {"": "copy the data to a volume on another backend"},
    ),
    "online_extend_support": ("extend a volume in use", {"": "detach it first"}),
}


def lacking(capabilities: Mapping[str, Any], needed: Iterable[str]) -> str | None:
    """The first of the needed capabilities that a pool has reported to lack."""
    return next((name for name in sorted(needed) if capabilities.get(name) is False), None)


def told(capability: str) -> str:
    """`cannot …`, with the name of the capability, for a message that names the backend."""
    return f"cannot {LACKS[capability][0]} (its driver lacks {capability!r})"


def instead(capabilities: Mapping[str, Any], capability: str) -> str:
    """What to do where that lacks; nothing that the same pool has reported to lack as well."""
    return ", or ".join(do for needs, do in LACKS[capability][1].items() if capabilities.get(needs) is not False)
