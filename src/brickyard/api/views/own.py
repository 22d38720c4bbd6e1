"""Our own resources as /v1 shows them. Sizes say their unit in their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from brickyard.core import placement
from brickyard.db.database import Row
from brickyard.flows.progress import percent
from brickyard.nodes import verbs


def host(row: Row, up: bool) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "up": up,
        "enabled": bool(row.enabled),
        "disabled_reason": row.disabled_reason,
        "labels": row.labels,
        "hypervisor": row.hypervisor,
        "export_address": row.export_address,
        "vcpus_total": row.vcpus_total,
        "vcpus_claimed": row.vcpus_claimed,
        "memory_mib_total": row.memory_mib_total,
        "memory_mib_claimed": row.memory_mib_claimed,
        "heartbeat_at": row.heartbeat_at,
        "lost_at": row.lost_at,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _silent(row: Row) -> str:
    """Of a host that is lost it is not known any more when it reported last."""
    since = f"has not reported since {row.heartbeat_at}" if row.heartbeat_at else "is lost, or has never reported"
    return f"Host {row.host} {since}."


def agent(row: Row) -> dict[str, Any]:
    return {
        "host": row.host,
        "enrolled_at": row.enrolled_at,
        "invited_until": row.token_expires_at,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


# How full a pool really is: percent, null where that cannot hurt; what follows (ok, warn, frozen, paused), and why.
FULLNESS = ("data_percent", "metadata_percent", "stage", "stage_reason", "stage_since")


def pool(row: Row, volumes: int, wiping_gib: int, oldest: str) -> dict[str, Any]:
    """`oldest`: the time of the report that a host must have sent since then, or it is down with all its pools."""
    return {
        "id": row.id,
        **_backend(row, row.backend, oldest),
        "name": row.name,
        "total_gib": row.total_gib,
        "free_gib": row.free_gib,
        "limit_gib": row.limit_gib,
        "claimed_gib": row.claimed_gib,
        "wiping_gib": wiping_gib,
        "volumes": volumes,
        **{name: getattr(row, name) for name in FULLNESS},
        "thin": bool(row.capabilities.get("thin")),
        "capabilities": row.capabilities,
    }


def silent_backend(row: Row, oldest: str) -> dict[str, Any]:
    """A backend that has never worked, in the form of a pool: it has no capacity, and says why."""
    figures = ("total_gib", "free_gib", "limit_gib", "claimed_gib", "wiping_gib", "volumes")
    nothing = dict.fromkeys(figures, 0)
    return {
        "id": None,
        **_backend(row, row.name, oldest),
        "name": row.name,
        **nothing,
        **dict.fromkeys(FULLNESS),
        "stage": "ok",
        "thin": False,
        "capabilities": {},
    }


def _backend(row: Row, backend: str, oldest: str) -> dict[str, Any]:
    place, host_up = row.place or {}, (row.heartbeat_at or "") >= oldest
    return {
        "host": row.host,
        "backend": backend,
        "driver": row.driver,
        "path": place.get("path"),
        "volume_group": place.get("volume_group"),
        "devices": place.get("devices", []),
        "volume_backend_name": row.volume_backend_name,
        "availability_zone": row.availability_zone,
        "up": bool(row.up) and host_up,
        "why_down": row.why_down if host_up else _silent(row),
        "enabled": bool(row.enabled),
        "from_api": row.options is not None,
    }


def disk(found: verbs.Disk, host: str) -> dict[str, Any]:
    device = found.device
    return {
        "path": device.path,
        "serial": device.serial,
        "confirmation": device.confirmation,
        "size_bytes": device.size_bytes,
        "model": device.model,
        "rotational": device.rotational,
        "discards": device.discards,
        "found": list(device.found),
        "in_use": bool(device.in_use),
        "backend": f"{host}@{found.backend}" if found.backend else None,
    }


def flavor(row: Row) -> dict[str, Any]:
    names = ("id", "name", "vcpus", "memory_mib", "root_gib", "local_storage_gb", "local_storage_type", "created_at")
    return {name: getattr(row, name) for name in names}


def image(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "status": row.status,
        "kind": row.kind,
        "format": row.format,
        "cmdline": row.cmdline,
        "is_public": bool(row.is_public),
        "protected": bool(row.protected),
        "properties": row.properties or {},
        "project_id": row.project_id,
        "size_bytes": row.size_bytes,
        "virtual_size_bytes": row.virtual_size_bytes,
        "min_gib": row.min_gib,
        "files": row.files,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def instance(row: Row, volumes: Sequence[Row], flow_id: str | None) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "status": row.status,
        "fault": row.fault,
        "paused_reason": row.paused_reason,
        "host": row.host,
        "flavor": row.flavor,
        "image_id": row.image_id,
        "vcpus": row.vcpus,
        "memory_mib": row.memory_mib,
        "root_gib": row.root_gib,
        "root_pool": row.root_pool,
        "volumes": [_volume(volume) for volume in volumes],
        "request": row.request,
        "project_id": row.project_id,
        "user_id": row.user_id,
        "flow_id": flow_id,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _volume(row: Row) -> dict[str, Any]:
    return {
        "volume_id": row.id,
        "name": row.name,
        "size_gib": row.size_gib,
        "status": row.status,
        "pool": row.pool,
        "attachment_id": row.attachment_id,
        "attach_status": row.attach_status,
        "mountpoint": row.mountpoint,
    }


def attachment(row: Row) -> dict[str, Any]:
    return {
        "attachment_id": row.id,
        "volume_id": row.volume_id,
        "instance_id": row.instance_uuid,
        "attach_status": row.status,
        "host": row.attached_host,
        "mountpoint": row.mountpoint,
    }


def receipt(row: Row) -> dict[str, Any]:
    names = ("id", "brick_id", "name", "kind", "project_id", "pool", "size_bytes", "method", "verified", "started_at",
             "finished_at", "flow_id")  # fmt: skip
    return {name: getattr(row, name) for name in names}


def reservation(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "flow_id": row.request_id,
        "project_id": row.project_id,
        "host": row.host,
        "rank": row.rank,
        "gib": int(row.gib),
        "vcpus": row.vcpus or 0,
        "memory_mib": row.memory_mib or 0,
        "expires_at": row.expires_at,
        "created_at": row.created_at,
    }


def flow(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "status": row.status,
        "attempt": row.attempt,
        "setbacks": row.setbacks,
        "resource_id": row.resource_id,
        "project_id": row.project_id,
        "request_id": row.request_id,
        "error": row.error,
        "refusals": row.refusals or [],
        "progress": progress(row.progress) if row.progress else None,
        "created_at": row.created_at,
        "finished_at": row.finished_at,
    }


def progress(found: Mapping[str, Any]) -> dict[str, Any]:
    """How far a step is, from the row of its flow."""
    return {**found, "percent": percent(found["done_bytes"], found["total_bytes"])}


def entry(row: Row) -> dict[str, Any]:
    names = ("seq", "attempt", "step", "event", "data", "at")
    return {name: getattr(row, name) for name in names}


def verdict(found: placement.Verdict) -> dict[str, Any]:
    refusal = found.refusal
    return {
        "name": found.name,
        "rank": found.rank,
        "weights": {name: round(value, 6) for name, value in found.weights.items()},
        "refusal": {"rule": refusal.rule, "message": refusal.message} if refusal else None,
        "pools": [verdict(pool) for pool in found.pools],
    }
