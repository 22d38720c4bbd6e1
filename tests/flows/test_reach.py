"""Instances with volumes of other hosts: as far as they asked for and no farther, whatever fails on the way."""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests import engines, world
from tests.flows import soundness
from tests.flows.scenarios import BOSS, IMAGE, ME, Hands, new_volume
from tests.flows.test_boot_elsewhere import boot, break_node, bricks

from brickyard.core import errors
from brickyard.core.bricks import Kind, Label, name_of
from brickyard.daemons import rebuild
from brickyard.db import attachments, flavors, flows, images, schema, volumes
from brickyard.db import instances as instance_rows
from brickyard.flows import catalogue
from brickyard.hypervisor import memory
from brickyard.service import attachments as attachment_service
from brickyard.service import audit, connections, instances, lost_hosts, power
from brickyard.service import volumes as volume_service
from brickyard.service.site import Site

RACKS = {"h1": "r1", "h2": "r1", "h3": "r2"}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """h1 runs guests and takes no volumes; h2 stands in its rack, and h3 in the next one."""
    hands = Hands()
    runs = {"h1": memory.Memory(), "h2": None, "h3": None}
    made = world.make(tmp_path, {"raw": "raw"}, None, hosts=runs, exports=True, elsewhere={"h1", "h2"})
    hands.site, hands.catalogue = dataclasses.replace(made, waker=hands), catalogue.FLOWS
    (made.world.images / "k").write_bytes(b"boot" + bytes(1020))
    with made.db.begin() as tx:
        for id, root_gib in (("small", 0), ("rooted", 1)):
            flavors.insert(tx, id=id, name=id, vcpus=1, memory_mib=128, root_gib=root_gib, local_storage_gb=0)
        image = {"project_id": "project", "status": "active", "format": "raw", "size_bytes": 1024}
        images.insert(tx, id=IMAGE, name="k", kind="kernel", files={"kernel": "k"}, **image)
        images.insert(tx, id=str(uuid.uuid4()), name="disk", kind="disk", files={"disk": "k"}, virtual_size_bytes=1024,
                      **image)  # fmt: skip
        for name, rack in RACKS.items():
            tx.execute(sa.update(schema.hosts).where(schema.hosts.c.name == name).values(
                labels={"zone": "nova", "rack": rack}))  # fmt: skip
    takes_volumes(hands.site, "h2", "h3")
    yield hands.site
    made.db.close()


def takes_volumes(site: Site, *hosts: str) -> None:
    backends = schema.volume_backends
    with site.db.begin() as tx:
        named = sa.or_(*(backends.c.name == f"{host}@raw" for host in hosts))
        tx.execute(sa.update(backends).values(enabled=sa.case((named, True), else_=False)))
    site.world.places.refresh()


def volume_on(site: Site, host: str) -> str:
    takes_volumes(site, host)
    id = new_volume(site)
    takes_volumes(site, "h2", "h3")
    return id


def exports(site: Site) -> list[tuple[str, str, str]]:
    every = [(host, one) for host in RACKS for one in site.world.nodes.returning(host).exports()]
    return [(host, one.name, one.client) for host, one in every]


def test_required_locality_is_not_left(site: Site) -> None:
    near, far = volume_on(site, "h2"), volume_on(site, "h3")
    assert boot(site, volumes=(near,)).status == "error", "its own host is what it asked for"
    assert boot(site, volumes=(far,), locality="rack").status == "error"
    assert boot(site, volumes=(far, near), locality="rack").status == "error"
    assert exports(site) == []
    row = boot(site, volumes=(far, near), locality="zone")
    assert (row.status, row.host) == ("active", "h1")
    names = {near: "h2", far: "h3"}
    assert sorted(exports(site)) == sorted((host, name_of(Kind.VOLUME, id), row.id) for id, host in names.items())
    soundness.check(site)


def test_best_effort_takes_what_there_is(site: Site) -> None:
    row = boot(site, volumes=(volume_on(site, "h3"),), required=False)
    assert (row.status, row.host) == ("active", "h1")


def test_new_volumes_are_made_in_the_rack_where_the_host_has_no_room(site: Site) -> None:
    row = boot(site, local_storage=(instances.LocalStorage(1),) * 2, locality="rack")
    assert (row.status, row.host, bricks(site)) == ("active", "h1", {"h1": 0, "h2": 2, "h3": 0})
    assert len(exports(site)) == 2
    instances.delete(site, ME, row.id, with_volumes=True)
    site.waker.run_all()
    flows_of_volumes(site)
    assert (exports(site), bricks(site)) == ([], {"h1": 0, "h2": 0, "h3": 0})
    soundness.check(site)


def flows_of_volumes(site: Site) -> None:
    with site.db.read() as tx:
        ids = list(tx.scalars(sa.select(schema.flows.c.id).where(schema.flows.c.name == "delete_volume")))
    for id in ids:
        site.waker.run(id)


def test_a_root_disk_may_lie_in_the_rack_and_goes_with_its_instance(site: Site) -> None:
    row = boot(site, flavor="rooted", image="disk", locality="rack")
    assert (row.status, row.host) == ("active", "h1"), row.fault
    assert exports(site) == [("h2", name_of(Kind.ROOT, row.id), row.id)]
    assert audit.look(site) == []
    instances.delete(site, ME, row.id, with_volumes=False)
    site.waker.run_all()
    assert (exports(site), bricks(site)) == ([], {"h1": 0, "h2": 0, "h3": 0})


def test_a_pool_of_another_host_that_fails_is_left_out_and_its_instance_stays(site: Site) -> None:
    break_node(site, "h2", "create_brick")
    row = boot(site, local_storage=(instances.LocalStorage(1),), locality="zone")
    assert (row.status, row.host, bricks(site)) == ("active", "h1", {"h1": 0, "h2": 0, "h3": 1})


def test_hosts_that_share_a_pool_do_not_share_the_claim(site: Site) -> None:
    """Both h1 and h2 could run it with its volume on h2: one after the other holds the claim for it."""
    with site.db.begin() as tx:
        tx.execute(sa.update(schema.hosts).where(schema.hosts.c.name == "h2").values(hypervisor="memory"))
    node: Any = site.world.nodes["h2"]
    node.hypervisor = memory.Memory()
    break_node(site, "h2", "boot")
    takes_volumes(site, "h2")
    row = boot(site, local_storage=(instances.LocalStorage(1),), locality="rack")
    assert (row.status, row.host, bricks(site)) == ("active", "h1", {"h1": 0, "h2": 1, "h3": 0})
    soundness.check(site)


def test_what_cannot_be_exported_is_not_booted_with(site: Site) -> None:
    volume = volume_on(site, "h2")
    break_node(site, "h2", "export")
    row = boot(site, volumes=(volume,), locality="rack")
    assert row.status == "error" and "export is broken on h2" in row.fault
    with site.db.read() as tx:
        assert volume_service.require(tx, ME, volume).status == "available"


def test_a_host_that_cannot_export_a_new_volume_is_left_out_and_its_instance_stays(site: Site) -> None:
    """Only h1 runs guests: it is not to blame."""
    break_node(site, "h2", "export")
    row = boot(site, local_storage=(instances.LocalStorage(1),), locality="zone")
    assert (row.status, row.host, bricks(site)) == ("active", "h1", {"h1": 0, "h2": 0, "h3": 1}), row.fault
    soundness.check(site)


@pytest.mark.parametrize(
    ("asked", "where", "why"),
    [
        ({}, "h2", "its own host; boot an instance with the volume"),
        ({"locality": "rack"}, "h3", "its own rack; boot an instance with the volume"),
        ({"locality": "zone"}, "h3", None),
        ({"required": False}, "h3", None),
    ],
)
def test_a_volume_that_is_too_far_away_is_not_attached(site: Site, asked: Any, where: str, why: str | None) -> None:
    row, volume = boot(site, **asked), volume_on(site, where)
    if why is None:
        instances.attach(site, ME, row.id, volume)
        assert exports(site) == [(where, name_of(Kind.VOLUME, volume), row.id)]
    else:
        with pytest.raises(errors.Invalid, match=why) as refused:
            instances.attach(site, ME, row.id, volume)
        assert refused.value.field == "volume_id"
        assert exports(site) == []
    soundness.check(site)


def test_a_host_without_an_address_exports_nothing(site: Site) -> None:
    row, volume = boot(site, locality="rack"), volume_on(site, "h2")
    with site.db.begin() as tx:
        tx.execute(sa.update(schema.hosts).values(export_address=None))
    site.world.places.refresh()
    with pytest.raises(errors.Invalid, match="h2 exports no volumes.*export_address"):
        instances.attach(site, ME, row.id, volume)
    assert boot(site, name="two", volumes=(volume,), locality="rack").status == "error"
    node: Any = site.world.nodes["h2"]
    node.exporting.settings = None
    with pytest.raises(errors.Unavailable, match="This host exports no bricks: set export_address"):
        node.export("raw", name_of(Kind.VOLUME, volume), row.id)


def test_a_stopped_instance_is_started_with_what_lies_elsewhere(site: Site) -> None:
    volume = volume_on(site, "h2")
    row = boot(site, volumes=(volume,), locality="rack")
    before = exports(site)
    power.stop(site, ME, row.id)
    site.waker.run_all()
    assert exports(site) == before
    node: Any = site.world.nodes["h2"]
    node.unexport("raw", name_of(Kind.VOLUME, volume), row.id)  # its host was made anew
    power.start(site, ME, row.id)
    site.waker.run_all()
    assert exports(site) == before
    soundness.check(site)


def test_an_export_that_is_missing_is_found_and_not_guessed(site: Site) -> None:
    volume = volume_on(site, "h2")
    row = boot(site, volumes=(volume,), locality="rack")
    assert audit.look(site) == []
    site.world.nodes["h2"].unexport("raw", name_of(Kind.VOLUME, volume), row.id)
    [found] = audit.repair(site, ME, grace_s=0)
    assert (found.difference.kind, found.difference.where, found.flow_id) == ("missing_export", "h2", None)


def test_a_stray_export_has_its_grace_and_that_of_a_guest_that_runs_its_guest(site: Site) -> None:
    node, volume = site.world.nodes["h2"], volume_on(site, "h2")
    node.export("raw", name_of(Kind.VOLUME, volume), str(uuid.uuid4()))
    [found] = audit.repair(site, ME)
    assert (found.difference.kind, found.flow_id) == ("stray_export", None)
    [found] = audit.repair(site, ME, grace_s=0)
    site.waker.run_all()
    assert exports(site) == []
    row = boot(site, volumes=(volume,), locality="rack")
    with site.db.begin() as tx:  # a database that was lost
        for table in (schema.flow_log, schema.flows, schema.attachments, schema.host_claims, schema.instances):
            tx.execute(sa.delete(table))
    strays = [found for found in audit.repair(site, ME, grace_s=0) if found.difference.kind == "stray_export"]
    assert [(found.action, found.flow_id) for found in strays] == [(None, None)]
    assert exports(site) == [("h2", name_of(Kind.VOLUME, volume), row.id)]


def test_a_volume_grows_while_a_guest_elsewhere_has_it(site: Site) -> None:
    volume = volume_on(site, "h2")
    row = boot(site, volumes=(volume,), locality="rack")
    volume_service.extend(site, ME, volume, 2, attached=True)
    site.waker.run_all()
    with site.db.read() as tx:
        found = volumes.find(tx, volume)
    assert found is not None and (found.status, found.size_gib) == ("in-use", 2)
    assert exports(site) == [("h2", name_of(Kind.VOLUME, volume), row.id)]


def test_a_brick_that_a_guest_elsewhere_writes_to_is_not_taken_away(site: Site) -> None:
    """Whoever asks for it, and also when no row speaks of it."""
    row, node = boot(site), site.world.nodes["h2"]
    label = Label(Kind.VOLUME, str(uuid.uuid4()), "project")
    node.create_brick("raw", label, 1024**3)
    node.export("raw", label.name, row.id)
    for verb in (node.wipe_brick, node.delete_brick):
        with pytest.raises(errors.GuestError, match=f"exported to guest {row.id} of another host: detach it there"):
            verb("raw", label.name)
    with pytest.raises(errors.GuestError, match="exported to guest"):
        node.revert_brick("raw", label.name, name_of(Kind.SNAPSHOT, label.id))
    audit.repair(site, ME, grace_s=0, remove_orphans=True)
    run_open(site)
    found = node.find_brick("raw", label.name)
    assert found is not None and not found.wiping
    node.unexport("raw", label.name, row.id)
    audit.repair(site, ME, grace_s=0, remove_orphans=True)
    run_open(site)
    assert node.find_brick("raw", label.name) is None


def test_a_rebuilt_database_knows_that_a_guest_elsewhere_has_a_volume(site: Site, tmp_path: Path) -> None:
    used, free = volume_on(site, "h2"), volume_on(site, "h2")
    row = boot(site, volumes=(used,), locality="rack")
    (tmp_path / "anew").mkdir()
    with contextlib.closing(engines.empty(tmp_path / "anew")) as db:
        outcome = rebuild.run(db, site.world.nodes["h2"])
        assert [(note.kind, row.id in note.message) for note in outcome.notes] == [("in_use", True)]
        with db.read() as tx:
            found = {one.id: one.status for one in tx.execute(sa.select(schema.volumes))}
    assert found == {used: "maintenance", free: "available"}


@pytest.mark.parametrize("status", ["reserved", "detaching"])
def test_a_disk_that_comes_or_goes_is_served_no_more_to_an_instance_that_is_deleted(site: Site, status: str) -> None:
    row = boot(site, volumes=(volume_on(site, "h2"),), locality="rack")
    with site.db.begin() as tx:
        tx.execute(sa.update(schema.attachments).values(status=status))
    instances.delete(site, ME, row.id, with_volumes=False)
    run_open(site)
    assert exports(site) == []


@pytest.mark.parametrize(
    "connect",
    [
        lambda site, volume, attachment: connections.initialize(site, ME, volume, {"host": "h2"}),
        lambda site, volume, attachment: attachment_service.update(site, ME, attachment, {"host": "h2"}),
    ],
    ids=["beside", "anew"],
)
def test_a_volume_that_a_guest_elsewhere_has_is_connected_to_nothing_else(site: Site, connect: Any) -> None:
    volume = volume_on(site, "h2")
    row = boot(site, volumes=(volume,), locality="rack")
    with site.db.read() as tx:
        [before] = attachments.of_volume(tx, volume)
    with pytest.raises(errors.InvalidState, match=f"for instance {row.id} on host h1.*detach it there"):
        connect(site, volume, before.id)
    with site.db.read() as tx:
        assert attachments.of_volume(tx, volume) == [before]
    soundness.check(site)


def declare_lost(site: Site, host: str, *, data_lost: bool) -> None:
    lost_hosts.lose(site, BOSS, host, data_lost=data_lost, confirm=host)
    run_open(site)


def run_open(site: Site) -> None:
    with site.db.read() as tx:
        ids = flows.ready(tx, 100)
    for id in ids:
        site.waker.run(id)


def test_a_guest_on_a_host_that_is_given_up_writes_to_nothing_elsewhere(site: Site) -> None:
    """Its volume is free for others, so what may still run there must not have it."""
    volume = volume_on(site, "h2")
    boot(site, volumes=(volume,), locality="rack")
    declare_lost(site, "h1", data_lost=False)
    assert len(exports(site)) == 1, "the host may come back, and its guest goes on"
    declare_lost(site, "h1", data_lost=True)
    with site.db.read() as tx:
        assert volume_service.require(tx, ME, volume).status == "available"
    assert exports(site) == []


def test_a_guest_whose_root_disk_is_elsewhere_keeps_its_disks(site: Site) -> None:
    """It is not given up, so nobody else may have them, and it has them when its host is back."""
    row = boot(site, flavor="rooted", image="disk", locality="zone", volumes=(volume_on(site, "h3"),))
    before = exports(site)
    assert len(before) == 2
    declare_lost(site, "h1", data_lost=True)
    with site.db.read() as tx:
        assert instance_rows.find(tx, row.id).status == "error"
    assert exports(site) == before
    assert lost_hosts.heard(site.db, "h1")
    run_open(site)
    with site.db.read() as tx:
        assert instance_rows.find(tx, row.id).status == "active"
    assert exports(site) == before


def test_a_silent_host_delays_what_it_serves_and_nothing_else_on_a_lost_one(site: Site) -> None:
    def silent(*args: object) -> None:
        raise errors.Unreachable("h2 does not answer")

    served = boot(site, name="served", locality="rack", volumes=(volume_on(site, "h2"),))
    other = boot(site, name="other", locality="zone", volumes=(volume_on(site, "h3"),))
    node: Any = site.world.nodes["h2"]
    node.unexport, answers = silent, node.unexport
    declare_lost(site, "h1", data_lost=True)
    with site.db.read() as tx:
        found = {id: instance_rows.find(tx, id).status for id in (served.id, other.id)}
    assert found == {served.id: "active", other.id: "error"}
    assert [host for host, _, _ in exports(site)] == ["h2"]
    node.unexport = answers
    with site.db.begin() as tx:
        tx.execute(sa.update(schema.flows).values(not_before="2020"))
    run_open(site)
    with site.db.read() as tx:
        assert instance_rows.find(tx, served.id).status == "error"
    assert exports(site) == []


def test_a_disk_on_a_lost_host_is_let_go_and_served_no_more_when_that_is_back(site: Site) -> None:
    row = boot(site, locality="rack", volumes=(kept := volume_on(site, "h2"), left := volume_on(site, "h2")))
    declare_lost(site, "h2", data_lost=False)
    instances.detach(site, ME, row.id, left)
    assert len(exports(site)) == 2, "nobody may ask the lost host"
    assert lost_hosts.heard(site.db, "h2")
    run_open(site)
    assert exports(site) == [("h2", name_of(Kind.VOLUME, kept), row.id)]
