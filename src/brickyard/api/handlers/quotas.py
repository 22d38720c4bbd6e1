"""/os-quota-sets and /os-quota-class-sets"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from brickyard.api.request import Reply, Request
from brickyard.api.schemas import quotas as schemas
from brickyard.core import errors
from brickyard.service import quotas

SHOW = "volume_extension:quotas:show"


def show(request: Request, id: str) -> Reply:
    request.check(SHOW, id)
    found = quotas.show(request.site, request.caller, id)
    if request.flag("usage"):
        return Reply(200, {"quota_set": {"id": id, **{name: dataclasses.asdict(f) for name, f in found.items()}}})
    return Reply(200, {"quota_set": {"id": id, **{name: figures.limit for name, figures in found.items()}}})


def defaults(request: Request, id: str) -> Reply:
    request.check(SHOW, id)
    return Reply(200, {"quota_set": {"id": id, **quotas.defaults(request.site, request.caller)}})


def update(request: Request, id: str) -> Reply:
    limits = quotas.update(request.site, id, _limits(request.body["quota_set"]))
    return Reply(200, {"quota_set": limits})


def delete(request: Request, id: str) -> Reply:
    quotas.reset(request.site, id)
    return Reply(200)


def show_class(request: Request, id: str) -> Reply:
    return Reply(200, {"quota_class_set": {"id": id, **quotas.defaults(request.site, request.caller, id)}})


def update_class(request: Request, id: str) -> Reply:
    limits = quotas.update_class(request.site, id, _limits(request.body["quota_class_set"]))
    return Reply(200, {"quota_class_set": limits})


def _limits(body: Mapping[str, Any]) -> dict[str, int]:
    limits = {name: int(value) for name, value in body.items() if name not in ("id", "tenant_id")}
    for name, limit in limits.items():
        if limit > schemas.MOST:
            raise errors.Invalid(f"{name} must be a number from -1 to {schemas.MOST}, and not {limit}.", field=name)
    return limits
