"""Delete a backup.

delete   delete what is stored      undo: none
gone     remove the row
"""

from __future__ import annotations

from typing import Any

from brickyard.backups.manifest import Where
from brickyard.core import errors
from brickyard.db import messages, store
from brickyard.db.database import Tx
from brickyard.flows import engine
from brickyard.flows.engine import Act, Commit, Flow, Run

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
    messages.insert(
        tx,
        project_id=run.project_id,
        request_id=run.request_id,
        resource_type="VOLUME_BACKUP",
        resource_uuid=run.params["backup_id"],
        action="backup_delete",
        detail="backup_delete_failed",
        cause=error.message,
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
