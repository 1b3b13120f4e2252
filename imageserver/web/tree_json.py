"""Inodes as JSON: ``docs/pages.md``, "Inodes"."""

from __future__ import annotations

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

_PERMISSIONS = 0o7777
_NANO = 1_000_000_000


def inode_as_json(inode: Inode) -> dict[str, Any]:
    """What an inode says."""
    values: dict[str, Any] = {
        "kind": kind_of(inode),
        "uid": inode.uid,
        "gid": inode.gid,
    }
    if not isinstance(inode, SymlinkInode):
        values["mode"] = f"{inode.mode & _PERMISSIONS:04o}"
    match inode:
        case RegularInode():
            values |= {"size": inode.size, "mtime": mtime_of(inode)}
            values["object"] = inode.hash_.hex() if inode.size else ""
        case SpecialInode():
            values |= {"mtime": mtime_of(inode), "device": inode.device}
        case SymlinkInode():
            values["target"] = inode.target.decode("utf-8", "surrogateescape")
        case ComputedRegularInode():
            values["source"] = inode.source
    return values


def kind_of(inode: Inode) -> str:
    """What it is, in a word."""
    match inode:
        case DirectoryInode():
            return "directory"
        case SymlinkInode():
            return "link"
        case ComputedRegularInode():
            return "computed"
        case SpecialInode():
            return _special(inode.mode)
    return "file"


def _special(mode: int) -> str:
    for test, word in (
        (stat.S_ISBLK, "block device"),
        (stat.S_ISCHR, "character device"),
        (stat.S_ISFIFO, "pipe"),
        (stat.S_ISSOCK, "socket"),
    ):
        if test(mode):
            return word
    return "special file"


def mode_text(inode: Inode) -> str:
    """Kind and permissions: ``drwxr-xr-x``."""
    match inode:
        case SymlinkInode():
            return "lrwxrwxrwx"
        case DirectoryInode():
            return stat.filemode(stat.S_IFDIR | inode.mode & _PERMISSIONS)
        case SpecialInode():
            return stat.filemode(inode.mode)
    return stat.filemode(stat.S_IFREG | inode.mode & _PERMISSIONS)


def mtime_of(inode: RegularInode | SpecialInode) -> float:
    """When it was changed, in seconds since 1970."""
    return inode.mtime_seconds + inode.mtime_nanoseconds / _NANO
