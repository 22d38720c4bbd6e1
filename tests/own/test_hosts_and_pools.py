"""Hosts are labelled and disabled; pools are made on a directory, once, and only go when they are empty."""

from __future__ import annotations

import dataclasses
import threading

from brickyard.service import reports


def test_a_host_shows_its_labels_and_its_room(api):
    host = api.json("GET", "/v1/hosts/h1")
    assert host["labels"] == {"zone": "nova", "rack": "r1"}
    assert (host["vcpus_total"], host["memory_mib_total"], host["up"], host["enabled"]) == (16, 16384, True, True)
    assert api.json("GET", "/v1/hosts")["hosts"] == [host]


def test_labels_change_key_by_key(api):
    host = api.json("PATCH", "/v1/hosts/h1", {"labels": {"rack": "r2", "row": "a", "zone": None}})
    assert host["labels"] == {"rack": "r2", "row": "a"}


def test_a_disabled_host_takes_no_instance_and_says_so(api):
    api.a_flavor()
    api.a_kernel()
    api.json("PATCH", "/v1/hosts/h1", {"enabled": False, "disabled_reason": "new disks"})
    found = api.json("POST", "/v1/explain", {"flavor": "small", "image": "tiny"})
    assert "disabled" in found["hosts"][0]["refusal"]["message"]
    assert api.json("PATCH", "/v1/hosts/h1", {"enabled": True})["disabled_reason"] is None


def test_wrong_host_requests_name_the_field(api):
    assert api.fault("PATCH", "/v1/hosts/h1", {"labels": {"host": "x"}})["field"] == "labels"
    assert api.fault("PATCH", "/v1/hosts/h1", {"enabled": "maybe"})["field"] == "enabled"
    assert api.fault("PATCH", "/v1/hosts/h1", {"disabled_reason": "why"})["field"] == "disabled_reason"
    assert "h1" in api.fault("GET", "/v1/hosts/h9", status=404)["message"]


def test_a_pool_is_made_used_and_removed(api, tmp_path):
    new = {"host": "h1", "name": "fast", "driver": "qcow2", "path": str(tmp_path / "fast")}
    pool = api.json("POST", "/v1/pools", new, 201)
    assert (pool["name"], pool["up"], pool["from_api"], pool["path"]) == ("h1@fast#fast", True, True, new["path"])
    assert pool["limit_gib"] > 0
    assert api.json("POST", "/v1/pools", new, 200)["id"] == pool["id"]
    api.json("PATCH", "/v1/pools/h1@raw", {"enabled": False})
    volume = api.a_volume()
    shown = api.json("GET", "/v1/pools/h1@fast%23fast")
    assert (shown["claimed_gib"], shown["volumes"]) == (1, 1)
    refused = api.fault("DELETE", "/v1/pools/h1@fast", status=409)
    assert volume["id"] in refused["message"]
    api.call("DELETE", f"/v3/volumes/{volume['id']}")
    [flow] = api.json("GET", "/v1/flows", params={"resource_id": volume["id"], "limit": "1"})["flows"]
    api.done(flow["id"])
    api.json("DELETE", "/v1/pools/h1@fast", status=204)
    api.json("GET", "/v1/pools/h1@fast", status=404)
    assert (tmp_path / "fast").is_dir()


def test_a_deleted_pool_does_not_come_back_with_a_report_that_was_under_way(api, tmp_path):
    api.json("POST", "/v1/pools", {"host": "h1", "name": "x", "driver": "raw", "path": str(tmp_path / "x")}, 201)
    report = api.site.world.nodes["h1"].report()
    api.json("DELETE", "/v1/pools/h1@x", status=204)
    reports.record(api.site.db, report)
    api.json("GET", "/v1/pools/h1@x", status=404)
    api.json("POST", "/v1/pools", {"host": "h1", "name": "x", "driver": "raw", "path": str(tmp_path / "x")}, 201)


def test_a_pool_that_left_the_configuration_can_be_deleted(api):
    report = api.site.world.nodes["h1"].report()
    reports.record(api.site.db, dataclasses.replace(report, backends=()))
    assert "no longer" in api.json("GET", "/v1/pools/h1@raw")["why_down"]
    api.json("DELETE", "/v1/pools/h1@raw", status=204)
    api.json("GET", "/v1/pools/h1@raw", status=404)
    reports.record(api.site.db, report)
    assert api.json("GET", "/v1/pools/h1@raw")["up"]


def test_wrong_pools_are_refused_with_the_field_and_what_is_allowed(api, tmp_path):
    new = {"host": "h1", "name": "fast", "driver": "raw", "path": str(tmp_path / "fast")}
    (tmp_path / "link").symlink_to(tmp_path / "raw")
    for change, field, word in (
        ({"path": "fast"}, "path", "absolute"),
        ({"path": str(tmp_path / "a" / ".." / "b")}, "path", "absolute"),
        ({"path": "/"}, "path", "absolute"),
        ({"path": str(tmp_path / "a\n")}, "path", "control"),
        ({"path": str(tmp_path / "link")}, "path", "is"),
        ({"path": str(tmp_path / "raw")}, "path", "is"),
        ({"path": str(tmp_path / "raw" / "inner")}, "path", "is inside"),
        ({"path": str(tmp_path)}, "path", "contains"),
        ({"path": str(tmp_path / "images")}, "path", "images"),
        ({"path": str(tmp_path / "no" / "parent")}, "path", "parent"),
        ({"driver": "ceph"}, "driver", "qcow2"),
        ({"driver": "memory"}, "path", "takes no path"),
        ({"name": "a/b"}, "name", ""),
        ({"name": "a@b"}, "name", "letters"),
        ({"options": {"path": "/x"}}, "options", "path"),
        ({"options": {"nonsense": 1}}, "options", "allowed"),
    ):
        error = api.fault("POST", "/v1/pools", {**new, **change})
        assert error["field"] == field, (change, error)
        assert word in error["message"], (change, error)
    assert "h1" in api.fault("POST", "/v1/pools", {**new, "host": "h9"}, 404)["message"]
    assert "path" in api.fault("POST", "/v1/pools", {"host": "h1", "name": "n", "driver": "raw"})["message"]
    assert [pool["name"] for pool in api.json("GET", "/v1/pools")["pools"]] == ["h1@raw#raw"]


def test_a_configured_pool_is_neither_remade_nor_deleted(api, tmp_path):
    new = {"host": "h1", "name": "raw", "driver": "raw", "path": str(tmp_path / "other")}
    assert "configuration" in api.fault("POST", "/v1/pools", new, 409)["message"]
    assert "configuration" in api.fault("DELETE", "/v1/pools/h1@raw", status=409)["message"]


def test_a_pool_is_not_changed_by_making_it_again(api, tmp_path):
    new = {"host": "h1", "name": "fast", "driver": "raw", "path": str(tmp_path / "fast")}
    api.json("POST", "/v1/pools", new, 201)
    assert "path" in api.fault("POST", "/v1/pools", {**new, "path": str(tmp_path / "slow")}, 409)["message"]


def test_a_pool_is_deleted_while_volumes_are_created_there(api, tmp_path):
    """Whoever is first: a volume that got its place keeps it, and a pool that is gone gets none."""
    api.json("PATCH", "/v1/pools/h1@raw", {"enabled": False})
    for round in range(5):
        new = {"host": "h1", "name": f"p{round}", "driver": "raw", "path": str(tmp_path / f"p{round}")}
        api.json("POST", "/v1/pools", new, 201)
        created: list[str] = []

        def create(created: list[str] = created) -> None:
            for _ in range(2):
                result = api.call("POST", "/v3/volumes", {"volume": {"size": 1}})
                created.append(result.json["volume"]["id"])

        creator = threading.Thread(target=create)
        creator.start()
        statuses = [api.call("DELETE", f"/v1/pools/h1@p{round}").status_code for _ in range(3)]
        creator.join()
        for id in created:
            [flow] = api.json("GET", "/v1/flows", params={"resource_id": id})["flows"]
            api.site.waker.wait(flow["id"], 20)
        gone = 204 in statuses
        for id in created:
            volume = api.json("GET", f"/v3/volumes/{id}")["volume"]
            placed = volume["os-vol-host-attr:host"]
            assert volume["status"] == ("available" if placed else "error")
            assert not (gone and placed)
            api.call("DELETE", f"/v3/volumes/{id}")
        for id in created:
            [flow, *_] = api.json("GET", "/v1/flows", params={"resource_id": id})["flows"]
            api.site.waker.wait(flow["id"], 20)
        if not gone:
            api.json("DELETE", f"/v1/pools/h1@p{round}", status=204)


def test_only_administrators_see_and_change_hosts_and_pools(projects, tmp_path):
    new = {"host": "h1", "name": "fast", "driver": "raw", "path": str(tmp_path / "fast")}
    for path in ("/v1/hosts", "/v1/pools", "/v1/hosts/h1", "/v1/pools/h1@raw"):
        projects["ann"].fault("GET", path, status=403)
    projects["ann"].fault("PATCH", "/v1/hosts/h1", {"enabled": False}, 403)
    projects["ann"].fault("POST", "/v1/pools", new, 403)
    projects["ann"].fault("DELETE", "/v1/pools/h1@raw", status=403)
    projects["admin"].json("POST", "/v1/pools", new, 201)
