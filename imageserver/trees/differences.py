"""What differs between two file systems, path by path."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import attrs

from imageserver.model.flat_image import ROOT, FlatTree
from imageserver.model.inode import Inode
from imageserver.model.inode_table import Entries
from imageserver.model.likeness import compare

_Named: TypeAlias = Iterable[tuple[bytes, bytes]]
_Common: TypeAlias = Iterable[tuple[bytes, bytes, bytes]]


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


def find_differences(left: FlatTree, right: FlatTree) -> list[Difference]:
    """What differs, in the order of the paths' bytes.

    Raises:
        GobDecodeError: a tree contradicts itself.
    """
    found = {item.path: item for item in _compare(left, right)}
    left_links, right_links = left.shared(), right.shared()
    for path in left_links.keys() | right_links.keys():
        if left_links.get(path) != right_links.get(path):
            _note_links(found, path, left, right)
    return [found[path] for path in sorted(found)]


def _compare(left: FlatTree, right: FlatTree) -> Iterator[Difference]:
    """Directory by directory, without regard to links."""
    lefts, rights = left.directories, right.directories
    before, after = left.inodes.get, right.inodes.get
    unvisited = [(b"", ROOT, ROOT)]
    seen: set[bytes] = {ROOT}
    while unvisited:
        path, one, two = unvisited.pop()
        ours, theirs = lefts[one], rights[two]
        if ours.attributes != theirs.attributes:
            inodes = left.inode(one), right.inode(two)
            yield Difference(path or b"/", Change.CHANGED, *inodes, ("metadata",))
        common, removed, added = _match(ours, theirs)
        for name, number in removed:
            yield from _one_sided(left, path + b"/" + name, number, Change.REMOVED)
        for name, number in added:
            yield from _one_sided(right, path + b"/" + name, number, Change.ADDED)
        for name, number, other in common:
            if number in lefts and other in rights:
                if number not in seen:
                    seen.add(number)
                    unvisited.append((path + b"/" + name, number, other))
            elif before(number) != after(other):
                yield from _changed(left, right, path + b"/" + name, (number, other))


def _match(left: Entries, right: Entries) -> tuple[_Common, _Named, _Named]:
    """The names that two directories both have, that one has, that the other has."""
    if left.names == right.names:  # as in most directories of most images
        return zip(left.names, left.numbers, right.numbers, strict=True), (), ()
    ours = dict(zip(left.names, left.numbers, strict=True))
    theirs = dict(zip(right.names, right.numbers, strict=True))
    common = [(name, ours[name], theirs[name]) for name in ours.keys() & theirs.keys()]
    removed = [(name, ours[name]) for name in ours.keys() - theirs.keys()]
    added = [(name, theirs[name]) for name in theirs.keys() - ours.keys()]
    return common, removed, added


def _changed(
    left: FlatTree, right: FlatTree, path: bytes, numbers: tuple[bytes, bytes]
) -> Iterator[Difference]:
    """A path that is another thing; a directory takes all that is in it with it."""
    one, two = numbers
    before, after = left.inode(one), right.inode(two)
    likeness = compare(before, after)
    aspects: tuple[str, ...] = ("type",)
    if likeness.type:
        content = () if likeness.data else ("content",)
        metadata = () if likeness.metadata else ("metadata",)
        aspects = content + metadata
    if aspects:
        yield Difference(path, Change.CHANGED, before, after, aspects)
    if one in left.directories:
        for below, number in left.walk(path, one):
            yield Difference(below, Change.REMOVED, left.inode(number), None)
    if two in right.directories:
        for below, number in right.walk(path, two):
            yield Difference(below, Change.ADDED, None, right.inode(number))


def _one_sided(
    tree: FlatTree, path: bytes, number: bytes, change: Change
) -> Iterator[Difference]:
    """A path and what is below it, which only one of them has."""
    paths = [(path, number)]
    if number in tree.directories:
        paths += tree.walk(path, number)
    for each, of in paths:
        inode = tree.inode(of)
        if change is Change.ADDED:
            yield Difference(each, change, None, inode)
        else:
            yield Difference(each, change, inode, None)


def _note_links(
    found: dict[bytes, Difference], path: bytes, left: FlatTree, right: FlatTree
) -> None:
    """A path that is on both sides has other links."""
    known = found.get(path)
    if known is not None and known.change is not Change.CHANGED:
        return
    if known is None:
        one, two = (_find(tree, path) for tree in (left, right))
        if one is None or two is None:
            return
        known = Difference(path, Change.CHANGED, one, two)
    found[path] = attrs.evolve(known, aspects=(*known.aspects, "links"))


def _find(tree: FlatTree, path: bytes) -> Inode | None:
    number = ROOT
    for name in path.split(b"/")[1:]:
        entries = tree.directories.get(number)
        if entries is None or name not in entries.names:
            return None
        number = entries.numbers[entries.names.index(name)]
    return tree.inode(number)
