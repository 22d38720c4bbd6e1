"""Bodies of requests about default types."""

from __future__ import annotations

from brickyard.api.schemas import shapes

UPDATE = {"3.62": shapes.wrapped("default_type", shapes.closed({"volume_type": shapes.word}, ("volume_type",)))}
