"""Remove the copy of a volume that its move has left behind.

check      the volume lies elsewhere                                           undo: none, nothing was done
wipe       it is still the old copy, and nobody's; make it unreadable          undo: none
receipts   keep that this was done, and how
delete     delete it                                                           undo: none
gone       give back what was claimed for it

What fails here is found by an audit: it is an older copy, and is removed.
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors
from brickyard.core.bricks import Kind, Label
from brickyard.db import audit
from brickyard.db.database import Tx
from brickyard.flows import engine, reach, repair_remove, wiping
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.repair_adopt import label_of
from brickyard.flows.repair_remove import delete, failed, gone

# parameters --------------------------------------------------------------------------------------------------------


def params(*, pool: str, pool_id: str, label: Label, served: dict[str, str] | None = None) -> dict[str, Any]:
    """`served`: the instance (`client`) on `host` that had it while it was the volume, and has the volume now."""
    return {**repair_remove.params(pool=pool, pool_id=pool_id, label=label), "served": served}


# implementations ---------------------------------------------------------------------------------------------------


def check(run: Run, tx: Tx) -> None:
    label = label_of(run.params["brick"])
    row = audit.placed(tx, label.kind, label.id)
    if row is not None and row.pool_id == run.params["pool_id"]:
        raise errors.Conflict(f"{label.name} lies on {run.params['pool']}: it stays.")


def wipe(run: Run) -> dict[str, Any]:
    """A guest of this host may have the volume from where it lies now, and not this brick: that was seen to before."""
    served, label = run.params.get("served"), label_of(run.params["brick"])
    if label.kind is not Kind.VOLUME:
        return repair_remove.wipe(run)
    if served is not None:
        reach.unexport(run, served["host"], served["client"], label.kind, label.id, run.params["pool"])
    return repair_remove.wipe_unused(run)


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "remove_copy",
    (
        Commit("check", do=check, undo=engine.nothing_in),
        Act("wipe", do=wipe, undo=engine.nothing),
        Commit("receipts", do=wiping.kept, undo=engine.nothing_in),
        Act("delete", do=delete, undo=engine.nothing),
        Commit("gone", do=gone, undo=engine.nothing_in),
    ),
    failed=failed,
    attempts=3,
)
