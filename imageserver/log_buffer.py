"""The last lines of the log, in memory, for the pages."""

from __future__ import annotations

import threading
from collections import deque

import attrs
from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

from imageserver.log import format_line

_LEAST_LINES = 100


@attrs.frozen
class LogLine:
    """Something that was logged.

    Attributes:
        time_s: when, in seconds since 1970.
        level: how grave it is: ``debug``, ``info``, ``warn``, ``error``, ``critical``.
        logger: which part of the program has logged it.
        text: the line without its end; a traceback has several.
    """

    time_s: float
    level: str
    logger: str
    text: str


@implementer(ILogObserver)
class LogBuffer:
    """See the module. May be used from any thread."""

    def __init__(self, lines: int) -> None:
        """Keep so many lines, but no fewer than 100."""
        self._lines: deque[LogLine] = deque(maxlen=max(lines, _LEAST_LINES))
        self._lock = threading.Lock()

    def __call__(self, event: LogEvent) -> None:
        """Something is logged."""
        level = event.get("log_level") or LogLevel.info
        line = LogLine(
            event.get("log_time") or 0.0,
            level.name,
            event.get("log_namespace") or "",
            format_line(event).rstrip("\n"),
        )
        with self._lock:
            self._lines.append(line)

    def lines(self, most: int | None = None) -> list[LogLine]:
        """What is kept, oldest first; only the last ones if a number is given."""
        with self._lock:
            kept = list(self._lines)
        return kept if most is None else kept[-most:]
