"""Reservations: capacity that is held for a request, to look at, hold longer, or give back."""

from __future__ import annotations

from brickyard.core import errors
from brickyard.db import reservations
from brickyard.db.database import Row, Tx
from brickyard.service.site import Caller, Site


def require(tx: Tx, caller: Caller, id: str) -> Row:
    row = reservations.find(tx, id)
    if row is None or caller.sees not in (None, row.project_id):
        raise errors.NotFound(f"Reservation {id} could not be found; it may have been used, cleared, or have expired.")
    return row


def list_(site: Site, project_id: str | None) -> list[Row]:
    with site.db.read() as tx:
        return reservations.list_(tx, project_id)


def clear(site: Site, caller: Caller, id: str) -> None:
    """Give back what it holds. A boot that counted on it goes on with its other hosts, or starts anew."""
    with site.db.begin() as tx:
        row = require(tx, caller, id)
        site.policy.check("brickyard:reservation_clear", caller, row.project_id)
        reservations.clear(tx, id)
    site.world.places.redraw([row.host])


def renew(site: Site, caller: Caller, id: str) -> Row:
    """Hold it for the usual time from now."""
    with site.db.begin() as tx:
        row = require(tx, caller, id)
        site.policy.check("brickyard:reservation_renew", caller, row.project_id)
        reservations.renew(tx, id, site.settings.reservation_ttl_s)
        return require(tx, caller, id)
