"""Bricks served by the kernel, by NVMe over TCP, for hosts that connect as os-brick does.

    /sys/kernel/config/nvmet/
    hosts/<NQN>                    a host that may connect
    subsystems/<target>            one for each export, with one namespace
        attr_allow_any_host        0
        allowed_hosts/<NQN>        the only one
        namespaces/1               what is served, and as which disk
    ports/<port>                   one for each export
        subsystems/<target>        made last and removed first: without it nobody gets in

No two exports share anything, so an end cuts off nobody else, also where one host has the same brick twice. A port that
is closed makes a client try again, while one that is open and does not know the target may make it give up.

The identity of the namespace is that of the export, and the same when it is served again: a client takes another one
for another disk, and refuses a second disk of the same identity.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from pathlib import Path

from brickyard.brick import direct, faults, shell
from brickyard.brick.serving import Nbd, Server
from brickyard.core import errors
from brickyard.core.bricks import Connection, Exported

ROOT = Path("/sys/kernel/config/nvmet")
NAMER = "nqn.2026-11.local.brickyard"
MODULES = ("nvmet", "nvmet-tcp")
LOAD_S = 30.0
MODEL = "Brickyard"


def target(at: Path) -> str:
    """The name by which the export in a directory is connected to. Another service of this host has other names."""
    return f"{_mine(at.parent)}{at.name}"


def _mine(directory: Path) -> str:
    return f"{NAMER}:{hashlib.sha256(os.fsencode(directory)).hexdigest()[:8]}:"


class Nvmet:
    """By the kernel. What it serves outlives the service, and not the host."""

    def start(self, at: Path, exported: Exported, found: Connection, address: str, port: int) -> None:
        _load()
        self.end(at)  # half made, or changed by somebody
        try:
            if (ROOT / "ports" / str(port)).exists():  # an administrator's, who may give it any address
                raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
            for noun, name in (("port", str(port)), ("host", exported.nqn)):
                (at / noun).write_text(name, encoding="ascii")  # before the kernel has it, for who ends it
            with faults.step("nvmet make"):
                self._make(at, exported, found)
            with faults.step("nvmet open"):
                self._open(at, address, port)
        except OSError as error:
            reason = error.strerror or str(error)
            raise errors.ToolFailed(["nvmet", exported.name, f"{address}:{port}"], error.errno or 1, reason) from error

    def _make(self, at: Path, exported: Exported, found: Connection) -> None:
        subsystem, host = ROOT / "subsystems" / target(at), ROOT / "hosts" / exported.nqn
        subsystem.mkdir()
        _write(subsystem / "attr_allow_any_host", "0")
        _write(subsystem / "attr_model", MODEL)
        _write(subsystem / "attr_serial", exported.client.replace("-", "")[:20])
        host.mkdir(exist_ok=True)
        (subsystem / "allowed_hosts" / exported.nqn).symlink_to(host)
        namespace = subsystem / "namespaces" / "1"
        namespace.mkdir()
        _write(namespace / "device_path", found.path)
        _write(namespace / "device_uuid", exported.client)
        _write(namespace / "device_nguid", exported.client)
        _write(namespace / "buffered_io", "0" if direct.is_possible(found.path) else "1")
        _write(namespace / "enable", "1")

    def _open(self, at: Path, address: str, port: int) -> None:
        place = ROOT / "ports" / str(port)
        place.mkdir()
        _write(place / "addr_trtype", "tcp")
        _write(place / "addr_adrfam", "ipv6" if ":" in address else "ipv4")
        _write(place / "addr_traddr", address)
        _write(place / "addr_trsvcid", str(port))
        (place / "subsystems" / target(at)).symlink_to(ROOT / "subsystems" / target(at))

    def runs(self, at: Path) -> bool:
        """Whether it is served to the one host, and no other."""
        subsystem = ROOT / "subsystems" / target(at)
        try:
            return (
                _read(subsystem / "namespaces" / "1" / "enable") == "1"
                and _read(subsystem / "attr_allow_any_host") == "0"
                and len(os.listdir(subsystem / "allowed_hosts")) == 1
                and bool(_links(at))
            )
        except FileNotFoundError:
            return False

    def end(self, at: Path) -> None:
        """Nothing writes to the brick when this returns: the connections are cut, and what they had sent is done."""
        links = _links(at)
        for link in links:
            with faults.step("nvmet close"):
                link.unlink()
        subsystem = ROOT / "subsystems" / target(at)
        if subsystem.is_dir():
            with faults.step("nvmet remove"):
                _remove(subsystem)
        for unused in {link.parents[1] for link in links} | _noted(at):
            _remove_unused(unused)

    def close(self, at: Path) -> None:
        self.end(at)

    def freeze(self, at: Path) -> None:
        """Its client finds a port that is closed, and tries again."""
        self.end(at)

    def thaw(self, at: Path) -> None:
        """Whoever has the exports starts it again, as any that is not served."""

    def found(self, directory: Path) -> list[Path]:
        mine = _mine(directory)
        return [directory / found.name.removeprefix(mine) for found in ROOT.glob(f"subsystems/{mine}*")]


class NbdOrNvmet:
    """For guests by NBD, for hosts that say their NQN by NVMe."""

    def __init__(self) -> None:
        self.nvmet, self.nbd = Nvmet(), Nbd()
        self.both: tuple[Server, ...] = (self.nvmet, self.nbd)

    def start(self, at: Path, exported: Exported, found: Connection, address: str, port: int) -> None:
        server: Server = self.nvmet if exported.nqn else self.nbd
        server.start(at, exported, found, address, port)

    def runs(self, at: Path) -> bool:
        return any(server.runs(at) for server in self.both)

    def end(self, at: Path) -> None:
        for server in self.both:
            server.end(at)

    def close(self, at: Path) -> None:
        for server in self.both:
            server.close(at)

    def freeze(self, at: Path) -> None:
        for server in self.both:
            server.freeze(at)

    def thaw(self, at: Path) -> None:
        for server in self.both:
            server.thaw(at)

    def found(self, directory: Path) -> list[Path]:
        return [at for server in self.both for at in server.found(directory)]


def _load() -> None:
    """ToolFailed, or BrickError, when the kernel cannot serve NVMe."""
    if not ROOT.is_dir():
        shell.run(["modprobe", "--all", *MODULES], timeout_s=LOAD_S)
    if not ROOT.is_dir():
        raise errors.BrickError(
            f"{ROOT} is not there, so no brick is served by NVMe: load the module nvmet and mount configfs on "
            f"{ROOT.parent}, which systemd does by itself"
        )


def _remove(subsystem: Path) -> None:
    for namespace in (subsystem / "namespaces").iterdir():
        _write(namespace / "enable", "0")  # waits for what is being written
        namespace.rmdir()
    hosts = list((subsystem / "allowed_hosts").iterdir())
    for host in hosts:
        host.unlink()
    subsystem.rmdir()
    for host in hosts:
        _remove_unused(ROOT / "hosts" / host.name)


def _remove_unused(directory: Path) -> None:
    """What another export needs stays: the kernel refuses to remove it."""
    try:
        directory.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EBUSY, errno.ENOTEMPTY):
            raise


def _links(at: Path) -> list[Path]:
    """Where it can be connected to."""
    return list(ROOT.glob(f"ports/*/subsystems/{target(at)}"))


def _noted(at: Path) -> set[Path]:
    """What nothing leads to from a target that is half made, or half removed: who was at it died."""
    found = set()
    for noun in ("port", "host"):
        with contextlib.suppress(FileNotFoundError):
            said = (at / noun).read_text(encoding="ascii")
            if said and (noun != "port" or _read(ROOT / "ports" / said / "addr_trsvcid") in ("", said)):
                found.add(ROOT / f"{noun}s" / said)  # else an administrator has it since a restart
    return found


def _write(path: Path, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, value.encode())
    finally:
        os.close(descriptor)


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()
