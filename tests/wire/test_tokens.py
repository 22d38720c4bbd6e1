"""Static tokens with the real client: who it is, what it sees, and what it may not do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.wire
MINE, THEIRS = "a" * 32, "b" * 32


def test_projects_are_kept_apart(login: Callable[..., Any]) -> None:
    admin, member, reader = login(THEIRS, "admin"), login(MINE, "member"), login(MINE, "reader")
    other = login(THEIRS, "member")
    admin("volume type set standard --property volume_backend_name=raw --property RESKEY:availability_zones=nova")
    member("volume create --size 1 mine")
    member.becomes("volume", "mine", "available")

    assert [one["Name"] for one in reader.json("volume list")] == ["mine"]
    assert other.json("volume list") == []
    assert other.json("volume list --all-projects") == []
    assert [one["Name"] for one in admin.json("volume list --all-projects")] == ["mine"]
    assert "mine" in other.refused("volume show mine")
    assert member.json("volume show mine").get("os-vol-host-attr:host") is None

    assert "volume:create" in reader.refused("volume create --size 1 x")
    assert "volume_extension:type_create" in member.refused("volume type create x")
    assert "services:index" in member.refused("volume service list")
    assert member.json("volume type show standard")["properties"] == {"RESKEY:availability_zones": "nova"}

    admin(f"quota set --volumes 1 {MINE}")
    assert "VolumeLimitExceeded" in member.refused("volume create --size 1 second")
    member("volume delete mine")
    member.vanishes("volume", "mine")


def test_without_a_valid_token_there_is_nothing(osc_with_token: Any) -> None:
    assert "401" in osc_with_token.holding("guessed").refused("volume list")
