"""How far a host is drained: a bar while it is, and a table of what moved, and of what stays and why."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from brickyard.cli import bars, session, tables
from brickyard.cli.tables import Column

LOOK_S = 1.0
OVER = ("done", "failed")
COLUMNS = (
    Column("Volume", lambda row: row["id"], whole=True),
    Column("Name", lambda row: row["name"], wide=True),
    Column("Size", lambda row: tables.size(_bytes(row)), right=True, whole=True),
    Column("Instance", lambda row: row["instance_id"], wide=True),
    Column("State", lambda row: row["state"], whole=True),
    Column("To", lambda row: row["target"], whole=True),
    Column("Why", lambda row: row["reason"]),
)


def told(talk: session.Session, found: dict[str, Any]) -> None:
    """A line for each volume, and a sentence for the instances; as JSON the answer itself."""
    rows: Any = found if talk.form == "json" else found["volumes"]
    tables.rows(talk.form, rows, COLUMNS, f"No volume lies on {found['host']['name']}.")
    if found["instances"] and talk.form == "table":
        names = ", ".join(one["name"] or one["id"] for one in found["instances"])
        tables.out().print(f"Instances do not move: {names}.", markup=False)


def follow(talk: session.Session, path: str) -> None:
    """Wait for the end of a drain, and tell it. Refused when volumes are left there."""
    screen = tables.out() if talk.form == "table" else tables.out(sys.stderr)
    try:
        with bars.Waiting(screen, "looking for places") as waiting:
            while (found := talk.get(path))["status"] != "none" and _is_open(talk, found):
                waiting.moved(_words(found), _progress(found))
                time.sleep(LOOK_S)
    except KeyboardInterrupt:
        raise session.Refused(f"it goes on without you; see: brickyard flow watch {found['flow_id']}") from None
    told(talk, found)
    left = [row for row in found["volumes"] if row["state"] != "moved"]
    if found["status"] == "failed":
        raise session.Refused(found["error"] or "The drain failed.")
    if left:
        raise session.Refused(f"{len(left)} of {len(found['volumes'])} volumes are left on {found['host']['name']}.")


def _is_open(talk: session.Session, found: Mapping[str, Any]) -> bool:
    """One that was cancelled is over when what has begun is."""
    if found["status"] == "cancelled":
        return talk.get(f"/v1/flows/{found['flow_id']}")["status"] not in OVER
    return found["status"] not in OVER


def _words(found: Mapping[str, Any]) -> str:
    states = [row["state"] for row in found["volumes"]]
    return f"{states.count('moved')} of {len(states)} moved, {states.count('moving')} moving"


def _progress(found: Mapping[str, Any]) -> dict[str, Any]:
    """As of a step, for the bar: the bytes of all that moves, as far as they are told."""
    going = [row for row in found["volumes"] if row["state"] in ("moved", "moving", "planned", "waiting")]
    done = sum(_bytes(row) if row["state"] == "moved" else _copied(row) for row in going)
    return {"step": "empty", "what": "", "done_bytes": done, "total_bytes": max(1, sum(map(_bytes, going)))}


def _copied(row: Mapping[str, Any]) -> int:
    """Of one that moves: the part of the step that copies it."""
    progress = row["progress"]
    return int(_bytes(row) * progress["percent"] / 100) if progress else 0


def _bytes(row: Mapping[str, Any]) -> int:
    return int(row["size_gib"]) * 2**30
