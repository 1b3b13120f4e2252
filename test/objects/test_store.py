"""Objects as files: where they are, and what happens if they are not right."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from imageserver.disk import Disk
from imageserver.errors import ConfigError, CorruptObject, ObjectNotFound
from imageserver.index.base import ObjectTotals
from imageserver.model.hash import hash_of
from imageserver.objects.store import ObjectStore

A, B = b"first object", b"second"


def put(store, content, hash_=None):
    """Put an object file there, as another program would; its path."""
    path = store.path(hash_ or hash_of(content))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_layout(opened) -> None:
    """An object is in two levels of directories, named by its hash, for us alone."""
    opened.upload(A)
    name = hash_of(A).hex()
    root = opened.store.directory
    path = root / name[:2] / name[2:4] / name[4:]
    assert path == opened.store.path(hash_of(A))
    assert path.read_bytes() == A
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for directory in (path.parent, path.parent.parent, root / ".incoming"):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_open_object(opened) -> None:
    """An object can be read."""
    opened.upload(A)
    descriptor = opened.store.open_object(hash_of(A), len(A))
    try:
        assert os.read(descriptor, 100) == A
    finally:
        os.close(descriptor)


def test_open_missing(opened) -> None:
    """An object whose file is gone is not found, and not known any more."""
    opened.upload(A)
    opened.store.path(hash_of(A)).unlink()
    assert opened.store.sizes([hash_of(A)]) == {hash_of(A): len(A)}
    with pytest.raises(ObjectNotFound):
        opened.store.open_object(hash_of(A), len(A))
    assert opened.store.sizes([hash_of(A)]) == {}


def truncated(path):
    """Truncate a file."""
    os.truncate(path, 3)


def grown(path):
    """Make it longer."""
    path.write_bytes(path.read_bytes() + b"x")


def symlinked(path):
    """Put a link to it in its place."""
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def directory(path):
    """Put a directory in its place."""
    path.unlink()
    path.mkdir()


def pipe(path):
    """Put a pipe in its place."""
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("damage", [truncated, grown, symlinked, directory, pipe])
def test_open_damaged(opened, damage, together) -> None:
    """A file that is not the object is refused, and no descriptor stays open."""
    opened.upload(A)
    damage(opened.store.path(hash_of(A)))
    with pytest.raises(CorruptObject):
        if together:
            opened.store.read_objects([(hash_of(A), len(A))])
        else:
            opened.store.open_object(hash_of(A), len(A))
    assert opened.descriptors() == 0
    assert not opened.store.is_stored(hash_of(A), len(A))


def test_strangers(opened) -> None:
    """An object that another program put there is found when asked for."""
    put(opened.store, A)
    assert opened.store.sizes([hash_of(A), hash_of(B)]) == {hash_of(A): len(A)}
    assert opened.index.object_sizes([hash_of(A)]) == {hash_of(A): len(A)}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        symlinked,
        directory,
        lambda path: (path.unlink(), os.mkfifo(path)),
    ],
)
def test_no_strangers(opened, spoil) -> None:
    """What is no file with content is no object."""
    spoil(put(opened.store, A))
    assert opened.store.sizes([hash_of(A)]) == {}
    assert opened.store.totals() == ObjectTotals()


def test_strangers_are_synced(opened, monkeypatch) -> None:
    """A stranger is brought to disk before it counts; if that fails, it does not."""
    path = put(opened.store, A)
    synced = []
    monkeypatch.setattr(opened.store.disk, "sync", synced.append)
    opened.store.sizes([hash_of(A)])
    assert set(map(Path, synced)) == {path, *list(path.parents)[:3]}

    def fail(path):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    put(opened.store, B)
    monkeypatch.setattr(opened.store.disk, "sync", fail)
    assert opened.store.sizes([hash_of(B), hash_of(A)]) == {hash_of(A): len(A)}
    assert opened.index.object_sizes([hash_of(B)]) == {}


def test_many_strangers(opened, monkeypatch) -> None:
    """Many strangers are brought to disk together."""
    contents = [b"%d" % n for n in range(100)]
    for content in contents:
        put(opened.store, content)
    calls = []
    monkeypatch.setattr(
        opened.store.disk, "sync_file_system", lambda path: calls.append(path) or True
    )
    monkeypatch.setattr(opened.store.disk, "sync", lambda path: pytest.fail("one"))
    assert len(opened.store.sizes(map(hash_of, contents))) == 100
    assert calls == [opened.store.directory] * 2


def test_totals(opened) -> None:
    """The store knows how much it holds, and how much room there is."""
    opened.upload(A, B)
    assert opened.store.totals() == ObjectTotals(2, len(A) + len(B), 0, 0)
    assert 0 < opened.store.free_bytes() <= opened.store.capacity_bytes()


def test_unfinished_uploads(opened, open_store) -> None:
    """What uploads left unfinished is removed when the store is opened."""
    opened.upload(A)
    incoming = opened.store.directory / ".incoming"
    (incoming / "1").write_bytes(b"half an obj")
    (incoming / "77").write_bytes(b"")
    again = open_store()
    assert list(incoming.iterdir()) == []
    assert again.upload(B)[0].added
    assert again.store.sizes([hash_of(A)]) == {hash_of(A): len(A)}


def test_quarantine(opened, open_store) -> None:
    """What is put aside is kept under its hash, and counted by the next process."""
    opened.upload(A)
    seen = os.stat(opened.store.path(hash_of(A)))
    assert opened.store.put_aside(hash_of(A), seen, "why not")
    assert opened.store.sizes([hash_of(A)]) == {}
    aside = opened.store.directory / ".quarantine" / hash_of(A).hex()
    assert aside.read_bytes() == A
    assert len(opened.store.quarantine.names()) == 1
    assert len(open_store().store.quarantine.names()) == 1


def test_damage_seen_while_reading(opened) -> None:
    """An object found damaged is put aside at once, and can be uploaded again."""
    opened.upload(A)
    os.truncate(opened.store.path(hash_of(A)), 1)
    assert opened.store.missing({hash_of(A): len(A)}) == [hash_of(A)]
    with pytest.raises(CorruptObject):
        opened.store.open_object(hash_of(A), len(A))
    assert len(opened.store.quarantine.names()) == 1
    assert opened.store.sizes([hash_of(A)]) == {}
    assert opened.upload(A)[0].added
    assert opened.store.missing({hash_of(A): len(A)}) == []


def test_foreign_things_in_hidden_directories(opened, open_store) -> None:
    """What cannot be cleaned up does not stop the start."""
    (opened.store.directory / ".incoming" / "folder").mkdir()
    (opened.store.directory / ".quarantine").write_text("a file")
    again = open_store()
    assert len(again.store.quarantine.names()) == 0
    assert again.upload(A)[0].added


def test_room(opened, monkeypatch) -> None:
    """Some of the free space is not for objects."""
    monkeypatch.setattr(ObjectStore, "free_bytes", lambda _: 1 << 30)
    monkeypatch.setattr(ObjectStore, "capacity_bytes", lambda _: 1 << 40)
    assert opened.store.room_bytes() == (1 << 30) - (64 << 20)
    monkeypatch.setattr(ObjectStore, "capacity_bytes", lambda _: 100 << 20)
    assert opened.store.room_bytes() == (1 << 30) - (2 << 20)


def test_no_directory(opened, tmp_path) -> None:
    """A directory that is not there is a fault of the configuration."""
    store = ObjectStore(tmp_path / "none", opened.index, Disk(), lambda: 0)
    with pytest.raises(ConfigError, match="No such file"):
        store.open()
