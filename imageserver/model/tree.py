"""Checks and measures the tree of an image.

Everything that other programs rely on when they walk an image is checked here, once,
when the image comes in: every entry resolves, no directory is reached twice (so there
are no circles), names are names.
"""

from __future__ import annotations

import re
from collections import Counter

import attrs

from imageserver.errors import InvalidImage
from imageserver.gob.patterns import read_number
from imageserver.model.file_system import FileSystem, ScannedFileSystem
from imageserver.model.inode_table import Entries, InodeTable

_MAX_DEPTH = 1_000
_NAME_BYTES = 255
_PATH_BYTES = 4_095
_FORBIDDEN_NAMES = frozenset((b"", b".", b".."))
_FORBIDDEN_BYTES = re.compile(rb"[/\0]")


@attrs.frozen
class TreeSummary:
    """What a tree amounts to.

    Attributes:
        regular_count: regular inodes.
        data_bytes: sum of their sizes.
        directory_count: directories, the root included.
        computed_count: computed inodes.
        usage_bytes: estimated space when unpacked.
        objects: how often each object is used, by hash.
        object_bytes: the size that the inodes give for each object.
    """

    regular_count: int
    data_bytes: int
    directory_count: int
    computed_count: int
    usage_bytes: int
    objects: Counter[bytes]
    object_bytes: dict[bytes, int]


def check_tree(file_system: FileSystem | ScannedFileSystem) -> TreeSummary:
    """Check a file system and measure it.

    Raises:
        InvalidImage: the tree contradicts itself; the text names the path.
    """
    table = file_system.inodes
    if not isinstance(table, InodeTable):
        table = InodeTable.of(table)
    if table.contradictions:
        raise InvalidImage(table.contradictions[0])
    directory_count = _walk(table, Entries.of(file_system.root))
    return TreeSummary(
        table.regular_count,
        table.data_bytes,
        directory_count,
        len(table.computed),
        table.usage_bytes,
        table.objects,
        table.object_bytes,
    )


def _walk(table: InodeTable, root: Entries) -> int:
    """Walk the tree from its root; how many directories it has."""
    unreached = table.directories.copy()
    computed: set[bytes] = set()
    open_directories = [(b"", root, 0)]
    directory_count = 0
    while open_directories:
        path, directory, depth = open_directories.pop()
        directory_count += 1
        _check_entries(path, directory, table.numbers)
        for name, number in zip(directory.names, directory.numbers, strict=True):
            if number in table.directories:
                entries = unreached.pop(number, None)
                entry_path = path + b"/" + name
                if entries is None:
                    raise InvalidImage(f"directory reached twice: {show(entry_path)}")
                if depth >= _MAX_DEPTH:
                    raise InvalidImage(f"directories nest too deep: {show(entry_path)}")
                open_directories.append((entry_path, entries, depth + 1))
            elif number in table.computed:
                if number in computed:
                    raise InvalidImage(
                        f"duplicate computed inode: {show(path + b'/' + name)}"
                    )
                computed.add(number)
    return directory_count


def _check_entries(path: bytes, directory: Entries, numbers: set[bytes]) -> None:
    """Check the entries of one directory all at once; if one is bad, find it."""
    names = directory.names
    path_rest = _PATH_BYTES - len(path + b"/")
    if (
        len(set(names)) == len(names)
        and numbers.issuperset(directory.numbers)
        and _FORBIDDEN_NAMES.isdisjoint(names)
        and not _FORBIDDEN_BYTES.search(b"".join(names))
        and max(map(len, names), default=0) <= min(_NAME_BYTES, path_rest)
    ):
        return
    seen: set[bytes] = set()
    for name, number in zip(names, directory.numbers, strict=True):
        _check_entry(path + b"/" + name, name, number, seen, numbers)
        seen.add(name)


def show(path: bytes) -> str:
    """A path for people: bytes that are not UTF-8 and control characters escaped."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def _check_entry(
    path: bytes, name: bytes, number: bytes, seen: set[bytes], numbers: set[bytes]
) -> None:
    if name in _FORBIDDEN_NAMES or _FORBIDDEN_BYTES.search(name):
        raise InvalidImage(f"malformed entry name: {show(path)}")
    if len(name) > _NAME_BYTES:
        raise InvalidImage(f"entry name too long: {show(path)}")
    if len(path) > _PATH_BYTES:
        raise InvalidImage(f"path too long: {show(path[:_NAME_BYTES])}...")
    if name in seen:
        raise InvalidImage(f"duplicate entry: {show(path)}")
    if number not in numbers:
        raise InvalidImage(f"no inode {read_number(number)} for: {show(path)}")
