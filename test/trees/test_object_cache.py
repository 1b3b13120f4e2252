"""The directory with objects that were fetched."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from imageserver.errors import CorruptObject
from imageserver.model.hash import hash_of
from imageserver.trees.object_cache import ObjectCache
from imageserver.trees.tree import FileAccessError


def put(cache: ObjectCache, content: bytes, when_s: int = 0) -> bytes:
    """Put an object in; its hash."""
    hash_ = hash_of(content)
    writer = cache.begin(hash_)
    writer.write(content)
    writer.finish()
    file = cache.open(hash_)
    assert file is not None
    with file:
        os.utime(file.fileno(), (when_s, when_s))
    return hash_


def test_keeping(tmp_path: Path) -> None:
    """What was put in is there, and nothing else."""
    cache = ObjectCache(str(tmp_path), 1_000)
    hash_ = put(cache, b"content")
    file = cache.open(hash_)
    assert file is not None
    with file:
        assert file.read() == b"content"
    assert cache.open(hash_of(b"other")) is None


def test_damage(tmp_path: Path) -> None:
    """What is not the object does not stay."""
    cache = ObjectCache(str(tmp_path), 1_000)
    writer = cache.begin(hash_of(b"content"))
    writer.write(b"another")
    with pytest.raises(CorruptObject):
        writer.finish()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_given_up(tmp_path: Path) -> None:
    """Nothing stays of an object of which only a part has come."""
    cache = ObjectCache(str(tmp_path), 1_000)
    cache.begin(hash_of(b"content")).write(b"con")
    gc.collect()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the file, of which nothing stays."""
    cache = ObjectCache(str(tmp_path), 1_000)
    real = os.open
    monkeypatch.setattr(
        "imageserver.trees.object_cache.os.open",
        lambda path, *_: (real(path, os.O_CREAT), real("/dev/full", os.O_WRONLY))[1],
    )
    writer = cache.begin(hash_of(b"content"))
    with pytest.raises(FileAccessError, match=r"object cache: .*No space left"):
        writer.write(bytes(1 << 20))
    monkeypatch.undo()
    del writer
    gc.collect()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_limit(tmp_path: Path) -> None:
    """What was not used for longest goes first."""
    cache = ObjectCache(str(tmp_path), 25)
    old, newer, newest = (
        put(cache, bytes([number]) * 10, number) for number in (1, 2, 3)
    )
    cache.trim()
    assert cache.open(old) is None
    assert all(cache.open(hash_) for hash_ in (newer, newest))


def test_no_directory(tmp_path: Path) -> None:
    """The directory has to be there."""
    with pytest.raises(FileAccessError, match="no directory"):
        ObjectCache(str(tmp_path / "none"), 1)
