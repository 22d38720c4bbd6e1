"""Hosts: looked at, labelled and taken out of placement by administrators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brickyard.core import errors, topology
from brickyard.db import hosts
from brickyard.db.database import Row, Tx
from brickyard.nodes import verbs
from brickyard.service.site import Site


def require(tx: Tx, name_or_id: str) -> Row:
    """The host; NotFound names those there are, since they are few and a name is easily mistyped."""
    row = hosts.find_host(tx, name_or_id)
    if row is None:
        known = ", ".join(other.name for other in hosts.list_hosts(tx)[:20])
        raise errors.NotFound(f"Host {name_or_id} could not be found; there are: {known or 'none'}.")
    return row


def list_(site: Site) -> list[Row]:
    with site.db.read() as tx:
        return hosts.list_hosts(tx)


def devices(site: Site, name_or_id: str) -> tuple[str, list[verbs.Disk]]:
    """The name of the host, and its disks as they are now."""
    with site.db.read() as tx:
        row = require(tx, name_or_id)
    return str(row.name), site.world.nodes[row.name].devices()


def up(row: Row, oldest: str) -> bool:
    """Whether it has reported since `oldest`, a time."""
    return bool((row.heartbeat_at or "") >= oldest)


def update(
    site: Site,
    name_or_id: str,
    *,
    labels: Mapping[str, str | None] | None = None,
    enabled: bool | None = None,
    disabled_reason: str | None = None,
) -> Row:
    """Change labels, key by key (None removes one), and whether new work may go there. What runs there stays."""
    if labels and topology.HOST in labels:
        raise errors.Invalid("The label 'host' is the name of the host and cannot be set.", field="labels")
    with site.db.begin() as tx:
        row = require(tx, name_or_id)
        values: dict[str, Any] = {}
        if labels is not None:
            merged = {**row.labels, **labels}
            values["labels"] = {key: value for key, value in merged.items() if value is not None}
        if enabled is not None:
            values |= {"enabled": enabled, "disabled_reason": None if enabled else disabled_reason}
        elif disabled_reason is not None:
            if row.enabled:
                raise errors.Invalid("A reason is for a disabled host: send enabled too.", field="disabled_reason")
            values["disabled_reason"] = disabled_reason
        if values:
            hosts.update_host(tx, row.id, **values)
        changed = require(tx, row.id)
    site.world.places.refresh()
    return changed
