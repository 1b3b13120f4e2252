"""The log: what its lines look like, which are kept, and who watches them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import attrs
from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    eventAsText,
)
from twisted.logger import formatTime as format_time
from zope.interface import implementer

NO_DEBUG = -1
"""The level of ordinary messages; kept as a level, it means: no debug messages."""

SECONDS = "%Y/%m/%d %H:%M:%S"
"""How times are written."""
MICROSECONDS = SECONDS + ".%f"
"""... more exactly."""

_LEVEL = "debug_level"
_logger = Logger(namespace="imageserver.log")


def format_line(event: LogEvent, time_format: str = SECONDS) -> str:
    """A line of the log, with its end; tracebacks are further lines."""
    time = format_time(event.get("log_time"), timeFormat=time_format)
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    # A name from outside must not be able to write lines of its own.
    is_failure = "log_failure" in event
    first, *traceback = text.split("\n") if is_failure else [text]
    flat = first.replace("\n", "\\n").replace("\r", "\\r")
    return "\n".join([f"{time} {flat}", *traceback]) + "\n"


@attrs.frozen(eq=False)
class Watcher:
    """Somebody who is told lines of the log.

    Attributes:
        level: up to which level of debug messages.
        wants: whether a line is wanted; without its end.
        put: takes a line.
    """

    level: int
    wants: Callable[[str], bool]
    put: Callable[[str], None]


@implementer(ILogObserver)
class Log:
    """Tells watchers what is logged; decides which debug messages are.

    Attributes:
        level: debug messages are logged up to this level.
    """

    def __init__(self, deliver: Callable[..., Any], level: int = NO_DEBUG) -> None:
        """Nobody watches yet.

        Args:
            deliver: calls a function on the reactor's side; messages come from any
                thread.
            level: see above.
        """
        self.level = level
        self._deliver = deliver
        self._watchers: frozenset[Watcher] = frozenset()
        self._changing = threading.Lock()

    def __call__(self, event: LogEvent) -> None:
        """Something is logged."""
        if self._watchers:
            is_debug = event.get("log_level") is LogLevel.debug
            level = event.get(_LEVEL, 0 if is_debug else NO_DEBUG)
            self._deliver(self._tell, level, format_line(event))

    def debug(self, level: int, text: str) -> None:
        """Log a debug message, if somebody wants to know."""
        event = {_LEVEL: level, "text": text}
        if level <= self.level:
            _logger.debug("{text}", **event)
        elif self._watchers:
            Logger(namespace=_logger.namespace, observer=self).debug("{text}", **event)

    def watch(self, watcher: Watcher) -> None:
        """Tell ``watcher`` what is logged from now on."""
        with self._changing:
            self._watchers |= {watcher}

    def leave(self, watcher: Watcher) -> None:
        """Tell it no more."""
        with self._changing:
            self._watchers -= {watcher}

    def _tell(self, level: int, line: str) -> None:
        for watcher in self._watchers:
            if level <= watcher.level and watcher.wants(line[:-1]):
                watcher.put(line)
