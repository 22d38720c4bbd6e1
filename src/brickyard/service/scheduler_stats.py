"""Pools as the scheduler sees them, for administrators: what there is, and what a backend can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brickyard.core import errors, extra_specs
from brickyard.core.placement import PoolView
from brickyard.db import hosts, types
from brickyard.db.database import Row
from brickyard.service import services
from brickyard.service.site import Site


def list_(site: Site, filters: Mapping[str, str]) -> list[dict[str, Any]]:
    """The pools of enabled backends with all that they report. A filter is a name, a volume type, or a capability."""
    with site.db.read() as tx:
        rows = {row.name: row for row in hosts.list_pools(tx) if row.enabled}
        wanted = filters.get("volume_type")
        type_ = types.find(tx, wanted) if wanted else None
        if wanted and type_ is None:
            raise errors.NotFound(f"Volume type {wanted} could not be found.")
    specs = dict(type_.extra_specs) if type_ else {}
    views = [view for view in site.world.places.pools() if view.name in rows and serves(view, specs)]
    found = [{"name": view.name, "capabilities": _report(view, rows[view.name])} for view in views]
    asked = {key: value for key, value in filters.items() if key != "volume_type"}
    return [pool for pool in found if all(_has(pool, key, value) for key, value in asked.items())]


def serves(view: PoolView, specs: Mapping[str, str | None]) -> bool:
    """Whether volumes of a type with these extra specs may lie on a pool."""
    compiled = extra_specs.compiled(tuple(sorted(specs.items())))
    reported = extra_specs.state(view)
    in_zone = not compiled.zones or view.zone in compiled.zones
    return in_zone and all(spec.met(reported) for spec in (*compiled.lasting, *compiled.figures))


def _report(view: PoolView, row: Row) -> dict[str, Any]:
    return {
        **extra_specs.state(view),
        "backend_state": "up" if row.up else "down",
        "filter_function": None,
        "goodness_function": None,
        "timestamp": row.heartbeat_at or row.updated_at or row.created_at,
    }


def _has(pool: Mapping[str, Any], key: str, wanted: str) -> bool:
    """Whether a pool's name or capability is as asked; a list matches with any of its elements."""
    if key == "name":
        return bool(pool["name"] == wanted)
    have = pool["capabilities"].get(key)
    if isinstance(have, bool):
        return have is (wanted.strip().lower() in extra_specs.TRUE_WORDS)
    return wanted in [str(one) for one in (have if isinstance(have, list) else [have])]


def of_backend(site: Site, host: str) -> tuple[Row, dict[str, Any]]:
    """A backend (host@backend) and what its pool reports; NotFound also while it has never reported one."""
    with site.db.read() as tx:
        backend = services.require(tx, host)
        for pool in hosts.list_pools(tx):
            if pool.backend == backend.name:
                return backend, dict(pool.capabilities)
    raise errors.NotFound(f"Backend {host} has not reported what it can do.")
