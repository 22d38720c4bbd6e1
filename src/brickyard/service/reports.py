"""A node's report becomes rows: its host, its backends in `volume_backends`, its pools and what they may promise."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, Protocol

from brickyard.core import clock, image_cache, pools, sizes
from brickyard.core.fullness import Stage
from brickyard.db import backup_services, hosts, messages
from brickyard.db.database import Database, Tx
from brickyard.nodes import verbs
from brickyard.service import far_pools

BY_NVME = {"target_protocol": "nvmet_tcp", "storage_protocol": "NVMe-TCP"}
NO_LONGER_CONFIGURED = "It is no longer in the configuration of its host."


class Refreshable(Protocol):
    """The picture of all places."""

    def refresh(self) -> None: ...

    def redraw(self, names: Collection[str]) -> None: ...


def take(db: Database, places: Refreshable, node: verbs.Node, report: verbs.Report | None = None) -> None:
    """Record what a node reports, or says when it is asked, and what became of its guests."""
    report = report or node.report()
    record(db, report)
    far_pools.look(db, node, report.host)
    places.redraw([report.host])


def made_through_api(db: Database, host: str) -> list[tuple[str, dict[str, Any]]]:
    """Section and options of the backends that a host must serve, and that its configuration does not have."""
    with db.read() as tx:
        rows = [row for row in hosts.list_backends(tx, host) if row.options is not None]
    # One that is only being made has no storage yet: its flow goes on, and adds it.
    return [(row.name.partition("@")[2], row.options) for row in rows if row.why_down != hosts.BEING_MADE]


def record(db: Database, report: verbs.Report) -> None:
    """Record everything a node says; backends it no longer names are down until it names them again."""
    with db.begin() as tx:
        host_id = hosts.record_host(
            tx,
            name=report.host,
            labels=report.labels,
            vcpus=report.vcpus,
            memory_mib=report.memory_mib,
            hypervisor=report.hypervisor,
            export_address=report.export_address,
        )
        making = {row.name for row in hosts.list_backends(tx, report.host) if row.why_down == hosts.BEING_MADE}
        for backend in report.backends:
            if f"{report.host}@{backend.name}" in making:
                continue  # it is shown, with its room, when the flow that makes it is done
            # A report that was under way while an administrator deleted the backend must not bring it back.
            if not backend.from_api or hosts.find_backend(tx, f"{report.host}@{backend.name}") is not None:
                record_backend(tx, report.host, host_id, backend)
        record_backups(tx, host_id, report.backups)
        for storage, limit_gib in storages(report.backends).items():
            hosts.record_storage(tx, f"{host_id}/{storage}", limit_gib)
        named = {*making, *(f"{report.host}@{backend.name}" for backend in report.backends)}
        hosts.backends_down(tx, host_id, named, NO_LONGER_CONFIGURED)


def record_backups(tx: Tx, host_id: str, report: verbs.BackupReport | None) -> None:
    """The backup service of a host; the row of one that it has no more goes."""
    backup_services.record(tx, host_id, **(dataclasses.asdict(report) if report is not None else {}))


def record_backend(tx: Tx, host: str, host_id: str, backend: verbs.BackendReport) -> int:
    id = hosts.record_backend(
        tx,
        name=f"{host}@{backend.name}",
        host_id=host_id,
        description=f"{backend.driver} on {host}",
        driver=backend.driver,
        volume_backend_name=backend.volume_backend_name,
        availability_zone=backend.availability_zone,
        up=backend.up,
        why_down=backend.why_down,
        place=pools.place(backend.options),
        options=dict(backend.options) if backend.from_api else None,
    )
    if backend.usage is not None and backend.capabilities is not None:
        name = str(pools.PoolName(host, backend.name, backend.volume_backend_name))
        held = capacity(backend)
        known = {**held, **fullness(tx, name, backend), "capabilities": capabilities(backend)}
        pool_id = hosts.record_pool(tx, name=name, backend_id=id, **known)
        storage_id = f"{host_id}/{backend.usage.storage}" if backend.usage.storage else None
        if storage_id is not None and not hosts.storage_exists(tx, storage_id):
            hosts.record_storage(tx, storage_id, held["limit_gib"])
        hosts.move_pool(tx, pool_id, storage_id)
    return id


ADVICE = {
    Stage.OK: "There is room again.",
    Stage.WARN: "Make room before it is frozen: delete volumes or snapshots there, or extend it.",
    Stage.FROZEN: "Nothing new is made in it. Delete volumes or snapshots there, or extend it.",
    Stage.PAUSED: "The instances that write to it are paused. Delete volumes or snapshots there, or extend it: "
    "they go on by themselves.",
}
LEVELS = {Stage.OK: "INFO", Stage.WARN: "WARNING", Stage.FROZEN: "ERROR", Stage.PAUSED: "ERROR"}


def fullness(tx: Tx, name: str, backend: verbs.BackendReport) -> dict[str, Any]:
    """How full the pool really is, for its row; administrators are told, once, when its stage is another one."""
    found = backend.fullness
    before = hosts.find_pool(tx, name)
    values: dict[str, Any] = {"data_percent": found.data_percent, "metadata_percent": found.metadata_percent}
    values |= {"stage": found.stage.value, "stage_reason": found.why or None}
    if found.stage == (before.stage if before is not None else Stage.OK):
        return values
    messages.tell_operators(
        tx,
        event=f"POOL_{found.stage.upper()}",
        level=LEVELS[found.stage],
        text=f"Pool {name} is {found.stage}{': ' if found.why else ''}{found.why}. {ADVICE[found.stage]}",
        resource_type="POOL",
        resource_uuid=before.id if before is not None else None,
    )
    return {**values, "stage_since": clock.stamp()}


def storages(backends: Sequence[verbs.BackendReport]) -> dict[str, int]:
    """What may be promised of each file system by all the pools on it together, in GiB.

    It is the same rule as for one pool, with the bricks of all of them; of their ratios the largest counts, since each
    pool has its own limit besides.
    """
    groups: dict[str, list[verbs.BackendReport]] = {}
    for backend in backends:
        if backend.usage is not None and backend.capabilities is not None and backend.usage.storage:
            groups.setdefault(backend.usage.storage, []).append(backend)
    return {storage: _shared_limit_gib(group) for storage, group in groups.items()}


def _shared_limit_gib(group: Sequence[verbs.BackendReport]) -> int:
    usages = [(backend.usage, _ratio(backend), _reserved_bytes(backend)) for backend in group]
    allocated = sum(usage.allocated_bytes for usage, _, _ in usages if usage)
    total, free = max((usage.total_bytes, usage.free_bytes) for usage, _, _ in usages if usage)
    ours_bytes = min(total, allocated + free) - min(reserved for _, _, reserved in usages)
    return max(0, sizes.whole_gib(int(ours_bytes * max(ratio for _, ratio, _ in usages))))


def capacity(backend: verbs.BackendReport) -> dict[str, int]:
    """What the storage has and what may be promised of it, in GiB.

    Thin: what our bricks take and what is free besides, less the reserved part, times the ratio the operator allows: a
    file system that others use too is not promised twice. Thick: what is promised already and what is free besides,
    less the reserved part.
    """
    assert backend.usage is not None and backend.capabilities is not None
    usage = backend.usage
    if backend.capabilities.thin:
        ours_bytes = min(usage.total_bytes, usage.allocated_bytes + usage.free_bytes)
        limit_bytes = int((ours_bytes - _reserved_bytes(backend)) * _ratio(backend))
    else:
        limit_bytes = usage.provisioned_bytes + usage.free_bytes - _reserved_bytes(backend)
    return {
        "total_gib": sizes.whole_gib(usage.total_bytes),
        "free_gib": sizes.whole_gib(usage.free_bytes),
        "limit_gib": max(0, sizes.whole_gib(limit_bytes)),
    }


def _ratio(backend: verbs.BackendReport) -> float:
    """How often the same byte may be promised; a thick brick takes all of its bytes."""
    thin = backend.capabilities is not None and backend.capabilities.thin
    return float(backend.options.get("max_over_subscription_ratio", 1.0)) if thin else 1.0


def _reserved_bytes(backend: verbs.BackendReport) -> int:
    assert backend.usage is not None
    return backend.usage.total_bytes * int(backend.options.get("reserved_percentage", 0)) // 100


def capabilities(backend: verbs.BackendReport) -> dict[str, Any]:
    """What the scheduler matches extra specs against, in the words of the field, and the driver's own answers."""
    assert backend.capabilities is not None
    answers = dataclasses.asdict(backend.capabilities)
    answers["online_extend_support"] = answers["online_grow"]
    if not backend.up:  # of a pool that is being made only this is known: nobody has asked its driver for the rest
        answers = {"thin": answers["thin"]}
    return {
        **answers,
        "volume_backend_name": backend.volume_backend_name,
        "vendor_name": "Brickyard",
        "driver_version": "1.0",
        "storage_protocol": "local",
        **(BY_NVME if backend.options.get("target_protocol") == BY_NVME["target_protocol"] else {}),
        "pool_name": backend.volume_backend_name,
        "thin_provisioning_support": answers["thin"],
        "thick_provisioning_support": not answers["thin"],
        "reserved_percentage": int(backend.options.get("reserved_percentage", 0)),
        "max_over_subscription_ratio": str(backend.options.get("max_over_subscription_ratio", 1.0)),
        "QoS_support": False,
        **image_cache.reported(backend.options, answers),
        **dict(backend.options.get("extra_capabilities", {})),
    }
