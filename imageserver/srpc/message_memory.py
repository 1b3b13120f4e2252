"""What long messages take while they come in, on all connections together."""

from __future__ import annotations

from collections.abc import Callable

MEMORY_BYTES = 1 << 30


class MessageMemory:
    """Counts; where there is too much, the message that began first has to go.

    So those who are slow do not keep out those who are quick.
    """

    def __init__(self, limit: int = MEMORY_BYTES) -> None:
        """Allow ``limit`` bytes."""
        self.limit = limit
        self.used = 0
        self._shares: dict[Share, None] = {}  # the oldest one first

    def begin(self, evict: Callable[[], None]) -> Share:
        """For a message that may come in; ``evict`` ends its connection."""
        return Share(self, evict)

    def _grow(self, share: Share, size: int) -> None:
        self._shares.setdefault(share)
        share.size += size
        self.used += size
        while self.used > self.limit:
            oldest = next(iter(self._shares))
            oldest.is_lost = True
            oldest.end()
            oldest.evict()

    def _end(self, share: Share) -> None:
        if share in self._shares:
            del self._shares[share]
            self.used -= share.size


class Share:
    """What one message takes.

    Attributes:
        size: bytes so far.
        is_lost: whether others needed the memory.
        evict: ends the connection.
    """

    __slots__ = ("_memory", "evict", "is_lost", "size")

    def __init__(self, memory: MessageMemory, evict: Callable[[], None]) -> None:
        self._memory = memory
        self.evict = evict
        self.is_lost = False
        self.size = 0

    def grow(self, size: int) -> None:
        """So many bytes more are there."""
        if not self.is_lost:
            self._memory._grow(self, size)

    def end(self) -> None:
        """It takes nothing any more."""
        self._memory._end(self)
