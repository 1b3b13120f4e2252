"""Where the data is, and how objects are kept."""

from __future__ import annotations

from pathlib import Path

import attrs

from imageserver.errors import ConfigError
from imageserver.flags import BOOL, DURATION, HOUR, SIZE, STRING, Flag

_GROUP = "Data"
_AUDIT_FILE = ".audit.jsonl"

FLAGS = (
    Flag("imageDir", STRING, "/var/lib/imageserver", "where images are", _GROUP),
    Flag("objectDir", STRING, "/var/lib/objectserver", "where objects are", _GROUP),
    Flag(
        "auditLog",
        STRING,
        "",
        "where changes are written down; empty: .audit.jsonl in -imageDir",
        _GROUP,
    ),
    Flag(
        "uploadLease",
        DURATION,
        HOUR,
        "how long uploads are kept for an image, from when their connection ends",
        _GROUP,
        least=1,
    ),
    Flag(
        "minimumFreeSpace",
        SIZE,
        0,
        "space that uploads leave free; 0: 64 MiB, or 2 % of a small file system",
        _GROUP,
        least=0,
    ),
    Flag(
        "verifyReads",
        BOOL,
        False,
        "check objects while they are sent; a damaged one breaks the connection",
        _GROUP,
    ),
)


@attrs.frozen(slots=False)
class DataSettings:
    """Where the data is, and how objects are kept."""

    image_dir: str
    object_dir: str
    audit_log: str
    upload_lease: int
    minimum_free_space: int
    verify_reads: bool

    @property
    def audit_path(self) -> Path:
        """Where changes are written down."""
        return Path(self.audit_log or Path(self.image_dir) / _AUDIT_FILE)

    def check_directories(self) -> None:
        """Look whether the data directories are there.

        Raises:
            ConfigError: one is not; the text says what to do.
        """
        for flag, directory in (
            ("imageDir", self.image_dir),
            ("objectDir", self.object_dir),
        ):
            if not Path(directory).is_dir():
                raise ConfigError(f"no directory {directory}: make it, or use -{flag}")
