"""What serves an exported brick: a qemu-nbd that outlives the service, or for simulated guests nobody."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Protocol

from brickyard.brick import direct, processes, shell
from brickyard.core import clock, errors
from brickyard.core.bricks import Connection, Exported

READY_PAUSE_S = 0.05
START_S, TERMINATE_S, KILL_S, FREEZE_S, CLOSE_S = 30.0, 5.0, 10.0, 30.0, 60.0
CONNECTIONS = "8"  # a client that lost its connection makes another one before the old one is known to be dead
PID_FILE = b"--pid-file"


class Server(Protocol):
    """`at` is the directory of one export, with its key in keys.psk. Every verb may be repeated."""

    def start(self, at: Path, exported: Exported, found: Connection, address: str, port: int) -> None:
        """Serve it, which nobody does yet. ToolFailed when it cannot be."""

    def runs(self, at: Path) -> bool: ...

    def end(self, at: Path) -> None: ...

    def close(self, at: Path) -> None:
        """End it once all that it was told is written. BrickError when that takes too long; it may end yet."""

    def freeze(self, at: Path) -> None:
        """Nothing is served, and nothing written, until `thaw`."""

    def thaw(self, at: Path) -> None: ...

    def found(self, directory: Path) -> list[Path]:
        """Each export below a directory that is served, whether or not it is there still."""


class Nbd:
    """By NBD over TLS, by a process for each."""

    def start(self, at: Path, exported: Exported, found: Connection, address: str, port: int) -> None:
        (at / "pid").unlink(missing_ok=True)
        shell.run(
            [
                *("qemu-nbd", "--fork", PID_FILE.decode(), str(at / "pid"), "--persistent", "--shared", CONNECTIONS),
                *("--bind", address, "--port", str(port), "--export-name", exported.name),
                *("--object", f"tls-creds-psk,id=tls,endpoint=server,dir={str(at).replace(',', ',,')}"),
                *("--tls-creds", "tls", "--aio", "threads", "--discard", "unmap"),
                *("--cache", "none" if direct.is_possible(found.path) else "writeback"),
                *(["--read-only"] if exported.read_only else []),
                *("--format", found.format, found.path),
            ],
            timeout_s=START_S,
        )

    def runs(self, at: Path) -> bool:
        """One that a process which has died was about to start is waited for: it writes its pid file when it serves."""
        deadline_s = clock.monotonic() + START_S
        while processes.noted(at / "pid", _marks(at)) is None:
            if not processes.search(_marks(at)):
                return processes.noted(at / "pid", _marks(at)) is not None
            if clock.monotonic() > deadline_s:
                raise errors.BrickError(f"the export {at.name} does not begin to serve; look at its storage")
            time.sleep(READY_PAUSE_S)
        return True

    def end(self, at: Path) -> None:
        """Also one that is only about to be started, and forks meanwhile."""
        marks = _marks(at)
        while pids := processes.search(marks):
            for pid in pids:
                processes.thaw(pid, marks)
                if not processes.end(pid, marks, terminate_s=TERMINATE_S, kill_s=KILL_S):
                    raise errors.BrickError(f"process {pid}, the export {at.name}, does not end; look at its storage")

    def close(self, at: Path) -> None:
        marks = _marks(at)
        for pid in processes.search(marks):
            if not processes.ask_to_end(pid, marks, timeout_s=CLOSE_S):
                raise errors.BrickError(f"the export {at.name} does not end within {CLOSE_S:g} s; look at its storage")

    def freeze(self, at: Path) -> None:
        marks = _marks(at)
        pid = processes.find(at / "pid", marks)
        if pid is not None and not processes.freeze(pid, marks, timeout_s=FREEZE_S) and processes.has(pid, marks):
            raise errors.BrickError(f"the export {at.name} runs on for {FREEZE_S:g} s; look at the load of this host")

    def thaw(self, at: Path) -> None:
        marks = _marks(at)
        pid = processes.find(at / "pid", marks)
        if pid is not None:
            processes.thaw(pid, marks)

    def found(self, directory: Path) -> list[Path]:
        every = [processes.words(pid) for pid in processes.all_pids()]
        named = [Path(os.fsdecode(said[said.index(PID_FILE) + 1])).parent for said in every if PID_FILE in said[:-1]]
        return [at for at in named if at.parent == directory]


class Simulated:
    """By nobody: simulated guests open nothing. What it serves ends with this object."""

    def __init__(self) -> None:
        self.served: set[Path] = set()

    def start(self, at: Path, exported: Exported, found: Connection, address: str, port: int) -> None:
        self.served.add(at)

    def runs(self, at: Path) -> bool:
        return at in self.served

    def end(self, at: Path) -> None:
        self.served.discard(at)

    def close(self, at: Path) -> None:
        self.end(at)

    def freeze(self, at: Path) -> None:
        """It never writes."""

    def thaw(self, at: Path) -> None:
        """It never stood still."""

    def found(self, directory: Path) -> list[Path]:
        return [at for at in self.served if at.parent == directory]


def _marks(at: Path) -> processes.Marks:
    return ((PID_FILE, os.fsencode(at / "pid")),)
