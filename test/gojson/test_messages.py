"""Every message of the real system in JSON, read and written."""

from __future__ import annotations

import json
from typing import Any

import pytest
import recorded

from imageserver import gob, gojson

VECTORS = [vector for vector in recorded.load("gob-messages") if vector["json"]]

LEFT_OUT = {"EntriesByName"}
"""Members that the real system writes and nobody reads."""


def plain(value: Any, type_: gob.Type) -> Any:
    """A value with what JSON cannot tell taken out of it."""
    match type_:
        case gob.Struct():
            fields = gob.struct_info(type_.cls).fields
            members = {f: getattr(value, f.attribute) for f in fields}
            value = type_.cls(
                **{f.attribute: plain(m, f.type) for f, m in members.items()}
            )
        case gob.Slice(element=element):
            value = tuple(plain(item, element) for item in value)
        case _ if type_ == gob.STRING:
            value = replaced(value.encode("utf-8", "surrogateescape"))
        case _ if type_ == gob.BYTE_STRING:
            value = replaced(value).encode()
        case gob.Map(value=item_type) if value is not None:
            value = {key: plain(item, item_type) for key, item in value.items()}
        case gob.Pointer(target=target) if value is not None:
            value = plain(value, target)
        case gob.Interface() if value is not None:
            value = plain(value, gob.Struct(type(value)))
    return value


def replaced(data: bytes) -> str:
    """Text with U+FFFD for each byte that is not UTF-8."""
    text = data.decode("utf-8", "surrogateescape")
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)


def without_nulls(value: Any) -> Any:
    """Parsed JSON in which empty things are left out: nil or empty is all the same."""
    if isinstance(value, dict):
        members = {
            name: without_nulls(member)
            for name, member in value.items()
            if name not in LEFT_OUT
        }
        return {name: m for name, m in members.items() if m not in (None, [], "")}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_message(vector) -> None:
    """Recorded JSON gives the recorded values, and they give the recorded JSON."""
    cls = recorded.message_class(vector["go_type"])
    for text, notation in zip(vector["json"], vector["values"], strict=True):
        if text is None:
            continue
        value = recorded.from_notation(notation, gob.Struct(cls))
        expected = plain(value, gob.Struct(cls))
        assert plain(gojson.decode(text.encode(), cls), gob.Struct(cls)) == expected
        written = gojson.encode(value)
        assert without_nulls(json.loads(written)) == without_nulls(json.loads(text))
        assert gojson.Extent(64).find(written) == len(written)
        escaped = [c for c in ("\\u003c", "\\u003e", "\\u0026") if c in text]
        assert all(c.encode() in written for c in escaped)


def test_nearly_all_have_json() -> None:
    """The recordings hold JSON for more than a hundred messages."""
    assert len(VECTORS) > 100
