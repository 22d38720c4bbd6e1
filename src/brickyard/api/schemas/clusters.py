"""Bodies of requests about clusters and workers."""

from __future__ import annotations

from brickyard.api.schemas import shapes

SWITCH = {"3.7": shapes.closed({"name": shapes.word, "binary": shapes.name, "disabled_reason": shapes.name}, ("name",))}
CLEAN_UP = {
    "3.24": shapes.closed(
        {
            "cluster_name": shapes.name,
            "host": shapes.name,
            "service_id": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 2**31 - 1}, {"type": "null"}]},
            "binary": {"enum": ["cinder-volume", "cinder-scheduler", None]},
            "is_up": shapes.boolean,
            "disabled": shapes.boolean,
            "resource_id": shapes.maybe_uuid,
            "resource_type": {"type": ["string", "null"], "pattern": "^([Vv]olume|[Ss]napshot)$"},
        }
    )
}
