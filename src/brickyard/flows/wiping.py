"""Nothing that is deleted may be read by who gets its space next: wipe, keep the receipt, delete.

A wipe takes as long as the disks take. It holds no lock and no transaction, goes on where it died, and the claim on the
pool stays until the brick is gone. Flows that delete have it as steps of their own (`wipe`, then `keep`, which commits
with the end of the wipe); the undo of a create does all three at once (`erase`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brickyard.core import bricks, clock, errors, pools
from brickyard.core.bricks import Receipt
from brickyard.db import hosts, receipts
from brickyard.db.database import Tx
from brickyard.flows.engine import Run


def wipe(run: Run, pool: str | None, names: Sequence[str]) -> dict[str, Any]:
    """Make these bricks of a pool unreadable: `{"pool": …, "receipts": […]}`, as `keep` takes it. A brick that is not
    there has none. `pool` None: they were never placed. engine.Later while enough others are wiped."""
    if pool is None or not _takes_long(run, pool):
        return _wipe(run, pool, names)
    with run.world.long.entered(run.world.settings.conductor_threads):
        return _wipe(run, pool, names)


def _takes_long(run: Run, pool: str) -> bool:
    with run.world.db.read() as tx:
        row = hosts.find_pool(tx, pool)
    return row is not None and bool(row.capabilities.get("wipes"))


def _wipe(run: Run, pool: str | None, names: Sequence[str]) -> dict[str, Any]:
    made: list[dict[str, Any]] = []
    if pool is not None:
        at = pools.parse(pool)
        for name in names:
            started_at = clock.stamp()
            try:
                receipt = run.world.nodes[at.host].wipe_brick(at.backend, name, run.progress(name))
            except errors.NotFound:
                continue  # it is gone, or was never made
            made.append(told(receipt, started_at))
    return {"pool": pool, "receipts": made}


def told(receipt: Receipt, started_at: str) -> dict[str, Any]:
    """A receipt, as `keep` takes it."""
    return {
        "name": receipt.name,
        "size_bytes": receipt.size_bytes,
        "method": str(receipt.method),
        "verified": receipt.verified,
        "started_at": started_at,
        "finished_at": receipt.finished_at,
    }


def keep(run: Run, tx: Tx, wiped: dict[str, Any]) -> None:
    """Keep the receipts of a wipe: of the flow's project, where they name no other."""
    for receipt in wiped["receipts"]:
        parsed = bricks.parse(receipt["name"])
        if parsed is None:
            raise errors.BrickError(
                f"The receipt of {receipt['name']} is of no brick: report it as a bug of the driver."
            )
        kind, brick_id = parsed
        receipts.insert(
            tx,
            flow_id=run.id,
            pool=wiped["pool"],
            brick_id=brick_id,
            kind=str(kind),
            **{"project_id": run.project_id, **receipt},
        )


def kept(run: Run, tx: Tx) -> None:
    """The Commit after an Act called `wipe` that returned what `wipe` gave."""
    keep(run, tx, run.data["wipe"])


def delete(run: Run, pool: str | None, names: Sequence[str]) -> None:
    if pool is not None:
        at = pools.parse(pool)
        for name in names:
            run.world.nodes[at.host].delete_brick(at.backend, name)


def erase(run: Run, pool: str, name: str) -> None:
    """The undo of a create: something may have been written already."""
    wiped = _wipe(run, pool, [name])
    if wiped["receipts"]:
        with run.world.db.begin() as tx:
            keep(run, tx, wiped)
    delete(run, pool, [name])
