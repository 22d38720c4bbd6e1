"""From a request to its caller: strategy `none` trusts everybody on loopback, `token` knows static tokens."""

from __future__ import annotations

from collections.abc import Mapping

from brickyard.core import errors
from brickyard.db import tokens
from brickyard.service.site import Caller, Site

NOBODY = "0" * 32  # user and project of requests that need no token, in the form that clients expect of ids


def caller(site: Site, headers: Mapping[str, str], url_project: str | None, request_id: str) -> Caller:
    """The caller; Unauthorized without a valid token where one is needed.

    Strategy `none`: an administrator, of the project in the URL or of a fixed one.
    """
    if site.settings.auth_strategy == "none":
        return Caller(NOBODY, url_project or NOBODY, ("admin", "member", "reader"), request_id, is_admin=True)
    token = headers.get("X-AUTH-TOKEN")
    if not token:
        raise errors.Unauthorized
    with site.db.read() as tx:
        row = tokens.find(tx, token)
    if row is None:
        raise errors.Unauthorized("This token is not known, or it has expired.")
    if url_project is not None and url_project != row.project_id:
        raise errors.Invalid("Malformed request url: its project is not the project of the token.", field="project_id")
    roles = tuple(sorted({*row.roles, *(implied for role in row.roles for implied in IMPLIED.get(role, ()))}))
    return Caller(row.user_id, row.project_id, roles, request_id, is_admin="admin" in roles)


IMPLIED = {"admin": ("member", "reader"), "member": ("reader",)}
