"""A file system: the inode table and the root directory."""

from __future__ import annotations

from imageserver import gob
from imageserver.gob import UINT
from imageserver.model.inode import DirectoryInode, Inode
from imageserver.model.inode_scan import SCANNED_TABLE, TABLE
from imageserver.model.inode_table import InodeTable


@gob.struct("FileSystem")
class FileSystem:
    """What an image holds below its root.

    Attributes:
        inodes: all inodes by number, but the root directory. Hard links are
            entries with the same number. ``None`` stands for an empty table.
        regular_count: how many of them are regular.
        data_bytes: the sum of their sizes.
        directory_count: directories, the root included.
        root: the root directory.
    """

    inodes: dict[int, Inode] | None = gob.field("InodeTable", TABLE)
    regular_count: int = gob.field("NumRegularInodes", UINT)
    data_bytes: int = gob.field("TotalDataBytes", UINT)
    directory_count: int = gob.field("DirectoryCount", UINT)
    root: DirectoryInode = gob.field(
        "DirectoryInode", gob.Struct(DirectoryInode), embedded=True
    )


@gob.struct("FileSystem")
class ScannedFileSystem:
    """The same with inodes that were scanned only."""

    inodes: InodeTable | None = gob.field("InodeTable", SCANNED_TABLE)
    regular_count: int = gob.field("NumRegularInodes", UINT)
    data_bytes: int = gob.field("TotalDataBytes", UINT)
    directory_count: int = gob.field("DirectoryCount", UINT)
    root: DirectoryInode = gob.field(
        "DirectoryInode", gob.Struct(DirectoryInode), embedded=True
    )
