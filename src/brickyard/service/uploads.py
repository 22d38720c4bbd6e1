"""A volume that becomes an image."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from brickyard import glance
from brickyard.brick import images as inspection
from brickyard.core import errors, sizes, states
from brickyard.core.states import V
from brickyard.db import flows, hosts, images, store, types, volumes
from brickyard.db.database import Row, Tx
from brickyard.flows import forget_image, upload_image
from brickyard.service import abilities, work
from brickyard.service.images import SAVING
from brickyard.service.site import Caller, Site
from brickyard.service.volumes import require

FORGET_S = 600  # after which an image is deleted that was made for a request, which did not go on with it
VISIBILITIES = ("private", "public")
# What is known of an image itself, and not a property that images of its volumes have, too.
ITS_OWN = frozenset({
    "image_id", "image_name", "checksum", "container_format", "disk_format", "min_disk", "min_ram", "size",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class NewUpload:
    """An upload request. `force` allows it for a volume in use, where the configuration does."""

    image_name: str
    disk_format: str = "raw"
    container_format: str = "bare"
    force: bool = False
    visibility: str = "private"
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Begun:
    """The volume, its type if it has one, and the id of the image, which is `saving`."""

    volume: Row
    type: Row | None
    image_id: str


def upload(site: Site, caller: Caller, id: str, new: NewUpload) -> Begun:
    """Begin to make an image of a volume."""
    _check(site, new)
    image_id = str(uuid.uuid4())
    if site.world.glance is None:
        return _begin(site, caller, id, new, image_id)
    with site.db.read() as tx:  # nothing is made for what is refused
        row = _allowed(site, caller, tx, id, new)
    with site.db.begin() as tx:  # should nobody be there any more to go on with it
        forget = forget_image.queue(
            tx, image_id, project_id=caller.project_id, request_id=caller.request_id, in_s=FORGET_S
        )
    try:
        site.world.glance.create(
            glance.Who(caller.token, caller.catalog),
            {
                **properties(row.image_metadata),
                "id": image_id,
                "name": new.image_name,
                "disk_format": new.disk_format,
                "container_format": new.container_format,
                "visibility": new.visibility,
            },
        )
        return _begin(site, caller, id, new, image_id, forget)
    except errors.ImageServiceUnavailable:
        raise  # nobody knows whether it was made
    except BaseException:
        with contextlib.suppress(errors.ImageServiceUnavailable):
            site.world.glance.delete(image_id)
            with site.db.begin() as tx:
                flows.withdraw(tx, forget)
        raise


def _allowed(site: Site, caller: Caller, tx: Tx, id: str, new: NewUpload) -> Row:
    """The volume, if the caller may make such an image of it now."""
    row = require(tx, caller, id)
    site.policy.check("volume_extension:volume_actions:upload_image", caller, row.project_id)
    if new.visibility == "public":
        site.policy.check("volume_extension:volume_actions:upload_public", caller, row.project_id)
    states.begin(states.VOLUME, "upload", row.status)
    _check_volume(site, tx, row, new)
    return row


def _begin(site: Site, caller: Caller, id: str, new: NewUpload, image_id: str, forget: str | None = None) -> Begun:
    own = site.world.glance is None
    with site.db.begin() as tx:
        if forget is not None and not flows.withdraw(tx, forget):
            raise errors.Conflict(f"Image {image_id} took too long to be made, and is deleted: repeat the request.")
        store.hold(tx, "volume", id)
        row = _allowed(site, caller, tx, id, new)
        if own:
            _insert(caller, tx, row, new, image_id)
        store.begin(tx, "volume", id, "upload")
        params = upload_image.params(
            image_id=image_id,
            format=new.disk_format,
            volume_id=id,
            own_snapshot=row.status == V.IN_USE,
            pool=row.host,
            pool_id=row.pool_id,
            gib=row.size_gib,
            owner_id=row.project_id,
            own=own,
            protected=new.protected,
        )
        work.queue(site, caller, tx, "upload_image", params, resource_id=id, project_id=row.project_id)
        after = volumes.find(tx, id)
        assert after is not None  # it is held
        return Begun(after, types.find(tx, row.volume_type_id) if row.volume_type_id else None, image_id)


def _insert(caller: Caller, tx: Tx, row: Row, new: NewUpload, image_id: str) -> None:
    images.insert(
        tx,
        id=image_id,
        name=new.image_name,
        project_id=caller.project_id,
        is_public=new.visibility == "public",
        protected=new.protected,
        status=SAVING,
        kind="disk",
        format=new.disk_format,
        virtual_size_bytes=sizes.gib_to_bytes(row.size_gib),
        min_gib=row.size_gib,
        files={},
        properties=properties(row.image_metadata),
    )


def properties(image_metadata: Mapping[str, Any]) -> dict[str, str]:
    """What an image of a volume has of the image that the volume was made of."""
    return {name: str(value) for name, value in image_metadata.items() if name not in ITS_OWN}


def _check(site: Site, new: NewUpload) -> None:
    if new.disk_format not in inspection.FORMATS:
        raise errors.Invalid(
            f"Images are not made in format {new.disk_format}; use: {', '.join(inspection.FORMATS)}.",
            field="disk_format",
        )
    if new.container_format != "bare":
        raise errors.Invalid(
            f"Images are not made in a container of format {new.container_format}; use: bare.", field="container_format"
        )
    if site.world.glance is None and new.visibility not in VISIBILITIES:
        raise errors.Invalid(
            f"Images here are not {new.visibility}; use: {' or '.join(VISIBILITIES)}.", field="visibility"
        )


def _check_volume(site: Site, tx: Tx, row: Row, new: NewUpload) -> None:
    hosts.check_thawed(tx, row.pool_id)
    forced = new.force and site.settings.enable_force_upload
    if row.status == V.IN_USE and not forced:
        how = "this service does not allow that (enable_force_upload)" if new.force else "use force"
        raise errors.InvalidState(
            f"Volume {row.id} is in-use; to be uploaded it must be available: detach it, or {how}.", field="status"
        )
    if row.status == V.IN_USE:
        abilities.require(tx, row.pool_id, "snapshots", field="force")
    size_bytes, max_bytes = sizes.gib_to_bytes(row.size_gib), site.settings.image_max_bytes
    if new.disk_format == "raw" and size_bytes > max_bytes:
        raise errors.Invalid(
            f"A raw image of volume {row.id} has {size_bytes} bytes, and this service takes at most {max_bytes}: use "
            "qcow2, which leaves out what was never written.",
            field="disk_format",
        )
