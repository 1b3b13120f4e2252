"""What a process has left behind of its uploads when it died."""

from __future__ import annotations

from pathlib import Path

import pytest

from imageserver.disk import Disk
from imageserver.index.sqlite import SqliteIndex
from imageserver.model.hash import hash_of
from imageserver.objects.salvage import salvage
from imageserver.objects.store import INCOMING, ObjectStore

WHOLE, PART, NAMELESS, EMPTY = b"whole object", b"broken off", b"nameless", b"empty"


def open_store(root: Path, *, keeps: bool) -> ObjectStore:
    """A store on a directory."""
    for name in ("objects", "images"):
        (root / name).mkdir(exist_ok=True)
    index = SqliteIndex(root / "index", root / "objects", root / "images")
    index.open()
    objects = root / "objects"
    store = ObjectStore(objects, index, Disk(), lambda: 1, keeps_unfinished=keeps)
    store.open()
    return store


@pytest.mark.parametrize("keeps", [True, False])
def test_salvage(tmp_path, keeps: bool) -> None:
    """Objects that had come whole are kept if that is wanted; nothing else is."""
    store = open_store(tmp_path, keeps=keeps)
    intake = store.intake()
    for content, hash_ in ((WHOLE, hash_of(WHOLE)), (NAMELESS, None)):
        intake.begin(len(content), hash_)
        intake.write(content)
    intake.begin(len(PART), hash_of(PART))
    intake.write(PART[:4])
    store.intake().begin(len(EMPTY), hash_of(EMPTY))
    incoming = tmp_path / "objects" / INCOMING
    assert len(list(incoming.iterdir())) == 4
    store.index.close()  # it dies
    store = open_store(tmp_path, keeps=keeps)
    assert len(store.left_over) == (3 if keeps else 0)
    new = store.intake()
    new.begin(len(WHOLE), hash_of(WHOLE))  # it gets in nobody's way
    assert salvage(store, store.left_over) == int(keeps)
    hashes = map(hash_of, (WHOLE, PART, NAMELESS, EMPTY))
    assert store.sizes(hashes) == ({hash_of(WHOLE): len(WHOLE)} if keeps else {})
    new.write(WHOLE)
    (outcome,) = new.commit()
    assert outcome.error == ""
    assert list(incoming.iterdir()) == []
    assert store.path(hash_of(WHOLE)).read_bytes() == WHOLE
    store.index.close()
