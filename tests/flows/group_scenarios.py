"""Scenarios of groups: what a group waits for are the flows of its members, and the last of them ends it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from tests.flows.scenarios import ME, Scenario, new_volume, read, volume, write

from brickyard.db import group_types, schema, types
from brickyard.service import group_snapshots, groups
from brickyard.service.site import Site

Facts = dict[str, Any]


def with_group(site: Site) -> Facts:
    """A group with one volume."""
    kind, type_ = str(uuid.uuid4()), str(uuid.uuid4())
    with site.db.begin() as tx:
        group_types.insert(tx, id=kind, name="plain", is_public=True, group_specs={})
        types.insert(tx, id=type_, name="any", is_public=True, extra_specs={})
    group = groups.create(site, ME, groups.NewGroup("plain", ["any"])).id
    id = new_volume(site, group_id=group, volume_type="any")
    write(site, id, b"first")
    return {"group": group, "volume": id}


def with_kept(site: Site) -> Facts:
    facts = with_group(site)
    keep(site, facts)
    site.waker.run_all()
    assert status_of(site, schema.group_snapshots, facts["kept"]) == "available"
    return facts


def status_of(site: Site, table: sa.Table, id: str) -> str | None:
    with site.db.read() as tx:
        return tx.scalar(sa.select(table.c.status).where(table.c.id == id))


def status(table: sa.Table, fact: str, wanted: str | None) -> Callable[[Site, Facts], None]:
    def check(site: Site, facts: Facts) -> None:
        assert status_of(site, table, facts[fact]) == wanted

    return check


def copy(site: Site, facts: Facts) -> None:
    facts["new"] = groups.create_from_group(site, ME, facts["group"], name=None, description=None).id


def copied(site: Site, facts: Facts) -> None:
    status(schema.groups, "new", "available")(site, facts)
    with site.db.read() as tx:
        id = tx.scalar(sa.select(schema.volumes.c.id).where(schema.volumes.c.group_id == facts["new"]))
    assert volume(site, str(id)).host == volume(site, facts["volume"]).host
    assert read(site, str(id), 5) == b"first"


def delete(site: Site, facts: Facts) -> None:
    groups.delete(site, ME, facts["group"], with_volumes=True)


def not_deleted(site: Site, facts: Facts) -> None:
    """It says so, and deleting it again goes on where it stopped."""
    status(schema.groups, "group", "error_deleting")(site, facts)
    delete(site, facts)
    site.waker.run_all()
    status(schema.groups, "group", None)(site, facts)


def keep(site: Site, facts: Facts) -> None:
    facts["kept"] = group_snapshots.create(site, ME, facts["group"], name=None, description=None).id


def forget(site: Site, facts: Facts) -> None:
    group_snapshots.delete(site, ME, facts["kept"])


def not_forgotten(site: Site, facts: Facts) -> None:
    status(schema.group_snapshots, "kept", "error_deleting")(site, facts)
    forget(site, facts)
    site.waker.run_all()
    status(schema.group_snapshots, "kept", None)(site, facts)


SCENARIOS = (
    Scenario("create_volume", with_group, copy, copied, status(schema.groups, "new", "error")),
    Scenario("delete_volume", with_group, delete, status(schema.groups, "group", None), not_deleted),
    Scenario(
        "create_snapshot",
        with_group,
        keep,
        status(schema.group_snapshots, "kept", "available"),
        status(schema.group_snapshots, "kept", "error"),
    ),
    Scenario("delete_snapshot", with_kept, forget, status(schema.group_snapshots, "kept", None), not_forgotten),
)
