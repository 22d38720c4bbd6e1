"""The findings of an audit as /v1 shows them."""

from __future__ import annotations

from typing import Any

from brickyard.service.audit import Finding


def finding(found: Finding) -> dict[str, Any]:
    """`action`: what a repair does, or would do. `why_not`: why nothing is done now."""
    difference = found.difference
    return {
        "kind": difference.kind,
        "where": difference.where,
        "name": difference.name,
        "message": difference.message,
        "project_id": difference.project_id,
        "first_seen_at": found.first_seen_at,
        "repair": difference.repair,
        "action": found.action,
        "due_at": found.due_at,
        "flow_id": found.flow_id,
        "why_not": found.why_not,
    }
