"""Lines of the log as JSON objects: ``docs/operations.md``, "The log"."""

from __future__ import annotations

import datetime
import json
from typing import Any

from twisted.logger import LogEvent, LogLevel, eventAsText

_PLAIN = (str, int, float, bool, type(None))
_LONGEST = 4_096


def format_json(event: LogEvent) -> str:
    """A line of the log, with its end.

    ``time`` (UTC), ``level``, ``logger`` and ``text`` are always there; what stands in
    the text is in ``fields`` again, by its name.
    """
    level = event.get("log_level") or LogLevel.info
    time = datetime.datetime.fromtimestamp(event.get("log_time") or 0, datetime.UTC)
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    values: dict[str, Any] = {
        "time": time.isoformat(timespec="milliseconds"),
        "level": level.name,
        "logger": event.get("log_namespace", ""),
        "text": text,
    }
    fields = {
        key: value if isinstance(value, _PLAIN) else str(value)[:_LONGEST]
        for key, value in event.items()
        if key.isidentifier() and not key.startswith("log_") and key not in _OWN
    }
    if fields:
        values["fields"] = fields
    return json.dumps(values) + "\n"


_OWN = frozenset({"time", "isError", "failure", "why", "message", "format", "text"})
