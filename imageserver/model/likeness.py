"""Whether inodes are the same."""

from __future__ import annotations

import stat

import attrs

from imageserver import gob
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryInode,
    Inode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)


@attrs.frozen
class Likeness:
    """What two inodes have in common.

    Attributes:
        type: whether they are of one type.
        metadata: ... and have the same mode, owner and time.
        data: ... and the same content, target, source or device; directories never.
    """

    type: bool
    metadata: bool = False
    data: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether there is no difference."""
        return self.type and self.metadata and self.data


def compare(left: Inode, right: Inode) -> Likeness:
    """What two inodes have in common."""
    if type(left) is not type(right):
        return Likeness(False)
    metadata = _metadata(left) == _metadata(right)
    is_directory = isinstance(left, DirectoryInode)
    data = not is_directory and _data(left) == _data(right)
    return Likeness(True, metadata, data)


def same_but_for_time(left: Inode, right: Inode) -> bool:
    """Whether two files or devices differ in nothing but their times."""
    if not isinstance(left, RegularInode | SpecialInode):
        return False
    if type(left) is not type(right):
        return False
    times = {
        "mtime_seconds": right.mtime_seconds,
        "mtime_nanoseconds": right.mtime_nanoseconds,
    }
    return compare(gob.evolve(left, **times), right).is_whole


def _metadata(inode: Inode) -> tuple[object, ...]:
    owner = (inode.uid, inode.gid)
    match inode:
        case SymlinkInode():
            return owner
        case ComputedRegularInode():
            return (*owner, inode.mode, inode.source)
        case RegularInode() | SpecialInode():
            return (*owner, inode.mode, inode.mtime_seconds, inode.mtime_nanoseconds)
    return (*owner, inode.mode)


def _data(inode: Inode) -> object:
    match inode:
        case RegularInode():
            return inode.size, inode.hash_ if inode.size else b""
        case SymlinkInode():
            return inode.target
        case ComputedRegularInode():
            return inode.source
        case SpecialInode() if stat.S_ISCHR(inode.mode) or stat.S_ISBLK(inode.mode):
            return inode.device
    return None
