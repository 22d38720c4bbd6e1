"""Write on bricks whose they are now, after their rows have got another owner.

relabel   each brick says what its row says at that moment     undo: the same

What the bricks say follows from the rows and never the other way, so there is nothing to take back: an undo that fails
is tried again for ever, and that is what is wanted of this work when a host is away for a while.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brickyard.core import errors, pools
from brickyard.core.bricks import Kind, Label
from brickyard.db import snapshots, volumes
from brickyard.db.database import Tx
from brickyard.flows.engine import Act, Flow, Run

# parameters --------------------------------------------------------------------------------------------------------


def params(*, volume_ids: Sequence[str], snapshot_ids: Sequence[str]) -> dict[str, Any]:
    return {"volumes": list(volume_ids), "snapshots": list(snapshot_ids)}


# implementations ---------------------------------------------------------------------------------------------------


def relabel(run: Run) -> None:
    for host, label in _owners(run):
        at = pools.parse(host)
        try:
            run.world.nodes[at.host].relabel_brick(at.backend, label)
        except (errors.NotFound, errors.HostLost):  # deleted meanwhile; or looked at when its host is back
            continue


def relabel_at_last(run: Run) -> None:
    """What was tried before and failed. A brick that is not ours stays as it is, and the audit tells of it."""
    try:
        relabel(run)
    except errors.BrickMismatch:
        return


def _owners(run: Run) -> list[tuple[str, Label]]:
    """Pool and label of each brick that has a place."""
    found = []
    with run.world.db.read() as tx:
        for id in run.params["volumes"]:
            row = volumes.find(tx, id)
            if row is not None and row.host is not None:
                found.append((row.host, Label(Kind.VOLUME, id, row.project_id, row.generation)))
        for id in run.params["snapshots"]:
            row = snapshots.find(tx, id)
            if row is not None and row.host is not None:
                found.append((row.host, Label(Kind.SNAPSHOT, id, row.project_id, parent=row.volume_id)))
    return found


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """It has been done by the undo."""


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow("relabel_bricks", (Act("relabel", do=relabel, undo=relabel_at_last),), failed=failed)
