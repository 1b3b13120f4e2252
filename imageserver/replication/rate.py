"""How fast something grows."""

from __future__ import annotations

from collections import deque

_WINDOW_S = 10.0


class Rate:
    """The growth of a number in the last seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def sample(self, now_s: float, value: int) -> float:
        """Note a number; how much it grows in a second.

        Args:
            now_s: the time.
            value: the number now; it never shrinks.
        """
        self._samples.append((now_s, value))
        while len(self._samples) > 2 and self._samples[1][0] <= now_s - _WINDOW_S:
            self._samples.popleft()
        first_s, first = self._samples[0]
        if now_s <= first_s:
            return 0.0
        return (value - first) / (now_s - first_s)
