"""Names of pools on the wire: `host@backend#pool`."""

from __future__ import annotations

from typing import NamedTuple

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


def parse(name: str) -> PoolName:
    host, at, rest = name.partition("@")
    backend, hash_, pool = rest.partition("#")
    if not (host and at and backend and hash_ and pool):
        raise errors.Invalid(f"{name!r} is not a pool: it must look like host@backend#pool", field="host")
    return PoolName(host, backend, pool)
