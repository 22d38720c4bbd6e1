"""`openstack volume migrate` and `volume set --type`: a volume moves to another backend with what it holds."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.wire


def test_a_volume_is_moved_and_gets_another_type(osc: Any) -> None:
    for backend in ("raw", "qcow2"):
        osc(f"volume type create to-{backend} --property volume_backend_name={backend}")
    osc("volume create --size 1 --type to-raw --property a=b traveller")
    before = osc.becomes("volume", "traveller", "available")
    assert before["os-vol-host-attr:host"] == "wire@raw#raw"
    assert "does not serve" in osc.refused("volume migrate --host wire@qcow2#qcow2 traveller")
    assert "failed" in osc.refused("volume set --type to-qcow2 traveller")
    osc("volume set --type to-qcow2 --migration-policy on-demand traveller")
    moved = osc.becomes("volume", "traveller", "available")
    assert (moved["id"], moved["type"], moved["properties"]) == (before["id"], "to-qcow2", {"a": "b"})
    assert (moved["os-vol-host-attr:host"], moved["os-vol-mig-status-attr:migstat"]) == ("wire@qcow2#qcow2", "success")
    osc("volume set --type standard traveller")
    osc("volume migrate --host wire@vdi#vdi --lock-volume traveller")
    moved = osc.becomes("volume", "traveller", "available")
    assert (moved["os-vol-host-attr:host"], moved["os-vol-mig-status-attr:migstat"]) == ("wire@vdi#vdi", "success")
    osc("volume delete traveller")
    osc.vanishes("volume", "traveller")
    osc("volume type delete to-raw to-qcow2")
