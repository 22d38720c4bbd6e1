"""openstacksdk: what operators do with volumes, types, services and quotas."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack.exceptions
import pytest
from openstack.block_storage.v3 import cluster

sys.path.insert(0, str(Path(__file__).parent))
from waiting import becomes, until

pytestmark = [
    pytest.mark.wire,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # what the SDK says of itself
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]
PROJECT = "0" * 32
WAIT_S = 60
HOST = "wire@raw#raw"


@pytest.fixture
def storage(sdk: Any) -> Any:
    return sdk.block_storage


@pytest.fixture
def volume(storage: Any) -> Iterator[Any]:
    kind = storage.create_type(name="here", extra_specs={"volume_backend_name": "raw"})
    made = storage.create_volume(name="base", size=1, volume_type="here", metadata={"a": "b"})
    yield becomes(storage.get_volume, made, "available")
    storage.delete_volume(made, cascade=True, force=True)
    storage.wait_for_delete(made, interval=0.1, wait=WAIT_S)
    storage.delete_type(kind)


def test_image_metadata_and_status(storage: Any, volume: Any) -> None:
    storage.set_volume_image_metadata(volume, os="linux", arch="x86_64")
    storage.delete_volume_image_metadata(volume, ["arch"])
    assert storage.get_volume(volume.id).volume_image_metadata == {"os": "linux"}
    assert storage.fetch_volume_metadata(volume).metadata == {"a": "b"}
    storage.reset_volume_status(volume, status="error")
    assert storage.get_volume(volume.id).status == "error"
    storage.reset_volume_status(volume, "available", "detached", "none")
    assert storage.get_volume(volume.id).status == "available"


def test_a_volume_gets_another_type_and_another_backend(storage: Any) -> None:
    here = storage.create_type(name="here", extra_specs={"volume_backend_name": "raw"})
    there = storage.create_type(name="there", extra_specs={"volume_backend_name": "qcow2"})
    free = storage.create_type(name="anywhere")
    volume = becomes(storage.get_volume, storage.create_volume(size=1, volume_type="here"), "available")
    storage.retype_volume(volume, "there", "on-demand")
    until(lambda: storage.get_volume(volume.id).volume_type == "there")
    assert becomes(storage.get_volume, volume, "available").host == "wire@qcow2#qcow2"
    storage.retype_volume(volume, "anywhere")
    becomes(storage.get_volume, volume, "available")
    storage.migrate_volume(volume, host="wire@vdi#vdi")
    until(lambda: storage.get_volume(volume.id).host == "wire@vdi#vdi")
    becomes(storage.get_volume, volume, "available")
    with pytest.raises(openstack.exceptions.BadRequestException, match="not being moved"):
        storage.complete_volume_migration(volume, volume.id)
    storage.delete_volume(volume)
    storage.wait_for_delete(volume, interval=0.1, wait=WAIT_S)
    for kind in (here, there, free):
        storage.delete_type(kind)


def test_snapshots_by_hand(storage: Any, volume: Any) -> None:
    made = storage.create_snapshot(volume_id=volume.id, name="point", metadata={"a": "b"})
    becomes(storage.get_snapshot, made, "available")
    assert storage.fetch_snapshot_metadata(made).metadata == {"a": "b"}
    storage.reset_snapshot_status(made, "creating")
    storage.set_snapshot_status(made, "creating", "50%")
    assert storage.get_snapshot(made.id).progress == "50%"
    storage.reset_snapshot_status(made, "available")
    storage.unmanage_snapshot(made)
    storage.wait_for_delete(made, interval=0.1, wait=WAIT_S)
    reference = {"source-name": f"_snapshot-{made.id}"}
    assert reference in [one.reference for one in storage.manageable_snapshots(host=HOST)]
    again = storage.manage_snapshot(volume_id=volume.id, ref=reference, name="again")
    assert becomes(storage.get_snapshot, again, "available").size == 1


def test_a_volume_is_given_up_and_listed(storage: Any) -> None:
    kind = storage.create_type(name="raw", extra_specs={"volume_backend_name": "raw"})
    made = becomes(storage.get_volume, storage.create_volume(name="old", size=1, volume_type="raw"), "available")
    storage.unmanage_volume(made)
    storage.wait_for_delete(made, interval=0.1, wait=WAIT_S)
    reference = {"source-name": f"volume-{made.id}"}
    listed = {one.reference["source-name"]: one for one in storage.manageable_volumes(details=True, host=HOST)}
    assert listed[f"volume-{made.id}"].safe_to_manage
    again = becomes(storage.get_volume, storage.manage_volume(host=HOST, ref=reference, name="new"), "available")
    with pytest.raises(openstack.exceptions.BadRequestException, match="does not wait"):
        storage.complete_volume_extend(again)
    storage.delete_volume(again)
    storage.wait_for_delete(again, interval=0.1, wait=WAIT_S)
    storage.delete_type(kind)


def test_types_are_encrypted_and_are_the_default_of_a_project(storage: Any, sdk: Any) -> None:
    made = storage.create_type(name="sealed")
    storage.create_type_encryption(made, provider="luks", control_location="front-end", cipher="aes-xts-plain64")
    found = storage.get_type_encryption(made)
    assert (found.provider, found.cipher) == ("luks", "aes-xts-plain64")
    storage.update_type_encryption(found, key_size=512)
    assert storage.get_type_encryption(made).key_size == 512
    storage.delete_type_encryption(storage.get_type_encryption(made))
    assert storage.get_type_encryption(made).provider is None
    assert {"sealed", "standard"} <= {one.name for one in storage.types()}
    storage.set_default_type(PROJECT, made.id)
    assert storage.show_default_type(PROJECT).volume_type_id == made.id
    assert [one.project_id for one in storage.default_types()] == [PROJECT]
    storage.unset_default_type(PROJECT)
    assert list(storage.default_types()) == []
    storage.delete_type(made)


def test_services(storage: Any) -> None:
    service = storage.find_service("cinder-volume", host="wire@vdi")
    storage.freeze_service(service)
    assert next(iter(storage.services(host="wire@vdi"))).is_frozen
    storage.thaw_service(service)
    assert not next(iter(storage.services(host="wire@vdi"))).is_frozen
    with pytest.raises(openstack.exceptions.BadRequestException, match="not replicated"):
        storage.failover_service(service)
    what = {"binary": "cinder-scheduler", "server": "wire", "prefix": "brickyard.request"}
    (before,) = storage.get_service_log_levels(**what)
    storage.set_service_log_levels(level="WARNING", **what)
    assert next(iter(storage.get_service_log_levels(**what))).levels == {"brickyard.request": "WARNING"}
    storage.set_service_log_levels(level=before.levels["brickyard.request"], **what)
    assert list(storage.clusters()) == []
    assert storage.find_cluster("one") is None
    for use, named in (
        (storage.get_cluster, "one"),
        (storage.enable_cluster, cluster.Cluster(name="one")),
        (storage.disable_cluster, cluster.Cluster(name="one")),
    ):
        with pytest.raises(openstack.exceptions.NotFoundException, match="no clusters"):
            use(named)
    # this method sends PUT, where the API has POST
    with pytest.raises(openstack.exceptions.HttpException, match="Method Not Allowed"):
        storage.cleanup_service_workers(host="wire@vdi", binary="cinder-volume", cluster_name=None)


def test_quota_classes_and_messages(storage: Any) -> None:
    storage.update_quota_class_set("default", volumes=11)
    assert storage.get_quota_class_set("default").volumes == 11
    storage.update_quota_class_set("default", volumes=10)
    with pytest.raises(openstack.exceptions.NotFoundException):
        storage.get_message(str(uuid.uuid4()))
