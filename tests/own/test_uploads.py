"""A volume becomes an image, whatever it is kept in; and volumes of that image have what it had."""

from __future__ import annotations

import random
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest
from tests import world

from brickyard.brick import content, images
from brickyard.core import errors
from brickyard.core.bricks import Kind, Label
from brickyard.nodes import verbs

MIB = 1024 * 1024
SIZE = 8 * MIB
V3 = {"OpenStack-API-Version": "volume 3.1"}
V30 = {"OpenStack-API-Version": "volume 3.0"}


def a_brick(tmp_path: Path, driver: str) -> tuple[Any, Label, bytes]:
    """A node with a brick that holds something at its start, in the middle and at its end."""
    node: Any = world.make(tmp_path, {"b": driver}, None).world.nodes["h1"]
    label = Label(Kind.VOLUME, str(uuid.uuid4()), "project")
    node.create_brick("b", label, SIZE)
    dice, text = random.Random(9), bytearray(SIZE)
    for at in (0, 3 * MIB, SIZE - 4096):
        text[at : at + 4096] = dice.randbytes(4096)
    with content.opened(node.backends["b"].driver, label.name, writable=True) as opened:
        opened.write(0, bytes(text))
    return node, label, bytes(text)


@pytest.mark.parametrize(
    ("driver", "format"),
    [*(("raw", format) for format in images.FORMATS), ("qcow2", "raw"), ("vdi", "vmdk"), ("memory", "qcow2")],
)
def test_an_image_has_what_the_brick_held(tmp_path: Path, driver: str, format: str) -> None:
    node, label, text = a_brick(tmp_path, driver)
    path, seen = tmp_path / "out" / "image", []
    path.parent.mkdir()
    for _ in range(2):
        node.export_brick("b", label.name, verbs.Image(str(path), format), lambda *done: seen.append(done))
        assert images.check_import(str(path), format, SIZE).virtual_size_bytes == SIZE
        raw = tmp_path / "back"
        subprocess.run(["qemu-img", "convert", "-f", format, "-O", "raw", str(path), str(raw)], check=True)
        assert raw.read_bytes() == text
        assert [one.name for one in path.parent.iterdir()] == ["image"]
        assert path.stat().st_mode & 0o777 == 0o600
    assert seen[-1] == (SIZE, SIZE)


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    node, label, _ = a_brick(tmp_path, "raw")
    with pytest.raises(errors.Invalid, match="vhdx"):
        node.export_brick("b", label.name, verbs.Image(str(tmp_path / "image"), "vhdx"))
    with pytest.raises(errors.BrickError, match="is not on this host"):
        node.export_brick("b", label.name, verbs.Image(str(tmp_path / "nowhere" / "image"), "raw"))
    with pytest.raises(errors.BrickyardError):
        node.export_brick("b", f"volume-{uuid.uuid4()}", verbs.Image(str(tmp_path / "written"), "qcow2"))
    assert not list(tmp_path.glob("written*"))


# through the API ---------------------------------------------------------------------------------------------------


def upload(api: Any, id: str, status: int = 202, headers: Any = V3, **body: Any) -> Any:
    asked = {"os-volume_upload_image": {"image_name": "golden", **body}}
    return api.json("POST", f"/v3/volumes/{id}/action", asked, status, headers=headers)


def begun(api: Any, id: str, **body: Any) -> Any:
    return upload(api, id, **body)["os-volume_upload_image"]


def ended(api: Any, id: str, how: str = "done") -> Any:
    """The volume, when its upload has ended."""
    found = api.json("GET", "/v1/flows", params={"resource_id": id})["flows"]
    [flow] = [flow for flow in found if flow["name"] == "upload_image"]
    assert api.site.waker.wait(flow["id"], 60) == how
    return api.json("GET", f"/v3/volumes/{id}")["volume"]


def left(api: Any) -> list[str]:
    """What lies in the image store, but for its lock."""
    return sorted(path.name for path in api.site.world.images.iterdir() if path.name != ".lock")


def an_image_of(api: Any, **body: Any) -> str:
    volume = api.a_volume()["id"]
    answer = begun(api, volume, disk_format="qcow2", **body)
    assert ended(api, volume)["status"] == "available"
    return str(answer["image_id"])


def test_a_volume_becomes_an_image_and_the_image_a_volume(api: Any) -> None:
    made = api.json("POST", "/v1/images", {"name": "i", "kind": "disk", "format": "raw"}, 201)["id"]
    api.upload(made, "disk", b"all that matters".ljust(70000, b"."))
    first = api.a_volume(imageRef=made)["id"]
    facts = {"os-set_image_metadata": {"metadata": {"os_distro": "debian"}}}
    api.json("POST", f"/v3/volumes/{first}/action", facts)
    answer = begun(api, first, disk_format="qcow2", visibility="private", protected=False)
    assert {key: answer[key] for key in ("id", "status", "size", "image_name", "disk_format", "container_format")} == {
        "id": first, "status": "uploading", "size": 1, "image_name": "golden", "disk_format": "qcow2",
        "container_format": "bare",
    }  # fmt: skip
    assert (answer["visibility"], answer["protected"], answer["volume_type"]) == ("private", False, None)
    assert ended(api, first)["status"] == "available"
    image = api.json("GET", f"/v1/images/{answer['image_id']}")
    assert (image["status"], image["format"], image["min_gib"]) == ("active", "qcow2", 1)
    assert image["properties"] == {"os_distro": "debian"}
    after = api.a_volume(imageRef=answer["image_id"])
    assert (after["bootable"], after["volume_image_metadata"]["os_distro"]) == ("true", "debian")
    assert after["volume_image_metadata"]["image_name"] == "golden"
    node, name = api.site.world.nodes["h1"], f"volume-{after['id']}"
    with content.opened(node.backends[next(iter(node.backends))].driver, name) as opened:
        assert opened.read(0, 512).startswith(b"all that matters")


def test_before_3_1_nothing_is_said_of_visibility(api: Any) -> None:
    volume = api.a_volume()["id"]
    for name, value in (("visibility", "private"), ("protected", True)):
        assert "3.1" in str(upload(api, volume, 400, V30, **{name: value}))
    answer = upload(api, volume, headers=V30, disk_format="qcow2")["os-volume_upload_image"]
    assert "visibility" not in answer
    assert ended(api, volume)["status"] == "available"


def test_what_is_wrong_is_said_and_nothing_is_begun(api: Any) -> None:
    volume = api.a_volume()["id"]
    for wrong, words in (
        ({"disk_format": "vhdx"}, "raw, qcow2, vdi, vmdk"),
        ({"disk_format": "iso"}, "disk_format"),
        ({"container_format": "ova"}, "use: bare"),
        ({"visibility": "shared"}, "private or public"),
        ({"image_name": ""}, "image_name"),
        ({"force": "perhaps"}, "force"),
        ({"other": 1}, "other"),
    ):
        assert words in str(upload(api, volume, 400, **wrong)), wrong
    upload(api, str(uuid.uuid4()), 404)
    assert api.json("GET", "/v1/images")["images"] == []
    assert api.json("GET", f"/v3/volumes/{volume}")["volume"]["status"] == "available"


def test_a_volume_in_use_is_uploaded_only_where_that_is_allowed(api: Any) -> None:
    volume = api.a_volume()["id"]
    body = {"os-attach": {"host_name": "h1", "mountpoint": "/dev/vdb"}}
    api.json("POST", f"/v3/volumes/{volume}/action", body, 202)
    assert "use force" in str(upload(api, volume, 400))
    assert "enable_force_upload" in str(upload(api, volume, 400, force=True))


def test_an_image_that_is_being_made_stays(api: Any) -> None:
    volume = api.a_volume()["id"]
    api.site.waker.stop()
    image = begun(api, volume, disk_format="qcow2")["image_id"]
    assert api.json("GET", f"/v1/images/{image}")["status"] == "saving"
    assert "is being made" in api.fault("DELETE", f"/v1/images/{image}", status=409)["message"]
    api.upload(image, "disk", b"other" * 1000, 409)
    api.json("POST", "/v3/volumes", {"volume": {"size": 1, "imageRef": image}}, 400)
    assert "uploading" in str(upload(api, volume, 400))


def test_a_protected_image_stays_until_it_is_not(api: Any) -> None:
    image = an_image_of(api, protected=True)
    assert api.json("GET", f"/v1/images/{image}")["protected"] is True
    assert "protected" in api.fault("DELETE", f"/v1/images/{image}", status=409)["message"]
    assert api.json("PATCH", f"/v1/images/{image}", {"protected": False})["protected"] is False
    api.json("DELETE", f"/v1/images/{image}", status=204)
    assert left(api) == []


def test_a_volume_that_holds_an_image_is_not_uploaded_as_raw(api: Any, tmp_path: Path) -> None:
    """Whoever uses it would open what a guest has written there."""
    volume, node = api.a_volume()["id"], api.site.world.nodes["h1"]
    inner = tmp_path / "inner"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(inner), "1M"], check=True)
    backend = api.json("GET", f"/v3/volumes/{volume}")["volume"]["os-vol-host-attr:host"]
    driver = node.backends[backend.partition("@")[2].partition("#")[0]].driver
    with content.opened(driver, f"volume-{volume}", writable=True) as opened:
        opened.write(0, inner.read_bytes()[: 64 * 1024].ljust(64 * 1024, b"\0"))
    image = begun(api, volume, disk_format="raw")["image_id"]
    assert ended(api, volume, "failed")["status"] == "available"
    api.fault("GET", f"/v1/images/{image}", status=404)
    assert left(api) == []
    [told] = api.json("GET", "/v3/messages", headers={"OpenStack-API-Version": "volume 3.3"})["messages"]
    assert (told["event_id"], told["resource_uuid"]) == ("VOLUME_VOLUME_003_029", volume)


def test_only_administrators_make_images_for_all(projects: Any) -> None:
    ann, bob, admin = (projects[name] for name in ("ann", "bob", "admin"))
    volume = ann.a_volume()["id"]
    upload(ann, volume, 403, visibility="public")
    upload(bob, volume, 404)
    image = begun(admin, volume, disk_format="qcow2", visibility="public")["image_id"]
    assert ended(ann, volume)["status"] == "available"
    assert bob.json("GET", f"/v1/images/{image}")["is_public"] is True
