"""`openstack volume snapshot …`"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.wire


@pytest.fixture
def snapshot(osc: Any) -> Iterator[str]:
    osc("volume create --size 1 base")
    osc.becomes("volume", "base", "available")
    osc("volume snapshot create --volume base --description D --property a=b point")
    osc.becomes("volume snapshot", "point", "available")
    yield "point"
    osc("volume delete --purge base")
    osc.vanishes("volume", "base")


def test_a_snapshot_is_shown_and_listed(osc: Any, snapshot: str) -> None:
    shown = osc.json("volume snapshot show", snapshot)
    assert (shown["size"], shown["description"], shown["properties"]) == (1, "D", {"a": "b"})
    (row,) = osc.json("volume snapshot list --long --all-projects")
    assert (row["Name"], row["Size"], row["Volume"]) == ("point", 1, shown["volume_id"])
    assert row["Properties"] == {"a": "b"}
    assert osc.json("volume snapshot list --status error") == []
    assert len(osc.json("volume snapshot list --volume base --name point --limit 1")) == 1


def test_a_snapshot_is_changed(osc: Any, snapshot: str) -> None:
    osc("volume snapshot set point --description E --property c=d")
    shown = osc.json("volume snapshot show", snapshot)
    assert (shown["description"], shown["properties"]) == ("E", {"a": "b", "c": "d"})
    osc("volume snapshot unset point --property a --property c")
    assert osc.json("volume snapshot show", snapshot)["properties"] == {}
    osc("volume snapshot set point --name renamed")
    osc("volume snapshot set renamed --name point --no-property")
    osc("volume snapshot set point --state error")
    assert osc.json("volume snapshot show", snapshot)["status"] == "error"
    osc("volume snapshot set point --state available")


def test_a_snapshot_is_deleted_by_force(osc: Any, snapshot: str) -> None:
    osc("volume snapshot set point --state creating")
    assert "failed to delete" in osc.refused("volume snapshot delete point")
    osc("volume snapshot delete --force point")
    osc.vanishes("volume snapshot", snapshot)
