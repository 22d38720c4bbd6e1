"""What another service left in a volume group becomes volumes and snapshots here, and is given up, without a copy."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from .test_pools import Service, run, service, until

__all__ = ["service"]
pytestmark = pytest.mark.guest
BLOCK = b"of another service " * 1024


def lvs(group: str) -> list[str]:
    """Name, uuid, size and tags of each volume in a group."""
    rows = run("lvm", "lvs", "-a", "--noheadings", "--units", "b", "-o", "lv_name,lv_uuid,lv_size,lv_tags", group)
    return sorted(row.strip() for row in rows.splitlines())


def test_a_volume_group_of_others_is_taken_over_and_left_as_it_was(
    service: Service, disks: Callable[[int], list[str]]
) -> None:
    """A volume and its snapshot are adopted under their ids, given up again, and are where they were all the time."""
    group, (one, two) = "cinder-volumes", disks(2)
    id, snapshot = str(uuid.uuid4()), str(uuid.uuid4())
    run("lvm", "vgcreate", "-q", group, one, two)
    run("lvm", "lvcreate", "-q", "-L", "1600M", "-T", f"{group}/{group}-pool")
    run("lvm", "lvcreate", "-q", "-V", "1G", "-T", f"{group}/{group}-pool", "-n", f"volume-{id}")
    Path(f"/dev/{group}/volume-{id}").write_bytes(BLOCK)
    run("lvm", "lvcreate", "-q", "-s", "-n", f"_snapshot-{snapshot}", f"{group}/volume-{id}")
    run("lvm", "vgchange", "-q", "-an", group)
    before = lvs(group)
    options = {"max_over_subscription_ratio": "3"}
    body = {"host": "h1", "name": "old", "driver": "lvm-thin", "volume_group": group, "options": options}
    assert (
        f"there are: {group}"
        in service.refused("POST", "/v1/pools", {**body, "volume_group": "nothing"}, status=400)["message"]
    )
    assert f"{group}-pool" in service.refused("POST", "/v1/pools", {**body, "thin_pool": "x"}, 400)["message"]
    assert service.ask("POST", "/v1/pools", body, 201)["volume_group"] == group
    assert "h1@old" in service.refused("POST", "/v1/pools", {**body, "name": "second"})["message"]
    service.ask("POST", "/v1/pools", body, 200)
    assert lvs(group) == before

    words = ("brick", "--driver", "lvm-thin", "-o", f"volume_group={group}", "adopt", "--project", "blue")
    service.cli(*words, f"volume-{id}")
    service.cli(*words, f"_snapshot-{snapshot}", "--parent", id)
    service.cli("audit", "--repair")
    volume = service.ask("GET", f"/v3/volumes/{id}")["volume"]
    assert (volume["status"], volume["size"], volume["os-vol-host-attr:host"]) == ("available", 1, "h1@old#old")
    assert service.ask("GET", f"/v3/snapshots/{snapshot}")["snapshot"]["volume_id"] == id
    assert service.pools()["old"]["claimed_gib"] == 2
    assert "is not empty" in service.refused("DELETE", "/v1/pools/h1@old")["message"]
    for kind, name in (("snapshots", snapshot), ("volumes", id)):
        service.ask("POST", f"/v3/{kind}/{name}/action", {"os-unmanage": {}}, 202)
        until(lambda at=f"/v3/{kind}/{name}": service.http.get(at).status_code == 404, "it is given up")
    service.ask("DELETE", "/v1/pools/h1@old", status=204)
    assert lvs(group) == before
    run("lvm", "lvchange", "-ay", f"{group}/volume-{id}")
    with open(f"/dev/{group}/volume-{id}", "rb") as file:
        assert file.read(len(BLOCK)) == BLOCK
