"""`openstack volume type …`, quotas and limits."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.wire
PROJECT = "0" * 32
OTHER = "1" * 32


def test_a_type_is_made_changed_and_deleted(osc: Any) -> None:
    made = osc.json("volume type create fast --description 'Close to the work' --property volume_backend_name=raw")
    assert made["is_public"] is True
    assert made["properties"] == {"volume_backend_name": "raw"}
    osc("volume type set fast --property volume_backend_name=qcow2 --property a:b=c --name faster --description D")
    shown = osc.json("volume type show faster")
    assert (shown["id"], shown["description"]) == (made["id"], "D")
    assert shown["properties"] == {"volume_backend_name": "qcow2", "a:b": "c"}
    osc("volume type unset faster --property a:b")
    listed = [one for one in osc.json("volume type list --long") if one["Name"] == "faster"]
    assert listed == [
        {
            "ID": made["id"],
            "Name": "faster",
            "Is Public": True,
            "Description": "D",
            "Properties": {"volume_backend_name": "qcow2"},
        }
    ]
    osc("volume type delete faster")
    assert "faster" in osc.refused("volume type show faster")


def test_the_default_type_is_listed_and_stays(osc: Any) -> None:
    assert [one["Name"] for one in osc.json("volume type list --default")] == ["standard"]
    assert "failed to delete" in osc.refused("volume type delete standard")


def test_a_private_type_is_given_to_projects(osc: Any) -> None:
    osc(f"volume type create hidden --private --project {PROJECT}")
    assert osc.json("volume type show hidden")["access_project_ids"] == [PROJECT]
    osc(f"volume type set hidden --project {OTHER}")
    osc(f"volume type unset hidden --project {PROJECT}")
    assert osc.json("volume type show hidden")["access_project_ids"] == [OTHER]
    assert [one["Name"] for one in osc.json("volume type list --private")] == ["hidden"]
    assert "hidden" not in [one["Name"] for one in osc.json("volume type list --public")]
    osc("volume type delete hidden")


def test_quotas_are_set_shown_and_forgotten(osc: Any) -> None:
    osc(f"quota set --volumes 7 --gigabytes 70 {OTHER}")
    limits = {one["Resource"]: one["Limit"] for one in osc.json(f"quota show --volume {OTHER}")}
    assert (limits["volumes"], limits["gigabytes"], limits["snapshots_standard"]) == (7, 70, -1)
    usage = {one["Resource"]: one for one in osc.json(f"quota show --volume --usage {OTHER}")}
    assert usage["volumes"] == {"Resource": "volumes", "Limit": 7, "In Use": 0, "Reserved": 0}
    defaults = {one["Resource"]: one["Limit"] for one in osc.json(f"quota show --volume --default {OTHER}")}
    assert defaults["volumes"] == 10
    osc(f"quota delete --volume {OTHER}")
    limits = {one["Resource"]: one["Limit"] for one in osc.json(f"quota show --volume {OTHER}")}
    assert limits["volumes"] == 10


def test_limits_are_shown(osc: Any) -> None:
    limits = {one["Name"]: one["Value"] for one in osc.json(f"limits show --absolute --project {OTHER}")}
    assert (limits["max_total_volumes"], limits["total_volumes_used"]) == (10, 0)
