"""Images: registered, filled with files, used by instances and volumes, and deleted with the files nobody else has.

The image store is a directory with one file per content, named by its SHA-256. A file is written under a temporary
name, synced, looked at, and renamed; which images have it is in the database. Renaming a file into the store and
recording it, and forgetting a file and removing it, exclude each other by a lock on the store, so that no image ever
names a file that is gone.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import fcntl
import hashlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from brickyard.brick import images as inspection
from brickyard.core import clock, errors, sizes
from brickyard.db import images, overviews, quotas
from brickyard.db.database import Row, Tx
from brickyard.service.site import Caller, Site

QUEUED, ACTIVE = "queued", "active"
ROLES = {"disk": ("disk",), "kernel": ("kernel", "initrd")}  # kind → the files it may have
NEEDED = {"disk": ("disk",), "kernel": ("kernel",)}
CHUNK_BYTES = 1024 * 1024
LOCK, TEMPORARY = ".lock", ".upload-"
ABANDONED_S = 86400  # an upload that wrote nothing for so long is dead


class Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class NewImage:
    """`kind`: disk, with its `format`, or kernel, with its `cmdline`. Active once the files it needs are there."""

    name: str
    kind: str
    format: str | None = None
    cmdline: str | None = None
    is_public: bool = False
    min_gib: int = 0


def require(tx: Tx, caller: Caller, id: str) -> Row:
    """The image by id, or by a name that only one visible image has."""
    found = images.find(tx, id, caller.sees)
    if not found:
        raise errors.NotFound(f"Image {id} could not be found.")
    if len(found) > 1:
        ids = ", ".join(row.id for row in found[:10])
        raise errors.Conflict(f"{len(found)} images are called {id}; use the id of one: {ids}.")
    return found[0]


def list_(site: Site, caller: Caller, name: str | None = None) -> list[Row]:
    with site.db.read() as tx:
        found = images.list_(tx, caller.sees)
    return found if name is None else [row for row in found if row.name == name]


def create(site: Site, caller: Caller, new: NewImage) -> Row:
    """Register an image; its files come next."""
    if new.kind == "disk" and new.format not in inspection.FORMATS:
        raise errors.Invalid(
            f"A disk image needs its format; allowed: {', '.join(inspection.FORMATS)}.", field="format"
        )
    for field in ("format",) if new.kind == "kernel" else ("cmdline",):
        if getattr(new, field) is not None:
            raise errors.Invalid(f"An image of kind {new.kind} has no {field}; leave it out.", field=field)
    if new.is_public:
        site.policy.check("brickyard:image_publish", caller)
    id = str(uuid.uuid4())
    with site.db.begin() as tx:
        quotas.lock(tx, caller.project_id)
        images.insert(
            tx,
            id=id,
            name=new.name,
            project_id=caller.project_id,
            is_public=new.is_public,
            status=QUEUED,
            kind=new.kind,
            format=new.format,
            cmdline=new.cmdline,
            min_gib=new.min_gib,
            files={},
        )
        return require(tx, caller, id)


def upload(site: Site, caller: Caller, id: str, role: str, source: Source, length_bytes: int) -> Row:
    """Take one file of an image from a stream of `length_bytes`. The same file again is fine, another is refused."""
    with site.db.read() as tx:
        row = _of_own(site, tx, caller, id)
    if role not in ROLES[row.kind]:
        raise errors.Invalid(
            f"An image of kind {row.kind} has no file {role!r}; allowed: {', '.join(ROLES[row.kind])}.", field="role"
        )
    store = site.world.images
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    _sweep(store)
    temporary = store / f"{TEMPORARY}{uuid.uuid4()}"
    try:
        with _space_told():
            sha256 = _receive(source, temporary, length_bytes, site.settings.image_max_bytes)
        virtual_bytes = length_bytes
        if role == "disk":
            virtual_bytes = _check_disk(temporary, row.format)
        with _locked(store):
            new = not (store / sha256).exists()
            if new:
                os.rename(temporary, store / sha256)
                _sync(store)
            try:
                return _record(site, caller, row.id, role, sha256, length_bytes, virtual_bytes)
            except BaseException:
                _remove_unused(site, store, [sha256] if new else [])
                raise
    finally:
        temporary.unlink(missing_ok=True)


def complete(row: Row, files: dict[str, str]) -> bool:
    """Whether an image may be used with these files."""
    return all(role in files for role in NEEDED[row.kind])


def delete(site: Site, caller: Caller, id: str) -> None:
    """Forget an image and remove the files that no other image has; not while something is being made of it."""
    store = site.world.images
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(store):
        with site.db.begin() as tx:
            row = _of_own(site, tx, caller, id, rule="brickyard:image_delete")
            if users := overviews.image_users(tx, row.id):
                listed = ", ".join(f"{noun} {', '.join(ids[:10])}" for noun, ids in users.items())
                raise errors.Conflict(f"Image {row.name} is being used by {listed}; try again when they are ready.")
            images.delete(tx, row.id)
        _remove_unused(site, store, list(row.files.values()))


def _of_own(site: Site, tx: Tx, caller: Caller, id: str, rule: str = "brickyard:image_upload") -> Row:
    """The image, if the caller may change it: of its own project, or as an administrator."""
    row = require(tx, caller, id)
    site.policy.check(rule, caller, row.project_id)
    return row


def _record(site: Site, caller: Caller, id: str, role: str, sha256: str, length_bytes: int, virtual_bytes: int) -> Row:
    with site.db.begin() as tx:
        row = _of_own(site, tx, caller, id)
        if row.files.get(role, sha256) != sha256:
            raise errors.Conflict(f"Image {row.name} has another {role} already; it does not change: make a new one.")
        if role in row.files:
            return row
        if row.status == ACTIVE and role not in NEEDED[row.kind] and _in_use(tx, row.id):
            raise errors.Conflict(f"Image {row.name} is being used; its {role} has to come before that.")
        files = {**row.files, role: sha256}
        values: dict[str, Any] = {"files": files, "size_bytes": row.size_bytes + length_bytes}
        if role == "disk":
            values |= {
                "virtual_size_bytes": virtual_bytes,
                "min_gib": max(row.min_gib, sizes.bytes_to_gib(virtual_bytes)),
            }
        if complete(row, files):
            values["status"] = ACTIVE
        images.update(tx, row.id, **values)
        return require(tx, caller, row.id)


def _in_use(tx: Tx, id: str) -> bool:
    return bool(overviews.image_users(tx, id))


def _receive(source: Source, path: Path, length_bytes: int, max_bytes: int) -> str:
    """Write the stream to `path`, durably; its SHA-256."""
    if length_bytes > max_bytes:
        raise errors.OverQuota(f"The file has {length_bytes} bytes, and this service takes at most {max_bytes}.")
    if length_bytes == 0:
        raise errors.Invalid("The file is empty: send its content as the body.", field="body")
    digest, left = hashlib.sha256(), length_bytes
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        while left:
            chunk = source.read(min(CHUNK_BYTES, left))
            if not chunk:
                raise errors.Invalid(
                    f"The upload broke off: {length_bytes - left} of {length_bytes} bytes came. Send the file again.",
                    field="body",
                )
            digest.update(chunk)
            file.write(chunk)
            left -= len(chunk)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()


def _check_disk(path: Path, format: str) -> int:
    """The virtual size of a disk that is what it claims to be and points nowhere; UnsafeImage or Invalid otherwise."""
    return inspection.check_import(str(path), format, sizes.gib_to_bytes(sizes.MAX_GIB)).virtual_size_bytes


def _remove_unused(site: Site, store: Path, files: list[str]) -> None:
    with site.db.read() as tx:
        used = overviews.image_files(tx)
    for sha256 in set(files) - used:
        (store / sha256).unlink(missing_ok=True)


def _sweep(store: Path) -> None:
    """Remove what uploads left behind whose process died."""
    oldest = clock.now().replace(tzinfo=datetime.UTC).timestamp() - ABANDONED_S
    for path in store.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < oldest:
                path.unlink()


@contextlib.contextmanager
def _locked(store: Path) -> Iterator[None]:
    """One at a time, between threads and processes; the kernel lets go when a process dies."""
    with open(store / LOCK, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _space_told() -> Iterator[None]:
    """A full disk is told as what it is."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise errors.NoSpace("The image store is full: delete images, or give its file system more space.") from error


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
