"""Streams of gob, put together by hand."""

from __future__ import annotations

from collections.abc import Iterator

from imageserver import gob

BOOL, INT, UINT, FLOAT, BYTES, STRING, COMPLEX, INTERFACE = range(1, 9)


def uint(number: int) -> bytes:
    """An unsigned integer."""
    return gob.uint_bytes(number)


def sint(number: int) -> bytes:
    """A signed integer."""
    return uint(number << 1 if number >= 0 else (~number << 1) | 1)


def string(text: str | bytes) -> bytes:
    """A string."""
    raw = text.encode() if isinstance(text, str) else text
    return uint(len(raw)) + raw


def message(*parts: bytes) -> bytes:
    """A message, with its length."""
    body = b"".join(parts)
    return uint(len(body)) + body


def value(id_: int, *parts: bytes) -> bytes:
    """The message of a value."""
    return message(sint(id_), *parts)


def _named(name: str, id_: int) -> bytes:
    return (b"\1" + string(name) + b"\1" if name else b"\2") + sint(id_) + b"\0"


def definition(id_: int, kind: int, rest: bytes = b"", name: str = "") -> bytes:
    """The body of a definition; ``kind`` is the number of the field of wireType."""
    return sint(-id_) + uint(kind + 1) + b"\1" + _named(name, id_) + rest + b"\0\0"


def array(id_: int, element: int, length: int) -> bytes:
    """The definition of an array."""
    return definition(id_, 0, b"\1" + sint(element) + b"\1" + sint(length))


def slice_(id_: int, element: int) -> bytes:
    """The definition of a slice."""
    return definition(id_, 1, b"\1" + sint(element))


def struct(id_: int, **fields: int) -> bytes:
    """The definition of a struct, from names of fields to ids of types."""
    listed = b"".join(_named(name, field) for name, field in fields.items())
    return definition(id_, 2, b"\1" + uint(len(fields)) + listed if fields else b"")


def map_(id_: int, key: int, item: int) -> bytes:
    """The definition of a map."""
    return definition(id_, 3, b"\1" + sint(key) + b"\1" + sint(item))


def opaque(id_: int, kind: int = 4, name: str = "Time") -> bytes:
    """The definition of a type that marshals itself."""
    return definition(id_, kind, name=name)


def stream(*definitions: bytes, last: bytes) -> bytes:
    """Messages with these definitions, then ``last``."""
    return b"".join(message(body) for body in definitions) + last


def messages(data: bytes) -> Iterator[bytes]:
    """The messages of a stream, without their lengths."""
    position = 0
    while position < len(data):
        body, position = gob.next_message(data, position, gob.DEFAULT_LIMITS)
        yield body
