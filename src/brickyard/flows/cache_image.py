"""Keep an image in a pool, to clone volumes from.

brick   make its brick of the image     undo: wipe and delete it
show    it may be cloned

Its row and its claim are there before, and gone if this fails: who waits for it makes a volume in another way.
"""

from __future__ import annotations

import functools

from brickyard.core import errors, pools, sizes
from brickyard.core.bricks import NOBODY, Kind, Label, name_of
from brickyard.db import cached_images, claims, store
from brickyard.db.database import Tx, after_commit
from brickyard.flows import engine, image_cache, image_files, wiping
from brickyard.flows.engine import Act, Commit, Flow, Run

# implementations ---------------------------------------------------------------------------------------------------


def make(run: Run) -> None:
    p = run.params
    at, source = pools.parse(p["pool"]), p["source"]
    label = Label(Kind.IMAGE, p["cached_id"], NOBODY, parent=source["id"])
    size_bytes, progress = sizes.gib_to_bytes(p["gib"]), run.progress(label.name)
    with image_files.opened(run, source["id"], source.get("facts"), p["cached_id"]) as image:
        run.world.nodes[at.host].import_brick(at.backend, image, label, size_bytes, progress)


def unmake(run: Run) -> None:
    image_files.discard(run, run.params["cached_id"])
    wiping.erase(run, run.params["pool"], name_of(Kind.IMAGE, run.params["cached_id"]))


def show(run: Run, tx: Tx) -> None:
    store.end(tx, "cached_image", run.params["cached_id"], "create", ok=True)
    _tell(run, tx)


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    p = run.params
    _tell(run, tx)
    claims.release(tx, p["cached_id"])
    cached_images.forget_users(tx, p["cached_id"])
    store.end(tx, "cached_image", p["cached_id"], "create", ok=False)
    after_commit(tx, lambda: run.world.places.claimed(p["pool_id"], -p["gib"]))


def _tell(run: Run, tx: Tx) -> None:
    """Those that wait need not."""
    for id in cached_images.waiting(tx, run.params["cached_id"]):
        after_commit(tx, functools.partial(run.world.bell.ring, id))


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    image_cache.CACHE,
    (
        Act("brick", do=make, undo=unmake),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=failed,
)
