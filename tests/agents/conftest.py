"""The broker of the session, and a site with two agents, which the tests of a session share."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import rabbit, tiny
from tests.agents import rig
from tests.agents.rig import Control, Host, Site, until

TOLD = 4000  # characters of each log that the report of a failure shows


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the processes of the site said goes with a failure: it may not come again."""
    report = yield
    site: Any = getattr(item, "funcargs", {}).get("site")
    if report.failed and isinstance(site, Site):
        for process in site:
            report.sections.append((f"log of {process.directory.name}", process.log.read_text()[-TOLD:]))
    return report


@pytest.fixture(scope="session")
def _broker() -> rabbit.Rabbit:
    if not Path(rabbit.PROGRAM).exists():
        pytest.skip("rabbitmq-server is not installed: scripts/setup tests")
    return rabbit.server()


@pytest.fixture
def broker(_broker: rabbit.Rabbit) -> rabbit.Rabbit:
    _broker.start()
    return _broker


@pytest.fixture(scope="session")
def tiny_image() -> Path:
    """The directory of the tiny Linux, made once: a test is without the variable that says where it is."""
    return tiny.image()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, _broker: rabbit.Rabbit) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("agents")
    made = Site(Control(directory / "control", _broker), Host(directory, "h1"), Host(directory, "h2"))
    _broker.start()
    with rig.running(made) as site:
        yield site


@pytest.fixture
def site(running: Site, broker: rabbit.Rabbit) -> Site:
    """Everything runs, whatever the test before this one has stopped, and nobody is held."""
    for process in running:
        process.go_on()
        if process.ended():
            process.start()
    until(lambda: running.control.hosts_up() >= {"h1", "h2"}, "both agents report")
    running.control.picture()
    return running
