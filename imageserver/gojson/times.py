"""Times in JSON: RFC 3339, with up to nine decimals."""

from __future__ import annotations

import datetime
import re

from imageserver.errors import GobTypeError, JsonDecodeError
from imageserver.gob import Time

_FORM = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:[.,]([0-9]+))?(?:Z|([+-])([0-9]{2}):([0-9]{2}))"
)
_DAY_1970 = datetime.date(1970, 1, 1).toordinal()
_DAY_S = 86_400
_LAST_DAY = datetime.date.max.toordinal()
_DECIMALS = 9


def parse_time(text: str) -> Time:
    """The time that a text stands for.

    Raises:
        JsonDecodeError: it stands for none.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise JsonDecodeError(f"malformed time: {text[:64]!r}")
    year, month, day, hour, minute, second = map(int, match.groups()[:6])
    decimals, sign, offset_hours, offset_minutes = match.groups()[6:]
    try:
        days = datetime.date(year, month, day).toordinal() - _DAY_1970
        time = datetime.time(hour, minute, second)
        datetime.time(int(offset_hours or 0), int(offset_minutes or 0))
    except ValueError as error:
        raise JsonDecodeError(f"malformed time: {error}") from error
    seconds = time.hour * 3600 + time.minute * 60 + time.second
    offset_s = 0
    if sign:
        offset_s = int(offset_hours) * 3600 + int(offset_minutes) * 60
        offset_s = -offset_s if sign == "-" else offset_s
    return Time(
        days * _DAY_S + seconds - offset_s,
        int((decimals or "")[:_DECIMALS].ljust(_DECIMALS, "0")),
        offset_s or None,
    )


def format_time(time: Time) -> str:
    """The text that stands for a time; in UTC if its zone has seconds.

    Raises:
        GobTypeError: it is not between the years 1 and 9999.
    """
    offset_s = time.offset_s or 0
    if offset_s % 60:
        offset_s = 0
    days, second = divmod(time.unix_s + offset_s, _DAY_S)
    day = days + _DAY_1970
    if not 1 <= day <= _LAST_DAY:
        raise GobTypeError("time out of range: year")
    date = datetime.date.fromordinal(day).isoformat()
    minute, second = divmod(second, 60)
    clock = f"{minute // 60:02}:{minute % 60:02}:{second:02}"
    decimals = f".{time.nanosecond:09}".rstrip("0").rstrip(".")
    zone = "Z"
    if offset_s:
        minutes = abs(offset_s) // 60
        sign = "-" if offset_s < 0 else "+"
        zone = f"{sign}{minutes // 60:02}:{minutes % 60:02}"
    return f"{date}T{clock}{decimals}{zone}"
