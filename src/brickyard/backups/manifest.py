"""How a backup lies in its place.

The content is cut into chunks of one size. Each chunk that is not all zeros is an object container/backup/number-hash,
compressed with zstd; the hash is the SHA-256 of what was read. An incremental backup has only the chunks that its base
has not, and names the others where they lie: every backup is restored by its own manifest alone. The manifest is
written last, and without it there is no backup.
"""

from __future__ import annotations

import hashlib
import re

import msgspec
import zstandard

from brickyard.core import errors
from brickyard.core.sizes import MIB

CHUNK_BYTES = 4 * MIB
FORMAT = 1
LEVEL = 3
NAME = "manifest"
UNPACKED_MAX = 2048 * MIB  # of a manifest; a chunk of 4 MiB needs less than 100 bytes in it
CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Where(msgspec.Struct, frozen=True):
    """A backup: its container and its id."""

    container: str
    id: str

    @property
    def prefix(self) -> str:
        """Of the names of its objects. Invalid unless both parts are what may become a path."""
        if not CONTAINER.fullmatch(self.container):
            raise errors.Invalid(
                f"container {self.container!r}: allowed are up to 63 letters, digits and . _ -, the first no sign",
                field="container",
            )
        if not ID.fullmatch(self.id):
            raise errors.Invalid(f"{self.id!r} is not the id of a backup", field="id")
        return f"{self.container}/{self.id}/"


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """`base`: which of the manifest's `bases` has it."""

    number: int
    digest: str
    stored_bytes: int
    base: int


class Manifest(msgspec.Struct, frozen=True):
    volume_id: str
    project_id: str
    size_bytes: int
    chunk_bytes: int
    bases: list[Where]  # the first is this backup itself
    chunks: list[Chunk]  # in order; what is not among them is zeros
    format: int = FORMAT

    def name_of(self, chunk: Chunk) -> str:
        return f"{self.bases[chunk.base].prefix}{chunk.number:08x}-{chunk.digest}"

    def length_of(self, number: int) -> int:
        """Bytes of a chunk; the last one may be shorter."""
        return min(self.chunk_bytes, self.size_bytes - number * self.chunk_bytes)

    @property
    def own(self) -> list[Chunk]:
        return [chunk for chunk in self.chunks if chunk.base == 0]


def digest_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def packed(manifest: Manifest) -> bytes:
    """Its hash, a line end, and the rest compressed."""
    text = msgspec.json.encode(manifest)
    return digest_of(text).encode() + b"\n" + zstandard.compress(text, LEVEL)


def unpacked(name: str, content: bytes) -> Manifest:
    """DamagedBackup, with the name of the object, unless it is what was written."""
    digest, _, rest = content.partition(b"\n")
    text = expanded(name, rest, most=UNPACKED_MAX)
    if digest_of(text).encode() != digest:
        raise damaged(name, "its content is not what was stored")
    try:
        found = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise damaged(name, f"it is no manifest: {error}") from error
    if found.format != FORMAT:
        raise errors.Invalid(f"{name} has format {found.format}, and {FORMAT} is known here: use a newer release.")
    return found


def expanded(name: str, content: bytes, *, most: int, length: int | None = None) -> bytes:
    """Decompressed, `length` bytes where that is given. DamagedBackup when it cannot be."""
    try:
        says = zstandard.frame_content_size(content)
        if not 0 <= says <= most or (length is not None and says != length):
            raise damaged(name, f"it says that it has {says} bytes")
        return zstandard.ZstdDecompressor().decompress(content, max_output_size=says)
    except zstandard.ZstdError as error:
        raise damaged(name, str(error)) from error


def damaged(name: str, why: str) -> errors.DamagedBackup:
    return errors.DamagedBackup(f"The object {name} is damaged: {why}. Restore another backup of the volume.")
