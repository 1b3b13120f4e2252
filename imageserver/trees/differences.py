"""What differs between two file systems, path by path."""

from __future__ import annotations

import enum
from collections.abc import Iterator

import attrs

from imageserver.model.file_system import FileSystem
from imageserver.model.inode import DirectoryInode, Inode
from imageserver.model.likeness import compare
from imageserver.model.paths import walk


class Change(enum.Enum):
    """What happened to a path on the way from the left to the right."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@attrs.frozen
class Difference:
    """A path that is not the same on both sides.

    Attributes:
        path: the full path.
        change: what happened.
        left: its inode on the left, if it is there.
        right: its inode on the right, if it is there.
        aspects: for what was changed: some of ``type``, ``content``, ``metadata``,
            ``links``.
    """

    path: bytes
    change: Change
    left: Inode | None
    right: Inode | None
    aspects: tuple[str, ...] = ()


def find_differences(left: FileSystem, right: FileSystem) -> Iterator[Difference]:
    """What differs, in the order of the paths' bytes."""
    lefts = {node.path: node for node in walk(left)}
    rights = {node.path: node for node in walk(right)}
    left_names = _first_names(left)
    right_names = _first_names(right)
    for path in sorted(lefts.keys() | rights.keys()):
        before, after = lefts.get(path), rights.get(path)
        if before is None:
            assert after is not None  # noqa: S101 - one of them has it
            yield Difference(path, Change.ADDED, None, after.inode)
        elif after is None:
            yield Difference(path, Change.REMOVED, before.inode, None)
        else:
            aspects = _aspects(before.inode, after.inode)
            if left_names[before.number] != right_names[after.number]:
                aspects = (*aspects, "links")
            if aspects:
                inodes = before.inode, after.inode
                yield Difference(path, Change.CHANGED, *inodes, aspects)


def _aspects(left: Inode, right: Inode) -> tuple[str, ...]:
    likeness = compare(left, right)
    if not likeness.type:
        return ("type",)
    aspects = []
    if not likeness.data and not isinstance(left, DirectoryInode):
        aspects.append("content")
    if not likeness.metadata:
        aspects.append("metadata")
    return tuple(aspects)


def _first_names(file_system: FileSystem) -> dict[int, bytes]:
    """The first name of each inode: names that share one have the same here."""
    names: dict[int, bytes] = {}
    for node in walk(file_system):
        names[node.number] = min(names.get(node.number, node.path), node.path)
    return names
