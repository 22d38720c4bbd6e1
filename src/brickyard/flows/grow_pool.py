"""Let a pool grow onto a device that was added to it, where storage does not do that by itself: a thin pool.

grow   let it grow        undo: none, what a pool has grown by is part of it
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors
from brickyard.db.database import Tx
from brickyard.flows import engine
from brickyard.flows.engine import Act, Flow, Run
from brickyard.flows.make_pool import node_of

# parameters --------------------------------------------------------------------------------------------------------


def params(*, host: str, backend: str, device: str) -> dict[str, Any]:
    return {"host": host, "backend": backend, "device": device}


# implementations ---------------------------------------------------------------------------------------------------


def grow(run: Run) -> None:
    node_of(run).grow_pool(run.params["backend"], run.params["device"])


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """The device is in the pool, which has not grown, or not as far; the flow says why."""


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow("grow_pool", (Act("grow", do=grow, undo=engine.nothing),), failed=failed)
