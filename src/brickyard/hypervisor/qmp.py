"""A conversation with the monitor of one QEMU: commands and events, with a time limit on each.

One connection per operation, under the guest's lock, because QEMU serves one client at a time. The socket is reached
through `/proc/self/fd`, so that a long state directory does not hit the 108 bytes that an address of a socket may have.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import qemu.qmp

from brickyard.core import clock, errors

T = TypeVar("T")
CONNECT_S = 10.0
COMMAND_S = 30.0
GREETINGS = 10
GONE = (qemu.qmp.QMPError, OSError, EOFError, asyncio.IncompleteReadError)

# Each failure reaches our caller as an exception with all that is known; a second report in the log helps nobody.
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)


class Refused(errors.GuestError):
    """QEMU refused a command."""


class Silent(errors.GuestError):
    """QEMU does not answer on its monitor."""


@contextlib.contextmanager
def socket_path(directory: Path, process: str) -> Iterator[str]:
    """A short name of the monitor's socket, valid inside the `with`; `process` is "self", or a pid for others."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/{process}/fd/{descriptor}/qmp.sock"
    finally:
        os.close(descriptor)


class Monitor:
    """One open connection. Use `connected`."""

    def __init__(self, name: str, runner: asyncio.Runner) -> None:
        self._client = qemu.qmp.QMPClient(name)
        self._runner = runner

    def connect(self, path: str) -> None:
        self._run("the greeting", self._connect(path), CONNECT_S)

    async def _connect(self, path: str) -> None:
        """An event that QEMU sends right between a connection and its first answer, as while disks are copied, is taken
        for that answer: then the next connection will do."""
        for left in reversed(range(GREETINGS)):
            try:
                return await self._client.connect(path)
            except qemu.qmp.ConnectError as failed:
                if left == 0 or not isinstance(failed.exc.__cause__, AssertionError):
                    raise

    def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """The answer of a command. Refused when QEMU says no, Silent when it says nothing."""
        try:
            return self._run(command, self._client.execute(command, dict(arguments or {})), COMMAND_S)
        except qemu.qmp.ExecuteError as refused:
            raise Refused(f"QEMU refused {command}: {refused}", kind=refused.error_class) from refused

    def wait(self, names: frozenset[str], device: str, *, timeout_s: float) -> str | None:
        """The name of the first such event about `device`, None if there is none in that time."""
        deadline = clock.monotonic() + timeout_s
        while True:
            remaining = deadline - clock.monotonic()
            if remaining <= 0:
                return None
            try:
                event = self._runner.run(asyncio.wait_for(self._client.events.get(), remaining))
            except TimeoutError:
                return None
            except GONE as failed:
                raise Silent(f"QEMU ended while it was waited for: {failed}") from failed
            about = event.get("data")
            if event["event"] in names and isinstance(about, dict) and about.get("device") == device:
                return str(event["event"])

    def close(self) -> None:
        with contextlib.suppress(TimeoutError, *GONE):
            self._runner.run(asyncio.wait_for(self._client.disconnect(), CONNECT_S))

    def _run(self, what: str, work: Coroutine[Any, Any, T], timeout_s: float) -> T:
        try:
            return self._runner.run(asyncio.wait_for(work, timeout_s))
        except qemu.qmp.ExecuteError:
            raise
        except TimeoutError as failed:
            raise Silent(
                f"QEMU did not answer {what} within {timeout_s:g} s; look at the load of this host"
            ) from failed
        except GONE as failed:
            raise Silent(f"QEMU does not answer {what} on its monitor: {failed or type(failed).__name__}") from failed


@contextlib.contextmanager
def connected(directory: Path, name: str) -> Iterator[Monitor]:
    """The monitor of the guest in `directory`. Silent when nobody answers there."""
    try:
        with socket_path(directory, "self") as path, asyncio.Runner() as runner:
            monitor = Monitor(name, runner)
            try:
                monitor.connect(path)
                yield monitor
            finally:
                monitor.close()
    except FileNotFoundError as failed:
        raise Silent(f"guest {name} has no monitor; boot it again") from failed
