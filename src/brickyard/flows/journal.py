"""The log of a flow in memory, while an engine runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from brickyard.core import clock, errors, fence
from brickyard.db import flows as rows
from brickyard.db.database import Tx
from brickyard.flows import failures

if TYPE_CHECKING:
    from brickyard.flows.engine import Commit, Data, Flow, Run, Step

# event → the events that may follow it for the same step of the same attempt
NEXT = {
    None: {"started", "done", "failed"},
    "started": {"done", "failed"},
    "done": {"undone"},
    "failed": {"undone"},
    "undone": set[str](),
}


class Journal:
    """The log of one flow in memory: what is written, and what is noted to be written next."""

    def __init__(self, row: Any, run: Run, flow: Flow, log: Sequence[Any], owner: str) -> None:
        self.flow, self.owner, self.run = flow, owner, run
        self.resource_id: str = row.resource_id
        self.status: str = row.status
        self.error: errors.BrickyardError | None = None
        self.setbacks: int = row.setbacks
        self.doing: Commit | None = None
        self.last: dict[str, str] = {}  # step → its latest event in this attempt
        self.order: list[str] = []
        self.unwritten: list[dict[str, Any]] = []
        self.seq = 0
        past: dict[int, dict[str, dict[str, Any]]] = {}
        for entry in log:
            self.seq = entry.seq + 1
            if entry.event == "failed" and entry.attempt < row.attempt:
                self.run.failures.append(failures.revived(entry.data or {}))
            if entry.event == "done":
                past.setdefault(entry.attempt, {})[entry.step] = entry.data or {}
            if entry.attempt == row.attempt:
                self._apply(entry.step, entry.event, entry.data)
        self.run.tried = [past.get(n, {}) for n in range(1, row.attempt)]

    def _apply(self, step: str, event: str, data: Data) -> None:
        assert event in NEXT[self.last.get(step)], f"{step}: {event} after {self.last.get(step)}"
        if step not in self.last:
            self.order.append(step)
        self.last[step] = event
        if event == "done":
            self.run.data[step] = data or {}
        elif event == "failed":
            self.error = failures.revived(data or {})

    def note(self, step: Step, event: str, data: Data) -> None:
        self._apply(step.name, event, data)
        self.unwritten.append(
            {"seq": self.seq, "attempt": self.run.attempt, "step": step.name, "event": event, "data": data}
        )
        self.seq += 1

    def write(self, tx: Tx, **values: Any) -> None:
        """Write the notes and the flow's status, as its owner, or raise fence.Stop."""
        if self.status in ("done", "failed"):
            values |= {"finished_at": clock.stamp(), "lease_until": None}
        if self.status == "done":
            values |= {"error": None}  # of a node that did not answer for a while
        if not self.hold(tx, status=self.status, attempt=self.run.attempt, **values):
            raise fence.Stop("another conductor has it")
        rows.append(tx, self.run.id, self.unwritten)
        self.unwritten = []

    def hold(self, tx: Tx, **values: Any) -> bool:
        """Write to the flow's row; False when it is no longer ours."""
        return rows.hold(tx, self.run.id, self.owner, self.run.epoch, **values)

    def mark(self) -> tuple[int, int]:
        return len(self.unwritten), self.seq

    def rewind(self, mark: tuple[int, int]) -> None:
        """Forget the notes of a transaction that was rolled back before it wrote them."""
        kept, self.seq = mark
        for entry in self.unwritten[kept:]:
            del self.last[entry["step"]]
            self.run.data.pop(entry["step"], None)
            self.order.remove(entry["step"])
        del self.unwritten[kept:]

    def next_step(self) -> Step | None:
        """The first step that is not done."""
        return next((step for step in self.flow.steps if self.last.get(step.name) != "done"), None)

    def last_step(self) -> Step | None:
        """The latest step that is not undone."""
        names = [name for name in self.order if self.last[name] != "undone"]
        return next((step for step in self.flow.steps if names and step.name == names[-1]), None)

    def is_new(self) -> bool:
        """Nothing has ever been done for it."""
        return self.status == "running" and self.seq == 0

    def started(self, step: Step) -> bool:
        return self.last.get(step.name) == "started"

    def done(self, step: Step) -> bool:
        return self.last.get(step.name) == "done"

    def next_attempt(self) -> None:
        self.run.tried.append(self.run.data)
        self.run.failures.append(self.error or errors.BrickyardError())
        self.run.attempt += 1
        self.run.data, self.last, self.order, self.error, self.status = {}, {}, [], None, "running"
