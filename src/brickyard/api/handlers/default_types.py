"""/default-types"""

from __future__ import annotations

from typing import Any

from brickyard.api.request import Reply, Request
from brickyard.db.database import Row
from brickyard.service import default_types


def index(request: Request) -> Reply:
    return Reply(200, {"default_types": [_view(row) for row in default_types.list_(request.site)]})


def show(request: Request, id: str) -> Reply:
    return Reply(200, {"default_type": _view(default_types.require(request.site, id))})


def update(request: Request, id: str) -> Reply:
    row = default_types.put(request.site, id, request.body["default_type"]["volume_type"])
    return Reply(200, {"default_type": _view(row)})


def delete(request: Request, id: str) -> Reply:
    default_types.delete(request.site, id)
    return Reply(204)


def _view(row: Row) -> dict[str, Any]:
    return {"project_id": row.project_id, "volume_type_id": row.volume_type_id}
