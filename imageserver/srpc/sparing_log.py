"""Log lines that any peer can cause, and that must not fill the disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

_LINES = 20
_PERIOD_S = 60.0


class SparingLog:
    """Writes a limited number of lines of each kind in a minute, counts the others."""

    def __init__(self, log: Logger, seconds: Callable[[], float]) -> None:
        """Write to ``log``; ``seconds`` is the time."""
        self._log = log
        self._seconds = seconds
        self._periods: dict[str, tuple[float, int]] = {}

    def info(self, kind: str, text: str, **values: Any) -> None:
        """A line, unless there were too many of its kind.

        Args:
            kind: one of few; never something that anybody may choose.
            text: with the names of ``values`` in braces.
            values: for the text.
        """
        self._write(self._log.info, kind, text, values)

    def warn(self, kind: str, text: str, **values: Any) -> None:
        """The same at the level of warnings."""
        self._write(self._log.warn, kind, text, values)

    def _write(
        self, log: Callable[..., None], kind: str, text: str, values: dict[str, Any]
    ) -> None:
        now_s = self._seconds()
        began_s, lines = self._periods.get(kind, (now_s, 0))
        if now_s - began_s >= _PERIOD_S:
            if lines > _LINES:
                log(
                    "{kind}: {left_out} more like those before",
                    kind=kind,
                    left_out=lines - _LINES,
                )
            began_s, lines = now_s, 0
        self._periods[kind] = began_s, lines + 1
        if lines < _LINES:
            log(text, **values)
