"""Where the log goes: into files, to standard error, or both.

Lines are written by a thread of their own, so that a slow disk keeps nobody waiting.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from traceback import format_exception as traceback_lines
from types import TracebackType
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.logger import ILogObserver, LogEvent, Logger, globalLogPublisher
from zope.interface import implementer

from imageserver.json_log import format_json
from imageserver.log import MICROSECONDS, SECONDS, format_line
from imageserver.log_files import LogFiles

_MOST_WAITING = 1 << 16
_MOST_AT_ONCE = 1000
_FLUSH_S = 5.0
_STANDARD = (1, 2)  # the descriptors of standard output and error


@attrs.frozen
class LogOptions:
    """How the log is written.

    Attributes:
        directory: where the files are; ``None``: there are none.
        file_bytes: how long a file may get.
        quota_bytes: how much all may have.
        has_microseconds: whether times have them.
        idle_mark_s: after how long without a line the files get a mark; 0: never.
        also_stderr: whether standard error gets the lines as well as files do.
        is_json: whether lines are JSON objects.
    """

    directory: Path | None
    file_bytes: int
    quota_bytes: int
    has_microseconds: bool = False
    idle_mark_s: float = 0
    also_stderr: bool = False
    is_json: bool = False


@implementer(ILogObserver)
class LogOutput:
    """Writes what is logged.

    Attributes:
        files: the files; ``None``: there are none.
        lost: how many lines could not be written, or came too fast.
    """

    def __init__(self, options: LogOptions, now_ns: Callable[[], int]) -> None:
        """Nothing is opened yet; lines wait."""
        self.files: LogFiles | None = None
        self.lost = 0
        self._lost_told = 0
        self._log = Logger(observer=self)
        self._options = options
        self._now_ns = now_ns
        self._time_format = MICROSECONDS if options.has_microseconds else SECONDS
        # Signal handlers log, too: a Queue's lock may be held by what they interrupt.
        self._waiting: queue.SimpleQueue[str | Callable[[], None]] = queue.SimpleQueue()
        self._stderr = -1
        self._redirects = False
        self._owner: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None
        self._ended = False

    def start(self, redirect: bool, owner: tuple[int, int] | None = None) -> None:
        """Open the files and begin to write.

        Args:
            redirect: whether to put standard output and error into the files, too,
                unless standard error gets the log.
            owner: user and group that are to own directory and files.
        """
        self._stderr = os.dup(2)
        self._redirects = redirect and not self._options.also_stderr
        self._owner = owner
        problem = self._open_files()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()
        if problem:
            self._log.warn("there are no log files: {problem}", problem=problem)
        elif self.files is not None and self.files.is_new:
            self._log.info("New log directory")

    def __call__(self, event: LogEvent) -> None:
        """Something is logged."""
        if self._options.is_json:
            self._put(format_json(event))
        else:
            self._put(format_line(event, self._time_format))

    def reopen(self) -> None:
        """Go on in a new file."""
        self._put(self._reopen)

    def flush(self) -> None:
        """Wait until everything is written, some seconds at most."""
        written = threading.Event()
        if self._thread is not None:
            self._put(written.set)
            written.wait(_FLUSH_S)

    def fail(self, text: str) -> None:
        """Say why we end: in the log, and to whom has started us."""
        if self.files is not None:
            self._log.critical("{text}", text=text)
        self.flush()
        self._tell_starter(text)

    def crash(
        self,
        kind: type[BaseException],
        error: BaseException,
        traceback: TracebackType | None,
    ) -> None:
        """Say that we end by an error that nobody has foreseen: a ``sys.excepthook``.

        The first word is what a crash is recognised by at the next start.
        """
        lines = traceback_lines(kind, error, traceback)
        text = f"panic: {error!r}\n" + "".join(lines)
        if self.files is not None:
            self._put(text)
        self.flush()
        self._tell_starter(text)

    def _tell_starter(self, text: str) -> None:
        with suppress(OSError):
            os.write(self._stderr, f"{text.rstrip()}\n".encode(errors="replace"))

    def stop(self) -> None:
        """Write what waits, and then nothing any more."""
        if self._thread is None:
            return
        self._put(self._end)
        self._thread.join(_FLUSH_S)
        self._thread = None

    def _open_files(self) -> str:
        """Open the files, if there are to be any; why that failed."""
        options = self._options
        if options.directory is None:
            return ""
        files = LogFiles(
            options.directory,
            options.file_bytes,
            options.quota_bytes,
            self._now_ns,
            self._opened,
        )
        try:
            if self._owner is not None and not options.directory.exists():
                options.directory.mkdir(0o755)
                os.chown(options.directory, *self._owner)
            files.open()
        except OSError as error:
            return f"{error.strerror}: {error.filename}"
        self.files = files
        return ""

    def _opened(self, descriptor: int) -> None:
        if self._owner is not None and os.geteuid() == 0:
            os.fchown(descriptor, *self._owner)
        if self._redirects:
            for standard in _STANDARD:
                os.dup2(descriptor, standard)

    def _put(self, item: str | Callable[[], None]) -> None:
        if isinstance(item, str) and self._waiting.qsize() >= _MOST_WAITING:
            self.lost += 1
        else:
            self._waiting.put(item)

    def _run(self) -> None:
        while not self._ended:
            lines: list[str] = []
            for item in self._take():
                if isinstance(item, str):
                    lines.append(item)
                    continue
                self._write(lines)
                lines = []
                item()
            self._write(lines)

    def _take(self) -> list[str | Callable[[], None]]:
        """What waits, as soon as anything does."""
        items = []
        try:
            items.append(self._waiting.get(timeout=self._options.idle_mark_s or None))
            while len(items) < _MOST_AT_ONCE:
                items.append(self._waiting.get_nowait())
        except queue.Empty:
            return items or [self._mark]
        return items

    def _write(self, lines: list[str]) -> None:
        if not lines:
            return
        count, lost = len(lines), self.lost
        if lost > self._lost_told:
            lines = [f"{lost - self._lost_told} lines of the log were lost\n", *lines]
        text = "".join(lines)
        try:
            if self.files is not None:
                self.files.write(text)
            if self.files is None or self._options.also_stderr:
                os.write(self._stderr, text.encode(errors="surrogateescape"))
        except OSError:
            self.lost += count
        else:
            self._lost_told = lost

    def _mark(self) -> None:
        if self.files is not None:
            with suppress(OSError):
                self.files.mark()

    def _reopen(self) -> None:
        if self.files is not None:
            try:
                self.files.reopen()
            except OSError as error:
                self._log.error("the log goes on in its old file: {error}", error=error)

    def _end(self) -> None:
        self._ended = True
        if self.files is not None:
            self.files.close()


class LogService(Service):
    """Adds the files to a log that somebody else has begun: ``twistd``."""

    def __init__(
        self, reactor: Any, output: LogOutput, owner: tuple[int, int] | None
    ) -> None:
        self._reactor = reactor
        self._output = output
        self._owner = owner

    def privilegedStartService(self) -> None:
        """Open the files; by now the process is the one that stays.

        They are closed when all services have ended, and have said so.
        """
        self._output.start(redirect=False, owner=self._owner)
        globalLogPublisher.addObserver(self._output)
        self._reactor.addSystemEventTrigger("after", "shutdown", self._end)

    def _end(self) -> None:
        globalLogPublisher.removeObserver(self._output)
        self._output.stop()
