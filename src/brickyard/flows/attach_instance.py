"""Plug a volume into one of our own running instances.

plug   open the brick on its host and plug it into the guest      undo: unplug it
show   the attachment is complete, the volume in use
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors, pools
from brickyard.core.bricks import Kind, name_of
from brickyard.db import attachments, store
from brickyard.db.database import Tx
from brickyard.flows import engine
from brickyard.flows.boot_instance import show_attached
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.nodes import verbs

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


def plug(run: Run) -> None:
    p = run.params
    name = name_of(Kind.VOLUME, p["volume_id"])
    disk = verbs.BrickDisk(pools.parse(p["pool"]).backend, name, p["volume_id"], p["read_only"], p["shared"])
    run.world.nodes[p["host"]].attach(p["instance_id"], disk)


def unplug(run: Run) -> None:
    run.world.nodes[run.params["host"]].detach(run.params["instance_id"], run.params["volume_id"])


def show(run: Run, tx: Tx) -> None:
    show_attached(tx, run.params["attachment_id"], run.params["volume_id"], run.params["host"])


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    attachments.delete(tx, run.params["attachment_id"])
    store.settle(tx, run.params["volume_id"])


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "attach_instance",
    (
        Act("plug", do=plug, undo=unplug),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=failed,
)
