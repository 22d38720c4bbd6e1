"""Take a host in again that was declared lost and is back; also to look again at what it came back without.

look   compare the bricks with the rows; while the host is fenced, before that end the guests that no     undo: none
       instance has there any more, and what is served to none
open   the host is one of ours again; what is there, as its row says, is what it was before. What    undo: the rollback
       has no row there is kept out: it is never again what its name says

While a host is fenced, nobody else asks it for anything until `open`. What it does not show then waits in error, and
this may be repeated: on a host that is open, where others work, so that what has no row yet may get one, and stays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from typing import Any

from brickyard.core import errors, pools, sizes
from brickyard.core.bricks import Found, Kind
from brickyard.db import audit, flows, hosts, losses, store
from brickyard.db.database import Row, Tx, after_commit
from brickyard.flows import engine, lose_host, reach
from brickyard.flows.engine import Act, Commit, Flow, Later, Run
from brickyard.hypervisor.machine import MOVING
from brickyard.nodes import verbs

NOT_BACK = "Its host {host} is back without it, or with something else under its name: see `brickyard audit`."

# parameters --------------------------------------------------------------------------------------------------------


def params(*, host: str, host_id: str) -> dict[str, Any]:
    return {"host": host, "host_id": host_id}


# implementations ---------------------------------------------------------------------------------------------------


def look(run: Run) -> dict[str, Any]:
    """Ids of what is there as it should be, by its noun, (name, pool) of what has no row there, and since when the host
    was fenced while this was seen: None when it was open."""
    p = run.params
    with run.world.db.read() as tx:
        if _being_lost(tx, p["host_id"]):
            raise Later
        known = hosts.pools_of(tx, p["host_id"])
        placed = losses.on_host(tx, p["host_id"]).instances
        lost_at = _lost_at(tx, p["host_id"])
    node: verbs.Node = run.world.nodes.returning(p["host"])
    if lost_at is not None:
        _end_strangers(run, node, {row.id for row in placed})
        _end_moves(node)
    seen = {pool.name: _bricks(run, node, pool) for pool in known}
    with run.world.db.read() as tx:
        sound: dict[str, list[str]] = {str(kind): [] for kind in Kind}
        strange: list[tuple[str, str]] = []
        for pool in known:
            for found in seen[pool.name] or ():
                if found.label is None:
                    continue
                row = audit.placed(tx, found.label.kind, found.label.id)
                if row is None or row.pool_id != pool.id or row.name != found.name:
                    if lost_at is not None:
                        strange.append((found.name, pool.name))
                elif _as_it_should_be(row, found):
                    sound[row.kind].append(row.id)
    if lost_at is not None:  # whatever lies in a pool that could not be looked at, and has no row, is as strange
        strange += [(pool.name, pool.name) for pool in known if seen[pool.name] is None]
    own = {pool.id for pool in known}
    sound["root"] += [row.id for row in placed if row.root_pool_id not in own]  # of others its host says nothing
    return {"sound": sound, "strange": strange, "lost_at": lost_at}


def _lost_at(tx: Tx, host_id: str) -> str | None:
    row = hosts.find_host(tx, host_id)
    return row.lost_at if row is not None else None


def _end_strangers(run: Run, node: verbs.Node, here: Collection[str]) -> None:
    """End the guests of a fenced host that none of these instances has, and what it serves to none."""
    for guest in node.guests():
        if guest.id not in here:
            node.destroy(guest.id)
    reach.unexport_strays(run, node)


def _end_moves(node: verbs.Node) -> None:
    """The disks of these guests move no more. One that stands still for that may have either brick, and starts again
    with the one that its volume has by now; others go on with what they have."""
    for guest in node.guests():
        if guest.status == "stopped":
            continue
        if any(reason.startswith(MOVING) for reason in guest.held):
            node.stop(guest.id)
            continue
        for serial in guest.serials:
            with contextlib.suppress(errors.Unavailable, errors.GuestError):  # of an agent that knows no moves
                node.unmirror_disk(guest.id, serial)


def _being_lost(tx: Tx, host_id: str) -> bool:
    return any(row.resource_id == host_id for row in flows.open_named(tx, [lose_host.FLOW.name]))


def _bricks(run: Run, node: verbs.Node, pool: Row) -> Sequence[Found] | None:
    """What lies in a pool; None where it is down. Waits for it while something lies there that may be served again."""
    try:
        return node.bricks(pools.parse(pool.name).backend)
    except errors.Unreachable:
        raise
    except errors.BrickyardError as error:
        with run.world.db.read() as tx:
            if not losses.waits_for_pool(tx, pool.id):
                return None
        raise errors.Unreachable(
            f"Pool {pool.name} cannot be looked at: {error.message}; repair it, or declare the data of the host lost."
        ) from error


def _as_it_should_be(row: audit.Placed, found: Found) -> bool:
    label = found.label
    assert label is not None
    whole = row.kind is Kind.SNAPSHOT or found.size_bytes >= sizes.gib_to_bytes(row.gib)
    same = label.project == row.project_id and row.generation in (None, label.generation)
    return same and whole and not found.wiping


def open_(run: Run, tx: Tx) -> dict[str, Any]:
    p, looked = run.params, run.data["look"]
    hosts.hold(tx, p["host_id"])
    if _being_lost(tx, p["host_id"]) or _lost_at(tx, p["host_id"]) != looked["lost_at"]:
        raise errors.Conflict(f"Host {p['host']} was declared lost again while it was looked at.")
    there = losses.on_host(tx, p["host_id"])
    hosts.update_host(tx, p["host_id"], lost_at=None)
    losses.keep_out(tx, [(name, pool) for name, pool in looked["strange"]])
    missing = 0
    rows = (("volume", "volume", there.volumes), ("snapshot", "snapshot", there.snapshots))
    for noun, kind, listed in (*rows, ("instance", "root", there.instances)):
        sound = set(looked["sound"][kind])
        for row in listed:
            if row.lost_at is None:
                continue
            if row.id in sound:
                store.found(tx, noun, row.id)
            else:
                missing += 1
                store.note(tx, noun, row.id, NOT_BACK.format(host=p["host"]))
    after_commit(tx, run.world.places.refresh)
    return {"missing": missing}


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """Nothing has changed; a further report of the host, or an administrator, begins anew."""


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "return_host",
    (
        Act("look", do=look, undo=engine.nothing),
        Commit("open", do=open_, undo=engine.nothing_in),
    ),
    failed=failed,
)
