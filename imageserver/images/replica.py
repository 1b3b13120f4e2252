"""Changes that are made because a master has made them; nobody's leave is asked.

All functions may be called from any thread, and again: what is done already is left
alone.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from imageserver.errors import ImageExists, ImageNotFound
from imageserver.gob import Time
from imageserver.images.admission import Admitted, admit
from imageserver.images.database import ImageDatabase
from imageserver.images.records import to_nanoseconds
from imageserver.index.base import ImageRecord
from imageserver.model.names import check_image_name
from imageserver.srpc.access import ANONYMOUS, Caller

Written = Callable[[str, str], None]
"""Takes a method of ImageServer that does the same, and what it was done to."""


def _nowhere(_method: str, _subject: str) -> None:
    """Nobody wants to know."""


_MASTER = Caller(ANONYMOUS, has_method_access=True)


@attrs.frozen
class Inventory:
    """What is here.

    Attributes:
        directories: their owner groups, by name.
        images: whether each of them expires.
    """

    directories: dict[str, str]
    images: dict[str, bool]


class ReplicaImages:
    """The images of a replica."""

    def __init__(self, database: ImageDatabase, written: Written = _nowhere) -> None:
        """Change ``database``; what was changed is ``written`` down."""
        self._database = database
        self._written = written

    def inventory(self) -> Inventory:
        """What is here.

        Raises:
            StoreError: the index fails.
        """
        index = self._database.index
        images = {record.name: record.expires for record in index.images()}
        return Inventory(index.directories(), images)

    def find(self, name: str) -> ImageRecord | None:
        """What is known of an image.

        Raises:
            StoreError: nobody can tell.
        """
        return self._database.files.current(name)

    def put_directory(self, name: str, owner_group: str) -> None:
        """Make a directory, or give it to another group.

        Raises:
            RequestError: an image has that name.
            StoreError: it cannot be made.
        """
        before = self._database.index.owner_group(name)
        self._database.put_directory(name, owner_group)
        if before is None:
            self._written("MakeDirectory", name)
        elif before != owner_group:
            self._written("ChownDirectory", f"{name} to {owner_group or 'nobody'}")

    def add(self, name: str, admitted: Admitted) -> None:
        """Take an image in whose objects are in hand.

        Raises:
            RequestError: it is refused.
            StoreError: it cannot be stored.
        """
        check_image_name(name)
        admit(admitted, self._database.objects)
        if self._database.has_expired(admitted.image):
            return
        try:
            self._database.store(name, admitted, revive=True)
        except ImageExists:
            return
        self._written("AddImage", name)
        self._database.quarantine.note_replaced(self._database.path(name))

    def extend(self, name: str, expires_at: Time) -> bool:
        """Let an image expire later, unless it does already; whether it does now.

        Raises:
            RequestError: it is being changed.
            StoreError: it cannot be stored.
        """
        record = self.find(name)
        if record is None or record.expires_at_ns is None:
            return False
        new_ns = to_nanoseconds(expires_at)
        if new_ns is not None and new_ns <= record.expires_at_ns:
            return False
        try:
            self._database.change_expiration(name, expires_at, _MASTER)
        except ImageNotFound:
            return False
        self._written("ChangeImageExpiration", name)
        return True

    def delete(self, name: str) -> None:
        """Delete an image.

        Raises:
            RequestError: it is being changed.
            StoreError: it cannot be deleted.
        """
        try:
            self._database.delete(name, _MASTER)
        except ImageNotFound:
            return
        self._written("DeleteImage", name)

    def remove_directory(self, name: str) -> None:
        """Remove a directory.

        Raises:
            RequestError: there is something in it.
            StoreError: it cannot be removed.
        """
        if self._database.index.owner_group(name) is not None:
            self._database.remove_directory(name)
            self._written("DeleteDirectory", name)
