"""A volume that is being uploaded as an image, as the wire shows it."""

from __future__ import annotations

from typing import Any

from brickyard.api.request import Request
from brickyard.api.views import types
from brickyard.service import uploads


def begun(request: Request, made: uploads.Begun, new: uploads.NewUpload) -> dict[str, Any]:
    volume = made.volume
    view: dict[str, Any] = {
        "id": volume.id,
        "updated_at": volume.updated_at,
        "status": volume.status,
        "display_description": volume.description,
        "size": volume.size_gib,
        "volume_type": types.updated(request, made.type) if made.type is not None else None,
        "image_id": made.image_id,
        "container_format": new.container_format,
        "disk_format": new.disk_format,
        "image_name": new.image_name,
    }
    if request.since("3.1"):
        view |= {"visibility": new.visibility, "protected": new.protected}
    return view
