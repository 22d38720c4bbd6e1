"""Make the content of a volume that of a backup.

restore   fetch what differs                         undo: none; the volume is in error then
show      the volume is available, with what the backup kept of its row, and so is the backup
"""

from __future__ import annotations

from typing import Any

from brickyard.backups.manifest import Where
from brickyard.core import errors, pools
from brickyard.core.bricks import Kind, name_of
from brickyard.db import backups, store, volumes
from brickyard.db.database import Tx
from brickyard.flows import engine
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.telling import tell

# parameters --------------------------------------------------------------------------------------------------------


def params(*, backup_id: str, container: str, volume_id: str, pool: str) -> dict[str, Any]:
    return {"backup_id": backup_id, "container": container, "volume_id": volume_id, "pool": pool}


# implementations ---------------------------------------------------------------------------------------------------


def restore(run: Run) -> None:
    p = run.params
    at, name = pools.parse(p["pool"]), name_of(Kind.VOLUME, p["volume_id"])
    with run.world.long.entered(run.world.settings.conductor_threads):
        where = Where(p["container"], p["backup_id"])
        run.world.nodes[at.host].restore_brick(at.backend, name, where, run.progress(name))


def show(run: Run, tx: Tx) -> None:
    kept = backups.find(tx, run.params["backup_id"])
    if kept is not None:  # an administrator may have deleted it by force
        volumes.update(tx, run.params["volume_id"], **kept.of_volume)
    store.end(tx, "volume", run.params["volume_id"], "restore", ok=True, fault=None)
    store.end(tx, "backup", run.params["backup_id"], "restore", ok=True)


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    store.end(tx, "volume", run.params["volume_id"], "restore", ok=False, fault=error.message)
    store.end(tx, "backup", run.params["backup_id"], "restore", ok=False)
    tell(
        run,
        tx,
        error,
        kind="VOLUME_BACKUP",
        id=run.params["backup_id"],
        action="backup_restore",
        detail="restore_failed",
    )


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "restore_backup",
    (
        Act("restore", do=restore, undo=engine.nothing),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=failed,
)
