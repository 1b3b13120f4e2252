"""How long to wait before trying again."""

from __future__ import annotations

from collections.abc import Callable

FIRST_S = 1.0
LONGEST_S = 60.0


def delay_s(
    failures: int,
    random: Callable[[], float],
    first_s: float = FIRST_S,
    longest_s: float = LONGEST_S,
) -> float:
    """The time until the next attempt.

    It doubles with each failure; half of it is random, so that many who failed
    together do not come back together.

    Args:
        failures: how many attempts in a row have failed; at least 1.
        random: gives numbers from 0 to 1.
        first_s: the longest time after the first one.
        longest_s: the longest time at all.
    """
    whole_s = min(longest_s, first_s * 2.0 ** min(failures - 1, 30))
    return whole_s * (0.5 + random() / 2)
