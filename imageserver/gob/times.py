"""Go's ``time.Time`` as it travels: ``docs/gob.md``, "Times"."""

from __future__ import annotations

import struct
from typing import ClassVar

import attrs

from imageserver.errors import GobDecodeError, GobTypeError

_LAYOUT = struct.Struct(">BqIh")
_SECONDS_TO_1970 = 62_135_596_800
_UTC = -1
_NANOSECONDS = 1_000_000_000


@attrs.frozen(order=False)
class Time:
    """An instant with nanoseconds, and the zone in which somebody wrote it down.

    Times with equal instants compare as equal only if their zones are equal too;
    use :meth:`instant` to compare instants.

    Attributes:
        unix_s: seconds since 1970-01-01 UTC, may be negative.
        nanosecond: 0 to 999,999,999.
        offset_s: seconds east of Greenwich, or ``None`` for UTC.
    """

    unix_s: int = -_SECONDS_TO_1970
    nanosecond: int = 0
    offset_s: int | None = None

    ZERO: ClassVar[Time]

    @property
    def is_zero(self) -> bool:
        """Whether this is the instant that means "not set"."""
        return self.unix_s == -_SECONDS_TO_1970 and self.nanosecond == 0

    @property
    def instant(self) -> tuple[int, int]:
        """Seconds and nanoseconds, to compare by."""
        return self.unix_s, self.nanosecond

    @classmethod
    def from_nanoseconds(cls, unix_ns: int) -> Time:
        """The instant ``unix_ns`` nanoseconds after 1970, in UTC."""
        seconds, nanosecond = divmod(unix_ns, _NANOSECONDS)
        return cls(seconds, nanosecond)

    def to_nanoseconds(self) -> int:
        """Nanoseconds since 1970."""
        return self.unix_s * _NANOSECONDS + self.nanosecond

    def marshal(self) -> bytes:
        """The 15 or 16 bytes that gob carries.

        Raises:
            GobTypeError: the time is out of range, or one minute west of Greenwich.
        """
        seconds = self.unix_s + _SECONDS_TO_1970
        if self.nanosecond >= _NANOSECONDS:
            raise GobTypeError("time out of range: nanoseconds")
        minutes, rest = _UTC, 0
        if self.offset_s is not None:
            sign = -1 if self.offset_s < 0 else 1
            minutes, rest = (sign * part for part in divmod(abs(self.offset_s), 60))
            if minutes == _UTC:
                raise GobTypeError("this zone offset cannot be sent")
        try:
            data = _LAYOUT.pack(2 if rest else 1, seconds, self.nanosecond, minutes)
        except struct.error as error:
            raise GobTypeError(f"time out of range: {error}") from error
        return data + struct.pack(">b", rest) if rest else data

    @classmethod
    def unmarshal(cls, data: bytes) -> Time:
        """The inverse of :meth:`marshal`.

        Raises:
            GobDecodeError: the version or the length is wrong, or a part of the time
                is out of its range.
        """
        version = data[0] if data else 0
        if version not in (1, 2) or len(data) != _LAYOUT.size + version - 1:
            raise GobDecodeError("malformed time")
        _, seconds, nanosecond, minutes = _LAYOUT.unpack_from(data)
        if nanosecond >= _NANOSECONDS:
            raise GobDecodeError("malformed time: nanoseconds out of range")
        rest = int.from_bytes(data[_LAYOUT.size :], signed=True)
        if abs(rest) >= 60 or minutes * rest < 0 or (minutes == _UTC and rest):
            raise GobDecodeError("malformed time: zone offset out of range")
        offset_s = None if minutes == _UTC else minutes * 60 + rest
        return cls(seconds - _SECONDS_TO_1970, nanosecond, offset_s)


Time.ZERO = Time()
