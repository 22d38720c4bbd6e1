"""One scenario per flow: what is there before, the request, and how the world looks when it is done or failed."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from brickyard.core import errors
from brickyard.core.states import A
from brickyard.db import attachments, claims, flavors, images, schema, snapshots, store, volumes
from brickyard.flows import attach_volume, create_snapshot, delete_snapshot, detach_volume, engine
from brickyard.service import audit, instances, manageable, power, transfers, work
from brickyard.service import reimage as reimaging
from brickyard.service import volumes as volume_service
from brickyard.service.site import Caller, Site

ME = Caller("user", "project", ("member", "reader"), "req-1")
BOSS = Caller("boss", "project", ("admin",), "req-2", is_admin=True)


class Hands:
    """Runs flows at once and in this thread, with a probe; a death takes the engine and the next one resumes."""

    def __init__(self) -> None:
        self.site: Site
        self.probe: engine.Probe = lambda point, step: None
        self.catalogue: Any = None
        self.woken: list[str] = []

    def wake(self, id: str) -> None:
        self.woken.append(id)

    def wait(self, id: str, timeout_s: float) -> str | None:
        return self.run(id)

    def run(self, id: str) -> str | None:
        made = engine.Engine(self.site.db, self.site.world, self.catalogue, str(uuid.uuid4()), self.probe)
        return made.run(id)

    def run_all(self) -> None:
        while self.woken:
            self.run(self.woken.pop(0))


@dataclass(frozen=True)
class Scenario:
    """`start` makes the request (its flow runs later, or at once where the request waits for it)."""

    flow: str
    prepare: Callable[[Site], dict[str, Any]]
    start: Callable[[Site, dict[str, Any]], None]
    done: Callable[[Site, dict[str, Any]], None]
    failed: Callable[[Site, dict[str, Any]], None]
    hosts: tuple[str, ...] = ("h1",)  # guests run on the first one; several export to each other
    everywhere: bool = True  # broken at each of its steps; a variant of a flow that is need not be


IMAGE = "5b3a8bd8-6d0e-4bd9-a1c8-e3bb44d8b9f1"


def volume(site: Site, id: str) -> Any:
    with site.db.read() as tx:
        return volumes.find(tx, id)


def new_volume(site: Site, **values: Any) -> str:
    id = volume_service.create(site, ME, volume_service.NewVolume(**{"size_gib": 1, **values})).id
    site.waker.run_all()
    assert volume(site, id).status == "available"
    return str(id)


def write(site: Site, volume_id: str, text: bytes) -> None:
    with open(path_of(site, volume_id), "r+b") as file:
        file.write(text)


def path_of(site: Site, volume_id: str) -> str:
    at = volume(site, volume_id).host.partition("@")[2].partition("#")[0]
    return site.world.nodes["h1"].open_brick(at, f"volume-{volume_id}").path


def read(site: Site, volume_id: str, size: int) -> bytes:
    with open(path_of(site, volume_id), "rb") as file:
        return file.read(size)


def new_snapshot(site: Site, volume_id: str) -> str:
    row = volume(site, volume_id)
    id = str(uuid.uuid4())
    with site.db.begin() as tx:
        snapshots.insert(
            tx,
            id=id,
            volume_id=volume_id,
            project_id="project",
            user_id="user",
            size_gib=1,
            status="creating",
            metadata={},
        )
        params = create_snapshot.params(snapshot_id=id, volume_id=volume_id, pool=row.host, pool_id=row.pool_id, gib=1)
        work.queue(site, ME, tx, "create_snapshot", params, resource_id=id, project_id="project")
    return id


def with_volume(site: Site) -> dict[str, Any]:
    id = new_volume(site)
    write(site, id, b"first")
    return {"volume": id}


def with_snapshot(site: Site) -> dict[str, Any]:
    facts = with_volume(site)
    facts["snapshot"] = new_snapshot(site, facts["volume"])
    site.waker.run_all()
    return facts


def with_flavor(site: Site) -> dict[str, Any]:
    facts = with_volume(site)
    disk = site.world.images / "disk"
    disk.write_bytes(b"boot" + bytes(1024 * 1024 - 4))
    with site.db.begin() as tx:
        flavors.insert(tx, id="f1", name="small", vcpus=1, memory_mib=128, root_gib=1, local_storage_gb=0)
        images.insert(
            tx,
            id=IMAGE,
            name="disk",
            project_id="project",
            status="active",
            kind="disk",
            format="raw",
            size_bytes=1024 * 1024,
            virtual_size_bytes=1024 * 1024,
            files={"disk": "disk"},
        )
    return facts


def reimage(site: Site, facts: dict[str, Any]) -> None:
    reimaging.reimage(site, ME, facts["volume"], IMAGE, reserved=False)


def reimaged(site: Site, facts: dict[str, Any]) -> None:
    row = volume(site, facts["volume"])
    assert (row.status, row.bootable, row.image_id, row.image_metadata["image_name"]) == (
        "available", True, IMAGE, "disk",
    )  # fmt: skip
    assert read(site, facts["volume"], 5) == b"boot\0"


def boot(site: Site, facts: dict[str, Any]) -> None:
    storage = (instances.LocalStorage(1), instances.LocalStorage(2))
    new = instances.NewInstance("one", "small", "disk", storage, (facts["volume"],))
    facts["instance"] = instances.boot(site, ME, new).id


def with_instance(site: Site) -> dict[str, Any]:
    facts = with_flavor(site)
    boot(site, facts)
    site.waker.run_all()
    with site.db.read() as tx:
        assert instances.require(tx, ME, facts["instance"]).status == "active"
    facts["spare"] = new_volume(site)
    return facts


def instance(site: Site, facts: dict[str, Any]) -> Any:
    with site.db.read() as tx:
        return tx.execute(sa.select(schema.instances).where(schema.instances.c.id == facts["instance"])).one_or_none()


def status(*pairs: tuple[str, str | None]) -> Callable[[Site, dict[str, Any]], None]:
    """The volume or snapshot of each fact has this status; None: it is gone."""

    def check(site: Site, facts: dict[str, Any]) -> None:
        for fact, wanted in pairs:
            table = schema.snapshots if fact == "snapshot" else schema.volumes
            with site.db.read() as tx:
                assert tx.scalar(sa.select(table.c.status).where(table.c.id == facts[fact])) == wanted

    return check


def create(**values: str) -> Callable[[Site, dict[str, Any]], None]:
    def start(site: Site, facts: dict[str, Any]) -> None:
        given = {name: facts[fact] for name, fact in values.items()}
        row = volume_service.create(site, ME, volume_service.NewVolume(size_gib=2, **given))
        facts["new"] = row.id

    return start


def copied(site: Site, facts: dict[str, Any]) -> None:
    status(("new", "available"))(site, facts)
    assert read(site, facts["new"], 5) == b"first"


def extended(site: Site, facts: dict[str, Any]) -> None:
    row = volume(site, facts["volume"])
    assert (row.status, row.size_gib, row.target_gib) == ("available", 3, None)
    assert read(site, facts["volume"], 5) == b"first"


def not_extended(site: Site, facts: dict[str, Any]) -> None:
    row = volume(site, facts["volume"])
    assert row.status in ("available", "error_extending")
    assert (row.size_gib, row.target_gib) == (1, None)


def revert(site: Site, facts: dict[str, Any]) -> None:
    write(site, facts["volume"], b"other")
    volume_service.revert(site, ME, facts["volume"], facts["snapshot"])


def reverted(site: Site, facts: dict[str, Any]) -> None:
    status(("volume", "available"), ("snapshot", "available"))(site, facts)
    assert read(site, facts["volume"], 5) == b"first"


def snapshot(site: Site, facts: dict[str, Any]) -> None:
    facts["snapshot"] = new_snapshot(site, facts["volume"])


def drop_snapshot(site: Site, facts: dict[str, Any]) -> None:
    with site.db.begin() as tx:
        row = snapshots.find(tx, facts["snapshot"])
        store.begin(tx, "snapshot", row.id, "delete")
        params = delete_snapshot.params(snapshot_id=row.id, pool=row.host, pool_id=row.pool_id, gib=row.size_gib)
        work.queue(site, ME, tx, "delete_snapshot", params, resource_id=row.id, project_id="project")


def connect(site: Site, facts: dict[str, Any], **how: Any) -> None:
    """An attachment with a connector, as the service of attachments queues it."""
    id = facts["attachment"] = str(uuid.uuid4())
    row = volume(site, facts["volume"])
    with site.db.begin() as tx:
        store.begin(tx, "volume", row.id, "reserve", where=store.reservable())
        attachments.insert(tx, id=id, volume_id=row.id, status=A.ATTACHING, connector={"host": "h1"})
        store.settle(tx, row.id)
        params = attach_volume.params(
            attachment_id=id, volume_id=row.id, pool=row.host, connector={"host": "h1"}, mode="rw", extra={}, **how
        )
        work.queue(site, ME, tx, "attach_volume", params, resource_id=row.id, project_id="project")


def connected(site: Site, facts: dict[str, Any]) -> None:
    with site.db.read() as tx:
        row = attachments.find(tx, facts["attachment"])
    assert row.connection_info["device_path"] == path_of(site, facts["volume"])
    status(("volume", "attaching"))(site, facts)


def not_connected(site: Site, facts: dict[str, Any]) -> None:
    with site.db.read() as tx:
        row = attachments.find(tx, facts["attachment"])
    assert (row.status, row.connection_info) == (A.RESERVED, None)


def with_connection(site: Site) -> dict[str, Any]:
    facts = with_volume(site)
    connect(site, facts)
    site.waker.run_all()
    return facts


def disconnect(site: Site, facts: dict[str, Any], **how: Any) -> None:
    row = volume(site, facts["volume"])
    params = detach_volume.params(attachment_id=facts["attachment"], volume_id=row.id, pool=row.host, **how)
    with site.db.begin() as tx:
        store.begin(tx, "attachment", facts["attachment"], "detach")
        store.settle(tx, row.id)
        work.queue(site, ME, tx, "detach_volume", params, resource_id=row.id, project_id="project")


def not_disconnected(site: Site, facts: dict[str, Any]) -> None:
    with site.db.read() as tx:
        assert attachments.find(tx, facts["attachment"]).status == A.ATTACHING


def booted(site: Site, facts: dict[str, Any]) -> None:
    assert instance(site, facts).status == "active"
    with site.db.read() as tx:
        attached = attachments.of_instance(tx, facts["instance"])
    assert len(attached) == 3
    assert {a.status for a in attached} == {A.ATTACHED}
    assert all(volume(site, a.volume_id).status == "in-use" for a in attached)


def not_booted(site: Site, facts: dict[str, Any]) -> None:
    """The instance says why; of its new volumes nothing is left, and the old one is as it was."""
    row = instance(site, facts)
    assert row.status == "error"
    assert row.fault
    with site.db.read() as tx:
        assert list(tx.scalars(sa.select(schema.volumes.c.id))) == [facts["volume"]]
    status(("volume", "available"))(site, facts)
    assert read(site, facts["volume"], 5) == b"first"


def unbooted(site: Site, facts: dict[str, Any]) -> None:
    assert instance(site, facts) is None
    status(("volume", "available"))(site, facts)


def still_there(site: Site, facts: dict[str, Any]) -> None:
    assert instance(site, facts).status == "error_deleting"
    instances.delete(site, ME, facts["instance"], with_volumes=False)
    site.waker.run_all()
    unbooted(site, facts)


def with_stopped_instance(site: Site) -> dict[str, Any]:
    facts = with_instance(site)
    node = site.world.nodes["h1"]
    node.hypervisor.kill(facts["instance"])
    assert instances.observe(site.db, "h1", node.guests) == [facts["instance"]]
    assert instance(site, facts).status == "stopped"
    return facts


def started(site: Site, facts: dict[str, Any]) -> None:
    """With its root disk and all of its volumes, and what it had said before."""
    booted(site, facts)
    assert instance(site, facts).fault is None
    [guest] = site.world.nodes["h1"].guests()
    with site.db.read() as tx:
        attached = {a.volume_id for a in attachments.of_instance(tx, facts["instance"])}
    assert (guest.status, set(guest.serials)) == ("running", {facts["instance"], *attached})
    assert site.world.nodes["h1"].console(facts["instance"]).count("ready") == 2


def not_started(site: Site, facts: dict[str, Any]) -> None:
    """It is stopped as before, says why, and can be started."""
    row = instance(site, facts)
    assert (row.status, row.fault) == ("stopped", "broken on purpose")
    [guest] = site.world.nodes["h1"].guests()
    assert guest.status == "stopped"
    facts["instance"] = power.start(site, ME, facts["instance"]).id
    site.waker.run_all()
    assert instance(site, facts).status == "active"


def stopped(site: Site, facts: dict[str, Any]) -> None:
    row = instance(site, facts)
    assert (row.status, row.fault) == ("stopped", None)
    [guest] = site.world.nodes["h1"].guests()
    assert guest.status == "stopped"
    with site.db.read() as tx:
        attached = attachments.of_instance(tx, facts["instance"])
        assert {a.status for a in attached} == {A.ATTACHED}
        [claim] = tx.execute(sa.select(schema.host_claims))
    assert (claim.instance_id, len(attached)) == (facts["instance"], 3)


def not_stopped(site: Site, facts: dict[str, Any]) -> None:
    """It is active, or, as the next report of its host finds, stopped after all."""
    row = instance(site, facts)
    assert (row.status, row.fault) == ("active", "broken on purpose")
    node = site.world.nodes["h1"]
    [guest] = node.guests()
    instances.observe(site.db, "h1", node.guests)
    assert instance(site, facts).status == {"running": "active", "stopped": "stopped"}[guest.status]


def plug(site: Site, facts: dict[str, Any]) -> None:
    _ignoring(lambda: instances.attach(site, ME, facts["instance"], facts["spare"]))


def unplug(site: Site, facts: dict[str, Any]) -> None:
    _ignoring(lambda: instances.detach(site, ME, facts["instance"], facts["volume"]))


def _ignoring(call: Callable[[], object]) -> None:
    """The caller hears of the failure; what matters here is the world."""
    with contextlib.suppress(errors.BrickyardError):
        call()


def gone_later(site: Site, facts: dict[str, Any]) -> None:
    """What failed to be deleted says so, and deleting it again succeeds."""
    with site.db.read() as tx:
        snapshot_row = snapshots.find(tx, facts["snapshot"])
    assert snapshot_row is not None
    assert snapshot_row.status == "error_deleting"


def delete_failed(site: Site, facts: dict[str, Any]) -> None:
    status(("volume", "error_deleting"))(site, facts)
    volume_service.delete(site, ME, facts["volume"], cascade=True)
    site.waker.run_all()
    status(("volume", None))(site, facts)


def given(site: Site, facts: dict[str, Any]) -> None:
    row, key = transfers.create(site, ME, facts["volume"], name=None, no_snapshots=False)
    transfers.accept(site, dataclasses.replace(ME, project_id="another"), row.id, key)


def taken(site: Site, facts: dict[str, Any]) -> None:
    """Rows and bricks say the same of their owner, whatever happened on the way."""
    status(("volume", "available"), ("snapshot", "available"))(site, facts)
    assert volume(site, facts["volume"]).project_id == "another"
    found = {brick.label.project for brick in site.world.nodes["h1"].bricks("raw")}
    assert found == {"another"}
    assert audit.look(site) == []
    assert read(site, facts["volume"], 5) == b"first"


# repairs of an audit: what it finds is made by hand, and a repair that failed is asked for again


def forgotten(site: Site) -> dict[str, Any]:
    """A volume with a snapshot, and nobody knows them any more."""
    facts = with_snapshot(site)
    with site.db.begin() as tx:
        for fact, table in (("snapshot", schema.snapshots), ("volume", schema.volumes)):
            claims.release(tx, facts[fact])
            tx.execute(sa.delete(table).where(table.c.id == facts[fact]))
    return facts


def found_again(site: Site, facts: dict[str, Any]) -> None:
    status(("volume", "available"), ("snapshot", "available"))(site, facts)
    assert volume(site, facts["volume"]).project_id == "project"
    assert read(site, facts["volume"], 5) == b"first"


def removed(site: Site, facts: dict[str, Any]) -> None:
    status(("volume", None), ("snapshot", None))(site, facts)
    assert site.world.nodes["h1"].bricks("raw") == []


def with_leftovers(site: Site) -> dict[str, Any]:
    facts = with_volume(site)
    facts["left"] = os.path.join(os.path.dirname(path_of(site, facts["volume"])), f".volume-{facts['volume']}.spare")
    with open(facts["left"], "wb") as file:
        file.write(b"half")
    return facts


def tidied(site: Site, facts: dict[str, Any]) -> None:
    assert not os.path.exists(facts["left"])
    assert read(site, facts["volume"], 5) == b"first"


def with_strange_claim(site: Site) -> dict[str, Any]:
    facts = with_volume(site)
    with site.db.begin() as tx:
        claims.count(tx, pool_id=volume(site, facts["volume"]).pool_id, brick_id=str(uuid.uuid4()), gib=7)
    return facts


def accounted(site: Site, facts: dict[str, Any]) -> None:
    with site.db.read() as tx:
        assert list(tx.scalars(sa.select(schema.claims.c.gib))) == [1]


def repair(**how: Any) -> Callable[[Site, dict[str, Any]], None]:
    def start(site: Site, facts: dict[str, Any]) -> None:
        audit.repair(site, ME, grace_s=0, **how)

    return start


def repaired_later(done: Callable[[Site, dict[str, Any]], None], **how: Any) -> Callable[[Site, dict[str, Any]], None]:
    """The repair failed; asked for again it does what is left to do."""

    def check(site: Site, facts: dict[str, Any]) -> None:
        repair(**how)(site, facts)
        site.waker.run_all()
        done(site, facts)
        assert audit.look(site) == []

    return check


def given_up(site: Site) -> dict[str, Any]:
    """What was a volume and its snapshot lies in the pool and is nobody's; beside them is another volume."""
    facts = with_snapshot(site)
    facts["pool"] = volume(site, facts["volume"]).host
    manageable.unmanage_snapshot(site, BOSS, facts["snapshot"])
    site.waker.run_all()
    manageable.unmanage_volume(site, BOSS, facts["volume"])
    site.waker.run_all()
    status(("volume", None), ("snapshot", None))(site, facts)
    return {**facts, "old": facts["volume"], "old snapshot": facts["snapshot"], "volume": new_volume(site)}


def manage(site: Site, facts: dict[str, Any]) -> None:
    wanted = manageable.Wanted(name=f"volume-{facts['old']}")
    facts["new"] = manageable.manage_volume(site, ME, facts["pool"], wanted).id


def manage_snapshot(site: Site, facts: dict[str, Any]) -> None:
    wanted = manageable.Wanted(name=f"_snapshot-{facts['old snapshot']}")
    facts["snapshot"] = manageable.manage_snapshot(site, ME, facts["volume"], wanted).id


def not_managed(site: Site, facts: dict[str, Any]) -> None:
    """It lies there under one of two names, is counted for nobody, and may be taken over again."""
    row = volume(site, facts["new"])
    assert (row.status, row.pool_id, bool(row.fault)) == ("error", None, True)
    names = {found.name for found in site.world.nodes["h1"].strangers("raw")}
    if f"volume-{facts['new']}" in names:
        facts["old"] = facts["new"]
    manage(site, facts)
    site.waker.run_all()
    copied(site, facts)


def unmanage(site: Site, facts: dict[str, Any]) -> None:
    manageable.unmanage_volume(site, BOSS, facts["new"])


def unmanaged(site: Site, facts: dict[str, Any]) -> None:
    status(("new", None))(site, facts)
    assert f"volume-{facts['new']}" in {found.name for found in site.world.nodes["h1"].strangers("raw")}


def not_unmanaged(site: Site, facts: dict[str, Any]) -> None:
    status(("new", "error_unmanaging"))(site, facts)
    unmanage(site, facts)
    site.waker.run_all()
    unmanaged(site, facts)


SCENARIOS = (
    Scenario("create_volume", lambda site: {}, create(), status(("new", "available")), status(("new", "error"))),
    Scenario("create_volume", with_volume, create(source_volid="volume"), copied, status(("new", "error"))),
    Scenario("create_volume", with_snapshot, create(snapshot_id="snapshot"), copied, status(("new", "error"))),
    Scenario(
        "delete_volume",
        with_snapshot,
        lambda site, facts: volume_service.delete(site, ME, facts["volume"], cascade=True),
        status(("volume", None), ("snapshot", None)),
        delete_failed,
    ),
    Scenario(
        "extend_volume",
        with_volume,
        lambda site, facts: volume_service.extend(site, ME, facts["volume"], 3, attached=False),
        extended,
        not_extended,
    ),
    Scenario(
        "create_snapshot", with_volume, snapshot, status(("snapshot", "available")), status(("snapshot", "error"))
    ),
    Scenario("relabel_bricks", with_snapshot, given, taken, taken),
    Scenario("delete_snapshot", with_snapshot, drop_snapshot, status(("snapshot", None)), gone_later),
    Scenario("revert_volume", with_snapshot, revert, reverted, status(("volume", "error"), ("snapshot", "available"))),
    Scenario("reimage_volume", with_flavor, reimage, reimaged, status(("volume", "error"))),
    Scenario("manage_brick", given_up, manage, copied, not_managed),
    Scenario(
        "manage_brick",
        given_up,
        manage_snapshot,
        status(("snapshot", "available")),
        status(("snapshot", "error"), ("volume", "available")),
    ),
    Scenario("unmanage_brick", lambda site: {"new": new_volume(site)}, unmanage, unmanaged, not_unmanaged),
    Scenario("attach_volume", with_volume, connect, connected, not_connected),
    Scenario("detach_volume", with_connection, disconnect, status(("volume", "available")), not_disconnected),
    Scenario("boot_instance", with_flavor, boot, booted, not_booted),
    Scenario(
        "delete_instance",
        with_instance,
        lambda site, facts: instances.delete(site, ME, facts["instance"], with_volumes=False),
        unbooted,
        still_there,
    ),
    Scenario(
        "start_instance",
        with_stopped_instance,
        lambda site, facts: power.start(site, ME, facts["instance"]),
        started,
        not_started,
    ),
    Scenario(
        "stop_instance",
        with_instance,
        lambda site, facts: power.stop(site, ME, facts["instance"]),
        stopped,
        not_stopped,
    ),
    Scenario("attach_instance", with_instance, plug, status(("spare", "in-use")), status(("spare", "available"))),
    Scenario("detach_instance", with_instance, unplug, status(("volume", "available")), status(("volume", "in-use"))),
    Scenario("repair_adopt", forgotten, repair(), found_again, repaired_later(found_again)),
    Scenario(
        "repair_remove", forgotten, repair(remove_orphans=True), removed, repaired_later(removed, remove_orphans=True)
    ),
    Scenario("repair_host", with_leftovers, repair(), tidied, repaired_later(tidied)),
    Scenario("repair_records", with_strange_claim, repair(), accounted, repaired_later(accounted)),
)
