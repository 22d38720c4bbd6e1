"""`openstack volume service …`, backends, zones and filters."""

from __future__ import annotations

from typing import Any

import pytest
from cinderclient import exceptions

pytestmark = pytest.mark.wire


def test_services_are_the_backends_the_scheduler_and_the_backups(osc: Any) -> None:
    services = osc.json("volume service list --long")
    assert [(one["Binary"], one["Host"], one["Status"], one["State"]) for one in services] == [
        ("cinder-scheduler", "wire", "enabled", "up"),
        ("cinder-volume", "wire@qcow2", "enabled", "up"),
        ("cinder-volume", "wire@raw", "enabled", "up"),
        ("cinder-volume", "wire@vdi", "enabled", "up"),
        ("cinder-backup", "wire", "enabled", "up"),
    ]
    assert [one["Backend State"] for one in services] == [None, "up", "up", "up", None]
    assert len(osc.json("volume service list --host wire@vdi --service cinder-volume")) == 1


def test_a_disabled_backend_takes_no_new_volumes(osc: Any) -> None:
    osc("volume type create only-vdi --property volume_backend_name=vdi")
    osc("volume service set --disable --disable-reason broken wire@vdi cinder-volume")
    try:
        (row,) = osc.json("volume service list --long --host wire@vdi")
        assert (row["Status"], row["Disabled Reason"]) == ("disabled", "broken")
        assert "wire@vdi#vdi" not in [one["Name"] for one in osc.json("volume backend pool list")]
        osc("volume create --size 1 --type only-vdi nowhere")
        _fails(osc, "nowhere")
    finally:
        osc("volume service set --enable wire@vdi cinder-volume")
    osc("volume delete nowhere")
    osc.vanishes("volume", "nowhere")
    osc("volume create --size 1 --type only-vdi somewhere")
    assert osc.becomes("volume", "somewhere", "available")["os-vol-host-attr:host"] == "wire@vdi#vdi"
    osc("volume delete somewhere")
    osc.vanishes("volume", "somewhere")
    osc("volume type delete only-vdi")


def _fails(osc: Any, name: str) -> None:
    for _ in range(200):
        if osc.json("volume show", name)["status"] == "error":
            return
    raise AssertionError(f"{name} did not fail")


def test_pools_and_what_they_can_do(osc: Any) -> None:
    pools = {one["Name"]: one["Capabilities"] for one in osc.json("volume backend pool list --long")}
    assert set(pools) == {"wire@qcow2#qcow2", "wire@raw#raw", "wire@vdi#vdi"}
    assert pools["wire@raw#raw"]["storage_protocol"] == "local"
    assert pools["wire@raw#raw"]["reserved_percentage"] == 0
    can = {one["Key"]: one["Type"] for one in osc.json("volume backend capability show wire@raw")}
    assert can["thin_provisioning"] == "boolean"


def test_zones_and_filters(osc: Any) -> None:
    assert osc.json("availability zone list --volume") == [{"Zone Name": "nova", "Zone Status": "available"}]
    filters = osc.json("block storage resource filter show volume")
    assert "status" in filters["Filters"]


def test_a_backend_is_frozen_and_thawed(osc: Any, cinder: Any) -> None:
    cinder.services.freeze_host("wire@vdi")
    frozen = next(one for one in cinder.services.list() if one.host == "wire@vdi")
    assert (frozen.frozen, frozen.status, frozen.disabled_reason) == (True, "disabled", "frozen")
    assert "thaw" in osc.refused("volume service set --enable wire@vdi cinder-volume")
    cinder.services.thaw_host("wire@vdi")
    thawed = next(one for one in cinder.services.list() if one.host == "wire@vdi")
    assert (thawed.frozen, thawed.status) == (False, "enabled")


def test_what_is_not_replicated_does_not_fail_over(cinder: Any) -> None:
    with pytest.raises(exceptions.BadRequest, match="not replicated"):
        cinder.services.failover_host("wire@vdi", "elsewhere")


def test_the_level_of_the_log_is_shown_and_set(osc: Any) -> None:
    what = "--host wire --service cinder-scheduler --log-prefix brickyard.request"
    before = osc.json(f"block storage log level list {what}")
    assert [one["Prefix"] for one in before] == ["brickyard.request"]
    osc(f"block storage log level set WARNING {what}")
    assert [one["Level"] for one in osc.json(f"block storage log level list {what}")] == ["WARNING"]
    osc(f"block storage log level set {before[0]['Level']} {what}")


def test_there_are_no_clusters_and_nothing_to_clean_up(osc: Any, cinder: Any) -> None:
    assert osc.json("block storage cluster list") == []
    assert "no clusters" in osc.refused("block storage cluster show one")
    assert cinder.workers.clean(host="wire@vdi") == ([], [])
