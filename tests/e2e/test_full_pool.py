"""A pool fills up under real guests: they are paused before it is full, stay so as long as it is, and go on after."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import small
from brickyard.hypervisor import qemu

from .service import Service, until

pytestmark = [pytest.mark.guest, pytest.mark.root]
CONFIG = """\
[DEFAULT]
enabled_backends = thin
report_interval = 3
[thin]
volume_driver = raw
max_over_subscription_ratio = 3
path = {path}
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[small.Small]:
    made = small.Small(tmp_path / "thin", 16 * 1024)
    yield made
    made.remove()


@pytest.fixture
def full(tmp_path: Path, tiny: Path, disk: small.Small) -> Iterator[Service]:
    made = Service(tmp_path)
    made.config.write_text(CONFIG.format(path=disk.path))
    with made.serving(tiny):
        yield made


def guest(service: Service, id: str) -> tuple[str, tuple[str, ...]]:
    """As QEMU itself says."""
    return next((one.status, one.held) for one in qemu.Qemu(service.state).list() if one.id == id)


def pool(service: Service) -> Any:
    [found] = service.get("/v1/pools")["pools"]
    return found


def told(service: Service, *words: str) -> str:
    command = [sys.executable, "-m", "brickyard", *words]
    environ = {**os.environ, "BRICKYARD_URL": service.url, "COLUMNS": "200"}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True, timeout=60).stdout


def test_guests_are_paused_before_the_pool_is_full_and_go_on_when_there_is_room(
    full: Service, disk: small.Small
) -> None:
    id = full.boot("writer", local_storage=[{"size_gib": 1}])
    assert full.settled(id)["status"] == "active"
    spare = full.post("/v3/volumes", {"volume": {"size": 1}})["volume"]["id"]
    until(lambda: full.get(f"/v3/volumes/{spare}")["volume"]["status"] == "available", "the spare volume")
    until(lambda: "brickyard: ready" in full.console(id), "the guest is ready")

    disk.fill(96)
    until(lambda: guest(full, id) == ("paused", ("pool thin",)), "the guest is paused", 60)
    until(lambda: full.instance(id)["paused_reason"], "the service knows why")
    until(lambda: pool(full)["stage"] == "paused", "the pool is known to be full")
    shown = told(full, "instance", "show", id)
    assert "active, paused" in shown
    assert "pool thin of its host is almost full" in shown
    shown = told(full, "pool", "show", pool(full)["name"])
    assert "96.0 %" in shown
    assert "thin_pause_percent is 95" in shown
    assert "paused" in told(full, "pool", "list")

    # The service dies, and the next one does not let go what this one held.
    full.kill()
    full.start()
    until(lambda: pool(full)["stage"] == "paused", "the pool is looked at again")
    assert guest(full, id) == ("paused", ("pool thin",))
    assert full.instance(id)["paused_reason"]

    # Now it is really full. A new disk that the guest would write to at once has to wait as well.
    disk.fill_up()
    full.post(f"/v1/instances/{id}/volumes", {"volume_id": spare})
    assert guest(full, id)[0] == "paused"

    (disk.path / "last").unlink()
    disk.fill(50)
    until(lambda: guest(full, id) == ("running", ()), "the guest goes on", 60)
    console = until(lambda: f"disk {spare[:20]} wrote" in (c := full.console(id)) and c, "the guest writes")
    assert "I/O error" not in console
    until(lambda: full.instance(id)["paused_reason"] is None, "the service knows")
    found = full.http.get("/v3/messages", headers={"OpenStack-API-Version": "volume 3.66"}).json()["messages"]
    events = [one["event_id"] for one in found]
    assert {"POOL_PAUSED", "POOL_OK", "INSTANCE_PAUSED"} <= set(events)


def test_guests_are_paused_while_the_database_is_away(full: Service, disk: small.Small) -> None:
    id = full.boot("writer", local_storage=[{"size_gib": 1}])
    assert full.settled(id)["status"] == "active"
    until(lambda: "brickyard: ready" in full.console(id), "the guest is ready")
    away = sqlite3.connect(full.state / "brickyard.db", isolation_level=None)
    try:
        away.execute("BEGIN EXCLUSIVE")
        disk.fill(96)
        until(lambda: guest(full, id) == ("paused", ("pool thin",)), "the guest is paused", 60)
        disk.fill(50)
        until(lambda: guest(full, id) == ("running", ()), "the guest goes on", 60)
    finally:
        away.close()


def test_a_guest_that_is_faster_than_the_watch_waits_for_room(full: Service, disk: small.Small) -> None:
    """There is no room at all before the guest writes for the first time."""
    volume = full.post("/v3/volumes", {"volume": {"size": 1}})["volume"]["id"]
    until(lambda: full.get(f"/v3/volumes/{volume}")["volume"]["status"] == "available", "the volume")
    disk.fill_up()
    id = full.boot("writer", volumes=[volume])
    assert full.settled(id)["status"] == "active"
    until(lambda: "pool thin" in guest(full, id)[1], "the guest is paused", 60)
    assert "brickyard: ready" not in full.console(id)
    (disk.path / "last").unlink()
    console = until(lambda: "brickyard: ready" in (c := full.console(id)) and c, "the guest is ready")
    assert f"disk {volume[:20]} wrote" in console
    assert "I/O error" not in console
