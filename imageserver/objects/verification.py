"""Objects that are checked while they are read: a wrong one never ends."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from imageserver.errors import CorruptObject, LocalProtocolError
from imageserver.objects.base import ObjectReader, ObjectStorage

_REASON = "its content is not what its name says"


class VerifiedReader:
    """See :class:`~imageserver.objects.base.ObjectReader`.

    It has to be read from its beginning to its end. The last bytes are not handed out
    before all are known to be right; if they are not, the object is put aside.

    Attributes:
        descriptor: ``None``: nobody may read past it.
    """

    descriptor: None = None

    def __init__(self, reader: ObjectReader, hash_: bytes) -> None:
        """Check what ``reader`` reads against a hash."""
        self._reader = reader
        self._hash = hash_
        self._digest = hashlib.sha512()
        self._offset = 0

    @property
    def size(self) -> int:
        """See :class:`~imageserver.objects.base.ObjectReader`."""
        return self._reader.size

    def read(self, offset: int, size: int) -> bytes:
        """See :class:`~imageserver.objects.base.ObjectReader`."""
        if offset != self._offset:
            raise LocalProtocolError("what is verified is read in order")
        data = self._reader.read(offset, size)
        self._digest.update(data)
        self._offset += len(data)
        if self._offset == self.size and self._digest.digest() != self._hash:
            self._reader.put_aside(_REASON)
            raise CorruptObject(self._hash, _REASON)
        return data

    def put_aside(self, reason: str) -> None:
        """See :class:`~imageserver.objects.base.ObjectReader`."""
        self._reader.put_aside(reason)

    def close(self) -> None:
        """See :class:`~imageserver.objects.base.ObjectReader`."""
        self._reader.close()


def read_verified(
    storage: ObjectStorage, objects: Iterable[tuple[bytes, int]]
) -> list[bytes]:
    """As :meth:`~imageserver.objects.base.ObjectStorage.read_objects`, but checked.

    Raises:
        OSError: an object cannot be read, or a damaged one cannot be put aside.
        ObjectNotFound: one is gone.
        CorruptObject: one is damaged; it was put aside.
    """
    contents = []
    for hash_, size in objects:
        reader = VerifiedReader(storage.reader(hash_, size), hash_)
        try:
            content = reader.read(0, size)
        finally:
            reader.close()
        if len(content) != size:
            raise CorruptObject(hash_, f"{len(content)} bytes instead of {size}")
        contents.append(content)
    return contents
