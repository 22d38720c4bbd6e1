"""/v1/audit"""

from __future__ import annotations

from typing import Any

from brickyard.api.request import Reply, Request
from brickyard.api.views import own_audit as views
from brickyard.service import audit


def index(request: Request) -> Reply:
    """Compare records, pools and hypervisors, and show what differs."""
    return Reply(200, {"differences": [views.finding(found) for found in audit.look(request.site)]})


def repair(request: Request) -> Reply:
    """Compare, and start a flow for each repair that is due; with `dry_run` only say what would be done."""
    body: dict[str, Any] = dict(request.body)
    found = audit.repair(
        request.site,
        request.caller,
        dry_run=body.get("dry_run", False),
        grace_s=body.get("grace_s", audit.GRACE_S),
        remove_orphans=body.get("orphans") == "remove",
        recover=body.get("orphans") == "recover",
    )
    return Reply(200, {"differences": [views.finding(one) for one in found]})
