"""`openstack volume attachment …` and `openstack volume message …`"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.wire
SERVER = "1f1e4b6a-16c9-4a54-a6a0-5e8dca1f8a3c"


@pytest.fixture
def volume(osc: Any) -> Iterator[str]:
    osc("volume create --size 1 base")
    osc.becomes("volume", "base", "available")
    yield "base"
    osc("volume delete base")
    osc.vanishes("volume", "base")


def test_an_attachment_lives_from_reserved_to_complete(osc: Any, volume: str) -> None:
    made = osc.json("volume attachment create base --server", SERVER)
    assert (made["Status"], made["Instance ID"]) == ("reserved", SERVER)
    assert osc.json("volume show", volume)["status"] == "reserved"
    id = made["ID"]
    assert "failed to delete" in osc.refused("volume delete base")
    osc("volume attachment set", id, "--host", "wire", "--mountpoint", "/dev/vdb")
    shown = osc.json("volume attachment show", id)
    assert shown["Status"] == "attaching"
    assert shown["Properties"]["driver_volume_type"] == "local"
    osc("volume attachment complete", id)
    assert osc.json("volume attachment show", id)["Status"] == "attached"
    assert osc.json("volume show", volume)["status"] == "in-use"
    (row,) = osc.json("volume attachment list --volume-id", osc.json("volume show", volume)["id"])
    assert (row["ID"], row["Server ID"], row["Status"]) == (id, SERVER, "attached")
    osc("volume attachment delete", id)
    assert osc.json("volume show", volume)["status"] == "available"


def test_an_attachment_is_made_with_its_connector(osc: Any, volume: str) -> None:
    made = osc.json("volume attachment create base --server", SERVER, "--connect", "--host", "wire", "--mode", "ro")
    assert made["Properties"]["driver_volume_type"] == "local"
    osc("volume attachment delete", made["ID"])


def test_a_volume_that_finds_no_place_leaves_a_message(osc: Any) -> None:
    osc("volume type create impossible --property volume_backend_name=nowhere")
    made = osc.json("volume create --size 1 --type impossible lost")
    for _ in range(200):
        if osc.json("volume show lost")["status"] == "error":
            break
    (row,) = [one for one in osc.json("volume message list") if one["Resource UUID"] == made["id"]]
    assert (row["Event ID"], row["Resource Type"]) == ("VOLUME_VOLUME_001_003", "VOLUME")
    assert row["User Message"].startswith("schedule allocate volume:")
    # This release of the SDK looks under a wrong key, so that `show` finds the message and prints only its id.
    assert osc.json("volume message show", row["ID"])["ID"] == row["ID"]
    osc("volume message delete", row["ID"])
    assert row["ID"] in osc.refused("volume message show", row["ID"])
    osc("volume delete lost")
    osc.vanishes("volume", "lost")
    osc("volume type delete impossible")
