"""Quotas: checked and taken in the transaction that inserts the row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from brickyard.core import errors
from brickyard.core import quotas as rules
from brickyard.db import quotas
from brickyard.db.database import Tx
from brickyard.service.site import Caller, Site


def take(site: Site, tx: Tx, project_id: str, deltas: Mapping[str, int], *, size_gib: int | None = None) -> None:
    """Raise OverQuota unless the project may have that much more, in one volume of `size_gib` where that is given.

    The rows that follow are what takes it.
    """
    quotas.lock(tx, project_id)
    limits = quotas.limits(tx, project_id, dict(site.settings.quotas))
    if size_gib is not None:
        rules.check_size(limits, size_gib)
    in_use, reserved = quotas.usage(tx, project_id)
    rules.check(limits, in_use + reserved, deltas)


def check_size(site: Site, tx: Tx, project_id: str, size_gib: int) -> None:
    """Raise OverQuota if one volume may not be that large."""
    rules.check_size(quotas.limits(tx, project_id, dict(site.settings.quotas)), size_gib)


# what administrators set, and what everybody may read ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Figures:
    """One resource of one project."""

    limit: int
    in_use: int
    reserved: int


def show(site: Site, caller: Caller, project_id: str) -> dict[str, Figures]:
    """Every resource of a project: its limit, what there is, and what is being made. Those of a type that the caller
    does not see are left out, for they have its name."""
    with site.db.read() as tx:
        in_use, reserved = quotas.usage(tx, project_id)
        found = _known(site, tx, quotas.limits(tx, project_id, dict(site.settings.quotas)), caller.sees)
    return {name: Figures(limit, in_use[name], reserved[name]) for name, limit in found.items()}


def defaults(site: Site, caller: Caller, class_name: str = quotas.DEFAULT_CLASS) -> dict[str, int]:
    """The limits of projects that have none of their own, without those of types that the caller does not see."""
    with site.db.read() as tx:
        return _known(site, tx, quotas.default_limits(tx, dict(site.settings.quotas), class_name), caller.sees)


def update(site: Site, project_id: str, values: Mapping[str, int]) -> dict[str, int]:
    """Set limits of a project. One that was set before is not lowered below what the project has."""
    with site.db.begin() as tx:
        quotas.lock(tx, project_id)
        _check_known(site, tx, values)
        own, (in_use, reserved) = quotas.own_limits(tx, project_id), quotas.usage(tx, project_id)
        for name, limit in values.items():
            used = in_use[name] + reserved[name]
            if name in own and name != rules.PER_VOLUME and rules.UNLIMITED < limit < used:
                raise errors.Invalid(
                    f"Quota limit {limit} for {name} must be at least what is used, {used}.", field=name
                )
        quotas.set_limits(tx, project_id, dict(values))
        return _known(site, tx, quotas.limits(tx, project_id, dict(site.settings.quotas)))


def update_class(site: Site, class_name: str, values: Mapping[str, int]) -> dict[str, int]:
    with site.db.begin() as tx:
        _check_known(site, tx, values)
        quotas.set_class_limits(tx, class_name, dict(values))
        return _known(site, tx, quotas.default_limits(tx, dict(site.settings.quotas), class_name))


def reset(site: Site, project_id: str) -> None:
    """Back to the defaults."""
    with site.db.begin() as tx:
        quotas.forget_limits(tx, project_id)


def _known(site: Site, tx: Tx, limits: Mapping[str, int], sees: str | None = None) -> dict[str, int]:
    """The limits in the order in which they are shown, without those of types that are gone or not to be seen."""
    return rules.effective(quotas.type_names(tx, sees), limits, site.settings.quotas)


def _check_known(site: Site, tx: Tx, values: Mapping[str, int]) -> None:
    known = rules.resources(quotas.type_names(tx))
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise errors.Invalid(
            f"Bad key(s) in quota set: {', '.join(unknown)}; there are: {', '.join(known)}.", field=unknown[0]
        )
