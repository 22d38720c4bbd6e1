"""End a backup that is being made: its own flow fails then, deletes what it stored, and removes the row.

stop   tell the node that stores it     undo: none
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors
from brickyard.db.database import Tx
from brickyard.flows import engine
from brickyard.flows.engine import Act, Flow, Run

# parameters --------------------------------------------------------------------------------------------------------


def params(*, backup_id: str, host: str) -> dict[str, Any]:
    return {"backup_id": backup_id, "host": host}


# implementations ---------------------------------------------------------------------------------------------------


def stop(run: Run) -> None:
    run.world.nodes[run.params["host"]].cancel_backup(run.params["backup_id"])


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """It is cancelled all the same: its row says so, and what stores it looks there when it begins, or begins again."""


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow("cancel_backup", (Act("stop", do=stop, undo=engine.nothing),), failed=failed)
