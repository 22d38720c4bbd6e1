"""/scheduler-stats/get_pools and /capabilities"""

from __future__ import annotations

from brickyard.api import listings
from brickyard.api.request import Reply, Request
from brickyard.api.views import pools as views
from brickyard.core import errors
from brickyard.service import scheduler_stats


def index(request: Request) -> Reply:
    found = scheduler_stats.list_(request.site, _filters(request))
    shown = found if request.flag("detail") else [{"name": pool["name"]} for pool in found]
    return Reply(200, {"pools": shown})


def _filters(request: Request) -> dict[str, str]:
    """Filters came with 3.28, that of the volume type with 3.35; since 3.31 only the listed ones, for everybody."""
    if not request.since("3.28"):
        return {}
    given = {key: value for key, value in request.query.items() if key != "detail"}
    if not request.since("3.35"):
        given.pop("volume_type", None)
    allowed = listings.FILTERS["pool"]
    unknown = sorted(set(given) - set(allowed))
    if unknown and request.since("3.31"):
        raise errors.Invalid(
            f"Invalid filters {', '.join(unknown)} are found in query options; "
            f"pools may be filtered by: {', '.join(allowed)}.",
            field=unknown[0],
        )
    return given


def capabilities(request: Request, host: str) -> Reply:
    backend, reported = scheduler_stats.of_backend(request.site, host)
    return Reply(200, views.capabilities(backend, reported))
