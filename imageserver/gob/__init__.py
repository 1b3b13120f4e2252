"""Go's gob: values to bytes and back, without input or output.

The format is described in ``docs/gob.md``.
"""

from imageserver.gob.declarations import evolve, field, struct, struct_info
from imageserver.gob.decoder import MORE, Decoded, Decoder, decode, next_message
from imageserver.gob.encoder import Encoder
from imageserver.gob.limits import DEFAULT_LIMITS, Limits
from imageserver.gob.primitives import parse_message_length, uint_bytes
from imageserver.gob.reader import Opaque
from imageserver.gob.schema import (
    BOOL,
    BYTE_STRING,
    BYTES,
    COMPLEX,
    FLOAT,
    INT,
    INT32,
    STRING,
    TIME,
    UINT,
    UINT8,
    UINT32,
    Array,
    ByteArray,
    Int,
    Interface,
    InterfaceValue,
    Map,
    Pointer,
    Registry,
    Scanned,
    Slice,
    Struct,
    Type,
    Uint,
)
from imageserver.gob.times import Time

__all__ = [
    "BOOL",
    "BYTES",
    "BYTE_STRING",
    "COMPLEX",
    "DEFAULT_LIMITS",
    "FLOAT",
    "INT",
    "INT32",
    "MORE",
    "STRING",
    "TIME",
    "UINT",
    "UINT8",
    "UINT32",
    "Array",
    "ByteArray",
    "Decoded",
    "Decoder",
    "Encoder",
    "Int",
    "Interface",
    "InterfaceValue",
    "Limits",
    "Map",
    "Opaque",
    "Pointer",
    "Registry",
    "Scanned",
    "Slice",
    "Struct",
    "Time",
    "Type",
    "Uint",
    "decode",
    "evolve",
    "field",
    "next_message",
    "parse_message_length",
    "struct",
    "struct_info",
    "uint_bytes",
]
