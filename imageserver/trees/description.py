"""Inodes as plain values, for JSON."""

from __future__ import annotations

import os
import stat
from typing import Any

from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryInode,
    Inode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)

_NANO = 1_000_000_000
_SPECIAL = {
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def describe(path: bytes, inode: Inode) -> dict[str, Any]:
    """A path and what it stands for.

    Returns:
        ``path``, ``type``, ``uid``, ``gid``, and as far as it has them ``mode``
        (octal digits), ``mtime`` (seconds since 1970), ``size``, ``sha512``,
        ``target``, ``source``, ``major``, ``minor``.
    """
    item: dict[str, Any] = {
        "path": path,
        "type": type_name(inode),
        "uid": inode.uid,
        "gid": inode.gid,
    }
    if not isinstance(inode, SymlinkInode):
        item["mode"] = f"{stat.S_IMODE(inode.mode):04o}"
    if isinstance(inode, RegularInode | SpecialInode):
        item["mtime"] = inode.mtime_seconds + inode.mtime_nanoseconds / _NANO
    match inode:
        case RegularInode():
            item["size"] = inode.size
            item["sha512"] = inode.hash_.hex() if inode.size else None
        case SymlinkInode():
            item["target"] = inode.target
        case ComputedRegularInode():
            item["source"] = inode.source
        case SpecialInode() if stat.S_ISCHR(inode.mode) or stat.S_ISBLK(inode.mode):
            item["major"] = os.major(inode.device)
            item["minor"] = os.minor(inode.device)
    return item


def type_name(inode: Inode) -> str:
    """What an inode is, in a word or two."""
    match inode:
        case DirectoryInode():
            return "directory"
        case RegularInode():
            return "file"
        case ComputedRegularInode():
            return "computed file"
        case SymlinkInode():
            return "symlink"
    return _SPECIAL.get(stat.S_IFMT(inode.mode), "special")
