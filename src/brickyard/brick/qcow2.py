"""qcow2 images: thin wherever they lie, made and grown by qemu-img, measured by reading their header."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from brickyard.brick import shell, steps
from brickyard.brick.driver import Progress
from brickyard.brick.files import FileDriver
from brickyard.core import errors

PREALLOCATIONS = ("off", "metadata", "falloc", "full")
CLUSTER_BYTES = tuple(512 << n for n in range(13))  # 512 bytes to 2 MiB
MAGIC = b"QFI\xfb"
HEADER = struct.Struct(">4sIQIIQI")  # magic, version, backing offset, backing size, cluster bits, size, encryption
TIMEOUT_S = 60.0
FULL_TIMEOUT_S = 3600.0  # preallocation=full writes every byte


@dataclass(frozen=True, slots=True)
class Qcow2:
    preallocation: str = "off"
    cluster_size_bytes: int = 65536
    name: str = "qcow2"
    online_grow: bool = True  # QEMU grows the image of a running guest; `grow` then finds it large enough
    multiattach: bool = False  # each QEMU would keep tables of its own in memory

    @property
    def thin(self) -> bool:
        return self.preallocation in ("off", "metadata")

    def check(self) -> None:
        shell.find("qemu-img")

    def make(self, path: str, size_bytes: int, progress: Progress | None = None) -> None:
        options = f"cluster_size={self.cluster_size_bytes},preallocation={self.preallocation}"
        command = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", options, path, str(size_bytes)]
        shell.run(command, timeout_s=self._timeout_s())

    def size_bytes(self, path: str, status: os.stat_result) -> int:
        with steps.opened(path, os.O_RDONLY) as descriptor:
            header = os.read(descriptor, HEADER.size)
        if len(header) < HEADER.size or not header.startswith(MAGIC):
            raise errors.BrickMismatch(f"{path} is not a qcow2 image: move it out of the pool")
        return int(HEADER.unpack(header)[5])

    def grow(self, path: str, size_bytes: int, spare: str, progress: Progress | None = None) -> str:
        command = ["qemu-img", "resize", "-q", f"--preallocation={self.preallocation}", "-f", "qcow2"]
        shell.run([*command, path, str(size_bytes)], timeout_s=self._timeout_s())
        return path

    def _timeout_s(self) -> float:
        return FULL_TIMEOUT_S if self.preallocation in ("falloc", "full") else TIMEOUT_S


def driver(directory: str, *, preallocation: str = "off", cluster_size_bytes: int = 65536) -> FileDriver:
    return FileDriver(directory, Qcow2(preallocation, cluster_size_bytes))
