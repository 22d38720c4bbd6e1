"""Bricks that are files in a directory: everything that raw, qcow2 and VDI share. What differs is a `Format`.

In the pool directory a brick `<name>` is

    <name>                 the data. Its rename into place is the moment from which the brick exists.
    .<name>.label          who it is (see `labels`), written before the data gets its name
    .<name>.tmp, .spare    data in the making; .label.tmp likewise
    .lock                  one per pool, see `locks`

Whatever a death leaves behind is hidden by its first dot: it is never listed, and it is removed by the repeat of the
verb and by delete. Snapshots and clones are whole files of their own, with shared blocks where the file system can
(XFS, Btrfs), so a source may be deleted at any time.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from brickyard.brick import images, labels, locks, steps, strangers, undo
from brickyard.brick.driver import Progress
from brickyard.brick.labels import Sidecar
from brickyard.core import bricks, errors
from brickyard.core.bricks import Capabilities, Connection, Did, Found, Label, Usage

SECTOR_BYTES = 512
LOOKS_MAX = 5  # how often `find` looks again while a brick is deleted and made under its eyes


class Format(Protocol):
    """How the data of a brick is laid out inside its file. Paths are absolute, sizes are whole sectors."""

    @property
    def name(self) -> str: ...

    @property
    def thin(self) -> bool:
        """False if every byte that is promised is allocated; then blocks are never shared either."""

    @property
    def online_grow(self) -> bool: ...

    @property
    def multiattach(self) -> bool: ...

    def check(self) -> None:
        """Raise BrickError unless the tools are there."""

    def make(self, path: str, size_bytes: int, progress: Progress | None = None) -> None:
        """Fill the empty file `path` with an image that reads as zeros."""

    def size_bytes(self, path: str, status: os.stat_result) -> int:
        """The virtual size, read natively from the file. BrickMismatch if it is no such image."""

    def grow(self, path: str, size_bytes: int, spare: str, progress: Progress | None = None) -> str:
        """Make it larger; the path where the larger image is now: `path`, or `spare` for a format that must copy."""


class FileDriver:
    def __init__(self, directory: str, format: Format) -> None:
        self._directory = directory
        self._format = format
        share = format.thin and steps.can_share(directory)
        self.capabilities = Capabilities(
            thin=format.thin,
            snapshots=True,
            clones=True,
            constant_time_clones=share,
            revert=True,
            imports=True,
            online_grow=format.online_grow,
            multiattach=format.multiattach,
            adopts=True,
        )

    # what is there ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        self._format.check()
        if not os.path.isdir(self._directory):
            raise errors.BrickError(f"the pool {self._directory} is not a directory: mount or create it")
        if not os.access(self._directory, os.R_OK | os.W_OK | os.X_OK):
            raise errors.BrickError(
                f"the pool {self._directory} is not writable for uid {os.geteuid()}: change its owner"
            )

    def usage(self) -> Usage:
        space = os.statvfs(self._directory)
        provisioned = allocated = 0
        for _, size_bytes, status in self._data():
            provisioned += size_bytes
            allocated += status.st_blocks * 512
        total, free = space.f_blocks * space.f_frsize, space.f_bavail * space.f_frsize
        return Usage(total, free, provisioned, allocated, storage=f"filesystem-{space.f_fsid:016x}")

    def list(self) -> Iterable[Found]:
        return [found for name, _, _ in self._data() if (found := self.find(name)) is not None]

    def find(self, name: str) -> Found | None:
        for _ in range(LOOKS_MAX):
            status = self._status(name)
            if status is None:
                return None
            try:
                sidecar = labels.read(self._directory, name)
            except errors.BrickMismatch:
                sidecar = None
            size_bytes = self._size(name, status)
            # Delete removes the data before the label: no label may mean that the brick has just gone.
            if size_bytes is not None and (sidecar is not None or self._same(status, self._status(name))):
                label = sidecar.label if sidecar is not None else None
                return Found(name, size_bytes, status.st_blocks * 512, label)
        return None

    def _data(self) -> Iterable[tuple[str, int, os.stat_result]]:
        """Name, virtual size and status of every file in the pool whose name is that of a brick."""
        for name in sorted(os.listdir(self._directory)):
            if not bricks.parse(name) or (status := self._status(name)) is None:
                continue
            if (size_bytes := self._size(name, status)) is not None:
                yield name, size_bytes, status

    def _status(self, name: str) -> os.stat_result | None:
        try:
            status = os.lstat(self._path(name))
        except FileNotFoundError:
            return None
        return status if stat.S_ISREG(status.st_mode) else None

    def _same(self, one: os.stat_result, other: os.stat_result | None) -> bool:
        return other is not None and one.st_ino == other.st_ino

    def _size(self, name: str, status: os.stat_result) -> int | None:
        """The virtual size, or that of the file where something lies in the pool that we cannot read. None for what
        has just gone."""
        try:
            return self._format.size_bytes(self._path(name), status)
        except errors.BrickMismatch:
            return status.st_size
        except FileNotFoundError:
            return None

    # verbs ------------------------------------------------------------------------------------------------------

    def create(self, label: Label, size_bytes: int, progress: Progress | None = None) -> Did:
        promised = _whole_sectors(size_bytes)
        wanted = Sidecar(label, self._format.name, promised, "")
        with locks.held(self._directory, label.name):
            return self._place(wanted, partial(self._make, promised, progress), exact=True)

    def delete(self, name: str) -> Did:
        if steps.is_read_only(self._directory) and not self._leaves_anything(name):
            return Did.ALREADY  # an undo has to end
        with locks.held(self._directory, name):
            if os.path.lexists(self._path(name)):
                self._owned(name)
            gone = steps.unlink(self._path(name))
            swept = self._sweep(name)
            steps.sync(self._directory)
            return Did.CHANGED if gone or swept else Did.ALREADY

    def grow(self, name: str, size_bytes: int, progress: Progress | None = None) -> Did:
        promised = _whole_sectors(size_bytes)
        with locks.held(self._directory, name):
            sidecar, present = self._present(name)
            if present >= promised and sidecar.size_bytes >= promised:
                steps.sync(self._directory)  # whoever made it larger may have died before that
                return Did.ALREADY
            self._sweep(name)
            with undo.on_error() as on_error:
                on_error.callback(self._sweep, name)
                if present < promised:
                    self._enlarge(self._path(name), name, promised, progress)
                else:
                    steps.sync(self._path(name))  # QEMU made it larger, or a grow died before its label was written
                # The data first: a label that promises more than there is would be believed by a repeat.
                labels.write(self._directory, Sidecar(sidecar.label, sidecar.format, promised, sidecar.source))
            steps.sync(self._directory)
            return Did.CHANGED

    def relabel(self, label: Label) -> Did:
        with locks.held(self._directory, label.name), undo.on_error() as on_error:
            on_error.callback(self._sweep, label.name)
            sidecar, _ = self._present(label.name)
            return labels.relabel(self._directory, sidecar, label)

    def open(self, name: str) -> Connection:
        _, present = self._present(name)
        return Connection(self._path(name), self._format.name, present)

    def close(self, name: str) -> Did:
        return Did.ALREADY  # a file needs no deactivation

    def snapshot(self, name: str, label: Label, progress: Progress | None = None) -> Did:
        return self.clone(name, label, 0, progress)

    def clone(self, source: str, label: Label, size_bytes: int, progress: Progress | None = None) -> Did:
        with locks.held(self._directory, label.name, reading=source):
            wanted = Sidecar(label, self._format.name, _whole_sectors(size_bytes), source)
            if self._status(label.name) is None:
                _, present = self._present(source)
                wanted = Sidecar(label, self._format.name, max(present, wanted.size_bytes), source)
            copy = partial(self._copy, self._path(source), wanted.size_bytes, progress, label.name)
            return self._place(wanted, copy)

    def revert(self, name: str, snapshot: str, progress: Progress | None = None) -> Did:
        with locks.held(self._directory, name, reading=snapshot):
            _, present = self._present(name)
            self._present(snapshot)
            self._sweep(name)
            with undo.on_error() as on_error:
                on_error.callback(self._sweep, name)
                temporary = self._temporary(name)
                # A volume never shrinks: one that has grown since keeps its size, with zeros at the end.
                self._copy(self._path(snapshot), present, progress, name, temporary)
                steps.sync(temporary)
                steps.rename(temporary, self._path(name))
            steps.sync(self._directory)
            return Did.CHANGED

    def import_image(
        self, label: Label, path: str, format: str, size_bytes: int, progress: Progress | None = None
    ) -> Did:
        promised = _whole_sectors(size_bytes)
        wanted = Sidecar(label, self._format.name, promised, "image")
        with locks.held(self._directory, label.name):
            if self._status(label.name) is None:
                images.check_import(path, format, promised)
            return self._place(wanted, partial(self._convert, os.path.abspath(path), format, promised, progress))

    def adopt(self, name: str, label: Label) -> Did:
        with locks.held(self._directory, label.name, taking=name):
            self._sweep(label.name)
            if self._adopted(name, label):
                steps.sync(self._directory)  # whoever adopted it may have died before this line
                return Did.ALREADY
            path = self._path(name)
            size_bytes = strangers.adoptable(self._directory, self._format, name)
            steps.restrict(path)
            if not self._format.thin:
                steps.allocate(path, os.path.getsize(path))
            steps.sync(path)
            # The label first: until the file has its new name, the label speaks of nothing and is swept.
            labels.write(self._directory, Sidecar(label, self._format.name, size_bytes, "adopted"))
            if name != label.name:
                steps.rename(path, self._path(label.name))
            steps.sync(self._directory)
            return Did.CHANGED

    def disown(self, name: str) -> Did:
        with locks.held(self._directory, name):
            self._sweep(name)
            removed = steps.unlink(labels.path_of(self._directory, name))
            steps.sync(self._directory)
            return Did.CHANGED if removed else Did.ALREADY

    def strangers(self) -> Iterable[Found]:
        return strangers.listed(self._directory, self._format)

    def leftovers(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for entry in sorted(os.listdir(self._directory)):
            name = labels.brick_of(entry)
            if name is None or (entry == f".{name}.label" and self._status(name) is not None):
                continue
            # A verb that runs holds the lock; one that has just ended has removed what was listed.
            if not locks.is_held(self._directory, name) and os.path.lexists(self._path(entry)):
                found.setdefault(name, []).append(entry)
        return {name: tuple(entries) for name, entries in found.items()}

    def tidy(self, name: str) -> Did:
        with locks.held(self._directory, name):
            swept = self._sweep(name)
            steps.sync(self._directory)
            return Did.CHANGED if swept else Did.ALREADY

    # how a brick comes to be ------------------------------------------------------------------------------------

    def _place(self, wanted: Sidecar, fill: Callable[[str], None], *, exact: bool = False) -> Did:
        """Let `fill` make the data under a hidden name, and give it its own name when everything is on the disk."""
        name = wanted.label.name
        if self._status(name) is not None:
            self._match(wanted, exact)
            self._sweep(name)
            steps.sync(self._directory)  # whoever placed it may have died before this line
            return Did.ALREADY
        self._sweep(name)
        with undo.on_error() as on_error:
            on_error.callback(self._sweep, name)
            temporary = self._temporary(name)
            fill(temporary)
            steps.sync(temporary)
            labels.write(self._directory, wanted)
            steps.rename(temporary, self._path(name))
        steps.sync(self._directory)
        return Did.CHANGED

    def _make(self, size_bytes: int, progress: Progress | None, path: str) -> None:
        steps.make_empty(path)
        self._format.make(path, size_bytes, progress)

    def _copy(self, source: str, size_bytes: int, progress: Progress | None, name: str, path: str) -> None:
        steps.copy(source, path, share=self.capabilities.constant_time_clones, progress=progress)
        if not self._format.thin:
            steps.allocate(path, os.path.getsize(path))  # the copy left holes where the source reads as zeros
        if self._format.size_bytes(path, os.stat(path)) < size_bytes:
            self._enlarge(path, name, size_bytes)

    def _convert(self, source: str, format: str, size_bytes: int, progress: Progress | None, path: str) -> None:
        if format == self._format.name == "raw" and os.path.isfile(source):  # of a device nobody knows where holes are
            self._copy(source, size_bytes, progress, "", path)
        else:
            self._make(size_bytes, None, path)
            images.convert_into(source, format, path, self._format.name, progress)

    def _enlarge(self, path: str, name: str, size_bytes: int, progress: Progress | None = None) -> None:
        grown = self._format.grow(path, size_bytes, os.path.join(self._directory, f".{name}.spare"), progress)
        steps.sync(grown)
        if grown != path:
            steps.rename(grown, path)

    # looking, comparing, cleaning -------------------------------------------------------------------------------

    def _owned(self, name: str) -> Sidecar:
        """The label of what lies there. What has none is somebody else's, and stays."""
        if self._status(name) is None:
            raise errors.BrickMismatch(f"{name} in {self._directory} is no file: move it out of the pool")
        sidecar = labels.read(self._directory, name)
        if sidecar is None:
            raise errors.BrickMismatch(
                f"{name} in {self._directory} has no label: nothing says whose it is; adopt it, or move it away"
            )
        return sidecar

    def _present(self, name: str) -> tuple[Sidecar, int]:
        """Label and virtual size of a brick that a verb needs."""
        status = self._status(name)
        if status is None:
            raise errors.NotFound(f"{name} is not in the pool {self._directory}")
        sidecar = self._owned(name)
        if sidecar.format != self._format.name:
            raise errors.BrickMismatch(f"{name} is {sidecar.format} and this driver is {self._format.name}")
        return sidecar, self._format.size_bytes(self._path(name), status)

    def _match(self, wanted: Sidecar, exact: bool) -> None:
        """Raise BrickMismatch unless the brick that exists is the one that is wanted."""
        there, _ = self._present(wanted.label.name)
        large_enough = there.size_bytes == wanted.size_bytes if exact else there.size_bytes >= wanted.size_bytes
        if there.label != wanted.label or there.source != wanted.source or not large_enough:
            raise errors.BrickMismatch(
                f"{wanted.label.name} exists already and is another one: {there}; wanted: {wanted}; "
                "use another id, or delete it first"
            )

    def _adopted(self, name: str, label: Label) -> bool:
        """Whether an earlier call has done it all; BrickMismatch when the name is taken."""
        if self._status(label.name) is None or not os.path.lexists(labels.path_of(self._directory, label.name)):
            if name != label.name and os.path.lexists(self._path(label.name)):
                raise errors.BrickMismatch(f"{label.name} is in {self._directory} already: choose another id")
            return False
        sidecar, _ = self._present(label.name)
        if sidecar.label != label or (name != label.name and os.path.lexists(self._path(name))):
            raise errors.BrickMismatch(f"{label.name} exists already and is {sidecar.label}: choose another id")
        return True

    def _sweep(self, name: str) -> bool:
        """Remove what a death left behind. The label goes only when there is no data that it speaks of."""
        leftovers = self._unfinished(name)
        if self._status(name) is None:
            leftovers = (*leftovers, labels.path_of(self._directory, name))
        return sum([steps.unlink(path) for path in leftovers]) > 0

    def _unfinished(self, name: str) -> tuple[str, ...]:
        spare, label = os.path.join(self._directory, f".{name}.spare"), labels.path_of(self._directory, name)
        return self._temporary(name), spare, f"{label}.tmp"

    def _leaves_anything(self, name: str) -> bool:
        finished = [self._path(name), labels.path_of(self._directory, name)]
        return any(os.path.lexists(path) for path in (*finished, *self._unfinished(name)))

    def _path(self, name: str) -> str:
        return os.path.join(self._directory, name)

    def _temporary(self, name: str) -> str:
        return os.path.join(self._directory, f".{name}.tmp")


def _whole_sectors(size_bytes: int) -> int:
    return -(-size_bytes // SECTOR_BYTES) * SECTOR_BYTES
