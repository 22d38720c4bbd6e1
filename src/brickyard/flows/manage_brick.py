"""Take over what lies in a pool and belongs to nobody, as a volume or as a snapshot. No content is copied.

The row, its claim and its place were written with the request, which has looked at it.

adopt   it gets its label and its name                        undo: it belongs to nobody again; its new name stays
grow    a volume is whole GiB, as its row says                undo: none, a brick never shrinks
show    it is available
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors, pools, sizes
from brickyard.core.bricks import Kind, Label
from brickyard.db import claims, snapshots, store, volumes
from brickyard.db.database import Tx, after_commit
from brickyard.flows import engine
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.repair_adopt import label_of, label_to_json
from brickyard.flows.telling import tell

# parameters --------------------------------------------------------------------------------------------------------


def params(*, pool: str, pool_id: str, gib: int, name: str, label: Label) -> dict[str, Any]:
    """`name` is what it is called now."""
    return {"pool": pool, "pool_id": pool_id, "gib": gib, "name": name, "brick": label_to_json(label)}


# implementations ---------------------------------------------------------------------------------------------------


def adopt(run: Run) -> None:
    at = pools.parse(run.params["pool"])
    run.world.nodes[at.host].adopt_brick(at.backend, run.params["name"], label_of(run.params["brick"]))


def unadopt(run: Run) -> None:
    at = pools.parse(run.params["pool"])
    run.world.nodes[at.host].disown_brick(at.backend, label_of(run.params["brick"]).name)


def grow(run: Run) -> None:
    label = label_of(run.params["brick"])
    if label.kind is Kind.VOLUME:
        at = pools.parse(run.params["pool"])
        size_bytes = sizes.gib_to_bytes(run.params["gib"])
        run.world.nodes[at.host].grow_brick(at.backend, label.name, size_bytes, run.progress(label.name))


def show(run: Run, tx: Tx) -> None:
    label = label_of(run.params["brick"])
    more = {"progress": 100} if label.kind is Kind.SNAPSHOT else {}
    store.end(tx, str(label.kind), label.id, "create", ok=True, **more)


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """It lies there as it did, and nothing is claimed for it."""
    label = label_of(run.params["brick"])
    is_snapshot = label.kind is Kind.SNAPSHOT
    if is_snapshot:
        snapshots.update(tx, label.id, pool_id=None)
    else:
        volumes.update(tx, label.id, pool_id=None, backend_id=None)
    claims.release(tx, label.id, only_pool_id=run.params["pool_id"])
    after_commit(tx, run.world.places.refresh)
    store.end(tx, str(label.kind), label.id, "create", ok=False, fault=error.message)
    tell(
        run,
        tx,
        error,
        kind="VOLUME_SNAPSHOT" if is_snapshot else "VOLUME",
        id=label.id,
        action="snapshot_create" if is_snapshot else "create",
        detail="snapshot_failed" if is_snapshot else "create_failed",
    )


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "manage_brick",
    (
        Act("adopt", do=adopt, undo=unadopt),
        Act("grow", do=grow, undo=engine.nothing),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=failed,
)
