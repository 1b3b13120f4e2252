"""The index as a file: opening it again, and what happens if it is of no use."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing

import pytest

from imageserver.errors import ConfigError, StoreError
from imageserver.index.sqlite import SqliteIndex
from imageserver.model.hash import hash_of

A = hash_of(b"a")


BEGUN = "beginning a new index: {reason}"


def test_reopening(open_index, filled, record, counts, warnings) -> None:
    """An index that is opened again knows everything."""
    index = open_index()
    assert index.object_sizes([A]) == {A: 1}
    assert index.image("dir/x") == record("dir/x")
    assert index.directories() == {"dir": "staff"}
    assert counts()[A] == 2
    assert BEGUN not in warnings


def test_without_closing(open_index) -> None:
    """What was recorded is there even if the process dies."""
    dying = open_index()
    dying.add_objects({A: 1}, 5)
    assert open_index().object_sizes([A]) == {A: 1}


def garbage(path):
    """Something else."""
    path.write_bytes(b"garbage " * 1000)


def garbage_inside(path):
    """A good beginning."""
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 5000)


def truncation(path):
    """Half a file."""
    os.truncate(path, path.stat().st_size // 2)


def short(path):
    """Next to nothing."""
    os.truncate(path, 10)


def other_schema(path):
    """The index of another version."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE meta SET value = '0' WHERE key = 'schema'")
        connection.commit()


def other_tables(path):
    """A database of something else."""
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE something (x)")


def damaged_tables(path):
    """A good schema, and nothing else."""
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (path.stat().st_size - 8192))


def missing_table(path):
    """One table less."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE images")


def missing_column(path):
    """One column less."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE objects DROP COLUMN last_used_ns")


def unfinished(path):
    """An index whose making was interrupted."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM meta")
        connection.commit()


@pytest.mark.parametrize(
    "damage",
    [
        garbage,
        garbage_inside,
        truncation,
        short,
        other_schema,
        other_tables,
        damaged_tables,
        missing_table,
        missing_column,
        unfinished,
    ],
)
def test_of_no_use(open_index, filled, tmp_path, warnings, damage) -> None:
    """A damaged or foreign file is replaced by a new index, with a warning."""
    damage(tmp_path / "index")
    index = open_index()
    assert BEGUN in warnings
    assert index.image_count() == 0
    assert index.object_sizes([A]) == {}
    index.add_objects({A: 3}, 5)
    index.close()
    assert open_index().object_sizes([A]) == {A: 3}


@pytest.mark.parametrize("gone", [(), ("images", "objects")])
def test_downgrade(open_index, filled, tmp_path, gone) -> None:
    """The index of a later version is left alone, and the error says what to do."""
    path = tmp_path / "index"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE meta SET value = '1000' WHERE key = 'schema'")
        for table in gone:
            connection.execute(f"DROP TABLE {table}")
        connection.commit()
    with pytest.raises(ConfigError, match=r"of a later version .* remove the file"):
        open_index()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE meta SET value = 'x' WHERE key = 'schema'")
        connection.commit()
    assert open_index().image_count() == 0


def test_lost(open_index, filled, tmp_path) -> None:
    """An index that was removed is begun anew."""
    (tmp_path / "index").unlink()
    assert open_index().image_count() == 0


@pytest.mark.parametrize("use", ["objects", "images"])
def test_other_directories(open_index, filled, warnings, use) -> None:
    """An index of other directories is of no use for these."""
    index = open_index(**{use: "other"})
    assert BEGUN in warnings
    assert index.image_count() == 0


def test_unusable(open_index, tmp_path) -> None:
    """Where there can be no file, opening fails with a reason."""
    (tmp_path / "index").mkdir()
    with pytest.raises(ConfigError, match="cannot open index"):
        open_index()


def test_no_directory(tmp_path) -> None:
    """Without the directories there is no index."""
    index = SqliteIndex(tmp_path / "x" / "index", tmp_path / "o", tmp_path / "x")
    with pytest.raises(ConfigError, match="cannot open index"):
        index.open()


def test_locked(open_index, filled, tmp_path, monkeypatch) -> None:
    """An index that somebody else holds is not thrown away."""
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *args, **kw: connect(*args, **kw | {"timeout": 0})
    )
    with closing(connect(tmp_path / "index", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConfigError, match="locked"):
            open_index()
        other.execute("ROLLBACK")
    assert open_index().image_count() == 2


def test_full(open_index, record) -> None:
    """A change that fails leaves nothing behind, and the index goes on."""
    index = open_index()
    index.add_image(record("x"), {})
    with index._file.transaction() as connection:
        connection.execute("PRAGMA max_page_count = 1")
    with pytest.raises(StoreError, match="full"):
        index.add_objects({hash_of(b"%d" % n): 9 for n in range(1000)}, 5)
    assert index.object_totals().objects == 0
    index._file._writer.execute("PRAGMA max_page_count = 1000000")
    index.add_objects({A: 3}, 5)
    assert index.object_sizes([A]) == {A: 3}


def test_threads(index, record) -> None:
    """Two threads read while one writes: each change is seen as a whole."""
    stop = threading.Event()
    faults = []

    def read() -> None:
        try:
            while not stop.is_set():
                totals = index.object_totals()
                names = index.image_names()
                assert totals.objects % 10 == 0
                assert len(names) >= totals.objects // 10 - 1
                assert len(list(index.images_in("."))) <= 60
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(60):
        hashes = [hash_of(b"%d %d" % (number, n)) for n in range(10)]
        index.add_image(record(f"image{number}"), dict.fromkeys(hashes, 1))
        index.add_objects(dict.fromkeys(hashes, 5), number)
    stop.set()
    for thread in threads:
        thread.join()
    assert faults == []
    assert index.object_totals().referenced_objects == 600
    assert index.image_count() == 60
