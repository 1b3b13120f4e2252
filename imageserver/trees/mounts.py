"""Where something is mounted on this machine.

A directory that is mounted in a second place has the device number of what is around
it: only the system's table tells.
"""

from __future__ import annotations

import re

_TABLE = "/proc/self/mountinfo"
_ESCAPE = re.compile(rb"\\([0-7]{3})")
_POINT = 4


def mount_points(table: str = _TABLE) -> frozenset[bytes]:
    """The paths at which something is mounted; none if the system does not tell."""
    try:
        with open(table, "rb") as file:
            return parse_mount_points(file.read())
    except OSError:
        return frozenset()


def parse_mount_points(table: bytes) -> frozenset[bytes]:
    """The paths in a table as in ``/proc/self/mountinfo``."""
    # Of the ends of lines only the line feed is escaped in names.
    lines = table.split(b"\n")
    points = [line.split(b" ")[_POINT] for line in lines if line]
    return frozenset(_ESCAPE.sub(_character, point) for point in points)


def _character(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 8)])
