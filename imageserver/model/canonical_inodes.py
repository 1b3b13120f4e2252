"""Single inodes in the encoding of canonical image files.

``docs/formats.md``, "Canonical image files", describes it.
"""

from __future__ import annotations

from imageserver import gob
from imageserver.errors import GobDecodeError
from imageserver.gob import Limits, Struct
from imageserver.gob.cursor import Cursor
from imageserver.gob.primitives import read_int
from imageserver.gob.readers import Readers
from imageserver.gob.wiretypes import WireTypes, read_definition
from imageserver.model.inode import INODES, Inode
from imageserver.model.inode_scan import TABLE

_LIMITS = Limits(message_bytes=1 << 30)
_ENCODER = gob.Encoder()
_DEFINITIONS = _ENCODER.define(TABLE)

HEADER_BY_CLASS: dict[type, bytes] = {
    cls: _ENCODER.interface_header(name, Struct(cls))
    for cls, name in INODES.by_class.items()
}
"""What stands in front of the length of an inode: the name and id of its type."""
CLASS_BY_HEADER = {header: cls for cls, header in HEADER_BY_CLASS.items()}


def encode_inode(inode: Inode) -> bytes:
    """The content of an inode."""
    content = bytearray()
    _ENCODER.write_value(content, inode, type(inode))
    return bytes(content)


class InodeReader:
    """Reads inodes; of each class the first one takes longer."""

    def __init__(self) -> None:
        types, position = WireTypes(), 0
        while position < len(_DEFINITIONS):
            message, position = gob.next_message(_DEFINITIONS, position, _LIMITS)
            cursor = Cursor(message, _LIMITS)
            types.add(-read_int(cursor), read_definition(cursor, _LIMITS))
        self._readers = Readers(types, _LIMITS)

    def read(self, cls: type, content: bytes) -> Inode:
        """The inode of a class with this content.

        Raises:
            GobDecodeError: it is damaged.
        """
        reader = self._readers.top_level(_ENCODER.type_id(cls), Struct(cls))
        try:
            inode: Inode = reader.read(Cursor(content, _LIMITS))
        except IndexError as error:
            raise GobDecodeError("unexpected end of an inode") from error
        return inode
