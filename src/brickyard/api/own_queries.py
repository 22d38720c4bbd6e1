"""Query parameters of /v1: whose resources a list shows, and numbers within bounds."""

from __future__ import annotations

from collections.abc import Mapping

from brickyard.api.request import Request
from brickyard.core import errors


def project(request: Request) -> str | None:
    """The project whose resources a list shows; None, for all of them, when an administrator asks for all_projects."""
    if not request.flag("all_projects"):
        return request.caller.project_id
    if not request.caller.is_admin:
        raise errors.Forbidden("Only administrators may list the resources of all projects.")
    return None


def number(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """A whole number; Invalid names the bounds."""
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 12) or not least <= int(text) <= most:
        raise errors.Invalid(f"{name} is {text!r}; allowed: a whole number from {least} to {most}.", field=name)
    return int(text)
