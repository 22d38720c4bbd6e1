"""What tests of exports share: addresses on loopback, one for each process and host, and a client of QEMU's."""

from __future__ import annotations

import contextlib
import functools
import secrets
import socket
import subprocess
import tempfile
from pathlib import Path

import psutil

from brickyard.core.bricks import Export
from brickyard.core.settings import Exports

FIRST, LAST = 10810, 10899
MARKER = 10998  # who listens there has the addresses
HOSTS = 16  # of one process


def address(number: int) -> str:
    """Of this process alone, so that no other one that tests beside it takes its ports."""
    assert number < HOSTS
    return f"{_mine()[0]}.{1 + number}"


@functools.cache
def _mine() -> tuple[str, int]:
    """A net of loopback that no other process has for as long as this one lives: its first three
    numbers, and the descriptor that holds it."""
    for _ in range(1000):
        net = f"127.{1 + secrets.randbelow(254)}.{secrets.randbelow(256)}"
        try:
            return net, socket.create_server((f"{net}.{1 + HOSTS}", MARKER)).detach()
        except OSError:
            continue
    raise AssertionError(f"port {MARKER} of every address of loopback is taken")


def here(number: int) -> Exports:
    return Exports(address(number), FIRST, LAST)


def client(export: Export, *commands: str, key: str | None = None, tls: bool = True, name: str = "") -> str:
    """What qemu-io says to these commands on an export, as its client or with another key; AssertionError where it may
    not."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "keys.psk").write_text(f"{export.client}:{key or export.key}\n")
        where = f"driver=nbd,server.type=inet,server.host={export.address},server.port={export.port}"
        secret = f"tls-creds-psk,id=tls,endpoint=client,dir={directory},username={export.client}"
        given = ["--object", secret] if tls else []
        image = f"{where},export={name or export.name}{',tls-creds=tls' if tls else ''}"
        words = [word for command in commands for word in ("-c", command)]
        done = subprocess.run(
            ["qemu-io", *given, "--image-opts", image, *words], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


def servers(directory: Path, program: str = "qemu-nbd") -> list[psutil.Process]:
    """The processes that export bricks, with their state in a directory; or those of another program."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words and program in Path(words[0]).name and any(str(directory) in word for word in words):
            found.append(process)
    return found


def end(directory: Path) -> None:
    """At once, and the guests that have their state there, too."""
    every = [*servers(directory, "qemu-system"), *servers(directory)]
    for process in every:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(every, 60)
