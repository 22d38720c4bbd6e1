"""Stop an instance; its volumes stay attached, and what it uses of its host stays claimed.

off    shut its guest down, or switch it off in the end          undo: none
show   the instance is stopped

If this fails the instance is active again; should its guest have ended after all, the next report of its host says so.
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors
from brickyard.db import store
from brickyard.db.database import Tx
from brickyard.flows import engine
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.start_instance import off

# parameters --------------------------------------------------------------------------------------------------------


def params(*, instance_id: str, host: str) -> dict[str, Any]:
    return {"instance_id": instance_id, "host": host}


# implementations ---------------------------------------------------------------------------------------------------


def show(run: Run, tx: Tx) -> None:
    store.end(tx, "instance", run.params["instance_id"], "stop", ok=True, fault=None, paused_reason=None)


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    store.end(tx, "instance", run.params["instance_id"], "stop", ok=False, fault=error.message)


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "stop_instance",
    (
        Act("off", do=off, undo=engine.nothing),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=failed,
)
