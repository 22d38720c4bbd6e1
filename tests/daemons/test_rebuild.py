"""The database is lost, the disks are not: `brickyard db rebuild` brings the volumes back from what the bricks say."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests import ports

from brickyard.brick import qcow2, raw
from brickyard.core.bricks import NOBODY, Kind, Label
from brickyard.db import database, tokens

pytestmark = pytest.mark.slow
GIB = 1024**3
WAIT_S = 120.0
CONFIG = """
[DEFAULT]
host = h1
auth_strategy = token
enabled_backends = fast,bulk
[host]
hypervisor = none
[fast]
volume_driver = raw
[bulk]
volume_driver = qcow2
"""


class Site:
    """A service with tokens of three callers; `directory` holds all of it."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.state = directory, directory / "state"
        self.config = directory / "brickyard.conf"
        self.config.write_text(CONFIG)
        self.port = ports.one()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        self.process: subprocess.Popen[bytes] | None = None
        self.tokens: dict[str, str] = {}

    def run(self, *words: str, code: int = 0) -> str:
        """Both outputs of a command."""
        return "".join(self._run(*words, code=code))

    def _run(self, *words: str, code: int) -> tuple[str, str]:
        where = ("--state-dir", str(self.state), "--config-file", str(self.config))
        command = [sys.executable, "-m", "brickyard", *words, *where]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout, done.stderr

    def rebuild(self, *words: str, code: int = 0) -> Any:
        return json.loads(self._run("-f", "json", "db", "rebuild", *words, code=code)[0])

    def start(self) -> None:
        where = ("--state-dir", str(self.state), "--config-file", str(self.config), "--port", str(self.port))
        with (self.directory / "log").open("ab") as log:
            command = [sys.executable, "-m", "brickyard", "serve", *where]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + WAIT_S
        while True:
            assert self.process.poll() is None and time.monotonic() < deadline, (self.directory / "log").read_text()
            try:
                if self.http.get("/healthcheck").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.05)
        db = database.Database(database.sqlite_url(self.state / "brickyard.db"))
        with db.begin() as tx:
            for project, role in (("blue", "member"), ("red", "member"), ("ops", "admin")):
                self.tokens[project] = f"token-of-{project}"
                if tokens.find(tx, self.tokens[project]) is None:
                    tokens.insert(tx, self.tokens[project], user_id=project, project_id=project, roles=[role])
        db.close()

    def lose_the_database(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)
        for file in self.state.glob("brickyard.db*"):
            file.unlink()

    def call(self, project: str, method: str, path: str, body: Any = None) -> Any:
        headers = {"X-Auth-Token": self.tokens[project], "OpenStack-API-Version": "volume 3.60"}
        answer = self.http.request(method, path, json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def settled(self, project: str, noun: str, id: str) -> Any:
        deadline = time.monotonic() + WAIT_S
        while (row := self.call(project, "GET", f"/v3/{noun}s/{id}")[noun])["status"] == "creating":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert row["status"] == "available", row
        return row

    def volume(self, project: str, size: int = 1, **more: Any) -> Any:
        made = self.call(project, "POST", "/v3/volumes", {"volume": {"size": size, **more}})["volume"]
        return self.settled(project, "volume", made["id"])

    def snapshot(self, project: str, volume_id: str) -> Any:
        made = self.call(project, "POST", "/v3/snapshots", {"snapshot": {"volume_id": volume_id}})["snapshot"]
        return self.settled(project, "snapshot", made["id"])

    def volumes_of_all(self) -> list[Any]:
        return list(self.call("ops", "GET", "/v3/volumes/detail?all_tenants=1")["volumes"])

    def volumes(self, project: str) -> dict[str, Any]:
        return {row["id"]: row for row in self.call(project, "GET", "/v3/volumes/detail")["volumes"]}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()
    made.http.close()


def test_volumes_and_snapshots_come_back_with_owner_size_place_claim_and_quota(site: Site) -> None:
    site.start()
    volumes = [site.volume("blue", 1), site.volume("blue", 2), site.volume("red", 3), site.volume("red", 1)]
    kept = site.snapshot("blue", volumes[1]["id"])
    site.call("blue", "POST", f"/v3/volumes/{volumes[0]['id']}/action", {"os-extend": {"new_size": 4}})
    deadline = time.monotonic() + WAIT_S
    while site.volumes("blue")[volumes[0]["id"]]["size"] != 4:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    before = {project: site.volumes(project) for project in ("blue", "red")}
    limits = {project: site.call(project, "GET", "/v3/limits") for project in ("blue", "red")}
    claimed = {pool["name"]: pool["claimed_gib"] for pool in site.call("ops", "GET", "/v1/pools")["pools"]}
    hosts = {row["id"]: row["os-vol-host-attr:host"] for row in site.volumes_of_all()}

    assert "stop it" in site.run("db", "rebuild", code=1)  # not while the service runs
    site.lose_the_database()
    assert len(site.rebuild("--dry-run")["taken"]) == 5
    first = site.rebuild()
    assert (len(first["taken"]), first["known"], first["notes"]) == (5, 0, [])
    again = site.rebuild()
    assert (again["taken"], again["known"]) == ([], 5)

    site.start()
    for project in ("blue", "red"):
        after = site.volumes(project)
        assert after.keys() == before[project].keys()
        for id, row in after.items():
            assert (row["size"], row["status"]) == (before[project][id]["size"], "available")
        assert site.call(project, "GET", "/v3/limits") == limits[project]
    assert {row["id"]: row["os-vol-host-attr:host"] for row in site.volumes_of_all()} == hosts
    back = site.call("blue", "GET", f"/v3/snapshots/{kept['id']}")["snapshot"]
    assert (back["status"], back["volume_id"], back["size"]) == ("available", volumes[1]["id"], 2)
    assert {p["name"]: p["claimed_gib"] for p in site.call("ops", "GET", "/v1/pools")["pools"]} == claimed
    assert site.call("ops", "GET", "/v1/audit") == {"differences": []}
    site.snapshot("red", volumes[2]["id"])  # and they work
    site.call("blue", "DELETE", f"/v3/snapshots/{kept['id']}")


def test_what_was_given_away_comes_back_to_who_has_it(site: Site) -> None:
    site.start()
    volume, stays = site.volume("blue"), site.volume("blue")
    kept = site.snapshot("blue", volume["id"])
    offer = site.call("blue", "POST", "/v3/volume-transfers", {"transfer": {"volume_id": volume["id"]}})["transfer"]
    site.call("red", "POST", f"/v3/volume-transfers/{offer['id']}/accept", {"accept": {"auth_key": offer["auth_key"]}})
    deadline = time.monotonic() + WAIT_S
    while any(flow["status"] == "running" for flow in site.call("red", "GET", "/v1/flows")["flows"]):
        assert time.monotonic() < deadline
        time.sleep(0.05)

    site.lose_the_database()
    first = site.rebuild()
    assert (len(first["taken"]), first["notes"]) == (3, [])
    site.start()
    assert site.volumes("red").keys() == {volume["id"]}
    assert site.volumes("blue").keys() == {stays["id"]}
    assert site.call("red", "GET", f"/v3/snapshots/{kept['id']}")["snapshot"]["status"] == "available"
    assert site.call("ops", "GET", "/v1/audit") == {"differences": []}


def test_what_contradicts_itself_is_told_and_neither_is_taken_or_the_later_one(site: Site) -> None:
    site.start()
    site.lose_the_database()
    fast, bulk = (str(site.state / "bricks" / name) for name in ("fast", "bulk"))
    twice, moved, root, orphan, image = (str(uuid.uuid4()) for _ in range(5))
    for driver, generation in ((raw.driver(fast), 1), (qcow2.driver(bulk), 2)):
        driver.create(Label(Kind.VOLUME, twice, "blue"), GIB)
        driver.create(Label(Kind.VOLUME, moved, "blue", generation), GIB)
    driver = raw.driver(fast)
    driver.create(Label(Kind.ROOT, root, "blue"), GIB)
    driver.create(Label(Kind.IMAGE, image, NOBODY, parent=str(uuid.uuid4())), GIB)
    driver.create(Label(Kind.VOLUME, orphan, "blue"), GIB)
    kept = Label(Kind.SNAPSHOT, str(uuid.uuid4()), "blue", parent=orphan)
    driver.snapshot(f"volume-{orphan}", kept)
    driver.delete(f"volume-{orphan}")
    stranger = Path(fast, f"volume-{uuid.uuid4()}")
    stranger.write_bytes(b"not ours")

    outcome = site.rebuild(code=1)
    assert [(row["name"], row["pool"]) for row in outcome["taken"]] == [(f"volume-{moved}", "h1@bulk#bulk")]
    assert {(note["kind"], note["where"], note["name"]) for note in outcome["notes"]} == {
        ("contradiction", "h1@fast#fast", f"volume-{twice}"),
        ("contradiction", "h1@bulk#bulk", f"volume-{twice}"),
        ("older_copy", "h1@fast#fast", f"volume-{moved}"),
        ("root", "h1@fast#fast", f"root-{root}"),
        ("cached_image", "h1@fast#fast", f"_image-{image}"),
        ("snapshot_without_parent", "h1@fast#fast", kept.name),
        ("no_label", "h1@fast#fast", stranger.name),
    }
    text = site.run("db", "rebuild", code=1)
    assert "0 volumes and 0 snapshots are back" in text
    assert f"root-{root}" in text
    there = {found.name for found in driver.list()}
    names = {f"volume-{twice}", f"volume-{moved}", f"root-{root}", f"_image-{image}"}
    assert there == {*names, kept.name, stranger.name}


def test_pools_that_were_made_through_the_api_come_back_with_what_lies_there(site: Site, tmp_path: Path) -> None:
    site.start()
    pool = {"host": "h1", "name": "extra", "driver": "raw", "path": str(tmp_path / "extra")}
    site.call("ops", "POST", "/v1/pools", pool)
    for name in ("fast", "bulk"):
        site.call("ops", "PATCH", f"/v1/pools/h1@{name}", {"enabled": False})
    volume = site.volume("red", 2)
    kept = site.snapshot("red", volume["id"])
    site.lose_the_database()
    assert "0 volumes" in site.run("db", "rebuild")  # their pool is not in the configuration
    site.start()
    assert site.volumes("red") == {}
    for _ in range(2):  # the second time nothing is left to do
        site.call("ops", "POST", "/v1/pools", pool)
        deadline = time.monotonic() + WAIT_S
        while not site.volumes("red"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert site.settled("red", "snapshot", kept["id"])["volume_id"] == volume["id"]
    back = site.settled("red", "volume", volume["id"])
    assert back["size"] == 2
    assert site.call("ops", "GET", "/v1/audit") == {"differences": []}


def test_a_pool_that_is_down_is_told_and_comes_with_the_next_rebuild(site: Site) -> None:
    site.start()
    volumes = [site.volume("red") for _ in range(2)]
    site.lose_the_database()
    bricks = site.state / "bricks"
    for name in ("fast", "bulk"):
        (bricks / name).rename(site.state / name)
        (bricks / name).write_bytes(b"")  # something is in the way
    outcome = site.rebuild(code=1)
    assert [note["kind"] for note in outcome["notes"]] == ["pool_down", "pool_down"]
    for name in ("fast", "bulk"):
        (bricks / name).unlink()
        (site.state / name).rename(bricks / name)
    assert {row["name"] for row in site.rebuild()["taken"]} == {f"volume-{row['id']}" for row in volumes}
