"""Tokens of a real Keystone that end in the middle of long work: the work goes on, and nobody keeps them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import httpx
import pytest
import test_glance
from waiting import until

from brickyard import glance
from brickyard.core import settings

pytestmark = pytest.mark.wire
MIB = 1024 * 1024
site = test_glance.site
tidy = test_glance.tidy


def end(cloud: Any, token: str) -> None:
    """From now on nobody believes it."""
    boss = {"X-Auth-Token": cloud.token("boss"), "X-Subject-Token": token}
    assert httpx.delete(f"{cloud.url}/auth/tokens", headers=boss, timeout=60).status_code == 204
    said = httpx.get(f"{cloud.url}/auth/tokens", headers=boss, timeout=60)
    assert said.status_code == 404


def test_what_a_user_began_goes_on_when_the_token_has_ended(site: test_glance.Site) -> None:
    """Each request has a token of its own, which ends as soon as the request is answered."""
    image = site.image(os.urandom(MIB))
    keystone = site.cloud

    def asks(path: str, body: Any) -> Any:
        token = str(keystone.session("ann", keystone.users["ann"][1]).get_token())
        headers = {"X-Auth-Token": token, "OpenStack-API-Version": "volume 3.68"}
        said = httpx.post(site.service.endpoint + path, json=body, headers=headers, timeout=60)
        end(keystone, token)
        assert said.status_code == 202, said.text
        return said.json() if said.content else None

    made = asks("/volumes", {"volume": {"size": 1, "imageRef": image, "volume_type": "raw"}})["volume"]["id"]
    site.made.append(made)
    assert site.settled("ann", made)["status"] == "available"
    body = {"os-volume_upload_image": {"image_name": "up", "disk_format": "qcow2"}}
    uploaded = asks(f"/volumes/{made}/action", body)["os-volume_upload_image"]["image_id"]
    assert site.settled("ann", made)["status"] == "available"
    assert site.images("ann", "GET", f"/{uploaded}").json()["status"] == "active"


def test_the_service_logs_in_anew_when_its_own_token_has_ended(site: test_glance.Site, tmp_path: Path) -> None:
    """Also between what the image service is asked first and what it is asked last."""
    image = site.image(content := os.urandom(MIB))
    login = {
        "auth_type": "password", "auth_url": site.cloud.url, "username": "brickyard", "password": "secret",
        "user_domain_id": "default", "project_name": "service", "project_domain_id": "default",
    }  # fmt: skip
    service = glance.Glance(settings.Glance(servers=(site.cloud.image,), retries=2), login)
    end(site.cloud, service._login.session().get_token())  # before the image service has ever seen it
    facts = service.find(glance.Who(site.cloud.token("ann")), image)
    service.fetch(facts, tmp_path / "image", 2 * MIB)
    assert (tmp_path / "image").read_bytes() == content
    queued = site.images("ann", "POST", "", json={"name": "q", "disk_format": "raw", "container_format": "bare"})
    end(site.cloud, service._login.session().get_token())

    def stored() -> bool:
        service.store(queued.json()["id"], tmp_path / "image", protected=False)
        return bool(site.images("ann", "GET", f"/{queued.json()['id']}").json()["status"] == "active")

    until(stored)
