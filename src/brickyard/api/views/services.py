"""Services and hosts as the wire shows them."""

from __future__ import annotations

from typing import Any

from brickyard.api.request import Request
from brickyard.db.hosts import Contents
from brickyard.service import services


def service(request: Request, one: services.Service) -> dict[str, Any]:
    view: dict[str, Any] = {
        "binary": one.binary,
        "host": one.host,
        "zone": one.zone,
        "status": "enabled" if one.enabled else "disabled",
        "state": "up" if one.up else "down",
        "updated_at": one.updated_at,
        "disabled_reason": one.disabled_reason,
    }
    if request.since("3.7"):
        view["cluster"] = None
    if one.backend_up is not None:
        view |= {"replication_status": "disabled", "active_backend_id": None, "frozen": one.frozen}
        if request.since("3.49"):
            view["backend_state"] = "up" if one.backend_up else "down"
    return view


def host(one: services.Service) -> dict[str, Any]:
    return {
        "host_name": one.host,
        "service": one.binary,
        "zone": one.zone,
        "service-status": "available" if one.up else "unavailable",
        "service-state": "enabled" if one.enabled else "disabled",
        "last-update": one.updated_at,
    }


def contents(host: str, one: Contents) -> dict[str, Any]:
    """Numbers are texts here; it has always been so."""
    return {
        "resource": {
            "host": host,
            "project": one.project_id,
            "volume_count": str(one.volumes),
            "total_volume_gb": str(one.volume_gib),
            "snapshot_count": str(one.snapshots),
            "total_snapshot_gb": str(one.snapshot_gib),
        }
    }
