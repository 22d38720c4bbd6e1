"""Bodies of metadata requests, of volumes and of snapshots."""

from __future__ import annotations

from brickyard.api.schemas import shapes

SET = {"3.0": shapes.wrapped("metadata", shapes.metadata)}
SET_KEY = {"3.0": shapes.wrapped("meta", {**shapes.metadata, "maxProperties": 1, "minProperties": 1})}
