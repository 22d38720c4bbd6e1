"""Bricks served to other hosts: to guests by NBD over TLS, by one qemu-nbd for each brick and guest; to hosts that are
no nodes of ours by NVMe over TCP, by the kernel (nvmet.py).

    <directory>/<brick>.<client>/record.json   what is served, to whom, at which port
    <directory>/<brick>.<client>/keys.psk      the key of this one export: who has it is the client, and nobody else is
    <directory>/<brick>.<client>/pid           written by qemu-nbd
    <directory>/<brick>.<client>/port, host    of the kernel; there is no key then

The record is there before the process and until after it. So a process outlives the service that started it, what is
found on the disk is what is served, and an export whose process has died, or whose host was started again, comes back
at the same port with the same key, where its client looks for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import os
import re
import secrets
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from brickyard.brick import nvmet
from brickyard.brick.serving import Server
from brickyard.core import bricks, errors
from brickyard.core.bricks import Connection, Did, Export, Exported
from brickyard.core.settings import Exports as Settings

LOG = logging.getLogger(__name__)
KEY_BYTES = 32
PORT_TAKEN = "Address already in use"
Opener = Callable[[str, str], Connection]  # backend, brick → where it is on this host


@dataclass(frozen=True, slots=True)
class Record:
    exported: Exported
    address: str
    port: int


class Exports:
    """The exports of a host. One process at a time has them; its threads may share this object. `opened(backend, name)`
    opens a brick of this host. Without `settings` nothing new is exported."""

    def __init__(
        self, directory: Path, settings: Settings | None, opened: Opener, server: Server | None = None
    ) -> None:
        self.directory, self.settings, self.opened = directory.resolve(), settings, opened
        self.server = server or nvmet.NbdOrNvmet()
        self._lock = threading.RLock()
        self._held: Counter[str] = Counter()  # bricks whose exports stand still: how many copies want that
        self._begun = False  # what a former run left half done is put right

    def make(self, wanted: Exported) -> Export:
        """Serve a brick to one guest or host; the same again answers the same. Unavailable when every port is taken."""
        at = self._at(wanted.name, wanted.client)
        if wanted.nqn:
            bricks.checked_nqn(wanted.nqn)
        with self._lock:
            record = _read(at)
            address = self.settings.address if self.settings is not None else None
            if record is not None and record.exported == wanted and address in (None, record.address):
                self._serve(at, record)
                return self._told(at, record)
            if record is not None and record.exported.backend != wanted.backend:
                raise errors.BrickError(
                    f"brick {wanted.name} is exported to {wanted.client} from backend {record.exported.backend}; while "
                    f"that is used, the one of backend {wanted.backend} is not: `brickyard audit --repair` ends an "
                    "export that nobody needs"
                )
            self._end(at)  # of another kind, or half made
            return self._new(at, wanted)

    def end(self, backend: str, name: str, client: str) -> Did:
        """Whoever uses it is cut off. The export of a brick of that name in another backend goes on."""
        at = self._at(name, client)
        with self._lock:
            record = _read(at)
            if record is not None and record.exported.backend != backend:
                return Did.ALREADY
            return self._end(at)

    def every(self) -> list[Exported]:
        with self._lock:
            return [record.exported for _, record in self._records()]

    def keep(self) -> None:
        """Serve again what is served no longer, each failing alone. A former run may have died half way: what stands
        still for nobody goes on, and, until that has succeeded once, what has no record is removed."""
        with self._lock:
            self._begin()
            for at, record in self._records():
                self._go_on(at, record)

    def _go_on(self, at: Path, record: Record) -> None:
        """Serve it unless it stands still; what fails now is tried again by `keep`."""
        name = record.exported.name
        try:
            if name not in self._held:
                self.server.thaw(at)
            if self._serve(at, record) is Did.CHANGED:
                LOG.info("brick %s is exported again", name, extra={"client": record.exported.client})
        except (errors.BrickyardError, OSError) as error:
            LOG.warning("brick %s cannot be exported, which is tried again: %s", name, error)

    @contextlib.contextmanager
    def still(self, name: str) -> Iterator[None]:
        """No export writes to the brick inside: its clients wait. What lies there is as after a power cut. Of several
        at once, the last to end lets them go on."""
        with self._lock:
            self._held[name] += 1
        with self._waiting(name, self.server.freeze, self._go_on):
            yield

    @contextlib.contextmanager
    def closed(self, name: str) -> Iterator[None]:
        """No export has the brick open inside: its clients wait, and find it afterwards as it is then. BrickError while
        it is copied."""
        with self._lock:
            if name in self._held:
                raise errors.BrickError(f"brick {name} is being copied; repeat this when that is over")
            self._held[name] += 1
        with self._waiting(name, self.server.close, self._serve):
            yield

    @contextlib.contextmanager
    def _waiting(
        self, name: str, stop: Callable[[Path], None], go_on: Callable[[Path, Record], object]
    ) -> Iterator[None]:
        """The clients of a brick, which counts as held already, wait inside."""
        try:
            with self._lock:
                for at, _ in self._of(name):
                    stop(at)
            yield
        finally:
            with self._lock:
                self._held[name] -= 1
                if not self._held[name]:
                    del self._held[name]
                    for at, record in self._of(name):
                        go_on(at, record)

    def serves(self, name: str) -> bool:
        return any(exported.name == name for exported in self.every())

    # one export ---------------------------------------------------------------------------------------------------

    def _new(self, at: Path, wanted: Exported) -> Export:
        if self.settings is None:
            raise errors.Unavailable(
                "This host exports no bricks: set export_address in its configuration, and start it again."
            )
        address, first, last = self.settings.address, self.settings.first_port, self.settings.last_port
        taken = {record.port for _, record in self._records()}
        for port in range(first, last + 1):
            if port in taken or not _is_free(address, port):
                continue
            record = Record(wanted, address, port)
            try:
                _write(at, record)
                self._serve(at, record)
                return self._told(at, record)
            except BaseException as error:
                self._end(at)
                if isinstance(error, errors.ToolFailed) and PORT_TAKEN in error.message:
                    continue  # somebody was quicker
                raise
        raise errors.Unavailable(f"every port from {first} to {last} is taken: give this host more (export_ports)")

    def _serve(self, at: Path, record: Record) -> Did:
        """Unless it is served, or stands still."""
        exported = record.exported
        if exported.name in self._held or self.server.runs(at):
            return Did.ALREADY
        found = self.opened(exported.backend, exported.name)
        if exported.nqn and found.format != "raw":
            raise errors.Invalid(
                f"brick {exported.name} is a {found.format} file, and by NVMe only plain content is served: use a "
                "volume of logical volumes, partitions, disks or raw files, or connect it on its own host",
                field="host",
            )
        self.server.start(at, exported, found, record.address, record.port)
        return Did.CHANGED

    def _told(self, at: Path, record: Record) -> Export:
        exported = record.exported
        if exported.nqn:
            return Export(record.address, record.port, exported.name, exported.client, target=nvmet.target(at))
        key = (at / "keys.psk").read_text(encoding="ascii").strip().rpartition(":")[2]
        return Export(record.address, record.port, exported.name, exported.client, key)

    def _end(self, at: Path) -> Did:
        if not at.exists():
            return Did.ALREADY
        self.server.end(at)
        (at / "record.json").unlink(missing_ok=True)
        shutil.rmtree(at)
        return Did.CHANGED

    def _of(self, name: str) -> list[tuple[Path, Record]]:
        return [(at, record) for at, record in self._records() if record.exported.name == name]

    # all of them --------------------------------------------------------------------------------------------------

    def _at(self, name: str, client: str) -> Path:
        if not re.fullmatch(bricks.UUID, client):
            raise errors.Invalid(
                f"{client!r} is not the id of a guest or attachment: give a lower-case uuid", field="client"
            )
        return self.directory / f"{bricks.checked(name)}.{client}"

    def _records(self) -> list[tuple[Path, Record]]:
        """By name. One that cannot be read is none, and is told by the log."""
        found = []
        for at in sorted(self.directory.glob("*.*")):
            record = _read(at)
            if record is not None:
                found.append((at, record))
        return found

    def _begin(self) -> None:
        """Once, and again until it succeeds."""
        if self._begun:
            return
        try:
            self._clear()
            self._begun = True
        except (errors.BrickyardError, OSError) as error:
            LOG.warning("what a former run left of its exports cannot be removed, which is tried again: %s", error)

    def _clear(self) -> None:
        """End what runs or lies there without a record."""
        known = {at for at, _ in self._records()}
        for left in set(self.directory.glob("*")) - known:
            self._end(left)
        for strange in set(self.server.found(self.directory)) - known:
            self.server.end(strange)


def _read(at: Path) -> Record | None:
    try:
        found = json.loads((at / "record.json").read_text(encoding="utf-8"))
        return Record(Exported(**found["exported"]), str(found["address"]), int(found["port"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError, KeyError) as error:
        LOG.error("the export in %s cannot be read, and is served no longer: %s", at, error)
        return None


def _write(at: Path, record: Record) -> None:
    """The record comes last, and whole; all of it is on the disk when this returns, and for nobody else to read."""
    at.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    at.mkdir(mode=0o700)
    key = f"{record.exported.client}:{secrets.token_hex(KEY_BYTES)}\n".encode()
    files = {} if record.exported.nqn else {"keys.psk": key}
    for name, content in (files | {"record.part": json.dumps(dataclasses.asdict(record)).encode()}).items():
        with open(at / name, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    (at / "record.part").replace(at / "record.json")
    for directory in (at, at.parent):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _is_free(address: str, port: int) -> bool:
    """Whether nobody listens there; BrickError when the address is none of this host."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise errors.BrickError(
                f"this host cannot export at {address}: {error}; see export_address in its configuration"
            ) from error
    return True
