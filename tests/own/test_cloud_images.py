"""An image service that lies, or dies in the middle: what it sends is never taken for an image."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.imaging import Fake, sends
from tests.own.conftest import Client

import world
from brickyard import glance
from brickyard.core import errors, settings
from brickyard.db import flows

CONTENT = b"all of it" * 1000
ID = "3c9f6f26-6d4f-4a31-9f0e-64a1f7a1a0c1"


@pytest.fixture
def fake() -> Iterator[Fake]:
    made = Fake()
    yield made
    made.close()


@pytest.fixture
def service(fake: Fake) -> glance.Glance:
    return glance.Glance(settings.Glance(servers=(fake.url,), retries=0), {"auth_type": "none"})


def image(**more: Any) -> glance.Image:
    facts = {
        "id": ID, "name": "i", "status": "active", "disk_format": "raw", "container_format": "bare",
        "size_bytes": len(CONTENT), "virtual_size_bytes": None, "min_disk_gib": 0, "min_ram_mib": 0, "checksum": None,
        "hash_algorithm": "sha512", "hash_value": hashlib.sha512(CONTENT).hexdigest(), "properties": {},
    }  # fmt: skip
    return glance.Image(**{**facts, **more})


def test_what_comes_as_promised_is_taken(fake: Fake, service: glance.Glance, tmp_path: Path) -> None:
    for number, more in enumerate((
        {},
        {"hash_algorithm": None, "checksum": hashlib.md5(CONTENT).hexdigest()},
        {"hash_algorithm": "of tomorrow", "checksum": hashlib.md5(CONTENT).hexdigest()},
    )):  # fmt: skip
        fake.does = sends(CONTENT, len(CONTENT))
        service.fetch(image(**more), tmp_path / str(number), 10**6)
        assert (tmp_path / str(number)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("does", "error", "words"),
    [
        (sends(CONTENT[:-5], len(CONTENT)), errors.ImageServiceUnavailable, "does not answer"),  # it dies
        (sends(CONTENT[:-5]), errors.UnsafeImage, "should have 9000 bytes"),
        (sends(CONTENT * 1000), errors.UnsafeImage, "sent more"),
        (sends(b"!" + CONTENT[1:]), errors.UnsafeImage, "checksum differs"),
        (sends(b"", 0, 404), errors.NotFound, "is gone"),
        (sends(b"<h1>x</h1>", 10, 500), errors.ImageServiceUnavailable, "status 500"),
    ],
)
def test_what_does_not_is_refused(
    fake: Fake, service: glance.Glance, tmp_path: Path, does: Any, error: type[Exception], words: str
) -> None:
    fake.does = does
    path = tmp_path / "image"
    with pytest.raises(error, match=words):
        service.fetch(image(), path, 10**6)
    assert not path.exists() or path.stat().st_size <= len(CONTENT)


def test_what_is_larger_than_allowed_is_not_asked_for(service: glance.Glance, tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid, match="at most 10"):
        service.fetch(image(), tmp_path / "image", 10)


def test_nobody_there_is_told_as_that(fake: Fake, service: glance.Glance, tmp_path: Path) -> None:
    fake.server.server_close()
    with pytest.raises(errors.ImageServiceUnavailable):
        service.find(glance.Who("token"), "name")


def test_an_answer_that_is_no_image_is_told_as_that(fake: Fake, service: glance.Glance) -> None:
    fake.does = sends(b"[]", 2)
    with pytest.raises(errors.ImageServiceUnavailable, match="not understood"):
        service.show(ID)


def test_the_endpoint_is_that_of_the_interface_and_region(tmp_path: Path, fake: Fake) -> None:
    catalog = (
        '[{"type": "compute", "endpoints": [{"publicURL": "http://127.0.0.1:1"}]}, {"type": "image", "endpoints": '
        f'[{{"publicURL": "http://127.0.0.1:1", "region": "a"}}, {{"publicURL": "{fake.url}/v2/", "region": "b"}}]}}]'
    )
    fake.does = sends(b'{"images": []}', 14)
    made = glance.Glance(settings.Glance(region="b", retries=0), {"auth_type": "none"})
    with pytest.raises(errors.NotFound, match="unable to access"):
        made.find(glance.Who("token", catalog), "name")
    with pytest.raises(errors.ImageServiceUnavailable, match="glance_api_servers"):
        glance.Glance(settings.Glance(region="c"), {"auth_type": "none"}).find(glance.Who("token", catalog), "name")


@pytest.mark.parametrize("away", ["refuses", "breaks off", "says so"])
def test_of_several_servers_the_next_one_is_asked(fake: Fake, tmp_path: Path, away: str) -> None:
    first = Fake()
    first.does = sends(b"", 0, 503) if away == "says so" else lambda handler: handler.connection.close()
    if away == "refuses":
        first.close()
    servers = (f"{first.url}/one", f"{fake.url}/two")
    made = glance.Glance(settings.Glance(servers=servers, retries=0), {"auth_type": "none"})
    fake.does = sends(CONTENT, len(CONTENT))
    made.fetch(image(), tmp_path / "image", 10**6)
    assert (tmp_path / "image").read_bytes() == CONTENT
    assert fake.seen == [("GET", f"/two/v2/images/{ID}/file")]
    assert first.seen == ([] if away == "refuses" else [("GET", f"/one/v2/images/{ID}/file")])
    if away != "refuses":
        first.close()


def test_what_breaks_off_is_fetched_again(fake: Fake, tmp_path: Path) -> None:
    made = glance.Glance(settings.Glance(servers=(fake.url,), retries=1), {"auth_type": "none"})

    def does(handler: Any) -> None:
        sends(CONTENT if len(fake.seen) > 1 else CONTENT[:-5], len(CONTENT))(handler)

    fake.does = does
    made.fetch(image(), tmp_path / "image", 10**6)
    assert (tmp_path / "image").read_bytes() == CONTENT
    assert len(fake.seen) == 2


@pytest.mark.parametrize("then", ["queued", "saving", "active"])
def test_what_breaks_off_is_sent_again_where_it_is_taken(fake: Fake, tmp_path: Path, then: str) -> None:
    """What an image is after a service died while it took the data, the service says."""
    (tmp_path / "file").write_bytes(CONTENT)
    made = glance.Glance(settings.Glance(servers=(fake.url,), retries=1), {"auth_type": "none"})
    status, came = ["queued"], list[bytes]()

    def does(handler: Any) -> None:
        if handler.command == "GET":
            shown = json.dumps({"id": ID, "status": status[0]}).encode()
            return sends(shown, len(shown))(handler)
        came.append(handler.rfile.read(int(handler.headers["Content-Length"])))
        if len(came) == 1:
            status[0] = then
            return None  # and the connection ends
        return sends(b"", 0, 204)(handler)

    fake.does = does
    if then == "saving":
        with pytest.raises(errors.BrickError, match="which is saving now"):
            made.store(ID, tmp_path / "file", protected=False)
    else:
        made.store(ID, tmp_path / "file", protected=False)
    assert came == [CONTENT] * (2 if then == "queued" else 1)


def test_an_image_whose_request_goes_no_further_is_deleted(fake: Fake, tmp_path: Path) -> None:
    """The request stops after the image was made; what it had promised before is kept, and it is told."""
    images = glance.Glance(settings.Glance(servers=(fake.url,), retries=0), {"auth_type": "none"})
    with world.running(tmp_path, glance=images) as (site, http):
        api = Client(site, http)
        volume = api.a_volume()
        deleted = threading.Event()

        def does(handler: Any) -> None:
            if handler.command == "DELETE":
                deleted.set()
                return sends(b"", 0, 404 if len(fake.seen) > 2 else 204)(handler)
            with site.db.begin() as tx:  # much later
                [due] = flows.open_named(tx, ["forget_image"])
                tx.execute(flows.flows.update().values(not_before="2000"))
            assert due.params["image_id"] in handler.rfile.read(int(handler.headers["Content-Length"])).decode()
            assert deleted.wait(60)
            return sends(b"{}", 2, 201)(handler)

        fake.does = does
        body = {"os-volume_upload_image": {"image_name": "up", "disk_format": "qcow2"}}
        headers = {"OpenStack-API-Version": "volume 3.60"}
        said = api.json("POST", f"/v3/volumes/{volume['id']}/action", body, 409, headers=headers)
        assert "took too long" in said["conflictingRequest"]["message"]
        assert api.json("GET", f"/v3/volumes/{volume['id']}", headers=headers)["volume"]["status"] == "available"
        with site.db.read() as tx:
            assert flows.open_named(tx, ["upload_image"]) == []
