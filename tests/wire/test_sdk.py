"""openstacksdk: the methods of its block storage proxy against a running service."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openstack.exceptions
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from waiting import becomes

pytestmark = [
    pytest.mark.wire,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # what the SDK says of itself
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]
WAIT_S = 60
PROJECT = "0" * 32


@pytest.fixture
def storage(sdk: Any) -> Any:
    return sdk.block_storage


@pytest.fixture
def volume(storage: Any) -> Iterator[Any]:
    made = storage.create_volume(name="base", size=1, metadata={"a": "b"})
    yield storage.wait_for_status(made, "available", interval=0.1, wait=WAIT_S)
    storage.delete_volume(made, cascade=True)
    storage.wait_for_delete(made, interval=0.1, wait=WAIT_S)


def test_volumes(storage: Any, volume: Any) -> None:
    assert storage.get_volume(volume.id).metadata == {"a": "b"}
    assert storage.find_volume("base").id == volume.id
    assert [one.id for one in storage.volumes(details=True, status="available")] == [volume.id]
    assert [one.id for one in storage.volumes(details=False)] == [volume.id]
    assert storage.update_volume(volume, description="D").description == "D"
    assert storage.summary(all_projects=True).total_count == 1
    storage.set_volume_metadata(volume, c="d")
    storage.delete_volume_metadata(storage.get_volume(volume.id), ["a"])
    assert storage.get_volume_metadata(volume).metadata == {"c": "d"}
    storage.set_volume_bootable_status(volume, True)
    storage.set_volume_readonly(volume, True)
    shown = storage.get_volume(volume.id)
    assert shown.is_bootable
    assert shown.metadata["readonly"] == "True"
    storage.extend_volume(volume, 2)
    assert becomes(storage.get_volume, volume, "available").size == 2


def test_snapshots(storage: Any, volume: Any) -> None:
    made = storage.create_snapshot(volume_id=volume.id, name="point", metadata={"a": "b"})
    assert becomes(storage.get_snapshot, made, "available").progress == "100%"
    assert storage.find_snapshot("point").id == made.id
    assert [one.id for one in storage.snapshots(volume_id=volume.id)] == [made.id]
    assert storage.update_snapshot(made, description="D").description == "D"
    storage.set_snapshot_metadata(made, c="d")
    storage.delete_snapshot_metadata(storage.get_snapshot(made.id), ["a"])
    assert storage.get_snapshot_metadata(made).metadata == {"c": "d"}
    storage.revert_volume_to_snapshot(volume, made)
    becomes(storage.get_volume, volume, "available")
    becomes(storage.get_snapshot, made, "available")
    copy = storage.create_volume(name="copy", snapshot_id=made.id, size=1)
    becomes(storage.get_volume, copy, "available")
    storage.delete_snapshot(made)
    storage.wait_for_delete(made, interval=0.1, wait=WAIT_S)
    storage.delete_volume(copy)
    storage.wait_for_delete(copy, interval=0.1, wait=WAIT_S)


def test_attachments(storage: Any, volume: Any) -> None:
    server = str(uuid.uuid4())
    made = storage.create_attachment(volume.id, connector={}, instance=server)
    assert made.status == "reserved"
    assert storage.get_attachment(made.id).instance == server
    changed = storage.update_attachment(made.id, connector={"host": "wire", "mountpoint": "/dev/vdb"})
    assert changed.connection_info["driver_volume_type"] == "local"
    storage.complete_attachment(made.id)
    assert storage.get_volume(volume.id).status == "in-use"
    assert [one.id for one in storage.attachments()] == [made.id]
    (attached,) = storage.get_volume(volume.id).attachments
    assert (attached["server_id"], attached["attachment_id"]) == (server, made.id)
    storage.delete_attachment(made.id)
    assert storage.get_volume(volume.id).status == "available"


def test_the_older_way_to_attach(storage: Any, volume: Any) -> None:
    storage.reserve_volume(volume)
    storage.unreserve_volume(volume)
    storage.reserve_volume(volume)
    found = storage.init_volume_attachment(volume, {"host": "wire"})
    assert found["driver_volume_type"] == "local"
    storage.attach_volume(volume, "/dev/vdb", instance=str(uuid.uuid4()))
    assert storage.get_volume(volume.id).status == "in-use"
    storage.begin_volume_detaching(volume)
    storage.abort_volume_detaching(volume)
    storage.terminate_volume_attachment(volume, {"host": "wire"})
    (attached,) = storage.get_volume(volume.id).attachments
    storage.detach_volume(volume, attached["attachment_id"])
    assert storage.get_volume(volume.id).status == "available"


def test_types(storage: Any) -> None:
    made = storage.create_type(name="fast", extra_specs={"volume_backend_name": "raw"}, is_public=False)
    assert storage.get_type(made.id).extra_specs == {"volume_backend_name": "raw"}
    assert storage.find_type("standard").name == "standard"
    assert storage.update_type(made, description="D").description == "D"
    storage.update_type_extra_specs(made, a="b")
    storage.delete_type_extra_specs(made, ["volume_backend_name"])
    assert storage.get_type(made.id).extra_specs == {"a": "b"}
    storage.add_type_access(made, PROJECT)
    assert storage.get_type_access(made) == [{"volume_type_id": made.id, "project_id": PROJECT}]
    storage.remove_type_access(made, PROJECT)
    storage.delete_type(made)
    with pytest.raises(openstack.exceptions.NotFoundException):
        storage.get_type(made.id)


def test_quotas_and_limits(storage: Any, volume: Any) -> None:
    assert storage.get_quota_set_defaults(PROJECT).volumes == 10
    storage.update_quota_set(PROJECT, volumes=20)
    assert storage.get_quota_set(PROJECT).volumes == 20
    assert storage.get_quota_set(PROJECT, usage=True).usage["volumes"] == 1
    storage.revert_quota_set(PROJECT)
    assert storage.get_quota_set(PROJECT).volumes == 10
    assert storage.get_quota_class_set("default").volumes == 10
    assert storage.get_limits().absolute.total_volumes_used == 1


def test_services_and_backends(storage: Any) -> None:
    found = {one.host: one for one in storage.services()}
    assert set(found) == {"wire", "wire@raw", "wire@qcow2", "wire@vdi"}
    assert found["wire@raw"].backend_state == "up"
    storage.disable_service(found["wire@raw"], reason="because")
    (row,) = storage.services(host="wire@raw")
    assert (row.status, row.disabled_reason) == ("disabled", "because")
    storage.enable_service(row)
    assert {one.name for one in storage.backend_pools()} == {"wire@raw#raw", "wire@qcow2#qcow2", "wire@vdi#vdi"}
    assert storage.get_capabilities("wire@raw").volume_backend_name == "raw"
    assert [one.name for one in storage.availability_zones()] == ["nova"]
    assert "Hosts" in [one.name for one in storage.extensions()]
    assert [one.filters for one in storage.resource_filters(resource="pool")] == [["name", "volume_type"]]


def test_messages(storage: Any) -> None:
    kind = storage.create_type(name="impossible", extra_specs={"volume_backend_name": "nowhere"})
    lost = storage.create_volume(name="lost", size=1, volume_type="impossible")
    storage.wait_for_status(lost, "error", failures=[], interval=0.1, wait=WAIT_S)
    (message,) = [one for one in storage.messages() if one.resource_uuid == lost.id]
    assert message.message_level == "ERROR"
    storage.delete_message(message)
    storage.delete_volume(lost)
    storage.wait_for_delete(lost, interval=0.1, wait=WAIT_S)
    storage.delete_type(kind)


def test_what_the_cloud_layer_does(sdk: Any, volume: Any) -> None:
    assert sdk.get_volume("base").id == volume.id
    point = sdk.create_volume_snapshot(volume.id, name="cloud", force=True, wait=True, timeout=WAIT_S)
    assert [one.id for one in sdk.list_volume_snapshots()] == [point.id]
    assert sdk.delete_volume_snapshot(point.id, wait=True, timeout=WAIT_S)


def test_a_volume_is_made_from_an_image(storage: Any, service: Any) -> None:
    own = service.endpoint.replace("/v3", "/v1")
    image = httpx.post(f"{own}/images", json={"name": "disk", "kind": "disk", "format": "raw"}, timeout=60).json()
    sent = httpx.put(f"{own}/images/{image['id']}/files/disk", content=b"brick" * 100_000, timeout=60)
    assert sent.status_code < 300, sent.text
    made = storage.create_volume(name="imaged", size=1, image_id=image["id"])
    shown = becomes(storage.get_volume, made, "available")
    assert shown.is_bootable
    assert shown.volume_image_metadata["image_id"] == image["id"]
    storage.delete_volume(made)
    storage.wait_for_delete(made, interval=0.1, wait=WAIT_S)
    assert httpx.delete(f"{own}/images/{image['id']}", timeout=60).status_code < 300
