"""Connect an attachment: open the brick on its host and say how it is reached from the connector's host.

open      open the brick                                    undo: close it, unless another attachment uses it; an export
          of an earlier connection ends before that
export    serve it to a host that is none of ours           undo: serve it no longer
connect   the attachment knows its connection; its consumer says `complete` when it has connected

Attach and detach flows of one volume run one after the other: whoever queues one looks at db/attachments.busy.
"""

from __future__ import annotations

from typing import Any

from brickyard.core import clock, errors, pools
from brickyard.core.bricks import Kind, name_of
from brickyard.core.states import A
from brickyard.db import attachments, store
from brickyard.db.database import Tx
from brickyard.flows import drain_device, engine
from brickyard.flows.engine import Act, Commit, Flow, Run

# parameters --------------------------------------------------------------------------------------------------------


def params(
    *,
    attachment_id: str,
    volume_id: str,
    pool: str,
    connector: dict[str, Any],
    mode: str,
    extra: dict[str, Any],
    fresh: bool = False,
    nqn: str = "",
    exported: bool = False,
) -> dict[str, Any]:
    """`extra` is what the connection information carries beside where the brick is. `fresh`: the attachment was made
    by the same request, and goes when it fails, since nobody has been told its id. `nqn`: of another host, which gets
    the volume by NVMe. `exported`: an earlier connection of the attachment was such a one."""
    return {
        "attachment_id": attachment_id,
        "volume_id": volume_id,
        "pool": pool,
        "connector": connector,
        "mode": mode,
        "extra": extra,
        "fresh": fresh,
        "nqn": nqn,
        "exported": exported,
    }


# implementations ---------------------------------------------------------------------------------------------------


def open_(run: Run) -> dict[str, Any]:
    with run.world.db.read() as tx:
        drain_device.check_paths_stay(tx, run.params["pool"])
    at = pools.parse(run.params["pool"])
    found = run.world.nodes[at.host].open_brick(at.backend, name_of(Kind.VOLUME, run.params["volume_id"]))
    return {"device_path": found.path, "format": found.format}


def close(run: Run) -> None:
    """An earlier connection ends, too: the attachment has none when this flow has failed."""
    unexport(run)
    close_unless_shared(run, run.params["pool"], run.params["volume_id"], run.params["attachment_id"])


def close_unless_shared(run: Run, pool: str, volume_id: str, attachment_id: str) -> None:
    with run.world.db.read() as tx:
        rest = [a for a in attachments.of_volume(tx, volume_id) if a.id != attachment_id]
    others = [a for a in rest if a.connection_info or a.status == A.ATTACHING]
    if not others:
        at = pools.parse(pool)
        run.world.nodes[at.host].close_brick(at.backend, name_of(Kind.VOLUME, volume_id))


def export(run: Run) -> dict[str, Any] | None:
    p = run.params
    if not p.get("nqn"):
        unexport(run)
        return None
    at = pools.parse(p["pool"])
    name = name_of(Kind.VOLUME, p["volume_id"])
    made = run.world.nodes[at.host].export(at.backend, name, p["attachment_id"], nqn=p["nqn"])
    return {
        "driver_volume_type": attachments.NVMEOF,
        "target_nqn": made.target,
        "portals": [[made.address, str(made.port), "tcp"]],
        "vol_uuid": made.client,  # that of the namespace
        "host_nqn": p["nqn"],
    }


def unexport(run: Run) -> None:
    p = run.params
    if p["pool"] is not None and (p.get("nqn") or p.get("exported")):  # neither was known to an older release
        at = pools.parse(p["pool"])
        run.world.nodes[at.host].unexport(at.backend, name_of(Kind.VOLUME, p["volume_id"]), p["attachment_id"])


def connect(run: Run, tx: Tx) -> None:
    p = run.params
    connector = p["connector"]
    info = {
        **p["extra"],
        **(run.data.get("export") or {"driver_volume_type": "local", **run.data["open"]}),
        "volume_id": p["volume_id"],
        "attachment_id": p["attachment_id"],
        "access_mode": p["mode"],
    }
    written = attachments.connected(
        tx,
        p["attachment_id"],
        connection_info=info,
        connector={**connector, "mode": p["mode"]},
        mode=p["mode"],
        mountpoint=connector.get("mountpoint", "na"),
        attached_host=connector.get("host"),
        attached_at=clock.stamp(),
    )
    if not written:
        raise errors.Conflict(f"Attachment {p['attachment_id']} was removed while it was being connected.")


def failed(run: Run, tx: Tx, error: errors.BrickyardError) -> None:
    """The volume stays reserved for who asked, unless the request asked for both at once."""
    id = run.params["attachment_id"]
    store.end(tx, "attachment", id, "attach", ok=False, connector=None, connection_info=None)
    if run.params.get("fresh"):
        attachments.delete(tx, id)
    store.settle(tx, run.params["volume_id"])


# definition --------------------------------------------------------------------------------------------------------

FLOW = Flow(
    "attach_volume",
    (
        Act("open", do=open_, undo=close),
        Act("export", do=export, undo=unexport),
        Commit("connect", do=connect, undo=engine.nothing_in),
    ),
    failed=failed,
)
