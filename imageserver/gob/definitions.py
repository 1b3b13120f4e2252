"""From declared types to definitions on the wire, with ids of our own."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from imageserver.errors import GobTypeError
from imageserver.gob import schema, wiretypes
from imageserver.gob.declarations import struct_info
from imageserver.gob.primitives import uint_bytes
from imageserver.gob.schema import Type, on_wire

_BASIC_IDS: dict[type[Type], int] = {
    schema.Bool: wiretypes.BOOL,
    schema.Int: wiretypes.INT,
    schema.Uint: wiretypes.UINT,
    schema.Float: wiretypes.FLOAT,
    schema.Complex: wiretypes.COMPLEX,
    schema.String: wiretypes.STRING,
    schema.ByteString: wiretypes.STRING,
    schema.Bytes: wiretypes.BYTES,
    schema.Interface: wiretypes.INTERFACE,
}


class OwnTypes:
    """The types that one stream of ours has defined, and their ids."""

    def __init__(self) -> None:
        self._ids: dict[Type, int] = {}

    def id(self, type_: Type) -> int:
        """The id of a type that was defined, or that has a fixed one.

        Raises:
            GobTypeError: it has none.
        """
        type_ = on_wire(type_)
        id_ = _BASIC_IDS.get(type(type_)) or self._ids.get(type_)
        if id_ is None:
            raise GobTypeError(f"not defined on this stream: {type_}")
        return id_

    def define(self, type_: Type) -> bytes:
        """Give ids to ``type_`` and all that it contains, as far as they have none.

        Returns:
            The messages that tell the receiver.
        """
        if self._ids:
            return self._define(type_)
        known, messages = _first_definitions(type_)
        self._ids = known._ids.copy()
        return messages

    def _define(self, type_: Type) -> bytes:
        fresh: list[Type] = []
        self._assign(type_, fresh)
        messages = bytearray()
        for new in fresh:
            body = bytearray()
            wiretypes.write_definition(body, self._ids[new], self._definition(new))
            messages += uint_bytes(len(body)) + body
        return bytes(messages)

    def _assign(self, type_: Type, fresh: list[Type]) -> None:
        """Number types, outer ones first."""
        type_ = on_wire(type_)
        if type_ in self._ids:
            return
        if type(type_) not in _BASIC_IDS:
            self._ids[type_] = wiretypes.FIRST_OWN_ID + len(self._ids)
            fresh.append(type_)
        for inner in _inner_types(type_):
            self._assign(inner, fresh)

    def _definition(self, type_: Type) -> wiretypes.Definition:
        if isinstance(type_, schema.Slice):
            return wiretypes.SliceType("", self.id(type_.element))
        if isinstance(type_, schema.Array):
            return wiretypes.ArrayType(type_.name, self.id(type_.element), type_.length)
        if isinstance(type_, schema.ByteArray):
            return wiretypes.ArrayType(type_.name, wiretypes.UINT, type_.length)
        if isinstance(type_, schema.Map):
            return wiretypes.MapType(
                type_.name, self.id(type_.key), self.id(type_.value)
            )
        if isinstance(type_, schema.Struct):
            info = struct_info(type_.cls)
            fields = tuple(
                wiretypes.FieldType(field.name, self.id(field.type))
                for field in info.fields
            )
            return wiretypes.StructType(info.name, fields)
        return wiretypes.OpaqueType("Time")


@lru_cache(maxsize=256)
def _first_definitions(type_: Type) -> tuple[OwnTypes, bytes]:
    types = OwnTypes()
    return types, types._define(type_)


def _inner_types(type_: Type) -> Iterator[Type]:
    """The types that values of ``type_`` contain, in order."""
    if isinstance(type_, schema.Slice | schema.Array):
        yield type_.element
    elif isinstance(type_, schema.Map):
        yield type_.key
        yield type_.value
    elif isinstance(type_, schema.Struct):
        yield from (field.type for field in struct_info(type_.cls).fields)
    elif isinstance(type_, schema.Interface):
        yield from type_.registry.by_name.values()
