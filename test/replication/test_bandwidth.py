"""How much may come, by the time of day."""

from __future__ import annotations

import pytest

from imageserver.errors import ConfigError
from imageserver.replication.bandwidth import Throttle, parse_schedule

HOUR = 3_600


@pytest.mark.parametrize(
    ("second", "limit"),
    [
        (0, 3 << 20),
        (5 * HOUR, 3 << 20),
        (7 * HOUR - 1, 3 << 20),
        (7 * HOUR, 1000),
        (8 * HOUR, 2 << 20),
        (18 * HOUR - 1, 2 << 20),
        (18 * HOUR, 1000),
        (22 * HOUR, 3 << 20),
        (24 * HOUR - 1, 3 << 20),
    ],
)
def test_schedule(second: int, limit: int) -> None:
    """Each period has its limit, also over midnight; all other times have theirs."""
    schedule = parse_schedule(1000, ["08:00-18:00=2MiB", "22:00-7:00=3MiB"])
    assert schedule.limit(second) == limit


@pytest.mark.parametrize(
    "entry",
    ["", "8-18=1M", "08:00-18:00", "08:60-18:00=1M", "08:00-25:00=1M", "1:00-2:00=x"],
)
def test_malformed(entry: str) -> None:
    """What is no period is refused, and shown."""
    with pytest.raises(ConfigError, match="replicationBandwidthSchedule"):
        parse_schedule(0, [entry])


def test_throttle() -> None:
    """No more comes than may; what was not used is not saved up."""
    now_s = [100.0]
    times = {"now": 0.0}
    schedule = parse_schedule(0, ["00:00-12:00=1000B"])
    throttle = Throttle(schedule, lambda: now_s[0], lambda: times["now"])
    assert throttle.wait_s(500) == pytest.approx(0.5)
    assert throttle.wait_s(500) == pytest.approx(1.0)
    now_s[0] += 50
    assert throttle.wait_s(1000) == pytest.approx(1.0)
    times["now"] = 13 * HOUR
    assert throttle.wait_s(10**9) == 0.0
