"""Writes an object to a file that gets its name when it is complete and right."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Self

from imageserver.errors import CorruptObject, ImageServerError
from imageserver.trees.tree import explained, write_sparsely


class UnpackError(ImageServerError):
    """An image cannot be unpacked; the text says why."""


class ObjectWriter:
    """Takes the content of one object, for an ``Unpacker`` or a ``Patcher``.

    A context manager, which discards the content unless it was finished.
    """

    def __init__(
        self,
        hash_: bytes,
        size: int,
        fd: int,
        place: Callable[[], None],
        discard: Callable[[], None],
    ) -> None:
        """Take an object in.

        Args:
            hash_: its hash.
            size: its length in bytes.
            fd: the file to write to.
            place: called when the file is complete.
            discard: called when the file is of no use any more, and after ``place``.
        """
        self._hash = hash_
        self._size = size
        self._fd = fd
        self._place = place
        self._discard = discard
        self._hasher = hashlib.sha512()
        self._received = 0
        self._has_holes = False
        self._open = True

    def write(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            CorruptObject: that is more than the object has.
            FileAccessError: it cannot be written.
        """
        if not self._open:
            raise UnpackError("write after the end of an object")
        position = self._received
        self._received += len(data)
        if self._received > self._size:
            raise CorruptObject(self._hash, f"longer than {self._size} bytes")
        self._hasher.update(data)
        with explained("cannot write object", self._hash.hex().encode()):
            self._has_holes |= write_sparsely(self._fd, data, position)

    def finish(self) -> None:
        """Check the object and put it wherever the image has it.

        Raises:
            CorruptObject: length or hash are wrong; the object is still wanted.
            FileAccessError: it cannot be put somewhere; the text names the place.
        """
        try:
            if self._received != self._size:
                reason = f"{self._received} bytes instead of {self._size}"
                raise CorruptObject(self._hash, reason)
            if self._hasher.digest() != self._hash:
                raise CorruptObject(self._hash, "wrong hash")
            if self._has_holes:
                with explained("cannot write object", self._hash.hex().encode()):
                    os.ftruncate(self._fd, self._size)
            self._place()
        finally:
            self.discard()

    def discard(self) -> None:
        """Forget what was written; does nothing after :meth:`finish`."""
        self._open = False
        self._discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()
