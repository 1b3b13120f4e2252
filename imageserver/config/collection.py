"""When objects are collected and read again."""

from __future__ import annotations

import attrs

from imageserver.flags import BOOL, DURATION, HOUR, INT, SIZE, Flag
from imageserver.objects.collection import CleanupLimits

_GROUP = "Collection and scrub"

FLAGS = (
    Flag(
        "objectServerCleanupStartPercent",
        INT,
        95,
        "how full the file system is when unreferenced objects are removed",
        _GROUP,
    ),
    Flag(
        "objectServerCleanupStopPercent",
        INT,
        90,
        "how full it is to be then",
        _GROUP,
    ),
    Flag(
        "objectServerCleanupStartSize",
        SIZE,
        0,
        "size of the unreferenced objects when some are removed, if it is more than"
        " objectServerCleanupStopSize",
        _GROUP,
        least=0,
    ),
    Flag(
        "objectServerCleanupStopSize", SIZE, 0, "their size after that", _GROUP, least=0
    ),
    Flag(
        "objectServerCleanupDryRun",
        BOOL,
        False,
        "only log what would be removed",
        _GROUP,
    ),
    Flag(
        "scrubRate",
        SIZE,
        10 << 20,
        "bytes per second of objects that are read again, to find damaged ones; 0:"
        " none",
        _GROUP,
        least=0,
    ),
    Flag(
        "scrubInterval",
        DURATION,
        7 * 24 * HOUR,
        "how often all objects are read again, at that rate",
        _GROUP,
        least=1,
    ),
)


@attrs.frozen(slots=False)
class CollectionSettings:
    """When objects are collected and read again."""

    object_server_cleanup_start_percent: int
    object_server_cleanup_stop_percent: int
    object_server_cleanup_start_size: int
    object_server_cleanup_stop_size: int
    object_server_cleanup_dry_run: bool
    scrub_rate: int
    scrub_interval: int

    @property
    def cleanup_limits(self) -> CleanupLimits:
        """When unreferenced objects are removed."""
        return CleanupLimits(
            self.object_server_cleanup_start_percent,
            self.object_server_cleanup_stop_percent,
            self.object_server_cleanup_start_size,
            self.object_server_cleanup_stop_size,
        )
