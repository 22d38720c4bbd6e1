"""QoS specs: what a volume is promised, and whose business it is to keep that."""

from __future__ import annotations

from collections.abc import Mapping

from brickyard.core import errors

CONSUMERS = ("front-end", "back-end", "both")
SCALED = tuple(f"{what}_{unit}_sec" for what in ("read", "write", "total") for unit in ("iops", "bytes"))


def check(specs: Mapping[str, str]) -> None:
    """Raise Invalid unless everything that is multiplied by a size is a number."""
    for name in SCALED:
        for key in (f"{name}_per_gb", f"{name}_per_gb_min", f"{name}_max"):
            if key in specs and not (specs[key].isascii() and specs[key].isdigit()):
                raise errors.Invalid(f"{key} must be a whole number, and not {specs[key]!r}.", field=key)


def for_consumer(consumer: str, specs: Mapping[str, str], size_gib: int) -> dict[str, str] | None:
    """What whoever connects a volume is told; None where it is not theirs to keep.

    What is promised for each GiB is multiplied by the size, not less than `_per_gb_min` and not more than `_max`.
    """
    if consumer == "back-end" or not specs:
        return None
    told = dict(specs)
    for name in SCALED:
        if f"{name}_per_gb" not in told:
            continue
        figure = int(told.pop(f"{name}_per_gb")) * size_gib
        figure = max(figure, int(told.pop(f"{name}_per_gb_min", 0)))
        told[name] = str(min(figure, int(told.pop(f"{name}_max", figure))))
    return told
