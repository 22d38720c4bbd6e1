"""Flows and their logs: the queue of work, kept with the rows that it speaks of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from brickyard.core import clock, spans
from brickyard.db import schema
from brickyard.db.database import Row, Tx

flows, flow_log = schema.flows, schema.flow_log
OPEN = ("running", "unwinding")

# Statements that each flow runs several times are built once: to build one takes longer than to run it.
_THIS = flows.c.id == sa.bindparam("this")
_FREE = sa.or_(flows.c.owner.is_(None), flows.c.lease_until < sa.bindparam("now"))
FIND = sa.select(flows).where(_THIS)
INSERT = sa.insert(flows)
CLAIM = sa.update(flows).where(_THIS, flows.c.status.in_(OPEN), _FREE).values(epoch=flows.c.epoch + 1)
HOLD = sa.update(flows).where(
    _THIS, flows.c.owner == sa.bindparam("holder"), flows.c.epoch == sa.bindparam("held_epoch")
)
LOG = sa.select(flow_log).where(flow_log.c.flow_id == sa.bindparam("this")).order_by(flow_log.c.seq)
APPEND = sa.insert(flow_log)


def insert(
    tx: Tx,
    *,
    id: str,
    name: str,
    params: dict[str, Any],
    project_id: str,
    resource_id: str,
    request_id: str | None,
    in_s: float = 0,
) -> None:
    """Queue a flow; it runs once the transaction is committed, and `in_s` seconds have passed. With its parameters is
    kept in which span it was asked for, if in one: `asked` tells them apart."""
    now = clock.stamp()
    row = {
        "id": id,
        "name": name,
        "params": {**params, **spans.carried()},
        "status": "running",
        "project_id": project_id,
        "resource_id": resource_id,
        "request_id": request_id,
        "not_before": clock.stamp(in_s),
        "created_at": now,
    }
    tx.execute(INSERT, row)


def asked(row: Row) -> tuple[dict[str, Any], str | None]:
    """The parameters of a flow, and the traceparent of the span in which it was queued."""
    params = dict(row.params)
    return params, params.pop(spans.TRACEPARENT, None)


def withdraw(tx: Tx, id: str) -> bool:
    """Remove a flow that nobody has begun; False when somebody has."""
    new = sa.and_(flows.c.id == id, flows.c.epoch == 0)
    return tx.execute(sa.delete(flows).where(new)).rowcount == 1


def claim(tx: Tx, id: str, owner: str, lease_s: float) -> Row | None:
    """Take a flow that nobody holds, or whose holder went silent; None when somebody else has it or it is over.

    Each claim has an epoch of its own, which is larger than those before it."""
    now = clock.stamp()
    values = {"owner": owner, "lease_until": clock.stamp(lease_s), "updated_at": now, "progress": None}
    taken = tx.execute(CLAIM, {"this": id, "now": now, **values})
    return find(tx, id) if taken.rowcount == 1 else None


def ready(tx: Tx, limit: int) -> list[str]:
    """Ids of flows that wait for a conductor, the longest-waiting first."""
    now = clock.stamp()
    free = sa.or_(flows.c.owner.is_(None), flows.c.lease_until < now)
    return list(
        tx.scalars(
            sa.select(flows.c.id)
            .where(flows.c.status.in_(OPEN), flows.c.not_before <= now, free)
            .order_by(flows.c.not_before)
            .limit(limit)
        )
    )


def hold(tx: Tx, id: str, owner: str, epoch: int, /, **values: Any) -> bool:
    """Write to a flow as its owner since the claim of that epoch; False when it was claimed again: then stop, it is no
    longer ours. By the same owner, too: its lease had run out, and another of its threads has it now.

    `progress` is how far the step is that runs, `{step, what, done_bytes, total_bytes}`. It is nobody's truth, and
    whatever else is written ends it.
    """
    whose = {"this": id, "holder": owner, "held_epoch": epoch}
    return tx.execute(HOLD, {**whose, "updated_at": clock.stamp(), "progress": None, **values}).rowcount == 1


def is_claimed(tx: Tx, id: str, epoch: int) -> bool:
    """Whether the claim of that epoch is the latest one; nobody claims the flow before this transaction is over."""
    return tx.scalar(sa.select(flows.c.epoch).where(flows.c.id == id).with_for_update()) == epoch


def renew(tx: Tx, owner: str, ids: Sequence[str], lease_s: float) -> None:
    """Hold flows longer that are at work. Not what the owner holds without knowing: a claim whose answer was lost."""
    tx.execute(
        sa.update(flows)
        .where(flows.c.id.in_(ids), flows.c.owner == owner, flows.c.status.in_(OPEN))
        .values(lease_until=clock.stamp(lease_s))
    )


def abandon(tx: Tx) -> int:
    """Free every flow of its owner: for a start, when it is certain that no conductor lives."""
    return tx.execute(sa.update(flows).where(flows.c.status.in_(OPEN)).values(owner=None, lease_until=None)).rowcount


def append(tx: Tx, id: str, entries: Sequence[dict[str, Any]]) -> None:
    """Add log entries {seq, attempt, step, event, data}."""
    if entries:
        now = clock.stamp()
        tx.execute(APPEND, [{"flow_id": id, "at": now, **entry} for entry in entries])


def log(tx: Tx, id: str) -> list[Row]:
    return list(tx.execute(LOG, {"this": id}))


def find(tx: Tx, id: str) -> Row | None:
    return tx.execute(FIND, {"this": id}).one_or_none()


def of_resource(tx: Tx, resource_id: str) -> list[Row]:
    return list(tx.execute(sa.select(flows).where(flows.c.resource_id == resource_id).order_by(flows.c.created_at)))


def list_(tx: Tx, *, project_id: str | None = None, open_only: bool = False, limit: int = 1000) -> list[Row]:
    """The newest first; all projects' when `project_id` is None."""
    statement = sa.select(flows).order_by(flows.c.created_at.desc(), flows.c.id).limit(limit)
    if project_id is not None:
        statement = statement.where(flows.c.project_id == project_id)
    if open_only:
        statement = statement.where(flows.c.status.in_(OPEN))
    return list(tx.execute(statement))


def open_named(tx: Tx, names: Sequence[str]) -> list[Row]:
    """The flows of these names that are not over."""
    return list(tx.execute(sa.select(flows).where(flows.c.status.in_(OPEN), flows.c.name.in_(names))))


def named_since(tx: Tx, names: Sequence[str], since: str) -> list[Row]:
    """The flows of these names that were queued at a time or later, the oldest first."""
    recent = sa.select(flows).where(flows.c.created_at >= since, flows.c.name.in_(names))
    return list(tx.execute(recent.order_by(flows.c.created_at, flows.c.id)))


def change_params(tx: Tx, id: str, params: dict[str, Any]) -> bool:
    """Ask something else of a flow, which reads it when it is claimed next; False when it is over."""
    changed = sa.update(flows).where(flows.c.id == id, flows.c.status.in_(OPEN)).values(params=params)
    return tx.execute(changed).rowcount == 1


def forget(tx: Tx, before: str, limit: int = 1000) -> int:
    """Remove flows that finished before a time."""
    old = sa.select(flows.c.id).where(flows.c.finished_at < before).limit(limit)
    return tx.execute(sa.delete(flows).where(flows.c.id.in_(list(tx.scalars(old))))).rowcount
