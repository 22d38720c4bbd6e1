"""What Block Storage v3 answers about the resources of projects: the name of each answer → its JSON Schema."""

from __future__ import annotations

from brickyard.api.schemas.shapes import Schema
from brickyard.api.schemas.shown import (
    BOOLEAN,
    EMPTY_OR_TIME,
    ID,
    LINKS,
    MAYBE_ID,
    MAYBE_TEXT,
    MAYBE_TIME,
    NAMED,
    OBJECT,
    SINCE,
    TEXT,
    TEXTS,
    TIME,
    WHOLE,
    array,
    many,
    one,
    ref,
    shown,
    since,
)

# volumes, snapshots, attachments -------------------------------------------------------------------------------------

_VOLUME: dict[str, Schema] = {
    **NAMED,
    **LINKS,
    "status": TEXT,
    "size": WHOLE,
    "availability_zone": MAYBE_TEXT,
    "created_at": TIME,
    "updated_at": MAYBE_TIME,
    "description": MAYBE_TEXT,
    "volume_type": MAYBE_TEXT,
    "snapshot_id": MAYBE_ID,
    "source_volid": MAYBE_ID,
    "user_id": TEXT,
    "metadata": TEXTS,
    "bootable": {"enum": ["true", "false"]},
    "multiattach": BOOLEAN,
    "attachments": array(ref("VolumeAttachment")),
    "encrypted": BOOLEAN,
    "replication_status": MAYBE_TEXT,
    "consistencygroup_id": MAYBE_ID,
    "volume_image_metadata": TEXTS,
    "migration_status": MAYBE_TEXT,
    "os-vol-mig-status-attr:migstat": MAYBE_TEXT,
    "os-vol-mig-status-attr:name_id": MAYBE_TEXT,
    "os-vol-host-attr:host": MAYBE_TEXT,
    "os-vol-tenant-attr:tenant_id": TEXT,
    "group_id": since("3.13", MAYBE_ID),
    "provider_id": since("3.21", MAYBE_TEXT),
    "shared_targets": since("3.48", {"type": ["boolean", "null"]}),
    "service_uuid": since("3.48", MAYBE_ID),
    "cluster_name": since("3.61", MAYBE_TEXT),
    "volume_type_id": since("3.63", MAYBE_ID),
    "consumes_quota": since("3.65", BOOLEAN),
}
_SNAPSHOT: dict[str, Schema] = {
    **NAMED,
    "created_at": TIME,
    "updated_at": MAYBE_TIME,
    "description": MAYBE_TEXT,
    "volume_id": ID,
    "status": TEXT,
    "size": WHOLE,
    "metadata": TEXTS,
    "os-extended-snapshot-attributes:project_id": TEXT,
    "os-extended-snapshot-attributes:progress": TEXT,
    "group_snapshot_id": since("3.14", MAYBE_ID),
    "user_id": since("3.41", TEXT),
    "consumes_quota": since("3.65", BOOLEAN),
}


def _oldest(fields: dict[str, Schema]) -> dict[str, Schema]:
    """Those of 3.0 that are no extension."""
    return {name: schema for name, schema in fields.items() if SINCE not in schema and not name.startswith("os-")}


_ATTACHMENT: dict[str, Schema] = {"id": ID, "status": TEXT, "instance": MAYBE_TEXT, "volume_id": ID}

ANSWERS: dict[str, Schema] = {
    "Link": shown({"rel": TEXT, "href": TEXT}),
    "Fault": {
        "description": "One key, which follows from the status: badRequest, itemNotFound, forbidden and so on.",
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": shown({"code": WHOLE, "message": TEXT, "retryAfter": TEXT}, "retryAfter"),
    },
    "VolumeBrief": shown({**NAMED, **LINKS}),
    "VolumesBrief": many("volumes", "VolumeBrief", "volumes_links", counted=True),
    "VolumeAttachment": shown(
        {
            "id": ID,
            "attachment_id": ID,
            "volume_id": ID,
            "server_id": MAYBE_TEXT,
            "host_name": MAYBE_TEXT,
            "device": MAYBE_TEXT,
            "attached_at": EMPTY_OR_TIME,
        }
    ),
    "Volume": shown(
        _VOLUME,
        *("volume_image_metadata", "migration_status", "provider_id", "cluster_name"),
        *(name for name in _VOLUME if name.startswith("os-vol-")),
    ),
    "VolumeShown": one("volume", "Volume"),
    "Volumes": many("volumes", "Volume", "volumes_links", counted=True),
    "Upload": one("os-volume_upload_image", "Uploading"),
    "Uploading": shown(
        {
            "id": ID,
            "updated_at": MAYBE_TIME,
            "status": TEXT,
            "display_description": MAYBE_TEXT,
            "size": WHOLE,
            "volume_type": {"anyOf": [OBJECT, {"type": "null"}]},
            "image_id": ID,
            "container_format": TEXT,
            "disk_format": TEXT,
            "image_name": TEXT,
            "visibility": since("3.1", TEXT),
            "protected": since("3.1", BOOLEAN),
        }
    ),
    "VolumeSummary": shown(
        {
            "volume-summary": shown(
                {
                    "total_count": WHOLE,
                    "total_size": WHOLE,
                    "metadata": since("3.36", {"type": "object", "additionalProperties": array(TEXT)}),
                }
            )
        }
    ),
    "VolumeEncryption": shown({"encryption_key_id": MAYBE_TEXT}),
    "Bare": {"description": "The value alone, which may be null."},
    "ConnectionInfo": shown(
        {
            "connection_info": shown(
                {"driver_volume_type": TEXT, "enforce_multipath": BOOLEAN, "data": OBJECT},
                "driver_volume_type",
                "enforce_multipath",
            )
        }
    ),
    "Metadata": shown({"metadata": TEXTS}),
    "MetadataKey": shown({"meta": {**TEXTS, "minProperties": 1, "maxProperties": 1}}),
    "Snapshot": shown(_SNAPSHOT, *(name for name in _SNAPSHOT if name.startswith("os-extended"))),
    "SnapshotBrief": shown(
        {name: inner for name, inner in _SNAPSHOT.items() if SINCE not in inner and "os-" not in name}
    ),
    "SnapshotShown": one("snapshot", "Snapshot"),
    "Snapshots": many("snapshots", "Snapshot", "snapshots_links", counted=True),
    "SnapshotsBrief": many("snapshots", "SnapshotBrief", "snapshots_links", counted=True),
    "AttachmentBrief": shown(_ATTACHMENT),
    "AttachmentsBrief": many("attachments", "AttachmentBrief"),
    "Attachment": shown(
        {
            **_ATTACHMENT,
            "attached_at": EMPTY_OR_TIME,
            "detached_at": EMPTY_OR_TIME,
            "attach_mode": {"enum": ["rw", "ro", "null"]},
            "connection_info": OBJECT,
        }
    ),
    "AttachmentShown": one("attachment", "Attachment"),
    "Attachments": many("attachments", "Attachment"),
}

# what lies in the pools, transfers, groups, messages -----------------------------------------------------------------

_LYING: dict[str, Schema] = {"reference": shown({"source-name": TEXT}), "size": WHOLE, "safe_to_manage": BOOLEAN}
_LYING_DETAIL: dict[str, Schema] = {"reason_not_safe": MAYBE_TEXT, "cinder_id": MAYBE_ID, "extra_info": MAYBE_TEXT}
_SOURCE: dict[str, Schema] = {"source_reference": shown({"source-name": TEXT}, "source-name")}
_TRANSFER: dict[str, Schema] = {**NAMED, **LINKS, "volume_id": ID}
_TRANSFER_DETAIL: dict[str, Schema] = {
    **_TRANSFER,
    "created_at": TIME,
    "no_snapshots": since("3.55", BOOLEAN),
    "source_project_id": since("3.57", TEXT),
    "destination_project_id": since("3.57", MAYBE_TEXT),
    "accepted": since("3.57", BOOLEAN),
}
_MEMBERS: Schema = since("3.25", array(ID))  # where they were asked for
_GROUP: dict[str, Schema] = {
    **NAMED,
    "status": TEXT,
    "availability_zone": MAYBE_TEXT,
    "created_at": TIME,
    "description": MAYBE_TEXT,
    "group_type": TEXT,
    "volume_types": array(ID),
    "group_snapshot_id": since("3.14", MAYBE_ID),
    "source_group_id": since("3.14", MAYBE_ID),
    "volumes": _MEMBERS,
    "replication_status": since("3.38", TEXT),
    "project_id": since("3.58", TEXT),
}
_GROUP_SNAPSHOT: dict[str, Schema] = {
    **NAMED,
    "group_id": ID,
    "group_type_id": TEXT,
    "status": TEXT,
    "created_at": TIME,
    "description": MAYBE_TEXT,
    "project_id": since("3.58", TEXT),
}
_CONSISTENCY_GROUP: dict[str, Schema] = {
    **NAMED,
    "status": TEXT,
    "availability_zone": MAYBE_TEXT,
    "created_at": TIME,
    "description": MAYBE_TEXT,
    "volume_types": array(ID),
}
_CGSNAPSHOT: dict[str, Schema] = {
    **NAMED,
    "consistencygroup_id": ID,
    "status": TEXT,
    "created_at": TIME,
    "description": MAYBE_TEXT,
}

ANSWERS |= {
    "ManageableVolumeBrief": shown(_LYING),
    "ManageableVolume": shown({**_LYING, **_LYING_DETAIL}),
    "ManageableVolumesBrief": many("manageable-volumes", "ManageableVolumeBrief"),
    "ManageableVolumes": many("manageable-volumes", "ManageableVolume"),
    "ManageableSnapshotBrief": shown({**_LYING, **_SOURCE}),
    "ManageableSnapshot": shown({**_LYING, **_SOURCE, **_LYING_DETAIL}),
    "ManageableSnapshotsBrief": many("manageable-snapshots", "ManageableSnapshotBrief"),
    "ManageableSnapshots": many("manageable-snapshots", "ManageableSnapshot"),
    # these answers have never followed the microversions
    "ManagedVolume": shown({"volume": shown(_oldest(_VOLUME), "volume_image_metadata", "migration_status")}),
    "ManagedSnapshot": one("snapshot", "SnapshotBrief"),
    "TransferBrief": shown(_TRANSFER),
    "TransfersBrief": many("transfers", "TransferBrief", "transfers_links"),
    "TransferAccepted": one("transfer", "TransferBrief"),
    "Transfer": shown(_TRANSFER_DETAIL),
    "Transfers": many("transfers", "Transfer", "transfers_links"),
    "TransferShown": one("transfer", "Transfer"),
    "TransferCreated": shown({"transfer": shown({**_TRANSFER_DETAIL, "auth_key": TEXT})}),
    "GroupBrief": shown({**NAMED, "volumes": _MEMBERS}, "volumes"),
    "GroupsBrief": many("groups", "GroupBrief", "group_links"),
    "GroupCreated": one("group", "GroupBrief"),
    "Group": shown(_GROUP, "volumes", "project_id"),
    "Groups": many("groups", "Group", "group_links"),
    "GroupShown": one("group", "Group"),
    "GroupSnapshotBrief": shown(NAMED),
    "GroupSnapshotsBrief": many("group_snapshots", "GroupSnapshotBrief", "group_snapshot_links"),
    "GroupSnapshotCreated": shown({"group_snapshot": shown({**NAMED, "group_type_id": TEXT})}),
    "GroupSnapshot": shown(_GROUP_SNAPSHOT, "project_id"),
    "GroupSnapshots": many("group_snapshots", "GroupSnapshot", "group_snapshot_links"),
    "GroupSnapshotShown": one("group_snapshot", "GroupSnapshot"),
    "ConsistencyGroupBrief": shown(NAMED),
    "ConsistencyGroupsBrief": many("consistencygroups", "ConsistencyGroupBrief", "consistencygroup_links"),
    "ConsistencyGroupCreated": one("consistencygroup", "ConsistencyGroupBrief"),
    "ConsistencyGroup": shown(_CONSISTENCY_GROUP),
    "ConsistencyGroups": many("consistencygroups", "ConsistencyGroup", "consistencygroup_links"),
    "ConsistencyGroupShown": one("consistencygroup", "ConsistencyGroup"),
    "CgsnapshotBrief": shown(NAMED),
    "CgsnapshotsBrief": many("cgsnapshots", "CgsnapshotBrief", "cgsnapshot_links"),
    "CgsnapshotCreated": one("cgsnapshot", "CgsnapshotBrief"),
    "Cgsnapshot": shown(_CGSNAPSHOT),
    "Cgsnapshots": many("cgsnapshots", "Cgsnapshot", "cgsnapshot_links"),
    "CgsnapshotShown": one("cgsnapshot", "Cgsnapshot"),
    "Message": shown(
        {
            "id": ID,
            **LINKS,
            "event_id": TEXT,
            "user_message": TEXT,
            "message_level": TEXT,
            "created_at": TIME,
            "guaranteed_until": TIME,
            "request_id": MAYBE_TEXT,
            "resource_type": TEXT,
            "resource_uuid": TEXT,
        },
        "resource_type",
        "resource_uuid",
    ),
    "MessageShown": one("message", "Message"),
    "Messages": many("messages", "Message", "messages_links"),
}
