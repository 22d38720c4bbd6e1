"""What tests of exports share: addresses on loopback, one for each process and host, and a client of QEMU's."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import psutil

from brickyard.core.bricks import Export
from brickyard.core.settings import Exports

FIRST, LAST = 10810, 10899


def address(number: int) -> str:
    """Of this process alone, so that no other one that tests beside it takes its ports."""
    pid = os.getpid()
    return f"127.{1 + pid // 65536 % 250}.{pid // 256 % 256}.{1 + (pid % 256 * 7 + number) % 250}"


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


def servers(directory: Path) -> list[psutil.Process]:
    """The processes that export bricks, with their state in a directory."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if words and words[0].endswith("qemu-nbd") and any(str(directory) in word for word in words):
            found.append(process)
    return found


def end(directory: Path) -> None:
    for process in servers(directory):
        process.kill()
    psutil.wait_procs(servers(directory), 60)
