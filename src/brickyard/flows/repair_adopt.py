"""Give bricks that say whose they are, and that no row knows, their rows back: a volume with its snapshots.

rows   volume and snapshots as their labels say, `creating`, with claims    undo: remove rows and claims, nothing else
look   the bricks are still there, say the same, and no guest uses them     undo: none, a brick only ever grew
show   they are available
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from brickyard.core import errors, pools, sizes
from brickyard.core.bricks import Found, Kind, Label
from brickyard.db import audit, hosts
from brickyard.db.database import Tx, after_commit
from brickyard.flows import engine
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.nodes import verbs

# parameters --------------------------------------------------------------------------------------------------------


def params(*, pool: str, pool_id: str, found: Iterable[Found]) -> dict[str, Any]:
    """`found` all have labels: a volume before its snapshots."""
    return {"pool": pool, "pool_id": pool_id, "bricks": [_pack(one) for one in found if one.label is not None]}


def _pack(found: Found) -> dict[str, Any]:
    assert found.label is not None
    return {"size_bytes": found.size_bytes, **label_to_json(found.label)}


def label_to_json(label: Label) -> dict[str, Any]:
    names = ("id", "project", "generation", "parent")
    return {"kind": str(label.kind), **{name: getattr(label, name) for name in names}}


def label_of(packed: dict[str, Any]) -> Label:
    return Label(Kind(packed["kind"]), packed["id"], packed["project"], packed["generation"], packed["parent"])


# implementations ---------------------------------------------------------------------------------------------------


def rows(run: Run, tx: Tx) -> None:
    p = run.params
    ids = [brick["id"] for brick in p["bricks"]]
    if other := audit.working_on(tx, ids, but=run.id):
        raise errors.Conflict(f"Flow {other} works on one of these bricks; when it is done, ask for the audit again.")
    pool = hosts.find_pool(tx, p["pool_id"])
    if pool is None:
        raise errors.NotFound(f"Pool {p['pool']} is gone.")
    for brick in p["bricks"]:
        label = label_of(brick)
        if not audit.restore(tx, pool, label, brick["size_bytes"]):
            raise errors.Conflict(
                f"{label.name} has a row by now, or is a snapshot of a volume that has none on {p['pool']}."
            )
    after_commit(tx, run.world.places.refresh)


def unrows(run: Run, tx: Tx) -> None:
    for brick in reversed(run.params["bricks"]):
        audit.unrestore(tx, label_of(brick))
    after_commit(tx, run.world.places.refresh)


def look(run: Run) -> None:
    """The rows hide the bricks from other repairs now, so what is true here stays true."""
    at = pools.parse(run.params["pool"])
    node: verbs.Node = run.world.nodes[at.host]
    users = {serial: guest.id for guest in node.guests() for serial in guest.serials if guest.status != "stopped"}
    for brick in run.params["bricks"]:
        label = label_of(brick)
        found = node.find_brick(at.backend, label.name)
        if found is None or found.label != label or found.wiping:
            raise errors.Conflict(f"{label.name} on {run.params['pool']} is not what it was when it was found.")
        if label.id in users:
            raise errors.GuestError(f"Guest {users[label.id]} has {label.name} in use; end that guest first.")
        if label.kind is Kind.VOLUME:
            node.grow_brick(at.backend, label.name, sizes.gib_to_bytes(sizes.bytes_to_gib(found.size_bytes)))


def show(run: Run, tx: Tx) -> None:
    for brick in run.params["bricks"]:
        audit.restored(tx, label_of(brick))


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """Nothing is left of the attempt but the bricks, and the next audit finds them again."""


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "repair_adopt",
    (
        Commit("rows", do=rows, undo=unrows),
        Act("look", do=look, undo=engine.nothing),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=failed,
)
