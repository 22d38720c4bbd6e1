"""What goes with a host that is lost, as /v1 shows it."""

from __future__ import annotations

from typing import Any

from brickyard.api.views import own
from brickyard.db.database import Row
from brickyard.service.lost_hosts import Loss


def loss(found: Loss) -> dict[str, Any]:
    there = found.there
    return {
        "host": own.host(found.host, found.up),
        "volumes": [
            {
                **_thing(row),
                "size_gib": row.size_gib,
                "pool": found.pools[row.pool_id],
                "backups": list(found.backups.get(row.id, ())),
            }
            for row in there.volumes
        ],
        "snapshots": [{**_thing(row), "size_gib": row.size_gib, "volume_id": row.volume_id} for row in there.snapshots],
        "instances": [{**_thing(row), "boots_elsewhere": row.id in found.boots_elsewhere} for row in there.instances],
        "attachments": [
            {
                "id": row.id,
                "volume_id": row.volume_id,
                "instance_id": row.instance_uuid,
                "status": row.status,
                "attached_host": row.attached_host,
            }
            for row in there.attachments
        ],
        "flows": [
            {
                "id": row.id,
                "name": row.name,
                "status": row.status,
                "resource_id": row.resource_id or None,
                "error": row.error,
            }
            for row in found.flows
        ],
    }


def _thing(row: Row) -> dict[str, Any]:
    names = ("id", "name", "project_id", "status", "lost_at")
    return {name: getattr(row, name) for name in names}
