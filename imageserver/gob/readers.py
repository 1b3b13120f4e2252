"""Readers for pairs of a type on the wire and a type asked for.

The rules for such pairs are in ``docs/gob.md``, "Compatible types". Where no
type is asked for (``None``), values are read as they come: structs as dicts of
the fields that are there, arrays as tuples, self-marshalling types as
:class:`~imageserver.gob.reader.Opaque`. Where nothing is asked for (``SKIP``),
they are passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from imageserver.errors import GobDecodeError
from imageserver.gob import primitives, schema, wiretypes
from imageserver.gob.containers import (
    byte_array_list_reader,
    byte_array_reader,
    dict_reader,
    map_reader,
    passing_numbers_reader,
    passing_reader,
    passing_struct_reader,
    sequence_reader,
    struct_reader,
)
from imageserver.gob.cursor import Cursor
from imageserver.gob.declarations import struct_info
from imageserver.gob.interfaces import interface_reader
from imageserver.gob.limits import Limits
from imageserver.gob.primitives import read_bytes, read_int, read_uint
from imageserver.gob.reader import (
    Reader,
    Steps,
    behind_zero,
    nested,
    opaque_reader,
    ranged_reader,
    read_time,
)
from imageserver.gob.schema import SKIP, Type
from imageserver.gob.wiretypes import (
    ArrayType,
    Definition,
    MapType,
    OpaqueType,
    SliceType,
    StructType,
    WireTypes,
)

_Key: TypeAlias = tuple[int, Type | None]

_BASIC: dict[int, tuple[Callable[[Cursor], Any], tuple[type[Type], ...]]] = {
    wiretypes.BOOL: (primitives.read_bool, (schema.Bool,)),
    wiretypes.INT: (read_int, (schema.Int,)),
    wiretypes.UINT: (read_uint, (schema.Uint,)),
    wiretypes.FLOAT: (primitives.read_float, (schema.Float,)),
    wiretypes.COMPLEX: (primitives.read_complex, (schema.Complex,)),
    wiretypes.STRING: (primitives.read_string, (schema.String, schema.ByteString)),
    wiretypes.BYTES: (read_bytes, (schema.Bytes,)),
}


class Readers:
    """The readers of one stream, made when they are first needed.

    Attributes:
        types: the types of the stream.
        limits: its limits.
    """

    def __init__(self, types: WireTypes, limits: Limits) -> None:
        self.types = types
        self.limits = limits
        self._made: dict[_Key, Reader] = {}
        self._open: set[_Key] = set()

    def top_level(self, id_: int, type_: Type | None) -> Reader:
        """The reader for whole values of wire type ``id_``.

        Raises:
            GobDecodeError: the wire type is unknown or not compatible with ``type_``.
        """
        reader = self.reader(id_, type_)
        if isinstance(self.types.get(id_), StructType):
            return reader
        return behind_zero(reader)

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
            if len(self._open) > self.limits.depth:
                raise GobDecodeError("types nest too deep")
            self._open.add(key)
            made = self._made[key] = self._make(id_, type_)
            self._open.discard(key)
        return made

    def _later(self, key: _Key) -> Reader:
        """A reader that looks the one for ``key`` up when it is used.

        It is resumable, since nobody knows yet whether that one will be.
        """

        def resume_later(cursor: Cursor) -> Steps:
            value: Any = yield from self._made[key].read(cursor)
            return value

        return Reader(resume_later, resumable=True)

    def _make(self, id_: int, type_: Type | None) -> Reader:
        if isinstance(type_, schema.Scanned):
            self.reader(id_, type_.target)  # raises an error if that is something else
            return nested(type_.make_reader(self))
        if id_ == wiretypes.INTERFACE:
            return self._make_interface(type_)
        if id_ in _BASIC:
            return self._make_basic(id_, type_)
        definition = self.types.get(id_)
        if definition is None:
            raise GobDecodeError(f"undefined type: {id_}")
        if type_ is SKIP:
            reader = self._make_passing(definition)
        elif type_ is None:
            reader = self._make_untyped(definition)
        else:
            reader = self._make_typed(id_, definition, type_)
        return reader if isinstance(definition, OpaqueType) else nested(reader)

    def _mismatch(self, id_: int, type_: Type | None) -> GobDecodeError:
        return GobDecodeError(
            f"wrong type ({type(type_).__name__})"
            f" for received {self.types.describe(id_)!r}"
        )

    def _make_interface(self, type_: Type | None) -> Reader:
        if not isinstance(type_, schema.Interface | schema.Skipped | None):
            raise self._mismatch(wiretypes.INTERFACE, type_)
        return nested(interface_reader(self.top_level, self.types, self.limits, type_))

    def _make_basic(self, id_: int, type_: Type | None) -> Reader:
        read, accepting = _BASIC[id_]
        if type_ is None or type_ is SKIP:
            return Reader(read)
        if not isinstance(type_, accepting):
            raise self._mismatch(id_, type_)
        match type_:
            case schema.Int(bits=bits) if bits < 64:
                return ranged_reader(read, -(1 << bits - 1), (1 << bits - 1) - 1)
            case schema.Uint(bits=bits) if bits < 64:
                return ranged_reader(read, 0, (1 << bits) - 1)
            case schema.ByteString():
                return Reader(read_bytes)
        return Reader(read)

    def _make_passing(self, wire: Definition) -> Reader:
        inner = [self.reader(id_, SKIP) for id_ in wire.inner_ids()]
        if isinstance(wire, OpaqueType):
            return Reader(read_bytes)
        if isinstance(wire, StructType):
            return passing_struct_reader(inner)
        length = wire.length if isinstance(wire, ArrayType) else None
        if wire.inner_ids() in ([wiretypes.INT], [wiretypes.UINT]):
            return passing_numbers_reader(length)
        return passing_reader(inner, length)

    def _make_untyped(self, wire: Definition) -> Reader:
        inner = [self.reader(id_, None) for id_ in wire.inner_ids()]
        if isinstance(wire, OpaqueType):
            return opaque_reader(wire.name)
        if isinstance(wire, StructType):
            return dict_reader([field.name for field in wire.fields], inner)
        if isinstance(wire, MapType):
            return map_reader(inner[0], inner[1])
        return sequence_reader(
            inner[0], wire.length if isinstance(wire, ArrayType) else None
        )

    def _make_typed(self, id_: int, wire: Definition, type_: Type) -> Reader:
        match wire, type_:
            case ArrayType(element=wiretypes.UINT), schema.ByteArray(length=length):
                if wire.length == length:
                    return byte_array_reader(length)
            case ArrayType(element=inner), schema.Array(element=element, length=length):
                if wire.length == length:
                    return sequence_reader(self.reader(inner, element), length)
            case SliceType(element=inner), schema.Slice(element=element):
                return self._make_slice(inner, element)
            case MapType(key=key_id, value=value_id), schema.Map(key=key, value=value):
                return map_reader(
                    self.reader(key_id, key), self.reader(value_id, value)
                )
            case StructType(), schema.Struct():
                return self._make_struct(wire, type_.cls)
            case OpaqueType(method=wiretypes.BY_GOB), schema.TimeType():
                return Reader(read_time)
        raise self._mismatch(id_, type_)

    def _make_slice(self, element_id: int, element: Type) -> Reader:
        reader = sequence_reader(self.reader(element_id, element), None)
        if isinstance(element, schema.ByteArray):
            return byte_array_list_reader(element.length, reader)
        return reader

    def _make_struct(self, wire: StructType, cls: type) -> Reader:
        info = struct_info(cls)
        slots = info.slots
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
            wanted = SKIP if slot is None else info.fields[slot].type
            try:
                steps.append((slot, self.reader(field.id, wanted)))
            except GobDecodeError as error:
                where = f"{info.name}.{field.name[:64]}"
                raise GobDecodeError(f"{error} in field {where}") from error
        return struct_reader(cls, steps)
