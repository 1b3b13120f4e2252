"""The file systems of stored images, for those who look into them again and again."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict

import attrs

from imageserver.errors import CorruptImage, GobDecodeError, ImageNotFound
from imageserver.images.canonical import CHECKSUM_BYTES, read_bare
from imageserver.images.files import ImageFiles
from imageserver.index.base import ImageRecord
from imageserver.model.image import Image
from imageserver.model.stored_tree import StoredTree

_KEPT_BYTES = 96 << 20
_FIELD_NUMBER_BYTES = 1


@attrs.frozen
class StoredMetadata:
    """An image without its file system.

    Attributes:
        record: what the index knows of it.
        image: the image.
    """

    record: ImageRecord
    image: Image


class ImageTrees:
    """Opens stored images, and keeps what was opened last.

    All methods may be called from any thread.
    """

    def __init__(self, files: ImageFiles, kept_bytes: int = _KEPT_BYTES) -> None:
        """Look into ``files``.

        Args:
            files: the image files.
            kept_bytes: how much is kept in memory, besides the one in use.
        """
        self._files = files
        self._kept_bytes = kept_bytes
        self._trees: OrderedDict[tuple[str, int, int], StoredTree] = OrderedDict()
        self._lock = threading.Lock()

    def metadata(self, name: str) -> StoredMetadata:
        """An image without its file system.

        Raises:
            ImageNotFound: there is no such image.
            StoreError: its file is damaged.
        """
        record, data = self._read(name, from_start=True)
        try:
            return StoredMetadata(record, read_bare(data))
        except GobDecodeError as error:
            raise CorruptImage(name, str(error)) from error

    def checksum(self, name: str) -> bytes:
        """What the file of an image ends in: the SHA-512 of the rest.

        Raises:
            ImageNotFound: there is no such image.
            StoreError: its file is damaged.
        """
        stored = self._files.open_stored(name)
        if stored is None:
            raise ImageNotFound(f"image: {name} does not exist")
        try:
            end = stored.record.file_bytes
            return os.pread(stored.descriptor, CHECKSUM_BYTES, end - CHECKSUM_BYTES)
        finally:
            os.close(stored.descriptor)

    def tree(self, name: str) -> StoredTree:
        """The file system of an image.

        Raises:
            ImageNotFound: there is no such image.
            StoreError: its file is damaged.
        """
        with self._lock:
            record = self._files.current(name)
            if record is None:
                raise ImageNotFound(f"image: {name} does not exist")
            key = _key(record)
            tree = self._trees.get(key)
            if tree is None:
                record, data = self._read(name, from_start=False)
                key = _key(record)
                try:
                    tree = StoredTree(data)
                except GobDecodeError as error:
                    raise CorruptImage(name, str(error)) from error
                self._trees[key] = tree
            self._trees.move_to_end(key)
            self._make_room(key)
            return tree

    def _make_room(self, key: tuple[str, int, int]) -> None:
        while (
            sum(tree.byte_count for tree in self._trees.values()) > self._kept_bytes
            and next(iter(self._trees)) != key
        ):
            self._trees.popitem(last=False)

    def _read(self, name: str, *, from_start: bool) -> tuple[ImageRecord, bytes]:
        """The value of an image up to its file system, or that of its file system."""
        stored = self._files.open_stored(name)
        if stored is None:
            raise ImageNotFound(f"image: {name} does not exist")
        record, descriptor = stored.record, stored.descriptor
        middle = record.value_offset + record.file_system_offset
        try:
            if from_start:
                size = record.file_system_offset
                data = os.pread(descriptor, size, record.value_offset)
            else:
                start = middle + _FIELD_NUMBER_BYTES
                size = record.file_bytes - start - CHECKSUM_BYTES
                data = os.pread(descriptor, size, start)
        except OSError as error:
            raise CorruptImage(name, error.strerror or "unreadable") from error
        finally:
            os.close(descriptor)
        return record, data


def _key(record: ImageRecord) -> tuple[str, int, int]:
    return record.name, record.file_inode, record.file_mtime_ns
