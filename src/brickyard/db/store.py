"""The one place where a status changes: begin and end of an action, by compare-and-set.

`begin` moves a row into the status of its action or raises InvalidState; the flow or the statement that does the work
is written in the same transaction. `end` moves it on. Rows changed 0 means that somebody else was first.
"""

from __future__ import annotations

import functools
from typing import Any

import sqlalchemy as sa

from brickyard.core import clock, errors, states
from brickyard.db import flows as flow_rows
from brickyard.db import schema
from brickyard.db.database import Row, Tx

TABLES: dict[str, tuple[sa.Table, Any]] = {
    "volume": (schema.volumes, states.VOLUME),
    "snapshot": (schema.snapshots, states.SNAPSHOT),
    "attachment": (schema.attachments, states.ATTACHMENT),
    "instance": (schema.instances, states.INSTANCE),
    "backup": (schema.backups, states.BACKUP),
    "group": (schema.groups, states.GROUP),
    "group_snapshot": (schema.group_snapshots, states.GROUP_SNAPSHOT),
    "cached_image": (schema.cached_images, states.CACHED_IMAGE),
}

ATTACHMENT_STATUSES = sorted({*states.FROM_ATTACHMENT.values(), states.V.AVAILABLE})


class _Running:
    """What ends an action of one noun. Built once, as is what begins one: to build takes longer than to run."""

    def __init__(self, table: sa.Table) -> None:
        mine = sa.and_(table.c.id == sa.bindparam("this"), table.c.status == sa.bindparam("running"))
        self.remove = sa.delete(table).where(mine)
        self.change = sa.update(table).where(mine)
        self.before = sa.select(table.c.before).where(mine) if "before" in table.c else sa.select(sa.null())


_RUNNING = {noun: _Running(table) for noun, (table, _) in TABLES.items()}


@functools.cache
def _begin(noun: str, action: str) -> sa.Update:
    table, rows = TABLES[noun]
    start = sorted(status for status in rows[action].start if status)
    statement = sa.update(table).where(table.c.id == sa.bindparam("this"), table.c.status.in_(start))
    return statement.values(before=table.c.status) if "before" in table.c else statement


_SETTLE = sa.update(schema.volumes).where(
    schema.volumes.c.id == sa.bindparam("this"), schema.volumes.c.status.in_(ATTACHMENT_STATUSES)
)
_STATUSES = sa.select(schema.attachments.c.status).where(schema.attachments.c.volume_id == sa.bindparam("volume"))


def row(tx: Tx, noun: str, id: str) -> Row:
    """The row of a resource that is there."""
    table, _ = TABLES[noun]
    return tx.execute(sa.select(table).where(table.c.id == id)).one()


def note(tx: Tx, noun: str, id: str, fault: str) -> None:
    """Say what is wrong with a resource whose status tells it already."""
    table, _ = TABLES[noun]
    tx.execute(sa.update(table).where(table.c.id == id).values(fault=fault, updated_at=clock.stamp()))


def hold(tx: Tx, noun: str, id: str) -> None:
    """Lock a row until the transaction ends, so that what is read after this stays true until the commit.

    Where a database has one writer at a time (SQLite) it is locked already.
    """
    table, _ = TABLES[noun]
    if tx.dialect.name != "sqlite":
        tx.execute(sa.select(table.c.id).where(table.c.id == id).with_for_update())


def begin(
    tx: Tx,
    noun: str,
    id: str,
    action: str,
    *,
    where: sa.ColumnElement[bool] | None = None,
    why: str = "was changed by another request; repeat yours",
    **values: Any,
) -> None:
    """Start `action`: NotFound, or InvalidState with the statuses that would do, or the row is in `during` now.

    `where` adds a condition to the same statement; when only that one fails, LostRace is raised, with `why`.
    """
    table, rows = TABLES[noun]
    statement = _begin(noun, action)
    if where is not None:
        statement = statement.where(where)
    values |= {"this": id, "status": rows[action].during, "updated_at": clock.stamp()}
    if tx.execute(statement, values).rowcount == 1:
        return
    now = tx.scalar(sa.select(table.c.status).where(table.c.id == id))
    if now is None:
        raise errors.NotFound(f"{_called(noun)} {id} could not be found.")
    states.begin(rows, action, now)
    raise errors.LostRace(f"{_called(noun)} {id} {why}.")


def _called(noun: str) -> str:
    return noun.replace("_", " ").capitalize()


def end(tx: Tx, noun: str, id: str, action: str, *, ok: bool, **values: Any) -> bool:
    """Finish `action`; False when the row is not in its status any more (an administrator reset it, or it is gone)."""
    table, rows = TABLES[noun]
    action_row = rows[action]
    running = {"this": id, "running": action_row.during}
    target = action_row.done if ok else action_row.failed
    attached = attachment_statuses(tx, id) if target == states.COUNT else []
    if target == states.GONE:
        return tx.execute(_RUNNING[noun].remove, running).rowcount == 1
    before = None
    if "before" in table.c:
        before = tx.scalar(_RUNNING[noun].before, running) if target == states.BEFORE else None
        values["before"] = None
    status = states.end(action_row, ok=ok, before=before, attached=attached)
    values |= {**running, "status": status, "updated_at": clock.stamp()}
    return tx.execute(_RUNNING[noun].change, values).rowcount == 1


def settle(tx: Tx, volume_id: str) -> None:
    """Recompute a volume's status from its attachments, unless another action is running on it."""
    hold(tx, "volume", volume_id)
    status = states.from_attachments(attachment_statuses(tx, volume_id))
    tx.execute(_SETTLE, {"this": volume_id, "status": status, "before": None, "updated_at": clock.stamp()})


def force(tx: Tx, noun: str, id: str, status: str) -> None:
    """Take a resource out of a status in which nothing runs on it any more, so that another action may begin.

    InvalidState while a flow that is not over works on it: that flow ends by itself, done or failed. A backup that is
    made of it is one.
    """
    backups = schema.backups
    of_volume = sa.and_(backups.c.volume_id == id, backups.c.snapshot_id.is_(None))
    kept = sa.select(backups.c.id).where(sa.or_(of_volume, backups.c.snapshot_id == id))
    kept = kept.where(backups.c.status == states.B.CREATING)
    if is_worked_on(tx, id) or (noun != "backup" and tx.scalar(kept.limit(1)) is not None):
        raise errors.InvalidState(f"{_called(noun)} {id} is being worked on; wait until its flow has ended.")
    reset(tx, noun, id, status)


def is_worked_on(tx: Tx, id: str) -> bool:
    """Whether a flow of this resource is not over."""
    return tx.scalar(_open_flow(id)) is not None


def _open_flow(resource_id: str) -> sa.Select[tuple[str]]:
    flows = schema.flows
    return sa.select(flows.c.id).where(flows.c.resource_id == resource_id, flows.c.status.in_(flow_rows.OPEN))


def reset(tx: Tx, noun: str, id: str, status: str) -> bool:
    """Write a status by hand: what os-reset_status does for administrators."""
    table, _ = TABLES[noun]
    done = tx.execute(sa.update(table).where(table.c.id == id).values(status=status, updated_at=clock.stamp()))
    return done.rowcount == 1


def reservable() -> sa.ColumnElement[bool]:
    """A volume that one more consumer may reserve: available, or in use by others where it is multiattach."""
    volumes = schema.volumes
    shared = sa.and_(volumes.c.multiattach, volumes.c.status == states.V.IN_USE)
    return sa.or_(volumes.c.status == states.V.AVAILABLE, shared)


def drop_created(tx: Tx, id: str, noun: str = "volume") -> bool:
    """Remove a volume or snapshot that a flow had begun to create; False when it is not being created."""
    table, rows = TABLES[noun]
    creating = sa.and_(table.c.id == id, table.c.status == rows["create"].during)
    return tx.execute(sa.delete(table).where(creating)).rowcount == 1


def stopped(tx: Tx, instance_id: str, fault: str) -> bool:
    """An active instance whose guest ended by itself; False when it is not active, or another action has begun."""
    instances = schema.instances
    active = sa.and_(instances.c.id == instance_id, instances.c.status == states.I.ACTIVE)
    values = {"status": states.I.STOPPED, "fault": fault, "updated_at": clock.stamp()}
    return tx.execute(sa.update(instances).where(active).values(**values)).rowcount == 1


def lose(tx: Tx, noun: str, id: str, fault: str, **places: None) -> bool:
    """Its host was declared lost. With `places` (columns that become null) its data, too: in error, whatever it was;
    without, what was at rest is in error until `found`. False when it is neither, or nothing changes."""
    table, _ = TABLES[noun]
    this = table.c.id == id
    values: dict[str, Any] = {"status": "error", "fault": fault, "updated_at": clock.stamp(), **places}
    if places:
        values |= {"before": None, "lost_at": sa.func.coalesce(table.c.lost_at, clock.stamp())}
        there = sa.or_(*(table.c[name].is_not(None) for name in places))
        return tx.execute(sa.update(table).where(this, there).values(**values)).rowcount == 1
    at_rest = table.c.status.in_(sorted(states.LOSABLE[noun]))
    values |= {"before": table.c.status, "lost_at": clock.stamp()}
    return tx.execute(sa.update(table).where(this, at_rest, table.c.lost_at.is_(None)).values(**values)).rowcount == 1


def found(tx: Tx, noun: str, id: str) -> bool:
    """Its host is back with it: it is what it was. False when it was not lost; what was done to it since stays."""
    table, _ = TABLES[noun]
    lost = sa.and_(table.c.id == id, table.c.lost_at.is_not(None))
    row = tx.execute(sa.select(table.c.status, table.c.before).where(lost)).one_or_none()
    if row is None:
        return False
    values: dict[str, Any] = {"lost_at": None, "updated_at": clock.stamp()}
    if row.status == "error" and row.before is not None:
        values |= {"status": row.before, "before": None, "fault": None}
        if noun == "volume" and row.before in ATTACHMENT_STATUSES:
            values["status"] = states.from_attachments(attachment_statuses(tx, id))
    return tx.execute(sa.update(table).where(lost, table.c.status == row.status).values(**values)).rowcount == 1


def has_snapshots(tx: Tx, volume_id: str) -> bool:
    snapshots = schema.snapshots
    return tx.scalar(sa.select(snapshots.c.id).where(snapshots.c.volume_id == volume_id).limit(1)) is not None


def attachment_statuses(tx: Tx, volume_id: str) -> list[str]:
    return list(tx.scalars(_STATUSES, {"volume": volume_id}))
