"""A pool keeps the images that volumes are made of: the second is a clone, and nobody lacks the room they take."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.flows import soundness
from tests.own.conftest import Client

import world
from brickyard import glance
from brickyard.core import clock, image_cache
from brickyard.core.bricks import Kind, name_of
from brickyard.db import flows, schema, tokens
from brickyard.flows.image_cache import content_of
from brickyard.service import audit, reports

MIB = 1024 * 1024
ENABLED, MAX_GIB, MAX_COUNT = image_cache.OPTIONS
V3 = {"OpenStack-API-Version": "volume 3.60"}


@pytest.fixture
def keeping(tmp_path: Path) -> Iterator[Client]:
    with world.running(tmp_path, backend_options={ENABLED: True}) as (site, http):
        yield Client(site, http)


def limit(api: Client, **options: Any) -> None:
    """Say so in the configuration of the pool, and report it."""
    node = api.site.world.nodes["h1"]
    node.backends["raw"].options = {**node.backends["raw"].options, **options}
    reports.take(api.site.db, api.site.world.places, node)


def room(api: Client, gib: int) -> None:
    """What may be promised of everything there is."""
    with api.site.db.begin() as tx:
        for table in (schema.pools, schema.storages):
            tx.execute(sa.update(table).values(limit_gib=gib))
    api.site.world.places.refresh()


def an_image(api: Client, name: str, **more: Any) -> Any:
    image = api.json("POST", "/v1/images", {"name": name, "kind": "disk", "format": "raw", **more}, 201)
    return api.upload(image["id"], "disk", name.encode().ljust(MIB, b"."))


def begin(api: Client, image: Any, size: int = 1) -> str:
    body = {"volume": {"size": size, "imageRef": image["id"]}}
    return str(api.json("POST", "/v3/volumes", body, 202, headers=V3)["volume"]["id"])


def settled(api: Client, kind: str, id: str) -> Any:
    deadline = clock.monotonic() + 60
    while clock.monotonic() < deadline:
        found = api.json("GET", f"/v3/{kind}s/{id}", headers=V3)[kind]
        if found["status"] not in ("creating", "extending"):
            return found
        threading.Event().wait(0.05)
    raise AssertionError(f"{kind} {id} does not come to rest")


def made(api: Client, image: Any, size: int = 1) -> str:
    """A volume of the image, with its content."""
    id = begin(api, image, size)
    holds(api, id, image)
    return id


def holds(api: Client, id: str, image: Any) -> None:
    assert settled(api, "volume", id)["status"] == "available"
    path = api.site.world.nodes["h1"].open_brick("raw", name_of(Kind.VOLUME, id)).path
    with open(path, "rb") as file:
        assert file.read(MIB) == image["name"].encode().ljust(MIB, b".")


def kept(api: Client) -> list[str]:
    """The ids of the images whose copies are there and stay, oldest use first."""
    return [row.image_id for row in rows(api) if row.status == "available"]


def rows(api: Client) -> list[Any]:
    table = schema.cached_images
    with api.site.db.read() as tx:
        return list(tx.execute(sa.select(table).order_by(table.c.last_used_at)))


def at_rest(api: Client) -> None:
    """Nothing is done any more, and the world is as it should be."""
    done(api)
    soundness.check(api.site)
    assert audit.look(api.site) == []


def done(api: Client) -> None:
    """Nothing is done any more."""
    deadline = clock.monotonic() + 60
    while clock.monotonic() < deadline:
        with api.site.db.read() as tx:
            if not flows.list_(tx, open_only=True, limit=1):
                return
        threading.Event().wait(0.05)
    raise AssertionError("the flows do not come to rest")


def counted(api: Client) -> tuple[int, ...]:
    """Hits, misses, images and GiB, as the metrics say."""
    lines = dict(line.rsplit(" ", 1) for line in api.call("GET", "/metrics").text.splitlines() if line[0] != "#")
    names = ("hits_total", "misses_total", "images", "gib")
    return tuple(int(float(lines[f'brickyard_image_cache_{name}{{pool="h1@raw#raw"}}'])) for name in names)


def test_the_second_volume_of_an_image_is_a_clone(keeping: Client) -> None:
    image = an_image(keeping, "one")
    made(keeping, image)
    assert (kept(keeping), counted(keeping)) == ([image["id"]], (0, 1, 1, 1))
    keeping.site.world.images.joinpath(image["files"]["disk"]).unlink()  # nothing reads it any more
    made(keeping, image, 3)
    assert counted(keeping) == (1, 1, 1, 1)
    keeping.site.world.images.joinpath(image["files"]["disk"]).write_bytes(b"one".ljust(MIB, b"."))
    with keeping.site.db.read() as tx:
        [project] = set(tx.scalars(sa.select(schema.volumes.c.project_id)))
    usage = keeping.json("GET", f"/v3/os-quota-sets/{project}", params={"usage": "true"})["quota_set"]
    assert (usage["gigabytes"]["in_use"], usage["volumes"]["in_use"]) == (4, 2)
    assert keeping.json("GET", "/v1/pools/h1@raw%23raw")["claimed_gib"] == 5
    at_rest(keeping)


def test_a_pool_that_keeps_none_makes_each_of_the_image(api: Client) -> None:
    image = an_image(api, "one")
    for _ in range(2):
        made(api, image)
    assert (kept(api), counted(api)) == ([], (0, 0, 0, 0))
    at_rest(api)


def test_many_at_once_make_one_copy(keeping: Client) -> None:
    image = an_image(keeping, "one")
    ids = [begin(keeping, image) for _ in range(6)]
    for id in ids:
        holds(keeping, id, image)
    assert (kept(keeping), counted(keeping)) == ([image["id"]], (5, 1, 1, 1))
    at_rest(keeping)


@pytest.mark.parametrize("bound", [{MAX_COUNT: 2}, {MAX_GIB: 2}])
def test_of_more_than_may_be_kept_the_least_recently_used_goes(keeping: Client, bound: Any) -> None:
    limit(keeping, **bound)
    one, two, three = (an_image(keeping, name) for name in ("one", "two", "three"))
    for image in (one, two, one, three):
        made(keeping, image)
    assert kept(keeping) == [one["id"], three["id"]]
    at_rest(keeping)


def test_an_image_larger_than_all_that_may_be_kept_is_not_kept(keeping: Client) -> None:
    limit(keeping, **{MAX_GIB: 1})
    large = an_image(keeping, "large")
    with keeping.site.db.begin() as tx:
        tx.execute(sa.update(schema.images).values(virtual_size_bytes=2 * 1024**3))
    made(keeping, large, 2)
    assert (kept(keeping), counted(keeping)) == ([], (0, 1, 0, 0))
    at_rest(keeping)


def test_who_needs_the_room_gets_it(keeping: Client) -> None:
    """A volume, a larger one, and a snapshot of it: each time the pool is full but for what it keeps."""
    room(keeping, 3)
    image = an_image(keeping, "one")
    first = made(keeping, image)
    volume = keeping.a_volume(2)
    assert kept(keeping) == []
    keeping.json("DELETE", f"/v3/volumes/{volume['id']}", status=202)
    at_rest(keeping)
    second = made(keeping, image)
    assert kept(keeping) == [image["id"]]
    keeping.json("POST", f"/v3/volumes/{first}/action", {"os-extend": {"new_size": 2}}, 202)
    assert (settled(keeping, "volume", first)["size"], kept(keeping)) == (2, [])
    keeping.json("DELETE", f"/v3/volumes/{first}", status=202)
    at_rest(keeping)
    made(keeping, image)
    keeping.json("DELETE", f"/v3/volumes/{second}", status=202)
    at_rest(keeping)
    [volume_id] = [one["id"] for one in keeping.json("GET", "/v3/volumes", headers=V3)["volumes"]]
    room(keeping, 2)
    snapshot = keeping.json("POST", "/v3/snapshots", {"snapshot": {"volume_id": volume_id}}, 202, headers=V3)
    assert settled(keeping, "snapshot", snapshot["snapshot"]["id"])["status"] == "available"
    assert kept(keeping) == []
    at_rest(keeping)


def test_without_enough_of_it_the_request_is_refused_and_nothing_goes(keeping: Client) -> None:
    room(keeping, 3)
    image = an_image(keeping, "one")
    made(keeping, image)
    id = keeping.json("POST", "/v3/volumes", {"volume": {"size": 3}}, 202, headers=V3)["volume"]["id"]
    assert settled(keeping, "volume", id)["status"] == "error"
    assert kept(keeping) == [image["id"]]
    at_rest(keeping)


@pytest.mark.parametrize(("since", "status"), [("2020", "available"), ("2999", "error")])
def test_what_could_not_be_removed_is_tried_again_after_a_while(keeping: Client, since: str, status: str) -> None:
    room(keeping, 2)
    made(keeping, an_image(keeping, "one"))
    with keeping.site.db.begin() as tx:
        tx.execute(sa.update(schema.cached_images).values(status="error_deleting", updated_at=since))
    id = keeping.json("POST", "/v3/volumes", {"volume": {"size": 1}}, 202, headers=V3)["volume"]["id"]
    assert settled(keeping, "volume", id)["status"] == status
    at_rest(keeping)


def test_a_pool_without_room_for_it_keeps_nothing(keeping: Client) -> None:
    room(keeping, 1)
    made(keeping, an_image(keeping, "one"))
    assert (kept(keeping), counted(keeping)) == ([], (0, 1, 0, 0))
    at_rest(keeping)


def test_an_instance_gets_the_room_as_well(keeping: Client) -> None:
    keeping.a_flavor("small")
    keeping.a_kernel()
    room(keeping, 3)
    made(keeping, an_image(keeping, "one"))
    body = {"name": "i", "flavor": "small", "image": "tiny", "local_storage": [{"size_gib": 2}]}
    instance = keeping.json("POST", "/v1/instances", body, 202)
    keeping.done(instance["flow_id"])
    assert kept(keeping) == []
    at_rest(keeping)


def test_what_cannot_be_cloned_is_made_of_the_image_and_kept_anew(keeping: Client) -> None:
    image = an_image(keeping, "one")
    made(keeping, image)
    [bad] = rows(keeping)
    keeping.site.world.nodes["h1"].delete_brick("raw", name_of(Kind.IMAGE, bad.id))
    [found] = audit.look(keeping.site)
    assert found.difference.kind == "missing_brick"
    assert "makes it anew" in found.difference.message
    made(keeping, image)
    at_rest(keeping)
    assert rows(keeping) == []
    made(keeping, image)
    assert kept(keeping) == [image["id"]]
    at_rest(keeping)


def test_what_no_row_knows_is_removed_by_an_audit(keeping: Client) -> None:
    made(keeping, an_image(keeping, "one"))
    done(keeping)
    [row] = rows(keeping)
    with keeping.site.db.begin() as tx:
        tx.execute(sa.delete(schema.cached_images))
    found = keeping.json("POST", "/v1/audit", {"grace_s": 0})["differences"]
    assert {(one["kind"], one["repair"]) for one in found} == {
        ("unknown_image", "remove"), ("claim_without_owner", "release"),
    }  # fmt: skip
    done(keeping)
    keeping.json("POST", "/v1/audit", {"grace_s": 0})  # of what is about the same id, one repair at a time is begun
    at_rest(keeping)
    assert keeping.site.world.nodes["h1"].find_brick("raw", name_of(Kind.IMAGE, row.id)) is None


def test_an_image_of_another_project_is_not_to_be_had_of_the_pool_either(tmp_path: Path) -> None:
    with world.running(tmp_path, backend_options={ENABLED: True}, auth_strategy="token") as (site, http):
        with site.db.begin() as tx:
            for name, project in (("ann", "blue"), ("bob", "red")):
                tokens.insert(tx, name, user_id=name, project_id=project, roles=["member"])
        ann, bob = Client(site, http, "ann"), Client(site, http, "bob")
        image = an_image(ann, "secret")
        made(ann, image)
        assert kept(ann) == [image["id"]]
        body = {"volume": {"size": 1, "imageRef": image["id"]}}
        refused = bob.json("POST", "/v3/volumes", body, 400, headers=V3)["badRequest"]["message"]
        assert refused == f"Image {image['id']} could not be found."
        assert counted(Client(site, http)) == (0, 1, 1, 1)
        flow_projects = {flow["project_id"] for flow in ann.json("GET", "/v1/flows")["flows"]}
        assert flow_projects == {"blue"}


def test_a_pool_goes_with_what_it_keeps(keeping: Client, tmp_path: Path) -> None:
    new = {"host": "h1", "name": "more", "driver": "raw", "path": str(tmp_path / "more")}
    keeping.json("POST", "/v1/pools", new, 201)
    keeping.json("PATCH", "/v1/pools/h1@raw", {"enabled": False})
    node = keeping.site.world.nodes["h1"]
    node.backends["more"].options = {**node.backends["more"].options, ENABLED: True}
    reports.take(keeping.site.db, keeping.site.world.places, node)
    image = an_image(keeping, "one")
    id = begin(keeping, image)
    assert settled(keeping, "volume", id)["status"] == "available"
    refused = keeping.fault("DELETE", "/v1/pools/h1@more", status=409)["message"]
    assert "1 volumes" in refused
    assert kept(keeping) == [image["id"]]
    keeping.json("DELETE", f"/v3/volumes/{id}", status=202)
    at_rest(keeping)
    keeping.json("DELETE", "/v1/pools/h1@more", status=204)
    assert rows(keeping) == []
    assert not list((tmp_path / "more").glob("_image-*"))


def test_a_driver_that_cannot_clone_keeps_nothing() -> None:
    assert image_cache.reported({ENABLED: True}, {"imports": True, "clones": False}) == {}
    assert image_cache.limits({}) is None


def test_what_a_content_depends_on_makes_another_version(tmp_path: Path) -> None:
    known = glance.Image(
        "i", "n", "active", "qcow2", "bare", 10, 2 * 1024**3, 0, 0, "md5", "sha512", "abc", {}, "2026-01-01T00:00:00Z"
    )

    with world.running(tmp_path) as (site, _), site.db.read() as tx:
        found = [
            content_of(tx, {"kind": "image", "id": "i", "facts": dataclasses.asdict(dataclasses.replace(known, **new))})
            for new in (
                {},
                {"name": "other"},
                {"hash_value": "abd"},
                {"updated_at": "2026-01-02T00:00:00Z"},
                {"disk_format": "vmdk"},
                {"checksum": "other"},
            )
        ]
        unknown = dataclasses.replace(known, virtual_size_bytes=None)
        nothing = dataclasses.replace(known, hash_value=None, checksum=None)
        for image in (unknown, nothing):
            assert content_of(tx, {"kind": "image", "id": "i", "facts": dataclasses.asdict(image)}) is None
    assert found[0] == found[1]
    assert len({one.version for one in found if one}) == 5
    assert {one.gib for one in found if one} == {2}
