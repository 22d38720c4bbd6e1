"""/types/{id}/encryption"""

from __future__ import annotations

from typing import Any

import msgspec

from brickyard.api.request import Reply, Request
from brickyard.api.views import encryptions as views
from brickyard.core import errors
from brickyard.service import encryptions

KEYS = ("provider", "control_location", "cipher", "key_size")


def show(request: Request, id: str) -> Reply:
    row = encryptions.find(request.site, request.caller, id)
    return Reply(200, views.full(row) if row is not None else {})


def show_key(request: Request, id: str, key: str) -> Reply:
    row = encryptions.find(request.site, request.caller, id)
    found = views.full(row) if row is not None else {}
    if key not in found:
        raise errors.NotFound(f"The encryption of volume type {id} has no {key}.")
    return Reply(200, msgspec.json.encode({key: found[key]}))


def create(request: Request, id: str) -> Reply:
    row = encryptions.create(request.site, request.caller, id, _values(request))
    ids = {"volume_type_id": id, "encryption_id": row.id}
    return Reply(200, {"encryption": {**request.body["encryption"], **ids}})


def update(request: Request, id: str, key: str) -> Reply:
    encryptions.update(request.site, request.caller, id, key, _values(request))
    return Reply(200, request.body)


def delete(request: Request, id: str, key: str) -> Reply:
    encryptions.delete(request.site, request.caller, id, key)
    return Reply(202)


def _values(request: Request) -> dict[str, Any]:
    body = request.body["encryption"]
    return {key: body[key] for key in KEYS if key in body}
