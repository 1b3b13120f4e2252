"""Paths of a file system: walking through them, finding one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import attrs

from imageserver.model.file_system import FileSystem
from imageserver.model.inode import DirectoryInode, Inode


@attrs.frozen
class Node:
    """A name in a file system.

    Attributes:
        path: the full path, starting with ``/``.
        number: the number of its inode.
        inode: what it stands for.
    """

    path: bytes
    number: int
    inode: Inode


def walk(file_system: FileSystem) -> Iterator[Node]:
    """All names but the root, depth first in the order of the entries.

    Args:
        file_system: one that :func:`~imageserver.model.tree.check_tree` accepts.
    """
    inodes = file_system.inodes or {}
    stack = [(b"/", iter(file_system.root.entries))]
    while stack:
        prefix, entries = stack[-1]
        entry = next(entries, None)
        if entry is None:
            stack.pop()
            continue
        inode = inodes[entry.inode_number]
        path = prefix + entry.name
        yield Node(path, entry.inode_number, inode)
        if isinstance(inode, DirectoryInode):
            stack.append((path + b"/", iter(inode.entries)))


def find(file_system: FileSystem, path: bytes) -> Node | None:
    """A path; no symbolic link on the way is followed. The root is not found."""
    inodes = file_system.inodes or {}
    inode: Inode = file_system.root
    number = -1
    for name in [name for name in path.split(b"/") if name]:
        if not isinstance(inode, DirectoryInode):
            return None
        numbers = (e.inode_number for e in inode.entries if e.name == name)
        number = next(numbers, -1)
        if number not in inodes:
            return None
        inode = inodes[number]
    return Node(path, number, inode) if number >= 0 else None


def link_counts(file_system: FileSystem) -> Counter[int]:
    """How many names each inode has."""
    inodes = file_system.inodes or {}
    return Counter(
        entry.inode_number
        for inode in (file_system.root, *inodes.values())
        if isinstance(inode, DirectoryInode)
        for entry in inode.entries
    )
