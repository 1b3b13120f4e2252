"""Contents for computed files, from a directory of the user."""

from __future__ import annotations

import time

import attrs

from imageserver import gob
from imageserver.errors import ImageServerError
from imageserver.model.file_system import FileSystem
from imageserver.model.hash import NO_HASH
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryInode,
    Inode,
    RegularInode,
)
from imageserver.model.paths import walk
from imageserver.trees.computed_files import with_totals
from imageserver.trees.scan import scan_directory
from imageserver.trees.tree import Content, Tree


@attrs.frozen
class Filled:
    """A file system whose computed files have contents.

    Attributes:
        file_system: the file system.
        contents: where those contents are, by their hashes.
    """

    file_system: FileSystem
    contents: dict[bytes, Content]


def fill_computed_files(file_system: FileSystem, root: str) -> Filled:
    """Give computed files the contents that they have below a directory.

    Raises:
        ImageServerError: one of them is missing, or the directory has something that
            is neither a directory nor a file.
    """
    tree = scan_directory(root, None, lambda files, size: None)
    files = _files_of(tree, root)
    inodes: dict[int, Inode] = dict(file_system.inodes or {})
    now_s = int(time.time())
    for node in walk(file_system):
        inode = node.inode
        if not isinstance(inode, ComputedRegularInode):
            continue
        found = files.get(node.path)
        if found is None:
            path = node.path.decode("utf-8", "surrogateescape")
            raise ImageServerError(f"missing computed file: {path}")
        inodes[node.number] = RegularInode(
            inode.mode,
            inode.uid,
            inode.gid,
            0,
            now_s,
            found.size,
            found.hash_ if found.size else NO_HASH,
        )
    filled = with_totals(gob.evolve(file_system, inodes=inodes))
    return Filled(filled, tree.contents)


def _files_of(tree: Tree, root: str) -> dict[bytes, RegularInode]:
    files: dict[bytes, RegularInode] = {}
    for node in walk(tree.file_system):
        if isinstance(node.inode, RegularInode):
            files[node.path] = node.inode
        elif not isinstance(node.inode, DirectoryInode):
            path = root + node.path.decode("utf-8", "surrogateescape")
            raise ImageServerError(f"{path}: is not a directory or regular file")
    return files
