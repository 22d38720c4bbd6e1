"""Quotas: limits are stored, usage is counted from the rows, under the project's row lock. There is nothing to drift.

`in_use` and `reserved` of the wire are the same count split by status: what is still being created is reserved.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import sqlalchemy as sa

from brickyard.core import errors, states
from brickyard.db import columns, database, schema, types
from brickyard.db.database import Tx

projects, quotas, quota_classes = schema.projects, schema.quotas, schema.quota_classes
volumes, snapshots, instances, groups = schema.volumes, schema.snapshots, schema.instances, schema.groups
backups = schema.backups
DEFAULT_CLASS = "default"


ALWAYS = sa.true()


def _used(noun: str, table: sa.Table, is_new: sa.ColumnElement[bool], gib: sa.ColumnElement[int]) -> sa.Select[Any]:
    """What a project uses of one kind of row: noun, type, whether it is still to come, number, GiB."""
    kinds = schema.volume_types
    there = table.c.project_id == sa.bindparam("project")
    if "lost_at" in table.c and "pool_id" in table.c:  # of what was declared lost with its data only a row is left
        there = sa.and_(there, sa.or_(table.c.lost_at.is_(None), table.c.pool_id.is_not(None)))
    typed = "volume_type_id" in table.c
    name = kinds.c.name if typed else sa.cast(sa.null(), columns.NAME)
    return (
        sa.select(sa.literal(noun).label("noun"), name.label("type"), is_new.label("is_new"), sa.func.count(), gib)
        .select_from(table.outerjoin(kinds, kinds.c.id == table.c.volume_type_id) if typed else table)
        .where(there)
        # not by what is the same for all rows: PostgreSQL refuses to group by a constant
        .group_by(*([name] if typed else []), *([is_new] if is_new is not ALWAYS else []))
    )


# Built once and asked in one statement: every create counts, and each statement costs more than what it reads.
USED = sa.union_all(
    _used("volumes", volumes, volumes.c.status == states.V.CREATING, sa.func.sum(volumes.c.size_gib)),
    _used("snapshots", snapshots, snapshots.c.status == states.S.CREATING, sa.func.sum(snapshots.c.size_gib)),
    _used("backups", backups, backups.c.status == states.B.CREATING, sa.func.sum(backups.c.size_gib)),
    _used("groups", groups, groups.c.status == states.G.CREATING, sa.literal(0)),
    _used("growing", volumes, ALWAYS, sa.func.sum(volumes.c.target_gib - volumes.c.size_gib)),
    _used("roots", instances, instances.c.status == states.I.BUILDING, sa.func.sum(instances.c.root_gib)),
)
COUNTED = ("volumes", "snapshots", "backups", "groups")  # the rest only has a size
BUMP = sa.update(projects).where(projects.c.id == sa.bindparam("project")).values(generation=projects.c.generation + 1)
OWN = sa.select(quotas.c.resource, quotas.c.hard_limit).where(quotas.c.project_id == sa.bindparam("project"))
OF_CLASS = sa.select(quota_classes.c.resource, quota_classes.c.hard_limit).where(
    quota_classes.c.class_name == sa.bindparam("class_name")
)
TYPES = sa.select(schema.volume_types.c.name).order_by(schema.volume_types.c.created_at)


def lock(tx: Tx, project_id: str) -> None:
    """Hold the project's row until the transaction ends: whoever counts and inserts in it is alone."""
    if not project_id:
        raise errors.Invalid("This makes something that belongs to a project: log in to one, and not to the system.")
    if tx.execute(BUMP, {"project": project_id}).rowcount == 0:
        database.insert_or_leave(tx, projects, id=project_id, generation=0)
        tx.execute(BUMP, {"project": project_id})


def usage(tx: Tx, project_id: str) -> tuple[Counter[str], Counter[str]]:
    """(in use, reserved) of a project by resource: volumes, gigabytes, snapshots, and each of them per type; groups.

    Volumes, snapshots and the root disks of instances count in gigabytes, in GiB, once.
    """
    in_use: Counter[str] = Counter()
    reserved: Counter[str] = Counter()
    for noun, name, new, number, gib in tx.execute(USED, {"project": project_id}):
        amounts = {noun: number} if noun in COUNTED else {}
        size = "backup_gigabytes" if noun == "backups" else "gigabytes"
        _add(reserved if new else in_use, {**amounts, size: int(gib or 0)}, name)
    return in_use, reserved


def _add(side: Counter[str], amounts: dict[str, int], type_name: str | None) -> None:
    for resource, amount in amounts.items():
        side[resource] += amount
        if type_name is not None:
            side[f"{resource}_{type_name}"] += amount


def limits(tx: Tx, project_id: str, defaults: dict[str, int]) -> dict[str, int]:
    """Every limit that holds for the project: its own, the default class's, or the default. -1: none."""
    return {**defaults, **_types(tx), **class_limits(tx, DEFAULT_CLASS), **own_limits(tx, project_id)}


def default_limits(tx: Tx, defaults: dict[str, int], class_name: str = DEFAULT_CLASS) -> dict[str, int]:
    return {**defaults, **_types(tx), **class_limits(tx, class_name)}


def own_limits(tx: Tx, project_id: str) -> dict[str, int]:
    return dict(tx.execute(OWN, {"project": project_id}).all())


def class_limits(tx: Tx, class_name: str) -> dict[str, int]:
    return dict(tx.execute(OF_CLASS, {"class_name": class_name}).all())


def type_names(tx: Tx, visible_to: str | None = None) -> list[str]:
    """Names of the types that a project sees; None: of all."""
    return list(tx.scalars(TYPES.where(types.visible(visible_to))))


def _types(tx: Tx) -> dict[str, int]:
    return {f"{resource}_{name}": -1 for name in type_names(tx) for resource in ("volumes", "gigabytes", "snapshots")}


def set_limits(tx: Tx, project_id: str, values: dict[str, int]) -> None:
    _replace(tx, quotas, {"project_id": project_id}, values)


def set_class_limits(tx: Tx, class_name: str, values: dict[str, int]) -> None:
    _replace(tx, quota_classes, {"class_name": class_name}, values)


def _replace(tx: Tx, table: sa.Table, owner: dict[str, Any], values: dict[str, int]) -> None:
    for resource, limit in values.items():
        where = [table.c[k] == v for k, v in owner.items()] + [table.c.resource == resource]
        if tx.execute(sa.update(table).where(*where).values(hard_limit=limit)).rowcount == 0:
            tx.execute(sa.insert(table).values(resource=resource, hard_limit=limit, **owner))


def forget_limits(tx: Tx, project_id: str) -> None:
    """Back to the defaults."""
    tx.execute(sa.delete(quotas).where(quotas.c.project_id == project_id))


def rename_type(tx: Tx, old: str, new: str) -> None:
    """The limits of a type carry its name, and follow when it is renamed."""
    for table in (quotas, quota_classes):
        for resource in ("volumes", "gigabytes", "snapshots"):
            where = table.c.resource == f"{resource}_{old}"
            tx.execute(sa.update(table).where(where).values(resource=f"{resource}_{new}"))


def forget_type(tx: Tx, name: str) -> None:
    """The limits of a type that is gone, so that a later one of the same name begins without them."""
    for table in (quotas, quota_classes):
        of_type = [f"{resource}_{name}" for resource in ("volumes", "gigabytes", "snapshots")]
        tx.execute(sa.delete(table).where(table.c.resource.in_(of_type)))
