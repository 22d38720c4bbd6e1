"""Instances with their local storage, on real QEMU: the data survives the instance, and the instance the service."""

from __future__ import annotations

import random
import time

import pytest

from .service import Service, until

pytestmark = pytest.mark.guest


def test_data_outlives_the_instance_and_the_instance_outlives_the_service(service: Service) -> None:
    id = service.boot("one", local_storage=[{"size_gib": 1}, {"size_gib": 2}])
    row = service.settled(id)
    assert row["status"] == "active"
    volumes = [v["volume_id"] for v in row["volumes"]]
    until(lambda: "brickyard: ready" in service.console(id), "the first guest is ready")

    service.kill()
    assert len(service.guests()) == 1, "the guest runs on without the service"
    service.start()
    assert service.instance(id)["status"] == "active"
    spare = service.post("/v3/volumes", {"volume": {"size": 1}})["volume"]["id"]
    until(lambda: service.get(f"/v3/volumes/{spare}")["volume"]["status"] == "available", "the spare volume")
    service.post(f"/v1/instances/{id}/volumes", {"volume_id": spare})
    until(lambda: f"disk {spare[:20]} appeared" in service.console(id), "the guest sees the hot-plugged disk")
    until(lambda: f"disk {spare[:20]} wrote" in service.console(id), "the guest writes to it")
    assert service.http.delete(f"/v1/instances/{id}/volumes/{spare}").status_code == 204
    assert service.get(f"/v3/volumes/{spare}")["volume"]["status"] == "available"

    assert service.http.delete(f"/v1/instances/{id}").status_code == 202
    until(lambda: service.http.get(f"/v1/instances/{id}").status_code == 404, "the instance is gone")
    second = service.boot("two", volumes=[volumes[0], spare])
    assert service.settled(second)["status"] == "active"
    text = until(lambda: "brickyard: ready" in (c := service.console(second)) and c, "the second guest is ready")
    for volume in (volumes[0], spare):
        assert f"disk {volume[:20]} found: written by one" in text


def test_volumes_that_are_attached_before_the_guest_is_up_are_all_there(service: Service) -> None:
    spares = [service.post("/v3/volumes", {"volume": {"size": 1}})["volume"]["id"] for _ in range(3)]
    for spare in spares:
        until(lambda id=spare: service.get(f"/v3/volumes/{id}")["volume"]["status"] == "available", "a spare volume")
    id = service.boot("one")
    assert service.settled(id)["status"] == "active"
    for spare in spares:
        service.post(f"/v1/instances/{id}/volumes", {"volume_id": spare})
    for spare in spares:
        until(lambda id_=spare: f"disk {id_[:20]} wrote" in service.console(id), "the guest writes to it")
        assert service.get(f"/v3/volumes/{spare}")["volume"]["status"] == "in-use"


def test_snapshot_and_extend_while_the_guest_writes(service: Service) -> None:
    id = service.boot("one", local_storage=[{"size_gib": 1}])
    volume = service.settled(id)["volumes"][0]["volume_id"]
    until(lambda: "brickyard: ready" in service.console(id), "the guest is ready")
    headers = {"OpenStack-API-Version": "volume 3.67"}
    answer = service.http.post("/v3/snapshots", json={"snapshot": {"volume_id": volume}}, headers=headers)
    snapshot = answer.json()["snapshot"]["id"]
    until(lambda: service.get(f"/v3/snapshots/{snapshot}")["snapshot"]["status"] == "available", "the snapshot")
    answer = service.http.post(f"/v3/volumes/{volume}/action", json={"os-extend": {"new_size": 2}}, headers=headers)
    assert answer.status_code == 202, answer.text
    until(lambda: service.get(f"/v3/volumes/{volume}")["volume"]["size"] == 2, "the extended volume")
    body = {"volume": {"size": 2, "snapshot_id": snapshot}}
    clone = service.post("/v3/volumes", body)["volume"]["id"]
    until(lambda: service.get(f"/v3/volumes/{clone}")["volume"]["status"] == "available", "the clone")
    second = service.boot("two", volumes=[clone])
    assert service.settled(second)["status"] == "active"
    until(lambda: f"disk {clone[:20]} found: written by one" in service.console(second), "the clone has the data")


def test_two_guests_share_a_volume_of_a_multiattach_type(service: Service) -> None:
    specs = {"multiattach": "<is> True"}
    service.post("/v3/types", {"volume_type": {"name": "shared", "extra_specs": specs}})
    first = service.boot("one", local_storage=[{"size_gib": 1, "volume_type": "shared"}])
    volume = service.settled(first)["volumes"][0]["volume_id"]
    second = service.boot("two", volumes=[volume])
    assert service.settled(second)["status"] == "active", service.instance(second)
    headers = {"OpenStack-API-Version": "volume 3.67"}
    shown = service.http.get(f"/v3/volumes/{volume}", headers=headers).json()["volume"]
    assert shown["status"] == "in-use"
    assert {a["server_id"] for a in shown["attachments"]} == {first, second}
    assert "fast" in shown["os-vol-host-attr:host"], "only a raw file can be shared"
    service.http.delete(f"/v1/instances/{first}")
    until(lambda: service.http.get(f"/v1/instances/{first}").status_code == 404, "the first instance is gone")
    assert service.get(f"/v3/volumes/{volume}")["volume"]["status"] == "in-use"
    assert len(service.guests()) == 1


def test_a_guest_that_ends_by_itself_is_stopped_and_can_be_deleted(service: Service) -> None:
    id = service.boot("one", local_storage=[{"size_gib": 1}])
    assert service.settled(id)["status"] == "active"
    service.end_guest(id)
    until(lambda: service.instance(id)["status"] == "stopped", "the instance is stopped")
    assert service.http.delete(f"/v1/instances/{id}?volumes=delete").status_code == 202
    until(lambda: not service.bricks(), "nothing is left")


def test_a_stopped_instance_is_started_with_its_disks_and_what_they_hold(service: Service) -> None:
    """Twice: once its guest has ended by itself, and once it was stopped, while the service dies."""
    id = service.boot("one", local_storage=[{"size_gib": 1}])
    volume = service.settled(id)["volumes"][0]["volume_id"]
    until(lambda: "brickyard: ready" in service.console(id), "the guest is ready")
    service.end_guest(id)
    until(lambda: service.instance(id)["status"] == "stopped", "the instance is stopped")
    service.post(f"/v1/instances/{id}/start", None)
    service.kill()
    service.start()
    assert service.settled(id)["status"] == "active"
    until(lambda: service.console(id).count("brickyard: ready") == 2, "the guest is ready again")
    assert f"disk {volume[:20]} found: written by one" in service.console(id)

    service.post(f"/v1/instances/{id}/stop", None)
    service.kill()
    service.start()
    row = service.settled(id)
    assert (row["status"], row["fault"], len(row["volumes"])) == ("stopped", None, 1)
    assert not service.guests()
    service.post(f"/v1/instances/{id}/start", None)
    assert service.settled(id)["status"] == "active"
    until(lambda: service.console(id).count("brickyard: ready") == 3, "the guest is ready for the third time")
    assert service.get("/v1/audit")["differences"] == []


def test_boots_survive_a_killed_service(service: Service) -> None:
    """The service dies at some moment of a boot or a deletion, again and again; it ends well, or it is all undone."""
    chance = random.Random(7)
    for n in range(6):
        id = service.boot(f"i{n}", local_storage=[{"size_gib": 1}, {"size_gib": 1}])
        time.sleep(chance.uniform(0, 0.4))
        service.kill()
        service.start()
        assert service.settled(id)["status"] == "active"
        assert len(service.guests()) == 1
        service.http.delete(f"/v1/instances/{id}?volumes=delete")
        time.sleep(chance.uniform(0, 0.1))
        service.kill()
        service.start()
        until(lambda id=id: service.http.get(f"/v1/instances/{id}").status_code == 404, "the instance is gone")
        until(lambda: not service.get("/v3/volumes")["volumes"], "its volumes are gone")
        assert service.guests() == []
        assert service.bricks() == []
        assert [pool["claimed_gib"] for pool in service.get("/v1/pools")["pools"]] == [0, 0, 0]
