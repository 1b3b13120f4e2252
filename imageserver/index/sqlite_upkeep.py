"""The part of the index in SQLite that looking after objects takes.

Objects out of use are found by a look at all of them, a tenth of a second for a
million: an index of their own would make each upload and each image dearer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from imageserver.index.base import Collectable
from imageserver.index.rows import HASH, NAME, SIZE, typed
from imageserver.index.sqlite_file import SqliteFile

_COLLECTABLE = typed(bytes, int, int)
_HASH_BYTES = 64


class SqliteUpkeep:
    """See :class:`~imageserver.index.base.UpkeepIndex`, and leases of objects."""

    def __init__(self, file: SqliteFile) -> None:
        self._file = file

    def renew_leases(self, prefixes: Iterable[bytes], until_ns: int) -> None:
        """See :class:`~imageserver.index.base.ObjectIndex`."""
        with self._file.transaction() as connection:
            connection.executemany(
                "UPDATE objects SET leased_until_ns = ?3"
                " WHERE hash BETWEEN ?1 AND ?2 AND leased_until_ns < ?3",
                [
                    (prefix, prefix.ljust(_HASH_BYTES, b"\xff"), until_ns)
                    for prefix in sorted(prefixes)
                ],
            )

    def collectable_totals(self, now_ns: int) -> tuple[int, int]:
        """See :class:`~imageserver.index.base.UpkeepIndex`."""
        (row,) = self._file.query(
            tuple,
            "SELECT count(*), coalesce(sum(size), 0) FROM objects"
            " WHERE size IS NOT NULL AND reference_count = 0"
            " AND leased_until_ns <= ?",
            now_ns,
        )
        return int(row[0]), int(row[1])

    def collectable_objects(
        self, now_ns: int, limit: int, last: Collectable | None = None
    ) -> list[Collectable]:
        """See :class:`~imageserver.index.base.UpkeepIndex`."""
        rows = self._file.query(
            _COLLECTABLE,
            "SELECT hash, size, last_used_ns FROM objects"
            " WHERE size IS NOT NULL AND reference_count = 0"
            " AND leased_until_ns <= ? AND (last_used_ns, hash) > (?, ?)"
            " ORDER BY last_used_ns, hash LIMIT ?",
            now_ns,
            last.last_used_ns if last else -1,
            last.hash_ if last else b"",
            limit,
        )
        return [Collectable(*row) for row in rows]

    def collectable_after(
        self, hash_: bytes, now_ns: int, limit: int
    ) -> dict[bytes, int]:
        """See :class:`~imageserver.index.base.UpkeepIndex`."""
        return dict(
            self._file.query(
                SIZE,
                "SELECT hash, size FROM objects"
                " WHERE size IS NOT NULL AND reference_count = 0"
                " AND leased_until_ns <= ?"
                " AND hash > ? ORDER BY hash LIMIT ?",
                now_ns,
                hash_,
                limit,
            )
        )

    def forget_collectable(self, hashes: Iterable[bytes], now_ns: int) -> list[bytes]:
        """See :class:`~imageserver.index.base.UpkeepIndex`."""
        forgotten = []
        with self._file.transaction() as connection:
            for hash_ in hashes:
                deleted = connection.execute(
                    "DELETE FROM objects WHERE hash = ? AND size IS NOT NULL"
                    " AND reference_count = 0 AND leased_until_ns <= ?",
                    (hash_, now_ns),
                )
                if deleted.rowcount:
                    forgotten.append(hash_)
        return forgotten

    def objects_after(self, hash_: bytes, limit: int) -> dict[bytes, int]:
        """See :class:`~imageserver.index.base.UpkeepIndex`."""
        return dict(
            self._file.query(
                SIZE,
                "SELECT hash, size FROM objects WHERE hash > ? AND size IS NOT NULL"
                " ORDER BY hash LIMIT ?",
                hash_,
                limit,
            )
        )

    def missing_objects(self, limit: int) -> list[bytes]:
        """See :class:`~imageserver.index.base.UpkeepIndex`."""
        rows = self._file.query(
            HASH,
            "SELECT hash FROM objects WHERE size IS NULL AND reference_count > 0"
            " ORDER BY hash LIMIT ?",
            limit,
        )
        return [hash_ for (hash_,) in rows]

    def reference_counts(self) -> Iterator[tuple[bytes, int]]:
        """See :class:`~imageserver.index.base.UpkeepIndex`."""
        return self._file.query(
            SIZE, "SELECT hash, reference_count FROM objects WHERE reference_count > 0"
        )

    def note(self, key: str) -> str:
        """See :class:`~imageserver.index.base.UpkeepIndex`."""
        rows = self._file.query(NAME, "SELECT value FROM notes WHERE key = ?", key)
        return "".join(value for (value,) in rows)

    def set_note(self, key: str, value: str) -> None:
        """See :class:`~imageserver.index.base.UpkeepIndex`."""
        with self._file.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO notes VALUES (?, ?)", (key, value)
            )
