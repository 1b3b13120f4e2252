"""Values to bytes.

All definitions that a value may need, those of interface contents included, are
sent in front of it, so that no message is ever cut. Ids are given out in the order
in which types are first met, from 65 on: the same declarations always give the
same bytes, which the canonical image files rely on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from imageserver.errors import GobTypeError
from imageserver.gob import primitives, schema
from imageserver.gob.definitions import OwnTypes
from imageserver.gob.primitives import uint_bytes, write_uint
from imageserver.gob.raw import RawValue, same_type
from imageserver.gob.schema import InterfaceValue, Type, as_type, struct_info
from imageserver.gob.times import Time

Write = Callable[["Encoder", bytearray, Any], None]


class Encoder:
    """The sending side of one stream of gob messages."""

    def __init__(self) -> None:
        self._types = OwnTypes()
        self._interface_headers: dict[Type, bytes] = {}

    def define(self, type_: Type | type) -> bytes:
        """The messages that define whatever ``type_`` needs and was not defined yet."""
        return self._types.define(as_type(type_))

    def type_id(self, type_: Type | type) -> int:
        """The id under which ``type_`` was defined, or its fixed one."""
        return self._types.id(as_type(type_))

    def encode(self, value: Any, type_: Type | type | None = None) -> bytes:
        """Everything to send for ``value``: definitions, then the value's message.

        Args:
            value: what to send.
            type_: its type; may be left out for instances of struct classes.

        Raises:
            GobTypeError: the value does not fit the type.
        """
        type_ = as_type(type(value) if type_ is None else type_)
        definitions = self.define(type_)
        body = bytearray()
        primitives.write_int(body, self.type_id(type_))
        self.write_value(body, value, type_)
        return b"".join((definitions, uint_bytes(len(body)), body))

    def write_value(self, out: bytearray, value: Any, type_: Type | type) -> None:
        """Append ``value`` as a top-level value, without message length and id.

        Raises:
            GobTypeError: the value does not fit the type.
        """
        try:
            _write_top_level(self, out, value, as_type(type_))
        except (AttributeError, TypeError, ValueError, OverflowError) as error:
            raise GobTypeError(
                f"cannot encode {type(value).__name__}: {error}"
            ) from error

    def interface_header(self, name: str, type_: Type) -> bytes:
        """Name and type id, which stand in front of each interface value."""
        header = self._interface_headers.get(type_)
        if header is None:
            out = bytearray()
            primitives.write_string(out, name)
            primitives.write_int(out, self.type_id(type_))
            header = self._interface_headers[type_] = bytes(out)
        return header

    def accepts(self, raw: RawValue, type_: Type) -> bool:
        """Whether ``raw`` means the same in this stream, where a ``type_`` is due."""
        return same_type(self._types.table, self.type_id(type_), raw.types, raw.type_id)


def _write_top_level(encoder: Encoder, out: bytearray, value: Any, type_: Type) -> None:
    if not isinstance(type_, schema.Struct):
        out.append(0)
    _writer(type_)(encoder, out, value)


def _scalar_writer(write: Callable[[bytearray, Any], None]) -> Write:
    def write_scalar(_: Encoder, out: bytearray, value: Any) -> None:
        write(out, value)

    return write_scalar


def _ranged_writer(
    write: Callable[[bytearray, int], None], lowest: int, highest: int
) -> Write:
    def write_number(_: Encoder, out: bytearray, value: int) -> None:
        if not lowest <= value <= highest:
            raise GobTypeError(f"{value} is out of range")
        write(out, value)

    return write_number


def _write_time(_: Encoder, out: bytearray, value: Time) -> None:
    primitives.write_bytes(out, value.marshal())


_ESCAPED = [bytes([n]) if n < 0x80 else bytes([0xFF, n]) for n in range(256)]


def _byte_array_writer(type_: schema.ByteArray) -> Write:
    def write_byte_array(_: Encoder, out: bytearray, value: bytes) -> None:
        if len(value) != type_.length:
            raise GobTypeError(f"{len(value)} bytes in an array of {type_.length}")
        write_uint(out, type_.length)
        out += b"".join([_ESCAPED[byte] for byte in value])

    return write_byte_array


def _sequence_writer(element: Type, length: int | None) -> Write:
    write_element = _writer(element)

    def write_sequence(encoder: Encoder, out: bytearray, value: Any) -> None:
        if length is not None and len(value) != length:
            raise GobTypeError(f"{len(value)} elements in an array of {length}")
        write_uint(out, len(value))
        for item in value:
            write_element(encoder, out, item)

    return write_sequence


def _map_writer(type_: schema.Map) -> Write:
    write_key, write_item = _writer(type_.key), _writer(type_.value)

    def write_map(
        encoder: Encoder, out: bytearray, value: dict[Any, Any] | None
    ) -> None:
        entries = value or {}
        write_uint(out, len(entries))
        for key, item in entries.items():
            write_key(encoder, out, key)
            write_item(encoder, out, item)

    return write_map


def _pointer_writer(type_: schema.Pointer) -> Write:
    write_target = _writer(type_.target)

    def write_pointer(encoder: Encoder, out: bytearray, value: Any) -> None:
        if value is None:
            raise GobTypeError("only fields can be nil")
        write_target(encoder, out, value)

    return write_pointer


def _struct_writer(type_: schema.Struct) -> Write:
    steps: list[tuple[str, Callable[[Any], bool], Write]] = []
    fields = struct_info(type_.cls).fields

    def write_struct(encoder: Encoder, out: bytearray, value: Any) -> None:
        if not steps:  # not earlier: a type may contain itself
            steps.extend(
                (f.attribute, _omission(f.type), _writer(f.type)) for f in fields
            )
        delta = 1
        for attribute, omitted, write_field in steps:
            item = getattr(value, attribute)
            if omitted(item):
                delta += 1
                continue
            write_uint(out, delta)
            write_field(encoder, out, item)
            delta = 1
        out.append(0)

    return write_struct


def _interface_writer(type_: schema.Interface) -> Write:
    registry = type_.registry

    def write_interface(encoder: Encoder, out: bytearray, value: Any) -> None:
        if value is None:
            out.append(0)
            return
        name = registry.by_class.get(type(value))
        if name is None:
            if (
                not isinstance(value, InterfaceValue)
                or value.name not in registry.by_name
            ):
                raise GobTypeError(f"type not registered for interface: {type(value)}")
            name, value = value.name, value.value
        concrete = registry.by_name[name]
        content = bytearray()
        _write_top_level(encoder, content, value, concrete)
        out += encoder.interface_header(name, concrete)
        write_uint(out, len(content))
        out += content

    return write_interface


def _raw_writer(type_: schema.Raw) -> Write:
    def write_raw(encoder: Encoder, out: bytearray, value: RawValue) -> None:
        if not encoder.accepts(value, type_.target):
            raise GobTypeError("the raw value's types differ from those of this stream")
        out += value.data

    return write_raw


def _omission(type_: Type) -> Callable[[Any], bool]:
    """The test for values that are left out of a struct."""
    if isinstance(type_, schema.Array | schema.ByteArray | schema.Struct):
        return lambda _: False
    if isinstance(type_, schema.Map | schema.Interface | schema.Raw):
        return lambda value: value is None
    if isinstance(type_, schema.TimeType):
        return lambda value: bool(value == Time.ZERO)
    if isinstance(type_, schema.Pointer):
        target_omitted = _omission(type_.target)
        return lambda value: value is None or target_omitted(value)
    return lambda value: not value


_SIMPLE_WRITERS: dict[type[Type], Write] = {
    schema.Bool: _scalar_writer(primitives.write_bool),
    schema.Float: _scalar_writer(primitives.write_float),
    schema.Complex: _scalar_writer(primitives.write_complex),
    schema.String: _scalar_writer(primitives.write_string),
    schema.ByteString: _scalar_writer(primitives.write_bytes),
    schema.Bytes: _scalar_writer(primitives.write_bytes),
    schema.TimeType: _write_time,
}
_WRITER_MAKERS: dict[type[Type], Callable[[Any], Write]] = {
    schema.Int: lambda t: _ranged_writer(
        primitives.write_int, -(1 << (t.bits - 1)), (1 << (t.bits - 1)) - 1
    ),
    schema.Uint: lambda t: _ranged_writer(primitives.write_uint, 0, (1 << t.bits) - 1),
    schema.ByteArray: _byte_array_writer,
    schema.Array: lambda t: _sequence_writer(t.element, t.length),
    schema.Slice: lambda t: _sequence_writer(t.element, None),
    schema.Map: _map_writer,
    schema.Pointer: _pointer_writer,
    schema.Struct: _struct_writer,
    schema.Interface: _interface_writer,
    schema.Raw: _raw_writer,
}


@lru_cache(maxsize=1024)
def _writer(type_: Type) -> Write:
    simple = _SIMPLE_WRITERS.get(type(type_))
    return simple or _WRITER_MAKERS[type(type_)](type_)
