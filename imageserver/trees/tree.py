"""What a scan yields, and what the ways to get and to write trees share.

Rules of this file: directories below a root are opened one component at a time and
never through a symbolic link; nothing recurses, so that the depth of a tree does not
matter.
"""

from __future__ import annotations

import errno
import io
import os
import re
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from operator import itemgetter
from typing import TYPE_CHECKING, BinaryIO, Self, TypeAlias

import attrs

from imageserver.errors import ImageServerError
from imageserver.model.file_system import FileSystem
from imageserver.model.inode import (
    DirectoryEntry,
    DirectoryInode,
    Inode,
    RegularInode,
)
from imageserver.model.tree import show

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

PIECE_BYTES = 256 * 1024
PERMISSION_BITS = 0o7777
_NO_COPY_FILE_RANGE = {errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
_BLOCK_BYTES = 4096
_HOLE = bytes(_BLOCK_BYTES)
_ZEROS = re.compile(rb"\0{%d,}" % _BLOCK_BYTES)
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

Progress: TypeAlias = Callable[[int, int], None]
"""Is told how many files, and how many bytes of them, have been hashed so far."""


class FileAccessError(ImageServerError):
    """A file or directory of this machine cannot be used; the text names it."""


@attrs.frozen
class Content:
    """One object, and where its bytes can be read.

    Attributes:
        hash_: the hash of the object.
        size: its length in bytes, never 0.
        open: gives a new file that stands at the start of the content; its reader
            reads exactly ``size`` bytes and closes it. Raises
            :class:`ImageServerError` if the content is not there any more.
    """

    hash_: bytes
    size: int
    open: Callable[[], BinaryIO]


Found: TypeAlias = Callable[[Content], None]
"""Is told of contents as they are found, some of them several times."""


def forget(content: Content) -> None:
    """What is found will be in the tree; nobody needs to know sooner."""


class SharedFile:
    """An open file that is closed when nobody refers to it any more."""

    def __init__(self, fd: int) -> None:
        """Take over ``fd``, which is only read with explicit positions."""
        self.fd = fd
        weakref.finalize(self, os.close, fd)


@attrs.frozen
class Section:
    """A part of a file that is the content of another."""

    file: SharedFile
    position: int
    size: int

    def open(self) -> BinaryIO:
        """A new reader, independent of all others."""
        return io.BufferedReader(_SectionReader(self), PIECE_BYTES)


class _SectionReader(io.RawIOBase):
    def __init__(self, section: Section) -> None:
        self._file = section.file
        self._position = section.position
        self._end = section.position + section.size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")[: self._end - self._position]
        count = os.preadv(self._file.fd, [view], self._position)
        if view and not count:
            raise FileAccessError("unexpected end of file")
        self._position += count
        return count


@attrs.frozen
class Tree:
    """A file system, and the objects that it refers to.

    Attributes:
        file_system: the inodes.
        contents: each distinct object once, by its hash; empty files have none.
    """

    file_system: FileSystem
    contents: dict[bytes, Content]


@attrs.define(eq=False)
class FileNode:
    """Anything but a directory, while a tree is being put together.

    A node that several names share is a hard link.

    Attributes:
        inode: what the node becomes; ``None`` until that is known.
        content: the object, if it has one.
    """

    inode: Inode | None = None
    content: Content | None = None


@attrs.define(eq=False)
class DirectoryNode:
    """A directory while a tree is being put together."""

    mode: int
    uid: int
    gid: int
    entries: dict[bytes, FileNode | DirectoryNode] = attrs.Factory(dict)


def build_tree(root: DirectoryNode) -> Tree:
    """Number the nodes, always in the same way, and make inodes of them.

    Args:
        root: the root directory; the inodes of all files below it are known.
    """
    inodes: dict[int, Inode] = {}
    contents: dict[bytes, Content] = {}
    numbers: dict[FileNode | DirectoryNode, int] = {root: 0}
    open_directories = [root]
    directory_count = 0
    while open_directories:
        directory = open_directories.pop()
        directory_count += 1
        entries: list[DirectoryEntry] = []
        below: list[DirectoryNode] = []
        for name, node in sorted(directory.entries.items(), key=itemgetter(0)):
            if node not in numbers:
                numbers[node] = len(numbers)
                if isinstance(node, DirectoryNode):
                    below.append(node)
                else:
                    _add_file(numbers[node], node, inodes, contents)
            entries.append(DirectoryEntry(name, numbers[node]))
        open_directories.extend(reversed(below))
        inodes[numbers[directory]] = DirectoryInode(
            tuple(entries), directory.mode, directory.uid, directory.gid
        )
    return Tree(_file_system(inodes, directory_count), contents)


def _add_file(
    number: int,
    node: FileNode,
    inodes: dict[int, Inode],
    contents: dict[bytes, Content],
) -> None:
    if node.inode is None:
        raise AssertionError("a file was left without an inode")
    inodes[number] = node.inode
    if node.content is not None:
        contents.setdefault(node.content.hash_, node.content)


def _file_system(inodes: dict[int, Inode], directory_count: int) -> FileSystem:
    root = inodes.pop(0)
    if not isinstance(root, DirectoryInode):
        raise AssertionError("the root is not a directory")
    sizes = [inode.size for inode in inodes.values() if isinstance(inode, RegularInode)]
    return FileSystem(inodes, len(sizes), sum(sizes), directory_count, root)


def explained(action: str, path: bytes) -> AbstractContextManager[None]:
    """Turn what the system complains about into an error that names the path.

    Args:
        action: what was tried, such as ``cannot read``.
        path: on what.

    Raises:
        FileAccessError: the system refused.
    """
    return _Explained(action, path)


class _Explained:
    """See :func:`explained`; a generator would take four times as long."""

    __slots__ = ("_action", "_path")

    def __init__(self, action: str, path: bytes) -> None:
        self._action = action
        self._path = path

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, OSError):
            reason = error.strerror or str(error)
        elif isinstance(error, OverflowError | ValueError):
            # Numbers beyond the system's, and names and targets with a zero byte.
            reason = str(error)
        else:
            return
        raise FileAccessError(
            f"{self._action}: {show(self._path)}: {reason}"
        ) from error


class RootDirectory:
    """A directory of this machine, and a safe way to the directories below it."""

    def __init__(self, path: bytes) -> None:
        """Open the directory; ``path`` itself may lead through symbolic links."""
        self.fd = os.open(path, _DIRECTORY_FLAGS)
        self._open = [self.fd]  # and that of the last path
        self._close_all = weakref.finalize(self, _close_all, self._open)
        self._last_path = b""
        self._last_fd = self.fd

    def open_directory(self, path: bytes) -> int:
        """Open a directory below the root, following no symbolic link.

        Args:
            path: empty for the root, else like ``/etc/ssh``.

        Returns:
            A file descriptor, good until the next call.
        """
        if not path:
            return self.fd
        if path == self._last_path:
            return self._last_fd
        # A walk goes down most of the time, so the way from the root is seldom needed.
        prefix = self._last_path + b"/"
        nearer = bool(self._last_path) and path.startswith(prefix)
        rest = path[len(prefix) :] if nearer else path[1:]
        fd = os.dup(self._last_fd if nearer else self.fd)
        try:
            for name in rest.split(b"/"):
                below = os.open(name, _DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=fd)
                os.close(fd)
                fd = below
        except OSError:
            os.close(fd)
            raise
        self._forget_last()
        self._open.append(fd)
        self._last_path, self._last_fd = path, fd
        return fd

    def close(self) -> None:
        """Close what is open; doing it twice does no harm."""
        self._forget_last()
        self._close_all()

    def _forget_last(self) -> None:
        if self._last_fd != self.fd:
            os.close(self._open.pop())
        self._last_path, self._last_fd = b"", self.fd

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close_all(fds: list[int]) -> None:
    while fds:
        os.close(fds.pop())


def write_sparsely(fd: int, data: bytes, position: int) -> bool:
    """Write ``data`` at a position of a new file, but leave holes for long zeros.

    Returns:
        Whether something was left out. Then, when everything is written, the file has
        to be given its length: its end may be a hole.
    """
    # Wherever a hole begins, one byte of these is in it.
    if not data[_BLOCK_BYTES - 1 :: _BLOCK_BYTES].count(0) or _HOLE not in data:
        _write_at(fd, data, position)
        return False
    done = 0
    for zeros in _ZEROS.finditer(data):
        # Holes are whole blocks of the file.
        start = -(-(position + zeros.start()) // _BLOCK_BYTES) * _BLOCK_BYTES - position
        end = (position + zeros.end()) // _BLOCK_BYTES * _BLOCK_BYTES - position
        if end > start:
            _write_at(fd, data[done:start], position + done)
            done = end
    _write_at(fd, data[done:], position + done)
    return done > 0


def _write_at(fd: int, data: bytes, position: int) -> None:
    left = memoryview(data)
    while left:
        count = os.pwrite(fd, left, position)
        left, position = left[count:], position + count


def copy_content(source: int, destination: int, size: int) -> None:
    """Copy ``size`` bytes from the start of a file to where another one stands."""
    position = 0
    while position < size:
        try:
            count = os.copy_file_range(source, destination, size - position, position)
        except OSError as error:
            if error.errno not in _NO_COPY_FILE_RANGE:
                raise
            count = os.sendfile(destination, source, position, size - position)
        if not count:
            raise OSError(errno.EIO, "file became shorter")
        position += count
