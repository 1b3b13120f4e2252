"""Numbers as people read them."""

from __future__ import annotations

import pytest

from imageserver.web.units import show_bytes, show_count, show_duration, show_percent


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (150 << 20, "150 MiB"),
        (1 << 62, "4.0 EiB"),
        (1 << 75, "32768 EiB"),
    ],
)
def test_bytes(count: int, text: str) -> None:
    """Sizes have binary units, and a decimal where it says something."""
    assert show_bytes(count) == text


def test_count() -> None:
    """Large numbers are grouped."""
    assert show_count(1234567) == "1\u202f234\u202f567"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (59, "59 s"),
        (312, "5 min 12 s"),
        (7200, "2 h 0 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    """Durations show their two largest units."""
    assert show_duration(seconds) == text


def test_percent() -> None:
    """Nothing of nothing is no division by zero."""
    assert show_percent(1, 8) == "12.5 %"
    assert show_percent(0, 0) == "0.0 %"
