"""What a tool says: results on standard output, everything else on standard error."""

from __future__ import annotations

import datetime
import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from imageserver.tool.settings import Connecting
from imageserver.tool.terminal import Painter, has_colours, printable, tell


class Talk:
    """Tells the user something, in the way that the flags ask for.

    Attributes:
        as_json: whether results are told as JSON.
        is_quiet: whether only results and errors are told.
    """

    def __init__(self, settings: Connecting) -> None:
        """Tell what ``settings`` ask for."""
        self.as_json = settings.json
        self.is_quiet = settings.quiet
        self._settings = settings

    def lines(
        self, lines: Iterable[str | bytes], painter: Painter | None = None
    ) -> None:
        """Print results, a line each; text that was bytes comes out as it was.

        Args:
            lines: what to print.
            painter: puts colours into them, on terminals.
        """
        if sys.stdout.isatty():
            paint = painter if painter and has_colours(sys.stdout) else str
            lines = (paint(printable(os.fsdecode(line))) for line in lines)
        out = sys.stdout.buffer
        out.writelines(
            (line if isinstance(line, bytes) else os.fsencode(line)) + b"\n"
            for line in lines
        )
        out.flush()

    def json(self, value: Any) -> None:
        """Print a result as JSON."""
        text = json.dumps(value, indent=4, ensure_ascii=False, default=_plain)
        # What stands for bytes that are not UTF-8 becomes an escape of JSON.
        self.lines([text.encode("utf-8", "backslashreplace")])

    def log(self, text: str) -> None:
        """Tell how it goes."""
        tell(f"{self._stamp()}{text}")

    def summary(self, text: str) -> None:
        """Tell people, at the end, what was done; scripts do not want to know."""
        if not self.is_quiet and sys.stderr.isatty():
            tell(text)

    def warn(self, text: str) -> None:
        """Tell what did not go as wanted, though the rest did."""
        tell(f"warning: {text}")

    def _stamp(self) -> str:
        if not self._settings.log_datestamps:
            return ""
        now = datetime.datetime.now()
        form = "%Y/%m/%d %H:%M:%S"
        return now.strftime(
            f"{form}.%f " if self._settings.log_subseconds else f"{form} "
        )


def _plain(value: Any) -> Any:
    """How JSON tells what it has no form for: names and hashes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    raise TypeError(f"no JSON for {type(value).__name__}")
