"""Every message of the real system, read and written."""

from __future__ import annotations

import pytest
import recorded

from imageserver import gob

VECTORS = recorded.load("gob-messages")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_message(vector) -> None:
    """A recorded message decodes to its values, and so does what we write for them."""
    cls = recorded.message_class(vector["go_type"])
    expected = [
        recorded.from_notation(value, gob.Struct(cls)) for value in vector["values"]
    ]
    stream = bytes.fromhex(vector["hex"])
    assert recorded.decode_all(stream, cls) == expected
    encoder = gob.Encoder()
    written = b"".join(encoder.encode(value) for value in expected)
    assert recorded.decode_all(written, cls) == expected
    assert len(recorded.decode_all(written)) == len(expected)
