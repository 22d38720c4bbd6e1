"""Remove a brick of ours that no row speaks of, once an audit has seen it for long enough.

check      still no row knows it, and no other flow works on it          undo: none, nothing was done
wipe       it says of itself what it said then; make it unreadable       undo: none
receipts   keep that this was done, and how
delete     delete it; what has no label is refused by its driver         undo: none
gone       give back what was claimed for it, if anything was

That it is open is enough to keep other repairs of the same brick away: each looks for open flows before it begins.
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors, pools
from brickyard.core.bricks import Label
from brickyard.db import audit, claims
from brickyard.db.database import Tx, after_commit
from brickyard.flows import engine, wiping
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.repair_adopt import label_of, label_to_json

# parameters --------------------------------------------------------------------------------------------------------


def params(*, pool: str, pool_id: str, label: Label) -> dict[str, Any]:
    return {"pool": pool, "pool_id": pool_id, "brick": label_to_json(label)}


# implementations ---------------------------------------------------------------------------------------------------


def check(run: Run, tx: Tx) -> None:
    p, label = run.params, label_of(run.params["brick"])
    if other := audit.working_on(tx, [label.id], but=run.id):
        raise errors.Conflict(f"Flow {other} works on {label.name}; when it is done, ask for the audit again.")
    row = audit.placed(tx, label.kind, label.id)
    if row is not None and row.pool_id == p["pool_id"]:
        raise errors.Conflict(f"{label.name} on {p['pool']} has a row by now: it stays.")


def wipe(run: Run) -> dict[str, Any]:
    node = run.world.nodes[pools.parse(run.params["pool"]).host]
    label = label_of(run.params["brick"])
    for guest in node.guests():
        if label.id in guest.serials and guest.status != "stopped":
            raise errors.GuestError(f"Guest {guest.id} has {label.name} in use: it stays.")
    return wipe_unused(run)


def wipe_unused(run: Run) -> dict[str, Any]:
    """Of a brick that no guest of its host has."""
    p, label = run.params, label_of(run.params["brick"])
    at = pools.parse(p["pool"])
    node = run.world.nodes[at.host]
    found = node.find_brick(at.backend, label.name)
    if found is None:
        return {"pool": p["pool"], "receipts": []}
    if found.label != label:
        raise errors.Conflict(f"{label.name} on {p['pool']} is not what it was when it was found: it stays.")
    for export in node.exports():
        if (export.backend, export.name) == (at.backend, label.name):
            raise errors.GuestError(f"{label.name} is exported to guest {export.client} of another host: it stays.")
    return wiping.wipe(run, p["pool"], [label.name])


def delete(run: Run) -> None:
    wiping.delete(run, run.params["pool"], [label_of(run.params["brick"]).name])


def gone(run: Run, tx: Tx) -> None:
    claims.release(tx, run.params["brick"]["id"], only_pool_id=run.params["pool_id"])
    after_commit(tx, run.world.places.refresh)


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """The next audit finds it again."""


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "repair_remove",
    (
        Commit("check", do=check, undo=engine.nothing_in),
        Act("wipe", do=wipe, undo=engine.nothing),
        Commit("receipts", do=wiping.kept, undo=engine.nothing_in),
        Act("delete", do=delete, undo=engine.nothing),
        Commit("gone", do=gone, undo=engine.nothing_in),
    ),
    failed=failed,
)
