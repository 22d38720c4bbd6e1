"""A snapshot that lives as long as one flow, and keeps still what is read of a volume in use meanwhile. These are steps
of such a flow, which do nothing where its parameter `own_snapshot` is false; of its other parameters they read
`volume_id`, `pool`, `pool_id`, `gib` and `owner_id`, the project of the volume."""

from __future__ import annotations

from dataclasses import dataclass

from brickyard.core import errors, pools
from brickyard.core.bricks import Kind, Label, name_of
from brickyard.db import claims
from brickyard.db.database import Tx
from brickyard.flows import image_cache, wiping
from brickyard.flows.create_volume import give_back
from brickyard.flows.engine import Run


@dataclass(frozen=True, slots=True)
class OwnSnapshot:
    """`id` is that of what the flow makes: a backup or an image."""

    id: str
    volume_id: str
    pool: str
    pool_id: str
    gib: int
    owner_id: str

    @property
    def name(self) -> str:
        return name_of(Kind.SNAPSHOT, self.id)


def of(run: Run) -> OwnSnapshot | None:
    p = run.params
    if not p["own_snapshot"]:
        return None
    made = p["backup_id"] if "backup_id" in p else p["image_id"]
    return OwnSnapshot(made, p["volume_id"], p["pool"], p["pool_id"], p["gib"], p["owner_id"])


def claim(run: Run, tx: Tx) -> None:
    own = of(run)
    if own is not None and not claims.claim(tx, pool_id=own.pool_id, brick_id=own.id, gib=own.gib):
        image_cache.make_room(run, tx, {own.pool_id: own.gib})
        why = claims.why_not(tx, own.pool_id)
        raise errors.NoValidHost(f"Pool {own.pool} has no room for a snapshot of {own.gib} GiB: it {why}.")


def unclaim(run: Run, tx: Tx) -> None:
    own = of(run)
    if own is not None:
        give_back(run, tx, own.id, own.pool_id, 0)


def take(run: Run) -> None:
    """A guest that has the volume is paused meanwhile."""
    own = of(run)
    if own is not None:
        at = pools.parse(own.pool)
        label = Label(Kind.SNAPSHOT, own.id, own.owner_id, parent=own.volume_id)
        name = name_of(Kind.VOLUME, own.volume_id)
        run.world.nodes[at.host].snapshot_brick(at.backend, name, label, run.progress(label.name))


def erase(run: Run) -> None:
    own = of(run)
    if own is not None:
        wiping.erase(run, own.pool, own.name)


def drop(run: Run) -> None:
    """`erase` as a step of its own, which may take hours."""
    if of(run) is not None:
        with run.world.long.entered(run.world.settings.conductor_threads):
            erase(run)
