"""Log lines that any peer can cause."""

# ruff: noqa: D102 - what is overridden is known by its name

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import Logger, LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from imageserver.srpc.sparing_log import SparingLog


class SparingLogs(SynchronousTestCase):
    """Few lines of each kind in a minute."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list = []
        self.sparing = SparingLog(
            Logger(observer=self.events.append),
            self.clock.seconds,
        )

    def write(self, count: int, kind: str = "noise") -> None:
        """So many lines."""
        for _ in range(count):
            self.sparing.info(kind, "{what} by {who}", what=kind, who="me")

    def take(self) -> list[str]:
        """The lines that came of it."""
        events, self.events[:] = list(self.events), []
        return [formatEvent(event) for event in events]

    def test_few_lines(self):
        """Few lines are all written."""
        self.write(20)
        self.assertEqual(self.take(), ["noise by me"] * 20)

    def test_many_lines(self):
        """The twenty-first line is left out, and all that follow in that minute."""
        self.write(1_000)
        self.assertEqual(len(self.take()), 20)
        self.clock.advance(59)
        self.write(5)
        self.assertEqual(self.take(), [])

    def test_next_minute(self):
        """After a minute there are lines again, and how many were left out."""
        self.write(1_000)
        self.take()
        self.clock.advance(60)
        self.write(30)
        first, *others = self.take()
        self.assertEqual(first, "noise: 980 more like those before")
        self.assertEqual(others, ["noise by me"] * 20)

    def test_nothing_left_out(self):
        """Nothing is said about nothing."""
        self.write(20)
        self.clock.advance(60)
        self.write(1)
        self.assertEqual(self.take(), ["noise by me"] * 21)

    def test_kinds(self):
        """One kind does not silence another."""
        self.write(100)
        self.write(1, "signal")
        self.assertEqual(self.take()[20:], ["signal by me"])

    def test_levels(self):
        """Warnings are warnings, and share what there is with other lines."""
        self.sparing.warn("noise", "{what}", what="beware")
        self.assertEqual(self.events[0]["log_level"], LogLevel.warn)
        self.write(100)
        self.assertEqual(self.events[1]["log_level"], LogLevel.info)
        self.assertEqual(len(self.take()), 20)
