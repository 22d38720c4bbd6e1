"""Take a drained device out of a pool.

remove   take it out, blank                undo: add it again
record   the backend forgets it
"""

from __future__ import annotations

from typing import Any

from brickyard.core import errors
from brickyard.db.database import Tx
from brickyard.flows import engine
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.extend_pool import change
from brickyard.flows.make_pool import node_of

# parameters --------------------------------------------------------------------------------------------------------


def params(*, host: str, backend: str, device: str, serial: str | None) -> dict[str, Any]:
    return {"host": host, "backend": backend, "device": device, "serial": serial}


# implementations ---------------------------------------------------------------------------------------------------


def remove(run: Run) -> dict[str, Any]:
    return {"options": node_of(run).remove_device(run.params["backend"], run.params["device"])}


def unremove(run: Run) -> None:
    """It is blank, or still there with nothing on it."""
    node_of(run).extend_pool(run.params["backend"], run.params["device"])


def record(run: Run, tx: Tx) -> None:
    change(tx, run, run.data["remove"]["options"], drop=[run.params["serial"]] if run.params["serial"] else [])


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """The pool is what it was; the flow says why."""


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "remove_device",
    (
        Act("remove", do=remove, undo=unremove),
        Commit("record", do=record, undo=engine.nothing_in),
    ),
    failed=failed,
)
