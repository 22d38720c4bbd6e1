"""The watch over the pools of a node that may fill up under the guests that write to them.

It runs here and not where the database is, because a pool fills whether or not anybody can be told. A look is one
question to each such driver; the sooner a pool may be full, the sooner comes the next one. A pool that is warned of is
let grow into what an administrator left for that. One that is frozen takes nothing new. When one is almost full, the
guests that write to it are held, and go on when there is room again.

Nothing is kept here that must outlive the process: why a guest is held is written down with the guest.
"""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from brickyard.brick.driver import Driver, Extender
from brickyard.core import clock, errors, fullness
from brickyard.core.bricks import PREFIX, Did, Kind, Usage
from brickyard.core.fullness import Fullness, Stage, Thresholds
from brickyard.hypervisor.machine import FAR, MOVING, NO_ROOM, Hypervisor, Running

LOG = logging.getLogger(__name__)
YOUNG_S = 2.0  # how old a figure may be by which something new is made
HANDS = 16  # guests that are held at the same time: each takes as long as its disks take to flush
REASON = "pool "  # and the name of the backend: why a guest is held
LEVELS = {Stage.OK: logging.INFO, Stage.WARN: logging.WARNING}  # the others are errors


class Served(Protocol):
    """A backend of the node."""

    name: str
    driver: Driver | None

    @property
    def options(self) -> Mapping[str, object]: ...


@dataclass(frozen=True, slots=True)
class Seen:
    """What the last look at a pool found; while the storage does not answer, what was known before."""

    fullness: Fullness
    at_s: float
    total_bytes: int
    percent_per_s: float
    answers: bool = True


class Watch:
    """`backends` is the node's own mapping, which changes. `on_change` is called when a stage, or a guest, did."""

    def __init__(self, backends: Mapping[str, Served], hypervisor: Hypervisor | None) -> None:
        self.backends, self.hypervisor = backends, hypervisor
        self.on_change: Callable[[], None] = lambda: None
        self._seen: dict[str, Seen] = {}
        self._held_before: set[str] = set()  # backends for which a former run of this node has held guests
        self._looking: dict[str, threading.Lock] = {}
        self._holding = False  # whether some guest is held, or should be
        self._tended_s = float("-inf")
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    # the loop -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread = threading.Thread(target=self._work, name="fullness", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 5) -> None:
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _work(self) -> None:
        wait_s = 0.0
        while not self._stopping.wait(wait_s):
            try:
                wait_s = self.look()
            except Exception:
                LOG.exception("the watch over the pools failed; it goes on")
                wait_s = fullness.LOOK_MIN_S

    def look(self) -> float:
        """One look at every pool that may fill up, and what follows from it. Seconds until the next one is due."""
        wait_s = fullness.LOOK_MAX_S
        for served in list(self.backends.values()):
            seen = self._seen.get(served.name)
            if served.driver is None or (seen is not None and seen.answers and not _may_fill(seen.fullness)):
                continue  # a pool that cannot fill under its volumes is looked at by the reports
            try:
                self.measure(served)
            except errors.BrickyardError as error:
                LOG.warning("nobody knows how full pool %s is: %s", served.name, error)
            seen = self._seen.get(served.name)
            if seen is not None and _may_fill(seen.fullness):
                limits = fullness.thresholds(served.options)
                soon_s = fullness.next_look_s(seen.fullness.percent, seen.total_bytes, seen.percent_per_s, limits)
                wait_s = min(wait_s, soon_s)
        self._tend()
        return fullness.LOOK_MIN_S if self._holding else wait_s

    # pools --------------------------------------------------------------------------------------------------------

    def recall(self, guests: list[Running]) -> None:
        """What a former run of this node held guests for was almost full, and counts as that until there is room."""
        reasons = {reason for guest in guests for reason in guest.held}
        self._held_before = {reason.removeprefix(REASON) for reason in reasons if reason.startswith(REASON)}
        self._holding = bool(reasons)

    def measure(self, served: Served) -> tuple[Usage, Fullness]:
        """How full a pool is now, after it was let grow where it can. Raises what its driver raises."""
        with self._looking.setdefault(served.name, threading.Lock()):
            return self._measure(served)

    def _measure(self, served: Served) -> tuple[Usage, Fullness]:
        driver = served.driver
        if driver is None:
            raise errors.Unavailable(f"Backend {served.name} is down.")
        limits = fullness.thresholds(served.options)
        try:
            usage = driver.usage()
            figures = _figures(served, driver, usage)
            if max(figure or 0 for figure in figures) >= limits.warn and self._grown(served.name, driver):
                usage = driver.usage()
                figures = _figures(served, driver, usage)
        except Exception:
            self._lost(served.name)
            raise
        return usage, self._note(served.name, figures, usage.total_bytes, limits)

    def admit(self, served: Served, brick: str, size_bytes: int = 0) -> None:
        """NoSpace unless something new may be made in the pool: `brick`, or its growth. What is there already passes,
        so that a verb whose answer was lost may be repeated."""
        found = self._recent(served)
        if not found.closed or served.driver is None:
            return
        there = served.driver.find(brick)
        if there is None or there.size_bytes < size_bytes:
            raise errors.NoSpace(
                f"pool {served.name} takes nothing new, it is {found.stage}: {found.why}; delete volumes or snapshots "
                "there, or extend it"
            )

    def _recent(self, served: Served) -> Fullness:
        """As it was a moment ago: many who ask at the same time share one look."""
        with self._looking.setdefault(served.name, threading.Lock()):
            seen = self._seen.get(served.name)
            if seen is None or (_may_fill(seen.fullness) and clock.monotonic() - seen.at_s > YOUNG_S):
                return self._measure(served)[1]
            return seen.fullness

    def _grown(self, name: str, driver: Driver) -> bool:
        if not isinstance(driver, Extender):
            return False
        try:
            grown = driver.autoextend() is Did.CHANGED
        except errors.BrickyardError as error:
            LOG.warning("pool %s should grow and could not: %s", name, error)
            return False
        if grown:
            LOG.info("pool %s has grown into what was left for it", name)
            self.on_change()  # or what is asked for meanwhile would be refused for want of the old room
        return grown

    def _note(
        self, name: str, figures: tuple[float | None, float | None], total_bytes: int, limits: Thresholds
    ) -> Fullness:
        before, now_s = self._seen.get(name), clock.monotonic()
        stage = before.fullness.stage if before else Stage.PAUSED if name in self._held_before else Stage.OK
        found = fullness.judge(stage, *figures, limits)
        speed = 0.0
        if before is not None and before.answers and now_s > before.at_s:
            speed = max(0.0, (found.percent - before.fullness.percent) / (now_s - before.at_s))
        self._seen[name] = Seen(found, now_s, total_bytes, speed)
        if found.stage is not (before.fullness.stage if before else Stage.OK):
            level = LEVELS.get(found.stage, logging.ERROR)
            LOG.log(level, "pool %s is %s", name, found.stage, extra={"why": found.why, "was": str(stage)})
            self.on_change()
        return found

    def _lost(self, name: str) -> None:
        """The storage does not answer: what was known stays, and nobody is let go on the strength of it."""
        before = self._seen.get(name)
        known = before.fullness if before else Fullness(Stage.PAUSED if name in self._held_before else Stage.OK)
        total_bytes = before.total_bytes if before else 0
        self._seen[name] = Seen(known, clock.monotonic(), total_bytes, 0.0, answers=False)

    # guests -------------------------------------------------------------------------------------------------------

    def _tend(self) -> None:
        """Hold who writes to a pool that is almost full, and let go who need not be held any more."""
        known = {name: seen for name, seen in self._seen.items() if name in self.backends}
        full = [name for name, seen in known.items() if seen.fullness.stage is Stage.PAUSED]
        is_due = clock.monotonic() - self._tended_s >= fullness.LOOK_MAX_S  # QEMU holds guests by itself as well
        if self.hypervisor is None or not (full or self._holding or is_due):
            return
        self._tended_s = clock.monotonic()
        guests = [guest for guest in self.hypervisor.list() if guest.status != "stopped"]
        bricks = {name: self._bricks(name) for name in full} if guests else {}
        with concurrent.futures.ThreadPoolExecutor(HANDS, "hold") as hands:
            outcomes = list(hands.map(lambda guest: self._settle(guest, bricks), guests))
        self._holding = any(held for held, _ in outcomes)
        if any(changed for _, changed in outcomes):
            self.on_change()

    def _settle(self, guest: Running, bricks: Mapping[str, set[str] | None]) -> tuple[bool, bool]:
        """Whether this guest is held, or should be; and whether that has changed."""
        assert self.hypervisor is not None
        wanted = {REASON + name for name, inside in bricks.items() if inside is not None and _writes(guest, inside)}
        wanted |= {reason for reason in guest.held if self._is_unsure(reason, bricks)}
        changed = False
        try:
            for reason in sorted(wanted):
                if reason not in guest.held or guest.status == "running":
                    self.hypervisor.hold(guest.id, reason)
                    LOG.warning("guest %s is held: %s is almost full", guest.id, reason)
                    changed = True
            for reason in guest.held:
                if reason.startswith((MOVING, FAR)):
                    continue  # who holds it for that lets it go
                # A write that found no room is repeated when no pool of the guest is full, as far as anybody knows.
                if reason not in wanted and not (reason == NO_ROOM and (wanted or _is_held_far(guest))):
                    self.hypervisor.release(guest.id, reason)
                    LOG.info("guest %s is let go: there is room (%s)", guest.id, reason)
                    changed = True
        except (errors.GuestError, errors.NotFound) as error:
            LOG.warning("guest %s could not be held or let go, which is tried again: %s", guest.id, error)
            return True, changed
        return bool(wanted), changed

    def hold_far(self, wanted: Mapping[str, Sequence[str]]) -> Did:
        """Hold these guests for pools of other hosts (host@backend), and let all others go that are held for such. Each
        fails alone, and the first error is raised."""
        if self.hypervisor is None:
            return Did.ALREADY
        guests = [guest for guest in self.hypervisor.list() if guest.status != "stopped"]
        with concurrent.futures.ThreadPoolExecutor(HANDS, "hold-far") as hands:
            settled = [hands.submit(self._settle_far, guest, wanted.get(guest.id, ())) for guest in guests]
        failed = [error for one in settled if (error := one.exception()) is not None]
        changed = bool(failed) or any(one.result() for one in settled)
        if changed:
            self._holding = True  # so that a write which found no room is repeated soon
            self.on_change()
        if failed:
            raise failed[0]
        return Did.CHANGED if changed else Did.ALREADY

    def _settle_far(self, guest: Running, pools: Sequence[str]) -> bool:
        assert self.hypervisor is not None
        reasons, before = {FAR + name for name in pools}, {reason for reason in guest.held if reason.startswith(FAR)}
        for reason in sorted(reasons if guest.status == "running" else reasons - before):
            self.hypervisor.hold(guest.id, reason)
            LOG.warning("guest %s is held: %s is almost full", guest.id, reason)
        for reason in sorted(before - reasons):
            self.hypervisor.release(guest.id, reason)
            LOG.info("guest %s is let go: there is room (%s)", guest.id, reason)
        return reasons != before

    def _is_unsure(self, reason: str, bricks: Mapping[str, set[str] | None]) -> bool:
        """Whether nobody can say now that a guest need not be held any more. A backend that is gone holds nobody."""
        name = reason.removeprefix(REASON)
        if not reason.startswith(REASON) or name not in self.backends:
            return False
        seen = self._seen.get(name)
        return seen is None or not seen.answers or (name in bricks and bricks[name] is None)

    def _bricks(self, name: str) -> set[str] | None:
        """The names of what lies in a pool; None while it does not answer."""
        served = self.backends.get(name)
        if served is None or served.driver is None:
            return None
        try:
            return {found.name for found in served.driver.list()}
        except errors.BrickyardError as error:
            LOG.warning("nobody knows who writes to pool %s: %s", name, error)
            return None


def _figures(served: Served, driver: Driver, usage: Usage) -> tuple[float | None, float | None]:
    ratio = float(str(served.options.get("max_over_subscription_ratio", 1.0)))
    return fullness.figures(usage, thin=driver.capabilities.thin, ratio=ratio)


def _may_fill(found: Fullness) -> bool:
    return found.data_percent is not None or found.metadata_percent is not None


def _is_held_far(guest: Running) -> bool:
    return any(reason.startswith(FAR) for reason in guest.held)


def _writes(guest: Running, inside: set[str]) -> bool:
    """Whether a guest can write to one of these bricks."""
    writable = set(guest.serials) - set(guest.read_only)
    return any(PREFIX[kind] + serial in inside for serial in writable for kind in (Kind.VOLUME, Kind.ROOT))
