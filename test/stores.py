"""An index, a store of objects and a database of images, all empty, in a new folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import TestCase

from imageserver.disk import Disk
from imageserver.images.database import ImageDatabase
from imageserver.index.sqlite import SqliteIndex
from imageserver.objects.store import ObjectStore


class Stores:
    """Open for the time of a test."""

    def __init__(self, case: TestCase, now_ns: Callable[[], int]) -> None:
        """Open them.

        Args:
            case: they are closed at its end.
            now_ns: their time.
        """
        root = Path(case.enterContext(TemporaryDirectory()))
        images, objects = root / "images", root / "objects"
        images.mkdir()
        objects.mkdir()
        self.index = SqliteIndex(root / "index", objects, images)
        self.index.open()
        case.addCleanup(self.index.close)
        self.index.add_directory(".", "")
        self.objects = ObjectStore(objects, self.index, Disk(), now_ns)
        self.objects.open()
        self.database = ImageDatabase(images, self.index, self.objects, Disk(), now_ns)
