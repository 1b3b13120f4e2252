"""Which packages a tree has."""

from __future__ import annotations

import io
import sqlite3
import struct
from pathlib import Path

import pytest
from trees.random_trees import scan

from imageserver.model.image import Package
from imageserver.trees.packages import packages_of, parse_dpkg_status, read_packages
from imageserver.trees.rpm_database import parse_header, read_rpm_database

STATUS = b"""\
Package: zsh
Status: install ok installed
Installed-Size: 12
Version: 5.9-4

Package: removed
Status: deinstall ok config-files
Version: 1

Package: bash
Status: hold ok installed
Description: shell
 Version: not this one
Version: 5.2.15-2+b7

Version: 7
"""


def make_header(**tags: object) -> bytes:
    """A header of RPM, with some tags."""
    numbers = {"name": 1000, "version": 1001, "release": 1002, "epoch": 1003}
    numbers |= {"size": 1009, "longsize": 5009}
    entries, store = b"", b""
    for name, value in tags.items():
        kind = 6 if isinstance(value, str) else 5 if name == "longsize" else 4
        entries += struct.pack(">IIII", numbers[name], kind, len(store), 1)
        if isinstance(value, str):
            store += value.encode() + b"\0"
        else:
            store += struct.pack(">Q" if kind == 5 else ">I", value)
    return struct.pack(">II", len(tags), len(store)) + entries + store


BASH = make_header(name="bash", version="5.2", release="1.el9", epoch=2, size=7_000)
BIG = make_header(name="big", version="1", release="3", longsize=5 << 30)
KEY = make_header(name="gpg-pubkey", version="abc", release="def")
EXPECTED = [
    Package("bash", 7_000, "2:5.2-1.el9"),
    Package("big", 5 << 30, "1-3"),
]


def sqlite_database() -> bytes:
    """A database in SQLite."""
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB)")
    for header in (BASH, BIG, KEY):
        database.execute("INSERT INTO Packages (blob) VALUES (?)", (header,))
    database.commit()
    data = database.serialize()
    database.close()
    return data


def ndb_database() -> bytes:
    """A database in RPM's own form: a page of slots, then blobs."""
    slots, blobs = b"", b""
    for number, header in enumerate((BASH, BIG, KEY), 1):
        blob = struct.pack("<4sIII", b"BlbS", number, 0, len(header)) + header
        blob += bytes(-len(blob) % 16)
        block = (4096 + len(blobs)) // 16
        slots += struct.pack("<4sIII", b"Slot", number, block, len(blob) // 16)
        blobs += blob
    slots += struct.pack("<4sIII", b"Slot", 0, 0, 0)
    head = struct.pack("<4sIII", b"RpmP", 0, 0, 1) + bytes(16)
    return (head + slots).ljust(4096, b"\0") + blobs


def berkeley_database(page: int = 512) -> bytes:
    """A database of Berkeley DB: pages of a hash, and chains with the values."""
    pages = [b""] * 2
    items = []
    for header in (BASH, BIG * 1 + bytes(700), KEY):
        first = len(pages)
        room = page - 26
        pieces = [header[i : i + room] for i in range(0, len(header), room)]
        for index, piece in enumerate(pieces):
            following = first + index + 1 if index + 1 < len(pieces) else 0
            head = struct.pack("<8xIIIHHBB", 0, 0, following, 1, len(piece), 0, 7)
            pages.append((head + piece).ljust(page, b"\0"))
        items += [b"\1key!", struct.pack("<B3xII", 3, first, len(header))]
    body, offsets, end = b"", [], page
    for item in items:
        end -= len(item)
        offsets.append(end)
        body = item + body
    head = struct.pack("<8xIIIHHBB", 1, 0, 0, len(items), end, 0, 13)
    head += struct.pack(f"<{len(offsets)}H", *offsets)
    pages[1] = head.ljust(page - len(body), b"\0") + body
    pages[0] = struct.pack("<12xIII", 0x061561, 9, page).ljust(page, b"\0")
    return b"".join(pages)


@pytest.mark.parametrize("make", [sqlite_database, ndb_database, berkeley_database])
def test_rpm(make) -> None:
    """Each form of RPM's database gives the same packages, without keys."""
    assert read_rpm_database(make()) == EXPECTED


@pytest.mark.parametrize("make", [sqlite_database, ndb_database, berkeley_database])
def test_damaged_databases(make) -> None:
    """Damage is no reason to fail: there are fewer packages, or none."""
    data = make()
    for position in range(0, len(data), 37):
        damaged = bytearray(data)
        damaged[position] ^= 0xFF
        for package in read_rpm_database(bytes(damaged)):
            assert package.name
        read_rpm_database(data[:position])
    assert read_rpm_database(b"") == read_rpm_database(bytes(5_000)) == []


@pytest.mark.parametrize("header", [b"", bytes(8), b"\xff" * 100, BASH[:40]])
def test_headers_of_nothing(header: bytes) -> None:
    """What describes no package is none."""
    assert parse_header(header) is None


def test_dpkg() -> None:
    """What is installed is listed, with its size in bytes."""
    assert parse_dpkg_status(STATUS) == [
        Package("zsh", 12 << 10, "5.9-4"),
        Package("bash", 0, "5.2.15-2+b7"),
    ]


def test_scanned_tree(tmp_path: Path) -> None:
    """The databases are found in a tree, also in pieces, and sorted by name."""
    (tmp_path / "var/lib/dpkg/status.d").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_bytes(STATUS)
    (tmp_path / "var/lib/dpkg/status.d/tz").write_text("Package: tz\nVersion: 1\n")
    (tmp_path / "usr/lib/sysimage/rpm").mkdir(parents=True)
    (tmp_path / "usr/lib/sysimage/rpm/rpmdb.sqlite").write_bytes(sqlite_database())
    packages = packages_of(scan(tmp_path))
    assert [item.name for item in packages] == ["bash", "big", "tz", "zsh"]


def test_nothing() -> None:
    """A tree without a database, or with one that cannot be read, has no packages."""
    assert read_packages(lambda path: None) == ()

    def fail(path: bytes) -> io.BytesIO:
        raise OSError("broken")

    assert read_packages(fail) == ()
