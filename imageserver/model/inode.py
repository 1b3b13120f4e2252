"""Inodes: ``docs/protocol.md``, "Inodes".

Names and symlink targets are bytes: they need not be UTF-8.
"""

from __future__ import annotations

from typing import TypeAlias

from imageserver import gob
from imageserver.gob import BYTE_STRING, INT, INT32, STRING, UINT, UINT32
from imageserver.model.hash import HASH


@gob.struct("DirectoryEntry")
class DirectoryEntry:
    """A name in a directory, and the number of the inode it stands for."""

    name: bytes = gob.field("Name", BYTE_STRING)
    inode_number: int = gob.field("InodeNumber", UINT)


@gob.struct("DirectoryInode")
class DirectoryInode:
    """A directory: its entries, mode and owner."""

    entries: tuple[DirectoryEntry, ...] = gob.field(
        "EntryList", gob.Slice(gob.Struct(DirectoryEntry))
    )
    mode: int = gob.field("Mode", UINT32)
    uid: int = gob.field("Uid", UINT32)
    gid: int = gob.field("Gid", UINT32)


@gob.struct("RegularInode")
class RegularInode:
    """A file with content; an empty one has size 0 and no object."""

    mode: int = gob.field("Mode", UINT32)
    uid: int = gob.field("Uid", UINT32)
    gid: int = gob.field("Gid", UINT32)
    mtime_nanoseconds: int = gob.field("MtimeNanoSeconds", INT32)
    mtime_seconds: int = gob.field("MtimeSeconds", INT)
    size: int = gob.field("Size", UINT)
    hash_: bytes = gob.field("Hash", HASH)


@gob.struct("ComputedRegularInode")
class ComputedRegularInode:
    """A file whose content is made for each machine by the service at ``source``."""

    mode: int = gob.field("Mode", UINT32)
    uid: int = gob.field("Uid", UINT32)
    gid: int = gob.field("Gid", UINT32)
    source: str = gob.field("Source", STRING)


@gob.struct("SymlinkInode")
class SymlinkInode:
    """A symbolic link; it has neither mode nor time."""

    uid: int = gob.field("Uid", UINT32)
    gid: int = gob.field("Gid", UINT32)
    target: bytes = gob.field("Symlink", BYTE_STRING)


@gob.struct("SpecialInode")
class SpecialInode:
    """A device, FIFO or socket; ``device`` is the ``st_rdev`` of Linux."""

    mode: int = gob.field("Mode", UINT32)
    uid: int = gob.field("Uid", UINT32)
    gid: int = gob.field("Gid", UINT32)
    mtime_nanoseconds: int = gob.field("MtimeNanoSeconds", INT32)
    mtime_seconds: int = gob.field("MtimeSeconds", INT)
    device: int = gob.field("Rdev", UINT)


Inode: TypeAlias = (
    DirectoryInode | RegularInode | ComputedRegularInode | SymlinkInode | SpecialInode
)

INODES = gob.Registry()
for _cls in (
    DirectoryInode,
    RegularInode,
    ComputedRegularInode,
    SymlinkInode,
    SpecialInode,
):
    INODES.register(f"*filesystem.{gob.struct_info(_cls).name}", gob.Struct(_cls))

INODE = gob.Interface(INODES)

__all__ = [
    "INODE",
    "ComputedRegularInode",
    "DirectoryEntry",
    "DirectoryInode",
    "Inode",
    "RegularInode",
    "SpecialInode",
    "SymlinkInode",
]
