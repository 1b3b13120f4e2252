"""Writers: what turns values of declared types into bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol, TypeAlias

from imageserver.errors import GobTypeError
from imageserver.gob import primitives, schema
from imageserver.gob.byte_arrays import escape
from imageserver.gob.declarations import struct_info
from imageserver.gob.primitives import write_uint
from imageserver.gob.schema import InterfaceValue, Type, on_wire
from imageserver.gob.times import Time


class Stream(Protocol):
    """What writers need to know of the stream."""

    def interface_header(self, name: str, type_: Type) -> bytes:
        """Name and type id, which stand in front of each interface value."""


Write: TypeAlias = Callable[[Stream, bytearray, Any], None]


def write_top_level(stream: Stream, out: bytearray, value: Any, type_: Type) -> None:
    """Append a top-level value, without message length and id.

    Raises:
        GobTypeError: the value does not fit the type.
    """
    try:
        _top_level_writer(type_)(stream, out, value)
    except (
        AttributeError,
        TypeError,
        ValueError,
        OverflowError,
        RecursionError,
        struct.error,
    ) as error:
        raise GobTypeError(f"cannot encode {type(value).__name__}: {error}") from error


def _top_level_writer(type_: Type) -> Write:
    write_content = _writer(type_)
    if isinstance(on_wire(type_), schema.Struct):
        return write_content

    def write_behind_zero(stream: Stream, out: bytearray, value: Any) -> None:
        out.append(0)
        write_content(stream, out, value)

    return write_behind_zero


def _scalar_writer(write: Callable[[bytearray, Any], None]) -> Write:
    def write_scalar(_: Stream, out: bytearray, value: Any) -> None:
        write(out, value)

    return write_scalar


def _number_writer(lowest: int, highest: int, *, signed: bool) -> Write:
    def write_number(_: Stream, out: bytearray, value: int) -> None:
        if not lowest <= value <= highest:
            raise GobTypeError(f"{value} is out of range")
        if signed:
            value = value << 1 if value >= 0 else (~value << 1) | 1
        if value < 0x80:
            out.append(value)
            return
        size = (value.bit_length() + 7) >> 3
        out.append(0x100 - size)
        out += value.to_bytes(size)

    return write_number


def _write_bytes(_: Stream, out: bytearray, value: bytes) -> None:
    size = len(value)
    if size < 0x80:
        out.append(size)
    else:
        write_uint(out, size)
    out += value


def _write_time(_: Stream, out: bytearray, value: Time) -> None:
    primitives.write_bytes(out, value.marshal())


def _byte_array_writer(type_: schema.ByteArray) -> Write:
    def write_byte_array(_: Stream, out: bytearray, value: bytes) -> None:
        if len(value) != type_.length:
            raise GobTypeError(f"{len(value)} bytes in an array of {type_.length}")
        write_uint(out, type_.length)
        out += escape(value)

    return write_byte_array


def _sequence_writer(element: Type, length: int | None) -> Write:
    write_element = _writer(element)

    def write_sequence(stream: Stream, out: bytearray, value: Any) -> None:
        if length is not None and len(value) != length:
            raise GobTypeError(f"{len(value)} elements in an array of {length}")
        write_uint(out, len(value))
        for item in value:
            write_element(stream, out, item)

    return write_sequence


def _map_writer(type_: schema.Map) -> Write:
    write_key, write_item = _writer(type_.key), _writer(type_.value)

    def write_map(stream: Stream, out: bytearray, value: dict[Any, Any] | None) -> None:
        entries = value or {}
        write_uint(out, len(entries))
        for key, item in entries.items():
            write_key(stream, out, key)
            write_item(stream, out, item)

    return write_map


def _pointer_writer(type_: schema.Pointer) -> Write:
    write_target = _writer(type_.target)

    def write_pointer(stream: Stream, out: bytearray, value: Any) -> None:
        if value is None:
            raise GobTypeError("only fields can be nil")
        write_target(stream, out, value)

    return write_pointer


def _struct_writer(type_: schema.Struct) -> Write:
    steps: list[tuple[str, Callable[[Any], bool] | None, Write]] = []
    known = False

    def write_struct(stream: Stream, out: bytearray, value: Any) -> None:
        nonlocal known
        if not known:  # not earlier: a type may contain itself
            steps[:] = [
                (field.attribute, _omission(field.type), _writer(field.type))
                for field in struct_info(type_.cls).fields
            ]
            known = True
        delta = 1
        for attribute, omitted, write_field in steps:
            item = getattr(value, attribute)
            if omitted(item) if omitted else not item:
                delta += 1
                continue
            write_uint(out, delta)
            write_field(stream, out, item)
            delta = 1
        out.append(0)

    return write_struct


def _interface_writer(type_: schema.Interface) -> Write:
    registry = type_.registry
    writers: dict[str, Write] = {}

    def write_interface(stream: Stream, out: bytearray, value: Any) -> None:
        if value is None:
            out.append(0)
            return
        name = registry.by_class.get(type(value))
        if name is None:
            if not isinstance(value, InterfaceValue):
                raise GobTypeError(f"type not registered for interface: {type(value)}")
            name, value = value.name, value.value
        concrete = registry.by_name.get(name)
        if concrete is None:
            raise GobTypeError(f"name not registered for interface: {name!r}")
        write_content = writers.get(name)
        if write_content is None:
            write_content = writers[name] = _top_level_writer(concrete)
        content = bytearray()
        write_content(stream, content, value)
        out += stream.interface_header(name, concrete)
        write_uint(out, len(content))
        out += content

    return write_interface


def _scanned_writer(type_: schema.Scanned) -> Write:
    return _writer(type_.target)


def _omission(type_: Type) -> Callable[[Any], bool] | None:
    """The test for values that are left out of a struct; ``None``: false ones are."""
    if isinstance(type_, schema.Array | schema.ByteArray | schema.Struct):
        return lambda _: False
    if isinstance(type_, schema.Map | schema.Interface | schema.Scanned):
        return lambda value: value is None
    if isinstance(type_, schema.TimeType):
        return lambda value: bool(value == Time.ZERO)
    if isinstance(type_, schema.Pointer) and isinstance(type_.target, schema.TimeType):
        return lambda value: value is None
    if isinstance(type_, schema.Pointer):
        target_omitted = _omission(type_.target)
        if target_omitted is not None:
            return lambda value: value is None or target_omitted(value)
    return None


_SIMPLE_WRITERS: dict[type[Type], Write] = {
    schema.Bool: _scalar_writer(primitives.write_bool),
    schema.Float: _scalar_writer(primitives.write_float),
    schema.Complex: _scalar_writer(primitives.write_complex),
    schema.String: _scalar_writer(primitives.write_string),
    schema.ByteString: _write_bytes,
    schema.Bytes: _write_bytes,
    schema.TimeType: _write_time,
}
_WRITER_MAKERS: dict[type[Type], Callable[[Any], Write]] = {
    schema.Int: lambda t: _number_writer(
        -(1 << (t.bits - 1)), (1 << (t.bits - 1)) - 1, signed=True
    ),
    schema.Uint: lambda t: _number_writer(0, (1 << t.bits) - 1, signed=False),
    schema.ByteArray: _byte_array_writer,
    schema.Array: lambda t: _sequence_writer(t.element, t.length),
    schema.Slice: lambda t: _sequence_writer(t.element, None),
    schema.Map: _map_writer,
    schema.Pointer: _pointer_writer,
    schema.Struct: _struct_writer,
    schema.Interface: _interface_writer,
    schema.Scanned: _scanned_writer,
}


@lru_cache(maxsize=1024)
def _writer(type_: Type) -> Write:
    simple = _SIMPLE_WRITERS.get(type(type_))
    return simple or _WRITER_MAKERS[type(type_)](type_)
