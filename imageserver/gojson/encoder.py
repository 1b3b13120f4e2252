"""Values to JSON, in the form of Go's ``encoding/json``, without the newline.

Names and targets that are not UTF-8 cannot be told: their bytes become U+FFFD.
"""

from __future__ import annotations

import base64
import json.encoder
import operator
import re
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, TypeAlias

from imageserver.errors import GobTypeError
from imageserver.gob import Time, schema
from imageserver.gojson.members import all_members
from imageserver.gojson.times import format_time

Write: TypeAlias = Callable[[list[str], Any], None]

_SURROGATE = re.compile("[\ud800-\udfff]")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_HTML = str.maketrans(
    {character: f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
)


def encode(value: Any, type_: schema.Type | type | None = None) -> bytes:
    """The JSON text of a value.

    Args:
        value: the value.
        type_: its type; may be left out for instances of struct classes.

    Raises:
        GobTypeError: the value does not fit the type, or has no form in JSON.
    """
    out: list[str] = []
    try:
        _writer(schema.as_type(type(value) if type_ is None else type_))(out, value)
    except (TypeError, AttributeError) as error:
        raise GobTypeError(f"value of a wrong type: {error}") from error
    return "".join(out).encode()


@lru_cache(maxsize=1024)
def _writer(type_: schema.Type) -> Write:
    match type_:
        case schema.Slice(element=element):
            return partial(_write_slice, _writer(element))
        case schema.Map(key=key, value=value):
            return partial(_write_map, key, _writer(value))
        case schema.Pointer(target=target):
            return partial(_write_optional, _writer(target))
        case schema.Struct():
            return _struct_writer(type_.cls)
        case schema.Interface():
            return partial(_write_interface, type_.registry)
    form = _FORMS.get(type(type_))
    if form is None:
        raise GobTypeError(f"{type(type_).__name__} has no form in JSON")
    return partial(_write_form, form)


def _write_form(form: Callable[[Any], str], out: list[str], value: Any) -> None:
    out.append(form(value))


def _quote(text: str) -> str:
    quoted = json.encoder.encode_basestring(text)
    if not text.isascii():
        quoted = _SURROGATE.sub(_REPLACEMENT, quoted)
    return quoted.translate(_HTML)


def _name_text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _quote_bytes(name: bytes) -> str:
    return _quote(_name_text(name))


def _base64(data: bytes) -> str:
    return f'"{base64.b64encode(data).decode()}"'


def _hexadecimal(array: bytes) -> str:
    return f'"{array.hex()}"'


def _bool(value: Any) -> str:
    return "true" if value else "false"


def _int(value: int) -> str:
    return str(operator.index(value))


def _time(time: Time) -> str:
    return f'"{format_time(time)}"'


_FORMS: dict[type[schema.Type], Callable[[Any], str]] = {
    schema.Bool: _bool,
    schema.Int: _int,
    schema.Uint: _int,
    schema.String: _quote,
    schema.ByteString: _quote_bytes,
    schema.Bytes: _base64,
    schema.ByteArray: _hexadecimal,
    schema.TimeType: _time,
}


def _write_slice(write: Write, out: list[str], value: Any) -> None:
    separator = "["
    for element in value:
        out.append(separator)
        write(out, element)
        separator = ","
    out.append("]" if value else "[]")


def _write_map(key: schema.Type, write: Write, out: list[str], value: Any) -> None:
    if value is None:
        out.append("null")
        return
    to_text = _name_text if isinstance(key, schema.ByteString) else str
    names = {to_text(name): item for name, item in value.items()}
    separator = "{"
    for name in sorted(names):
        out.append(f"{separator}{_quote(name)}:")
        write(out, names[name])
        separator = ","
    out.append("}" if names else "{}")


def _write_optional(write: Write, out: list[str], value: Any) -> None:
    if value is None:
        out.append("null")
    else:
        write(out, value)


def _struct_writer(cls: type) -> Write:
    """The writer for a struct, whose fields are looked at when it is first used."""

    def write_struct(out: list[str], value: Any) -> None:
        parts: list[str] = []  # of its own: freeing one long list takes long
        for name, get, write, zero in _member_writers(cls):
            member = get(value)
            if zero is not _NEVER and member == zero:
                continue
            parts.append(f",{name}:" if parts else f"{name}:")
            write(parts, member)
        out.append("".join(("{", *parts, "}")))

    return write_struct


_NEVER = object()


@lru_cache(maxsize=256)
def _member_writers(
    cls: type,
) -> list[tuple[str, Callable[[Any], Any], Write, Any]]:
    """Name, getter and writer of each member, and when it is left out."""
    return [
        (
            _quote(member.name),
            operator.attrgetter(".".join(member.attributes)),
            _writer(member.type),
            member.type.zero if member.omit_empty else _NEVER,
        )
        for member in all_members(cls)
    ]


def _write_interface(registry: schema.Registry, out: list[str], value: Any) -> None:
    if value is None:
        out.append("null")
    elif type(value) in registry.by_class:
        _writer(schema.Struct(type(value)))(out, value)
    else:
        raise GobTypeError(f"{type(value).__name__} has no form in JSON")
