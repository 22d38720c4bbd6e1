"""Instances stopped and started again; what they have on their host, disks and processors, they keep meanwhile."""

from __future__ import annotations

from typing import Any

from brickyard.core import errors
from brickyard.db import images, store
from brickyard.db.database import Row, Tx
from brickyard.flows import reach, start_instance, stop_instance
from brickyard.service import moves, work
from brickyard.service.instances import require
from brickyard.service.site import Caller, Site


def start(site: Site, caller: Caller, id: str) -> Row:
    """Begin to start a stopped instance where it was, with its root disk and the volumes attached to it now."""
    with site.db.begin() as tx:
        row = require(tx, caller, id)
        store.begin(tx, "instance", id, "start")
        moves.check_still(tx, id)
        params = start_instance.params(
            instance_id=id,
            name=row.name,
            host=row.host,
            vcpus=row.vcpus,
            memory_mib=row.memory_mib,
            image=_kernel(tx, row),
            root_pool=row.root_pool,
            attached=_attached(tx, row),
        )
        work.queue(site, caller, tx, "start_instance", params, resource_id=id, project_id=row.project_id)
        return require(tx, caller, id)


def stop(site: Site, caller: Caller, id: str) -> Row:
    """Begin to stop an instance: its guest is asked to shut down, and switched off if it does not in time."""
    with site.db.begin() as tx:
        row = require(tx, caller, id)
        store.begin(tx, "instance", id, "stop")
        moves.check_still(tx, id)
        params = stop_instance.params(instance_id=id, host=row.host)
        work.queue(site, caller, tx, "stop_instance", params, resource_id=id, project_id=row.project_id)
        return require(tx, caller, id)


def _kernel(tx: Tx, row: Row) -> dict[str, Any] | None:
    """The image, where the instance boots of its kernel; a disk image was needed for its root disk only."""
    if row.image_id is None or row.root_pool is not None:
        return None
    for image in images.find(tx, row.image_id):
        return {"kind": image.kind, "files": dict(image.files), "cmdline": image.cmdline}
    raise errors.Conflict(
        f"The image {row.image_id}, whose kernel instance {row.id} boots, was deleted; delete the instance, keep its "
        "volumes, and boot another one with them."
    )


def _attached(tx: Tx, row: Row) -> list[dict[str, Any]]:
    """Its disks besides the root disk."""
    return [
        {
            "volume_id": volume.id,
            "pool": volume.host,
            "read_only": bool(volume.readonly),
            "multiattach": bool(volume.multiattach),
        }
        for volume in reach.attached(tx, row)
    ]
