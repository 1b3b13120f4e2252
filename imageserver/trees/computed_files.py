"""Lists of computed files, and putting them into a file system.

A list is JSON if its name ends in ``.json``: ``[{"Filename": ..., "Source": ...}]``;
else it has lines ``FILENAME SOURCE``, with comments after ``#``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from imageserver import gob
from imageserver.errors import ImageServerError
from imageserver.model.file_system import FileSystem
from imageserver.model.inode import ComputedRegularInode, Inode, RegularInode
from imageserver.model.paths import find, link_counts

_MEMBERS = ("Filename", "Source")


def parse_computed_files(text: str, *, is_json: bool) -> dict[str, str]:
    """The sources of computed files, by their paths.

    Raises:
        ImageServerError: the text is no such list.
    """
    if is_json:
        return _parse_json(text)
    sources: dict[str, str] = {}
    for line in text.split("\n"):
        if not line or line.startswith("#"):
            continue
        words = line.split()
        if len(words) != 2:
            raise ImageServerError(f"bad line: {line}")
        sources[words[0]] = words[1]
    return sources


def _parse_json(text: str) -> dict[str, str]:
    lines = [
        line
        for line in text.split("\n")
        if not line.lstrip(" \t").startswith(("#", "//"))
    ]
    try:
        items: Any = json.loads("\n".join(lines))
        pairs = [tuple(item[name] for name in _MEMBERS) for item in items]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        text = f"error decoding computed files list {error}"
        raise ImageServerError(text) from error
    if not all(isinstance(word, str) for pair in pairs for word in pair):
        raise ImageServerError("error decoding computed files list: not strings")
    return {name: source for name, source in pairs}


def splice_computed_files(
    file_system: FileSystem, sources: Mapping[str, str]
) -> FileSystem:
    """A file system some files of which are computed; they keep mode and owner.

    Raises:
        ImageServerError: there is no such file, or it has several names.
    """
    if not sources:
        return file_system
    inodes: dict[int, Inode] = dict(file_system.inodes or {})
    counts = link_counts(file_system)
    for path, source in sources.items():
        node = find(file_system, path.encode("utf-8", "surrogateescape"))
        if node is None:
            raise ImageServerError(f"{path}: missing from image")
        if counts[node.number] != 1:
            text = f"{path}: multiple inodes: {counts[node.number]}"
            raise ImageServerError(text)
        inode = node.inode
        if not isinstance(inode, RegularInode | ComputedRegularInode):
            kind = f"*filesystem.{type(inode).__name__}"
            raise ImageServerError(f"{path}: type: {kind} is not a regular inode")
        owner = inode.uid, inode.gid
        inodes[node.number] = ComputedRegularInode(inode.mode, *owner, source)
    return with_totals(gob.evolve(file_system, inodes=inodes))


def with_totals(file_system: FileSystem) -> FileSystem:
    """A file system that says how many files it has, and how large they are."""
    inodes = (file_system.inodes or {}).values()
    sizes = [inode.size for inode in inodes if isinstance(inode, RegularInode)]
    return gob.evolve(file_system, regular_count=len(sizes), data_bytes=sum(sizes))
