"""Space for uploads that have begun, so that they do not take it from each other."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Room:
    """What is free, less what was promised. All methods may be called by any thread."""

    def __init__(self, free_bytes: Callable[[], int]) -> None:
        """Promise parts of what ``free_bytes`` tells."""
        self._free_bytes = free_bytes
        self._promised = 0
        self._promising = threading.Lock()

    def promise(self, size: int) -> bool:
        """Promise space, if there is enough; whether there is."""
        with self._promising:
            if size > self._free_bytes() - self._promised:
                return False
            self._promised += size
            return True

    def release(self, size: int) -> None:
        """Some of what was promised was taken, or is not needed."""
        with self._promising:
            self._promised -= size
