"""Bodies of service requests."""

from __future__ import annotations

from brickyard.api.schemas import shapes
from brickyard.api.schemas.shapes import Schema

_SERVICE: dict[str, Schema] = {"host": shapes.host, "binary": shapes.name, "service": shapes.name}

SWITCH = {"3.0": shapes.closed(_SERVICE, ("host",))}
DISABLE_WITH_REASON = {"3.0": shapes.closed({**_SERVICE, "disabled_reason": shapes.word}, ("host", "disabled_reason"))}
