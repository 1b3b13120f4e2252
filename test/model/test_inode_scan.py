"""Inode tables that are scanned: the same is found as in objects."""

from __future__ import annotations

import random

import pytest
import recorded
from fuzz.targets import read_again
from gob.go_types import ANY, Point
from hypothesis import given, settings
from hypothesis import strategies as st

from imageserver import gob
from imageserver.errors import GobDecodeError
from imageserver.model.file_system import FileSystem, ScannedFileSystem
from imageserver.model.hash import HASH, hash_of
from imageserver.model.image import Image, ScannedImage
from imageserver.model.image_messages import AddImageRequest, AddScannedImageRequest
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryEntry,
    DirectoryInode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)
from imageserver.model.inode_scan import TABLE
from imageserver.model.inode_table import InodeTable

PROFILE = settings(derandomize=True, deadline=None, max_examples=200)
COUNTED = (
    "numbers",
    "computed",
    "regular_count",
    "symlink_count",
    "data_bytes",
    "block_bytes",
    "objects",
    "object_bytes",
    "contradictions",
)


def canonical(inodes) -> bytes:
    """A table as canonical image files have it."""
    encoder = gob.Encoder()
    encoder.define(TABLE)
    out = bytearray()
    encoder.write_value(out, inodes, TABLE)
    return bytes(out[1:])  # whole values stand behind a zero


def assert_same(table: InodeTable, inodes) -> None:
    """A scanned table is what the inodes amount to."""
    expected = InodeTable.of(inodes)
    for name in COUNTED:
        assert getattr(table, name) == getattr(expected, name), name
    assert table.directories == expected.directories
    assert b"".join(table.encoded) == canonical(inodes)


def scan(data: bytes) -> InodeTable:
    """The table of a file system."""
    return gob.decode(data, ScannedFileSystem).value.inodes


def check(data: bytes) -> None:
    """Scan the table of a file system, and compare it with its objects."""
    assert_same(scan(data), gob.decode(data, FileSystem).value.inodes)


A, FF = hash_of(b"a"), b"\xff" * 64
INODES = {
    0: RegularInode(0o100644, 0, 0, 5, 1_700_000_000, 3, A),
    7: RegularInode(0o100755, 1000, 100, 999_999_999, -1, 1 << 40, FF),
    8: RegularInode(),
    300: RegularInode(size=3, mtime_nanoseconds=-(1 << 31), hash_=A),
    70_000: SymlinkInode(0, 0, b"../x"),
    70_001: SymlinkInode(1, 2, b""),
    70_002: SymlinkInode(target=b"x" * 4000),
    1 << 30: ComputedRegularInode(0o100600, 1, 0, "host:1234"),
    1 << 31: ComputedRegularInode(),
    (1 << 64) - 1: SpecialInode(0o20666, 0, 5, 1, 2, 0x103),
    9: SpecialInode(),
    10: DirectoryInode(),
    11: DirectoryInode((), 0o40755, 0, 7),
    12: DirectoryInode((DirectoryEntry(b"a", 7), DirectoryEntry(b"b", 300)), 0o40755),
    13: DirectoryInode(
        tuple(DirectoryEntry(b"%d" % number, 7) for number in range(10_000)), 1, 2, 3
    ),
}
ODD_NAMES = (b"", b"a/b", b"\0", b"\1", b"x" * 255, b"x" * 256, b"\xff\1\5\0", b"..")


def test_every_kind() -> None:
    """Inodes of every kind, with and without zeros."""
    check(gob.Encoder().encode(FileSystem(INODES)))


@pytest.mark.parametrize("inodes", [None, {}])
def test_nothing(inodes) -> None:
    """A table may be empty, or not be there."""
    data = gob.Encoder().encode(FileSystem(inodes))
    assert (scan(data) is None) is (inodes is None)
    if inodes is not None:
        check(data)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names(name) -> None:
    """Names are not judged here."""
    entries = (DirectoryEntry(b"a", 7), DirectoryEntry(name, 8), DirectoryEntry(b"", 0))
    check(gob.Encoder().encode(FileSystem({1: DirectoryInode(entries)})))


def test_many_of_a_kind() -> None:
    """More inodes than are looked at in one go."""
    numbers = random.Random(1)
    inodes = {
        number: RegularInode(1, size=number % 7, hash_=numbers.randbytes(64))
        for number in range(10_000)
    }
    check(gob.Encoder().encode(FileSystem(inodes)))


REGULAR = st.builds(
    RegularInode,
    st.integers(0, (1 << 32) - 1),
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.integers(0, 3) | st.integers(0, (1 << 64) - 1),
    st.binary(min_size=64, max_size=64) | st.just(FF),
)
ENTRY = st.builds(DirectoryEntry, st.binary(max_size=12), st.integers(0, (1 << 64) - 1))
ANY_INODE = st.one_of(
    REGULAR,
    st.builds(
        DirectoryInode, st.lists(ENTRY, max_size=5).map(tuple), st.integers(0, 1000)
    ),
    st.builds(SymlinkInode, st.integers(0, 300), st.just(0), st.binary(max_size=300)),
    st.builds(ComputedRegularInode, source=st.text(max_size=5)),
    st.builds(SpecialInode, st.integers(0, 1000), device=st.integers(0, 1 << 63)),
)
TABLES = st.dictionaries(st.integers(0, (1 << 64) - 1), ANY_INODE, max_size=20)


@PROFILE
@given(TABLES)
def test_any_table(inodes) -> None:
    """Any table is scanned as it is read."""
    check(gob.Encoder().encode(FileSystem(inodes)))


def of_go(name: str) -> bytes:
    """A message that Go has sent, with definitions in the middle."""
    (found,) = [v for v in recorded.load("gob-messages") if v["name"] == name]
    return bytes.fromhex(found["hex"])


GO = of_go("AddImageRequest")
OURS = gob.Encoder().encode(gob.decode(GO, AddImageRequest).value)


@pytest.mark.parametrize("data", [GO, OURS], ids=["go", "ours"])
def test_request(data) -> None:
    """The request of AddImage: all but the table is read as ever."""
    request = gob.decode(data, AddImageRequest).value
    scanned = gob.decode(data, AddScannedImageRequest).value
    assert scanned.image_name == request.image_name
    assert_same(scanned.image.file_system.inodes, request.image.file_system.inodes)
    for image in (request.image, scanned.image):
        assert image.file_system.root == request.image.file_system.root
        assert image.filter == request.image.filter


def test_image_file() -> None:
    """An image file that Go has written."""
    data = (recorded.DIRECTORY / "image" / "image.bin").read_bytes()
    table = gob.decode(data, ScannedImage).value.file_system.inodes
    assert_same(table, gob.decode(data, Image).value.file_system.inodes)


def declared(registry_name: str, *fields: tuple[str, gob.Type]) -> tuple[str, type]:
    """A class of another program, and the name it is registered under."""

    class Foreign:
        """Declared below."""

    for number, (name, type_) in enumerate(fields):
        Foreign.__annotations__[f"a{number}"] = object
        setattr(Foreign, f"a{number}", gob.field(name, type_))
    return registry_name, gob.struct("Foreign")(Foreign)


U, S = gob.UINT32, gob.STRING
MODE, UID, GID = ("Mode", U), ("Uid", U), ("Gid", U)
HASH_FIELD, SIZE = ("Hash", HASH), ("Size", gob.UINT)
ENTRY_TYPE = gob.Struct(DirectoryEntry)
ENTRIES = ("EntryList", gob.Slice(ENTRY_TYPE))
BY_NAME = ("EntriesByName", gob.Map(gob.STRING, ENTRY_TYPE))
_, OtherEntry = declared("", ("InodeNumber", gob.UINT), ("Name", S))
OTHER_ENTRIES = ("EntryList", gob.Slice(gob.Struct(OtherEntry)))
REGULAR_NAME = "*filesystem.RegularInode"
DIRECTORY_NAME = "*filesystem.DirectoryInode"
LIST = (DirectoryEntry(b"x", 5),)
POINT = Point(1, 2)


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        # directories with the field that Go has
        (declared(DIRECTORY_NAME, ENTRIES, BY_NAME, MODE, UID, GID), (LIST, None, 5)),
        (declared(DIRECTORY_NAME, ENTRIES, BY_NAME, MODE, UID, GID), ((), None, 5, 1)),
        (declared(DIRECTORY_NAME, ENTRIES, BY_NAME, MODE, UID, GID), (LIST, {}, 5)),
        (
            declared(DIRECTORY_NAME, ENTRIES, BY_NAME, MODE, UID, GID),
            (LIST, {"x": LIST[0]}, 0, 0, 7),
        ),
        # other fields, another order, fewer fields
        (declared(DIRECTORY_NAME, MODE, ENTRIES, UID, GID), (5, LIST, 1)),
        (declared(DIRECTORY_NAME, ENTRIES, MODE, UID), (LIST, 5, 1)),
        (declared(DIRECTORY_NAME, ENTRIES, MODE, UID, GID, ("X", S)), (LIST, 5)),
        (
            declared(DIRECTORY_NAME, OTHER_ENTRIES, MODE, UID, GID),
            ((OtherEntry(3, "y"),), 5),
        ),
        (declared(REGULAR_NAME, MODE, SIZE, HASH_FIELD), (1, 2, A)),
        (declared(REGULAR_NAME, HASH_FIELD, SIZE, MODE), (A, 2, 1)),
        (declared(REGULAR_NAME, MODE, SIZE, HASH_FIELD, ("X", S)), (1, 2, A, "x")),
        (declared(REGULAR_NAME, MODE, HASH_FIELD, ("X", ANY)), (1, A, POINT)),
        (declared("*filesystem.SymlinkInode", ("Symlink", S), UID), ("target", 3)),
        (declared("*filesystem.SymlinkInode", UID, ("X", S)), (3, "x")),
        (declared("*filesystem.ComputedRegularInode", ("Source", S)), ("a:1",)),
        (declared("*filesystem.SpecialInode", MODE, ("Rdev", gob.UINT)), (1, 2)),
    ],
)
def test_other_programs(cls, values) -> None:
    """Types may be defined otherwise; what is stored is in our encoding."""
    name, foreign = cls
    registry = gob.Registry()
    registry.register(name, gob.Struct(foreign))
    table = gob.Map(gob.UINT, gob.Interface(registry))
    _, sender = declared("", ("InodeTable", table))
    inodes = {5: foreign(*values), 6: foreign(*values), 700: foreign(*values)}
    check(gob.Encoder().encode(sender(inodes)))


def test_two_definitions() -> None:
    """A kind of inodes may be defined twice, though nobody does."""
    registry = gob.Registry()
    _, lesser = declared("", MODE, HASH_FIELD)
    registry.register(REGULAR_NAME, gob.Struct(lesser))
    registry.register("*filesystem.RegularInodf", gob.Struct(RegularInode))
    _, sender = declared("", ("InodeTable", gob.Map(gob.UINT, gob.Interface(registry))))
    inodes = {
        n: lesser(1, A) if n % 3 else RegularInode(size=n, hash_=A) for n in range(9)
    }
    data = gob.Encoder().encode(sender(inodes))
    check(data.replace(b"RegularInodf", b"RegularInode"))


def first_message(data: bytes) -> tuple[bytes, bytes]:
    """The definitions of a stream of ours, and its last message."""
    position = 0
    while True:
        message, end = gob.next_message(data, position, gob.DEFAULT_LIMITS)
        if end == len(data):
            return data[:position], message
        position = end


def regular(*parts: bytes) -> bytes:
    """A table with one regular inode of which the content is given."""
    content = b"".join(parts)
    inode = RegularInode(size=1, hash_=bytes(64))
    data = gob.Encoder().encode(FileSystem({5: inode}))
    definitions, message = first_message(data)
    length = b"\x45"
    header, found, _ = message.partition(length + b"\6\1\1\x40")
    assert found
    message = header + gob.uint_bytes(len(content)) + content + b"\4\0\0"
    return definitions + gob.uint_bytes(len(message)) + message


def escaped(hash_: bytes) -> bytes:
    """A hash as it travels."""
    return b"\x40" + b"".join(gob.uint_bytes(byte) for byte in hash_)


@pytest.mark.parametrize(
    "parts",
    [
        (b"\6\1\1", escaped(A), b"\0"),
        (b"\1\0\5\1\1", escaped(A), b"\0"),  # a zero that could have been left out
        (b"\6\xfe\0\1\1", escaped(A), b"\0"),  # a number with leading zeros
        (b"\7", b"\x40" + bytes(64), b"\0"),
        (b"\7", b"\xff\x40" + bytes(64), b"\0"),
        (b"\7", b"\x40" + b"\xff\5" * 64, b"\0"),
        (b"\7", b"\x40" + b"\xff\xff" * 64, b"\0"),
    ],
)
def test_unusual_numbers(parts) -> None:
    """Numbers need not be in their shortest form."""
    table = scan(regular(*parts))
    inodes = gob.decode(regular(*parts), FileSystem).value.inodes
    expected = InodeTable.of(inodes)
    for name in COUNTED:
        assert getattr(table, name) == getattr(expected, name), name
    assert read_again(table) == inodes


@pytest.mark.parametrize(
    "parts",
    [
        (b"\7\x40", bytes(63), b"\0"),
        (b"\7\x40", bytes(65), b"\0"),
        (b"\7\x40", b"\x85" * 64, b"\0"),
        (b"\7\x40", b"\xff" * 64, b"\0"),
        (b"\7\x40", b"\xff\5\x85" + bytes(62), b"\0"),
        (b"\7\x40", b"\xfe\1\0" + bytes(63), b"\0"),
        (b"\7\x40", bytes(64), b"\1"),
        (b"\7\x41", bytes(65), b"\0"),
        (b"\x08\1\0",),
        (b"",),
    ],
)
def test_malformed_hashes(parts) -> None:
    """What is not a hash is an error in both."""
    data = regular(*parts)
    for type_ in (FileSystem, ScannedFileSystem):
        with pytest.raises(GobDecodeError):
            gob.decode(data, type_)


DIRECTORY = DirectoryInode((DirectoryEntry(b"abc", 7),))
LINK = SymlinkInode(target=b"abc")


@pytest.mark.parametrize(
    ("inode", "old", "new"),
    [
        (DIRECTORY, b"\3abc", b"\2abc"),
        (DIRECTORY, b"\3abc", b"\4abc"),
        (LINK, b"\3abc", b"\2abc"),
        (LINK, b"\3abc", b"\4abc"),
        (LINK, b"\6\3\3abc", b"\5\3\3abc"),
        (LINK, b"\6\3\3abc", b"\7\3\3abc"),
    ],
)
def test_wrong_lengths(inode, old, new) -> None:
    """A wrong length is an error in both."""
    data = gob.Encoder().encode(FileSystem({5: inode}))
    assert data.count(old) == 1
    for type_ in (FileSystem, ScannedFileSystem):
        assert outcome(data.replace(old, new), type_) is None


def test_contradictions() -> None:
    """Nil inodes and numbers that are used twice are told, not taken for errors."""
    data = gob.Encoder().encode(FileSystem({5: None, 6: SymlinkInode()}))
    assert scan(data).contradictions == ["inode 5 is nil"]
    check(data)
    inodes = {5: SymlinkInode(), 6: SymlinkInode()}
    data = gob.Encoder().encode(FileSystem(inodes))
    twice = data.replace(b"\6\x18*", b"\5\x18*")
    assert twice != data
    assert scan(twice).contradictions == ["an inode number is used twice"]


def test_unknown_kind() -> None:
    """An inode of a kind that nobody knows is an error."""
    data = gob.Encoder().encode(FileSystem({5: SymlinkInode()}))
    with pytest.raises(GobDecodeError, match="not registered"):
        scan(data.replace(b"SymlinkInode", b"SymlinkInodf"))


def test_not_a_table() -> None:
    """A table must be one on the wire."""
    _, sender = declared("", ("InodeTable", gob.Map(gob.UINT, gob.UINT)))
    with pytest.raises(GobDecodeError, match="wrong type"):
        scan(gob.Encoder().encode(sender({1: 2})))


ELEMENTS = len(INODES) + sum(
    len(inode.entries) for inode in INODES.values() if isinstance(inode, DirectoryInode)
)


def test_too_many() -> None:
    """The limit of elements holds, entries of directories included."""
    data = gob.Encoder().encode(FileSystem(INODES))
    for type_ in (FileSystem, ScannedFileSystem):
        gob.decode(data, type_, gob.Limits(elements=ELEMENTS))
        for elements in (ELEMENTS - 1, len(INODES) - 1):
            with pytest.raises(GobDecodeError, match="too many elements"):
                gob.decode(data, type_, gob.Limits(elements=elements))


def test_unusual_entries_are_counted_once() -> None:
    """Entries that are looked at twice count once."""
    entries = (DirectoryEntry(b"a", 7), DirectoryEntry(b"", 8))
    data = gob.Encoder().encode(
        FileSystem({n: DirectoryInode(entries) for n in (1, 2)})
    )
    assert gob.decode(data, ScannedFileSystem, gob.Limits(elements=6)).value
    with pytest.raises(GobDecodeError, match="too many elements"):
        gob.decode(data, ScannedFileSystem, gob.Limits(elements=5))


def outcome(data: bytes, type_: type) -> object:
    """The table that is found, or ``None`` for an error."""
    try:
        return gob.decode(data, type_).value
    except GobDecodeError:
        return None


def mutate(data: bytes, numbers: random.Random) -> bytes:
    """A stream with a few bytes changed, left out, or put in."""
    mutated = bytearray(data)
    for _ in range(numbers.randint(1, 3)):
        position = numbers.randrange(len(mutated))
        end = position + numbers.choice((0, 1, 1, 1, 2, 9))
        mutated[position:end] = numbers.randbytes(numbers.choice((0, 1, 1, 2)))
    return bytes(mutated)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("data", [GO, OURS], ids=["go", "ours"])
def test_mutations(data, seed) -> None:
    """Whatever is done to a stream: the scan finds what is read, or an error, too."""
    numbers = random.Random(seed)
    for _ in range(100):
        mutated = mutate(data, numbers)
        read = outcome(mutated, AddImageRequest)
        scanned = outcome(mutated, AddScannedImageRequest)
        if read is None or scanned is None:
            assert (read is None) == (scanned is None)
            continue
        tables = [r.image and r.image.file_system for r in (read, scanned)]
        assert (tables[0] is None) == (tables[1] is None)
        if tables[0] is not None:
            inodes, table = (found.inodes for found in tables)
            assert (inodes is None) == (table is None)
            if table is not None and not table.contradictions:
                assert read_again(table) == inodes
