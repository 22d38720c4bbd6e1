"""Consistency groups, by each of the clients that still knows them: they are groups under their older name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import openstack.exceptions
import pytest
from cinderclient import exceptions

sys.path.insert(0, str(Path(__file__).parent))
from waiting import becomes, vanishes

pytestmark = [
    pytest.mark.wire,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # what the SDK says of itself
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]


def test_the_openstack_client(osc: Any, sdk: Any) -> None:
    def of_one() -> Any:
        shown = sdk.block_storage.find_volume("one")
        return shown.consistency_group_id, shown.group_id

    osc("consistency group create --volume-type standard --description D all")
    shown = osc.json("consistency group show all")
    assert (shown["status"], shown["description"], len(shown["volume_types"])) == ("available", "D", 1)
    osc("consistency group set all --name renamed --description E")
    assert osc.json("consistency group show renamed")["description"] == "E"
    assert [one["Name"] for one in osc.json("consistency group list --long")] == ["renamed"]
    osc("volume create --size 1 --type standard --consistency-group renamed one")
    osc.becomes("volume", "one", "available")
    assert of_one() == (osc.json("consistency group show renamed")["id"],) * 2
    assert "failed to delete" in osc.refused("consistency group delete renamed")
    osc("consistency group remove volume renamed one")
    assert of_one() == (None, None)
    osc("consistency group add volume renamed one")
    osc("consistency group snapshot create point --consistency-group renamed --description F")
    assert osc.becomes("consistency group snapshot", "point", "available")["description"] == "F"
    # without these options the client leaves out all that has a status and a group
    which = "--status available --consistency-group renamed"
    assert [one["Name"] for one in osc.json(f"consistency group snapshot list --long {which}")] == ["point"]
    assert osc.json("consistency group snapshot show point")["consistencygroup_id"] == of_one()[0]
    osc("consistency group create --snapshot point from-snapshot")
    osc("consistency group create --source renamed from-group")
    for name in ("from-snapshot", "from-group"):
        osc.becomes("consistency group", name, "available")
        osc(f"consistency group delete --force {name}")
        osc.vanishes("consistency group", name)
    osc("consistency group snapshot delete point")
    osc.vanishes("consistency group snapshot", "point")
    osc("consistency group delete --force renamed")
    osc.vanishes("consistency group", "renamed")
    osc.vanishes("volume", "one")


def test_the_library_of_cinderclient(cinder: Any) -> None:
    gone = exceptions.NotFound
    group = cinder.consistencygroups.create("standard", name="all", description="D")
    assert becomes(cinder.consistencygroups.get, group, "available").description == "D"
    member = cinder.volumes.create(1, name="two", volume_type="standard")
    becomes(cinder.volumes.get, member, "available")
    cinder.consistencygroups.update(group, name="other", add_volumes=member.id)
    assert [one.name for one in cinder.consistencygroups.list()] == ["other"]
    assert [one.id for one in cinder.consistencygroups.list(detailed=False)] == [group.id]
    point = cinder.cgsnapshots.create(group.id, name="point")
    assert becomes(cinder.cgsnapshots.get, point, "available").consistencygroup_id == group.id
    assert [one.name for one in cinder.cgsnapshots.list(search_opts={"status": "available"})] == ["point"]
    copy = cinder.consistencygroups.get(cinder.consistencygroups.create_from_src(point.id, None, name="copy")["id"])
    becomes(cinder.consistencygroups.get, copy, "available")
    with pytest.raises(exceptions.BadRequest, match="has 1 volumes"):
        cinder.consistencygroups.delete(copy)
    cinder.consistencygroups.delete(copy, force=True)
    vanishes(cinder.consistencygroups.get, copy, gone)
    cinder.cgsnapshots.delete(point)
    vanishes(cinder.cgsnapshots.get, point, gone)
    cinder.consistencygroups.delete(group, force=True)
    vanishes(cinder.consistencygroups.get, group, gone)
    vanishes(cinder.volumes.get, member, gone)


def test_the_sdk(sdk: Any) -> None:
    storage, gone = sdk.block_storage, openstack.exceptions.NotFoundException
    type_ = storage.find_type("standard")
    group = storage.create_consistency_group(name="all", volume_types=type_.id)
    assert becomes(storage.get_consistency_group, group, "available").volume_types == [type_.id]
    assert storage.find_consistency_group("all").id == group.id
    member = storage.create_volume(name="three", size=1, volume_type="standard")
    becomes(storage.get_volume, member, "available")
    storage.update_consistency_group(group, name="third", add_volumes=member.id)
    assert [one.name for one in storage.consistency_groups()] == ["third"]
    point = storage.create_consistency_group_snapshot(consistencygroup_id=group.id, name="point")
    becomes(storage.get_consistency_group_snapshot, point, "available")
    assert storage.find_consistency_group_snapshot("point").id == point.id
    assert [one.id for one in storage.consistency_group_snapshots()] == [point.id]
    copy = storage.create_consistency_group_from_source(consistency_group_snapshot=point.id, name="copy")
    becomes(storage.get_consistency_group, copy, "available")
    storage.delete_consistency_group(copy, force=True)
    vanishes(storage.get_consistency_group, copy, gone)
    storage.delete_consistency_group_snapshot(point)
    vanishes(storage.get_consistency_group_snapshot, point, gone)
    storage.delete_consistency_group(group, force=True)
    vanishes(storage.get_consistency_group, group, gone)
    vanishes(storage.get_volume, member, gone)
