"""Extend a pool by a device.

claim    see that the device is free, empty it where that is allowed     undo: none
extend   add it                                                          undo: move away what came there, take it out
record   the backend remembers it, and the flow that lets the pool grow is queued where that is wanted

Growing is a flow of its own: a thin pool cannot shrink, so nothing that fails after it could be undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from brickyard.core import errors, pools
from brickyard.db import flows, hosts
from brickyard.db.database import Tx
from brickyard.flows import drain_device, engine, grow_pool
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.make_pool import node_of

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *, host: str, backend: str, device: str, serial: str | None, wipe: Sequence[str], grow_flow: str | None
) -> dict[str, Any]:
    """`serial` is that of the device, which is remembered with it; `grow_flow` the id of the flow that follows."""
    given = {"host": host, "backend": backend, "device": device, "serial": serial}
    return {**given, "wipe": list(wipe), "grow_flow": grow_flow}


# implementations ---------------------------------------------------------------------------------------------------


def claim(run: Run) -> None:
    node_of(run).claim_devices(run.params["backend"], [run.params["device"]], run.params["wipe"])


def extend(run: Run) -> dict[str, Any]:
    return {"options": node_of(run).extend_pool(run.params["backend"], run.params["device"])}


def unextend(run: Run) -> None:
    drain_device.empty(run)
    node_of(run).remove_device(run.params["backend"], run.params["device"])


def record(run: Run, tx: Tx) -> None:
    added = [run.params["serial"]] if run.params["serial"] else []
    change(tx, run, run.data["extend"]["options"], add=added)
    if (grow_flow := run.params.get("grow_flow")) is not None:
        p = run.params
        pool = hosts.require_pool(tx, f"{p['host']}@{p['backend']}")
        flows.insert(
            tx,
            id=grow_flow,
            name=grow_pool.FLOW.name,
            params=grow_pool.params(host=p["host"], backend=p["backend"], device=p["device"]),
            project_id=run.project_id,
            resource_id=pool.id,
            request_id=run.request_id,
        )


def change(tx: Tx, run: Run, changed: dict[str, Any], add: Sequence[str] = (), drop: Sequence[str] = ()) -> None:
    """Remember the options of a backend that changed, and the serials of its devices."""
    row = hosts.find_backend(tx, f"{run.params['host']}@{run.params['backend']}")
    if row is None or row.options is None:
        raise errors.NotFound(f"Backend {run.params['backend']} of host {run.params['host']} could not be found.")
    serials = [one for one in pools.place(row.options).get("serials", ()) if one not in (*add, *drop)]
    options = {**row.options, **changed, "serials": ",".join([*serials, *add])}
    hosts.update_backend(tx, row.id, options=options, place=pools.place(options))


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """The pool is what it was; the flow says why."""


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "extend_pool",
    (
        Act("claim", do=claim, undo=engine.nothing),
        Act("extend", do=extend, undo=unextend),
        Commit("record", do=record, undo=engine.nothing_in),
    ),
    failed=failed,
)
