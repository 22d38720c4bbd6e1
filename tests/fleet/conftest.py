"""A fleet for the tests of a module, and what its machines said where one of them fails."""

from __future__ import annotations

import os
import socket
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import tiny
from tests.fleet import command, rig

TOLD = 3000  # characters of each log that the report of a failure shows


THOROUGH = os.environ.get("BRICKYARD_THOROUGH") == "1"
HERE = Path(__file__).parent


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes minutes runs when it is asked for."""
    late = [
        item for item in items if HERE in item.path.parents and item.get_closest_marker("thorough") and not THOROUGH
    ]
    if late:
        items[:] = [item for item in items if item not in late]
        config.hook.pytest_deselected(items=late)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    cloud: Any = getattr(item, "funcargs", {}).get("cloud")
    if report.failed and isinstance(cloud, rig.Cloud):
        for log in sorted(cloud.fleet.directory.glob("*/log/*")):
            if log.stat().st_size:
                said = log.read_text(errors="replace")[-TOLD:]
                report.sections.append((f"log of {log.parent.parent.name}: {log.name}", said))
    return report


def hosts_of(request: pytest.FixtureRequest) -> int:
    return int(getattr(request.module, "HOSTS", 4))


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Cloud]:
    if os.geteuid() != 0:
        pytest.skip("namespaces need root")
    image = tiny.image()
    fleet = command.Fleet(tmp_path_factory.mktemp("fleet") / "it")
    try:
        fleet.up(0, {"hosts": hosts_of(request)})
        cloud = rig.Cloud(fleet)
        cloud.all_up()
        cloud.prepare(image)
        yield cloud
        cloud.http.close()
    finally:
        fleet.down()
    assert not fleet.directory.exists()
    assert not [name for _, name in socket.if_nameindex() if name.startswith(("sw-", "h1", "m1"))]
    assert str(fleet.directory) not in Path("/proc/mounts").read_text()


@pytest.fixture
def cloud(running: rig.Cloud) -> Iterator[rig.Cloud]:
    yield running
    for do in ("mend", "thaw", "start"):
        running.does(do, "core")
    running.check()
    running.clear()
    running.check()
