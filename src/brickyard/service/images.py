"""Images: registered, filled with files, used by instances and volumes, and deleted with the files nobody else has.

A file is written under a temporary name, synced, looked at, and kept; see flows/image_store.py.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from brickyard.brick import exporting
from brickyard.brick import images as inspection
from brickyard.core import errors, sizes
from brickyard.db import images, overviews, quotas
from brickyard.db.database import Row, Tx
from brickyard.flows import image_store
from brickyard.service.site import Caller, Site

QUEUED, SAVING, ACTIVE = "queued", "saving", "active"  # saving: a volume becomes it
ROLES = {"disk": ("disk",), "kernel": ("kernel", "initrd")}  # kind → the files it may have
NEEDED = {"disk": ("disk",), "kernel": ("kernel",)}
FULL = "The image store is full: delete images, or give its file system more space."


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
            properties={},
        )
        return require(tx, caller, id)


def upload(site: Site, caller: Caller, id: str, role: str, source: Source, length_bytes: int) -> Row:
    """Take one file of an image from a stream of `length_bytes`. The same file again is fine, another is refused."""
    with site.db.read() as tx:
        row = _of_own(site, tx, caller, id)
    _not_saving(row)
    if role not in ROLES[row.kind]:
        raise errors.Invalid(
            f"An image of kind {row.kind} has no file {role!r}; allowed: {', '.join(ROLES[row.kind])}.", field="role"
        )
    store = image_store.made(site.world.images)
    image_store.sweep(store)
    temporary = image_store.temporary(store, str(uuid.uuid4()))
    try:
        with exporting.space_told(FULL):
            sha256 = _receive(source, temporary, length_bytes, site.settings.image_max_bytes)
        virtual_bytes = length_bytes
        if role == "disk":
            virtual_bytes = _check_disk(temporary, row.format)
        return image_store.keep(
            site.db,
            store,
            temporary,
            sha256,
            lambda: _record(site, caller, row.id, role, sha256, length_bytes, virtual_bytes),
        )
    finally:
        temporary.unlink(missing_ok=True)


def complete(row: Row, files: dict[str, str]) -> bool:
    """Whether an image may be used with these files."""
    return all(role in files for role in NEEDED[row.kind])


def update(site: Site, caller: Caller, id: str, *, protected: bool) -> Row:
    """Say whether an image may be deleted."""
    with site.db.begin() as tx:
        row = _of_own(site, tx, caller, id, rule="brickyard:image_update")
        images.update(tx, row.id, protected=protected)
        return require(tx, caller, row.id)


def delete(site: Site, caller: Caller, id: str) -> None:
    """Forget an image and remove the files that no other image has; not while something is being made of it."""
    store = image_store.made(site.world.images)
    with image_store.locked(store):
        with site.db.begin() as tx:
            row = _of_own(site, tx, caller, id, rule="brickyard:image_delete")
            _not_saving(row)
            if row.protected:
                raise errors.Conflict(f"Image {row.name} is protected; change that first, with PATCH.")
            if users := overviews.image_users(tx, row.id):
                listed = ", ".join(f"{noun} {', '.join(ids[:10])}" for noun, ids in users.items())
                raise errors.Conflict(f"Image {row.name} is being used by {listed}; try again when they are ready.")
            images.delete(tx, row.id)
        image_store.remove_unused(site.db, store, list(row.files.values()))


def _of_own(site: Site, tx: Tx, caller: Caller, id: str, rule: str = "brickyard:image_upload") -> Row:
    """The image, if the caller may change it: of its own project, or as an administrator."""
    row = require(tx, caller, id)
    site.policy.check(rule, caller, row.project_id)
    return row


def _not_saving(row: Row) -> None:
    if row.status == SAVING:
        raise errors.Conflict(f"Image {row.id} is being made of a volume; wait until that has ended.")


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
            chunk = source.read(min(image_store.CHUNK_BYTES, left))
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
