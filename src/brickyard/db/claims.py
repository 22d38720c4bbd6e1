"""The choke point of capacity: every GiB that is asked of a pool, every vcpu of a host, is claimed here.

A claim is one conditional UPDATE: rows changed 1, or you lost; a pool that is really too full takes none. A claim is
kept per brick (per instance, on a host), so that a repeat finds its own, and the sum of a pool's claims is always its
`claimed_gib`.
"""

from __future__ import annotations

import sqlalchemy as sa

from brickyard.core import clock, fullness
from brickyard.db import schema
from brickyard.db.database import Tx

pools, claims, storages = schema.pools, schema.claims, schema.storages
hosts, host_claims = schema.hosts, schema.host_claims

# Built once: every create and delete runs them, and to build one takes longer than to run it.
_MINE = sa.and_(claims.c.brick_id == sa.bindparam("brick"), claims.c.pool_id == sa.bindparam("pool"))
HELD = sa.select(claims.c.gib).where(_MINE)
INSERT = sa.insert(claims)
_POOL, _GIB = pools.c.id == sa.bindparam("pool"), sa.bindparam("amount", type_=sa.BigInteger)
_STORAGE = storages.c.id == sa.bindparam("storage")
TAKE = (
    sa.update(pools)
    .where(_POOL, pools.c.claimed_gib + _GIB <= pools.c.limit_gib, pools.c.stage.not_in(sorted(fullness.CLOSED)))
    .values(claimed_gib=pools.c.claimed_gib + _GIB)
)
GIVE = sa.update(pools).where(_POOL).values(claimed_gib=pools.c.claimed_gib - _GIB)
LIES_ON = sa.select(pools.c.storage_id).where(_POOL)
TAKE_UNDER = (
    sa.update(storages)
    .where(_STORAGE, storages.c.claimed_gib + _GIB <= storages.c.limit_gib)
    .values(claimed_gib=storages.c.claimed_gib + _GIB)
)
GIVE_UNDER = sa.update(storages).where(_STORAGE).values(claimed_gib=storages.c.claimed_gib - _GIB)


def claim(tx: Tx, *, pool_id: str, brick_id: str, gib: int, reservation_id: str | None = None) -> bool:
    """Claim `gib` of the pool for the brick, or take over the claim it has there; False when it does not fit."""
    mine = sa.and_(claims.c.brick_id == brick_id, claims.c.pool_id == pool_id)
    held = tx.scalar(HELD, {"brick": brick_id, "pool": pool_id})
    if held is not None:
        tx.execute(sa.update(claims).where(mine).values(reservation_id=reservation_id))
        return held >= gib or grow(tx, pool_id=pool_id, brick_id=brick_id, gib=gib)
    if not _take(tx, pool_id, gib):
        return False
    row = {"brick_id": brick_id, "pool_id": pool_id, "gib": gib, "reservation_id": reservation_id}
    tx.execute(INSERT, row | {"created_at": clock.stamp()})
    return True


def pools_of(tx: Tx, brick_id: str) -> list[str]:
    """The ids of the pools on which something is claimed for a brick: while it moves, and until its old copy is gone,
    these are two."""
    return list(tx.scalars(sa.select(claims.c.pool_id).where(claims.c.brick_id == brick_id)))


def grow(tx: Tx, *, pool_id: str, brick_id: str, gib: int) -> bool:
    """Raise the brick's claim to `gib`; False when the difference does not fit."""
    mine = sa.and_(claims.c.brick_id == brick_id, claims.c.pool_id == pool_id)
    held = tx.scalar(sa.select(claims.c.gib).where(mine)) or 0
    if held >= gib:
        return True
    if not _take(tx, pool_id, gib - held):
        return False
    tx.execute(sa.update(claims).where(mine).values(gib=gib))
    return True


def why_not(tx: Tx, pool_id: str) -> str:
    """Why a claim on the pool was lost, in words that follow "it"."""
    row = tx.execute(sa.select(pools).where(pools.c.id == pool_id)).one_or_none()
    if row is None:
        return "is not there any more"
    if row.stage in fullness.CLOSED:
        return f"takes nothing new, it is {row.stage}: {row.stage_reason}"
    return f"has no room: {row.claimed_gib} of {row.limit_gib} GiB are promised"


def shrink(tx: Tx, *, pool_id: str, brick_id: str, gib: int) -> None:
    """Lower the brick's claim to `gib`: the undo of `grow`."""
    mine = sa.and_(claims.c.brick_id == brick_id, claims.c.pool_id == pool_id)
    held = tx.scalar(sa.select(claims.c.gib).where(mine)) or 0
    if held > gib:
        tx.execute(sa.update(claims).where(mine).values(gib=gib))
        _give(tx, pool_id, held - gib)


def count(tx: Tx, *, pool_id: str, brick_id: str, gib: int) -> None:
    """The brick is there already and takes its room whatever the limits say: its claim is `gib` from here on."""
    shrink(tx, pool_id=pool_id, brick_id=brick_id, gib=gib)
    held = tx.scalar(HELD, {"brick": brick_id, "pool": pool_id})
    if held is None:
        row = {"brick_id": brick_id, "pool_id": pool_id, "gib": gib, "reservation_id": None}
        tx.execute(INSERT, row | {"created_at": clock.stamp()})
    elif held < gib:
        tx.execute(sa.update(claims).where(_MINE).values(gib=gib), {"brick": brick_id, "pool": pool_id})
    _give(tx, pool_id, (held or 0) - gib)


def recount(tx: Tx, id: str) -> None:
    """Let a pool, a storage or a host say again what the claims on it add up to."""
    # The rows are locked before the sums are read, so that no claim comes in between.
    for table in (pools, storages, hosts):
        tx.execute(sa.select(table.c.id).where(table.c.id == id).with_for_update())
    gib = sa.select(sa.func.coalesce(sa.func.sum(claims.c.gib), 0)).where(claims.c.pool_id == pools.c.id)
    tx.execute(sa.update(pools).where(pools.c.id == id).values(claimed_gib=gib.scalar_subquery()))
    under = sa.select(sa.func.coalesce(sa.func.sum(pools.c.claimed_gib), 0)).where(pools.c.storage_id == storages.c.id)
    on_it = sa.select(pools.c.storage_id).where(pools.c.id == id)
    these = sa.or_(storages.c.id == id, storages.c.id.in_(on_it))
    tx.execute(sa.update(storages).where(these).values(claimed_gib=under.scalar_subquery()))
    sums = {
        f"{name}_claimed": sa.select(sa.func.coalesce(sa.func.sum(host_claims.c[name]), 0))
        .where(host_claims.c.host_id == hosts.c.id)
        .scalar_subquery()
        for name in ("vcpus", "memory_mib")
    }
    tx.execute(sa.update(hosts).where(hosts.c.id == id).values(**sums))


def release(tx: Tx, brick_id: str, *, only_pool_id: str | None = None) -> None:
    """Give back what the brick claims, on every pool or on one; nothing to do is fine."""
    where = claims.c.brick_id == brick_id
    if only_pool_id is not None:
        where = sa.and_(where, claims.c.pool_id == only_pool_id)
    for row in tx.execute(sa.select(claims).where(where)).all():
        gone = sa.delete(claims).where(claims.c.brick_id == row.brick_id, claims.c.pool_id == row.pool_id)
        if tx.execute(gone).rowcount == 1:  # otherwise somebody else has given it back since we looked
            _give(tx, row.pool_id, row.gib)


def claim_host(
    tx: Tx, *, host_id: str, instance_id: str, vcpus: int, memory_mib: int, reservation_id: str | None = None
) -> bool:
    """Claim processors and memory of a host for an instance, or take over its claim; False when they do not fit."""
    mine = sa.and_(host_claims.c.instance_id == instance_id, host_claims.c.host_id == host_id)
    if tx.execute(sa.update(host_claims).where(mine).values(reservation_id=reservation_id)).rowcount:
        return True
    taken = tx.execute(
        sa.update(hosts)
        .where(
            hosts.c.id == host_id,
            hosts.c.enabled,
            hosts.c.vcpus_claimed + vcpus <= hosts.c.vcpus_total,
            hosts.c.memory_mib_claimed + memory_mib <= hosts.c.memory_mib_total,
        )
        .values(vcpus_claimed=hosts.c.vcpus_claimed + vcpus, memory_mib_claimed=hosts.c.memory_mib_claimed + memory_mib)
    )
    if taken.rowcount != 1:
        return False
    tx.execute(
        sa.insert(host_claims).values(
            instance_id=instance_id,
            host_id=host_id,
            vcpus=vcpus,
            memory_mib=memory_mib,
            reservation_id=reservation_id,
            created_at=clock.stamp(),
        )
    )
    return True


def release_host(tx: Tx, instance_id: str, *, only_host_id: str | None = None) -> None:
    """Give back what the instance claims, on every host or on one; nothing to do is fine."""
    where = host_claims.c.instance_id == instance_id
    if only_host_id is not None:
        where = sa.and_(where, host_claims.c.host_id == only_host_id)
    for row in tx.execute(sa.select(host_claims).where(where)).all():
        mine = sa.and_(host_claims.c.instance_id == row.instance_id, host_claims.c.host_id == row.host_id)
        if tx.execute(sa.delete(host_claims).where(mine)).rowcount != 1:
            continue
        tx.execute(
            sa.update(hosts)
            .where(hosts.c.id == row.host_id)
            .values(
                vcpus_claimed=hosts.c.vcpus_claimed - row.vcpus,
                memory_mib_claimed=hosts.c.memory_mib_claimed - row.memory_mib,
            )
        )


def _take(tx: Tx, pool_id: str, gib: int) -> bool:
    """From the pool, and from what it lies on with others; from both or from none."""
    if tx.execute(TAKE, {"pool": pool_id, "amount": gib}).rowcount != 1:
        return False
    storage_id = tx.scalar(LIES_ON, {"pool": pool_id})
    if storage_id is None or tx.execute(TAKE_UNDER, {"storage": storage_id, "amount": gib}).rowcount == 1:
        return True
    tx.execute(GIVE, {"pool": pool_id, "amount": gib})
    return False


def _give(tx: Tx, pool_id: str, gib: int) -> None:
    tx.execute(GIVE, {"pool": pool_id, "amount": gib})
    storage_id = tx.scalar(LIES_ON, {"pool": pool_id})
    if storage_id is not None:
        tx.execute(GIVE_UNDER, {"storage": storage_id, "amount": gib})
