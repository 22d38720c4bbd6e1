"""The border around every driver: it cannot be called wrongly, and it cannot answer wrongly.

Arguments are checked before they reach a path or a command line, answers before they reach a database row. A verb that
a capability denies is refused with the names of both, and an error of the operating system leaves as a BrickError.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from brickyard.brick.driver import (
    Adopter,
    Cloner,
    Differ,
    Driver,
    Extender,
    Importer,
    Progress,
    Ranges,
    Reverter,
    Snapshotter,
    Tidier,
    Wiper,
)
from brickyard.core import bricks, clock, errors, sizes
from brickyard.core.bricks import Capabilities, Connection, Did, Found, Kind, Label, Receipt, Usage, WipeMethod

BYTES_MAX = sizes.MAX_GIB * sizes.GIB
FOREIGN_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9+_.-]{0,126}")  # what LVM and file systems take, without surprises
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
Answer = TypeVar("Answer")


class Guard:
    def __init__(self, driver: Driver, name: str) -> None:
        self.driver = driver
        self.name = name
        self.capabilities: Capabilities = driver.capabilities

    # required verbs ---------------------------------------------------------------------------------------------

    def check(self) -> None:
        with self._mapped("check"):
            self.driver.check()

    def usage(self) -> Usage:
        with self._mapped("usage"):
            usage = self._typed(self.driver.usage(), Usage, "usage")
        if min(usage.total_bytes, usage.free_bytes, usage.provisioned_bytes, usage.allocated_bytes) < 0:
            raise errors.BrickError(
                f"driver {self.name}: a negative figure in {usage}: report it as a bug of the driver"
            )
        return usage

    def list(self) -> Iterable[Found]:
        with self._mapped("list"):
            return [self._typed(found, Found, "list") for found in self.driver.list()]

    def find(self, name: str) -> Found | None:
        bricks.checked(name)
        with self._mapped("find"):
            found = self.driver.find(name)
            return None if found is None else self._typed(found, Found, "find")

    def create(self, label: Label, size_bytes: int, progress: Progress | None = None) -> Did:
        self._check_volume(label)
        self._check_size(size_bytes)
        with self._mapped("create"):
            return self._typed(self.driver.create(label, size_bytes, progress), Did, "create")

    def delete(self, name: str) -> Did:
        bricks.checked(name)
        with self._mapped("delete"):
            return self._typed(self.driver.delete(name), Did, "delete")

    def grow(self, name: str, size_bytes: int, progress: Progress | None = None) -> Did:
        bricks.checked(name)
        self._check_size(size_bytes)
        with self._mapped("grow"):
            return self._typed(self.driver.grow(name, size_bytes, progress), Did, "grow")

    def open(self, name: str) -> Connection:
        bricks.checked(name)
        with self._mapped("open"):
            return self._typed(self.driver.open(name), Connection, "open")

    def close(self, name: str) -> Did:
        bricks.checked(name)
        with self._mapped("close"):
            return self._typed(self.driver.close(name), Did, "close")

    def relabel(self, label: Label) -> Did:
        self._check_label(label)
        found = self.find(label.name)
        if found is not None and found.label is not None and found.label.parent != label.parent:
            raise errors.BrickMismatch(f"{label.name} is a snapshot of {found.label.parent}, and not of {label.parent}")
        with self._mapped("relabel"):
            return self._typed(self.driver.relabel(label), Did, "relabel")

    # optional verbs ---------------------------------------------------------------------------------------------

    def snapshot(self, name: str, label: Label, progress: Progress | None = None) -> Did:
        bricks.checked(name)
        self._check_label(label)
        parsed = bricks.parse(name)
        if label.kind is not Kind.SNAPSHOT or parsed is None or label.parent != parsed[1]:
            raise errors.Invalid(
                f"the label of a snapshot of {name} is of kind snapshot and names it as its parent: {label}"
            )
        if not (self.capabilities.snapshots and isinstance(self.driver, Snapshotter)):
            raise self._denied("snapshots")
        with self._mapped("snapshot"):
            return self._typed(self.driver.snapshot(name, label, progress), Did, "snapshot")

    def revert(self, name: str, snapshot: str, progress: Progress | None = None) -> Did:
        parsed = bricks.parse(bricks.checked(name))
        if not bricks.checked(snapshot).startswith(bricks.PREFIX[Kind.SNAPSHOT]):
            raise errors.Invalid(f"{snapshot} is not a snapshot: revert needs one", field="snapshot")
        if not (self.capabilities.revert and isinstance(self.driver, Reverter)):
            raise self._denied("revert")
        now, kept = self.find(name), self.find(snapshot)  # what they say is written once, with the brick
        parent = kept.label.parent if kept and kept.label else None
        if kept and (parsed is None or parent != parsed[1]):
            raise errors.BrickMismatch(
                f"{snapshot} is a snapshot of {parent or 'nothing'} and not of {name}: revert to one of its own"
            )
        if now and kept and kept.size_bytes > now.size_bytes:  # it would take room nobody has claimed, or lose data
            raise errors.BrickMismatch(
                f"{snapshot} has {kept.size_bytes} bytes, more than {name} with {now.size_bytes}: grow that first"
            )
        with self._mapped("revert"):
            return self._typed(self.driver.revert(name, snapshot, progress), Did, "revert")

    def clone(self, source: str, label: Label, size_bytes: int, progress: Progress | None = None) -> Did:
        self._check_volume(label)
        self._check_size(size_bytes)
        if bricks.checked(source) == label.name:
            raise errors.Invalid(f"{source} cannot be cloned into itself: use another id", field="source")
        if not (self.capabilities.clones and isinstance(self.driver, Cloner)):
            raise self._denied("clones")
        with self._mapped("clone"):
            return self._typed(self.driver.clone(source, label, size_bytes, progress), Did, "clone")

    def import_image(
        self, label: Label, path: str, format: str, size_bytes: int, progress: Progress | None = None
    ) -> Did:
        self._check_volume(label)
        self._check_size(size_bytes)
        if not (self.capabilities.imports and isinstance(self.driver, Importer)):
            raise self._denied("imports")
        with self._mapped("import_image"):
            return self._typed(self.driver.import_image(label, path, format, size_bytes, progress), Did, "import_image")

    def wipe(self, name: str, progress: Progress | None = None) -> Receipt:
        """Before `delete`. Where nothing can leak there is nothing to do, and the receipt says so."""
        bricks.checked(name)
        if self.capabilities.wipes and isinstance(self.driver, Wiper):
            with self._mapped("wipe"):
                return self._typed(self.driver.wipe(name, progress), Receipt, "wipe")
        found = self.find(name)
        if found is None:
            raise errors.NotFound(f"driver {self.name}: there is no brick {name} to wipe")
        why = "space that is given back reads as zeros before it is written again"
        return Receipt(name, found.size_bytes, WipeMethod.NONE, why, clock.stamp())

    def adopt(self, name: str, label: Label) -> Did:
        if not FOREIGN_NAME.fullmatch(name) or name in (".", ".."):
            raise errors.Invalid(
                f"{name!r} is not the name of something to adopt: letters, digits and . _ + - only", field="name"
            )
        self._check_label(label)
        if not (self.capabilities.adopts and isinstance(self.driver, Adopter)):
            raise self._denied("adopts")
        with self._mapped("adopt"):
            return self._typed(self.driver.adopt(name, label), Did, "adopt")

    def disown(self, name: str) -> Did:
        bricks.checked(name)
        if not (self.capabilities.adopts and isinstance(self.driver, Adopter)):
            raise self._denied("adopts")
        with self._mapped("disown"):
            return self._typed(self.driver.disown(name), Did, "disown")

    def strangers(self) -> Iterable[Found]:
        """Nothing for a driver that adopts nothing. What has a name that `adopt` would refuse is left out."""
        if not (self.capabilities.adopts and isinstance(self.driver, Adopter)):
            return []
        with self._mapped("strangers"):
            found = [self._typed(one, Found, "strangers") for one in self.driver.strangers()]
        return [one for one in found if one.label is None and FOREIGN_NAME.fullmatch(one.name)]

    def autoextend(self) -> Did:
        """ALREADY for a driver whose pool never grows by itself."""
        if not isinstance(self.driver, Extender):
            return Did.ALREADY
        with self._mapped("autoextend"):
            return self._typed(self.driver.autoextend(), Did, "autoextend")

    def grow_onto(self, device: str) -> Did:
        """ALREADY for a driver whose pool is as large as its devices, always."""
        if not isinstance(self.driver, Extender):
            return Did.ALREADY
        with self._mapped("grow_onto"):
            return self._typed(self.driver.grow_onto(device), Did, "grow_onto")

    def leftovers(self) -> dict[str, tuple[str, ...]]:
        """What verbs left that died, by the name of their brick; nothing for a driver that never leaves anything."""
        if not isinstance(self.driver, Tidier):
            return {}
        with self._mapped("leftovers"):
            return self._typed(self.driver.leftovers(), dict, "leftovers")

    def tidy(self, name: str) -> Did:
        bricks.checked(name)
        if not isinstance(self.driver, Tidier):
            return Did.ALREADY
        with self._mapped("tidy"):
            return self._typed(self.driver.tidy(name), Did, "tidy")

    def changed_since(self, name: str, earlier: str) -> Ranges | None:
        """None for a driver that cannot say it."""
        bricks.checked(name)
        bricks.checked(earlier)
        if not isinstance(self.driver, Differ):
            return None
        with self._mapped("changed_since"):
            return self.driver.changed_since(name, earlier)

    # checks -----------------------------------------------------------------------------------------------------

    def _check_label(self, label: Label) -> None:
        if not isinstance(label, Label):
            raise errors.Invalid(f"driver {self.name}: {label!r} is not a Label", field="label")
        bricks.checked(label.name)
        if not label.project or not isinstance(label.project, str):
            raise errors.Invalid(f"driver {self.name}: the label of {label.name} needs a project", field="project")

    def _check_volume(self, label: Label) -> None:
        self._check_label(label)
        if label.kind is Kind.SNAPSHOT:
            raise errors.Invalid(f"{label.name} is a snapshot: only the verb snapshot makes one", field="kind")

    def _check_size(self, size_bytes: int) -> None:
        if type(size_bytes) is not int or not 0 < size_bytes <= BYTES_MAX:
            raise errors.Invalid(
                f"driver {self.name}: a size is a whole number of bytes from 1 to {BYTES_MAX}, not {size_bytes!r}",
                field="size",
            )

    def _denied(self, capability: str) -> errors.Invalid:
        return errors.Invalid(
            f"driver {self.name} does not offer this: its capability {capability!r} is off; use another backend"
        )

    def _typed(self, answer: object, expected: type[Answer], verb: str) -> Answer:
        if not isinstance(answer, expected):
            raise errors.BrickError(
                f"driver {self.name}: {verb} gave {answer!r} where {expected.__name__} is due: report it as its bug"
            )
        return answer

    @contextmanager
    def _mapped(self, verb: str) -> Iterator[None]:
        try:
            yield
        except errors.BrickyardError as error:
            error.facts.setdefault("driver", self.name)
            raise
        except OSError as error:
            if error.errno in NO_SPACE:
                message = f"driver {self.name}: {verb}: {error}: free space in the pool or make it larger, then repeat"
                raise errors.NoSpace(message) from error
            raise errors.BrickError(f"driver {self.name}: {verb}: {error}: look at the pool, then repeat") from error
