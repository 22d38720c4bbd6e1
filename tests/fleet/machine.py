"""A machine of a fleet: processes in namespaces of their own, with their own network, names, process ids and view of
/etc, /var/lib, /run and /srv. Its first process does nothing but be there; when it is killed, the machine is off."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.fleet.network import Trouble, run

WAIT_S = 120.0
ROOT = Path(__file__).resolve().parents[2]
# What is not ours stays visible in directories that are veiled, and nothing that is written there reaches the disk.
SCRIPT = """
set -e
hostname "$2"
mount -t tmpfs run /run
mount -t tmpfs shm /dev/shm
mount -t tmpfs none /sys/fs/cgroup
mkdir -p /run/tmp /run/brickyard
chmod 1777 /run/tmp /dev/shm
veil() {
    mkdir -p "/run/real$1"
    mount --bind "$1" "/run/real$1"
    mount -t tmpfs veil "$1"
    ln -s "/run/real$1"/* "$1/"
}
veil /etc
veil /var/lib
rm -f /etc/hosts /etc/brickyard /var/lib/brickyard /var/lib/service
ln -s "$1/hosts" /etc/hosts
mkdir /etc/brickyard /var/lib/brickyard /var/lib/service
mount --bind "$1/etc" /etc/brickyard
mount --bind "$1/lib" /var/lib/brickyard
mount --bind "$1/lib" /var/lib/service
if [ -d "$3" ]; then
    mkdir -p /var/lib/brickyard/images
    mount --bind "$3" /var/lib/brickyard/images
fi
[ ! -e "$1/disk" ] || mount -o loop,nouuid "$1/disk" /srv
echo up
exec env --ignore-signal=CHLD sleep infinity
"""


@dataclass(slots=True)
class Part:
    """One of the services of a machine: `name` as in `systemctl`, and how it is started. `whole`: it ends with all
    processes that it has started."""

    name: str
    command: list[str]
    ready: str  # a command that succeeds when it serves; none: it says so on standard output
    whole: bool = False
    inherits: tuple[int, ...] = ()
    stop: int = signal.SIGTERM  # which signal ends it in order
    process: subprocess.Popen[bytes] | None = None

    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None


@dataclass(slots=True)
class Machine:
    name: str
    directory: Path
    images: Path | None = None
    parts: dict[str, Part] = field(default_factory=dict)
    shell: subprocess.Popen[bytes] | None = None
    pid: int = 0  # its first process, as we see it

    # on and off ---------------------------------------------------------------------------------------------------

    def is_on(self) -> bool:
        return self.shell is not None and self.shell.poll() is None

    def turn_on(self) -> None:
        words = ["machine", str(self.directory), self.name, str(self.images or "")]
        spaces = ["unshare", "-m", "-n", "-p", "-u", "-i", "--fork", "--mount-proc", "--kill-child"]
        with (self.directory / "log" / "machine").open("ab") as log:
            self.shell = subprocess.Popen(
                [*spaces, "sh", "-c", SCRIPT, *words],
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        assert self.shell.stdout is not None
        if self.shell.stdout.readline() != b"up\n":
            raise Trouble(f"{self.name} does not come up: {(self.directory / 'log' / 'machine').read_text()}")
        [first] = psutil.Process(self.shell.pid).children()
        self.pid = int(first.pid)

    def turn_off(self) -> None:
        """As a power cut of everything but the disk. Nothing of it is left when this returns."""
        if self.shell is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.shell.wait(WAIT_S)
        for part in self.parts.values():
            if part.process is not None:
                part.process.wait(WAIT_S)
        self.shell = None
        deadline = time.monotonic() + WAIT_S
        while (self.directory / "disk").exists() and run("losetup", "-j", str(self.directory / "disk")):
            if time.monotonic() > deadline:
                raise Trouble(f"the disk of {self.name} is still in use")
            time.sleep(0.05)

    # what runs there ----------------------------------------------------------------------------------------------

    def inside(self, *command: str) -> list[str]:
        """The command line that runs a command there."""
        environ = [
            f"PATH={ROOT}/.venv/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/run", "TMPDIR=/run/tmp",
            "BRICKYARD_STATE_DIR=/var/lib/brickyard", "BRICKYARD_CONFIG=/etc/brickyard/brickyard.conf",
            "BRICKYARD_URL=https://storage.example", "SSL_CERT_FILE=/etc/brickyard/ca.pem",
        ]  # fmt: skip
        spaces = ["nsenter", "-t", str(self.pid), "-m", "-n", "-p", "-u", "-i", "--wd=/"]
        return [*spaces, "env", "-i", *environ, *command]

    def run(self, *command: str, **more: str) -> str:
        return run(*self.inside(*command), **more)

    def start(self, name: str) -> None:
        """One of its parts, until it is ready; nothing where it runs."""
        part = self.parts[name]
        if part.runs():
            return
        out, log = self.directory / "log" / f"{name}.out", self.directory / "log" / name
        with out.open("wb") as said, log.open("ab") as errors:
            part.process = subprocess.Popen(
                self.inside(*part.command),
                stdout=said,
                stderr=errors,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=part.inherits,
            )
        deadline = time.monotonic() + WAIT_S
        while not self._ready(part, out):
            if not part.runs() or time.monotonic() > deadline:
                raise Trouble(f"{self.name}.{name} does not start: {log.read_text()[-3000:]}")
            time.sleep(0.1)

    def _ready(self, part: Part, out: Path) -> bool:
        if not part.ready:
            return out.stat().st_size > 0
        return subprocess.run(self.inside("sh", "-c", part.ready), capture_output=True, check=False).returncode == 0

    def end(self, name: str, signum: int) -> None:
        """A signal for one of its parts; return when that has ended, unless the signal only stops it."""
        part = self.parts[name]
        if not part.runs() or part.process is None:
            return
        signum = part.stop if signum == signal.SIGTERM else signum
        of_it = psutil.Process(part.process.pid).children(recursive=part.whole)
        for process in of_it:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signum)
        if signum != signal.SIGSTOP:
            part.process.send_signal(signal.SIGCONT)  # nsenter stands still with what it waits for
        if signum in (signal.SIGSTOP, signal.SIGCONT):
            return
        part.process.wait(WAIT_S)

    def state(self) -> str:
        if not self.is_on():
            return "off"
        return " ".join(f"{part.name}:{'runs' if part.runs() else 'down'}" for part in self.parts.values())


def say(text: str) -> None:
    print(text, flush=True, file=sys.stderr)
