"""Names of pools on the wire: `host@backend#pool`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from brickyard.core import errors


class PoolName(NamedTuple):
    host: str
    backend: str  # the section of the configuration
    pool: str

    def __str__(self) -> str:
        return f"{self.host}@{self.backend}#{self.pool}"

    @property
    def service(self) -> str:
        """host@backend: the name of the backend in `volume_backends` and of its service on the wire."""
        return f"{self.host}@{self.backend}"


PLACE = ("path", "volume_group", "thin_pool")
SERVICE_ONLY = ("made", "serials")  # options that no driver takes: whether we made it, and the serials of its devices


def place(options: Mapping[str, Any]) -> dict[str, Any]:
    """Where the bricks of a backend lie, out of its options: path, or devices and volume group."""
    found: dict[str, Any] = {name: options[name] for name in PLACE if options.get(name)}
    for name in ("devices", "serials"):
        if options.get(name):
            found[name] = [one.strip() for one in str(options[name]).split(",") if one.strip()]
    return found


def parse(name: str) -> PoolName:
    host, at, rest = name.partition("@")
    backend, hash_, pool = rest.partition("#")
    if not (host and at and backend and hash_ and pool):
        raise errors.Invalid(f"{name!r} is not a pool: it must look like host@backend#pool", field="host")
    return PoolName(host, backend, pool)
