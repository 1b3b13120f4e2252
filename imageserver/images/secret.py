"""The key that archives are signed with: ``docs/formats.md``, "Archives"."""

from __future__ import annotations

import os
import secrets
import threading
from pathlib import Path

from twisted.logger import Logger

from imageserver.disk import Disk
from imageserver.quarantine import Quarantine

FILE_NAME = ".secret"
_BYTES = 32
_LONGEST = 4_096
_MODE = 0o600


class Secret:
    """The key in a file; made when it is first needed, and remembered from then on."""

    _log = Logger()

    def __init__(self, directory: Path, disk: Disk, quarantine: Quarantine) -> None:
        """Keep it in ``directory``; nothing is read yet."""
        self._path = directory / FILE_NAME
        self._disk = disk
        self._quarantine = quarantine
        self._lock = threading.Lock()
        self._key = b""

    @property
    def key(self) -> bytes:
        """The key.

        Raises:
            OSError: it cannot be read, or made.
        """
        with self._lock:
            if not self._key:
                self._key = self._read() or self._make()
            return self._key

    def _read(self) -> bytes:
        """The key that there is; empty: there is none."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path, flags)
        except FileNotFoundError:
            return b""
        try:
            key = os.read(descriptor, _LONGEST)
        finally:
            os.close(descriptor)
        if not key:
            self._quarantine.put(self._path, "empty; archives made before are foreign")
        return key

    def _make(self) -> bytes:
        key = secrets.token_bytes(_BYTES)
        self._disk.save(self._path, (key,), _MODE)
        self._log.info("made a new key for archives")
        return key
