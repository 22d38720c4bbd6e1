"""Make an image of a volume.

image      nothing: the request has made its record                          undo: delete that
claim      claim room for a snapshot of our own, if the volume is in use     undo: give it back
snapshot   take that snapshot; a guest is paused                             undo: wipe and delete it
write      the node writes the content as a file beside the image store      undo: remove it
store      look at the file as at one from outside, and keep it, or hand it   undo: forget and remove it
           to the image service
drop       wipe and delete that snapshot                                     undo: none
show       the image is active, and the volume what it was before

The record of the image is there since the request, and gone when this fails.
"""

from __future__ import annotations

import os
from typing import Any

from brickyard.brick import images as inspection
from brickyard.core import errors, pools, sizes
from brickyard.core.bricks import Kind, name_of
from brickyard.db import images, store
from brickyard.db.database import Tx
from brickyard.flows import engine, forget_image, image_files, image_store, own_snapshot
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.telling import tell
from brickyard.nodes import verbs

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *,
    image_id: str,
    format: str,
    volume_id: str,
    own_snapshot: bool,
    pool: str,
    pool_id: str,
    gib: int,
    owner_id: str,
    own: bool,
    protected: bool,
) -> dict[str, Any]:
    """`own_snapshot`: the content is kept still by a snapshot that lives as long as this; `owner_id` is the project of
    the volume. `own`: the image is one of ours, and otherwise of the cloud's image service."""
    return {
        "image_id": image_id,
        "format": format,
        "volume_id": volume_id,
        "own_snapshot": own_snapshot,
        "pool": pool,
        "pool_id": pool_id,
        "gib": gib,
        "owner_id": owner_id,
        "own": own,
        "protected": protected,
    }


# implementations ---------------------------------------------------------------------------------------------------


def unmake(run: Run) -> None:
    """The request has made it, so that its id can be answered. An image service that is away does not keep the volume
    waiting: it is asked later."""
    if run.params["own"] or run.world.glance is None:
        return
    try:
        run.world.glance.delete(run.params["image_id"])
    except errors.ImageServiceUnavailable:
        with run.world.db.begin() as tx:
            forget_image.queue(tx, run.params["image_id"], project_id=run.project_id, request_id=run.request_id)


def write(run: Run) -> None:
    p, own = run.params, own_snapshot.of(run)
    at, name = pools.parse(p["pool"]), own.name if own else name_of(Kind.VOLUME, p["volume_id"])
    path = image_store.temporary(image_store.made(run.world.images), p["image_id"])
    with run.world.long.entered(run.world.settings.conductor_threads):
        image_store.discard(run.world.images, p["image_id"])  # of one that died here
        image = verbs.Image(str(path), p["format"])
        run.world.nodes[at.host].export_brick(at.backend, name, image, run.progress(name))


def unwrite(run: Run) -> None:
    image_store.discard(run.world.images, run.params["image_id"])


def keep(run: Run) -> dict[str, Any]:
    p, directory = run.params, run.world.images
    if not p["own"]:
        return _give(run)
    with run.world.db.read() as tx:
        [row] = images.find(tx, p["image_id"])
    path = image_store.temporary(directory, p["image_id"])
    if not path.exists() and row.files:  # this ran before
        path = directory / row.files["disk"]
    size_bytes = _checked(run, str(path))
    with run.world.long.entered(run.world.settings.conductor_threads):
        sha256 = image_store.digest(path)

    def record() -> None:
        with run.world.db.begin() as tx:
            images.update(tx, p["image_id"], files={"disk": sha256}, size_bytes=size_bytes)

    image_store.keep(run.world.db, directory, path, sha256, record)
    return {"size_bytes": size_bytes}


def _give(run: Run) -> dict[str, Any]:
    """Hand the file to the image service."""
    p = run.params
    path = image_store.temporary(run.world.images, p["image_id"])
    size_bytes = _checked(run, str(path)) if path.exists() else None  # it is gone where this ran before
    with run.world.long.entered(run.world.settings.conductor_threads):
        image_files.of(run).store(p["image_id"], path, protected=p["protected"])
    image_store.discard(run.world.images, p["image_id"])
    return {"size_bytes": size_bytes}


def _checked(run: Run, path: str) -> int:
    """The size of a file that may be an image here."""
    size_bytes, max_bytes = os.path.getsize(path), run.world.settings.image_max_bytes
    if size_bytes > max_bytes:
        raise errors.Invalid(f"The image has {size_bytes} bytes, and this service takes at most {max_bytes}.")
    try:
        inspection.check_import(path, run.params["format"], sizes.gib_to_bytes(sizes.MAX_GIB))
    except errors.UnsafeImage as error:
        raise errors.UnsafeImage(
            f"What the volume holds looks like an image itself, and would be taken for that: {error.message}; "
            "upload it as qcow2"
        ) from error
    return size_bytes


def unkeep(run: Run) -> None:
    if not run.params["own"]:
        return
    directory = run.world.images
    with image_store.locked(image_store.made(directory)):
        with run.world.db.begin() as tx:
            found = images.find(tx, run.params["image_id"])
            images.update(tx, run.params["image_id"], files={})
        image_store.remove_unused(run.world.db, directory, [sha256 for row in found for sha256 in row.files.values()])


def show(run: Run, tx: Tx) -> None:
    p = run.params
    if p["own"]:
        images.update(tx, p["image_id"], status="active")
    own_snapshot.unclaim(run, tx)
    store.end(tx, "volume", p["volume_id"], "upload", ok=True)


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    p = run.params
    store.end(tx, "volume", p["volume_id"], "upload", ok=False)
    images.delete(tx, p["image_id"])
    tell(
        run,
        tx,
        error,
        kind="VOLUME",
        id=p["volume_id"],
        action="upload",
        detail="image_unacceptable" if isinstance(error, errors.UnsafeImage) else "unknown",
    )


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "upload_image",
    (
        Act("image", do=engine.nothing, undo=unmake),
        Commit("claim", do=own_snapshot.claim, undo=own_snapshot.unclaim),
        Act("snapshot", do=own_snapshot.take, undo=own_snapshot.erase),
        Act("write", do=write, undo=unwrite),
        Act("store", do=keep, undo=unkeep),
        Act("drop", do=own_snapshot.drop, undo=engine.nothing),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=failed,
)
