"""`openstack volume group …`: groups of volumes, their types, and snapshots of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.wire


@pytest.fixture
def group(osc: Any) -> Iterator[str]:
    """A group with one volume, gone afterwards with all that is in it."""
    osc("volume group type create plain --description D")
    osc("volume group create --volume-group-type plain --volume-type standard --name all --description D")
    shown = osc.json("volume group show all")
    assert (shown["Status"], shown["Description"]) == ("available", "D")
    osc("volume create --size 1 --type standard one")
    osc.becomes("volume", "one", "available")
    osc("volume group add volume all one")
    yield str(shown["ID"])
    osc("volume group delete --force all")
    osc.vanishes("volume group", "all")
    osc.vanishes("volume", "one")
    osc("volume group type delete plain")


def test_a_group_type_is_made_changed_and_deleted(osc: Any) -> None:
    osc("volume group type create fast --description D")
    osc("volume group type set fast --property a=b")
    # by its id: the client looks for it again under the name that it was given
    osc("volume group type set --name faster", osc.json("volume group type show fast")["ID"])
    shown = osc.json("volume group type show faster")
    assert (shown["Description"], shown["Is Public"], shown["Properties"]) == ("D", True, {"a": "b"})
    osc("volume group type set faster --no-property")
    assert osc.json("volume group type show faster")["Properties"] == {}
    assert "faster" in [one["Name"] for one in osc.json("volume group type list")]
    osc("volume group type delete faster")
    assert "faster" not in [one["Name"] for one in osc.json("volume group type list")]


def test_a_group_is_shown_listed_and_changed(osc: Any, group: str) -> None:
    assert [(one["ID"], one["Name"]) for one in osc.json("volume group list")] == [(group, "all")]
    assert len(osc.json("volume group list --all-projects")) == 1
    volume = osc.json("volume show one")["id"]
    assert osc.json("volume group show all --volumes")["Volumes"] == [volume]
    osc("volume group set all --name renamed --description E")
    assert osc.json("volume group show renamed")["Description"] == "E"
    osc("volume group set renamed --name all")
    assert "failed to delete" in osc.refused("volume delete one")
    osc("volume group remove volume all one")
    assert osc.json("volume group show all --volumes")["Volumes"] == []
    osc("volume group add volume all one")


def test_a_group_is_kept_and_made_anew(osc: Any, group: str) -> None:
    osc("volume group snapshot create all --name point")
    osc("volume group snapshot list --all-projects")
    becomes(osc, "volume group snapshot", "point")
    osc("volume group create --group-snapshot point --name from-snapshot")
    osc("volume group create --source-group all --name from-group")
    for name in ("from-snapshot", "from-group"):
        becomes(osc, "volume group", name)
        assert len(osc.json(f"volume group show {name} --volumes")["Volumes"]) == 1
        osc(f"volume group delete --force {name}")
        osc.vanishes("volume group", name)
    osc("volume group snapshot delete point")
    osc.vanishes("volume group snapshot", "point")


def becomes(osc: Any, noun: str, name: str) -> None:
    """Wait until it is available; the client writes the words of its answer large."""
    for _ in range(2000):
        status = osc.json(f"{noun} show {name}")["Status"]
        assert status in ("creating", "available")
        if status == "available":
            return
    raise AssertionError(f"{name} is still {status}")
