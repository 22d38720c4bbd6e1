"""The one door to outside programs: nothing else in the program starts a process for storage.

A command is a list of arguments and never a line for a shell. It runs with LC_ALL=C so that its output can be parsed,
in a process group of its own so that a time limit ends its children too, and with its stderr kept for the error.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import selectors
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from brickyard.brick import faults
from brickyard.core import clock, errors, spans

LOG = logging.getLogger(__name__)
PACKAGES = {
    "qemu-img": "qemu-utils",
    "qemu-nbd": "qemu-utils",
    "setpriv": "util-linux",
    "qemu-system-x86_64": "qemu-system-x86",
    "prlimit": "util-linux",
    "setsid": "util-linux",
    "dmsetup": "dmsetup",
    "thin_delta": "thin-provisioning-tools",
    "lvm": "lvm2",
    "wipefs": "util-linux",
    "blkdiscard": "util-linux",
    "blockdev": "util-linux",
    "lsblk": "util-linux",
    "modprobe": "kmod",
}
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OUTPUT_BYTES_MAX = 64 * 1024 * 1024
# The second keeps LVM from telling about each descriptor that it inherits: locks are among them, on purpose.
# Each thread of a tool reserves address space to allocate in, which is limited: without MALLOC_ARENA_MAX, a busy
# `qemu-img convert` ends now and then because it can start no thread.
ENVIRONMENT = {"LC_ALL": "C", "LVM_SUPPRESS_FD_WARNINGS": "1", "MALLOC_ARENA_MAX": "2"}
READY_PAUSE_S = 0.01
TIMED_OUT = -1  # the return code in a ToolFailed that a time limit caused

_held = threading.local()


@functools.cache
def find(program: str) -> str:
    """The absolute path of a program, looked for once."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:{SEARCH_PATH}")
    if found is None:
        package = PACKAGES.get(program, program)
        raise errors.BrickError(
            f"{program} is not installed: install package {package}, for example apt install {package}"
        )
    return found


@contextlib.contextmanager
def holding(descriptor: int) -> Iterator[None]:
    """Let commands of this thread inherit `descriptor`, a lock.

    When this process is killed its command lives on for a moment. With the lock inherited, whoever repeats the verb
    waits until that command has ended, and so the two never write to the same file.
    """
    before: tuple[int, ...] = getattr(_held, "descriptors", ())
    _held.descriptors = (*before, descriptor)
    try:
        yield
    finally:
        _held.descriptors = before


def run(
    argv: Sequence[str], *, timeout_s: float, input: str | None = None, watch: Callable[[str], None] | None = None
) -> str:
    """Run a command and return its stdout. ToolFailed on a status that is not 0, or when it takes too long.

    `watch` sees the output piece by piece while the command runs.
    """
    command = [find(argv[0]), *argv[1:]]
    # What it works on stands in the log; some arguments are nobody's business.
    words = argv[:2] if argv[1:] and argv[1].isalpha() else argv[:1]
    with faults.step(f"run {' '.join(argv[:2])}"), spans.of(f"run {' '.join(words)}", program=argv[0]):
        return _run(command, timeout_s, input, watch)


def _run(command: list[str], timeout_s: float, input: str | None, watch: Callable[[str], None] | None) -> str:
    # Files in memory for stdin and stderr: neither side can block the other, whatever the sizes.
    started = clock.monotonic()
    with _memory(input or "") as stdin, _memory("") as stderr:
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **ENVIRONMENT},
            process_group=0,
            pass_fds=getattr(_held, "descriptors", ()),
        )
        try:
            output = _output(process, clock.monotonic() + timeout_s, watch)
        except TimeoutError:
            reason = f"stopped after {timeout_s:g} s; look at the load of the host, then repeat"
            raise errors.ToolFailed(command, TIMED_OUT, reason) from None
        finally:
            _end(process)
            line = {"command": command, "status": process.returncode, "seconds": round(clock.monotonic() - started, 3)}
            LOG.debug("command has ended", extra=line)
        if process.returncode != 0:
            stderr.seek(0)
            message = stderr.read(OUTPUT_BYTES_MAX).decode(errors="replace")
            failed = errors.ToolFailed(command, process.returncode, message)
            if "No space left on device" in message:
                raise errors.NoSpace(
                    f"{failed.message}: free space in the pool or make it larger, then repeat"
                ) from failed
            raise failed
        return output


@contextlib.contextmanager
def serving(argv: Sequence[str], *, ready: Callable[[], bool], timeout_s: float) -> Iterator[None]:
    """Run a command beside the block, which begins when `ready` and tells it to end; it is killed when the block fails,
    or this thread ends. ToolFailed if it ends before it is ready, or is not ready in time."""
    command = [find("setpriv"), "--pdeathsig", "KILL", find(argv[0]), *argv[1:]]
    with faults.step(f"run {argv[0]}"), _memory("") as stdin, _memory("") as stderr:
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, **ENVIRONMENT},
            process_group=0,
            pass_fds=getattr(_held, "descriptors", ()),
        )
        try:
            deadline = clock.monotonic() + timeout_s
            while not ready():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(READY_PAUSE_S)
                if process.returncode is not None or clock.monotonic() > deadline:
                    stderr.seek(0)
                    said = stderr.read(OUTPUT_BYTES_MAX).decode(errors="replace")
                    status = TIMED_OUT if process.returncode is None else process.returncode
                    raise errors.ToolFailed(command, status, said or f"not ready after {timeout_s:g} s")
            yield
            with contextlib.suppress(subprocess.TimeoutExpired):  # it may have something to put away
                process.wait(timeout_s)
        finally:
            _end(process)


def _memory(content: str) -> IO[bytes]:
    file = os.fdopen(os.memfd_create("shell"), "w+b", buffering=0)
    if content:
        file.write(content.encode())
        file.seek(0)
    return file


def _output(process: subprocess.Popen[bytes], deadline: float, watch: Callable[[str], None] | None) -> str:
    """Everything the command writes to stdout, until it closes it and has ended."""
    assert process.stdout is not None
    pieces, total = [], 0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            remaining = deadline - clock.monotonic()
            if remaining <= 0 or not selector.select(remaining):
                raise TimeoutError
            piece = os.read(process.stdout.fileno(), 65536)
            if not piece:
                break
            total += len(piece)
            if total > OUTPUT_BYTES_MAX:
                raise errors.ToolFailed(process.args, TIMED_OUT, "it writes too much")  # type: ignore[arg-type]
            pieces.append(piece)
            if watch is not None:
                watch(piece.decode(errors="replace"))
    try:
        process.wait(max(0.001, deadline - clock.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return b"".join(pieces).decode(errors="replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the group of a command that has not ended by itself; close our end of its output."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):  # it ended between the two lines
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.stdout is not None
    process.stdout.close()
