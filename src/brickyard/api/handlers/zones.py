"""/os-availability-zone"""

from __future__ import annotations

from brickyard.api.request import Reply, Request
from brickyard.service import zones


def index(request: Request) -> Reply:
    with request.site.db.read() as tx:
        found = zones.known(request.site, tx)
    shown = [{"zoneName": name, "zoneState": {"available": available}} for name, available in sorted(found.items())]
    return Reply(200, {"availabilityZoneInfo": shown})
