"""Take over a backup whose record was exported: here before it was forgotten, or elsewhere.

find   look whether all of it is there      undo: none
show   the backup is available
"""

from __future__ import annotations

from typing import Any

from brickyard.backups.manifest import Where
from brickyard.core import errors, sizes
from brickyard.db import store
from brickyard.db.database import Tx
from brickyard.flows import engine
from brickyard.flows.engine import Act, Commit, Flow, Run

# parameters --------------------------------------------------------------------------------------------------------


def params(*, backup_id: str, container: str, host: str, gib: int, volume_id: str) -> dict[str, Any]:
    """`gib` and `volume_id`: what the record says, and the backup must say as well."""
    return {"backup_id": backup_id, "container": container, "host": host, "gib": gib, "volume_id": volume_id}


# implementations ---------------------------------------------------------------------------------------------------


def find(run: Run) -> dict[str, Any]:
    p = run.params
    kept = run.world.nodes[p["host"]].find_backup(Where(p["container"], p["backup_id"]))
    if sizes.bytes_to_gib(kept.size_bytes) != p["gib"] or kept.volume_id != p["volume_id"]:
        raise errors.Invalid(
            f"The record says {p['gib']} GiB of volume {p['volume_id']}, and the backup {kept.size_bytes} bytes of "
            f"volume {kept.volume_id}."
        )
    return {"objects": kept.objects, "stored_bytes": kept.stored_bytes}


def show(run: Run, tx: Tx) -> None:
    kept = run.data["find"]
    facts = {"object_count": kept["objects"], "stored_bytes": kept["stored_bytes"], "fault": None}
    store.end(tx, "backup", run.params["backup_id"], "create", ok=True, **facts)


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    store.end(tx, "backup", run.params["backup_id"], "create", ok=False, fault=error.message)


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "import_backup",
    (
        Act("find", do=find, undo=engine.nothing),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=failed,
)
