"""What lies in a pool, as the wire shows it."""

from __future__ import annotations

from typing import Any

from brickyard.core.bricks import Kind
from brickyard.service.manageable import Manageable


def brief(one: Manageable, kind: Kind) -> dict[str, Any]:
    view: dict[str, Any] = {
        "reference": {"source-name": one.name},
        "size": one.size_gib,
        "safe_to_manage": one.why_not is None,
    }
    if kind is Kind.SNAPSHOT:
        view["source_reference"] = {"source-name": one.parent} if one.parent else {}
    return view


def detailed(one: Manageable, kind: Kind) -> dict[str, Any]:
    more = {"reason_not_safe": one.why_not, "cinder_id": one.known_id, "extra_info": None}
    return {**brief(one, kind), **more}
