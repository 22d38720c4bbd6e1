"""`openstack volume …`: create from every source, look, change, delete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.wire


@pytest.fixture
def volume(osc: Any) -> Iterator[str]:
    """An available volume, gone afterwards."""
    name = "base"
    osc("volume create --size 1 --description D --property a=b --type standard", name)
    osc.becomes("volume", name, "available")
    yield name
    osc("volume delete --force", name)
    osc.vanishes("volume", name)


def test_a_volume_is_what_was_asked_for(osc: Any, volume: str) -> None:
    shown = osc.json("volume show", volume)
    assert (shown["size"], shown["description"], shown["type"], shown["bootable"]) == (1, "D", "standard", False)
    assert shown["properties"] == {"a": "b"}
    assert shown["os-vol-host-attr:host"].startswith("wire@")


def test_volumes_are_listed_filtered_and_paged(osc: Any, volume: str) -> None:
    osc("volume create --size 2 second")
    osc.becomes("volume", "second", "available")
    assert [one["Name"] for one in osc.json("volume list")] == ["second", "base"]
    (row,) = osc.json("volume list --long --property a=b")
    assert (row["Name"], row["Size"], row["Type"], row["Bootable"]) == ("base", 1, "standard", False)
    assert row["Properties"] == {"a": "b"}
    assert [one["Name"] for one in osc.json("volume list --name second --status available")] == ["second"]
    assert osc.json("volume list --status error") == []
    paged = osc.json("volume list --limit 1")  # the client's limit is that of a page, and it follows the links
    assert [one["Name"] for one in paged] == ["second", "base"]
    assert [one["Name"] for one in osc.json("volume list --marker", paged[0]["ID"])] == ["base"]
    assert len(osc.json("volume list --all-projects")) == 2
    assert osc.json("volume list --all-projects --project 11111111111111111111111111111111") == []
    osc("volume delete second")
    osc.vanishes("volume", "second")


def test_the_summary_counts(osc: Any, volume: str) -> None:
    summary = osc.json("volume summary --all-projects")
    assert (summary["Total Count"], summary["Total Size"], summary["Metadata"]) == (1, 1, {"a": ["b"]})


def test_a_volume_is_changed(osc: Any, volume: str) -> None:
    osc("volume set base --description E --property c=d --size 2 --bootable")
    shown = osc.becomes("volume", volume, "available")
    assert (shown["size"], shown["description"], shown["bootable"]) == (2, "E", True)
    assert shown["properties"] == {"a": "b", "c": "d"}
    osc("volume set base --no-property --property e=f --non-bootable --read-only")
    shown = osc.json("volume show", volume)
    assert shown["bootable"] is False
    assert shown["properties"] == {"e": "f", "readonly": "True"}
    osc("volume set base --read-write")
    osc("volume unset base --property e")
    assert osc.json("volume show", volume)["properties"] == {"readonly": "False"}
    osc("volume set base --image-property os=linux")
    assert osc.json("volume show", volume)["volume_image_metadata"] == {"os": "linux"}
    osc("volume unset base --image-property os")
    osc("volume set base --name other")
    osc("volume set other --name base")


def test_its_state_is_set_by_hand(osc: Any, volume: str) -> None:
    osc("volume set base --state error")
    assert osc.json("volume show", volume)["status"] == "error"
    osc("volume set base --state available")
    osc("volume set base --attached")
    osc("volume set base --detached")
    assert osc.json("volume show", volume)["status"] == "available"


def test_it_is_made_from_a_snapshot_and_from_a_volume(osc: Any, volume: str) -> None:
    osc("volume snapshot create --volume base point")
    osc.becomes("volume snapshot", "point", "available")
    osc("volume create --snapshot point from-snapshot")
    osc("volume create --source base --size 2 from-volume")
    assert osc.becomes("volume", "from-snapshot", "available")["snapshot_id"]
    assert osc.becomes("volume", "from-volume", "available")["size"] == 2
    osc("volume delete from-snapshot from-volume")
    osc("volume snapshot delete point")
    for noun, name in (("volume", "from-snapshot"), ("volume", "from-volume"), ("volume snapshot", "point")):
        osc.vanishes(noun, name)


def test_it_goes_back_to_its_snapshot(osc: Any, volume: str) -> None:
    osc("volume snapshot create --volume base point")
    osc.becomes("volume snapshot", "point", "available")
    osc("volume revert point")
    osc.becomes("volume", volume, "available")
    osc.becomes("volume snapshot", "point", "available")
    osc("volume snapshot delete point")
    osc.vanishes("volume snapshot", "point")


@pytest.mark.parametrize("backend", ["raw", "qcow2", "vdi"])
def test_a_volume_goes_with_its_snapshots_on_every_backend(osc: Any, backend: str) -> None:
    osc("volume type create on-" + backend, "--property", f"volume_backend_name={backend}")
    osc("volume create --size 1 parent --type on-" + backend)
    shown = osc.becomes("volume", "parent", "available")
    assert shown["os-vol-host-attr:host"] == f"wire@{backend}#{backend}"
    osc("volume snapshot create --volume parent child")
    osc.becomes("volume snapshot", "child", "available")
    assert "failed to delete" in osc.refused("volume delete parent")
    osc("volume delete --purge parent")
    osc.vanishes("volume", "parent")
    osc.vanishes("volume snapshot", "child")
    osc("volume type delete on-" + backend)


def test_what_cannot_be_is_refused_with_a_reason(osc: Any, volume: str) -> None:
    assert "no-such-type" in osc.refused("volume create --size 1 --type no-such-type x")
    assert "quota" in osc.refused("volume create --size 5000 x").lower()
    assert "greater" in osc.refused("volume set base --size 1")
    assert "nowhere" in osc.refused("volume create --size 1 --availability-zone nowhere x")
