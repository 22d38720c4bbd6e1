"""Make the content of a volume that of an image.

write   the image goes over what was there    undo: none; the volume is in error then
show    the volume is what it was before, and bootable

A server of the compute service that waits for it is told, also when it failed, by a flow of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brickyard.compute import Event
from brickyard.core import errors, pools
from brickyard.core.bricks import Kind, name_of
from brickyard.db import store
from brickyard.db.database import Tx
from brickyard.flows import engine, image_files, tell_server
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.telling import tell

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *, volume_id: str, pool: str, image_id: str, image_metadata: Mapping[str, Any], facts: Mapping[str, Any] | None
) -> dict[str, Any]:
    """`facts`: of an image of the cloud's image service; None: it is our own."""
    return {
        "volume_id": volume_id,
        "pool": pool,
        "image_id": image_id,
        "image_metadata": dict(image_metadata),
        "facts": facts,
    }


# implementations ---------------------------------------------------------------------------------------------------


def write(run: Run) -> None:
    p = run.params
    at, name = pools.parse(p["pool"]), name_of(Kind.VOLUME, p["volume_id"])
    if p.get("facts") is not None:  # which takes its place among what takes long itself
        with image_files.opened(run, p["image_id"], p["facts"], p["volume_id"]) as image:
            run.world.nodes[at.host].rewrite_brick(at.backend, name, image, run.progress(name))
        return
    image = image_files.disk_image(run, p["image_id"])
    with run.world.long.entered(run.world.settings.conductor_threads):
        run.world.nodes[at.host].rewrite_brick(at.backend, name, image, run.progress(name))


def unwrite(run: Run) -> None:
    """The volume stays as it is; what was fetched goes."""
    image_files.discard(run, run.params["volume_id"])


def show(run: Run, tx: Tx) -> None:
    facts = {"bootable": True, "image_metadata": run.params["image_metadata"]}
    store.end(tx, "volume", run.params["volume_id"], "reimage", ok=True, fault=None, **facts)
    tell_server.queue(run, tx, Event.REIMAGED, run.params["volume_id"])


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    volume_id = run.params["volume_id"]
    store.end(tx, "volume", volume_id, "reimage", ok=False, fault=error.message)
    tell_server.queue(run, tx, Event.REIMAGED, volume_id, ok=False)
    tell(
        run,
        tx,
        error,
        kind="VOLUME",
        id=volume_id,
        action="reimage",
        detail="image_unacceptable" if isinstance(error, errors.UnsafeImage) else "unknown",
    )


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "reimage_volume",
    (
        Act("write", do=write, undo=unwrite),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=failed,
)
