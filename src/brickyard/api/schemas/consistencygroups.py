"""Bodies of requests of consistency groups and of snapshots of them. Clients send keys there that say nothing."""

from __future__ import annotations

from brickyard.api.schemas import shapes
from brickyard.api.schemas.shapes import Schema

_NAMES: dict[str, Schema] = {"name": shapes.name, "description": shapes.text}
_IDS: Schema = {"type": ["string", "null"], "maxLength": 65535}  # joined by commas
_TYPES: Schema = {"type": "string", "minLength": 1, "maxLength": 65535}  # names or ids, joined by commas
_FORCE: Schema = shapes.opened({"force": shapes.boolean})

CREATE = {
    "3.0": shapes.wrapped(
        "consistencygroup",
        shapes.opened({**_NAMES, "volume_types": _TYPES, "availability_zone": shapes.name}, ("volume_types",)),
    )
}
CREATE_FROM = {
    "3.0": shapes.wrapped(
        "consistencygroup-from-src",
        shapes.opened({**_NAMES, "cgsnapshot_id": shapes.maybe_uuid, "source_cgid": shapes.maybe_uuid}),
    )
}
UPDATE = {
    "3.0": shapes.wrapped("consistencygroup", shapes.opened({**_NAMES, "add_volumes": _IDS, "remove_volumes": _IDS}))
}
DELETE = {"3.0": shapes.closed({"consistencygroup": _FORCE, "consistency_group": _FORCE})}
CREATE_SNAPSHOT = {
    "3.0": shapes.wrapped(
        "cgsnapshot", shapes.opened({**_NAMES, "consistencygroup_id": shapes.uuid}, ("consistencygroup_id",))
    )
}
