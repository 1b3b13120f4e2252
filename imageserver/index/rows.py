"""Readers of rows; they find values of other types, which damage can make."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def typed(*types: type) -> Callable[[Any], Any]:
    """A reader of rows whose values are of these types."""

    def read(row: Any) -> Any:
        if not all(map(isinstance, row, types)):
            raise TypeError(f"a value of another type than {types}")
        return row

    return read


SIZE = typed(bytes, int)
NAME = typed(str)
HASH = typed(bytes)
