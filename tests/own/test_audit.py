"""The audit compares in both directions, takes no work in progress for a difference, and repairs what is safe."""

from __future__ import annotations

import datetime
import json
import threading
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from brickyard.brick import raw
from brickyard.core import clock
from brickyard.core.bricks import Kind, Label
from brickyard.db import claims, schema
from brickyard.flows import catalogue, engine, repair_adopt, repair_remove
from brickyard.hypervisor.machine import Disk, Guest
from brickyard.service import audit, work
from brickyard.service.site import Caller

GIB = 1024**3
HEADERS = {"OpenStack-API-Version": "volume 3.60"}


def differences(api: Any) -> list[dict[str, Any]]:
    return api.json("GET", "/v1/audit")["differences"]


def kinds(api: Any) -> list[str]:
    return sorted(found["kind"] for found in differences(api))


def repair(api: Any, status: str = "done", **body: Any) -> list[dict[str, Any]]:
    found = api.json("POST", "/v1/audit", body)["differences"]
    for one in found:
        if one["flow_id"]:
            api.done(one["flow_id"], status)
    return found


def sql(api: Any, statement: Any) -> None:
    with api.site.db.begin() as tx:
        tx.execute(statement)


def forget(api: Any, volume_id: str) -> None:
    """As after the loss of a database: the row is gone, the brick stays."""
    with api.site.db.begin() as tx:
        claims.release(tx, volume_id)
        for snapshot in list(
            tx.scalars(sa.select(schema.snapshots.c.id).where(schema.snapshots.c.volume_id == volume_id))
        ):
            claims.release(tx, snapshot)
        tx.execute(sa.delete(schema.snapshots).where(schema.snapshots.c.volume_id == volume_id))
        tx.execute(sa.delete(schema.volumes).where(schema.volumes.c.id == volume_id))


def queued(api: Any, name: str, params: dict[str, Any]) -> str:
    """A flow as an audit queues it; its id."""
    with api.site.db.begin() as tx:
        caller = Caller("u", "p", (), "r")
        return work.queue(api.site, caller, tx, name, params, resource_id=str(uuid.uuid4()), project_id="p")


def strange_brick(tmp_path: Path, **label: Any) -> Label:
    """A brick that somebody made with the library, in the pool of the service."""
    made = Label(**{"kind": Kind.VOLUME, "id": str(uuid.uuid4()), "project": "p", **label})
    raw.driver(str(tmp_path / "raw")).create(made, GIB)
    return made


def test_nothing_differs_on_a_site_that_works(api):
    api.a_flavor()
    api.a_kernel()
    volume = api.a_volume()
    api.a_snapshot(volume["id"])
    body = {"name": "i", "flavor": "small", "image": "tiny", "local_storage": [{"size_gib": 1}]}
    api.done(api.json("POST", "/v1/instances", body, 202)["flow_id"])
    assert differences(api) == []
    assert repair(api) == []


def test_a_brick_that_says_whose_it_is_gets_its_row_back(api, tmp_path):
    volume = api.a_volume(2)
    snapshot = api.a_snapshot(volume["id"])
    (tmp_path / "raw" / f"volume-{volume['id']}").open("r+b").write(b"precious")
    forget(api, volume["id"])
    assert kinds(api) == ["unknown_brick", "unknown_brick"]
    assert {found["repair"] for found in differences(api)} == {"adopt"}
    assert len({found["flow_id"] for found in repair(api)}) == 1  # a volume and its snapshots come back together
    back = api.json("GET", f"/v3/volumes/{volume['id']}", headers=HEADERS)["volume"]
    assert (back["status"], back["size"]) == ("available", 2)
    assert api.json("GET", f"/v3/snapshots/{snapshot}")["snapshot"]["volume_id"] == volume["id"]
    assert api.json("GET", "/v1/pools/h1@raw")["claimed_gib"] == 4
    assert (tmp_path / "raw" / f"volume-{volume['id']}").open("rb").read(8) == b"precious"
    assert differences(api) == []


def test_a_snapshot_alone_comes_back_to_its_volume(api):
    volume = api.a_volume()
    snapshot = api.a_snapshot(volume["id"])
    with api.site.db.begin() as tx:
        claims.release(tx, snapshot)
        tx.execute(sa.delete(schema.snapshots).where(schema.snapshots.c.id == snapshot))
    repair(api)
    assert api.json("GET", f"/v3/snapshots/{snapshot}")["snapshot"]["status"] == "available"
    assert differences(api) == []


def test_it_belongs_to_the_project_of_its_label_and_counts_in_its_quota(projects, tmp_path):
    label = strange_brick(tmp_path, project="red")
    repair(projects["admin"])
    assert [v["id"] for v in projects["bob"].json("GET", "/v3/volumes")["volumes"]] == [label.id]
    assert projects["ann"].json("GET", "/v3/volumes")["volumes"] == []
    used = projects["bob"].json("GET", "/v3/limits")["limits"]["absolute"]
    assert (used["totalVolumesUsed"], used["totalGigabytesUsed"]) == (1, 1)


def test_a_brick_of_no_whole_size_is_grown_to_one(api, tmp_path):
    label = Label(Kind.VOLUME, str(uuid.uuid4()), "p")
    raw.driver(str(tmp_path / "raw")).create(label, GIB // 2)
    repair(api)
    assert (tmp_path / "raw" / label.name).stat().st_size == GIB
    assert differences(api) == []


def test_what_has_no_label_is_told_and_never_touched(api, tmp_path):
    name = f"volume-{uuid.uuid4()}"
    (tmp_path / "raw" / name).write_bytes(b"somebody else's")
    [found] = repair(api, grace_s=0, orphans="remove")
    assert (found["kind"], found["name"], found["action"], found["flow_id"]) == ("no_label", name, None, None)
    assert (tmp_path / "raw" / name).read_bytes() == b"somebody else's"


def test_a_root_disk_without_an_instance_stays_until_its_removal_is_asked_for(api, tmp_path):
    label = strange_brick(tmp_path, kind=Kind.ROOT)
    [found] = repair(api, grace_s=0)
    assert (found["kind"], found["flow_id"]) == ("unknown_root", None)
    assert "request" in found["why_not"]
    assert (tmp_path / "raw" / label.name).exists()
    [found] = repair(api, grace_s=0, orphans="remove")
    assert not (tmp_path / "raw" / label.name).exists()
    assert differences(api) == []


def test_what_is_removed_was_seen_for_the_whole_grace_period(api, tmp_path, monkeypatch):
    label = strange_brick(tmp_path)
    differences(api)
    [found] = repair(api, orphans="remove")
    assert (found["flow_id"], found["action"]) == (None, "remove")
    assert "grace" in found["why_not"]
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + datetime.timedelta(seconds=audit.GRACE_S + 1))
    repair(api, orphans="remove")
    assert not (tmp_path / "raw" / label.name).exists()


def test_a_difference_that_went_away_begins_anew(api, tmp_path):
    label = strange_brick(tmp_path)
    [first] = differences(api)
    kept = (tmp_path / "raw" / label.name).rename(tmp_path / "aside")
    hidden = (tmp_path / "raw" / f".{label.name}.label").rename(tmp_path / "aside.label")
    assert differences(api) == []
    kept.rename(tmp_path / "raw" / label.name)
    hidden.rename(tmp_path / "raw" / f".{label.name}.label")
    [again] = differences(api)
    assert again["first_seen_at"] > first["first_seen_at"]


def test_a_dry_run_says_what_would_be_done_and_does_nothing(api, tmp_path):
    label = strange_brick(tmp_path)
    for body, action in (({}, "adopt"), ({"orphans": "remove", "grace_s": 0}, "remove")):
        [found] = repair(api, dry_run=True, **body)
        assert (found["action"], found["flow_id"], found["why_not"]) == (action, None, None)
    assert (tmp_path / "raw" / label.name).exists()
    assert api.json("GET", "/v1/flows", params={"all_projects": "true"})["flows"] == []


def test_a_row_without_a_brick_is_told_and_kept(api, tmp_path):
    volume = api.a_volume()
    (tmp_path / "raw" / f"volume-{volume['id']}").unlink()
    assert kinds(api) == ["leftovers", "missing_brick"]  # its label is left of it
    repair(api, grace_s=0)
    [found] = differences(api)
    assert (found["kind"], found["repair"]) == ("missing_brick", None)
    assert "delete it" in found["message"]


@pytest.mark.parametrize(
    ("change", "kind"),
    [({"project": "other"}, "project"), ({"generation": 7}, "generation")],
)
def test_a_label_that_says_something_else_than_its_row_is_told(api, tmp_path, change, kind):
    volume = api.a_volume()
    path = tmp_path / "raw" / f".volume-{volume['id']}.label"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    [found] = differences(api)
    assert (found["kind"], found["repair"]) == (kind, None)


def test_a_brick_of_another_size_than_its_row_is_told(api, tmp_path):
    volume = api.a_volume(2)
    path = tmp_path / "raw" / f"volume-{volume['id']}"
    for size, word in ((GIB, "lost"), (3 * GIB, "extend")):
        with path.open("r+b") as file:
            file.truncate(size)
        [found] = differences(api)
        assert found["kind"] == "size"
        assert word in found["message"]


def test_claims_and_their_sums_are_brought_in_order(api):
    volume, other = api.a_volume(2), api.a_volume(3)
    pool_id, host_id = api.json("GET", "/v1/pools/h1@raw")["id"], api.json("GET", "/v1/hosts/h1")["id"]
    with api.site.db.begin() as tx:
        assert claims.claim_host(tx, host_id=host_id, instance_id=str(uuid.uuid4()), vcpus=2, memory_mib=64)
        claims.count(tx, pool_id=pool_id, brick_id=str(uuid.uuid4()), gib=5)
        claims.release(tx, volume["id"])
        claims.count(tx, pool_id=pool_id, brick_id=other["id"], gib=9)
    sql(api, sa.update(schema.pools).values(claimed_gib=100))
    sql(api, sa.update(schema.hosts).values(vcpus_claimed=100))
    wrong = {"claim_size": 1, "claim_without_owner": 2, "claimed_sum": 3, "owner_without_claim": 1}
    assert Counter(kinds(api)) == wrong
    repair(api)
    assert differences(api) == []
    assert api.json("GET", "/v1/pools/h1@raw")["claimed_gib"] == 5
    assert api.json("GET", "/v1/hosts/h1")["vcpus_claimed"] == 0


def test_an_expired_reservation_is_told_and_cleared(api):
    host = api.json("GET", "/v1/hosts/h1")["id"]
    api.site.waker.stop()  # the janitor would be quicker
    id = str(uuid.uuid4())
    row = {"id": id, "request_id": str(uuid.uuid4()), "host_id": host, "project_id": "p", "rank": 0}
    sql(api, sa.insert(schema.reservations).values(**row, expires_at="2026-01-01", created_at="2026-01-01"))
    [found] = api.json("POST", "/v1/audit", {})["differences"]
    assert (found["kind"], found["name"], found["action"]) == ("reservation_expired", id, "clear")
    world = api.site.world
    assert engine.Engine(api.site.db, world, catalogue.FLOWS, "by hand").run(found["flow_id"]) == "done"
    assert differences(api) == []


def test_a_status_that_says_that_work_runs_where_none_does_is_told(api):
    volume = api.a_volume()
    reset = {"os-reset_status": {"status": "extending"}}
    api.json("POST", f"/v3/volumes/{volume['id']}/action", reset, 202)
    [found] = repair(api, grace_s=0, orphans="remove")
    assert (found["kind"], found["name"], found["flow_id"]) == ("stuck", volume["id"], None)


def test_guests_without_instances_and_instances_without_guests_are_told(api):
    api.a_flavor()
    api.a_kernel()
    body = {"name": "i", "flavor": "small", "image": "tiny", "local_storage": [{"size_gib": 1}]}
    instance = api.json("POST", "/v1/instances", body, 202)
    api.done(instance["flow_id"])
    node = api.site.world.nodes["h1"]
    stray = str(uuid.uuid4())
    node.hypervisor.boot(Guest(stray, "stray", 1, 64))
    [found] = differences(api)
    assert (found["kind"], found["name"]) == ("guest_without_instance", stray)
    [found] = repair(api, grace_s=0)
    assert found["flow_id"] is None  # somebody may work in it
    repair(api, grace_s=0, orphans="remove")
    assert differences(api) == []
    node.hypervisor.destroy(instance["id"])
    [found] = differences(api)
    assert (found["kind"], found["name"]) == ("instance_without_guest", instance["id"])


def test_what_is_attached_in_the_records_and_in_the_guest_is_compared_both_ways(api):
    api.a_flavor()
    api.a_kernel()
    body = {"name": "i", "flavor": "small", "image": "tiny", "local_storage": [{"size_gib": 1}]}
    instance = api.json("POST", "/v1/instances", body, 202)
    api.done(instance["flow_id"])
    [volume] = api.json("GET", f"/v1/instances/{instance['id']}")["volumes"]
    hypervisor = api.site.world.nodes["h1"].hypervisor
    hypervisor.detach(instance["id"], volume["volume_id"])
    [found] = differences(api)
    assert (found["kind"], found["name"]) == ("not_attached", volume["volume_id"])
    sql(api, sa.delete(schema.attachments))
    assert differences(api) == []
    spare = api.a_volume()
    path = api.site.world.nodes["h1"].open_brick("raw", f"volume-{spare['id']}").path
    hypervisor.attach(instance["id"], Disk(spare["id"], path, "raw"))
    [found] = differences(api)
    assert (found["kind"], found["name"]) == ("attached_without_record", spare["id"])


def test_a_brick_that_a_guest_has_open_is_neither_adopted_nor_removed(api, tmp_path):
    label = strange_brick(tmp_path)
    disk = Disk(label.id, str(tmp_path / "raw" / label.name), "raw")
    api.site.world.nodes["h1"].hypervisor.boot(Guest(str(uuid.uuid4()), "stray", 1, 64, (disk,)))
    [flow] = [found["flow_id"] for found in api.json("POST", "/v1/audit", {})["differences"] if found["flow_id"]]
    assert "end that guest" in api.done(flow, "failed")["error"]
    assert api.json("GET", "/v3/volumes", params={"all_tenants": "1"})["volumes"] == []
    pool = api.json("GET", "/v1/pools/h1@raw")
    flow = queued(api, "repair_remove", repair_remove.params(pool=pool["name"], pool_id=pool["id"], label=label))
    assert "it stays" in api.done(flow, "failed")["error"]
    assert (tmp_path / "raw" / label.name).exists()


def test_two_pools_that_claim_one_brick(api, tmp_path):
    """The higher generation counts; of two of the same generation neither does."""
    new = {"host": "h1", "name": "two", "driver": "raw", "path": str(tmp_path / "two")}
    api.json("POST", "/v1/pools", new, 201)
    label = strange_brick(tmp_path)
    raw.driver(str(tmp_path / "two")).create(label, GIB)
    assert kinds(api) == ["contradiction", "contradiction"]
    assert {found["flow_id"] for found in repair(api, grace_s=0, orphans="remove")} == {None}
    path = tmp_path / "two" / f".{label.name}.label"
    path.write_text(json.dumps({**json.loads(path.read_text()), "generation": 2}))
    repair(api, grace_s=0)
    back = api.json("GET", f"/v3/volumes/{label.id}")["volume"]
    assert back["os-vol-host-attr:host"] == "h1@two#two"
    [older] = differences(api)
    assert (older["kind"], older["where"], older["repair"]) == ("wrong_pool", "h1@raw#raw", "remove")
    repair(api, grace_s=0)
    assert not (tmp_path / "raw" / label.name).exists()
    assert (tmp_path / "two" / label.name).exists()
    assert differences(api) == []


def test_another_copy_of_a_volume_is_removed_only_on_request(api, tmp_path):
    """As it lies there after a restore that made a volume again; its owner may have written to it."""
    new = {"host": "h1", "name": "two", "driver": "raw", "path": str(tmp_path / "two")}
    api.json("POST", "/v1/pools", new, 201)
    volume = api.a_volume()
    here, there = tmp_path / "raw", tmp_path / "two"
    if not (here / f"volume-{volume['id']}").exists():
        here, there = there, here
    label = f".volume-{volume['id']}.label"
    (there / label).write_bytes((here / label).read_bytes())
    with (there / f"volume-{volume['id']}").open("wb") as copy:
        copy.truncate(GIB)
    [found] = differences(api)
    assert (found["kind"], found["where"], found["repair"]) == ("wrong_pool", f"h1@{there.name}#{there.name}", None)
    assert "another copy" in found["message"]
    repair(api, grace_s=0)
    assert (there / f"volume-{volume['id']}").exists()
    repair(api, grace_s=0, orphans="remove")
    assert not (there / f"volume-{volume['id']}").exists()
    assert (here / f"volume-{volume['id']}").exists()
    assert differences(api) == []


def test_a_pool_that_cannot_be_looked_at_is_told_and_its_bricks_are_not_missing(api, tmp_path):
    volume = api.a_volume()
    strange_brick(tmp_path)
    [before] = differences(api)
    (tmp_path / "raw").rename(tmp_path / "away")
    [found] = differences(api)
    assert found["kind"] == "not_seen"
    (tmp_path / "away").rename(tmp_path / "raw")
    assert differences(api) == [before]  # and what was seen of it before is remembered
    assert volume["id"] not in before["name"]


def test_work_in_progress_is_no_difference(api):
    """Volumes come and go while it is looked again and again."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            volume = api.json("POST", "/v3/volumes", {"volume": {"size": 1}}, 202)["volume"]
            [flow] = api.json("GET", "/v1/flows", params={"resource_id": volume["id"]})["flows"]
            api.site.waker.wait(flow["id"], 20)
            api.call("DELETE", f"/v3/volumes/{volume['id']}")

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(25):
            assert differences(api) == []
    finally:
        stop.set()
        for worker in workers:
            worker.join()


def test_a_repair_looks_again_before_it_acts(api, tmp_path):
    """Between the audit and the flow somebody else was quicker: nothing happens, and the flow says why."""
    volume = api.a_volume()
    pool = api.json("GET", "/v1/pools/h1@raw")
    [found] = api.site.world.nodes["h1"].bricks("raw")
    place = {"pool": pool["name"], "pool_id": pool["id"]}
    for name, params in (
        ("repair_adopt", repair_adopt.params(**place, found=[found])),
        ("repair_remove", repair_remove.params(**place, label=found.label)),
    ):
        assert "row" in api.done(queued(api, name, params), "failed")["error"]
    assert api.json("GET", f"/v3/volumes/{volume['id']}")["volume"]["status"] == "available"
    assert differences(api) == []


def test_one_request_starts_only_so_many_repairs(api, tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "ROUND_MAX", 2)
    for _ in range(3):
        strange_brick(tmp_path)
    found = repair(api)
    assert [bool(one["flow_id"]) for one in found] == [True, True, False]
    assert "ask again" in found[2]["why_not"]
    repair(api)
    assert differences(api) == []


def test_only_administrators_audit(projects):
    projects["ann"].fault("GET", "/v1/audit", status=403)
    projects["ann"].fault("POST", "/v1/audit", {}, 403)
    assert projects["admin"].json("GET", "/v1/audit") == {"differences": []}


def test_wrong_bodies_name_the_field(api):
    for body, field in (({"grace_s": -1}, "grace_s"), ({"orphans": "burn"}, "orphans"), ({"dry_run": 3}, "dry_run")):
        assert api.fault("POST", "/v1/audit", body)["field"] == field
