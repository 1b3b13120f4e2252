"""Every message of the real system, read and written."""

from __future__ import annotations

import pytest
import recorded

from imageserver import gob
from imageserver.model import image, image_messages, object_messages
from imageserver.srpc import messages as srpc_messages

VECTORS = recorded.load("gob-messages")
MODULES = (image, image_messages, object_messages, srpc_messages)


def message_class(go_type: str) -> type:
    """The class that is declared under the last part of a Go type's name."""
    name = go_type.rpartition(".")[2]
    for module in MODULES:
        for value in vars(module).values():
            if isinstance(value, type) and hasattr(value, "__gob__"):
                if gob.struct_info(value).name == name:
                    return value
    raise AssertionError(f"no class for {go_type}")


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_message(vector) -> None:
    """A recorded message decodes to its values, and so does what we write for them."""
    cls = message_class(vector["go_type"])
    expected = [
        recorded.from_notation(value, gob.Struct(cls)) for value in vector["values"]
    ]
    stream = bytes.fromhex(vector["hex"])
    assert recorded.decode_all(stream, cls) == expected
    encoder = gob.Encoder()
    written = b"".join(encoder.encode(value) for value in expected)
    assert recorded.decode_all(written, cls) == expected
    assert len(recorded.decode_all(written)) == len(expected)
