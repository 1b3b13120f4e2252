"""What several tests of gob use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
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


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """Let each test make its own readers and writers, so that it tests how."""
    for module in vars(gob).values():
        for function in vars(module).values() if isinstance(module, ModuleType) else ():
            if hasattr(function, "cache_clear"):
                function.cache_clear()
