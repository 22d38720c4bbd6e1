"""/os-services and /os-hosts"""

from __future__ import annotations

from typing import Any

from brickyard.api.request import Reply, Request
from brickyard.api.views import services as views
from brickyard.core import errors
from brickyard.service import log_levels, services


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


def freeze(request: Request) -> Reply:
    services.freeze(request.site, _backend(request), frozen=True)
    return Reply(200)


def thaw(request: Request) -> Reply:
    services.freeze(request.site, _backend(request), frozen=False)
    return Reply(200)


def failover(request: Request) -> Reply:
    services.failover(request.site, _backend(request))
    return Reply(202)


def _backend(request: Request) -> str:
    """The host of the request, or its cluster, of which there are none."""
    host, cluster = request.body.get("host"), request.body.get("cluster")
    if bool(host) == bool(cluster):
        raise errors.Invalid("Say one of host and cluster.", field="host")
    if cluster:
        raise errors.Invalid(f"Cluster {cluster} could not be found: there are no clusters here.", field="cluster")
    return str(host)


def get_log(request: Request) -> Reply:
    found = log_levels.get(request.site, **_logs(request))
    return Reply(
        200, {"log_levels": [{"host": host, "binary": binary, "levels": levels} for binary, host, levels in found]}
    )


def set_log(request: Request) -> Reply:
    log_levels.set_(request.site, request.body["level"], **_logs(request))
    return Reply(202)


def _logs(request: Request) -> dict[str, str]:
    return {name: request.body.get(name) or "" for name in ("binary", "server", "prefix")}


def hosts(request: Request) -> Reply:
    found = services.list_(request.site, binary=request.query.get("service"))
    zone = request.query.get("zone")
    return Reply(200, {"hosts": [views.host(one) for one in found if zone in (None, one.zone)]})


def host(request: Request, host: str) -> Reply:
    return Reply(200, {"host": [views.contents(host, one) for one in services.contents(request.site, host)]})
