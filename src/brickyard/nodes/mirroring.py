"""The verbs of a node by which a disk of a running guest moves to another brick, of this host or of another one."""

from __future__ import annotations

from typing import Protocol

from brickyard.brick.driver import Progress
from brickyard.core.bricks import Did
from brickyard.hypervisor import machine
from brickyard.nodes import verbs


class Mirroring(Protocol):
    """A part of a node, which has the hypervisor and opens bricks."""

    def _hypervisor(self) -> machine.Hypervisor: ...

    def _disk(self, disk: verbs.BrickDisk) -> machine.Disk: ...

    def mirror_disk(self, id: str, disk: verbs.BrickDisk, progress: Progress | None = None) -> Did:
        return self._hypervisor().mirror(id, self._disk(disk), progress)

    def still_disk(self, id: str, serial: str) -> Did:
        return self._hypervisor().still(id, serial)

    def pivot_disk(self, id: str, disk: verbs.BrickDisk) -> Did:
        return self._hypervisor().pivot(id, self._disk(disk))

    def unmirror_disk(self, id: str, serial: str) -> Did:
        return self._hypervisor().unmirror(id, serial)
