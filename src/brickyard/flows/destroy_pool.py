"""Take apart what a deleted pool was made of.

destroy   its devices are blank afterwards     undo: none, it was empty

The pool is gone before the flow begins, so that nothing is placed there any more. When the flow fails the backend is
there again, down, and says why: deleting it again goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from brickyard.core import errors, pools
from brickyard.db import hosts
from brickyard.db.database import Tx, after_commit
from brickyard.flows import engine
from brickyard.flows.engine import Act, Flow, Run
from brickyard.flows.make_pool import node_of

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *, host: str, host_id: str, backend: str, row: Mapping[str, Any], pool: str, capabilities: Mapping[str, Any]
) -> dict[str, Any]:
    """`row`: driver, volume_backend_name, availability_zone and options of the backend; `pool`: its pool's name."""
    return {
        "host": host,
        "host_id": host_id,
        "backend": backend,
        "row": dict(row),
        "pool": pool,
        "capabilities": dict(capabilities),
    }


# implementations ---------------------------------------------------------------------------------------------------


def destroy(run: Run) -> None:
    row = run.params["row"]
    node_of(run).destroy_pool(run.params["backend"], row["driver"], row["options"])


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    row = run.params["row"]
    backend_id = hosts.record_backend(
        tx,
        name=f"{run.params['host']}@{run.params['backend']}",
        host_id=run.params["host_id"],
        up=False,
        why_down=f"It could not be taken apart: {error.message}",
        place=pools.place(row["options"]),
        **row,
    )
    nothing = dict.fromkeys(("total_gib", "free_gib", "limit_gib"), 0)
    capabilities = run.params["capabilities"]
    hosts.record_pool(tx, name=run.params["pool"], backend_id=backend_id, capabilities=capabilities, **nothing)
    after_commit(tx, run.world.places.refresh)


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow("destroy_pool", (Act("destroy", do=destroy, undo=engine.nothing),), failed=failed)
