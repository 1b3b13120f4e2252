"""The part of the index in SQLite that searches images.

What lists show is in a narrow table of its own: with 20,000 images, one look at all of
it takes some ten milliseconds. Many images have the same packages; their names are
kept once for each set.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from imageserver.index.base import ImageRecord
from imageserver.index.ordering import in_order
from imageserver.index.rows import SIZE, typed
from imageserver.index.sqlite_file import SqliteFile
from imageserver.index.summary import DirectoryTotals, ImageQuery, ImageSummary

_LARGEST = (1 << 63) - 1
_DIGITS = re.compile(rb"([0-9]+)")
_LONGEST_NUMBER = 255
_HASHES_PER_QUERY = 10_000
_DIRECTORY = typed(str, int, int)
_FIELDS = (
    "name, created_on_ns, expires_at_ns, created_by, build_branch, build_commit_id,"
    " tags, data_bytes, usage_bytes, file_count, computed_count, filter_lines,"
    " trigger_count, package_count"
)
_TAG = "EXISTS (SELECT 1 FROM json_each(tags) WHERE json_each.key = ?"
_ORDERS = {
    "name": "sort_key",
    "created": "created_on_ns",
    "by": "created_by",
    "data": "data_bytes",
    "usage": "usage_bytes",
    "files": "file_count",
    "computed": "computed_count",
    "filter": "filter_lines",
    "triggers": "trigger_count",
    "packages": "package_count",
    "expires": "expires_at_ns",
    "branch": "build_branch",
    "commit": "build_commit_id",
}


def add_summary(
    connection: sqlite3.Connection, record: ImageRecord, packages: Iterable[str]
) -> None:
    """Record what lists show of a new image, in a transaction."""
    row = _row(record, _package_set(connection, packages))
    marks = ",".join("?" * len(row))
    connection.execute(f"INSERT INTO summaries VALUES ({marks})", row)  # noqa: S608 - marks only


def change_summary(connection: sqlite3.Connection, record: ImageRecord) -> None:
    """Record the only thing that ever changes."""
    connection.execute(
        "UPDATE summaries SET expires_at_ns = ? WHERE name = ?",
        (record.expires_at_ns, record.name),
    )


def remove_summary(connection: sqlite3.Connection, name: str) -> None:
    """Forget an image, and a set of packages that no other one has."""
    rows = connection.execute(
        "DELETE FROM summaries WHERE name = ? RETURNING package_set", (name,)
    ).fetchall()
    for (package_set,) in rows:
        connection.execute(
            "DELETE FROM package_sets WHERE id = ?1"
            " AND NOT EXISTS (SELECT 1 FROM summaries WHERE package_set = ?1)",
            (package_set,),
        )


def forget_summaries(connection: sqlite3.Connection) -> None:
    """Forget all."""
    connection.execute("DELETE FROM summaries")
    connection.execute("DELETE FROM package_sets")


def _package_set(connection: sqlite3.Connection, packages: Iterable[str]) -> int:
    names = "\n" + "".join(f"{name}\n" for name in sorted(set(packages)))
    names = _text(names)
    digest = hashlib.sha256(names.encode()).digest()
    connection.execute(
        "INSERT OR IGNORE INTO package_sets (digest, names) VALUES (?, ?)",
        (digest, names),
    )
    ((id_,),) = connection.execute(
        "SELECT id FROM package_sets WHERE digest = ?", (digest,)
    )
    return int(id_)


def _row(record: ImageRecord, package_set: int) -> tuple[Any, ...]:
    owners = "".join(f"{o}\n" for o in (*record.owner_users, *record.owner_groups))
    tags = " ".join(f"{key}={value}" for key, value in record.tags.items())
    searched = (
        *(record.name, tags, record.build_branch, record.build_commit_id),
        *(record.created_by, record.created_for, owners),
    )
    return (
        record.name,
        sort_key(record.name),
        record.directory,
        record.created_on_ns,
        record.expires_at_ns,
        *map(_text, (record.created_by, record.build_branch, record.build_commit_id)),
        json.dumps(dict(record.tags)),
        _text(f"\n{owners}"),
        _text("\n".join(searched).lower()),
        min(record.data_bytes, _LARGEST),
        min(record.usage_bytes, _LARGEST),
        record.file_count,
        record.computed_count,
        record.filter_lines,
        record.trigger_count,
        record.package_count,
        package_set,
    )


def _text(text: str) -> str:
    """What SQLite takes: strings of images need not be UTF-8."""
    return text.encode("utf-8", "replace").decode()


def sort_key(name: str) -> bytes:
    """Sorts bytewise as :func:`~imageserver.model.version_sort.version_key` does."""
    key = b""
    for part in _DIGITS.split(name.encode("utf-8", "surrogateescape")):
        if part.isdigit():
            # A number stands where its first digit stands; longer ones are larger.
            digits = part.lstrip(b"0")[-_LONGEST_NUMBER:]
            key += b"0" + bytes([len(digits)]) + digits
        else:
            key += part
    return key


class SqliteSummaries:
    """See :class:`~imageserver.index.summary.SummaryIndex`."""

    _file: SqliteFile

    def search_images(self, query: ImageQuery) -> list[ImageSummary]:
        """See :class:`~imageserver.index.summary.SummaryIndex`."""
        condition, values = _condition(query)
        column = _ORDERS[query.order]
        direction = "DESC" if query.descending else "ASC"
        order = f"{column} {direction} NULLS LAST, sort_key"
        if query.order == "name":
            order = f"{column} {direction}"
        limit = -1 if query.limit is None else query.limit
        return list(
            self._file.query(
                _summary,
                f"SELECT {_FIELDS} FROM summaries WHERE {condition}"  # noqa: S608 - our own words only
                f" ORDER BY {order} LIMIT ? OFFSET ?",
                *values,
                limit,
                query.offset,
            )
        )

    def count_images(self, query: ImageQuery) -> int:
        """See :class:`~imageserver.index.summary.SummaryIndex`."""
        condition, values = _condition(query)
        ((count,),) = self._file.query(
            tuple,
            f"SELECT count(*) FROM summaries WHERE {condition}",  # noqa: S608 - our own words only
            *values,
        )
        return int(count)

    def directory_totals(self) -> dict[str, DirectoryTotals]:
        """See :class:`~imageserver.index.summary.SummaryIndex`."""
        rows = self._file.query(
            _DIRECTORY,
            "SELECT directory, count(*), CAST(total(data_bytes) AS INTEGER)"
            " FROM summaries GROUP BY directory",
        )
        return {name: DirectoryTotals(images, size) for name, images, size in rows}

    def images_since(self, moments_ns: Sequence[int]) -> list[int]:
        """See :class:`~imageserver.index.summary.SummaryIndex`."""
        counts = []
        for moment in moments_ns:
            ((count,),) = self._file.query(
                tuple, "SELECT count(*) FROM summaries WHERE created_on_ns >= ?", moment
            )
            counts.append(int(count))
        return counts

    def reference_counts_of(self, hashes: Sequence[bytes]) -> dict[bytes, int]:
        """See :class:`~imageserver.index.summary.SummaryIndex`."""
        wanted = in_order(set(hashes))
        counts: dict[bytes, int] = {}
        while some := list(islice(wanted, _HASHES_PER_QUERY)):
            marks = ",".join("?" * len(some))
            counts.update(
                self._file.query(
                    SIZE,
                    "SELECT hash, reference_count FROM objects"  # noqa: S608 - marks only
                    f" WHERE hash IN ({marks}) AND reference_count > 0",
                    *some,
                )
            )
        return counts


def _summary(row: tuple[Any, ...]) -> ImageSummary:
    values = list(row)
    values[6] = json.loads(values[6])
    return ImageSummary(*values)


def _condition(query: ImageQuery) -> tuple[str, list[Any]]:
    """What has to hold in SQL, and its parameters."""
    found = list(_conditions(query))
    text = " AND ".join(condition for condition, _ in found) or "1"
    return text, [value for _, values in found for value in values]


def _conditions(query: ImageQuery) -> Iterator[tuple[str, list[Any]]]:
    if query.directory and query.below:
        # What begins with the name and a slash: "0" is next to it.
        name = query.directory
        yield "name > ? AND name < ?", [f"{name}/", f"{name}0"]
    elif query.directory:
        yield "directory = ?", [query.directory]
    for word in query.words:
        yield "instr(searched, ?)", [word.lower()]
    for key, value in query.tags:
        if value is None:
            yield f"{_TAG})", [key]
        else:
            yield f"{_TAG} AND json_each.value = ?)", [key, value]
    if query.created_by:
        yield "created_by = ?", [query.created_by]
    if query.commit:
        commit = query.commit
        test = "(substr(build_commit_id, 1, ?) = ? OR build_branch = ?)"
        yield test, [len(commit), commit, commit]
    if query.owner:
        yield "instr(owners, ?)", [f"\n{query.owner}\n"]
    if query.package:
        test = "package_set IN (SELECT id FROM package_sets WHERE instr(names, ?))"
        yield test, [f"\n{query.package}\n"]
