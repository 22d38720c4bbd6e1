"""What v3 answers about what operators set up and look at: the name of each answer → its JSON Schema."""

from __future__ import annotations

from brickyard.api.schemas.shapes import Schema
from brickyard.api.schemas.shown import (
    BOOLEAN,
    ID,
    LINKS,
    MAYBE_ID,
    MAYBE_TEXT,
    MAYBE_TEXTS,
    MAYBE_TIME,
    OBJECT,
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

_KIND: dict[str, Schema] = {"id": ID, "name": TEXT, "description": MAYBE_TEXT, "is_public": BOOLEAN}
_ENCRYPTION: dict[str, Schema] = {
    "provider": TEXT,
    "control_location": {"enum": ["front-end", "back-end"]},
    "cipher": MAYBE_TEXT,
    "key_size": {"type": ["integer", "null"]},
}
_ENCRYPTION_SHOWN: dict[str, Schema] = {
    "volume_type_id": ID,
    "encryption_id": ID,
    **_ENCRYPTION,
    "created_at": TIME,
    "updated_at": MAYBE_TIME,
    "deleted": BOOLEAN,
    "deleted_at": MAYBE_TIME,
}
_LIMITS: Schema = {"type": "object", "additionalProperties": WHOLE}
_FIGURES: Schema = shown({"limit": WHOLE, "in_use": WHOLE, "reserved": WHOLE})
_WITH_ID: Schema = {"type": "object", "properties": {"id": TEXT}, "required": ["id"]}
_SWITCHED: dict[str, Schema] = {
    "host": TEXT,
    "service": TEXT,
    "binary": TEXT,
    "status": {"enum": ["enabled", "disabled"]},
    "disabled": BOOLEAN,
}
_UP: Schema = {"enum": ["up", "down"]}

ANSWERS: dict[str, Schema] = {
    "Type": shown(
        {**_KIND, "extra_specs": MAYBE_TEXTS, "qos_specs_id": MAYBE_ID, "os-volume-type-access:is_public": BOOLEAN},
        "extra_specs",
        "qos_specs_id",
        "os-volume-type-access:is_public",
    ),
    "Types": many("volume_types", "Type", "volume_type_links"),
    "TypeShown": one("volume_type", "Type"),
    "ExtraSpecs": shown({"extra_specs": MAYBE_TEXTS}),
    "Spec": {**MAYBE_TEXTS, "minProperties": 1, "maxProperties": 1},
    "TypeAccess": shown({"volume_type_access": array(shown({"volume_type_id": ID, "project_id": TEXT}))}),
    "Encryption": shown(_ENCRYPTION_SHOWN, *_ENCRYPTION_SHOWN),
    "EncryptionCreated": {
        "type": "object",
        "properties": {
            "encryption": {
                "type": "object",
                "properties": {"volume_type_id": ID, "encryption_id": ID, **_ENCRYPTION},
                "required": ["volume_type_id", "encryption_id", "provider", "control_location"],
            }
        },
        "required": ["encryption"],
    },
    "EncryptionUpdated": shown({"encryption": shown(_ENCRYPTION, *_ENCRYPTION)}),
    "DefaultType": shown({"project_id": TEXT, "volume_type_id": ID}),
    "DefaultTypes": many("default_types", "DefaultType"),
    "DefaultTypeShown": one("default_type", "DefaultType"),
    "QosSpecs": shown(
        {"id": ID, "name": TEXT, "consumer": {"enum": ["front-end", "back-end", "both"]}, "specs": TEXTS}
    ),
    "QosSpecsList": many("qos_specs", "QosSpecs", "qos_specs_links"),
    "QosSpecsShown": shown({"qos_specs": ref("QosSpecs"), **LINKS}),
    "QosKeys": shown({"qos_specs": {"type": "object", "additionalProperties": {"type": ["string", "integer"]}}}),
    "QosAssociations": shown(
        {"qos_associations": array(shown({"association_type": {"enum": ["volume_type"]}, "name": TEXT, "id": ID}))}
    ),
    "GroupType": shown({**_KIND, "group_specs": MAYBE_TEXTS}, "group_specs"),
    "GroupTypes": many("group_types", "GroupType", "group_type_links"),
    "GroupTypeShown": one("group_type", "GroupType"),
    "GroupSpecs": shown({"group_specs": MAYBE_TEXTS}),
    # quotas and limits
    "QuotaSet": shown({"quota_set": {**_WITH_ID, "additionalProperties": {"anyOf": [WHOLE, _FIGURES]}}}),
    "QuotaDefaults": shown({"quota_set": {**_WITH_ID, "additionalProperties": WHOLE}}),
    "QuotaLimits": shown({"quota_set": _LIMITS}),
    "QuotaClass": shown({"quota_class_set": {**_WITH_ID, "additionalProperties": WHOLE}}),
    "QuotaClassLimits": shown({"quota_class_set": _LIMITS}),
    "Limits": shown({"limits": shown({"rate": array(OBJECT), "absolute": _LIMITS})}),
    # services, hosts and pools
    "Service": shown(
        {
            "binary": TEXT,
            "host": TEXT,
            "zone": TEXT,
            "status": {"enum": ["enabled", "disabled"]},
            "state": _UP,
            "updated_at": TEXT,
            "disabled_reason": MAYBE_TEXT,
            "cluster": since("3.7", MAYBE_TEXT),
            "replication_status": TEXT,
            "active_backend_id": MAYBE_TEXT,
            "frozen": BOOLEAN,
            "backend_state": since("3.49", _UP),
        },
        "replication_status",
        "active_backend_id",
        "frozen",
        "backend_state",
    ),
    "Services": many("services", "Service"),
    "ServiceEnabled": shown({**_SWITCHED, "disabled_reason": MAYBE_TEXT}),
    "ServiceDisabled": shown(_SWITCHED),
    "LogLevels": shown({"log_levels": array(shown({"host": TEXT, "binary": TEXT, "levels": TEXTS}))}),
    "Clusters": shown({"clusters": {"type": "array", "maxItems": 0}}),
    "Cleaning": shown({"cleaning": {"type": "array", "maxItems": 0}, "unavailable": {"type": "array", "maxItems": 0}}),
    "Hosts": shown(
        {
            "hosts": array(
                shown(
                    {
                        "host_name": TEXT,
                        "service": TEXT,
                        "zone": TEXT,
                        "service-status": {"enum": ["available", "unavailable"]},
                        "service-state": {"enum": ["enabled", "disabled"]},
                        "last-update": TEXT,
                    }
                )
            )
        }
    ),
    "HostContents": shown(
        {
            "host": array(
                shown(
                    {
                        "resource": shown(
                            {
                                "host": TEXT,
                                "project": TEXT,
                                "volume_count": TEXT,
                                "total_volume_gb": TEXT,
                                "snapshot_count": TEXT,
                                "total_snapshot_gb": TEXT,
                            }
                        )
                    }
                )
            )
        }
    ),
    "Pools": shown({"pools": array(shown({"name": TEXT, "capabilities": OBJECT}, "capabilities"))}),
    "Capabilities": shown(
        {
            "namespace": TEXT,
            "vendor_name": TEXT,
            "volume_backend_name": TEXT,
            "pool_name": TEXT,
            "driver_version": TEXT,
            "storage_protocol": TEXT,
            "display_name": TEXT,
            "description": MAYBE_TEXT,
            "visibility": MAYBE_TEXT,
            "replication_targets": array(OBJECT),
            "properties": {
                "type": "object",
                "additionalProperties": shown({"title": TEXT, "description": TEXT, "type": TEXT}),
            },
        }
    ),
    "Zones": shown(
        {"availabilityZoneInfo": array(shown({"zoneName": TEXT, "zoneState": shown({"available": BOOLEAN})}))}
    ),
    # what there is
    "Project": shown({"project": shown({"id": TEXT, "name": TEXT, "domain_id": TEXT, "enabled": BOOLEAN})}),
    "Server": shown({"server": shown({"id": TEXT, "name": TEXT})}),
    "Extension": shown(
        {"name": TEXT, "alias": TEXT, "description": TEXT, "updated": TEXT, "links": array(ref("Link"))}
    ),
    "Extensions": many("extensions", "Extension"),
    "ExtensionShown": one("extension", "Extension"),
    "ResourceFilters": shown({"resource_filters": array(shown({"resource": TEXT, "filters": array(TEXT)}))}),
}
