"""/limits"""

from __future__ import annotations

from brickyard.api.request import Reply, Request
from brickyard.service import quotas

RESOURCES = {  # resource: names of its limit and its usage
    "volumes": ("maxTotalVolumes", "totalVolumesUsed"),
    "gigabytes": ("maxTotalVolumeGigabytes", "totalGigabytesUsed"),
    "snapshots": ("maxTotalSnapshots", "totalSnapshotsUsed"),
    "backups": ("maxTotalBackups", "totalBackupsUsed"),
    "backup_gigabytes": ("maxTotalBackupGigabytes", "totalBackupGigabytesUsed"),
}


def show(request: Request) -> Reply:
    """Limits and usage of the caller's project; since 3.39 an administrator may ask for another one's."""
    project = request.caller.project_id
    if request.since("3.39") and request.caller.is_admin:
        project = request.query.get("project_id") or request.query.get("tenant_id") or project
    found = quotas.show(request.site, request.caller, project)
    absolute = {limit: found[resource].limit for resource, (limit, _) in RESOURCES.items()}
    if request.allows("limits_extension:used_limits", project):
        for resource, (_, used) in RESOURCES.items():
            absolute[used] = found[resource].in_use + found[resource].reserved
    return Reply(200, {"limits": {"rate": [], "absolute": absolute}})
