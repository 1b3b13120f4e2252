"""Readers for pairs of a type on the wire and a type asked for.

The rules for such pairs are in ``docs/protocol.md``, "Compatible types". Where no
type is asked for (``None``), values are read as they come: structs as dicts of
the fields that are there, arrays as tuples, self-marshalling types as
:class:`Opaque`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from typing import Any, TypeAlias

import attrs

from imageserver.errors import GobDecodeError
from imageserver.gob import primitives, schema, wiretypes
from imageserver.gob.primitives import Cursor, read_int, read_uint
from imageserver.gob.raw import RawValue
from imageserver.gob.schema import InterfaceValue, Type, struct_info
from imageserver.gob.times import Time
from imageserver.gob.wiretypes import (
    ArrayType,
    MapType,
    OpaqueType,
    SliceType,
    StructType,
    WireTypes,
)

Steps: TypeAlias = Generator[None, bytes, Any]
_NAME_LIMIT = 1024


@attrs.frozen
class Opaque:
    """A value that marshalled itself, read without a declared type.

    Attributes:
        type_name: the name of its type, for example ``Time``.
        data: what it marshalled itself into.
    """

    type_name: str
    data: bytes


@attrs.frozen
class Reader:
    """How to read one kind of value.

    Attributes:
        read: from a cursor to the value; if ``resumable``, to a generator that
            returns the value, yields where a new message is needed and is sent it.
        resumable: see there.
    """

    read: Callable[[Cursor], Any]
    resumable: bool = False


_BASIC_READERS: dict[int, Callable[[Cursor], Any]] = {
    wiretypes.BOOL: primitives.read_bool,
    wiretypes.INT: primitives.read_int,
    wiretypes.UINT: primitives.read_uint,
    wiretypes.FLOAT: primitives.read_float,
    wiretypes.COMPLEX: primitives.read_complex,
    wiretypes.STRING: primitives.read_string,
    wiretypes.BYTES: primitives.read_bytes,
}
_BASIC_TYPES: dict[int, tuple[type[Type], ...]] = {
    wiretypes.BOOL: (schema.Bool,),
    wiretypes.INT: (schema.Int,),
    wiretypes.UINT: (schema.Uint,),
    wiretypes.FLOAT: (schema.Float,),
    wiretypes.COMPLEX: (schema.Complex,),
    wiretypes.STRING: (schema.String, schema.ByteString),
    wiretypes.BYTES: (schema.Bytes,),
    wiretypes.INTERFACE: (schema.Interface,),
}


class Readers:
    """The readers of one stream, made when they are first needed."""

    def __init__(self, types: WireTypes) -> None:
        self._types = types
        self._made: dict[tuple[int, Type | None], Reader] = {}
        self._open: set[tuple[int, Type | None]] = set()

    def top_level(self, id_: int, type_: Type | None) -> Reader:
        """The reader for whole values of wire type ``id_``.

        Raises:
            GobDecodeError: the wire type is unknown or not compatible with ``type_``.
        """
        reader = self.reader(id_, type_)
        if id_ >= wiretypes.FIRST_DEFINABLE_ID and isinstance(
            self._types[id_], StructType
        ):
            return reader
        return _behind_zero(reader)

    def reader(self, id_: int, type_: Type | None) -> Reader:
        """The reader for wire type ``id_`` inside other values.

        Raises:
            GobDecodeError: as :meth:`top_level`.
        """
        while isinstance(type_, schema.Pointer):
            type_ = type_.target
        key = (id_, type_)
        made = self._made.get(key)
        if made is None:
            if key in self._open:  # the type contains itself
                return self._later(key)
            self._open.add(key)
            made = self._made[key] = self._make(id_, type_)
            self._open.discard(key)
        return made

    def _later(self, key: tuple[int, Type | None]) -> Reader:
        """A reader that looks the one for ``key`` up when it is first used."""

        def read(cursor: Cursor) -> Any:
            return self._made[key].read(cursor)

        return Reader(read, self._may_be_cut(key[0], set()))

    def _may_be_cut(self, id_: int, seen: set[int]) -> bool:
        """Whether values of wire type ``id_`` may hold interfaces."""
        if id_ < wiretypes.FIRST_DEFINABLE_ID:
            return id_ == wiretypes.INTERFACE
        if id_ in seen:
            return False
        seen.add(id_)
        return any(
            self._may_be_cut(inner, seen) for inner in self._types[id_].inner_ids()
        )

    def _make(self, id_: int, type_: Type | None) -> Reader:
        if isinstance(type_, schema.Raw):
            return _raw_reader(id_, self.reader(id_, None), self._types)
        if id_ < wiretypes.FIRST_DEFINABLE_ID:
            return self._make_basic(id_, type_)
        definition = self._types[id_]
        reader = self._make_composite(definition, type_)
        if reader is None:
            raise GobDecodeError(f"wrong type ({type_}) for received {definition}")
        if isinstance(definition, OpaqueType):
            return reader
        return _nested(reader)

    def _make_basic(self, id_: int, type_: Type | None) -> Reader:
        if id_ not in _BASIC_TYPES:
            raise GobDecodeError(f"undefined type: {id_}")
        if type_ is not None and not isinstance(type_, _BASIC_TYPES[id_]):
            raise GobDecodeError(
                f"wrong type ({type_}) for {wiretypes.BASIC_NAMES[id_]}"
            )
        if id_ == wiretypes.INTERFACE:
            registry = type_.registry if isinstance(type_, schema.Interface) else None
            return _nested(self._interface_reader(registry))
        if isinstance(type_, schema.Int) and type_.bits < 64:
            return _ranged_reader(
                read_int, -(1 << type_.bits - 1), (1 << type_.bits - 1) - 1
            )
        if isinstance(type_, schema.Uint) and type_.bits < 64:
            return _ranged_reader(read_uint, 0, (1 << type_.bits) - 1)
        if isinstance(type_, schema.ByteString):
            return Reader(primitives.read_bytes)
        return Reader(_BASIC_READERS[id_])

    def _make_composite(
        self, wire: wiretypes.Definition, type_: Type | None
    ) -> Reader | None:
        """The reader for a defined type, or ``None`` if the kinds disagree."""
        if isinstance(wire, ArrayType):
            return self._make_array(wire, type_)
        if isinstance(wire, SliceType) and isinstance(type_, schema.Slice | None):
            return _sequence_reader(
                self.reader(wire.element, type_ and type_.element), None
            )
        if isinstance(wire, MapType) and isinstance(type_, schema.Map | None):
            return _map_reader(
                self.reader(wire.key, type_ and type_.key),
                self.reader(wire.value, type_ and type_.value),
            )
        if isinstance(wire, StructType) and isinstance(type_, schema.Struct | None):
            return self._make_struct(wire, type_)
        if isinstance(wire, OpaqueType) and isinstance(type_, schema.TimeType | None):
            return _opaque_reader(wire, type_)
        return None

    def _make_array(self, wire: ArrayType, type_: Type | None) -> Reader | None:
        if isinstance(type_, schema.ByteArray):
            fits = wire.element == wiretypes.UINT and wire.length == type_.length
            return _byte_array_reader(type_.length) if fits else None
        if isinstance(type_, schema.Array | None) and (
            type_ is None or wire.length == type_.length
        ):
            return _sequence_reader(
                self.reader(wire.element, type_ and type_.element), wire.length
            )
        return None

    def _make_struct(self, wire: StructType, type_: schema.Struct | None) -> Reader:
        if type_ is None:
            inner = [self.reader(field.id, None) for field in wire.fields]
            return _dict_reader([field.name for field in wire.fields], inner)
        info = struct_info(type_.cls)
        slots = {field.name: slot for slot, field in enumerate(info.fields)}
        if (
            wire.fields
            and slots
            and not any(field.name in slots for field in wire.fields)
        ):
            raise GobDecodeError(
                f"type mismatch: no fields matched compiling decoder for {info.name}"
            )
        steps = []
        for field in wire.fields:
            slot = slots.get(field.name)
            wanted = None if slot is None else info.fields[slot].type
            try:
                steps.append((slot, self.reader(field.id, wanted)))
            except GobDecodeError as error:
                if str(error).startswith("wrong type"):
                    text = f"{error} in field {info.name}.{field.name}"
                    raise GobDecodeError(text) from error
                raise
        return _struct_reader(type_.cls, [field.type for field in info.fields], steps)

    def _interface_reader(self, registry: schema.Registry | None) -> Reader:
        def read_interface(cursor: Cursor) -> Steps:
            raw_name = primitives.read_bytes(cursor)
            if not raw_name:
                return None
            if len(raw_name) > _NAME_LIMIT:
                raise GobDecodeError("name of an interface's type is too long")
            name = raw_name.decode("utf-8", "surrogateescape")
            id_ = yield from self._read_type_id(cursor)
            read_uint(cursor)  # the value's length, which cannot be relied on
            type_ = None
            if registry is not None:
                type_ = registry.by_name.get(name)
                if type_ is None:
                    raise GobDecodeError(f"name not registered for interface: {name!r}")
            reader = self.top_level(id_, type_)
            value = (
                (yield from reader.read(cursor))
                if reader.resumable
                else reader.read(cursor)
            )
            return (
                value
                if isinstance(type_, schema.Struct)
                else InterfaceValue(name, value)
            )

        return Reader(read_interface, resumable=True)

    def _read_type_id(self, cursor: Cursor) -> Steps:
        """Read the id of an interface's type, behind definitions that may cut in."""
        while True:
            if cursor.exhausted:
                cursor.go_on_with((yield))
            start = cursor.position
            id_ = read_int(cursor)
            if id_ >= 0:
                return id_
            self._types.add(-id_, wiretypes.read_definition(cursor))
            if not cursor.exhausted:
                read_uint(cursor)  # length of the next piece, which is not needed
                if cursor.record is not None:
                    raise GobDecodeError(
                        "definitions inside nested interfaces cannot be kept raw"
                    )
            cursor.leave_out(start)


def _behind_zero(reader: Reader) -> Reader:
    """Values other than structs stand behind a zero byte at the top level."""

    def check(cursor: Cursor) -> None:
        if read_uint(cursor) != 0:
            raise GobDecodeError("malformed value: no zero in front")

    def read(cursor: Cursor) -> Any:
        check(cursor)
        return reader.read(cursor)

    return Reader(read, reader.resumable)


def _nested(reader: Reader) -> Reader:
    """Count how deep values nest."""

    def enter(cursor: Cursor) -> None:
        if cursor.depth >= cursor.limits.depth:
            raise GobDecodeError("values nest too deep")
        cursor.depth += 1

    def read_nested(cursor: Cursor) -> Any:
        enter(cursor)
        value = reader.read(cursor)
        cursor.depth -= 1
        return value

    def resume_nested(cursor: Cursor) -> Steps:
        enter(cursor)
        value = yield from reader.read(cursor)
        cursor.depth -= 1
        return value

    return (
        Reader(resume_nested, resumable=True)
        if reader.resumable
        else Reader(read_nested)
    )


def _ranged_reader(read: Callable[[Cursor], int], lowest: int, highest: int) -> Reader:
    def read_ranged(cursor: Cursor) -> int:
        value = read(cursor)
        if not lowest <= value <= highest:
            raise GobDecodeError(f"value out of range: {value}")
        return value

    return Reader(read_ranged)


def _opaque_reader(wire: OpaqueType, type_: Type | None) -> Reader:
    def read_opaque(cursor: Cursor) -> Opaque:
        return Opaque(wire.name, primitives.read_bytes(cursor))

    def read_time(cursor: Cursor) -> Time:
        return Time.unmarshal(primitives.read_bytes(cursor))

    return Reader(read_opaque if type_ is None else read_time)


def _read_count(cursor: Cursor, length: int | None) -> int:
    count = read_uint(cursor)
    if length is not None and count != length:
        raise GobDecodeError(f"{count} elements in an array of {length}")
    return count


def _sequence_reader(element: Reader, length: int | None) -> Reader:
    """Slices, and arrays (with ``length``), as tuples."""
    read = element.read

    def read_sequence(cursor: Cursor) -> tuple[Any, ...]:
        count = _read_count(cursor, length)
        if count > len(cursor.data) - cursor.position:
            raise GobDecodeError(f"{count} elements exceed the message")
        return tuple([read(cursor) for _ in range(count)])

    def resume_sequence(cursor: Cursor) -> Steps:
        items = []
        for _ in range(_read_count(cursor, length)):
            items.append((yield from read(cursor)))
        return tuple(items)

    return (
        Reader(resume_sequence, resumable=True)
        if element.resumable
        else Reader(read_sequence)
    )


def _byte_array_reader(length: int) -> Reader:
    usual_form = re.compile(rb"(?:[\x00-\x7f]|\xff[\x80-\xff]){%d}" % length, re.DOTALL)
    slow = _sequence_reader(_ranged_reader(read_uint, 0, 0xFF), length)

    def read_byte_array(cursor: Cursor) -> bytes:
        start = cursor.position
        _read_count(cursor, length)
        match = usual_form.match(cursor.data, cursor.position)
        if match is None:  # numbers with leading zeros, or an error
            cursor.position = start
            return bytes(slow.read(cursor))
        cursor.position = match.end()
        pieces = match.group().split(b"\xff\xff")
        return b"\xff".join([piece.translate(None, b"\xff") for piece in pieces])

    return Reader(read_byte_array)


def _map_reader(key: Reader, value: Reader) -> Reader:
    def read_map(cursor: Cursor) -> dict[Any, Any]:
        entries = {}
        for _ in range(read_uint(cursor)):
            name = key.read(cursor)
            entries[name] = value.read(cursor)
        return entries

    def resume_map(cursor: Cursor) -> Steps:
        entries = {}
        for _ in range(read_uint(cursor)):
            name = (yield from key.read(cursor)) if key.resumable else key.read(cursor)
            entries[name] = (
                (yield from value.read(cursor))
                if value.resumable
                else value.read(cursor)
            )
        return entries

    if key.resumable or value.resumable:
        return Reader(resume_map, resumable=True)
    return Reader(read_map)


def _struct_reader(
    cls: type, types: list[Type], steps: list[tuple[int | None, Reader]]
) -> Reader:
    """Instances of ``cls``; a step without a slot skips a field."""
    shared = [
        None if isinstance(type_, schema.Struct) else type_.zero for type_ in types
    ]
    fresh = [
        (n, type_) for n, type_ in enumerate(types) if isinstance(type_, schema.Struct)
    ]

    def zeros() -> list[Any]:
        values = shared.copy()
        for slot, type_ in fresh:
            values[slot] = type_.zero
        return values

    def finish(values: list[Any]) -> Any:
        return cls(*values)

    return _fields_reader(zeros, finish, steps)


def _dict_reader(names: list[str], inner: list[Reader]) -> Reader:
    missing = object()

    def finish(values: list[Any]) -> dict[str, Any]:
        return {
            name: value
            for name, value in zip(names, values, strict=True)
            if value is not missing
        }

    return _fields_reader(
        lambda: [missing] * len(names), finish, list(enumerate(inner))
    )


def _fields_reader(
    zeros: Callable[[], list[Any]],
    finish: Callable[[list[Any]], Any],
    steps: list[tuple[int | None, Reader]],
) -> Reader:
    """The fields that are there, put over zeros, made into a value."""

    def step(number: int) -> tuple[int | None, Reader]:
        if number >= len(steps):
            raise GobDecodeError("malformed struct: no such field")
        return steps[number]

    def read_struct(cursor: Cursor) -> Any:
        values = zeros()
        number = -1
        while delta := read_uint(cursor):
            number += delta
            slot, reader = step(number)
            value = reader.read(cursor)
            if slot is not None:
                values[slot] = value
        return finish(values)

    def resume_struct(cursor: Cursor) -> Steps:
        values = zeros()
        number = -1
        while delta := read_uint(cursor):
            number += delta
            slot, reader = step(number)
            value = (
                (yield from reader.read(cursor))
                if reader.resumable
                else reader.read(cursor)
            )
            if slot is not None:
                values[slot] = value
        return finish(values)

    if any(reader.resumable for _, reader in steps):
        return Reader(resume_struct, resumable=True)
    return Reader(read_struct)


def _raw_reader(id_: int, skip: Reader, types: WireTypes) -> Reader:
    """Read past the value, and keep what was read."""

    def begin(cursor: Cursor) -> None:
        cursor.record, cursor.record_from = [], cursor.position

    def end(cursor: Cursor) -> RawValue:
        cursor.leave_out(cursor.position)
        pieces = cursor.record or []
        cursor.record = None
        return RawValue(b"".join(pieces), id_, types)

    def read_raw(cursor: Cursor) -> RawValue:
        begin(cursor)
        skip.read(cursor)
        return end(cursor)

    def resume_raw(cursor: Cursor) -> Steps:
        begin(cursor)
        yield from skip.read(cursor)
        return end(cursor)

    return Reader(resume_raw, resumable=True) if skip.resumable else Reader(read_raw)
