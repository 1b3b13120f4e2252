"""A directory with objects that were fetched, so that they need not be again.

Each object is a file that bears its hash. When there are too many bytes, those go
first that were not used for longest. Several programs may use the same directory.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import weakref
from contextlib import AbstractContextManager, suppress
from typing import BinaryIO

from imageserver.errors import CorruptObject
from imageserver.trees.tree import FileAccessError, explained

_PRIVATE = 0o600
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE_BYTES = 1 << 20
_PREFIX_DIGITS = 2


class ObjectCache:
    """Such a directory."""

    def __init__(self, directory: str, limit_bytes: int) -> None:
        """Use a directory.

        Args:
            directory: it has to be there.
            limit_bytes: how much may stay in it.

        Raises:
            FileAccessError: it is not there.
        """
        self._directory = directory
        self._limit_bytes = limit_bytes
        if not os.path.isdir(directory):
            raise FileAccessError(f"no directory for the object cache: {directory}")

    def has(self, hash_: bytes) -> bool:
        """Whether an object is there."""
        return os.path.isfile(self._path(hash_))

    def open(self, hash_: bytes) -> BinaryIO | None:
        """An object; ``None``: it is not there."""
        path = self._path(hash_)
        try:
            file = os.fdopen(os.open(path, _READ_FLAGS), "rb")
        except OSError:
            return None
        with suppress(OSError):
            os.utime(file.fileno())
        return file

    def begin(self, hash_: bytes) -> CachedObject:
        """Take an object in.

        Raises:
            FileAccessError: the system refuses.
        """
        path = self._path(hash_)
        with explained("cannot write to the object cache", os.fsencode(path)):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            temporary = f"{path}.{secrets.token_hex(8)}~"
            return CachedObject(hash_, os.open(temporary, _FLAGS, _PRIVATE), temporary)

    def remove(self, hash_: bytes) -> None:
        """Remove an object, if it is there."""
        _remove(self._path(hash_))

    def trim(self) -> None:
        """Remove what is too much."""
        found = []
        for folder, _, names in os.walk(self._directory):
            for name in names:
                path = os.path.join(folder, name)
                with suppress(OSError):
                    status = os.lstat(path)
                    found.append((status.st_mtime, status.st_size, path))
        found.sort(reverse=True)
        left = self._limit_bytes
        for _, size, path in found:
            left -= size
            if left < 0:
                _remove(path)

    def _path(self, hash_: bytes) -> str:
        name = hash_.hex()
        return os.path.join(self._directory, name[:_PREFIX_DIGITS], name)


class CachedObject:
    """An object on its way into the cache; a ``Writer``.

    If it is given up before it is finished, nothing of it stays.
    """

    def __init__(self, hash_: bytes, fd: int, temporary: str) -> None:
        """Write to ``fd``."""
        self._hash = hash_
        self._file = os.fdopen(fd, "wb")
        self._temporary = temporary
        self._hasher = hashlib.sha512()
        self._discard = weakref.finalize(self, _remove, temporary)

    def write(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            FileAccessError: it cannot be written.
        """
        self._hasher.update(data)
        with self._explained():
            self._file.write(data)

    def finish(self) -> None:
        """Keep it.

        Raises:
            CorruptObject: it is another one.
            FileAccessError: it cannot be written.
        """
        with self._explained(), self._file:
            if self._hasher.digest() != self._hash:
                self._discard()
                raise CorruptObject(self._hash, "wrong hash")
        with self._explained():
            os.rename(self._temporary, self._temporary.rpartition(".")[0])
        self._discard.detach()

    def _explained(self) -> AbstractContextManager[None]:
        path = os.fsencode(self._temporary)
        return explained("cannot write to the object cache", path)


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)
