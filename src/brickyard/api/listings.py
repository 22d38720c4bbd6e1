"""Query strings of lists: paging, sorting and filters, the same for every resource."""

from __future__ import annotations

import ast
import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from brickyard.api.request import Reply, Request, boolean
from brickyard.core import errors
from brickyard.db.database import Row
from brickyard.db.listing import COMPARE, Like, Query, Times

# What non-administrators may filter by, as the field's default resource_filters.json has it.
FILTERS: dict[str, tuple[str, ...]] = {
    "volume": (
        "name", "status", "metadata", "bootable", "migration_status", "availability_zone", "group_id", "size",
        "created_at", "updated_at", "consumes_quota",
    ),
    "backup": ("name", "status", "volume_id"),
    "snapshot": ("name", "status", "volume_id", "metadata", "availability_zone", "consumes_quota"),
    "group": ("name",),
    "group_snapshot": ("name", "status", "group_id"),
    "attachment": ("volume_id", "status", "instance_id", "attach_status"),
    "message": ("resource_uuid", "resource_type", "event_id", "request_id", "message_level"),
    "pool": ("name", "volume_type"),
    "volume_type": ("is_public", "extra_specs"),
}  # fmt: skip

# What everybody may filter by beside that, of resources that the file does not speak of.
UNLISTED: dict[str, tuple[str, ...]] = {
    "transfer": ("id", "name", "volume_id", "project_id", "no_snapshots"),
    "consistencygroup": ("name", "status"),
    "cgsnapshot": ("name", "status", "consistencygroup_id"),
}

# wire name → column, where they differ
COLUMNS: dict[str, dict[str, str]] = {
    "volume": {
        "display_name": "name",
        "size": "size_gib",
        "glance_metadata": "image_metadata",
        "consistencygroup_id": "group_id",  # an id is that of one group, whatever it is called
    },
    "cgsnapshot": {"consistencygroup_id": "group_id"},
    "snapshot": {"display_name": "name", "volume_size": "size_gib", "size": "size_gib"},
    "backup": {"display_name": "name", "size": "size_gib", "fail_reason": "fault"},
    "attachment": {"instance_id": "instance_uuid", "attach_status": "status"},
    "message": {"message_level": "level"},
}
PAGING = {"limit", "offset", "marker", "sort", "sort_key", "sort_dir", "all_tenants", "with_count", "list_volume"}
# filters that came with a microversion; before it they are ignored
SINCE = {
    "glance_metadata": "3.4",
    "group_id": "3.10",
    "created_at": "3.60",
    "updated_at": "3.60",
    "consumes_quota": "3.65",
}
SINCE_FOR_SNAPSHOTS = {**SINCE, "metadata": "3.22"}
SORT_SINCE = {
    ("snapshot", "name"): "3.30",
    ("backup", "name"): "3.37",
}
LIKE_SINCE = "3.34"
# what is the same for all of ours: a filter by it matches everything or nothing
CONSTANT: dict[str, Any] = {
    "replication_status": None,
    "consumes_quota": True,
}
MAX_OFFSET = 2**31 - 1
MAX_NUMBER = 2**63 - 1  # of a column
UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")  # NUL, and half of a surrogate pair


# volume_type_links, …
SINGULAR_LINKS = ("volume_types", "group_types", "groups", "group_snapshots", "consistencygroups", "cgsnapshots")
# of which all_tenants says yes whatever it says
BY_PRESENCE = ("attachment", "group", "group_snapshot", "consistencygroup", "cgsnapshot")
NEWEST_FIRST = (("created_at", "desc"),)


def query(request: Request, resource: str, default_sort: Sequence[tuple[str, str]] = NEWEST_FIRST) -> Query:
    """The Query of a list request; 400 names the parameter that is wrong."""
    params = request.query
    everywhere = request.caller.is_admin and "all_tenants" in params and _all_tenants(resource, params["all_tenants"])
    filters = _filters(request, resource)
    project = None if everywhere else request.caller.project_id
    if everywhere and "project_id" in filters:
        project = filters.pop("project_id")
    filters.pop("project_id", None)
    return Query(
        project_id=project,
        filters=filters,
        sort=_sort(request, resource) or default_sort,
        limit=min(_number(params, "limit", request.site.settings.max_limit), request.site.settings.max_limit),
        offset=_number(params, "offset", 0, MAX_OFFSET),
        marker=params.get("marker"),
    )


def wants_count(request: Request) -> bool:
    return request.since("3.45") and request.flag("with_count")


def reply(
    request: Request, query: Query, key: str, found: Sequence[Row], shown: list[Any], total: int | None = None
) -> Reply:
    """The body of a list, with the link to its next page where there may be one."""
    body: dict[str, Any] = {key: shown}
    if found and query.limit <= (total if total is not None else len(found)):
        rest = {k: v for k, v in request.query.items() if k not in ("marker", "offset")}
        href = f"{request.base}{request.path}?{urlencode({**rest, 'marker': found[-1].id})}"
        name = f"{key[:-1]}_links" if key in SINGULAR_LINKS else f"{key}_links"
        body[name] = [{"rel": "next", "href": href}]
    if total is not None:
        body["count"] = total
    return Reply(200, body)


def _all_tenants(resource: str, value: str) -> bool:
    return True if resource in BY_PRESENCE else boolean(value, "all_tenants")


def _number(params: Mapping[str, str], name: str, default: int, most: int | None = None) -> int:
    text = params.get(name)
    if text is None:
        return default
    try:
        number = int(text)
    except ValueError:
        raise errors.Invalid(f"{name} param must be an integer", field=name) from None
    if number < 0 or (most is not None and number > most):
        raise errors.Invalid(f"{name} param must be positive" + (f" and at most {most}" if most else ""), field=name)
    return number


def _sort(request: Request, resource: str) -> list[tuple[str, str]]:
    params = request.query
    if "sort" in params:
        if "sort_key" in params or "sort_dir" in params:
            raise errors.Invalid("sort cannot be used together with sort_key and sort_dir.", field="sort")
        pairs = [part.strip().partition(":")[::2] for part in params["sort"].split(",") if part.strip()]
    elif "sort_key" in params or "sort_dir" in params:
        pairs = [(params.get("sort_key", "created_at").strip(), params.get("sort_dir", "desc").strip())]
    else:
        return []
    columns = COLUMNS.get(resource, {})
    keys = []
    for name, direction in pairs:
        if (direction or "desc") not in ("asc", "desc"):
            raise errors.Invalid(f"Sort direction {direction!r} must be asc or desc.", field="sort_dir")
        since = SORT_SINCE.get((resource, name))
        if since is not None and not request.since(since):
            raise errors.Invalid(f"Sort key {name!r} came with microversion {since}.", field="sort")
        keys.append((columns.get(name, name), direction or "desc"))
    return keys


def _filters(request: Request, resource: str) -> dict[str, Any]:
    allowed = FILTERS.get(resource) or UNLISTED.get(resource, ())
    columns = COLUMNS.get(resource, {})
    since = SINCE_FOR_SNAPSHOTS if resource == "snapshot" else SINCE
    found: dict[str, Any] = {}
    unknown = []
    for given, value in request.query.items():
        if given in PAGING:
            continue
        like = given.endswith("~") and request.since(LIKE_SINCE)
        name = given[:-1] if like else given
        if name in since and not request.since(since[name]):
            continue
        if given not in allowed and given != "display_name" and not request.caller.is_admin:
            unknown.append(given)
        elif like:
            found[columns.get(name, name)] = Like(value)
        elif name not in CONSTANT or _value(name, value, strict=request.since("3.2")) != CONSTANT[name]:
            found[columns.get(name, name)] = _value(name, value, strict=request.since("3.2"))
    if unknown and request.since("3.31"):
        raise errors.Invalid(
            f"Invalid filters {', '.join(sorted(unknown))} are found in query options; "
            f"{resource} may be filtered by: {', '.join(allowed)}.",
            field=unknown[0],
        )
    return found


BOOLEANS = ("no_snapshots", "bootable", "multiattach", "is_public", "consumes_quota", "readonly")
MAPPINGS = ("metadata", "extra_specs", "glance_metadata")


def _value(name: str, text: str, *, strict: bool) -> Any:
    """What a filter compares with; `strict`: a boolean that is none is an error, and not false."""
    if name in BOOLEANS:
        try:
            return boolean(text, name)
        except errors.Invalid:
            if strict:
                raise
            return False
    if name in ("created_at", "updated_at"):
        return _times(name, text)
    if name in MAPPINGS:
        return _mapping(name, text)
    if name == "name":
        return text
    value = _comparable(name, _literal(text))
    if name == "size":
        return value if isinstance(value, int | list | tuple) else -1
    return value if value is None or isinstance(value, list | tuple) else text


def _times(name: str, text: str) -> Times:
    pairs = []
    for part in text.split(","):
        op, colon, moment = part.strip().partition(":")
        try:
            if not colon or op not in COMPARE:
                raise ValueError
            when = datetime.datetime.fromisoformat(moment.replace(" ", "+") if "T" in moment else moment)
            if when.tzinfo is not None:
                when = when.astimezone(datetime.UTC).replace(tzinfo=None)
        except (ValueError, OverflowError):
            raise errors.Invalid(
                f"{name} must look like op:time, with an ISO 8601 time and one of the operators {', '.join(COMPARE)}.",
                field=name,
            ) from None
        pairs.append((op, when.isoformat(timespec="microseconds")))
    return Times(tuple(pairs))


def _mapping(name: str, text: str) -> dict[str, Any]:
    """A dictionary as clients write it: {'a': 'b'}, or as JSON."""
    value = _literal(text)
    if not isinstance(value, dict) or not all(_storable(str(part)) for pair in value.items() for part in pair):
        raise errors.Invalid(f"{name} must look like {{'key': 'value'}}, and not {text!r}.", field=name)
    return value


def _comparable(name: str, value: Any) -> Any:
    """A value that a column can be compared with: no number that no column holds, and nothing nested in a list."""
    if isinstance(value, list | tuple):
        if not all(item is None or isinstance(item, int | float) or _storable(item) for item in value):
            raise errors.Invalid(f"{name} must be a value or a list of texts and numbers.", field=name)
        return [_comparable(name, item) for item in value]
    return -1 if isinstance(value, int) and abs(value) > MAX_NUMBER else value


def _storable(text: Any) -> bool:
    """Whether it is a text that every database can hold."""
    return isinstance(text, str) and not UNSTORABLE.search(text)


def _literal(text: str) -> Any:
    """A number, list or dictionary in the spelling of Python, which is what clients send; anything else as it is."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return text
