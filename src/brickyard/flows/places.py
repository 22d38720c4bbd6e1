"""The places that a request can go: a picture of all hosts and pools in memory, for ranking.

It may be stale, since others claim as well; the claim re-validates. `refresh` draws it anew from the database, now and
then and whenever a request would be refused, so that nothing is refused while space remains. `redraw` does so for a few
hosts: what a report or a claim of one host changes must not cost a look at all the others.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Collection, Mapping, Sequence

from brickyard.core import clock, fullness, inventory, placement, ranking
from brickyard.core.settings import Service
from brickyard.db import hosts, reservations
from brickyard.db.database import Database, Row, Tx

LOOKS = 8  # at the picture, all but the first at a new one, before a request is refused that others were faster than


class Places:
    def __init__(self, db: Database, settings: Service) -> None:
        self.db, self.settings = db, settings
        self._lock = threading.Lock()
        self._drawing = threading.Lock()  # one draws at a time, so that what was read last is what is shown
        self._begun = 0
        self._pools: dict[str, placement.PoolView] = {}
        self._real: frozenset[str] = frozenset()  # hosts whose hypervisor is no simulation
        self._inventory = inventory.Inventory(())

    def refresh(self, tx: Tx | None = None) -> None:
        """Draw the picture anew, as it is committed now. Where there is one writer at a time (SQLite), inside its
        transaction, it is exact until that ends. Of those who want it at the same time one draws it for all."""
        begun = self._begun
        with self._drawing:
            if tx is not None and tx.dialect.name == "sqlite":
                self._show(self._read(tx))
            elif self._begun == begun:  # otherwise another one has begun since, and is done
                self._begun += 1
                with self.db.read() as reading:
                    self._show(self._read(reading))

    def redraw(self, names: Collection[str]) -> None:
        """Draw these hosts anew, by their names, as they are committed now."""
        with self._drawing:
            with self.db.read() as tx:
                views = self._read(tx, names)
            with self._lock:
                alike = len(views) == len(set(names)) and all(self._inventory.update(host) for host in views)
                self._pools |= {pool.id: pool for host in views for pool in host.pools}
        if not alike:
            self.refresh()

    def _show(self, views: Sequence[placement.HostView]) -> None:
        made = inventory.Inventory(views)
        with self._lock:
            self._pools = {pool.id: pool for host in views for pool in host.pools}
            self._inventory = made

    def rank_pools(self, ask: placement.Ask, limit: int = 10) -> placement.Ranking:
        """The best pools; why there is none says `refusals`, whose answer takes far longer."""
        with self._lock:
            return ranking.rank_pools(self._inventory, ask, limit, explained=False)

    def rank_hosts(self, boot: placement.Boot, limit: int = 10) -> placement.Ranking:
        with self._lock:
            return ranking.rank_hosts(self._inventory, boot, limit, explained=False)

    def refusals(self, request: placement.Ask | placement.Boot) -> list[dict[str, object]]:
        """What refuses each host and pool in the picture as it is, as JSON: kept with the request, for who asks."""
        with self._lock:
            verdicts = ranking.explain(self._inventory, request)
        return _refusals(verdicts)

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
        """Follow a claim (or, negative, a release) until the next refresh. A claim before it is committed: who looks
        right after the commit must not see it counted twice, and refuse what there is room for. A release after."""
        with self._lock:
            view = self._pools.get(pool_id)
            if view is not None:
                moved = dataclasses.replace(view, claimed_gib=view.claimed_gib + gib, volumes=view.volumes + volumes)
                self._pools[pool_id] = moved
                self._inventory.replace(moved)

    def would_fit(self, tx: Tx, request: placement.Ask | placement.Boot, request_id: str) -> bool:
        """Whether there was room if other requests gave back all that they have only reserved. They will, but for one
        host each: until then nobody can say that there is none."""
        gib, compute = reservations.held_by_others(tx, request_id)
        if not gib and not compute:
            return False
        views = [_given_back(host, gib, compute.get(host.name, (0, 0))) for host in self._read(tx)]
        made = inventory.Inventory(views)
        if isinstance(request, placement.Ask):
            return bool(ranking.rank_pools(made, request, 1, explained=False).candidates)
        return bool(ranking.rank_hosts(made, request, 1, explained=False).candidates)

    def _read(self, tx: Tx, names: Collection[str] | None = None) -> list[placement.HostView]:
        rows = hosts.list_pools(tx, names)
        numbers = hosts.volumes_per_pool(tx, None if names is None else [row.id for row in rows])
        by_host: dict[str, list[placement.PoolView]] = {}
        for row in rows:
            by_host.setdefault(row.host, []).append(_pool(row, numbers.get(row.id, 0)))
        oldest = clock.stamp(-self.settings.service_down_time_s)
        found = hosts.list_hosts(tx, names)
        kept = frozenset() if names is None else self._real.difference(names)
        self._real = kept.union(row.name for row in found if row.hypervisor not in (None, "memory"))
        return [_host(row, by_host.get(row.name, ()), oldest) for row in found]


def _given_back(host: placement.HostView, gib: Mapping[str, int], compute: tuple[int, int]) -> placement.HostView:
    vcpus, memory_mib = compute
    pools = (dataclasses.replace(pool, claimed_gib=pool.claimed_gib - gib.get(pool.id, 0)) for pool in host.pools)
    return dataclasses.replace(
        host,
        vcpus_claimed=host.vcpus_claimed - vcpus,
        memory_mib_claimed=host.memory_mib_claimed - memory_mib,
        pools=tuple(pools),
    )


def _refusals(verdicts: Sequence[placement.Verdict]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for verdict in verdicts:
        if verdict.refusal is not None:
            found.append({"name": verdict.name, "rule": verdict.refusal.rule, "message": verdict.refusal.message})
        found.extend(_refusals(verdict.pools))
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
