"""Pools: storage resources on hosts, made by administrators through the API, and only removed when they are empty."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from brickyard.brick import registry
from brickyard.core import errors
from brickyard.db import hosts, overviews
from brickyard.db.database import Row, Tx
from brickyard.nodes import verbs
from brickyard.service import hosts as host_cases
from brickyard.service import reports
from brickyard.service.site import Site

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
WITHOUT_PATH = ("memory",)
NAMED = ("driver", "path", "availability_zone", "volume_backend_name")
NOT_OPTIONS = {*NAMED, "volume_driver", "backend_availability_zone"}
SHOWN_MAX = 10  # ids that a refusal names
_MAKING = threading.Lock()  # one at a time: each looks at the paths of the others before it is made


@dataclass(frozen=True, slots=True)
class NewPool:
    """A directory on a host that shall hold bricks. `options`: what a section of the configuration may say besides."""

    host: str
    name: str
    driver: str
    path: str | None = None
    availability_zone: str | None = None
    volume_backend_name: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def given(self) -> dict[str, Any]:
        """As the node and the database keep it."""
        named = {name: getattr(self, name) for name in NAMED}
        return {**self.options, **{name: value for name, value in named.items() if value is not None}}


def list_(site: Site) -> tuple[list[Row], list[Row], dict[str, int]]:
    """The pools, the backends that have never shown one, and the number of volumes by pool id."""
    with site.db.read() as tx:
        found = hosts.list_pools(tx)
        shown = {row.backend for row in found}
        return found, [row for row in hosts.list_backends(tx) if row.name not in shown], hosts.volumes_per_pool(tx)


def require(tx: Tx, name_or_id: str) -> Row:
    """By id, host@backend#pool or host@backend."""
    row = hosts.find_pool(tx, name_or_id)
    if row is None:
        row = next((pool for pool in hosts.list_pools(tx) if pool.backend == name_or_id), None)
    if row is None:
        raise errors.NotFound(f"Pool {name_or_id} could not be found; list the pools to see their names.")
    return row


def create(site: Site, new: NewPool) -> tuple[Row, bool]:
    """Have the host serve a new backend, and record it. The pool, and whether it is new; a repeat finds its own."""
    _check(new)
    with _MAKING:
        with site.db.read() as tx:
            host = host_cases.require(tx, new.host)
            before = hosts.find_backend(tx, f"{host.name}@{new.name}")
        if before is not None:
            return _same(site, before, new), False
        node = site.world.nodes[host.name]
        if new.path is not None:
            _check_path(new.path, node.report(), site.world.images)
        with _told_as_invalid(new.path):
            report = node.add_backend(new.name, new.given())
        if report.options.get("path", new.path) != new.path or report.driver != new.driver:
            raise errors.Conflict(f"Host {host.name} serves another backend {new.name} already; choose another name.")
        report = dataclasses.replace(report, from_api=True, options={**report.options, **new.given()})
        with site.db.begin() as tx:
            id = reports.record_backend(tx, host.name, host.id, report)
            hosts.update_backend(tx, id, enabled=True, disabled_reason=None)
            made = require(tx, f"{host.name}@{new.name}")
    site.world.places.refresh()
    return made, True


def update(site: Site, name_or_id: str, *, enabled: bool, disabled_reason: str | None = None) -> Row:
    """Let new volumes go there, or not. Those that are there stay and work."""
    with site.db.begin() as tx:
        row = require(tx, name_or_id)
        reason = None if enabled else disabled_reason
        hosts.update_backend(tx, row.backend_id, enabled=enabled, disabled_reason=reason)
        changed = require(tx, row.id)
    site.world.places.refresh()
    return changed


def delete(site: Site, name_or_id: str) -> None:
    """Forget an empty pool; its directory stays. The claims decide, in the transaction that removes the row: a create
    that comes later finds no pool to claim, and one that came first is named in the refusal."""
    with site.db.begin() as tx:
        row = require(tx, name_or_id)
        if row.options is None and row.why_down != reports.NO_LONGER_CONFIGURED:
            raise errors.Conflict(
                f"Pool {row.name} is in the configuration of host {row.host}: remove its section there, and restart."
            )
        if found := overviews.held(tx, row.id):
            raise errors.Conflict(f"Pool {row.name} is not empty: {_listed(found)}. Delete these first.")
        hosts.delete_backend(tx, row.backend_id)
    site.world.places.refresh()
    with contextlib.suppress(errors.Unavailable):  # a host that is away finds out when it starts again
        site.world.nodes[row.host].remove_backend(row.backend.partition("@")[2])


def _check(new: NewPool) -> None:
    if not NAME.fullmatch(new.name):
        raise errors.Invalid(
            f"name is {new.name!r}; allowed: letters, digits, dots, dashes and underscores, at most 63.", field="name"
        )
    if new.driver not in registry.DRIVERS:
        raise errors.Invalid(f"driver is {new.driver!r}; allowed: {', '.join(registry.DRIVERS)}.", field="driver")
    if (new.path is None) != (new.driver in WITHOUT_PATH):
        need = "takes no path" if new.path is not None else "needs a path: the absolute path of a directory on the host"
        raise errors.Invalid(f"driver {new.driver} {need}.", field="path")
    if wrong := sorted(NOT_OPTIONS & set(new.options)):
        raise errors.Invalid(f"{wrong[0]} is not an option of a driver: send it beside options.", field="options")


def _check_path(path: str, report: verbs.Report, images: os.PathLike[str]) -> None:
    """Refuse a directory that another pool or the image store has, is inside of, or contains, by whichever path."""
    if not os.path.isabs(path) or os.path.normpath(path) != path or path == "/" or not path.isprintable():
        raise errors.Invalid(
            f"path is {path!r}; allowed: the absolute path of a directory, without '..', '//', '/' at its end and "
            "control characters.",
            field="path",
        )
    guests = os.path.join(os.path.dirname(images), "guests")
    others = {f"of backend {backend.name}": backend.options.get("path") for backend in report.backends}
    for name, other in [*others.items(), ("of images", os.fspath(images)), ("of guests", guests)]:
        if not other:
            continue
        mine, its = os.path.realpath(path), os.path.realpath(other)
        shared = os.path.commonpath([mine, its])
        if shared in (mine, its):
            relation = "is" if mine == its else ("is inside" if shared == its else "contains")
            raise errors.Invalid(f"path {path} {relation} {other}, the store {name} already.", field="path")


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
    given = new.given()
    differing = sorted(name for name, value in given.items() if before.options.get(name) != value)
    if before.driver != new.driver or differing:
        raise errors.Conflict(
            f"Backend {before.name} exists with another {' and '.join(differing) or 'driver'}; choose another name."
        )
    with site.db.read() as tx:
        return require(tx, before.name)


def _listed(found: Mapping[str, list[str]]) -> str:
    parts = []
    for noun, ids in found.items():
        more = f" and {len(ids) - SHOWN_MAX} more" if len(ids) > SHOWN_MAX else ""
        parts.append(f"{len(ids)} {noun} ({', '.join(ids[:SHOWN_MAX])}{more})")
    return ", ".join(parts)
