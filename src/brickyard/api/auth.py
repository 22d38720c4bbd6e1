"""From a request to its caller: strategy `none` trusts everybody on loopback, `token` knows static tokens, `keystone`
asks the identity service."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from brickyard.core import errors
from brickyard.db import tokens
from brickyard.service.site import Caller, Identified, Site

NOBODY = "0" * 32  # user and project of requests that need no token, in the form that clients expect of ids
SERVICE = "service"  # the role of a static token that a service holds


def caller(site: Site, environ: Mapping[str, Any], url_project: str | None, request_id: str) -> Caller:
    """The caller; Unauthorized without a valid token where one is needed.

    Strategy `none`: an administrator, of the project in the URL or of a fixed one.
    """
    if site.settings.auth_strategy == "none":
        return Caller(NOBODY, url_project or NOBODY, ("admin", "member", "reader"), request_id, is_admin=True)
    found = site.identity.identify(environ) if site.identity else _static(site, environ.get("HTTP_X_AUTH_TOKEN"))
    if url_project is not None and url_project != found.project_id:
        raise errors.Invalid("Malformed request url: its project is not the project of the token.", field="project_id")
    known = Caller(
        found.user_id,
        found.project_id,
        found.roles,
        request_id,
        is_service=found.is_service,
        token=found.token,
        catalog=found.catalog,
    )
    return dataclasses.replace(known, is_admin=site.policy.allows("context_is_admin", known))


def _static(site: Site, token: str | None) -> Identified:
    """Whoever holds a token of our own."""
    if not token:
        raise errors.Unauthorized
    with site.db.read() as tx:
        row = tokens.find(tx, token)
    if row is None:
        raise errors.Unauthorized("This token is not known, or it has expired.")
    roles = tuple(sorted({*row.roles, *(implied for role in row.roles for implied in IMPLIED.get(role, ()))}))
    return Identified(row.user_id, row.project_id, roles, is_service=SERVICE in roles)


IMPLIED = {"admin": ("member", "reader"), "member": ("reader",)}
