"""Whether the service works, part by part: the database, the conductor and its queue, the hosts and their backends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from brickyard.core import clock
from brickyard.db import figures, hosts
from brickyard.db.database import Row
from brickyard.service import hosts as host_rules
from brickyard.service import services
from brickyard.service.site import Site

WAITS_S = 30.0  # a flow that waits for longer tells of too much work, or of a conductor that is gone


@dataclass(frozen=True, slots=True)
class Check:
    """One part. `needed`: without it nothing works; a host that is down concerns only what is there."""

    name: str
    ok: bool
    what: str
    needed: bool = False


def needed(site: Site) -> list[Check]:
    """What nothing works without. Errors of the database are raised."""
    with site.db.read() as tx:
        tx.exec_driver_sql("SELECT 1")
    dead = site.waker.dead()
    if not site.waker.here:
        what = f"not running: {', '.join(dead)}; restart this process" if dead else "runs"
        return [
            Check("database", True, f"{site.db.dialect} answers", needed=True),
            Check("api", not dead, what, needed=True),
        ]
    what = f"not running: {', '.join(dead)}; restart the service" if dead else "runs"
    return [
        Check("database", True, f"{site.db.dialect} answers", needed=True),
        Check("conductor", not dead, what, needed=True),
    ]


def all_(site: Site) -> list[Check]:
    """Every part as it is now."""
    found = needed(site)
    with site.db.read() as tx:
        queue = figures.queue(tx)
        known, backends = hosts.list_hosts(tx), hosts.list_backends(tx)
        others = services.processes_up(site, tx)
    oldest = clock.stamp(-site.settings.service_down_time_s)
    return [
        *found,
        *([] if site.waker.here else _conductors(others)),
        _queue(queue),
        *(Check(f"host {row.name}", host_rules.up(row, oldest), _seen(row)) for row in known),
        *(Check(f"backend {row.name}", bool(row.up), row.why_down or "up") for row in backends),
    ]


def _seen(row: Row) -> str:
    return f"declared lost at {row.lost_at}" if row.lost_at else f"last report {row.heartbeat_at or 'never'}"


def _conductors(others: Mapping[tuple[str, str], bool]) -> list[Check]:
    """Of those elsewhere one is enough, and without any, requests are taken and wait."""
    found = {host: up for (binary, host), up in others.items() if binary == services.SCHEDULER}
    one = any(found.values())
    what = "one runs at least" if one else "none runs: requests are taken and wait; start `brickyard conductor`"
    each = [Check(f"conductor {host}", up, "runs" if up else "silent") for host, up in found.items()]
    return [Check("conductors", one, what), *each]


def _queue(queue: figures.Queue) -> Check:
    late = queue.since is not None and queue.since < clock.stamp(-WAITS_S)
    since = f", the oldest since {queue.since}" if queue.since else ""
    return Check("queue", not late, f"{queue.waiting} flows wait for a conductor{since}")
