"""Reservations: capacity of a host and its pools, held for one request, with owner and expiry."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.db import claims, schema
from brickyard.db import flows as flow_rows
from brickyard.db.database import Row, Tx

reservations = schema.reservations


def reserve(
    tx: Tx,
    *,
    request_id: str,
    project_id: str,
    host_id: str,
    rank: int,
    instance_id: str,
    vcpus: int,
    memory_mib: int,
    bricks: Mapping[str, tuple[str, int]],  # brick id → (pool id, GiB)
    ttl_s: float,
) -> str | None:
    """Hold a host for a request; the id of the reservation, or None when something does not fit any more.

    The caller rolls the transaction back on None (a SAVEPOINT will do): part of it may have been taken.
    """
    mine = sa.and_(reservations.c.request_id == request_id, reservations.c.host_id == host_id)
    id = tx.scalar(sa.select(reservations.c.id).where(mine))
    if id is None:
        id = str(uuid.uuid4())
        tx.execute(
            sa.insert(reservations).values(
                id=id,
                request_id=request_id,
                host_id=host_id,
                project_id=project_id,
                rank=rank,
                expires_at=clock.stamp(ttl_s),
                created_at=clock.stamp(),
            )
        )
    if not claims.claim_host(
        tx, host_id=host_id, instance_id=instance_id, vcpus=vcpus, memory_mib=memory_mib, reservation_id=id
    ):
        return None
    for brick_id, (pool_id, gib) in sorted(bricks.items(), key=lambda item: item[1][0]):
        if not claims.claim(tx, pool_id=pool_id, brick_id=brick_id, gib=gib, reservation_id=id):
            return None
    return str(id)


def keep(tx: Tx, id: str) -> bool:
    """Turn what a reservation holds into its owner's for good, and remove it; False when it is gone already."""
    for table in (schema.claims, schema.host_claims):
        tx.execute(sa.update(table).where(table.c.reservation_id == id).values(reservation_id=None))
    return tx.execute(sa.delete(reservations).where(reservations.c.id == id)).rowcount == 1


def clear(tx: Tx, id: str) -> bool:
    """Give back all that a reservation holds, and remove it; False when it is gone already. The host first and then its
    pools, in the order in which they are claimed: so no two transactions wait for each other."""
    for row in tx.execute(sa.select(schema.host_claims).where(schema.host_claims.c.reservation_id == id)).all():
        claims.release_host(tx, row.instance_id, only_host_id=row.host_id)
    held = sa.select(schema.claims).where(schema.claims.c.reservation_id == id).order_by(schema.claims.c.pool_id)
    for row in tx.execute(held).all():
        claims.release(tx, row.brick_id, only_pool_id=row.pool_id)
    return tx.execute(sa.delete(reservations).where(reservations.c.id == id)).rowcount == 1


def clear_all(tx: Tx, request_id: str) -> None:
    """Clear what a request holds, in an order that is the same for all who do so."""
    for row in sorted(of_request(tx, request_id), key=lambda row: str(row.host_id)):
        clear(tx, row.id)


def held_by_others(tx: Tx, request_id: str) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
    """What other requests hold now, of which they keep one host at most: GiB by pool (its id), and processors and MiB
    of memory by host (its name)."""
    theirs = reservations.c.request_id != request_id
    held, compute = schema.claims, schema.host_claims
    of_pools = sa.select(held.c.pool_id, sa.func.sum(held.c.gib)).join(
        reservations, reservations.c.id == held.c.reservation_id
    )
    of_hosts = (
        sa.select(schema.hosts.c.name, sa.func.sum(compute.c.vcpus), sa.func.sum(compute.c.memory_mib))
        .join(compute, compute.c.host_id == schema.hosts.c.id)
        .join(reservations, reservations.c.id == compute.c.reservation_id)
    )
    gib = {row[0]: int(row[1]) for row in tx.execute(of_pools.where(theirs).group_by(held.c.pool_id))}
    rows = tx.execute(of_hosts.where(theirs).group_by(schema.hosts.c.name))
    return gib, {row[0]: (int(row[1]), int(row[2])) for row in rows}


def forsake(tx: Tx, id: str) -> bool:
    """Give back the host, and remove the reservation; what it holds of pools stays claimed, by nobody's reservation,
    until whoever removes what lies there releases it. False when it is gone already."""
    for row in tx.execute(sa.select(schema.host_claims).where(schema.host_claims.c.reservation_id == id)).all():
        claims.release_host(tx, row.instance_id, only_host_id=row.host_id)
    tx.execute(sa.update(schema.claims).where(schema.claims.c.reservation_id == id).values(reservation_id=None))
    return tx.execute(sa.delete(reservations).where(reservations.c.id == id)).rowcount == 1


def of_request(tx: Tx, request_id: str) -> list[Row]:
    """What a request holds, the best host first."""
    return list(
        tx.execute(sa.select(reservations).where(reservations.c.request_id == request_id).order_by(reservations.c.rank))
    )


def renew(tx: Tx, id: str, ttl_s: float) -> bool:
    """Hold it longer; False when it is gone."""
    done = tx.execute(
        sa.update(reservations)
        .where(reservations.c.id == id)
        .values(expires_at=clock.stamp(ttl_s), updated_at=clock.stamp())
    )
    return done.rowcount == 1


def clear_expired(tx: Tx, *, renew_s: float) -> int:
    """Clear what has expired; the number cleared. What a flow holds that still runs is held longer instead: that flow
    is resumed, whatever happens to its conductor, and gives it back itself."""
    flows = schema.flows
    working = sa.select(flows.c.id).where(flows.c.status.in_(flow_rows.OPEN))
    expired = reservations.c.expires_at < clock.stamp()
    tx.execute(
        sa.update(reservations)
        .where(expired, reservations.c.request_id.in_(working))
        .values(expires_at=clock.stamp(renew_s), updated_at=clock.stamp())
    )
    # Locked: other conductors look as well, and an owner may renew it at this moment.
    due = sa.select(reservations.c.id).where(expired).order_by(reservations.c.id).with_for_update()
    return sum(clear(tx, id) for id in tx.scalars(due).all())


def find(tx: Tx, id: str) -> Row | None:
    return tx.execute(_listed().where(reservations.c.id == id)).one_or_none()


def list_(tx: Tx, project_id: str | None = None) -> list[Row]:
    """All reservations, or a project's, with the name of the host and what is held."""
    statement = _listed().order_by(reservations.c.created_at)
    if project_id is not None:
        statement = statement.where(reservations.c.project_id == project_id)
    return list(tx.execute(statement))


def _listed() -> sa.Select[tuple[object, ...]]:
    held = (
        sa.select(sa.func.coalesce(sa.func.sum(schema.claims.c.gib), 0))
        .where(schema.claims.c.reservation_id == reservations.c.id)
        .scalar_subquery()
    )
    compute = schema.host_claims
    return (
        sa.select(
            reservations, schema.hosts.c.name.label("host"), held.label("gib"), compute.c.vcpus, compute.c.memory_mib
        )
        .join(schema.hosts, schema.hosts.c.id == reservations.c.host_id)
        .outerjoin(compute, compute.c.reservation_id == reservations.c.id)
    )
