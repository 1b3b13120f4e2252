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


_SECOND_NS = 1_000_000_000
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
_WEEK_S, _YEAR_S = 7 * _DAY_S, 365 * _DAY_S + _DAY_S // 4


def show_nanoseconds(duration_ns: int) -> str:
    """A duration: three digits below a minute, whole seconds from there on."""
    if duration_ns < _MINUTE_S * _SECOND_NS:
        return show_seconds(duration_ns / _SECOND_NS) if duration_ns else "0s"
    rest_s = duration_ns // _SECOND_NS
    text = ""
    for unit_s, letter in ((_YEAR_S, "y"), (_WEEK_S, "w"), (_DAY_S, "d")):
        count, rest_s = divmod(rest_s, unit_s)
        if count or text:
            text += f"{count}{letter}"
    return text + _show_clock(rest_s)


def _show_clock(seconds: int) -> str:
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minute}m{second}s"
    return f"{minute}m{second}s" if minute else f"{second}s"


def show_rate(size: int, seconds: float) -> str:
    """A rate."""
    return f"{show_bytes(int(size / max(seconds, 1e-9)))}/s"
