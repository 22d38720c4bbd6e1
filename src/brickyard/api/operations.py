"""What the description of v3 says of each operation besides its route: what it does, what may stand in the query, and
what it answers (status, and a name in the schemas of answers). An action of `POST …/action` is an operation of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from brickyard.api import listings
from brickyard.api.handlers import clusters
from brickyard.api.schemas.shapes import Schema
from brickyard.api.schemas.shown import BOOLEAN, TEXT, since


@dataclass(frozen=True, slots=True)
class Described:
    summary: str
    status: int = 200
    answer: str | None = None  # None: there is no body
    query: Mapping[str, Schema] = field(default_factory=dict)
    wants: tuple[str, ...] = ()  # of the query, what must be there
    conditional: bool = False  # it honours If-Match, and may answer 412


NUMBER: Schema = {"type": "integer", "minimum": 0, "maximum": listings.MAX_OFFSET}
PAGE: dict[str, Schema] = {
    "limit": NUMBER,
    "offset": NUMBER,
    "marker": TEXT,
    "sort": TEXT,
    "sort_key": TEXT,
    "sort_dir": {"enum": ["asc", "desc"]},
}


def paged(resource: str, begin: str = "3.0", *, tenants: bool = True, counted: bool = False) -> dict[str, Schema]:
    """The query of a list: pages, order and filters, all of which may have come later than the list did."""
    names = listings.FILTERS.get(resource) or listings.UNLISTED.get(resource, ())
    came = listings.SINCE_FOR_SNAPSHOTS if resource == "snapshot" else listings.SINCE
    found = {**PAGE, **{name: since(came[name], TEXT) if name in came else TEXT for name in names}}
    if counted:
        found["with_count"] = since("3.45", BOOLEAN)
    if begin != "3.0":
        found = {name: {"x-since": begin, **schema} for name, schema in found.items()}
    return {**({"all_tenants": BOOLEAN} if tenants else {}), **found}


def texts(*names: str, **later: str) -> dict[str, Schema]:
    """Texts in a query; `later` with the microversion in which each came."""
    return {**dict.fromkeys(names, TEXT), **{name: since(version, TEXT) for name, version in later.items()}}


VOLUMES, SNAPSHOTS, BACKUPS = (paged(noun, counted=True) for noun in ("volume", "snapshot", "backup"))
ATTACHMENTS, MESSAGES = paged("attachment"), paged("message", "3.5")
MEMBERS = {"list_volume": since("3.25", BOOLEAN)}
GROUPS = {**paged("group"), **MEMBERS}
CONSISTENT, CGSNAPSHOTS = paged("consistencygroup"), paged("cgsnapshot")
GROUP_SNAPSHOTS = paged("group_snapshot", "3.29")
TRANSFERS = paged("transfer", "3.59")
TYPES = {**PAGE, "is_public": TEXT, "extra_specs": since("3.52", TEXT)}
LYING = {**PAGE, **texts("host", cluster="3.17")}
CLUSTERS = texts(**clusters.FILTERS)
OF_TYPE = texts("vol_type_id")
POOLS = {"detail": BOOLEAN, **texts(name="3.28", volume_type="3.35")}
DELETION = {"cascade": BOOLEAN, "force": since("3.23", BOOLEAN)}
FORCE = {"force": BOOLEAN}
D = Described

# fmt: off
TABLE: dict[str, Described] = {
    # volumes
    "GET /volumes": D("List volumes by id and name.", 200, "VolumesBrief", VOLUMES),
    "POST /volumes": D("Create a volume: empty, or from a snapshot, a volume or an image.", 202, "VolumeShown"),
    "GET /volumes/detail": D("List volumes with everything.", 200, "Volumes", VOLUMES),
    "GET /volumes/summary": D("Number, size and metadata of the volumes.", 200, "VolumeSummary", {"all_tenants": BOOLEAN}),
    "GET /volumes/{id}": D("Show a volume.", 200, "VolumeShown"),
    "PUT /volumes/{id}": D("Change the name, description or metadata of a volume.", 200, "VolumeShown"),
    "DELETE /volumes/{id}": D("Delete a volume; `cascade`: with its snapshots.", 202, None, DELETION),
    "GET /volumes/{id}/encryption": D("Whether a volume is encrypted.", 200, "VolumeEncryption"),
    "GET /volumes/{id}/encryption/{key}": D("One value of the same.", 200, "Bare"),
    # snapshots
    "GET /snapshots": D("List snapshots.", 200, "SnapshotsBrief", SNAPSHOTS),
    "POST /snapshots": D("Create a snapshot of a volume.", 202, "SnapshotShown"),
    "GET /snapshots/detail": D("List snapshots with everything.", 200, "Snapshots", SNAPSHOTS),
    "GET /snapshots/{id}": D("Show a snapshot.", 200, "SnapshotShown"),
    "PUT /snapshots/{id}": D("Change the name or description of a snapshot.", 200, "SnapshotShown"),
    "DELETE /snapshots/{id}": D("Delete a snapshot.", 202),
    # backups
    "GET /backups": D("List backups by id and name.", 200, "BackupsBrief", BACKUPS),
    "POST /backups": D("Back up a volume or a snapshot of it.", 202, "BackupNamed"),
    "GET /backups/detail": D("List backups with everything.", 200, "Backups", BACKUPS),
    "POST /backups/import_record": D("Take over a backup by the record that was exported.", 201, "BackupNamed"),
    "GET /backups/{id}": D("Show a backup.", 200, "BackupShown"),
    "PUT /backups/{id}": D("Change the name, description or metadata of a backup.", 200, "BackupNamed"),
    "DELETE /backups/{id}": D("Delete a backup.", 202),
    "POST /backups/{id}/restore": D("Restore a backup to a volume, or to a new one.", 202, "BackupRestored"),
    "GET /backups/{id}/export_record": D("Show the record by which a backup is imported elsewhere.", 200, "BackupRecord"),
    # attachments
    "GET /attachments": D("List attachments.", 200, "AttachmentsBrief", ATTACHMENTS),
    "POST /attachments": D("Reserve a volume for an instance, or attach it to the host of a connector.", 200, "AttachmentShown"),
    "GET /attachments/detail": D("List attachments with everything.", 200, "Attachments", ATTACHMENTS),
    "GET /attachments/{id}": D("Show an attachment.", 200, "AttachmentShown"),
    "PUT /attachments/{id}": D("Say which host attaches; the answer has what it needs to connect.", 200, "AttachmentShown"),
    "DELETE /attachments/{id}": D("Detach; the answer lists the attachments that remain.", 200, "AttachmentsBrief"),
    # groups
    "GET /groups": D("List groups by id and name.", 200, "GroupsBrief", GROUPS),
    "POST /groups": D("Create an empty group.", 202, "GroupCreated"),
    "GET /groups/detail": D("List groups with everything.", 200, "Groups", GROUPS),
    "GET /groups/{id}": D("Show a group.", 200, "GroupShown", MEMBERS),
    "PUT /groups/{id}": D("Rename a group, or put volumes in and take them out.", 202),
    "GET /group_snapshots": D("List group snapshots by id and name.", 200, "GroupSnapshotsBrief", GROUP_SNAPSHOTS),
    "POST /group_snapshots": D("Create a snapshot of every volume of a group.", 202, "GroupSnapshotCreated"),
    "GET /group_snapshots/detail": D("List group snapshots with everything.", 200, "GroupSnapshots", GROUP_SNAPSHOTS),
    "GET /group_snapshots/{id}": D("Show a group snapshot.", 200, "GroupSnapshotShown"),
    "DELETE /group_snapshots/{id}": D("Delete a group snapshot with its snapshots.", 202),
    # groups under their older name
    "GET /consistencygroups": D("List consistency groups by id and name.", 200, "ConsistencyGroupsBrief", CONSISTENT),
    "POST /consistencygroups": D("Create an empty consistency group.", 202, "ConsistencyGroupCreated"),
    "GET /consistencygroups/detail": D("List consistency groups with everything.", 200, "ConsistencyGroups", CONSISTENT),
    "POST /consistencygroups/create_from_src": D(
        "Create a consistency group from a snapshot of one, or from one.", 202, "ConsistencyGroupCreated"
    ),
    "GET /consistencygroups/{id}": D("Show a consistency group.", 200, "ConsistencyGroupShown"),
    "PUT /consistencygroups/{id}": D("Rename a consistency group, or put volumes in and take them out.", 202),
    "PUT /consistencygroups/{id}/update": D("The same.", 202),
    "POST /consistencygroups/{id}/delete": D("Delete a consistency group; `force`: with its volumes.", 202),
    "GET /cgsnapshots": D("List snapshots of consistency groups by id and name.", 200, "CgsnapshotsBrief", CGSNAPSHOTS),
    "POST /cgsnapshots": D(
        "Create a snapshot of every volume of a consistency group, none of which may be in use.", 202, "CgsnapshotCreated"
    ),
    "GET /cgsnapshots/detail": D("List snapshots of consistency groups with everything.", 200, "Cgsnapshots", CGSNAPSHOTS),
    "GET /cgsnapshots/{id}": D("Show a snapshot of a consistency group.", 200, "CgsnapshotShown"),
    "DELETE /cgsnapshots/{id}": D("Delete a snapshot of a consistency group with its snapshots.", 202),
    # messages
    "GET /messages": D("List what went wrong with the project's requests.", 200, "Messages", MESSAGES),
    "GET /messages/{id}": D("Show a message.", 200, "MessageShown"),
    "DELETE /messages/{id}": D("Delete a message.", 204),
    # types
    "GET /types": D("List the volume types that the project may use.", 200, "Types", TYPES),
    "POST /types": D("Create a volume type.", 200, "TypeShown"),
    "GET /types/{id}": D("Show a volume type; `default` in place of an id: the default type.", 200, "TypeShown"),
    "PUT /types/{id}": D("Change the name, description or visibility of a volume type.", 200, "TypeShown"),
    "DELETE /types/{id}": D("Delete a volume type that no volume has.", 202),
    "GET /types/{id}/os-volume-type-access": D("List the projects that see a private type.", 200, "TypeAccess"),
    "GET /types/{id}/extra_specs": D("List the extra specs of a type.", 200, "ExtraSpecs"),
    "POST /types/{id}/extra_specs": D("Set extra specs, and keep the others.", 200, "ExtraSpecs"),
    "GET /types/{id}/extra_specs/{key}": D("Show one extra spec.", 200, "Spec"),
    "PUT /types/{id}/extra_specs/{key}": D("Set one extra spec.", 200, "Spec"),
    "DELETE /types/{id}/extra_specs/{key}": D("Delete one extra spec.", 202),
    "GET /types/{id}/encryption": D("Show the encryption that a type asks for; empty without one.", 200, "Encryption"),
    "POST /types/{id}/encryption": D("Let a type ask for encryption.", 200, "EncryptionCreated"),
    "GET /types/{id}/encryption/{key}": D("One value of the same.", 200, "Bare"),
    "PUT /types/{id}/encryption/{key}": D("Change it; `key` is its id.", 200, "EncryptionUpdated"),
    "DELETE /types/{id}/encryption/{key}": D("Delete it; `key` is its id.", 202),
    "GET /default-types": D("List the default types of projects.", 200, "DefaultTypes"),
    "GET /default-types/{id}": D("Show the default type of a project, whose id is that of the path.", 200, "DefaultTypeShown"),
    "PUT /default-types/{id}": D("Set the default type of a project.", 200, "DefaultTypeShown"),
    "DELETE /default-types/{id}": D("Let a project have the default type of the service.", 204),
    # QoS specs
    "GET /qos-specs": D("List QoS specs.", 200, "QosSpecsList", PAGE),
    "POST /qos-specs": D("Create QoS specs.", 200, "QosSpecsShown"),
    "GET /qos-specs/{id}": D("Show QoS specs.", 200, "QosSpecsShown"),
    "PUT /qos-specs/{id}": D("Set keys of QoS specs, and keep the others.", 200, "QosKeys"),
    "DELETE /qos-specs/{id}": D("Delete QoS specs; `force`: though types have them.", 202, None, FORCE),
    "PUT /qos-specs/{id}/delete_keys": D("Delete keys of QoS specs.", 202),
    "GET /qos-specs/{id}/associations": D("List the types that have them.", 200, "QosAssociations"),
    "GET /qos-specs/{id}/associate": D("Give them to a type.", 202, None, OF_TYPE, ("vol_type_id",)),
    "GET /qos-specs/{id}/disassociate": D("Take them from a type.", 202, None, OF_TYPE, ("vol_type_id",)),
    "GET /qos-specs/{id}/disassociate_all": D("Take them from all types.", 202),
    # group types
    "GET /group_types": D("List group types.", 200, "GroupTypes", {**PAGE, "is_public": TEXT}),
    "POST /group_types": D("Create a group type.", 202, "GroupTypeShown"),
    "GET /group_types/{id}": D("Show a group type.", 200, "GroupTypeShown"),
    "PUT /group_types/{id}": D("Change the name, description or visibility of a group type.", 200, "GroupTypeShown"),
    "DELETE /group_types/{id}": D("Delete a group type that no group has.", 202),
    "GET /group_types/{id}/group_specs": D("List the specs of a group type.", 200, "GroupSpecs"),
    "POST /group_types/{id}/group_specs": D("Set specs of a group type, and keep the others.", 202, "GroupSpecs"),
    "GET /group_types/{id}/group_specs/{key}": D("Show one spec.", 200, "Spec"),
    "PUT /group_types/{id}/group_specs/{key}": D("Set one spec.", 200, "Spec"),
    "DELETE /group_types/{id}/group_specs/{key}": D("Delete one spec.", 202),
    # quotas and limits
    "GET /os-quota-sets/{id}": D("Show the limits of a project; `usage`: and what it has.", 200, "QuotaSet", {"usage": BOOLEAN}),
    "GET /os-quota-sets/{id}/defaults": D("Show the limits of a project that has none of its own.", 200, "QuotaDefaults"),
    "PUT /os-quota-sets/{id}": D("Set limits of a project.", 200, "QuotaLimits"),
    "DELETE /os-quota-sets/{id}": D("Let a project have the default limits.", 200),
    "GET /os-quota-class-sets/{id}": D("Show the limits of a quota class; `default` is that of all projects.", 200, "QuotaClass"),
    "PUT /os-quota-class-sets/{id}": D("Set limits of a quota class.", 200, "QuotaClassLimits"),
    "GET /limits": D("Show the limits and the usage of the project.", 200, "Limits", texts(project_id="3.39", tenant_id="3.39")),
    # services, hosts and pools
    "GET /os-services": D("List services.", 200, "Services", texts("host", "binary", "service")),
    "PUT /os-services/enable": D("Let a backend take new volumes again.", 200, "ServiceEnabled"),
    "PUT /os-services/disable": D("Let a backend take no new volumes.", 200, "ServiceDisabled"),
    "PUT /os-services/disable-log-reason": D("The same, with a reason.", 200, "ServiceEnabled"),
    "PUT /os-services/freeze": D("Let nothing change on a backend.", 200),
    "PUT /os-services/thaw": D("Let things change on it again.", 200),
    "PUT /os-services/failover_host": D("Go to a replica, of which no backend has one.", 202),
    "PUT /os-services/failover": D("The same, with clusters.", 202),
    "PUT /os-services/get-log": D("Show the levels of the logs.", 200, "LogLevels"),
    "PUT /os-services/set-log": D("Set the levels of the logs.", 202),
    "GET /clusters": D("List clusters, of which there are none.", 200, "Clusters", CLUSTERS),
    "GET /clusters/detail": D("List clusters, of which there are none.", 200, "Clusters", CLUSTERS),
    "GET /clusters/{name}": D("Show a cluster: there is none.", 200),
    "PUT /clusters/enable": D("Enable a cluster: there is none.", 200),
    "PUT /clusters/disable": D("Disable a cluster: there is none.", 200),
    "POST /workers/cleanup": D("Clean up after services that died, which is never needed.", 202, "Cleaning"),
    "GET /os-hosts": D("List the hosts of storage.", 200, "Hosts", texts("service", "zone")),
    "GET /os-hosts/{host}": D("Show what lies on a host, of each project.", 200, "HostContents"),
    "GET /scheduler-stats/get_pools": D("List pools; `detail`: with all that they report.", 200, "Pools", POOLS),
    "GET /capabilities/{host}": D("Show what a backend can do.", 200, "Capabilities"),
    "GET /os-availability-zone": D("List the availability zones.", 200, "Zones"),
    # what there is
    "GET /projects/{id}": D("Repeats the id: what clients ask Keystone, where there is one endpoint for all.", 200, "Project"),
    "GET /servers/{id}": D("Repeats the id: what clients ask the compute service in that case.", 200, "Server"),
    "GET /extensions": D("List extensions.", 200, "Extensions"),
    "GET /extensions/{alias}": D("Show an extension.", 200, "ExtensionShown"),
    "GET /resource_filters": D("List what lists may be filtered by.", 200, "ResourceFilters", texts("resource")),
}
for noun in ("volume", "snapshot"):
    path, listed = f"/{noun}s/{{id}}", f"Manageable{noun.capitalize()}s"
    TABLE |= {
        f"GET {path}/metadata": D(f"List the metadata of a {noun}.", 200, "Metadata"),
        f"POST {path}/metadata": D("Set metadata, and keep the rest.", 200, "Metadata"),
        f"PUT {path}/metadata": D("Set metadata in place of all there was.", 200, "Metadata", conditional=noun == "volume"),
        f"GET {path}/metadata/{{key}}": D("Show one key.", 200, "MetadataKey"),
        f"PUT {path}/metadata/{{key}}": D("Set one key.", 200, "MetadataKey", conditional=noun == "volume"),
        f"DELETE {path}/metadata/{{key}}": D("Delete one key.", 200),
    }
    for path in (f"/os-{noun}-manage", f"/manageable_{noun}s"):
        TABLE |= {
            f"GET {path}": D(f"List what lies in a pool and could be a {noun}.", 200, f"{listed}Brief", LYING, ("host",)),
            f"GET {path}/detail": D("The same, with the reason of what is not safe.", 200, listed, LYING, ("host",)),
            f"POST {path}": D(f"Take over what lies in a pool as a {noun}.", 202, f"Managed{noun.capitalize()}"),
        }
for path in ("/os-volume-transfer", "/volume-transfers"):
    TABLE |= {
        f"GET {path}": D("List transfers.", 200, "TransfersBrief", TRANSFERS),
        f"POST {path}": D("Offer a volume to another project; only this answer has the key.", 202, "TransferCreated"),
        f"GET {path}/detail": D("List transfers with everything.", 200, "Transfers", TRANSFERS),
        f"GET {path}/{{id}}": D("Show a transfer.", 200, "TransferShown"),
        f"DELETE {path}/{{id}}": D("Take an offer back.", 202),
        f"POST {path}/{{id}}/accept": D("Take a volume that was offered.", 202, "TransferAccepted"),
    }

VOLUME, SNAPSHOT, TYPE = "POST /volumes/{id}/action", "POST /snapshots/{id}/action", "POST /types/{id}/action"
GROUP = "POST /groups/{id}/action"
TABLE |= {  # actions: the operation, a #, and the name
    f"{VOLUME}#os-reserve": D("Reserve a volume that will be attached.", 202),
    f"{VOLUME}#os-unreserve": D("Let it be available again.", 202),
    f"{VOLUME}#os-attach": D("Note that a volume is attached.", 202),
    f"{VOLUME}#os-detach": D("Note that a volume is detached.", 202),
    f"{VOLUME}#os-begin_detaching": D("Announce that a volume will be detached.", 202),
    f"{VOLUME}#os-roll_detaching": D("Take that back.", 202),
    f"{VOLUME}#os-initialize_connection": D("What a host needs to connect to a volume.", 200, "ConnectionInfo"),
    f"{VOLUME}#os-terminate_connection": D("End the connection of a host.", 202),
    f"{VOLUME}#os-extend": D("Make a volume larger; since 3.42 while it is in use.", 202),
    f"{VOLUME}#os-retype": D("Give a volume another type, and move it where that asks for it and the policy allows it.", 202),
    f"{VOLUME}#revert": D("Set a volume back to its latest snapshot.", 202),
    f"{VOLUME}#os-reimage": D("Write an image over a volume that nobody has, or that is reserved.", 202),
    f"{VOLUME}#os-volume_upload_image": D("Make an image of a volume; who may use or delete it is said since 3.1.", 202, "Upload"),
    f"{VOLUME}#os-set_bootable": D("Say whether a volume can be booted from.", 200),
    f"{VOLUME}#os-update_readonly_flag": D("Let a volume be attached read-only.", 202),
    f"{VOLUME}#os-set_image_metadata": D("Set facts of the image of a volume.", 200, "Metadata"),
    f"{VOLUME}#os-show_image_metadata": D("Show facts of the image of a volume.", 200, "Metadata"),
    f"{VOLUME}#os-unset_image_metadata": D("Delete a fact of the image of a volume.", 200),
    f"{VOLUME}#os-reset_status": D("Correct the status of a volume by hand.", 202),
    f"{VOLUME}#os-force_delete": D("Delete a volume, whatever its status.", 202),
    f"{VOLUME}#os-force_detach": D("Take a volume from a host that is gone.", 202),
    f"{VOLUME}#os-migrate_volume": D("Move a volume to another pool of its host.", 202),
    f"{VOLUME}#os-migrate_volume_completion": D("End a migration that another service has begun: there is none.", 200),
    f"{VOLUME}#os-extend_volume_completion": D("Say that an extension is complete: nothing here waits for that.", 202),
    f"{VOLUME}#os-unmanage": D("Forget a volume, and leave what it holds in its pool.", 202),
    f"{SNAPSHOT}#os-reset_status": D("Correct the status of a snapshot by hand.", 202),
    f"{SNAPSHOT}#os-force_delete": D("Delete a snapshot, whatever its status.", 202),
    f"{SNAPSHOT}#os-unmanage": D("Forget a snapshot, and leave what it holds in its pool.", 202),
    f"{SNAPSHOT}#os-update_snapshot_status": D("Note how far a snapshot is that the compute service makes.", 202),
    "POST /backups/{id}/action#os-reset_status": D("Correct the status of a backup by hand.", 202),
    "POST /backups/{id}/action#os-force_delete": D("Delete a backup in any status; one that is being made is ended.", 202),
    "POST /attachments/{id}/action#os-complete": D("Note that a host has attached the volume.", 204),
    f"{TYPE}#addProjectAccess": D("Let a project see a private type.", 202),
    f"{TYPE}#removeProjectAccess": D("Let a project see it no more.", 202),
    "POST /groups/action#create-from-src": D("Create a group from a group snapshot or a group.", 202, "GroupCreated"),
    f"{GROUP}#delete": D("Delete a group; `delete-volumes`: with its volumes.", 202),
    f"{GROUP}#reset_status": D("Correct the status of a group by hand.", 202),
    f"{GROUP}#enable_replication": D("Replicate a group, which no backend can.", 202),
    f"{GROUP}#disable_replication": D("Replicate it no more.", 202),
    f"{GROUP}#failover_replication": D("Go to a replica of a group.", 202),
    f"{GROUP}#list_replication_targets": D("List where a group is replicated to.", 202),
    "POST /group_snapshots/{id}/action#reset_status": D("Correct the status of a group snapshot by hand.", 202),
}
# fmt: on
