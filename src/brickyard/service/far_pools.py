"""Guests that write to an almost full pool of another host: that host holds those of its own, and cannot reach these.

Theirs is told by whoever records what both hosts report. It happens again at each look at the guests of a host, so one
that was missed, or told what is no longer so, is put right by the next. While nobody records anything a write that
finds no room holds the guest.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from brickyard.core import errors
from brickyard.db import fullness
from brickyard.db.database import Database
from brickyard.hypervisor.machine import FAR, Running
from brickyard.nodes import verbs
from brickyard.service import instances

LOG = logging.getLogger(__name__)


def look(db: Database, node: verbs.Node, host: str) -> None:
    """What became of the guests of a host, and whether they may go on."""
    seen: list[Running] = []

    def guests() -> Sequence[Running]:
        seen[:] = node.guests()
        return seen

    instances.observe(db, host, guests)
    settle(db, node, host, seen)


def settle(db: Database, node: verbs.Node, host: str, guests: Sequence[Running]) -> None:
    """Have the host hold those of its guests that write to a full pool elsewhere, and no others for that reason."""
    running = {guest.id: guest for guest in guests if guest.status != "stopped"}
    if not running:
        return
    with db.read() as tx:
        full = fullness.far_from(tx, host)
    wanted = {id: sorted(pools) for id, pools in full.items() if id in running}
    held = {id: sorted(_pools(guest)) for id, guest in running.items() if _pools(guest)}
    slipped = any(running[id].status == "running" for id in wanted)  # its host died between the two
    if wanted == held and not slipped:
        return
    try:
        node.hold_far(wanted)
    except errors.BrickyardError as error:
        LOG.warning("guests of %s that write to full pools of others are not held or let go: %s", host, error)


def _pools(guest: Running) -> set[str]:
    return {reason.removeprefix(FAR) for reason in guest.held if reason.startswith(FAR)}
