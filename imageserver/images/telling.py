"""Telling clients what could not be done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from imageserver.errors import StoreError


@contextmanager
def told(what: str) -> Iterator[None]:
    """Tell clients what could not be done, without paths of the server."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{what}: {error.strerror}") from error
