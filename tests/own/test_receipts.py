"""What is deleted is wiped, its claim stays until it is, and a receipt says what was done."""

from __future__ import annotations

import threading
import uuid

import pytest
from tests import world

from brickyard.core import clock
from brickyard.core.bricks import Receipt
from brickyard.db import hosts, receipts, schema
from brickyard.flows import conductor

THREADS = 8  # of the conductor of a site for tests


def gone(api, volume_id: str) -> str:
    """Wait until the deletion of a volume is over; its flow."""
    [flow, *_] = api.json("GET", "/v1/flows", params={"resource_id": volume_id})["flows"]
    api.done(flow["id"])
    return flow["id"]


def test_a_deleted_volume_and_its_snapshot_have_receipts(api):
    volume = api.a_volume(2)
    headers = {"OpenStack-API-Version": "volume 3.60"}
    body = {"snapshot": {"volume_id": volume["id"], "name": "before"}}
    snapshot = api.json("POST", "/v3/snapshots", body, 202, headers=headers)["snapshot"]
    [flow, *_] = api.json("GET", "/v1/flows", params={"resource_id": snapshot["id"]})["flows"]
    api.done(flow["id"])
    api.json("DELETE", f"/v3/volumes/{volume['id']}", status=202, params={"cascade": "true"})
    flow_id = gone(api, volume["id"])
    found = api.json("GET", "/v1/receipts")["receipts"]
    assert {(r["kind"], r["brick_id"]) for r in found} == {("volume", volume["id"]), ("snapshot", snapshot["id"])}
    [receipt] = api.json("GET", "/v1/receipts", params={"brick_id": volume["id"]})["receipts"]
    assert (receipt["name"], receipt["pool"], receipt["flow_id"]) == (f"volume-{volume['id']}", "h1@raw#raw", flow_id)
    assert (receipt["method"], receipt["size_bytes"]) == ("none", 2 * 1024**3)
    assert receipt["verified"]
    assert receipt["started_at"] <= receipt["finished_at"]
    assert api.json("GET", f"/v1/receipts/{receipt['id']}") == receipt
    api.fault("GET", "/v1/receipts/nothing", status=404)


def test_receipts_are_filtered_and_paged(api, tmp_path):
    api.json("POST", "/v1/pools", {"host": "h1", "name": "x", "driver": "raw", "path": str(tmp_path / "x")}, 201)
    ids = []
    for _ in range(3):
        ids.append(api.a_volume()["id"])
        api.json("DELETE", f"/v3/volumes/{ids[-1]}", status=202)
        gone(api, ids[-1])
    everything = api.json("GET", "/v1/receipts")["receipts"]
    assert [receipt["brick_id"] for receipt in everything] == ids[::-1]
    first = api.json("GET", "/v1/receipts", params={"limit": "2"})["receipts"]
    rest = api.json("GET", "/v1/receipts", params={"limit": "2", "marker": first[-1]["id"]})["receipts"]
    assert first + rest == everything
    project = everything[0]["project_id"]
    for params, number in (
        ({"project": project}, 3),
        ({"project": "nobody"}, 0),
        ({"pool": "nothing"}, 0),
        ({"pool": everything[0]["pool"]}, sum(r["pool"] == everything[0]["pool"] for r in everything)),
        ({"brick_id": ids[0]}, 1),
    ):
        assert len(api.json("GET", "/v1/receipts", params=params)["receipts"]) == number, params
    assert api.fault("GET", "/v1/receipts", params={"limit": "0"})["field"] == "limit"


def test_a_receipt_outlives_its_pool(api, tmp_path):
    api.json("PATCH", "/v1/pools/h1@raw", {"enabled": False})
    api.json("POST", "/v1/pools", {"host": "h1", "name": "x", "driver": "raw", "path": str(tmp_path / "x")}, 201)
    volume = api.a_volume()
    api.json("DELETE", f"/v3/volumes/{volume['id']}", status=202)
    gone(api, volume["id"])
    api.json("DELETE", "/v1/pools/h1@x", status=204)
    [receipt] = api.json("GET", "/v1/receipts", params={"pool": "h1@x#x"})["receipts"]
    assert receipt["brick_id"] == volume["id"]


def test_only_administrators_see_receipts(projects):
    projects["ann"].fault("GET", "/v1/receipts", status=403)
    assert projects["admin"].json("GET", "/v1/receipts") == {"receipts": []}


class Slow:
    """A node that takes its time to wipe, as one with a real disk does."""

    def __init__(self, node) -> None:
        self._node = node
        self.wiping, self.go_on = threading.Event(), threading.Event()
        self.at_once = self.most = 0
        self._lock = threading.Lock()

    def __getattr__(self, name: str):
        return getattr(self._node, name)

    def wipe_brick(self, backend, name, progress=None) -> Receipt:
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        self.wiping.set()
        assert self.go_on.wait(60)
        with self._lock:
            self.at_once -= 1
        return self._node.wipe_brick(backend, name, progress)


def test_what_is_being_wiped_is_claimed_and_told(api):
    volume = api.a_volume(3)
    node = Slow(api.site.world.nodes["h1"])
    api.site.world.nodes._nodes["h1"] = node
    api.json("DELETE", f"/v3/volumes/{volume['id']}", status=202)
    assert node.wiping.wait(60)
    pool = api.json("GET", "/v1/pools/h1@raw")
    assert (pool["claimed_gib"], pool["wiping_gib"]) == (3, 3)
    assert [p["wiping_gib"] for p in api.json("GET", "/v1/pools")["pools"]] == [3]
    assert 'brickyard_pool_wiping_gib{pool="h1@raw#raw"} 3.0' in api.call("GET", "/metrics").text
    node.go_on.set()
    gone(api, volume["id"])
    pool = api.json("GET", "/v1/pools/h1@raw")
    assert (pool["claimed_gib"], pool["wiping_gib"]) == (0, 0)


@pytest.fixture
def small(client, tmp_path):
    """A site that knows how many threads its conductor has."""
    with world.running(tmp_path, conductor_threads=THREADS) as (site, http):
        yield client(site, http)


def test_many_long_wipes_leave_room_for_other_work(small):
    """Half of the conductor's threads wipe; the other deletes wait without holding one, and are done in the end."""
    api = small
    with api.site.db.begin() as tx:
        pool = hosts.require_pool(tx, "h1@raw")
        tx.execute(hosts.pools.update().values(capabilities={**pool.capabilities, "wipes": True}))
    volumes = [api.a_volume()["id"] for _ in range(7)]
    node = Slow(api.site.world.nodes["h1"])
    api.site.world.nodes._nodes["h1"] = node
    for id in volumes:
        api.json("DELETE", f"/v3/volumes/{id}", status=202)
    assert node.wiping.wait(60)
    for _ in range(3):
        api.a_volume()
    deadline = clock.monotonic() + 60
    while node.at_once < THREADS // 2:  # the places are taken one after the other
        assert clock.monotonic() < deadline
        clock.sleep(0.01)
    node.go_on.set()
    for id in volumes:
        gone(api, id)
    assert node.most == THREADS // 2
    assert len(api.json("GET", "/v1/receipts")["receipts"]) == len(volumes)


DAY_S = 86400


def old_receipts(api, ages_days) -> None:
    """Receipts as they were kept so many days ago: of a volume that was really wiped, and made older."""
    volume = api.a_volume()
    api.json("DELETE", f"/v3/volumes/{volume['id']}", status=202)
    gone(api, volume["id"])
    with api.site.db.begin() as tx:
        [row] = tx.execute(receipts.receipts.select()).mappings().all()
        for number, age in enumerate(ages_days):
            then = {"name": f"old-{number}-{age}", "id": str(uuid.uuid4()), "created_at": clock.stamp(-age * DAY_S)}
            tx.execute(receipts.receipts.insert().values({**row, **then}))


def tidied(api) -> None:
    """Wait until what is done again and again was done: a flow that is over for long is forgotten then."""
    volume = api.a_volume()
    [flow] = api.json("GET", "/v1/flows", params={"resource_id": volume["id"]})["flows"]
    with api.site.db.begin() as tx:
        this = schema.flows.c.id == flow["id"]
        tx.execute(schema.flows.update().where(this).values(finished_at=clock.stamp(-30 * DAY_S)))
    deadline = clock.monotonic() + 60
    while api.call("GET", f"/v1/flows/{flow['id']}").status_code == 200:
        assert clock.monotonic() < deadline


def names(api) -> list[str]:
    with api.site.db.read() as tx:
        return sorted(row.name for row in tx.execute(receipts.receipts.select()))


@pytest.mark.parametrize(("days", "left"), [(30, {29}), (0, {29, 31, 4000})])
def test_receipts_are_removed_when_they_are_older_than_the_operator_wants(client, tmp_path, monkeypatch, days, left):
    """In batches: there are more than one takes. 0 keeps them for ever."""
    monkeypatch.setattr(conductor, "JANITOR_S", 0.05)
    taken = []
    forget = receipts.forget
    monkeypatch.setattr(receipts, "forget", lambda *args: taken.append(forget(*args)) or taken[-1])
    with world.running(tmp_path, receipt_retention_days=days) as (site, http):
        api = client(site, http)
        old_receipts(api, [29, 31, *([4000] * 250)])
        for _ in range(2 + 3):  # a round that began before the receipts were there, one for each batch, one for nothing
            tidied(api)
        found = names(api)
    assert {int(name.rsplit("-", 1)[1]) for name in found if name.startswith("old-")} == left
    assert sum(name.startswith("volume-") for name in found) == 1
    assert sum(taken) == (251 if days else 0)
    assert max(taken, default=0) <= 100
