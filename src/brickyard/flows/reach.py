"""How bricks of other hosts reach a guest: exported to it before it is given them, and no longer when it has let go.

The key of an export is never written down here: whoever gives a disk to a guest asks for the export again, which
answers the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from brickyard.core import errors, pools
from brickyard.core.bricks import Kind, name_of, parse
from brickyard.core.states import A
from brickyard.db import attachments, instances, volumes
from brickyard.db.database import Row, Tx
from brickyard.flows.engine import Run
from brickyard.nodes import verbs


def is_far(host: str, pool: str) -> bool:
    """Whether a pool lies on another host than this one."""
    return pools.parse(pool).host != host


def disk(
    run: Run, host: str, client: str, kind: Kind, id: str, pool: str, *, read_only: bool = False, shared: bool = False
) -> verbs.BrickDisk:
    """A brick as a disk of the guest `client` on `host`; one of another host is exported to it, if it is not yet.
    An error has the pool as its fact `unexported` when that is what failed."""
    at, name = pools.parse(pool), name_of(kind, id)
    export = None
    if is_far(host, pool):
        try:
            export = run.world.nodes[at.host].export(at.backend, name, client, read_only)
        except errors.BrickyardError as error:
            error.facts["unexported"] = pool
            raise
    return verbs.BrickDisk(at.backend, name, id, read_only, shared, export)


@contextlib.contextmanager
def blaming(chosen: Iterable[str]) -> Iterator[None]:
    """Where an export fails, its pool is to blame if it was chosen for a new brick, and the next try takes another one.
    With a volume that exists only another host of the guest can help."""
    try:
        yield
    except errors.BrickyardError as error:
        error.facts["pools"] = sorted(set(chosen) & {error.facts.get("unexported")})
        raise


def export(run: Run, host: str, client: str, kind: Kind, id: str, pool: str, *, read_only: bool = False) -> None:
    disk(run, host, client, kind, id, pool, read_only=read_only)


def unexport(run: Run, host: str, client: str, kind: Kind, id: str, pool: str) -> None:
    """The undo of `export`; nothing for a brick of the guest's own host. What a lost host serves is looked at when it
    is back."""
    if is_far(host, pool):
        at = pools.parse(pool)
        with contextlib.suppress(errors.HostLost):
            run.world.nodes[at.host].unexport(at.backend, name_of(kind, id), client)


def attached(tx: Tx, instance: Row) -> list[Row]:
    """The volumes that an instance has. An attachment that names it, but was not made for it by us, and whose volume
    lies on another host, never was one of them."""
    found = []
    for row in attachments.of_instance(tx, instance.id):
        volume = volumes.find(tx, row.volume_id) if row.status == A.ATTACHED else None
        if volume is None or volume.host is None:
            continue
        far = is_far(instance.host, volume.host)
        if not far or (row.connection_info or {}).get("driver_volume_type") == "nbd":
            found.append(volume)
    return found


def is_disk(tx: Tx, client: str, brick_id: str) -> bool:
    """Whether a brick is a disk of an instance: one of its volumes, or its root disk; or the volume of an attachment,
    which a host of its own has by NVMe."""
    attachment = attachments.find(tx, client)
    if attachment is not None:
        return bool(attachment.volume_id == brick_id and attachments.is_exported(attachment))
    if instances.find(tx, client) is None:
        return False
    return brick_id in (client, *(row.volume_id for row in attachments.of_instance(tx, client)))


def unexport_strays(run: Run, node: verbs.Node) -> None:
    """What a host serves and no instance has."""
    for found in node.exports():
        parsed = parse(found.name)
        with run.world.db.read() as tx:
            known = parsed is not None and is_disk(tx, found.client, parsed[1])
        if not known:
            node.unexport(found.backend, found.name, found.client)


def cut_off(run: Run, host: str, client: str) -> None:
    """Nothing of other hosts is served any more to an instance whose guest may still run, and write."""
    with run.world.db.read() as tx:
        row = instances.find(tx, client)
        found = [volumes.find(tx, attachment.volume_id) for attachment in attachments.of_instance(tx, client)]
    attached = [(volume.id, volume.host) for volume in found if volume is not None and volume.host is not None]
    for one in far_disks(host, client, row.root_pool if row is not None else None, attached):
        unexport(run, host, client, Kind(one["kind"]), one["id"], one["pool"])


def far_disks(host: str, client: str, root_pool: str | None, attached: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """Those of the disks of an instance, its root disk and volumes (id, pool), that lie on other hosts, as parameters
    of a flow: [{kind, id, pool}]."""
    every = [(Kind.VOLUME, id, pool) for id, pool in attached]
    every += [(Kind.ROOT, client, root_pool)] if root_pool is not None else []
    return [{"kind": str(kind), "id": id, "pool": pool} for kind, id, pool in every if is_far(host, pool)]
