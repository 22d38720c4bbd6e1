"""Where would this go, and why not elsewhere? The decision of the scheduler, shown and not taken."""

from __future__ import annotations

from brickyard.core import errors, placement, sizes
from brickyard.service import types, zones
from brickyard.service.site import Caller, Site


def of_volume(
    site: Site, caller: Caller, *, size_gib: int, volume_type: str | None, availability_zone: str | None
) -> tuple[placement.Verdict, ...]:
    """A verdict for each host and pool on one new volume."""
    if size_gib > sizes.MAX_GIB:
        raise errors.Invalid(f"size_gib is {size_gib}; allowed: 1 to {sizes.MAX_GIB}.", field="size_gib")
    with site.db.read() as tx:
        row = types.for_volume(site, tx, caller, volume_type, hold=False)
        specs = dict(row.extra_specs) if row else {}
        allowed = zones.choose(site, tx, availability_zone, None, specs)
    return site.world.places.explain(placement.Ask(size_gib=size_gib, extra_specs=specs, zones=frozenset(allowed)))
