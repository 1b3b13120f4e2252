"""What can be shown of the server: values by path, from several sources."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

import attrs

from imageserver.srpc.distribution import Distribution

Value: TypeAlias = (
    bool | int | float | str | datetime.datetime | datetime.timedelta | Distribution
)
"""A value, a time in UTC, or how durations are distributed, in milliseconds."""

NONE, BYTES = "None", "Bytes"


@attrs.frozen
class Metric:
    """A value that can be shown.

    Attributes:
        path: its name, with slashes; existing tools ask for it.
        value: the value.
        description: what it is.
        unit: of a number: :data:`NONE` or :data:`BYTES`.
        is_signed: whether a whole number is of the kind that may be negative.
    """

    path: str
    value: Value
    description: str
    unit: str = NONE
    is_signed: bool = False


class MetricRegistry:
    """Everything that is measured; iterating over it gives the values of now."""

    def __init__(self) -> None:
        self._sources: list[Callable[[], Iterable[Metric]]] = []

    def add(self, source: Callable[[], Iterable[Metric]]) -> None:
        """Ask ``source``, too."""
        self._sources.append(source)

    def __iter__(self) -> Iterator[Metric]:
        for source in self._sources:
            yield from source()
