"""A volume whose content becomes that of an image, as when a server that boots from it is rebuilt."""

from __future__ import annotations

from brickyard.core import errors
from brickyard.core.states import A, V
from brickyard.db import hosts, store
from brickyard.db import volumes as rows
from brickyard.flows import reimage_volume
from brickyard.service import cloud_images, volumes, work
from brickyard.service.site import Caller, Site

BEING_COPIED = "is the source of a volume or snapshot that is being created; re-image it when that one is available"


def reimage(site: Site, caller: Caller, id: str, image_id: str, *, reserved: bool) -> None:
    """Begin to write the image over a volume that nobody has; `reserved` allows one that is reserved for a server."""
    found = cloud_images.look(site, caller, image_id)
    with site.db.begin() as tx:
        store.hold(tx, "volume", id)
        row = volumes.require(tx, caller, id)
        site.policy.check("volume:reimage", caller, row.project_id)
        if row.status == V.RESERVED:
            if not reserved:
                raise errors.InvalidState(f"Volume {id} is reserved; say so with reimage_reserved.", field="status")
            site.policy.check("volume:reimage_reserved", caller, row.project_id)
        hosts.check_thawed(tx, row.pool_id)
        attachments = store.attachment_statuses(tx, id)
        if len(attachments) > 1:
            raise errors.Conflict(f"Volume {id} has {len(attachments)} attachments; to be re-imaged it may have one.")
        if any(status != A.RESERVED for status in attachments):
            raise errors.InvalidState(f"Volume {id} is attached; detach it first.", field="status")
        if found is not None:
            image = volumes.Origin(**cloud_images.made_of(found, row.size_gib))
        else:
            image = volumes.from_image(caller, tx, image_id)
        assert image.source is not None  # it is an image
        if image.min_gib > row.size_gib:
            raise errors.Invalid(
                f"Image {image_id} needs {image.min_gib} GiB and volume {id} has {row.size_gib}; extend that first.",
                field="image_id",
            )
        alone = rows.not_being_copied(id)
        store.begin(tx, "volume", id, "reimage", where=alone, why=BEING_COPIED, image_id=image_id)
        params = reimage_volume.params(
            volume_id=id,
            pool=row.host,
            image_id=image_id,
            image_metadata=image.image_metadata,
            facts=image.source.get("facts"),
        )
        work.queue(site, caller, tx, "reimage_volume", params, resource_id=id, project_id=row.project_id)
