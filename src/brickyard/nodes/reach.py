"""The verbs of a node by which its bricks reach other hosts, and guests there."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Protocol

from brickyard.brick.exports import Exports
from brickyard.core import errors
from brickyard.core.bricks import Did, Export, Exported
from brickyard.nodes import copies, fullness


class Reach(Protocol):
    """A part of a node, which has the exports and the copies that are being made."""

    host: str
    exporting: Exports | None
    copies: copies.Copies
    watch: fullness.Watch

    @property
    def export_address(self) -> str | None:
        given = self.exporting.settings if self.exporting is not None else None
        return given.address if given is not None else None

    def export(self, backend: str, name: str, client: str, read_only: bool = False, nqn: str = "") -> Export:
        exporting = self.exporting
        if exporting is None:
            raise errors.Unavailable(f"Host {self.host} exports no bricks.")
        with self.copies.giving([copies.serial_of(name)], lambda: exporting.serves(name)):
            return exporting.make(Exported(backend, name, client, read_only, nqn))

    def unexport(self, backend: str, name: str, client: str) -> Did:
        return self.exporting.end(backend, name, client) if self.exporting is not None else Did.ALREADY

    def exports(self) -> list[Exported]:
        return self.exporting.every() if self.exporting is not None else []

    def hold_far(self, wanted: Mapping[str, Sequence[str]]) -> Did:
        return self.watch.hold_far(wanted)

    def unserved(self, backend: str, name: str) -> None:
        """GuestError while a brick is served to a guest of another host, which may be writing."""
        users = ", ".join(one.client for one in self.exports() if (one.backend, one.name) == (backend, name))
        if users:
            raise errors.GuestError(
                f"brick {name} is exported to guest {users} of another host: detach it there first; an export that no "
                "instance needs is ended by `brickyard audit --repair`"
            )

    def still(self, name: str) -> contextlib.AbstractContextManager[None]:
        """No guest of another host writes to the brick inside."""
        return self.exporting.still(name) if self.exporting is not None else contextlib.nullcontext()
