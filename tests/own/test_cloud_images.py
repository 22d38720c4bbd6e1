"""An image service that lies, or dies in the middle: what it sends is never taken for an image."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from http import server
from pathlib import Path
from typing import Any

import pytest

from brickyard import glance
from brickyard.core import errors, settings

CONTENT = b"all of it" * 1000
ID = "3c9f6f26-6d4f-4a31-9f0e-64a1f7a1a0c1"


class Fake:
    """It does with each request what `does` says."""

    def __init__(self) -> None:
        self.does: Callable[[server.BaseHTTPRequestHandler], None]
        fake = self

        class Handler(server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fake.does(self)

            do_PUT = do_GET

            def log_message(self, *_: Any) -> None: ...

        self.server = server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def fake() -> Iterator[Fake]:
    made = Fake()
    yield made
    made.server.shutdown()
    made.server.server_close()


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


def sends(content: bytes, said: int | None = None, status: int = 200) -> Callable[[Any], None]:
    """Send `content`, and say before that it is `said` bytes; None: until the connection ends."""

    def does(handler: Any) -> None:
        handler.send_response(status)
        if said is not None:
            handler.send_header("Content-Length", str(said))
        handler.end_headers()
        handler.wfile.write(content)

    return does


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
