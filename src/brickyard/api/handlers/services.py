"""/os-services and /os-hosts"""

from __future__ import annotations

from typing import Any

from brickyard.api.request import Reply, Request
from brickyard.api.views import services as views
from brickyard.core import errors
from brickyard.service import services


def index(request: Request) -> Reply:
    binary = request.query.get("binary") or request.query.get("service")
    found = services.list_(request.site, host=request.query.get("host"), binary=binary)
    return Reply(200, {"services": [views.service(request, one) for one in found]})


def enable(request: Request) -> Reply:
    return Reply(200, {**_switch(request, True), "disabled_reason": None})


def disable(request: Request) -> Reply:
    return Reply(200, _switch(request, False))


def disable_with_reason(request: Request) -> Reply:
    reason = request.body["disabled_reason"].strip()
    if not reason:
        raise errors.Invalid("disabled_reason must not be blank.", field="disabled_reason")
    return Reply(200, {**_switch(request, False, reason), "disabled_reason": reason})


def _switch(request: Request, enabled: bool, reason: str | None = None) -> dict[str, Any]:
    host, binary = request.body["host"], request.body.get("binary") or request.body.get("service")
    if not binary:
        raise errors.Invalid("binary is missing: the service to change, such as cinder-volume.", field="binary")
    services.switch(request.site, host=host, binary=binary, enabled=enabled, reason=reason)
    status = "enabled" if enabled else "disabled"
    return {"host": host, "service": binary, "binary": binary, "status": status, "disabled": not enabled}


def hosts(request: Request) -> Reply:
    found = services.list_(request.site, binary=request.query.get("service"))
    zone = request.query.get("zone")
    return Reply(200, {"hosts": [views.host(one) for one in found if zone in (None, one.zone)]})


def host(request: Request, host: str) -> Reply:
    return Reply(200, {"host": [views.contents(host, one) for one in services.contents(request.site, host)]})
