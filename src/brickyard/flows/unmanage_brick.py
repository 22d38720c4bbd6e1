"""Forget a volume or a snapshot, and leave its brick where it lies: it belongs to nobody afterwards.

disown   its label goes, its content and its name stay         undo: none; doing it again goes on where it stopped
gone     remove the row, give the claim back
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors, pools
from brickyard.core.bricks import Kind, name_of
from brickyard.db import claims, store
from brickyard.db.database import Tx, after_commit
from brickyard.flows import engine
from brickyard.flows.engine import Act, Commit, Flow, Run

# parameters --------------------------------------------------------------------------------------------------------


def params(*, kind: Kind, id: str, pool: str, pool_id: str, gib: int) -> dict[str, Any]:
    return {"kind": str(kind), "id": id, "pool": pool, "pool_id": pool_id, "gib": gib}


# implementations ---------------------------------------------------------------------------------------------------


def disown(run: Run) -> None:
    at = pools.parse(run.params["pool"])
    run.world.nodes[at.host].disown_brick(at.backend, name_of(Kind(run.params["kind"]), run.params["id"]))


def gone(run: Run, tx: Tx) -> None:
    p = run.params
    claims.release(tx, p["id"])
    store.end(tx, p["kind"], p["id"], "unmanage", ok=True)
    volumes = 1 if p["kind"] == Kind.VOLUME else 0
    after_commit(tx, lambda: run.world.places.claimed(p["pool_id"], -p["gib"], -volumes))


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    store.end(tx, run.params["kind"], run.params["id"], "unmanage", ok=False, fault=error.message)


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "unmanage_brick",
    (
        Act("disown", do=disown, undo=engine.nothing),
        Commit("gone", do=gone, undo=engine.nothing_in),
    ),
    failed=failed,
)
