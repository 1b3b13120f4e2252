"""What a check has come across."""

from __future__ import annotations

from collections import Counter
from enum import Enum

import attrs

_SHOWN = 1_000


class Finding(Enum):
    """A kind of finding, with the words for it."""

    DAMAGED_OBJECT = "damaged object"
    DAMAGED_IMAGE = "damaged image"
    MISSING_OBJECT = "missing object"
    WRONG_SIZE = "object of another size than the image says"
    UNREADABLE = "cannot be read"
    WRONG_INDEX = "wrong in the index"
    UNINDEXED = "not in the index yet"
    TEMPORARY = "unfinished write"
    MISNAMED = "name that no image can have"
    FOREIGN = "foreign file"
    NO_CHECKSUM = "image without checksum"
    IN_QUARANTINE = "in quarantine"

    @property
    def is_damage(self) -> bool:
        """Whether something is wrong, and not just worth knowing."""
        return self in _DAMAGES


_DAMAGES = frozenset(
    {
        Finding.DAMAGED_OBJECT,
        Finding.DAMAGED_IMAGE,
        Finding.MISSING_OBJECT,
        Finding.WRONG_SIZE,
        Finding.UNREADABLE,
        Finding.WRONG_INDEX,
    }
)


@attrs.define
class Report:
    """Findings, counted, and some of each kind in words.

    Attributes:
        counts: how many there are of each kind.
        lines: what to tell, in the order in which it was found.
    """

    counts: Counter[Finding] = attrs.field(factory=Counter)
    lines: list[str] = attrs.field(factory=list)

    def add(self, finding: Finding, subject: str, reason: str = "") -> None:
        """One more.

        Args:
            finding: what it is.
            subject: the file, object or image.
            reason: more about it.
        """
        self.counts[finding] += 1
        if self.counts[finding] <= _SHOWN:
            text = f"{finding.value}: {subject}"
            self.lines.append(f"{text}: {reason}" if reason else text)
        elif self.counts[finding] == _SHOWN + 1:
            self.lines.append(f"{finding.value}: more, which are only counted")

    @property
    def damages(self) -> int:
        """How many things are wrong."""
        return sum(count for kind, count in self.counts.items() if kind.is_damage)

    def summary(self) -> list[str]:
        """How many there are of each kind."""
        return [
            f"{count} x {kind.value}"
            for kind in Finding
            if (count := self.counts[kind])
        ]
