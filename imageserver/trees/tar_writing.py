"""Writes a file system as a tar archive, while its contents come in.

::

    archive = TarWriter(file_system, file)
    for hash_ in archive.hashes:          in this order
        writer = archive.receive(hash_)
        writer.write(...)
        writer.finish()
    left_out = archive.finish()

Names start with ``./``. Times have nanoseconds, and names need not be UTF-8: both
travel in extended headers, which every tar knows.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from imageserver.errors import CorruptObject, ImageServerError
from imageserver.model.file_system import FileSystem
from imageserver.model.inode import (
    ComputedRegularInode,
    DirectoryInode,
    Inode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)
from imageserver.model.paths import Node, walk
from imageserver.model.tree import check_tree
from imageserver.trees.tree import PERMISSION_BITS
from imageserver.trees.unpack import LeftOut

_BLOCK_BYTES = 512
_RECORD_BYTES = 20 * _BLOCK_BYTES
_NANO = 1_000_000_000
_TYPES = {
    stat.S_IFCHR: tarfile.CHRTYPE,
    stat.S_IFBLK: tarfile.BLKTYPE,
    stat.S_IFIFO: tarfile.FIFOTYPE,
}


class TarWriter:
    """Writes one archive; in one thread at a time.

    Attributes:
        hashes: the objects that it needs, in order, some of them several times.
    """

    def __init__(self, file_system: FileSystem, file: BinaryIO) -> None:
        """Write ``file_system`` to ``file``.

        Raises:
            InvalidImage: the tree contradicts itself.
        """
        check_tree(file_system)
        self._file = file
        self._written = 0
        self._left_out: list[LeftOut] = []
        self._first_names: dict[int, bytes] = {}
        self.hashes = [inode.hash_ for inode in _contents(file_system)]
        self._write(_header(_root(file_system)))
        self._nodes = walk(file_system)

    def receive(self, hash_: bytes) -> _Content:
        """Take in the next object.

        Raises:
            ImageServerError: it is not the one that comes next.
        """
        inode = self._write_headers()
        if inode is None or inode.hash_ != hash_:
            raise ImageServerError(f"object is not wanted: {hash_.hex()}")
        return _Content(self, inode)

    def finish(self) -> tuple[LeftOut, ...]:
        """Write the rest.

        Returns:
            What no archive can have.

        Raises:
            ImageServerError: objects are missing.
        """
        if self._write_headers() is not None:
            raise ImageServerError("objects are missing")
        self._write(bytes(2 * _BLOCK_BYTES))
        self._write(bytes(-self._written % _RECORD_BYTES))
        return tuple(self._left_out)

    def _write_headers(self) -> RegularInode | None:
        """Write headers up to that of the next file whose content is needed."""
        for node in self._nodes:
            first = self._first_names.setdefault(node.number, node.path)
            member = _member(node)
            if member is None:
                self._left_out.append(LeftOut(node.path, "no tar file has sockets"))
                continue
            if first != node.path:
                member.type, member.size = tarfile.LNKTYPE, 0
                member.linkname = _text(b"." + first)
                self._write(_header(member))
                continue
            self._write(_header(member))
            if isinstance(node.inode, RegularInode) and node.inode.size:
                return node.inode
        return None

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._written += len(data)


class _Content:
    """Takes the content of one file; a ``Writer``."""

    def __init__(self, archive: TarWriter, inode: RegularInode) -> None:
        self._write = archive._write
        self._inode = inode
        self._size = 0
        self._hasher = hashlib.sha512()

    def write(self, data: bytes) -> None:
        """Take the next piece."""
        self._size += len(data)
        if self._size > self._inode.size:
            raise CorruptObject(self._inode.hash_, f"longer than {self._inode.size}")
        self._hasher.update(data)
        self._write(data)

    def finish(self) -> None:
        """See to it that it was right."""
        if self._size != self._inode.size:
            raise CorruptObject(self._inode.hash_, "wrong length")
        if self._hasher.digest() != self._inode.hash_:
            raise CorruptObject(self._inode.hash_, "wrong hash")
        self._write(bytes(-self._size % _BLOCK_BYTES))


def _contents(file_system: FileSystem) -> Iterator[RegularInode]:
    """The files with content, each inode once, in the order of the archive."""
    seen: set[int] = set()
    for node in walk(file_system):
        if node.number in seen:
            continue
        seen.add(node.number)
        if isinstance(node.inode, RegularInode) and node.inode.size:
            yield node.inode


def _root(file_system: FileSystem) -> tarfile.TarInfo:
    return _new(b"", file_system.root, tarfile.DIRTYPE)


def _member(node: Node) -> tarfile.TarInfo | None:
    """The member for a name; ``None``: an archive cannot have it."""
    inode = node.inode
    match inode:
        case DirectoryInode():
            return _new(node.path, inode, tarfile.DIRTYPE)
        case SymlinkInode():
            member = _new(node.path, inode, tarfile.SYMTYPE)
            member.linkname = _text(inode.target)
        case RegularInode() | ComputedRegularInode():
            member = _new(node.path, inode, tarfile.REGTYPE)
            member.size = inode.size if isinstance(inode, RegularInode) else 0
        case SpecialInode():
            kind = _TYPES.get(stat.S_IFMT(inode.mode))
            if kind is None:
                return None
            member = _new(node.path, inode, kind)
            if kind != tarfile.FIFOTYPE:
                member.devmajor = os.major(inode.device)
                member.devminor = os.minor(inode.device)
    return member


def _new(path: bytes, inode: Inode, kind: bytes) -> tarfile.TarInfo:
    suffix = b"/" if isinstance(inode, DirectoryInode) else b""
    member = tarfile.TarInfo(_text(b"." + path + suffix))
    member.type = kind
    member.uid, member.gid = inode.uid, inode.gid
    is_link = isinstance(inode, SymlinkInode)
    member.mode = 0o777 if is_link else getattr(inode, "mode", 0) & PERMISSION_BITS
    if isinstance(inode, RegularInode | SpecialInode):
        total = inode.mtime_seconds * _NANO + inode.mtime_nanoseconds
        seconds, nanoseconds = divmod(total, _NANO)
        member.mtime = max(0, seconds)
        if nanoseconds or seconds < 0:
            member.pax_headers = {"mtime": _decimal(total)}
    return member


def _decimal(total_ns: int) -> str:
    sign, total_ns = ("-", -total_ns) if total_ns < 0 else ("", total_ns)
    seconds, nanoseconds = divmod(total_ns, _NANO)
    return f"{sign}{seconds}.{nanoseconds:09}"


def _header(member: tarfile.TarInfo) -> bytes:
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
