"""Before a request is refused for want of room: others may have reserved more than they will keep."""

from __future__ import annotations

from brickyard.core import clock, placement
from brickyard.db import flows
from brickyard.db.database import Tx
from brickyard.flows import places
from brickyard.flows.engine import Later, Run


def for_others(run: Run, tx: Tx, request: placement.Ask | placement.Boot) -> None:
    """Later, when there was room for the request if others gave back what they have only reserved. Not for longer than
    a reservation lasts, since the flow was queued."""
    book: places.Places = run.world.places
    if book.would_fit(tx, request, run.id):
        row = flows.find(tx, run.id)
        if row is not None and row.created_at > clock.stamp(-run.world.settings.reservation_ttl_s):
            raise Later
