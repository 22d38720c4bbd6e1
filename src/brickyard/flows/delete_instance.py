"""Delete an instance; its volumes stay, or go with it.

destroy    end its guest on its host                            undo: none
unexport   bricks of other hosts are served to it no longer     undo: none
wipe       make its root disk unreadable                        undo: none
receipts   keep that this was done, and how
delete     delete its root disk                                 undo: none
gone       remove the rows, give everything back; the volumes are available again, or flows that delete them are queued
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Sequence
from typing import Any

from brickyard.core import errors
from brickyard.core.bricks import Kind, name_of
from brickyard.db import attachments, claims, flows, store, volumes
from brickyard.db.database import Tx, after_commit
from brickyard.flows import delete_volume, engine, reach, wiping
from brickyard.flows.engine import Act, Commit, Flow, Run

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *,
    instance_id: str,
    host: str | None,
    root_pool: str | None,
    delete_volumes: Sequence[str],
    far: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """`host` None: it never ran anywhere. `far` are its disks that lie on other hosts, see reach.far_disks."""
    return {
        "instance_id": instance_id,
        "host": host,
        "root_pool": root_pool,
        "delete_volumes": list(delete_volumes),
        "far": list(far),
    }


# implementations ---------------------------------------------------------------------------------------------------


def destroy(run: Run) -> None:
    if run.params["host"] is not None:
        run.world.nodes[run.params["host"]].destroy(run.params["instance_id"])


def unexport(run: Run) -> None:
    p = run.params
    for one in p.get("far", ()):
        reach.unexport(run, p["host"], p["instance_id"], Kind(one["kind"]), one["id"], one["pool"])
    if p["host"] is not None:  # also what was being attached or detached when the deletion began
        reach.cut_off(run, p["host"], p["instance_id"])


def wipe_root(run: Run) -> dict[str, Any]:
    return wiping.wipe(run, run.params["root_pool"], [name_of(Kind.ROOT, run.params["instance_id"])])


def delete_root(run: Run) -> None:
    wiping.delete(run, run.params["root_pool"], [name_of(Kind.ROOT, run.params["instance_id"])])


def gone(run: Run, tx: Tx) -> None:
    instance_id = run.params["instance_id"]
    for attachment in attachments.of_instance(tx, instance_id):
        attachments.delete(tx, attachment.id)
        store.settle(tx, attachment.volume_id)
    claims.release_host(tx, instance_id)
    claims.release(tx, instance_id)
    store.end(tx, "instance", instance_id, "delete", ok=True)
    for volume_id in run.params["delete_volumes"]:
        _delete_volume(run, tx, volume_id)
    if run.params["host"] is not None:
        after_commit(tx, functools.partial(run.world.places.redraw, [run.params["host"]]))


def _delete_volume(run: Run, tx: Tx, volume_id: str) -> None:
    """Queue the deletion of a volume that went with the instance; one that somebody else uses meanwhile stays."""
    row = volumes.find(tx, volume_id)
    if row is None or store.attachment_statuses(tx, volume_id) or store.has_snapshots(tx, volume_id):
        return
    try:
        store.begin(tx, "volume", volume_id, "delete")
    except errors.InvalidState:
        return
    flows.insert(
        tx,
        id=str(uuid.uuid4()),
        name=delete_volume.FLOW.name,
        params=delete_volume.params(
            volume_id=volume_id, pool=row.host, pool_id=row.pool_id, gib=row.size_gib, snapshots=[]
        ),
        project_id=row.project_id,
        resource_id=volume_id,
        request_id=run.request_id,
    )


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    store.end(tx, "instance", run.params["instance_id"], "delete", ok=False, fault=error.message)


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "delete_instance",
    (
        Act("destroy", do=destroy, undo=engine.nothing),
        Act("unexport", do=unexport, undo=engine.nothing),
        Act("wipe", do=wipe_root, undo=engine.nothing),
        Commit("receipts", do=wiping.kept, undo=engine.nothing_in),
        Act("delete", do=delete_root, undo=engine.nothing),
        Commit("gone", do=gone, undo=engine.nothing_in),
    ),
    failed=failed,
)
