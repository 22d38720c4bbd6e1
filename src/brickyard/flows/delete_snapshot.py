"""Delete a snapshot.

wipe       make its brick unreadable                  undo: none
receipts   keep that this was done, and how
delete     delete its brick                           undo: none
gone       remove the row, give the claim back
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors
from brickyard.core.bricks import Kind, name_of
from brickyard.db import claims, group_snapshots, store
from brickyard.db.database import Tx, after_commit
from brickyard.flows import engine, wiping
from brickyard.flows.engine import Act, Commit, Flow, Run

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *, snapshot_id: str, pool: str | None, pool_id: str | None, gib: int, group_snapshot_id: str | None = None
) -> dict[str, Any]:
    """`pool` None: it was never placed, and there is no brick. `group_snapshot_id`: it goes with that."""
    return {
        "snapshot_id": snapshot_id,
        "pool": pool,
        "pool_id": pool_id,
        "gib": gib,
        "group_snapshot_id": group_snapshot_id,
    }


# implementations ---------------------------------------------------------------------------------------------------


def wipe(run: Run) -> dict[str, Any]:
    return wiping.wipe(run, run.params["pool"], [name_of(Kind.SNAPSHOT, run.params["snapshot_id"])])


def delete(run: Run) -> None:
    wiping.delete(run, run.params["pool"], [name_of(Kind.SNAPSHOT, run.params["snapshot_id"])])


def gone(run: Run, tx: Tx) -> None:
    claims.release(tx, run.params["snapshot_id"])
    store.end(tx, "snapshot", run.params["snapshot_id"], "delete", ok=True)
    group_snapshots.settle(tx, run.params.get("group_snapshot_id"))
    if run.params["pool_id"]:
        after_commit(tx, lambda: run.world.places.claimed(run.params["pool_id"], -run.params["gib"]))


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    store.end(tx, "snapshot", run.params["snapshot_id"], "delete", ok=False, fault=error.message)
    group_snapshots.settle(tx, run.params.get("group_snapshot_id"))


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "delete_snapshot",
    (
        Act("wipe", do=wipe, undo=engine.nothing),
        Commit("receipts", do=wiping.kept, undo=engine.nothing_in),
        Act("delete", do=delete, undo=engine.nothing),
        Commit("gone", do=gone, undo=engine.nothing_in),
    ),
    failed=failed,
)
