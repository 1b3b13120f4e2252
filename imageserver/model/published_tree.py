"""File trees as web servers publish them: ``docs/protocol.md``, "Methods", ImportTree.

A directory is a text with a line for each of its entries::

    name/type/permissions/uid/gid/size/hash

Numbers are decimal. A subdirectory's hash is that of its own text; that of a symbolic
link is the hash of its target, that of a file the one of its content.
"""

from __future__ import annotations

import enum
import re
import stat
from collections.abc import Mapping, Sequence

import attrs

from imageserver.errors import InvalidImage
from imageserver.gob import Time
from imageserver.model.file_system import FileSystem
from imageserver.model.hash import NO_HASH
from imageserver.model.inode import (
    DirectoryEntry,
    DirectoryInode,
    Inode,
    RegularInode,
    SymlinkInode,
)

MAXIMUM_INODES = 4_000_000
"""In an image; the same subdirectory may be in it many times."""

_FIELDS = 7
_UINT32, _UINT64 = 1 << 32, 1 << 64
_HASH = re.compile(rb"[0-9A-Fa-f]{128}")
_NUMBER = re.compile(rb"[0-9]{1,20}")
_SHOWN = 200  # characters of a line that is wrong


class Kind(enum.IntEnum):
    """What an entry is, by its number."""

    FILE = 0
    DIRECTORY = 1
    SYMLINK = 2


@attrs.frozen
class PublishedEntry:
    """A line of a directory; ``size`` in bytes: where it is 0, there is no object."""

    name: bytes
    kind: Kind
    permissions: int
    uid: int
    gid: int
    size: int
    hash_: bytes


Entries = Sequence[PublishedEntry]


def parse_directory(text: bytes) -> list[PublishedEntry]:
    """The entries of a directory, by name.

    Raises:
        InvalidImage: a line is none.
    """
    lines = text.removesuffix(b"\n").split(b"\n") if text else []
    return sorted(map(_parse_entry, lines), key=lambda entry: entry.name)


def _parse_entry(line: bytes) -> PublishedEntry:
    fields = line.removesuffix(b"\r").split(b"/")
    shown = line[:_SHOWN].decode("utf-8", "backslashreplace")
    if len(fields) != _FIELDS:
        raise InvalidImage(f"number of segments: {len(fields)} != {_FIELDS}: {shown}")
    name, kind, permissions, uid, gid, size, hash_ = fields
    if not _HASH.fullmatch(hash_):
        raise InvalidImage(f"malformed hash: {shown}")
    try:
        return PublishedEntry(
            name,
            Kind(_number(kind, _UINT32)),
            _number(permissions, _UINT32),
            _number(uid, _UINT32),
            _number(gid, _UINT32),
            _number(size, _UINT64),
            bytes.fromhex(hash_.decode("ascii")),
        )
    except ValueError as error:
        raise InvalidImage(f"malformed entry: {shown}") from error


def _number(text: bytes, end: int) -> int:
    if not _NUMBER.fullmatch(text) or int(text) >= end:
        raise ValueError("not such a number")
    return int(text)


def build_file_system(
    root: bytes,
    directories: Mapping[bytes, Entries],
    targets: Mapping[bytes, bytes],
    made_at: Time,
) -> FileSystem:
    """The file system that a tree describes.

    Args:
        root: the hash of the topmost directory.
        directories: the entries of all directories that are not empty, by hash.
        targets: the targets of all symbolic links, by hash.
        made_at: what all files say.

    Raises:
        InvalidImage: it is too large.
    """
    inodes: dict[int, Inode] = {}
    top = PublishedEntry(b"", Kind.DIRECTORY, 0o755, 0, 0, 1, root)
    unfinished = [(0, top)]
    last = 0
    while unfinished:
        number, directory = unfinished.pop()
        entries = []
        for entry in directories[directory.hash_] if directory.size else ():
            last += 1
            if last > MAXIMUM_INODES:
                raise InvalidImage(f"more than {MAXIMUM_INODES} inodes")
            entries.append(DirectoryEntry(entry.name, last))
            if entry.kind == Kind.DIRECTORY:
                unfinished.append((last, entry))
            elif entry.kind == Kind.SYMLINK:
                target = targets[entry.hash_] if entry.size else b""
                inodes[last] = SymlinkInode(entry.uid, entry.gid, target)
            else:
                inodes[last] = _regular(entry, made_at)
        inodes[number] = DirectoryInode(
            tuple(entries),
            stat.S_IFDIR | stat.S_IMODE(directory.permissions),
            directory.uid,
            directory.gid,
        )
    root_inode = inodes.pop(0)
    assert isinstance(root_inode, DirectoryInode)  # noqa: S101 - it was put there
    sizes = [inode.size for inode in inodes.values() if type(inode) is RegularInode]
    count = sum(type(inode) is DirectoryInode for inode in inodes.values())
    return FileSystem(inodes, len(sizes), sum(sizes), count + 1, root_inode)


def _regular(entry: PublishedEntry, made_at: Time) -> RegularInode:
    return RegularInode(
        stat.S_IFREG | stat.S_IMODE(entry.permissions),
        entry.uid,
        entry.gid,
        made_at.nanosecond,
        made_at.unix_s,
        entry.size,
        entry.hash_ if entry.size else NO_HASH,
    )
