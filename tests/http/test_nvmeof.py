"""Volumes attached by hosts that are no nodes: what connectors are told, and that no export outlives its use."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))
import world
from brickyard.core.bricks import Exported, Kind, name_of
from brickyard.db import schema
from brickyard.service import audit, reports
from brickyard.service.site import Caller, Site

NQN = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555"
BOSS = Caller("user", "project", ("admin",), "req-1", is_admin=True)


class Rig:
    def __init__(self, site: Site, client: falcon.testing.TestClient) -> None:
        self.site, self.client = site, client
        self.node: Any = site.world.nodes["h1"]

    def ask(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        headers = {"OpenStack-API-Version": "volume 3.67"}
        result = self.client.simulate_request(method, f"/v3{path}", json=body, headers=headers)
        assert result.status_code == status, result.text
        return result.json if result.content else None

    def volume(self, **values: Any) -> str:
        id = str(self.ask("POST", "/volumes", {"volume": {"size": 1, **values}}, 202)["volume"]["id"])
        deadline = time.monotonic() + 60
        while self.status(id) == "creating":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert self.status(id) == "available"
        return id

    def status(self, id: str) -> str:
        return str(self.ask("GET", f"/volumes/{id}")["volume"]["status"])

    def attach(self, volume: str, host: str = "n1", nqn: Any = NQN, status: int = 200) -> Any:
        connector = {"host": host, "ip": "192.0.2.1", "initiator": None, **({"nqn": nqn} if nqn else {})}
        body = {"attachment": {"volume_uuid": volume, "connector": connector}}
        return self.ask("POST", "/attachments", body, status)

    def exported(self) -> list[Exported]:
        return list(self.node.exports())


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    options = {"target_protocol": "nvmet_tcp"}
    with world.running(tmp_path, {"raw": "raw"}, exports=True, backend_options=options) as made:
        yield Rig(*made)


def test_a_connector_of_another_host_has_what_it_needs_and_detach_ends_it(rig: Rig) -> None:
    volume = rig.volume()
    made = rig.attach(volume)["attachment"]
    info, name = made["connection_info"], name_of(Kind.VOLUME, volume)
    [[address, port, transport]] = info["portals"]
    assert info["driver_volume_type"] == "nvmeof"
    assert (address, transport, info["host_nqn"]) == (rig.node.export_address, "tcp", NQN)
    assert int(port) and "device_path" not in info
    assert (info["access_mode"], info["vol_uuid"], info["attachment_id"]) == ("rw", made["id"], made["id"])
    assert rig.exported() == [Exported("raw", name, made["id"], nqn=NQN)]
    assert info["target_nqn"].endswith(f"{name}.{made['id']}")
    assert audit.look(rig.site) == []
    rig.ask("POST", f"/attachments/{made['id']}/action", {"os-complete": None}, 204)
    assert (rig.status(volume), audit.look(rig.site)) == ("in-use", [])
    rig.ask("DELETE", f"/attachments/{made['id']}")
    assert (rig.status(volume), rig.exported()) == ("available", [])


def test_a_connector_of_the_volumes_own_host_has_a_path(rig: Rig) -> None:
    info = rig.attach(rig.volume(), host="h1")["attachment"]["connection_info"]
    assert (info["driver_volume_type"], rig.exported()) == ("local", [])


@pytest.mark.parametrize(
    "nqn", [None, "n1", "nqn.2014-08.org/../..", "nqn.2014-08.org.x:" + "a" * 223, "nqn.٢٠١٤-08.org.x", 7]
)
def test_a_connector_says_its_nqn(rig: Rig, nqn: Any) -> None:
    volume = rig.volume()
    refused = rig.attach(volume, nqn=nqn, status=400)["badRequest"]["message"]
    assert "nqn" in refused.lower() and "/etc/nvme/hostnqn" in refused
    assert (rig.status(volume), rig.exported()) == ("available", [])
    assert rig.ask("GET", "/attachments")["attachments"] == []


def without_protocol(rig: Rig) -> None:
    rig.node.backends["raw"].options = {}
    reports.record(rig.site.db, rig.node.report())


def without_address(rig: Rig) -> None:
    with rig.site.db.begin() as tx:
        tx.execute(sa.update(schema.hosts).values(export_address=None))


@pytest.mark.parametrize(
    ("change", "why"), [(without_protocol, "target_protocol = nvmet_tcp"), (without_address, "export_address set")]
)
def test_what_is_not_configured_is_refused_with_what_to_set(rig: Rig, change: Callable[[Rig], None], why: str) -> None:
    volume = rig.volume()
    change(rig)
    refused = rig.attach(volume, status=400)["badRequest"]["message"]
    assert why in refused and "host n1" in refused
    assert (rig.status(volume), rig.exported()) == ("available", [])


def test_a_format_of_its_own_is_refused_and_nothing_stays(tmp_path: Path) -> None:
    options = {"target_protocol": "nvmet_tcp"}
    with world.running(tmp_path, {"qcow2": "qcow2"}, exports=True, backend_options=options) as made:
        rig = Rig(*made)
        volume = rig.volume()
        assert "is a qcow2 file" in rig.attach(volume, status=400)["badRequest"]["message"]
        assert (rig.status(volume), rig.exported()) == ("available", [])
        assert rig.ask("GET", "/attachments")["attachments"] == []


def test_one_host_may_have_a_volume_twice_and_loses_it_once(rig: Rig) -> None:
    kind = {"volume_type": {"name": "shared", "extra_specs": {"multiattach": "<is> True"}}}
    rig.ask("POST", "/types", kind)
    volume = rig.volume(volume_type="shared")
    one = rig.attach(volume)["attachment"]
    rig.ask("POST", f"/attachments/{one['id']}/action", {"os-complete": None}, 204)
    two = rig.attach(volume)["attachment"]
    targets = {made["connection_info"]["target_nqn"] for made in (one, two)}
    assert len(targets) == 2 == len({tuple(made["connection_info"]["portals"][0]) for made in (one, two)})
    rig.ask("DELETE", f"/attachments/{one['id']}")
    assert [found.client for found in rig.exported()] == [two["id"]]
    rig.ask("DELETE", f"/attachments/{two['id']}")
    assert rig.exported() == []


def test_an_attachment_that_is_connected_elsewhere_is_exported_there_only(rig: Rig) -> None:
    volume, other = rig.volume(), NQN.replace("1111", "9999")
    made = rig.attach(volume)["attachment"]
    for host, nqn, due in (("n2", other, [other]), ("h1", None, []), ("n1", NQN, [NQN])):
        body = {"attachment": {"connector": {"host": host, "nqn": nqn}}}
        rig.ask("PUT", f"/attachments/{made['id']}", body)
        assert [found.nqn for found in rig.exported()] == due
    rig.ask("DELETE", f"/attachments/{made['id']}")
    assert (rig.status(volume), rig.exported()) == ("available", [])


def test_an_attachment_that_cannot_be_connected_anew_is_exported_no_longer(rig: Rig) -> None:
    """It has no connection then, so nobody would end the export when it is deleted, and the volume somebody else's."""
    volume = rig.volume()
    id = rig.attach(volume)["attachment"]["id"]
    rig.ask("POST", f"/attachments/{id}/action", {"os-complete": None}, 204)
    brick = Path(rig.node.open_brick("raw", name_of(Kind.VOLUME, volume)).path)
    away = brick.rename(brick.with_name("away"))
    rig.ask("PUT", f"/attachments/{id}", {"attachment": {"connector": {"host": "n1", "nqn": NQN}}}, 404)
    assert rig.exported() == []
    away.rename(brick)
    rig.ask("DELETE", f"/attachments/{id}")
    assert (rig.status(volume), rig.exported()) == ("available", [])


def test_the_older_calls_connect_and_disconnect_too(rig: Rig) -> None:
    volume = rig.volume()
    connector = {"connector": {"host": "n1", "nqn": NQN}}
    act = f"/volumes/{volume}/action"
    rig.ask("POST", act, {"os-reserve": None}, 202)
    info = rig.ask("POST", act, {"os-initialize_connection": connector})["connection_info"]
    assert rig.ask("POST", act, {"os-initialize_connection": connector})["connection_info"] == info
    anew = {"connector": {"host": "n1", "nqn": NQN.replace("1111", "9999")}}  # it was installed anew
    refused = rig.ask("POST", act, {"os-initialize_connection": anew}, 400)["badRequest"]["message"]
    assert NQN in refused and "terminate that connection first" in refused
    [found] = rig.exported()
    assert (info["driver_volume_type"], info["data"]["vol_uuid"], found.nqn) == ("nvmeof", found.client, NQN)
    rig.ask("POST", act, {"os-attach": {"host_name": "n1", "mountpoint": "/dev/vdb"}}, 202)
    rig.ask("POST", act, {"os-terminate_connection": connector}, 202)
    assert rig.exported() == []
    rig.ask("POST", act, {"os-detach": {}}, 202)
    assert rig.status(volume) == "available"


def test_it_does_not_grow_meanwhile(rig: Rig) -> None:
    volume = rig.volume()
    id = rig.attach(volume)["attachment"]["id"]
    rig.ask("POST", f"/attachments/{id}/action", {"os-complete": None}, 204)
    refused = rig.ask("POST", f"/volumes/{volume}/action", {"os-extend": {"new_size": 2}}, 400)
    assert "attached to host n1" in refused["badRequest"]["message"]


def test_the_audit_ends_what_no_attachment_needs_and_tells_what_is_missing(rig: Rig) -> None:
    volume = rig.volume()
    name = name_of(Kind.VOLUME, volume)
    rig.node.export("raw", name, str(uuid.uuid4()), nqn=NQN)
    [found] = audit.repair(rig.site, BOSS, grace_s=0)
    assert (found.difference.kind, found.flow_id is not None) == ("stray_export", True)
    assert rig.site.waker.wait(str(found.flow_id), 60) == "done"
    assert (rig.exported(), audit.look(rig.site)) == ([], [])
    id = rig.attach(volume)["attachment"]["id"]
    rig.node.unexport("raw", name, id)
    [found] = audit.look(rig.site)
    assert (found.difference.kind, found.difference.about) == ("missing_export", (id, volume))
