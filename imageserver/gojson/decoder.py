"""JSON to values.

For each declared type a *reader* is put together once. Reading goes through the text
once, and makes nothing but the value that was asked for: unknown members are passed
over.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, TypeAlias

from imageserver import gob
from imageserver.errors import JsonDecodeError
from imageserver.gob import Limits, schema
from imageserver.gojson.cursor import Cursor
from imageserver.gojson.members import all_members
from imageserver.gojson.times import parse_time

Read: TypeAlias = Callable[[Cursor], Any]

_NUMERIC = tuple("-0123456789")
_LONGEST_NUMBER = 20  # characters; longer ones are out of every range


def decode(
    data: bytes, type_: schema.Type | type, limits: Limits = gob.DEFAULT_LIMITS
) -> Any:
    """The value in a JSON text.

    Args:
        data: the text; bytes that are not UTF-8 become U+FFFD.
        type_: what it is to be.
        limits: for its depth and elements.

    Raises:
        JsonDecodeError: it is not JSON, breaks a limit, or is something else;
            ``in_step`` says whether it is JSON at all.
    """
    text = data.decode("utf-8", "replace")
    cursor = Cursor(text, limits)
    try:
        value = _reader(schema.as_type(type_))(cursor)
        cursor.end()
    except JsonDecodeError as error:
        error.in_step = _is_json(text, limits)
        raise
    return value


def _is_json(text: str, limits: Limits) -> bool:
    cursor = Cursor(text, limits)
    try:
        cursor.skip()
        cursor.end()
    except JsonDecodeError:
        return False
    return True


@lru_cache(maxsize=1024)
def _reader(type_: schema.Type) -> Read:
    return partial(_read_unless_null, type_, _make_reader(type_))


def _read_unless_null(type_: schema.Type, read: Read, cursor: Cursor) -> Any:
    return type_.zero if cursor.skip_null() else read(cursor)


def _make_reader(type_: schema.Type) -> Read:
    match type_:
        case schema.Int(bits=bits):
            read: Read = partial(_read_int, -(1 << bits - 1), (1 << bits - 1) - 1)
        case schema.Uint(bits=bits):
            read = partial(_read_int, 0, (1 << bits) - 1)
        case schema.ByteArray(length=length):
            read = partial(_read_byte_array, length)
        case schema.Slice(element=element):
            read = partial(_read_slice, _reader(element))
        case schema.Map(key=key, value=value):
            read = partial(_read_map, _key_reader(key), _reader(value))
        case schema.Pointer(target=target):
            read = _make_reader(target)
        case schema.Struct():
            read = _struct_reader(type_.cls)
        case schema.Interface():
            read = partial(_read_interface, type_.registry)
        case schema.Scanned():
            read = partial(_read_scanned, type_)
        case _:
            read = _SIMPLE[type(type_)]
    return read


def _read_bool(cursor: Cursor) -> bool:
    if cursor.next() not in ("t", "f"):
        raise cursor.misfit("bool")
    return cursor.read_word() == "true"


def _read_int(least: int, most: int, cursor: Cursor) -> int:
    if cursor.next() not in _NUMERIC:
        raise cursor.misfit("number")
    return _parse_int(least, most, cursor.read_number())


def _parse_int(least: int, most: int, text: str) -> int:
    try:
        number = int(text) if len(text) <= _LONGEST_NUMBER else most + 1
    except ValueError:
        raise JsonDecodeError(f"whole number wanted, not {text}") from None
    if not least <= number <= most:
        raise JsonDecodeError(f"number out of range: {text[:_LONGEST_NUMBER]}")
    return number


def _read_string(cursor: Cursor) -> str:
    if cursor.next() != '"':
        raise cursor.misfit("string")
    return cursor.read_string()


def _read_byte_string(cursor: Cursor) -> bytes:
    return _read_string(cursor).encode()


def _read_bytes(cursor: Cursor) -> bytes:
    try:
        return base64.b64decode(_read_string(cursor).encode(), validate=True)
    except binascii.Error as error:
        raise JsonDecodeError(f"malformed base64: {error}") from error


def _read_byte_array(length: int, cursor: Cursor) -> bytes:
    text = _read_string(cursor)
    try:
        array = bytes.fromhex(text)
    except ValueError:
        array = b""
    if array.hex() != text or len(array) != length:
        digits = 2 * length
        raise JsonDecodeError(f"{digits} hexadecimal digits wanted, in lower case")
    return array


def _read_time(cursor: Cursor) -> gob.Time:
    return parse_time(_read_string(cursor))


def _read_slice(read: Read, cursor: Cursor) -> tuple[Any, ...]:
    if cursor.next() != "[":
        raise cursor.misfit("array")
    return tuple([read(cursor) for _ in cursor.read_elements()])


def _read_map(read_key: Callable[[str], Any], read: Read, cursor: Cursor) -> Any:
    if cursor.next() != "{":
        raise cursor.misfit("object")
    return {read_key(name): read(cursor) for name in cursor.read_members()}


def _key_reader(type_: schema.Type) -> Callable[[str], Any]:
    match type_:
        case schema.Uint(bits=bits):
            return partial(_parse_int, 0, (1 << bits) - 1)
        case schema.ByteString():
            return str.encode
    return str


def _struct_reader(cls: type) -> Read:
    """The reader for a struct, whose fields are looked at when it is first used.

    A struct may contain itself.
    """
    zero = cls()

    def read_struct(cursor: Cursor) -> Any:
        if cursor.next() != "{":
            raise cursor.misfit("object")
        by_name = _readers_by_name(cls)
        changes: dict[tuple[str, ...], Any] = {}
        for name in cursor.read_members():
            found = by_name.get(name) or by_name.get(name.lower())
            if found is None:
                cursor.skip()
                continue
            attributes, read = found
            try:
                changes[attributes] = read(cursor)
            except JsonDecodeError as error:
                type_name = gob.struct_info(cls).name
                raise JsonDecodeError(f"{type_name}.{name}: {error}") from error
        return _changed(zero, changes)

    return read_struct


@lru_cache(maxsize=256)
def _readers_by_name(cls: type) -> dict[str, tuple[tuple[str, ...], Read]]:
    """Attributes that lead to each member, and its reader, by its name."""
    members = all_members(cls)
    folded = {m.name.lower(): (m.attributes, _reader(m.type)) for m in members}
    exact = {m.name: (m.attributes, _reader(m.type)) for m in members}
    return folded | exact


def _changed(value: Any, changes: dict[tuple[str, ...], Any]) -> Any:
    """A copy of a struct with some members changed, also of those embedded in it."""
    own: dict[str, Any] = {}
    inner: dict[str, dict[tuple[str, ...], Any]] = {}
    for (attribute, *path), change in changes.items():
        if path:
            inner.setdefault(attribute, {})[tuple(path)] = change
        else:
            own[attribute] = change
    for attribute, further in inner.items():
        own[attribute] = _changed(getattr(value, attribute), further)
    return gob.evolve(value, **own)


def _read_interface(registry: schema.Registry, cursor: Cursor) -> Any:
    """A value whose type is not said: the one type that has all of its members.

    Members that no type has do not count.
    """
    if cursor.next() != "{":
        raise cursor.misfit("object")
    begin = cursor.position
    found = set()
    for name in cursor.read_members():
        found.add(name.lower())
        cursor.skip()
    names_of = {cls: _readers_by_name(cls).keys() for cls in registry.by_class}
    found &= set().union(*names_of.values())
    candidates = [cls for cls, names in names_of.items() if found <= names]
    if len(candidates) != 1:
        raise JsonDecodeError(f"cannot tell what has the members {sorted(found)}")
    cursor.position = begin
    return _reader(schema.Struct(candidates[0]))(cursor)


def _read_scanned(type_: schema.Scanned, cursor: Cursor) -> Any:
    """A value that has a reader of its own, which reads gob."""
    value = _reader(type_.target)(cursor)
    return gob.decode(gob.Encoder().encode(value, type_.target), type_).value


_SIMPLE: dict[type[schema.Type], Read] = {
    schema.Bool: _read_bool,
    schema.String: _read_string,
    schema.ByteString: _read_byte_string,
    schema.Bytes: _read_bytes,
    schema.TimeType: _read_time,
}
