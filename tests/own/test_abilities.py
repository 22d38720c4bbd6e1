"""What a backend cannot do is refused before anything is begun, and what is made goes to one that can."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import world

from brickyard.brick.guard import Guard
from brickyard.core.bricks import Capabilities
from brickyard.db import hosts
from brickyard.nodes import local
from brickyard.service import reports

V3 = {"OpenStack-API-Version": "volume 3.67"}
MIB = 1024 * 1024


class Rig:
    """A site with the backend `poor`, whose driver can be made to lack something, and one more, `rich`."""

    def __init__(self, api: Any) -> None:
        self.api = api
        node = api.site.world.nodes["h1"]
        assert isinstance(node, local.LocalNode)
        self.node, self.backend = node, node.backends["poor"]

    def lacks(self, *capabilities: str) -> None:
        """From now on the driver of `poor` does not offer these, and its host has reported that."""
        driver: Any = self.backend.driver
        denied = dict.fromkeys(capabilities, False)
        driver.driver.capabilities = dataclasses.replace(driver.capabilities, **denied)
        self.backend.driver = Guard(driver.driver, "poor")
        self.report()

    def down(self) -> None:
        """The backend does not work any more, and its host has reported that."""

        def fails() -> Any:
            raise OSError("the disk is gone")

        self.backend.driver, self.backend.load = None, fails
        self.report()
        assert not self.pool().up

    def report(self) -> None:
        reports.record(self.api.site.db, self.node.report())
        self.api.site.world.places.refresh()

    def pool(self) -> Any:
        with self.api.site.db.read() as tx:
            return hosts.find_pool(tx, "h1@poor#poor")

    def on_poor(self) -> Any:
        self.api.json("PATCH", "/v1/pools/h1@rich", {"enabled": False})
        volume = self.api.a_volume()
        self.api.json("PATCH", "/v1/pools/h1@rich", {"enabled": True})
        return volume

    def snapshot(self, volume: Any, status: int = 202) -> Any:
        body = {"snapshot": {"volume_id": volume["id"]}}
        made = self.api.json("POST", "/v3/snapshots", body, status, headers=V3)
        if status == 202:
            [flow, *_] = self.api.json("GET", "/v1/flows", params={"resource_id": made["snapshot"]["id"]})["flows"]
            self.api.site.waker.wait(flow["id"], 60)
        return made

    def act(self, volume: Any, status: int, **action: Any) -> Any:
        return self.api.json("POST", f"/v3/volumes/{volume['id']}/action", action, status, headers=V3)

    def everything(self) -> Any:
        """What a request that was refused must not have changed."""
        said = [
            [{**one, "updated_at": None} for one in self.api.json("GET", path, headers=V3)[name]]
            for path, name in (("/v3/volumes/detail", "volumes"), ("/v3/snapshots/detail", "snapshots"))
        ]
        flows = len(self.api.json("GET", "/v1/flows")["flows"])
        quota = self.api.json("GET", "/v3/limits", headers=V3)["limits"]["absolute"]
        return said, flows, quota, self.pool().claimed_gib

    def refused(self, method: str, path: str, body: Any, lacks: str) -> str:
        """A 400 that names backend, driver and capability, and nothing has changed; what to do instead."""
        before = self.everything()
        error = self.api.json(method, path, body, 400, headers=V3)["badRequest"]
        assert error["code"] == 400
        assert error["message"].startswith("Backend h1@poor (driver memory) cannot "), error
        assert f"its driver lacks '{lacks}'" in error["message"]
        assert self.everything() == before
        return str(error["message"]).partition("; ")[2]


@pytest.fixture
def rig(client: Any, tmp_path: Path) -> Iterator[Rig]:
    with world.running(tmp_path, {"poor": "memory", "rich": "memory"}) as (site, http):
        yield Rig(client(site, http))


def test_a_revert_that_the_driver_lacks_is_refused(rig: Rig) -> None:
    volume = rig.on_poor()
    snapshot = rig.snapshot(volume)["snapshot"]
    rig.lacks("revert")
    body = {"revert": {"snapshot_id": snapshot["id"]}}
    rig.refused("POST", f"/v3/volumes/{volume['id']}/action", body, "revert")


def test_a_snapshot_that_the_driver_lacks_is_refused(rig: Rig) -> None:
    volume = rig.on_poor()
    rig.lacks("snapshots")
    rig.refused("POST", "/v3/snapshots", {"snapshot": {"volume_id": volume["id"]}}, "snapshots")


@pytest.mark.parametrize("verb", ["snapshots", "revert"])
def test_what_to_do_instead_is_nothing_that_the_driver_lacks_as_well(rig: Rig, verb: str) -> None:
    volume = rig.on_poor()
    body: Any = {"revert": {"snapshot_id": rig.snapshot(volume)["snapshot"]["id"]}}
    path = f"/v3/volumes/{volume['id']}/action"
    if verb == "snapshots":
        path, body = "/v3/snapshots", {"snapshot": {"volume_id": volume["id"]}}
    rig.lacks(verb)
    assert "create a volume from" in rig.refused("POST", path, body, verb)
    rig.lacks("clones")
    assert rig.refused("POST", path, body, verb) == "use a volume on a backend that can."


def test_a_copy_that_the_driver_lacks_is_refused(rig: Rig) -> None:
    """Although another backend could: what is copied does not leave its own."""
    volume = rig.on_poor()
    snapshot = rig.snapshot(volume)["snapshot"]
    rig.lacks("clones")
    rig.refused("POST", "/v3/volumes", {"volume": {"size": 1, "source_volid": volume["id"]}}, "clones")
    rig.refused("POST", "/v3/volumes", {"volume": {"size": 1, "snapshot_id": snapshot["id"]}}, "clones")


def test_growth_in_use_that_the_driver_lacks_is_refused_and_growth_at_rest_is_not(rig: Rig) -> None:
    volume = rig.on_poor()
    rig.lacks("online_grow")
    rig.act(volume, 202, **{"os-attach": {"instance_uuid": volume["id"], "mountpoint": "/dev/vdb"}})
    body = {"os-extend": {"new_size": 2}}
    rig.refused("POST", f"/v3/volumes/{volume['id']}/action", body, "online_extend_support")
    rig.act(volume, 202, **{"os-detach": {}})
    rig.act(volume, 202, **body)
    [flow, *_] = rig.api.json("GET", "/v1/flows", params={"resource_id": volume["id"]})["flows"]
    rig.api.done(flow["id"])


def an_image(api: Any) -> str:
    image = api.json("POST", "/v1/images", {"name": "disk", "kind": "disk", "format": "raw"}, 201)
    api.upload(image["id"], "disk", b"\x11" * MIB)
    return str(image["id"])


def test_a_volume_from_an_image_goes_only_to_a_backend_that_takes_images(rig: Rig) -> None:
    rig.lacks("imports")
    image = an_image(rig.api)
    made = [rig.api.a_volume(imageRef=image) for _ in range(4)]
    assert {volume["os-vol-host-attr:host"] for volume in made} == {"h1@rich#rich"}
    assert rig.pool().claimed_gib == 0
    rig.api.json("PATCH", "/v1/pools/h1@rich", {"enabled": False})
    body = {"volume": {"size": 1, "imageRef": image}}
    volume = rig.api.json("POST", "/v3/volumes", body, 202, headers=V3)["volume"]
    [flow] = rig.api.json("GET", "/v1/flows", params={"resource_id": volume["id"]})["flows"]
    rules = {one["name"]: one for one in rig.api.done(flow["id"], "failed")["refusals"]}
    assert rules["h1@poor#poor"]["rule"] == "able"
    assert "driver memory of h1@poor cannot take an image" in rules["h1@poor#poor"]["message"]
    assert rules["h1@rich#rich"]["rule"] == "up"


def test_the_root_disk_of_an_instance_goes_only_to_a_backend_that_takes_images(rig: Rig) -> None:
    image = an_image(rig.api)
    rig.api.a_flavor("small", root_gib=1)
    body = {"flavor": "small", "image": image}
    node = rig.api.site.world.nodes["h1"]
    node.hypervisor = None  # else pools in memory are refused as those that no guest can use
    places = rig.api.site.world.places
    assert places.unusable() <= {"h1@poor#poor", "h1@rich#rich"}
    rig.lacks("imports")
    [host] = rig.api.json("POST", "/v1/explain", body)["hosts"]
    found = {pool["name"]: pool["refusal"] for pool in host["pools"]}
    assert found["h1@poor#poor"]["rule"] == "able"
    assert found["h1@rich#rich"] is None


@pytest.mark.parametrize("lacks", [(), ("revert",)])
def test_a_backend_that_is_down_refuses_only_what_its_driver_lacks(rig: Rig, lacks: tuple[str, ...]) -> None:
    """Its last report counts: that it says nothing now is no word against it."""
    volume = rig.on_poor()
    snapshot = rig.snapshot(volume)["snapshot"]
    rig.lacks(*lacks)
    rig.down()
    body = {"revert": {"snapshot_id": snapshot["id"]}}
    if lacks:
        rig.refused("POST", f"/v3/volumes/{volume['id']}/action", body, "revert")
    else:
        rig.act(volume, 202, **body)


def test_a_backend_that_has_not_reported_lacks_nothing(rig: Rig) -> None:
    """While a pool is being made, nobody has asked its driver yet; what an older release has left out is not denied."""
    volume = rig.on_poor()
    with rig.api.site.db.begin() as tx:
        known = dict(rig.pool().capabilities)
        for name in ("snapshots", "online_extend_support"):
            del known[name]
        tx.execute(hosts.pools.update().values(capabilities=known))
    rig.snapshot(volume)
    rig.act(volume, 202, **{"os-attach": {"instance_uuid": volume["id"], "mountpoint": "/dev/vdb"}})
    rig.act(volume, 202, **{"os-extend": {"new_size": 2}})


def test_a_pool_that_is_being_made_says_nothing_of_what_its_driver_can_do(rig: Rig) -> None:
    [backend] = [one for one in rig.node.report().backends if one.name == "poor"]
    unknown = dataclasses.replace(backend, up=False, capabilities=Capabilities(thin=True))
    found = reports.capabilities(unknown)
    assert found["thin"] is True
    assert not {"snapshots", "clones", "revert", "imports", "online_extend_support"} & set(found)
