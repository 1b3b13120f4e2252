"""Numbers as points of small charts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

_WIDTH, _HEIGHT = 120, 24
_MOST_POINTS = 120


def spark_points(values: Sequence[float]) -> str:
    """The line through some values, for an SVG of 120 by 24; empty: nothing moves."""
    values = thin(values)
    if len(values) < 2 or max(values) == min(values):
        return ""
    low, high = min(0.0, *values), max(values)
    step = _WIDTH / (len(values) - 1)
    scale = (_HEIGHT - 2) / (high - low)
    return " ".join(
        f"{n * step:.1f},{_HEIGHT - 1 - (value - low) * scale:.1f}"
        for n, value in enumerate(values)
    )


def thin(values: Sequence[float]) -> list[float]:
    """As many of the values as a chart has room for."""
    if len(values) <= _MOST_POINTS:
        return list(values)
    step = len(values) / _MOST_POINTS
    return [values[int(n * step)] for n in range(_MOST_POINTS)]


def changes(values: Sequence[float]) -> list[float]:
    """By how much each value is more than the one before."""
    return [max(0.0, b - a) for a, b in pairwise(values)]


def area_points(
    times: Sequence[float],
    values: Sequence[float],
    since: float,
    until: float,
    top: float,
) -> str:
    """The area below a line, for an SVG of 1000 by 160; empty: there is no line.

    Args:
        times: of the values, ascending.
        values: what is shown.
        since: the time at the left.
        until: the time at the right.
        top: the value at the top.
    """
    if len(times) < 2 or top <= 0 or until <= since:
        return ""
    points = [
        (1000 * (t - since) / (until - since), 160 - 156 * value / top)
        for t, value in zip(times, values, strict=True)
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f"{points[0][0]:.1f},160 {line} {points[-1][0]:.1f},160"
