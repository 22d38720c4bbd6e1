"""Writing and reading the content of a brick as a guest would, with patterns of one byte."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path
from typing import Any

from brickyard.brick.memory import MemoryDriver
from brickyard.core.bricks import Kind, Label

MIB = 1024 * 1024
SIZE = 8 * MIB


def volume(project: str = "demo", **fields: Any) -> Label:
    return Label(Kind.VOLUME, str(uuid.uuid4()), project, **fields)


def snapshot_of(label: Label) -> Label:
    return Label(Kind.SNAPSHOT, str(uuid.uuid4()), label.project, parent=label.id)


def fill(driver: Any, name: str, byte: int, offset: int = 0, length: int = MIB) -> None:
    connection = driver.open(name)
    inner = getattr(driver, "driver", driver)
    if isinstance(inner, MemoryDriver):
        inner.write(name, offset, bytes([byte]) * length)
    elif connection.format == "raw":
        with open(connection.path, "r+b") as file:
            file.seek(offset)
            file.write(bytes([byte]) * length)
    else:
        _qemu_io(connection, f"write -P {byte} {offset} {length}")


def holds(driver: Any, name: str, byte: int, offset: int = 0, length: int = MIB) -> bool:
    """True if every byte of the range is `byte`."""
    connection = driver.open(name)
    inner = getattr(driver, "driver", driver)
    if isinstance(inner, MemoryDriver):
        return inner.read(name, offset, length) == bytes([byte]) * length
    if connection.format == "raw":
        with open(connection.path, "rb") as file:
            file.seek(offset)
            return file.read(length) == bytes([byte]) * length
    return "verification failed" not in _qemu_io(connection, f"read -P {byte} {offset} {length}")


def _qemu_io(connection: Any, command: str) -> str:
    # A command that outlived its killed worker may still read the image; to read beside it takes no lock.
    beside = ["-r", "-U"] if command.startswith("read") else []
    argv = ["qemu-io", *beside, "-f", connection.format, "-c", command, connection.path]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    # A failed verification is an answer; any other failure means that the image is broken.
    assert done.returncode == 0 or "verification failed" in output, output
    return output


def strange_file(path: Path, format: str) -> None:
    """A file of SIZE bytes as somebody else made it, with threes in its first MiB."""
    subprocess.run(["qemu-img", "create", "-q", "-f", format, path, str(SIZE)], check=True)
    subprocess.run(["qemu-io", "-f", format, "-c", f"write -q -P 3 0 {MIB}", path], check=True)
