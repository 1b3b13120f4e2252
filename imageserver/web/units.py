"""Numbers as people read them."""

from __future__ import annotations

import datetime

_PREFIXES = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


def show_bytes(count: int) -> str:
    """A size with a binary unit: ``1.5 MiB``."""
    value = float(count)
    for prefix in _PREFIXES:
        if abs(value) < 1024 or prefix == _PREFIXES[-1]:
            break
        value /= 1024
    digits = 0 if not prefix or value >= 100 else 1
    return f"{value:.{digits}f} {prefix}B"


def show_count(count: int) -> str:
    """A number with groups of three digits, apart by thin spaces."""
    return f"{count:,}".replace(",", "\u202f")


def show_duration(seconds: float) -> str:
    """A duration: ``3 d 4 h``, ``5 min 12 s``, ``0.4 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    while len(parts) > 1 and parts[0][0] == 0:
        parts.pop(0)
    return " ".join(f"{number} {unit}" for number, unit in parts[:2])


def show_percent(part: float, whole: float) -> str:
    """How much of ``whole`` is ``part``: ``12.3 %``."""
    return f"{100 * part / whole:.1f} %" if whole else "0.0 %"


def show_moment(seconds: float) -> str:
    """A point in time, in UTC, given in seconds since 1970."""
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment:%Y-%m-%d %H:%M}"


def show_relative(seconds: float) -> str:
    """A point in time seen from now: ``3 h ago``, ``in 5 d``.

    Args:
        seconds: how long ago it was; negative if it is to come.
    """
    text = _show_largest(abs(seconds))
    if text == "0 s":
        return "now"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def _show_largest(seconds: float) -> str:
    for unit, size in (("y", 31_557_600), ("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds / size)} {unit}"
    return f"{int(seconds)} s"


def show_exact_moment(seconds: float) -> str:
    """A point in time to the second, in UTC; years that no calendar has are kept."""
    try:
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    except (OverflowError, ValueError, OSError):
        return f"{seconds:.0f} s since 1970"
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def shorten(text: str, length: int = 16) -> str:
    """A long name, shortened in the middle."""
    if len(text) <= length + 1:
        return text
    half = length // 2
    return f"{text[: length - half]}…{text[-half:]}"
