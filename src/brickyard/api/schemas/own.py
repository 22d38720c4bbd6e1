"""Bodies of /v1: what requests must look like, and what the API document says of the answers."""

from __future__ import annotations

from brickyard.api.schemas import shapes
from brickyard.api.schemas.shapes import Schema

MAX = 2**31 - 1
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[^/\\x00-\\x1f]+$"}
TEXT: Schema = {"type": ["string", "null"], "maxLength": 255}
BOOLEAN: Schema = {"type": "boolean"}
LOCALITY: Schema = {"enum": ["host", "rack", "zone"]}


def whole(minimum: int, maximum: int = MAX) -> Schema:
    return {"type": "integer", "minimum": minimum, "maximum": maximum}


# requests -----------------------------------------------------------------------------------------------------------

HOST_UPDATE = shapes.closed(
    {
        "labels": {
            "type": "object",
            "propertyNames": {"pattern": "^[a-z][a-z0-9_-]{0,62}$"},
            "additionalProperties": {"type": ["string", "null"], "minLength": 1, "maxLength": 255},
        },
        "enabled": BOOLEAN,
        "disabled_reason": TEXT,
    },
    minProperties=1,
)
HOST_LOST = shapes.closed({"data_lost": BOOLEAN, "confirm": NAME})
HOST_DRAIN = shapes.closed({"parallel": whole(1, 32)})
AGENT_ENROLL = shapes.closed({"host": NAME}, required=("host",))
AGENT_CREDENTIALS = shapes.closed({"token": NAME}, required=("token",))
DEVICE: Schema = {"type": "string", "minLength": 1, "maxLength": 255}
SERIALS: Schema = {"type": "array", "maxItems": 64, "items": {"type": "string", "minLength": 1, "maxLength": 255}}
POOL_CREATE = shapes.closed(
    {
        "host": NAME,
        "name": NAME,
        "driver": NAME,
        "path": {"type": "string", "minLength": 1, "maxLength": 1024},
        "devices": {"type": "array", "minItems": 1, "maxItems": 64, "items": DEVICE},
        "wipe": SERIALS,
        "raid1": BOOLEAN,
        "volume_group": DEVICE,
        "thin_pool": DEVICE,
        "availability_zone": NAME,
        "volume_backend_name": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,255}$"},
        "options": {"type": "object", "additionalProperties": {"type": ["string", "integer", "number", "boolean"]}},
    },
    ("host", "name", "driver"),
)
POOL_EXTEND = shapes.closed({"device": DEVICE, "wipe": SERIALS, "grow": BOOLEAN}, ("device",))
POOL_DRAIN = shapes.closed({"device": DEVICE}, ("device",))
POOL_UPDATE = shapes.closed({"enabled": BOOLEAN, "disabled_reason": TEXT}, ("enabled",))
FLAVOR_CREATE = shapes.closed(
    {
        "name": NAME,
        "vcpus": whole(1, 1024),
        "memory_mib": whole(16, 2**24),
        "root_gib": whole(0),
        "local_storage_gb": whole(0),
        "local_storage_type": {"anyOf": [NAME, {"type": "null"}]},
    },
    ("name", "vcpus", "memory_mib"),
)
IMAGE_CREATE = shapes.closed(
    {
        "name": NAME,
        "kind": {"enum": ["disk", "kernel"]},
        "format": {"enum": ["raw", "qcow2", "vdi", "vmdk", None]},
        "cmdline": {"type": ["string", "null"], "maxLength": 2048, "pattern": "^[^\\x00-\\x1f]*$"},
        "is_public": BOOLEAN,
        "min_gib": whole(0),
    },
    ("name", "kind"),
)
IMAGE_UPDATE = shapes.closed({"protected": BOOLEAN}, ("protected",))
LOCAL_STORAGE: Schema = {
    "type": "array",
    "maxItems": 16,
    "items": shapes.closed({"size_gib": whole(1), "volume_type": {"anyOf": [NAME, {"type": "null"}]}}, ("size_gib",)),
}
_BOOT: dict[str, Schema] = {
    "name": NAME,
    "flavor": NAME,
    "image": {"anyOf": [NAME, {"type": "null"}]},
    "local_storage": LOCAL_STORAGE,
    "volumes": {"type": "array", "maxItems": 16, "items": shapes.uuid},
    "locality": LOCALITY,
    "required": BOOLEAN,
    "availability_zone": {"anyOf": [NAME, {"type": "null"}]},
}
INSTANCE_BOOT = shapes.closed(_BOOT, ("name", "flavor"))
INSTANCE_ATTACH = shapes.closed({"volume_id": shapes.uuid}, ("volume_id",))
_VOLUME = shapes.closed({"size_gib": whole(1), "volume_type": NAME, "availability_zone": NAME}, ("size_gib",))
EXPLAIN = shapes.closed({**_BOOT, "volume": _VOLUME}, minProperties=1)
AUDIT_REPAIR = shapes.closed(
    {"dry_run": BOOLEAN, "grace_s": whole(0, 10 * 365 * 86400), "orphans": {"enum": ["adopt", "remove", "recover"]}}
)

# answers: name in the API document → schema --------------------------------------------------------------------------

_S: Schema = {"type": "string"}
_N: Schema = {"type": ["string", "null"]}
_I: Schema = {"type": "integer"}
_F: Schema = {"type": ["number", "null"]}
_B: Schema = {"type": "boolean"}
_O: Schema = {"type": "object"}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _shown(**properties: Schema) -> Schema:
    """An object as it is shown: all of these are there, and later versions may add others."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(key: str, of: str) -> Schema:
    return _shown(**{key: {"type": "array", "items": _ref(of)}})


# fmt: off
ANSWERS: dict[str, Schema] = {
    "Host": _shown(
        id=_S, name=_S, up=_B, enabled=_B, disabled_reason=_N, labels=_O, hypervisor=_N, export_address=_N,
        vcpus_total=_I, vcpus_claimed=_I, memory_mib_total=_I, memory_mib_claimed=_I, heartbeat_at=_N, lost_at=_N,
        created_at=_S, updated_at=_N,
    ),
    "Hosts": _list("hosts", "Host"),
    "LostThing": _shown(id=_S, name=_N, project_id=_S, status=_S, lost_at=_N),
    "LostVolume": {"allOf": [
        _ref("LostThing"), _shown(size_gib=_I, pool=_S, backups={"type": "array", "items": _S}),
    ]},
    "LostSnapshot": {"allOf": [_ref("LostThing"), _shown(size_gib=_I, volume_id=_S)]},
    "LostInstance": {"allOf": [_ref("LostThing"), _shown(boots_elsewhere=_B)]},
    "LostAttachment": _shown(id=_S, volume_id=_S, instance_id=_N, status=_S, attached_host=_N),
    "WaitingFlow": _shown(id=_S, name=_S, status=_S, resource_id=_N, error=_N),
    "Loss": {"allOf": [_shown(host=_ref("Host")), *(_list(key, of) for key, of in (
        ("volumes", "LostVolume"), ("snapshots", "LostSnapshot"), ("instances", "LostInstance"),
        ("attachments", "LostAttachment"), ("flows", "WaitingFlow"),
    ))]},
    "DrainedVolume": _shown(
        id=_S, name=_N, project_id=_S, size_gib=_I, status=_S, instance_id=_N, pool=_S,
        state={"enum": ["planned", "moving", "moved", "waiting", "failed", "stays"]},
        target=_N, reason=_N, flow_id=_N, progress={"anyOf": [_ref("FlowProgress"), {"type": "null"}]},
    ),
    "StayingInstance": _shown(id=_S, name=_N, project_id=_S, status=_S, root_pool=_N),
    "Drain": {"allOf": [
        _shown(host=_ref("Host"), status={"enum": ["none", "running", "cancelled", "done", "failed"]},
               flow_id=_N, parallel={"type": ["integer", "null"]}, error=_N),
        _list("volumes", "DrainedVolume"), _list("instances", "StayingInstance"),
    ]},
    "Agent": _shown(host=_S, enrolled_at=_N, invited_until=_N, created_at=_S, updated_at=_N),
    "Agents": _list("agents", "Agent"),
    "Invitation": _shown(host=_S, token=_S, expires_at=_S),
    "Credentials": _shown(
        host=_S, servers={"type": "array", "items": _S}, user=_S, password=_S, virtual_host=_S, tls=_B, ca=_N,
    ),
    "Pool": _shown(
        id=_N, name=_S, host=_S, backend=_S, driver=_S, path=_N, volume_group=_N,
        devices={"type": "array", "items": _S}, volume_backend_name=_S, availability_zone=_S, up=_B, why_down=_N,
        enabled=_B, from_api=_B, total_gib=_I, free_gib=_I, limit_gib=_I, claimed_gib=_I, wiping_gib=_I, volumes=_I,
        data_percent=_F, metadata_percent=_F, stage={"enum": ["ok", "warn", "frozen", "paused"]}, stage_reason=_N,
        stage_since=_N, thin=_B, capabilities=_O,
    ),
    "Device": _shown(
        path=_S, serial=_N, confirmation=_S, size_bytes=_I, model=_N, rotational=_B, discards=_B,
        found={"type": "array", "items": _S}, in_use=_B, backend=_N,
    ),
    "Devices": _list("devices", "Device"),
    "Begun": _shown(flow_id=_S),
    "Pools": _list("pools", "Pool"),
    "Flavor": _shown(
        id=_S, name=_S, vcpus=_I, memory_mib=_I, root_gib=_I, local_storage_gb=_I, local_storage_type=_N, created_at=_S
    ),
    "Flavors": _list("flavors", "Flavor"),
    "Image": _shown(
        id=_S, name=_S, status={"enum": ["queued", "saving", "active"]}, kind=_S, format=_N, cmdline=_N, is_public=_B,
        protected=_B, properties=_O, project_id=_S, size_bytes=_I, virtual_size_bytes=_I, min_gib=_I, files=_O,
        created_at=_S, updated_at=_N,
    ),
    "Images": _list("images", "Image"),
    "InstanceVolume": _shown(
        volume_id=_S, name=_N, size_gib=_I, status=_S, pool=_N, attachment_id=_S, attach_status=_S, mountpoint=_N
    ),
    "Instance": _shown(
        id=_S, name=_S, status=_S, fault=_N, paused_reason=_N, host=_N, flavor=_S, image_id=_N, vcpus=_I, memory_mib=_I,
        root_gib=_I, root_pool=_N, volumes={"type": "array", "items": _ref("InstanceVolume")}, request=_O,
        project_id=_S, user_id=_S, flow_id=_N, created_at=_S, updated_at=_N,
    ),
    "Instances": _list("instances", "Instance"),
    "Deletion": _shown(id=_S, flow_id=_N),
    "Attachment": _shown(attachment_id=_S, volume_id=_S, instance_id=_S, attach_status=_S, host=_N, mountpoint=_N),
    "Reservation": _shown(
        id=_S, flow_id=_S, project_id=_S, host=_S, rank=_I, gib=_I, vcpus=_I, memory_mib=_I, expires_at=_S,
        created_at=_S,
    ),
    "Reservations": _list("reservations", "Reservation"),
    "Receipt": _shown(
        id=_S, brick_id=_S, name=_S, kind={"enum": ["volume", "snapshot", "root"]}, project_id=_S, pool=_S,
        size_bytes=_I, method={"enum": ["none", "discard", "write-zeroes", "overwrite"]}, verified=_S, started_at=_S,
        finished_at=_S, flow_id=_S,
    ),
    "Receipts": _list("receipts", "Receipt"),
    "Difference": _shown(
        kind=_S, where=_S, name=_S, message=_S, project_id=_N, first_seen_at=_S, repair=_N, action=_N, due_at=_N,
        flow_id=_N, why_not=_N,
    ),
    "Audit": _list("differences", "Difference"),
    "Refusal": _shown(rule=_S, message=_S),
    "FlowEntry": _shown(
        seq=_I, attempt=_I, step=_S, event={"enum": ["started", "done", "failed", "undone"]},
        data={"type": ["object", "null"]}, at=_S,
    ),
    "FlowProgress": _shown(
        step=_S, what=_S, done_bytes=_I, total_bytes=_I, percent={"type": "integer", "minimum": 0, "maximum": 100}
    ),
    "Flow": _shown(
        id=_S, name=_S, status={"enum": ["running", "unwinding", "done", "failed"]}, attempt=_I, setbacks=_I,
        resource_id=_N, project_id=_S, request_id=_N, error=_N, refusals={"type": "array", "items": _ref("Refusal")},
        progress={"anyOf": [_ref("FlowProgress"), {"type": "null"}]}, created_at=_S, finished_at=_N,
    ),
    "Flows": _list("flows", "Flow"),
    "FlowWithLog": {"allOf": [_ref("Flow"), _list("log", "FlowEntry")]},
    "Verdict": _shown(
        name=_S, rank={"type": ["integer", "null"]}, weights=_O,
        refusal={"anyOf": [_ref("Refusal"), {"type": "null"}]}, pools={"type": "array", "items": _ref("Verdict")},
    ),
    "Explanation": _list("hosts", "Verdict"),
    "Error": _shown(error={
        "type": "object",
        "properties": {
            "code": _I, "kind": _S, "message": _S, "field": _S, "refusals": {"type": "array", "items": _ref("Refusal")},
        },
        "required": ["code", "kind", "message"],
    }),
}
# fmt: on
