"""Tell the compute service what became of a volume that one of its servers has.

announce   it knows, or has no such server     undo: none

It is tried again every so often while the compute service is away, but not for ever: by then somebody has helped
himself, or the server was started anew.
"""

from __future__ import annotations

import functools
import logging
import uuid
from typing import Any

from brickyard.compute import Event
from brickyard.core import clock, errors
from brickyard.core.states import A
from brickyard.db import attachments, flows, instances
from brickyard.db.database import Tx, after_commit
from brickyard.flows import engine, telling
from brickyard.flows.engine import Act, Flow, Later, Run

LOG = logging.getLogger(__name__)
PAUSE_S, KEEP_S = 15.0, 900.0
NAME = "tell_server"
ACTIONS = {Event.EXTENDED: "extend", Event.REIMAGED: "reimage"}

# parameters --------------------------------------------------------------------------------------------------------


def params(event: Event, server_id: str, volume_id: str, *, ok: bool, until: str) -> dict[str, Any]:
    """`ok`: whether it went well. `until`: when nobody needs to be told any more."""
    return {"event": str(event), "server_id": server_id, "volume_id": volume_id, "ok": ok, "until": until}


def queue(run: Run, tx: Tx, event: Event, volume_id: str, *, ok: bool = True) -> None:
    """From within another flow: for each server that has the volume, or has it reserved."""
    if run.world.compute is None:
        return
    for row in attachments.of_volume(tx, volume_id):
        server_id = row.instance_uuid
        if server_id is None or row.status == A.DETACHING or instances.find(tx, server_id) is not None:
            continue
        id = str(uuid.uuid4())
        flows.insert(
            tx,
            id=id,
            name=NAME,
            params=params(event, server_id, volume_id, ok=ok, until=clock.stamp(KEEP_S)),
            project_id=run.project_id,
            resource_id=server_id,  # and not the volume, which others may work on
            request_id=run.request_id,
        )
        after_commit(tx, functools.partial(run.world.bell.ring, id))


# implementations ---------------------------------------------------------------------------------------------------


def announce(run: Run) -> None:
    p = run.params
    if run.world.compute is None:
        return  # since then it was taken out of the configuration
    try:
        run.world.compute.tell(Event(p["event"]), p["server_id"], p["volume_id"], ok=p["ok"])
    except errors.Unavailable as error:
        if clock.stamp() > p["until"]:
            raise
        LOG.warning("%s It is tried again.", error.message)
        raise Later(PAUSE_S) from error


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    p = run.params
    action = ACTIONS[Event(p["event"])]
    telling.tell(run, tx, error, kind="VOLUME", id=p["volume_id"], action=action, detail="unknown")


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(NAME, (Act("announce", do=announce, undo=engine.nothing),), failed=failed)
