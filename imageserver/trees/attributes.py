"""Gives files of this machine the owner, mode and time that an image has for them."""

from __future__ import annotations

import os
import stat
from typing import Any

from imageserver.model.inode import RegularInode, SpecialInode
from imageserver.trees.tree import PERMISSION_BITS

_SET_ID_BITS = stat.S_ISUID | stat.S_ISGID
_NANO = 1_000_000_000


def set_attributes(file: int | str, inode: Any, *, sets_owner: bool) -> bool:
    """Give a file or directory the attributes of an inode.

    Args:
        file: descriptor or path.
        inode: regular, special or a directory.
        sets_owner: whether to set the owner; that takes root.

    Returns:
        Whether it has all bits of its mode. With an owner other than the image's, the
        set-ID bits would give away our rights: they are left out then.

    Raises:
        OSError: the system refuses.
    """
    if sets_owner:
        os.chown(file, inode.uid, inode.gid)
    mode = inode.mode & PERMISSION_BITS
    lost = _bits_of_others(file, inode) & mode if mode & _SET_ID_BITS else 0
    os.chmod(file, mode & ~lost)
    if isinstance(inode, RegularInode | SpecialInode):
        time_ns = inode.mtime_seconds * _NANO + inode.mtime_nanoseconds
        os.utime(file, ns=(time_ns, time_ns))
    return not lost


def _bits_of_others(file: int | str, inode: Any) -> int:
    """The set-ID bits that are not for the owner that a file has."""
    status = os.stat(file)
    bits = stat.S_ISUID if status.st_uid != inode.uid else 0
    return bits | (stat.S_ISGID if status.st_gid != inode.gid else 0)
