"""Bodies of backup requests."""

from __future__ import annotations

from brickyard.api.schemas import shapes
from brickyard.api.schemas.shapes import Schema

_MAYBE_BOOLEAN: Schema = {"anyOf": [shapes.boolean, {"type": "null"}]}
_NEW: dict[str, Schema] = {
    "volume_id": shapes.uuid,
    "container": {"type": ["string", "null"], "maxLength": 255},
    "name": shapes.name,
    "description": shapes.text,
    "incremental": _MAYBE_BOOLEAN,
    "force": _MAYBE_BOOLEAN,
    "snapshot_id": shapes.maybe_uuid,
}
_METADATA: dict[str, Schema] = {"metadata": shapes.maybe_metadata}
_ZONE: dict[str, Schema] = {"availability_zone": shapes.name}
_NAMES: dict[str, Schema] = {"name": shapes.name, "description": shapes.text}
_RECORD: dict[str, Schema] = {
    "backup_service": shapes.word,
    "backup_url": {"type": "string", "minLength": 1, "maxLength": 65536},
}

CREATE = {
    "3.0": shapes.wrapped("backup", shapes.closed(_NEW, ("volume_id",))),
    "3.43": shapes.wrapped("backup", shapes.closed({**_NEW, **_METADATA}, ("volume_id",))),
    "3.51": shapes.wrapped("backup", shapes.closed({**_NEW, **_METADATA, **_ZONE}, ("volume_id",))),
}
UPDATE = {
    "3.9": shapes.wrapped("backup", shapes.closed(_NAMES, minProperties=1)),
    "3.43": shapes.wrapped("backup", shapes.closed({**_NAMES, **_METADATA}, minProperties=1)),
}
RESTORE = {"3.0": shapes.wrapped("restore", shapes.closed({"name": shapes.name, "volume_id": shapes.maybe_uuid}))}
IMPORT = {"3.0": shapes.wrapped("backup-record", shapes.closed(_RECORD, ("backup_service", "backup_url")))}
RESET: Schema = shapes.closed({"status": {"type": "string", "minLength": 1}}, ("status",))
