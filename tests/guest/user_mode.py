"""The guest's root under a kernel that is an ordinary process (User Mode Linux), for long runs without KVM.

An emulated guest translates every instruction; here programs run on the processor itself, and only their system calls
are caught. It is Debian's own kernel 6.1 with the same device-mapper, XFS
and ext4, but it has one processor, no PCI and no serials of disks, so what needs those runs in the emulated guest only.
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
from collections.abc import Sequence
from pathlib import Path

import build

PACKAGE = "user-mode-linux"
MODULES = "loop dm_mod dm_log_writes dm_snapshot dm_thin_pool dm_raid"

# The first program of all: it stands in a directory of this machine, and goes on in the guest's root.
FIRST = """\
#!/bin/busybox sh
busybox mount -t ext4 /dev/ubda /root
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
/lib/systemd/systemd-udevd --daemon
modprobe -a {wanted}
udevadm trigger --action=add
udevadm settle --timeout=60
cd {project}
stty -F /dev/tty0 -opost
env {command} </dev/null >/dev/tty0 2>&1
echo $? > /mnt/status
sync
exec python3 -c 'import ctypes; ctypes.CDLL(None).reboot(0x4321FEDC)'
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


def run(command: Sequence[str], *, disks: int, disk_mib: int, memory_mib: int) -> int:
    """Boot, run, end. What the command prints comes out of this process; its exit status."""
    image, found = build.built(), kernel()
    # Its memory and its disks are files, which nobody needs when it has ended.
    with tempfile.TemporaryDirectory(prefix="brickyard-um-", dir="/dev/shm") as directory:
        room = Path(directory)
        first = room / "first"
        for place in ("bin", "dev", "root"):
            (first / place).mkdir(parents=True)
        shutil.copy("/bin/busybox", first / "bin")
        (first / "init").write_text(FIRST.format(modules=found / "modules", room=room))
        (first / "init").chmod(0o755)
        own = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("BRICKYARD_")]
        words = {"project": build.PROJECT, "wanted": MODULES, "command": shlex.join([*own, *command])}
        (room / "second").write_text(SECOND.format(**words))
        argv = [str(found / "linux"), f"mem={memory_mib}M", f"uml_dir={room}", "con=null", "con0=null,fd:1", "quiet"]
        argv += ["root=/dev/root", "rootfstype=hostfs", f"rootflags={first}", "rw", "init=/init"]
        argv += [f"ubd0={room / 'changes'},{image / 'root.img'}"]
        for number in range(1, disks + 1):
            with open(room / f"disk{number}", "wb") as file:
                file.truncate(disk_mib * 1024 * 1024)
            argv.append(f"ubd{number}={room / f'disk{number}'}")
        _until_it_ends(argv, directory)
        with contextlib.suppress(OSError, ValueError):
            return int((room / "status").read_text())
    print("guest: it ended while the command ran", file=sys.stderr)
    return 1


def _until_it_ends(argv: Sequence[str], directory: str) -> None:
    """All of it is one group of processes: the kernel, and one for each program in it."""
    environ = {**os.environ, "TMPDIR": directory}
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=environ, start_new_session=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _run(*argv: str, cwd: str | None = None) -> None:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"guest: {' '.join(argv)} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
