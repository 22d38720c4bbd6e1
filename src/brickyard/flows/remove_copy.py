"""Remove the copy of a volume that its move has left behind.

check      the volume lies elsewhere                              undo: none, nothing was done
wipe       it is still the old copy; make it unreadable           undo: none
receipts   keep that this was done, and how
delete     delete it                                              undo: none
gone       give back what was claimed for it

What fails here is found by an audit: it is an older copy, and is removed.
"""

from __future__ import annotations

from brickyard.core import errors
from brickyard.db import audit
from brickyard.db.database import Tx
from brickyard.flows import engine, wiping
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.repair_adopt import label_of
from brickyard.flows.repair_remove import delete, failed, gone, wipe
from brickyard.flows.repair_remove import params as params


def check(run: Run, tx: Tx) -> None:
    label = label_of(run.params["brick"])
    row = audit.placed(tx, label.kind, label.id)
    if row is not None and row.pool_id == run.params["pool_id"]:
        raise errors.Conflict(f"{label.name} lies on {run.params['pool']}: it stays.")


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
