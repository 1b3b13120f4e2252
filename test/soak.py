"""Uploads, images, collections and restarts in random order, with a clock of its own.

A model knows what has to be there: the objects of all images, and what was uploaded,
for as long as that was promised. ``make soak`` runs it for long; the directory should
be in memory.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import attrs
from transcripts.replay import HastyDisk

from imageserver.errors import InvalidImage
from imageserver.images.database import ImageDatabase
from imageserver.images.loading import Loading
from imageserver.index.sqlite import SqliteIndex
from imageserver.model.hash import hash_of
from imageserver.objects.collection import CleanupLimits, Collection
from imageserver.objects.intake import Intake
from imageserver.objects.leases import LEASE_NS, Lease
from imageserver.objects.reconciliation import Reconciliation
from imageserver.objects.scrub import Scrub
from imageserver.objects.store import ObjectStore
from imageserver.testing import POWERFUL, make_image, scanned

CONTENTS = [b"object number %d" % number for number in range(400)]
HASHES = {content: hash_of(content) for content in CONTENTS}
CONNECTIONS = 4
FOR_EVER = 1 << 62
LIMITS = CleanupLimits(start_bytes=2_000, stop_bytes=500)


@attrs.define(eq=False)
class Connection:
    """A connection that uploads.

    Attributes:
        lease: of what it uploads.
        uploaded: that, and since when its lease is sure to be in the index.
    """

    lease: Lease
    uploaded: dict[bytes, int] = attrs.field(factory=dict)


class Soak:
    """The stores, and the model of what has to be there.

    Attributes:
        done: how many operations of each kind were done.
    """

    def __init__(self, root: Path, seed: int) -> None:
        """Begin with empty stores below ``root``."""
        self.done: Counter[str] = Counter()
        self._root = root
        self._random = random.Random(seed)
        self._now_ns = 10**18
        self._renewed_ns = self._now_ns
        self._connections: list[Connection] = []
        self._promised: dict[bytes, int] = {}
        self._images: dict[str, frozenset[bytes]] = {}
        self._next_name = 0
        for name in ("images", "objects"):
            (root / name).mkdir()
        self._open()

    def _open(self) -> None:
        images, objects = self._root / "images", self._root / "objects"
        self._index = SqliteIndex(images / ".index.sqlite3", objects, images)
        self._index.open()
        self._store = ObjectStore(
            objects, self._index, HastyDisk(), lambda: self._now_ns
        )
        self._store.open()
        self._database = ImageDatabase(
            images, self._index, self._store, HastyDisk(), lambda: self._now_ns
        )
        loading = Loading(self._database)
        loading.run()
        self._collection = Collection(
            self._store, self._index, LIMITS, loading.obstacle, rest=lambda _: None
        )
        self._scrub = Scrub(self._store, self._index, lambda: self._now_ns, 0)
        self._scrub.resume()

    def run(self, operations: int) -> None:
        """Do so many operations, and check after each that nothing is missing."""
        kinds = {
            self.upload: 30,
            self.break_off_upload: 3,
            self.add_image: 20,
            self.add_any_image: 8,
            self.delete_image: 28,
            self.connect: 4,
            self.disconnect: 4,
            self.pass_time: 20,
            self.delete_unreferenced: 20,
            self.clean_up: 10,
            self.look_around: 1,
            self.scrub: 5,
            self.restart: 1,
            self.lose_index: 0.2,
        }
        for number in range(operations):
            (operation,) = self._random.choices([*kinds], [*kinds.values()])
            operation()
            self.done[operation.__name__] += 1
            self.check(self._needed_sample())
            if number % 100 == 0:
                self.check_all()
        self.check_all()

    def close(self) -> None:
        """Close the index."""
        self._index.close()

    def _some(self, most: int) -> list[bytes]:
        return self._random.sample(CONTENTS, self._random.randint(1, most))

    def _needed(self) -> set[bytes]:
        """What has to be there now."""
        needed = {c for c, until in self._promised.items() if until > self._now_ns}
        for contents in self._images.values():
            needed |= contents
        for connection in self._connections:
            needed |= connection.uploaded.keys()
        return needed

    def _needed_sample(self) -> list[bytes]:
        needed = sorted(self._needed())
        return self._random.sample(needed, min(20, len(needed)))

    def check(self, contents: list[bytes]) -> None:
        """Check that objects are there, as files and in the index."""
        sizes = self._index.object_sizes(HASHES[content] for content in contents)
        for content in contents:
            assert self._store.path(HASHES[content]).read_bytes() == content
            assert sizes[HASHES[content]] == len(content)

    def check_all(self) -> None:
        """Check all objects that are needed, and all counts."""
        self.check(sorted(self._needed()))
        counts: Counter[bytes] = Counter()
        for contents in self._images.values():
            counts.update(HASHES[content] for content in contents)
        assert dict(self._index.reference_counts()) == counts
        assert sorted(self._index.image_names()) == sorted(self._images)
        assert self._index.object_totals().missing_objects == 0

    def upload(self) -> None:
        """Upload objects, on a connection or without a lease of its own."""
        connection = self._random.choice([None, *self._connections])
        intake = Intake(self._store, connection.lease if connection else None)
        contents = self._some(20)
        for content in contents:
            expected = HASHES[content] if self._random.random() < 0.7 else None
            intake.begin(len(content), expected)
            intake.write(content)
        outcomes = intake.commit()
        intake.abandon()
        assert not any(outcome.error for outcome in outcomes)
        for content in contents:
            self._promise(content, self._now_ns + LEASE_NS)
            if connection is not None:
                connection.uploaded[content] = self._now_ns

    def _promise(self, content: bytes, until_ns: int) -> None:
        self._promised[content] = max(until_ns, self._promised.get(content, 0))

    def break_off_upload(self) -> None:
        """Upload objects, and vanish before they are acknowledged."""
        intake = Intake(self._store)
        for content in self._some(5):
            intake.begin(len(content), None)
            intake.write(content)
        intake.abandon()

    def add_image(self) -> None:
        """Add an image of objects that are there by right."""
        needed = sorted(self._needed())
        if needed:
            count = self._random.randint(1, min(30, len(needed)))
            self._add(self._random.sample(needed, count))

    def add_any_image(self) -> None:
        """Add an image of any objects; it is refused if one is not there."""
        contents = self._some(3)
        there = all(self._store.path(HASHES[c]).exists() for c in contents)
        try:
            self._add(contents)
            added = True
        except InvalidImage:
            added = False
        assert added == there

    def _add(self, contents: list[bytes]) -> None:
        name = f"image{self._next_name}"
        files = {f"file{number}": content for number, content in enumerate(contents)}
        self._database.add(name, scanned(make_image(files)), POWERFUL)
        self._next_name += 1
        self._images[name] = frozenset(contents)

    def delete_image(self) -> None:
        """Delete an image."""
        if self._images:
            name = self._random.choice([*self._images])
            self._database.delete(name, POWERFUL)
            del self._images[name]

    def connect(self) -> None:
        """Begin a connection."""
        if len(self._connections) < CONNECTIONS:
            self._connections.append(Connection(self._store.leases.begin()))

    def disconnect(self) -> None:
        """End a connection."""
        if self._connections:
            connection = self._connections.pop()
            connection.lease.end()
            for content in connection.uploaded:
                self._promise(content, self._now_ns + LEASE_NS)

    def pass_time(self) -> None:
        """Let time pass; leases are renewed when it is time."""
        self._now_ns += self._random.choice([1, LEASE_NS // 50, LEASE_NS // 5])
        leases = self._store.leases
        if self._now_ns - self._renewed_ns >= leases.interval_ns:
            leases.renew()
            self._renewed_ns = self._now_ns
            for connection in self._connections:
                connection.uploaded = dict.fromkeys(connection.uploaded, self._now_ns)

    def delete_unreferenced(self) -> None:
        """Collect objects, as somebody asks for it."""
        self._collection.delete(self._random.choice([0, 1, 20, 100, 100]), 0)

    def clean_up(self) -> None:
        """Collect objects because there are too many."""
        self._collection.clean_up()

    def look_around(self) -> None:
        """Bring the index in line with the files."""
        reconciliation = Reconciliation(self._store, time.time() + 1000)
        for number in range(Reconciliation.PIECES):
            reconciliation.run_piece(number)
        findings = reconciliation.findings
        assert (findings.gone, findings.damaged, findings.unread) == (0, 0, 0)

    def scrub(self) -> None:
        """Read some objects again."""
        self._scrub.run_piece(self._random.randint(1, 100) << 16)
        assert self._scrub.last is None or self._scrub.last.damaged == 0

    def restart(self) -> None:
        """Let the process die and another one begin: all connections are gone.

        What they uploaded is kept from when their leases were renewed last.
        """
        for connection in self._connections:
            for content, leased_ns in connection.uploaded.items():
                self._promise(content, leased_ns + LEASE_NS)
        self._connections.clear()
        self._index.close()
        self._open()

    def lose_index(self) -> None:
        """Lose the index, too."""
        self.restart()
        self._index.close()
        for path in (self._root / "images").glob(".index*"):
            path.unlink()
        self._open()
        self.look_around()
        for path in (self._root / "objects").glob("??/??/*"):
            self._promise(path.read_bytes(), self._now_ns + LEASE_NS)


def main() -> None:
    """Soak for a given number of operations, with a given seed."""
    operations, seed = int(sys.argv[1]), int(sys.argv[2])
    root = Path(tempfile.mkdtemp(dir=sys.argv[3]))
    soak = Soak(root, seed)
    began_s = time.monotonic()
    try:
        soak.run(operations)
    finally:
        soak.close()
        shutil.rmtree(root)
    elapsed_s = time.monotonic() - began_s
    print(f"{operations} operations in {elapsed_s:.0f} s, nothing missing")
    for name, count in sorted(soak.done.items()):
        print(f"{count:8} {name}")


if __name__ == "__main__":
    main()
