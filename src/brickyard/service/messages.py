"""Messages: what the owner of a resource is told of work that failed."""

from __future__ import annotations

from brickyard.core import errors
from brickyard.db import messages
from brickyard.db.database import Row, Tx
from brickyard.service.site import Caller, Site


def require(tx: Tx, caller: Caller, id: str) -> Row:
    """The message, if the caller may see it; NotFound otherwise."""
    row = messages.find(tx, id, caller.sees)
    if row is None:
        raise errors.NotFound(f"Message {id} could not be found.")
    return row


def delete(site: Site, caller: Caller, id: str) -> None:
    with site.db.begin() as tx:
        row = require(tx, caller, id)
        site.policy.check("message:delete", caller, row.project_id)
        messages.delete(tx, id)
