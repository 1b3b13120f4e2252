"""Uploads, images and collections in random order, and at the same time."""

from __future__ import annotations

import random
import threading
from functools import partial
from pathlib import Path

import pytest
from soak import Soak

from imageserver.disk import Disk
from imageserver.errors import InvalidImage
from imageserver.images.database import ImageDatabase
from imageserver.images.loading import Loading
from imageserver.index.sqlite import SqliteIndex
from imageserver.model.hash import hash_of
from imageserver.objects.collection import CleanupLimits, Collection
from imageserver.objects.intake import Intake
from imageserver.objects.store import ObjectStore
from imageserver.testing import POWERFUL, make_image, scanned

CONTENTS = [b"object %d" % number for number in range(8)]


@pytest.mark.parametrize("seed", [1, 2])
def test_soak(tmp_path, seed) -> None:
    """Whatever happens in whatever order, nothing that is needed goes missing."""
    soak = Soak(tmp_path, seed)
    try:
        soak.run(600)
    finally:
        soak.close()
    assert len(soak.done) >= 12


class Turmoil:
    """Some who upload and add images, while another one collects without end.

    Uploads are not leased, so that anything can go at any time.

    Attributes:
        taken: the images that are there, and their objects.
        faults: what went wrong.
    """

    def __init__(self, root: Path) -> None:
        """Prepare empty stores below ``root``."""
        for name in ("images", "objects"):
            (root / name).mkdir()
        self.index = SqliteIndex(root / "index", root / "objects", root / "images")
        self.index.open()
        self.store = ObjectStore(
            root / "objects", self.index, Disk(), lambda: 1, lease_ns=0
        )
        self.store.open()
        self.database = ImageDatabase(
            root / "images", self.index, self.store, Disk(), lambda: 1
        )
        Loading(self.database).run()
        self.collection = Collection(
            self.store, self.index, CleanupLimits(), lambda: ""
        )
        self.taken: dict[str, list[bytes]] = {}
        self.faults: list[BaseException] = []
        self._stop = threading.Event()

    def run(self) -> None:
        """Let it happen."""
        workers = [self._thread(partial(self._work, number)) for number in (1, 2)]
        collector = self._thread(self._collect)
        for thread in workers:
            thread.join()
        self._stop.set()
        collector.join()

    def _thread(self, function) -> threading.Thread:
        def guarded() -> None:
            try:
                function()
            except BaseException as fault:
                self.faults.append(fault)

        thread = threading.Thread(target=guarded)
        thread.start()
        return thread

    def _collect(self) -> None:
        while not self._stop.is_set():
            self.collection.delete(100, 0)

    def _work(self, number: int) -> None:
        chance = random.Random(number)
        for turn in range(60):
            contents = chance.sample(CONTENTS, 3)
            self._upload(contents)
            name = f"{number}-{turn}"
            if self._add(name, contents) and chance.random() < 0.9:
                del self.taken[name]
                self.database.delete(name, POWERFUL)

    def _upload(self, contents: list[bytes]) -> None:
        intake = Intake(self.store)
        for content in contents:
            intake.begin(len(content), hash_of(content))
            intake.write(content)
        outcomes = intake.commit()
        intake.abandon()
        assert not any(outcome.error for outcome in outcomes)

    def _add(self, name: str, contents: list[bytes]) -> bool:
        files = {f"file{number}": content for number, content in enumerate(contents)}
        try:
            self.database.add(name, scanned(make_image(files)), POWERFUL)
        except InvalidImage:
            return False
        self.taken[name] = contents
        for content in contents:
            assert self.store.path(hash_of(content)).read_bytes() == content
        return True


def test_at_the_same_time(tmp_path) -> None:
    """An image that was taken has its objects, however wildly others collect."""
    turmoil = Turmoil(tmp_path)
    turmoil.run()
    assert turmoil.faults == []
    needed = {content for contents in turmoil.taken.values() for content in contents}
    for content in needed:
        assert turmoil.store.is_stored(hash_of(content), len(content))
    turmoil.collection.delete(100, 0)
    left = {path.read_bytes() for path in turmoil.store.directory.glob("??/??/*")}
    assert left == needed
    turmoil.index.close()
