"""What several tests of gob use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from imageserver import gob


@pytest.fixture
def encode_all() -> Callable[[Iterable[Any], gob.Type], bytes]:
    """A function that sends values over one stream."""

    def encode(values: Iterable[Any], type_: gob.Type) -> bytes:
        encoder = gob.Encoder()
        return b"".join(encoder.encode(value, type_) for value in values)

    return encode
