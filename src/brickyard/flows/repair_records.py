"""Bring the accounts of the database in order: claims, their sums, reservations. No host is asked.

repair   look again whether it still differs, and write what is right, in one transaction      undo: the rollback
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from brickyard.core import clock, errors
from brickyard.core.bricks import Kind
from brickyard.db import audit, claims, flows, instances, reservations
from brickyard.db.database import Tx, after_commit
from brickyard.flows import engine
from brickyard.flows.engine import Commit, Flow, Run

# parameters --------------------------------------------------------------------------------------------------------


def params(*, what: str, id: str, pool_id: str | None = None, kind: str | None = None) -> dict[str, Any]:
    """`what` is a key of REPAIRS; `id` of the brick, the instance, the reservation, or what the sum is of."""
    return {"what": what, "id": id, "pool_id": pool_id, "kind": kind}


# implementations ---------------------------------------------------------------------------------------------------


def repair(run: Run, tx: Tx) -> None:
    # A sum is exact in the transaction that writes it, whoever works on its parts.
    id = [] if run.params["what"] == "recount" else [run.params["id"]]
    if other := audit.working_on(tx, id, but=run.id):
        raise errors.Conflict(f"Flow {other} works on this; when it is done, ask for the audit again.")
    REPAIRS[run.params["what"]](tx, run.params)
    after_commit(tx, run.world.places.refresh)


def _release(tx: Tx, p: dict[str, Any]) -> None:
    """The claim of a brick that no row places there."""
    for kind in Kind:
        row = audit.placed(tx, kind, p["id"])
        if row is not None and row.pool_id == p["pool_id"]:
            raise errors.Conflict(f"{row.name} is placed there by now: its claim stays.")
    claims.release(tx, p["id"], only_pool_id=p["pool_id"])


def _claim(tx: Tx, p: dict[str, Any]) -> None:
    """The claim of a row that has none there, or one of another size."""
    row = audit.placed(tx, Kind(p["kind"]), p["id"])
    if row is None or row.pool_id != p["pool_id"]:
        raise errors.Conflict(f"{p['kind']} {p['id']} is not placed there any more.")
    claims.count(tx, pool_id=row.pool_id, brick_id=row.id, gib=row.gib)


def _release_host(tx: Tx, p: dict[str, Any]) -> None:
    row = instances.find(tx, p["id"])
    if row is not None and row.host_id == p["pool_id"]:
        raise errors.Conflict(f"Instance {p['id']} is on that host by now: its claim stays.")
    claims.release_host(tx, p["id"], only_host_id=p["pool_id"])


def _clear(tx: Tx, p: dict[str, Any]) -> None:
    row = reservations.find(tx, p["id"])
    if row is None:
        return
    flow = flows.find(tx, row.request_id)
    if row.expires_at >= clock.stamp() or (flow is not None and flow.status in flows.OPEN):
        raise errors.Conflict(f"Reservation {p['id']} is needed: it stays.")
    reservations.clear(tx, p["id"])


REPAIRS: dict[str, Callable[[Tx, dict[str, Any]], None]] = {
    "release": _release,
    "claim": _claim,
    "release_host": _release_host,
    "recount": lambda tx, p: claims.recount(tx, p["id"]),
    "clear": _clear,
}


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """The next audit finds it again."""


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow("repair_records", (Commit("repair", do=repair, undo=engine.nothing_in),), failed=failed)
