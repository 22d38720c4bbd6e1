"""/clusters and /workers, as a service answers that has no clusters, and no work that somebody has to clean up after"""

from __future__ import annotations

from brickyard.api.request import Reply, Request, boolean
from brickyard.core import errors

FILTERS = {  # name: the microversion that it came with
    "name": "3.7", "binary": "3.7", "is_up": "3.7", "disabled": "3.7", "num_hosts": "3.7", "num_down_hosts": "3.7",
    "replication_status": "3.26", "frozen": "3.26", "active_backend_id": "3.26",
}  # fmt: skip


def index(request: Request) -> Reply:
    known = [name for name, since in FILTERS.items() if request.since(since)]
    for name, value in request.query.items():
        if name not in known:
            raise errors.Invalid(
                f"Clusters are not filtered by {name}; they may be by: {', '.join(known)}.", field=name
            )
        if name in ("is_up", "disabled", "frozen"):
            boolean(value, name)
    return Reply(200, {"clusters": []})


def show(request: Request, name: str) -> Reply:
    raise _unknown(name)


def switch(request: Request) -> Reply:
    raise _unknown(request.body["name"])


def _unknown(name: str) -> errors.NotFound:
    return errors.NotFound(f"Cluster {name} could not be found: there are no clusters here.")


def clean_up(request: Request) -> Reply:
    """Whatever died goes on from its log by itself, so there is nothing to clean, whoever is asked for."""
    return Reply(202, {"cleaning": [], "unavailable": []})
