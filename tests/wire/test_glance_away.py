"""A real Glance that goes away in the middle of a download or an upload: it is given time, and nothing is left."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloud
import pytest
import test_glance
from tests import ports
from waiting import until

import conftest

pytestmark = pytest.mark.wire
MIB = 1024 * 1024
CONFIG = """
[DEFAULT]
glance_api_servers = http://127.0.0.1:{nobody},http://127.0.0.1:{door}
glance_num_retries = 1
glance_request_timeout = 60
conductor_threads = 4
"""


class Door:
    """All that is said to a Glance and by it goes through here, in pieces, until it is shut."""

    def __init__(self, port: int) -> None:
        self._to, self._listening = port, socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.is_open, self.cuts = True, list[tuple[bytes, int]]()  # (a word that is said, bytes after which it ends)
        self.shuts = False  # with the next cut, and for good
        self.holds, self.held = tuple[bytes, ...](), list[bytes]()  # words, and those that were said and wait
        self.lets_go = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._listening.accept()
            except OSError:
                return
            if not self.is_open:
                caller.close()
                continue
            threading.Thread(target=self._pass, args=(caller,), daemon=True).start()

    def _pass(self, caller: socket.socket) -> None:
        with caller, socket.create_connection(("127.0.0.1", self._to)) as glance:
            said = caller.recv(65536)
            if word := next((word for word in self.holds if word in said), None):
                self.held.append(word)
                self.lets_go.wait()
            glance.sendall(said)
            limit = next((cut for cut in self.cuts if cut[0] in said), None)
            if limit is not None:
                self.cuts.remove(limit)
                self.is_open = self.is_open and not self.shuts
            sides = ((caller, glance, limit), (glance, caller, limit))
            threads = [threading.Thread(target=self._carry, args=side, daemon=True) for side in sides]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _carry(self, of: socket.socket, to: socket.socket, limit: tuple[bytes, int] | None) -> None:
        left = limit[1] if limit is not None else 1 << 40
        with contextlib.suppress(OSError):
            while left > 0 and (piece := of.recv(min(65536, left))):
                left -= len(piece)
                to.sendall(piece)
        for one in (of, to):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listening.close()


@pytest.fixture(scope="module")
def behind(glance_service: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[test_glance.Site, Door]]:
    """A service that finds a Glance at the second of two addresses, behind a door."""
    _, keystone, directory = glance_service
    door = Door(int(keystone.image.rpartition(":")[2]))
    config = cloud.CONFIG.format(url=keystone.url)
    own = CONFIG.format(nobody=ports.one(), door=door.port).replace("[DEFAULT]\n", "").lstrip()
    config = config.replace("[DEFAULT]\n", f"[DEFAULT]\n{own}")
    with conftest.serving(tmp_path_factory.mktemp("away"), "keystone", config) as service:
        site = test_glance.Site(service, keystone, directory)
        specs = {"volume_backend_name": "raw"}
        site.ask("boss", "POST", "/types", {"volume_type": {"name": "raw", "extra_specs": specs}})
        yield site, door
    door.close()


def test_what_breaks_off_once_is_fetched_and_sent_again(behind: tuple[test_glance.Site, Door], tmp_path: Path) -> None:
    site, door = behind
    image = site.image(content := os.urandom(MIB))
    door.cuts.append((f"GET /v2/images/{image}/file".encode(), 200_000))
    volume = site.create(image)
    assert (volume["status"], door.cuts, site.fetched(image)) == ("available", [], 2)
    with site.brick(volume["id"]).open("rb") as brick:
        assert brick.read(MIB) == content
    door.cuts.append((b"/file HTTP", 100_000))
    uploaded = uploads(site, volume["id"])
    assert site.settled("ann", volume["id"])["status"] == "available"
    assert door.cuts == []
    if site.images("ann", "GET", f"/{uploaded}").status_code == 404:  # it would not take the data again
        assert site.why(volume["id"]).startswith("copy volume to image")
    else:
        assert site.images("ann", "GET", f"/{uploaded}").json()["status"] == "active"
    assert site.left() == []


def test_who_stays_away_is_told_and_keeps_no_volume_waiting(behind: tuple[test_glance.Site, Door]) -> None:
    site, door = behind
    image = site.image(os.urandom(MIB))
    volume = site.create(image)["id"]
    door.shuts = True
    try:
        door.cuts.append((f"GET /v2/images/{image}/file".encode(), 200_000))
        failed = site.create(image)
        assert failed["status"] == "error"
        assert "image service" in site.why(failed["id"])
        assert not site.brick(failed["id"]).exists()
        door.is_open = True
        door.cuts.append((b"/file HTTP", 100_000))
        uploaded = uploads(site, volume)
        assert site.settled("ann", volume)["status"] == "available"
        assert site.why(volume).startswith("copy volume to image")
        assert site.images("ann", "GET", f"/{uploaded}").status_code == 200  # nobody could delete it yet
        assert site.left() == []
    finally:
        door.is_open, door.shuts = True, False
    until(lambda: site.images("ann", "GET", f"/{uploaded}").status_code == 404)


def uploads(site: test_glance.Site, volume: str) -> str:
    """Begin to make an image of a volume; its id."""
    body = {"os-volume_upload_image": {"image_name": "up", "disk_format": "qcow2"}}
    said = site.ask("ann", "POST", f"/volumes/{volume}/action", body, 202)
    return str(said["os-volume_upload_image"]["image_id"])
