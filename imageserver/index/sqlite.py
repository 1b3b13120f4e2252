"""The index in a SQLite file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import UnionType
from typing import Any, get_origin, get_type_hints

import attrs

from imageserver.index.base import ImageRecord, ObjectTotals
from imageserver.index.ordering import in_order
from imageserver.index.rows import NAME, SIZE, typed
from imageserver.index.sqlite_file import SqliteFile
from imageserver.index.sqlite_summaries import (
    SqliteSummaries,
    add_summary,
    change_summary,
    forget_summaries,
    remove_summary,
)
from imageserver.index.sqlite_upkeep import SqliteUpkeep

INDEX_FILE = ".index.sqlite3"
"""What it is called, in the directory of images."""

_HASHES_PER_QUERY = 10_000
_COLUMNS = ("name", "directory", "created_on_ns", "expires_at_ns")
_TUPLES = ("owner_users", "owner_groups")


_DIRECTORY = typed(str, str)


def _run_time_type(hint: Any) -> Any:
    """What ``isinstance`` can check of a type."""
    origin = get_origin(hint)
    return hint if origin in (None, UnionType) else origin


_check_fields = typed(*map(_run_time_type, get_type_hints(ImageRecord).values()))


class SqliteIndex(SqliteSummaries, SqliteUpkeep):
    """All indexes in one file; see :mod:`imageserver.index.base` for the methods.

    One thread writes at a time; readers use connections of their own and never wait.
    """

    def __init__(
        self, path: Path, object_directory: Path, image_directory: Path
    ) -> None:
        """Name the index; :meth:`open` comes next.

        Args:
            path: the file.
            object_directory: where the objects are; the index knows it again.
            image_directory: where the images are; likewise.
        """
        directories = {"objects": object_directory, "images": image_directory}
        super().__init__(SqliteFile(path, directories))
        self._totals = (-1, ObjectTotals())

    def open(self) -> None:
        """Open the file, or begin a new one if it is of no use.

        Raises:
            ConfigError: that cannot be done.
        """
        self._file.open()

    def inspect(self) -> str:
        """Why the file is of no use; empty: it is good. Nothing is changed.

        Raises:
            ConfigError: nobody can tell.
        """
        return self._file.inspect()

    def remove(self) -> None:
        """Remove the file; :meth:`open` begins a new one.

        Raises:
            OSError: that cannot be done.
        """
        self._file.remove()

    def close(self) -> None:
        """Close the file; the index cannot be used any more."""
        self._file.close()

    def object_sizes(self, hashes: Iterable[bytes]) -> dict[bytes, int]:
        """See :class:`~imageserver.index.base.ObjectIndex`."""
        wanted = in_order(set(hashes))
        sizes: dict[bytes, int] = {}
        while some := list(islice(wanted, _HASHES_PER_QUERY)):
            marks = ",".join("?" * len(some))
            sizes.update(
                self._file.query_all(
                    (bytes, int),
                    f"SELECT hash, size FROM objects WHERE hash IN ({marks})"  # noqa: S608 - marks only
                    " AND size IS NOT NULL",
                    some,
                )
            )
        return sizes

    def add_objects(
        self, sizes: Mapping[bytes, int], now_ns: int, leased_until_ns: int = 0
    ) -> None:
        """See :class:`~imageserver.index.base.ObjectIndex`."""
        with self._file.transaction() as connection:
            connection.executemany(
                "INSERT INTO objects (hash, size, last_used_ns, leased_until_ns)"
                " VALUES (?, ?, ?, ?) ON CONFLICT (hash) DO UPDATE"
                " SET size = excluded.size, last_used_ns = excluded.last_used_ns,"
                " leased_until_ns = max(leased_until_ns, excluded.leased_until_ns)",
                (
                    (hash_, sizes[hash_], now_ns, leased_until_ns)
                    for hash_ in in_order(sizes)
                ),
            )

    def forget_objects(self, hashes: Iterable[bytes]) -> None:
        """See :class:`~imageserver.index.base.ObjectIndex`."""
        gone = [(hash_,) for hash_ in hashes]
        with self._file.transaction() as connection:
            connection.executemany(
                "UPDATE objects SET size = NULL WHERE hash = ?", gone
            )
            connection.executemany(
                "DELETE FROM objects WHERE hash = ? AND reference_count = 0", gone
            )

    def objects_between(self, first: bytes, last: bytes) -> dict[bytes, int]:
        """See :class:`~imageserver.index.base.ObjectIndex`."""
        return dict(
            self._file.query(
                SIZE,
                "SELECT hash, size FROM objects"
                " WHERE hash BETWEEN ? AND ? AND size IS NOT NULL",
                first,
                last,
            )
        )

    def object_totals(self) -> ObjectTotals:
        """See :class:`~imageserver.index.base.ObjectIndex`.

        All objects are looked at, but only if something was changed meanwhile.
        """
        changes = self._file.changes
        if self._totals[0] != changes:
            self._totals = changes, self._count_objects()
        return self._totals[1]

    def _count_objects(self) -> ObjectTotals:
        (row,) = self._file.query(
            tuple,
            "SELECT count(size), coalesce(sum(size), 0),"
            " count(size) FILTER (WHERE reference_count > 0),"
            " coalesce(sum(size) FILTER (WHERE reference_count > 0), 0),"
            " count(*) FILTER (WHERE reference_count > 0 AND size IS NULL)"
            " FROM objects",
        )
        return ObjectTotals(*map(int, row))

    def image(self, name: str) -> ImageRecord | None:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        records = list(self._records("SELECT * FROM images WHERE name = ?", name))
        return records[0] if records else None

    def images(self) -> Iterator[ImageRecord]:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        return self._records("SELECT * FROM images")

    def image_names(self) -> list[str]:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        rows = self._file.query(NAME, "SELECT name FROM images")
        return [name for (name,) in rows]

    def image_count(self) -> int:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        ((count,),) = self._file.query(tuple, "SELECT count(*) FROM images")
        return int(count)

    def images_in(self, directory: str) -> Iterator[ImageRecord]:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        return self._records(
            "SELECT * FROM images WHERE directory = ? ORDER BY created_on_ns DESC",
            directory,
        )

    def expired(self, now_ns: int) -> list[ImageRecord]:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        return list(
            self._records("SELECT * FROM images WHERE expires_at_ns <= ?", now_ns)
        )

    def _records(self, query: str, *values: Any) -> Iterator[ImageRecord]:
        return self._file.query(_record, query, *values)

    def add_image(
        self,
        record: ImageRecord,
        references: Mapping[bytes, int],
        packages: Iterable[str] = (),
    ) -> None:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        with self._file.transaction() as connection:
            connection.execute(
                "INSERT INTO images VALUES (?, ?, ?, ?, ?)", _row(record)
            )
            add_summary(connection, record, packages)
            connection.executemany(
                "INSERT INTO objects (hash, reference_count) VALUES (?, ?)"
                " ON CONFLICT (hash) DO UPDATE"
                " SET reference_count = reference_count + excluded.reference_count",
                ((hash_, references[hash_]) for hash_ in in_order(references)),
            )

    def replace_image(self, record: ImageRecord) -> None:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        with self._file.transaction() as connection:
            connection.execute(
                "REPLACE INTO images VALUES (?, ?, ?, ?, ?)", _row(record)
            )
            change_summary(connection, record)

    def remove_image(
        self, name: str, references: Mapping[bytes, int], now_ns: int
    ) -> None:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        with self._file.transaction() as connection:
            removed = connection.execute("DELETE FROM images WHERE name = ?", (name,))
            if removed.rowcount == 0:
                return
            remove_summary(connection, name)
            connection.executemany(
                "UPDATE objects SET reference_count = max(0, reference_count - ?1),"
                " last_used_ns = iif(reference_count > ?1, last_used_ns, ?2)"
                " WHERE hash = ?3",
                ((references[hash_], now_ns, hash_) for hash_ in in_order(references)),
            )
            connection.executemany(
                "DELETE FROM objects"
                " WHERE hash = ? AND reference_count = 0 AND size IS NULL",
                [(hash_,) for hash_ in references],
            )

    def directories(self) -> dict[str, str]:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        return dict(
            self._file.query(_DIRECTORY, "SELECT name, owner_group FROM directories")
        )

    def owner_group(self, directory: str) -> str | None:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        rows = list(
            self._file.query(
                NAME,
                "SELECT owner_group FROM directories WHERE name = ?",
                directory,
            )
        )
        return str(rows[0][0]) if rows else None

    def add_directory(self, name: str, owner_group: str) -> None:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        with self._file.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO directories VALUES (?, ?)", (name, owner_group)
            )

    def remove_directory(self, name: str) -> None:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM directories WHERE name = ?", (name,))

    def set_directories(self, owner_groups: Mapping[str, str]) -> None:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM directories")
            connection.executemany(
                "INSERT INTO directories VALUES (?, ?)", sorted(owner_groups.items())
            )

    def forget_images(self) -> None:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM images")
            forget_summaries(connection)
            connection.execute("DELETE FROM directories")
            connection.execute("DELETE FROM objects WHERE size IS NULL")
            connection.execute("UPDATE objects SET reference_count = 0")

    def rebuild_if_damaged(self) -> bool:
        """See :class:`~imageserver.index.base.ImageIndex`."""
        return self._file.rebuild_if_damaged()


def _row(record: ImageRecord) -> list[Any]:
    values = attrs.asdict(record)
    columns = [values.pop(column) for column in _COLUMNS]
    return [*columns, json.dumps(values)]


def _record(row: tuple[str, str, int | None, int | None, str]) -> ImageRecord:
    values = json.loads(row[-1])
    for name in _TUPLES:
        values[name] = tuple(values[name])
    record = ImageRecord(*row[:-1], **values)
    _check_fields(attrs.astuple(record, recurse=False))
    return record
