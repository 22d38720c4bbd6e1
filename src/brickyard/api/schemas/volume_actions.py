"""Values of the actions of volumes."""

from __future__ import annotations

from brickyard.api.schemas import shapes
from brickyard.api.schemas.shapes import Schema

maybe_text: Schema = {"type": ["string", "null"]}
connector: Schema = {"type": "object"}

ATTACH: Schema = shapes.closed(
    {
        "mountpoint": shapes.word,
        "instance_uuid": shapes.maybe_uuid,
        "host_name": {"type": ["string", "null"], "maxLength": 255},
        "mode": {"enum": ["rw", "ro"]},
    },
    ("mountpoint",),
    anyOf=[{"required": ["instance_uuid"]}, {"required": ["host_name"]}],
)
DETACH: Schema = {"anyOf": [shapes.closed({"attachment_id": shapes.maybe_uuid}), {"type": "null"}]}
INITIALIZE: Schema = shapes.closed({"connector": connector}, ("connector",))
TERMINATE: Schema = shapes.closed({"connector": {"type": ["object", "string", "null"]}}, ("connector",))
EXTEND: Schema = shapes.closed({"new_size": shapes.size}, ("new_size",))
REVERT: Schema = shapes.opened({"snapshot_id": shapes.uuid}, ("snapshot_id",))
REIMAGE: Schema = shapes.closed({"image_id": shapes.uuid, "reimage_reserved": shapes.boolean}, ("image_id",))
UPLOAD: Schema = shapes.closed(
    {
        "image_name": shapes.word,
        "force": {"anyOf": [shapes.boolean, {"type": "null"}]},
        "disk_format": {"enum": ["raw", "vmdk", "vdi", "qcow2", "vhd", "vhdx", "ploop"]},
        "container_format": {"type": "string", "maxLength": 255},
        "visibility": {"enum": ["community", "public", "private", "shared"]},  # since 3.1
        "protected": shapes.boolean,  # since 3.1
    },
    ("image_name",),
)
COMPLETION: Schema = shapes.closed({"error": shapes.boolean})
SET_BOOTABLE: Schema = shapes.closed({"bootable": shapes.boolean}, ("bootable",))
SET_READONLY: Schema = shapes.closed({"readonly": shapes.boolean}, ("readonly",))
RESET: Schema = shapes.closed(
    {
        "status": maybe_text,
        "attach_status": {"enum": ["attached", "detached", None]},
        "migration_status": {
            "enum": ["migrating", "error", "success", "completing", "none", "starting", None],
        },
    },
    minProperties=1,
)
FORCE_DETACH: Schema = shapes.closed(
    {"connector": {"type": ["object", "string", "null"]}, "attachment_id": shapes.maybe_uuid}
)
image_metadata: Schema = {
    **shapes.metadata,
    "additionalProperties": {"type": "string", "maxLength": 65535},
}
SET_IMAGE: Schema = shapes.closed({"metadata": image_metadata}, ("metadata",))
UNSET_IMAGE: Schema = shapes.closed({"key": shapes.word}, ("key",))
RETYPE: Schema = shapes.closed(
    {"new_type": shapes.word, "migration_policy": {"enum": ["never", "on-demand", None]}}, ("new_type",)
)
MIGRATE: Schema = shapes.closed(
    {
        "host": {"anyOf": [shapes.host, {"type": "null"}]},
        "cluster": {"anyOf": [shapes.host, {"type": "null"}]},
        "force_host_copy": {"anyOf": [shapes.boolean, {"type": "null"}]},
        "lock_volume": {"anyOf": [shapes.boolean, {"type": "null"}]},
    }
)
COMPLETE: Schema = shapes.closed(
    {"new_volume": shapes.uuid, "error": {"anyOf": [shapes.boolean, {"type": "null"}]}}, ("new_volume",)
)
