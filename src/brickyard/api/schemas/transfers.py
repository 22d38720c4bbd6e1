"""Bodies of transfer requests."""

from __future__ import annotations

from brickyard.api.schemas import shapes
from brickyard.api.schemas.shapes import Schema

_OFFER: dict[str, Schema] = {"volume_id": shapes.uuid, "name": shapes.name}
_OFFER_SINCE_3_55: dict[str, Schema] = {**_OFFER, "no_snapshots": shapes.boolean}

CREATE = {
    "3.0": shapes.wrapped("transfer", shapes.closed(_OFFER, ("volume_id",))),
    "3.55": shapes.wrapped("transfer", shapes.closed(_OFFER_SINCE_3_55, ("volume_id",))),
}
ACCEPT = {"3.0": shapes.wrapped("accept", shapes.closed({"auth_key": shapes.word}, ("auth_key",)))}
