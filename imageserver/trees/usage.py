"""How much space a tree takes when it is unpacked."""

from __future__ import annotations

from imageserver.model.file_system import FileSystem
from imageserver.model.inode_table import InodeTable


def estimate_usage(file_system: FileSystem) -> int:
    """Bytes, in whole blocks; as servers estimate it."""
    return InodeTable.of(file_system.inodes).usage_bytes
