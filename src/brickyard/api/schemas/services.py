"""Bodies of service requests."""

from __future__ import annotations

from brickyard.api.schemas import shapes
from brickyard.api.schemas.shapes import Schema

_SERVICE: dict[str, Schema] = {"host": shapes.host, "binary": shapes.name, "service": shapes.name}

SWITCH = {"3.0": shapes.closed(_SERVICE, ("host",))}
DISABLE_WITH_REASON = {"3.0": shapes.closed({**_SERVICE, "disabled_reason": shapes.word}, ("host", "disabled_reason"))}
_OF_CLUSTERS: dict[str, Schema] = {"host": {"anyOf": [shapes.host, {"type": "null"}]}, "cluster": shapes.name}
FREEZE = {
    "3.0": shapes.closed({"host": shapes.host}, ("host",)),
    "3.26": shapes.closed(_OF_CLUSTERS),
}
FAILOVER = {
    "3.0": shapes.closed({"host": shapes.host, "backend_id": shapes.name}, ("host",)),
    "3.26": shapes.closed({**_OF_CLUSTERS, "backend_id": shapes.name}),
}
_LOGS: dict[str, Schema] = {"binary": shapes.name, "server": shapes.name, "prefix": shapes.name}
GET_LOG = {"3.32": shapes.closed(_LOGS)}
SET_LOG = {"3.32": shapes.closed({**_LOGS, "level": {"type": "string", "maxLength": 16}}, ("level",))}
