"""Move a volume that a running instance of ours has attached, to a pool of its host or of another one, while it writes.

place    claim its size on the best pool that takes it                            undo: give the claim back
brick    make an empty brick there; by its generation it counts less              undo: wipe and delete it
mirror   copy the disk there, and follow what the guest writes                    undo: no more of that
still    the guest stands still until both hold the same                          undo: it goes on
relabel  the new brick has the next generation                                    undo: it counts less again
switch   the volume lies there                                                    undo: it lies where it lay
pivot    the guest uses the new brick, and goes on                                undo: the same, back to the old one
show     what it was before, in one transaction with its end; another flow removes the old copy

Until the guest stands still the old brick counts: for the database, for the labels and for the guest. While it does,
both hold the same. It goes on with the new one, which is what counts from there on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from typing import Any

from brickyard.core import errors, pools, sizes
from brickyard.core.bricks import Export, Kind, Label, name_of
from brickyard.db import attachments, flows, hosts, store, volumes
from brickyard.db.database import Row, Tx, after_commit
from brickyard.flows import engine, move_volume, reach, remove_copy, wiping
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.nodes import verbs

# parameters --------------------------------------------------------------------------------------------------------


def params(
    move: dict[str, Any], *, instance_id: str, host: str, attachment_id: str, read_only: bool, shared: bool
) -> dict[str, Any]:
    """`move` is what move_volume.params makes; the rest, of its attachment to an instance on `host`."""
    return {
        **move,
        "instance_id": instance_id,
        "host": host,
        "attachment_id": attachment_id,
        "read_only": read_only,
        "shared": shared,
    }


# implementations ---------------------------------------------------------------------------------------------------


def brick(run: Run) -> None:
    p, at = run.params, pools.parse(run.data["place"]["pool"])
    _guests(run).unmirror_disk(p["instance_id"], p["volume_id"])  # an agent that cannot must not fail later on
    node: verbs.Node = run.world.nodes[at.host]
    node.create_brick(at.backend, _label(run, p["generation"] - 1), sizes.gib_to_bytes(p["gib"]))


def unbrick(run: Run) -> None:
    if _counts(run):
        return
    wiping.erase(run, run.data["place"]["pool"], name_of(Kind.VOLUME, run.params["volume_id"]))


def mirror(run: Run) -> dict[str, Any]:
    """Where the copy is, without the key of an export: that is for QEMU only, which has it from here on."""
    p = run.params
    disk = _disk(run, run.data["place"]["pool"])
    with run.world.long.entered(run.world.settings.conductor_threads):
        _guests(run).mirror_disk(p["instance_id"], disk, run.progress(name_of(Kind.VOLUME, p["volume_id"])))
    export = dataclasses.replace(disk.export, key="") if disk.export is not None else None
    return {"export": dataclasses.asdict(export) if export is not None else None}


def unmirror(run: Run) -> None:
    p = run.params
    with contextlib.suppress(errors.HostLost):  # where it is fenced; and here nothing is served to it any more
        _guests(run).unmirror_disk(p["instance_id"], p["volume_id"])
    if _counts(run):
        return
    reach.unexport(run, p["host"], p["instance_id"], Kind.VOLUME, p["volume_id"], run.data["place"]["pool"])


def still(run: Run) -> None:
    """Not before the other host has answered: a guest that stands still does not wait for one that is away."""
    at = pools.parse(run.data["place"]["pool"])
    run.world.nodes[at.host].find_brick(at.backend, name_of(Kind.VOLUME, run.params["volume_id"]))
    _guests(run).still_disk(run.params["instance_id"], run.params["volume_id"])


def unstill(run: Run) -> None:
    """The copy is of no use any more, and its end is what lets the guest go on."""
    _guests(run).unmirror_disk(run.params["instance_id"], run.params["volume_id"])


def relabel(run: Run) -> None:
    at = pools.parse(run.data["place"]["pool"])
    try:
        run.world.nodes[at.host].relabel_brick(at.backend, _label(run, run.params["generation"] + 1))
    except errors.Unreachable as silent:
        raise errors.Unavailable(silent.message) from silent  # the guest stands still, and goes on where it was


def unrelabel(run: Run) -> None:
    if _counts(run):
        return
    with contextlib.suppress(errors.HostLost):
        unstill(run)  # the guest need not wait for the other host
    at = pools.parse(run.data["place"]["pool"])
    run.world.nodes[at.host].relabel_brick(at.backend, _label(run, run.params["generation"] - 1))


def switch(run: Run, tx: Tx) -> None:
    target = hosts.find_pool(tx, run.data["place"]["pool_id"])
    if target is None:
        raise errors.NotFound(f"Pool {run.data['place']['pool']} is gone.")
    _lies_on(run, tx, target, before=run.params["pool_id"], generation=run.params["generation"] + 1)


def unswitch(run: Run, tx: Tx) -> None:
    """Not where nobody can say which brick the guest has written to, or make it go back: that it stood still with both
    alike, or went on with the new one, makes the new one right."""
    p = run.params
    for name in (p["host"], pools.parse(p["pool"]).host):
        host = hosts.find_host(tx, name)
        if host is None or host.lost_at is not None:
            return
    old = hosts.find_pool(tx, run.params["pool_id"])
    if old is not None:
        _lies_on(run, tx, old, before=run.data["place"]["pool_id"], generation=run.params["generation"])


def pivot(run: Run) -> None:
    p, at = run.params, pools.parse(run.data["place"]["pool"])
    found = run.data["mirror"]["export"]
    export = Export(**found) if found is not None else None
    name = name_of(Kind.VOLUME, p["volume_id"])
    disk = verbs.BrickDisk(at.backend, name, p["volume_id"], p["read_only"], p["shared"], export)
    _guests(run).pivot_disk(p["instance_id"], disk)


def unpivot(run: Run) -> None:
    """A guest that never left the old brick says so; another one goes back as it came."""
    p, node, old = run.params, _guests(run), _disk(run, run.params["pool"])
    try:
        node.pivot_disk(p["instance_id"], old)
    except errors.GuestError:
        node.mirror_disk(p["instance_id"], old)
        node.still_disk(p["instance_id"], p["volume_id"])
        node.pivot_disk(p["instance_id"], old)


def show(run: Run, tx: Tx) -> None:
    p = run.params
    if not store.end(
        tx, "volume", p["volume_id"], p["action"], ok=True, fault=None, migration_status="success", **p["change"]
    ):
        raise errors.Conflict(f"Volume {p['volume_id']} was changed while it was moved: it goes back.")
    flows.insert(
        tx,
        id=str(uuid.uuid4()),
        name=remove_copy.FLOW.name,
        params=remove_copy.params(
            pool=p["pool"],
            pool_id=p["pool_id"],
            label=_label(run, p["generation"]),
            served={"host": p["host"], "client": p["instance_id"]},
        ),
        project_id=run.project_id,
        resource_id=p["pool_id"],  # and not the volume: that may be used and changed meanwhile
        request_id=run.request_id,
    )
    move_volume.over(run, tx)
    after_commit(tx, run.world.places.refresh)


def unplace(run: Run, tx: Tx) -> None:
    if not _is_on(run, tx):
        move_volume.unplace(run, tx)


def _counts(run: Run) -> bool:
    """Whether the volume lies in the new pool: what is there stays, then."""
    with run.world.db.read() as tx:
        return _is_on(run, tx)


def _is_on(run: Run, tx: Tx) -> bool:
    row = volumes.find(tx, run.params["volume_id"])
    return row is not None and row.pool_id == run.data["place"]["pool_id"]


def _guests(run: Run) -> verbs.Node:
    """The node on which the instance runs."""
    node: verbs.Node = run.world.nodes[run.params["host"]]
    return node


def _disk(run: Run, pool: str) -> verbs.BrickDisk:
    """The volume's brick in a pool, as a disk of the instance; one of another host is exported to it."""
    p = run.params
    how = {"read_only": p["read_only"], "shared": p["shared"]}
    return reach.disk(run, p["host"], p["instance_id"], Kind.VOLUME, p["volume_id"], pool, **how)


def _label(run: Run, generation: int) -> Label:
    return Label(Kind.VOLUME, run.params["volume_id"], run.project_id, generation)


def _lies_on(run: Run, tx: Tx, pool: Row, *, before: str, generation: int) -> None:
    """The volume lies on a pool from here on, and lay on that of the id `before`."""
    p = run.params
    moved = volumes.switch(
        tx,
        p["volume_id"],
        from_pool_id=before,
        generation=generation,
        pool_id=pool.id,
        backend_id=pool.backend_id,
        availability_zone=pool.availability_zone,
    )
    if not moved:
        raise errors.Conflict(f"Volume {p['volume_id']} was changed while it was moved: it stays where it is.")
    how = "nbd" if reach.is_far(p["host"], pool.name) else "local"
    row = attachments.find(tx, p["attachment_id"])
    if row is not None:
        info = {**(row.connection_info or {}), "driver_volume_type": how}
        attachments.update(tx, p["attachment_id"], connection_info=info)
    after_commit(tx, run.world.places.refresh)


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "mirror_volume",
    (
        Commit("place", do=move_volume.place, undo=unplace),
        Act("brick", do=brick, undo=unbrick),
        Act("mirror", do=mirror, undo=unmirror),
        Act("still", do=still, undo=unstill),
        Act("relabel", do=relabel, undo=unrelabel),
        Commit("switch", do=switch, undo=unswitch),
        Act("pivot", do=pivot, undo=unpivot),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=move_volume.failed,
)
