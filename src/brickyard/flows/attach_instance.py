"""Plug a volume into one of our own running instances.

export   a brick of another host is served to the guest             undo: it is served no longer
plug     open the brick and plug it into the guest                  undo: unplug it
show     the attachment is complete, the volume in use
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors
from brickyard.core.bricks import Kind
from brickyard.db import attachments, store
from brickyard.db.database import Tx
from brickyard.flows import engine, reach
from brickyard.flows.boot_instance import show_attached
from brickyard.flows.engine import Act, Commit, Flow, Run

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *, instance_id: str, host: str, attachment_id: str, volume_id: str, pool: str, read_only: bool, shared: bool
) -> dict[str, Any]:
    return {
        "instance_id": instance_id,
        "host": host,
        "attachment_id": attachment_id,
        "volume_id": volume_id,
        "pool": pool,
        "read_only": read_only,
        "shared": shared,
    }


# implementations ---------------------------------------------------------------------------------------------------


def export(run: Run) -> None:
    p = run.params
    reach.export(run, p["host"], p["instance_id"], Kind.VOLUME, p["volume_id"], p["pool"], read_only=p["read_only"])


def unexport(run: Run) -> None:
    p = run.params
    if p.get("pool"):  # a detach that was queued by an older release is of a volume of the instance's host
        reach.unexport(run, p["host"], p["instance_id"], Kind.VOLUME, p["volume_id"], p["pool"])


def plug(run: Run) -> None:
    p = run.params
    how = {"read_only": p["read_only"], "shared": p["shared"]}
    disk = reach.disk(run, p["host"], p["instance_id"], Kind.VOLUME, p["volume_id"], p["pool"], **how)
    run.world.nodes[p["host"]].attach(p["instance_id"], disk)


def unplug(run: Run) -> None:
    run.world.nodes[run.params["host"]].detach(run.params["instance_id"], run.params["volume_id"])


def show(run: Run, tx: Tx) -> None:
    p = run.params
    show_attached(tx, p["attachment_id"], p["volume_id"], p["host"], p["pool"])


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    attachments.delete(tx, run.params["attachment_id"])
    store.settle(tx, run.params["volume_id"])


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "attach_instance",
    (
        Act("export", do=export, undo=unexport),
        Act("plug", do=plug, undo=unplug),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=failed,
)
