"""Objects that images need and that are not there: damaged, or taken away."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from twisted.logger import Logger

from imageserver.errors import CorruptImage
from imageserver.gob.byte_arrays import escape
from imageserver.images.database import ImageDatabase
from imageserver.index.base import UpkeepIndex

_MOST = 100
_READ_BYTES = 1 << 20
_HASH_BYTES = 128  # at most, as images have them

Restore = Callable[[Sequence[bytes]], None]
"""Fetches objects from somewhere else, and puts them in like uploads. What it cannot
fetch it leaves missing; it is asked again."""


class MissingObjects:
    """The missing objects, and which images need them; used by one thread at a time.

    Attributes:
        images: the names of the images, by the hashes of the objects; a limited number
            of them.
        restore: gets missing objects back; ``None``: nobody does.
    """

    _log = Logger()

    def __init__(self, database: ImageDatabase, index: UpkeepIndex) -> None:
        """Look for objects.

        Args:
            database: the images.
            index: what is known of objects.
        """
        self.images: dict[bytes, tuple[str, ...]] = {}
        self.restore: Restore | None = None
        self._database = database
        self._index = index
        self._stopping = False

    def stop(self) -> None:
        """Look no further; may be called from another thread."""
        self._stopping = True

    def refresh(self) -> None:
        """Find out what is missing now; log what was not missing before.

        Raises:
            StoreError: the index fails.
        """
        missing = self._index.missing_objects(_MOST)
        new = [hash_ for hash_ in missing if hash_ not in self.images]
        found = self._images_using(new) if new else {}
        if self._stopping:
            return
        for hash_ in new:
            self._log.error(
                "object {name} is missing; images that need it: {images}",
                name=hash_.hex(),
                images=", ".join(found[hash_]),
            )
        known = self.images | {hash_: tuple(names) for hash_, names in found.items()}
        self.images = {hash_: known[hash_] for hash_ in missing}
        if missing and self.restore is not None:
            self.restore(missing)

    def _images_using(self, hashes: Iterable[bytes]) -> dict[bytes, list[str]]:
        """The names of the images that refer to each object.

        An image's file has the hashes as they are, but for escapes: no need to decode.
        """
        patterns = {escape(hash_): hash_ for hash_ in hashes}
        images: dict[bytes, list[str]] = {hash_: [] for hash_ in patterns.values()}
        for record in list(self._database.index.images()):
            if self._stopping:
                break
            try:
                for pattern in self._find(record.name, patterns):
                    images[patterns[pattern]].append(record.name)
            except (CorruptImage, OSError) as error:
                self._log.error(
                    "cannot look into image {name}: {error}",
                    name=record.name,
                    error=error,
                )
        return {hash_: sorted(names) for hash_, names in images.items()}

    def _find(self, name: str, patterns: Iterable[bytes]) -> set[bytes]:
        """Those of the patterns that an image's file contains."""
        found: set[bytes] = set()
        stored = self._database.open_stored(name)
        if stored is None:
            return found  # it was deleted meanwhile
        try:
            data = b""
            while piece := os.read(stored.descriptor, _READ_BYTES):
                data = data[-_HASH_BYTES:] + piece
                found.update(pattern for pattern in patterns if pattern in data)
        finally:
            os.close(stored.descriptor)
        return found
