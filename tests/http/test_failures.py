"""When a backend is down or a volume is a guest's: what a request hears, and what can be done after."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import falcon.testing
import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))
import world
from brickyard.core import errors
from brickyard.core.states import I
from brickyard.db import flows, instances, schema, tokens
from brickyard.nodes import local
from brickyard.service.site import Site


class Broken:
    """A driver that does everything but one verb."""

    def __init__(self, driver: Any, verb: str) -> None:
        self.driver, self.verb = driver, verb

    def __getattr__(self, name: str) -> Any:
        return self.fail if name == self.verb else getattr(self.driver, name)

    def fail(self, *args: Any, **more: Any) -> Any:
        raise errors.BrickError("The disk is gone.")


class Rig:
    """A site whose one backend can fail."""

    def __init__(self, site: Site, client: falcon.testing.TestClient) -> None:
        self.site, self.client, self.token = site, client, None
        node = site.world.nodes["h1"]
        assert isinstance(node, local.LocalNode)
        self.backend = node.backends["memory"]
        self.driver = self.backend.driver

    def off(self, verb: str) -> None:
        """From now on the driver fails at this verb."""
        self.backend.driver = cast(Any, Broken(self.driver, verb))

    def on(self) -> None:
        self.backend.driver = self.driver

    def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        headers = {"OpenStack-API-Version": "volume 3.67", **({"X-Auth-Token": self.token} if self.token else {})}
        result = self.client.simulate_request(method, f"/v3{path}", json=body, headers=headers)
        assert result.status_code == status, result.text
        return result.json if result.content else None

    def until(self, kind: str, id: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        for _ in range(100):
            with self.site.db.read() as tx:
                running = [flow.id for flow in flows.list_(tx, open_only=True)]
            for flow in running:
                self.site.waker.wait(flow, 10)
            found: dict[str, Any] = self.ask("GET", f"/{kind}s/{id}")[kind]
            if is_so(found):
                return found
        raise AssertionError(f"{kind} is {found}")

    def status(self, kind: str, id: str, wanted: str) -> dict[str, Any]:
        return self.until(kind, id, lambda found: found["status"] == wanted)

    def volume(self) -> str:
        id: str = self.ask("POST", "/volumes", {"volume": {"size": 1}}, 202)["volume"]["id"]
        self.status("volume", id, "available")
        return id


@pytest.fixture
def rig(running: tuple[Site, falcon.testing.TestClient]) -> Iterator[Rig]:
    made = Rig(*running)
    yield made
    made.on()


CONNECTOR = {"host": "h1"}


@pytest.mark.parametrize("path", ["/v3/volumes", "/v1/flavors"])
@pytest.mark.parametrize("body", [b'{"volume": {"size": 1, "name": "caf\xe9"}}', b'{"caf\xe9": 1}', b'"\xed\xa0\x80"'])
def test_a_body_that_is_no_utf_8_is_the_callers_mistake(rig: Rig, path: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = rig.client.simulate_post(path, body=body, headers=headers)
    assert answer.status_code == 400, answer.text
    assert "Malformed request body: it is not UTF-8" in answer.text


def test_a_connect_that_fails_leaves_the_volume_reserved_and_can_be_repeated(rig: Rig) -> None:
    volume = rig.volume()
    id = rig.ask("POST", "/attachments", {"attachment": {"volume_uuid": volume}})["attachment"]["id"]
    rig.off("open")
    body = {"attachment": {"connector": CONNECTOR}}
    said = rig.ask("PUT", f"/attachments/{id}", body, 500)["computeFault"]["message"]
    assert said.startswith(f"Unable to update attachment {id}: ")
    assert "The disk is gone." in said
    assert rig.ask("GET", f"/attachments/{id}")["attachment"]["status"] == "reserved"
    rig.status("volume", volume, "reserved")
    rig.on()
    assert rig.ask("PUT", f"/attachments/{id}", body)["attachment"]["status"] == "attaching"


def test_a_reserve_with_a_connect_that_fails_reserves_nothing(rig: Rig) -> None:
    volume = rig.volume()
    rig.off("open")
    body = {"attachment": {"volume_uuid": volume, "connector": CONNECTOR}}
    said = rig.ask("POST", "/attachments", body, 500)["computeFault"]["message"]
    assert said.startswith("Unable to create attachment for volume")
    assert rig.ask("GET", "/attachments")["attachments"] == []
    rig.status("volume", volume, "available")


def test_a_disconnect_that_fails_can_be_repeated(rig: Rig) -> None:
    volume = rig.volume()
    body = {"attachment": {"volume_uuid": volume, "connector": CONNECTOR}}
    id = rig.ask("POST", "/attachments", body)["attachment"]["id"]
    rig.off("close")
    rig.ask("DELETE", f"/attachments/{id}", status=500)
    assert rig.ask("GET", f"/attachments/{id}")["attachment"]["status"] == "attaching"
    rig.on()
    rig.ask("DELETE", f"/volumes/{volume}", status=400)
    assert rig.ask("DELETE", f"/attachments/{id}") == {"attachments": []}
    rig.status("volume", volume, "available")


def test_a_snapshot_that_fails_is_in_error_with_a_message_and_can_be_deleted(rig: Rig) -> None:
    volume = rig.volume()
    rig.off("snapshot")
    id = rig.ask("POST", "/snapshots", {"snapshot": {"volume_id": volume}}, 202)["snapshot"]["id"]
    rig.status("snapshot", id, "error")
    message = rig.ask("GET", f"/messages?resource_uuid={id}")["messages"][0]
    assert message["event_id"] == "VOLUME_VOLUME_SNAPSHOT_009_013"
    rig.on()
    rig.ask("DELETE", f"/volumes/{volume}?cascade=true", status=202)


def test_an_extend_that_fails_says_so_and_the_quota_is_what_it_was(rig: Rig) -> None:
    volume = rig.volume()
    rig.off("grow")
    rig.ask("POST", f"/volumes/{volume}/action", {"os-extend": {"new_size": 900}}, 202)
    assert rig.status("volume", volume, "error_extending")["size"] == 1
    rig.on()
    rig.ask("POST", f"/volumes/{volume}/action", {"os-reset_status": {"status": "available"}}, 202)
    assert rig.ask("GET", "/messages")["messages"][0]["event_id"] == "VOLUME_VOLUME_007_010"
    rig.ask("POST", f"/volumes/{volume}/action", {"os-extend": {"new_size": 3}}, 202)
    assert rig.status("volume", volume, "available")["size"] == 3


def test_an_extend_without_room_leaves_the_volume_as_it_is(rig: Rig) -> None:
    volume = rig.volume()
    with rig.site.db.begin() as tx:
        tx.execute(sa.update(schema.pools).values(limit_gib=2))
    rig.ask("POST", f"/volumes/{volume}/action", {"os-extend": {"new_size": 3}}, 202)
    found = rig.until("volume", volume, lambda found: found["status"] != "extending")
    assert (found["status"], found["size"]) == ("available", 1)


def test_a_delete_that_fails_can_be_repeated(rig: Rig) -> None:
    volume = rig.volume()
    rig.off("delete")
    rig.ask("DELETE", f"/volumes/{volume}", status=202)
    rig.status("volume", volume, "error_deleting")
    rig.on()
    rig.ask("DELETE", f"/volumes/{volume}", status=202)


# volumes of our own guests -----------------------------------------------------------------------------------------


def guest(site: Site, project: str) -> str:
    id = str(uuid.uuid4())
    with site.db.begin() as tx:
        instances.insert(
            tx,
            id=id,
            name="guest",
            project_id=project,
            user_id=project,
            status=I.ACTIVE,
            vcpus=1,
            memory_mib=64,
            flavor="small",
            request={},
        )
    return id


@pytest.mark.parametrize("call", ["attachment", "os-detach", "os-terminate_connection", "os-force_detach", "reset"])
def test_a_volume_is_not_taken_away_from_under_a_guest(rig: Rig, call: str) -> None:
    """Not even by an administrator: what is left in the guest could next be another project's volume."""
    volume, instance = rig.volume(), guest(rig.site, "0" * 32)
    body = {"attachment": {"volume_uuid": volume, "instance_uuid": instance, "connector": CONNECTOR}}
    id = rig.ask("POST", "/attachments", body)["attachment"]["id"]
    values: dict[str, Any] = {
        "os-detach": {"attachment_id": id},
        "os-terminate_connection": {"connector": CONNECTOR},
        "os-force_detach": {"attachment_id": id},
        "reset": {"attach_status": "detached"},
    }
    if call == "attachment":
        said = rig.ask("DELETE", f"/attachments/{id}", status=409)
    else:
        action = "os-reset_status" if call == "reset" else call
        said = rig.ask("POST", f"/volumes/{volume}/action", {action: values[call]}, 409)
    message = said["conflictingRequest"]["message"]
    assert message.startswith(f"ConflictNovaUsingAttachment: Detach volume from instance {instance}")
    assert f"brickyard instance detach {instance}" in message
    assert rig.ask("GET", f"/attachments/{id}")["attachment"]["connection_info"]


def test_a_reserve_for_a_guest_can_be_given_up(rig: Rig) -> None:
    volume, instance = rig.volume(), guest(rig.site, "0" * 32)
    body = {"attachment": {"volume_uuid": volume, "instance_uuid": instance}}
    id = rig.ask("POST", "/attachments", body)["attachment"]["id"]
    assert rig.ask("DELETE", f"/attachments/{id}") == {"attachments": []}


def test_a_guest_that_is_gone_holds_nothing(rig: Rig) -> None:
    volume = rig.volume()
    body = {"attachment": {"volume_uuid": volume, "instance_uuid": str(uuid.uuid4()), "connector": CONNECTOR}}
    id = rig.ask("POST", "/attachments", body)["attachment"]["id"]
    assert rig.ask("DELETE", f"/attachments/{id}") == {"attachments": []}


def test_a_service_may_detach_from_a_guest(tmp_path: Any) -> None:
    with world.running(tmp_path, {"memory": "memory"}, auth_strategy="token") as made:
        rig = Rig(*made)
        with rig.site.db.begin() as tx:
            tokens.insert(tx, "compute", user_id="c" * 32, project_id="c" * 32, roles=["member", "service"])
        rig.token = "compute"
        volume, instance = rig.volume(), guest(rig.site, "c" * 32)
        body = {"attachment": {"volume_uuid": volume, "instance_uuid": instance, "connector": CONNECTOR}}
        id = rig.ask("POST", "/attachments", body)["attachment"]["id"]
        assert rig.ask("DELETE", f"/attachments/{id}") == {"attachments": []}
