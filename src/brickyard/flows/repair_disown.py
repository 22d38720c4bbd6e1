"""Make a brick nobody's that was given up when its host was lost: its content stays, and whoever wants it takes it over
as a new volume or snapshot, with another id.

check    still no row knows it, and no other flow works on it      undo: none, nothing was done
disown   it says of itself what it said then; its label goes       undo: none; doing it again goes on where it stopped
"""

from __future__ import annotations

from brickyard.core import errors, pools
from brickyard.flows import engine
from brickyard.flows.engine import Act, Commit, Flow, Run
from brickyard.flows.repair_adopt import label_of
from brickyard.flows.repair_remove import check, failed
from brickyard.flows.repair_remove import params as params


def disown(run: Run) -> None:
    p, label = run.params, label_of(run.params["brick"])
    at = pools.parse(p["pool"])
    node = run.world.nodes[at.host]
    found = node.find_brick(at.backend, label.name)
    if found is None:
        return  # this ran before: it has no label any more; or somebody has removed it
    if found.label is not None and found.label != label:
        raise errors.Conflict(f"{label.name} on {p['pool']} is not what it was when it was found: it stays.")
    node.disown_brick(at.backend, label.name)


FLOW = Flow(
    "repair_disown",
    (
        Commit("check", do=check, undo=engine.nothing_in),
        Act("disown", do=disown, undo=engine.nothing),
    ),
    failed=failed,
)
