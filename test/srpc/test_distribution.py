"""How durations are distributed."""

from __future__ import annotations

import bisect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imageserver.srpc.distribution import BOUNDS_MS, Distribution

DURATIONS = st.lists(st.floats(0, 1e7), max_size=50)


def distribution(*durations_ms: float) -> Distribution:
    """Of these durations."""
    made = Distribution()
    for duration_ms in durations_ms:
        made.add(duration_ms)
    return made


def filled(made: Distribution) -> dict[tuple[float | None, float | None], int]:
    """The ranges that are not empty."""
    return {(low, high): count for low, high, count in made.ranges() if count}


def test_bounds() -> None:
    """Existing tools know these bounds."""
    assert BOUNDS_MS == (
        *(0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000),
        *(10_000, 20_000, 50_000, 100_000),
    )


def test_ranges() -> None:
    """A bound belongs to the range above it; the first and the last one are open."""
    found = filled(distribution(0, 0.09, 0.1, 0.19, 0.2, 99_999, 100_000, 1e9))
    assert found == {
        (None, 0.1): 2,
        (0.1, 0.2): 2,
        (0.2, 0.5): 1,
        (50_000, 100_000): 1,
        (100_000, None): 2,
    }
    ranges = list(Distribution().ranges())
    assert len(ranges) == len(BOUNDS_MS) + 1
    assert [high for _, high, _ in ranges[:-1]] == [low for low, _, _ in ranges[1:]]


def test_nothing() -> None:
    """Without values everything is 0."""
    empty = Distribution()
    numbers = (empty.count, empty.total_ms, empty.least_ms, empty.most_ms)
    assert numbers == (0, 0, 0, 0)
    assert (empty.average_ms, empty.median_ms) == (0, 0)
    assert filled(empty) == {}


def test_one_value() -> None:
    """One value is everything."""
    one = distribution(3.5)
    assert (one.least_ms, one.most_ms, one.average_ms) == (3.5, 3.5, 3.5)
    assert one.median_ms == 3.5


@pytest.mark.parametrize(
    ("durations_ms", "median_ms"),
    [
        ((1, 1, 1, 1), 1),
        ((0.01, 0.05), 0.03),  # in the first range, which has no lower bound
        ((200_000, 300_000), 250_000),  # in the last one
        ((1, 1, 1, 600), 1 + 2 / 3),
        ((0.05, 3, 3, 3, 900), 2 + 3 * 1.5 / 3),
    ],
)
def test_median(durations_ms, median_ms) -> None:
    """The median is where it would be if a range was filled evenly."""
    assert distribution(*durations_ms).median_ms == pytest.approx(median_ms)


def test_clock_set_back() -> None:
    """A duration below 0 counts as none at all."""
    strange = distribution(-5, 1)
    assert (strange.least_ms, strange.total_ms) == (0, 1)


@given(DURATIONS)
def test_sums(durations_ms) -> None:
    """Count, sum, least and most are right, and the median is near the middle."""
    made = distribution(*durations_ms)
    assert made.count == len(durations_ms) == sum(count for *_, count in made.ranges())
    assert made.total_ms == pytest.approx(sum(durations_ms))
    assert made.most_ms == max(durations_ms, default=0)
    assert made.least_ms == min(durations_ms, default=0)
    if durations_ms:
        middle = sorted(durations_ms)[(len(durations_ms) - 1) // 2]
        place = bisect.bisect_right(BOUNDS_MS, middle)
        low, high = (0, *BOUNDS_MS)[place], (*BOUNDS_MS, 1e7)[place]
        assert low <= made.median_ms <= high
        assert made.least_ms <= made.median_ms <= made.most_ms
