"""Durable work: steps with do and undo, and a log that commits with the rows it speaks of.

A flow is a list of steps. An `Act` touches the world outside the database: that it starts is written before, that it is
done after, so a conductor that dies in between repeats it; its do and undo therefore look before they act, and accept
that the work is done, half done or absent. A `Commit` touches only the database, and commits together with its log
entry. One transaction holds the end of an Act, all Commits after it, and the start of the next Act.

When a step fails, it is undone and so is all before it, last first. Then the flow begins again (another attempt), if
its error and its `attempts` allow it, or it is failed, and `failed` writes what the owner of the resource will see.
An undo that fails is tried again later, for ever, with growing pauses: a flow is never left half undone. An Act whose
node does not answer is not undone, since nobody could ask for that either: it is tried again until the node is there.

An Act that takes long may tell how far it is (`Run.progress`); see progress.py for where that goes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from brickyard.core import clock, errors, fence, spans
from brickyard.db import flows as rows
from brickyard.db.database import Database, Tx
from brickyard.flows import failures, left_behind, progress, trail
from brickyard.flows.journal import Journal

Data = dict[str, Any] | None
LOG = logging.getLogger(__name__)
LATER_S = 3.0
UNREACHABLE_S = 10.0
RETRY_PAUSE_S = (1, 2, 5, 15, 60, 300)


@dataclass(slots=True)
class Run:
    """One run of a flow, as its steps see it. `data` is what this attempt's steps returned, read from the log."""

    id: str
    params: dict[str, Any]
    project_id: str
    request_id: str | None
    world: Any
    attempt: int = 1
    epoch: int = 0  # of the claim under which it runs
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    tried: list[dict[str, dict[str, Any]]] = field(default_factory=list)  # the data of the attempts before this one
    failures: list[errors.BrickyardError] = field(default_factory=list)  # and why each of them failed
    step: str | None = None  # the Act that is done or undone now
    moved: progress.Moved | None = None  # and how far it is, if it can tell
    traceparent: str | None = None  # the span that queued it

    def check(self) -> None:
        """Before an Act undoes, or goes on to a host that nobody has asked yet: fence.Stop if another has the flow."""
        with self.world.db.read() as tx:
            row = rows.find(tx, self.id)
        if row is None or row.epoch != self.epoch:
            raise fence.Stop("another conductor has it")

    def progress(self, what: str) -> Callable[[int, int], None]:
        """What the Act that runs now gives to a verb of a node that works on `what`, a brick or a device: it is called
        with bytes done and bytes in all, from any thread and as often as the node likes."""
        step = self.step

        def tell(done_bytes: int, total_bytes: int) -> None:
            if step is not None and step == self.step:
                self.moved = progress.moved(step, what, done_bytes, total_bytes)

        return tell


@dataclass(frozen=True, slots=True)
class Act:
    name: str
    do: Callable[[Run], Data]
    undo: Callable[[Run], None]


@dataclass(frozen=True, slots=True)
class Commit:
    name: str
    do: Callable[[Run, Tx], Data]
    undo: Callable[[Run, Tx], None]


Step = Act | Commit


@dataclass(frozen=True, slots=True)
class Flow:
    name: str
    steps: Sequence[Step]
    failed: Callable[[Run, Tx, errors.BrickyardError], None]
    attempts: int = 1
    again: Callable[[errors.BrickyardError], bool] = lambda error: True  # is another attempt worth it?
    progressed: Callable[[Run, Tx, int], None] | None = None  # a resource that shows the percent of a step itself


def nothing(run: Run) -> None:
    """The undo of an Act that changed nothing."""


def nothing_in(run: Run, tx: Tx) -> None:
    """The undo of a Commit whose rows another step takes care of."""


class Later(spans.NotFailed):
    """Raised by a step that can be repeated: it is not its turn. The flow is let go, and the step tried again soon;
    what a Commit has written by then is rolled back, and `meanwhile` is written instead."""

    def __init__(self, pause_s: float = LATER_S, meanwhile: Callable[[Tx], None] = lambda tx: None) -> None:
        super().__init__()
        self.pause_s, self.meanwhile = pause_s, meanwhile


Probe = Callable[[str, str], None]  # (point, step): tests raise here; points: before-do after-do before-undo after-undo


class Engine:
    """Runs flows of a catalogue against a world (database, nodes, …)."""

    def __init__(
        self,
        db: Database,
        world: Any,
        catalogue: Mapping[str, Flow],
        owner: str,
        probe: Probe = lambda point, step: None,
    ) -> None:
        self.db, self.world, self.catalogue, self.owner, self.probe = db, world, catalogue, owner, probe
        self.stopping = False  # set it, and runs end after the transaction they are in
        self.board = progress.Board()

    def run(self, id: str, lease_s: float = 60) -> str | None:
        """Claim the flow and run it, or resume it from its log. Returns its status; None when it was not to be had."""
        journal = self._claim(id, lease_s)
        if journal is None:
            return None
        try:
            with trail.of(journal), fence.of(id, journal.run.epoch):
                self._work(journal)
        except fence.Stop as stop:
            LOG.warning("flow %s is let go: %s", id, stop)
            self._give_up(journal, 0 if self.stopping else LATER_S)  # if it is still ours
            return None
        except Exception:
            self._give_up(journal, LATER_S)
            raise
        return journal.status

    def _work(self, journal: Journal) -> None:
        while journal.status in rows.OPEN:
            if self.stopping:
                self._release(journal)
                break
            if journal.status == "running":
                try:
                    self._forward(journal)
                except Later as later:
                    return self._put_off(journal, later)
                except errors.Unreachable as silent:
                    return self._release(journal, UNREACHABLE_S, error=silent.message)
            elif not self._backward(journal):
                break

    def _claim(self, id: str, lease_s: float) -> Journal | None:
        """Take the flow; one that is new runs its first Commits in the same transaction, which saves one of them."""
        try:
            with self.db.begin() as tx:
                journal = self._read(tx, id, lease_s)
                if journal is not None and journal.is_new():
                    with spans.within(journal.run.traceparent):
                        self._advance(journal, tx)
                return journal
        except Exception:
            # All of it was rolled back. Taken alone, the step that failed here fails once more, and that is logged.
            with self.db.begin() as tx:
                return self._read(tx, id, lease_s)

    def _read(self, tx: Tx, id: str, lease_s: float) -> Journal | None:
        row = rows.claim(tx, id, self.owner, lease_s)
        if row is None:
            return None
        params, traceparent = rows.asked(row)
        run = Run(row.id, params, row.project_id, row.request_id, self.world, row.attempt, row.epoch)
        run.traceparent = traceparent
        return Journal(row, run, self.catalogue[row.name], rows.log(tx, id), self.owner)

    def _forward(self, journal: Journal) -> None:
        """Run the next Act, if it has been started; then one transaction up to the start of the Act after it."""
        step = journal.next_step()
        data: Data = None
        if isinstance(step, Act) and journal.started(step):
            try:
                self.probe("before-do", step.name)
                with self.board.at(journal.run, step.name, journal.flow.progressed):
                    data = step.do(journal.run)
                self.probe("after-do", step.name)
            except (Later, errors.Unreachable, fence.Stop):
                raise
            except Exception as error:
                self._fail(journal, step, error)
                return
            journal.note(step, "done", data)
        self.db.repeating(lambda: self._commits(journal))

    def _commits(self, journal: Journal) -> None:
        """Write what is noted, run the Commits that are next, and start the Act after them or finish the flow."""
        mark = journal.mark()
        try:
            with self.db.begin() as tx:
                self._advance(journal, tx)
        except (errors.Deadlock, errors.Unreachable, Later):
            journal.rewind(mark)
            raise
        except Exception as error:
            if journal.doing is None:
                raise
            journal.rewind(mark)
            self._fail(journal, journal.doing, error)

    def _advance(self, journal: Journal, tx: Tx) -> None:
        """The inside of that transaction. `journal.doing` is the Commit that is at it, and None before and after."""
        journal.doing = None
        while isinstance(step := journal.next_step(), Commit):
            journal.doing = step
            self.probe("before-do", step.name)
            data = step.do(journal.run, tx)
            self.probe("after-do", step.name)
            journal.note(step, "done", data)
            journal.doing = None
        if step is None:
            journal.status = "done"
        else:
            journal.note(step, "started", None)
        journal.write(tx)

    def _fail(self, journal: Journal, step: Step, error: Exception) -> None:
        """From here the flow unwinds; with it is written what was noted and not yet written."""
        if isinstance(error, fence.Stop):
            raise error
        known = error if isinstance(error, errors.BrickyardError) else errors.BrickyardError(failures.text(error))
        if known is not error:
            LOG.exception("flow %s (%s): step %s failed", journal.run.id, journal.flow.name, step.name, exc_info=error)
        journal.note(step, "failed", {"type": type(known).__name__, "message": known.message, **failures.kept(known)})
        journal.status, journal.error = "unwinding", known
        with self.db.begin() as tx:
            refusals = known.facts.get("refusals")
            journal.write(tx, error=known.message, **({"refusals": refusals} if refusals else {}))

    def _backward(self, journal: Journal) -> bool:
        """Undo up to the next Act, or end the unwinding. False when that failed: the flow is tried again later."""
        try:
            if isinstance(step := journal.last_step(), Act):
                self.probe("before-undo", step.name)
                with self.board.at(journal.run, step.name):
                    left = left_behind.undo(step.undo, journal.run)
                self.probe("after-undo", step.name)
                journal.note(step, "undone", left)
            with self.db.begin() as tx:
                while isinstance(step := journal.last_step(), Commit):
                    self.probe("before-undo", step.name)
                    if journal.done(step):
                        step.undo(journal.run, tx)
                    self.probe("after-undo", step.name)
                    journal.note(step, "undone", None)
                if step is None:
                    self._end_attempt(journal, tx)
                journal.write(tx)
        except fence.Stop:
            raise
        except Exception as error:
            self._pause(journal, errors.UndoFailed(journal.error or errors.BrickyardError(), error))
            return False
        return True

    def _end_attempt(self, journal: Journal, tx: Tx) -> None:
        error = journal.error or errors.BrickyardError()
        if journal.run.attempt < journal.flow.attempts and journal.flow.again(error):
            journal.next_attempt()
        else:
            journal.flow.failed(journal.run, tx, error)
            journal.status = "failed"

    def _release(self, journal: Journal, pause_s: float = 0, **values: Any) -> None:
        values |= {"not_before": clock.stamp(pause_s)} if pause_s else {}
        with self.db.begin() as tx:
            journal.hold(tx, owner=None, lease_until=None, **values)

    def _put_off(self, journal: Journal, later: Later) -> None:
        """Release the flow, with what is noted, until it is its turn."""
        with self.db.begin() as tx:
            later.meanwhile(tx)
            journal.write(tx, owner=None, lease_until=None, not_before=clock.stamp(later.pause_s))

    def _give_up(self, journal: Journal, pause_s: float) -> None:
        try:
            self._release(journal, pause_s)
        except Exception:
            LOG.exception("flow %s could not be released; its lease will end", journal.run.id)

    def _pause(self, journal: Journal, error: errors.BrickyardError) -> None:
        """Release the flow, to be tried again later."""
        pause_s = RETRY_PAUSE_S[min(journal.setbacks, len(RETRY_PAUSE_S) - 1)]
        LOG.error("flow %s (%s): %s; next try in %s s", journal.run.id, journal.flow.name, error.message, pause_s)
        with self.db.begin() as tx:
            journal.hold(
                tx,
                error=error.message,
                owner=None,
                lease_until=None,
                not_before=clock.stamp(pause_s),
                setbacks=journal.setbacks + 1,
            )
