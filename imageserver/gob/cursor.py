"""How far the messages of one value have been read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imageserver.errors import GobDecodeError

if TYPE_CHECKING:
    from imageserver.gob.limits import Limits


class Cursor:
    """A place in the message that is being read.

    Attributes:
        data: the message, without its length.
        position: offset of the next byte.
    """

    __slots__ = (
        "_bytes_left",
        "_elements_left",
        "_levels_left",
        "data",
        "position",
    )

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._bytes_left = limits.message_bytes
        self._elements_left = limits.elements
        self._levels_left = limits.depth
        self._take(data)

    def _take(self, data: bytes) -> None:
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise GobDecodeError("the messages of a value are too long")
        self.data = data
        self.position = 0

    @property
    def exhausted(self) -> bool:
        """Whether the message has been read to its end."""
        return self.position >= len(self.data)

    @property
    def rest(self) -> int:
        """How many bytes of the message are left."""
        return len(self.data) - self.position

    def go_on_with(self, data: bytes) -> None:
        """Go on in the next message of the value.

        Raises:
            GobDecodeError: they are too long together.
        """
        self._take(data)

    def count(self, elements: int) -> None:
        """Account for elements that are going to be kept in memory.

        Raises:
            GobDecodeError: they are too many.
        """
        self._elements_left -= elements
        if self._elements_left < 0:
            raise GobDecodeError("too many elements")

    def enter(self) -> None:
        """Begin a value inside of others.

        Raises:
            GobDecodeError: it is nested too deep.
        """
        if not self._levels_left:
            raise GobDecodeError("values nest too deep")
        self._levels_left -= 1

    def leave(self) -> None:
        """End what :meth:`enter` began."""
        self._levels_left += 1
