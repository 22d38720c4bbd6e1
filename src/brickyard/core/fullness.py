"""How full a pool really is, and what follows: the stages before a thin pool is full.

Thin storage is promised more often than it is there, so it may fill up under the volumes that it holds. Three
thresholds come before that. From the first one an administrator is told, from the second nothing new is made in the
pool, from the third the guests that write to it are held, so that none of them ever sees a write fail. The fuller of
data and metadata decides. A stage is left a little below the threshold at which it was entered, so that a pool at the
very edge does not go back and forth.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from brickyard.core import errors
from brickyard.core.bricks import Usage
from brickyard.core.sizes import GIB

HYSTERESIS_PERCENT = 2.0
LOOK_MIN_S, LOOK_MAX_S = 1.0, 10.0
LOOKS_BEFORE = 4  # how often a pool is looked at, at least, before it reaches the last threshold
BURST_BYTES_S = GIB  # what guests that have been quiet may begin to write at any moment
OPTIONS = ("thin_warn_percent", "thin_freeze_percent", "thin_pause_percent")


class Stage(enum.StrEnum):
    OK = "ok"
    WARN = "warn"  # an administrator is told
    FROZEN = "frozen"  # and nothing new is made in the pool
    PAUSED = "paused"  # and the guests that write to it are held


ORDER = tuple(Stage)
CLOSED = frozenset({Stage.FROZEN, Stage.PAUSED})  # in these a pool takes nothing new


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Percent of the pool, or of its metadata, from which a stage begins."""

    warn: int = 80
    freeze: int = 90
    pause: int = 95

    def at(self, stage: Stage) -> int:
        return {Stage.OK: 0, Stage.WARN: self.warn, Stage.FROZEN: self.freeze, Stage.PAUSED: self.pause}[stage]


@dataclass(frozen=True, slots=True)
class Fullness:
    """How full a pool was at the last look. `why` names figure and threshold, and is empty while all is well."""

    stage: Stage = Stage.OK
    why: str = ""
    data_percent: float | None = None
    metadata_percent: float | None = None

    @property
    def percent(self) -> float:
        return max(self.data_percent or 0.0, self.metadata_percent or 0.0)

    @property
    def closed(self) -> bool:
        return self.stage in CLOSED


def thresholds(options: Mapping[str, Any], where: str = "") -> Thresholds:
    """Of a backend, by its options; Invalid, beginning with `where`, unless each one comes before the next."""
    usual = Thresholds()
    given = [int(options.get(name, number)) for name, number in zip(OPTIONS, _numbers(usual), strict=True)]
    found = Thresholds(*given)
    if not found.warn < found.freeze < found.pause:
        named = ", ".join(f"{name} {number}" for name, number in zip(OPTIONS, given, strict=True))
        raise errors.Invalid(f"{where} {named}: each must be lower than the next one".lstrip(), field=OPTIONS[1])
    return found


def _numbers(found: Thresholds) -> tuple[int, int, int]:
    return found.warn, found.freeze, found.pause


def figures(usage: Usage, *, thin: bool, ratio: float) -> tuple[float | None, float | None]:
    """Percent of data and of metadata that are really used; None and None for a pool that cannot fill under a volume.

    A file system does not call itself thin, but one whose space is promised more than once is: then its own fill
    counts, and whoever else writes there counts with it.
    """
    if usage.data_percent is not None or usage.metadata_percent is not None:
        return usage.data_percent, usage.metadata_percent
    if not thin or ratio <= 1 or usage.total_bytes <= 0:
        return None, None
    return 100.0 * max(0, usage.total_bytes - usage.free_bytes) / usage.total_bytes, None


def judge(before: Stage, data_percent: float | None, metadata_percent: float | None, limits: Thresholds) -> Fullness:
    """The stage of a pool that was in stage `before`, with the figure and the threshold that made it."""
    known = {"data": data_percent, "metadata": metadata_percent}
    stage, why = Stage.OK, ""
    for figure, percent in known.items():
        found = _stage(before, percent, limits) if percent is not None else Stage.OK
        if ORDER.index(found) > ORDER.index(stage):
            option = OPTIONS[ORDER.index(found) - 1]
            left = "" if percent is None or percent >= limits.at(found) else f" less {HYSTERESIS_PERCENT:g}"
            stage, why = found, f"{percent:.1f} % of its {figure} are used, {option} is {limits.at(found)}{left}"
    return Fullness(stage, why, data_percent, metadata_percent)


def _stage(before: Stage, percent: float, limits: Thresholds) -> Stage:
    for stage in reversed(ORDER):
        stays = ORDER.index(stage) <= ORDER.index(before)
        if percent >= limits.at(stage) - (HYSTERESIS_PERCENT if stays else 0):
            return stage
    return Stage.OK


def next_look_s(percent: float, total_bytes: int, percent_per_s: float, limits: Thresholds) -> float:
    """Seconds after which to look again at a pool that fills at this speed.

    So soon that it is looked at some times more before it reaches the last threshold, at the speed that was seen, or
    at that of a burst which may begin now. A pool beyond that threshold is looked at as often as may be.
    """
    left = limits.pause - percent
    if left <= 0:
        return LOOK_MIN_S
    fastest = max(percent_per_s, 100.0 * BURST_BYTES_S / total_bytes if total_bytes > 0 else 0.0)
    return min(LOOK_MAX_S, max(LOOK_MIN_S, left / fastest / LOOKS_BEFORE if fastest > 0 else LOOK_MAX_S))
