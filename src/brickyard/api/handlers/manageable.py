"""/os-volume-manage and /os-snapshot-manage, which are /manageable_volumes and /manageable_snapshots too"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable
from typing import Any

from brickyard.api import listings, versions
from brickyard.api.handlers.volumes import stripped
from brickyard.api.request import Reply, Request, boolean
from brickyard.api.views import manageable as views
from brickyard.api.views import snapshots as snapshot_views
from brickyard.api.views import volumes as volume_views
from brickyard.core import errors
from brickyard.core.bricks import Kind
from brickyard.service import manageable
from brickyard.service.manageable import Manageable

SORTED_BY: dict[str, Callable[[Manageable], Any]] = {
    "reference": lambda one: one.name,
    "size": lambda one: (one.size_gib, one.name),
}


def volumes(request: Request) -> Reply:
    return _list(request, Kind.VOLUME, views.brief)


def volumes_in_detail(request: Request) -> Reply:
    return _list(request, Kind.VOLUME, views.detailed)


def snapshots(request: Request) -> Reply:
    return _list(request, Kind.SNAPSHOT, views.brief)


def snapshots_in_detail(request: Request) -> Reply:
    return _list(request, Kind.SNAPSHOT, views.detailed)


def _list(request: Request, kind: Kind, view: Callable[[Manageable, Kind], dict[str, Any]]) -> Reply:
    cluster = request.query.get("cluster") if request.since("3.17") else None
    found = manageable.list_(request.site, where(request.query.get("host"), cluster), kind)
    return Reply(200, {f"manageable-{kind}s": [view(one, kind) for one in _page(request, found)]})


def where(host: str | None, cluster: str | None) -> str:
    """The host of a request that may name a cluster instead; of those there are none."""
    if cluster and host:
        raise errors.Invalid("Name either a host or a cluster, and not both.", field="cluster")
    if cluster:
        raise errors.Invalid(f"There is no cluster {cluster}: there are none here. Name a host.", field="cluster")
    if not host:
        raise errors.Invalid("host is missing; it must look like host@backend#pool.", field="host")
    return host


def _page(request: Request, found: list[Manageable]) -> list[Manageable]:
    params = {key: value for key, value in request.query.items() if key in listings.PAGING}
    query = listings.query(dataclasses.replace(request, query=params), "manageable", (("reference", "desc"),))
    for key, direction in reversed(query.sort):
        if key not in SORTED_BY:
            raise errors.Invalid(f"Sort key {key!r} is not valid; use one of: {', '.join(SORTED_BY)}.", field="sort")
        found = sorted(found, key=SORTED_BY[key], reverse=direction == "desc")
    start = query.offset
    if query.marker is not None:
        names, marker = [one.name for one in found], _marked(query.marker)
        if marker not in names:
            raise errors.Invalid(f"Marker {query.marker} could not be found.", field="marker")
        start += names.index(marker) + 1
    return found[start : start + query.limit]


def _marked(marker: str) -> Any:
    """The name in a marker: the reference as it was listed, or the name alone."""
    try:
        found = ast.literal_eval(marker)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return marker
    return found.get("source-name") if isinstance(found, dict) else marker


def manage_volume(request: Request) -> Reply:
    body = request.body["volume"]
    wanted = dataclasses.replace(
        _wanted(body),
        volume_type=body.get("volume_type"),
        availability_zone=body.get("availability_zone"),
        bootable=body.get("bootable") is not None and boolean(body["bootable"], "bootable"),
    )
    host = where(body.get("host"), body.get("cluster"))
    row = manageable.manage_volume(request.site, request.caller, host, wanted)
    return Reply(202, {"volume": volume_views.full(_oldest(request), row, ())})


def manage_snapshot(request: Request) -> Reply:
    body = request.body["snapshot"]
    row = manageable.manage_snapshot(request.site, request.caller, body["volume_id"], _wanted(body))
    return Reply(202, {"snapshot": snapshot_views.full(_oldest(request), row)})


def _wanted(body: dict[str, Any]) -> manageable.Wanted:
    ref = body["ref"]
    name = ref.get("source-name") if isinstance(ref, dict) else None
    if not isinstance(name, str) or not name:
        raise errors.Invalid('ref must be an object that says {"source-name": the name in the pool}.', field="ref")
    return manageable.Wanted(
        name=name,
        title=stripped(body, "name", "name"),
        description=stripped(body, "description", "description"),
        metadata=body.get("metadata") or {},
    )


def _oldest(request: Request) -> Request:
    """The answers have never followed the microversions."""
    return dataclasses.replace(request, version=versions.MIN)


# actions


def unmanage_volume(request: Request, value: Any, id: str) -> Reply:
    manageable.unmanage_volume(request.site, request.caller, id)
    return Reply(202)


def unmanage_snapshot(request: Request, value: Any, id: str) -> Reply:
    manageable.unmanage_snapshot(request.site, request.caller, id)
    return Reply(202)
