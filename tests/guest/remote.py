"""Runs tests in guests and hands their reports out. Two guests work at a time, on some tests of a file each, and a new
one comes for the next: what a killed command leaves in a kernel or in udev is not the next file's.

Their kernel is a process where that is possible (user_mode.py), which is about twice as quick as an emulated machine;
`BRICKYARD_GUEST_KERNEL=emulated` says otherwise, and tests with the mark `emulated` always run in a whole machine. What
a guest in user mode leaves without a report, because it died or stood still, is run again in an emulated one, and the
summary says so; what has failed, or has all its reports, is never run again."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .reporter import MARK
from .vm import Guest, user_mode

GUESTS = 2
# Few enough that both guests end at about the same time; each start of pytest costs some seconds, more in an emulation.
AT_ONCE = 16
FILE_S = 3000
PYTEST = [
    "python3",
    "-m",
    "pytest",
    "-q",
    "--no-header",
    "--tb=short",
    "-rN",
    "-o",
    "timeout=1500",
    "-o",
    "faulthandler_timeout=400",
    "-p",
    "reporter",
]
PYTEST += ["-p", "no:cacheprovider", "-p", "pytest_timeout"]


class Remote:
    """The reports of all items, as they come. Guests start with the first question."""

    def __init__(self, config: pytest.Config, items: Iterable[pytest.Item]) -> None:
        self.config = config
        self.reports: dict[str, list[pytest.TestReport]] = {}
        self.failed: dict[str, str] = {}  # node id → why there will be no more reports
        self.came = threading.Condition()
        self.notes: list[str] = []  # what whoever reads the results should know of the guests
        self.files: queue.SimpleQueue[tuple[list[str], bool]] = queue.SimpleQueue()
        self.guests: list[Guest | user_mode.Guest] = []
        self.room = tempfile.TemporaryDirectory(prefix="brickyard-guests-")
        by_file: dict[tuple[str, bool], list[str]] = {}
        quick = os.environ.get("BRICKYARD_GUEST_KERNEL") != "emulated"
        for item in items:
            emulated = not quick or item.get_closest_marker("emulated") is not None
            file = "" if quick and emulated else item.nodeid.partition("::")[0]  # there are few, and each boot is long
            by_file.setdefault((file, emulated), []).append(item.nodeid)
        # The slowest first, which are the emulated ones, and then files of few tests: theirs are longer.
        for (_, emulated), node_ids in sorted(by_file.items(), key=lambda file: (not file[0][1], len(file[1]))):
            for start in range(0, len(node_ids), AT_ONCE):
                self.files.put((node_ids[start : start + AT_ONCE], emulated))
        self.workers = [threading.Thread(target=self._work, args=(number,), daemon=True) for number in range(GUESTS)]
        self.trying, self.works = threading.Lock(), None  # whether kernels in user mode run here; nobody knows yet
        self.started = False
        self.stopping = threading.Event()

    def of(self, node_id: str) -> list[pytest.TestReport]:
        """Wait for all reports of one test."""
        if not self.started:
            self.started = True
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # pytest ends in order then, and so do the guests
            for worker in self.workers:
                worker.start()
        with self.came:
            self.came.wait_for(lambda: node_id in self.failed or self._is_whole(node_id))
            found = self.reports.get(node_id, [])
            return found if self._is_whole(node_id) else [*found, _lost(node_id, self.failed[node_id])]

    def stop(self) -> None:
        self.stopping.set()  # a worker whose guest ends would boot another one
        for guest in list(self.guests):
            guest.stop()
        for worker in self.workers if self.started else []:
            worker.join(30)  # it removes what its guest has left in memory
        self.room.cleanup()

    def _is_whole(self, node_id: str) -> bool:
        found = self.reports.get(node_id, [])
        return bool(found) and found[-1].when == "teardown"

    def _is_told(self, node_id: str) -> bool:
        """Whether there is something that must not be lost: everything, or a failure."""
        return self._is_whole(node_id) or any(report.failed for report in self.reports.get(node_id, []))

    def _work(self, number: int) -> None:
        while not self.stopping.is_set():
            try:
                node_ids, emulated = self.files.get_nowait()
            except queue.Empty:
                break
            why = self._run(number, node_ids, emulated=emulated or not self._user_mode_works())
            left = [node_id for node_id in node_ids if not self._is_told(node_id)]
            if left and not emulated and self.works and not self.stopping.is_set():
                self.notes.append(f"{len(left)} tests ran again in an emulated guest, beginning with {left[0]}: {why}")
                self._close([node_id for node_id in node_ids if node_id not in left], why)
                for node_id in left:
                    self.reports.pop(node_id, None)
                node_ids, why = left, self._run(number, left, emulated=True)
            self._close(node_ids, why)

    def _close(self, node_ids: list[str], why: str) -> None:
        """There will be no more reports of these."""
        with self.came:
            self.failed.update(dict.fromkeys(node_ids, why))
            self.came.notify_all()

    def _run(self, number: int, node_ids: list[str], *, emulated: bool) -> str:
        """Run them in a new guest. What to say of those that have no report afterwards."""
        printed: list[str] = []
        why = "the test was not run in the guest"
        try:
            with self._guest(number, emulated=emulated) as guest:
                guest.run([*PYTEST, *node_ids], self._reader(printed), env=_environment(), timeout_s=FILE_S)
        except (Exception, SystemExit) as error:  # whatever it is, nobody may wait for ever
            why = f"{type(error).__name__}: {error}"
        return f"{why}; what it printed:\n{''.join(printed)[-4000:]}"

    @contextlib.contextmanager
    def _guest(self, number: int, *, emulated: bool) -> Iterator[Guest | user_mode.Guest]:
        place = tempfile.mkdtemp(prefix=f"{number}-", dir=self.room.name)  # what the last one leaves is not in the way
        guest: Guest | user_mode.Guest
        if emulated:
            guest = Guest.boot(Path(place, "guest"), disks=8, memory_mib=2048)
        else:
            guest = user_mode.Guest(disks=8, memory_mib=2048, processor=number)
        self.guests.append(guest)
        try:
            yield guest
        finally:
            guest.stop()
            self.guests.remove(guest)

    def _user_mode_works(self) -> bool:
        with self.trying:
            if self.works is None:
                self.works = user_mode.works()
                if not self.works:
                    self.notes.append("no kernel runs in user mode here; all guests are emulated, which is slower")
            return self.works

    def _reader(self, printed: list[str]) -> Any:
        rest = ""

        def read(text: str) -> None:
            nonlocal rest
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                if line.startswith(MARK):
                    self._report(json.loads(line[len(MARK) :]))
                else:
                    printed.append(line + "\n")

        return read

    def _report(self, data: dict[str, Any]) -> None:
        report = self.config.hook.pytest_report_from_serializable(config=self.config, data=data)
        with self.came:
            self.reports.setdefault(report.nodeid, []).append(report)
            self.came.notify_all()


def _environment() -> dict[str, str]:
    """What says how much is tested goes into the guest as well."""
    here = Path(__file__).resolve()
    ours = {name: value for name, value in os.environ.items() if name.startswith("BRICKYARD_")}
    ours["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # those that no test in a guest uses cost each start some seconds
    return ours | {"PYTHONPATH": f"{here.parents[2] / 'src'}:{here.parent}:/opt/brickyard/site-packages"}


def _lost(node_id: str, why: str) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=node_id,
        location=(node_id.partition("::")[0], None, node_id),
        keywords={},
        outcome="failed",
        longrepr=f"in the guest: {why}",
        when="call",
    )
