"""Images from outside: looked at before any tool opens them, and converted under limits.

The header of an image is written by whoever uploaded it, and a tool that believes it reads other files of the host:
backing files, data files, the extents of a VMDK. So the format is the one that was claimed and never one that was
guessed, the claim must agree with what the content looks like, and everything that points outside is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brickyard.brick import qcow2_tables, shell
from brickyard.brick.driver import Progress
from brickyard.core import errors, sizes

if TYPE_CHECKING:
    from oslo_utils.imageutils.format_inspector import FileInspector

FORMATS = ("raw", "qcow2", "vdi", "vmdk")
# Content that is raw to us: partition tables and file systems that only a guest will look at.
READ_AS_RAW = ("raw", "gpt", "iso")
CHUNK_BYTES = 65536
MEMORY_BYTES_MAX = sizes.GIB  # of a convert; its processor time is bounded as well
CPU_S_MAX = 1800
TIMEOUT_S = 3600.0
PERCENT = re.compile(r"\((\d+\.\d+)/100%\)")


@dataclass(frozen=True, slots=True)
class ImageFacts:
    format: str  # as the content says: one of FORMATS, or the name of a format that is refused
    virtual_size_bytes: int


def inspect(path: str) -> ImageFacts:
    """Format and virtual size as the content says, whether or not such an image may be imported."""
    detected = _detect(path)
    return ImageFacts(detected[0], _virtual_size(path, detected))


def check_format(format: str) -> None:
    if format not in FORMATS:
        raise errors.Invalid(
            f"images of format {format!r} are neither read nor made; allowed: {', '.join(FORMATS)}", field="format"
        )


def check_import(path: str, format: str, size_bytes: int) -> ImageFacts:
    """Raise UnsafeImage or Invalid unless the image is safe, is what it claims to be, and fits into `size_bytes`."""
    check_format(format)
    detected = _detect(path)
    name, inspector = detected
    if name != format:
        raise errors.UnsafeImage(
            f"the image claims to be {format} and its content is {name}: import it as what it is, if that is one of "
            f"{', '.join(FORMATS)}",
            field="format",
        )
    if format != "raw":
        _check_safe(path, format, inspector)
    facts = ImageFacts(format, _virtual_size(path, detected))
    if facts.virtual_size_bytes > size_bytes:
        raise errors.Invalid(
            f"the image needs {facts.virtual_size_bytes} bytes and the volume has {size_bytes}: "
            f"ask for at least {sizes.bytes_to_gib(facts.virtual_size_bytes)} GiB",
            field="size",
        )
    return facts


def convert_into(source: str, format: str, target: str, target_format: str, progress: Progress | None) -> None:
    """Copy the content of an image into `target`, an image that exists, is at least as large and reads as zeros."""
    options = ["-n", "--target-is-zero", "-f", format, "-O", target_format]
    _convert([], [*options, source, target], _size(source), progress)


def convert_out(
    source: str, format: str, target: str, target_format: str, size_bytes: int, progress: Progress | None
) -> None:
    """Make `target`, an image of `target_format` that is not there, of a disk of `size_bytes`."""
    limit_bytes = size_bytes + size_bytes // 64 + 64 * sizes.MIB  # with what describes it in any format
    _convert([f"--fsize={limit_bytes}"], ["-f", format, "-O", target_format, source, target], size_bytes, progress)


def _convert(more: list[str], arguments: list[str], size_bytes: int, progress: Progress | None) -> None:
    limits = ["prlimit", f"--as={MEMORY_BYTES_MAX}", f"--cpu={CPU_S_MAX}", *more, shell.find("qemu-img")]
    shell.run([*limits, "convert", "-p", *arguments], timeout_s=TIMEOUT_S, watch=_percent(size_bytes, progress))
    if progress is not None:
        progress(size_bytes, size_bytes)


def _percent(total_bytes: int, progress: Progress | None) -> Callable[[str], None] | None:
    if progress is None:
        return None

    def watch(output: str) -> None:
        if figures := PERCENT.findall(output):
            progress(int(total_bytes * float(figures[-1]) / 100), total_bytes)

    return watch


def _detect(path: str) -> tuple[str, FileInspector | None]:
    """The one format that the content is, and its inspector. Content that is several at once hides something."""
    # Only whoever imports or adopts images needs this library; the storage library itself needs nothing.
    try:
        from oslo_utils.imageutils import format_inspector
    except ImportError as error:
        raise errors.BrickError(
            f"content from outside is inspected with oslo.utils, which is not installed here ({error}): install it"
        ) from error

    with open(path, "rb") as file, _understood("unknown"):
        wrapper = format_inspector.InspectWrapper(file)
        while wrapper.formats is None and wrapper.read(CHUNK_BYTES):
            pass
        wrapper.close()
        found = {str(inspector): inspector for inspector in wrapper.formats or ()}
    others = {name: inspector for name, inspector in found.items() if name not in READ_AS_RAW}
    if not others:
        return "raw", None
    if len(others) > 1 or len(found) > 1:
        raise errors.UnsafeImage(
            f"the image looks like several formats at once: {', '.join(sorted(found))}", field="format"
        )
    [(name, inspector)] = others.items()
    return name, inspector


def _size(path: str) -> int:
    """Of a file or of a block device."""
    with open(path, "rb", buffering=0) as file:
        return file.seek(0, os.SEEK_END)


def _virtual_size(path: str, detected: tuple[str, FileInspector | None]) -> int:
    name, inspector = detected
    if inspector is None:
        return _size(path)
    with _understood(name):
        return int(inspector.virtual_size)


@contextmanager
def _understood(format: str) -> Iterator[None]:
    """Whatever the inspector stumbles over in a hostile or damaged header is a reason to refuse, never a crash."""
    try:
        yield
    except (errors.BrickyardError, OSError):
        raise
    except Exception as error:
        raise errors.UnsafeImage(f"the {format} image cannot be understood: {error}; upload it again") from error


def _check_safe(path: str, format: str, inspector: FileInspector | None) -> None:
    from oslo_utils.imageutils import format_inspector

    assert inspector is not None
    with _understood(format):
        try:
            inspector.safety_check()
        except format_inspector.SafetyCheckFailed as error:
            reasons = "; ".join(f"{check}: {why}" for check, why in error.failures.items())
            raise errors.UnsafeImage(f"the {format} image is refused: {reasons}; flatten it before upload") from error
    if format == "qcow2":
        qcow2_tables.check(path)
