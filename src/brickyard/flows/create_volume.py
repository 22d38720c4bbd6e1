"""Create a volume: place it, make its brick, show it.

place   claim its size on the best pool that takes it      undo: give the claim back
brick   make the brick: empty, a copy, or from an image, of which its pool may keep one    undo: wipe and delete it
show    the volume is available

A pool that failed is left out of the next attempt, and so is a host that fell silent, if there is another one: what it
made is left there, and a flow of its own removes it. The row of the volume has no place until it has the next one.
"""

from __future__ import annotations

from typing import Any

from brickyard.backups.manifest import Where
from brickyard.core import errors, fence, placement, pools, sizes
from brickyard.core.bricks import Kind, Label, name_of
from brickyard.db import cached_images, claims, flows, groups, hosts, store, volumes
from brickyard.db.database import Row, Tx, after_commit
from brickyard.flows import engine, forsaking, image_cache, image_files, places, waiting, wiping
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.telling import tell
from brickyard.nodes import verbs

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *,
    volume_id: str,
    size_gib: int,
    source: dict[str, Any] | None,
    ask: dict[str, Any],
    group_id: str | None = None,
) -> dict[str, Any]:
    """`source` is {kind: snapshot | volume | image | backup, id}, with the container of a backup, and whether it is
    being restored; `ask` what placement.Ask takes, as JSON."""
    return {"volume_id": volume_id, "size_gib": size_gib, "source": source, "ask": ask, "group_id": group_id}


# implementations ---------------------------------------------------------------------------------------------------


def place(run: Run, tx: Tx) -> dict[str, Any]:
    volume_id, size_gib = run.params["volume_id"], run.params["size_gib"]
    excluded = frozenset(past["place"]["pool"] for past in run.tried if "place" in past)
    ask = to_ask(_in_group(run, tx), size_gib, excluded | _on_silent(tx, volume_id))
    pool = claim_best(run, tx, ask, brick_id=volume_id)
    row = hosts.find_pool(tx, pool.id)
    if row is None or volumes.find(tx, volume_id) is None:
        raise errors.NotFound(f"Volume {volume_id} or pool {pool.name} could not be found.")
    record_place(tx, volume_id, row)
    cached = image_cache.use(run, tx, row, volume_id, run.params["source"])
    return {"pool": pool.name, "pool_id": pool.id} | ({"cached": cached} if cached else {})


def _in_group(run: Run, tx: Tx) -> dict[str, Any]:
    """What is asked of the place; a group lies on one pool, which its first volume has chosen."""
    ask: dict[str, Any] = run.params["ask"]
    group_id = run.params.get("group_id")
    if group_id is None:
        return ask
    store.hold(tx, "group", group_id)
    pool = groups.pool_of(tx, group_id, but=run.params["volume_id"])
    if pool is None:
        return ask
    if ask.get("pinned") and pool not in ask["pinned"]:
        raise errors.NoValidHost(f"The group lies on {pool}, and what the volume is made from does not.")
    return {**ask, "pinned": [pool]}


def _on_silent(tx: Tx, volume_id: str) -> frozenset[str]:
    """The pools of hosts where a brick of the volume is still to be removed."""
    left = forsaking.forsaken(tx, [volume_id])[volume_id]
    names = {pools.parse(pool).host for pool in left.values()}
    return frozenset(row.name for row in hosts.list_pools(tx, names)) if names else frozenset()


def unplace(run: Run, tx: Tx) -> None:
    if not _is_left(run, tx):
        give_back(run, tx, run.params["volume_id"], run.data["place"]["pool_id"], run.params["size_gib"])
    volumes.update(tx, run.params["volume_id"], pool_id=None, backend_id=None)
    cached_images.let_go(tx, run.params["volume_id"])


def make(run: Run) -> dict[str, Any] | None:
    """Of the image that the pool keeps, if it does; {"bad": id} when that could not be cloned, and should go."""
    with run.world.db.read() as tx:
        if _is_left(run, tx):
            raise errors.Unavailable(f"The host of {run.data['place']['pool']} was silent.")
    try:
        return _make(run)
    except errors.Unreachable as silent:
        if not run.world.db.repeating(lambda: _leave(run)):
            raise  # it is waited for
        raise errors.Unavailable(silent.message) from silent


def _leave(run: Run) -> bool:
    """Leave what may be made by a host that is silent, if there is another one for the volume."""
    p, placed, book = run.params, run.data["place"], run.world.places
    if run.attempt >= FLOW.attempts or not run.world.nodes.hears():
        return False
    with run.world.db.begin() as tx:
        if not flows.is_claimed(tx, run.id, run.epoch):
            raise fence.Stop("another conductor has it")  # which may have ended it: then the volume is somebody's
        here = hosts.list_pools(tx, [pools.parse(placed["pool"]).host])
        passed = {past["place"]["pool"] for past in run.tried if "place" in past}
        others = frozenset(passed.union(row.name for row in here)) | _on_silent(tx, p["volume_id"])
        ask = to_ask(_in_group(run, tx), p["size_gib"], others)
        book.refresh(tx)
        if not book.rank_pools(ask, 1).candidates:
            return False
        label = Label(Kind.VOLUME, p["volume_id"], run.project_id)
        forsaking.leave(run, tx, label, placed["pool"], placed["pool_id"])
        return volumes.update(tx, p["volume_id"], pool_id=None, backend_id=None)


def _is_left(run: Run, tx: Tx) -> bool:
    row = volumes.find(tx, run.params["volume_id"])
    return row is not None and row.pool_id is None


def _make(run: Run) -> dict[str, Any] | None:
    placed = run.data["place"]
    if "cached" not in placed:
        make_anew(run)
        return None
    label = Label(Kind.VOLUME, run.params["volume_id"], run.project_id)
    outcome = image_cache.clone(run, placed["cached"], placed["pool"], label, run.params["size_gib"])
    if outcome is not image_cache.Cloned.YES:
        make_anew(run)
    return {"bad": placed["cached"]} if outcome is image_cache.Cloned.BAD else None


def make_anew(run: Run) -> None:
    create_brick(run, run.data["place"]["pool"], run.params["volume_id"], run.params["size_gib"], run.params["source"])


def unmake(run: Run) -> None:
    image_files.discard(run, run.params["volume_id"])
    with run.world.db.read() as tx:
        if _is_left(run, tx):
            return
    wiping.erase(run, run.data["place"]["pool"], name_of(Kind.VOLUME, run.params["volume_id"]))


def show(run: Run, tx: Tx) -> None:
    if _is_left(run, tx):  # by a conductor that knew of the claim before ours only
        raise errors.Unavailable(f"The host of {run.data['place']['pool']} was silent.")
    source = run.params["source"] or {}
    facts = {"bootable": True} if source.get("kind") == "image" else {}
    store.end(tx, "volume", run.params["volume_id"], "create", ok=True, fault=None, **facts)
    restored(run, tx)
    groups.settle(tx, run.params.get("group_id"))
    cached_images.let_go(tx, run.params["volume_id"])
    if bad := run.data["brick"].get("bad"):
        image_cache.evict(run.world, tx, bad, run.request_id)


def restored(run: Run, tx: Tx) -> None:
    """A backup whose restore made this volume is available again; one that a create only names always was."""
    source = run.params["source"] or {}
    if source.get("kind") == "backup" and source.get("restoring"):
        store.end(tx, "backup", source["id"], "restore", ok=True)


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    volume_id = run.params["volume_id"]
    store.end(tx, "volume", volume_id, "create", ok=False, fault=error.message)
    restored(run, tx)
    groups.settle(tx, run.params.get("group_id"))
    action, detail = why(error)
    tell(run, tx, error, kind="VOLUME", id=volume_id, action=action, detail=detail)


def why(error: errors.BrickyardError) -> tuple[str, str]:
    """The message's action and detail for an error of a create."""
    if isinstance(error, errors.NoValidHost):
        return "schedule", "no_host"
    if isinstance(error, errors.UnsafeImage):
        return "copy_image", "image_unacceptable"
    if isinstance(error, errors.ImageServiceUnavailable):
        return "copy_image", "unknown"
    if isinstance(error, errors.DamagedBackup):
        return "backup_restore", "restore_failed"
    return "create", "create_failed"


def elsewhere(error: errors.BrickyardError) -> bool:
    """Whether another place may do what this one could not: not when the request itself is at fault."""
    alike = (
        errors.Invalid | errors.NoValidHost | errors.NotFound | errors.DamagedBackup | errors.ImageServiceUnavailable
    )
    return not isinstance(error, alike)


# what boot_instance shares with it -----------------------------------------------------------------------------------


def to_ask(ask: dict[str, Any], size_gib: int, excluded: frozenset[str] = frozenset()) -> placement.Ask:
    """A placement.Ask from its JSON form."""
    sets = {name: frozenset(ask.get(name) or ()) for name in ("zones", "pinned", "different_host", "needs")}
    return placement.Ask(
        size_gib=size_gib,
        extra_specs=ask.get("extra_specs") or {},
        query=ask.get("query"),
        near=ask.get("near"),
        same_host=frozenset(ask["same_host"]) if "same_host" in ask else None,
        excluded=excluded,
        **sets,
    )


def claim_best(run: Run, tx: Tx, ask: placement.Ask, *, brick_id: str) -> placement.PoolView:
    """Claim on the best pool that takes it. The picture in memory first; before a refusal, a fresh one."""
    book: places.Places = run.world.places
    for looks in range(places.LOOKS):
        if looks:
            book.refresh(tx)
        ranking = book.rank_pools(ask)
        if looks and not ranking.candidates:
            break
        for candidate in ranking.candidates:
            pool = candidate.pools[0]
            if claims.claim(tx, pool_id=pool.id, brick_id=brick_id, gib=ask.size_gib):
                book.claimed(pool.id, ask.size_gib, 1)
                return pool
    run.world.nodes.check_heard()
    image_cache.make_room_somewhere(run, tx, ask)
    waiting.for_others(run, tx, ask)
    raise errors.NoValidHost(
        f"No pool takes a volume of {ask.size_gib} GiB; the flow's refusals say why.",
        refusals=book.refusals(ask),
    )


def record_place(tx: Tx, volume_id: str, pool: Row) -> None:
    """The volume lies on this pool (a row of hosts.find_pool)."""
    volumes.update(tx, volume_id, pool_id=pool.id, backend_id=pool.backend_id, availability_zone=pool.availability_zone)


def give_back(run: Run, tx: Tx, brick_id: str, pool_id: str, gib: int) -> None:
    claims.release(tx, brick_id, only_pool_id=pool_id)
    after_commit(tx, lambda: run.world.places.claimed(pool_id, -gib, -1))


def create_brick(run: Run, pool: str, volume_id: str, size_gib: int, source: dict[str, Any] | None) -> None:
    """Make the brick of a volume on a pool, from its source if it has one."""
    at = pools.parse(pool)
    node: verbs.Node = run.world.nodes[at.host]
    label = Label(Kind.VOLUME, volume_id, run.project_id)
    size_bytes, progress = sizes.gib_to_bytes(size_gib), run.progress(label.name)
    if source is None:
        node.create_brick(at.backend, label, size_bytes, progress)
    elif source["kind"] == "image":
        with image_files.opened(run, source["id"], source.get("facts"), volume_id) as image:
            node.import_brick(at.backend, image, label, size_bytes, progress)
    elif source["kind"] == "backup":
        where = Where(source["container"], source["id"])
        node.create_brick(at.backend, label, size_bytes)
        with run.world.long.entered(run.world.settings.conductor_threads):
            node.restore_brick(at.backend, label.name, where, progress)
    else:
        serial = source["id"] if source["kind"] == "volume" else None
        origin = name_of(Kind(source["kind"]), source["id"])
        node.clone_brick(at.backend, origin, label, size_bytes, serial, progress)


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "create_volume",
    (
        Commit("place", do=place, undo=unplace),
        Act("brick", do=make, undo=unmake),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=failed,
    attempts=3,
    again=elsewhere,
)
