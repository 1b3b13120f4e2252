"""Scans a tar archive: the tree that it would unpack to, and the hashes of its files.

Nothing is unpacked: contents are read from where they lie in the archive. A
compressed archive is decompressed into a temporary file without a name first, and
sparse files are written out into another.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import re
import stat
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Self

from imageserver import gob
from imageserver.errors import ImageServerError
from imageserver.model.filter import Matcher
from imageserver.model.inode import Inode, RegularInode, SpecialInode, SymlinkInode
from imageserver.model.tree import show
from imageserver.trees.decompression import (
    Allowance,
    Decompressor,
    MalformedArchive,
    decompress,
    open_zstd,
)
from imageserver.trees.hash_pool import HashPool
from imageserver.trees.scan import scan_directory
from imageserver.trees.tree import (
    PERMISSION_BITS,
    PIECE_BYTES,
    Content,
    DirectoryNode,
    FileNode,
    Found,
    Progress,
    Section,
    SharedFile,
    Tree,
    build_tree,
    explained,
    forget,
)

_DECOMPRESSORS: dict[bytes, Decompressor | None] = {
    b".tar": None,
    b".tar.gz": gzip.GzipFile,
    b".tgz": gzip.GzipFile,
    b".tar.xz": lzma.LZMAFile,
    b".tar.bz2": bz2.BZ2File,
    b".tar.zst": open_zstd,
}
_MTIME = re.compile(r"(-?)([0-9]{1,18})(?:\.([0-9]*))?")
_NANO = 1_000_000_000
_ID_LIMIT = 1 << 32
_VOLUME_LABEL = b"V"
_SPECIAL_TYPES = {
    tarfile.CHRTYPE: stat.S_IFCHR,
    tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}


def scan_source(
    path: bytes | str,
    matcher: Matcher | None,
    progress: Progress,
    found: Found = forget,
) -> Tree:
    """Scan a directory or a tar archive, whichever is there.

    Arguments and errors are those of :func:`scan_directory` and :func:`scan_tar`.
    """
    raw_path = os.fsencode(path)
    with explained("cannot read", raw_path):
        mode = os.stat(raw_path).st_mode
    if stat.S_ISDIR(mode):
        return scan_directory(raw_path, matcher, progress, found)
    return scan_tar(raw_path, matcher, progress, found)


def scan_tar(
    path: bytes | str,
    matcher: Matcher | None,
    progress: Progress,
    found: Found = forget,
) -> Tree:
    """Scan a tar archive; the end of its name tells how it is compressed.

    Later entries replace earlier ones of the same path, directories that are not in
    the archive are made up, and hard links share an inode.

    Args:
        path: the archive.
        matcher: matches the paths to leave out, as for :func:`scan_directory`.
        progress: called as files are hashed.
        found: called with the content of each file that is hashed, in any thread.

    Raises:
        ImageServerError: its name is not that of an archive.
        FileAccessError: it cannot be read.
        MalformedArchive: it is damaged, or holds what it must not.
    """
    raw_path = os.fsencode(path)
    if not raw_path.endswith(tuple(_DECOMPRESSORS)):
        raise ImageServerError("unrecognised image type")
    suffix = next(suffix for suffix in _DECOMPRESSORS if raw_path.endswith(suffix))
    members = Members()
    with checked(raw_path), ExitStack() as stack, HashPool(progress) as pool:
        layer = Layer(raw_path, _DECOMPRESSORS[suffix], Allowance([raw_path]))
        stack.enter_context(layer)
        layer.read(members)
        hash_members(members, matcher, pool, found)
    return build_tree(members.root)


def hash_members(
    members: Members, matcher: Matcher | None, pool: HashPool, found: Found
) -> None:
    """Hash what is left of some members when a matcher has been applied.

    Args:
        members: the layers that they come from are still open.
        matcher: matches the paths to leave out.
        pool: hashes.
        found: called with the content of each file that is hashed, in any thread.
    """
    left = _leave_out(members.root, matcher)
    spool = _temporary_file()
    # In the order of the archive, and none that was replaced or left out.
    for node, (member, layer) in members.regular.items():
        if node in left:
            section = layer.section(member, spool)
            pool.submit(partial(_hash, node, section, pool, found), section.size)
    pool.finish()


class Layer:
    """An archive whose members go into a tree; a context manager."""

    def __init__(
        self, path: bytes, decompressor: Decompressor | None, allowance: Allowance
    ) -> None:
        """Open an archive, decompressed if it is compressed."""
        self._file = _open_archive(path, decompressor, allowance)
        self._stream = os.fdopen(os.dup(self._file.fd), "rb")
        self._archive = tarfile.open(
            fileobj=self._stream,
            mode="r:",
            encoding="utf-8",
            errors="surrogateescape",
        )

    def read(self, members: Members) -> None:
        """Add all members.

        Raises:
            MalformedArchive: the archive is damaged.
        """
        archive = self._archive
        while (member := archive.next()) is not None:
            # The library would keep all members.
            archive.members.clear()  # type: ignore[attr-defined]  # undeclared
            if member.type != _VOLUME_LABEL:
                members.add(member, self)
        # The library takes a header that it does not understand for the end.
        if any(os.pread(self._file.fd, tarfile.BLOCKSIZE, archive.offset)):
            raise MalformedArchive(f"damaged archive: bad header at {archive.offset}")

    def section(self, member: tarfile.TarInfo, spool: SharedFile) -> Section:
        """Where the content of a member can be read."""
        if member.issparse():
            return _write_out(self._archive, member, spool)
        return Section(self._file, member.offset_data, member.size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()
        self._stream.close()


@contextmanager
def checked(path: bytes) -> Iterator[None]:
    """Turn what a damaged archive raises into an error that names it.

    Raises:
        MalformedArchive: it is damaged.
        FileAccessError: it cannot be read.
    """
    try:
        with explained("cannot read", path):
            yield
    except (tarfile.TarError, EOFError, RecursionError) as error:
        raise MalformedArchive(f"damaged archive: {show(path)}: {error}") from error


def _open_archive(
    path: bytes, decompressor: Decompressor | None, allowance: Allowance
) -> SharedFile:
    if decompressor is None:
        return SharedFile(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    file = _temporary_file()
    with os.fdopen(os.dup(file.fd), "wb") as target:
        decompress(path, decompressor, target, allowance)
    os.lseek(file.fd, 0, os.SEEK_SET)
    return file


def _temporary_file() -> SharedFile:
    with tempfile.TemporaryFile() as file:
        return SharedFile(os.dup(file.fileno()))


def _leave_out(root: DirectoryNode, matcher: Matcher | None) -> set[FileNode]:
    """Remove what the matcher matches; returns the files that are left."""
    left: set[FileNode] = set()
    open_directories = [(b"", root)]
    while open_directories:
        path, directory = open_directories.pop()
        for name, node in list(directory.entries.items()):
            child_path = path + b"/" + name
            if matcher is not None and matcher.matches(child_path):
                del directory.entries[name]
            elif isinstance(node, DirectoryNode):
                open_directories.append((child_path, node))
            else:
                left.add(node)
    return left


def _hash(node: FileNode, section: Section, pool: HashPool, found: Found) -> int:
    with section.open() as reader:
        digest, size = pool.digest(reader.read, section.size)
    if size and isinstance(node.inode, RegularInode):
        node.inode = gob.evolve(node.inode, hash_=digest)
        node.content = Content(digest, size, section.open)
        found(node.content)
    return size


def _write_out(
    archive: tarfile.TarFile, member: tarfile.TarInfo, spool: SharedFile
) -> Section:
    """Append the content of a sparse file, holes and all, to a spool."""
    start = position = os.fstat(spool.fd).st_size
    source = archive.extractfile(member)
    while source is not None and (piece := source.read(PIECE_BYTES)):
        has_data = piece.count(0) < len(piece)
        if has_data and os.pwrite(spool.fd, piece, position) < len(piece):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        position += len(piece)
    os.ftruncate(spool.fd, start + member.size)
    return Section(spool, start, member.size)


class Members:
    """Puts the members of archives into a tree.

    Attributes:
        root: the top of the tree.
        regular: files with content: their members, and where these come from.
    """

    def __init__(self) -> None:
        """Begin with an empty tree."""
        self.root = DirectoryNode(stat.S_IFDIR | 0o755, 0, 0)
        self.regular: dict[FileNode, tuple[tarfile.TarInfo, Layer]] = {}

    def add(self, member: tarfile.TarInfo, layer: Layer) -> None:
        """Add a member, in place of what has had its path before.

        Raises:
            MalformedArchive: its path leads out, or its type is unknown.
        """
        mode = member.mode & PERMISSION_BITS
        owner = _owner(member)
        path = components(member.name)
        directory = self._find(path[:-1], make=True)
        before = directory.entries.get(path[-1]) if path else self.root
        if member.isdir() and isinstance(before, DirectoryNode):
            before.mode = stat.S_IFDIR | mode
            before.uid, before.gid = owner
        elif not path:
            raise MalformedArchive("the root of the archive is not a directory")
        elif member.isdir():
            directory.entries[path[-1]] = DirectoryNode(stat.S_IFDIR | mode, *owner)
        elif member.islnk():
            directory.entries[path[-1]] = self._linked(member)
        else:
            node = directory.entries[path[-1]] = FileNode(_inode(member, mode, *owner))
            if isinstance(node.inode, RegularInode) and node.inode.size:
                self.regular[node] = member, layer

    def _linked(self, member: tarfile.TarInfo) -> FileNode:
        path = components(member.linkname)
        node = self._find(path[:-1], make=False).entries.get(path[-1]) if path else None
        if not isinstance(node, FileNode):
            raise MalformedArchive(f"hard link to what is no file: {_text(member)}")
        return node

    def _find(self, path: list[bytes], *, make: bool) -> DirectoryNode:
        directory = self.root
        for name in path:
            below = directory.entries.get(name)
            if below is None and make:
                below = DirectoryNode(stat.S_IFDIR | 0o755, 0, 0)
                directory.entries[name] = below
            if not isinstance(below, DirectoryNode):
                text = show(b"/" + b"/".join(path))
                raise MalformedArchive(f"not a directory in the archive: {text}")
            directory = below
        return directory


def _inode(member: tarfile.TarInfo, mode: int, uid: int, gid: int) -> Inode:
    if member.issym():
        return SymlinkInode(uid, gid, _bytes(member.linkname))
    seconds, nanoseconds = _mtime(member)
    if member.isreg():
        mode |= stat.S_IFREG
        return RegularInode(mode, uid, gid, nanoseconds, seconds, member.size)
    if member.type not in _SPECIAL_TYPES:
        raise MalformedArchive(f"unsupported type of entry: {_text(member)}")
    numbers = (0, 0) if member.isfifo() else (member.devmajor, member.devminor)
    mode |= _SPECIAL_TYPES[member.type]
    return SpecialInode(mode, uid, gid, nanoseconds, seconds, os.makedev(*numbers))


def _mtime(member: tarfile.TarInfo) -> tuple[int, int]:
    # The library makes a float of it, which has too few digits for nanoseconds.
    text = member.pax_headers.get("mtime") or str(int(member.mtime))
    match = _MTIME.fullmatch(text)
    if not match:
        raise MalformedArchive(f"malformed time {text!r}: {_text(member)}")
    sign, seconds, fraction = match.groups("")
    nanoseconds = int(fraction[:9].ljust(9, "0"))
    return divmod(int(f"{sign}1") * (int(seconds) * _NANO + nanoseconds), _NANO)


def _owner(member: tarfile.TarInfo) -> tuple[int, int]:
    if not (0 <= member.uid < _ID_LIMIT and 0 <= member.gid < _ID_LIMIT):
        raise MalformedArchive(f"owner out of range: {_text(member)}")
    return member.uid, member.gid


def components(text: str) -> list[bytes]:
    """The names on the way to a member; the root has none."""
    path = _bytes(text)
    names = [name for name in path.split(b"/") if name not in (b"", b".")]
    if path.startswith(b"/") or b".." in names:
        raise MalformedArchive(f"path leads out of the archive: {show(path)}")
    return names


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(member: tarfile.TarInfo) -> str:
    return show(_bytes(member.name))
