"""Move everything from one device of a pool to the others, which may take hours.

drain   move it; nothing new goes there from now on     undo: let bricks go there again
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors
from brickyard.db.database import Tx
from brickyard.flows.engine import Act, Flow, Run
from brickyard.flows.make_pool import node_of

# parameters --------------------------------------------------------------------------------------------------------


def params(*, host: str, backend: str, device: str) -> dict[str, Any]:
    return {"host": host, "backend": backend, "device": device}


# implementations ---------------------------------------------------------------------------------------------------


def drain(run: Run) -> None:
    device = run.params["device"]
    with run.world.long.entered(run.world.settings.conductor_threads):
        node_of(run).drain_device(run.params["backend"], device, run.progress(device))


def refill(run: Run) -> None:
    node_of(run).refill_device(run.params["backend"], run.params["device"])


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """What was moved is as good where it is; the flow says why the rest was not."""


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow("drain_device", (Act("drain", do=drain, undo=refill),), failed=failed)
