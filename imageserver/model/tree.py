"""Checks and measures the tree of an image.

Everything that other programs rely on when they walk an image is checked here, once,
when the image comes in: every entry resolves, no directory is reached twice (so there
are no circles), names are names.
"""

from __future__ import annotations

from collections import Counter

import attrs

from imageserver.errors import InvalidImage
from imageserver.model.file_system import FileSystem
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryInode,
    RegularInode,
    SymlinkInode,
)

_MAX_DEPTH = 1_000
_NAME_BYTES = 255
_PATH_BYTES = 4_095
_BLOCK_BYTES = 4_096
_SYMLINK_BYTES = 64


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


def check_tree(file_system: FileSystem) -> TreeSummary:
    """Check a file system and measure it.

    Raises:
        InvalidImage: the tree contradicts itself; the text names the path.
    """
    inodes = file_system.inodes or {}
    computed: set[int] = set()
    reached: set[int] = set()
    open_directories = [(b"", file_system.root, 0)]
    directory_count = 0
    while open_directories:
        path, directory, depth = open_directories.pop()
        directory_count += 1
        names: set[bytes] = set()
        for entry in directory.entries:
            entry_path = path + b"/" + entry.name
            _check_entry_name(entry.name, entry_path, names)
            inode = inodes.get(entry.inode_number)
            if inode is None:
                raise InvalidImage(
                    f"no inode {entry.inode_number} for: {show(entry_path)}"
                )
            if isinstance(inode, DirectoryInode):
                if entry.inode_number in reached:
                    raise InvalidImage(f"directory reached twice: {show(entry_path)}")
                if depth >= _MAX_DEPTH:
                    raise InvalidImage(f"directories nest too deep: {show(entry_path)}")
                reached.add(entry.inode_number)
                open_directories.append((entry_path, inode, depth + 1))
            elif isinstance(inode, ComputedRegularInode):
                if entry.inode_number in computed:
                    raise InvalidImage(f"duplicate computed inode: {show(entry_path)}")
                computed.add(entry.inode_number)
    return _measure(file_system, directory_count)


def show(path: bytes) -> str:
    """A path for people: bytes that are not UTF-8 and control characters escaped."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def _check_entry_name(name: bytes, path: bytes, names: set[bytes]) -> None:
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise InvalidImage(f"malformed entry name: {show(path)}")
    if len(name) > _NAME_BYTES:
        raise InvalidImage(f"entry name too long: {show(path)}")
    if len(path) > _PATH_BYTES:
        raise InvalidImage(f"path too long: {show(path[:_NAME_BYTES])}...")
    if name in names:
        raise InvalidImage(f"duplicate entry: {show(path)}")
    names.add(name)


def _measure(file_system: FileSystem, directory_count: int) -> TreeSummary:
    regular_count = data_bytes = computed_count = usage_bytes = 0
    objects: Counter[bytes] = Counter()
    object_bytes: dict[bytes, int] = {}
    for number, inode in (file_system.inodes or {}).items():
        if isinstance(inode, RegularInode):
            regular_count += 1
            data_bytes += inode.size
            usage_bytes += -(-inode.size // _BLOCK_BYTES) * _BLOCK_BYTES
            if inode.size > 0:
                objects[inode.hash_] += 1
                if object_bytes.setdefault(inode.hash_, inode.size) != inode.size:
                    raise InvalidImage(f"two sizes for the object of inode {number}")
        elif isinstance(inode, DirectoryInode):
            usage_bytes += _BLOCK_BYTES
        elif isinstance(inode, SymlinkInode):
            usage_bytes += _SYMLINK_BYTES
        elif isinstance(inode, ComputedRegularInode):
            computed_count += 1
        elif inode is None:
            raise InvalidImage(f"inode {number} is nil")
    return TreeSummary(
        regular_count,
        data_bytes,
        directory_count,
        computed_count,
        usage_bytes,
        objects,
        object_bytes,
    )
