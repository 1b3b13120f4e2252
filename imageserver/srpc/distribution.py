"""How values are distributed, for metrics."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

BOUNDS_MS = (
    *(digit * 10**power / 10 for power in range(6) for digit in (1, 2, 5)),
    100_000.0,
)
"""Existing tools know these ranges: 0.1, 0.2, 0.5, 1, ... 50,000, 100,000 ms."""


class Distribution:
    """Counts durations in ranges; it only ever grows.

    Attributes:
        count: how many there were.
        total_ms: their sum.
        least_ms: the shortest one; 0 if there is none.
        most_ms: the longest one.
    """

    __slots__ = ("_counts", "count", "least_ms", "most_ms", "total_ms")

    def __init__(self) -> None:
        self.count = 0
        self.total_ms = self.least_ms = self.most_ms = 0.0
        self._counts = [0] * (len(BOUNDS_MS) + 1)

    def add(self, duration_ms: float) -> None:
        """There was one that took so long."""
        duration_ms = max(0.0, duration_ms)  # the clock may be set back
        self._counts[bisect_right(BOUNDS_MS, duration_ms)] += 1
        self.least_ms = min(self.least_ms, duration_ms) if self.count else duration_ms
        self.most_ms = max(self.most_ms, duration_ms)
        self.total_ms += duration_ms
        self.count += 1

    @property
    def average_ms(self) -> float:
        """The mean; 0 if there is none."""
        return self.total_ms / self.count if self.count else 0.0

    @property
    def median_ms(self) -> float:
        """About the middle: between the ends of its range, as far as it is in it."""
        before = 0
        for lower, upper, count in self.ranges():
            if count and (before + count) * 2 >= self.count:
                low = max(lower or 0.0, self.least_ms)
                high = self.most_ms if upper is None else min(upper, self.most_ms)
                part = (self.count / 2 - before) / count
                return min(high, low + (high - low) * part)
            before += count
        return 0.0

    def ranges(self) -> Iterator[tuple[float | None, float | None, int]]:
        """Lower bound, upper bound (which does not belong to it), and count of each."""
        bounds = (None, *BOUNDS_MS, None)
        yield from zip(bounds, bounds[1:], self._counts, strict=False)
