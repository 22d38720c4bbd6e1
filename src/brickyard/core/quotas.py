"""Quota arithmetic: what a project may have, what it has, what it asks for on top.

The usage is counted by the caller in the transaction that takes the new resources. Limits of -1 mean no limit. The
class names are those that clients of the wire know; they begin the message, and `facts["code"]` carries them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from brickyard.core import errors

UNLIMITED = -1
USAGE_MAX = 2**31 - 1
PER_VOLUME = "per_volume_gigabytes"  # a limit on each volume; nothing is summed up against it

DEFAULTS: Mapping[str, int] = {
    "volumes": 10,
    "snapshots": 10,
    "gigabytes": 1000,
    "backups": 10,
    "backup_gigabytes": 1000,
    "groups": 10,
    PER_VOLUME: UNLIMITED,
}
PER_TYPE = ("volumes", "gigabytes", "snapshots")  # each also exists as <resource>_<type>

SPACE = "Requested {requested}G, quota is {limit}G and {used}G has been consumed."
# fmt: off
REFUSALS: Mapping[str, tuple[str, str]] = {  # resource, without its type: class name, message
    "volumes":          ("VolumeLimitExceeded",
                         "Maximum number of volumes allowed ({limit}) exceeded for quota '{resource}'."),
    "snapshots":        ("SnapshotLimitExceeded",
                         "Maximum number of snapshots allowed ({limit}) exceeded"),
    "gigabytes":        ("VolumeSizeExceedsAvailableQuota",
                         "Requested volume or snapshot exceeds allowed {resource} quota. " + SPACE),
    "backups":          ("BackupLimitExceeded",
                         "Maximum number of backups allowed ({limit}) exceeded"),
    "backup_gigabytes": ("VolumeBackupSizeExceedsAvailableQuota",
                         "Requested backup exceeds allowed Backup gigabytes quota. " + SPACE),
    "groups":           ("GroupLimitExceeded",
                         "Maximum number of groups allowed ({limit}) exceeded"),
    PER_VOLUME:         ("VolumeSizeExceedsLimit",
                         "Requested volume size {requested}G is larger than maximum allowed limit {limit}G."),
}
# fmt: on
UNEXPECTED = ("UnexpectedOverQuota", "Unexpected over quota on {resource}.")
OVERFLOW = ("QuotaUsageOverflow", "The usage of {resource} would exceed what can be counted ({limit}).")


def resources(types: Iterable[str] = ()) -> dict[str, int]:
    """Every resource with its default limit, in the order in which it is shown."""
    per_type = {f"{resource}_{name}": UNLIMITED for name in types for resource in PER_TYPE}
    return dict(DEFAULTS) | per_type


def effective(types: Iterable[str], *layers: Mapping[str, int]) -> dict[str, int]:
    """The limits that hold: the first layer that names a resource wins (project, class, default class, options)."""
    limits = resources(types)
    for layer in reversed(layers):
        limits |= {resource: limit for resource, limit in layer.items() if resource in limits}
    return limits


def base(resource: str) -> str:
    """The resource without its type; names of types may contain anything, so known names go first."""
    if resource in DEFAULTS:
        return resource
    prefix = resource.partition("_")[0]
    return prefix if prefix in PER_TYPE else resource


def volume_deltas(size_gib: int, *, type_name: str | None = None, volumes: int = 1) -> dict[str, int]:
    """What one new volume asks for; with `volumes=0`, what growing one by `size_gib` asks for."""
    deltas = {"volumes": volumes, "gigabytes": size_gib}
    return _with_type(deltas, type_name)


def snapshot_deltas(size_gib: int, *, type_name: str | None = None, count_gigabytes: bool = True) -> dict[str, int]:
    """What one new snapshot asks for; operators may choose that its gigabytes are not counted."""
    deltas = {"snapshots": 1} | ({"gigabytes": size_gib} if count_gigabytes else {})
    return _with_type(deltas, type_name)


def backup_deltas(size_gib: int) -> dict[str, int]:
    """What one new backup asks for, whole or incremental: the size of its volume."""
    return {"backups": 1, "backup_gigabytes": size_gib}


def _with_type(deltas: dict[str, int], type_name: str | None) -> dict[str, int]:
    deltas = {resource: delta for resource, delta in deltas.items() if delta}
    return deltas | {f"{resource}_{type_name}": delta for resource, delta in deltas.items() if type_name}


def negated(deltas: Mapping[str, int]) -> dict[str, int]:
    return {resource: -delta for resource, delta in deltas.items()}


def check(limits: Mapping[str, int], usage: Mapping[str, int], deltas: Mapping[str, int]) -> None:
    """Raises OverQuota for the first resource that would exceed its limit; giving back never fails.

    The gigabytes are looked at first, as the original does: a client that asks too much of both learns the size.
    """
    over = [resource for resource, delta in deltas.items() if delta > 0 and _exceeds(limits, usage, resource, delta)]
    if over:
        resource = min(over, key=lambda name: ("gigabytes" not in base(name), name))
        raise _refusal(REFUSALS.get(base(resource), UNEXPECTED), limits, usage, resource, deltas[resource])
    for resource, delta in deltas.items():
        if delta > 0 and usage.get(resource, 0) + delta > USAGE_MAX:
            raise _refusal(OVERFLOW, {resource: USAGE_MAX}, usage, resource, delta)


def check_size(limits: Mapping[str, int], size_gib: int) -> None:
    """Raises OverQuota if one volume of this size is larger than any may be."""
    limit = limits.get(PER_VOLUME, UNLIMITED)
    if 0 <= limit < size_gib:
        raise _refusal(REFUSALS[PER_VOLUME], limits, {}, PER_VOLUME, size_gib)


def _exceeds(limits: Mapping[str, int], usage: Mapping[str, int], resource: str, delta: int) -> bool:
    limit = limits.get(resource, UNLIMITED)
    return limit >= 0 and usage.get(resource, 0) + delta > limit


def _refusal(
    kind: tuple[str, str], limits: Mapping[str, int], usage: Mapping[str, int], resource: str, requested: int
) -> errors.OverQuota:
    code, text = kind
    facts = {"resource": resource, "limit": limits[resource], "used": usage.get(resource, 0), "requested": requested}
    return errors.OverQuota(f"{code}: {text.format(**facts)}", code=code, **facts)
