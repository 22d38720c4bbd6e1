"""Empty a host of its volumes: they move to other hosts, some at a time, also while instances have them.

empty   begin moves as long as there are volumes that can go, and wait for them     undo: none, what was moved stays

Each move is a flow of its own, which succeeds or fails alone. How far this is follows from the rows (draining.py), so
a repeat finds what is left to do. It ends when nothing is left that can move, when it is cancelled, and when the host
is enabled again.
"""

from __future__ import annotations

import functools
import logging
import uuid
from typing import Any

from brickyard.core import errors, fence
from brickyard.db import flows, hosts, volumes
from brickyard.db.database import Row, Tx, after_commit
from brickyard.flows import draining, engine, moving
from brickyard.flows.engine import Act, Flow, Later, Run

LOG = logging.getLogger(__name__)

# parameters --------------------------------------------------------------------------------------------------------


def params(*, host: str, host_id: str, parallel: int) -> dict[str, Any]:
    """`parallel`: so many moves at a time. It may be changed while the flow runs, and so may `cancelled`: then no more
    moves begin. With `ended`, which the flow writes itself, neither is read any more."""
    return {"host": host, "host_id": host_id, "parallel": parallel, "cancelled": False}


# implementations ---------------------------------------------------------------------------------------------------


def empty(run: Run) -> dict[str, Any]:
    with run.world.db.read() as tx:
        drain, host = _mine(run, tx)
        begun = draining.moves_of(tx, drain)
        moves = sum(move.status in flows.OPEN for move in begun.values())
        room = drain.params["parallel"] - moves
        more = _may_begin(drain, host)
        fates = draining.look(run.world, tx, host, drain, room) if more and room > 0 else []
    for fate in fates:
        if fate.state == "planned":
            run.world.db.repeating(functools.partial(_begin, run, fate))
    if moves or any(fate.state in ("planned", "waiting") for fate in fates):
        raise Later
    run.world.db.repeating(functools.partial(_end, run, drain, host))
    done = sum(move.status == "done" for move in begun.values())
    return {"moved": done, "failed": len(begun) - done, "cancelled": not more}


def _mine(run: Run, tx: Tx) -> tuple[Row, Row]:
    """The rows of the flow and of its host, as they are now."""
    drain, host = flows.find(tx, run.id), hosts.find_host(tx, run.params["host_id"])
    if drain is None or drain.epoch != run.epoch:
        raise fence.Stop("another conductor has it")
    if host is None or host.lost_at is not None:
        raise errors.HostLost(f"Host {run.params['host']} was declared lost.")
    return drain, host


def _may_begin(drain: Row, host: Row) -> bool:
    return not (drain.params["cancelled"] or drain.params.get("ended") or host.enabled)


def _end(run: Run, seen: Row, host_seen: Row) -> None:
    """From here on whoever drains the host begins anew; Later if somebody has asked for something since it was looked
    at."""
    with run.world.db.begin() as tx:
        hosts.hold(tx, run.params["host_id"])
        drain, host = _mine(run, tx)
        if (drain.params, host.enabled) != (seen.params, host_seen.enabled):
            raise Later
        flows.change_params(tx, run.id, {**drain.params, "ended": True})


def _begin(run: Run, fate: draining.Fate) -> None:
    """Begin the move of a volume, if it is what it was; one that is not is looked at next time."""
    id = fate.volume.id
    try:
        with run.world.db.begin() as tx:
            hosts.hold(tx, run.params["host_id"])  # who cancels is promised that none begins
            if not _may_begin(*_mine(run, tx)):
                return
            moving.hold(tx, id)
            row = volumes.find(tx, id)
            if row is None or row.pool_id != fate.volume.pool_id or moving.use_of(tx, row) != fate.use:
                return
            name, params = moving.begin(tx, row, fate.use, "migrate", fate.ask or {}, drain=run.id)
            flow_id = str(uuid.uuid4())
            flows.insert(
                tx,
                id=flow_id,
                name=name,
                params=params,
                project_id=row.project_id,
                resource_id=id,
                request_id=run.request_id,
            )
            after_commit(tx, functools.partial(run.world.bell.ring, flow_id))
    except (errors.Invalid, errors.Conflict) as error:
        LOG.info("volume %s does not move yet: %s", id, error.message)


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """What was begun goes on, and whoever drains the host again goes on with what is left."""


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow("drain_host", (Act("empty", do=empty, undo=engine.nothing),), failed=failed)
