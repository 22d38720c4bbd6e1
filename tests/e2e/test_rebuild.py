"""The database is deleted under a service with real guests: the volumes come back, a boot finds the data in them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from .service import Service, until

pytestmark = pytest.mark.guest


def rebuild(service: Service, code: int = 0) -> str:
    where = ("--state-dir", str(service.state), "--config-file", str(service.config))
    command = [sys.executable, "-m", "brickyard", "db", "rebuild", *where]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_a_boot_finds_the_data_after_the_database_was_lost(service: Service, tiny: Path) -> None:
    first = service.boot("one", local_storage=[{"size_gib": 1}, {"size_gib": 2}])
    volumes = [v["volume_id"] for v in service.settled(first)["volumes"]]
    until(lambda: "brickyard: ready" in service.console(first), "the first guest is ready")
    answer = service.http.post(
        "/v3/snapshots",
        json={"snapshot": {"volume_id": volumes[0], "force": True}},
    )
    kept = answer.json()["snapshot"]["id"]
    until(lambda: service.get(f"/v3/snapshots/{kept}")["snapshot"]["status"] == "available", "the snapshot")

    service.kill()
    for file in service.state.glob("brickyard.db*"):
        file.unlink()
    assert len(service.guests()) == 1, "the guest knows nothing of the database"
    assert "2 volumes and 1 snapshots are back" in (text := rebuild(service))
    assert f"Guest {first}" in text
    assert "0 volumes and 0 snapshots are back" in rebuild(service)

    service.start()
    service.prepare(tiny)
    headers = {"OpenStack-API-Version": "volume 3.67"}
    found = service.http.get("/v3/volumes/detail", headers=headers).json()["volumes"]
    # They belong to the one caller of a service without tokens, and a guest that still runs keeps them from others.
    assert {v["id"]: (v["size"], v["status"]) for v in found} == {
        volumes[0]: (1, "maintenance"),
        volumes[1]: (2, "maintenance"),
    }
    differences = service.get("/v1/audit")["differences"]
    assert [(d["kind"], d["name"]) for d in differences] == [("guest_without_instance", first)]

    service.post("/v1/audit", {"orphans": "remove", "grace_s": 0})
    until(lambda: not service.guests(), "the guest that nobody knows is ended, because it was asked for")
    for id in volumes:
        answer = service.http.post(f"/v3/volumes/{id}/action", json={"os-reset_status": {"status": "available"}})
        assert answer.status_code == 202, answer.text
    second = service.boot("two", volumes=volumes)
    assert service.settled(second)["status"] == "active"
    text = until(lambda: "brickyard: ready" in (c := service.console(second)) and c, "the second guest is ready")
    for id in volumes:
        assert f"disk {id[:20]} found: written by one" in text
    assert service.get("/v1/audit")["differences"] == []
