"""Delete a volume, and with `cascade` its snapshots.

wipe       make the bricks of the snapshots and the volume's unreadable    undo: none
receipts   keep that this was done, and how
delete     delete these bricks                                             undo: none, what is deleted is deleted
gone       remove the rows, give the claims back

Absence is success, so it may run any number of times. When it fails the volume is error_deleting, and deleting it
again goes on where it stopped.
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors
from brickyard.core.bricks import Kind, name_of
from brickyard.db import claims, groups, hosts, store
from brickyard.db.database import Tx, after_commit
from brickyard.flows import engine, wiping
from brickyard.flows.engine import Act, Commit, Flow, Run

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *,
    volume_id: str,
    pool: str | None,
    pool_id: str | None,
    gib: int,
    snapshots: list[str],
    group_id: str | None = None,
) -> dict[str, Any]:
    """`pool` None: it was never placed, and there is no brick. `group_id`: it goes with its group."""
    return {
        "volume_id": volume_id,
        "pool": pool,
        "pool_id": pool_id,
        "gib": gib,
        "snapshots": snapshots,
        "group_id": group_id,
    }


# implementations ---------------------------------------------------------------------------------------------------


def wipe(run: Run) -> dict[str, Any]:
    return wiping.wipe(run, run.params["pool"], _names(run))


def delete(run: Run) -> None:
    wiping.delete(run, run.params["pool"], _names(run))


def _names(run: Run) -> list[str]:
    """The bricks of the snapshots, and the volume's last."""
    snapshots = [name_of(Kind.SNAPSHOT, snapshot) for snapshot in run.params["snapshots"]]
    return [*snapshots, name_of(Kind.VOLUME, run.params["volume_id"])]


def gone(run: Run, tx: Tx) -> None:
    volume_id = run.params["volume_id"]
    for snapshot in run.params["snapshots"]:
        claims.release(tx, snapshot)
        store.end(tx, "snapshot", snapshot, "delete", ok=True)
    if run.params["pool_id"]:  # an older copy elsewhere has a flow of its own
        claims.release(tx, volume_id, only_pool_id=run.params["pool_id"])
        pool = hosts.find_pool(tx, run.params["pool_id"])
        if pool is not None and not pool.capabilities.get("thin"):
            hosts.freed(tx, pool.id, run.params["gib"])
    store.end(tx, "volume", volume_id, "delete", ok=True)
    groups.settle(tx, run.params.get("group_id"))
    if run.params["pool_id"]:
        after_commit(tx, lambda: run.world.places.claimed(run.params["pool_id"], -run.params["gib"], -1))


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    for snapshot in run.params["snapshots"]:
        store.end(tx, "snapshot", snapshot, "delete", ok=False, fault=error.message)
    store.end(tx, "volume", run.params["volume_id"], "delete", ok=False, fault=error.message)
    groups.settle(tx, run.params.get("group_id"))


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "delete_volume",
    (
        Act("wipe", do=wipe, undo=engine.nothing),
        Commit("receipts", do=wiping.kept, undo=engine.nothing_in),
        Act("delete", do=delete, undo=engine.nothing),
        Commit("gone", do=gone, undo=engine.nothing_in),
    ),
    failed=failed,
)
