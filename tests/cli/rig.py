"""A real service with a simulated hypervisor, and the real command that talks to it."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click.testing
from tests import ports

from brickyard.cli import main

BRICKYARD = str(Path(sys.executable).parent / "brickyard")
CONFIG = """
[DEFAULT]
enabled_backends = fast,bulk
host = h1
quota_gigabytes = -1
quota_volumes = -1
[host]
hypervisor = memory
vcpus = 32
memory_mib = 32768
labels = zone=nova,rack=r1
[fast]
volume_driver = raw
[bulk]
volume_driver = qcow2
"""
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Command:
    url: str

    def __call__(self, *words: str, code: int = 0, **environ: str) -> Ended:
        """The command in this process, which saves the start of Python."""
        done = click.testing.CliRunner().invoke(main.main, words, env=self._environ(**environ), prog_name="brickyard")
        assert done.exit_code == code, (words, done.exit_code, done.stdout, done.stderr, done.exception)
        return Ended(done.exit_code, done.stdout, done.stderr)

    def really(self, *words: str, code: int = 0, **environ: str) -> Ended:
        """The executable."""
        done = subprocess.run(
            [BRICKYARD, *words], capture_output=True, text=True, timeout=60, env=self._environ(**environ), check=False
        )
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return Ended(done.returncode, done.stdout, done.stderr)

    def on_a_terminal(self, columns: int, *words: str) -> list[str]:
        """What a terminal of that width shows, line by line, without colours."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execve(BRICKYARD, [BRICKYARD, *words], self._environ(TERM="xterm", COLUMNS=str(columns)))
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        shown = b""
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # the other side has closed it
                break
            if not part:
                break
            shown += part
        os.close(terminal)
        os.waitpid(pid, 0)
        return ESCAPES.sub("", shown.decode()).replace("\r", "").splitlines()

    def _environ(self, **more: str) -> dict[str, str]:
        return {**os.environ, "BRICKYARD_URL": self.url, "LC_ALL": "C.UTF-8", **more}


def where(directory: Path) -> tuple[str, ...]:
    return "--state-dir", str(directory / "state"), "--config-file", str(directory / "brickyard.conf")


def serve(directory: Path, config: str, log: Any) -> tuple[subprocess.Popen[bytes], str]:
    port = ports.one()
    (directory / "brickyard.conf").write_text(config)
    process = subprocess.Popen(
        [BRICKYARD, "serve", "--port", str(port), *where(directory)],
        stdout=subprocess.PIPE,
        stderr=log,
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    assert b"listens on" in first, first
    return process, f"http://127.0.0.1:{port}"
