"""Tokens of a real Keystone that expire: in the middle of long work, which goes on, and before a request, which is
refused unless a service vouches for who sends it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import test_glance
import test_glance_away
import test_lost_tokens
from waiting import until

pytestmark = pytest.mark.wire
MIB = 1024 * 1024
LIVES_S = (3, 6, 12, 24, 48)  # of a token, until the machine was quick enough
behind = test_glance_away.behind


class Ann:
    """Somebody whose tokens expire soon; those that were given out are in `tokens`."""

    def __init__(self, site: test_glance.Site) -> None:
        self.site, self.tokens = site, list[str]()

    def ask(self, token: str, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        said = {"X-Auth-Token": token, "OpenStack-API-Version": "volume 3.68", **headers}
        return httpx.request(method, self.site.service.endpoint + path, json=body, headers=said, timeout=60)

    def briefly(self, method: str, path: str, body: Any = None) -> Any:
        """Ask with a new token that is good for a moment, but for this."""
        for life_s in LIVES_S:
            token = self.site.cloud.brief_token("ann", life_s)
            said = self.ask(token, method, path, body)
            if said.status_code != 401:
                self.tokens.append(token)
                assert said.status_code in (200, 202), said.text
                return said.json()
        raise AssertionError("no token lived long enough")

    def wait(self) -> None:
        """Until no token counts any more."""
        until(lambda: not any(self.site.cloud.believes(token) for token in self.tokens))


def test_what_takes_longer_than_its_token_lives_ends_well(
    behind: tuple[test_glance.Site, test_glance_away.Door],
) -> None:
    """A volume of an image, an image of a volume and a backup are begun, and go on when no token is good any more."""
    site, door = behind
    image = site.image(content := os.urandom(MIB))
    source, other = site.create(image)["id"], site.create(image)["id"]
    ann = Ann(site)
    fetch, send = f"GET /v2/images/{image}/file".encode(), b"/file HTTP"
    door.holds = (fetch, send)
    try:
        made = ann.briefly("POST", "/volumes", {"volume": {"size": 1, "imageRef": image, "volume_type": "raw"}})
        site.made.append(volume := made["volume"]["id"])
        until(lambda: door.held == [fetch])
        body = {"os-volume_upload_image": {"image_name": "up", "disk_format": "qcow2"}}
        uploaded = ann.briefly("POST", f"/volumes/{source}/action", body)["os-volume_upload_image"]["image_id"]
        until(lambda: door.held == [fetch, send])
        # half of the threads are for what takes long, and they wait for the image service
        backup = ann.briefly("POST", "/backups", {"backup": {"volume_id": other}})["backup"]["id"]
        ann.wait()
        shown = site.ask("ann", "GET", f"/backups/{backup}")["backup"]
        assert (shown["status"], site.ask("ann", "GET", f"/volumes/{volume}")["volume"]["status"]) == (
            "creating",
            "creating",
        )
    finally:
        door.holds = ()
        door.lets_go.set()
    assert site.settled("ann", volume)["status"] == "available"
    with site.brick(volume).open("rb") as brick:
        assert brick.read(MIB) == content
    assert site.settled("ann", source)["status"] == "available"
    assert site.images("ann", "GET", f"/{uploaded}").json()["status"] == "active"
    until(lambda: site.ask("ann", "GET", f"/backups/{backup}")["backup"]["status"] != "creating")
    assert site.ask("ann", "GET", f"/backups/{backup}")["backup"]["status"] == "available"
    site.ask("ann", "DELETE", f"/backups/{backup}", status=202)


def test_an_expired_token_counts_only_with_that_of_a_service(
    behind: tuple[test_glance.Site, test_glance_away.Door],
) -> None:
    """Whether it was seen before or not; Nova hands on what has expired in a long boot, and images are found by it."""
    site, _ = behind
    image, ann = site.image(os.urandom(MIB)), Ann(site)
    ann.briefly("GET", "/volumes")
    ann.tokens.append(site.cloud.brief_token("ann", LIVES_S[0]))  # nobody has seen this one
    ann.wait()
    nova = {"X-Service-Token": site.cloud.token("nova")}
    for token in ann.tokens:
        for more in ({}, {"X-Service-Token": site.cloud.token("ann")}, {"X-Service-Token": token}):
            refused = ann.ask(token, "GET", "/volumes", **more)
            assert (refused.status_code, refused.json()["unauthorized"]["code"]) == (401, 401), refused.text
            assert refused.headers["WWW-Authenticate"].startswith("Keystone uri=")
        assert ann.ask(token, "GET", "/volumes", **nova).status_code == 200
        asked = {"volume": {"size": 1, "imageRef": image, "volume_type": "raw"}}
        made = ann.ask(token, "POST", "/volumes", asked, **nova)
        assert made.status_code == 202, made.text
        site.made.append(made.json()["volume"]["id"])
        assert site.settled("ann", site.made[-1])["status"] == "available"


def test_a_token_that_was_taken_back_finds_no_image(
    behind: tuple[test_glance.Site, test_glance_away.Door],
) -> None:
    """It is remembered here, and the image service has never seen it: the caller is told to log in again."""
    site, _ = behind
    ann, image = Ann(site), site.image(os.urandom(MIB))
    token = str(site.cloud.session("ann", site.cloud.users["ann"][1]).get_token())
    assert ann.ask(token, "GET", "/volumes").status_code == 200
    test_lost_tokens.end(site.cloud, token)
    volume = site.create(image)["id"]
    upload = {"os-volume_upload_image": {"image_name": "up", "disk_format": "raw"}}
    ways: tuple[tuple[str, Callable[[], dict[str, Any]]], ...] = (
        ("/volumes", lambda: {"volume": {"size": 1, "imageRef": image, "name": str(uuid.uuid4())}}),
        (f"/volumes/{volume}/action", lambda: upload),
    )
    for path, body in ways:
        refused = ann.ask(token, "POST", path, body())
        assert (refused.status_code, "log in again" in refused.text) == (401, True), refused.text
    assert site.settled("ann", volume)["status"] == "available"
