"""The kinds of values that flags have: how they are read and shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import attrs

NANOSECOND = 1
MICROSECOND = 1_000 * NANOSECOND
MILLISECOND = 1_000 * MICROSECOND
SECOND = 1_000 * MILLISECOND
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE

_PARSE_ERROR = "parse error"
_INT64 = range(-(2**63), 2**63)
_UINT64 = range(2**64)

_BOOLS = dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True)
_BOOLS |= dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False)

# Repetitions are bounded because Python declines to convert very many digits.
_INTEGER = re.compile(r"[+-]?[0-9][0-9A-Za-z_]{0,999}")
_OLD_OCTAL = re.compile(r"\A([+-]?)0(?=[0-9_])")
_DURATION_PART = re.compile(
    "([0-9]{0,30})(?:[.]([0-9]{0,30}))?(ns|us|\u00b5s|\u03bcs|ms|s|m|h)"
)
_DURATION_UNITS = {
    "ns": NANOSECOND,
    "us": MICROSECOND,
    "\u00b5s": MICROSECOND,  # the micro sign
    "\u03bcs": MICROSECOND,  # the Greek letter
    "ms": MILLISECOND,
    "s": SECOND,
    "m": MINUTE,
    "h": HOUR,
}
_SIZE = re.compile("([0-9]{1,30})([A-Za-z]*)")
_BINARY_UNITS = {f"{c}iB": 1024**power for power, c in enumerate("KMGTPE", 1)}
_DECIMAL_UNITS = {f"{c}B": 1000**power for power, c in enumerate("kMGTPE", 1)}
_SIZE_UNITS = {"": 1, "B": 1, **_BINARY_UNITS, **_DECIMAL_UNITS}
_SIZE_UNITS |= {unit[0]: bytes_ for unit, bytes_ in _BINARY_UNITS.items()}


@attrs.frozen
class Kind:
    """What values a flag takes.

    Attributes:
        name: the word for it in the usage text.
        parse: turns text into a value, or raises ``ValueError`` with the reason.
        show: turns a value into text that ``parse`` takes.
    """

    name: str
    parse: Callable[[str], Any]
    show: Callable[[Any], str]


def _parse_bool(text: str) -> bool:
    if text not in _BOOLS:
        raise ValueError(_PARSE_ERROR)
    return _BOOLS[text]


def _show_bool(value: bool) -> str:
    return "true" if value else "false"


def _parse_int(text: str) -> int:
    return _within(_INT64, _integer(text))


def _parse_uint(text: str) -> int:
    if text.startswith(("+", "-")):
        raise ValueError(_PARSE_ERROR)
    return _within(_UINT64, _integer(text))


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError(_PARSE_ERROR)
    try:
        return int(_OLD_OCTAL.sub(r"\g<1>0o", text), base=0)
    except ValueError:
        raise ValueError(_PARSE_ERROR) from None


def _within(bounds: range, value: int) -> int:
    if value not in bounds:
        raise ValueError("value out of range")
    return value


def _parse_duration(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    body = text[1:] if text.startswith(("+", "-")) else text
    if body == "0":
        return 0
    total = position = 0
    while position < len(body) or not body:
        part = _DURATION_PART.match(body, position)
        if part is None or not (part[1] or part[2]):
            raise ValueError(_PARSE_ERROR)
        unit = _DURATION_UNITS[part[3]]
        whole, fraction = part[1] or "0", part[2] or "0"
        total += int(whole) * unit + int(fraction) * unit // 10 ** len(fraction)
        position = part.end()
    if sign * total not in _INT64:
        raise ValueError(_PARSE_ERROR)
    return sign * total


def _show_duration(value: int) -> str:
    sign, value = ("-", -value) if value < 0 else ("", value)
    if value == 0:
        return "0s"
    for unit, word in ((MICROSECOND, "ns"), (MILLISECOND, "µs"), (SECOND, "ms")):
        if value < unit:
            return f"{sign}{_show_decimals(value, unit // 1_000)}{word}"
    hours, value = divmod(value, HOUR)
    minutes, value = divmod(value, MINUTE)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if hours or minutes else ""
    return f"{sign}{text}{_show_decimals(value, SECOND)}s"


def _show_decimals(value: int, unit: int) -> str:
    """The quotient of a value and a power of ten, in full."""
    whole, rest = divmod(value, unit)
    fraction = str(unit + rest)[1:].rstrip("0")
    return f"{whole}.{fraction}" if fraction else str(whole)


def _parse_size(text: str) -> int:
    size = _SIZE.fullmatch(text)
    if size is None or size[2] not in _SIZE_UNITS:
        raise ValueError(_PARSE_ERROR)
    return _within(_UINT64, int(size[1]) * _SIZE_UNITS[size[2]])


def _show_size(value: int) -> str:
    for units in (_BINARY_UNITS, _DECIMAL_UNITS):
        for word, unit in reversed(units.items()):
            if value and value % unit == 0:
                return f"{value // unit}{word}"
    return f"{value}B"


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(text.split(",")) if text else ()


STRING = Kind("string", str, str)
BOOL = Kind("bool", _parse_bool, _show_bool)
INT = Kind("int", _parse_int, str)
UINT = Kind("uint", _parse_uint, str)
DURATION = Kind("duration", _parse_duration, _show_duration)
SIZE = Kind("size", _parse_size, _show_size)
LIST = Kind("list", _parse_list, ",".join)
