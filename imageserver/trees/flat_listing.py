"""Lists a file system like :mod:`imageserver.trees.listing`, without decoding it.

Most of a line depends on the bytes of the inode only: what was made of them is
remembered, also from one image to the next.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from datetime import tzinfo
from itertools import chain
from typing import Protocol

from imageserver.errors import GobDecodeError
from imageserver.gob import patterns
from imageserver.gob.patterns import read_number
from imageserver.model.flat_image import ROOT, FlatTree
from imageserver.model.inode import DirectoryInode, Inode, RegularInode
from imageserver.model.inode_layouts import value_patterns
from imageserver.trees.listing import columns_of, data_of

_REGULAR = re.compile(
    patterns.fields(range(7), value_patterns(RegularInode)), re.DOTALL
)
"""A regular inode up to its hash."""
_DIRECTORY = re.compile(
    patterns.fields((1, 2, 3), value_patterns(DirectoryInode)[1:]), re.DOTALL
)
"""Mode and owner of a directory, as :meth:`FlatTree.attributes` gives them."""
_FF = b"\xff"
_ORDINARY_S = range(1, 1 << 35)
_Parts = tuple[bytes, bytes, bytes]


class PathMatcher(Protocol):
    """Says which paths to leave out."""

    def matches(self, path: bytes) -> bool:
        """Whether to leave out an absolute path, and all below it."""


class FlatLister:
    """Lists file systems."""

    def __init__(self, time_zone: tzinfo | None = None, skip_fields: str = "") -> None:
        """List in a time zone, but for some columns; see ``list_image``."""
        self._zone = time_zone
        self._skip = skip_fields
        self._parts: dict[bytes, _Parts] = {}
        self._times: dict[int, str] = {}

    def lines(
        self, tree: FlatTree, matcher: PathMatcher | None = None
    ) -> Iterator[bytes]:
        """List a file system, depth first in the order of the directory entries.

        Args:
            tree: what to list.
            matcher: matches the paths to leave out, each with all that is below it.

        Yields:
            Lines without their ends.

        Raises:
            GobDecodeError: the tree contradicts itself.
        """
        directories, inodes, known = tree.directories, tree.inodes, self._parts
        numbers = chain.from_iterable(e.numbers for e in directories.values())
        links = Counter(numbers)
        yield self._line(b"/", 1, self._directory(tree, ROOT))
        unvisited = [(b"/", _pairs(tree, ROOT))]
        seen = {ROOT}
        while unvisited:
            prefix, entries = unvisited[-1]
            name, number = next(entries, (b"", b""))
            if not name:
                unvisited.pop()
                continue
            path = prefix + name
            if matcher is not None and matcher.matches(path):
                continue
            if number in directories:
                if number in seen:
                    raise GobDecodeError("a directory is reached twice")
                seen.add(number)
                parts = self._directory(tree, number)
                unvisited.append((path + b"/", _pairs(tree, number)))
            else:
                raw = inodes.get(number)
                found = known.get(raw) if raw is not None else None
                parts = found or self._make(tree, number)
            yield self._line(path, links[number], parts)

    def _line(self, path: bytes, link_count: int, parts: _Parts) -> bytes:
        mode, middle, data = parts
        links = b"" if "l" in self._skip else b"%3d " % link_count
        name = b"" if "n" in self._skip else path
        return b"".join((mode, links, middle, name, data))

    def _make(self, tree: FlatTree, number: bytes) -> _Parts:
        """The parts of a line that depend on the inode, remembered."""
        raw = tree.inodes.get(number, b"")
        # Of others than regular inodes the class stands in front.
        found = None if tree.has_header(number) else _REGULAR.match(raw)
        inode: Inode
        if found is None or not found[7]:
            inode = tree.inode(number)
        else:
            inode = _regular(found, raw)
        parts = self._parts[raw] = self._render(inode)
        return parts

    def _directory(self, tree: FlatTree, number: bytes) -> _Parts:
        attributes = tree.attributes(number)
        found = None
        if isinstance(attributes, bytes):
            found = _DIRECTORY.match(attributes)
        if found is None:
            return self._render(tree.inode(number))
        key = b"d" + found[0]
        parts = self._parts.get(key)
        if parts is None:
            values = [read_number(value or b"\0") for value in found.groups()]
            parts = self._parts[key] = self._render(DirectoryInode((), *values))
        return parts

    def _render(self, inode: Inode) -> _Parts:
        moment = None
        if isinstance(inode, RegularInode) and self._zone is None:
            moment = self._moment(inode.mtime_seconds)
        columns = columns_of(inode, self._zone, moment)
        fields = {key: f"{text} " for key, text in columns.items()}
        mode = "" if "m" in self._skip else fields["m"]
        middle = "".join(fields[key] for key in "ugst" if key not in self._skip)
        data = b"" if "d" in self._skip else data_of(inode)
        return mode.encode(), middle.encode(), b" " + data if data else b""

    def _moment(self, seconds: int) -> str | None:
        """A time in the zone of this machine; ``None``: it is no ordinary one."""
        if seconds not in _ORDINARY_S:
            return None
        text = self._times.get(seconds)
        if text is None:
            there = time.localtime(seconds)
            text = time.strftime("%d %b %Y %H:%M:%S %Z", there)
            self._times[seconds] = text
        return text


def _pairs(tree: FlatTree, number: bytes) -> Iterator[tuple[bytes, bytes]]:
    entries = tree.directories[number]
    return iter(zip(entries.names, entries.numbers, strict=True))


def _regular(found: re.Match[bytes], raw: bytes) -> RegularInode:
    """A regular inode whose fields have matched."""
    mode, uid, gid, nanoseconds, seconds, size = (
        read_number(value or b"\0") for value in found.groups()[:6]
    )
    encoded = raw[found.end() : -1]
    hash_ = _FF.join(part.translate(None, _FF) for part in encoded.split(_FF + _FF))
    times = _signed(nanoseconds), _signed(seconds)
    return RegularInode(mode, uid, gid, *times, size, hash_)


def _signed(number: int) -> int:
    return ~(number >> 1) if number & 1 else number >> 1
