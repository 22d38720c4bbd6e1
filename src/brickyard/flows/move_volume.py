"""Move a volume that nobody uses to another pool, with what it holds; it keeps its id.

place    claim its size on the best pool that takes it                       undo: give the claim back
copy     make a brick there with the same content, of the next generation    undo: wipe and delete it
switch   the volume lies there, in one transaction with its end, and another flow removes the old copy

At every moment one copy counts: that on the pool of the row, and without rows that of the highest generation.
"""

from __future__ import annotations

import uuid
from typing import Any

from brickyard.core import errors, pools, sizes
from brickyard.core.bricks import Kind, Label, name_of
from brickyard.db import claims, flows, hosts, losses, store, volumes
from brickyard.db.database import Tx, after_commit
from brickyard.flows import engine, remove_copy, wiping
from brickyard.flows.create_volume import claim_best, give_back, to_ask
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.telling import tell
from brickyard.nodes import verbs

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *,
    volume_id: str,
    gib: int,
    pool: str,
    pool_id: str,
    generation: int,
    ask: dict[str, Any],
    action: str,
    change: dict[str, Any] | None = None,
    drain: str | None = None,
) -> dict[str, Any]:
    """`pool` and `generation` are those that it has now; `ask` what placement.Ask takes, as JSON; `action` that of
    states.py which ends with the move; `change` what else changes in its row then; `drain` the flow that drains its
    host, if that wants the move."""
    return {
        "volume_id": volume_id,
        "gib": gib,
        "pool": pool,
        "pool_id": pool_id,
        "generation": generation,
        "ask": ask,
        "action": action,
        "change": change or {},
        "drain": drain,
    }


# implementations ---------------------------------------------------------------------------------------------------


def place(run: Run, tx: Tx) -> dict[str, Any]:
    p = run.params
    taken = frozenset(row.name for id in claims.pools_of(tx, p["volume_id"]) if (row := hosts.find_pool(tx, id)))
    found = claim_best(run, tx, to_ask(p["ask"], p["gib"], taken), brick_id=p["volume_id"])
    volumes.update(tx, p["volume_id"], migration_status="migrating")
    return {"pool": found.name, "pool_id": found.id}


def unplace(run: Run, tx: Tx) -> None:
    give_back(run, tx, run.params["volume_id"], run.data["place"]["pool_id"], run.params["gib"])


def copy(run: Run) -> None:
    p = run.params
    source, target = pools.parse(p["pool"]), pools.parse(run.data["place"]["pool"])
    node: verbs.Node = run.world.nodes[target.host]
    with run.world.db.read() as tx:
        row = volumes.find(tx, p["volume_id"])
    if row is None:
        raise errors.NotFound(f"Volume {p['volume_id']} could not be found.")
    label = Label(Kind.VOLUME, row.id, row.project_id, p["generation"] + 1)
    progress = run.progress(label.name)
    with run.world.long.entered(run.world.settings.conductor_threads):
        if source.host == target.host:
            node.copy_brick(source.backend, label.name, target.backend, label, sizes.gib_to_bytes(p["gib"]), progress)
            return
        origin: verbs.Node = run.world.nodes[source.host]
        export = origin.export(source.backend, label.name, row.id, read_only=True)
        node.fetch_brick(target.backend, label, sizes.gib_to_bytes(p["gib"]), export, progress)
        origin.unexport(source.backend, label.name, row.id)


def uncopy(run: Run) -> None:
    source, name = pools.parse(run.params["pool"]), name_of(Kind.VOLUME, run.params["volume_id"])
    if source.host != pools.parse(run.data["place"]["pool"]).host:
        run.world.nodes[source.host].unexport(source.backend, name, run.params["volume_id"])
    wiping.erase(run, run.data["place"]["pool"], name_of(Kind.VOLUME, run.params["volume_id"]))


def switch(run: Run, tx: Tx) -> None:
    p = run.params
    target = hosts.find_pool(tx, run.data["place"]["pool_id"])
    if target is None:
        raise errors.NotFound(f"Pool {run.data['place']['pool']} is gone.")
    moved = volumes.switch(
        tx,
        p["volume_id"],
        from_pool_id=p["pool_id"],
        generation=p["generation"] + 1,
        pool_id=target.id,
        backend_id=target.backend_id,
        availability_zone=target.availability_zone,
        migration_status="success",
        **p["change"],
    )
    if not moved or not store.end(tx, "volume", p["volume_id"], p["action"], ok=True, fault=None):
        raise errors.Conflict(f"Volume {p['volume_id']} was changed while it was moved: it stays where it is.")
    label = Label(Kind.VOLUME, p["volume_id"], run.project_id, p["generation"])
    flows.insert(
        tx,
        id=str(uuid.uuid4()),
        name=remove_copy.FLOW.name,
        params=remove_copy.params(pool=p["pool"], pool_id=p["pool_id"], label=label),
        project_id=run.project_id,
        resource_id=p["pool_id"],  # and not the volume: that may be used and changed meanwhile
        request_id=run.request_id,
    )
    over(run, tx)
    after_commit(tx, run.world.places.refresh)


def over(run: Run, tx: Tx) -> None:
    """A drain that wanted the move need not wait to begin another one."""
    if drain := run.params.get("drain"):
        losses.hurry(tx, [drain])
        after_commit(tx, lambda: run.world.bell.ring(drain))


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """It lies where it lay, and is what it was."""
    p = run.params
    over(run, tx)
    volumes.update(tx, p["volume_id"], migration_status="error")
    store.end(tx, "volume", p["volume_id"], p["action"], ok=False, fault=error.message)
    none_fits = isinstance(error, errors.NoValidHost)
    tell(
        run,
        tx,
        error,
        kind="VOLUME",
        id=p["volume_id"],
        action="schedule" if none_fits else "move",
        detail="no_host" if none_fits else "move_failed",
    )


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "move_volume",
    (
        Commit("place", do=place, undo=unplace),
        Act("copy", do=copy, undo=uncopy),
        Commit("switch", do=switch, undo=engine.nothing_in),
    ),
    failed=failed,
)
