"""A host is drained: its volumes move to other hosts, what cannot is named, and nothing new goes there."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import pytest
import sqlalchemy as sa
from tests.flows import soundness

sys.path.insert(0, str(Path(__file__).parents[1]))
import world
from brickyard.api import app
from brickyard.db import schema
from brickyard.hypervisor import memory
from brickyard.service import audit

DRAIN = "/v1/hosts/h2/drain"


@pytest.fixture
def two(tmp_path: Path, client: Any) -> Iterator[Any]:
    """Everything new goes to h2, at first; each host runs instances and exports."""
    minds = {"h1": memory.Memory(), "h2": memory.Memory()}
    site = world.make(tmp_path, {"raw": "raw"}, None, minds, exports=True)
    site.waker.start()
    api = client(site, falcon.testing.TestClient(app.create_app(site)))
    api.a_flavor("small", vcpus=1, memory_mib=64)
    api.a_kernel("k")
    only(api, "h2")
    yield api
    deadline = time.monotonic() + 60
    while api.json("GET", "/v1/flows", params={"open": "true", "all_projects": "true"})["flows"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    soundness.check(site)
    site.waker.stop()
    site.db.close()


def only(api: Any, *names: str) -> None:
    for name in ("h1", "h2"):
        api.json("PATCH", f"/v1/pools/{name}@raw", {"enabled": name in names})


def instance(api: Any, host: str, locality: str, *sizes: int) -> Any:
    """An instance on `host`, with new volumes on h2."""
    for name in ("h1", "h2"):
        api.json("PATCH", f"/v1/hosts/{name}", {"enabled": True})
    if host == "h1":  # where nothing but instances goes
        with api.site.db.begin() as tx:
            tx.execute(sa.update(schema.hosts).where(schema.hosts.c.name == "h2").values(vcpus_total=0))
        api.site.world.places.refresh()
    storage = [{"size_gib": size} for size in sizes]
    body = {"name": "one", "flavor": "small", "image": "k", "locality": locality, "local_storage": storage}
    made = api.json("POST", "/v1/instances", body, 202)
    api.done(api.json("GET", "/v1/flows", params={"resource_id": made["id"]})["flows"][0]["id"])
    shown = api.json("GET", f"/v1/instances/{made['id']}")
    assert (shown["status"], shown["host"]) == ("active", host)
    return shown


def volumes_of(api: Any, made: Any) -> set[str]:
    return {row["volume_id"] for row in api.json("GET", f"/v1/instances/{made['id']}")["volumes"]}


def states(found: Any) -> dict[str, str]:
    return {row["id"]: row["state"] for row in found["volumes"]}


def why(found: Any, id: str) -> str:
    return str(next(row["reason"] for row in found["volumes"] if row["id"] == id))


def drain(api: Any, **body: Any) -> Any:
    api.done(api.json("POST", DRAIN, body, 202)["flow_id"])
    return api.json("GET", DRAIN)


def test_what_instances_have_moves_and_the_rest_is_named(two: Any) -> None:
    far = instance(two, "h1", "rack", 3, 2, 1)
    spare = two.a_volume(1)["id"]
    two.a_snapshot(spare)
    assert set(states(two.json("GET", DRAIN)).values()) == {"stays"}  # the other host takes nothing
    only(two, "h1", "h2")

    planned = two.json("GET", DRAIN)
    assert states(planned) == {**dict.fromkeys(volumes_of(two, far), "planned"), spare: "stays"}
    assert {row["target"] for row in planned["volumes"]} == {"h1@raw#raw", None}
    assert "snapshots" in why(planned, spare)
    assert (planned["status"], planned["instances"], planned["host"]["enabled"]) == ("none", [], True)

    done = drain(two)
    assert states(done) == {**dict.fromkeys(volumes_of(two, far), "moved"), spare: "stays"}
    assert (done["status"], done["parallel"], done["host"]["enabled"]) == ("done", 2, False)
    shown = two.json("GET", "/v3/volumes/detail", params={"all_tenants": "1"})["volumes"]
    assert {v["id"] for v in shown if v["os-vol-host-attr:host"] == "h1@raw#raw"} == volumes_of(two, far)
    assert audit.look(two.site) == []

    again = drain(two, parallel=1)
    assert (states(again), again["flow_id"] != done["flow_id"]) == ({spare: "stays"}, True)


def test_an_instance_that_wants_its_volumes_on_its_own_host_keeps_them(two: Any) -> None:
    near = instance(two, "h2", "host", 1)
    wide = instance(two, "h2", "rack", 1)
    only(two, "h1", "h2")
    done = drain(two)
    [stays], [moved] = volumes_of(two, near), volumes_of(two, wide)
    assert states(done) == {stays: "stays", moved: "moved"}
    assert near["id"] in why(done, stays) and "locality" in why(done, stays)
    assert {row["id"] for row in done["instances"]} == {near["id"], wide["id"]}
    assert two.json("GET", f"/v1/instances/{wide['id']}")["host"] == "h2"
    two.json("POST", f"/v1/instances/{wide['id']}/stop", status=202)  # it goes on as before


def test_no_more_is_planned_than_there_is_room_for_and_types_hold(two: Any) -> None:
    pool = two.json("GET", "/v1/pools/h1@raw")
    with two.site.db.begin() as tx:
        tx.execute(sa.update(schema.pools).where(schema.pools.c.id == pool["id"]).values(limit_gib=5))
    two.json("POST", "/v3/types", {"volume_type": {"name": "other", "extra_specs": {"volume_backend_name": "x"}}})
    made = instance(two, "h1", "rack", 4, 3)
    only(two, "h1", "h2")
    planned = two.json("GET", DRAIN)
    assert [(row["size_gib"], row["state"]) for row in planned["volumes"]] == [(4, "planned"), (3, "stays")]
    assert "3 GiB asked, 4 of 5 GiB are promised" in why(planned, planned["volumes"][1]["id"])
    types = two.json("GET", "/v3/types")["volume_types"]
    with two.site.db.begin() as tx:
        change = sa.update(schema.volumes).where(schema.volumes.c.id.in_(volumes_of(two, made)))
        tx.execute(change.values(volume_type_id=next(t["id"] for t in types if t["name"] == "other")))
    done = drain(two)
    assert set(states(done).values()) == {"stays"}
    assert "the type asks volume_backend_name" in done["volumes"][0]["reason"]


def test_only_a_host_that_answers_is_drained(two: Any) -> None:
    assert two.fault("POST", DRAIN, {"parallel": 0})["field"] == "parallel"
    assert "h1" in two.fault("POST", "/v1/hosts/h9/drain", {}, 404)["message"]
    with two.site.db.begin() as tx:
        tx.execute(sa.update(schema.hosts).where(schema.hosts.c.name == "h2").values(heartbeat_at="2020"))
    assert "is down" in two.fault("POST", DRAIN, {}, 409)["message"]
    assert two.json("GET", "/v1/hosts/h2")["enabled"]
