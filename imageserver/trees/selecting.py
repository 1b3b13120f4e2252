"""Parts of a file system: what a filter leaves, what another one has, newer files."""

from __future__ import annotations

from collections.abc import Callable

from imageserver import gob
from imageserver.errors import ImageServerError
from imageserver.model.file_system import FileSystem
from imageserver.model.filter import Filter, Matcher
from imageserver.model.inode import (
    DirectoryEntry,
    DirectoryInode,
    Inode,
    RegularInode,
    SpecialInode,
)
from imageserver.model.likeness import compare, same_but_for_time
from imageserver.model.paths import walk
from imageserver.trees.computed_files import with_totals


def apply_filter(file_system: FileSystem, filter_: Filter | None) -> FileSystem:
    """What is left if a filter is applied; everything, if there is none."""
    if filter_ is None:
        return file_system
    matches = Matcher(filter_.lines).matches
    return _select(file_system, lambda path: not matches(path))


def keep_common(file_system: FileSystem, reference: FileSystem) -> FileSystem:
    """Those paths that another file system has, too."""
    paths = {node.path for node in walk(reference)}
    return _select(file_system, paths.__contains__)


def _select(file_system: FileSystem, keeps: Callable[[bytes], bool]) -> FileSystem:
    """Those paths that ``keeps`` keeps; what is below others goes, too."""
    inodes = file_system.inodes or {}
    kept: dict[int, Inode] = {}
    count = 0
    root = file_system.root
    stack: list[tuple[bytes, int | None, DirectoryInode]] = [(b"/", None, root)]
    while stack:
        prefix, number, directory = stack.pop()
        count += 1
        entries: list[DirectoryEntry] = []
        for entry in directory.entries:
            path = prefix + entry.name
            if not keeps(path):
                continue
            entries.append(entry)
            inode = inodes[entry.inode_number]
            if isinstance(inode, DirectoryInode):
                stack.append((path + b"/", entry.inode_number, inode))
            else:
                kept[entry.inode_number] = inode
        selected = gob.evolve(directory, entries=tuple(entries))
        if number is None:
            root = selected
        else:
            kept[number] = selected
    return with_totals(
        gob.evolve(file_system, inodes=kept, directory_count=count, root=root)
    )


def copy_mtimes(source: FileSystem, target: FileSystem) -> FileSystem:
    """A file system whose files have the times of those that are the same elsewhere."""
    sources = {node.path: node.inode for node in walk(source)}
    inodes: dict[int, Inode] = dict(target.inodes or {})
    done: set[int] = set()
    for node in walk(target):
        other = sources.get(node.path)
        if other is None or node.number in done:
            continue
        done.add(node.number)
        if not isinstance(other, RegularInode | SpecialInode):
            continue
        if same_but_for_time(node.inode, other):
            inodes[node.number] = other
    return gob.evolve(target, inodes=inodes)


def replace_files(base: FileSystem, layer: FileSystem) -> FileSystem:
    """A file system in which files are replaced by those of a layer.

    Raises:
        ImageServerError: the layer has a path that is missing, or of another type.
    """
    places = {node.path: node for node in walk(base)}
    inodes: dict[int, Inode] = dict(base.inodes or {})
    for node in walk(layer):
        if isinstance(node.inode, DirectoryInode):
            continue
        path = node.path.decode("utf-8", "surrogateescape")
        place = places.get(node.path)
        if place is None:
            raise ImageServerError(f"{path} missing in base image")
        likeness = compare(place.inode, node.inode)
        if not likeness.type:
            raise ImageServerError(f"{path} changed type")
        if not likeness.is_whole:
            inodes[place.number] = node.inode
    return with_totals(gob.evolve(base, inodes=inodes))
