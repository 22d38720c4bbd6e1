"""openstacksdk: groups, their types and snapshots, transfers, QoS specs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import openstack.exceptions
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from waiting import becomes, vanishes

GONE = openstack.exceptions.NotFoundException
pytestmark = [
    pytest.mark.wire,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # what the SDK says of itself
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]


@pytest.fixture
def storage(sdk: Any) -> Any:
    return sdk.block_storage


def test_group_types(storage: Any) -> None:
    made = storage.create_group_type(name="fast", description="D")
    assert storage.get_group_type(made.id).description == "D"
    assert storage.find_group_type("fast").id == made.id
    assert made.id in [one.id for one in storage.group_types()]
    assert storage.update_group_type(made, description="E").description == "E"
    storage.create_group_type_group_specs(made, {"a": "b", "c": "d"})
    assert storage.fetch_group_type_group_specs(made).group_specs == {"a": "b", "c": "d"}
    assert storage.get_group_type_group_specs_property(made, "a") == "b"
    storage.update_group_type_group_specs_property(made, "a", "e")
    storage.delete_group_type_group_specs_property(made, "c")
    assert storage.fetch_group_type_group_specs(made).group_specs == {"a": "e"}
    storage.delete_group_type(made)


def test_groups_and_their_snapshots(storage: Any) -> None:
    kind = storage.create_group_type(name="plain")
    type_ = storage.find_type("standard")
    group = storage.create_group(name="all", group_type=kind.id, volume_types=[type_.id])
    assert becomes(storage.get_group, group, "available").name == "all"
    assert storage.find_group("all").id == group.id
    assert [one.id for one in storage.groups()] == [group.id]
    storage.update_group(group, name="renamed", description="D")
    assert storage.get_group(group.id).description == "D"
    member = storage.create_volume(name="one", size=1, volume_type="standard", group_id=group.id)
    becomes(storage.get_volume, member, "available")
    point = storage.create_group_snapshot(group_id=group.id, name="point")
    becomes(storage.get_group_snapshot, point, "available")
    assert storage.find_group_snapshot("point").id == point.id
    assert [one.id for one in storage.group_snapshots()] == [point.id]
    storage.reset_group_snapshot_status(point, "error")
    storage.reset_group_snapshot_status(point, "available")
    for kept, source in ((point.id, None), (None, group.id)):
        copy = storage.create_group_from_source(name="copy", group_snapshot_id=kept, source_group_id=source)
        becomes(storage.get_group, copy, "available")
        storage.delete_group(copy, delete_volumes=True)
        vanishes(storage.get_group, copy, GONE)
    storage.reset_group_status(group, "error")
    storage.reset_group_status(group, "available")
    for replicate in (
        storage.enable_group_replication,
        storage.disable_group_replication,
        storage.failover_group_replication,
    ):
        with pytest.raises(openstack.exceptions.BadRequestException, match="replicat"):
            replicate(group)
    storage.delete_group_snapshot(point)
    vanishes(storage.get_group_snapshot, point, GONE)
    storage.delete_group(group, delete_volumes=True)
    vanishes(storage.get_group, group, GONE)
    vanishes(storage.get_volume, member, GONE)
    storage.delete_group_type(kind)


def test_transfers(storage: Any) -> None:
    volume = becomes(storage.get_volume, storage.create_volume(name="gift", size=1), "available")
    offer = storage.create_transfer(volume_id=volume.id, name="present")
    assert storage.get_transfer(offer.id).volume_id == volume.id
    assert storage.find_transfer("present").id == offer.id
    assert [one.id for one in storage.transfers()] == [offer.id]
    storage.delete_transfer(offer)
    offer = storage.create_transfer(volume_id=volume.id)
    with pytest.raises(openstack.exceptions.BadRequestException):
        storage.accept_transfer(offer.id, "0123456789abcdef")
    assert storage.accept_transfer(offer.id, offer.auth_key).volume_id == volume.id
    storage.delete_volume(volume)
    vanishes(storage.get_volume, volume, GONE)


def test_qos_specs(storage: Any) -> None:
    made = storage.create_qos_spec(name="quick", consumer="front-end", total_iops_sec="500")
    assert storage.get_qos_spec(made.id).specs == {"total_iops_sec": "500"}
    assert storage.find_qos_spec("quick").id == made.id
    assert [one.id for one in storage.qos_specs()] == [made.id]
    storage.update_qos_spec(made, total_bytes_sec="1048576")
    storage.delete_qos_spec_metadata(made, ["total_iops_sec"])
    assert storage.get_qos_spec(made.id).specs == {"total_bytes_sec": "1048576"}
    kind = storage.create_type(name="promised")
    storage.associate_qos_spec(made, kind.id)
    assert [one.id for one in storage.qos_spec_associations(made)] == [kind.id]
    storage.disassociate_qos_spec(made, kind.id)
    storage.associate_qos_spec(made, kind.id)
    storage.disassociate_all_qos_spec(made)
    assert list(storage.qos_spec_associations(made)) == []
    storage.delete_qos_spec(made)
    storage.delete_type(kind)
