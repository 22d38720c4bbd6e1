"""The fleet that these tests share, with what they leave behind checked after each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests import engines, rabbit
from tests.agents.conftest import _broker, broker
from tests.collector import Collector
from tests.roles.fleet import Fleet

from brickyard.db.database import Database

__all__ = ["_broker", "broker"]


@pytest.fixture(scope="package")
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory, _broker: rabbit.Rabbit, collector: Collector) -> Iterator[Fleet]:
    server = engines.server("mariadb" if engines.KIND == "mariadb" else "postgresql")
    db = Database(server.url)
    with db.begin() as tx:
        engines.forget_all(tx)
    db.close()
    _broker.start()
    fleet = Fleet(tmp_path_factory.mktemp("roles"), _broker, server.url, collector.url)
    try:
        fleet.a1.run("db", "upgrade", *fleet.a1.where())
        fleet.start(*fleet.control)
        fleet.each(lambda host: host.enroll(fleet.a1), *fleet.hosts.values())
        fleet.start(*fleet.hosts.values())
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def fleet(running: Fleet, broker: rabbit.Rabbit) -> Iterator[Fleet]:
    running.settle()
    yield running
    running.settle()
    running.check()
    running.a1.delete(*(volume["id"] for volume in running.a1.get("/v3/volumes")["volumes"]))
    running.check()
