"""A spinner while a command waits, and a bar for work that tells how far it is; nothing where nobody looks."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich import console, progress, progress_bar, table, text

from brickyard.cli import tables

ROOMY = 90  # columns from which on the speed has room beside the bar
STATIC_COLUMNS = 30


class Known(progress.ProgressColumn):
    """Another column, empty as long as nobody knows how much there is to do."""

    def __init__(self, column: progress.ProgressColumn) -> None:
        super().__init__(column.get_table_column())
        self.column = column

    def render(self, task: progress.Task) -> console.RenderableType:
        return text.Text("") if task.total is None else self.column(task)


class Waiting:
    """A line at the end of the screen that says what is waited for; it leaves no trace."""

    def __init__(self, screen: console.Console, words: str) -> None:
        amounts: list[progress.ProgressColumn] = [
            progress.BarColumn(bar_width=None),
            progress.TaskProgressColumn(),
            progress.DownloadColumn(binary_units=True),
        ]
        if screen.width >= ROOMY:
            amounts += [progress.TransferSpeedColumn(), progress.TimeRemainingColumn()]
        self._bar = progress.Progress(
            progress.SpinnerColumn(),
            progress.TextColumn("{task.description}", markup=False),
            *(Known(column) for column in amounts),
            console=screen,
            transient=True,
            disable=not screen.is_terminal,
        )
        self._task = self._bar.add_task(words, total=None)
        self._of: tuple[str, str] | None = None

    def __enter__(self) -> Waiting:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def says(self, words: str) -> None:
        """Something else is waited for, of which nobody knows how long it takes."""
        if self._of is not None:
            self._of = None
            self._bar.remove_task(self._task)
            self._task = self._bar.add_task(words, total=None)
        self._bar.update(self._task, description=words)

    def moved(self, words: str, found: Mapping[str, Any]) -> None:
        """`found` is how far a step is, as the API shows it."""
        if self._of != (found["step"], found["what"]):
            self._of = (found["step"], found["what"])
            self._bar.reset(self._task, total=found["total_bytes"])
        self._bar.update(
            self._task, description=words, total=found["total_bytes"], completed=found["done_bytes"], refresh=True
        )


def amount(found: Mapping[str, Any]) -> str:
    """How far a step is, in words."""
    done, total = tables.size(found["done_bytes"]), tables.size(found["total_bytes"])
    return f"{found['percent']} %, {done} of {total} of {found['what']}"


def still(screen: console.Console, found: Mapping[str, Any]) -> None:
    """The bar of this moment, on a terminal."""
    if screen.is_terminal:
        total, done = max(1, found["total_bytes"]), found["done_bytes"]
        line = table.Table.grid(padding=(0, 1))
        line.add_row(progress_bar.ProgressBar(total=total, completed=done, width=STATIC_COLUMNS))
        screen.print(line)
