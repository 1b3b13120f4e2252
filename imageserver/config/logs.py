"""What is logged, and where to."""

from __future__ import annotations

from pathlib import Path

import attrs

from imageserver.flags import BOOL, DURATION, INT, SECOND, SIZE, STRING, UINT, Flag
from imageserver.log import NO_DEBUG
from imageserver.log_output import LogOptions

_GROUP = "Log"

FLAGS = (
    Flag(
        "logDir",
        STRING,
        "/var/log/imageserver",
        "where log files are; empty: there are none, and standard error is the log",
        _GROUP,
    ),
    Flag(
        "logFileMaxSize",
        SIZE,
        10 << 20,
        "a log file that is longer is followed by a new one; at least 16 KiB",
        _GROUP,
    ),
    Flag(
        "logQuota",
        SIZE,
        100 << 20,
        "size of all log files; the oldest are removed; at least 64 KiB",
        _GROUP,
    ),
    Flag(
        "logbufLines",
        UINT,
        1024,
        "lines that are kept in memory for the pages; at least 100",
        _GROUP,
        most=1 << 20,
    ),
    Flag("logAtStartup", BOOL, True, "log the version at the start", _GROUP),
    Flag("logSubseconds", BOOL, False, "log times with microseconds", _GROUP),
    Flag("logJSON", BOOL, False, "log JSON objects, one a line", _GROUP),
    Flag(
        "idleMarkTimeout",
        DURATION,
        0,
        "write MARK into the log file after so long without a line; 0: never",
        _GROUP,
        least=0,
    ),
    Flag(
        "initialLogDebugLevel",
        INT,
        NO_DEBUG,
        "up to which level debug messages are logged; -1: none",
        _GROUP,
    ),
    Flag(
        "alsoLogToStderr",
        BOOL,
        False,
        "log to standard error as well as to files",
        _GROUP,
    ),
)


@attrs.frozen(slots=False)
class LogSettings:
    """What is logged, and where to."""

    log_dir: str
    log_file_max_size: int
    log_quota: int
    logbuf_lines: int
    log_at_startup: bool
    log_subseconds: bool
    log_json: bool
    idle_mark_timeout: int
    initial_log_debug_level: int
    also_log_to_stderr: bool

    @property
    def log_options(self) -> LogOptions:
        """How the log is written."""
        return LogOptions(
            Path(self.log_dir) if self.log_dir else None,
            self.log_file_max_size,
            self.log_quota,
            self.log_subseconds,
            self.idle_mark_timeout / SECOND,
            self.also_log_to_stderr,
            self.log_json,
        )
