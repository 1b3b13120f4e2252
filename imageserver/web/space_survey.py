"""Who uses how much space: own bytes of images and directories.

An object belongs to the lowest directory below which everything is that uses it, or to
the only image that does. One pass over all images finds that out, with a database in a
temporary file, so that memory does not grow with the number of objects.
"""

from __future__ import annotations

import posixpath
import sqlite3
from collections.abc import Callable, Generator
from itertools import islice

import attrs
from twisted.logger import Logger

from imageserver.errors import CorruptImage, GobDecodeError, ImageNotFound
from imageserver.images.image_trees import ImageTrees
from imageserver.index.base import ImageIndex
from imageserver.model.names import ROOT, directory_of

_AT_ONCE = 10_000
_SCHEMA = """
PRAGMA journal_mode = OFF;
CREATE TABLE owners (hash BLOB PRIMARY KEY, size INTEGER, owner TEXT) WITHOUT ROWID;
"""


@attrs.frozen
class SpaceSurvey:
    """What a pass has found out.

    Attributes:
        finished_s: when it was over, in seconds since 1970.
        images: bytes that only this image uses, by its name.
        directories: bytes that only images in this directory or below it use.
    """

    finished_s: float
    images: dict[str, int]
    directories: dict[str, int]


class Surveyor:
    """Makes surveys; used by one thread at a time.

    Attributes:
        latest: the last survey; ``None``: there was none yet.
    """

    _log = Logger()

    def __init__(
        self, index: ImageIndex, trees: ImageTrees, now_s: Callable[[], float]
    ) -> None:
        self.latest: SpaceSurvey | None = None
        self._index = index
        self._trees = trees
        self._now_s = now_s

    def steps(self) -> Generator[None, None, None]:
        """Make a survey; each step looks at one image.

        Raises:
            StoreError: the index fails.
        """
        database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        try:
            database.executescript(_SCHEMA)
            images: set[str] = set()
            for name in sorted(self._index.image_names()):
                try:
                    self._take(database, name)
                    images.add(name)
                except ImageNotFound:
                    continue
                except (CorruptImage, GobDecodeError) as error:
                    self._log.warn("space of {name}: {error}", name=name, error=error)
                yield
            self.latest = self._sum_up(database, images)
        finally:
            database.close()

    def _take(self, database: sqlite3.Connection, name: str) -> None:
        tree = self._trees.tree(name)
        contents = iter({h: size for _, h, size in tree.contents()}.items())
        # Sorted all at once, they would keep other threads waiting.
        while some := dict(sorted(islice(contents, _AT_ONCE))):
            marks = ",".join("?" * len(some))
            known = dict(
                database.execute(
                    f"SELECT hash, owner FROM owners WHERE hash IN ({marks})",  # noqa: S608 - marks only
                    list(some),
                )
            )
            database.executemany(
                "REPLACE INTO owners VALUES (?, ?, ?)",
                [
                    (hash_, size, common_owner(known.get(hash_), name))
                    for hash_, size in some.items()
                ],
            )

    def _sum_up(self, database: sqlite3.Connection, images: set[str]) -> SpaceSurvey:
        own = dict.fromkeys(images, 0)
        directories = dict.fromkeys(self._index.directories(), 0)
        rows = database.execute("SELECT owner, sum(size) FROM owners GROUP BY owner")
        for owner, size in rows:
            directory = owner.removesuffix("/")
            if not owner.endswith("/"):
                own[owner] = size
                directory = directory_of(owner)
            while True:
                directories[directory] = directories.get(directory, 0) + size
                if directory == ROOT:
                    break
                directory = directory_of(directory)
        return SpaceSurvey(self._now_s(), own, directories)


def common_owner(owner: str | None, image: str) -> str:
    """Who an object belongs to that one more image uses.

    Args:
        owner: so far: an image, or a directory with a slash behind it; or nobody.
        image: the image that uses it, too.
    """
    if owner is None or owner == image:
        return image
    directory = owner.removesuffix("/") if owner.endswith("/") else directory_of(owner)
    other = directory_of(image)
    if ROOT in (directory, other):
        return f"{ROOT}/"
    return (posixpath.commonpath((directory, other)) or ROOT) + "/"
