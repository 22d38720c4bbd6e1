"""POST /volumes/{id}/action: one function for each action, with the value under its key."""

from __future__ import annotations

from typing import Any

from brickyard.api.handlers.manageable import where
from brickyard.api.request import Reply, Request, boolean
from brickyard.api.views import attachments as views
from brickyard.api.views import uploads as upload_views
from brickyard.core import errors
from brickyard.service import connections, metadata, moves, resets, uploads, volumes
from brickyard.service import reimage as reimaging

IMAGE = "volume_extension:volume_image_metadata"


def reserve(request: Request, value: Any, id: str) -> Reply:
    connections.reserve(request.site, request.caller, id)
    return Reply(202)


def unreserve(request: Request, value: Any, id: str) -> Reply:
    connections.unreserve(request.site, request.caller, id)
    return Reply(202)


def begin_detaching(request: Request, value: Any, id: str) -> Reply:
    connections.begin_detaching(request.site, request.caller, id)
    return Reply(202)


def roll_detaching(request: Request, value: Any, id: str) -> Reply:
    connections.roll_detaching(request.site, request.caller, id)
    return Reply(202)


def attach(request: Request, value: Any, id: str) -> Reply:
    instance, host = value.get("instance_uuid"), value.get("host_name")
    if not instance and not host:
        raise errors.Invalid("Say who attaches, with instance_uuid or host_name.", field="instance_uuid")
    connections.attach(
        request.site,
        request.caller,
        id,
        instance_uuid=instance,
        host=host,
        mountpoint=value["mountpoint"],
        mode=value.get("mode"),
    )
    return Reply(202)


def detach(request: Request, value: Any, id: str) -> Reply:
    connections.detach(request.site, request.caller, id, (value or {}).get("attachment_id"))
    return Reply(202)


def force_detach(request: Request, value: Any, id: str) -> Reply:
    connections.force_detach(request.site, request.caller, id, value.get("attachment_id"))
    return Reply(202)


def initialize_connection(request: Request, value: Any, id: str) -> Reply:
    found = connections.initialize(request.site, request.caller, id, value["connector"])
    return Reply(200, {"connection_info": views.connection(dict(found))})


def terminate_connection(request: Request, value: Any, id: str) -> Reply:
    connector = value["connector"]
    connections.terminate(request.site, request.caller, id, connector if isinstance(connector, dict) else None)
    return Reply(202)


def extend(request: Request, value: Any, id: str) -> Reply:
    volumes.extend(request.site, request.caller, id, int(value["new_size"]), attached=request.since("3.42"))
    return Reply(202)


def revert(request: Request, value: Any, id: str) -> Reply:
    volumes.revert(request.site, request.caller, id, value["snapshot_id"])
    return Reply(202)


def reimage(request: Request, value: Any, id: str) -> Reply:
    reserved = boolean(value.get("reimage_reserved") or False, "reimage_reserved")
    reimaging.reimage(request.site, request.caller, id, value["image_id"], reserved=reserved)
    return Reply(202)


def upload(request: Request, value: Any, id: str) -> Reply:
    for name in ("visibility", "protected"):
        if name in value and not request.since("3.1"):
            raise errors.Invalid(f"Additional properties are not allowed ({name!r} came with 3.1).", field=name)
    flags = {name: boolean(value.get(name) or False, name) for name in ("force", "protected")}
    new = uploads.NewUpload(**{**value, **flags})
    begun = uploads.upload(request.site, request.caller, id, new)
    return Reply(202, {"os-volume_upload_image": upload_views.begun(request, begun, new)})


def refuse_completion(request: Request, value: Any, id: str) -> Reply:
    """Nothing here extends a volume and waits to be told by whoever uses it."""
    with request.site.db.read() as tx:
        volumes.require(tx, request.caller, id)
    raise errors.Invalid(f"Volume {id} does not wait for anybody to complete its extension.")


def retype(request: Request, value: Any, id: str) -> Reply:
    moves.retype(request.site, request.caller, id, value["new_type"], value.get("migration_policy") or "never")
    return Reply(202)


def migrate(request: Request, value: Any, id: str) -> Reply:
    if "cluster" in value and not request.since("3.16"):
        raise errors.Invalid("Additional properties are not allowed ('cluster' came with 3.16).", field="cluster")
    moves.migrate(request.site, request.caller, id, where(value.get("host"), value.get("cluster")))
    return Reply(202)


def complete_migration(request: Request, value: Any, id: str) -> Reply:
    moves.complete(request.site, request.caller, id, value["new_volume"])
    return Reply(200)


def set_bootable(request: Request, value: Any, id: str) -> Reply:
    volumes.update(request.site, request.caller, id, {"bootable": boolean(value["bootable"], "bootable")})
    return Reply(200)


def update_readonly_flag(request: Request, value: Any, id: str) -> Reply:
    volumes.set_readonly(request.site, request.caller, id, boolean(value["readonly"], "readonly"))
    return Reply(202)


def reset_status(request: Request, value: Any, id: str) -> Reply:
    if all(found is None for found in value.values()):
        raise errors.Invalid("Say what to set: status, attach_status or migration_status.", field="status")
    resets.volume(
        request.site, request.caller, id, value.get("status"), value.get("attach_status"), value.get("migration_status")
    )
    return Reply(202)


def force_delete(request: Request, value: Any, id: str) -> Reply:
    volumes.delete(request.site, request.caller, id, force=True)
    return Reply(202)


def set_image_metadata(request: Request, value: Any, id: str) -> Reply:
    change = metadata.merged(value["metadata"])
    after = metadata.change(request.site, request.caller, "volume", id, f"{IMAGE}:set", change, "image_metadata")
    return Reply(200, {"metadata": after})


def show_image_metadata(request: Request, value: Any, id: str) -> Reply:
    found = metadata.show(request.site, request.caller, "volume", id, f"{IMAGE}:show", "image_metadata")
    return Reply(200, {"metadata": found})


def unset_image_metadata(request: Request, value: Any, id: str) -> Reply:
    change = metadata.without(value["key"])
    metadata.change(request.site, request.caller, "volume", id, f"{IMAGE}:remove", change, "image_metadata")
    return Reply(200)
