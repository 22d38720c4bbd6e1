"""Pools of partitions on loop devices, by HTTP: what needs root, and no device-mapper."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.flows import disk_scenarios

from brickyard.brick import blkpg, devices
from brickyard.brick.disks import preparing
from brickyard.core import clock, errors
from brickyard.db import schema

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root"),
]
GIB = 1024**3
BLOCK = b"what a guest wrote " * 4096


@pytest.fixture
def disks(tmp_path: Path):
    found = []
    for number in range(3):
        file = tmp_path / f"disk{number}.img"
        with open(file, "wb") as disk:
            disk.truncate(2 * GIB + 64 * 1024 * 1024)
        found.append(disk_scenarios.attach(file))
    yield found
    disk_scenarios.detach(tmp_path)


def a_pool(api, disks, name: str = "disks", status: int = 201, **more):
    body = {"host": "h1", "name": name, "driver": "partition", "devices": disks, **more}
    return api.json("POST", "/v1/pools", body, status)


def test_a_pool_of_partitions_is_made_used_and_given_back(api, disks):
    one, two, three = disks
    pool = a_pool(api, [one, two])
    assert (pool["up"], pool["devices"], pool["limit_gib"], pool["thin"]) == (True, [one, two], 4, False)
    assert a_pool(api, [two, one], status=200)["id"] == pool["id"]
    listed = {row["path"]: row for row in api.json("GET", "/v1/hosts/h1/devices")["devices"]}
    assert [listed[path]["backend"] for path in disks] == ["h1@disks", "h1@disks", None]
    assert listed[one]["found"]
    api.json("PATCH", "/v1/pools/h1@raw", {"enabled": False})
    volume = api.a_volume(1)
    assert volume["id"] in api.fault("DELETE", "/v1/pools/h1@disks", status=409)["message"]
    extended = api.json("POST", "/v1/pools/h1@disks/devices", {"device": three})
    assert (extended["devices"], extended["limit_gib"]) == ([one, two, three], 6)
    holder = next(path for path in disks if devices.partitions(path)[1:])
    with open(devices.partitions(holder)[-1], "rb"):
        flow = api.json("POST", "/v1/pools/h1@disks/drain", {"device": holder}, 202)["flow_id"]
        assert f"volume-{volume['id']} is open: stop or detach" in api.done(flow, "failed")["error"]
    refused = api.fault("DELETE", "/v1/pools/h1@disks/devices", status=409, params={"device": holder})
    assert "still holds bricks" in refused["message"]
    empty = next(path for path in disks if path != holder)
    api.done(api.json("POST", "/v1/pools/h1@disks/drain", {"device": empty}, 202)["flow_id"])
    assert empty not in api.json("DELETE", "/v1/pools/h1@disks/devices", params={"device": empty})["devices"]
    assert devices.inspect(empty).found == ()
    api.json("DELETE", "/v1/pools/h1@disks/devices", params={"device": empty})
    moved(api, volume, holder)
    api.json("DELETE", f"/v3/volumes/{volume['id']}", status=202)
    [flow, *_] = api.json("GET", "/v1/flows", params={"resource_id": volume["id"]})["flows"]
    assert flow["name"] == "delete_volume"
    assert api.site.waker.wait(flow["id"], 60) == "done"
    found = api.json("GET", "/v1/receipts", params={"pool": "h1@disks"})["receipts"]
    assert len(found) == 2
    assert flow["id"] in {receipt["flow_id"] for receipt in found}
    assert all(receipt["method"] != "none" for receipt in found)
    api.json("DELETE", "/v1/pools/h1@disks", status=204)
    assert [devices.inspect(path).found for path in disks] == [(), (), ()]
    api.json("GET", "/v1/pools/h1@disks", status=404)


def test_a_volume_moves_from_a_partition_to_files_and_back(api, disks):
    pool, node = a_pool(api, disks[:1]), api.site.world.nodes["h1"]
    volume = api.a_volume(1, volume_type=a_type(api, "disks"))
    name = f"volume-{volume['id']}"
    with open(node.open_brick("disks", name).path, "r+b") as disk:
        disk.seek(GIB - len(BLOCK))
        disk.write(BLOCK)
    node.close_brick("disks", name)
    a_type(api, "raw")
    for kind in ("raw", "disks"):
        body = {"os-retype": {"new_type": kind, "migration_policy": "on-demand"}}
        api.json("POST", f"/v3/volumes/{volume['id']}/action", body, 202)
        for _ in range(2):  # the move, and then the removal of the old copy
            for flow in api.json("GET", "/v1/flows")["flows"]:
                assert api.site.waker.wait(flow["id"], 60) == "done"
        shown = api.json("GET", f"/v3/volumes/{volume['id']}")["volume"]
        assert (shown["status"], shown["os-vol-host-attr:host"]) == ("available", f"h1@{kind}#{kind}")
        assert [len(node.bricks(one)) for one in ("raw", "disks")] == [kind == "raw", kind == "disks"]
        with open(node.open_brick(kind, name).path, "rb") as disk:
            disk.seek(-len(BLOCK), os.SEEK_END)
            assert (disk.tell(), disk.read() == BLOCK) == (GIB - len(BLOCK), True), kind
        node.close_brick(kind, name)
    assert len(api.json("GET", "/v1/receipts", params={"pool": pool["name"]})["receipts"]) == 1


def a_type(api, backend: str) -> str:
    specs = {"volume_backend_name": backend}
    return api.json("POST", "/v3/types", {"volume_type": {"name": backend, "extra_specs": specs}})["volume_type"][
        "name"
    ]


def moved(api, volume, holder: str) -> None:
    """Drain the disk that holds the only volume, and take it out: the volume is on another one, and a receipt says that
    nothing of it is left where it was."""
    with api.site.db.begin() as tx:
        before = tx.scalar(sa.select(schema.volumes.c.project_id))
        tx.execute(schema.volumes.update().values(project_id="its-owner"))
    headers = {"OpenStack-API-Version": "volume 3.60"}
    body = {"attachment": {"volume_uuid": volume["id"], "instance_uuid": volume["id"], "connector": {"host": "h1"}}}
    attached = api.json("POST", "/v3/attachments", body, headers=headers)["attachment"]
    flow = api.json("POST", "/v1/pools/h1@disks/drain", {"device": holder}, 202)["flow_id"]
    assert f"volume-{volume['id']} is attached to somebody" in api.done(flow, "failed")["error"]
    api.json("DELETE", f"/v3/attachments/{attached['id']}", headers=headers)
    flow = api.json("POST", "/v1/pools/h1@disks/drain", {"device": holder}, 202)["flow_id"]
    deadline = clock.monotonic() + 60
    while not (preparing.facts(holder) or {}).get("draining"):  # until then each might refuse the other
        assert clock.monotonic() < deadline
    refused = api.json("POST", "/v3/attachments", body, 409, headers=headers)
    assert f"attach when flow {flow} is over" in refused["conflictingRequest"]["message"]
    assert api.site.waker.wait(flow, 120) == "done"  # a GiB is copied, compared and wiped
    [receipt] = api.json("GET", "/v1/receipts", params={"pool": "h1@disks"})["receipts"]
    assert (receipt["brick_id"], receipt["project_id"]) == (volume["id"], "its-owner")
    assert (receipt["flow_id"], receipt["size_bytes"]) == (flow, GIB)
    assert receipt["verified"].endswith("; the brick had been moved to another disk")
    with api.site.db.begin() as tx:
        tx.execute(schema.volumes.update().values(project_id=before))
    node = api.site.world.nodes["h1"]
    assert not node.open_brick("disks", f"volume-{volume['id']}").path.startswith(holder)
    assert holder not in api.json("DELETE", "/v1/pools/h1@disks/devices", params={"device": holder})["devices"]
    assert devices.inspect(holder).found == ()


def test_a_disk_with_something_on_it_is_refused_until_it_is_named(api, disks):
    one, two, _ = disks
    with open(one, "r+b") as disk:
        disk.seek(1024 + 56)
        disk.write(b"\x53\xef")  # the magic number of ext4
    found = devices.inspect(one).found
    assert found
    error = api.fault(
        "POST", "/v1/pools", {"host": "h1", "name": "x", "driver": "partition", "devices": [two, one]}, 409
    )
    assert error["kind"] == "DeviceInUse"
    assert found[0] in error["message"]
    assert devices.inspect(two).found == ()
    assert api.fault(
        "POST", "/v1/pools", {"host": "h1", "name": "x", "driver": "partition", "devices": [one], "wipe": ["y"]}
    )["message"]
    a_pool(api, [two, one], wipe=[one])
    assert (
        "h1@disks"
        in api.fault(
            "POST",
            "/v1/pools",
            {"host": "h1", "name": "y", "driver": "partition", "devices": [one], "wipe": [one]},
            409,
        )["message"]
    )
    assert (
        "another devices"
        in api.fault(
            "POST", "/v1/pools", {"host": "h1", "name": "disks", "driver": "partition", "devices": [one]}, 409
        )["message"]
    )
    api.json("DELETE", "/v1/pools/h1@disks", status=204)


def test_a_device_without_a_medium_is_refused_by_name(api, disks, tmp_path):
    empty, pool = disks[0], a_pool(api, [disks[1]])
    subprocess.run(["losetup", "-d", empty], check=True)
    try:
        for path, body in (
            ("/v1/pools", {"host": "h1", "name": "none", "driver": "partition", "devices": [empty]}),
            (f"/v1/pools/{pool['name']}/devices", {"device": empty}),
        ):
            assert f"there is nothing in {empty}" in api.fault("POST", path, body)["message"]
        assert empty not in [row["path"] for row in api.json("GET", "/v1/hosts/h1/devices")["devices"]]
    finally:
        subprocess.run(["losetup", empty, str(tmp_path / "disk0.img")], check=True)
    api.json("DELETE", "/v1/pools/h1@disks", status=204)


def test_a_volume_that_somebody_looks_at_for_a_moment_is_deleted(api, disks):
    a_pool(api, [disks[0]])
    api.json("PATCH", "/v1/pools/h1@raw", {"enabled": False})
    volume = api.a_volume(1)
    [_, path] = devices.partitions(disks[0])
    with open(path, "rb") as looked_at:
        closing = threading.Timer(0.5, looked_at.close)
        closing.start()
        api.json("DELETE", f"/v3/volumes/{volume['id']}", status=202)
        [flow, *_] = api.json("GET", "/v1/flows", params={"resource_id": volume["id"]})["flows"]
        api.done(flow["id"])
        closing.join()
    api.json("DELETE", "/v1/pools/h1@disks", status=204)


def test_disks_are_listed_while_their_partitions_come_and_go(api, disks):
    over = threading.Event()

    def churn():
        descriptor = os.open(disks[0], os.O_RDONLY)
        while not over.is_set() or devices.partitions(disks[0]):
            blkpg.add(disks[0], descriptor, 1, 1024**2, 1024**2)
            with contextlib.suppress(errors.DeviceInUse):  # it is being looked at
                blkpg.delete(disks[0], descriptor, 1)
        os.close(descriptor)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(5):
            listed = api.json("GET", "/v1/hosts/h1/devices")["devices"]
            assert disks[0] in [row["path"] for row in listed]
    finally:
        over.set()
        thread.join()


def test_a_pool_whose_record_was_lost_is_made_again_with_what_lies_in_it(api, disks):
    one, two, _ = disks
    before = a_pool(api, [one, two])
    api.json("PATCH", "/v1/pools/h1@raw", {"enabled": False})
    volume = api.a_volume(1)
    node = api.site.world.nodes["h1"]
    with api.site.db.begin() as tx:
        tx.exec_driver_sql("UPDATE volumes SET pool_id = NULL, backend_id = NULL")
        tx.exec_driver_sql("DELETE FROM claims")
        tx.exec_driver_sql(f"DELETE FROM pools WHERE id = '{before['id']}'")
        tx.exec_driver_sql("DELETE FROM volume_backends WHERE name = 'h1@disks'")
    node.remove_backend("disks")
    other = {"host": "h1", "name": "other", "driver": "partition", "devices": [one]}
    assert "partition" in api.fault("POST", "/v1/pools", other, 409)["message"]
    new = {**other, "name": "disks", "devices": [one, "/dev/null"]}
    assert api.fault("POST", "/v1/pools", new)["field"] == "devices"
    assert a_pool(api, [one, two])["up"]
    assert [found.name for found in node.bricks("disks")] == [f"volume-{volume['id']}"]


def test_the_same_disk_twice_is_one_disk(api, disks):
    link = f"{disks[0]}"
    body = {"host": "h1", "name": "x", "driver": "partition", "devices": [disks[0], link]}
    assert "twice" in api.fault("POST", "/v1/pools", body)["message"]


def test_of_many_who_want_one_disk_one_gets_it(api, disks):
    statuses: list[int] = []

    def make(name: str) -> None:
        body = {"host": "h1", "name": name, "driver": "partition", "devices": [disks[0]], "wipe": [disks[0]]}
        statuses.append(api.call("POST", "/v1/pools", body).status_code)

    threads = [threading.Thread(target=make, args=(f"p{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [201, 409, 409, 409, 409, 409]
    [pool] = [pool for pool in api.json("GET", "/v1/pools")["pools"] if pool["driver"] == "partition"]
    assert pool["devices"] == [disks[0]]
    api.json("DELETE", f"/v1/pools/{pool['backend']}", status=204)
