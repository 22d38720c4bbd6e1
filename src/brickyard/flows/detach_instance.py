"""Unplug a volume from one of our own running instances.

unplug     ask the guest to let go, and wait until it has    undo: none; the volume stays attached when it does not
unexport   a brick of another host is served no longer       undo: none
gone       remove the attachment, the volume is available unless others use it
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors
from brickyard.db import attachments, store
from brickyard.db.database import Tx
from brickyard.flows import engine
from brickyard.flows.attach_instance import unexport, unplug
from brickyard.flows.engine import Act, Commit, Flow, Run

# parameters --------------------------------------------------------------------------------------------------------


def params(*, instance_id: str, host: str, attachment_id: str, volume_id: str, pool: str | None) -> dict[str, Any]:
    return {
        "instance_id": instance_id,
        "host": host,
        "attachment_id": attachment_id,
        "volume_id": volume_id,
        "pool": pool,
    }


# implementations ---------------------------------------------------------------------------------------------------


def gone(run: Run, tx: Tx) -> None:
    attachments.delete(tx, run.params["attachment_id"])
    store.settle(tx, run.params["volume_id"])


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """The guest still has it."""
    store.end(tx, "attachment", run.params["attachment_id"], "detach", ok=False)
    store.settle(tx, run.params["volume_id"])


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "detach_instance",
    (
        Act("unplug", do=unplug, undo=engine.nothing),
        Act("unexport", do=unexport, undo=engine.nothing),
        Commit("gone", do=gone, undo=engine.nothing_in),
    ),
    failed=failed,
)
