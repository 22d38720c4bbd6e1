"""A whole site in this process, for tests: real database, drivers and flows; the hypervisor may be simulated."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import falcon.testing
from tests import engines, exporting

from brickyard.api import app
from brickyard.brick import registry, serving
from brickyard.brick.exports import Exports
from brickyard.core import pools, settings
from brickyard.db import database
from brickyard.db import hosts as hosts_rows
from brickyard.flows import catalogue, conductor, places, world
from brickyard.glance import Glance
from brickyard.hypervisor import machine, memory
from brickyard.nodes import directory, keeping, local
from brickyard.nodes.verbs import Node
from brickyard.service import policy, reports, site


def backend(name: str, driver: str, path: Path, **options: Any) -> local.Backend:
    given = {"path": str(path)} if driver != "memory" else {}
    given |= {name: str(options[name]) for name in ("capacity_gib", "preallocate") if name in options}
    return local.Backend(
        name=name,
        driver_name=driver,
        volume_backend_name=name,
        availability_zone="nova",
        load=lambda: registry.load(driver, given),
        options={**given, **options},
    )


def from_api(name: str, given: Mapping[str, Any]) -> local.Backend:
    """What `POST /v1/pools` has the node make."""
    ours = ("driver", "availability_zone", *pools.SERVICE_ONLY)
    texts = {key: str(value) for key, value in given.items() if key not in ours}
    texts.pop("volume_backend_name", None)
    return local.Backend(
        name=name,
        driver_name=given["driver"],
        volume_backend_name=given.get("volume_backend_name", name),
        availability_zone=given.get("availability_zone", "nova"),
        load=lambda: registry.load(given["driver"], texts),
        options=given,
        from_api=True,
    )


class Elsewhere:
    """Nodes that are reached as those of other processes are, and may be lost."""

    def __init__(self, nodes: Mapping[str, local.LocalNode]) -> None:
        self._nodes = dict(nodes)
        self.heard = True

    def node(self, host: str) -> Node | None:
        return self._nodes.get(host)

    def names(self) -> list[str]:
        return sorted(self._nodes)

    def hears(self) -> bool:
        return self.heard

    def know(self, host: str) -> None:
        """It is known."""

    def forget(self, host: str) -> None:
        """It may come back."""


def make(
    tmp_path: Path,
    drivers: Mapping[str, str],
    hypervisor: machine.Hypervisor | None,
    hosts: Mapping[str, machine.Hypervisor | None] | None = None,
    db: database.Database | None = None,
    elsewhere: Collection[str] = (),
    exports: bool = False,
    backend_options: Mapping[str, Any] | None = None,
    glance: Glance | None = None,
    **service: Any,
) -> site.Site:
    """A site with a backend for each of `drivers` (name → driver) on each host; the conductor is not started.

    Without `hosts` there is one, h1, and its pools lie directly under `tmp_path`. `db` comes from `engines`.
    The hosts `elsewhere` are no nodes of this process, as far as the service knows.
    Backends have the `backend_options` that the service looks at.
    With `exports` each host serves its bricks to guests of the others, which are simulated.
    """
    db = db or engines.empty(tmp_path)
    options = settings.Service(**service)
    nodes = {}
    for name, mind in (hosts or {"h1": hypervisor}).items():
        at = exporting.here(len(nodes)) if exports else None
        place, kept = tmp_path / name if hosts else tmp_path, tmp_path / "kept"
        nodes[name] = node(name, place, drivers, mind, kept, at, backend_options)
        reports.record(db, nodes[name].report())
    book = places.Places(db, options)
    book.refresh()
    images = tmp_path / "images"
    images.mkdir()
    own = {name: one for name, one in nodes.items() if name not in elsewhere}
    others = Elsewhere({name: one for name, one in nodes.items() if name in elsewhere})
    known = directory.Directory(own, others, functools.partial(hosts_rows.refuse_lost, db))
    everything = world.World(db, known, book, options, images, glance)
    hands = conductor.Conductor(db, everything, catalogue.FLOWS)
    return site.Site(everything, hands, _policy())


@functools.cache
def _policy() -> policy.Policy:
    return policy.Policy()


def node(
    name: str,
    directory: Path,
    drivers: Mapping[str, str],
    hypervisor: machine.Hypervisor | None,
    kept: Path | None = None,
    exports: settings.Exports | None = None,
    options: Mapping[str, Any] | None = None,
) -> local.LocalNode:
    """A host in rack r1 of zone nova, started; its backups are in the directory `kept`."""
    directory.mkdir(exist_ok=True)
    made = local.LocalNode(
        host=name,
        labels={"zone": "nova", "rack": "r1"},
        vcpus=16,
        memory_mib=16384,
        backends=[backend(one, driver, directory / one, **(options or {})) for one, driver in drivers.items()],
        hypervisor=hypervisor,
        make=from_api,
        keeper=keeping.Keeper(settings.Backups("volumes", kept) if kept else None),
        exports=(lambda opened: Exports(directory / "exports", exports, opened, serving.Simulated()))
        if exports
        else None,
    )
    made.start()
    return made


@contextlib.contextmanager
def running(
    tmp_path: Path,
    drivers: Mapping[str, str] | None = None,
    hypervisor: machine.Hypervisor | None = None,
    **service: Any,
) -> Iterator[tuple[site.Site, falcon.testing.TestClient]]:
    """A running site and a client of its WSGI application."""
    made = make(tmp_path, drivers or {"raw": "raw"}, hypervisor or memory.Memory(), **service)
    made.waker.start()
    try:
        yield made, falcon.testing.TestClient(app.create_app(made))
    finally:
        made.waker.stop()
        made.db.close()
