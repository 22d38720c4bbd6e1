"""Clear away on a host what nobody needs: leftovers of verbs that died, guests without an instance, stray exports.

check   nobody works on it, and no row speaks of the guest       undo: none, nothing was done
clear   remove the leftovers, or end the guest or the export     undo: none

Disks are not touched: a leftover is never a brick, and the disks of a guest outlive it.
"""

from __future__ import annotations

from typing import Any

from brickyard.core import bricks, errors, pools
from brickyard.db import audit, instances
from brickyard.db.database import Tx
from brickyard.flows import engine, reach
from brickyard.flows.engine import Act, Commit, Flow, Run

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *,
    host: str,
    guest: str | None = None,
    pool: str | None = None,
    name: str | None = None,
    backend: str | None = None,
    client: str | None = None,
) -> dict[str, Any]:
    """Either `guest`, or `pool` and the `name` of the brick whose leftovers they are, or the `backend` and the `name`
    of the brick that is exported to the instance `client`."""
    return {"host": host, "guest": guest, "pool": pool, "name": name, "backend": backend, "client": client}


# implementations ---------------------------------------------------------------------------------------------------


def check(run: Run, tx: Tx) -> None:
    id = _id(run)
    if other := audit.working_on(tx, [id], but=run.id):
        raise errors.Conflict(f"Flow {other} works on {id}; when it is done, ask for the audit again.")
    if run.params["guest"] and instances.find(tx, id) is not None:
        raise errors.Conflict(f"Guest {id} has an instance by now: it stays.")
    client = run.params.get("client")
    if client and reach.is_disk(tx, client, id):
        raise errors.Conflict(f"{run.params['name']} is a disk of instance {client} by now: it stays exported.")


def clear(run: Run) -> None:
    p = run.params
    node = run.world.nodes[p["host"]]
    if p["guest"]:
        node.destroy(p["guest"])
    elif p.get("client"):
        node.unexport(p["backend"], p["name"], p["client"])
    else:
        node.tidy_brick(pools.parse(p["pool"]).backend, p["name"])


def _id(run: Run) -> str:
    if run.params["guest"]:
        return str(run.params["guest"])
    parsed = bricks.parse(run.params["name"])
    if parsed is None:
        raise errors.Invalid(f"{run.params['name']} is not the name of a brick.", field="name")
    return parsed[1]


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """The next audit finds it again."""


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "repair_host",
    (
        Commit("check", do=check, undo=engine.nothing_in),
        Act("clear", do=clear, undo=engine.nothing),
    ),
    failed=failed,
)
