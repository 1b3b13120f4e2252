"""Objects that images need and that are not there: damaged, or taken away.

An image that needs one is incomplete. It is kept, and complete again when the object is
back; until then it is not sent to anybody.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

from twisted.logger import Logger

from imageserver.errors import CorruptImage, InvalidImage
from imageserver.gob.byte_arrays import escape
from imageserver.images.admission import dismiss, measure
from imageserver.images.canonical import read_image_file
from imageserver.images.database import ImageDatabase
from imageserver.index.base import UpkeepIndex

_SHOWN = 100
_SOUGHT = 100_000  # hashes are evenly spread: who misses more of them misses some here
_MOST_PATTERNS = 100  # to seek more of them takes longer than to scan the image
_READ_BYTES = 1 << 20
_HASH_BYTES = 128  # at most, as images have them
_NOTE = "incomplete images"

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
            database: the images; those that are incomplete are marked there.
            index: what is known of objects.
        """
        self.images: dict[bytes, tuple[str, ...]] = {}
        self.restore: Restore | None = None
        self._database = database
        self._index = index
        self._missing: AbstractSet[bytes] = frozenset()
        self._stopping = False

    def resume(self) -> None:
        """Mark the images that were incomplete when the daemon ended.

        Raises:
            StoreError: the index fails.
        """
        self._database.incomplete = json.loads(self._index.note(_NOTE) or "{}")

    def stop(self) -> None:
        """Look no further; may be called from another thread."""
        self._stopping = True

    def refresh(self) -> None:
        """Find out what is missing now; log what was not missing before.

        Raises:
            StoreError: the index fails.
        """
        missing = frozenset(self._index.missing_objects(_SOUGHT))
        if missing != self._missing or (self._database.incomplete and not missing):
            self._look_into_images(missing)
        if missing and self.restore is not None and not self._stopping:
            self.restore(sorted(missing)[:_SHOWN])

    def _look_into_images(self, missing: AbstractSet[bytes]) -> None:
        """Find out which images are incomplete."""
        incomplete: dict[str, int] = {}
        images: dict[bytes, list[str]] = {
            hash_: [] for hash_ in sorted(missing)[:_SHOWN]
        }
        for name in self._suspects(missing):
            if self._stopping:
                return
            needed = self._needed(name, missing)
            if needed:
                incomplete[name] = len(needed)
            for hash_ in needed & images.keys():
                images[hash_].append(name)
        for hash_, names in images.items():
            if hash_ not in self.images:
                self._log.error(
                    "object {name} is missing; images that need it: {images}",
                    name=hash_.hex(),
                    images=", ".join(names),
                )
        self.images = {hash_: tuple(names) for hash_, names in images.items()}
        self._mark(incomplete)
        self._missing = missing

    def _suspects(self, missing: AbstractSet[bytes]) -> list[str]:
        """The names of images that may be incomplete."""
        if missing <= self._missing:
            return sorted(self._database.incomplete)
        return sorted(self._database.index.image_names())

    def _mark(self, incomplete: dict[str, int]) -> None:
        if incomplete != self._database.incomplete:
            self._log.error(
                "{count} images are incomplete, and not sent", count=len(incomplete)
            )
        self._database.incomplete = incomplete
        self._index.set_note(_NOTE, json.dumps(incomplete))

    def _needed(self, name: str, missing: AbstractSet[bytes]) -> AbstractSet[bytes]:
        """The missing objects that an image needs."""
        try:
            if len(missing) <= _MOST_PATTERNS:
                return self._find(name, missing)
            image = read_image_file(name, self._database.path(name)).image
            try:
                return missing & measure(image).references.keys()
            finally:
                dismiss(image)
        except FileNotFoundError:
            return frozenset()  # it was deleted meanwhile
        except (CorruptImage, InvalidImage, OSError) as error:
            self._log.error(
                "cannot look into image {name}: {error}", name=name, error=error
            )
            return frozenset()

    def _find(self, name: str, hashes: Iterable[bytes]) -> AbstractSet[bytes]:
        """Those of the objects that an image's file names.

        It has the hashes as they are, but for escapes: no need to decode.
        """
        found: set[bytes] = set()
        stored = self._database.open_stored(name)
        if stored is None:
            return found
        patterns = {hash_: escape(hash_) for hash_ in hashes}
        try:
            data = b""
            while piece := os.read(stored.descriptor, _READ_BYTES):
                data = data[-_HASH_BYTES:] + piece
                found.update(
                    hash_ for hash_, pattern in patterns.items() if pattern in data
                )
        finally:
            os.close(stored.descriptor)
        return found
