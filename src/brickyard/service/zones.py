"""Availability zones: which ones there are, and which of them a volume may be in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from brickyard.core import errors
from brickyard.db import hosts
from brickyard.db.database import Tx
from brickyard.service.site import Site

SPEC = "RESKEY:availability_zones"


def known(site: Site, tx: Tx) -> dict[str, bool]:
    """Every zone, and whether one of its backends is enabled."""
    found = {site.settings.availability_zone: False}
    for row in hosts.list_backends(tx):
        found[row.availability_zone] = found.get(row.availability_zone, False) or bool(row.enabled and row.host_enabled)
    return found


def of_group(site: Site, types: Iterable[Mapping[str, str]]) -> str:
    """The zone of a group that asks for none, from the specs of its types: the default one, unless types keep out of it
    and all of them may be in another one."""
    lists = [zones for zones in map(_of_type, types) if zones]
    default = site.settings.availability_zone
    candidates = (default, *(lists[0] if lists else ()))
    return next((zone for zone in candidates if all(zone in zones for zones in lists)), default)


def _of_type(specs: Mapping[str, str]) -> list[str]:
    return [zone.strip() for zone in specs.get(SPEC, "").split(",") if zone.strip()]


def choose(site: Site, tx: Tx, asked: str | None, source: str | None, specs: Mapping[str, str]) -> list[str]:
    """The zones that will do: as asked, else the source's, else those of the type, else the default one.

    A zone that is unknown, not the type's, or not the source's is refused.
    """
    of_type = _of_type(specs)
    if not of_type and not asked and not source:
        return [site.settings.availability_zone]  # what most ask for, and it needs no look at the backends
    zones = known(site, tx)
    if of_type and not set(of_type) & set(zones):
        raise errors.Invalid(f"None of the type's availability zones exists: {', '.join(of_type)}.")
    if asked and source and asked != source:
        raise errors.Invalid(
            f"The volume must be in the availability zone of its source, {source}.", field="availability_zone"
        )
    wanted = asked or source
    if wanted is None:
        return of_type or [site.settings.availability_zone]
    if wanted in zones and (not of_type or wanted in of_type):
        return [wanted]
    if site.settings.allow_availability_zone_fallback:
        return [site.settings.availability_zone]
    raise errors.Invalid(
        f"Availability zone '{wanted}' is invalid; use one of: {', '.join(sorted(set(of_type) or set(zones)))}.",
        field="availability_zone",
    )
