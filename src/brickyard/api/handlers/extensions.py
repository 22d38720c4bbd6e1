"""/extensions and /resource_filters: what there is besides the core, and what lists may be filtered by"""

from __future__ import annotations

from typing import Any

from brickyard.api import listings
from brickyard.api.request import Reply, Request
from brickyard.core import errors

SINCE = "2026-11-01T00:00:00+00:00"
EXTENSIONS: tuple[tuple[str, str, str], ...] = (  # name, alias, description; only those that are served
    ("AdminActions", "os-admin-actions", "Reset the status of a resource, or delete it by force."),
    ("AvailabilityZones", "os-availability-zone", "List the availability zones."),
    ("Backups", "backups", "Back up volumes, and restore them."),
    ("Capabilities", "capabilities", "What a backend can do."),
    ("Cgsnapshots", "cgsnapshots", "Snapshots of consistency groups."),
    ("Consistencygroups", "consistencygroups", "Groups of volumes, under their older name."),
    ("ExtendedServices", "os-extended-services", "Why a service was disabled."),
    ("ExtendedSnapshotAttributes", "os-extended-snapshot-attributes", "Project and progress of snapshots."),
    ("Hosts", "os-hosts", "The hosts of storage, and what lies on them."),
    ("Qos_specs_manage", "qos-specs", "What volumes of a type are promised."),
    ("QuotaClasses", "os-quota-class-sets", "Limits of projects that have none of their own."),
    ("Quotas", "os-quota-sets", "Limits of projects."),
    ("SchedulerHints", "OS-SCH-HNT", "Hints for the placement of a new volume."),
    ("Scheduler_stats", "scheduler-stats", "The pools that the scheduler knows."),
    ("Services", "os-services", "List services, enable and disable them."),
    ("SnapshotActions", "os-snapshot-actions", "Actions on snapshots."),
    ("SnapshotManage", "os-snapshot-manage", "Take over what lies in a pool as a snapshot."),
    ("SnapshotUnmanage", "os-snapshot-unmanage", "Forget a snapshot, and leave what it holds where it lies."),
    ("TypesExtraSpecs", "os-types-extra-specs", "Extra specs of volume types."),
    ("TypesManage", "os-types-manage", "Create, change and delete volume types."),
    ("UsedLimits", "os-used-limits", "What of its limits a project uses."),
    ("VolumeActions", "os-volume-actions", "Actions on volumes."),
    ("VolumeEncryptionMetadata", "os-volume-encryption-metadata", "Whether and how a volume is encrypted."),
    ("VolumeHostAttribute", "os-vol-host-attr", "Where a volume is."),
    ("VolumeImageMetadata", "os-vol-image-meta", "Facts of the image that a volume was made from."),
    ("VolumeManage", "os-volume-manage", "Take over what lies in a pool as a volume."),
    ("VolumeMigStatusAttribute", "os-vol-mig-status-attr", "Whether a volume is being moved."),
    ("VolumeTenantAttribute", "os-vol-tenant-attr", "The project of a volume."),
    ("VolumeTransfer", "os-volume-transfer", "Give a volume to another project."),
    ("VolumeTypeAccess", "os-volume-type-access", "Which projects see a private volume type."),
    ("VolumeTypeEncryption", "encryption", "Encryption that a volume type asks for."),
    ("VolumeUnmanage", "os-volume-unmanage", "Forget a volume, and leave what it holds where it lies."),
)


def index(request: Request) -> Reply:
    return Reply(200, {"extensions": [_view(*extension) for extension in EXTENSIONS]})


def show(request: Request, alias: str) -> Reply:
    for extension in EXTENSIONS:
        if extension[1] == alias:
            return Reply(200, {"extension": _view(*extension)})
    raise errors.NotFound(f"There is no extension {alias}.")


def _view(name: str, alias: str, description: str) -> dict[str, Any]:
    return {"name": name, "alias": alias, "description": description, "updated": SINCE, "links": []}


def filters(request: Request) -> Reply:
    """What callers may filter lists by, of one resource or of all."""
    wanted = request.query.get("resource")
    shown = [
        {"resource": resource, "filters": list(names)}
        for resource, names in listings.FILTERS.items()
        if wanted in (None, resource)
    ]
    return Reply(200, {"resource_filters": shown})
