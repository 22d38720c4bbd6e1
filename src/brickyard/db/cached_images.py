"""The images that pools keep, and the volumes that are being made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from brickyard.core import clock
from brickyard.core.states import C
from brickyard.db import schema
from brickyard.db.database import Row, Tx
from brickyard.db.flows import OPEN

cached, users, pools = schema.cached_images, schema.cached_image_users, schema.pools
UNUSED = ~sa.exists().where(users.c.cached_image_id == cached.c.id)


def insert(tx: Tx, **values: Any) -> None:
    """One that is being made, and was asked for now."""
    now = clock.stamp()
    tx.execute(sa.insert(cached), {"status": C.CREATING, "last_used_at": now, "created_at": now, **values})


def find(tx: Tx, id: str) -> Row | None:
    return tx.execute(sa.select(cached).where(cached.c.id == id)).one_or_none()


def of(tx: Tx, pool_id: str, image_id: str, version: str) -> Row | None:
    """The one of an image, as it is now, on a pool."""
    same = (cached.c.pool_id == pool_id, cached.c.image_id == image_id, cached.c.version == version)
    return tx.execute(sa.select(cached).where(*same)).one_or_none()


def on_pool(tx: Tx, pool_id: str) -> list[Row]:
    """All of a pool, with `used`: whether a volume is being made of it; who was asked for longest ago is first."""
    statement = sa.select(cached, sa.not_(UNUSED).label("used")).where(cached.c.pool_id == pool_id)
    return list(tx.execute(statement.order_by(cached.c.last_used_at, cached.c.id)))


def use(tx: Tx, id: str, volume_id: str) -> None:
    """A volume is being made of it, until `let_go`."""
    tx.execute(sa.update(cached).where(cached.c.id == id).values(last_used_at=clock.stamp()))
    tx.execute(sa.insert(users).values(volume_id=volume_id, cached_image_id=id))


def waiting(tx: Tx, id: str) -> list[str]:
    """The flows that make the volumes of it."""
    flows = schema.flows
    made_of_it = sa.select(users.c.volume_id).where(users.c.cached_image_id == id)
    found = sa.select(flows.c.id).where(flows.c.resource_id.in_(made_of_it), flows.c.status.in_(OPEN))
    return list(tx.scalars(found))


def let_go(tx: Tx, volume_id: str) -> None:
    tx.execute(sa.delete(users).where(users.c.volume_id == volume_id))


def forget_users(tx: Tx, id: str) -> None:
    """It is gone: whoever waits for it does without."""
    tx.execute(sa.delete(users).where(users.c.cached_image_id == id))


def drop(tx: Tx, id: str) -> bool:
    """Remove its row, and those of its users."""
    forget_users(tx, id)
    return tx.execute(sa.delete(cached).where(cached.c.id == id)).rowcount == 1


def count(tx: Tx, pool_id: str, *, hit: bool) -> None:
    """Count a volume of an image on a pool that keeps images."""
    column = pools.c.image_cache_hits if hit else pools.c.image_cache_misses
    tx.execute(sa.update(pools).where(pools.c.id == pool_id).values({column: column + 1}))


def freeable_gib(tx: Tx) -> dict[str, int]:
    """By pool, what is claimed for images that nobody uses now, or that go already."""
    idle = sa.and_(cached.c.status.in_((C.AVAILABLE, C.ERROR_DELETING)), UNUSED)
    going = sa.or_(cached.c.status == C.DELETING, idle)
    statement = sa.select(cached.c.pool_id, sa.func.sum(cached.c.size_gib)).where(going).group_by(cached.c.pool_id)
    return {pool_id: int(gib) for pool_id, gib in tx.execute(statement)}


def kept(tx: Tx) -> Mapping[str, tuple[int, int]]:
    """By pool: how many images it keeps, and the GiB that are claimed for them."""
    statement = sa.select(cached.c.pool_id, sa.func.count(), sa.func.sum(cached.c.size_gib))
    return {pool_id: (number, int(gib)) for pool_id, number, gib in tx.execute(statement.group_by(cached.c.pool_id))}
