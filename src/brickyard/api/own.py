"""Our own API, /v1, and what stands beside the APIs: discovery, health, metrics, and one log line per request."""

from __future__ import annotations

import functools
import logging
from dataclasses import asdict
from typing import Any

import msgspec

from brickyard.api import metrics, openapi, openapi_v3, own_routes, routes, versions
from brickyard.api.own_routes import TEXT, Operation
from brickyard.api.request import Reply, Request
from brickyard.core import errors
from brickyard.service import health

LOG = logging.getLogger("brickyard.request")


def discover(request: Request) -> Reply:
    """The versions of the Block Storage API."""
    return Reply(300, versions.document(f"{request.base.rsplit('/v3', 1)[0]}/v3/"))


def discover_v3(request: Request) -> Reply:
    """Version 3 of the Block Storage API."""
    return Reply(200, versions.document(f"{request.base.rsplit('/v3', 1)[0]}/v3/"))


def healthcheck(request: Request) -> Reply:
    """OK when the service works: the database answers, and the conductor runs.

    With `detailed=true` the answer is JSON, with the queue, every host and every backend as well. What is wrong there
    makes `status` `degraded` and not the service unhealthy, for what lies elsewhere works.
    """
    detailed = request.query.get("detailed") == "" or request.flag("detailed")
    try:
        found = health.all_(request.site) if detailed else health.needed(request.site)
    except Exception as error:
        raise errors.Unavailable("The database does not answer; the log of the service says why.") from error
    wrong = [check for check in found if not check.ok]
    failed = [check for check in wrong if check.needed]
    if not detailed:
        if failed:
            raise errors.Unavailable("; ".join(f"{check.name}: {check.what}" for check in failed))
        return Reply(200, b"OK", content_type="text/plain")
    status = "down" if failed else "degraded" if wrong else "ok"
    return Reply(503 if failed else 200, {"status": status, "checks": [asdict(check) for check in found]})


def scrape(request: Request) -> Reply:
    """Metrics in the text format of Prometheus."""
    return Reply(200, metrics.exposition(request.site), content_type=metrics.CONTENT_TYPE)


def document(request: Request) -> Reply:
    """This document."""
    return Reply(200, _document())


@functools.cache
def _document() -> bytes:
    return msgspec.json.encode(openapi.document(OPERATIONS))


def document_v3(request: Request) -> Reply:
    """The description of Block Storage v3 at the microversion of the request; without one, at the newest."""
    asked = openapi_v3.VERSION_HEADER.upper() in request.headers
    return Reply(200, _document_v3(request.version if asked else versions.MAX))


@functools.lru_cache(maxsize=8)
def _document_v3(version: versions.Version) -> bytes:
    return msgspec.json.encode(openapi_v3.document(version))


def observe(req: Any, resp: Any, seconds: float) -> None:
    """Count a finished request, and write its line. Of a stream, the time to its beginning."""
    context = req.context
    status = str(resp.status)[:3]
    metrics.count(getattr(context, "route", None), req.method, status, seconds)
    if not LOG.isEnabledFor(logging.INFO):
        return
    caller = getattr(context, "caller", None)
    line = {
        "request_id": context.request_id,
        "method": req.method,
        "path": req.path,
        "status": int(status),
        "seconds": round(seconds, 6),
        "user": caller.user_id if caller else None,
        "project": caller.project_id if caller else None,
    }
    LOG.info("request", extra=line)


DETAILED: dict[str, dict[str, Any]] = {"detailed": {"type": "boolean"}}
OPERATIONS: tuple[Operation, ...] = (
    *own_routes.OPERATIONS,
    own_routes.op("GET", "/openapi.json", document, None, {200: None}, public=True),
    Operation(routes.Route("GET", "/healthcheck", healthcheck, public=True), {200: None}, DETAILED, produces=TEXT),
    Operation(routes.Route("GET", "/metrics", scrape, public=True), {200: None}, produces=TEXT),
)
ROUTES: tuple[routes.Route, ...] = (
    routes.Route("GET", "/", discover, public=True),
    routes.Route("GET", "/v3", discover_v3, public=True),
    routes.Route("GET", "/v3/", discover_v3, public=True),
    routes.Route("GET", "/v3/openapi", document_v3, public=True),  # .json is taken off every path of v3
    *(operation.route for operation in OPERATIONS),
)
