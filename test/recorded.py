"""The recorded bytes of the real system, and how their values are written down.

The notation is that of ``test/vectors/README.md``.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from imageserver import gob
from imageserver.model import image, image_messages, object_messages
from imageserver.srpc import messages as srpc_messages

DIRECTORY = Path(__file__).parent / "vectors"
_MODULES = (image, image_messages, object_messages, srpc_messages)


def load(name: str) -> Any:
    """One of the JSON files."""
    return json.loads((DIRECTORY / f"{name}.json").read_text())


def message_class(go_type: str) -> type:
    """The class that is declared under the last part of a Go type's name."""
    name = go_type.rpartition(".")[2]
    for module in _MODULES:
        for value in vars(module).values():
            if isinstance(value, type) and hasattr(value, "__gob__"):
                if gob.struct_info(value).name == name:
                    return value
    raise AssertionError(f"no class for {go_type}")


def decode_all(data: bytes, type_: Any = None) -> list[Any]:
    """Every value of a stream."""
    decoder = gob.Decoder()
    values = []
    position = 0
    while position < len(data):
        message, position = gob.next_message(data, position, gob.DEFAULT_LIMITS)
        value = decoder.feed(message, type_)
        if value is not gob.MORE:
            values.append(value)
    return values


def from_notation(value: Any, type_: gob.Type) -> Any:
    """What a typed decoder must give for a value in the notation."""
    return _FROM.get(type(type_).__name__, _as_it_is)(value, type_)


def _as_it_is(value: Any, type_: gob.Type) -> Any:
    if isinstance(value, dict):
        (kind, content), *_ = value.items()
        if kind == "$float64bits":
            return struct.unpack(">d", bytes.fromhex(content))[0]
        if kind == "$complexbits":
            return complex(
                *[struct.unpack(">d", bytes.fromhex(bits))[0] for bits in content]
            )
    return value


def _string(value: Any, type_: gob.Type) -> Any:
    if isinstance(value, dict):
        raw = bytes.fromhex(value["$strhex"])
    else:
        raw = value.encode()
    return raw if type_ == gob.BYTE_STRING else raw.decode("utf-8", "surrogateescape")


def _bytes(value: Any, type_: gob.Type) -> bytes:
    return b"" if value is None else bytes.fromhex(value["$bytes"])


def _byte_array(value: Any, type_: gob.Type) -> bytes:
    return bytes.fromhex(value["$uint8array"])


def _time(value: Any, type_: gob.Type) -> gob.Time:
    time = value["$time"]
    return gob.Time(time["unix"], time["nsec"], time["offset_seconds"])


def _sequence(value: Any, type_: Any) -> tuple[Any, ...]:
    return tuple(from_notation(item, type_.element) for item in value or ())


def _map(value: Any, type_: Any) -> dict[Any, Any] | None:
    """A map; nil and empty ones are told apart, which receivers do in fields only."""
    if value is None:
        return None
    return {
        from_notation(key, type_.key): from_notation(item, type_.value)
        for key, item in value["$map"]
    }


def _pointer(value: Any, type_: Any) -> Any:
    """A pointer; one to a zero scalar is received as nil."""
    if value is None:
        return None
    target = from_notation(value, type_.target)
    return target or None if isinstance(target, int | str) else target


def _struct(value: Any, type_: Any) -> Any:
    fields = gob.struct_info(type_.cls).fields
    return type_.cls(
        **{f.attribute: from_notation(value[f.name], f.type) for f in fields}
    )


def _interface(value: Any, type_: Any) -> Any:
    if value is None:
        return None
    name = {"*main.Inner": "alias/Inner"}.get(value["$type"], value["$type"])
    concrete = type_.registry.by_name[name]
    inner = from_notation(value["$value"], concrete)
    return (
        inner if isinstance(concrete, gob.Struct) else gob.InterfaceValue(name, inner)
    )


_FROM = {
    "String": _string,
    "ByteString": _string,
    "Bytes": _bytes,
    "ByteArray": _byte_array,
    "TimeType": _time,
    "Slice": _sequence,
    "Array": _sequence,
    "Map": _map,
    "Pointer": _pointer,
    "Struct": _struct,
    "Interface": _interface,
}
