"""Objects as they are: ``/getObject``. They never change, so browsers may keep them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import quote

from imageserver.errors import ObjectNotFound
from imageserver.model.hash import HASH_BYTES
from imageserver.objects.base import ObjectReader, ObjectStorage
from imageserver.web.answer import (
    BINARY,
    FOREIGN_CONTENT,
    TEXT,
    Answer,
    PageError,
    is_known,
)
from imageserver.web.file_view import as_text, picture_type
from imageserver.web.visit import Visit

_PIECE_BYTES = 256 << 10
_SNIFFED_BYTES = 512
_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")
_FOREVER = "private, max-age=31536000, immutable"


class ObjectContents:
    """See the module."""

    def __init__(self, objects: ObjectStorage) -> None:
        self._objects = objects

    def show(self, visit: Visit) -> Answer:
        """An object, or a part of it."""
        hash_ = parse_hash(visit.query.names[-1])
        size = self._objects.sizes((hash_,)).get(hash_)
        if size is None:
            raise ObjectNotFound(hash_)
        tag = f'"{hash_.hex()}"'
        headers = FOREIGN_CONTENT | {
            "ETag": tag,
            "Cache-Control": _FOREVER,
            "Accept-Ranges": "bytes",
        }
        if is_known(tag, visit):
            return Answer(b"", BINARY, 304, headers)
        if name := visit.query.get("name"):
            quoted = quote(name.encode("utf-8", "surrogateescape"), "")
            headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quoted}"
        start, end = _wanted(visit, tag, size)
        if start >= end and size:
            headers["Content-Range"] = f"bytes */{size}"
            return Answer(b"", BINARY, 416, headers)
        status = 200
        if (start, end) != (0, size):
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
            status = 206
        reader = self._objects.reader(hash_, size)
        try:
            beginning = reader.read(0, min(_SNIFFED_BYTES, size))
        except BaseException:
            reader.close()
            raise
        pieces = _Pieces(reader, start, end)
        kind = sniff(beginning, is_cut=size > len(beginning))
        return Answer(pieces, kind, status, headers, end - start)


def parse_hash(text: str) -> bytes:
    """The hash that hexadecimal digits stand for.

    Raises:
        PageError: they stand for none.
    """
    try:
        hash_ = bytes.fromhex(text.strip())
    except ValueError:
        raise PageError(400, "That is no hash.", "It has 128 hex digits.") from None
    if len(hash_) != HASH_BYTES:
        raise PageError(404, f"unknown object: {text[:256]}", "It has 128 hex digits.")
    return hash_


def sniff(beginning: bytes, *, is_cut: bool) -> str:
    """A type that is safe: text, a picture, or just bytes; nothing that is run."""
    if beginning and as_text(beginning, is_cut=is_cut) is not None:
        return TEXT
    return picture_type(beginning) or BINARY


def _wanted(visit: Visit, tag: str, size: int) -> tuple[int, int]:
    """Where the part that is wanted begins and ends; all of it if in doubt."""
    found = _RANGE.fullmatch(visit.headers.get("range", "").replace(" ", ""))
    condition = visit.headers.get("if-range")
    if found is None or condition not in (None, tag) or found.groups() == ("", ""):
        return 0, size
    first, last = found.groups()
    if not first:
        return max(0, size - int(last)), size
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < int(first):
        return 0, size
    return int(first), end


class _Pieces:
    """Reads a part of an object, some bytes at a time."""

    def __init__(self, reader: ObjectReader, start: int, end: int) -> None:
        self._reader = reader
        self._position = start
        self._end = end

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        rest = self._end - self._position
        piece = self._reader.read(self._position, min(_PIECE_BYTES, rest))
        if not piece:
            raise StopIteration
        self._position += len(piece)
        return piece

    def close(self) -> None:
        """It is of no more use; to be called once."""
        self._reader.close()
