"""RPM's databases: the packages in them, whichever of its three forms they have.

A database holds a header for each package. ``sqlite`` has them in a table, ``ndb`` in
slots of one file, and Berkeley DB's hash in chains of pages.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing

from imageserver.model.image import Package

_SQLITE = b"SQLite format 3\0"
_NDB = b"RpmP"
_NDB_SLOT = b"Slot"
_NDB_PAGE_BYTES = 4096
_NDB_SLOT_BYTES = 16
_NDB_BLOCK_BYTES = 16
_BDB_MAGIC = 0x061561
_BDB_HASH, _BDB_HASH_UNSORTED, _BDB_OVERFLOW = 13, 2, 7
_BDB_OFF_PAGE = 3
_BDB_HEAD = struct.Struct("<8x4x4xIHHxB")  # next page, entries, bytes used, type
_BDB_HEAD_BYTES = 26
_NAME, _VERSION, _RELEASE, _EPOCH, _SIZE, _LONG_SIZE = (
    1000,
    1001,
    1002,
    1003,
    1009,
    5009,
)
_INT32, _INT64, _STRING = 4, 5, 6
_MOST_ENTRIES = 1 << 16


def read_rpm_database(data: bytes) -> list[Package]:
    """The packages in a database; none if it is none, or damaged."""
    try:
        if data.startswith(_SQLITE):
            headers = _read_sqlite(data)
        elif data.startswith(_NDB):
            headers = list(_read_ndb(data))
        else:
            headers = list(_read_berkeley(data))
    except (sqlite3.Error, struct.error, ValueError):
        return []
    packages = [parse_header(header) for header in headers]
    return [package for package in packages if package is not None]


def parse_header(header: bytes) -> Package | None:
    """The package that a header describes; ``None`` if it describes none.

    Keys that were imported are packages for RPM, too; they have no size.
    """
    try:
        tags = _parse_tags(header)
    except (struct.error, ValueError, UnicodeDecodeError):
        return None
    name, version, release = (tags.get(tag) for tag in (_NAME, _VERSION, _RELEASE))
    if not (isinstance(name, str) and isinstance(version, str)) or not name:
        return None
    if name == "gpg-pubkey":
        return None
    epoch = tags.get(_EPOCH)
    text = f"{epoch}:{version}" if epoch else version
    text += f"-{release}" if release else ""
    size = tags.get(_LONG_SIZE, tags.get(_SIZE, 0))
    return Package(name, size if isinstance(size, int) else 0, text)


def _parse_tags(header: bytes) -> dict[int, int | str]:
    count, size = struct.unpack_from(">II", header)
    if count > _MOST_ENTRIES:
        raise ValueError("too many entries")
    store = header[8 + 16 * count :][:size]
    tags: dict[int, int | str] = {}
    for index in range(count):
        tag, kind, offset, _ = struct.unpack_from(">IIII", header, 8 + 16 * index)
        if tag not in (_NAME, _VERSION, _RELEASE, _EPOCH, _SIZE, _LONG_SIZE):
            continue
        if kind == _STRING:
            tags[tag] = store[offset : store.index(b"\0", offset)].decode()
        elif kind == _INT32:
            (tags[tag],) = struct.unpack_from(">I", store, offset)
        elif kind == _INT64:
            (tags[tag],) = struct.unpack_from(">Q", store, offset)
    return tags


def _read_sqlite(data: bytes) -> list[bytes]:
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(data)
        rows = database.execute("SELECT blob FROM Packages").fetchall()
    return [row[0] for row in rows if isinstance(row[0], bytes)]


def _read_ndb(data: bytes) -> Iterator[bytes]:
    (pages,) = struct.unpack_from("<I", data, 12)
    end = min(pages * _NDB_PAGE_BYTES, len(data))
    for position in range(32, end - _NDB_SLOT_BYTES + 1, _NDB_SLOT_BYTES):
        magic, number, block, _ = struct.unpack_from("<4sIII", data, position)
        if magic != _NDB_SLOT or not number:
            continue
        start = block * _NDB_BLOCK_BYTES
        (size,) = struct.unpack_from("<I", data, start + 12)
        yield data[start + 16 : start + 16 + size]


def _read_berkeley(data: bytes) -> Iterator[bytes]:
    magic, _, page_bytes = struct.unpack_from("<III", data, 12)
    if magic != _BDB_MAGIC or page_bytes < 512:
        raise ValueError("no database of Berkeley DB")
    for start in range(page_bytes, len(data) - page_bytes + 1, page_bytes):
        _, entries, _, kind = _BDB_HEAD.unpack_from(data, start)
        if kind not in (_BDB_HASH, _BDB_HASH_UNSORTED):
            continue
        offsets = struct.unpack_from(f"<{entries}H", data, start + _BDB_HEAD_BYTES)
        for offset in offsets[1::2]:  # keys and values take turns
            item = start + offset
            if data[item] == _BDB_OFF_PAGE:
                page, size = struct.unpack_from("<II", data, item + 4)
                yield _read_chain(data, page_bytes, page, size)


def _read_chain(data: bytes, page_bytes: int, page: int, size: int) -> bytes:
    """A value that fills pages of its own."""
    if size > len(data):
        raise ValueError("a value is larger than the database")
    value = bytearray()
    while page and len(value) < size:
        start = page * page_bytes
        next_page, _, used, kind = _BDB_HEAD.unpack_from(data, start)
        if kind != _BDB_OVERFLOW or not used:
            raise ValueError("damaged chain of pages")
        value += data[start + _BDB_HEAD_BYTES :][:used]
        page = next_page
    return bytes(value[:size])
