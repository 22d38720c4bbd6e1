"""Commands of `openstack` that have no file of their own: hosts, extensions, quota classes, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.wire


def test_extensions(osc: Any) -> None:
    assert "os-quota-sets" in [one["Alias"] for one in osc.json("extension list --volume")]


def test_resource_filters(osc: Any) -> None:
    listed = {one["Resource"]: one["Filters"] for one in osc.json("block storage resource filter list")}
    assert listed["pool"] == ["name", "volume_type"]


def test_quota_classes(osc: Any, cinder: Any) -> None:
    osc("quota set --class --volumes 12 default")
    assert cinder.quota_classes.get("default").volumes == 12
    osc("quota set --class --volumes 10 default")


def test_a_host_is_frozen_thawed_and_not_failed_over(osc: Any) -> None:
    osc("volume host set --disable wire@vdi")
    (row,) = osc.json("volume service list --long --host wire@vdi")
    assert (row["Status"], row["Disabled Reason"]) == ("disabled", "frozen")
    osc("volume host set --enable wire@vdi")
    (row,) = osc.json("volume service list --long --host wire@vdi")
    assert row["Status"] == "enabled"
    assert "not replicated" in osc.refused("volume host failover --volume-backend elsewhere wire@vdi")


def test_a_cluster_cannot_be_set(osc: Any) -> None:
    assert "no clusters" in osc.refused("block storage cluster set --enable one")


def test_a_group_has_no_replica(osc: Any) -> None:
    osc("volume group type create plain")
    osc("volume group create --volume-group-type plain --volume-type standard --name all")
    assert "replicat" in osc.refused("volume group failover all")
    osc("volume group delete --force all")
    osc.vanishes("volume group", "all")
    osc("volume group type delete plain")


def test_cleaning_up_is_asked_for_in_a_way_that_the_api_does_not_have(osc: Any) -> None:
    """The client sends PUT, where the API has POST; `cinder work-cleanup` does that."""
    asked = "block storage cleanup --host wire@vdi --binary cinder-volume --cluster one"
    assert "Method Not Allowed" in osc.refused(asked)


def test_hints_and_flags_of_a_new_volume(osc: Any) -> None:
    osc("volume create --size 1 --bootable --read-only first")
    first = osc.becomes("volume", "first", "available")
    assert first["bootable"] is True
    assert osc.json("volume show first")["properties"]["readonly"] == "True"
    osc(f"volume create --size 1 --hint different_host={first['id']} second")
    second = osc.becomes("volume", "second", "available")
    assert second["os-vol-host-attr:host"] != first["os-vol-host-attr:host"]
    osc("volume delete first second")
    for name in ("first", "second"):
        osc.vanishes("volume", name)


def test_types_of_more_kinds(osc: Any) -> None:
    osc("volume type create --multiattach --availability-zone nova --property a=b kind")
    shown = osc.json("volume type show kind")
    assert shown["properties"]["multiattach"] == "<is> True"
    assert shown["properties"]["RESKEY:availability_zones"] == "nova"
    # the client says it under the name that it has in answers, and not in requests
    assert "allowed: name, description, is_public" in osc.refused("volume type set --private kind")
    assert osc.json("volume type list --property a=b")[0]["Name"] == "kind"
    osc("volume type delete kind")
