"""Damage that shows up when the index is in use."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing

import pytest

from imageserver.errors import StoreError
from imageserver.model.hash import hash_of

A = hash_of(b"a")
BEGUN = "beginning a new index: {reason}"


def overwrite_tables(path):
    """Overwrite all that comes after the schema."""
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 8192))


def test_damage_found_later(open_index, filled, tmp_path, warnings) -> None:
    """Damage that shows up in use is an error of the store; the next start is new."""
    index = open_index()
    overwrite_tables(tmp_path / "index")
    with pytest.raises(StoreError):
        index.object_totals()
    with pytest.raises(StoreError):
        index.add_objects({hash_of(bytes([n, n])): 9 for n in range(200)}, 5)
    index.close()
    assert BEGUN not in warnings
    index = open_index()
    assert BEGUN in warnings
    index.add_objects({A: 3}, 5)
    index.close()
    assert open_index().object_sizes([A]) == {A: 3}


def change_image(path, column, value):
    """Give a value of an image another content."""
    change = f"UPDATE images SET {column} = {value} WHERE name = 'dir/x'"  # noqa: S608 - a test's
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(change)
        connection.commit()


DAMAGED_VALUES = [
    ("details", "replace(details, '{', '#')"),
    ("details", "replace(details, 'file_bytes', 'file_bites')"),
    ("details", "'{}'"),
    ("details", "'5'"),
    ("details", "CAST(X'7bff7d' AS TEXT)"),
    ("details", "replace(details, '\"file_bytes\": 94', '\"file_bytes\": 9.4')"),
    ("created_on_ns", "'x'"),
    ("directory", "X'ff'"),
]


@pytest.mark.parametrize(("column", "value"), DAMAGED_VALUES)
def test_damaged_row(open_index, filled, tmp_path, column, value) -> None:
    """A row that makes no sense is an error of the store, until the index is new."""
    change_image(tmp_path / "index", column, value)
    index = open_index()
    for read in (index.image_names, index.directories, index.object_totals):
        read()
    assert not index.rebuild_if_damaged()
    with pytest.raises(StoreError):
        index.image("dir/x")
    with pytest.raises(StoreError):
        list(index.images())
    assert index.rebuild_if_damaged()
    assert not index.rebuild_if_damaged()
    assert list(index.images()) == []
    assert index.object_sizes([A]) == {}


@pytest.mark.parametrize("size", ["'x'", "X'00'", "1.5"])
def test_damaged_size(open_index, filled, tmp_path, size) -> None:
    """A size that is no number is an error of the store."""
    with closing(sqlite3.connect(tmp_path / "index")) as connection:
        connection.execute(f"UPDATE objects SET size = {size}")  # noqa: S608 - a test's
        connection.commit()
    index = open_index()
    with pytest.raises(StoreError):
        index.object_sizes([A])
    with pytest.raises(StoreError):
        index.objects_between(bytes(64), b"\xff" * 64)
    assert index.rebuild_if_damaged()


def test_rebuilding(open_index, filled, tmp_path, warnings) -> None:
    """A new index takes the place of a damaged one for all threads, and stays."""
    index = open_index()
    seen = []
    stages = threading.Barrier(2, timeout=10)

    def read() -> None:
        rows = index.images()
        seen.append(next(rows).name)
        stages.wait()
        stages.wait()
        rows.close()
        seen.append(index.object_sizes([A]))

    thread = threading.Thread(target=read)
    thread.start()
    stages.wait()
    overwrite_tables(tmp_path / "index")
    with pytest.raises(StoreError):
        index.object_totals()
    assert index.rebuild_if_damaged()
    index.add_objects({A: 3}, 5)
    stages.wait()
    thread.join()
    assert seen == ["dir/a", {A: 3}]
    warnings.clear()
    index.close()
    assert open_index().object_sizes([A]) == {A: 3}
    assert BEGUN not in warnings


def test_rebuilding_fails(open_index, filled, tmp_path, monkeypatch) -> None:
    """If there can be no new index, that is an error of the store."""
    change_image(tmp_path / "index", "details", "'{}'")
    index = open_index()
    with pytest.raises(StoreError):
        list(index.images())

    def fail(*_, **__):
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(os, "stat", fail)
    monkeypatch.setattr(sqlite3, "connect", fail)
    with pytest.raises(StoreError, match="cannot rebuild"):
        index.rebuild_if_damaged()
