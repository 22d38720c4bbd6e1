"""Create a snapshot of a volume, attached or not, on the volume's own pool.

claim      claim its size there                    undo: give it back
snapshot   keep the content; a guest is paused     undo: wipe and delete the brick
show       the snapshot is available
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors, pools
from brickyard.core.bricks import Kind, Label, name_of
from brickyard.db import claims, group_snapshots, snapshots, store
from brickyard.db.database import Tx
from brickyard.flows import engine, image_cache, wiping
from brickyard.flows.create_volume import give_back
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.telling import tell

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *, snapshot_id: str, volume_id: str, pool: str, pool_id: str, gib: int, group_snapshot_id: str | None = None
) -> dict[str, Any]:
    return {
        "snapshot_id": snapshot_id,
        "volume_id": volume_id,
        "pool": pool,
        "pool_id": pool_id,
        "gib": gib,
        "group_snapshot_id": group_snapshot_id,
    }


# implementations ---------------------------------------------------------------------------------------------------


def claim(run: Run, tx: Tx) -> None:
    p = run.params
    if not claims.claim(tx, pool_id=p["pool_id"], brick_id=p["snapshot_id"], gib=p["gib"]):
        image_cache.make_room(run, tx, {p["pool_id"]: p["gib"]})
        why = claims.why_not(tx, p["pool_id"])
        raise errors.NoValidHost(f"Pool {p['pool']} has no room for a snapshot of {p['gib']} GiB: it {why}.")
    snapshots.update(tx, p["snapshot_id"], pool_id=p["pool_id"])


def unclaim(run: Run, tx: Tx) -> None:
    give_back(run, tx, run.params["snapshot_id"], run.params["pool_id"], 0)
    snapshots.update(tx, run.params["snapshot_id"], pool_id=None)


def snapshot(run: Run) -> None:
    p = run.params
    at = pools.parse(p["pool"])
    label = Label(Kind.SNAPSHOT, p["snapshot_id"], run.project_id, parent=p["volume_id"])
    name = name_of(Kind.VOLUME, p["volume_id"])
    run.world.nodes[at.host].snapshot_brick(at.backend, name, label, run.progress(label.name))


def progressed(run: Run, tx: Tx, percent: int) -> None:
    snapshots.update(tx, run.params["snapshot_id"], progress=percent)


def unsnapshot(run: Run) -> None:
    wiping.erase(run, run.params["pool"], name_of(Kind.SNAPSHOT, run.params["snapshot_id"]))


def show(run: Run, tx: Tx) -> None:
    store.end(tx, "snapshot", run.params["snapshot_id"], "create", ok=True, progress=100)
    group_snapshots.settle(tx, run.params.get("group_snapshot_id"))


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    store.end(tx, "snapshot", run.params["snapshot_id"], "create", ok=False, fault=error.message)
    group_snapshots.settle(tx, run.params.get("group_snapshot_id"))
    tell(
        run,
        tx,
        error,
        kind="VOLUME_SNAPSHOT",
        id=run.params["snapshot_id"],
        action="snapshot_create",
        detail="snapshot_failed",
    )


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "create_snapshot",
    (
        Commit("claim", do=claim, undo=unclaim),
        Act("snapshot", do=snapshot, undo=unsnapshot),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=failed,
    progressed=progressed,
)
