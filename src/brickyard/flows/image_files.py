"""The file of an image, for a node: one of the image store, or what the cloud's image service has, fetched for once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from brickyard import glance
from brickyard.brick import exporting
from brickyard.core import errors
from brickyard.db import images
from brickyard.flows import image_store
from brickyard.flows.engine import Run
from brickyard.nodes import verbs

FULL = "The image store is full, and an image cannot be fetched to it: give its file system more space."


def disk_image(run: Run, image_id: str) -> verbs.Image:
    """The file of a disk image of our own."""
    with run.world.db.read() as tx:
        found = images.find(tx, image_id)
    if not found or found[0].kind != "disk" or found[0].status != "active":
        raise errors.Invalid(f"Image {image_id} is no active disk image.", field="imageRef")
    return verbs.Image(str(run.world.images / found[0].files["disk"]), found[0].format)


@contextlib.contextmanager
def opened(run: Run, image_id: str, facts: Mapping[str, Any] | None, brick_id: str) -> Iterator[verbs.Image]:
    """The image for the brick that is made of it. With `facts` it is one of the image service, whose data is there
    while the block runs, as it was promised: looked at by nobody yet."""
    if facts is None:
        yield disk_image(run, image_id)
        return
    image, directory = msgspec.convert(facts, glance.Image), image_store.made(run.world.images)
    with run.world.long.entered(run.world.settings.conductor_threads):
        image_store.sweep(directory)
        discard(run, brick_id)  # of one that died here
        path = image_store.temporary(directory, _name(brick_id))
        try:
            with exporting.space_told(FULL):
                of(run).fetch(image, path, run.world.settings.image_max_bytes)
            yield verbs.Image(str(path), image.disk_format)
        finally:
            discard(run, brick_id)


def discard(run: Run, brick_id: str) -> None:
    """Remove what was fetched for a brick."""
    image_store.discard(run.world.images, _name(brick_id))


def of(run: Run) -> glance.Glance:
    service: glance.Glance | None = run.world.glance
    if service is None:
        raise errors.ImageServiceUnavailable("No image service is configured any more: set image_service = glance.")
    return service


def _name(brick_id: str) -> str:
    return f"for-{brick_id}"
