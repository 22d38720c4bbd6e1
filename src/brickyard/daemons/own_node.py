"""The node of this host: made from the settings, and made to report. In `brickyard serve`, or as an agent."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from brickyard.brick import exports, nvmet, serving
from brickyard.core import errors
from brickyard.core.settings import Settings
from brickyard.daemons import backends
from brickyard.hypervisor import machine
from brickyard.nodes import keeping, local

LOG = logging.getLogger(__name__)
FIRST_REPORT_S = 5.0  # a disk that hangs may delay its own backend, and not the rest for longer than this


def make(settings: Settings, made_before: Sequence[tuple[str, Mapping[str, Any]]]) -> local.LocalNode:
    """This host, with the backends of its configuration, and those that were made through the API before."""
    known = {backend.name: backends.configured(backend) for backend in settings.node.backends}
    maker = backends.Maker(settings.state_dir, settings.service.availability_zone, known)
    for name, options in made_before:
        if name in known:
            LOG.warning("backend %s was made through the API and is in the configuration now, which counts", name)
            continue
        known[name] = maker.again(name, options)
    node = local.LocalNode(
        host=settings.node.host,
        labels=settings.node.labels,
        vcpus=settings.node.vcpus,
        memory_mib=settings.node.memory_mib,
        backends=list(known.values()),
        hypervisor=_hypervisor(settings),
        make=maker,
        keeper=keeping.Keeper(settings.node.backups),
        exports=functools.partial(_exports, settings),
    )
    maker.taken = node.backends
    return node


def _exports(settings: Settings, opened: exports.Opener) -> exports.Exports:
    server = serving.Simulated() if settings.node.hypervisor == "memory" else nvmet.NbdOrNvmet()
    return exports.Exports(settings.state_dir / "exports", settings.node.exports, opened, server)


def _hypervisor(settings: Settings) -> machine.Hypervisor | None:
    """What runs instances here; None, with a warning that says why, when nothing can."""
    if settings.node.hypervisor == "none":
        return None
    if settings.node.hypervisor == "memory":
        from brickyard.hypervisor import memory

        return memory.Memory()
    from brickyard.hypervisor import qemu

    found = qemu.Qemu(settings.state_dir, accel=settings.node.acceleration)
    try:
        found.check()
    except errors.BrickyardError as error:
        LOG.warning("no instances can run on this host: %s", error)
        return None
    return found


class Reporter:
    """A thread that has `report` called: once at the start, then again and again, and as soon as the watch over the
    node's pools has something to tell. The watch goes on while nobody can be told. Beside it another one keeps the
    exports of the node alive, which may take long where one is slow to fail."""

    def __init__(self, node: local.LocalNode, report: Callable[[], None], interval_s: float) -> None:
        self.node, self.report, self.interval_s = node, report, interval_s
        self._first, self._stopping, self._due = threading.Event(), threading.Event(), threading.Event()
        node.watch.on_change = self._due.set  # what has changed is told at once
        self._thread = threading.Thread(target=self._work, name="reporter", daemon=True)
        self._exporting = threading.Thread(target=self._keep_exports, name="exports", daemon=True)

    def start(self) -> None:
        self._thread.start()
        self.node.watch.start()

    def wait_for_first(self, timeout_s: float) -> bool:
        return self._first.wait(timeout_s)

    def now(self) -> None:
        """Report once more, without waiting for the next time."""
        self._due.set()

    def stop(self, timeout_s: float = 5) -> None:
        self._stopping.set()
        self._due.set()
        self.node.watch.stop(timeout_s)
        for thread in (self._thread, self._exporting):
            if thread.is_alive():
                thread.join(timeout_s)

    def _keep_exports(self) -> None:
        while not self._stopping.is_set() and self.node.exporting is not None:
            self._attempt(self.node.exporting.keep)
            self._stopping.wait(self.interval_s)

    def _work(self) -> None:
        self._attempt(self.node.start)
        self._exporting.start()
        while True:
            self._attempt(self.report)
            self._first.set()
            self._due.wait(self.interval_s)
            self._due.clear()
            if self._stopping.is_set():
                return

    def _attempt(self, what: Callable[[], None]) -> None:
        try:
            what()
        except errors.Unavailable as error:
            LOG.warning("the report of this host reaches nobody: %s", error)
        except Exception:
            LOG.exception("the report of this host, or its exports, failed; repeated in %s s", self.interval_s)
