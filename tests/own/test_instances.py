"""Instances over HTTP: booted with local storage, looked at, changed while they run, deleted with or without these."""

from __future__ import annotations

import contextlib

import pytest

from brickyard.brick import locks
from brickyard.core import clock
from brickyard.service import instances

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def ready(api):
    api.a_flavor("small")
    api.a_flavor("implicit", local_storage_gb=2)
    api.a_kernel("tiny")
    return api


def boot(api, name="i", **more):
    body = {"name": name, "flavor": "small", "image": "tiny", **more}
    instance = api.json("POST", "/v1/instances", body, 202)
    api.done(instance["flow_id"])
    return api.json("GET", f"/v1/instances/{instance['id']}")


def test_an_instance_comes_with_its_local_storage(ready):
    instance = boot(ready, local_storage=[{"size_gib": 1}, {"size_gib": 3}])
    assert (instance["status"], instance["host"]) == ("active", "h1")
    assert sorted(volume["size_gib"] for volume in instance["volumes"]) == [1, 3]
    assert {volume["pool"] for volume in instance["volumes"]} == {"h1@raw#raw"}
    assert ready.json("GET", "/v1/instances", params={"name": "i"})["instances"] == [instance]
    assert ready.json("GET", "/v1/instances", params={"name": "other"})["instances"] == []


def test_a_flavor_may_imply_local_storage(ready):
    assert [volume["size_gib"] for volume in boot(ready, flavor="implicit")["volumes"]] == [2]


def test_local_storage_never_only_seems_to_be_encrypted(ready):
    type_ = ready.json("POST", "/v3/types", {"volume_type": {"name": "safe"}})["volume_type"]
    encryption = {"provider": "luks", "control_location": "front-end"}
    ready.json("POST", f"/v3/types/{type_['id']}/encryption", {"encryption": encryption})
    storage = [{"size_gib": 1, "volume_type": "safe"}]
    body = {"name": "i", "flavor": "small", "image": "tiny", "local_storage": storage}
    assert "no backend here encrypts" in ready.fault("POST", "/v1/instances", body)["message"]
    assert ready.json("GET", "/v1/instances")["instances"] == []
    assert ready.json("GET", "/v3/volumes")["volumes"] == []


def test_deleting_keeps_the_volumes_unless_asked(ready):
    kept = boot(ready, "a", local_storage=[{"size_gib": 1}])
    assert ready.fault("DELETE", f"/v1/instances/{kept['id']}", params={"volumes": "maybe"})["field"] == "volumes"
    ready.done(ready.json("DELETE", f"/v1/instances/{kept['id']}", status=202)["flow_id"])
    volume = kept["volumes"][0]["volume_id"]
    assert ready.json("GET", f"/v3/volumes/{volume}")["volume"]["status"] == "available"
    again = boot(ready, "b", volumes=[volume])
    assert [one["volume_id"] for one in again["volumes"]] == [volume]
    gone = ready.json("DELETE", f"/v1/instances/{again['id']}", status=202, params={"volumes": "delete"})
    ready.done(gone["flow_id"])
    for flow in ready.json("GET", "/v1/flows", params={"resource_id": volume})["flows"]:
        ready.done(flow["id"])
    ready.json("GET", f"/v3/volumes/{volume}", status=404)
    assert ready.json("GET", "/v1/instances")["instances"] == []


def test_a_volume_is_plugged_in_and_out_of_a_running_instance(ready):
    instance, volume = boot(ready), ready.a_volume()
    attached = ready.json("POST", f"/v1/instances/{instance['id']}/volumes", {"volume_id": volume["id"]})
    assert (attached["volume_id"], attached["attach_status"]) == (volume["id"], "attached")
    path = f"/v1/instances/{instance['id']}/volumes/{volume['id']}"
    ready.json("DELETE", path, status=204)
    ready.json("DELETE", path, status=404)


def switch(api, instance, action, ended="done"):
    """Start or stop an instance, and wait; how it is then."""
    shown = api.json("POST", f"/v1/instances/{instance['id']}/{action}", status=202)
    assert shown["status"] == {"start": "starting", "stop": "stopping"}[action]
    api.done(shown["flow_id"], ended)
    return api.json("GET", f"/v1/instances/{instance['id']}")


def test_an_instance_is_stopped_and_started_with_the_volumes_that_it_has_then(ready):
    instance = boot(ready, local_storage=[{"size_gib": 1}, {"size_gib": 1}])
    path, [gone, kept] = f"/v1/instances/{instance['id']}", [one["volume_id"] for one in instance["volumes"]]
    before = ready.json("GET", "/v1/hosts/h1")
    stopped = switch(ready, instance, "stop")
    assert (stopped["status"], stopped["fault"], len(stopped["volumes"])) == ("stopped", None, 2)
    assert ready.json("GET", "/v1/hosts/h1")["vcpus_claimed"] == before["vcpus_claimed"] == 1
    assert "active" in ready.fault("POST", f"{path}/stop", status=400)["message"]
    ready.json("DELETE", f"{path}/volumes/{gone}", status=204)
    again = switch(ready, instance, "start")
    assert (again["status"], again["host"], again["fault"]) == ("active", "h1", None)
    [guest] = ready.site.world.nodes["h1"].guests()
    assert (guest.status, guest.serials) == ("running", (kept,))
    assert "stopped" in ready.fault("POST", f"{path}/start", status=400)["message"]
    assert ready.call("GET", f"{path}/console").text.count("ready") == 2
    ready.json("POST", f"{path}/volumes", {"volume_id": gone})
    assert ready.json("GET", "/v1/audit")["differences"] == []
    ready.fault("POST", f"/v1/instances/{UNKNOWN}/start", status=404)
    ready.fault("POST", f"/v1/instances/{UNKNOWN}/stop", status=404)


def test_an_instance_whose_guest_ended_by_itself_is_started_again(ready):
    instance = boot(ready, local_storage=[{"size_gib": 1}])
    node = ready.site.world.nodes["h1"]
    node.hypervisor.kill(instance["id"])
    assert instances.observe(ready.site.db, "h1", node.guests) == [instance["id"]]
    assert ready.json("GET", f"/v1/instances/{instance['id']}")["fault"]
    started = switch(ready, instance, "start")
    assert (started["status"], started["fault"]) == ("active", None)


def test_an_instance_that_does_not_start_is_stopped_and_says_why(ready):
    instance = boot(ready, local_storage=[{"size_gib": 1}])
    switch(ready, instance, "stop")
    node, pool = ready.site.world.nodes["h1"], instance["volumes"][0]["pool"].partition("@")[2].partition("#")[0]
    served = node.backends.pop(pool)
    stopped = switch(ready, instance, "start", "failed")
    assert stopped["status"] == "stopped"
    assert f"no backend {pool}" in stopped["fault"]
    node.backends[pool] = served
    assert switch(ready, instance, "start")["status"] == "active"


def test_an_instance_whose_kernel_was_deleted_is_not_started(ready):
    instance = boot(ready, local_storage=[{"size_gib": 1}])
    switch(ready, instance, "stop")
    ready.json("DELETE", f"/v1/images/{instance['image_id']}", status=204)
    error = ready.fault("POST", f"/v1/instances/{instance['id']}/start", status=409)
    assert "boot another one" in error["message"]
    assert ready.json("GET", f"/v1/instances/{instance['id']}")["status"] == "stopped"
    ready.done(ready.json("DELETE", f"/v1/instances/{instance['id']}", status=202)["flow_id"])


@pytest.fixture
def copied(ready):
    """A stopped instance, and a snapshot of its volume that is being taken inside, and is available after."""

    @contextlib.contextmanager
    def while_copied(volume_id):
        headers = {"OpenStack-API-Version": "volume 3.67"}
        with locks.held(ready.json("GET", "/v1/pools/h1@raw")["path"], f"volume-{volume_id}"):
            body = {"snapshot": {"volume_id": volume_id}}
            snapshot = ready.json("POST", "/v3/snapshots", body, 202, headers=headers)["snapshot"]["id"]
            deadline = clock.monotonic() + 60
            while not ready.site.world.nodes["h1"].copies.copied[volume_id]:
                assert clock.monotonic() < deadline
                clock.sleep(0.01)
            yield
        [flow] = ready.json("GET", "/v1/flows", params={"resource_id": snapshot})["flows"]
        ready.done(flow["id"])

    return while_copied


def test_no_guest_gets_a_volume_while_it_is_copied(ready, copied):
    instance, spare = boot(ready, local_storage=[{"size_gib": 1}]), ready.a_volume()["id"]
    switch(ready, instance, "stop")
    with copied(instance["volumes"][0]["volume_id"]):
        stopped = switch(ready, instance, "start", "failed")
        assert (stopped["status"], "is being copied" in stopped["fault"]) == ("stopped", True)
    assert switch(ready, instance, "start")["status"] == "active"
    path = f"/v1/instances/{instance['id']}/volumes"
    with copied(spare):
        assert "is being copied" in ready.fault("POST", path, {"volume_id": spare}, 409)["message"]
    ready.json("POST", path, {"volume_id": spare})
    assert ready.json("GET", "/v1/audit")["differences"] == []


def test_a_guest_that_is_paused_for_a_copy_is_stopped_after_it(ready, copied):
    instance = boot(ready, local_storage=[{"size_gib": 1}])
    with copied(instance["volumes"][0]["volume_id"]):
        deadline = clock.monotonic() + 60
        while ready.site.world.nodes["h1"].guests()[0].status != "paused":
            assert clock.monotonic() < deadline
            clock.sleep(0.01)
        shown = ready.json("POST", f"/v1/instances/{instance['id']}/stop", status=202)
        assert ready.site.world.nodes["h1"].guests()[0].status == "paused"
    ready.done(shown["flow_id"])
    assert ready.json("GET", f"/v1/instances/{instance['id']}")["status"] == "stopped"


def test_the_console_is_text(ready):
    instance = boot(ready)
    result = ready.call("GET", f"/v1/instances/{instance['id']}/console")
    assert result.status_code == 200
    assert result.headers["content-type"].startswith("text/plain")
    path = f"/v1/instances/{instance['id']}/console"
    assert ready.fault("GET", path, params={"max_bytes": "-1"})["field"] == "max_bytes"


@pytest.mark.parametrize(
    ("change", "field", "word"),
    [
        ({"locality": "city"}, "locality", "rack"),
        ({"local_storage": [{"size_gib": 0}]}, "size_gib", "0"),
        ({"local_storage": [{"size_gib": 1, "kind": "x"}]}, "local_storage", "kind"),
        ({"volumes": ["not-an-id"]}, "volumes", "not-an-id"),
        ({"required": "yes"}, "required", "boolean"),
        ({"name": ""}, "name", ""),
    ],
)
def test_wrong_boots_name_the_field_and_what_is_allowed(ready, change, field, word):
    error = ready.fault("POST", "/v1/instances", {"name": "i", "flavor": "small", "image": "tiny", **change})
    assert error["field"] == field
    assert word in error["message"]


def test_a_boot_of_something_unknown_is_not_found(ready):
    ready.fault("POST", "/v1/instances", {"name": "i", "flavor": "huge", "image": "tiny"}, 404)
    ready.fault("POST", "/v1/instances", {"name": "i", "flavor": "small", "image": "none"}, 404)
    ready.fault("POST", "/v1/instances", {"name": "i", "flavor": "small", "image": "tiny", "volumes": [UNKNOWN]}, 404)
    ready.fault("GET", f"/v1/instances/{UNKNOWN}", status=404)


def test_a_boot_that_fits_nowhere_fails_with_its_refusals(ready):
    limit = ready.json("GET", "/v1/pools/h1@raw")["limit_gib"]
    body = {"name": "big", "flavor": "small", "image": "tiny", "local_storage": [{"size_gib": limit + 1}]}
    instance = ready.json("POST", "/v1/instances", body, 202)
    flow = ready.done(instance["flow_id"], "failed")
    assert any("h1" in refusal["name"] for refusal in flow["refusals"])
    shown = ready.json("GET", f"/v1/instances/{instance['id']}")
    assert shown["status"] == "error"
    assert shown["fault"]


def test_explain_says_where_it_would_go_and_reserves_nothing(ready):
    found = ready.json("POST", "/v1/explain", {"flavor": "small", "image": "tiny", "local_storage": [{"size_gib": 1}]})
    assert [(host["name"], host["rank"]) for host in found["hosts"]] == [("h1", 1)]
    found = ready.json("POST", "/v1/explain", {"volume": {"size_gib": 10**6}})
    [pool] = found["hosts"][0]["pools"]
    assert pool["refusal"]["rule"] == "capacity"
    assert ready.json("GET", "/v1/reservations")["reservations"] == []
    assert ready.json("GET", "/v1/flows")["flows"] == []
    assert ready.fault("POST", "/v1/explain", {"image": "tiny"})["field"] == "flavor"
    assert ready.fault("POST", "/v1/explain", {"flavor": "small", "volume": {"size_gib": 1}})["field"] == "flavor"
    zone = ready.fault("POST", "/v1/explain", {"volume": {"size_gib": 1, "availability_zone": "mars"}})
    assert "nova" in zone["message"]


def test_one_project_never_sees_the_instances_of_another(projects):
    admin, ann, bob, rob = (projects[name] for name in ("admin", "ann", "bob", "rob"))
    admin.a_flavor("small")
    ann.a_kernel("tiny")
    instance = boot(ann, local_storage=[{"size_gib": 1}])
    path, flow = f"/v1/instances/{instance['id']}", f"/v1/flows/{instance['flow_id']}"
    for other in (path, f"{path}/console", flow, f"{flow}/events"):
        bob.fault("GET", other, status=404)
    bob.fault("DELETE", path, status=404)
    bob.fault("POST", f"{path}/stop", status=404)
    bob.fault("POST", f"{path}/start", status=404)
    bob.fault("POST", f"{path}/volumes", {"volume_id": UNKNOWN}, 404)
    bob.fault("POST", "/v1/instances", {"name": "i", "flavor": "small", "image": "tiny"}, 404)
    bob.fault(
        "POST",
        "/v1/instances",
        {"name": "i", "flavor": "small", "image": None, "volumes": [instance["volumes"][0]["volume_id"]]},
        404,
    )
    assert bob.json("GET", "/v1/instances")["instances"] == bob.json("GET", "/v1/flows")["flows"] == []
    bob.fault("GET", "/v1/instances", status=403, params={"all_projects": "true"})
    rob.fault("DELETE", path, status=403)
    rob.fault("POST", f"{path}/stop", status=403)
    rob.fault("POST", f"{path}/start", status=403)
    rob.fault("POST", "/v1/instances", {"name": "i", "flavor": "small", "image": "tiny"}, 403)
    assert rob.json("GET", path)["id"] == instance["id"]
    [seen] = admin.json("GET", "/v1/instances", params={"all_projects": "true"})["instances"]
    assert seen["id"] == instance["id"]
    assert admin.json("GET", "/v1/instances")["instances"] == []
