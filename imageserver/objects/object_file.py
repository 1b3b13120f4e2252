"""The file of an object, open for reading."""

from __future__ import annotations

import os
from collections.abc import Callable

PutAside = Callable[[bytes, os.stat_result, str], bool]


class ObjectFile:
    """See :class:`~imageserver.objects.base.ObjectReader`.

    Attributes:
        size: of the object, in bytes.
        descriptor: the open file.
    """

    def __init__(
        self, hash_: bytes, size: int, descriptor: int, put_aside: PutAside
    ) -> None:
        """Take over an open file.

        Args:
            hash_: the object.
            size: its size in bytes.
            descriptor: the file; it is closed with the object.
            put_aside: puts the file of an object into quarantine, if it is still the
                one of that status, and says why.
        """
        self.size = size
        self.descriptor = descriptor
        self._hash = hash_
        self._put_aside = put_aside

    def read(self, offset: int, size: int) -> bytes:
        """See :class:`~imageserver.objects.base.ObjectReader`."""
        return os.pread(self.descriptor, size, offset)

    def put_aside(self, reason: str) -> None:
        """See :class:`~imageserver.objects.base.ObjectReader`."""
        self._put_aside(self._hash, os.fstat(self.descriptor), reason)

    def close(self) -> None:
        """See :class:`~imageserver.objects.base.ObjectReader`."""
        os.close(self.descriptor)
