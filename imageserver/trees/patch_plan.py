"""What has to be done to make a tree equal to a file system.

Computed files are left alone where there are any; where there is none, there will be an
empty one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

import attrs

from imageserver.model.file_system import FileSystem
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryInode,
    Inode,
    RegularInode,
)
from imageserver.model.likeness import compare
from imageserver.model.paths import Node, walk

_METADATA, _ALL = "metadata", "all"


@attrs.frozen
class Placing:
    """An inode to be put where it belongs.

    Attributes:
        inode: the inode.
        paths: all its names.
    """

    inode: Inode
    paths: tuple[bytes, ...]


@attrs.frozen
class PatchPlan:
    """Changes, in the order in which they are to be made.

    Attributes:
        removed: paths to remove, those in a directory before it.
        made: directories to make, each before what is in it.
        placed: files and so on to put in place.
        changed: files that need no more than another mode, owner or time.
        directories: directories to give their mode and owner, each after what is
            in it.
        wanted: the objects that this takes, with their sizes.
    """

    removed: tuple[bytes, ...]
    made: tuple[bytes, ...]
    placed: tuple[Placing, ...]
    changed: tuple[Placing, ...]
    directories: tuple[Placing, ...]
    wanted: Mapping[bytes, int]


def plan_patch(
    wanted: FileSystem,
    present: FileSystem,
    *,
    removes: bool,
    kept: Iterable[bytes] = (),
) -> PatchPlan:
    """Plan how to make a tree equal to a file system.

    Args:
        wanted: the file system.
        present: the tree as it is, without what is to be left alone.
        removes: whether to remove what the file system does not have.
        kept: paths to leave alone with all that is below them.
    """
    is_kept = _make_test(kept)
    goals = {node.path: node for node in walk(wanted) if not is_kept(node.path)}
    there = {node.path: node for node in walk(present) if not is_kept(node.path)}
    removed = _removed(goals, there, removes=removes)
    left = {path: node for path, node in there.items() if path not in removed}
    directories = [node for node in goals.values() if _is_directory(node.inode)]
    made = tuple(node.path for node in directories if node.path not in left)
    placed, changed = _files(goals, left)
    sizes = {
        item.inode.hash_: item.inode.size
        for item in placed
        if isinstance(item.inode, RegularInode) and item.inode.size
    }
    return PatchPlan(
        tuple(reversed(removed)),
        made,
        tuple(placed),
        tuple(changed),
        _directories(directories, left, wanted.root, present.root),
        sizes,
    )


def _removed(
    goals: dict[bytes, Node], there: dict[bytes, Node], *, removes: bool
) -> dict[bytes, None]:
    """Paths that have to go, each directory before what is in it."""
    removed: dict[bytes, None] = {}
    for path, node in there.items():
        goal = goals.get(path)
        parent = path.rpartition(b"/")[0]
        is_below = parent in removed
        is_other = goal is not None and _is_directory(goal.inode) != _is_directory(
            node.inode
        )
        if is_below or is_other or (goal is None and removes):
            removed[path] = None
    return removed


def _files(
    goals: dict[bytes, Node], left: dict[bytes, Node]
) -> tuple[list[Placing], list[Placing]]:
    """Inodes to put in place, and those of which the metadata only is to change."""
    names: defaultdict[int, list[bytes]] = defaultdict(list)
    for path, node in goals.items():
        if not _is_directory(node.inode):
            names[node.number].append(path)
    users: defaultdict[int, set[int]] = defaultdict(set)
    for path, node in left.items():
        users[node.number].add(goals[path].number if path in goals else -1)
    placed: list[Placing] = []
    changed: list[Placing] = []
    for number, paths in names.items():
        item = Placing(goals[paths[0]].inode, tuple(paths))
        here = [left.get(path) for path in paths]
        first = here[0]
        is_one = len({node.number if node else -1 for node in here}) == 1
        if first is None or not is_one or users[first.number] != {number}:
            placed.append(item)
            continue
        needs = _needs(first.inode, item.inode)
        if needs is not None:
            (changed if needs == _METADATA else placed).append(item)
    return placed, changed


def _needs(present: Inode, wanted: Inode) -> str | None:
    """What makes an inode another one: metadata, or all of it; ``None``: nothing."""
    if isinstance(wanted, ComputedRegularInode):
        if not isinstance(present, RegularInode):
            return _ALL
        return _METADATA if _owner(wanted) != _owner(present) else None
    likeness = compare(present, wanted)
    if likeness.is_whole:
        return None
    is_file = isinstance(wanted, RegularInode)
    return _METADATA if likeness.type and likeness.data and is_file else _ALL


def _directories(
    directories: list[Node],
    left: dict[bytes, Node],
    root: DirectoryInode,
    present_root: DirectoryInode,
) -> tuple[Placing, ...]:
    items = [
        Placing(node.inode, (node.path,))
        for node in reversed(directories)
        if node.path not in left or _owner(left[node.path].inode) != _owner(node.inode)
    ]
    if _owner(root) != _owner(present_root):
        items.append(Placing(root, (b"",)))
    return tuple(items)


def _owner(inode: Inode) -> tuple[int, int, int]:
    return getattr(inode, "mode", 0), inode.uid, inode.gid


def _is_directory(inode: Inode) -> bool:
    return isinstance(inode, DirectoryInode)


def _make_test(paths: Iterable[bytes]) -> Callable[[bytes], bool]:
    """What tells whether a path is one of some, or below one."""
    tops = tuple(paths)
    return lambda path: any(path == top or path.startswith(top + b"/") for top in tops)
