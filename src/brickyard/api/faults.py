"""Errors on the wire: one JSON object, whose key follows from the status."""

from __future__ import annotations

from typing import Any

from brickyard.core import errors

KEYS = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    501: "notImplemented",
    503: "serviceUnavailable",
}


def v3(status: int, message: str) -> dict[str, Any]:
    """The body of Block Storage v3."""
    fault: dict[str, Any] = {"code": status, "message": message}
    if status == 413:
        fault["retryAfter"] = "0"
    return {KEYS.get(status, "computeFault"): fault}


def own(status: int, message: str, error: BaseException | None = None) -> dict[str, Any]:
    """The body of our own API: what is wrong, the field where there is one, and the refusals of a placement."""
    fault: dict[str, Any] = {"code": status, "kind": type(error).__name__ if error else "Error", "message": message}
    if isinstance(error, errors.Invalid) and error.field:
        fault["field"] = error.field
    if isinstance(error, errors.BrickyardError) and error.facts.get("refusals"):
        fault["refusals"] = error.facts["refusals"]
    return {"error": fault}
