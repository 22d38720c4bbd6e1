"""The hosts that a boot may go to: the best of them are reserved, compute and capacity, before anything is made."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from brickyard.core import errors, placement, pools
from brickyard.db import claims, hosts, instances, reservations, volumes
from brickyard.db.database import Tx, after_commit
from brickyard.flows import forsaking, image_cache, places, tried, waiting
from brickyard.flows.create_volume import to_ask
from brickyard.flows.engine import Run

CANDIDATES = 32  # that are looked at, the best ones first: others reserve at the same time, and what they have is left


def wanted(p: dict[str, Any]) -> list[tuple[str, int, dict[str, Any]]]:
    """The bricks to make: (brick id, GiB, ask), the new volumes first, then the root disk."""
    bricks = [(v["volume_id"], v["size_gib"], v["ask"]) for v in p["new"]]
    return [*bricks, (p["instance_id"], p["root_gib"], {"needs": ["imports"]})] if p["root_gib"] else bricks


def to_boot(
    p: dict[str, Any], excluded: frozenset[str] = frozenset(), unusable: frozenset[str] = frozenset()
) -> placement.Boot:
    """What the ranking takes, from the parameters; without the hosts `excluded` and the pools `unusable`."""
    return placement.Boot(
        vcpus=p["vcpus"],
        memory_mib=p["memory_mib"],
        volumes=tuple(to_ask(ask, gib, unusable) for _, gib, ask in wanted(p)),
        holders=tuple(pools.parse(v["pool"]).host for v in p["existing"]),
        locality=p["locality"],
        required=p["required"],
        zones=frozenset(p["zones"]),
        excluded=excluded,
    )


def reserve(run: Run, tx: Tx) -> dict[str, Any]:
    book: places.Places = run.world.places
    left = {name for there in _left(run, tx).values() for name in there.values()}
    boot = to_boot(run.params, tried.hosts(run), book.unusable() | tried.pools(run) | left)
    for looks in range(places.LOOKS):
        if looks:
            book.refresh(tx)
        ranking = book.rank_hosts(boot, CANDIDATES)
        if looks and not ranking.candidates:
            break
        wait = looks > 1
        held: list[dict[str, Any]] = []
        for candidate in ranking.candidates:
            if len(held) == (1 if wait else run.world.settings.reserve_hosts):
                break
            if not _shares(run.params, candidate, held):
                one = _reserve_host(run, tx, candidate, rank=len(held), wait=wait)
                held += [one] if one else []
        if held:
            after_commit(tx, functools.partial(book.redraw, hosts_of(held)))
            return {"candidates": [candidate.host.name for candidate in ranking.candidates], "reserved": held}
    run.world.nodes.check_heard()
    image_cache.make_room_somewhere(run, tx, boot)
    waiting.for_others(run, tx, boot)
    before = f" after {'; '.join(failure.message for failure in run.failures)}" if run.failures else ""
    raise errors.NoValidHost(
        f"No host can hold this instance with its volumes{before}; the refusals say why.",
        refusals=book.refusals(boot),
    )


def unreserve(run: Run, tx: Tx) -> None:
    """Give back all that the request holds, whether it is still reserved or kept."""
    reservations.clear_all(tx, run.id)
    for brick_id, there in _left(run, tx).items():
        for pool_id in claims.pools_of(tx, brick_id):
            if pool_id not in there:
                claims.release(tx, brick_id, only_pool_id=pool_id)
    claims.release_host(tx, run.params["instance_id"])
    for volume in run.params["new"]:
        volumes.update(tx, volume["volume_id"], pool_id=None, backend_id=None)
    instances.update(tx, run.params["instance_id"], host_id=None, root_pool_id=None)
    after_commit(tx, functools.partial(run.world.places.redraw, hosts_of(run.data["reserve"]["reserved"])))


def hosts_of(reserved: Sequence[dict[str, Any]]) -> set[str]:
    """The hosts that are reserved, and those where their volumes would lie."""
    lie_on = (pools.parse(pool["name"]).host for held in reserved for pool in held["pools"].values())
    return {*(held["host"] for held in reserved), *lie_on}


def _left(run: Run, tx: Tx) -> dict[str, dict[str, str]]:
    """The pools of hosts that were forsaken, for each brick."""
    return forsaking.forsaken(tx, [id for id, _, _ in wanted(run.params)])


def _shares(p: dict[str, Any], candidate: placement.Candidate, held: Sequence[dict[str, Any]]) -> bool:
    """Whether it would make a brick in the very pool where one that is reserved already would: a claim is of one."""
    taken = {(brick_id, pool["id"]) for one in held for brick_id, pool in one["pools"].items()}
    mine = {(brick_id, pool.id) for (brick_id, _, _), pool in zip(wanted(p), candidate.pools, strict=True)}
    return not taken.isdisjoint(mine)


def _reserve_host(run: Run, tx: Tx, candidate: placement.Candidate, *, rank: int, wait: bool) -> dict[str, Any] | None:
    """Reserve one candidate, all of it or nothing; nothing, too, where another request is at it and we do not wait."""
    p = run.params
    savepoint = tx.begin_nested()  # before the lock: a host that has no room after all is let go
    host = hosts.hold_if_free(tx, candidate.host.name, wait=wait)
    if host is None:
        savepoint.rollback()
        return None
    bricks = {id: (pool, gib) for (id, gib, _), pool in zip(wanted(p), candidate.pools, strict=True)}
    id = reservations.reserve(
        tx,
        request_id=run.id,
        project_id=run.project_id,
        host_id=host.id,
        rank=rank,
        instance_id=p["instance_id"],
        vcpus=p["vcpus"],
        memory_mib=p["memory_mib"],
        bricks={brick_id: (pool.id, gib) for brick_id, (pool, gib) in bricks.items()},
        ttl_s=run.world.settings.reservation_ttl_s,
    )
    if id is None:
        savepoint.rollback()
        return None
    savepoint.commit()
    for pool, gib in bricks.values():
        run.world.places.claimed(pool.id, gib)
    taken = {brick_id: {"id": pool.id, "name": pool.name} for brick_id, (pool, _) in bricks.items()}
    return {"reservation_id": id, "host": host.name, "host_id": host.id, "pools": taken}
