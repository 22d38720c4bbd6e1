"""A host that falls silent while a flow makes bricks there is not waited for when there is another one. What it may
have made meanwhile, or makes yet, is removed when it answers again, by a flow of its own; so long it stays claimed.

Such a flow, while it is open, is also what says that a brick on a pool is none of that flow's any more.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from brickyard.core.bricks import Kind, Label
from brickyard.db import flows, reservations
from brickyard.db.database import Tx
from brickyard.flows import remove_copy
from brickyard.flows.engine import Run


def forsake(run: Run, held: dict[str, Any]) -> None:
    """Give up a reserved host, with what was made there. Nothing where that was done before."""
    with run.world.db.begin() as tx:
        if not reservations.forsake(tx, held["reservation_id"]):
            return
        for brick_id, pool in held["pools"].items():
            kind = Kind.ROOT if brick_id == run.params["instance_id"] else Kind.VOLUME
            leave(run, tx, Label(kind, brick_id, run.project_id), pool["name"], pool["id"])


def leave(run: Run, tx: Tx, label: Label, pool: str, pool_id: str) -> None:
    """What lies on a pool by this label, or will, is removed, and then its claim given back."""
    flows.insert(
        tx,
        id=str(uuid.uuid4()),
        name=remove_copy.FLOW.name,
        params=remove_copy.params(pool=pool, pool_id=pool_id, label=label),
        project_id=run.project_id,
        resource_id=pool_id,  # and not the volume: that may be used and changed meanwhile
        request_id=run.request_id,
    )


def forsaken(tx: Tx, brick_ids: Iterable[str]) -> dict[str, dict[str, str]]:
    """Brick → the pools where it is still to be removed, id → name."""
    found: dict[str, dict[str, str]] = {id: {} for id in brick_ids}
    for row in flows.open_named(tx, [remove_copy.FLOW.name]):
        if row.params["brick"]["id"] in found:
            found[row.params["brick"]["id"]][row.params["pool_id"]] = row.params["pool"]
    return found
