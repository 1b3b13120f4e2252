"""What changes in the image database, in order, for those who follow it.

Changes are made by any thread; listeners are told of them in one place, the reactor's
side, in the order in which the index has them. Whoever begins to listen gets a picture
of the index that goes with it: nothing is missing between the two, and nothing is told
that the picture has already.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import attrs

T = TypeVar("T")


class Operation(enum.IntEnum):
    """Kinds of changes, by their numbers on the wire."""

    ADD_IMAGE = 0
    """Also: its expiration was changed."""
    DELETE_IMAGE = 1
    MAKE_DIRECTORY = 2
    """Also: its owner group was changed."""
    DELETE_DIRECTORY = 3


@attrs.frozen
class Change:
    """One change.

    Attributes:
        operation: what was done.
        name: to which image or directory.
        expires: whether the image expires at some time.
        owner_group: of the directory.
    """

    operation: Operation
    name: str
    expires: bool = False
    owner_group: str = ""


Listener = Callable[[Change], None]


class Changes:
    """Tells listeners of changes."""

    def __init__(
        self, deliver: Callable[..., Any] = lambda function, *a: function(*a)
    ) -> None:
        """Begin with nobody listening.

        Args:
            deliver: calls a function with arguments where listeners are to be told:
                one call after the other, in order.
        """
        self._deliver = deliver
        self._lock = threading.Lock()
        self._listeners: dict[Listener, None] = {}

    @contextmanager
    def announced(self, change: Change) -> Iterator[None]:
        """Change the index in this block; listeners are told if it succeeds."""
        with self._lock:
            yield
            self._deliver(self._tell, change)

    def listen(self, listener: Listener, look: Callable[[], T]) -> T:
        """Tell ``listener`` of all changes from now on.

        Args:
            listener: called for each change, until :meth:`leave`.
            look: looks at the index.

        Returns:
            What ``look`` saw, before the first of these changes.
        """
        with self._lock:
            picture = look()
            self._deliver(self._listeners.setdefault, listener)
        return picture

    def leave(self, listener: Listener) -> None:
        """Tell it no more; to be called where listeners are told."""
        self._listeners.pop(listener, None)

    def _tell(self, change: Change) -> None:
        for listener in list(self._listeners):
            listener(change)
