"""How far a host is drained, as /v1 shows it."""

from __future__ import annotations

from typing import Any

from brickyard.api.views import own
from brickyard.db.database import Row
from brickyard.flows import draining
from brickyard.service.drains import Drain


def drain(found: Drain) -> dict[str, Any]:
    flow = found.flow
    return {
        "host": own.host(found.host, found.up),
        "status": _status(flow),
        "flow_id": flow.id if flow is not None else None,
        "parallel": flow.params["parallel"] if flow is not None else None,
        "error": flow.error if flow is not None else None,
        "volumes": [_volume(fate) for fate in found.fates],
        "instances": [
            {
                "id": row.id,
                "name": row.name,
                "project_id": row.project_id,
                "status": row.status,
                "root_pool": found.pools.get(row.root_pool_id),
            }
            for row in found.instances
        ],
    }


def _status(flow: Row | None) -> str:
    if flow is None:
        return "none"
    if flow.params["cancelled"]:
        return "cancelled"
    return "running" if flow.status == "unwinding" else str(flow.status)


def _volume(fate: draining.Fate) -> dict[str, Any]:
    row, flow = fate.volume, fate.flow
    use = fate.use.instance_id if fate.use is not None else flow.params.get("instance_id") if flow is not None else None
    return {
        "id": row.id,
        "name": row.name,
        "project_id": row.project_id,
        "size_gib": row.size_gib,
        "status": row.status,
        "instance_id": use,
        "pool": row.host,
        "state": fate.state,
        "target": fate.target,
        "reason": fate.reason,
        "flow_id": flow.id if flow is not None else None,
        "progress": own.progress(flow.progress) if flow is not None and flow.progress else None,
    }
