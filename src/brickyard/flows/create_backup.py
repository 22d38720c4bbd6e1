"""Make a backup of a volume or of a snapshot.

claim      claim room for a snapshot of our own, if the volume is in use     undo: give it back
snapshot   take that snapshot; a guest is paused                             undo: wipe and delete it
store      store the content                                                 undo: delete what is stored
drop       wipe and delete that snapshot                                     undo: none
show       the backup is available, and its source what it was before
"""

from __future__ import annotations

from typing import Any

from brickyard.backups.copying import Task
from brickyard.backups.manifest import Where
from brickyard.core import errors, pools, sizes
from brickyard.core.bricks import Kind, name_of
from brickyard.db import backups, store
from brickyard.db.database import Row, Tx
from brickyard.flows import engine, own_snapshot
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.telling import tell

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *,
    backup_id: str,
    volume_id: str,
    snapshot_id: str | None,
    own_snapshot: bool,
    pool: str,
    pool_id: str,
    gib: int,
    container: str,
    base: dict[str, str] | None,
    base_snapshot_id: str | None,
    owner_id: str,
) -> dict[str, Any]:
    """`own_snapshot`: the content is kept still by a snapshot that lives as long as this. `base` is {container, id} of
    the backup that it is compared with, and `base_snapshot_id` the snapshot in the same pool that this one is a backup
    of; `owner_id` the project of the volume."""
    return {
        "backup_id": backup_id,
        "volume_id": volume_id,
        "snapshot_id": snapshot_id,
        "own_snapshot": own_snapshot,
        "pool": pool,
        "pool_id": pool_id,
        "gib": gib,
        "container": container,
        "base": base,
        "base_snapshot_id": base_snapshot_id,
        "owner_id": owner_id,
    }


# implementations ---------------------------------------------------------------------------------------------------


def keep(run: Run) -> dict[str, Any]:
    p = run.params
    with run.world.db.read() as tx:
        row = backups.find(tx, p["backup_id"])
    _refuse_cancelled(row)
    base = Where(**p["base"]) if p["base"] else None
    kept_id = p.get("base_snapshot_id")  # a release before this one did not write it
    task = Task(
        Where(p["container"], p["backup_id"]),
        p["volume_id"],
        run.project_id,
        sizes.gib_to_bytes(p["gib"]),
        base,
        name_of(Kind.SNAPSHOT, kept_id) if kept_id else None,
    )
    at, name = pools.parse(p["pool"]), _source(run)
    with run.world.long.entered(run.world.settings.conductor_threads):
        kept = run.world.nodes[at.host].backup_brick(at.backend, name, task, run.progress(name))
    return {"objects": kept.objects, "stored_bytes": kept.stored_bytes, "read_bytes": kept.read_bytes}


def _refuse_cancelled(row: Row | None) -> None:
    if row is None or row.cancelled:
        raise errors.Cancelled


def _source(run: Run) -> str:
    p, own = run.params, own_snapshot.of(run)
    if own is not None:
        return own.name
    return name_of(Kind.SNAPSHOT, p["snapshot_id"]) if p["snapshot_id"] else name_of(Kind.VOLUME, p["volume_id"])


def unkeep(run: Run) -> None:
    p = run.params
    run.world.nodes[pools.parse(p["pool"]).host].delete_backup(Where(p["container"], p["backup_id"]))


def show(run: Run, tx: Tx) -> None:
    _refuse_cancelled(backups.find(tx, run.params["backup_id"]))
    kept = run.data["store"]
    facts = {"object_count": kept["objects"], "stored_bytes": kept["stored_bytes"], "fault": None}
    store.end(tx, "backup", run.params["backup_id"], "create", ok=True, **facts)
    own_snapshot.unclaim(run, tx)
    _release(run, tx, ok=True)


def _release(run: Run, tx: Tx, *, ok: bool) -> None:
    """The source is what it was before."""
    p = run.params
    noun, id = ("snapshot", p["snapshot_id"]) if p["snapshot_id"] else ("volume", p["volume_id"])
    store.end(tx, noun, id, "backup", ok=ok)


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    _release(run, tx, ok=False)
    store.end(tx, "backup", run.params["backup_id"], "create", ok=False, fault=error.message)
    if backups.remove_cancelled(tx, run.params["backup_id"]):
        return
    tell(
        run, tx, error, kind="VOLUME_BACKUP", id=run.params["backup_id"], action="backup_create", detail="backup_failed"
    )


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "create_backup",
    (
        Commit("claim", do=own_snapshot.claim, undo=own_snapshot.unclaim),
        Act("snapshot", do=own_snapshot.take, undo=own_snapshot.erase),
        Act("store", do=keep, undo=unkeep),
        Act("drop", do=own_snapshot.drop, undo=engine.nothing),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=failed,
)
