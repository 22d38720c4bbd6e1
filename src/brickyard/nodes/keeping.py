"""The backup service of a node: its verbs for backups, done at the place that this host is configured for.

What is done for one backup is done one after the other, so that what deletes it finds nobody who still stores it. To
delete or cancel ends what is being stored.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator

from brickyard.backups import copying, places, s3
from brickyard.backups.copying import Kept, Task
from brickyard.backups.manifest import Where
from brickyard.brick import content
from brickyard.brick.driver import Differ, Driver, Progress, Ranges
from brickyard.core import errors, settings
from brickyard.core.bricks import Did
from brickyard.nodes.verbs import BackupReport

LOG = logging.getLogger(__name__)
LOOK_S = 3.0  # that a report waits for the place


class Keeper:
    """`settings` None: no backups are kept here."""

    def __init__(self, configured: settings.Backups | None) -> None:
        self.settings = configured
        self._place: places.Place | None = None
        self._looking: threading.Thread | None = None
        self._seen: BackupReport | None = None
        self._lock = threading.Lock()
        self._held: dict[str, tuple[threading.Lock, int]] = {}  # backup → how many work on it or wait
        self._ended: set[str] = set()  # backups that are not to be stored any more

    def report(self) -> BackupReport | None:
        """How the place is. One that does not answer is looked at by a thread of its own, so that the report of the
        host does not wait for it: until it answers it is down."""
        if self.settings is None:
            return None
        if self._looking is None or not self._looking.is_alive():
            self._looking = threading.Thread(target=self._look, name="backup-place", daemon=True)
            self._looking.start()
        self._looking.join(LOOK_S)
        return self._unanswered() if self._looking.is_alive() else self._seen

    def _look(self) -> None:
        try:
            seen = dataclasses.replace(self._unanswered(), up=True, why_down=None, place=self._checked().id)
        except Exception as error:
            seen = dataclasses.replace(self._unanswered(), why_down=str(error))
        self._seen = seen

    def _unanswered(self) -> BackupReport:
        assert self.settings is not None
        driver = "s3" if self.settings.s3 else "directory"
        return BackupReport(
            driver, self.settings.container, up=False, why_down=f"{driver} does not answer; is it there?"
        )

    def make(self, driver: Driver, name: str, task: Task, progress: Progress | None) -> Kept:
        place = self._checked()
        stopped = self._stopped(task.where.id)
        with self._alone(task.where.id), content.opened(driver, name) as opened:
            changed = _changed(driver, name, task)
            kept = copying.make(place, opened, task, progress=progress, stopped=stopped, changed=changed)
        how = "as a whole" if changed is None else "where it has changed"
        LOG.info("%s is backed up %s: %s of %s bytes were read", name, how, kept.read_bytes, task.size_bytes)
        return kept

    def restore(self, driver: Driver, name: str, where: Where, progress: Progress | None) -> Did:
        place = self._checked()
        with content.opened(driver, name, writable=True) as opened:
            copying.restore(place, opened, where, progress=progress, stopped=lambda: False)
        return Did.CHANGED

    def find(self, where: Where) -> Kept:
        return copying.find(self._checked(), where)

    def delete(self, where: Where, progress: Progress | None) -> Did:
        self.cancel(where.id)
        with self._alone(where.id):
            removed = copying.delete(self._checked(), where, progress=progress)
            with self._lock:
                self._ended.discard(where.id)
        return Did.CHANGED if removed else Did.ALREADY

    def cancel(self, id: str) -> Did:
        """What is being stored for a backup is stored no further, here and until it is deleted."""
        with self._lock:
            before = id in self._ended
            self._ended.add(id)
        return Did.ALREADY if before else Did.CHANGED

    def _stopped(self, id: str) -> Callable[[], bool]:
        return lambda: id in self._ended

    @contextlib.contextmanager
    def _alone(self, id: str) -> Iterator[None]:
        with self._lock:
            lock, waiting = self._held.get(id, (threading.Lock(), 0))
            self._held[id] = lock, waiting + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, waiting = self._held.pop(id)
                if waiting > 1:
                    self._held[id] = lock, waiting - 1

    def _checked(self) -> places.Place:
        """The place, looked at once more: it may be mounted, or have come back, since the last time."""
        if self.settings is None:
            raise errors.Unavailable("No backups are kept on this host: set backup_driver in its configuration.")
        with self._lock:
            if self._place is None:
                self._place = _place(self.settings)
        self._place.check()
        return self._place


def _changed(driver: Driver, name: str, task: Task) -> Ranges | None:
    """Where the brick may differ from what its backup is compared with; None when all of it is to be read, which is
    never wrong."""
    if task.parent is None or task.parent_brick is None or not isinstance(driver, Differ):
        return None
    try:
        return driver.changed_since(name, task.parent_brick)
    except errors.BrickyardError as error:
        LOG.warning("what has changed in %s since %s is not known: %s", name, task.parent_brick, error.message)
        return None


def _place(configured: settings.Backups) -> places.Place:
    if configured.s3 is not None:
        return s3.Bucket(configured.s3)
    assert configured.directory is not None  # one of the two
    return places.Directory(configured.directory)
