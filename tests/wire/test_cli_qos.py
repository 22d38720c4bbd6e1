"""`openstack volume qos …`, the encryption of volume types, and default types of projects."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.wire
PROJECT = "d" * 32


def test_qos_specs_are_made_given_to_a_type_and_removed(osc: Any) -> None:
    made = osc.json("volume qos create quick --consumer front-end --property total_iops_sec=500")
    assert (made["consumer"], made["properties"]) == ("front-end", {"total_iops_sec": "500"})
    osc("volume qos set quick --property total_bytes_sec=1048576")
    osc("volume qos unset quick --property total_iops_sec")
    osc("volume type create promised --property volume_backend_name=raw")
    osc("volume qos associate quick promised")
    shown = osc.json("volume qos show quick")
    assert (shown["properties"], shown["associations"]) == ({"total_bytes_sec": "1048576"}, ["promised"])
    listed = {one["Name"]: one for one in osc.json("volume qos list")}
    assert (listed["quick"]["Consumer"], listed["quick"]["Associations"]) == ("front-end", ["promised"])

    osc("volume create --size 1 --type promised held")
    volume = osc.becomes("volume", "held", "available")
    attachment = osc.json(
        f"volume attachment create {volume['id']} --connect --host wire --server 1f1e4b6a-16c9-4a54-a6a0-5e8dca1f8a3c"
    )
    assert attachment["Properties"]["qos_specs"] == {"total_bytes_sec": "1048576"}
    osc(f"volume attachment delete {attachment['ID']}")
    osc("volume delete held")
    osc.vanishes("volume", "held")

    assert "promised" in osc.refused("volume qos delete quick")
    osc("volume qos disassociate quick --volume-type promised")
    osc("volume qos associate quick promised")
    osc("volume qos disassociate quick --all")
    osc("volume qos delete quick")
    osc("volume type delete promised")


def test_a_type_asks_for_encryption_and_no_volume_pretends_it(osc: Any) -> None:
    asked = "--encryption-provider luks --encryption-cipher aes-xts-plain64 --encryption-key-size 256"
    osc(f"volume type create sealed {asked} --encryption-control-location front-end")
    shown = osc.json("volume type show sealed --encryption-type")
    assert (shown["encryption"]["provider"], shown["encryption"]["key_size"]) == ("luks", 256)
    osc("volume type set sealed --encryption-key-size 512 --encryption-control-location front-end")
    listed = next(one for one in osc.json("volume type list --encryption-type") if one["Name"] == "sealed")
    assert listed["Encryption"]["key_size"] == 512
    assert "no backend here encrypts" in osc.refused("volume create --size 1 --type sealed secret")
    assert "secret" not in {one["Name"] for one in osc.json("volume list")}
    osc("volume type unset sealed --encryption-type")
    osc("volume create --size 1 --type sealed open")
    osc.becomes("volume", "open", "available")
    osc("volume delete open")
    osc.vanishes("volume", "open")
    osc("volume type delete sealed")


def test_a_project_has_a_default_type_of_its_own(osc: Any, cinder: Any) -> None:
    osc("volume type create own")
    type_id = osc.json("volume type show own")["id"]
    assert cinder.default_types.create("own", PROJECT).volume_type_id == type_id
    assert [one.project_id for one in cinder.default_types.list()] == [PROJECT]
    assert cinder.default_types.list(PROJECT).volume_type_id == type_id
    assert "default" in osc.refused("volume type delete own")
    cinder.default_types.delete(PROJECT)
    assert cinder.default_types.list() == []
    osc("volume type delete own")
