"""/qos-specs"""

from __future__ import annotations

import dataclasses

from brickyard.api import listings
from brickyard.api.request import Reply, Request
from brickyard.api.views import qos as views
from brickyard.core import errors
from brickyard.db import qos as rows
from brickyard.service import qos


def index(request: Request) -> Reply:
    query = dataclasses.replace(listings.query(request, "qos_specs"), project_id=None)
    with request.site.db.read() as tx:
        found = rows.list_(tx, query)
    return listings.reply(request, query, "qos_specs", found, [views.full(row) for row in found])


def create(request: Request) -> Reply:
    body = {key: str(value) for key, value in request.body["qos_specs"].items()}
    name, consumer = body.pop("name"), body.pop("consumer", "back-end")
    row = qos.create(request.site, name=name, consumer=consumer, specs=body)
    return Reply(200, views.alone(request, row))


def show(request: Request, id: str) -> Reply:
    with request.site.db.read() as tx:
        return Reply(200, views.alone(request, qos.require(tx, id)))


def update(request: Request, id: str) -> Reply:
    qos.update(request.site, id, {key: str(value) for key, value in request.body["qos_specs"].items()})
    return Reply(200, request.body)


def delete(request: Request, id: str) -> Reply:
    qos.delete(request.site, id, force=request.flag("force"))
    return Reply(202)


def delete_keys(request: Request, id: str) -> Reply:
    qos.delete_keys(request.site, id, request.body["keys"])
    return Reply(202)


def associations(request: Request, id: str) -> Reply:
    found = [views.association(row) for row in qos.types_of(request.site, id)]
    return Reply(200, {"qos_associations": found})


def associate(request: Request, id: str) -> Reply:
    qos.associate(request.site, id, _type(request))
    return Reply(202)


def disassociate(request: Request, id: str) -> Reply:
    qos.disassociate(request.site, id, _type(request))
    return Reply(202)


def disassociate_all(request: Request, id: str) -> Reply:
    qos.disassociate(request.site, id)
    return Reply(202)


def _type(request: Request) -> str:
    type_id = request.query.get("vol_type_id")
    if not type_id:
        raise errors.Invalid("Say which volume type, with vol_type_id in the query.", field="vol_type_id")
    return type_id
