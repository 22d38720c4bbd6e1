"""The contract of a storage driver: ten required calls, and capabilities as questions.

Every verb may run twice and may die in the middle: it looks before it acts, it answers `Did.ALREADY` when nothing was
left to do, and a repeat after a crash brings the pool in order. Names come from `core.bricks` and are checked by
`guard.Guard`, which wraps every driver, before they reach a path or a command line. Errors: `BrickMismatch` when the
name exists with another size or owner, `NoSpace`, `ToolFailed`, `NotFound` for a brick that a verb needs and that is
absent (never for `delete`, which is done then).

A verb that may take long has `progress`: it is called with bytes done and bytes in all, at the least every few hundred
MiB, never with less done than before, at the end with all of them done, and never when nothing was left to do. What is
counted (the brick, or what of it has to be copied) is the driver's choice. It returns at once and never raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

from brickyard.core.bricks import Capabilities, Connection, Did, Found, Label, Receipt, Usage

Progress = Callable[[int, int], None]  # bytes done, bytes in all
Ranges = list[tuple[int, int]]  # begin and end in bytes, in order, none of which overlap


class Driver(Protocol):
    """Required of every driver. Sizes are bytes; a brick is at least as large as asked."""

    capabilities: Capabilities

    def check(self) -> None:
        """Raise BrickError, saying what to do, unless the tools and the pool are usable."""

    def usage(self) -> Usage: ...

    def list(self) -> Iterable[Found]:
        """What is really there, ours or not; never opens, activates or changes anything."""

    def find(self, name: str) -> Found | None: ...

    def create(self, label: Label, size_bytes: int, progress: Progress | None = None) -> Did:
        """An empty brick that reads as zeros. This and `grow` tell progress where they are work."""

    def delete(self, name: str) -> Did:
        """Remove it, wiped before where `capabilities.wipes` (by `wipe`, if nobody called that yet)."""

    def grow(self, name: str, size_bytes: int, progress: Progress | None = None) -> Did:
        """Make it at least this large; content stays, the new part reads as zeros. Never shrinks (ALREADY)."""

    def relabel(self, label: Label) -> Did:
        """The brick `label.name` is of this project and generation from now on; also while it is open."""

    def open(self, name: str) -> Connection: ...

    def close(self, name: str) -> Did: ...


@runtime_checkable
class Snapshotter(Protocol):
    """Offered iff `capabilities.snapshots`; a snapshot is a brick of its own and is deleted like one."""

    def snapshot(self, name: str, label: Label, progress: Progress | None = None) -> Did:
        """Keep the present content of `name` as `label`, a Kind.SNAPSHOT."""


@runtime_checkable
class Reverter(Protocol):
    """Offered iff `capabilities.revert`."""

    def revert(self, name: str, snapshot: str, progress: Progress | None = None) -> Did:
        """Make the content of `name` that of its snapshot again; the snapshot stays. That it is one of `name`, and no
        larger, the guard has seen to."""


@runtime_checkable
class Cloner(Protocol):
    """Offered iff `capabilities.clones`."""

    def clone(self, source: str, label: Label, size_bytes: int, progress: Progress | None = None) -> Did:
        """A new brick with the content of `source` (volume or snapshot), at least as large; independent after."""


@runtime_checkable
class Importer(Protocol):
    """Offered iff `capabilities.imports`."""

    def import_image(
        self, label: Label, path: str, format: str, size_bytes: int, progress: Progress | None = None
    ) -> Did:
        """A new brick with the content of an image file (raw, qcow2, vdi, vmdk) that claims to be `format`.

        The file is inspected before any tool opens it; backing files, data files and a format that is not the claimed
        one raise UnsafeImage.
        """


@runtime_checkable
class Wiper(Protocol):
    """Offered iff `capabilities.wipes`: space that is given back would show its content to the next owner."""

    def wipe(self, name: str, progress: Progress | None = None) -> Receipt:
        """Make the content unreadable for whoever gets the space next; from its first moment the brick cannot be
        opened again. Goes on where a former call died. NotFound when the brick is gone."""


@runtime_checkable
class Adopter(Protocol):
    """Offered iff `capabilities.adopts`."""

    def adopt(self, name: str, label: Label) -> Did:
        """Take over a brick of this pool that has no label: `name` is what it is called now, `label.name` what it is
        called afterwards. No content is copied. BrickMismatch when it belongs to somebody, NotFound, Invalid."""

    def disown(self, name: str) -> Did:
        """Give up a brick: it stays where it is, with its name and its content, and has no label any more. ALREADY when
        it is not there or has none. BrickMismatch while a verb on it has not ended that died."""

    def strangers(self) -> Iterable[Found]:
        """What lies in this pool without a label, whatever it is called, and may be adopted."""


@runtime_checkable
class Extender(Protocol):
    """Offered by drivers whose pool can grow: by itself, into what an administrator left for that, or when told."""

    def autoextend(self) -> Did:
        """Let the pool grow if it is due; ALREADY when it is not, or when nothing is left to grow into."""

    def grow_onto(self, device: str) -> Did:
        """Let the pool grow onto a device that was added to what it lies in; ALREADY when it has."""


@runtime_checkable
class Tidier(Protocol):
    """Offered by drivers whose verbs leave something behind when they die; a repeat of the verb removes it as well."""

    def leftovers(self) -> dict[str, tuple[str, ...]]:
        """Name of a brick → what a dead verb on it left. What a verb uses that runs now is not among it."""

    def tidy(self, name: str) -> Did:
        """Remove the leftovers of `name`. A brick of that name stays as it is."""


@runtime_checkable
class Differ(Protocol):
    """Offered by drivers that know what differs between two bricks without reading them."""

    def changed_since(self, name: str, earlier: str) -> Ranges | None:
        """Where the content of `name` may differ from that of `earlier`; all else is the same to the byte. None when
        that cannot be said now."""
