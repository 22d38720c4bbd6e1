"""`openstack volume create --remote-source …`: what lies in a pool becomes a volume, and the other way round."""

from __future__ import annotations

from typing import Any

import pytest
from cinderclient import exceptions

pytestmark = [pytest.mark.wire, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
HOST = "wire@raw#raw"


def test_a_volume_is_given_up_listed_and_taken_over(osc: Any, cinder: Any) -> None:
    osc("volume type create here --property volume_backend_name=raw")
    osc("volume create --size 1 --type here old")
    shown = osc.becomes("volume", "old", "available")
    assert shown["os-vol-host-attr:host"] == HOST
    osc("volume delete --remote old")
    osc.vanishes("volume", "old")
    listed = osc.json(f"block storage volume manageable list {HOST} --detailed true")
    (free,) = [one for one in listed if one["safe_to_manage"]]
    assert free["reference"] == {"source-name": f"volume-{shown['id']}"}
    assert (free["size"], free["cinder_id"]) == (1, None)
    source = {"source-name": f"volume-{shown['id']}"}
    words = "--type here --description D --property a=b"
    osc(f"volume create --remote-source source-name=volume-{shown['id']} --host {HOST} {words} new")
    new = osc.becomes("volume", "new", "available")
    assert (new["size"], new["description"], new["type"], new["properties"]) == (1, "D", "here", {"a": "b"})
    with pytest.raises(exceptions.BadRequest, match="could be taken over"):
        cinder.volumes.manage(HOST, source, name="again")
    osc("volume delete new")
    osc.vanishes("volume", "new")
    osc("volume type delete here")


def test_a_snapshot_is_given_up_listed_and_taken_over(osc: Any) -> None:
    osc("volume type create here --property volume_backend_name=raw")
    osc("volume create --size 1 --type here base")
    osc.becomes("volume", "base", "available")
    osc("volume snapshot create --volume base old")
    old = osc.becomes("volume snapshot", "old", "available")
    osc("volume snapshot delete --remote old")
    osc.vanishes("volume snapshot", "old")
    listed = osc.json(f"block storage snapshot manageable list {HOST}")
    assert {"source-name": f"_snapshot-{old['id']}"} in [one["reference"] for one in listed if one["safe_to_manage"]]
    osc(f"volume snapshot create --volume base --remote-source source-name=_snapshot-{old['id']} new")
    assert osc.becomes("volume snapshot", "new", "available")["size"] == 1
    osc("volume delete --purge base")
    osc.vanishes("volume", "base")
    osc("volume type delete here")
