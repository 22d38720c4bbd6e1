"""Whether and how many images a pool keeps, as its host reports it among the capabilities of the pool."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OPTIONS = ("image_volume_cache_enabled", "image_volume_cache_max_size_gb", "image_volume_cache_max_count")
NEEDS = ("imports", "clones")  # of the driver


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a pool keeps; 0: as much as fits."""

    max_gib: int
    max_count: int

    def allows(self, gib: int, number: int) -> bool:
        """Whether so many images with so many GiB may be kept."""
        return (not self.max_gib or gib <= self.max_gib) and (not self.max_count or number <= self.max_count)


def reported(options: Mapping[str, Any], answers: Mapping[str, Any]) -> dict[str, Any]:
    """What is reported of a backend with these options, whose driver gives these answers; nothing where none are
    kept."""
    enabled, max_gib, max_count = OPTIONS
    if not options.get(enabled) or not all(answers.get(need) for need in NEEDS):
        return {}
    return {enabled: True, max_gib: int(options.get(max_gib, 0)), max_count: int(options.get(max_count, 0))}


def limits(capabilities: Mapping[str, Any]) -> Limits | None:
    """The limits of a pool with these capabilities; None: it keeps no images."""
    enabled, max_gib, max_count = OPTIONS
    return Limits(capabilities[max_gib], capabilities[max_count]) if capabilities.get(enabled) else None
