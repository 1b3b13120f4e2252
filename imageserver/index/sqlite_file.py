"""The SQLite file of the index: beginning it, and telling when it is of no use.

Whatever is wrong with the file, nothing is lost with it; see
:mod:`imageserver.index`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from imageserver.errors import ConfigError, StoreError

NONE = "there is none"
FOREIGN = "it belongs to other directories or another version"

_SCHEMA_VERSION = "4"  # also of canonical image files, whose offsets are kept
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE objects (
    hash BLOB PRIMARY KEY,
    size INTEGER,  -- NULL: an image refers to it, but it is not there
    reference_count INTEGER NOT NULL DEFAULT 0,
    last_used_ns INTEGER NOT NULL DEFAULT 0,
    leased_until_ns INTEGER NOT NULL DEFAULT 0
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
CREATE TABLE summaries (  -- of images, to search and sort them
    name TEXT PRIMARY KEY,
    sort_key BLOB NOT NULL,
    directory TEXT NOT NULL,
    created_on_ns INTEGER,
    expires_at_ns INTEGER,
    created_by TEXT NOT NULL,
    build_branch TEXT NOT NULL,
    build_commit_id TEXT NOT NULL,
    tags TEXT NOT NULL,  -- as JSON
    owners TEXT NOT NULL,  -- a line each
    searched TEXT NOT NULL,  -- all of these, in small letters
    data_bytes INTEGER NOT NULL,
    usage_bytes INTEGER NOT NULL,
    file_count INTEGER NOT NULL,
    computed_count INTEGER NOT NULL,
    filter_lines INTEGER,
    trigger_count INTEGER,
    package_count INTEGER NOT NULL,
    package_set INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX summaries_by_key ON summaries (sort_key);
CREATE INDEX summaries_by_directory ON summaries (directory, data_bytes);
CREATE INDEX summaries_by_creation ON summaries (created_on_ns);
CREATE INDEX summaries_by_packages ON summaries (package_set);
CREATE TABLE package_sets (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    names TEXT NOT NULL  -- a line each
);
CREATE TABLE directories (
    name TEXT PRIMARY KEY,
    owner_group TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
# One query for each table: it fails if the table, a column or the first page is gone.
_PROBES = (
    "SELECT hash, size, reference_count, last_used_ns, leased_until_ns"
    " FROM objects LIMIT 1",
    "SELECT name, directory, created_on_ns, expires_at_ns, details FROM images LIMIT 1",
    "SELECT searched, package_set FROM summaries LIMIT 1",
    "SELECT id, digest, names FROM package_sets LIMIT 1",
    "SELECT name, owner_group FROM directories LIMIT 1",
    "SELECT key, value FROM notes LIMIT 1",
)
_DAMAGES = frozenset(
    {
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_FORMAT,
        sqlite3.SQLITE_ERROR,  # our queries are right: tables or columns are missing
        sqlite3.SQLITE_IOERR_READ,
        sqlite3.SQLITE_IOERR_SHORT_READ,
        sqlite3.SQLITE_IOERR_CORRUPTFS,
    }
)
_PRIMARY_CODE = 0xFF


class SqliteFile:
    """An SQLite file with one writer and any number of readers.

    Queries and transactions raise ``StoreError`` if the file fails them. A file that
    turns out to be damaged is marked, and the next :meth:`open` begins a new one, if
    :meth:`rebuild_if_damaged` does not do so before.

    Attributes:
        changes: how many transactions there were so far.
    """

    _log = Logger()

    def __init__(self, path: Path, directories: Mapping[str, Path]) -> None:
        """Name the file; :meth:`open` comes next.

        Args:
            path: the file.
            directories: what it is the index of, by their use.
        """
        self._path = path
        self._directories = directories
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._connecting = threading.RLock()
        self._writing = threading.Lock()
        self._writer: sqlite3.Connection
        self._is_damaged = False
        self.changes = 0

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
        """Close the file; it cannot be used any more."""
        with self._writing, self._connecting:
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def _open(self) -> sqlite3.Connection:
        reason = "it was found damaged"
        if not self._damage_mark.exists():
            try:
                connection = self._connect()
                if self._is_ours(connection):
                    return connection
                reason = FOREIGN
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise  # it may be good, but cannot be used: locked, no space
                reason = str(error)
        self.close()
        return self._begin(reason)

    def inspect(self) -> str:
        """Why the file is of no use; empty: :meth:`open` would take it as it is.

        All of it is read, and nothing changed.

        Raises:
            ConfigError: nobody can tell.
        """
        if not self._path.exists():
            return NONE
        if self._path.stat().st_size == 0:
            return "it is empty"
        if self._damage_mark.exists():
            return "it was found damaged"
        try:
            with closing(self._connect()) as connection:
                return self._inspect(connection)
        except sqlite3.Error as error:
            if not _is_damage(error):
                raise ConfigError(f"cannot read {self._path}: {error}") from error
            return str(error)

    def _inspect(self, connection: sqlite3.Connection) -> str:
        rows = connection.execute("PRAGMA integrity_check(1)").fetchall()
        if rows != [("ok",)]:
            return str(rows[0][0])
        return "" if self._is_ours(connection) else FOREIGN

    def remove(self) -> None:
        """Remove the file, so that :meth:`open` begins a new one.

        Raises:
            OSError: that cannot be done.
        """
        self.close()
        self._remove()

    def _remove(self) -> None:
        for suffix in ("-wal", "-shm", ""):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        self._damage_mark.unlink(missing_ok=True)

    def rebuild_if_damaged(self) -> bool:
        """Begin a new file if this one was found damaged.

        Other threads may go on; what they are reading ends with the old file.

        Returns:
            Whether it was.

        Raises:
            StoreError: that cannot be done.
        """
        with self._writing:
            if not self._is_damaged:
                return False
            try:
                self._writer = self._begin("it was found damaged")
            except (sqlite3.Error, OSError) as error:
                raise StoreError(f"cannot rebuild index: {error}") from error
        return True

    def _begin(self, reason: str) -> sqlite3.Connection:
        self._log.warn("beginning a new index: {reason}", reason=reason)
        with self._connecting:  # nobody may open something in between
            self._remove()
            connection = self._connect()
            self._is_ours(connection)
            self._local = threading.local()  # all threads connect again
            self._is_damaged = False
            self.changes += 1
            return connection

    @property
    def _damage_mark(self) -> Path:
        return self._path.with_name(f"{self._path.name}-damaged")

    def _connect(self) -> sqlite3.Connection:
        with self._connecting:
            connection = sqlite3.connect(
                self._path, isolation_level=None, timeout=60, check_same_thread=False
            )
            self._connections.append(connection)
            connection.execute("PRAGMA journal_mode = WAL")  # opens all three files
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
        self._refuse_newer(connection)
        for probe in _PROBES:
            connection.execute(probe).fetchall()
        return dict(connection.execute("SELECT key, value FROM meta")) == identity

    def _refuse_newer(self, connection: sqlite3.Connection) -> None:
        """Leave the index of a later version alone: it may know what this one cannot.

        Raises:
            ConfigError: it is one; the text says what to do.
        """
        query = "SELECT value FROM meta WHERE key = 'schema'"
        ((version,),) = connection.execute(query).fetchall() or (("",),)
        if str(version).isdecimal() and int(version) > int(_SCHEMA_VERSION):
            raise ConfigError(
                f"index {self._path} is of a later version of this program (schema"
                f" {version}, here {_SCHEMA_VERSION}): use that one, or remove the file"
                " to have it made anew"
            )

    @property
    def _reader(self) -> sqlite3.Connection:
        local = self._local
        connection: sqlite3.Connection | None = getattr(local, "connection", None)
        if connection is None:
            connection = local.connection = self._connect()
        return connection

    def query_all(
        self, types: Sequence[type], query: str, values: Sequence[bytes]
    ) -> list[Any]:
        """All rows of a query at once; quicker than one by one.

        Args:
            types: those of the columns.
            query: the query.
            values: its parameters.
        """
        with self._translated_errors():
            rows = self._reader.execute(query, values).fetchall()
        for type_, column in zip(types, zip(*rows, strict=True), strict=False):
            if set(map(type, column)) != {type_}:
                self._mark_damage()
                raise StoreError(f"index: damaged row: a value that is no {type_}")
        return rows

    def query(
        self, read: Callable[[Any], Any], query: str, *values: Any
    ) -> Iterator[Any]:
        """The rows of a query, in this thread's own connection.

        Args:
            read: makes something of a row; if it cannot, the row is damaged.
            query: the query.
            values: its parameters.
        """
        with self._translated_errors():
            for row in self._reader.execute(query, [_bindable(v) for v in values]):
                try:
                    result = read(row)
                except (LookupError, TypeError, ValueError) as error:
                    self._mark_damage()
                    raise StoreError(f"index: damaged row: {error}") from error
                yield result

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A change that is made as a whole, on disk when the block is left."""
        with self._translated_errors(), self._writing:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
                self.changes += 1
            except BaseException:
                if self._writer.in_transaction:  # some errors end it by themselves
                    self._writer.execute("ROLLBACK")
                raise

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if _is_damage(error):
                self._mark_damage()
            raise StoreError(f"index: {error}") from error

    def _mark_damage(self) -> None:
        self._log.critical("the index is damaged, and will be rebuilt at a start")
        self._is_damaged = True
        with suppress(OSError):
            self._damage_mark.touch()


def _bindable(value: Any) -> Any:
    """``value``, or something that equals no text in the database.

    Clients may ask for names that are not UTF-8; there are none of these.
    """
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return b""
    return value


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether an error says that the file holds something wrong."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # not of SQLite itself: text that is not UTF-8
        return isinstance(error, sqlite3.OperationalError)
    return code in _DAMAGES or code & _PRIMARY_CODE in _DAMAGES


def _identify(directory: Path) -> str:
    status = os.stat(directory)
    return f"{status.st_dev}:{status.st_ino}"
