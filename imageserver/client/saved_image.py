"""Files with an image and all its objects: ``docs/formats.md``, "Saved images".

::

    archive (a byte slice)
    for each object: its hash and length, then its content as it is
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, BinaryIO

from imageserver import gob
from imageserver.errors import DecodeError, ImageServerError
from imageserver.gob import Limits, Time
from imageserver.model.hash import HASH
from imageserver.model.image import Image, ImageArchive
from imageserver.model.inode import RegularInode

_ARCHIVE_LIMITS = Limits(message_bytes=1 << 30)
_PIECE_BYTES = 1 << 20


@gob.struct("objectType")
class SavedObject:
    """Says which object comes next, and how long it is."""

    hash_: bytes = gob.field("Hash", HASH)
    length: int = gob.field("Length", gob.UINT)


def read_archive(data: bytes) -> ImageArchive:
    """What an archive holds; nobody but the server can tell whether it is genuine.

    Raises:
        ImageServerError: it is none.
    """
    try:
        archive: ImageArchive = gob.decode(data, ImageArchive, _ARCHIVE_LIMITS).value
    except DecodeError as error:
        raise ImageServerError(f"malformed archive: {error}") from error
    return archive


def objects_of(image: Image) -> list[tuple[bytes, int | None]]:
    """The objects of an image, each once, with their sizes where they are known.

    In the order of the inodes; the build log and the release notes come last.
    """
    found: dict[bytes, int | None] = {}
    file_system = image.file_system
    inodes = (file_system.inodes or {}) if file_system else {}
    for inode in inodes.values():
        if isinstance(inode, RegularInode) and inode.size:
            found.setdefault(inode.hash_, inode.size)
    for note in (image.build_log, image.release_notes):
        if note is not None and note.object_hash is not None:
            found.setdefault(note.object_hash, None)
    return list(found.items())


class SavedImageWriter:
    """Writes such a file; a ``receive`` for objects that are fetched."""

    def __init__(self, file: BinaryIO, archive: bytes) -> None:
        """Begin with the archive."""
        self._file = file
        self._encoder = gob.Encoder()
        file.write(self._encoder.encode(archive, gob.BYTES))

    def add(self, hash_: bytes, content: bytes | bytearray) -> None:
        """Append a small object."""
        self.begin(hash_, len(content))
        self._file.write(content)

    def begin(self, hash_: bytes, length: int) -> None:
        """Announce an object, whose content is written next."""
        self._file.write(self._encoder.encode(SavedObject(hash_, length)))


class SavedImageReader:
    """Reads such a file."""

    def __init__(self, file: BinaryIO) -> None:
        """Read ``file`` from where it stands."""
        self._file = file
        self._decoder = gob.Decoder(_ARCHIVE_LIMITS)

    def read_archive(self) -> bytes:
        """The archive, which comes first.

        Raises:
            ImageServerError: this is no such file.
        """
        archive: bytes | None = self._value(gob.BYTES)
        if archive is None:
            raise ImageServerError("the file is empty")
        return archive

    def read_objects(self, take: Callable[[bytes, int, int], object]) -> None:
        """Pass over all objects, and check them.

        Args:
            take: told of each one: its hash, its length, where in the file it is.

        Raises:
            ImageServerError: one of them is damaged, or cut short.
        """
        while (head := self._value(SavedObject)) is not None:
            position = self._file.tell()
            if self._hash(head.length) != head.hash_:
                raise ImageServerError(f"corrupted object: {head.hash_.hex()}")
            take(head.hash_, head.length, position)

    def _hash(self, length: int) -> bytes:
        hasher = hashlib.sha512()
        while length:
            piece = self._file.read(min(length, _PIECE_BYTES))
            if not piece:
                raise ImageServerError("unexpected EOF")
            hasher.update(piece)
            length -= len(piece)
        return hasher.digest()

    def _value(self, type_: Any) -> Any:
        """The next value; ``None`` at the end of the file."""
        try:
            while True:
                head = self._file.read(1)
                if not head:
                    return None
                if head[0] >= 0x80:
                    head += self._file.read(0x100 - head[0])
                found = gob.parse_message_length(head, _ARCHIVE_LIMITS.message_bytes)
                if found is None:
                    raise ImageServerError("unexpected EOF")
                message = self._file.read(found[0])
                if len(message) < found[0]:
                    raise ImageServerError("unexpected EOF")
                value = self._decoder.feed(message, type_)
                if value is not gob.MORE:
                    return value
        except DecodeError as error:
            raise ImageServerError(f"not a saved image: {error}") from error


def still_expires_in_ns(archive: ImageArchive, now_ns: int) -> int | None:
    """How long an archived image has left; ``None`` if it has nothing left, or all."""
    expires_at: Time = archive.image.expires_at
    if expires_at.is_zero:
        return None
    left_ns = expires_at.to_nanoseconds() - now_ns
    return left_ns if left_ns >= 0 else None
