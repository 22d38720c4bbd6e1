"""Volumes as the wire shows them: tables of fields, each with the microversion in which it appeared.

A list shows a thousand volumes, so a row becomes an object of a type that is made once for a microversion and a role,
with all that is the same in every volume, and JSON that is JSON already in the database is not read and written again.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from brickyard.api import versions
from brickyard.api.request import Request
from brickyard.core.states import A
from brickyard.db.database import Row

# microversion, field, column, who sees it: in detail, admin, or whom a rule of RULES allows
# fmt: off
FIELDS: tuple[tuple[str, str, str, str], ...] = (
    ("3.0", "id", "id", ""),
    ("3.0", "status", "status", ""),
    ("3.0", "size", "size_gib", ""),
    ("3.0", "availability_zone", "availability_zone", ""),
    ("3.0", "created_at", "created_at", ""),
    ("3.0", "updated_at", "updated_at", ""),
    ("3.0", "name", "name", ""),
    ("3.0", "description", "description", ""),
    ("3.0", "volume_type", "volume_type", ""),
    ("3.0", "snapshot_id", "snapshot_id", ""),
    ("3.0", "source_volid", "source_volid", ""),
    ("3.0", "user_id", "user_id", ""),
    ("3.0", "migration_status", "migration_status", "admin"),
    ("3.0", "os-vol-mig-status-attr:migstat", "migration_status", "in detail, move"),
    ("3.0", "os-vol-host-attr:host", "host", "in detail, host"),
    ("3.0", "os-vol-tenant-attr:tenant_id", "project_id", "in detail, tenant"),
    ("3.0", "consistencygroup_id", "consistencygroup_id", ""),
    ("3.13", "group_id", "group_id", ""),
    ("3.63", "volume_type_id", "volume_type_id", ""),
)
# microversion, field, value in every volume of ours, who sees it
ALIKE: tuple[tuple[str, str, bool | None, str], ...] = (
    ("3.0", "encrypted", False, ""),
    ("3.0", "replication_status", None, ""),
    ("3.0", "os-vol-mig-status-attr:name_id", None, "in detail, move"),
    ("3.21", "provider_id", None, "admin"),
    ("3.48", "shared_targets", False, ""),
    ("3.48", "service_uuid", None, ""),
    ("3.61", "cluster_name", None, "admin"),
    ("3.65", "consumes_quota", True, ""),
)
ADDED = (*FIELDS, *ALIKE)  # all that is keyed by a microversion
# what is made of more than a column, in the order in which `_shown` makes it; the last only where there is some
MADE = ("metadata", "links", "bootable", "multiattach", "attachments", "volume_image_metadata")
NEEDED = ("id", "metadata", "image_metadata", "readonly", "bootable", "multiattach")  # for what is made
# fmt: on
RULES = {
    "tenant": "volume_extension:volume_tenant_attribute",
    "host": "volume_extension:volume_host_attribute",
    "move": "volume_extension:volume_mig_status_attribute",
    "image": "volume_extension:volume_image_metadata:show",
}
UNSET = msgspec.UNSET


def links(request: Request, collection: str, id: str) -> list[dict[str, str]]:
    """`self` and `bookmark` of a resource."""
    root, _, project = request.base.rpartition("/v3")
    bookmark = root + project
    return [
        {"rel": "self", "href": f"{request.base}/{collection}/{id}"},
        {"rel": "bookmark", "href": f"{bookmark}/{collection}/{id}"},
    ]


def brief(request: Request, row: Row) -> dict[str, Any]:
    return {"id": row.id, "name": row.name, "links": links(request, "volumes", row.id)}


def full(request: Request, row: Row, attachments: Sequence[Row]) -> Any:
    """The view of create and update: without the os-vol-* keys."""
    return _shown(request, [row], {row.id: attachments}, in_detail=False)[0]


def detailed(request: Request, row: Row, attachments: Sequence[Row]) -> Any:
    """The view of show."""
    return page(request, [row], {row.id: attachments})[0]


def page(request: Request, rows: Sequence[Row], attachments: Mapping[str, Sequence[Row]]) -> list[Any]:
    """The view of detailed lists; `attachments` by volume, of those that have any."""
    return _shown(request, rows, attachments, in_detail=True)


def _shown(
    request: Request, rows: Sequence[Row], attachments: Mapping[str, Sequence[Row]], *, in_detail: bool
) -> list[Any]:
    if not rows:
        return []
    audience = _audience(request, in_detail)
    shows_image = audience.issuperset(("in detail", "image"))
    make, values = _shape(request.version, audience, rows[0]._fields)
    before, between, after = _links(request.base)
    shown = []
    for row in rows:
        id, metadata, image, readonly, bootable, multiattach, *columns = values(row)
        attached = [a for a in attachments[id] if a.status == A.ATTACHED] if id in attachments else []
        if readonly is not None or attached:
            metadata = _more_metadata(row, attached)
        shown.append(
            make(
                *columns,
                _raw(metadata),
                msgspec.Raw(f"{before}{id}{between}{id}{after}"),
                "true" if bootable else "false",
                bool(multiattach),
                [_attachment(request, row, a) for a in attached] if attached else attached,
                UNSET if not shows_image or not image or image == "{}" else _raw(image),
            )
        )
    return shown


def _audience(request: Request, in_detail: bool) -> frozenset[str]:
    """What the caller is, in the words of the tables."""
    known = {"in detail": in_detail, "admin": request.caller.is_admin}
    known |= {word: request.allows(rule) for word, rule in RULES.items()}
    return frozenset(word for word, so in known.items() if so)


@functools.lru_cache(maxsize=512)
def _shape(
    version: versions.Version, audience: frozenset[str], fields: tuple[str, ...]
) -> tuple[Callable[..., Any], Callable[[Row], Any]]:
    """The type of what a caller sees; and what takes from a row with these fields those of NEEDED and the columns.

    By position, since a row of a thousand is asked for twenty values, and by name that takes longer than all the rest.
    """

    def sees(since: str, who: str) -> bool:
        return versions.parse(since) <= version and audience.issuperset(filter(None, who.split(", ")))

    columns = [(name, column) for since, name, column, who in FIELDS if sees(since, who)]
    alike = [(name, value) for since, name, value, who in ALIKE if sees(since, who)]
    names = [*(name for name, _ in columns), *MADE, *(name for name, _ in alike)]
    given = [(f"f{n}", Any) for n in range(len(columns) + len(MADE))]
    same = [(f"f{n}", Any, value) for n, (_, value) in enumerate(alike, len(given))]
    rename = {f"f{n}": name for n, name in enumerate(names)}
    struct = msgspec.defstruct("Volume", [*given, *same], rename=rename, frozen=True, gc=False)
    positions = [fields.index(column) for column in (*NEEDED, *(column for _, column in columns))]
    return struct, operator.itemgetter(*positions)


@functools.lru_cache(maxsize=512)
def _links(base: str) -> tuple[str, str, str]:
    """The JSON of `links`, in the pieces that stand around the id."""
    root, _, project = base.rpartition("/v3")
    own, bookmark = (msgspec.json.encode(f"{url}/volumes/").decode()[:-1] for url in (base, root + project))
    return f'[{{"rel":"self","href":{own}', f'"}},{{"rel":"bookmark","href":{bookmark}', '"}]'


def _raw(value: Any) -> Any:
    """JSON that is text goes out as it is."""
    return msgspec.Raw(value) if isinstance(value, str) else value


def _more_metadata(row: Row, attached: Sequence[Row]) -> dict[str, str]:
    """The metadata with what the wire puts there beside it: whether it is read-only, and how it is attached."""
    found = row.metadata
    metadata: dict[str, str] = dict(msgspec.json.decode(found) if isinstance(found, str) else found)
    if row.readonly is not None:
        metadata["readonly"] = str(bool(row.readonly))
    if attached and attached[0].mode:
        metadata["attached_mode"] = attached[0].mode
    return metadata


def _attachment(request: Request, row: Row, attachment: Row) -> dict[str, Any]:
    shows_host = request.caller.is_admin or "service" in request.caller.roles
    return {
        "id": row.id,
        "attachment_id": attachment.id,
        "volume_id": row.id,
        "server_id": attachment.instance_uuid,
        "host_name": attachment.attached_host if shows_host else None,
        "device": attachment.mountpoint,
        "attached_at": attachment.attached_at or "",
    }
