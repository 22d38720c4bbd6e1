"""Queueing a flow in the transaction of the request that wants it."""

from __future__ import annotations

import uuid
from typing import Any

from brickyard.db import flows
from brickyard.db.database import Tx, after_commit
from brickyard.service.site import Caller, Site


def queue(
    site: Site, caller: Caller, tx: Tx, name: str, params: dict[str, Any], *, resource_id: str, project_id: str
) -> str:
    """Insert the flow; its conductor is woken once `tx` is committed. The flow's id."""
    id = str(uuid.uuid4())
    flows.insert(
        tx,
        id=id,
        name=name,
        params=params,
        project_id=project_id,
        resource_id=resource_id,
        request_id=caller.request_id,
    )
    after_commit(tx, lambda: site.waker.wake(id))
    return id
