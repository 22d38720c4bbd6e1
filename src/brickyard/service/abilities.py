"""Whether the backend of a volume can do what is asked: looked at before a status changes and anything is
counted."""

from __future__ import annotations

from brickyard.core import abilities, errors
from brickyard.db import hosts
from brickyard.db.database import Tx


def require(tx: Tx, pool_id: str | None, capability: str, *, field: str) -> None:
    """Invalid, naming the backend and what it lacks; never because the backend is down or has not reported yet."""
    pool = hosts.find_pool(tx, pool_id) if pool_id is not None else None
    if pool is not None and abilities.lacking(pool.capabilities, [capability]):
        raise errors.Invalid(
            f"Backend {pool.backend} (driver {pool.driver}) {abilities.told(capability)}; "
            f"{abilities.instead(pool.capabilities, capability)}.",
            field=field,
        )
