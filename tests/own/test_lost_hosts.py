"""A host that is lost: what goes with it, what is given up, and that nothing stale is served when it comes back."""

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
from brickyard.core import clock, image_cache
from brickyard.core.bricks import Kind, Label
from brickyard.db import hosts, schema
from brickyard.hypervisor import memory
from brickyard.hypervisor.machine import Guest
from brickyard.service import lost_hosts, reports
from brickyard.service.site import Site

HEADERS = {"OpenStack-API-Version": "volume 3.60"}
STRANGE = "0e7c8a52-2f5c-4c43-8d2f-7d1c5a0b9e11"  # an id that no row has


@pytest.fixture
def two(tmp_path: Path, client: Any) -> Iterator[Any]:
    """h1 is the service's own node, h2 another one, where everything new goes at first."""
    minds = {"h1": memory.Memory(), "h2": memory.Memory()}
    site = world.make(tmp_path, {"raw": "raw"}, None, minds, elsewhere={"h2"})
    site.waker.start()
    api = client(site, falcon.testing.TestClient(app.create_app(site)))
    for path in ("/v1/pools/h1@raw", "/v1/hosts/h1"):
        api.json("PATCH", path, {"enabled": False})
    yield api
    site.waker.stop()
    site.db.close()


def silence(site: Site) -> None:
    with site.db.begin() as tx:
        tx.execute(sa.update(schema.hosts).where(schema.hosts.c.name == "h2").values(heartbeat_at="2020"))


def lose(api: Any, **body: Any) -> None:
    silence(api.site)
    for path in ("/v1/pools/h1@raw", "/v1/hosts/h1"):
        api.json("PATCH", path, {"enabled": True})
    api.done(api.json("POST", "/v1/hosts/h2/lost", body, 202)["flow_id"])


def returning(api: Any) -> str:
    """The latest flow that looks at a host which is back."""
    found = api.json("GET", "/v1/flows", params={"all_projects": "true"})["flows"]
    return str(next(flow["id"] for flow in found if flow["name"] == "return_host"))


def come_back(api: Any) -> Any:
    """The agent of h2 reports, and is looked at before that counts; the log of the flow that does it."""
    node = api.site.world.nodes.returning("h2")
    assert lost_hosts.heard(api.site.db, "h2")
    done = api.done(returning(api))
    assert not lost_hosts.heard(api.site.db, "h2")
    reports.take(api.site.db, api.site.world.places, node)
    return done


def shown(api: Any, id: str) -> Any:
    return api.json("GET", f"/v3/volumes/{id}", headers=HEADERS)["volume"]


def an_instance(api: Any, name: str, **more: Any) -> Any:
    made = api.json("POST", "/v1/instances", {"name": name, "flavor": "small", "image": "tiny", **more}, 202)
    api.done(made["flow_id"])
    return api.json("GET", f"/v1/instances/{made['id']}")


def used(api: Any) -> tuple[int, int, int]:
    """Volumes, snapshots and gigabytes that the quota of the project counts."""
    found = api.json("GET", "/v3/limits", headers=HEADERS)["limits"]["absolute"]
    return found["totalVolumesUsed"], found["totalSnapshotsUsed"], found["totalGigabytesUsed"]


def claimed(api: Any) -> tuple[int, int]:
    pool, host = api.json("GET", "/v1/pools/h2@raw"), api.json("GET", "/v1/hosts/h2")
    return pool["claimed_gib"], host["vcpus_claimed"]


def deleted(api: Any, path: str) -> None:
    """Delete a volume or snapshot, and wait until it is gone."""
    assert api.call("DELETE", path).status_code == 202
    [flow, *_] = api.json("GET", "/v1/flows", params={"resource_id": path.rpartition("/")[2]})["flows"]
    api.done(flow["id"])


def sound(site: Site) -> None:
    """The accounts add up, and nothing is under way."""
    soundness.check(site, settled=False)
    assert not [f for f in soundness.rows(site, schema.flows) if f.status in ("running", "unwinding")]


def differences(api: Any, **body: Any) -> dict[str, Any]:
    """By brick, and after the flows that they were repaired by."""
    found = api.json("POST", "/v1/audit", {"dry_run": True, **body})["differences"]
    for one in found:
        if one["flow_id"]:
            api.done(one["flow_id"])
    return {one["name"]: one for one in found}


def test_it_is_said_what_would_be_affected_and_nothing_changes(two: Any) -> None:
    two.a_flavor()
    two.a_kernel()
    volume = two.a_volume()["id"]
    snapshot = two.a_snapshot(volume)
    bare, full = an_instance(two, "bare"), an_instance(two, "full", local_storage=[{"size_gib": 2}])
    backup = two.json("POST", "/v3/backups", {"backup": {"volume_id": volume}}, 202, headers=HEADERS)["backup"]["id"]
    [flow] = two.json("GET", "/v1/flows", params={"resource_id": backup})["flows"]
    two.done(flow["id"])
    before = soundness.picture(two.site)
    loss = two.json("GET", "/v1/hosts/h2/loss")
    assert soundness.picture(two.site) == before
    assert {v["id"]: (v["pool"], v["backups"]) for v in loss["volumes"]} == {
        volume: ("h2@raw#raw", [backup]),
        full["volumes"][0]["volume_id"]: ("h2@raw#raw", []),
    }
    assert [(s["id"], s["volume_id"]) for s in loss["snapshots"]] == [(snapshot, volume)]
    assert {i["id"]: i["boots_elsewhere"] for i in loss["instances"]} == {bare["id"]: True, full["id"]: False}
    assert [a["instance_id"] for a in loss["attachments"]] == [full["id"]]
    assert loss["flows"] == [] and loss["host"]["up"] and loss["host"]["lost_at"] is None
    empty = two.json("GET", "/v1/hosts/h1/loss")
    assert not any(empty[key] for key in ("volumes", "snapshots", "instances", "attachments", "flows"))


def test_what_is_dangerous_wants_the_name_once_more(two: Any) -> None:
    assert "h2" in two.fault("POST", "/v1/hosts/h9/lost", {}, 404)["message"]
    assert "this service itself" in two.fault("POST", "/v1/hosts/h1/lost", {"confirm": "h1"}, 409)["message"]
    assert "is up" in two.fault("POST", "/v1/hosts/h2/lost", {}, 409)["message"]
    wrong = two.fault("POST", "/v1/hosts/h2/lost", {"confirm": "h1"})
    assert wrong["field"] == "confirm" and "repeat the name of the host: h2" in wrong["message"]
    assert two.fault("POST", "/v1/hosts/h2/lost", {"data_lost": "yes"})["field"] == "data_lost"
    silence(two.site)
    assert "never served again" in two.fault("POST", "/v1/hosts/h2/lost", {"data_lost": True}, 409)["message"]
    assert "not lost" in two.fault("POST", "/v1/hosts/h2/back", status=409)["message"]
    assert two.json("GET", "/v1/hosts/h2")["lost_at"] is None


def test_what_is_unreachable_waits_and_is_there_again_with_its_host(two: Any) -> None:
    two.a_flavor()
    two.a_kernel()
    volume = two.a_volume()["id"]
    snapshot = two.a_snapshot(volume)
    full = an_instance(two, "full", local_storage=[{"size_gib": 2}])
    plugged = full["volumes"][0]["volume_id"]
    counted, held = used(two), claimed(two)
    lose(two)
    assert [shown(two, id)["status"] for id in (volume, plugged)] == ["error", "error"]
    assert two.json("GET", f"/v3/snapshots/{snapshot}", headers=HEADERS)["snapshot"]["status"] == "error"
    instance = two.json("GET", f"/v1/instances/{full['id']}")
    assert instance["status"] == "error" and "unreachable until h2 is back" in instance["fault"]
    told = [m["user_message"] for m in two.json("GET", "/v3/messages", headers=HEADERS)["messages"]]
    assert len([text for text in told if "unreachable until h2 is back" in text]) == 4
    assert (used(two), claimed(two)) == (counted, held)
    host = two.json("GET", "/v1/hosts/h2")
    assert host["lost_at"] and not host["up"] and host["heartbeat_at"] is None
    assert two.json("GET", "/v1/pools/h2@raw")["why_down"]
    assert "declared lost" in str(two.json("GET", "/v1/audit"))
    assert "declared lost" in two.fault("GET", "/v1/hosts/h2/devices", status=503)["message"]
    other = two.a_volume()["id"]
    assert shown(two, other)["os-vol-host-attr:host"] == "h1@raw#raw"
    sound(two.site)

    come_back(two)
    assert [shown(two, id)["status"] for id in (volume, plugged)] == ["available", "in-use"]
    assert two.json("GET", f"/v3/snapshots/{snapshot}", headers=HEADERS)["snapshot"]["status"] == "available"
    instance = two.json("GET", f"/v1/instances/{full['id']}")
    assert instance["status"] == "active" and instance["fault"] is None  # its guest has run all the time
    assert two.json("GET", "/v1/hosts/h2")["lost_at"] is None and two.json("GET", "/v1/hosts/h2")["up"]
    assert two.json("GET", "/v1/audit")["differences"] == []
    sound(two.site)


def test_what_came_back_otherwise_stays_in_error_and_may_be_looked_at_again(two: Any) -> None:
    ids = [two.a_volume()["id"] for _ in range(3)]
    project = soundness.rows(two.site, schema.volumes)[0].project_id
    other, missing, _ = (Label(Kind.VOLUME, id, project) for id in ids)
    lose(two)
    node = two.site.world.nodes.returning("h2")
    node.relabel_brick("raw", Label(Kind.VOLUME, other.id, other.project, generation=0))
    node.delete_brick("raw", missing.name)
    log = come_back(two)
    assert log["log"][-1]["data"] == {"missing": 2}
    assert [shown(two, id)["status"] for id in ids] == ["error", "error", "available"]
    assert {row.fault is None for row in soundness.rows(two.site, schema.volumes)} == {True, False}
    found = differences(two)
    assert {name: one["kind"] for name, one in found.items()} == {
        other.name: "generation",
        missing.name: "missing_brick",
    }
    node.relabel_brick("raw", other)
    two.done(two.json("POST", "/v1/hosts/h2/back", status=202)["flow_id"])
    assert [shown(two, id)["status"] for id in ids] == ["available", "error", "available"]
    deleted(two, f"/v3/volumes/{missing.id}")
    assert "not lost" in two.fault("POST", "/v1/hosts/h2/back", status=409)["message"]
    sound(two.site)


def test_data_that_are_lost_are_given_up_once_and_never_served_again(two: Any) -> None:
    two.a_flavor()
    two.a_kernel()
    volume, kept = two.a_volume()["id"], two.a_volume(2)["id"]
    snapshot = two.a_snapshot(volume)
    full = an_instance(two, "full", local_storage=[{"size_gib": 2}])
    lose(two)
    assert claimed(two) == (6, 1) and used(two) == (3, 1, 6)
    lose(two, data_lost=True, confirm="h2")
    assert claimed(two) == (0, 0) and used(two) == (0, 0, 0)
    lose(two, data_lost=True, confirm="h2")  # nothing is given back twice
    assert claimed(two) == (0, 0) and used(two) == (0, 0, 0)
    instance = two.json("GET", f"/v1/instances/{full['id']}")
    assert (instance["status"], instance["host"], instance["volumes"]) == ("error", None, [])
    assert "boot another one" in instance["fault"]
    sound(two.site)
    deleted(two, f"/v3/snapshots/{snapshot}")
    deleted(two, f"/v3/volumes/{volume}")
    two.done(two.json("DELETE", f"/v1/instances/{full['id']}", status=202)["flow_id"])
    assert two.call("GET", f"/v3/volumes/{volume}").status_code == 404

    come_back(two)  # with all its bricks, and the guest still running
    node = two.site.world.nodes["h2"]
    assert not [guest for guest in node.guests() if guest.status != "stopped"]
    assert shown(two, kept)["status"] == "error" and shown(two, kept)["os-vol-host-attr:host"] is None
    found = differences(two)
    names = {f"volume-{volume}", f"volume-{kept}", f"_snapshot-{snapshot}", f"volume-{full['volumes'][0]['volume_id']}"}
    assert {name: (one["kind"], one["action"]) for name, one in found.items()} == dict.fromkeys(
        names, ("lost_brick", None)
    )
    assert differences(two, dry_run=False, grace_s=0).keys() == names  # no repair gives one of them its row back
    assert claimed(two) == (0, 0)

    recovered = differences(two, dry_run=False, orphans="recover")
    assert {one["action"] for one in recovered.values()} == {"disown"}
    new = {"host": "h2@raw#raw", "ref": {"source-name": f"volume-{volume}"}, "name": "again"}
    taken = two.json("POST", "/v3/os-volume-manage", {"volume": new}, 202, headers=HEADERS)["volume"]["id"]
    [flow] = two.json("GET", "/v1/flows", params={"resource_id": taken})["flows"]
    two.done(flow["id"])
    assert taken != volume and shown(two, taken)["status"] == "available"
    assert used(two) == (1, 0, 1) and claimed(two) == (1, 0)
    sound(two.site)


def test_lost_bricks_are_removed_on_request(two: Any) -> None:
    volume = two.a_volume()["id"]
    lose(two, data_lost=True, confirm="h2")
    come_back(two)
    [removed] = differences(two, dry_run=False, orphans="remove", grace_s=0).values()
    assert (removed["kind"], removed["action"]) == ("lost_brick", "remove")
    assert two.site.world.nodes["h2"].bricks("raw") == []
    deleted(two, f"/v3/volumes/{volume}")
    assert differences(two) == {}
    sound(two.site)


def test_an_instance_without_disks_runs_elsewhere_and_its_old_guest_ends(two: Any) -> None:
    two.a_flavor()
    two.a_kernel()
    bare = an_instance(two, "bare")
    assert bare["host"] == "h2"
    lose(two)
    [flow, *_] = two.json("GET", "/v1/flows", params={"resource_id": bare["id"]})["flows"]
    two.done(flow["id"])
    again = two.json("GET", f"/v1/instances/{bare['id']}")
    assert (again["status"], again["host"], again["fault"]) == ("active", "h1", None)
    assert claimed(two) == (0, 0)
    old = two.site.world.nodes.returning("h2")
    assert [guest.id for guest in old.guests()] == [bare["id"]]
    come_back(two)
    assert not [guest for guest in old.guests() if guest.status != "stopped"]
    assert two.json("GET", f"/v1/instances/{bare['id']}")["host"] == "h1"
    assert two.json("GET", "/v1/audit")["differences"] == []
    sound(two.site)


def test_a_pool_that_is_down_when_its_host_is_back_is_waited_for(two: Any) -> None:
    """What lies there may be served again, so it is looked at first; unless it is given up."""
    volume = two.a_volume()["id"]
    lose(two)
    node = two.site.world.nodes.returning("h2")
    backend = node.backends.pop("raw")
    assert lost_hosts.heard(two.site.db, "h2")
    flow = returning(two)
    assert two.json("POST", "/v1/hosts/h2/back", status=202)["flow_id"] == flow
    until = time.monotonic() + 60
    while not (error := two.json("GET", f"/v1/flows/{flow}")["error"]):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert "Pool h2@raw#raw cannot be looked at" in error
    node.backends["raw"] = backend
    with two.site.db.begin() as tx:
        tx.execute(sa.update(schema.flows).values(not_before="2020"))
    two.done(flow)
    assert shown(two, volume)["status"] == "available"


def test_what_a_pool_that_could_not_be_looked_at_has_is_not_adopted_later(two: Any) -> None:
    """Nothing there is waited for, so its host is back without it; with it comes what was left there."""
    node = two.site.world.nodes["h2"]
    lose(two)
    node.create_brick("raw", Label(Kind.VOLUME, STRANGE, "project"), 2**30)
    backend = node.backends.pop("raw")
    come_back(two)
    assert two.json("GET", "/v1/hosts/h2")["lost_at"] is None
    node.backends["raw"] = backend
    reports.take(two.site.db, two.site.world.places, node)
    for path in ("/v1/pools/h1@raw", "/v1/hosts/h1"):
        two.json("PATCH", path, {"enabled": False})
    volume = two.a_volume()["id"]
    assert shown(two, volume)["os-vol-host-attr:host"] == "h2@raw#raw"
    found = differences(two, dry_run=False, grace_s=0)
    assert {name: (one["kind"], one["action"]) for name, one in found.items()} == {
        f"volume-{STRANGE}": ("lost_brick", None)
    }
    assert differences(two, dry_run=False, orphans="recover")[f"volume-{STRANGE}"]["action"] == "disown"
    sound(two.site)


def test_reports_of_a_lost_host_do_not_count(two: Any) -> None:
    node = two.site.world.nodes["h2"]
    report = node.report()
    lose(two)
    with pytest.raises(Exception, match="declared lost"):
        reports.record(two.site.db, report)
    with two.site.db.begin() as tx:
        assert hosts.touch(tx, ["h2"], clock.stamp()) == (set(), set(), set())
    assert two.json("GET", "/v1/hosts/h2")["heartbeat_at"] is None


@pytest.mark.parametrize("runs", [True, False])
def test_a_strange_guest_of_a_host_that_comes_back_is_ended(two: Any, runs: bool) -> None:
    """Also what a power cut has left of one."""
    lose(two)
    node = two.site.world.nodes.returning("h2")
    node.hypervisor.boot(Guest(id=STRANGE, name="old", vcpus=1, memory_mib=64))
    if not runs:
        node.hypervisor.kill(STRANGE)
    come_back(two)
    assert not node.guests()


def test_a_host_that_is_open_is_looked_at_again_and_nothing_there_is_touched(two: Any) -> None:
    """Others work there: a guest or brick without a row may get one at any moment."""
    volume = two.a_volume()["id"]
    lose(two)
    node = two.site.world.nodes.returning("h2")
    node.delete_brick("raw", f"volume-{volume}")
    come_back(two)
    node.hypervisor.boot(Guest(id=STRANGE, name="new", vcpus=1, memory_mib=64))
    node.create_brick("raw", Label(Kind.VOLUME, STRANGE, "project"), 2**30)
    again = two.done(two.json("POST", "/v1/hosts/h2/back", status=202)["flow_id"])
    assert again["log"][-1]["data"] == {"missing": 1}
    assert [guest.status for guest in node.guests()] == ["running"]
    assert differences(two)[f"volume-{STRANGE}"]["kind"] == "unknown_brick"
    assert soundness.rows(two.site, schema.lost_bricks) == []


def test_what_a_pool_kept_of_images_goes_with_the_data_of_its_host(tmp_path: Path, client: Any) -> None:
    minds = {"h1": memory.Memory(), "h2": memory.Memory()}
    site = world.make(
        tmp_path, {"raw": "raw"}, None, minds, elsewhere={"h2"}, backend_options={image_cache.OPTIONS[0]: True}
    )
    site.waker.start()
    api = client(site, falcon.testing.TestClient(app.create_app(site)))
    for path in ("/v1/pools/h1@raw", "/v1/hosts/h1"):
        api.json("PATCH", path, {"enabled": False})
    image = api.json("POST", "/v1/images", {"name": "d", "kind": "disk", "format": "raw"}, 201)
    api.upload(image["id"], "disk", b"disk" * 1024)
    for _ in range(2):
        api.a_volume(imageRef=image["id"])
    assert (claimed(api)[0], len(soundness.rows(site, schema.cached_images))) == (3, 1)
    lose(api, data_lost=True, confirm="h2")
    assert (claimed(api)[0], soundness.rows(site, schema.cached_images)) == (0, [])
    sound(site)
    come_back(api)
    found = api.json("GET", "/v1/audit")["differences"]
    assert {one["name"].partition("-")[0] for one in found} == {"volume", "_image"}
    assert {one["kind"] for one in found} == {"lost_brick"}
    assert api.a_volume(imageRef=image["id"])["status"] == "available"
    site.waker.stop()
    site.db.close()
