"""Pools of devices: made, extended, drained, made smaller and taken apart, each as a flow that a request waits for.

A request inserts what it wants and its flow in one transaction, in which it also sees what others have begun: of two
that want the same device one is refused at once. The host has the last word about what is on a device.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Sequence
from typing import Any

from brickyard.core import errors
from brickyard.core.bricks import Capabilities, Usage
from brickyard.db import flows, hosts
from brickyard.db.database import Row, Tx
from brickyard.flows import destroy_pool, drain_device, extend_pool, grow_pool, make_pool, remove_device
from brickyard.nodes import verbs
from brickyard.service import hosts as host_cases
from brickyard.service import new_pools, reports, work
from brickyard.service.new_pools import NewPool
from brickyard.service.site import Caller, Site

WAIT_S = 60
KINDS = (make_pool, extend_pool, grow_pool, drain_device, remove_device, destroy_pool)
FLOWS = tuple(module.FLOW.name for module in KINDS)
NOTHING = Usage(0, 0, 0, 0)


# making ----------------------------------------------------------------------------------------------------------


def make(site: Site, caller: Caller, new: NewPool) -> tuple[Row, bool]:
    """Have a host make storage of devices, or take a volume group over, and serve it. A repeat finds its own."""
    with site.db.read() as tx:
        host = host_cases.require(tx, new.host)
    node = site.world.nodes[host.name]
    disks = _look(node, new.devices, "devices")
    with site.db.begin() as tx:
        before = hosts.find_backend(tx, f"{host.name}@{new.name}")
        running = busy(tx, host.name, new.name)
        if before is not None:
            _check_same(before, new, disks)
            flow = running.id if running is not None else None
        elif running is not None:
            raise _is_busy(running)
        else:
            _check_free(tx, host.name, disks, new.volume_group)
            flow = _begin(site, caller, tx, host, new, disks)
    if flow is not None:
        outcome(site, flow)
    return measured(site, host.name, new.name), before is None


def _begin(site: Site, caller: Caller, tx: Tx, host: Row, new: NewPool, disks: Sequence[verbs.Disk]) -> str:
    """Insert the backend, down and without room, and the flow that makes it."""
    serials = [disk.device.serial for disk in disks if disk.device.serial]
    given = {**new.given(), "made": bool(disks), "serials": ",".join(serials)}
    paths = [disk.device.path for disk in disks]
    place = {"devices": ",".join(paths)} if paths else {"volume_group": new.volume_group}
    place |= {"raid1": "true"} if new.raid1 else {}
    report = verbs.BackendReport(
        name=new.name,
        driver=new.driver,
        volume_backend_name=new.volume_backend_name or new.name,
        availability_zone=new.availability_zone or site.settings.availability_zone,
        options={**given, **place},
        from_api=True,
        up=False,
        why_down=hosts.BEING_MADE,
        usage=NOTHING,
        capabilities=Capabilities(thin=new.driver == "lvm-thin"),
    )
    backend_id = reports.record_backend(tx, host.name, host.id, report)
    hosts.update_backend(tx, backend_id, enabled=True, disabled_reason=None)
    pool = next(row for row in hosts.list_pools(tx) if row.backend_id == backend_id)
    params = make_pool.params(
        host=host.name,
        backend=new.name,
        backend_id=backend_id,
        given=given,
        driver=new.driver,
        devices=paths,
        wipe=new.wipe,
        raid1=new.raid1,
        volume_group=new.volume_group,
        thin_pool=new.thin_pool,
    )
    return _queue(site, caller, tx, make_pool.FLOW.name, params, pool.id)


def _check_free(tx: Tx, host: str, disks: Sequence[verbs.Disk], volume_group: str | None) -> None:
    """Refuse what a backend of this host has, also one that is only being made."""
    for row in hosts.list_backends(tx):
        place = row.place or {}
        if row.host != host:
            continue
        if volume_group is not None and place.get("volume_group") == volume_group:
            raise errors.Conflict(f"Volume group {volume_group} is the storage of pool {row.name} already.")
        for disk in disks:
            device = disk.device
            if device.path in place.get("devices", ()) or (device.serial and device.serial in place.get("serials", ())):
                raise errors.DeviceInUse(f"{device.path} is a device of pool {row.name} already.", (row.name,))
    for disk in disks:
        if disk.backend is not None:
            owner = f"{host}@{disk.backend}"
            raise errors.DeviceInUse(f"{disk.device.path} is a device of pool {owner} already.", (owner,))


def _check_same(before: Row, new: NewPool, disks: Sequence[verbs.Disk]) -> None:
    """Conflict unless the backend that exists is the one that is asked for."""
    if before.options is None:
        raise errors.Conflict(f"Backend {before.name} is in the configuration of its host; choose another name.")
    place = before.place or {}
    differing = new.differing(before.options)
    if new.volume_group is not None and (place.get("volume_group") != new.volume_group or before.options.get("made")):
        differing.append("volume_group")
    if new.thin_pool is not None and place.get("thin_pool", new.thin_pool) != new.thin_pool:
        differing.append("thin_pool")
    if disks and new.raid1 != (before.options.get("raid1") == "true"):
        differing.append("raid1")
    mine = {disk.device.path for disk in disks if disk.backend == new.name}
    mine |= {disk.device.path for disk in disks if disk.device.path in place.get("devices", ())}
    if disks and (mine != {disk.device.path for disk in disks} or len(mine) != len(place.get("devices", ()))):
        differing.append("devices")
    if differing:
        raise errors.Conflict(
            f"Backend {before.name} exists with another {' and '.join(differing)}; choose another name."
        )


# changing --------------------------------------------------------------------------------------------------------


def extend(site: Site, caller: Caller, name: str, device: str, wipe: Sequence[str], *, grow: bool = True) -> Row:
    """Add a device, and let a thin pool grow onto it. A repeat finds it there, and grown."""
    row, disk = _pool_and_disk(site, name, device)
    section = row.backend.partition("@")[2]
    where = {"host": row.host, "backend": section, "device": disk.device.path}
    grow_flow = str(uuid.uuid4()) if grow and row.capabilities["thin"] else None
    if disk.backend != section:
        with site.db.begin() as tx:
            _check_idle(tx, row)
            _check_free(tx, row.host, [disk], None)
            params = extend_pool.params(**where, serial=disk.device.serial, wipe=wipe, grow_flow=grow_flow)
            flow = _queue(site, caller, tx, extend_pool.FLOW.name, params, row.id)
        outcome(site, flow)
    elif grow_flow is not None:
        with site.db.begin() as tx:
            _check_idle(tx, row)
            grow_flow = _queue(site, caller, tx, grow_pool.FLOW.name, grow_pool.params(**where), row.id)
    if grow_flow is not None:
        outcome(site, grow_flow)
    return measured(site, row.host, section)


def drain(site: Site, caller: Caller, name: str, device: str) -> str:
    """Begin to move everything from a device to the others; the flow. One that runs already is told again."""
    row, disk = _pool_and_disk(site, name, device)
    _check_member(row, disk)
    params = drain_device.params(host=row.host, backend=row.backend.partition("@")[2], device=disk.device.path)
    with site.db.begin() as tx:
        running = busy(tx, row.host, params["backend"])
        if running is not None and running.name == drain_device.FLOW.name and running.params == params:
            return str(running.id)
        _check_idle(tx, row)
        return _queue(site, caller, tx, drain_device.FLOW.name, params, row.id)


def remove(site: Site, caller: Caller, name: str, device: str) -> Row:
    """Take a drained device out. A repeat finds it gone."""
    row, disk = _pool_and_disk(site, name, device)
    section = row.backend.partition("@")[2]
    if disk.backend is not None:
        _check_member(row, disk)
        with site.db.begin() as tx:
            _check_idle(tx, row)
            params = remove_device.params(
                host=row.host, backend=section, device=disk.device.path, serial=disk.device.serial
            )
            flow = _queue(site, caller, tx, remove_device.FLOW.name, params, row.id)
        outcome(site, flow)
    return measured(site, row.host, section)


def begin_destroy(site: Site, caller: Caller, tx: Tx, row: Row) -> str:
    """Queue what takes apart the storage of a pool that is deleted in this transaction; the flow."""
    kept = {name: getattr(row, name) for name in ("driver", "volume_backend_name", "availability_zone")}
    params = destroy_pool.params(
        host=row.host,
        host_id=row.host_id,
        backend=row.backend.partition("@")[2],
        row={**kept, "options": dict(row.options)},
        pool=row.name,
        capabilities=row.capabilities,
    )
    return _queue(site, caller, tx, destroy_pool.FLOW.name, params, row.id)


def _pool_and_disk(site: Site, name: str, device: str) -> tuple[Row, verbs.Disk]:
    new_pools.check_device(device, "device")
    with site.db.read() as tx:
        row = hosts.require_pool(tx, name)
    if row.options is None:
        raise errors.Conflict(f"Pool {row.name} is in the configuration of host {row.host}: change its section there.")
    if not (row.place or {}).get("devices"):
        raise errors.Invalid(f"Pool {row.name} is not made of devices: it has none to add or remove.", field="device")
    [disk] = _look(site.world.nodes[row.host], [device], "device")
    return row, disk


def _check_member(row: Row, disk: verbs.Disk) -> None:
    if disk.backend != row.backend.partition("@")[2]:
        whose = f"; it belongs to backend {disk.backend}" if disk.backend else ""
        raise errors.Invalid(
            f"{disk.device.path} is no device of pool {row.name}{whose}; its devices: "
            f"{', '.join((row.place or {}).get('devices', ()))}.",
            field="device",
        )


def _look(node: verbs.Node, paths: Sequence[str], field: str) -> list[verbs.Disk]:
    """What devices are that a request names; one that is not there makes the request wrong."""
    if not paths:
        return []
    try:
        return node.devices(paths)
    except (errors.NotFound, errors.Invalid) as error:
        raise errors.Invalid(error.message, field=field) from error


# flows -----------------------------------------------------------------------------------------------------------


def busy(tx: Tx, host: str, backend: str) -> Row | None:
    """The flow that makes, changes or destroys a backend now."""
    for row in flows.open_named(tx, FLOWS):
        if (row.params["host"], row.params["backend"]) == (host, backend):
            return row
    return None


def _check_idle(tx: Tx, row: Row) -> None:
    running = busy(tx, row.host, row.backend.partition("@")[2])
    if running is not None:
        raise _is_busy(running)


def _is_busy(running: Row) -> errors.Conflict:
    where = f"{running.params['host']}@{running.params['backend']}"
    return errors.Conflict(
        f"Pool {where} is being changed ({running.name}): wait for flow {running.id}, then repeat the request."
    )


def _queue(site: Site, caller: Caller, tx: Tx, name: str, params: dict[str, Any], pool_id: str) -> str:
    return work.queue(site, caller, tx, name, params, resource_id=pool_id, project_id=caller.project_id)


def outcome(site: Site, flow_id: str) -> None:
    """Wait for a flow; its error, in its own words, if it failed."""
    status = site.waker.wait(flow_id, WAIT_S)
    if status == "done":
        return
    if status is None:
        raise errors.Unavailable(f"It takes longer than {WAIT_S} s and goes on: watch flow {flow_id}.")
    with site.db.read() as tx:
        failed = [entry.data or {} for entry in flows.log(tx, flow_id) if entry.event == "failed"]
    told = failed[-1] if failed else {}
    message = str(told.get("message") or f"Flow {flow_id} failed.")
    kind = {"DeviceInUse": errors.DeviceInUse, "Invalid": errors.Invalid, "Unavailable": errors.Unavailable}
    raise kind.get(str(told.get("type")), errors.Conflict)(message)


def measured(site: Site, host: str, backend: str) -> Row:
    """The pool, with its room as its host sees it now; the next report would say the same."""
    with site.db.read() as tx:
        row = hosts.find_backend(tx, f"{host}@{backend}")
    if row is None:
        raise errors.NotFound(f"Pool {host}@{backend} was deleted meanwhile.")
    with contextlib.suppress(errors.BrickError):  # it is down, and its row says why
        report = site.world.nodes[host].add_backend(backend, row.options)
        with site.db.begin() as tx:
            reports.record_backend(tx, host, row.host_id, report)
    with site.db.read() as tx:
        pool = hosts.require_pool(tx, f"{host}@{backend}")
    site.world.places.refresh()
    return pool
