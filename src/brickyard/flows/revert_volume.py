"""Make the content of a volume that of its latest snapshot again.

revert   the brick takes the snapshot's content, in one step    undo: none; it is the old content or the snapshot's
show     volume and snapshot are what they were before
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors, pools
from brickyard.core.bricks import Kind, name_of
from brickyard.db import store
from brickyard.db.database import Tx
from brickyard.flows import engine
from brickyard.flows.engine import Act, Commit, Flow, Run

# parameters --------------------------------------------------------------------------------------------------------


def params(*, volume_id: str, snapshot_id: str, pool: str) -> dict[str, Any]:
    return {"volume_id": volume_id, "snapshot_id": snapshot_id, "pool": pool}


# implementations ---------------------------------------------------------------------------------------------------


def revert(run: Run) -> None:
    at = pools.parse(run.params["pool"])
    name = name_of(Kind.VOLUME, run.params["volume_id"])
    snapshot = name_of(Kind.SNAPSHOT, run.params["snapshot_id"])
    run.world.nodes[at.host].revert_brick(at.backend, name, snapshot, run.progress(name))


def show(run: Run, tx: Tx) -> None:
    store.end(tx, "volume", run.params["volume_id"], "revert", ok=True)
    store.end(tx, "snapshot", run.params["snapshot_id"], "revert", ok=True)


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    store.end(tx, "volume", run.params["volume_id"], "revert", ok=False, fault=error.message)
    store.end(tx, "snapshot", run.params["snapshot_id"], "revert", ok=False)


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "revert_volume",
    (
        Act("revert", do=revert, undo=engine.nothing),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=failed,
)
