"""Hosts are labelled and disabled; pools are made on a directory, once, and only go when they are empty."""

from __future__ import annotations

import dataclasses
import threading

from brickyard.daemons import backends
from brickyard.db import hosts
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


def test_a_pool_whose_options_were_told_as_text_may_be_asked_for_again(api, tmp_path):
    """As the command line sends them: they are kept as what they mean."""
    node = api.site.world.nodes["h1"]
    node.make = backends.Maker(tmp_path, "nova", node.backends)
    options = {"max_over_subscription_ratio": "3", "reserved_percentage": "5", "extra_capabilities": '{"ssd": "yes"}'}
    new = {"host": "h1", "name": "x", "driver": "qcow2", "path": str(tmp_path / "x")}
    made = api.json("POST", "/v1/pools", {**new, "options": {**options, "cluster_size": "64k"}}, 201)
    assert (
        api.json("POST", "/v1/pools", {**new, "options": {**options, "cluster_size": "64k"}}, 200)["id"] == made["id"]
    )
    assert (
        api.json("POST", "/v1/pools", {**new, "options": {"max_over_subscription_ratio": 3.0}}, 200)["id"] == made["id"]
    )
    for name, value in (("max_over_subscription_ratio", "4"), ("cluster_size", "2M"), ("extra_capabilities", "{}")):
        error = api.fault("POST", "/v1/pools", {**new, "options": {**options, name: value}}, 409)
        assert f"exists with another {name};" in error["message"]


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


def test_the_pools_of_a_host_that_is_silent_are_down(api):
    with api.site.db.begin() as tx:
        hosts.update_host(tx, hosts.find_host(tx, "h1").id, heartbeat_at="2020-01-01T00:00:00.000000")
    assert not api.json("GET", "/v1/hosts/h1")["up"]
    for pool in (api.json("GET", "/v1/pools/h1@raw"), *api.json("GET", "/v1/pools")["pools"]):
        assert not pool["up"]
        assert "h1 has not reported since 2020-01-01" in pool["why_down"]
    reports.record(api.site.db, api.site.world.nodes["h1"].report())
    assert api.json("GET", "/v1/pools/h1@raw")["up"]


def test_what_does_not_make_a_pool_of_devices_is_refused_by_field(api, tmp_path):
    new = {"host": "h1", "name": "fast", "driver": "lvm", "devices": ["/dev/null"]}
    path = str(tmp_path / "x")
    for change, field, word in (
        ({"devices": ["null"]}, "devices", "/dev/"),
        ({"devices": ["/dev/../etc/passwd"]}, "devices", "/dev/"),
        ({"devices": ["/dev/a,/dev/b"]}, "devices", "/dev/"),
        ({"devices": []}, "devices", ""),
        ({"devices": ["/dev/null"]}, "devices", "not a block device"),
        ({"devices": ["/dev/brickyard-nothing"]}, "devices", "there is no device"),
        ({"path": path}, "path", "devices"),
        ({"driver": "raw"}, "devices", "path"),
        ({"driver": "raw", "devices": None, "path": path, "wipe": ["x"]}, "wipe", "devices"),
        ({"driver": "raw", "devices": None, "path": path, "raid1": True}, "raid1", "lvm"),
        ({"devices": None}, "devices", "volume_group"),
        ({"volume_group": "vg"}, "volume_group", "not of both"),
        ({"devices": None, "volume_group": "-x"}, "volume_group", "letters"),
        ({"devices": None, "volume_group": "vg", "thin_pool": "p"}, "thin_pool", "lvm-thin"),
        ({"devices": None, "volume_group": "vg", "raid1": True}, "raid1", "devices"),
        ({"raid1": True}, "devices", "two devices"),
        ({"options": {"thin_pool": "x"}}, "options", "thin_pool"),
        ({"options": {"made": True}}, "options", "made"),
    ):
        body = {key: value for key, value in {**new, **change}.items() if value is not None}
        error = api.fault("POST", "/v1/pools", body)
        assert error["field"] == field, (change, error)
        assert word in error["message"], (change, error)
    assert [pool["name"] for pool in api.json("GET", "/v1/pools")["pools"]] == ["h1@raw#raw"]


def test_a_pool_that_is_no_pool_of_devices_gets_none(api, tmp_path):
    for method, path, more in (
        ("POST", "/v1/pools/h1@raw/devices", {"body": {"device": "/dev/null"}}),
        ("POST", "/v1/pools/h1@raw/drain", {"body": {"device": "/dev/null"}}),
        ("DELETE", "/v1/pools/h1@raw/devices", {"params": {"device": "/dev/null"}}),
    ):
        assert "configuration" in api.fault(method, path, status=409, **more)["message"]
    api.json("POST", "/v1/pools", {"host": "h1", "name": "x", "driver": "raw", "path": str(tmp_path / "x")}, 201)
    assert "devices" in api.fault("POST", "/v1/pools/h1@x/devices", {"device": "/dev/null"})["message"]
    assert api.fault("DELETE", "/v1/pools/h1@x/devices")["field"] == "device"
    assert api.fault("POST", "/v1/pools/h1@x/drain", {"device": "null"})["field"] == "device"


def test_the_disks_of_a_host_are_listed(api):
    for device in api.json("GET", "/v1/hosts/h1/devices")["devices"]:
        assert device["path"].startswith("/dev/")
        assert device["confirmation"] in (device["serial"], device["path"])
    api.fault("GET", "/v1/hosts/h9/devices", status=404)


def test_a_configured_pool_says_where_it_lies(api, tmp_path):
    assert api.json("GET", "/v1/pools/h1@raw")["path"] == str(tmp_path / "raw")


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
    for path in ("/v1/hosts", "/v1/pools", "/v1/hosts/h1", "/v1/hosts/h1/devices", "/v1/pools/h1@raw"):
        projects["ann"].fault("GET", path, status=403)
    projects["ann"].fault("PATCH", "/v1/hosts/h1", {"enabled": False}, 403)
    projects["ann"].fault("POST", "/v1/pools", new, 403)
    projects["ann"].fault("DELETE", "/v1/pools/h1@raw", status=403)
    projects["admin"].json("POST", "/v1/pools", new, 201)
