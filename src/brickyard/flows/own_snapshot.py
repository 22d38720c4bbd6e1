"""A snapshot that lives as long as one flow, and keeps still what is read of a volume in use meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from brickyard.core import errors, pools
from brickyard.core.bricks import Kind, Label, name_of
from brickyard.db import claims
from brickyard.db.database import Tx
from brickyard.flows import wiping
from brickyard.flows.create_volume import give_back
from brickyard.flows.engine import Run


@dataclass(frozen=True, slots=True)
class OwnSnapshot:
    """`id` is that of what the flow makes; `owner_id` the project of the volume."""

    id: str
    volume_id: str
    pool: str
    pool_id: str
    gib: int
    owner_id: str

    @property
    def name(self) -> str:
        return name_of(Kind.SNAPSHOT, self.id)


def claim(tx: Tx, own: OwnSnapshot | None) -> None:
    if own is not None and not claims.claim(tx, pool_id=own.pool_id, brick_id=own.id, gib=own.gib):
        why = claims.why_not(tx, own.pool_id)
        raise errors.NoValidHost(f"Pool {own.pool} has no room for a snapshot of {own.gib} GiB: it {why}.")


def unclaim(run: Run, tx: Tx, own: OwnSnapshot | None) -> None:
    if own is not None:
        give_back(run, tx, own.id, own.pool_id, 0)


def take(run: Run, own: OwnSnapshot | None) -> None:
    """A guest that has the volume is paused meanwhile."""
    if own is not None:
        at = pools.parse(own.pool)
        label = Label(Kind.SNAPSHOT, own.id, own.owner_id, parent=own.volume_id)
        name = name_of(Kind.VOLUME, own.volume_id)
        run.world.nodes[at.host].snapshot_brick(at.backend, name, label, run.progress(label.name))


def erase(run: Run, own: OwnSnapshot | None) -> None:
    if own is not None:
        wiping.erase(run, own.pool, own.name)


def drop(run: Run, own: OwnSnapshot | None) -> None:
    """`erase` as a step of its own, which may take hours."""
    if own is not None:
        with run.world.long.entered(run.world.settings.conductor_threads):
            erase(run, own)
