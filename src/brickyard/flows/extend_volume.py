"""Extend a volume, attached or not.

claim   claim the difference on its pool                 undo: give the difference back
grow    grow the brick; a running guest is told          undo: none, a brick never shrinks
        (not if one of another host cannot be told)
tell    tell a guest of another host                     undo: none
size    the volume has its new size; a server of the compute service that has it is told, by a flow of its own

While a brick that is exported grows, nothing is served, and its guest waits.
When the brick grew and its reply was lost, the volume keeps its old size and a repeat finds the brick large enough.
"""

from __future__ import annotations

import contextlib
from typing import Any

from brickyard.compute import Event
from brickyard.core import errors, pools, sizes
from brickyard.core.bricks import Kind, name_of
from brickyard.db import claims, store
from brickyard.db.database import Tx, after_commit
from brickyard.flows import engine, image_cache, tell_server, telling
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.nodes import verbs

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *, volume_id: str, pool: str, pool_id: str, old_gib: int, new_gib: int, guest: dict[str, str] | None = None
) -> dict[str, Any]:
    """`guest` is the instance {id, host} that has the volume and runs, if that is on another host."""
    return {
        "volume_id": volume_id,
        "pool": pool,
        "pool_id": pool_id,
        "old_gib": old_gib,
        "new_gib": new_gib,
        "guest": guest,
    }


# implementations ---------------------------------------------------------------------------------------------------


def _ask(run: Run) -> None:
    """An agent of a release that does not know how, or a guest that is not there, is found before anything is done."""
    p, guest = run.params, run.params.get("guest")
    if guest is None:
        return
    try:
        run.world.nodes[guest["host"]].resize_disk(guest["id"], p["volume_id"], sizes.gib_to_bytes(p["old_gib"]))
    except errors.Unreachable:
        raise
    except (errors.GuestError, errors.NotFound, errors.Invalid, errors.Unavailable) as error:
        raise errors.InvalidState(f"Instance {guest['id']} cannot be told of it: {error.message}") from error


def claim(run: Run, tx: Tx) -> None:
    p = run.params
    if not claims.grow(tx, pool_id=p["pool_id"], brick_id=p["volume_id"], gib=p["new_gib"]):
        image_cache.make_room(run, tx, {p["pool_id"]: p["new_gib"] - p["old_gib"]})
        more, why = p["new_gib"] - p["old_gib"], claims.why_not(tx, p["pool_id"])
        raise errors.NoValidHost(f"Pool {p['pool']} has no room for {more} GiB more: it {why}.")
    after_commit(tx, lambda: run.world.places.claimed(p["pool_id"], p["new_gib"] - p["old_gib"]))


def unclaim(run: Run, tx: Tx) -> None:
    p = run.params
    claims.shrink(tx, pool_id=p["pool_id"], brick_id=p["volume_id"], gib=p["old_gib"])
    after_commit(tx, lambda: run.world.places.claimed(p["pool_id"], p["old_gib"] - p["new_gib"]))


def grow(run: Run) -> None:
    _ask(run)
    at = pools.parse(run.params["pool"])
    name = name_of(Kind.VOLUME, run.params["volume_id"])
    size_bytes = sizes.gib_to_bytes(run.params["new_gib"])
    run.world.nodes[at.host].grow_brick(at.backend, name, size_bytes, run.progress(name))


def tell(run: Run) -> None:
    """One that runs no more finds the new size when it is started."""
    p, guest = run.params, run.params.get("guest")
    if guest is None:
        return
    with contextlib.suppress(errors.HostLost):
        node: verbs.Node = run.world.nodes[guest["host"]]
        if any(one.id == guest["id"] and one.status != "stopped" for one in node.guests()):
            node.resize_disk(guest["id"], p["volume_id"], sizes.gib_to_bytes(p["new_gib"]))


def size(run: Run, tx: Tx) -> None:
    new_gib = run.params["new_gib"]
    store.end(tx, "volume", run.params["volume_id"], "extend", ok=True, size_gib=new_gib, target_gib=None, fault=None)
    tell_server.queue(run, tx, Event.EXTENDED, run.params["volume_id"])


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """Without room, or a guest that can be told, nothing was touched, and the volume is what it was; a driver that
    failed leaves error_extending."""
    volume_id = run.params["volume_id"]
    untouched = isinstance(error, errors.NoValidHost | errors.InvalidState)
    store.end(tx, "volume", volume_id, "extend", ok=untouched, target_gib=None, fault=error.message)
    detail = "no_host" if isinstance(error, errors.NoValidHost) else "extend_failed"
    telling.tell(run, tx, error, kind="VOLUME", id=volume_id, action="extend", detail=detail)


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "extend_volume",
    (
        Commit("claim", do=claim, undo=unclaim),
        Act("grow", do=grow, undo=engine.nothing),
        Act("tell", do=tell, undo=engine.nothing),
        Commit("size", do=size, undo=engine.nothing_in),
    ),
    failed=failed,
)
