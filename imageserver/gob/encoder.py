"""Values to bytes.

All definitions that a value may need, those of interface contents included, are
sent in front of it, so that no message is ever cut. Ids are given out in the order
in which types are first met, from 65 on: the same declarations always give the
same bytes, which the canonical image files rely on.
"""

from __future__ import annotations

from typing import Any

from imageserver.gob import primitives
from imageserver.gob.definitions import OwnTypes
from imageserver.gob.primitives import uint_bytes
from imageserver.gob.schema import Type, as_type
from imageserver.gob.writers import write_top_level


class Encoder:
    """The sending side of one stream of gob messages."""

    def __init__(self) -> None:
        self._types = OwnTypes()
        self._interface_headers: dict[tuple[str, Type], bytes] = {}
        self._heads: dict[Type, bytes] = {}
        self._unsent = b""

    def define(self, type_: Type | type) -> bytes:
        """The messages that define whatever ``type_`` needs and was not defined yet."""
        self._unsent += self._types.define(as_type(type_))
        messages, self._unsent = self._unsent, b""
        return messages

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
        head = self._heads.get(type_)
        if head is None:
            self._unsent += self._types.define(type_)  # not lost if value is refused
            out = bytearray()
            primitives.write_int(out, self.type_id(type_))
            head = self._heads[type_] = bytes(out)
        body = bytearray(head)
        write_top_level(self, body, value, type_)
        definitions, self._unsent = self._unsent, b""
        return b"".join((definitions, uint_bytes(len(body)), body))

    def write_value(self, out: bytearray, value: Any, type_: Type | type) -> None:
        """Append ``value`` as a top-level value, without message length and id.

        Raises:
            GobTypeError: the value does not fit the type.
        """
        write_top_level(self, out, value, as_type(type_))

    def interface_header(self, name: str, type_: Type) -> bytes:
        """Name and type id, which stand in front of each interface value."""
        header = self._interface_headers.get((name, type_))
        if header is None:
            out = bytearray()
            primitives.write_string(out, name)
            primitives.write_int(out, self.type_id(type_))
            header = self._interface_headers[name, type_] = bytes(out)
        return header
