"""What is different in two stored file systems."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from imageserver.gob.patterns import read_number
from imageserver.model.inode import Inode
from imageserver.model.stored_tree import ROOT, StoredTree


@attrs.frozen
class Difference:
    """A path that is not the same in both.

    Attributes:
        path: the path.
        before: the number of the inode in the first one; ``None``: there is none.
        after: likewise in the second one.
    """

    path: bytes
    before: int | None
    after: int | None


def compare(before: StoredTree, after: StoredTree) -> Iterator[Difference]:
    """All differences, folder by folder.

    Of a folder that only one has, everything is told. That inodes have other numbers,
    or that names are hard links to each other in one only, is no difference.
    """
    folders = [(b"/", ROOT, ROOT)]
    while folders:
        prefix, first, second = folders.pop()
        ours, theirs = before.directory(first), after.directory(second)
        if ours.attributes != theirs.attributes:
            yield Difference(prefix.rstrip(b"/") or b"/", first, second)
        numbers = dict(zip(theirs.names, theirs.numbers, strict=True))
        for name, encoded in zip(ours.names, ours.numbers, strict=True):
            one, other = read_number(encoded), numbers.pop(name, None)
            if other is None:
                yield from _only(before, prefix + name, one, is_before=True)
                continue
            two = read_number(other)
            start, end = before.span(one)
            their_start, their_end = after.span(two)
            is_same = before.data[start:end] == after.data[their_start:their_end]
            if not before.begins_directory(start):
                if not is_same:
                    found = Difference(prefix + name, one, two)
                    yield from _changed(before, after, found)
            elif after.begins_directory(their_start):
                folders.append((prefix + name + b"/", one, two))
            else:
                yield from _changed(before, after, Difference(prefix + name, one, two))
        for name, encoded in numbers.items():
            yield from _only(after, prefix + name, read_number(encoded), False)


def _changed(
    before: StoredTree, after: StoredTree, found: Difference
) -> Iterator[Difference]:
    """A path with other inodes; a folder on one side takes all in it with it."""
    yield found
    for tree, number, is_before in (
        (before, found.before, True),
        (after, found.after, False),
    ):
        if number is not None and tree.is_directory(number):
            _, *rest = _only(tree, found.path, number, is_before)
            yield from rest


def _only(
    tree: StoredTree, path: bytes, number: int, is_before: bool
) -> Iterator[Difference]:
    """A path and what is below it, which only one of them has."""
    unvisited = [(path, number)]
    while unvisited:
        path, number = unvisited.pop()
        if is_before:
            yield Difference(path, number, None)
        else:
            yield Difference(path, None, number)
        if tree.is_directory(number):
            unvisited += [
                (path + b"/" + place.name, place.number)
                for place in reversed(tree.entries(number))
            ]


_ATTRIBUTES = (
    ("content", ("hash_", "size")),
    ("target", ("target",)),
    ("source", ("source",)),
    ("device", ("device",)),
    ("owner", ("uid", "gid")),
    ("mode", ("mode",)),
    ("time", ("mtime_seconds", "mtime_nanoseconds")),
)


def changed_attributes(before: Inode, after: Inode) -> list[str]:
    """In what two inodes differ, in words."""
    if type(before) is not type(after):
        return ["kind"]
    return [
        word
        for word, names in _ATTRIBUTES
        if any(getattr(before, n, None) != getattr(after, n, None) for n in names)
    ]
