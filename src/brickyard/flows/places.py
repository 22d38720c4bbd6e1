"""The places that a request can go: a picture of all hosts and pools in memory, for ranking.

It may be stale, since others claim as well; the claim re-validates. `refresh` draws it anew from the database, after
each report and whenever a request would be refused, so that nothing is refused while space remains.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence

from brickyard.core import clock, fullness, inventory, placement, ranking
from brickyard.core.settings import Service
from brickyard.db import hosts
from brickyard.db.database import Database, Row, Tx


class Places:
    def __init__(self, db: Database, settings: Service) -> None:
        self.db, self.settings = db, settings
        self._lock = threading.Lock()
        self._pools: dict[str, placement.PoolView] = {}
        self._real: frozenset[str] = frozenset()  # hosts whose hypervisor is no simulation
        self._inventory = inventory.Inventory(())

    def refresh(self, tx: Tx | None = None) -> None:
        """Draw the picture anew; inside a write transaction it is exact until that ends."""
        if tx is None:
            with self.db.read() as tx:
                views = self._read(tx)
        else:
            views = self._read(tx)
        with self._lock:
            self._pools = {pool.id: pool for host in views for pool in host.pools}
            self._inventory = inventory.Inventory(views)

    def rank_pools(self, ask: placement.Ask, limit: int = 10) -> placement.Ranking:
        with self._lock:
            return ranking.rank_pools(self._inventory, ask, limit)

    def rank_hosts(self, boot: placement.Boot, limit: int = 10) -> placement.Ranking:
        with self._lock:
            return ranking.rank_hosts(self._inventory, boot, limit)

    def unusable(self) -> frozenset[str]:
        """Pools that no guest can use: those in memory, on hosts that run real guests."""
        with self._lock:
            return frozenset(p.name for p in self._pools.values() if p.driver == "memory" and p.host in self._real)

    def with_room(self, tx: Tx, freed_gib: Mapping[str, int]) -> inventory.Inventory:
        """How it would be, if so much were given back by some pools, by their ids."""

        def emptier(pool: placement.PoolView) -> placement.PoolView:
            gib = freed_gib.get(pool.id, 0)
            return dataclasses.replace(pool, claimed_gib=pool.claimed_gib - gib, free_gib=pool.free_gib + gib)

        views = self._read(tx)
        return inventory.Inventory(dataclasses.replace(view, pools=tuple(map(emptier, view.pools))) for view in views)

    def explain(self, request: placement.Ask | placement.Boot) -> tuple[placement.Verdict, ...]:
        self.refresh()
        with self._lock:
            return ranking.explain(self._inventory, request)

    def pools(self) -> list[placement.PoolView]:
        """Every pool as the database has it now, by name."""
        self.refresh()
        with self._lock:
            return sorted(self._pools.values(), key=lambda pool: pool.name)

    def claimed(self, pool_id: str, gib: int, volumes: int = 0) -> None:
        """Follow a claim (or, negative, a release) that was committed, until the next refresh."""
        with self._lock:
            view = self._pools.get(pool_id)
            if view is not None:
                moved = dataclasses.replace(view, claimed_gib=view.claimed_gib + gib, volumes=view.volumes + volumes)
                self._pools[pool_id] = moved
                self._inventory.replace(moved)

    def _read(self, tx: Tx) -> list[placement.HostView]:
        numbers = hosts.volumes_per_pool(tx)
        by_host: dict[str, list[placement.PoolView]] = {}
        for row in hosts.list_pools(tx):
            by_host.setdefault(row.host, []).append(_pool(row, numbers.get(row.id, 0)))
        oldest = clock.stamp(-self.settings.service_down_time_s)
        found = hosts.list_hosts(tx)
        self._real = frozenset(row.name for row in found if row.hypervisor not in (None, "memory"))
        return [_host(row, by_host.get(row.name, ()), oldest) for row in found]


def refusals(verdicts: Sequence[placement.Verdict]) -> list[dict[str, object]]:
    """What refused each host and pool, as JSON: kept with the request, and shown to who asks."""
    found: list[dict[str, object]] = []
    for verdict in verdicts:
        if verdict.refusal is not None:
            found.append({"name": verdict.name, "rule": verdict.refusal.rule, "message": verdict.refusal.message})
        found.extend(refusals(verdict.pools))
    return found


def _pool(row: Row, volumes: int) -> placement.PoolView:
    capabilities = row.capabilities
    return placement.PoolView(
        id=row.id,
        name=row.name,
        host=row.host,
        backend=row.backend.partition("@")[2],
        backend_name=row.volume_backend_name,
        zone=row.availability_zone,
        driver=row.driver,
        total_gib=row.total_gib,
        limit_gib=limit_gib(row),
        claimed_gib=row.claimed_gib,
        free_gib=row.free_gib,
        thin=bool(capabilities.get("thin")),
        volumes=volumes,
        capabilities=capabilities,
        up=bool(row.up and row.enabled),
        data_percent=row.data_percent,
        metadata_percent=row.metadata_percent,
        too_full=f"{row.stage_reason} ({row.stage})" if row.stage in fullness.CLOSED else "",
        why_down=(row.why_down or "") if not row.up else ("disabled by an administrator" if not row.enabled else ""),
    )


def limit_gib(row: Row) -> int:
    """What may be promised of a pool: its own limit, or what others left of the file system that it shares."""
    if row.storage_free_gib is None:
        return int(row.limit_gib)
    return int(min(row.limit_gib, row.claimed_gib + max(0, row.storage_free_gib)))


def _host(row: Row, pools: Sequence[placement.PoolView], oldest: str) -> placement.HostView:
    up = (row.heartbeat_at or "") >= oldest
    return placement.HostView(
        name=row.name,
        labels=row.labels,
        vcpus_total=row.vcpus_total,
        vcpus_claimed=row.vcpus_claimed,
        memory_mib_total=row.memory_mib_total,
        memory_mib_claimed=row.memory_mib_claimed,
        up=up,
        why_down=""
        if up
        else (f"declared lost at {row.lost_at}" if row.lost_at else f"no report since {row.heartbeat_at}"),
        enabled=bool(row.enabled),
        pools=tuple(pools),
        compute=row.hypervisor is not None,
        exports=up and row.export_address is not None,
    )
