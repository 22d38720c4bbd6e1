"""Delete an attachment: close the brick unless another attachment uses it, then remove the row.

unexport  serve it no longer, if it was    undo: none, the owner wants it gone
close     close the brick on its host      undo: none
gone      remove the attachment; the volume's status follows from those that remain

With `keep`, the attachment stays and only loses its connection: what the older calls do in two steps.
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors
from brickyard.db import attachments, store
from brickyard.db.database import Tx
from brickyard.flows import engine
from brickyard.flows.attach_volume import close_unless_shared, unexport
from brickyard.flows.engine import Act, Commit, Flow, Run

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *, attachment_id: str, volume_id: str, pool: str | None, keep: bool = False, exported: bool = False
) -> dict[str, Any]:
    """`pool` None: nothing was connected. `exported`: to another host, by NVMe."""
    return {
        "attachment_id": attachment_id,
        "volume_id": volume_id,
        "pool": pool,
        "keep": keep,
        "exported": exported,
    }


# implementations ---------------------------------------------------------------------------------------------------


def close(run: Run) -> None:
    if run.params["pool"] is not None:
        close_unless_shared(run, run.params["pool"], run.params["volume_id"], run.params["attachment_id"])


def gone(run: Run, tx: Tx) -> None:
    if run.params.get("keep"):
        attachments.update(tx, run.params["attachment_id"], connection_info=None, connector=None)
        return
    attachments.delete(tx, run.params["attachment_id"])
    store.settle(tx, run.params["volume_id"])


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    if run.params.get("keep"):
        return
    store.end(tx, "attachment", run.params["attachment_id"], "detach", ok=False)
    store.settle(tx, run.params["volume_id"])


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "detach_volume",
    (
        Act("unexport", do=unexport, undo=engine.nothing),
        Act("close", do=close, undo=engine.nothing),
        Commit("gone", do=gone, undo=engine.nothing_in),
    ),
    failed=failed,
)
