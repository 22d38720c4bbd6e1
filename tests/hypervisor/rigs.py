"""Two hosts to run the same tests on: a simulated one, and this machine with real QEMU and a tiny Linux."""

from __future__ import annotations

import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from brickyard.brick import shell
from brickyard.hypervisor import memory, qemu
from brickyard.hypervisor.machine import Disk, Guest, Hypervisor

DISK_BYTES = 8 * 1024 * 1024
MEMORY_MIB = 96


@dataclass(frozen=True)
class Rig:
    """A host under test, with what the test itself does to it."""

    hypervisor: Hypervisor
    restarted: Callable[[], Hypervisor]  # a new service on the same host
    kill: Callable[[str], None]  # what `kill -9` does to a guest's process
    directory: Path
    template: Guest

    def disk(self, format: str = "raw") -> Disk:
        serial = str(uuid.uuid4())
        path = self.directory / f"volume-{serial}"
        if format == "raw":
            with path.open("wb") as file:
                file.truncate(DISK_BYTES)
        else:
            shell.run(["qemu-img", "create", "-q", "-f", format, str(path), str(DISK_BYTES)], timeout_s=30)
        return Disk(serial, str(path), format)

    def guest(self, *disks: Disk, name: str = "alder") -> Guest:
        id = str(uuid.uuid4())
        cmdline = f"{self.template.cmdline} brickyard.name={name} brickyard.id={id}"
        return replace(self.template, id=id, name=name, disks=disks, cmdline=cmdline)

    def until(self, id: str, text: str, *, timeout_s: float = 60) -> str:
        """Wait until the guest has printed `text`."""
        deadline = time.monotonic() + timeout_s
        while text not in (log := self.hypervisor.console(id)):
            assert time.monotonic() < deadline, f"the guest never printed {text!r}; it printed: {log}"
            time.sleep(0.05)
        return log

    def status(self, id: str) -> str | None:
        return next((found.status for found in self.hypervisor.list() if found.id == id), None)

    def serials(self, id: str) -> tuple[str, ...]:
        return next(found.serials for found in self.hypervisor.list() if found.id == id)

    def pid(self, id: str) -> int:
        return next(found.pid for found in self.hypervisor.list() if found.id == id and found.pid)


def memory_rig(directory: Path) -> Iterator[Rig]:
    first = memory.Memory()
    yield Rig(first, lambda: memory.Memory(first.guests), first.kill, directory, Guest("", "", 1, MEMORY_MIB))


def qemu_rig(directory: Path, image: Path) -> Iterator[Rig]:
    if shutil.which(qemu.BINARY) is None:
        pytest.skip(f"{qemu.BINARY} is not installed: apt install qemu-system-x86")
    state = directory / "state"

    def start() -> qemu.Qemu:
        return qemu.Qemu(state, accel="tcg")

    first = start()
    cmdline = (image / "cmdline").read_text().strip()
    kernel, initrd = str(image / "vmlinuz"), str(image / "initrd.img")
    template = Guest("", "", 1, MEMORY_MIB, kernel=kernel, initrd=initrd, cmdline=cmdline)

    def kill(id: str) -> None:
        pid = next(found.pid for found in first.list() if found.id == id)
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 60
        while any(found.pid for found in first.list() if found.id == id):
            assert time.monotonic() < deadline, f"process {pid} outlives SIGKILL"
            time.sleep(0.01)

    yield Rig(first, start, kill, directory, template)
    for found in first.list():
        first.destroy(found.id)
