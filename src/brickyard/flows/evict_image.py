"""Remove an image that a pool keeps.

wipe       make its brick unreadable                  undo: none
receipts   keep that this was done, and how
delete     delete its brick                           undo: none
gone       remove the row, give the claim back

No volume is being made of it, and none will be. When this fails, the next that needs room tries again.
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors
from brickyard.core.bricks import Kind, name_of
from brickyard.db import claims, hosts, store
from brickyard.db.database import Tx, after_commit
from brickyard.flows import engine, image_cache, wiping
from brickyard.flows.engine import Act, Commit, Flow, Run

# implementations ---------------------------------------------------------------------------------------------------


def wipe(run: Run) -> dict[str, Any]:
    return wiping.wipe(run, run.params["pool"], [_name(run)])


def delete(run: Run) -> None:
    wiping.delete(run, run.params["pool"], [_name(run)])


def _name(run: Run) -> str:
    return name_of(Kind.IMAGE, run.params["cached_id"])


def gone(run: Run, tx: Tx) -> None:
    p = run.params
    claims.release(tx, p["cached_id"])
    store.end(tx, "cached_image", p["cached_id"], "delete", ok=True)
    pool = hosts.find_pool(tx, p["pool_id"])
    if pool is not None and not pool.capabilities.get("thin"):
        hosts.freed(tx, pool.id, p["gib"])
    after_commit(tx, run.world.places.refresh)


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    store.end(tx, "cached_image", run.params["cached_id"], "delete", ok=False)


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    image_cache.EVICT,
    (
        Act("wipe", do=wipe, undo=engine.nothing),
        Commit("receipts", do=wiping.kept, undo=engine.nothing_in),
        Act("delete", do=delete, undo=engine.nothing),
        Commit("gone", do=gone, undo=engine.nothing_in),
    ),
    failed=failed,
)
