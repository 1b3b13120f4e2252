"""How far a long job has come, for people who watch."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


class ProgressBar:
    """A bar on standard error if that is a terminal, else nothing; a context manager.

    May be advanced from any thread.
    """

    def __init__(self, title: str, total_bytes: int | None = None) -> None:
        """Show ``title``; ``total_bytes`` is how much there is to do, if known."""
        self._progress: Progress | None = None
        self._task: TaskID
        self.objects = 0
        self.bytes_ = 0
        if sys.stderr.isatty():
            self._progress = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(binary_units=True),
                TransferSpeedColumn(),
                TimeRemainingColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._progress.add_task(title, total=total_bytes)

    def advance(self, objects: int, size: int) -> None:
        """So many more objects and bytes are done."""
        self.objects += objects
        self.bytes_ += size
        if self._progress is not None:
            self._progress.update(self._task, completed=self.bytes_)

    def reach(self, objects: int, size: int) -> None:
        """So many objects and bytes are done in all."""
        self.advance(objects - self.objects, size - self.bytes_)

    def __enter__(self) -> Self:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
