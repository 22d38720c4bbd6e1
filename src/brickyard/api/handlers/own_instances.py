"""/v1/instances and /v1/explain"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from brickyard.api import own_queries
from brickyard.api.request import Reply, Request
from brickyard.api.views import own as views
from brickyard.core import errors
from brickyard.db import instances as rows
from brickyard.db import overviews
from brickyard.db.database import Row, Tx
from brickyard.db.listing import Query
from brickyard.service import explanations, instances, power
from brickyard.service.site import Caller, Site

KEPT = {"keep": False, "delete": True}
CONSOLE_BYTES, CONSOLE_BYTES_MAX = 65536, 1024 * 1024


def index(request: Request) -> Reply:
    """List the instances of the project, the newest first; administrators: all_projects."""
    most = request.site.settings.max_limit
    query = Query(
        project_id=own_queries.project(request),
        filters={name: request.query[name] for name in ("name", "status") if name in request.query},
        limit=own_queries.number(request.query, "limit", most, 1, most),
        marker=request.query.get("marker"),
    )
    with request.site.db.read() as tx:
        shown = _shown(tx, rows.list_(tx, query))
    return Reply(200, {"instances": shown})


def show(request: Request, id: str) -> Reply:
    """Show an instance with its volumes."""
    with request.site.db.read() as tx:
        [shown] = _shown(tx, [instances.require(tx, request.caller, id)])
    return Reply(200, shown)


def boot(request: Request) -> Reply:
    """Boot an instance together with its local storage. Follow it by its flow_id."""
    row = instances.boot(request.site, request.caller, _new(request.body))
    with request.site.db.read() as tx:
        [shown] = _shown(tx, [row])
    return Reply(202, shown)


def delete(request: Request, id: str) -> Reply:
    """Delete an instance, and keep its volumes (volumes=keep) or delete them with it (volumes=delete)."""
    volumes = request.query.get("volumes", "keep")
    if volumes not in KEPT:
        raise errors.Invalid(f"volumes is {volumes!r}; allowed: {', '.join(KEPT)}.", field="volumes")
    with request.site.db.read() as tx:
        row = instances.require(tx, request.caller, id)
    request.check("brickyard:instance_delete", row.project_id)
    instances.delete(request.site, request.caller, id, with_volumes=KEPT[volumes])
    with request.site.db.read() as tx:
        flow = overviews.newest_flows(tx, [id]).get(id)
    return Reply(202, {"id": id, "flow_id": flow})


def start(request: Request, id: str) -> Reply:
    """Start a stopped instance again, with the disks that it has. Follow it by its flow_id."""
    return _switched(request, id, "brickyard:instance_start", power.start)


def stop(request: Request, id: str) -> Reply:
    """Shut an instance down; one that does not react is switched off. Follow it by its flow_id."""
    return _switched(request, id, "brickyard:instance_stop", power.stop)


def _switched(request: Request, id: str, rule: str, switch: Callable[[Site, Caller, str], Row]) -> Reply:
    with request.site.db.read() as tx:
        row = instances.require(tx, request.caller, id)
    request.check(rule, row.project_id)
    row = switch(request.site, request.caller, id)
    with request.site.db.read() as tx:
        [shown] = _shown(tx, [row])
    return Reply(202, shown)


def console(request: Request, id: str) -> Reply:
    """The end of what an instance wrote to its serial console, as text."""
    most = own_queries.number(request.query, "max_bytes", CONSOLE_BYTES, 1, CONSOLE_BYTES_MAX)
    text = instances.console(request.site, request.caller, id, most)
    return Reply(200, text.encode(errors="replace"), content_type="text/plain; charset=utf-8")


def attach(request: Request, id: str) -> Reply:
    """Plug a volume into a running instance: of its host, or of one as near as its locality says."""
    row = instances.attach(request.site, request.caller, id, request.body["volume_id"])
    return Reply(200, views.attachment(row))


def detach(request: Request, id: str, volume_id: str) -> Reply:
    """Unplug a volume from a running instance."""
    instances.detach(request.site, request.caller, id, volume_id)
    return Reply(204)


def explain(request: Request) -> Reply:
    """Where would this instance, or volume, go, and why not elsewhere? Nothing is reserved."""
    body = request.body
    if "volume" in body:
        if others := sorted(set(body) - {"volume"}):
            raise errors.Invalid(f"Send volume alone, without {', '.join(others)}.", field=others[0])
        asked = {"volume_type": None, "availability_zone": None, **body["volume"]}
        verdicts = explanations.of_volume(request.site, request.caller, **asked)
    else:
        if "flavor" not in body:
            raise errors.Invalid("Send flavor (and image), or volume.", field="flavor")
        verdicts = instances.explain(request.site, request.caller, _new({"name": "unnamed", **body}))
    return Reply(200, {"hosts": [views.verdict(verdict) for verdict in verdicts]})


def _new(body: Mapping[str, Any]) -> instances.NewInstance:
    storage = tuple(instances.LocalStorage(**one) for one in body.get("local_storage", ()))
    given = {"image": None, **body, "local_storage": storage, "volumes": tuple(body.get("volumes", ()))}
    return instances.NewInstance(**given)


def _shown(tx: Tx, found: Sequence[Row]) -> list[dict[str, Any]]:
    ids = [row.id for row in found]
    volumes, flows = overviews.volumes_of(tx, ids), overviews.newest_flows(tx, ids)
    return [views.instance(row, volumes.get(row.id, ()), flows.get(row.id)) for row in found]
