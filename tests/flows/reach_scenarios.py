"""Scenarios of instances, and of hosts that are no nodes, with volumes of another host: exported while in use."""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa
from tests.flows import scenarios
from tests.flows.scenarios import IMAGE, ME, Scenario, instance, new_volume, status

from brickyard.core.bricks import Exported, Kind, name_of
from brickyard.db import attachments, flavors, images, schema
from brickyard.service import audit, instances, volumes
from brickyard.service.site import Site

Facts = dict[str, Any]
NQN = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-4333-8444-555555555555"
HERE, THERE = "h1", "h2"  # where guests run, and where volumes are made


def with_far_volume(site: Site) -> Facts:
    (site.world.images / "kernel").write_bytes(b"kernel")
    with site.db.begin() as tx:
        backends = schema.volume_backends
        tx.execute(sa.update(backends).where(backends.c.name == f"{HERE}@raw").values(enabled=False))
        flavors.insert(tx, id="f1", name="small", vcpus=1, memory_mib=128, root_gib=0, local_storage_gb=0)
        images.insert(
            tx, id=IMAGE, name="k", project_id="project", status="active", kind="kernel", files={"kernel": "kernel"}
        )
    site.world.places.refresh()
    facts = {"volume": new_volume(site)}
    assert scenarios.volume(site, facts["volume"]).host.startswith(THERE)
    return facts


def boot(site: Site, facts: Facts) -> None:
    """With a volume that is there, and a new one."""
    new = instances.NewInstance("one", "small", "k", (instances.LocalStorage(1),), (facts["volume"],), locality="rack")
    facts["instance"] = instances.boot(site, ME, new).id


def booted(site: Site, facts: Facts) -> None:
    assert (instance(site, facts).status, instance(site, facts).host_id) == ("active", host_id(site, HERE))
    with site.db.read() as tx:
        attached = attachments.of_instance(tx, facts["instance"])
    assert {row.connection_info["driver_volume_type"] for row in attached} == {"nbd"}
    assert len(attached) == 2
    for row in attached:
        reaches(site, facts, row.volume_id)


def host_id(site: Site, name: str) -> str:
    with site.db.read() as tx:
        return str(tx.scalar(sa.select(schema.hosts.c.id).where(schema.hosts.c.name == name)))


def reaches(site: Site, facts: Facts, volume_id: str) -> None:
    """The guest has the disk, with what opens it."""
    [guest] = [one.guest for one in site.world.nodes[HERE].hypervisor.guests.by_id.values()]
    [disk] = [disk for disk in guest.disks if disk.serial == volume_id]
    name = name_of(Kind.VOLUME, volume_id)
    assert disk.export == site.world.nodes[THERE].export("raw", name, facts["instance"])


def not_booted(site: Site, facts: Facts) -> None:
    assert instance(site, facts).status == "error"
    with site.db.read() as tx:
        assert list(tx.scalars(sa.select(schema.volumes.c.id))) == [facts["volume"]]
    status(("volume", "available"))(site, facts)


def with_far_instance(site: Site) -> Facts:
    facts = with_far_volume(site)
    new = instances.NewInstance("one", "small", "k", (), (facts["volume"],), locality="rack")
    facts["instance"] = instances.boot(site, ME, new).id
    site.waker.run_all()
    assert instance(site, facts).status == "active"
    facts["spare"] = new_volume(site)
    return facts


def plugged(site: Site, facts: Facts) -> None:
    status(("spare", "in-use"))(site, facts)
    reaches(site, facts, facts["spare"])


def extend(site: Site, facts: Facts) -> None:
    volumes.extend(site, ME, facts["volume"], 3, attached=True)


def extended(site: Site, facts: Facts) -> None:
    """Its pool, its brick and its guest agree, and it is served as before."""
    row = scenarios.volume(site, facts["volume"])
    assert (row.status, row.size_gib) == ("in-use", 3)
    found = site.world.nodes[THERE].find_brick("raw", name_of(Kind.VOLUME, row.id))
    assert found.size_bytes == 3 * 2**30
    [guest] = site.world.nodes[HERE].hypervisor.guests.by_id.values()
    assert guest.sizes[row.id] == 3 * 2**30
    assert {one.name for one in site.world.nodes[THERE].exports()} == {name_of(Kind.VOLUME, row.id)}
    reaches(site, facts, row.id)


def not_extended(site: Site, facts: Facts) -> None:
    row = scenarios.volume(site, facts["volume"])
    assert row.status in ("in-use", "error_extending") and row.size_gib == 1
    reaches(site, facts, row.id)


def connect(site: Site, facts: Facts) -> None:
    scenarios.connect(site, facts, nqn=NQN)


def connected(site: Site, facts: Facts) -> None:
    with site.db.read() as tx:
        info = attachments.find(tx, facts["attachment"]).connection_info
    [found] = site.world.nodes[THERE].exports()
    assert (info["driver_volume_type"], info["vol_uuid"]) == ("nvmeof", facts["attachment"])
    assert found == Exported("raw", name_of(Kind.VOLUME, facts["volume"]), facts["attachment"], nqn=NQN)


def with_connection(site: Site) -> Facts:
    facts = with_far_volume(site)
    connect(site, facts)
    site.waker.run_all()
    return facts


def disconnect(site: Site, facts: Facts) -> None:
    scenarios.disconnect(site, facts, exported=True)


def with_stray_export(site: Site) -> Facts:
    facts = with_far_volume(site)
    site.world.nodes[THERE].export("raw", name_of(Kind.VOLUME, facts["volume"]), str(uuid.uuid4()))
    return facts


def repair(site: Site, facts: Facts) -> None:
    audit.repair(site, ME, grace_s=0)


def repaired(site: Site, facts: Facts) -> None:
    repair(site, facts)
    site.waker.run_all()
    assert audit.look(site) == []
    assert site.world.nodes[THERE].exports() == []


SCENARIOS = (
    Scenario("boot_instance", with_far_volume, boot, booted, not_booted, hosts=(HERE, THERE)),
    Scenario(
        "delete_instance",
        with_far_instance,
        lambda site, facts: instances.delete(site, ME, facts["instance"], with_volumes=False),
        scenarios.unbooted,
        scenarios.still_there,
        hosts=(HERE, THERE),
    ),
    Scenario("extend_volume", with_far_instance, extend, extended, not_extended, hosts=(HERE, THERE)),
    Scenario(
        "attach_instance",
        with_far_instance,
        scenarios.plug,
        plugged,
        status(("spare", "available")),
        hosts=(HERE, THERE),
    ),
    Scenario(
        "detach_instance",
        with_far_instance,
        scenarios.unplug,
        status(("volume", "available")),
        status(("volume", "in-use")),
        hosts=(HERE, THERE),
    ),
    Scenario("attach_volume", with_far_volume, connect, connected, scenarios.not_connected, hosts=(HERE, THERE)),
    Scenario(
        "detach_volume",
        with_connection,
        disconnect,
        status(("volume", "available")),
        scenarios.not_disconnected,
        hosts=(HERE, THERE),
    ),
    Scenario("repair_host", with_stray_export, repair, repaired, repaired, hosts=(HERE, THERE)),
)
