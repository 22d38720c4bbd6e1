"""Images of the cloud's image service, where there is one: looked up for a caller before anything begins."""

from __future__ import annotations

from typing import Any

import msgspec

from brickyard import glance
from brickyard.brick import images as inspection
from brickyard.core import errors, sizes
from brickyard.service.site import Caller, Site


def look(site: Site, caller: Caller, name_or_id: str | None) -> glance.Image | None:
    """The image that the caller names and may use, ready to be copied; None where the images are our own, or none is
    named. It waits for the image service, so it is called outside of transactions."""
    service = site.world.glance
    if service is None or not name_or_id:
        return None
    try:
        found = service.find(glance.Who(caller.token, caller.catalog), name_or_id)
    except errors.NotFound as error:
        raise errors.Invalid(error.message, field="imageRef") from error
    if found.status != "active":
        raise errors.Invalid(f"Image {found.id} is not active.", field="imageRef")
    if found.disk_format not in inspection.FORMATS or found.container_format != "bare":
        raise errors.Invalid(
            f"Image {found.id} is {found.disk_format} in a container {found.container_format}; volumes are made of "
            f"{', '.join(inspection.FORMATS)} in a container bare.",
            field="imageRef",
        )
    return found


def made_of(image: glance.Image, size_gib: int | None) -> dict[str, Any]:
    """What an image makes of a volume, as the fields of volumes.Origin; Invalid if it does not fit into `size_gib`."""
    if size_gib is not None:
        needed = max(sizes.bytes_to_gib(image.size_bytes), sizes.bytes_to_gib(image.virtual_size_bytes or 0))
        if needed > size_gib:
            raise errors.Invalid(
                f"Size of specified image {needed}GB is larger than volume size {size_gib}GB.", field="size"
            )
        if image.min_disk_gib > size_gib:
            raise errors.Invalid(
                f"Volume size {size_gib}GB cannot be smaller than the image minDisk size {image.min_disk_gib}GB.",
                field="size",
            )
    at_least = sizes.bytes_to_gib(max(image.virtual_size_bytes or 0, image.size_bytes))
    return {
        "source": {"kind": "image", "id": image.id, "facts": msgspec.to_builtins(image)},
        "min_gib": max(1, image.min_disk_gib, at_least),
        "bootable": True,
        "image_metadata": image.metadata,
        "image_type": image.properties.get("cinder_img_volume_type"),
    }
