"""What must hold whenever no flow runs, whatever happened before: nothing leaked, nothing miscounted, nothing stuck."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from brickyard.core.bricks import Kind, name_of
from brickyard.core.pools import parse
from brickyard.core.states import FROM_ATTACHMENT, V, from_attachments
from brickyard.db import schema, store
from brickyard.service.site import Site

BUSY = {
    "creating",
    "deleting",
    "unmanaging",
    "extending",
    "reverting",
    "downloading",
    "restoring",
    "restoring-backup",
    "backing-up",
    "uploading",
    "saving",
    "building",
    "starting",
    "stopping",
    "detaching",
}


def rows(site: Site, table: sa.Table) -> list[Any]:
    with site.db.read() as tx:
        return list(tx.execute(sa.select(table)))


def check(site: Site, *, settled: bool = True) -> None:
    """Assert that the world is sound; `settled`: no flow is open."""
    claims = Counter[str]()
    for claim in rows(site, schema.claims):
        claims[claim.pool_id] += claim.gib
    pools = {pool.id: pool for pool in rows(site, schema.pools)}
    for pool in pools.values():
        assert pool.claimed_gib == claims[pool.id], f"{pool.name} says {pool.claimed_gib}, its claims {claims[pool.id]}"
        assert pool.claimed_gib <= pool.limit_gib
    for storage in rows(site, schema.storages):
        assert storage.claimed_gib == sum(p.claimed_gib for p in pools.values() if p.storage_id == storage.id)
    _check_hosts(site)
    if not settled:
        return
    for table in (
        schema.volumes,
        schema.snapshots,
        schema.instances,
        schema.groups,
        schema.group_snapshots,
        schema.backups,
        schema.images,
        schema.cached_images,
    ):
        for row in rows(site, table):
            assert row.status not in BUSY, f"{table.name} {row.id} is stuck in {row.status}"
    assert rows(site, schema.reservations) == []
    assert rows(site, schema.cached_image_users) == []
    assert not [f for f in rows(site, schema.flows) if f.status in ("running", "unwinding")]
    _check_bricks(site, pools)
    _check_images(site)
    _check_attachments(site)
    instances = {row.id for row in rows(site, schema.instances) if row.status == "active"}
    guests = [guest for node in _nodes(site) for guest in node.guests()]
    assert {guest.id for guest in guests if guest.status != "stopped"} == instances
    assert {guest.id for guest in guests} <= {row.id for row in rows(site, schema.instances)}
    _check_exports(site)


def _nodes(site: Site) -> list[Any]:
    """Of every host, lost or not."""
    return [site.world.nodes.returning(row.name) for row in rows(site, schema.hosts)]


def _check_exports(site: Site) -> None:
    """A host serves what instances of others have, and nothing else; each export has its process. A guest may have let
    go of a disk, and its detach have failed after that."""
    due = {
        (name_of(Kind.VOLUME, row.volume_id), row.instance_uuid)
        for row in rows(site, schema.attachments)
        if (row.connection_info or {}).get("driver_volume_type") == "nbd"
    }
    due |= {
        (name_of(Kind.VOLUME, row.volume_id), row.id)
        for row in rows(site, schema.attachments)
        if (row.connection_info or {}).get("driver_volume_type") == "nvmeof"
    }
    there = [found for node in _nodes(site) for found in node.exports()]
    served = {(found.name, found.client) for found in there}
    guests = [guest for node in _nodes(site) for guest in node.guests()]
    assert served <= due
    assert not {(name_of(Kind.VOLUME, id), guest.id) for guest in guests for id in guest.serials} & (due - served)
    exporting = [node.exporting for node in _nodes(site) if node.exporting is not None]
    assert sum(len(one.server.found(one.directory)) for one in exporting) == len(there)


def _check_hosts(site: Site) -> None:
    for host in rows(site, schema.hosts):
        mine = [c for c in rows(site, schema.host_claims) if c.host_id == host.id]
        assert host.vcpus_claimed == sum(c.vcpus for c in mine)
        assert host.memory_mib_claimed == sum(c.memory_mib for c in mine)
        known = {row.id for row in rows(site, schema.instances)}
        assert {c.instance_id for c in mine} <= known


def _check_bricks(site: Site, pools: dict[str, Any]) -> None:
    """Each brick has its row and each placed row its brick; each claim has its brick."""
    expected: dict[str, set[str]] = {pool.name: set() for pool in pools.values()}
    doubtful: set[str] = set()  # their deletion failed, before or after it had happened
    claimed: set[tuple[str, str]] = set()
    for kind, table, column in (
        (Kind.VOLUME, schema.volumes, "pool_id"),
        (Kind.SNAPSHOT, schema.snapshots, "pool_id"),
        (Kind.ROOT, schema.instances, "root_pool_id"),
        (Kind.IMAGE, schema.cached_images, "pool_id"),
    ):
        for row in rows(site, table):
            pool_id = getattr(row, column)
            if pool_id is not None:
                expected[pools[pool_id].name].add(name_of(kind, row.id))
                claimed.add((row.id, pool_id))
                doubtful |= {name_of(kind, row.id)} if row.status in ("error_deleting", "error_unmanaging") else set()
    for name, bricks in expected.items():
        at = parse(name)
        # what has no label is nobody's
        there = {
            found.name for found in site.world.nodes.returning(at.host).bricks(at.backend) if found.label is not None
        }
        assert there <= bricks
        assert bricks - there <= doubtful
    assert {(c.brick_id, c.pool_id) for c in rows(site, schema.claims)} == claimed


def _check_images(site: Site) -> None:
    """Each file of the image store is one of an image, and each image has its files."""
    named = {file for row in rows(site, schema.images) for file in row.files.values()}
    assert {path.name for path in site.world.images.iterdir()} - {".lock"} == named


def _check_attachments(site: Site) -> None:
    for volume in rows(site, schema.volumes):
        with site.db.read() as tx:
            statuses = store.attachment_statuses(tx, volume.id)
        if volume.status in {*FROM_ATTACHMENT.values(), V.AVAILABLE}:
            assert volume.status == from_attachments(statuses)


def litter(directory: Path) -> list[str]:
    """Files of a pool that belong to no brick: what a verb left behind when it died and was not repeated."""
    names = {path.name for path in directory.iterdir()}
    labels = {f".{name}.label" for name in names}
    return sorted(name for name in names if name.startswith(".") and name not in labels and name != ".lock")


def picture(site: Site) -> dict[str, Any]:
    """All rows that users or accounting can see, without times: two pictures are equal when nothing is left behind."""
    hidden = {"created_at", "updated_at", "heartbeat_at", "generation", "attached_at", "free_gib", "before"}
    skipped = {"flows", "flow_log", "messages", "projects", "receipts"}
    return {
        table.name: sorted(
            str([(k, v) for k, v in row._mapping.items() if k not in hidden]) for row in rows(site, table)
        )
        for table in schema.metadata.sorted_tables
        if table.name not in skipped
    }
