"""Errors as the log of a flow keeps them."""

from __future__ import annotations

from typing import Any

from brickyard.core import errors

KEPT = ("refusals", "pools")


def kept(error: errors.BrickyardError) -> dict[str, Any]:
    """The facts of an error that its log entry keeps: why others were refused, and the pools that are to blame."""
    return {name: error.facts[name] for name in KEPT if error.facts.get(name)}


def revived(data: dict[str, Any]) -> errors.BrickyardError:
    """The error of a log entry."""
    return errors.revived(str(data.get("type")), str(data.get("message", "")), kept_in(data))


def kept_in(data: dict[str, Any]) -> dict[str, Any]:
    return {name: data[name] for name in KEPT if data.get(name)}


def text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
