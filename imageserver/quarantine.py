"""Where damaged files are put, for somebody to look at."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from twisted.logger import Logger

from imageserver.disk import Disk

QUARANTINE = ".quarantine"
_MODE = 0o700
_NAME_BYTES = 255
REPLACED = "~"
"""Ends the names of files in whose places there are good ones again."""


class Quarantine:
    """The hidden place for damaged files below a data directory.

    All methods may be called from any thread.
    """

    _log = Logger()

    def __init__(self, root: Path, disk: Disk) -> None:
        """Nothing is made before there is a damaged file.

        Args:
            root: the data directory.
            disk: how files are moved.
        """
        self._root = root
        self._directory = root / QUARANTINE
        self._disk = disk

    def put(self, path: Path, reason: str, separator: str = "%") -> None:
        """Move a damaged file here, in place of what has its name.

        Args:
            path: the file, below the data directory.
            reason: what is wrong with it.
            separator: stands for ``/`` in its name.

        Raises:
            OSError: it cannot be moved.
        """
        name = self._name(path, separator)
        self._disk.make_directory(self._directory, _MODE)
        self._disk.rename(path, self._directory / name)
        self._disk.sync_all((self._directory, path.parent))
        self._log.error("put aside as {name}: {reason}", name=name, reason=reason)

    def _name(self, path: Path, separator: str) -> str:
        name = separator.join(path.relative_to(self._root).parts)
        if len(os.fsencode(name + REPLACED)) > _NAME_BYTES:
            name = hashlib.sha256(os.fsencode(name)).hexdigest()
        return name

    def note_replaced(self, path: Path, separator: str = "%") -> None:
        """There is a good file again in the place of one that was put aside.

        Args:
            path: the good one.
            separator: see :meth:`put`.
        """
        name = self._name(path, separator)
        with suppress(OSError):  # most often there is none
            self._disk.rename(
                self._directory / name, self._directory / (name + REPLACED)
            )

    def size_bytes(self) -> int:
        """How much the files have that are here."""
        size = 0
        for name in self.names():
            with suppress(OSError):  # somebody may take them away meanwhile
                size += os.lstat(self._directory / name).st_size
        return size

    def names(self) -> list[str]:
        """The names of the files that are here; none if nobody can tell."""
        try:
            return os.listdir(self._directory)
        except FileNotFoundError:
            return []
        except OSError as error:
            self._log.error(
                "cannot use {directory}: {error}",
                directory=self._directory,
                error=error.strerror,
            )
            return []
