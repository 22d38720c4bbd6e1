"""Start an instance again that was stopped, or stopped by itself: where it was, with the disks that it has.

boot   open its bricks and boot its guest                        undo: switch it off
show   the instance is active

What it may use of its host stayed claimed while it was stopped, so there is nothing to reserve. The undo keeps the
guest's console, which may say why it had stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brickyard.core import errors
from brickyard.db import store
from brickyard.db.database import Tx
from brickyard.flows import boot_instance, engine
from brickyard.flows.engine import Act, Commit, Flow, Run

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *,
    instance_id: str,
    name: str,
    host: str,
    vcpus: int,
    memory_mib: int,
    image: dict[str, Any] | None,
    root_pool: str | None,
    attached: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """`image` {kind, files, cmdline}, where it boots of a kernel; `attached` [{volume_id, pool, read_only,
    multiattach}], the oldest first."""
    return {
        "instance_id": instance_id,
        "name": name,
        "host": host,
        "vcpus": vcpus,
        "memory_mib": memory_mib,
        "image": image,
        "root_pool": root_pool,
        "attached": list(attached),
    }


# implementations ---------------------------------------------------------------------------------------------------


def boot(run: Run) -> None:
    boot_instance.start_guest(run, run.params["host"], run.params["root_pool"], run.params["attached"])


def off(run: Run) -> None:
    run.world.nodes[run.params["host"]].stop(run.params["instance_id"])


def show(run: Run, tx: Tx) -> None:
    store.end(tx, "instance", run.params["instance_id"], "start", ok=True, fault=None)


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    store.end(tx, "instance", run.params["instance_id"], "start", ok=False, fault=error.message)


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "start_instance",
    (
        Act("boot", do=boot, undo=off),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=failed,
)
