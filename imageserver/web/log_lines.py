"""Lines of the log, from files if there are any, else from memory."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import attrs

from imageserver.log_buffer import LogBuffer
from imageserver.model.expression import compile_expression
from imageserver.web.answer import PageError
from imageserver.web.visit import Visit

LATEST = "latest"
_UNITS_S = {
    "s": 1,
    "m": 60,
    "h": 3_600,
    "d": 86_400,
    "w": 7 * 86_400,
    "M": 31 * 86_400,
    "y": 365 * 86_400,
}
_SPAN = re.compile(r"([0-9]{1,9})([smhdwMy])")
_TIME = re.compile(
    r"(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d)"
    r'|{"time": "(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)'
)
_MOST_BYTES = 32 << 20


class LogFilesView(Protocol):
    """The files of the log, as they are written.

    Attributes:
        directory: where they are.
        first: the name of the first one of this run.
        current: the name of the one that is written.
        crashed: the name of the last one of the run before, if that crashed.
    """

    directory: Path
    first: str
    current: str
    crashed: str

    def names(self) -> list[str]:
        """The names of all, oldest first."""

    def has_crash(self, name: str) -> bool:
        """Whether one ends in a crash."""


@attrs.frozen
class Selection:
    """Which lines are wanted; exclusion wins.

    Attributes:
        wants: whether a line is.
        recent_first: whether the newest comes first.
    """

    wants: Callable[[str], bool]
    recent_first: bool

    @classmethod
    def of(cls, visit: Visit) -> Selection:
        """What a request wants.

        Raises:
            PageError: an expression is none.
        """
        try:
            included = [compile_expression(it) for it in visit.query.all("include")]
            excluded = [compile_expression(it) for it in visit.query.all("exclude")]
        except ValueError as error:
            raise PageError(400, str(error)) from error

        def wants(line: str) -> bool:
            if any(it.search(line) for it in excluded):
                return False
            return not included or any(it.search(line) for it in included)

        return cls(wants, visit.query.has("recentFirst"))

    def choose(self, lines: Iterator[str] | list[str]) -> list[str]:
        """The lines that are wanted, in the order that is."""
        chosen = [line for line in lines if self.wants(line)]
        return chosen[::-1] if self.recent_first else chosen


class LogLines:
    """See the module."""

    def __init__(
        self,
        buffer: LogBuffer,
        files: Callable[[], LogFilesView | None],
        now_s: Callable[[], float],
    ) -> None:
        """Look at the log.

        Args:
            buffer: the last lines in memory.
            files: gives the files, if there are any.
            now_s: the time.
        """
        self.buffer = buffer
        self._files = files
        self._now_s = now_s

    @property
    def files(self) -> LogFilesView | None:
        """The files, if there are any."""
        return self._files()

    def named(self, name: str) -> list[str]:
        """The lines of a file; of ``latest`` if there is none, those in memory.

        Raises:
            PageError: there is no such file.
        """
        name = name.rpartition("/")[2]
        files = self.files
        if files is None:
            if name == LATEST:
                return [line.text for line in self.buffer.lines()]
            raise PageError(404, "There is no such log file.")
        if name == LATEST:
            name = files.current
        if name not in files.names():
            raise PageError(404, "There is no such log file.")
        return _read(files.directory / name)

    def last(self, span: str) -> list[list[str]]:
        """The lines that are not older, those of earlier runs apart.

        Args:
            span: a number and a unit, like ``10m``.

        Raises:
            PageError: it is none.
        """
        found = _SPAN.fullmatch(span)
        if found is None:
            raise PageError(400, "Say for how long: a number and one of s m h d w M y.")
        since_s = self._now_s() - int(found[1]) * _UNITS_S[found[2]]
        files = self.files
        if files is None:
            kept = self.buffer.lines()
            return [[line.text for line in kept if line.time_s >= since_s]]
        since_s = max(since_s, 0.0)
        before: list[str] = []
        ours: list[str] = []
        for name in reversed(files.names()):
            lines = _read(files.directory / name)
            young = _younger(lines, since_s)
            run = ours if name >= files.first else before
            run[:0] = young
            if len(young) < len(lines):
                break
        return [run for run in (before, ours) if run]

    def of_this_run(self) -> list[str]:
        """All lines since the start, as far as they are still there."""
        files = self.files
        if files is None:
            return [line.text for line in self.buffer.lines()]
        names = [name for name in files.names() if name >= files.first]
        return [line for name in names for line in _read(files.directory / name)]

    def of_crash(self) -> list[str]:
        """The log of the run before, if it crashed; else nothing."""
        files = self.files
        if files is None or not files.crashed:
            return []
        return _read(files.directory / files.crashed)


def _read(path: Path) -> list[str]:
    """The lines of a file, or the last ones of a very long one."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _MOST_BYTES))
            data = file.read(_MOST_BYTES)
    except OSError as error:
        raise PageError(404, "The log file cannot be read.") from error
    return data.decode("utf-8", "replace").splitlines()


def _younger(lines: list[str], since_s: float) -> list[str]:
    """The lines from the first one on that is not older."""
    local = time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(since_s))
    utc = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since_s))  # in JSON
    for number, line in enumerate(lines):
        found = _TIME.match(line)
        if found and ((found[1] or "") >= local or (found[2] or "") >= utc):
            return lines[number:]
    return []
