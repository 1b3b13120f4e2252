"""The log: ``/logs`` and what is below it."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from imageserver.rpc.logger import describe_stacks
from imageserver.web.answer import Answer, PageError, as_json, lines, plain
from imageserver.web.log_lines import LogLines, Selection
from imageserver.web.rendering import Renderer
from imageserver.web.visit import Visit

_SPANS = (
    ("1m", "minute"),
    ("10m", "10 minutes"),
    ("1h", "hour"),
    ("1d", "day"),
    ("1w", "week"),
    ("1M", "month"),
    ("1y", "year"),
)
_STACKS_INTERVAL_S = 2.0
_SHOWN = 1_024


class LogPages:
    """See the module."""

    def __init__(
        self, renderer: Renderer, log: LogLines, seconds: Callable[[], float]
    ) -> None:
        """Show a log.

        Args:
            renderer: makes pages.
            log: the log.
            seconds: a clock, to show stacks not too often.
        """
        self._renderer = renderer
        self._log = log
        self._seconds = seconds
        self._stacks_shown_s = float("-inf")

    def index(self, visit: Visit) -> Answer:
        """What there is, and the last lines: ``/logs``."""
        files = self._log.files
        names = files.names() if files else []
        if visit.output == "text":
            return lines(names)
        kept = self._log.buffer.lines(_SHOWN)
        if visit.output == "json":
            return as_json({"files": names, "lines": [attrs.asdict(it) for it in kept]})
        selection = Selection.of(visit)
        kept = [line for line in kept if selection.wants(line.text)]
        return self._renderer.page(
            "logs.html",
            visit,
            spans=_SPANS,
            files=files,
            names=names,
            lines=kept[::-1] if selection.recent_first else kept,
            recent_first=selection.recent_first,
            outputs=("json", "text"),
        )

    def dump(self, visit: Visit) -> Answer:
        """A file as text: ``/logs/dump``."""
        name = visit.query.get("name")
        if not name:
            raise PageError(400, "Name a file: name=latest")
        return lines(Selection.of(visit).choose(self._log.named(name)))

    def last(self, visit: Visit) -> Answer:
        """The lines of the last minutes, or whatever: ``/logs/showLast``."""
        spans = [flag for flag in visit.query.flags() if flag != "recentFirst"]
        if len(spans) != 1:
            raise PageError(400, "Say for how long: a number and one of s m h d w M y.")
        selection = Selection.of(visit)
        runs = [selection.choose(run) for run in self._log.last(spans[0])]
        runs = runs[::-1] if selection.recent_first else runs
        if visit.output == "text":
            return lines(line for run in runs for line in run)
        if visit.output == "json":
            return as_json(runs)
        return self._renderer.page(
            "log_lines.html",
            visit,
            span=dict(_SPANS).get(spans[0], spans[0]),
            runs=runs,
            outputs=("json", "text"),
        )

    def since_start(self, visit: Visit) -> Answer:
        """All lines of this run as text: ``/logs/showSinceStartup``."""
        return lines(Selection.of(visit).choose(self._log.of_this_run()))

    def crash(self, visit: Visit) -> Answer:
        """The log of the run before, if it crashed: ``/logs/showPreviousPanic``."""
        found = self._log.of_crash()
        if not found:
            return plain("The run before did not end in a crash.\n")
        return lines(Selection.of(visit).choose(found))

    def stacks(self, _: Visit) -> Answer:
        """What all threads are doing: ``/logs/showStackTrace``."""
        now_s = self._seconds()
        if now_s - self._stacks_shown_s < _STACKS_INTERVAL_S:
            return plain("Too soon\n", 429)
        self._stacks_shown_s = now_s
        return plain(describe_stacks())
