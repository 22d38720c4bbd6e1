"""Build the test guest: Debian packages, a kernel, the Python packages of requirements.lock. Cached, whole or absent.

Building takes a minute or two, needs root (mmdebstrap, chown), and nothing of it needs KVM. The cache is
`$XDG_CACHE_HOME/brickyard/guest/<sum of everything it is made of>/` with `root.img`, `vmlinuz` and `initrd.img`.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PARTS = PROJECT / "images" / "guest"
CLIENT_LOCK = PROJECT / "tests" / "guest" / "os-brick.lock"  # echo os-brick==7.1.1 | uv pip compile --generate-hashes -
SUITE = "bookworm"
PACKAGES = """
    base-files base-passwd bash coreutils dash diffutils findutils grep gzip hostname libc-bin login mawk sed tar
    linux-image-amd64 udev kmod mount util-linux fdisk gdisk iproute2 procps lvm2 dmsetup thin-provisioning-tools
    e2fsprogs xfsprogs btrfs-progs nvme-cli qemu-utils qemu-system-x86 busybox-static python3 ca-certificates
"""
OS_BRICK = "/opt/os-brick"  # a client of volumes, with what it needs, apart from our own packages
MODULES = ("virtio_pci", "virtio_blk", "ext4")
SIZE_MIB = 3072
KEPT_S = 86400


def cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(home) / "brickyard" / "guest"


def built() -> Path:
    """The directory of the built guest, building it first where it is missing."""
    directory = cache()
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / _made_of()
    if target.is_dir():  # it came whole: nobody waits for another one that is being built
        return target
    with open(directory / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            if os.geteuid() != 0:
                sys.exit("guest: building the guest needs root: run scripts/guest build as root once")
            _build(target)
    return target


def _made_of() -> str:
    """A sum over what goes into the guest; the packages of the suite change under it, and that is as with any host."""
    parts = [*sorted(PARTS.iterdir()), PROJECT / "requirements.lock", CLIENT_LOCK, Path(__file__)]
    return hashlib.sha256(b"".join(part.read_bytes() for part in parts)).hexdigest()[:16]


def _build(target: Path) -> None:
    print("guest: building, a minute or two", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="guest-", dir=target.parent) as work:
        root, out = Path(work, "root"), Path(work, "out")
        out.mkdir()
        _run("mmdebstrap", "--quiet", "--variant=custom", f"--include={','.join(PACKAGES.split())}", *_without_documents(), SUITE, str(root))  # fmt: skip # noqa: E501
        _packages(root)
        shutil.copy(PARTS / "init", root / "sbin" / "guest-init")
        shutil.copy(PARTS / "agent.py", root / "sbin" / "guest-agent")
        command = root / "usr" / "local" / "bin" / "brickyard"
        command.write_text('#!/bin/sh\nexec python3 -m brickyard "$@"\n')
        command.chmod(0o755)
        (root / "etc" / "hostname").write_text("guest\n")
        (root / "etc" / "hosts").write_text("127.0.0.1 localhost guest\n")
        kernel = max((root / "boot").glob("vmlinuz-*"))
        shutil.copy(kernel, out / "vmlinuz")
        _initramfs(root, Path(work, "initramfs"), out / "initrd.img")
        for old in (root / "boot").iterdir():
            if old.is_file():
                old.unlink()
        _run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", str(root), str(out / "root.img"), f"{SIZE_MIB}M")
        out.rename(target)
    for old in target.parent.iterdir():
        if old.is_dir() and old != target and old.stat().st_mtime < time.time() - KEPT_S:  # other trees may use it
            shutil.rmtree(old, ignore_errors=True)


def _without_documents() -> list[str]:
    ways = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*")
    return [f"--dpkgopt=path-exclude={way}" for way in ways] + ["--aptopt=Acquire::Languages none"]


def _packages(root: Path) -> None:
    """What the service and its tests import, for the guest's Python and not for the host's."""
    site = root / "opt" / "brickyard" / "site-packages"
    client = root / OS_BRICK.removeprefix("/")
    uv = PROJECT / ".venv" / "bin" / "uv"
    for_guest = ("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_31", "--only-binary", ":all:")
    exactly = ("--quiet", *for_guest, "--no-deps", "--require-hashes")
    for target, lock in ((site, PROJECT / "requirements.lock"), (client, CLIENT_LOCK)):
        _run(str(uv), "pip", "install", *exactly, "--target", str(target), "-r", str(lock))
    for part in ("mypy", "ruff", "uv"):  # tools of the developer, and large
        for found in site.glob(f"{part}*"):
            shutil.rmtree(found) if found.is_dir() else found.unlink()
    installed = site / "brickyard-0.dist-info"  # the program itself is read from the tree; this is its version
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: brickyard\nVersion: 0\n")
    _run("chroot", str(root), "python3", "-m", "compileall", "-q", "-j", "2", "/opt/brickyard/site-packages", OS_BRICK)


def _initramfs(root: Path, work: Path, out: Path) -> None:
    """A busybox, and the modules of the root disk in the order in which they need each other."""
    for place in ("bin", "modules", "proc", "sys", "dev", "root"):
        (work / place).mkdir(parents=True)
    shutil.copy("/bin/busybox", work / "bin" / "busybox")
    shutil.copy(PARTS / "initramfs", work / "init")
    version = max((root / "lib" / "modules").iterdir()).name
    order: list[str] = []
    for module in MODULES:
        shown = _run("modprobe", "-d", str(root), "-S", version, "--show-depends", module)
        for line in shown.splitlines():
            word, _, path = line.partition(" ")
            name = os.path.basename(path.strip())
            if word == "insmod" and name not in order:
                order.append(name)
                shutil.copy(path.strip(), work / "modules" / name)
    (work / "modules" / "order").write_text("\n".join(order))
    names = _run("find", ".", cwd=work)
    packed = subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], input=names.encode(), cwd=work, capture_output=True, check=True)  # fmt: skip # noqa: E501
    out.write_bytes(gzip.compress(packed.stdout, 1))


def _run(*argv: str, cwd: Path | None = None) -> str:
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"guest: {' '.join(argv[:4])} … failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.stdout
