"""The library of python-cinderclient: every manager, and each of its methods that this API has an answer for."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cinderclient import exceptions

sys.path.insert(0, str(Path(__file__).parent))
from waiting import becomes, until, vanishes

pytestmark = [pytest.mark.wire, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
PROJECT = "0" * 32
RAW = "wire@raw#raw"
GONE = exceptions.NotFound


@pytest.fixture
def volume(cinder: Any) -> Iterator[Any]:
    made = cinder.volumes.create(1, name="base", volume_type="standard", metadata={"a": "b"})
    yield becomes(cinder.volumes.get, made, "available")
    cinder.volumes.delete(made, cascade=True)
    vanishes(cinder.volumes.get, made, GONE)


def test_metadata_flags_and_status_of_a_volume(cinder: Any, volume: Any) -> None:
    cinder.volumes.set_metadata(volume, {"c": "d"})
    cinder.volumes.delete_metadata(volume, ["a"])
    assert cinder.volumes.get(volume.id).metadata == {"c": "d"}
    cinder.volumes.update_all_metadata(volume, {"e": "f"})
    cinder.volumes.set_image_metadata(volume, {"os": "linux", "arch": "x86_64"})
    cinder.volumes.delete_image_metadata(volume, ["arch"])
    assert cinder.volumes.show_image_metadata(volume)[1] == {"metadata": {"os": "linux"}}
    cinder.volumes.update_readonly_flag(volume, True)
    assert cinder.volumes.get(volume.id).metadata == {"e": "f", "readonly": "True"}
    cinder.volumes.update(volume, name="base", description="D")
    cinder.volumes.reset_state(volume, "error", attach_status="detached", migration_status="none")
    assert cinder.volumes.get(volume.id).status == "error"
    cinder.volumes.reset_state(volume, "available")
    assert cinder.volumes.get_encryption_metadata(volume.id) == {"encryption_key_id": None}
    assert cinder.volumes.summary(all_tenants=False)["volume-summary"]["total_count"] == 1
    assert {"name": RAW} in cinder.volumes.get_pools("", {}).pools
    with pytest.raises(exceptions.BadRequest, match="not being moved"):
        cinder.volumes.migrate_volume_completion(volume, volume.id, False)
    with pytest.raises(exceptions.BadRequest, match="does not wait"):
        cinder.volumes.extend_volume_completion(volume)
    with pytest.raises(exceptions.BadRequest, match="could not be found"):
        cinder.volumes.reimage(volume, str(uuid.uuid4()))
    lost = cinder.volumes.create(1, name="lost")
    becomes(cinder.volumes.get, lost, "available")
    cinder.volumes.force_delete(lost)
    vanishes(cinder.volumes.get, lost, GONE)


def test_the_older_way_to_attach(cinder: Any, volume: Any) -> None:
    cinder.volumes.reserve(volume)
    cinder.volumes.unreserve(volume)
    assert cinder.volumes.initialize_connection(volume, {"host": "wire"})["driver_volume_type"] == "local"
    cinder.volumes.attach(volume, str(uuid.uuid4()), "/dev/vdb")
    cinder.volumes.begin_detaching(volume)
    cinder.volumes.roll_detaching(volume)
    cinder.volumes.terminate_connection(volume, {"host": "wire"})
    (attached,) = cinder.volumes.get(volume.id).attachments
    cinder.volumes.detach(volume, attached["attachment_id"])
    assert cinder.volumes.get(volume.id).status == "available"


def test_attachments(cinder: Any, volume: Any) -> None:
    made = cinder.attachments.create(volume.id, None, instance_id=str(uuid.uuid4()))
    assert cinder.attachments.show(made["id"]).status == "reserved"
    changed = cinder.attachments.update(made["id"], {"host": "wire"})
    assert changed.connection_info["driver_volume_type"] == "local"
    cinder.attachments.delete(made["id"])


def test_types_moves_and_what_lies_in_a_pool(cinder: Any) -> None:
    kinds = [cinder.volume_types.create(f"in-{name}") for name in ("raw", "qcow2")]
    for kind, name in zip(kinds, ("raw", "qcow2"), strict=True):
        kind.set_keys({"volume_backend_name": name})
    moved = becomes(cinder.volumes.get, cinder.volumes.create(1, volume_type="in-qcow2"), "available")
    cinder.volumes.retype(moved, "in-raw", "on-demand")
    until(lambda: cinder.volumes.get(moved.id).volume_type == "in-raw")
    becomes(cinder.volumes.get, moved, "available")
    free = cinder.volume_types.create("anywhere")
    cinder.volumes.retype(moved, "anywhere", "never")
    becomes(cinder.volumes.get, moved, "available")
    cinder.volumes.migrate_volume(moved, "wire@vdi#vdi", False, False)
    until(lambda: getattr(cinder.volumes.get(moved.id), "os-vol-host-attr:host") == "wire@vdi#vdi")
    becomes(cinder.volumes.get, moved, "available")
    cinder.volumes.delete(moved)
    vanishes(cinder.volumes.get, moved, GONE)

    kept = becomes(cinder.volumes.get, cinder.volumes.create(1, volume_type="in-raw"), "available")
    point = cinder.volume_snapshots.create(kept.id, name="point")
    becomes(cinder.volume_snapshots.get, point, "available")
    cinder.volume_snapshots.unmanage(point)
    vanishes(cinder.volume_snapshots.get, point, GONE)
    reference = {"source-name": f"_snapshot-{point.id}"}
    assert reference in [one.reference for one in cinder.volume_snapshots.list_manageable(RAW)]
    again = cinder.volume_snapshots.manage(kept.id, reference, name="again")
    becomes(cinder.volume_snapshots.get, again, "available")
    cinder.volume_snapshots.delete(again)
    vanishes(cinder.volume_snapshots.get, again, GONE)
    cinder.volumes.unmanage(kept)
    vanishes(cinder.volumes.get, kept, GONE)
    reference = {"source-name": f"volume-{kept.id}"}
    assert reference in [one.reference for one in cinder.volumes.list_manageable(RAW)]
    back = becomes(cinder.volumes.get, cinder.volumes.manage(RAW, reference), "available")
    cinder.volumes.delete(back)
    vanishes(cinder.volumes.get, back, GONE)
    for kind in (*kinds, free):
        cinder.volume_types.delete(kind)


def test_snapshots(cinder: Any, volume: Any) -> None:
    point = cinder.volume_snapshots.create(volume.id, name="point")
    becomes(cinder.volume_snapshots.get, point, "available")
    cinder.volume_snapshots.update(point, name="renamed")
    cinder.volume_snapshots.set_metadata(point, {"a": "b", "c": "d"})
    cinder.volume_snapshots.delete_metadata(point, ["a"])
    assert cinder.volume_snapshots.update_all_metadata(point, {"e": "f"}) == {"metadata": {"e": "f"}}
    assert [one.name for one in cinder.volume_snapshots.list()] == ["renamed"]
    cinder.volume_snapshots.reset_state(point, "creating")
    cinder.volume_snapshots.update_snapshot_status(point, {"status": "creating", "progress": "50%"})
    cinder.volume_snapshots.reset_state(point, "available")
    cinder.volumes.revert_to_snapshot(volume, point)
    becomes(cinder.volumes.get, volume, "available")
    becomes(cinder.volume_snapshots.get, point, "available")


def test_groups(cinder: Any) -> None:
    kind = cinder.group_types.create("plain")
    kind.set_keys({"a": "b"})
    assert kind.get_keys() == {"a": "b"}
    cinder.group_types.update(kind, name="plain", description="D")
    assert [one.description for one in cinder.group_types.list() if one.name == "plain"] == ["D"]
    group = cinder.groups.create(kind.id, cinder.volume_types.find(name="standard").id, name="all")
    becomes(cinder.groups.get, group, "available")
    member = becomes(cinder.volumes.get, cinder.volumes.create(1, volume_type="standard"), "available")
    cinder.groups.update(group, name="renamed", add_volumes=member.id)
    assert [one.name for one in cinder.groups.list()] == ["renamed"]
    point = cinder.group_snapshots.create(group.id, name="point")
    becomes(cinder.group_snapshots.get, point, "available")
    cinder.group_snapshots.reset_state(point, "error")
    cinder.group_snapshots.reset_state(point, "available")
    assert [one.name for one in cinder.group_snapshots.list()] == ["point"]
    cinder.groups.create_from_src(point.id, None, name="copy")
    copy = cinder.groups.find(name="copy")
    becomes(cinder.groups.get, copy, "available")
    cinder.groups.reset_state(copy, "error")
    for asked in (
        cinder.groups.enable_replication,
        cinder.groups.disable_replication,
        cinder.groups.failover_replication,
        cinder.groups.list_replication_targets,
    ):
        with pytest.raises(exceptions.BadRequest, match="replicat"):
            asked(group)
    cinder.groups.delete(copy, delete_volumes=True)
    vanishes(cinder.groups.get, copy, GONE)
    cinder.group_snapshots.delete(point)
    vanishes(cinder.group_snapshots.get, point, GONE)
    cinder.groups.delete(group, delete_volumes=True)
    vanishes(cinder.groups.get, group, GONE)
    cinder.group_types.delete(kind)


def test_transfers(cinder: Any, volume: Any) -> None:
    offer = cinder.transfers.create(volume.id, "present")
    assert cinder.transfers.get(offer.id).name == "present"
    assert [one.id for one in cinder.transfers.list()] == [offer.id]
    cinder.transfers.delete(offer.id)
    offer = cinder.transfers.create(volume.id)
    assert cinder.transfers.accept(offer.id, offer.auth_key).volume_id == volume.id


def test_qos_specs_and_encryption(cinder: Any) -> None:
    made = cinder.qos_specs.create("quick", {"consumer": "front-end", "total_iops_sec": "500"})
    cinder.qos_specs.set_keys(made.id, {"total_bytes_sec": "1048576"})
    cinder.qos_specs.unset_keys(made.id, ["total_iops_sec"])
    assert cinder.qos_specs.get(made.id).specs == {"total_bytes_sec": "1048576"}
    assert [one.name for one in cinder.qos_specs.list()] == ["quick"]
    kind = cinder.volume_types.create("promised")
    cinder.qos_specs.associate(made.id, kind.id)
    assert [one.id for one in cinder.qos_specs.get_associations(made)] == [kind.id]
    cinder.qos_specs.disassociate(made.id, kind.id)
    cinder.qos_specs.disassociate_all(made.id)
    cinder.qos_specs.delete(made.id)
    asked = {"provider": "luks", "control_location": "front-end"}
    cinder.volume_encryption_types.create(kind, asked)
    cinder.volume_encryption_types.update(kind, {"key_size": 512})
    assert cinder.volume_encryption_types.get(kind).key_size == 512
    assert [one.volume_type_id for one in cinder.volume_encryption_types.list()] == [kind.id]
    cinder.volume_encryption_types.delete(kind)
    cinder.volume_types.update(kind, name="promised", description="D")
    assert cinder.volume_types.get(kind).description == "D"
    assert cinder.volume_types.default().name == "standard"
    cinder.default_types.create(kind.id, PROJECT)
    assert [one.project_id for one in cinder.default_types.list()] == [PROJECT]
    cinder.default_types.delete(PROJECT)
    assert {"promised", "standard"} <= {one.name for one in cinder.volume_types.list()}
    cinder.volume_types.delete(kind)


def test_what_operators_look_at(cinder: Any) -> None:
    assert cinder.quotas.defaults(PROJECT).volumes == 10
    cinder.quotas.update(PROJECT, volumes=20)
    cinder.quotas.delete(PROJECT)
    assert cinder.quotas.get(PROJECT).volumes == 10
    cinder.quota_classes.update("default", volumes=10)
    assert cinder.quota_classes.get("default").volumes == 10
    assert cinder.services.disable("wire@vdi", "cinder-volume").status == "disabled"
    assert cinder.services.enable("wire@vdi", "cinder-volume").status == "enabled"
    (before,) = cinder.services.get_log_levels("cinder-scheduler", "wire", "brickyard.request")
    cinder.services.set_log_levels(before.level, "cinder-scheduler", "wire", "brickyard.request")
    assert cinder.clusters.list() == []
    with pytest.raises(exceptions.NotFound, match="no clusters"):
        cinder.clusters.show("one")
    with pytest.raises(exceptions.NotFound, match="no clusters"):
        cinder.clusters.update("one", "cinder-volume", False)
    assert [one.resource for one in cinder.resource_filters.list("pool")] == ["pool"]
    assert all(one.event_id.startswith("VOLUME_") for one in cinder.messages.list())
    for use in (cinder.messages.get, cinder.messages.delete):
        with pytest.raises(exceptions.NotFound):
            use(str(uuid.uuid4()))
