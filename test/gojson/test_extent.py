"""Where JSON values end in a stream."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageserver.errors import JsonDecodeError
from imageserver.gojson import Extent

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=30,
).filter(lambda value: isinstance(value, list | dict))


@given(VALUES, st.binary(max_size=40), st.integers(1, 30), st.booleans())
def test_any_value(value, rest: bytes, step: int, spaced: bool) -> None:
    """The end is found as soon as it is there, however the value comes in."""
    text = json.dumps(value, ensure_ascii=False, indent=1 if spaced else None).encode()
    lead = b" \n" if spaced else b""
    extent, end = Extent(64), len(lead + text)
    for stop in range(step, end, step):
        assert extent.find((lead + text)[:stop]) is None
    assert extent.find(bytearray(lead + text + rest)) == end
    assert extent.scanned == end


def test_nothing_yet() -> None:
    """White space is no value, and no reason to refuse one."""
    extent = Extent(2)
    assert extent.find(b"") is None
    assert extent.find(b" \n") is None
    assert extent.find(b" \n[]") == 4


def test_escapes_that_are_cut() -> None:
    """Half an escape at the end of what has come does not end the string."""
    extent = Extent(2)
    for stop in range(9):
        assert extent.find(b'["\\\\\\"]"]'[:stop]) is None
    assert extent.find(b'["\\\\\\"]"]') == 9


@pytest.mark.parametrize("text", [b"5", b'"a"', b"x", b"]", b"\xff", b"null", b"\0"])
def test_no_object(text: bytes) -> None:
    """What is neither an object nor an array is refused at once."""
    with pytest.raises(JsonDecodeError, match="no JSON object"):
        Extent(64).find(text)


def test_depth() -> None:
    """Values that nest too deep are refused before they are all there."""
    assert Extent(3).find(b"[{[]") is None
    with pytest.raises(JsonDecodeError, match="nest too deep"):
        Extent(3).find(b"[{[[")


def test_nothing_is_looked_at_twice() -> None:
    """A long string that comes in small pieces costs time linear in its length."""

    class Counting(bytearray):
        """Bytes that tell where they were looked at."""

    extent, data = Extent(64), Counting(b'{"a":"')
    for _ in range(1000):
        before = extent.scanned
        assert extent.find(data) is None
        assert extent.scanned == len(data) >= before
        data += b"x" * 100
