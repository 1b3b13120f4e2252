"""The index in a SQLite file."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import attrs
from twisted.logger import Logger

from imageserver.errors import ConfigError
from imageserver.index.base import ImageRecord, ObjectTotals

_SCHEMA_VERSION = "1"
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE objects (
    hash BLOB PRIMARY KEY,
    size INTEGER,  -- NULL: an image refers to it, but it is not there
    reference_count INTEGER NOT NULL DEFAULT 0,
    last_used_ns INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE images (
    name TEXT PRIMARY KEY,
    directory TEXT NOT NULL,
    created_on_ns INTEGER,
    expires_at_ns INTEGER,
    details TEXT NOT NULL  -- the rest of the record, as JSON
) WITHOUT ROWID;
CREATE INDEX images_by_directory ON images (directory, created_on_ns DESC);
CREATE INDEX images_by_expiration ON images (expires_at_ns);
CREATE TABLE directories (
    name TEXT PRIMARY KEY,
    owner_group TEXT NOT NULL
) WITHOUT ROWID;
"""
_HASHES_PER_QUERY = 10_000
_COLUMNS = ("name", "directory", "created_on_ns", "expires_at_ns")
_TUPLES = ("owner_users", "owner_groups")


class SqliteIndex:
    """Both indexes in one file; see :mod:`imageserver.index.base` for the methods.

    One thread writes at a time; readers use connections of their own and never wait.
    """

    _log = Logger()

    def __init__(
        self, path: Path, object_directory: Path, image_directory: Path
    ) -> None:
        """Name the index; :meth:`open` comes next.

        Args:
            path: the file.
            object_directory: where the objects are; the index knows it again.
            image_directory: where the images are; likewise.
        """
        self._path = path
        self._directories = {"objects": object_directory, "images": image_directory}
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._writing = threading.Lock()
        self._writer: sqlite3.Connection

    def open(self) -> None:
        """Open the file, or begin a new one if it is of no use.

        Raises:
            ConfigError: that cannot be done.
        """
        try:
            self._writer = self._open()
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(f"cannot open index {self._path}: {error}") from error

    def close(self) -> None:
        """Close the file; the index cannot be used any more."""
        with self._writing:
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def _open(self) -> sqlite3.Connection:
        try:
            connection = self._connect()
            if self._is_ours(connection):
                return connection
            reason = "it belongs to other directories or another version"
        except sqlite3.DatabaseError as error:
            reason = str(error)
        self._log.warn("beginning a new index: {reason}", reason=reason)
        self.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        connection = self._connect()
        self._is_ours(connection)
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, timeout=60, check_same_thread=False
        )
        self._connections.append(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _is_ours(self, connection: sqlite3.Connection) -> bool:
        """Whether the file is the index of our directories; a new one is made so."""
        identity = {"schema": _SCHEMA_VERSION} | {
            use: _identify(directory) for use, directory in self._directories.items()
        }
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables == 0:
            connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
            connection.executemany("INSERT INTO meta VALUES (?, ?)", identity.items())
        return dict(connection.execute("SELECT key, value FROM meta")) == identity

    @property
    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            with self._writing:
                connection = self._local.connection = self._connect()
        return connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise

    def object_sizes(self, hashes: Iterable[bytes]) -> dict[bytes, int]:
        """See :class:`~imageserver.index.base.ObjectIndex`."""
        wanted = iter(sorted(set(hashes)))
        sizes: dict[bytes, int] = {}
        while some := list(islice(wanted, _HASHES_PER_QUERY)):
            marks = ",".join("?" * len(some))
            sizes.update(
                self._reader.execute(
                    f"SELECT hash, size FROM objects WHERE hash IN ({marks})"  # noqa: S608 - marks only
                    " AND size IS NOT NULL",
                    some,
                )
            )
        return sizes

    def add_objects(self, sizes: Mapping[bytes, int], now_ns: int) -> None:
        """See :class:`~imageserver.index.base.ObjectIndex`."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO objects (hash, size, last_used_ns) VALUES (?, ?, ?)"
                " ON CONFLICT (hash) DO UPDATE"
                " SET size = excluded.size, last_used_ns = excluded.last_used_ns",
                [(hash_, size, now_ns) for hash_, size in sorted(sizes.items())],
            )

    def forget_objects(self, hashes: Iterable[bytes]) -> None:
        """See :class:`~imageserver.index.base.ObjectIndex`."""
        gone = [(hash_,) for hash_ in hashes]
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE objects SET size = NULL WHERE hash = ?", gone
            )
            connection.executemany(
                "DELETE FROM objects WHERE hash = ? AND reference_count = 0", gone
            )

    def objects_between(self, first: bytes, last: bytes) -> dict[bytes, int]:
        """See :class:`~imageserver.index.base.ObjectIndex`."""
        return dict(
            self._reader.execute(
                "SELECT hash, size FROM objects"
                " WHERE hash BETWEEN ? AND ? AND size IS NOT NULL",
                (first, last),
            )
        )

    def object_totals(self) -> ObjectTotals:
        """See :class:`~imageserver.index.base.ObjectIndex`."""
        row = self._reader.execute(
            "SELECT count(*), coalesce(sum(size), 0),"
            " count(*) FILTER (WHERE reference_count > 0),"
            " coalesce(sum(size) FILTER (WHERE reference_count > 0), 0)"
            " FROM objects WHERE size IS NOT NULL"
        ).fetchone()
        return ObjectTotals(*row)

    def image(self, name: str) -> ImageRecord | None:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        row = self._reader.execute(
            "SELECT * FROM images WHERE name = ?", (name,)
        ).fetchone()
        return row and _record(row)

    def images(self) -> Iterator[ImageRecord]:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        return map(_record, self._reader.execute("SELECT * FROM images"))

    def image_names(self) -> list[str]:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        return [name for (name,) in self._reader.execute("SELECT name FROM images")]

    def image_count(self) -> int:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        count: int = self._reader.execute("SELECT count(*) FROM images").fetchone()[0]
        return count

    def images_in(self, directory: str) -> Iterator[ImageRecord]:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        rows = self._reader.execute(
            "SELECT * FROM images WHERE directory = ? ORDER BY created_on_ns DESC",
            (directory,),
        )
        return map(_record, rows)

    def expired(self, now_ns: int) -> list[ImageRecord]:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        rows = self._reader.execute(
            "SELECT * FROM images WHERE expires_at_ns <= ?", (now_ns,)
        )
        return [_record(row) for row in rows]

    def add_image(self, record: ImageRecord, references: Mapping[bytes, int]) -> None:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        values = attrs.asdict(record)
        row = [values.pop(column) for column in _COLUMNS]
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO images VALUES (?, ?, ?, ?, ?)", [*row, json.dumps(values)]
            )
            connection.executemany(
                "INSERT INTO objects (hash, reference_count) VALUES (?, ?)"
                " ON CONFLICT (hash) DO UPDATE"
                " SET reference_count = reference_count + excluded.reference_count",
                sorted(references.items()),
            )

    def remove_image(self, name: str, references: Mapping[bytes, int]) -> None:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        with self._transaction() as connection:
            removed = connection.execute("DELETE FROM images WHERE name = ?", (name,))
            if removed.rowcount == 0:
                return
            connection.executemany(
                "UPDATE objects SET reference_count = max(0, reference_count - ?)"
                " WHERE hash = ?",
                [(count, hash_) for hash_, count in sorted(references.items())],
            )

    def directories(self) -> dict[str, str]:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        return dict(self._reader.execute("SELECT name, owner_group FROM directories"))

    def owner_group(self, directory: str) -> str | None:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        row = self._reader.execute(
            "SELECT owner_group FROM directories WHERE name = ?", (directory,)
        ).fetchone()
        return None if row is None else str(row[0])

    def add_directory(self, name: str, owner_group: str) -> None:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO directories VALUES (?, ?)", (name, owner_group)
            )

    def remove_directory(self, name: str) -> None:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM directories WHERE name = ?", (name,))

    def forget_images(self) -> None:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM images")
            connection.execute("DELETE FROM directories")
            connection.execute("DELETE FROM objects WHERE size IS NULL")
            connection.execute("UPDATE objects SET reference_count = 0")


def _record(row: tuple[str, str, int | None, int | None, str]) -> ImageRecord:
    values = json.loads(row[-1])
    for name in _TUPLES:
        values[name] = tuple(values[name])
    return ImageRecord(*row[:-1], **values)


def _identify(directory: Path) -> str:
    status = os.stat(directory)
    return f"{status.st_dev}:{status.st_ino}"
