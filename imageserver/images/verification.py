"""Reading an image file again, to find out whether it is still what was written."""

from __future__ import annotations

import hashlib
import os

from imageserver.errors import CorruptImage
from imageserver.images.canonical import CHECKSUM_BYTES
from imageserver.images.database import ImageDatabase

_READ_BYTES = 1 << 20


def verify_image(database: ImageDatabase, name: str) -> int:
    """Read an image's file, all of it.

    Args:
        database: has it.
        name: the image; it may have been deleted meanwhile.

    Returns:
        How many bytes were read.

    Raises:
        CorruptImage: it is damaged.
        OSError: it cannot be read.
        StoreError: nobody can tell.
    """
    stored = database.open_stored(name)
    if stored is None:
        return 0
    digest, size = hashlib.sha512(), stored.record.file_bytes
    with open(stored.descriptor, "rb", buffering=0) as file:
        left = size - CHECKSUM_BYTES
        while left > 0:
            data = file.read(min(left, _READ_BYTES))
            if not data:
                raise CorruptImage(name, "it ends too early")
            digest.update(data)
            left -= len(data)
        checksum = file.read(CHECKSUM_BYTES)
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if checksum != digest.digest():
        raise CorruptImage(name, "checksum mismatch")
    return size


def put_aside(database: ImageDatabase, name: str, reason: str) -> None:
    """Put a damaged image into quarantine; nobody is told that it is gone.

    Its references stay, since nobody can tell them: objects are kept too long.

    Raises:
        RequestError: it is being changed.
        OSError: it cannot be moved.
        StoreError: the index fails.
    """
    with database.exclusively(name, f"image: {name} is being written"):
        database.quarantine.put(database.path(name), reason)
        database.index.remove_image(name, {}, database.now_ns())
