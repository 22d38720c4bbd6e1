"""Declare lost what lies on a host that was declared lost.

settle   end the work that waits for the host, and mark, one at a time, what nobody works on any more:     undo: none
         instances that have no disk there are booted again elsewhere, the rest is in error, with its claims kept
         until the host comes back; or given back, where the data are declared lost, too

The host is fenced before this begins: whatever is asked of it fails, and what would be undone there is left. So work
that waits for it ends by itself, and this comes again until it has. A repeat finds what is left to do.
"""

from __future__ import annotations

import uuid
from typing import Any

from brickyard.core import errors, pools
from brickyard.core.bricks import Kind, name_of
from brickyard.core.states import I
from brickyard.db import (
    attachments,
    audit,
    cached_images,
    claims,
    flows,
    hosts,
    images,
    instances,
    losses,
    messages,
    store,
    transfers,
)
from brickyard.db.database import Row, Tx, after_commit
from brickyard.flows import boot_instance, engine, reach
from brickyard.flows.engine import Act, Flow, Later, Run

# parameters --------------------------------------------------------------------------------------------------------


def params(*, host: str, host_id: str, lost_at: str, data_lost: bool) -> dict[str, Any]:
    """`lost_at`: since when it is lost; one that was taken in again since then is let alone."""
    return {"host": host, "host_id": host_id, "lost_at": lost_at, "data_lost": data_lost}


# implementations ---------------------------------------------------------------------------------------------------


def settle(run: Run) -> None:
    db = run.world.db
    with db.read() as tx:
        there = losses.on_host(tx, run.params["host_id"])
    nouns = [("instance", there.instances), ("snapshot", there.snapshots), ("volume", there.volumes)]
    if run.params["data_lost"]:
        nouns.append(("cached_image", there.cached_images))
    busy, failure = False, None
    for noun, rows in nouns:
        for row in rows:
            try:
                busy |= not db.repeating(lambda noun=noun, id=row.id: _settle(run, noun, id))
            except errors.BrickyardError as error:  # of another host, which serves it a disk; the rest need not wait
                failure = error
    if busy:
        with db.begin() as tx:
            about = losses.flows_about(tx, run.params["host"], there.ids())
            losses.hurry(tx, [flow.id for flow in about if flow.id != run.id])
    if failure is not None:
        raise failure
    if busy:
        raise Later
    run.world.places.refresh()


def _settle(run: Run, noun: str, id: str) -> bool:
    """Mark one resource; False while another flow works on it."""
    p = run.params
    if noun == "instance" and _gives_up(run, id):
        reach.cut_off(run, p["host"], id)
    with run.world.db.begin() as tx:
        store.hold(tx, noun, id)
        host = hosts.find_host(tx, p["host_id"])
        if host is None or host.lost_at != p["lost_at"]:
            return True
        if audit.working_on(tx, [id], but=run.id):
            return False
        if noun == "instance":
            _instance(run, tx, id)
        elif noun == "cached_image":
            _no_longer_kept(tx, id)
        elif p["data_lost"]:
            _data_gone(run, tx, noun, id)
        else:
            _unreachable(run, tx, noun, id)
    return True


def _gives_up(run: Run, instance_id: str) -> bool:
    """Whether an instance is lost for good, so that its guest must not write any more to what others may have next."""
    p = run.params
    with run.world.db.read() as tx:
        row, host = instances.find(tx, instance_id), hosts.find_host(tx, p["host_id"])
    still_lost = host is not None and host.lost_at == p["lost_at"]
    return still_lost and row is not None and not _is_kept(run, row)


def _is_kept(run: Run, row: Row) -> bool:
    """Whether an instance waits for its host: a root disk of another host is not lost with this one."""
    return not run.params["data_lost"] or (
        row.root_pool is not None and pools.parse(row.root_pool).host != run.params["host"]
    )


def _unreachable(run: Run, tx: Tx, noun: str, id: str) -> None:
    host = run.params["host"]
    text = f"Its host {host} is lost: it is unreachable until {host} is back, and its data may be gone."
    if store.lose(tx, noun, id, text):
        _tell(tx, noun, id, "UNREACHABLE", text)


def _data_gone(run: Run, tx: Tx, noun: str, id: str) -> None:
    """Only its row is left, which its owner deletes; nothing is claimed or counted for it."""
    row = audit.placed(tx, Kind(noun), id)
    if row is None:
        return
    then = "delete it, or make a volume of a backup" if noun == "volume" else "delete it"
    text = f"Its data were lost with host {run.params['host']}: {then}."
    losses.keep_out(tx, [(row.name, _pool(tx, row.pool_id))])
    claims.release(tx, id)
    if noun == "volume":
        transfers.forget_volume(tx, id)
        for attachment in attachments.of_volume(tx, id):
            attachments.delete(tx, attachment.id)
    places = {"pool_id": None, "backend_id": None} if noun == "volume" else {"pool_id": None}
    if store.lose(tx, noun, id, text, **places):
        _tell(tx, noun, id, "DATA_LOST", text)


def _no_longer_kept(tx: Tx, id: str) -> None:
    row = audit.placed(tx, Kind.IMAGE, id)
    if row is not None:
        losses.keep_out(tx, [(row.name, _pool(tx, row.pool_id))])
        claims.release(tx, id)
        cached_images.drop(tx, id)


def _pool(tx: Tx, id: str) -> str:
    row = hosts.find_pool(tx, id)
    return row.name if row is not None else id


def _tell(tx: Tx, noun: str, id: str, what: str, text: str) -> None:
    row = store.row(tx, noun, id)
    messages.tell(
        tx,
        project_id=row.project_id,
        event=f"{noun.upper()}_{what}",
        level="ERROR",
        text=f"{noun.capitalize()} {row.name or id}: {text}",
        resource=(noun.upper(), id),
    )


def _instance(run: Run, tx: Tx, id: str) -> None:
    row = instances.find(tx, id)
    if row is None:
        return
    diskless = row.root_pool_id is None and not attachments.of_instance(tx, id)
    if diskless and row.status == I.ACTIVE and (image := _kernel(tx, row)) is not None:
        _boot_elsewhere(run, tx, row, image)
        return
    if _is_kept(run, row):
        _unreachable(run, tx, "instance", id)
        return
    text = f"It was lost with host {run.params['host']}: delete it, and boot another one."
    if row.root_pool_id is not None:
        losses.keep_out(tx, [(name_of(Kind.ROOT, id), row.root_pool)])
    claims.release(tx, id)
    claims.release_host(tx, id)
    for attachment in attachments.of_instance(tx, id):
        attachments.delete(tx, attachment.id)
        store.settle(tx, attachment.volume_id)
    if store.lose(tx, "instance", id, text, host_id=None, root_pool_id=None):
        instances.update(tx, id, root_gib=0, paused_reason=None)
        _tell(tx, "instance", id, "DATA_LOST", text)


def _kernel(tx: Tx, row: Row) -> dict[str, Any] | None:
    """What it boots of, if that is a kernel, and still there."""
    found = images.find(tx, row.image_id) if row.image_id else []
    if not found or found[0].kind != "kernel":
        return None
    image = found[0]
    return {"id": image.id, "kind": image.kind, "files": dict(image.files), "cmdline": image.cmdline}


def _boot_elsewhere(run: Run, tx: Tx, row: Row, image: dict[str, Any]) -> None:
    """Its host is fenced: whatever still runs there reaches nothing, and is ended before the host is taken in again."""
    claims.release_host(tx, row.id)
    store.begin(tx, "instance", row.id, "boot", host_id=None, paused_reason=None)
    zone = row.request.get("availability_zone")
    flows.insert(
        tx,
        id=str(uuid.uuid4()),
        name=boot_instance.FLOW.name,
        params=boot_instance.params(
            instance_id=row.id,
            name=row.name,
            vcpus=row.vcpus,
            memory_mib=row.memory_mib,
            root_gib=0,
            image=image,
            new=[],
            existing=[],
            locality=row.request["locality"],
            required=row.request["required"],
            zones=[zone] if zone else [],
        ),
        project_id=row.project_id,
        resource_id=row.id,
        request_id=run.request_id,
    )
    after_commit(tx, run.world.places.refresh)


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """The host stays lost; whoever declares it lost again goes on with what is left."""


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow("lose_host", (Act("settle", do=settle, undo=engine.nothing),), failed=failed)
