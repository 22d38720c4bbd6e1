"""Pools: storage resources on hosts, made by administrators through the API, and only removed when they are empty."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Iterator, Mapping

from brickyard.core import errors
from brickyard.db import hosts, overviews
from brickyard.db.database import Row
from brickyard.flows import image_cache
from brickyard.service import hosts as host_cases
from brickyard.service import new_pools, pool_devices, reports, services
from brickyard.service.new_pools import NewPool
from brickyard.service.site import Caller, Site

SHOWN_MAX = 10  # ids that a refusal names
_MAKING = threading.Lock()  # one at a time: each looks at the paths of the others before it is made


def list_(site: Site) -> tuple[list[Row], list[Row], dict[str, int], dict[str, int]]:
    """The pools, the backends that have never shown one; the number of volumes and what is being wiped by pool id."""
    with site.db.read() as tx:
        found = hosts.list_pools(tx)
        shown = {row.backend for row in found}
        silent = [row for row in hosts.list_backends(tx) if row.name not in shown]
        return found, silent, hosts.volumes_per_pool(tx), overviews.deleting_gib(tx)


def create(site: Site, caller: Caller, new: NewPool) -> tuple[Row, bool]:
    """Have the host serve a new backend, and record it. The pool, and whether it is new; a repeat finds its own."""
    new_pools.check(new)
    if new.devices or new.volume_group:
        return pool_devices.make(site, caller, new)
    with _MAKING:
        with site.db.read() as tx:
            host = host_cases.require(tx, new.host)
            before = hosts.find_backend(tx, f"{host.name}@{new.name}")
        if before is not None:
            return _same(site, before, new), False
        node = site.world.nodes[host.name]
        if new.path is not None:
            new_pools.check_path(new.path, node.report(), site.world.images)
        with _told_as_invalid(new.path):
            report = node.add_backend(new.name, new.given())
        if report.options.get("path", new.path) != new.path or report.driver != new.driver:
            raise errors.Conflict(f"Host {host.name} serves another backend {new.name} already; choose another name.")
        report = dataclasses.replace(report, from_api=True, options={**new.given(), **report.options})
        with site.db.begin() as tx:
            id = reports.record_backend(tx, host.name, host.id, report)
            hosts.update_backend(tx, id, enabled=True, disabled_reason=None)
            made = hosts.require_pool(tx, f"{host.name}@{new.name}")
    site.world.places.refresh()
    return made, True


def update(site: Site, name_or_id: str, *, enabled: bool, disabled_reason: str | None = None) -> Row:
    """Let new volumes go there, or not. Those that are there stay and work."""
    with site.db.begin() as tx:
        row = hosts.require_pool(tx, name_or_id)
        services.check_switch(row.frozen, row.backend, enabled=enabled)
        reason = None if enabled else disabled_reason
        hosts.update_backend(tx, row.backend_id, enabled=enabled, disabled_reason=reason)
        changed = hosts.require_pool(tx, row.id)
    site.world.places.refresh()
    return changed


def delete(site: Site, caller: Caller, name_or_id: str) -> None:
    """Forget an empty pool. A directory and a volume group that was taken over stay; what we made of devices is taken
    apart. The claims decide, in the transaction that removes the row: a create that comes later finds no pool to
    claim, and one that came first is named in the refusal. Images that are only kept for clones go with it."""
    with site.db.begin() as tx:
        row = hosts.require_pool(tx, name_or_id)
        removable = row.options is not None or row.why_down == reports.NO_LONGER_CONFIGURED
        held = overviews.held(tx, row.id) if removable else {}
        evicting = (
            image_cache.empty(site.world, tx, row.id, caller.request_id) if held.keys() <= image_cache.HELD else []
        )
    for flow_id in evicting:
        site.waker.wake(flow_id)
        pool_devices.outcome(site, flow_id)
    with site.db.begin() as tx:
        row = hosts.require_pool(tx, name_or_id)
        if row.options is None and row.why_down != reports.NO_LONGER_CONFIGURED:
            raise errors.Conflict(
                f"Pool {row.name} is in the configuration of host {row.host}: remove its section there, and restart."
            )
        if found := overviews.held(tx, row.id):
            raise errors.Conflict(f"Pool {row.name} is not empty: {_listed(found)}. Delete these first.")
        if running := pool_devices.busy(tx, row.host, row.backend.partition("@")[2]):
            raise errors.Conflict(f"Pool {row.name} is being changed ({running.name}): wait for flow {running.id}.")
        made = bool((row.options or {}).get("made"))
        flow = pool_devices.begin_destroy(site, caller, tx, row) if made else None
        hosts.delete_backend(tx, row.backend_id)
    site.world.places.refresh()
    if flow is not None:
        pool_devices.outcome(site, flow)
        return
    with contextlib.suppress(errors.Unavailable):  # a host that is away finds out when it starts again
        site.world.nodes[row.host].remove_backend(row.backend.partition("@")[2])


@contextlib.contextmanager
def _told_as_invalid(path: str | None) -> Iterator[None]:
    """A backend that does not work with the options it was given is a wrong request, and not a broken server."""
    try:
        yield
    except errors.BrickError as error:
        raise errors.Invalid(error.message, field="path" if path and path in error.message else "options") from error


def _same(site: Site, before: Row, new: NewPool) -> Row:
    """The pool of a backend that exists, if it is the one that is asked for."""
    if before.options is None:
        raise errors.Conflict(f"Backend {before.name} is in the configuration of its host; choose another name.")
    differing = new.differing(before.options)
    if before.driver != new.driver or differing:
        raise errors.Conflict(
            f"Backend {before.name} exists with another {' and '.join(differing) or 'driver'}; choose another name."
        )
    with site.db.read() as tx:
        return hosts.require_pool(tx, before.name)


def _listed(found: Mapping[str, list[str]]) -> str:
    parts = []
    for noun, ids in found.items():
        more = f" and {len(ids) - SHOWN_MAX} more" if len(ids) > SHOWN_MAX else ""
        parts.append(f"{len(ids)} {noun} ({', '.join(ids[:SHOWN_MAX])}{more})")
    return ", ".join(parts)
