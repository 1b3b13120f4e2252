"""Requests and responses of the Logger service.

``docs/protocol.md``, "Methods", says what they mean. Field names on the wire are the
contract with existing clients.
"""

from __future__ import annotations

from imageserver import gob
from imageserver.gob import BYTES, INT, STRING, UINT8


@gob.struct("DebugRequest")
class DebugRequest:
    """Write a line that is for those who look for something."""

    arguments: tuple[str, ...] = gob.field("Args", gob.Slice(STRING))
    name: str = gob.field("Name", STRING)
    level: int = gob.field("Level", UINT8)


@gob.struct("DebugResponse")
class DebugResponse:
    """Done."""


@gob.struct("GetStackTraceRequest")
class GetStackTraceRequest:
    """What is the server doing?"""


@gob.struct("GetStackTraceResponse")
class GetStackTraceResponse:
    """The stacks of its threads, as text."""

    data: bytes = gob.field("Data", BYTES)


@gob.struct("PrintRequest")
class PrintRequest:
    """Write a line."""

    arguments: tuple[str, ...] = gob.field("Args", gob.Slice(STRING))
    name: str = gob.field("Name", STRING)


@gob.struct("PrintResponse")
class PrintResponse:
    """Done."""


@gob.struct("SetDebugLevelRequest")
class SetDebugLevelRequest:
    """Keep debug messages up to a level; -1: none."""

    name: str = gob.field("Name", STRING)
    level: int = gob.field("Level", INT)


@gob.struct("SetDebugLevelResponse")
class SetDebugLevelResponse:
    """Done."""


@gob.struct("WatchRequest")
class WatchRequest:
    """Send the log from now on.

    Lines that match ``include`` and do not match ``exclude``, where those are given.
    """

    debug_level: int = gob.field("DebugLevel", INT)
    exclude: str = gob.field("ExcludeRegex", STRING)
    include: str = gob.field("IncludeRegex", STRING)
    name: str = gob.field("Name", STRING)


@gob.struct("WatchResponse")
class WatchResponse:
    """Lines of text follow, unless there is an error."""

    error: str = gob.field("Error", STRING)
