"""/v1/images"""

from __future__ import annotations

from brickyard.api.request import Reply, Request
from brickyard.api.views import own as views
from brickyard.core import errors
from brickyard.service import images


def index(request: Request) -> Reply:
    """List the images of the project and the public ones; `name` narrows."""
    found = images.list_(request.site, request.caller, request.query.get("name"))
    return Reply(200, {"images": [views.image(row) for row in found]})


def show(request: Request, id: str) -> Reply:
    """Show an image, by id, or by a name that only one has."""
    with request.site.db.read() as tx:
        row = images.require(tx, request.caller, id)
    return Reply(200, views.image(row))


def create(request: Request) -> Reply:
    """Register an image, whose files are uploaded next: disk, or initrd and kernel."""
    return Reply(201, views.image(images.create(request.site, request.caller, images.NewImage(**request.body))))


def upload(request: Request, id: str, role: str) -> Reply:
    """Upload one file of an image. It is active once its disk, or its kernel, is there; so send the initrd first."""
    length = request.headers.get("CONTENT-LENGTH", "")
    if not length.isdigit():
        raise errors.Invalid("Send the size of the file in the Content-Length header.", field="Content-Length")
    row = images.upload(request.site, request.caller, id, role, request.body, int(length))
    return Reply(200, views.image(row))


def update(request: Request, id: str) -> Reply:
    """Protect an image from being deleted, or let it be deleted again."""
    row = images.update(request.site, request.caller, id, protected=request.body["protected"])
    return Reply(200, views.image(row))


def delete(request: Request, id: str) -> Reply:
    """Delete an image, unless something is being made of it."""
    images.delete(request.site, request.caller, id)
    return Reply(204)
