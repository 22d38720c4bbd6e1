"""Bodies of requests that take over what lies in a pool."""

from __future__ import annotations

from brickyard.api.schemas import shapes
from brickyard.api.schemas.shapes import Schema

_REF: Schema = {"type": ["object", "string"]}
_NAMES: dict[str, Schema] = {
    "ref": _REF,
    "name": shapes.name,
    "description": shapes.text,
    "metadata": shapes.maybe_metadata,
}
_VOLUME: dict[str, Schema] = {
    **_NAMES,
    "host": shapes.host,
    "volume_type": shapes.name,
    "availability_zone": shapes.name,
    "bootable": {"anyOf": [shapes.boolean, {"type": "null"}]},
}
_IN_A_CLUSTER: dict[str, Schema] = {
    **_VOLUME,
    "host": {"anyOf": [shapes.host, {"type": "null"}]},
    "cluster": {"anyOf": [shapes.host, {"type": "null"}]},
}

VOLUME = {
    "3.0": shapes.wrapped("volume", shapes.closed(_VOLUME, ("ref", "host"))),
    "3.16": shapes.wrapped("volume", shapes.closed(_IN_A_CLUSTER, ("ref",))),
}
SNAPSHOT = {
    "3.0": shapes.wrapped("snapshot", shapes.closed({**_NAMES, "volume_id": shapes.uuid}, ("volume_id", "ref")))
}
