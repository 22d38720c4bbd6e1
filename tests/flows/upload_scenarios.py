"""Scenarios of uploads: whatever breaks, the image is whole or gone, and the volume is what it was."""

from __future__ import annotations

import dataclasses
import subprocess
import uuid
from typing import Any

from tests import imaging
from tests.flows.backup_scenarios import in_use
from tests.flows.move_scenarios import rest
from tests.flows.scenarios import ME, Scenario, volume

from brickyard import glance
from brickyard.core import settings
from brickyard.db import flows, images
from brickyard.flows import forget_image
from brickyard.service import audit, uploads
from brickyard.service.site import Site

Facts = dict[str, Any]


def upload(site: Site, facts: Facts) -> None:
    settings = dataclasses.replace(site.settings, enable_force_upload=True)
    allowed = dataclasses.replace(site, world=dataclasses.replace(site.world, settings=settings))
    new = uploads.NewUpload("golden", "qcow2", force=True)
    facts["image"] = uploads.upload(allowed, ME, facts["volume"], new).image_id


def found(site: Site, facts: Facts) -> list[Any]:
    with site.db.read() as tx:
        return images.find(tx, facts["image"])


def uploaded(site: Site, facts: Facts) -> None:
    [row] = found(site, facts)
    assert (row.status, row.name, row.project_id, row.min_gib) == ("active", "golden", "project", 1)
    path, raw = site.world.images / row.files["disk"], site.world.images.parent / "raw-image"
    assert path.stat().st_size == row.size_bytes
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(path), str(raw)], check=True)
    assert raw.stat().st_size == 1024**3
    with raw.open("rb") as file:
        assert file.read(6) == b"first\0"
    as_before(site, facts)


def not_uploaded(site: Site, facts: Facts) -> None:
    assert found(site, facts) == []
    as_before(site, facts)


def as_before(site: Site, facts: Facts) -> None:
    assert volume(site, facts["volume"]).status == "in-use"
    assert f"_snapshot-{facts['image']}" not in {brick.name for brick in site.world.nodes["h1"].bricks("raw")}
    assert audit.look(site) == []


def with_image_service(site: Site) -> Facts:
    """One that has no such image any more, which is fine."""
    images = glance.Glance(settings.Glance(servers=(imaging.gone().url,), retries=0), {"auth_type": "none"})
    object.__setattr__(site.world, "glance", images)
    return {"image": str(uuid.uuid4())}


def forget(site: Site, facts: Facts) -> None:
    with site.db.begin() as tx:
        forget_image.queue(tx, facts["image"], project_id="project", request_id="req-1")
    rest(site)


def forgotten(site: Site, facts: Facts) -> None:
    assert ("DELETE", f"/v2/images/{facts['image']}") in imaging.gone().seen
    with site.db.read() as tx:
        assert [row.status for row in flows.of_resource(tx, facts["image"])] == ["done"]


def not_forgotten(site: Site, facts: Facts) -> None:
    with site.db.read() as tx:
        assert [row.status for row in flows.of_resource(tx, facts["image"])] == ["failed"]


SCENARIOS = (
    Scenario("upload_image", in_use, upload, uploaded, not_uploaded),
    Scenario("forget_image", with_image_service, forget, forgotten, not_forgotten),
)
