"""The library of python-cinderclient; test_howto.py runs its command."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from cinderclient import client

sys.path.insert(0, str(Path(__file__).parent))
from waiting import becomes

pytestmark = [pytest.mark.wire, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
PROJECT = "0" * 32


def test_it_finds_the_versions(service: Any) -> None:
    lowest, highest = client.get_server_version(service.endpoint)
    assert (lowest.get_string(), highest.get_string()) == ("3.0", "3.71")


def test_volumes_and_snapshots(cinder: Any) -> None:
    volume = cinder.volumes.create(1, name="base", metadata={"a": "b"})
    becomes(cinder.volumes.get, volume, "available")
    assert [one.id for one in cinder.volumes.list(search_opts={"metadata": {"a": "b"}})] == [volume.id]
    snapshot = cinder.volume_snapshots.create(volume.id, name="point")
    becomes(cinder.volume_snapshots.get, snapshot, "available")
    cinder.volumes.extend(volume, 2)
    becomes(cinder.volumes.get, volume, "available")
    cinder.volumes.set_bootable(volume, True)
    assert cinder.volumes.get(volume.id).bootable == "true"
    cinder.volumes.delete(volume, cascade=True)


def test_attachments(cinder: Any) -> None:
    volume = cinder.volumes.create(1, name="base")
    becomes(cinder.volumes.get, volume, "available")
    made = cinder.attachments.create(volume.id, {"host": "wire"}, instance_id="1f1e4b6a-16c9-4a54-a6a0-5e8dca1f8a3c")
    assert made["connection_info"]["driver_volume_type"] == "local"
    cinder.attachments.complete(made["id"])
    assert [one.id for one in cinder.attachments.list()] == [made["id"]]
    cinder.attachments.delete(made["id"])
    cinder.volumes.delete(volume)


def test_what_operators_use(cinder: Any) -> None:
    assert {one.host for one in cinder.services.list(binary="cinder-volume")} == {"wire@raw", "wire@qcow2", "wire@vdi"}
    assert cinder.services.disable_log_reason("wire@raw", "cinder-volume", "because").status == "disabled"
    assert cinder.services.enable("wire@raw", "cinder-volume").status == "enabled"
    assert {one.name for one in cinder.pools.list(detailed=True)} == {
        "wire@raw#raw",
        "wire@qcow2#qcow2",
        "wire@vdi#vdi",
    }
    assert cinder.capabilities.get("wire@raw").pool_name == "raw"
    assert cinder.quotas.update(PROJECT, volumes=10).volumes == 10
    assert cinder.quotas.get(PROJECT, usage=True).volumes["limit"] == 10
    assert {limit.name: limit.value for limit in cinder.limits.get().absolute}["maxTotalVolumes"] == 10
    assert [one.zoneName for one in cinder.availability_zones.list()] == ["nova"]
    kind = cinder.volume_types.create("fast", is_public=False)
    kind.set_keys({"volume_backend_name": "raw"})
    assert kind.get_keys() == {"volume_backend_name": "raw"}
    kind.unset_keys(["volume_backend_name"])
    cinder.volume_type_access.add_project_access(kind, PROJECT)
    assert [one.project_id for one in cinder.volume_type_access.list(kind)] == [PROJECT]
    cinder.volume_type_access.remove_project_access(kind, PROJECT)
    assert cinder.volume_type_access.list(kind) == []
    cinder.volume_types.delete(kind)
