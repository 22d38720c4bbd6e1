"""The guest's root under a kernel that is an ordinary process (User Mode Linux), for long runs without KVM.

An emulated guest translates every instruction; here programs run on the processor itself, and only their system calls
are caught. It is Debian's own kernel 6.1 with the same device-mapper, XFS and ext4, but it has one processor and no
PCI, so what needs those runs in the emulated guest only.

Such a kernel can lose the signal of its timer: one that comes while the handler of the last one is at work is forgotten
(`unblock_signals`), and as each timer is set by the one before, time in the guest then stands still for ever. One more
signal than was asked for does no harm, so the guest gets one each second. Should it stand still for all that, it ends.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import build

PACKAGE = "user-mode-linux"
MODULES = "loop dm_mod dm_log_writes dm_snapshot dm_thin_pool dm_raid"
ROOM_BYTES = 8 * 1024**3
BEAT_S = 1.0
STILL_S = 300.0  # a guest that is alive says so every five seconds; its boot has as long

# The first program of all: it stands in a directory of this machine, and goes on in the guest's root.
FIRST = """\
#!/bin/busybox sh
busybox mount -t ext4 -o noinit_itable /dev/ubda /root
busybox mkdir -p /root/lib/modules
busybox mount -t hostfs -o {modules} none /root/lib/modules
busybox mount -t hostfs -o {room} none /root/mnt
exec busybox chroot /root /bin/bash /mnt/second
"""
SECOND = """\
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/brickyard/site-packages/bin
export HOME=/root LC_ALL=C.UTF-8 BRICKYARD_GUEST=1 PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH={project}/src:/opt/brickyard/site-packages
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for at in /tmp /run /dev/shm; do mkdir -p $at; mount -t tmpfs -o size=60% tmpfs $at; done
mkdir -p /dev/pts {project}
mount -t devpts devpts /dev/pts
mount -t hostfs -o ro,{project} none {project}
ip link set lo up
dmesg -n 1
mkdir -p /run/udev/rules.d
cp /mnt/60-ubd.rules /run/udev/rules.d
/lib/systemd/systemd-udevd --daemon
modprobe -a {wanted}
udevadm trigger --action=add --subsystem-match=block
udevadm settle --timeout=60
while sleep 5; do : >/mnt/alive; done </dev/null >/dev/null 2>&1 &
cd {project}
stty -F /dev/tty0 -opost
env {command} </dev/null >/dev/tty0 2>&1
echo $? > /mnt/status
sync
exec python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321FEDC)'
"""
# A disk is called by its serial as those of the emulated guest are.
RULES = """\
KERNEL!="ubd[a-z]", GOTO="end"
ATTR{serial}=="disk?*", ENV{ID_SERIAL}="$attr{serial}", SYMLINK+="disk/by-id/virtio-$attr{serial}"
LABEL="end"
"""


def kernel() -> Path:
    """The directory with Debian's kernel `linux` and its `modules`, fetched where they are missing."""
    target = build.cache().parent / PACKAGE
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f"{PACKAGE}-", dir=target.parent) as work:
            _run("apt-get", "download", "-qq", PACKAGE, cwd=work)
            [package] = Path(work).glob("*.deb")
            _run("dpkg-deb", "-x", str(package), f"{work}/x")
            modules, made = Path(work, "lib", "modules"), Path(work, "made")
            made.mkdir()
            modules.parent.mkdir()
            shutil.move(Path(work, "x/usr/lib/uml/modules"), modules)
            for version in modules.iterdir():
                _run("depmod", "-b", work, version.name)
            shutil.move(modules, made / "modules")
            shutil.move(Path(work, "x/usr/bin/linux.uml"), made / "linux")
            made.rename(target)
    return target


class Guest:
    """One run of a command: it boots, runs, ends. Its memory and its disks are files, which nobody needs afterwards."""

    def __init__(
        self, *, disks: int = 4, disk_mib: int = 1024, memory_mib: int = 1536, processor: int | None = None
    ) -> None:
        self.disks, self.disk_mib, self.memory_mib = disks, disk_mib, memory_mib
        self.processor = processor  # the only one of this machine that it runs on, counted round; None: any
        self.process: subprocess.Popen[str] | None = None

    def run(
        self, argv: Sequence[str], out: Callable[[str], object], *, env: dict[str, str] | None = None, timeout_s: int
    ) -> int:
        """Run a command in the tree's directory, as root; `out` gets what it prints. Its exit status, 1 if it has none.
        All of it is one group of processes: the kernel, and one for each program in it."""
        with tempfile.TemporaryDirectory(prefix="brickyard-um-", dir=_quickest()) as directory:
            room, environ = Path(directory), {**os.environ, "TMPDIR": directory}
            kernel_argv = self._argv(room, [*(f"{name}={value}" for name, value in (env or {}).items()), *argv])
            self.process = subprocess.Popen(
                kernel_argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=environ, text=True, errors="replace", start_new_session=True,
            )  # fmt: skip
            if self.processor is not None:
                # Kernel and program run in turns; to wake each other on another processor costs more than the turn.
                usable = sorted(os.sched_getaffinity(0))
                os.sched_setaffinity(self.process.pid, {usable[self.processor % len(usable)]})
            late = threading.Timer(timeout_s, self.stop)
            late.start()
            awake, over = threading.Event(), threading.Event()
            heart = threading.Thread(target=self._beat, args=(room, awake, over, out), daemon=True)
            heart.start()
            try:
                assert self.process.stdout is not None
                for line in self.process.stdout:
                    awake.set()  # what has a console has a timer as well; before, its signal would end the kernel
                    out(line)
            finally:
                over.set()
                late.cancel()
                heart.join()  # the process id may be another's after the wait
                self.stop()
                self.process.wait()
            with contextlib.suppress(OSError, ValueError):
                return int((room / "status").read_text())
        out("guest: it ended while the command ran\n")
        return 1

    def _beat(self, room: Path, awake: threading.Event, over: threading.Event, out: Callable[[str], object]) -> None:
        """Make up for signals that got lost, until it is over; end a guest in which time stands still."""
        assert self.process is not None
        seen, since = 0.0, time.monotonic()
        while not over.wait(BEAT_S):
            if awake.is_set():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.process.pid, signal.SIGALRM)
            with contextlib.suppress(FileNotFoundError):
                if (now := (room / "alive").stat().st_mtime) != seen:
                    seen, since = now, time.monotonic()
            if time.monotonic() - since > STILL_S:
                out(f"guest: it stood still for {STILL_S:.0f} s and was ended\n")
                self.stop()
                return

    def stop(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def _argv(self, room: Path, command: Sequence[str]) -> list[str]:
        image, found = build.built(), kernel()
        first = room / "first"
        for place in ("bin", "dev", "root"):
            (first / place).mkdir(parents=True)
        shutil.copy("/bin/busybox", first / "bin")
        (first / "init").write_text(FIRST.format(modules=found / "modules", room=room))
        (first / "init").chmod(0o755)
        words = {"project": build.PROJECT, "wanted": MODULES, "command": shlex.join(command)}
        (room / "60-ubd.rules").write_text(RULES)
        (room / "second").write_text(SECOND.format(**words))
        argv = [str(found / "linux"), f"mem={self.memory_mib}M", f"uml_dir={room}", "con=null", "con0=null,fd:1"]
        argv += ["quiet", "root=/dev/root", "rootfstype=hostfs", f"rootflags={first}", "rw", "init=/init"]
        argv += [f"ubd0c={room / 'changes'},{image / 'root.img'}"]  # c: others read it as well
        for number in range(1, self.disks + 1):
            with open(room / f"disk{number}", "wb") as file:
                file.truncate(self.disk_mib * 1024 * 1024)
            argv.append(f"ubd{number}={room / f'disk{number}'},,disk{number}")
        return argv


def _quickest() -> str | None:
    """Where its memory and its disks lie: in memory, if there is as much as two of them may take."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage("/dev/shm").free >= ROOM_BYTES:
            return "/dev/shm"
    return None


def works() -> bool:
    """Whether such a kernel runs here: it needs ptrace, and memory from which programs may be run."""
    try:
        return Guest(disks=1, disk_mib=16, memory_mib=256).run(["true"], lambda _: None, timeout_s=120) == 0
    except (OSError, SystemExit):
        return False


def _run(*argv: str, cwd: str | None = None) -> None:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"guest: {' '.join(argv)} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
