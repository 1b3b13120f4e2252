"""What is logged, and where to."""

from __future__ import annotations

import attrs

from imageserver.flags import INT, Flag
from imageserver.log import NO_DEBUG

_GROUP = "Log"

FLAGS = (
    Flag(
        "initialLogDebugLevel",
        INT,
        NO_DEBUG,
        "up to which level debug messages are logged; -1: none",
        _GROUP,
    ),
)


@attrs.frozen(slots=False)
class LogSettings:
    """What is logged, and where to."""

    initial_log_debug_level: int
