"""How much may be fetched in a second, by the time of day."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import attrs

from imageserver.errors import ConfigError
from imageserver.flags import SIZE

_DAY_S = 86_400
_ENTRY = re.compile(r"([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})=(.+)")


@attrs.frozen
class Period:
    """A part of each day, in seconds since midnight, and its limit.

    Attributes:
        begin_s: when it begins.
        end_s: when it ends; may be on the next day.
        bytes_per_s: the limit; 0: none.
    """

    begin_s: int
    end_s: int
    bytes_per_s: int

    def covers(self, second: float) -> bool:
        """Whether a second of the day is in it."""
        if self.begin_s < self.end_s:
            return self.begin_s <= second < self.end_s
        return second >= self.begin_s or second < self.end_s


@attrs.frozen
class Schedule:
    """The limits.

    Attributes:
        bytes_per_s: at all other times; 0: no limit.
        periods: parts of the day; the first one that fits counts.
    """

    bytes_per_s: int = 0
    periods: tuple[Period, ...] = ()

    @property
    def is_unlimited(self) -> bool:
        """Whether there is never a limit."""
        return not (self.bytes_per_s or self.periods)

    def limit(self, second_of_day: float) -> int:
        """How many bytes may come in a second, at that time; 0: as many as can."""
        for period in self.periods:
            if period.covers(second_of_day):
                return period.bytes_per_s
        return self.bytes_per_s


def parse_schedule(bytes_per_s: int, entries: Iterable[str]) -> Schedule:
    """The limits from two flags.

    Args:
        bytes_per_s: for all times that are not named.
        entries: like ``08:00-18:00=10MiB``.

    Raises:
        ConfigError: an entry is of another form.
    """
    return Schedule(bytes_per_s, tuple(_parse_period(entry) for entry in entries))


def _parse_period(entry: str) -> Period:
    found = _ENTRY.fullmatch(entry)
    try:
        if found is None:
            raise ValueError
        begin_s = _parse_time(found[1], found[2])
        end_s = _parse_time(found[3], found[4])
        return Period(begin_s % _DAY_S, end_s % _DAY_S, SIZE.parse(found[5]))
    except ValueError:
        raise ConfigError(
            f"-replicationBandwidthSchedule: not like 08:00-18:00=10MiB: {entry!r}"
        ) from None


def _parse_time(hour: str, minute: str) -> int:
    second = int(hour) * 3_600 + int(minute) * 60
    if int(minute) >= 60 or second > _DAY_S:
        raise ValueError
    return second


class Throttle:
    """Says how long to wait for what has come, so that no more comes than may."""

    def __init__(
        self,
        schedule: Schedule,
        now_s: Callable[[], float],
        second_of_day: Callable[[], float],
    ) -> None:
        """Keep to a schedule.

        Args:
            schedule: the limits.
            now_s: a clock.
            second_of_day: the time of day here.
        """
        self._schedule = schedule
        self._now_s = now_s
        self._second_of_day = second_of_day
        self._paid_until_s = 0.0

    def wait_s(self, size: int) -> float:
        """How long to rest before more is fetched, now that ``size`` bytes came."""
        if self._schedule.is_unlimited:
            return 0.0
        limit = self._schedule.limit(self._second_of_day())
        now_s = self._now_s()
        if not limit:
            self._paid_until_s = now_s
            return 0.0
        self._paid_until_s = max(self._paid_until_s, now_s) + size / limit
        return self._paid_until_s - now_s
