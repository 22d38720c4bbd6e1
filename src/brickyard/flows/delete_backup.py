"""Delete a backup.

delete   delete what is stored      undo: none
gone     remove the row
"""

from __future__ import annotations

from typing import Any

from brickyard.backups.manifest import Where
from brickyard.core import errors
from brickyard.db import store
from brickyard.db.database import Tx
from brickyard.flows import engine
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.telling import tell

# parameters --------------------------------------------------------------------------------------------------------


def params(*, backup_id: str, container: str, host: str) -> dict[str, Any]:
    """`host`: one whose service reaches it."""
    return {"backup_id": backup_id, "container": container, "host": host}


# implementations ---------------------------------------------------------------------------------------------------


def delete(run: Run) -> None:
    p = run.params
    with run.world.long.entered(run.world.settings.conductor_threads):
        where = Where(p["container"], p["backup_id"])
        run.world.nodes[p["host"]].delete_backup(where, run.progress(p["backup_id"]))


def gone(run: Run, tx: Tx) -> None:
    store.end(tx, "backup", run.params["backup_id"], "delete", ok=True)


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    store.end(tx, "backup", run.params["backup_id"], "delete", ok=False, fault=error.message)
    tell(
        run,
        tx,
        error,
        kind="VOLUME_BACKUP",
        id=run.params["backup_id"],
        action="backup_delete",
        detail="backup_delete_failed",
    )


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "delete_backup",
    (
        Act("delete", do=delete, undo=engine.nothing),
        Commit("gone", do=gone, undo=engine.nothing_in),
    ),
    failed=failed,
)
