"""Streams that somebody could send to hurt: small ones that ask for much."""

from __future__ import annotations

from collections.abc import Callable

from gob import wire

from imageserver import gob
from imageserver.model.file_system import FileSystem
from imageserver.model.image import Image, Package
from imageserver.model.image_messages import AddImageRequest
from imageserver.model.inode import DirectoryEntry, DirectoryInode, SymlinkInode
from imageserver.model.object_messages import GetObjectsRequest

HUGE = 1 << 60
SYMLINK = b"*filesystem.SymlinkInode"


def sliced(element: int, count: int, content: bytes, *more: bytes) -> bytes:
    """A slice that says it has ``count`` elements."""
    last = wire.value(64, b"\0", wire.uint(count), content)
    return wire.stream(wire.slice_(64, element), *more, last=last)


def mapped(key: int, item: int, count: int, content: bytes, *more: bytes) -> bytes:
    """The same as a map."""
    last = wire.value(64, b"\0", wire.uint(count), content)
    return wire.stream(wire.map_(64, key, item), *more, last=last)


def arrayed(element: int, length: int, content: bytes, *more: bytes) -> bytes:
    """The same as an array, which has the length in its definition, too."""
    last = wire.value(64, b"\0", wire.uint(length), content)
    return wire.stream(wire.array(64, element, length), *more, last=last)


def request(image: Image, old: bytes = b"", new: bytes = b"") -> bytes:
    """A request of AddImage, with a piece of its last message replaced."""
    data = gob.Encoder().encode(AddImageRequest("a", image))
    definitions, last = cut(data)
    return definitions + wire.message(last.replace(old, new) if old else last)


def cut(data: bytes) -> tuple[bytes, bytes]:
    """The definitions of a stream, and its last message without its length."""
    position = 0
    while True:
        message, end = gob.next_message(data, position, gob.DEFAULT_LIMITS)
        if end == len(data):
            return data[:position], message
        position = end


def table(*entries: bytes, count: int | None = None) -> bytes:
    """A request of AddImage whose inode table has these entries."""
    types = (
        wire.struct(64, ImageName=wire.STRING, Image=65),
        wire.struct(65, FileSystem=66),
        wire.struct(66, InodeTable=67),
        wire.map_(67, wire.UINT, wire.INTERFACE),
        wire.struct(68, Mode=wire.UINT, Symlink=wire.STRING),
    )
    number = wire.uint(len(entries) if count is None else count)
    last = wire.value(64, b"\2\1\1", number, *entries, b"\0\0\0")
    return wire.stream(*types, last=last)


def inode(number: int, content: bytes = b"\0", name: bytes = SYMLINK) -> bytes:
    """An entry of such a table."""
    header = wire.uint(number) + wire.string(name) + wire.sint(68)
    return header + wire.uint(len(content)) + content


def inodes_cut_often(count: int) -> bytes:
    """A table that goes on in a new message for each inode."""
    first, *others = [
        wire.uint(n) + wire.string(SYMLINK) + wire.slice_(100 + n, wire.INT)
        for n in range(count)
    ]
    start = wire.sint(68) + b"\1\0"
    whole = table(count=count)
    definitions, last = cut(whole)
    head, tail = last[:-3], last[-3:]
    pieces = [head + first, *[start + other for other in others], start + tail]
    return definitions + b"".join(map(wire.message, pieces))


def directory(count: int, name_bytes: int = 1) -> DirectoryInode:
    """A directory with many short names."""
    entries = [DirectoryEntry(b"%0*d" % (name_bytes, n), n) for n in range(count)]
    return DirectoryInode(tuple(entries))


def deep_tree(levels: int) -> Image:
    """Directories in directories."""
    inodes = {
        n: DirectoryInode((DirectoryEntry(b"d", n + 1),)) for n in range(1, levels)
    }
    inodes[levels] = DirectoryInode()
    root = DirectoryInode((DirectoryEntry(b"d", 1),))
    return Image(file_system=FileSystem(inodes, root=root))


def symlinks(count: int, first: int = 0, step: int = 1) -> Image:
    """A flat table of symlinks with these numbers."""
    inodes = {first + n * step: SymlinkInode() for n in range(count)}
    return Image(file_system=FileSystem(inodes))


def nested_interfaces(levels: int) -> bytes:
    """An interface in an interface in an interface."""
    item = b"\0"
    for _ in range(levels):
        content = b"\0\1" + item
        item = wire.string("any") + wire.sint(64) + wire.uint(len(content)) + content
    return sliced(wire.INTERFACE, 1, item)


def web_of_types(types: int, fields: int) -> bytes:
    """Structs of all these structs, and an empty value."""
    definitions = [
        wire.struct(
            100 + n, Image=2, **{f"F{m}": 100 + m % types for m in range(fields)}
        )
        for n in range(types)
    ]
    return wire.stream(*definitions, last=wire.value(100, b"\0"))


def packages(count: int, package: bytes) -> bytes:
    """A request of AddImage with many packages."""
    return wire.stream(
        wire.struct(64, ImageName=wire.STRING, Image=65),
        wire.struct(65, Packages=66),
        wire.slice_(66, 67),
        wire.struct(67, Name=wire.STRING, Size=wire.UINT, Version=wire.STRING),
        last=wire.value(64, b"\2\1", wire.uint(count), package * count, b"\0\0"),
    )


def filter_of(count: int, line: bytes) -> bytes:
    """A request of AddImage with many lines in its filter."""
    return wire.stream(
        wire.struct(64, ImageName=wire.STRING, Image=65),
        wire.struct(65, Filter=66),
        wire.struct(66, FilterLines=67),
        wire.slice_(67, wire.STRING),
        last=wire.value(64, b"\2\1\1", wire.uint(count), line * count, b"\0\0\0"),
    )


EMPTY = wire.struct(65)
POINT = wire.struct(65, X=wire.INT, Y=wire.INT)

TINY: dict[str, bytes] = {
    "map announced": mapped(wire.UINT, wire.UINT, HUGE, b"\1\1"),
    "slice announced": sliced(wire.UINT, HUGE, b"\1"),
    "slice of interfaces announced": sliced(wire.INTERFACE, HUGE, b"\0"),
    "array announced": arrayed(wire.UINT, HUGE, b"\1"),
    "array of negative length": arrayed(wire.UINT, -1 & (1 << 64) - 1, b"\1"),
    "empty structs announced": sliced(65, 1 << 40, b"\0" * 9, EMPTY),
    "empty arrays announced": sliced(65, 1 << 40, b"\0" * 9, wire.array(65, 2, 0)),
    "empty arrays in an array": arrayed(65, HUGE, b"\0" * 9, wire.array(65, 2, 0)),
    "map of empty arrays": mapped(
        65, 65, 1 << 40, b"\0" * 18, wire.array(65, wire.INT, 0)
    ),
    "string announced": wire.value(wire.STRING, b"\0", wire.uint(HUGE)),
    "bytes announced": wire.value(wire.BYTES, b"\0", wire.uint((1 << 64) - 1)),
    "message announced": wire.uint(HUGE) + b"\1",
    "message without content": b"\0",
    "fields announced": wire.message(
        wire.definition(64, 2, b"\1" + wire.uint(HUGE) + b"\0")
    ),
    "type table": wire.stream(
        *[wire.slice_(64 + n, wire.INT) for n in range(300)],
        last=wire.value(wire.INT, b"\0\2"),
    ),
    "web of types": web_of_types(60, 200),
    "slice of itself": wire.stream(
        wire.slice_(64, 64), last=wire.value(64, b"\0", b"\1" * 5000, b"\0")
    ),
    "struct of itself": wire.stream(
        wire.struct(64, A=64), last=wire.value(64, b"\1" * 5000)
    ),
    "map of itself": wire.stream(
        wire.map_(64, wire.INT, 64), last=wire.value(64, b"\0", b"\1\2" * 5000)
    ),
    "map with itself as key": wire.stream(
        wire.map_(64, 64, wire.INT), last=wire.value(64, b"\0", b"\1" * 5000)
    ),
    "array of itself": wire.stream(
        wire.array(64, 64, 1), last=wire.value(64, b"\0", b"\1" * 5000)
    ),
    "empty array of itself": wire.stream(
        wire.array(64, 64, 0), last=wire.value(64, b"\0\0")
    ),
    "two types of each other": wire.stream(
        wire.slice_(64, 65), wire.slice_(65, 64), last=wire.value(64, b"\0\1\1\1\0")
    ),
    "interface of itself": nested_interfaces(200),
    "chain of types": wire.stream(
        *[wire.slice_(64 + n, 65 + n) for n in range(200)],
        last=wire.value(64, b"\0\0"),
    ),
    "id defined twice": wire.stream(POINT, POINT, last=wire.value(65, b"\0")),
    "reserved id defined": wire.stream(
        wire.slice_(16, wire.INT), last=wire.value(16, b"\0\0")
    ),
    "undefined id": wire.value(99, b"\0"),
    "id of a definition": wire.value(20, b"\0"),
    "lowest id": wire.message(wire.sint(-(1 << 63)) + b"\2\0"),
    "two kinds in a definition": wire.message(
        wire.sint(-64) + b"\1\1\2\xff\x80\0\1\4\0\1\1\2\xff\x80\0\1\4\0\0"
    ),
    "no kind in a definition": wire.message(wire.sint(-64) + b"\0"),
    "fields with the same name": wire.message(
        wire.definition(64, 2, b"\1\2" + b"\1\1A\1\4\0" * 2)
    ),
    "definition in the middle": sliced(
        wire.INTERFACE, 1, wire.string("a") + wire.slice_(100, wire.INT)
    )
    + wire.message(wire.sint(100) + b"\2\0\0"),
    "definition of the outer type in the middle": sliced(
        wire.INTERFACE, 1, wire.string("a") + wire.slice_(64, wire.INT)
    ),
    "definitions in the middle without end": sliced(
        wire.INTERFACE, 1, wire.string("a") + wire.slice_(100, wire.INT)
    )
    + b"".join(wire.message(wire.slice_(101 + n, wire.INT)) for n in range(300)),
    "numbers that are not short": wire.message(b"\xf8" + bytes(7) + b"\4\xff\0\xff\2"),
    "number of nine bytes": wire.message(b"\4\0\xf7" + b"\1" * 9),
    "number cut off": wire.message(b"\4\0\xf8\1\1"),
    "nil interface": sliced(wire.INTERFACE, 1, b"\0"),
    "unknown name": sliced(wire.INTERFACE, 1, b"\3foo\4\2\0\2"),
    "long name": sliced(wire.INTERFACE, 1, wire.string("a" * 1025) + b"\4\2\0\2"),
    "name announced": sliced(wire.INTERFACE, 1, wire.uint(HUGE) + b"a"),
    "interface with a wrong length": sliced(wire.INTERFACE, 1, b"\3int\4\x7f\0\2"),
    "interface with an undefined id": sliced(wire.INTERFACE, 1, b"\3int\xff\xc0\2\0\2"),
    "delta out of range": wire.stream(POINT, last=wire.value(65, wire.uint(HUGE))),
    "delta that overflows": wire.stream(
        POINT, last=wire.value(65, b"\1\2" + wire.uint((1 << 64) - 1) + b"\2\0")
    ),
    "time that is too short": wire.stream(
        wire.opaque(64), last=wire.value(64, b"\0\1\1")
    ),
    "not a number": mapped(wire.FLOAT, wire.INT, 2, b"\xfe\xf8\x7f\2" * 2),
    "struct as key": mapped(65, wire.INT, 1, b"\0\2", POINT),
    "inodes announced": table(inode(1), count=HUGE),
    "inode number twice": table(inode(1), inode(1)),
    "inode number not short": table(b"\xff\1" + inode(1)[1:], inode(1)),
    "inode of nothing": table(b"\5\0"),
    "inode of unknown name": table(inode(1, name=b"*filesystem.Foo")),
    "inode of an undefined type": table(inode(1).replace(b"\xff\x88", b"\xff\xf0")),
    "inode with a wrong length": table(inode(1).replace(b"\1\0", b"\x7f\0")),
    "inode with a huge target": table(inode(1, b"\2" + wire.uint(HUGE) + b"\0")),
    "table cut for each inode": inodes_cut_often(20),
    "directories in a circle": request(
        Image(
            file_system=FileSystem(
                {1: DirectoryInode((DirectoryEntry(b"a", 1),))},
                root=DirectoryInode((DirectoryEntry(b"a", 1),)),
            )
        )
    ),
    "deep tree": request(deep_tree(40)),
    "no file system": request(Image()),
    "large tree": request(Image(file_system=FileSystem(None, root=directory(50)))),
    "an image": gob.Encoder().encode(deep_tree(5)),
    "hashes": gob.Encoder().encode(GetObjectsRequest(True, (bytes(64), b"\xff" * 64))),
}
"""By name. Each is at most some kilobytes."""

GROWING: dict[str, Callable[[int], bytes]] = {
    "skipped slice": lambda size: wire.stream(
        wire.struct(64, ImageName=wire.STRING, Unknown=65),
        wire.slice_(65, wire.STRING),
        last=wire.value(64, b"\1\0\1", wire.uint(size), bytes(size), b"\0"),
    ),
    "empty strings": lambda size: sliced(wire.STRING, size, bytes(size)),
    "empty structs": lambda size: sliced(65, size, bytes(size), EMPTY),
    "empty arrays": lambda size: sliced(65, size, bytes(size), wire.array(65, 2, 0)),
    "empty maps": lambda size: sliced(65, size, bytes(size), wire.map_(65, 2, 2)),
    "nil interfaces": lambda size: sliced(wire.INTERFACE, size, bytes(size)),
    "small structs": lambda size: sliced(65, size // 3, b"\1\2\0" * (size // 3), POINT),
    "short strings": lambda size: sliced(wire.STRING, size // 3, b"\2ab" * (size // 3)),
    "broken strings": lambda size: sliced(
        wire.STRING, size // 2, b"\1\xff" * (size // 2)
    ),
    "map of broken strings": lambda size: mapped(
        wire.STRING,
        wire.STRING,
        size // 5,
        b"".join(b"\3\xff%s\0" % (n & 0xFFFF).to_bytes(2) for n in range(size // 5)),
    ),
    "large numbers": lambda size: sliced(
        wire.UINT, size // 3, b"\xfe\1\1" * (size // 3)
    ),
    "floats": lambda size: sliced(wire.FLOAT, size // 2, b"\xff\x80" * (size // 2)),
    "map of numbers": lambda size: mapped(
        wire.UINT,
        wire.BOOL,
        size // 5,
        b"".join(b"\xfd%s\1" % n.to_bytes(3) for n in range(size // 5)),
    ),
    "empty packages": lambda size: request(
        Image(packages=(Package(),) * size, file_system=FileSystem())
    ),
    "small packages": lambda size: request(
        Image(packages=(Package("a"),) * (size // 4), file_system=FileSystem())
    ),
    "packages of zeros": lambda size: packages(size // 3, b"\1\0\0"),
    "packages of broken strings": lambda size: packages(
        size // 9, b"\1\1\xff\1\3\1\1\xff\0"
    ),
    "empty entries": lambda size: request(
        Image(
            file_system=FileSystem(root=DirectoryInode((DirectoryEntry(),) * size)),
        )
    ),
    "entries without names": lambda size: request(
        Image(
            file_system=FileSystem(
                root=DirectoryInode((DirectoryEntry(inode_number=200),) * (size // 4))
            ),
        )
    ),
    "short entries": lambda size: request(
        Image(file_system=FileSystem(root=directory(size // 12)))
    ),
    "entries of an inode": lambda size: request(
        Image(file_system=FileSystem({1: directory(size // 12)}))
    ),
    "empty inodes": lambda size: request(symlinks(size // 40)),
    "inode of nothing": lambda size: table(
        *[b"\xfd" + n.to_bytes(3) + b"\0" for n in range(size // 5)]
    ),
    "filter of empty lines": lambda size: filter_of(size, b"\0"),
    "filter of broken lines": lambda size: filter_of(size // 2, b"\1\xff"),
    "web of types": lambda size: web_of_types(size // 3000, 250),
    "empty hashes": lambda size: gob.Encoder().encode(
        GetObjectsRequest(True, (bytes(64),) * (size // 65))
    ),
    "escaped hashes": lambda size: gob.Encoder().encode(
        GetObjectsRequest(True, (b"\xff" * 64,) * (size // 129))
    ),
    "cuts": lambda size: inodes_cut_often(min(200, size // 50)),
}
"""By name, from a size in bytes to a stream of about that size."""
