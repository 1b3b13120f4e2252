"""Checking the data directories while no daemon uses them."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from imageserver import gob
from imageserver.disk import Disk, lock_directory
from imageserver.fsck.command import main
from imageserver.images.database import ImageDatabase
from imageserver.images.loading import Loading
from imageserver.index.sqlite import SqliteIndex
from imageserver.model.hash import hash_of
from imageserver.objects.intake import Intake
from imageserver.objects.store import ObjectStore
from imageserver.testing import POWERFUL, make_image, scanned

A, B, C = b"first object", b"second", b"unused"


@attrs.define
class Data:
    """Data directories, and what the check says of them."""

    images: Path
    objects: Path
    capture: pytest.CaptureFixture

    @property
    def index(self):
        """The index's file."""
        return self.images / ".index.sqlite3"

    def path(self, content):
        """The file of an object."""
        name = hash_of(content).hex()
        return self.objects / name[:2] / name[2:4] / name[4:]

    def check(self, *flags):
        """Run the check; its exit code, and what it printed."""
        directories = (f"-imageDir={self.images}", f"-objectDir={self.objects}")
        code = main([*directories, *flags])
        out, err = self.capture.readouterr()
        return code, out + err

    def files(self):
        """All files that are no part of the index, with their contents."""
        return {
            path: path.read_bytes()
            for root in (self.images, self.objects)
            for path in root.rglob("*")
            if path.is_file() and not path.name.startswith(".index")
        }

    def counts(self):
        """The references to objects, as the index has them."""
        with closing(sqlite3.connect(self.index)) as connection:
            query = "SELECT hash, reference_count FROM objects WHERE size > 0"
            return dict(connection.execute(query))


@pytest.fixture
def data(tmp_path, capfd):
    """Three objects and two images, as a daemon leaves them."""
    images, objects = tmp_path / "images", tmp_path / "objects"
    for directory in (images, objects):
        directory.mkdir()
    index = SqliteIndex(images / ".index.sqlite3", objects, images)
    index.open()
    store = ObjectStore(objects, index, Disk(), lambda: 10**18)
    store.open()
    intake = Intake(store)
    for content in (A, B, C):
        intake.begin(len(content), None)
        intake.write(content)
    intake.commit()
    database = ImageDatabase(images, index, store, Disk(), lambda: 10**18)
    Loading(database).run()
    database.make_directory("dir", False, POWERFUL)
    database.add("dir/x", scanned(make_image({"a": A, "b": B})), POWERFUL)
    database.add("y", scanned(make_image({"a": A})), POWERFUL)
    index.close()
    return Data(images, objects, capfd)


def test_good(data) -> None:
    """Where nothing is wrong, the check says so and changes nothing."""
    before = data.files()
    assert data.check() == (0, "3 good objects, 2 good images\n")
    assert data.files() == before
    assert data.check("-repair") == (0, "3 good objects, 2 good images\n")
    assert data.files() == before


def flip(data):
    """Change one bit of an object."""
    data.path(B).write_bytes(b"Second")
    digest = hash_of(b"Second").hex()
    return [
        f"damaged object: {hash_of(B).hex()}: its SHA-512 is {digest}",
        f"missing object: {hash_of(B).hex()}: image dir/x",
    ]


def empty(data):
    """Empty one that no image uses."""
    os.truncate(data.path(C), 0)
    return [f"damaged object: {hash_of(C).hex()}: it is empty"]


def damage_image(data):
    """Spoil an image."""
    path = data.images / "dir/x"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return ["damaged image: dir/x: corrupt image: dir/x: checksum mismatch"]


def damage_metadata(data):
    """Spoil the metadata of a directory."""
    (data.images / "dir/.metadata").write_bytes(b"garbage")
    return ["damaged image: dir/.metadata: corrupt image: dir/.metadata: "]


def damage_index(data):
    """Spoil the index."""
    data.index.write_bytes(b"garbage" * 1000)
    return ["wrong in the index: everything: "]


def empty_index(data):
    """Empty it."""
    data.index.write_bytes(b"")
    return ["wrong in the index: everything: it is empty"]


def change_index(data, change):
    """Change something in the index."""
    with closing(sqlite3.connect(data.index)) as connection:
        connection.execute(change, () if "?" not in change else (hash_of(A),))
        connection.commit()


def wrong_count(data):
    """Let the index forget a reference."""
    change = "UPDATE objects SET reference_count = 1 WHERE hash = ?"
    change_index(data, change)
    name = hash_of(A).hex()
    return [f"wrong in the index: object {name}: 1 references instead of 2"]


def wrong_size(data):
    """Let it take an object for a longer one."""
    change_index(data, "UPDATE objects SET size = 99 WHERE hash = ?")
    name = hash_of(A).hex()
    return [f"wrong in the index: object {name}: 99 bytes instead of {len(A)}"]


def spoil_details(data):
    """Spoil a row of it."""
    change_index(data, "UPDATE images SET details = '{}'")
    return ["wrong in the index: everything: index: damaged row"]


def leave_mark(data):
    """Let the daemon have found it damaged."""
    data.index.with_name(".index.sqlite3-damaged").touch()
    return ["wrong in the index: everything: it was found damaged"]


DAMAGES = [
    flip,
    empty,
    damage_image,
    damage_metadata,
    damage_index,
    empty_index,
    wrong_count,
    wrong_size,
    spoil_details,
    leave_mark,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage(data, damage) -> None:
    """Damage is told, and the exit code is 1; nothing is changed without -repair."""
    lines = damage(data)
    before = data.files()
    code, output = data.check()
    assert code == 1
    for line in lines:
        assert line in output
    assert data.files() == before


@pytest.mark.parametrize("damage", DAMAGES)
def test_repair(data, damage) -> None:
    """What was repaired is well the next time, but for objects that are missing.

    Damaged files are kept.
    """
    before = data.files()
    damage(data)
    damaged = set(data.files().values()) - set(before.values())
    code, output = data.check("-repair")
    assert code == 1
    assert "the index was made anew" in output
    assert damaged <= set(data.files().values())
    code, output = data.check()
    if damage is flip:
        assert code == 1
        assert f"missing object: {hash_of(B).hex()}" in output
        data.path(B).write_bytes(B)
        code, output = data.check("-repair")
        assert code == 0
    assert code == 0
    assert "damaged" not in output
    counts = data.counts()
    if damage is damage_image:
        assert counts == {hash_of(A): 1, hash_of(B): 0, hash_of(C): 0}
    elif damage in (flip, empty):
        assert counts[hash_of(A)] == 2
    else:
        assert counts == {hash_of(A): 2, hash_of(B): 1, hash_of(C): 0}


def missing_object(data):
    """Take an object away."""
    data.path(B).unlink()
    name = hash_of(B).hex()
    return [
        f"missing object: {name}: image dir/x",
        f"wrong in the index: object {name}: it is not there",
    ]


def wrong_object_size(data):
    """Let an image say something else of an object than is true."""
    index = SqliteIndex(data.index, data.objects, data.images)
    index.open()
    store = ObjectStore(data.objects, index, Disk(), lambda: 10**18)
    store.missing = lambda _: []
    store.sizes = lambda hashes: dict.fromkeys(hashes, 5)
    other = make_image({"a": b"12345"})
    inodes = {2: gob.evolve(other.file_system.inodes[2], hash_=hash_of(A))}
    other = gob.evolve(other, file_system=gob.evolve(other.file_system, inodes=inodes))
    database = ImageDatabase(data.images, index, store, Disk(), lambda: 10**18)
    database.add("z", scanned(other), POWERFUL)
    index.close()
    text = f"{len(A)} bytes; image z says 5"
    return [f"object of another size than the image says: {hash_of(A).hex()}: {text}"]


def lost_image(data):
    """Take an image away."""
    (data.images / "y").unlink()
    return ["wrong in the index: image y: its file is another one"]


def unreadable_image(data):
    """Put something there that is too large for an image."""
    (data.images / "huge").touch()
    os.truncate(data.images / "huge", 1 << 41)
    return ["cannot be read: huge: File too large"]


@pytest.mark.parametrize(
    "damage", [missing_object, wrong_object_size, lost_image, unreadable_image]
)
def test_other_damage(data, damage) -> None:
    """What no repair can put right is told."""
    lines = damage(data)
    code, output = data.check()
    assert code == 1
    for line in lines:
        assert line in output


def no_index(data):
    """There is no index."""
    data.index.unlink()
    return ["not in the index yet: everything: there is none"]


def other_index(data):
    """It is the index of other directories."""
    change_index(data, "UPDATE meta SET value = 'x' WHERE key = 'objects'")
    text = "it belongs to other directories or another version"
    return [f"not in the index yet: everything: {text}"]


def new_object(data):
    """Another program brought an object."""
    path = data.path(b"new")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"new")
    return ["not in the index yet: 1 objects"]


def new_image(data):
    """Another program brought an image."""
    (data.images / "new").write_bytes((data.images / "y").read_bytes())
    return ["not in the index yet: image new"]


def foreign(data):
    """There are other files."""
    (data.objects / "README").touch()
    return [f"foreign file: {data.objects / 'README'}"]


def temporary(data):
    """Some program died."""
    paths = [
        data.objects / ".incoming" / "17",
        data.path(A).with_name("x~"),
        data.images / "dir" / "z~",
    ]
    for path in paths:
        path.write_bytes(b"half")
    return [f"unfinished write: {path}" for path in paths]


def misnamed(data):
    """An image has a name that none can have."""
    name = os.fsdecode(b"new\xff")
    (data.images / name).write_bytes((data.images / "y").read_bytes())
    return ["name that no image can have: 'new\\udcff': invalid name"]


def no_checksum(data):
    """An image has no checksum."""
    path = data.images / "old"
    path.write_bytes((data.images / "y").read_bytes()[:-64])
    return ["image without checksum: old"]


def in_quarantine(data):
    """Something was put aside before."""
    for root in (data.images, data.objects):
        (root / ".quarantine").mkdir()
        (root / ".quarantine" / "x").touch()
    return ["in quarantine: object x", "in quarantine: image x"]


@pytest.mark.parametrize(
    "change",
    [
        no_index,
        other_index,
        new_object,
        new_image,
        foreign,
        temporary,
        misnamed,
        no_checksum,
        in_quarantine,
    ],
)
def test_no_damage(data, change) -> None:
    """What is worth knowing but no damage is told, and the exit code is 0."""
    lines = change(data)
    code, output = data.check()
    assert code == 0
    for line in lines:
        assert line in output


def test_temporary_files_are_removed(data) -> None:
    """A repair removes what is unfinished."""
    before = data.files()
    temporary(data)
    assert data.check("-repair")[0] == 0
    assert data.files() == before


@pytest.mark.parametrize("name", ["images", "objects"])
def test_daemon_runs(data, name) -> None:
    """While a daemon uses the data, nothing is checked."""
    descriptor = lock_directory(getattr(data, name))
    try:
        code, output = data.check()
    finally:
        os.close(descriptor)
    assert code == 3
    assert output.startswith("imageserver-fsck: another imageserver uses ")


def test_misuse(data) -> None:
    """A wrong command line, and missing directories, are told."""
    assert data.check("-x")[0] == 2
    assert data.check("word")[0] == 2
    assert data.check("-h")[0] == 0
    assert data.check("-version")[1].startswith("imageserver-fsck ")
    assert data.check("-objectDir=/nonexistent")[0] == 3


def test_owner(data, monkeypatch) -> None:
    """Only the owner of the data can repair it: the daemon could not use the files."""
    monkeypatch.setattr(os, "geteuid", lambda: data.images.stat().st_uid + 1)
    assert data.check()[0] == 0
    code, output = data.check("-repair")
    assert code == 3
    assert "has to be run by the owner of" in output


def test_very_many(data) -> None:
    """Of very many findings of a kind some are told, and all are counted."""
    for number in range(1_100):
        (data.objects / f"README{number}").touch()
    code, output = data.check()
    assert code == 0
    assert output.count("foreign file: ") == 1_001
    assert "1100 x foreign file" in output
