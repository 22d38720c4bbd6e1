"""VDI images, for disks that are shared with VirtualBox.

qemu-img makes and converts VDI but cannot resize it: the map of blocks lies in front of the data and has no room to
grow. So a larger image is made next to the old one, the content is converted into it, and a rename swaps them. The
brick must not be open meanwhile; qemu-img's own lock on the image refuses when a guest has it.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from brickyard.brick import images, shell, steps
from brickyard.brick.driver import Progress
from brickyard.brick.files import FileDriver
from brickyard.core import errors

SIGNATURE_AT = 0x40
SIGNATURE = struct.pack("<I", 0xBEDA107F)
SIZE_AT = 0x170
HEADER_BYTES = 512
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Vdi:
    name: str = "vdi"
    thin: bool = True
    online_grow: bool = False
    multiattach: bool = False

    def check(self) -> None:
        shell.find("qemu-img")

    def make(self, path: str, size_bytes: int, progress: Progress | None = None) -> None:
        shell.run(["qemu-img", "create", "-q", "-f", "vdi", path, str(size_bytes)], timeout_s=TIMEOUT_S)

    def size_bytes(self, path: str, status: os.stat_result) -> int:
        with steps.opened(path, os.O_RDONLY) as descriptor:
            header = os.read(descriptor, HEADER_BYTES)
        if len(header) < HEADER_BYTES or header[SIGNATURE_AT : SIGNATURE_AT + 4] != SIGNATURE:
            raise errors.BrickMismatch(f"{path} is not a VDI image: move it out of the pool")
        return int(struct.unpack_from("<Q", header, SIZE_AT)[0])

    def grow(self, path: str, size_bytes: int, spare: str, progress: Progress | None = None) -> str:
        steps.make_empty(spare)
        self.make(spare, size_bytes)
        images.convert_into(path, "vdi", spare, "vdi", progress)
        return spare


def driver(directory: str) -> FileDriver:
    return FileDriver(directory, Vdi())
