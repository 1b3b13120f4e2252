"""Whatever is done to the database, it is what a simple model says."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from imageserver.disk import Disk
from imageserver.errors import ImageServerError, RequestError
from imageserver.gob import Time
from imageserver.images.admission import measure
from imageserver.images.archives import Archives
from imageserver.images.canonical import read_image_file
from imageserver.images.changes import Change, Operation
from imageserver.images.database import ImageDatabase
from imageserver.images.loading import Loading
from imageserver.index.sqlite import SqliteIndex
from imageserver.model.hash import hash_of
from imageserver.objects.store import ObjectStore
from imageserver.testing import POWERFUL, make_image, scanned

CONTENTS = [b"first", b"second", b"third"]
DIRECTORIES = ["a", "a/b", "c"]
NAMES = [f"{directory}/{name}" for directory in DIRECTORIES for name in "xy"]
BEGIN_S = 1_700_000_000


class Quick(Disk):
    """A disk that waits for nothing."""

    def flush(self, descriptor: int) -> None:
        """See ``Disk``."""

    def sync(self, path: Path) -> None:
        """See ``Disk``."""


class Database(RuleBasedStateMachine):
    """Images are added, changed, removed and damaged; the daemon starts again."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        for name in ("images", "objects"):
            (self.root / name).mkdir()
        self.now_s = BEGIN_S
        self.directories = {"."}
        self.images: dict[str, int | None] = {}  # and when they expire
        self.deleted: set[str] = set()
        self.archives: dict[str, bytes] = {}
        self.heard: list[Change] = []

    @initialize()
    def begin(self) -> None:
        """An empty database, and some objects."""
        self.open()
        for content in CONTENTS:
            path = self.objects.path(hash_of(content))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        self.index.add_objects({hash_of(c): len(c) for c in CONTENTS}, 0)

    def open(self) -> None:
        """Start."""
        images, objects = self.root / "images", self.root / "objects"
        self.index = SqliteIndex(self.root / "index", objects, images)
        self.index.open()
        self.objects = ObjectStore(objects, self.index, Quick(), self.now_ns)
        self.database = ImageDatabase(
            images, self.index, self.objects, Quick(), self.now_ns
        )
        Loading(self.database).run()
        self.expire()
        self.heard.clear()
        self.database.changes.listen(self.heard.append, lambda: None)

    def now_ns(self) -> int:
        """The time."""
        return self.now_s * 10**9

    def expire(self) -> None:
        """The model's images whose time has come are gone."""
        for name, expires_s in list(self.images.items()):
            if expires_s is not None and expires_s <= self.now_s:
                del self.images[name]

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.index.close()
        shutil.rmtree(self.root)

    @rule(directory=st.sampled_from(DIRECTORIES), make_all=st.booleans())
    def make_directory(self, directory: str, make_all: bool) -> None:
        """Make a directory, perhaps with the one above it."""
        parent = directory.rpartition("/")[0] or "."
        possible = make_all or (
            directory not in self.directories and parent in self.directories
        )
        assert possible == succeeds(
            self.database.make_directory, directory, make_all, POWERFUL
        )
        if possible:
            self.directories |= {parent, directory}

    @rule(directory=st.sampled_from([*DIRECTORIES, "."]))
    def remove_directory(self, directory: str) -> None:
        """Remove one, if nothing is in it but names of deleted images."""
        inside = [n for n in self.images if n.rpartition("/")[0] == directory]
        below = [d for d in self.directories if d.startswith(f"{directory}/")]
        possible = (
            directory in self.directories and directory != "." and not inside + below
        )
        assert possible == succeeds(self.database.remove_directory, directory)
        if possible:
            self.directories.remove(directory)
            gone = {n for n in self.deleted if n.rpartition("/")[0] == directory}
            self.deleted -= gone

    @rule(
        name=st.sampled_from(NAMES),
        contents=st.sets(st.sampled_from(CONTENTS)),
        lifetime_s=st.none() | st.integers(1, 20),
    )
    def add(self, name: str, contents: set[bytes], lifetime_s: int | None) -> None:
        """Add an image."""
        expires_s = None if lifetime_s is None else self.now_s + lifetime_s
        image = make_image(
            {f"f{number}": content for number, content in enumerate(sorted(contents))},
            expires_at=Time.ZERO if expires_s is None else Time(expires_s),
        )
        possible = (
            name.rpartition("/")[0] in self.directories
            and name not in self.images
            and name not in self.deleted
        )
        assert possible == succeeds(self.database.add, name, scanned(image), POWERFUL)
        if possible:
            self.images[name] = expires_s
            assert self.heard[-1].operation == Operation.ADD_IMAGE

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        """Delete an image; its name is taken from then on."""
        possible = name in self.images
        assert possible == succeeds(self.database.delete, name, POWERFUL)
        if possible:
            del self.images[name]
            self.deleted.add(name)
            assert self.heard[-1] == Change(Operation.DELETE_IMAGE, name)

    @rule(name=st.sampled_from(NAMES), more_s=st.none() | st.integers(-5, 20))
    def change_expiration(self, name: str, more_s: int | None) -> None:
        """Let an image expire later, or never."""
        before_s = self.images.get(name)
        if before_s is None or more_s is None:
            new_s = None if more_s is None else self.now_s + 10
        else:
            new_s = before_s + more_s
        possible = before_s is not None and (new_s is None or new_s >= before_s)
        time = Time.ZERO if new_s is None else Time(new_s)
        assert possible == succeeds(
            self.database.change_expiration, name, time, POWERFUL
        )
        if possible:
            self.images[name] = new_s

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        """Time goes by."""
        self.now_s += seconds
        self.database.expire()
        self.expire()

    @rule(name=st.sampled_from(NAMES))
    def archive(self, name: str) -> None:
        """Make an archive."""
        if name in self.images and self.images[name] is None:
            self.archives[name] = Archives(self.database).make(name)

    @precondition(lambda self: self.archives)
    @rule(data=st.data())
    def restore(self, data: st.DataObject) -> None:
        """Bring an image back from its archive."""
        name = data.draw(st.sampled_from(sorted(self.archives)))
        possible = (
            name.rpartition("/")[0] in self.directories and name not in self.images
        )
        archives = Archives(self.database)
        assert possible == succeeds(
            archives.restore, self.archives[name], Time.ZERO, POWERFUL
        )
        if possible:
            self.images[name] = None
            self.deleted.discard(name)

    @rule()
    def restart(self) -> None:
        """The daemon stops and starts."""
        self.index.close()
        self.open()

    @rule()
    def lose_index(self) -> None:
        """The index is gone at the next start."""
        self.index.close()
        for path in self.root.glob("index*"):
            path.unlink()
        self.open()
        self.index.add_objects({hash_of(c): len(c) for c in CONTENTS}, 0)

    @precondition(lambda self: self.images)
    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        """A file is damaged while nobody looks; the next start puts it aside."""
        name = data.draw(st.sampled_from(sorted(self.images)))
        self.index.close()
        (self.root / "images" / name).write_bytes(b"garbage")
        del self.images[name]
        self.open()

    @invariant()
    def is_as_the_model_says(self) -> None:
        """Images, directories, expirations and references are right."""
        if not hasattr(self, "index"):
            return
        assert set(self.index.directories()) == self.directories
        expirations = {
            record.name: record.expires_at_ns and record.expires_at_ns // 10**9
            for record in self.index.images()
        }
        assert expirations == self.images
        total: Counter[bytes] = Counter()
        for name in self.images:
            image = read_image_file(name, self.root / "images" / name).image
            total += measure(image).references
        assert dict(self.index.reference_counts()) == total


def succeeds(function, *arguments) -> bool:
    """Whether something is done, or refused."""
    try:
        function(*arguments)
    except RequestError:
        return False
    except ImageServerError as error:
        raise AssertionError(f"neither done nor refused: {error}") from error
    return True


TestDatabase = Database.TestCase
TestDatabase.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
