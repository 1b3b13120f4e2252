"""Where objects go that are fetched: memory, a file, or nowhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import BinaryIO

from imageserver.errors import CorruptObject


class VerifiedSink:
    """Checks that what comes is an object, and hands it on; a ``Writer``."""

    def __init__(self, hash_: bytes, write: Callable[[bytes], object]) -> None:
        """Hand the content of the object ``hash_`` to ``write``."""
        self._hash = hash_
        self._write = write
        self._hasher = hashlib.sha512()

    def write(self, data: bytes) -> None:
        """Take the next piece."""
        self._hasher.update(data)
        self._write(data)

    def finish(self) -> None:
        """See to it that it was the object.

        Raises:
            CorruptObject: it was not.
        """
        if self._hasher.digest() != self._hash:
            raise CorruptObject(self._hash, "wrong hash")


def into_file(file: BinaryIO) -> Callable[[bytes], VerifiedSink]:
    """Objects one after the other into a file."""
    return lambda hash_: VerifiedSink(hash_, file.write)


def into_memory(contents: dict[bytes, bytearray]) -> Callable[[bytes], VerifiedSink]:
    """Objects into a dictionary, by their hashes."""

    def receive(hash_: bytes) -> VerifiedSink:
        content = contents[hash_] = bytearray()
        return VerifiedSink(hash_, content.extend)

    return receive
