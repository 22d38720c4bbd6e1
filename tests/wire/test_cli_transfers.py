"""`openstack volume transfer request …`, between two projects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.wire
GIVER, TAKER = "e" * 32, "f" * 32


def test_a_volume_is_given_to_another_project(login: Callable[..., Any]) -> None:
    giver, taker = login(GIVER, "member"), login(TAKER, "member")
    giver("volume create --size 1 gift")
    giver.becomes("volume", "gift", "available")
    giver("volume snapshot create --volume gift kept")
    giver.becomes("volume snapshot", "kept", "available")

    offer = giver.json("volume transfer request create gift --name present")
    assert offer["name"] == "present"
    assert giver.json("volume show gift")["status"] == "awaiting-transfer"
    assert [one["Name"] for one in giver.json("volume transfer request list")] == ["present"]
    shown = giver.json("volume transfer request show present")
    assert (shown["id"], shown["volume_id"]) == (offer["id"], offer["volume_id"])
    assert "auth_key" not in shown
    assert taker.json("volume transfer request list") == []

    wrong = taker.refused(f"volume transfer request accept {offer['id']} --auth-key 0123456789abcdef")
    assert "not the key" in wrong
    taken = taker.json(f"volume transfer request accept {offer['id']} --auth-key {offer['auth_key']}")
    assert taken["volume_id"] == offer["volume_id"]
    assert taker.json("volume show gift")["os-vol-tenant-attr:tenant_id"] == TAKER
    assert taker.json("volume snapshot show kept")["status"] == "available"
    assert giver.json("volume list") == []
    usage = {one["Resource"]: one["In Use"] for one in taker.json(f"quota show --volume --usage {TAKER}")}
    assert (usage["volumes"], usage["snapshots"], usage["gigabytes"]) == (1, 1, 2)

    back = taker.json("volume transfer request create gift --no-snapshots")
    taker(f"volume transfer request delete {back['id']}")
    assert taker.json("volume show gift")["status"] == "available"
    taker("volume snapshot delete kept")
    taker.vanishes("volume snapshot", "kept")
    taker("volume delete gift")
    taker.vanishes("volume", "gift")
