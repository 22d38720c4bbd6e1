"""Three hosts that may fall silent, and what lies on them."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from brickyard.core import errors
from brickyard.db import flows, schema
from brickyard.service.site import Site

HOSTS = ("h1", "h2", "h3")


def bricks(site: Site) -> dict[str, int]:
    return {host: len(site.world.nodes[host].bricks("raw")) for host in HOSTS}


def silence(site: Site, *hosts: str) -> None:
    """They do what they are asked, and nobody hears of it."""
    for host in hosts:
        node: Any = site.world.nodes[host]
        for verb in ("create_brick", "find_brick", "wipe_brick", "delete_brick"):

            def silent(*args: Any, verb: str = verb, node: Any = node, **named: Any) -> None:
                if verb == "create_brick":
                    type(node).create_brick(node, *args, **named)
                raise errors.Unreachable("it does not answer")

            setattr(node, verb, silent)


def hear(site: Site, *hosts: str) -> None:
    for host in hosts:
        node: Any = site.world.nodes[host]
        for verb in ("create_brick", "find_brick", "wipe_brick", "delete_brick"):
            delattr(node, verb)


def open_flows(site: Site) -> list[tuple[str, str]]:
    with site.db.read() as tx:
        return [(row.id, row.name) for row in tx.execute(sa.select(schema.flows)) if row.status in flows.OPEN]


def go_on(site: Site) -> None:
    """Run what waits."""
    for id, _ in open_flows(site):
        site.waker.run(id)


def claimed(site: Site) -> dict[str, int]:
    with site.db.read() as tx:
        rows = tx.execute(sa.select(schema.pools.c.name, schema.pools.c.claimed_gib)).all()
    return {row.name.partition("@")[0]: row.claimed_gib for row in rows}
