"""Sizes, times and rates, in the form that users of imagetool know."""

from __future__ import annotations

_PREFIXES = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_ENOUGH = 100


def show_bytes(size: int) -> str:
    """A size, in a unit of which there are more than 100, or a whole number."""
    best = f"{size} B"
    for power, prefix in enumerate(_PREFIXES):
        whole, rest = divmod(size, 1024**power)
        if whole > _ENOUGH or (whole > 0 and rest == 0):
            best = f"{whole} {prefix}B"
    return best


def show_seconds(seconds: float) -> str:
    """A duration of seconds with three significant digits."""
    for factor, unit in ((1, "s"), (1_000, "ms"), (1_000_000, "µs")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g}{unit}"
    return f"{seconds * 1_000_000_000:.0f}ns"


def show_rate(size: int, seconds: float) -> str:
    """A rate."""
    return f"{show_bytes(int(size / max(seconds, 1e-9)))}/s"
