"""A volume becomes an image: whatever it was before, and whatever it is kept in."""

from __future__ import annotations

import random
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from tests import world

from brickyard.brick import content, registry
from brickyard.core import errors
from brickyard.core.bricks import Kind, Label
from brickyard.nodes import verbs

MIB = 1024 * 1024
SIZE = 8 * MIB
V3 = {"OpenStack-API-Version": "volume 3.68"}
OLDER = {"OpenStack-API-Version": "volume 3.67"}


def picture(path: Path, format: str) -> tuple[verbs.Image, bytes]:
    """An image of an odd size that begins, goes on and ends with something, and what it should make of a brick."""
    dice = random.Random(7)
    text = bytearray(3 * MIB + 512)
    text[:4096], text[MIB : MIB + 8192], text[-512:] = dice.randbytes(4096), dice.randbytes(8192), dice.randbytes(512)
    path.write_bytes(text)
    if format != "raw":
        other = path.with_suffix(f".{format}")
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", format, str(path), str(other)], check=True)
        path = other
    return verbs.Image(str(path), format), bytes(text).ljust(SIZE, b"\0")


@pytest.mark.parametrize("driver", ["raw", "qcow2", "vdi", "memory"])
@pytest.mark.parametrize("format", ["raw", "qcow2", "vmdk"])
def test_an_image_goes_over_what_was_there(tmp_path: Path, driver: str, format: str) -> None:
    image, wanted = picture(tmp_path / "image", format)
    backend = world.backend("b", driver, tmp_path / "pool")
    site = world.make(tmp_path, {"b": driver}, None)
    node: Any = site.world.nodes["h1"]
    label = Label(Kind.VOLUME, str(uuid.uuid4()), "project")
    node.create_brick(backend.name, label, SIZE)
    inside = node.backends["b"].driver
    with content.opened(inside, label.name, writable=True) as opened:
        opened.write(0, random.Random(8).randbytes(SIZE))
    seen: list[tuple[int, int]] = []
    node.rewrite_brick("b", label.name, image, lambda done, total: seen.append((done, total)))
    with content.opened(inside, label.name) as opened:
        assert opened.read(0, SIZE) == wanted
    assert seen == sorted(seen)
    assert seen[-1] == (SIZE, SIZE)
    node.rewrite_brick("b", label.name, image)
    with content.opened(inside, label.name) as opened:
        assert opened.read(0, SIZE) == wanted


def test_an_image_that_is_too_large_or_lies_changes_nothing(tmp_path: Path) -> None:
    image, _ = picture(tmp_path / "image", "qcow2")
    driver = registry.load("raw", {"path": str(tmp_path / "pool")})
    node: Any = world.make(tmp_path, {"b": "raw"}, None).world.nodes["h1"]
    node.backends["b"].driver = driver
    small = Label(Kind.VOLUME, str(uuid.uuid4()), "project")
    node.create_brick("b", small, MIB)
    for wrong, error in ((image, errors.Invalid), (verbs.Image(image.path, "raw"), errors.UnsafeImage)):
        with pytest.raises(error):
            node.rewrite_brick("b", small.name, wrong)
    with content.opened(driver, small.name) as opened:
        assert not opened.holds(0, MIB)
    with pytest.raises(errors.NotFound):
        node.rewrite_brick("b", Label(Kind.VOLUME, str(uuid.uuid4()), "project").name, image)


# through the API ---------------------------------------------------------------------------------------------------


def an_image(api: Any, text: bytes = b"image", **more: Any) -> str:
    made = api.json("POST", "/v1/images", {"name": "i", "kind": "disk", "format": "raw", **more}, 201)
    return str(api.upload(made["id"], "disk", text.ljust(70000, b"."))["id"])


def flows(api: Any, id: str) -> list[Any]:
    found = api.json("GET", "/v1/flows", params={"resource_id": id})["flows"]
    return [flow for flow in found if flow["name"] == "reimage_volume"]


def settled(api: Any, id: str) -> Any:
    [flow] = flows(api, id)
    assert api.site.waker.wait(flow["id"], 60) == "done"
    return api.json("GET", f"/v3/volumes/{id}", headers=V3)["volume"]


def reimage(api: Any, id: str, status: int = 202, headers: Any = V3, **body: Any) -> Any:
    return api.json("POST", f"/v3/volumes/{id}/action", {"os-reimage": body}, status, headers=headers)


def test_a_volume_is_re_imaged(api: Any) -> None:
    image, volume = an_image(api), api.a_volume()
    reimage(api, volume["id"], 404, OLDER, image_id=image)
    reimage(api, volume["id"], image_id=image)
    after = settled(api, volume["id"])
    assert (after["status"], after["bootable"]) == ("available", "true")
    assert after["volume_image_metadata"]["image_id"] == image


def test_what_is_wrong_is_said_and_nothing_is_begun(api: Any) -> None:
    image, volume = an_image(api), api.a_volume()["id"]
    large = an_image(api, b"x", min_gib=2)
    reimage(api, volume, 400)
    reimage(api, volume, 400, image_id="no id")
    assert "reimage_reserved" in str(reimage(api, volume, 400, image_id=image, reimage_reserved="perhaps"))
    assert "could not be found" in str(reimage(api, volume, 400, image_id=str(uuid.uuid4())))
    assert "needs 2 GiB" in str(reimage(api, volume, 400, image_id=large))
    reimage(api, str(uuid.uuid4()), 404, image_id=image)
    assert api.json("GET", f"/v3/volumes/{volume}", headers=V3)["volume"]["status"] == "available"
    assert flows(api, volume) == []


def test_a_reserved_volume_is_re_imaged_when_that_is_said(api: Any) -> None:
    image, volume, server = an_image(api), api.a_volume()["id"], str(uuid.uuid4())
    body = {"attachment": {"volume_uuid": volume, "instance_uuid": server}}
    kept = api.json("POST", "/v3/attachments", body, headers=V3)["attachment"]["id"]
    assert "reimage_reserved" in str(reimage(api, volume, 400, image_id=image))
    reimage(api, volume, image_id=image, reimage_reserved=True)
    assert settled(api, volume)["status"] == "reserved"
    host = {"attachment": {"connector": {"host": "h1", "ip": "127.0.0.1"}}}
    api.json("PUT", f"/v3/attachments/{kept}", host, headers=V3)
    api.json("POST", f"/v3/attachments/{kept}/action", {"os-complete": None}, 204, headers=V3)
    reimage(api, volume, 400, image_id=image, reimage_reserved=True)
    api.json("DELETE", f"/v3/attachments/{kept}", headers=V3)


def test_an_image_stays_while_a_volume_becomes_it(api: Any) -> None:
    image, volume = an_image(api), api.a_volume()["id"]
    api.site.waker.stop()
    reimage(api, volume, image_id=image)
    assert volume in api.fault("DELETE", f"/v1/images/{image}", status=409)["message"]


def test_nothing_here_waits_to_be_told_that_an_extension_is_complete(api: Any) -> None:
    volume, headers = api.a_volume()["id"], {"OpenStack-API-Version": "volume 3.71"}
    body = {"os-extend_volume_completion": {"error": False}}
    said = api.json("POST", f"/v3/volumes/{volume}/action", body, 400, headers=headers)
    assert "does not wait" in said["badRequest"]["message"]
    api.json("POST", f"/v3/volumes/{volume}/action", body, 404, headers=V3)
