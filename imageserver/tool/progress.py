"""How far a long job has come, for people who watch."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self


class ProgressBar:
    """A bar on standard error if that is a terminal, else nothing; a context manager.

    May be advanced from any thread.
    """

    def __init__(
        self, title: str, total_bytes: int | None = None, is_quiet: bool = False
    ) -> None:
        """Show ``title``.

        Args:
            title: what goes on.
            total_bytes: how much there is to do, if that is known.
            is_quiet: whether to show nothing at all.
        """
        self._progress: Any = None
        self._task: Any = None
        self.objects = 0
        self.bytes_ = 0
        if sys.stderr.isatty() and not is_quiet:
            from imageserver.tool.bar import make_bar  # noqa: PLC0415 - for people only

            self._progress = make_bar()
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

    def expect(self, total_bytes: int) -> None:
        """It is known now how much there is to do."""
        if self._progress is not None:
            self._progress.update(self._task, total=total_bytes)

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
