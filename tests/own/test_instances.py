"""Instances over HTTP: booted with local storage, looked at, changed while they run, deleted with or without these."""

from __future__ import annotations

import pytest

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
    rob.fault("POST", "/v1/instances", {"name": "i", "flavor": "small", "image": "tiny"}, 403)
    assert rob.json("GET", path)["id"] == instance["id"]
    [seen] = admin.json("GET", "/v1/instances", params={"all_projects": "true"})["instances"]
    assert seen["id"] == instance["id"]
    assert admin.json("GET", "/v1/instances")["instances"] == []
