"""Boot the test guest and run commands in it.

scripts/guest build                      build what is missing (a minute or two, as root)
scripts/guest run [options] -- COMMAND   boot, run, power off; the exit status is the command's
scripts/guest start NAME [options]       boot one that stays
scripts/guest exec NAME -- COMMAND       run in it; this tree is at the same path, read-only
scripts/guest stop NAME                  end it
scripts/guest um [options] -- COMMAND    as run, with a kernel that is a process: quicker where there is no KVM,
                                         for tests of LVM, files and power cuts (see user_mode.py); one processor

Options: --disks N (default 4), --disk-mib MIB (1024), --memory MIB (1536), --cpus N (2), --timeout SECONDS (3600).
The disks are /dev/vdb, /dev/vdc and so on, empty, with the serials disk1, disk2 and so on, and forgotten afterwards.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import build
import user_mode

BOOT_S = 300
ROOM = Path(os.environ.get("XDG_RUNTIME_DIR", tempfile.gettempdir())) / f"brickyard-guests-{os.getuid()}"


class GuestDied(Exception):
    """The guest ended, or did not come up; the message has the end of its console."""


class Guest:
    """One running guest. `directory` holds its disks, its socket, its console and its process id."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @classmethod
    def boot(
        cls, directory: Path, *, disks: int = 4, disk_mib: int = 1024, memory_mib: int = 1536, cpus: int = 2
    ) -> Guest:
        """Start it and return at once; `run` waits until it is up."""
        image = build.built()
        directory.mkdir(parents=True)
        guest = cls(directory)
        argv = [
            "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "q35,usb=off", "-accel", os.environ.get("BRICKYARD_GUEST_ACCEL", "tcg,thread=multi"),
            "-cpu", "max", "-smp", str(cpus), "-m", str(memory_mib),
            "-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd.img"),
            "-append", f"console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable guest_share={build.PROJECT}",
            "-serial", f"file:{directory / 'console'}",
            "-drive", f"file={image / 'root.img'},format=raw,if=none,id=root,snapshot=on,cache=unsafe",
            "-device", "virtio-blk-pci,drive=root",
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,path={directory / 'agent'},server=on,wait=off",
            "-device", "virtserialport,chardev=agent,name=brickyard.agent",
            "-fsdev", f"local,id=share,path={build.PROJECT},security_model=none,readonly=on,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=share,mount_tag=share",
            "-device", "virtio-rng-pci",
            "-pidfile", str(directory / "pid"), "-daemonize",
        ]  # fmt: skip
        for number in range(1, disks + 1):
            path = directory / f"disk{number}"
            with open(path, "wb") as file:
                file.truncate(disk_mib * 1024 * 1024)
            argv += ["-drive", f"file={path},format=raw,if=none,id=d{number},cache=unsafe,discard=unmap"]
            argv += ["-device", f"virtio-blk-pci,drive=d{number},serial=disk{number}"]
        started = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": str(directory)})  # fmt: skip # noqa: E501
        if started.returncode != 0:
            raise GuestDied(started.stderr)
        return guest

    def run(
        self, argv: Sequence[str], out: Callable[[str], object], *, env: dict[str, str] | None = None, timeout_s: int
    ) -> int:
        """Run a command in the tree's directory, as root; `out` gets what it prints. Its exit status."""
        with self._connected() as lines:
            lines.send({"argv": list(argv), "env": env or {}, "timeout_s": timeout_s})
            for message in lines.read(timeout_s + 60):
                if "out" in message:
                    out(message["out"])
                elif "exit" in message:
                    return int(message["exit"])
        raise self._died("it ended while the command ran")

    def stop(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            os.kill(int((self.directory / "pid").read_text()), signal.SIGTERM)
        shutil.rmtree(self.directory, ignore_errors=True)

    @contextlib.contextmanager
    def _connected(self) -> Iterator[_Lines]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.directory / "agent"))
            lines = _Lines(connection)
            up = self.directory / "up"
            if not up.exists():
                if next(lines.read(BOOT_S), None) is None:
                    raise self._died("it did not come up")
                up.touch()
            yield lines

    def _died(self, what: str) -> GuestDied:
        console = self.directory / "console"
        tail = console.read_text(errors="replace")[-2000:] if console.exists() else ""
        return GuestDied(f"guest: {what}; the end of its console:\n{tail}")


class _Lines:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def send(self, message: dict[str, object]) -> None:
        self.connection.sendall(json.dumps(message).encode() + b"\n")

    def read(self, timeout_s: float) -> Iterator[dict[str, object]]:
        """The messages until the guest is gone; TimeoutError when none comes for so long."""
        left = b""
        self.connection.settimeout(timeout_s)
        while piece := self.connection.recv(65536):
            left += piece
            while b"\n" in left:
                line, left = left.split(b"\n", 1)
                yield json.loads(line)


def main(arguments: list[str]) -> int:
    own, command = arguments, []
    if "--" in arguments:
        at = arguments.index("--")
        own, command = arguments[:at], arguments[at + 1 :]
    parser = argparse.ArgumentParser(
        "scripts/guest", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("verb", choices=["build", "run", "start", "exec", "stop", "um"])
    parser.add_argument("name", nargs="?", default=f"run-{os.getpid()}")
    for name, default in (("disks", 4), ("disk-mib", 1024), ("memory", 1536), ("cpus", 2), ("timeout", 3600)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args(own)
    if given.verb in ("run", "exec", "um") and not command:
        parser.error("a command is needed, after --")
    if given.verb == "build":
        print(build.built())
        return 0
    if given.verb == "um":
        own = {name: value for name, value in os.environ.items() if name.startswith("BRICKYARD_")}
        quick = user_mode.Guest(disks=given.disks, disk_mib=given.disk_mib, memory_mib=given.memory)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        return quick.run(command, lambda text: print(text, end="", flush=True), env=own, timeout_s=given.timeout)
    directory = ROOM / given.name
    if given.verb in ("run", "start"):
        if directory.exists():
            parser.error(f"there is a guest {given.name} already; end it with: scripts/guest stop {given.name}")
        began = time.monotonic()
        guest = Guest.boot(directory, disks=given.disks, disk_mib=given.disk_mib, memory_mib=given.memory, cpus=given.cpus)  # fmt: skip # noqa: E501
    elif not directory.exists():
        parser.error(f"there is no guest {given.name}; boot one with: scripts/guest start {given.name}")
    else:
        guest = Guest(directory)
    if given.verb == "stop":
        guest.stop()
        return 0
    if given.verb == "start":
        guest.run(["true"], print, timeout_s=60)
        print(f"guest {given.name} is up after {time.monotonic() - began:.0f} s", file=sys.stderr)
        return 0
    try:
        status = guest.run(command, lambda text: print(text, end="", flush=True), timeout_s=given.timeout)
        return status if status >= 0 else 128 - status
    finally:
        if given.verb == "run":
            guest.stop()


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except GuestDied as died:
        sys.exit(str(died))
