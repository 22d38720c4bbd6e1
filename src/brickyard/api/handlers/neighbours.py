"""/projects/{id} and /servers/{id}: what the `openstack` client asks the services beside this one.

With one endpoint for everything, it looks a project up here before it sets a quota, and a server before it makes an
attachment. Any id may name a project or a server to this API, so there is nothing to find: the answer repeats the id.
"""

from __future__ import annotations

import re

from brickyard.api.request import Reply, Request
from brickyard.api.schemas import shapes
from brickyard.core import errors
from brickyard.db import instances

UUID = re.compile(shapes.uuid["pattern"])


def project(request: Request, id: str) -> Reply:
    if request.caller.sees not in (None, id):
        raise errors.Forbidden(f"Project {id} is not yours.")
    return Reply(200, {"project": {"id": id, "name": id, "domain_id": "default", "enabled": True}})


def server(request: Request, id: str) -> Reply:
    """An instance of ours with its name, or the id of one that runs elsewhere."""
    if not UUID.match(id):
        raise errors.NotFound(f"Server {id} could not be found: use its id.")
    with request.site.db.read() as tx:
        row = instances.find(tx, id, request.caller.sees)
    return Reply(200, {"server": {"id": id, "name": row.name if row else id}})
