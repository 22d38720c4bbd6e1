"""Make a pool of devices of a host, or take over a volume group that is there.

claim   see that the devices are free, empty them where that is allowed       undo: none, what is emptied is empty
make    make storage of them; of a volume group: look at it                    undo: take it apart again
serve   have the host serve it                                                 undo: stop that
show    the backend is up, and remembers what it was made of

Its row is there before the flow begins, down and without room, so that a second request for the name or for one of the
devices meets it. When the flow fails the row is gone again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from brickyard.core import errors, pools
from brickyard.db import hosts
from brickyard.db.database import Tx, after_commit
from brickyard.flows import engine
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.nodes import verbs

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *,
    host: str,
    backend: str,
    backend_id: int,
    given: Mapping[str, Any],
    driver: str,
    devices: Sequence[str],
    wipe: Sequence[str],
    raid1: bool,
    volume_group: str | None,
    thin_pool: str | None,
) -> dict[str, Any]:
    """`given` are the options of the backend that do not follow from what it is made of; `backend` is its section."""
    return {
        "host": host,
        "backend": backend,
        "backend_id": backend_id,
        "given": dict(given),
        "driver": driver,
        "devices": list(devices),
        "wipe": list(wipe),
        "raid1": raid1,
        "volume_group": volume_group,
        "thin_pool": thin_pool,
    }


# implementations ---------------------------------------------------------------------------------------------------


def claim(run: Run) -> dict[str, Any]:
    """`own`: devices that are the pool's since an earlier life, and that no undo may empty."""
    p = run.params
    own = node_of(run).claim_devices(p["backend"], p["devices"], p["wipe"], p["driver"]) if p["devices"] else []
    return {"own": own}


def make(run: Run) -> dict[str, Any]:
    p = run.params
    wish = verbs.Wish(
        driver=p["driver"],
        devices=tuple(p["devices"]),
        raid1=p["raid1"],
        volume_group=p["volume_group"],
        thin_pool=p["thin_pool"],
    )
    return {"options": node_of(run).make_pool(p["backend"], wish)}


def unmake(run: Run) -> None:
    p = run.params
    if p["volume_group"] is None:
        devices = [device for device in p["devices"] if device not in run.data["claim"]["own"]]
        node_of(run).unmake_pool(p["backend"], p["driver"], devices)


def serve(run: Run) -> dict[str, Any]:
    report = node_of(run).add_backend(run.params["backend"], {**run.params["given"], **run.data["make"]["options"]})
    return {"options": dict(report.options)}


def unserve(run: Run) -> None:
    node_of(run).remove_backend(run.params["backend"])


def show(run: Run, tx: Tx) -> None:
    options = run.data["serve"]["options"]
    hosts.update_backend(
        tx, run.params["backend_id"], options=options, place=pools.place(options), up=True, why_down=None
    )
    after_commit(tx, run.world.places.refresh)


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    hosts.delete_backend(tx, run.params["backend_id"])
    after_commit(tx, run.world.places.refresh)


def node_of(run: Run) -> verbs.Node:
    node: verbs.Node = run.world.nodes[run.params["host"]]
    return node


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "make_pool",
    (
        Act("claim", do=claim, undo=engine.nothing),
        Act("make", do=make, undo=unmake),
        Act("serve", do=serve, undo=unserve),
        Commit("show", do=show, undo=engine.nothing_in),
    ),
    failed=failed,
)
