"""Scans a directory of this machine: its tree, and the hashes of its files.

Nothing outside the directory is read, whatever happens in it meanwhile: every path is
opened one component at a time and no symbolic link is followed. Mount points are
crossed, as the reference implementation does.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from functools import partial
from typing import BinaryIO

from imageserver.errors import ImageServerError
from imageserver.model.filter import Matcher
from imageserver.model.hash import NO_HASH
from imageserver.model.inode import RegularInode, SpecialInode, SymlinkInode
from imageserver.model.tree import show
from imageserver.trees.hash_pool import HashPool
from imageserver.trees.mounts import mount_points
from imageserver.trees.tree import (
    Content,
    DirectoryNode,
    FileNode,
    Found,
    Progress,
    RootDirectory,
    Tree,
    build_tree,
    explained,
    forget,
)

_NANO = 1_000_000_000
_READ_TRIES = 2
# A file that was replaced by a FIFO since it was looked at must not block us.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class FileChanged(ImageServerError):
    """A file did not stay the same while it was read.

    Attributes:
        path: the path of the file on this machine.
    """

    def __init__(self, path: bytes) -> None:
        super().__init__(f"file changed while it was read: {show(path)}")
        self.path = path


def scan_directory(
    root: bytes | str,
    matcher: Matcher | None,
    progress: Progress,
    found: Found = forget,
    mounted: Callable[[bytes], None] | None = None,
) -> Tree:
    """Scan a directory.

    Args:
        root: the directory; it becomes the root of the file system.
        matcher: matches the paths to leave out, each with all that is below it. A
            path starts with ``/`` at the root of the file system.
        progress: called as files are hashed.
        found: called with the content of each file that is hashed, in any thread.
        mounted: called with the path of what is mounted below, which is then passed
            over; if left out, mount points are crossed.

    Raises:
        FileAccessError: something cannot be read; the text names it.
        FileChanged: a file keeps changing.
    """
    path = os.path.abspath(os.fsencode(root))
    with explained("cannot read directory", path):
        directory = RootDirectory(path)
    with directory, HashPool(progress) as pool:
        return _Scan(path, directory, matcher, pool, found, mounted).run()


_Identity = tuple[int, int, int, int]
"""What tells that a file is still the one that was hashed."""


def _identify(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


class _Opener:
    """Opens the files of a tree again, as long as they are what they were."""

    def __init__(self, root_path: bytes) -> None:
        self._root_path = root_path
        self._root: RootDirectory | None = None
        self._lock = threading.Lock()

    def open(self, path: bytes, identity: _Identity) -> BinaryIO:
        """Open a file for reading.

        Raises:
            FileAccessError: it cannot be read.
            FileChanged: it is another one.
        """
        directory_path, _, name = path.rpartition(b"/")
        real_path = self._root_path.rstrip(b"/") + path
        with explained("cannot read", real_path), self._lock:
            if self._root is None:
                self._root = RootDirectory(self._root_path)
            directory_fd = self._root.open_directory(directory_path)
            fd = os.open(name, _FILE_FLAGS, dir_fd=directory_fd)
        file = os.fdopen(fd, "rb")
        if _identify(os.fstat(fd)) != identity:
            file.close()
            raise FileChanged(real_path)
        return file


class _Scan:
    """One scan; the tree is complete when the pool has done its jobs."""

    def __init__(
        self,
        root_path: bytes,
        directory: RootDirectory,
        matcher: Matcher | None,
        pool: HashPool,
        found: Found,
        mounted: Callable[[bytes], None] | None,
    ) -> None:
        self._found = found
        self._mounted = mounted
        self._mount_points = mount_points() if mounted else frozenset()
        self._resolved_path = os.path.realpath(root_path).rstrip(b"/")
        self._device = os.fstat(directory.fd).st_dev
        self._root_path = root_path
        self._directory = directory
        self._matcher = matcher
        self._pool = pool
        self._opener = _Opener(root_path)
        self._links: dict[tuple[int, int], FileNode] = {}

    def run(self) -> Tree:
        """Walk through all directories; returns when everything is hashed."""
        root = _directory_node(os.fstat(self._directory.fd))
        open_directories = [(b"", root)]
        while open_directories:
            path, node = open_directories.pop()
            self._read_directory(path, node)
            open_directories.extend(
                (path + b"/" + name, child)
                for name, child in sorted(node.entries.items(), reverse=True)
                if isinstance(child, DirectoryNode)
            )
        self._pool.finish()
        return build_tree(root)

    def _read_directory(self, path: bytes, node: DirectoryNode) -> None:
        with explained("cannot read directory", self._real_path(path)):
            fd = self._directory.open_directory(path)
            names = sorted(os.fsencode(name) for name in os.listdir(fd))
        for name in names:
            child_path = path + b"/" + name
            if self._matcher is not None and self._matcher.matches(child_path):
                continue
            with explained("cannot read", self._real_path(child_path)):
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                if self._mounted is not None and self._is_mounted(child_path, status):
                    self._mounted(child_path)
                    continue
                node.entries[name] = self._node(fd, name, child_path, status)

    def _is_mounted(self, path: bytes, status: os.stat_result) -> bool:
        is_known = self._resolved_path + path in self._mount_points
        return is_known or status.st_dev != self._device

    def _node(
        self, fd: int, name: bytes, path: bytes, status: os.stat_result
    ) -> FileNode | DirectoryNode:
        if stat.S_ISDIR(status.st_mode):
            return _directory_node(status)
        key = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and key in self._links:
            return self._links[key]
        node = FileNode()
        if stat.S_ISREG(status.st_mode):
            self._hash_in_thread(fd, name, path, status, node)
        elif stat.S_ISLNK(status.st_mode):
            target = os.readlink(name, dir_fd=fd)
            node.inode = SymlinkInode(status.st_uid, status.st_gid, target)
        else:
            node.inode = _special_inode(status)
        if status.st_nlink > 1:
            self._links[key] = node
        return node

    def _hash_in_thread(
        self,
        directory_fd: int,
        name: bytes,
        path: bytes,
        status: os.stat_result,
        node: FileNode,
    ) -> None:
        file_fd = os.open(name, _FILE_FLAGS, dir_fd=directory_fd)
        opened = os.fstat(file_fd)
        is_other = (opened.st_dev, opened.st_ino) != (status.st_dev, status.st_ino)
        if is_other or not stat.S_ISREG(opened.st_mode):
            os.close(file_fd)
            raise FileChanged(self._real_path(path))
        job = partial(self._hash, file_fd, path, opened, node)
        self._pool.submit(job, opened.st_size)

    def _hash(
        self, fd: int, path: bytes, before: os.stat_result, node: FileNode
    ) -> int:
        """Hash a file and close it; runs in a thread."""
        real_path = self._real_path(path)
        try:
            with explained("cannot read", real_path):
                status, digest = _read_unchanged(fd, real_path, before, self._pool)
        finally:
            os.close(fd)
        node.inode = _regular_inode(status, digest)
        if status.st_size:
            opener = partial(self._opener.open, path, _identify(status))
            node.content = Content(digest, status.st_size, opener)
            self._found(node.content)
        return status.st_size

    def _real_path(self, path: bytes) -> bytes:
        return self._root_path.rstrip(b"/") + path


def _read_unchanged(
    fd: int, real_path: bytes, before: os.stat_result, pool: HashPool
) -> tuple[os.stat_result, bytes]:
    read: Callable[[int], bytes] = partial(os.read, fd)
    for _ in range(_READ_TRIES):
        digest, size = pool.digest(read, before.st_size)
        after = os.fstat(fd)
        if (
            size == before.st_size
            and _identify(before) == _identify(after)
            and before.st_ctime_ns == after.st_ctime_ns
        ):
            return after, digest if size else NO_HASH
        before = after
        os.lseek(fd, 0, os.SEEK_SET)
    raise FileChanged(real_path)


def _directory_node(status: os.stat_result) -> DirectoryNode:
    return DirectoryNode(status.st_mode, status.st_uid, status.st_gid)


def _regular_inode(status: os.stat_result, digest: bytes) -> RegularInode:
    seconds, nanoseconds = divmod(status.st_mtime_ns, _NANO)
    owner = (status.st_uid, status.st_gid)
    times = (nanoseconds, seconds)
    return RegularInode(status.st_mode, *owner, *times, status.st_size, digest)


def _special_inode(status: os.stat_result) -> SpecialInode:
    seconds, nanoseconds = divmod(status.st_mtime_ns, _NANO)
    owner = (status.st_uid, status.st_gid)
    return SpecialInode(status.st_mode, *owner, nanoseconds, seconds, status.st_rdev)
