"""The whole of Block Storage v3 on two screens: method, path, handler, policy, microversion and body.

A path is without its prefix: each is served under /v3 and under /v3/{project_id}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from brickyard.api import action_tables as tables
from brickyard.api import actions
from brickyard.api.handlers import (
    attachments,
    backups,
    cgsnapshots,
    clusters,
    consistencygroups,
    default_types,
    encryptions,
    extensions,
    group_snapshots,
    group_types,
    groups,
    limits,
    manageable,
    messages,
    metadata,
    neighbours,
    pools,
    qos,
    quotas,
    services,
    snapshots,
    transfers,
    types,
    volumes,
    zones,
)
from brickyard.api.request import Handler
from brickyard.api.schemas import attachments as attachment_schemas
from brickyard.api.schemas import backups as backup_schemas
from brickyard.api.schemas import clusters as cluster_schemas
from brickyard.api.schemas import consistencygroups as consistency_schemas
from brickyard.api.schemas import default_types as default_type_schemas
from brickyard.api.schemas import encryptions as encryption_schemas
from brickyard.api.schemas import group_snapshots as group_snapshot_schemas
from brickyard.api.schemas import group_types as group_type_schemas
from brickyard.api.schemas import groups as group_schemas
from brickyard.api.schemas import manageable as manageable_schemas
from brickyard.api.schemas import metadata as metadata_schemas
from brickyard.api.schemas import qos as qos_schemas
from brickyard.api.schemas import quotas as quota_schemas
from brickyard.api.schemas import services as service_schemas
from brickyard.api.schemas import snapshots as snapshot_schemas
from brickyard.api.schemas import transfers as transfer_schemas
from brickyard.api.schemas import types as type_schemas
from brickyard.api.schemas import volumes as volume_schemas

Schema = dict[str, Any]
ATT = "volume:attachment"


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `policy` is checked for the caller's own project before the handler runs; a handler that looks at
    a resource of its own checks again for the resource's project where the two can differ."""

    method: str
    path: str
    handler: Handler
    policy: str | None = None
    since: str = "3.0"
    body: Mapping[str, Schema] = field(default_factory=dict)  # microversion → JSON Schema
    public: bool = False  # needs no token
    stream: bool = False  # the body is data and not JSON: the handler gets a file to read


def metadata_of(noun: str) -> tuple[Route, ...]:
    """The same six operations for volumes and for snapshots."""
    path, rules = f"/{noun}s/{{id}}/metadata", metadata.RULES[noun]
    return (
        Route("GET", path, metadata.index(noun), rules["get"]),
        Route("POST", path, metadata.merge(noun), rules["create"], body=metadata_schemas.SET),
        Route("PUT", path, metadata.replace(noun), rules["update"], body=metadata_schemas.SET),
        Route("GET", path + "/{key}", metadata.show(noun), rules["get"]),
        Route("PUT", path + "/{key}", metadata.set_key(noun), rules["update"], body=metadata_schemas.SET_KEY),
        Route("DELETE", path + "/{key}", metadata.delete_key(noun), rules["delete"]),
    )


def manageable_of(path: str, since: str = "3.0") -> tuple[Route, ...]:
    """What lies in the pools, under each of its names."""
    if "volume" in path:
        rules, body = "volume_extension", manageable_schemas.VOLUME
        found, detail, manage = manageable.volumes, manageable.volumes_in_detail, manageable.manage_volume
    else:
        rules, body = "snapshot_extension", manageable_schemas.SNAPSHOT
        found, detail, manage = manageable.snapshots, manageable.snapshots_in_detail, manageable.manage_snapshot
    noun = rules.partition("_")[0]
    return (
        Route("GET", path, found, f"{rules}:list_manageable", since),
        Route("GET", f"{path}/detail", detail, f"{rules}:list_manageable", since),
        Route("POST", path, manage, f"{rules}:{noun}_manage", since, body),
    )


def transfers_at(path: str) -> tuple[Route, ...]:
    """The same operations under both names that they have."""
    return (
        Route("GET", path, transfers.index, "volume:get_all_transfers"),
        Route("POST", path, transfers.create, "volume:create_transfer", body=transfer_schemas.CREATE),
        Route("GET", path + "/detail", transfers.detail, "volume:get_all_transfers"),
        Route("GET", path + "/{id}", transfers.show, "volume:get_transfer"),
        Route("DELETE", path + "/{id}", transfers.delete, "volume:delete_transfer"),
        Route("POST", path + "/{id}/accept", transfers.accept, "volume:accept_transfer", body=transfer_schemas.ACCEPT),
    )


ROUTES: tuple[Route, ...] = (
    # volumes
    Route("GET", "/volumes", volumes.index, "volume:get_all"),
    Route("POST", "/volumes", volumes.create, "volume:create", body=volume_schemas.CREATE),
    Route("GET", "/volumes/detail", volumes.detail, "volume:get_all"),
    Route("GET", "/volumes/summary", volumes.summary, "volume:get_all", since="3.12"),
    Route("GET", "/volumes/{id}", volumes.show),
    Route("PUT", "/volumes/{id}", volumes.update, "volume:update", body=volume_schemas.UPDATE),
    Route("DELETE", "/volumes/{id}", volumes.delete, "volume:delete"),
    *metadata_of("volume"),
    Route("GET", "/volumes/{id}/encryption", volumes.encryption, "volume_extension:volume_encryption_metadata"),
    Route(
        "GET", "/volumes/{id}/encryption/{key}", volumes.encryption_key, "volume_extension:volume_encryption_metadata"
    ),
    Route("POST", "/volumes/{id}/action", actions.dispatcher(tables.VOLUME)),
    # snapshots
    Route("GET", "/snapshots", snapshots.index, "volume:get_all_snapshots"),
    Route("POST", "/snapshots", snapshots.create, "volume:create_snapshot", body=snapshot_schemas.CREATE),
    Route("GET", "/snapshots/detail", snapshots.detail, "volume:get_all_snapshots"),
    Route("GET", "/snapshots/{id}", snapshots.show, "volume:get_snapshot"),
    Route("PUT", "/snapshots/{id}", snapshots.update, "volume:update_snapshot", body=snapshot_schemas.UPDATE),
    Route("DELETE", "/snapshots/{id}", snapshots.delete, "volume:delete_snapshot"),
    *metadata_of("snapshot"),
    Route("POST", "/snapshots/{id}/action", actions.dispatcher(tables.SNAPSHOT)),
    # backups
    Route("GET", "/backups", backups.index, "backup:get_all"),
    Route("POST", "/backups", backups.create, "backup:create", body=backup_schemas.CREATE),
    Route("GET", "/backups/detail", backups.detail, "backup:get_all"),
    Route("POST", "/backups/import_record", backups.import_record, "backup:backup-import", body=backup_schemas.IMPORT),
    Route("GET", "/backups/{id}", backups.show, "backup:get"),
    Route("PUT", "/backups/{id}", backups.update, "backup:update", "3.9", backup_schemas.UPDATE),
    Route("DELETE", "/backups/{id}", backups.delete, "backup:delete"),
    Route("POST", "/backups/{id}/restore", backups.restore, "backup:restore", body=backup_schemas.RESTORE),
    Route("GET", "/backups/{id}/export_record", backups.export_record, "backup:export-import"),
    Route("POST", "/backups/{id}/action", actions.dispatcher(tables.BACKUP)),
    # what lies in the pools
    *manageable_of("/os-volume-manage"),
    *manageable_of("/manageable_volumes", "3.8"),
    *manageable_of("/os-snapshot-manage"),
    *manageable_of("/manageable_snapshots", "3.8"),
    # transfers
    *transfers_at("/os-volume-transfer"),
    *transfers_at("/volume-transfers"),
    # attachments; whoever may see the volume may see them
    Route("GET", "/attachments", attachments.index, since="3.27"),
    Route("POST", "/attachments", attachments.create, f"{ATT}_create", "3.27", attachment_schemas.CREATE),
    Route("GET", "/attachments/detail", attachments.detail, since="3.27"),
    Route("GET", "/attachments/{id}", attachments.show, since="3.27"),
    Route("PUT", "/attachments/{id}", attachments.update, f"{ATT}_update", "3.27", attachment_schemas.UPDATE),
    Route("DELETE", "/attachments/{id}", attachments.delete, f"{ATT}_delete", "3.27"),
    Route("POST", "/attachments/{id}/action", actions.dispatcher(tables.ATTACHMENT), since="3.44"),
    # groups, and snapshots of them
    Route("GET", "/groups", groups.index, "group:get_all", "3.13"),
    Route("POST", "/groups", groups.create, "group:create", "3.13", group_schemas.CREATE),
    Route("GET", "/groups/detail", groups.detail, "group:get_all", "3.13"),
    Route("POST", "/groups/action", actions.dispatcher(tables.GROUPS), since="3.14"),
    Route("GET", "/groups/{id}", groups.show, "group:get", "3.13"),
    Route("PUT", "/groups/{id}", groups.update, "group:update", "3.13", group_schemas.UPDATE),
    Route("POST", "/groups/{id}/action", actions.dispatcher(tables.GROUP), since="3.13"),
    Route("GET", "/group_snapshots", group_snapshots.index, "group:get_all_group_snapshots", "3.14"),
    Route(
        "POST",
        "/group_snapshots",
        group_snapshots.create,
        "group:create_group_snapshot",
        "3.14",
        group_snapshot_schemas.CREATE,
    ),
    Route("GET", "/group_snapshots/detail", group_snapshots.detail, "group:get_all_group_snapshots", "3.14"),
    Route("GET", "/group_snapshots/{id}", group_snapshots.show, "group:get_group_snapshot", "3.14"),
    Route("DELETE", "/group_snapshots/{id}", group_snapshots.delete, "group:delete_group_snapshot", "3.14"),
    Route("POST", "/group_snapshots/{id}/action", actions.dispatcher(tables.GROUP_SNAPSHOT), since="3.19"),
    # groups under their older name
    Route("GET", "/consistencygroups", consistencygroups.index, "group:get_all"),
    Route("POST", "/consistencygroups", consistencygroups.create, "group:create", body=consistency_schemas.CREATE),
    Route("GET", "/consistencygroups/detail", consistencygroups.detail, "group:get_all"),
    Route(
        "POST",
        "/consistencygroups/create_from_src",
        consistencygroups.create_from_src,
        "group:create",
        body=consistency_schemas.CREATE_FROM,
    ),
    Route("GET", "/consistencygroups/{id}", consistencygroups.show, "group:get"),
    *(  # clients write it either way
        Route("PUT", path, consistencygroups.update, "group:update", body=consistency_schemas.UPDATE)
        for path in ("/consistencygroups/{id}", "/consistencygroups/{id}/update")
    ),
    Route(
        "POST",
        "/consistencygroups/{id}/delete",
        consistencygroups.delete,
        "group:delete",
        body=consistency_schemas.DELETE,
    ),
    Route("GET", "/cgsnapshots", cgsnapshots.index, "group:get_all_group_snapshots"),
    Route(
        "POST",
        "/cgsnapshots",
        cgsnapshots.create,
        "group:create_group_snapshot",
        body=consistency_schemas.CREATE_SNAPSHOT,
    ),
    Route("GET", "/cgsnapshots/detail", cgsnapshots.detail, "group:get_all_group_snapshots"),
    Route("GET", "/cgsnapshots/{id}", cgsnapshots.show, "group:get_group_snapshot"),
    Route("DELETE", "/cgsnapshots/{id}", cgsnapshots.delete, "group:delete_group_snapshot"),
    # messages
    Route("GET", "/messages", messages.index, "message:get_all", since="3.3"),
    Route("GET", "/messages/{id}", messages.show, "message:get", since="3.3"),
    Route("DELETE", "/messages/{id}", messages.delete, "message:delete", since="3.3"),
)

# what operators set up, and what they look at
EXT = "volume_extension"
SPECS = f"{EXT}:types_extra_specs"
CLASSES = f"{EXT}:quota_classes"
SWITCH = f"{EXT}:services:update"
FAILOVER = "volume:failover_host"
TYPE_ACTIONS = {
    "addProjectAccess": actions.Action(
        types.add_access, f"{EXT}:volume_type_access:addProjectAccess", schema=type_schemas.ACCESS
    ),
    "removeProjectAccess": actions.Action(
        types.remove_access, f"{EXT}:volume_type_access:removeProjectAccess", schema=type_schemas.ACCESS
    ),
}
ENCRYPTION = f"{EXT}:volume_type_encryption"
QOS = f"{EXT}:qos_specs_manage"
TYPES, GROUPED = types.KINDS, group_types.KINDS
KINDS, ITS_SPECS = "group:group_types", "/group_types/{id}/group_specs"
SPECS_CREATE, SPEC_UPDATE = group_type_schemas.SPECS_CREATE, group_type_schemas.SPEC_UPDATE
REASON = service_schemas.DISABLE_WITH_REASON
ROUTES += (
    # types
    Route("GET", "/types", types.index, f"{EXT}:type_get_all"),
    Route("POST", "/types", types.create, f"{EXT}:type_create", body=type_schemas.CREATE),
    Route("GET", "/types/{id}", types.show, f"{EXT}:type_get"),  # `default` in place of an id: the default type
    Route("PUT", "/types/{id}", TYPES.update, f"{EXT}:type_update", body=type_schemas.UPDATE),
    Route("DELETE", "/types/{id}", TYPES.delete, f"{EXT}:type_delete"),
    Route("POST", "/types/{id}/action", actions.dispatcher(TYPE_ACTIONS)),
    Route("GET", "/types/{id}/os-volume-type-access", types.access, f"{EXT}:volume_type_access:get_all_for_type"),
    Route("GET", "/types/{id}/extra_specs", TYPES.specs, f"{SPECS}:index"),
    Route("POST", "/types/{id}/extra_specs", TYPES.create_specs, f"{SPECS}:create", body=type_schemas.SPECS_CREATE),
    Route("GET", "/types/{id}/extra_specs/{key}", TYPES.spec, f"{SPECS}:show"),
    Route("PUT", "/types/{id}/extra_specs/{key}", TYPES.update_spec, f"{SPECS}:update", body=type_schemas.SPEC_UPDATE),
    Route("DELETE", "/types/{id}/extra_specs/{key}", TYPES.delete_spec, f"{SPECS}:delete"),
    Route("GET", "/types/{id}/encryption", encryptions.show, f"{ENCRYPTION}:get"),
    Route("POST", "/types/{id}/encryption", encryptions.create, f"{ENCRYPTION}:create", body=encryption_schemas.CREATE),
    Route("GET", "/types/{id}/encryption/{key}", encryptions.show_key, f"{ENCRYPTION}:get"),
    Route(
        "PUT",
        "/types/{id}/encryption/{key}",  # here the key is the id of the encryption
        encryptions.update,
        f"{ENCRYPTION}:update",
        body=encryption_schemas.UPDATE,
    ),
    Route("DELETE", "/types/{id}/encryption/{key}", encryptions.delete, f"{ENCRYPTION}:delete"),
    Route("GET", "/default-types", default_types.index, f"{EXT}:default_get_all", "3.62"),
    Route("GET", "/default-types/{id}", default_types.show, f"{EXT}:default_get", "3.62"),
    Route(
        "PUT",
        "/default-types/{id}",
        default_types.update,
        f"{EXT}:default_set_or_update",
        "3.62",
        default_type_schemas.UPDATE,
    ),
    Route("DELETE", "/default-types/{id}", default_types.delete, f"{EXT}:default_unset", "3.62"),
    # QoS specs
    Route("GET", "/qos-specs", qos.index, f"{QOS}:get_all"),
    Route("POST", "/qos-specs", qos.create, f"{QOS}:create", body=qos_schemas.CREATE),
    Route("GET", "/qos-specs/{id}", qos.show, f"{QOS}:get"),
    Route("PUT", "/qos-specs/{id}", qos.update, f"{QOS}:update", body=qos_schemas.UPDATE),
    Route("DELETE", "/qos-specs/{id}", qos.delete, f"{QOS}:delete"),
    Route("PUT", "/qos-specs/{id}/delete_keys", qos.delete_keys, f"{QOS}:update", body=qos_schemas.DELETE_KEYS),
    Route("GET", "/qos-specs/{id}/associations", qos.associations, f"{QOS}:get"),
    Route("GET", "/qos-specs/{id}/associate", qos.associate, f"{QOS}:update"),
    Route("GET", "/qos-specs/{id}/disassociate", qos.disassociate, f"{QOS}:update"),
    Route("GET", "/qos-specs/{id}/disassociate_all", qos.disassociate_all, f"{QOS}:update"),
    # group types
    Route("GET", "/group_types", group_types.index, since="3.11"),
    Route("POST", "/group_types", group_types.create, f"{KINDS}:create", "3.11", group_type_schemas.CREATE),
    Route("GET", "/group_types/{id}", group_types.show, since="3.11"),
    Route("PUT", "/group_types/{id}", GROUPED.update, f"{KINDS}:update", "3.11", group_type_schemas.UPDATE),
    Route("DELETE", "/group_types/{id}", GROUPED.delete, f"{KINDS}:delete", "3.11"),
    Route("GET", ITS_SPECS, GROUPED.specs, f"{KINDS}_specs:get_all", "3.11"),
    Route("POST", ITS_SPECS, GROUPED.create_specs, f"{KINDS}_specs:create", "3.11", SPECS_CREATE),
    Route("GET", ITS_SPECS + "/{key}", GROUPED.spec, f"{KINDS}_specs:get", "3.11"),
    Route("PUT", ITS_SPECS + "/{key}", GROUPED.update_spec, f"{KINDS}_specs:update", "3.11", SPEC_UPDATE),
    Route("DELETE", ITS_SPECS + "/{key}", GROUPED.delete_spec, f"{KINDS}_specs:delete", "3.11"),
    # quotas and limits
    Route("GET", "/os-quota-sets/{id}", quotas.show),
    Route("GET", "/os-quota-sets/{id}/defaults", quotas.defaults),
    Route("PUT", "/os-quota-sets/{id}", quotas.update, f"{EXT}:quotas:update", body=quota_schemas.UPDATE),
    Route("DELETE", "/os-quota-sets/{id}", quotas.delete, f"{EXT}:quotas:delete"),
    Route("GET", "/os-quota-class-sets/{id}", quotas.show_class, f"{CLASSES}:get"),
    Route(
        "PUT", "/os-quota-class-sets/{id}", quotas.update_class, f"{CLASSES}:update", body=quota_schemas.UPDATE_CLASS
    ),
    Route("GET", "/limits", limits.show),
    # services, hosts and pools
    Route("GET", "/os-services", services.index, f"{EXT}:services:index"),
    Route("PUT", "/os-services/enable", services.enable, SWITCH, body=service_schemas.SWITCH),
    Route("PUT", "/os-services/disable", services.disable, SWITCH, body=service_schemas.SWITCH),
    Route("PUT", "/os-services/disable-log-reason", services.disable_with_reason, SWITCH, body=REASON),
    Route("PUT", "/os-services/freeze", services.freeze, "volume:freeze_host", body=service_schemas.FREEZE),
    Route("PUT", "/os-services/thaw", services.thaw, "volume:thaw_host", body=service_schemas.FREEZE),
    Route("PUT", "/os-services/failover_host", services.failover, FAILOVER, body=service_schemas.FAILOVER),
    Route("PUT", "/os-services/failover", services.failover, FAILOVER, "3.26", service_schemas.FAILOVER),
    Route("PUT", "/os-services/get-log", services.get_log, SWITCH, "3.32", service_schemas.GET_LOG),
    Route("PUT", "/os-services/set-log", services.set_log, SWITCH, "3.32", service_schemas.SET_LOG),
    Route("GET", "/clusters", clusters.index, "clusters:get_all", "3.7"),
    Route("GET", "/clusters/detail", clusters.index, "clusters:get_all", "3.7"),
    Route("GET", "/clusters/{name}", clusters.show, "clusters:get", "3.7"),
    Route("PUT", "/clusters/enable", clusters.switch, "clusters:update", "3.7", cluster_schemas.SWITCH),
    Route("PUT", "/clusters/disable", clusters.switch, "clusters:update", "3.7", cluster_schemas.SWITCH),
    Route("POST", "/workers/cleanup", clusters.clean_up, "workers:cleanup", "3.24", cluster_schemas.CLEAN_UP),
    Route("GET", "/os-hosts", services.hosts, f"{EXT}:hosts"),
    Route("GET", "/os-hosts/{host}", services.host, f"{EXT}:hosts"),
    Route("GET", "/scheduler-stats/get_pools", pools.index, "scheduler_extension:scheduler_stats:get_pools"),
    Route("GET", "/capabilities/{host}", pools.capabilities, f"{EXT}:capabilities"),
    Route("GET", "/os-availability-zone", zones.index),
    # what there is
    Route("GET", "/projects/{id}", neighbours.project),
    Route("GET", "/servers/{id}", neighbours.server),
    Route("GET", "/extensions", extensions.index),
    Route("GET", "/extensions/{alias}", extensions.show),
    Route("GET", "/resource_filters", extensions.filters, since="3.33"),
)
