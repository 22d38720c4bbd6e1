"""The database is lost, the volume groups are not: `brickyard db rebuild` from the tags of LVM, thick and thin."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from brickyard import brick
from brickyard.brick.lvm import groups
from brickyard.core.bricks import Kind, Label
from brickyard.core.sizes import GIB, MIB

from .test_pools import Service, run, until

pytestmark = [pytest.mark.guest, pytest.mark.thorough, pytest.mark.timeout(900)]
BLUE, RED = "b" * 32, "c" * 32
CONFIG = """\
[DEFAULT]
host = h1
quota_gigabytes = -1
quota_volumes = -1
enabled_backends = thick,thin
[host]
hypervisor = none
[thick]
volume_driver = lvm
volume_group = thick
[thin]
volume_driver = lvm-thin
volume_group = thin
max_over_subscription_ratio = 10
"""
DRIVERS = {"thick": "lvm", "thin": "lvm-thin"}
KEPT = {
    "volumes": "SELECT v.id, v.project_id, v.size_gib, v.generation, v.status, p.name FROM volumes v, pools p "
    "WHERE p.id = v.pool_id",
    "snapshots": "SELECT s.id, s.project_id, s.size_gib, s.volume_id, s.status, p.name FROM snapshots s, pools p "
    "WHERE p.id = s.pool_id",
}


class Site(Service):
    """A service with a thick and a thin pool, and two projects."""

    def start(self) -> None:
        super().start()
        until(lambda: all(self.pools().get(name, {}).get("up") for name in DRIVERS), "its pools are up")

    def settled(self, project: str, noun: str, id: str) -> Any:
        busy = ("creating", "extending", "retyping")
        found = until(
            lambda: (row := self.ask("GET", f"/v3/{project}/{noun}s/{id}")[noun])["status"] not in busy and row, id
        )
        assert found["status"] == "available", self.ask("GET", "/v1/flows", params={"resource_id": id})
        return found

    def volume(self, project: str, pool: str, size_gib: int = 1) -> str:
        body = {"volume": {"size": size_gib, "volume_type": pool}}
        id = self.ask("POST", f"/v3/{project}/volumes", body, 202)["volume"]["id"]
        return str(self.settled(project, "volume", id)["id"])

    def snapshot(self, project: str, volume: str) -> str:
        body = {"snapshot": {"volume_id": volume}}
        id = self.ask("POST", f"/v3/{project}/snapshots", body, 202)["snapshot"]["id"]
        return str(self.settled(project, "snapshot", id)["id"])

    def records(self) -> dict[str, set[tuple[Any, ...]]]:
        """What a rebuild is to bring back, of all volumes and snapshots."""
        with sqlite3.connect(self.directory / "state" / "brickyard.db") as db:
            return {noun: set(db.execute(query)) for noun, query in KEPT.items()}

    def lose_the_database(self) -> None:
        """As after the host died: nothing is active either."""
        self.end(signal.SIGKILL)
        run("lvm", "vgchange", "-an", "thick", "thin")
        for file in (self.directory / "state").glob("brickyard.db*"):
            file.unlink()

    def rebuild(self, *words: str, code: int = 0) -> Any:
        command = [sys.executable, "-m", "brickyard", "-f", "json", "db", "rebuild", *words, *self.where]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, (done.stdout, done.stderr)
        return json.loads(done.stdout)


@pytest.fixture
def site(tmp_path: Path, disks: Callable[[int], list[str]]) -> Iterator[Site]:
    devices = disks(8)
    groups.create("thick", devices[:6], clean=True)
    groups.create("thin", devices[6:], thin=True)
    made = Site(tmp_path, CONFIG)
    made.start()
    for name in DRIVERS:
        made.ask("POST", "/v3/types", {"volume_type": {"name": name, "extra_specs": {"volume_backend_name": name}}})
    try:
        yield made
    finally:
        made.end(signal.SIGKILL)
        for name in DRIVERS:
            run("lvm", "vgremove", "-q", "-f", "-y", name)
        assert run("dmsetup", "ls") == "No devices found"


def test_a_lost_database_is_rebuilt_from_tags(site: Site) -> None:
    volumes = {(pool, project): site.volume(project, pool) for pool in DRIVERS for project in (BLUE, RED)}
    site.ask("POST", f"/v3/{RED}/volumes/{volumes['thin', RED]}/action", {"os-extend": {"new_size": 3}}, 202)
    site.settled(RED, "volume", volumes["thin", RED])
    snapshots = {pool: site.snapshot(BLUE, volumes[pool, BLUE]) for pool in DRIVERS}
    library = {name: brick.load(driver, {"volume_group": name}) for name, driver in DRIVERS.items()}
    moved = Label(Kind.VOLUME, str(uuid.uuid4()), RED, generation=2)
    library["thin"].create(moved, GIB)
    site.cli("audit", "--repair")
    before = site.records()
    assert {row[0]: row[3] for row in before["volumes"]} == {moved.id: 2, **dict.fromkeys(volumes.values(), 1)}
    assert {row[0]: row[3] for row in before["snapshots"]} == {snapshots[pool]: volumes[pool, BLUE] for pool in DRIVERS}
    claimed = {name: pool["claimed_gib"] for name, pool in site.pools().items()}

    site.lose_the_database()
    older, wiping = Label(Kind.VOLUME, moved.id, RED), Label(Kind.VOLUME, str(uuid.uuid4()), BLUE)
    for label in (older, wiping):
        library["thick"].create(label, 64 * MIB)
    run("lvm", "lvchange", "-q", "--addtag", "brickyard.wiping=0", f"thick/{wiping.name}")
    stranger, half = f"volume-{uuid.uuid4()}", Label(Kind.VOLUME, str(uuid.uuid4()), BLUE)
    run("lvm", "lvcreate", "-q", "-y", "-L", "64M", "-n", stranger, "thick")
    library["thin"].create(half, GIB)
    run("lvm", "lvchange", "-q", "--addtag", "brickyard.making", f"thin/{half.name}")

    assert len(site.rebuild("--dry-run")["taken"]) == 7
    first = site.rebuild()
    assert {(note["kind"], note["where"], note["name"]) for note in first["notes"]} == {
        ("older_copy", "h1@thick#thick", older.name),
        ("wiping", "h1@thick#thick", wiping.name),
        ("no_label", "h1@thick#thick", stranger),
    }
    assert (len(first["taken"]), first["known"]) == (7, 0)
    again = site.rebuild()
    assert (again["taken"], again["known"]) == ([], 7)
    assert site.records() == before

    for driver, label in (("thick", older), ("thick", wiping), ("thin", half)):
        library[driver].delete(label.name)
    run("lvm", "lvremove", "-q", "-y", f"thick/{stranger}")
    site.start()
    assert site.ask("GET", "/v1/audit") == {"differences": []}
    assert {name: pool["claimed_gib"] for name, pool in site.pools().items()} == claimed
    site.snapshot(RED, moved.id)  # and they work
    site.ask("DELETE", f"/v3/{BLUE}/snapshots/{snapshots['thick']}", status=202)
    until(lambda: site.http.get(f"/v3/{BLUE}/snapshots/{snapshots['thick']}").status_code == 404, "it is deleted")
