"""Move everything from one device of a pool to the others, which may take hours.

drain   move it, wipe where it was, keep the receipts of that; nothing new goes there from now on
        undo: wipe what has moved by then, keep the receipts; let bricks go there again
"""

from __future__ import annotations

from typing import Any

from brickyard.core import bricks, clock, errors
from brickyard.core.bricks import Kind, name_of
from brickyard.db import attachments, hosts, instances, snapshots, volumes
from brickyard.db import flows as flow_rows
from brickyard.db.database import Tx
from brickyard.flows import wiping
from brickyard.flows.engine import Act, Flow, Run
from brickyard.flows.make_pool import node_of

MOVE_AT_REST = ("disk", "partition")  # drivers whose bricks have another path when they have moved

# parameters --------------------------------------------------------------------------------------------------------


def params(*, host: str, backend: str, device: str) -> dict[str, Any]:
    return {"host": host, "backend": backend, "device": device}


# implementations ---------------------------------------------------------------------------------------------------


def drain(run: Run) -> None:
    with run.world.long.entered(run.world.settings.conductor_threads):
        empty(run)


def empty(run: Run) -> None:
    """Move everything from the device, and leave nothing behind that could be read."""
    device = run.params["device"]
    with run.world.db.read() as tx:
        known = attachments.known_by_path(tx, f"{run.params['host']}@{run.params['backend']}")
    held = [name_of(Kind.VOLUME, id) for id in known]
    node_of(run).drain_device(run.params["backend"], device, held, run.progress(device))
    wipe_moved(run)


def check_paths_stay(tx: Tx, pool_id: str) -> None:
    """Conflict while volumes of the pool move and with them their paths, which whoever attaches one would keep. Who
    asked before the drain began is attaching, and what he attaches is held."""
    row = hosts.find_pool(tx, pool_id)
    if row is None or row.driver not in MOVE_AT_REST:
        return
    for flow in flow_rows.open_named(tx, [FLOW.name]):
        if f"{flow.params['host']}@{flow.params['backend']}" == row.backend:
            raise errors.Conflict(
                f"Pool {row.name} is being drained of {flow.params['device']}, and volumes move: attach when flow "
                f"{flow.id} is over."
            )


def wipe_moved(run: Run) -> None:
    """Wipe what has moved away from the device, and keep its receipts before the node may forget them."""
    backend, device = run.params["backend"], run.params["device"]
    started_at = clock.stamp()
    receipts = node_of(run).wipe_moved(backend, device, run.progress(device))
    if not receipts:
        return
    with run.world.db.begin() as tx:
        [pool] = [row for row in hosts.list_pools(tx) if row.backend == f"{run.params['host']}@{backend}"]
        made = []
        for receipt in receipts:
            owner = _owner(tx, receipt.name)
            made.append(wiping.told(receipt, started_at) | ({"project_id": owner} if owner else {}))
        wiping.keep(run, tx, {"pool": pool.name, "receipts": made})


def _owner(tx: Tx, name: str) -> str | None:
    """The project of what is in a brick; None for what has no row."""
    kind, id = bricks.parse(name) or (None, "")
    nouns = {Kind.VOLUME: volumes.find, Kind.SNAPSHOT: snapshots.find, Kind.ROOT: instances.find}
    row = nouns[kind](tx, id) if kind is not None else None
    return row.project_id if row is not None else None


def refill(run: Run) -> None:
    wipe_moved(run)
    node_of(run).refill_device(run.params["backend"], run.params["device"])


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """What was moved is as good where it is; the flow says why the rest was not."""


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow("drain_device", (Act("drain", do=drain, undo=refill),), failed=failed)
