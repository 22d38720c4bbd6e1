"""Small fleets for the tests of placement: hosts and pools with as few words as a test needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brickyard.core.placement import HostView, PoolView


def pool(
    name: str = "h1@lvm#p", *, total: int = 100, limit: int | None = None, claimed: int = 0, free: int | None = None,
    thin: bool = False, backend_name: str = "lvm", zone: str = "az1", volumes: int = 0, up: bool = True,
    capabilities: Mapping[str, Any] | None = None, too_full: str = "",
    data_percent: float | None = None,
) -> PoolView:  # fmt: skip
    host, _, rest = name.partition("@")
    limit = total if limit is None else limit
    return PoolView(
        id=f"id-{name}", name=name, host=host, backend=rest.partition("#")[0], backend_name=backend_name, zone=zone,
        driver="lvm", total_gib=total, limit_gib=limit, claimed_gib=claimed,
        free_gib=max(total - claimed, 0) if free is None else free, thin=thin, volumes=volumes,
        capabilities=capabilities or {}, up=up, why_down="" if up else "no answer",
        too_full=too_full, data_percent=data_percent,
    )  # fmt: skip


def host(
    name: str = "h1", *pools: PoolView, zone: str | None = "z1", rack: str | None = "r1", vcpus: int = 8,
    memory: int = 8192, vcpus_claimed: int = 0, memory_claimed: int = 0, up: bool = True, enabled: bool = True,
    compute: bool = True, **labels: str,
) -> HostView:  # fmt: skip
    if zone is not None:
        labels["zone"] = zone
    if rack is not None:
        labels["rack"] = rack
    return HostView(
        name=name, labels=labels, vcpus_total=vcpus, vcpus_claimed=vcpus_claimed, memory_mib_total=memory,
        memory_mib_claimed=memory_claimed, up=up, why_down="" if up else "silent", enabled=enabled, pools=pools,
        compute=compute,
    )  # fmt: skip
