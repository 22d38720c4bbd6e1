"""Many requests at once for one volume: one of them wins, the others are told so, and the world is consistent after."""

from __future__ import annotations

import sys
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import pytest
import sqlalchemy as sa

sys.path.insert(0, str(Path(__file__).parents[1]))
from brickyard.core import sizes, states
from brickyard.db import attachments, flows, quotas, schema, snapshots, tokens, volumes
from brickyard.nodes.local import LocalNode
from brickyard.service import audit
from brickyard.service.site import Site
from world import running as running_site

THREADS = 16
ROUNDS = 4
LOST = {400, 404, 409}  # what a request that comes second may hear
BUSY = {"creating", "deleting", "extending", "reverting", "restoring", "attaching", "detaching"}

Ask = Callable[[], Any]


def at_once(*asks: Ask) -> list[Any]:
    """Run all of them at the same moment; what each returned, in their order."""
    gate = threading.Barrier(len(asks))
    answers: list[Any] = [None] * len(asks)

    def run(n: int) -> None:
        gate.wait(60)
        answers[n] = asks[n]()

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(asks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


class World:
    """What a test asks of the site, and what must be true of it when nothing runs."""

    def __init__(self, site: Site, client: falcon.testing.TestClient) -> None:
        self.site, self.client, self.token = site, client, ""

    def call(self, method: str, path: str, body: Any = None, token: str | None = None) -> falcon.testing.Result:
        headers = {"OpenStack-API-Version": "volume 3.67", "X-Auth-Token": token or self.token}
        return self.client.simulate_request(method, f"/v3{path}", json=body, headers=headers)

    def ask(self, method: str, path: str, body: Any = None, token: str | None = None) -> Callable[[], int]:
        return lambda: self.call(method, path, body, token).status_code

    def act(self, volume: str, action: str, value: Any = None) -> Callable[[], int]:
        return self.ask("POST", f"/volumes/{volume}/action", {action: value})

    def volume(self) -> str:
        result = self.call("POST", "/volumes", {"volume": {"size": 1}})
        assert result.status_code == 202, result.text
        self.settle()
        return str(result.json["volume"]["id"])

    def attachment(self, volume: str, **more: Any) -> str:
        body = {"attachment": {"volume_uuid": volume, "instance_uuid": str(uuid.uuid4()), **more}}
        result = self.call("POST", "/attachments", body)
        assert result.status_code == 200, result.text
        return str(result.json["attachment"]["id"])

    def settle(self) -> None:
        """Wait until every flow is over."""
        for _ in range(100):
            with self.site.db.read() as tx:
                running = flows.list_(tx, open_only=True)
            if not running:
                return
            for flow in running:
                assert self.site.waker.wait(flow.id, 60) is not None, f"{flow.name} does not end"
        raise AssertionError("flows go on for ever")

    def check(self) -> None:
        """Nothing runs, so nothing is in between; claims, bricks and rows say the same of every pool."""
        self.settle()
        with self.site.db.read() as tx:
            rows = list(tx.execute(volumes.WIDE))
            kept = list(tx.execute(snapshots.WIDE))
            claims = {row.brick_id: row.gib for row in tx.execute(sa.select(schema.claims))}
            claimed = Counter({row.id: row.claimed_gib for row in tx.execute(sa.select(schema.pools))})
            own = {row.id: attachments.of_volume(tx, row.id) for row in rows}
        for row in rows:
            assert row.status not in BUSY - {"attaching"}, f"volume {row.id} stays {row.status}"
            assert row.target_gib is None
            if row.status in ("available", "in-use", "reserved", "attaching"):
                assert row.status == states.from_attachments(a.status for a in own[row.id])
        assert not [row.id for row in kept if row.status in BUSY]
        assert {row.volume_id for row in kept} <= {row.id for row in rows}
        assert claims == {row.id: row.size_gib for row in (*rows, *kept) if row.pool_id}
        assert sum(claimed.values()) == sum(claims.values())
        node = self.site.world.nodes["h1"]
        assert isinstance(node, LocalNode)
        found = [brick for backend in node.backends for brick in node.bricks(backend)]
        bricks = {brick.label.id: brick.size_bytes for brick in found if brick.label}
        assert bricks == {row.id: row.size_gib * sizes.GIB for row in (*rows, *kept) if row.pool_id}


@pytest.fixture
def world(running: tuple[Site, falcon.testing.TestClient]) -> World:
    return World(*running)


def test_of_many_instances_that_reserve_one_volume_exactly_one_has_it(world: World) -> None:
    volume = world.volume()
    bodies = [{"attachment": {"volume_uuid": volume, "instance_uuid": str(uuid.uuid4())}} for _ in range(THREADS)]
    heard = at_once(*(world.ask("POST", "/attachments", body) for body in bodies))
    assert Counter(heard) == {200: 1, 400: THREADS - 1}
    world.check()


def test_of_many_that_reserve_and_connect_exactly_one_has_it(world: World) -> None:
    volume = world.volume()
    bodies = [
        {"attachment": {"volume_uuid": volume, "instance_uuid": str(uuid.uuid4()), "connector": {"host": "h1"}}}
        for _ in range(THREADS)
    ]
    heard = at_once(*(world.ask("POST", "/attachments", body) for body in bodies))
    assert Counter(heard) == {200: 1, 400: THREADS - 1}
    world.check()


def test_the_older_reserve_and_the_newer_one_exclude_each_other(world: World) -> None:
    volume = world.volume()
    newer = world.ask("POST", "/attachments", {"attachment": {"volume_uuid": volume}})
    older = world.act(volume, "os-reserve")
    heard = at_once(*[older, newer] * (THREADS // 2))
    assert sum(status < 300 for status in heard) == 1
    world.settle()


def test_an_instance_that_asks_many_times_has_as_many_attachments(world: World) -> None:
    """So it moves: the same instance may have a second attachment, whatever the order."""
    volume = world.volume()
    body = {"attachment": {"volume_uuid": volume, "instance_uuid": str(uuid.uuid4())}}
    heard = at_once(*[world.ask("POST", "/attachments", body)] * 4)
    assert heard == [200] * 4
    world.check()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_delete_and_attach(world: World, round_: int) -> None:
    volume = world.volume()
    attach = world.ask("POST", "/attachments", {"attachment": {"volume_uuid": volume, "connector": {"host": "h1"}}})
    deleted, attached = at_once(world.ask("DELETE", f"/volumes/{volume}"), attach)
    assert (deleted, attached) in {(202, 400), (202, 404), (400, 200)}
    world.check()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_delete_and_snapshot(world: World, round_: int) -> None:
    volume = world.volume()
    keep = world.ask("POST", "/snapshots", {"snapshot": {"volume_id": volume}})
    deleted, kept = at_once(world.ask("DELETE", f"/volumes/{volume}"), keep)
    assert (deleted, kept) in {(202, 400), (202, 404), (400, 202)}
    world.check()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_delete_of_a_snapshot_and_a_volume_from_it(world: World, round_: int) -> None:
    volume = world.volume()
    snapshot = world.call("POST", "/snapshots", {"snapshot": {"volume_id": volume}}).json["snapshot"]["id"]
    world.settle()
    copy = world.ask("POST", "/volumes", {"volume": {"snapshot_id": snapshot}})
    deleted, copied = at_once(world.ask("DELETE", f"/snapshots/{snapshot}"), copy)
    assert (deleted, copied) in {(202, 400), (202, 404), (409, 202), (202, 202)}
    world.check()
    with world.site.db.read() as tx:
        assert {row.status for row in tx.execute(volumes.WIDE)} == {"available"}


def test_extend_and_delete(world: World) -> None:
    volume = world.volume()
    extended, deleted = at_once(
        world.act(volume, "os-extend", {"new_size": 2}), world.ask("DELETE", f"/volumes/{volume}")
    )
    assert (extended, deleted) in {(202, 400), (400, 202), (404, 202), (202, 202)}
    world.check()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_extend_and_copies_which_have_the_size_that_was_asked_for(world: World, round_: int) -> None:
    volume = world.volume()
    copy = world.ask("POST", "/volumes", {"volume": {"source_volid": volume}})
    kept = world.ask("POST", "/snapshots", {"snapshot": {"volume_id": volume}})
    heard = at_once(copy, world.act(volume, "os-extend", {"new_size": 2}), kept)
    assert set(heard) <= {202} | LOST
    world.check()
    assert world.call("GET", f"/volumes/{volume}").json["volume"]["status"] == "available"


def test_extends_come_one_after_the_other(world: World) -> None:
    volume = world.volume()
    heard = at_once(*(world.act(volume, "os-extend", {"new_size": 2 + n}) for n in range(THREADS)))
    assert 202 in heard
    assert set(heard) <= {202, 400}
    world.check()
    assert world.call("GET", f"/volumes/{volume}").json["volume"]["size"] > 1


def test_of_many_deletes_one_deletes(world: World) -> None:
    volume = world.volume()
    heard = at_once(*[world.ask("DELETE", f"/volumes/{volume}")] * THREADS)
    assert heard.count(202) == 1
    assert set(heard) - {202} <= LOST
    world.check()
    assert world.call("GET", f"/volumes/{volume}").status_code == 404


def test_of_many_deletes_of_an_attachment_one_deletes(world: World) -> None:
    volume = world.volume()
    attachment = world.attachment(volume, connector={"host": "h1"})
    heard = at_once(*[world.ask("DELETE", f"/attachments/{attachment}")] * THREADS)
    assert Counter(heard) == {200: 1, 404: THREADS - 1}
    world.check()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_connect_complete_and_delete_of_one_attachment(world: World, round_: int) -> None:
    volume = world.volume()
    attachment = world.attachment(volume)
    connect = world.ask("PUT", f"/attachments/{attachment}", {"attachment": {"connector": {"host": "h1"}}})
    complete = world.ask("POST", f"/attachments/{attachment}/action", {"os-complete": None})
    deleted = world.ask("DELETE", f"/attachments/{attachment}")
    heard = at_once(connect, connect, complete, deleted)
    assert heard[3] == 200
    assert set(heard) <= {200, 204} | LOST
    world.check()
    assert world.call("GET", f"/volumes/{volume}").json["volume"]["status"] == "available"


def test_extend_while_it_is_detached_leaves_it_available(world: World) -> None:
    volume = world.volume()
    attachment = world.attachment(volume, connector={"host": "h1"})
    world.call("POST", f"/attachments/{attachment}/action", {"os-complete": None})
    extended, deleted = at_once(
        world.act(volume, "os-extend", {"new_size": 2}), world.ask("DELETE", f"/attachments/{attachment}")
    )
    assert deleted == 200
    assert extended in (202, 400)
    world.check()
    assert world.call("GET", f"/volumes/{volume}").json["volume"]["status"] == "available"


def test_metadata_of_many_writers_is_all_there(world: World) -> None:
    volume = world.volume()
    path = f"/volumes/{volume}/metadata"
    heard = at_once(*(world.ask("POST", path, {"metadata": {f"k{n}": "v"}}) for n in range(THREADS)))
    assert set(heard) == {200}
    assert len(world.call("GET", path).json["metadata"]) == THREADS


def test_of_many_writers_with_one_etag_one_writes(world: World) -> None:
    volume = world.volume()
    path = f"/v3/volumes/{volume}/metadata"
    version = {"OpenStack-API-Version": "volume 3.15"}
    etag = world.client.simulate_get(path, headers=version).headers["etag"]

    def replace(n: int) -> Callable[[], int]:
        headers = {**version, "If-Match": etag}
        return lambda: world.client.simulate_put(path, json={"metadata": {"n": str(n)}}, headers=headers).status_code

    heard = at_once(*(replace(n) for n in range(THREADS)))
    assert Counter(heard) == {200: 1, 412: THREADS - 1}


@pytest.fixture
def projects(tmp_path: Path) -> Iterator[World]:
    """A site with three projects, whose tokens are `giver`, `one` and `two`; the world speaks as the giver."""
    with running_site(tmp_path, {"memory": "memory"}, auth_strategy="token") as (site, client):
        with site.db.begin() as tx:
            for token in ("giver", "one", "two"):
                tokens.insert(tx, token, user_id=f"user of {token}", project_id=token, roles=["member"])
        made = World(site, client)
        made.token = "giver"
        yield made


def offered(world: World) -> tuple[str, str, str, dict[str, Any]]:
    """A volume with a snapshot, and the offer of both: their ids, and the body that accepts it."""
    volume = world.volume()
    snapshot = world.call("POST", "/snapshots", {"snapshot": {"volume_id": volume}}).json["snapshot"]["id"]
    world.settle()
    offer = world.call("POST", "/volume-transfers", {"transfer": {"volume_id": volume}}).json["transfer"]
    return volume, snapshot, offer["id"], {"accept": {"auth_key": offer["auth_key"]}}


def used(world: World, project: str) -> tuple[int, int, int]:
    """Volumes, snapshots and GiB of a project, as it is told."""
    shown = world.call("GET", f"/os-quota-sets/{project}?usage=true", token=project).json["quota_set"]
    return tuple(shown[name]["in_use"] for name in ("volumes", "snapshots", "gigabytes"))


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_of_many_that_accept_one_has_the_volume(projects: World, round_: int) -> None:
    volume, _, offer, key = offered(projects)
    path = f"/volume-transfers/{offer}/accept"
    takers = ("one", "two") * (THREADS // 2)
    heard = at_once(*(projects.ask("POST", path, key, token) for token in takers))
    assert Counter(heard) == {202: 1, 404: THREADS - 1}
    owner = takers[heard.index(202)]
    other = "two" if owner == "one" else "one"
    projects.check()
    assert (used(projects, owner), used(projects, other), used(projects, "giver")) == ((1, 1, 2), (0, 0, 0), (0, 0, 0))
    assert projects.call("GET", f"/volumes/{volume}", token=owner).json["volume"]["status"] == "available"
    node = projects.site.world.nodes["h1"]
    assert {brick.label.project for brick in node.bricks("memory") if brick.label} == {owner}
    assert audit.look(projects.site) == []


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_accept_and_take_back(projects: World, round_: int) -> None:
    volume, _, offer, key = offered(projects)
    accepted, deleted, again = at_once(
        projects.ask("POST", f"/volume-transfers/{offer}/accept", key, "one"),
        projects.ask("DELETE", f"/volume-transfers/{offer}"),
        projects.ask("DELETE", f"/volumes/{volume}?cascade=true"),
    )
    assert (accepted, deleted) in {(202, 404), (404, 202)}
    assert again in (202, 400, 404)
    projects.check()
    owner = "one" if accepted == 202 else "giver"
    assert sum(used(projects, "giver")) + sum(used(projects, "one")) == (0 if again == 202 else 4)
    assert used(projects, owner) == ((0, 0, 0) if again == 202 else (1, 1, 2))


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_accept_while_a_snapshot_is_deleted(projects: World, round_: int) -> None:
    """Either it goes with the volume, or the volume waits until the snapshot is gone: never does one go half."""
    _, snapshot, offer, key = offered(projects)
    accept = projects.ask("POST", f"/volume-transfers/{offer}/accept", key, "one")
    accepted, deleted = at_once(accept, projects.ask("DELETE", f"/snapshots/{snapshot}"))
    assert (accepted, deleted) in {(202, 202), (202, 404), (400, 202)}
    projects.settle()
    if accepted == 400:
        assert accept() == 202
    projects.check()
    assert used(projects, "giver") == (0, 0, 0)
    assert used(projects, "one") == ((1, 0, 1) if deleted == 202 else (1, 1, 2))


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_what_is_accepted_and_made_at_once_is_within_the_quota(projects: World, round_: int) -> None:
    _, _, offer, key = offered(projects)
    with projects.site.db.begin() as tx:
        quotas.set_limits(tx, "one", {"gigabytes": 2})
    make = projects.ask("POST", "/volumes", {"volume": {"size": 1}}, "one")
    heard = at_once(projects.ask("POST", f"/volume-transfers/{offer}/accept", key, "one"), make)
    assert heard in ([202, 413], [413, 202])
    projects.check()
    assert used(projects, "one") == ((1, 1, 2) if heard[0] == 202 else (1, 0, 1))


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_a_type_that_gets_an_encryption_and_a_volume_without_one(world: World, round_: int) -> None:
    """Never are there both: the volume would hold in plain text what its type says is encrypted."""
    type_id = world.call("POST", "/types", {"volume_type": {"name": "safe"}}).json["volume_type"]["id"]
    body = {"encryption": {"provider": "luks", "control_location": "front-end"}}
    make = world.ask("POST", "/volumes", {"volume": {"size": 1, "volume_type": "safe"}})
    heard = at_once(world.ask("POST", f"/types/{type_id}/encryption", body), make, make)
    assert (heard[0] == 400 and 202 in heard[1:]) or heard == [200, 400, 400]
    world.check()


def test_whatever_is_asked_at_once_the_world_is_consistent_after(world: World) -> None:
    volume = world.volume()
    host = {"host": "h1"}
    asks = [
        world.act(volume, "os-reserve"),
        world.act(volume, "os-initialize_connection", {"connector": host}),
        world.act(volume, "os-attach", {"instance_uuid": str(uuid.uuid4()), "mountpoint": "/dev/vdb"}),
        world.act(volume, "os-terminate_connection", {"connector": host}),
        world.act(volume, "os-detach"),
        world.act(volume, "os-unreserve"),
        world.act(volume, "os-begin_detaching"),
        world.act(volume, "os-roll_detaching"),
        world.act(volume, "os-extend", {"new_size": 2}),
        world.ask("POST", "/attachments", {"attachment": {"volume_uuid": volume, "connector": host}}),
        world.ask("POST", "/snapshots", {"snapshot": {"volume_id": volume}}),
        world.ask("POST", "/volumes", {"volume": {"source_volid": volume}}),
    ]
    for _ in range(ROUNDS):
        heard = at_once(*asks)
        assert all(status < 500 for status in heard), heard
        world.settle()
    assert world.act(volume, "os-reset_status", {"status": "available", "attach_status": "detached"})() == 202
    world.check()
