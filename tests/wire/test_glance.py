"""Images of a real Glance, with a real Keystone: volumes are made of them and become them.

What is wrong with an image, or with who asks, leaves nothing behind."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from waiting import until

pytestmark = pytest.mark.wire
MIB = 1024 * 1024


@dataclasses.dataclass
class Site:
    """A service that has its images from a Glance."""

    service: Any
    cloud: Any
    directory: Path  # of Glance
    made: list[str] = dataclasses.field(default_factory=list)  # volumes

    def ask(self, user: str, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        headers = {"X-Auth-Token": self.cloud.token(user), "OpenStack-API-Version": "volume 3.68"}
        said = httpx.request(method, self.service.endpoint + path, json=body, headers=headers, timeout=60)
        assert said.status_code == status, said.text
        found = said.json() if said.content else None
        if (method, path, status) == ("POST", "/volumes", 202):
            self.made.append(found["volume"]["id"])
        return found

    def images(self, user: str, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"X-Auth-Token": self.cloud.token(user), **more.pop("headers", {})}
        return httpx.request(method, f"{self.cloud.image}/v2/images{path}", headers=headers, timeout=60, **more)

    def image(self, content: bytes, format: str = "raw", user: str = "ann", **more: Any) -> str:
        body = {"name": "i", "disk_format": format, "container_format": "bare", **more}
        made = self.images(user, "POST", "", json=body)
        assert made.status_code == 201, made.text
        id = str(made.json()["id"])
        octets = {"Content-Type": "application/octet-stream"}
        put = self.images(user, "PUT", f"/{id}/file", content=content, headers=octets)
        assert put.status_code == 204, put.text
        return id

    def settled(self, user: str, id: str) -> Any:
        """The volume, when nothing is done with it any more."""
        found: dict[str, Any] = {}

        def rests() -> bool:
            found.update(self.ask(user, "GET", f"/volumes/{id}")["volume"])
            return found["status"] not in ("creating", "uploading", "downloading")

        until(rests)
        return found

    def create(self, image: str, user: str = "ann", size: int = 1, status: int = 202, type: str = "raw") -> Any:
        body = {"volume": {"size": size, "imageRef": image, "volume_type": type}}
        said = self.ask(user, "POST", "/volumes", body, status)
        return self.settled(user, said["volume"]["id"]) if status == 202 else said["badRequest"]["message"]

    def begin(self, image: str) -> str:
        body = {"volume": {"size": 1, "imageRef": image, "volume_type": "raw"}}
        return str(self.ask("ann", "POST", "/volumes", body, 202)["volume"]["id"])

    def brick(self, id: str) -> Path:
        return self.service.state_dir / "bricks" / "raw" / f"volume-{id}"

    def fetched(self, image: str) -> int:
        """How often Glance was asked for the data of an image."""
        return (self.directory / "glance.out").read_text().count(f"GET /v2/images/{image}/file\n")

    def left(self) -> list[str]:
        """What lies in the image store, but for its lock."""
        store = self.service.state_dir / "images"
        return sorted(path.name for path in store.iterdir() if path.name != ".lock") if store.exists() else []

    def why(self, id: str) -> str:
        """What the owner of a volume is told of what went wrong."""
        found = self.ask("ann", "GET", "/messages")["messages"]
        return str(next(one["user_message"] for one in found if one["resource_uuid"] == id))


@pytest.fixture(scope="module")
def site(glance_service: Any) -> Site:
    made = Site(*glance_service)
    there = {type_["name"] for type_ in made.ask("boss", "GET", "/types")["volume_types"]}
    for name in {"raw", "qcow2"} - there:  # other modules may have had this service before
        made.ask(
            "boss", "POST", "/types", {"volume_type": {"name": name, "extra_specs": {"volume_backend_name": name}}}
        )
    return made


@pytest.fixture(autouse=True)
def tidy(site: Site) -> Iterator[None]:
    """The service is that of other tests, too."""
    yield
    for id in site.made:
        site.ask("boss", "DELETE", f"/volumes/{id}", status=202)
    until(
        lambda: not set(site.made) & {one["id"] for one in site.ask("boss", "GET", "/volumes?all_tenants=1")["volumes"]}
    )
    site.made.clear()


def test_the_client_makes_a_volume_of_an_image_and_an_image_of_the_volume(
    site: Site, osc_with_keystone: Any, tmp_path: Path
) -> None:
    ann = osc_with_keystone.given(*site.cloud.login("ann"))
    raw, file = tmp_path / "raw", tmp_path / "image.qcow2"
    raw.write_bytes(os.urandom(MIB) + bytes(3 * MIB))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(file)], check=True)
    options = "--disk-format qcow2 --container-format bare --min-disk 1 --property os_distro=debian"
    image = ann.json(f"image create {options} --file {file} debian")
    volume = ann.json("volume create --image debian --size 1 --type raw root")
    site.made.append(volume["id"])
    after = site.settled("ann", volume["id"])
    assert (after["status"], after["bootable"]) == ("available", "true")
    facts = after["volume_image_metadata"]
    assert {name: value for name, value in facts.items() if not name.startswith("owner_specified")} == {
        "image_id": image["id"], "image_name": "debian", "checksum": hashlib.md5(file.read_bytes()).hexdigest(),
        "container_format": "bare", "disk_format": "qcow2", "min_disk": "1", "min_ram": "0",
        "size": str(file.stat().st_size), "os_distro": "debian",
    }  # fmt: skip
    with site.brick(volume["id"]).open("rb") as brick:
        assert brick.read(4 * MIB) == raw.read_bytes()
    ann("image create --volume root --disk-format qcow2 golden")
    assert site.settled("ann", volume["id"])["status"] == "available"
    golden = ann.json("image show golden")
    assert (golden["status"], golden["disk_format"], golden["owner"]) == (
        "active", "qcow2", site.cloud.projects["blue"],
    )  # fmt: skip
    assert golden["properties"]["os_distro"] == "debian"
    second = site.create(golden["id"])
    with site.brick(second["id"]).open("rb") as brick:
        assert brick.read(4 * MIB) == raw.read_bytes()
    assert site.left() == []


def test_who_may_not_use_an_image_does_not_learn_of_it(site: Site) -> None:
    mine = site.image(b"secret".ljust(MIB, b"."))
    unknown = site.create(str(uuid.uuid4()), status=400)
    assert site.create(mine, "bob", status=400) == unknown
    assert "unable to access" in unknown
    assert site.create(mine)["status"] == "available"
    volume = site.create(mine)["id"]
    body = {"os-volume_upload_image": {"image_name": "theirs"}}
    site.ask("bob", "POST", f"/volumes/{volume}/action", body, 404)
    site.ask("rob", "POST", f"/volumes/{volume}/action", body, 403)
    assert site.left() == []


def test_what_does_not_fit_or_is_not_ready_is_refused_at_once(site: Site) -> None:
    large = site.image(b"x" * MIB, min_disk=2)
    assert "minDisk size 2GB" in site.create(large, status=400)
    queued = site.images("ann", "POST", "", json={"name": "q", "disk_format": "raw", "container_format": "bare"})
    assert "is not active" in site.create(queued.json()["id"], status=400)
    kernel = site.image(b"kernel" * 100, "aki", container_format="aki")
    assert "raw, qcow2, vdi, vmdk" in site.create(kernel, status=400)


def on_disk(site: Site, image: str) -> Path:
    """Where Glance keeps the data."""
    return site.directory / "images" / image


@pytest.mark.parametrize("how", ["damaged", "shorter", "gone"])
def test_an_image_that_is_not_what_was_uploaded_leaves_nothing(site: Site, how: str) -> None:
    image = site.image(os.urandom(MIB))
    path = on_disk(site, image)
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes({"damaged": b"!" + content[1:], "shorter": content[:-9]}[how])
    after = site.create(image)
    assert after["status"] == "error"
    assert image in site.why(after["id"]) or "image service" in site.why(after["id"])
    assert not site.brick(after["id"]).exists()
    assert site.left() == []


def test_an_image_that_lies_or_points_elsewhere_leaves_nothing(site: Site, tmp_path: Path) -> None:
    """Glance looks, too, today; so what it keeps is changed with its records, as an older one would have taken it."""
    backing, evil = tmp_path / "backing", tmp_path / "evil"
    backing.write_bytes(b"passwords" * 1000)
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(backing), "-F", "raw", str(evil), "1M"]
    subprocess.run(command, check=True)
    for claimed in ("qcow2", "raw"):
        content = evil.read_bytes()
        image = site.image(b"." * len(content), "raw")
        on_disk(site, image).write_bytes(content)
        records(site, image, content, claimed)
        after = site.create(image)
        assert after["status"] == "error", claimed
        assert not site.brick(after["id"]).exists()
    assert site.left() == []


def records(site: Site, image: str, content: bytes, format: str) -> None:
    import sqlite3

    with sqlite3.connect(site.directory / "glance.db", timeout=60) as db:
        db.execute(
            "UPDATE images SET disk_format = ?, checksum = ?, os_hash_value = ? WHERE id = ?",
            (format, hashlib.md5(content).hexdigest(), hashlib.sha512(content).hexdigest(), image),
        )


def test_an_upload_that_glance_refuses_or_cannot_keep_leaves_nothing(site: Site) -> None:
    volume = site.create(site.image(b"x" * MIB))["id"]
    before = {one["id"] for one in site.images("boss", "GET", "").json()["images"]}
    site.ask("ann", "POST", f"/volumes/{volume}/action", upload(visibility="public"), 403)
    store = site.directory / "images"
    kept = store.with_name("elsewhere")
    store.rename(kept)
    store.write_text("no directory")  # nothing can be kept there
    try:
        begun = site.ask("ann", "POST", f"/volumes/{volume}/action", upload(), 202)["os-volume_upload_image"]
        assert site.settled("ann", volume)["status"] == "available"
    finally:
        store.unlink()
        kept.rename(store)
    assert site.why(volume).startswith("copy volume to image")
    assert site.images("boss", "GET", f"/{begun['image_id']}").status_code == 404
    assert {one["id"] for one in site.images("boss", "GET", "").json()["images"]} == before
    assert site.left() == []


def upload(**more: Any) -> Any:
    return {"os-volume_upload_image": {"image_name": "up", "disk_format": "qcow2", **more}}


def test_an_upload_is_protected_and_shared_as_was_asked(site: Site) -> None:
    volume = site.create(site.image(b"x" * MIB))["id"]
    body = upload(visibility="community", protected=True)
    image = site.ask("ann", "POST", f"/volumes/{volume}/action", body, 202)["os-volume_upload_image"]["image_id"]
    assert site.settled("ann", volume)["status"] == "available"
    shown = site.images("bob", "GET", f"/{image}").json()
    assert (shown["status"], shown["visibility"], shown["protected"]) == ("active", "community", True)
    assert site.create(image, "bob")["status"] == "available"


def test_the_second_volume_is_a_clone_for_who_may_use_the_image(site: Site, tmp_path: Path) -> None:
    """Its data is fetched once, until the image changes; and whether the caller may use it is asked each time."""
    image, raw = site.image(b"kept".ljust(MIB, b".")), tmp_path / "raw"
    for _ in range(2):
        volume = site.create(image, type="qcow2")
        assert volume["status"] == "available"
        brick = site.service.state_dir / "bricks" / "qcow2" / f"volume-{volume['id']}"
        subprocess.run(["qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", str(brick), str(raw)], check=True)
        with raw.open("rb") as file:
            assert file.read(MIB) == b"kept".ljust(MIB, b".")
    assert site.fetched(image) == 1
    assert "unable to access" in site.create(image, "bob", status=400, type="qcow2")
    before = site.images("ann", "GET", f"/{image}").json()["updated_at"]
    patch = {"content": f'[{{"op": "add", "path": "/colour", "value": "{uuid.uuid4()}"}}]'}
    kind = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    until(lambda: site.images("ann", "PATCH", f"/{image}", headers=kind, **patch).json()["updated_at"] != before)
    assert site.create(image, type="qcow2")["status"] == "available"
    assert site.fetched(image) == 2
    site.images("boss", "POST", f"/{image}/actions/deactivate")
    assert "is not active" in site.create(image, status=400, type="qcow2")
    site.images("ann", "DELETE", f"/{image}")
    assert "unable to access" in site.create(image, status=400, type="qcow2")
    assert (site.fetched(image), site.left()) == (2, [])


def test_a_volume_is_re_imaged_of_one(site: Site) -> None:
    volume = site.create(site.image(b"first".ljust(MIB, b".")))["id"]
    image = site.image(b"second".ljust(MIB, b"."))
    site.ask("ann", "POST", f"/volumes/{volume}/action", {"os-reimage": {"image_id": image}}, 202)
    after = site.settled("ann", volume)
    assert (after["status"], after["volume_image_metadata"]["image_id"]) == ("available", image)
    with site.brick(volume).open("rb") as brick:
        assert brick.read(6) == b"second"
    assert site.left() == []
