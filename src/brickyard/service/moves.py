"""Moving a volume to another pool, and giving it another type, which may need that.

One that nobody uses is copied by the host it goes to, which reads it there or from an export of the other host. One
that a running instance of ours has is copied by its guest, to its own host or to another one that exports.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brickyard.core import errors, pools
from brickyard.core import quotas as quota_rules
from brickyard.core.placement import PoolView
from brickyard.core.states import V
from brickyard.db import attachments, claims, hosts, store, types, volumes
from brickyard.db.database import Row, Tx
from brickyard.flows import moving
from brickyard.service import abilities, manageable, quotas, scheduler_stats, work
from brickyard.service import attachments as attachment_service
from brickyard.service import types as type_service
from brickyard.service import volumes as volume_service
from brickyard.service.site import Caller, Site


def migrate(site: Site, caller: Caller, id: str, host: str) -> None:
    """Begin to move an available volume to the pool or backend `host`; it is in maintenance until that is over."""
    views = {view.id: view for view in site.world.places.pools()}
    with site.db.begin() as tx:
        row = _held(site, tx, caller, id, "volume_extension:volume_admin_actions:migrate_volume")
        target = manageable.usable_pool(site, tx, host)
        if target.id == row.pool_id:
            raise errors.Invalid(f"Volume {id} lies on {target.name} already.", field="host")
        use = moving.use_of(tx, row)
        if use is not None:
            _check_reach(tx, row, use, target.host)
        elif target.host != pools.parse(row.host).host:
            moving.check_exports(tx, pools.parse(row.host).host, f"which has volume {id}")
            if target.driver not in moving.MOVABLE:
                raise errors.Invalid(
                    f"Pool {target.name} takes no volume of another host that no instance has; of these backends one "
                    f"does: {', '.join(moving.MOVABLE)}.",
                    field="host",
                )
        else:
            abilities.require(tx, target.id, "imports", field="host")
        if not scheduler_stats.serves(views[target.id], row.extra_specs or {}):
            raise errors.Invalid(f"Pool {target.name} does not serve type {row.volume_type}.", field="host")
        if group := _common_group(hosts.find_pool(tx, row.pool_id), target):
            raise errors.Invalid(
                f"Pools {row.host} and {target.name} are in one volume group, {group}, which has each name once: move "
                f"volume {id} to another one.",
                field="host",
            )
        if target.id in claims.pools_of(tx, id):
            raise errors.InvalidState(f"An older copy of volume {id} is still being removed from {target.name}.")
        _begin(site, caller, tx, row, use, "migrate", {"pinned": [target.name]})


def retype(site: Site, caller: Caller, id: str, new_type: str, policy: str) -> None:
    """Give a volume another type: at once where its pool serves that, and otherwise with a move, if `policy` is
    on-demand."""
    views = site.world.places.pools()
    with site.db.begin() as tx:
        row = _held(site, tx, caller, id, "volume:retype")
        type_ = types.find(tx, new_type, caller.sees)
        if type_ is None:
            raise errors.NotFound(f"Volume type {new_type} could not be found.")
        if row.status not in (V.AVAILABLE, V.IN_USE):
            raise errors.InvalidState(f"Volume {id} must be available or in-use, but is {row.status}.", field="status")
        _check_type(site, caller, tx, row, type_)
        deltas = quota_rules.volume_deltas(row.size_gib, type_name=type_.name)
        own = {name: delta for name, delta in deltas.items() if name not in ("volumes", "gigabytes")}
        quotas.take(site, tx, row.project_id, own)
        specs = dict(type_.extra_specs)
        change = {"volume_type_id": type_.id, "multiattach": volume_service.is_multiattach(specs)}
        if any(view.id == row.pool_id and scheduler_stats.serves(view, specs) for view in views):
            store.begin(tx, "volume", id, "retype")
            store.end(tx, "volume", id, "retype", ok=True, **change)
            return
        if policy != "on-demand":
            raise errors.Invalid(
                f"Pool {row.host} does not serve type {type_.name}: with migration_policy on-demand the volume is "
                "moved.",
                field="migration_policy",
            )
        use = moving.use_of(tx, row)
        if use is not None:
            _check_reach(tx, row, use, pools.parse(row.host).host)
        names = _targets(tx, row, views, specs)
        if not names:
            raise errors.Invalid(
                f"No other backend of host {pools.parse(row.host).host} serves type {type_.name}.", field="new_type"
            )
        needs = ["imports"] if use is None else []
        _begin(site, caller, tx, row, use, "retype", {"pinned": names, "extra_specs": specs, "needs": needs}, change)


def complete(site: Site, caller: Caller, id: str, new_id: str) -> None:
    """What a compute service says when it has moved a volume itself. No move here waits for one, so there is none to
    complete."""
    rule = "volume_extension:volume_admin_actions:migrate_volume_completion"
    with site.db.read() as tx:
        row, new = volume_service.require(tx, caller, id), volume_service.require(tx, caller, new_id)
    site.policy.check(rule, caller, row.project_id)
    raise errors.InvalidState(
        f"Volume {id} is not being moved to volume {new.id}: a move ends by itself here, see its migration_status "
        f"({row.migration_status}).",
        field="migration_status",
    )


def _held(site: Site, tx: Tx, caller: Caller, id: str, rule: str) -> Row:
    moving.hold(tx, id)
    row = volume_service.require(tx, caller, id)
    site.policy.check(rule, caller, row.project_id)
    moving.check_place(row)
    return row


def _check_reach(tx: Tx, row: Row, use: moving.Use, name: str) -> None:
    """Invalid unless the instance can have the volume on host `name`, and the one where it is until then."""
    here = pools.parse(row.host).host
    if here == name != use.host:
        raise errors.Invalid(
            f"Instance {use.instance_id}, which has the volume, is on host {use.host}, and cannot have it from two "
            f"backends of host {name} at once: move it to another host first, or detach it.",
            field="host",
        )
    if row.readonly and {here, name} != {use.host}:
        raise errors.Invalid(
            f"Volume {row.id} is read-only: while an instance has it, it moves on the host of that only.", field="host"
        )
    if name != use.host:
        moving.check_exports(tx, name, f"and instance {use.instance_id}, which has the volume, is on host {use.host}")


def check_still(tx: Tx, instance_id: str) -> None:
    """InvalidState while a volume of an instance is being moved, which its guest does. After `store.begin` of what is
    to be done to the instance, so that no move begins in between."""
    for attachment in attachments.of_instance(tx, instance_id):
        volume = volumes.find(tx, attachment.volume_id)
        if volume is not None:
            attachment_service.check_still(volume)


def _check_type(site: Site, caller: Caller, tx: Tx, row: Row, type_: Row) -> None:
    if type_.id == row.volume_type_id:
        raise errors.Invalid(f"Volume {row.id} has type {type_.name} already.", field="new_type")
    type_service.check_encryption(tx, type_)
    volume_service.check_type(type_, row.size_gib)
    multiattach = volume_service.is_multiattach(type_.extra_specs)
    if multiattach:
        site.policy.check("volume:multiattach", caller, row.project_id)
    if multiattach != bool(row.multiattach) and row.status != V.AVAILABLE:
        raise errors.InvalidState(
            f"Volume {row.id} must be available to change whether several may attach it.", field="status"
        )
    old = types.find(tx, row.volume_type_id) if row.volume_type_id else None
    if row.status == V.IN_USE and type_.qos_specs_id != (old.qos_specs_id if old else None):
        raise errors.InvalidState(f"Volume {row.id} is in use: its QoS specs stay what they are.", field="new_type")


def _targets(tx: Tx, row: Row, views: Sequence[PoolView], specs: dict[str, Any]) -> list[str]:
    """The pools of the volume's host that serve a type and have nothing of the volume."""
    here, taken = pools.parse(row.host).host, set(claims.pools_of(tx, row.id))
    pool = hosts.find_pool(tx, row.pool_id)
    return [
        view.name
        for view in views
        if view.host == here
        and view.id not in taken
        and view.up
        and scheduler_stats.serves(view, specs)
        and not _common_group(pool, hosts.find_pool(tx, view.id))
    ]


def _common_group(one: Row | None, other: Row | None) -> str:
    """The volume group that two pools of a host are both in, or nothing."""
    if one is None or other is None or one.host != other.host:
        return ""
    first, second = (str((pool.place or {}).get("volume_group") or "") for pool in (one, other))
    return first if first == second else ""


def _begin(
    site: Site,
    caller: Caller,
    tx: Tx,
    row: Row,
    use: moving.Use | None,
    action: str,
    ask: dict[str, Any],
    change: dict[str, Any] | None = None,
) -> None:
    name, params = moving.begin(tx, row, use, action, ask, change=change)
    work.queue(site, caller, tx, name, params, resource_id=row.id, project_id=row.project_id)
