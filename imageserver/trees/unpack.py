"""Writes a file system to a directory of this machine.

The contents come one object at a time, in any order::

    with Unpacker(file_system, target) as plan:
        plan.make_skeleton()
        for hash_, size in plan.wanted():
            with plan.receive(hash_) as writer:
                writer.write(...)
                writer.finish()
        left_out = plan.finish()

Rules of this file: nothing is written outside the target, even if somebody tampers
with it meanwhile: directories are opened one component at a time and no symbolic link
is followed. Whatever is not a directory is made in the target's root under a temporary
name, gets its owner, mode and time there, and is then moved to where it belongs: what
has its final name is complete. Until the end, only the owner can enter the target.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Self

import attrs

from imageserver.errors import CorruptObject, ImageServerError, InvalidImage
from imageserver.model.file_system import FileSystem
from imageserver.model.inode import (
    DirectoryInode,
    Inode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)
from imageserver.model.tree import check_tree, show
from imageserver.trees.tree import (
    PERMISSION_BITS,
    RootDirectory,
    copy_content,
    explained,
    write_sparsely,
)

_FILE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE_FILE = 0o600
_PRIVATE_DIRECTORY = 0o700
_NANO = 1_000_000_000
_SPECIAL_TYPES = (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)


class UnpackError(ImageServerError):
    """An image cannot be unpacked; the text says why."""


@attrs.frozen
class LeftOut:
    """What the target could not be given for want of privileges.

    Attributes:
        path: where in the image.
        reason: what is missing, for people.
    """

    path: bytes
    reason: str


@attrs.define(eq=False)
class ObjectWriter:
    """Takes the content of one object; :meth:`Unpacker.receive` makes them.

    A context manager, which discards the content unless it was finished.
    """

    _hash: bytes
    _size: int
    _fd: int
    _place: Callable[[], None]
    _discard: Callable[[], None]
    _hasher: Any = attrs.Factory(hashlib.sha512)
    _received: int = 0
    _open: bool = True

    def write(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            CorruptObject: that is more than the object has.
            FileAccessError: it cannot be written.
        """
        if not self._open:
            raise UnpackError("write after the end of an object")
        position = self._received
        self._received += len(data)
        if self._received > self._size:
            raise CorruptObject(self._hash, f"longer than {self._size} bytes")
        self._hasher.update(data)
        with explained("cannot write object", self._hash.hex().encode()):
            write_sparsely(self._fd, data, position)

    def finish(self) -> None:
        """Check the object and put it wherever the image has it.

        Raises:
            CorruptObject: length or hash are wrong; the object is still wanted.
            FileAccessError: it cannot be put somewhere; the text names the place.
        """
        try:
            if self._received != self._size:
                reason = f"{self._received} bytes instead of {self._size}"
                raise CorruptObject(self._hash, reason)
            if self._hasher.digest() != self._hash:
                raise CorruptObject(self._hash, "wrong hash")
            with explained("cannot write object", self._hash.hex().encode()):
                os.ftruncate(self._fd, self._size)
            self._place()
        finally:
            self.discard()

    def discard(self) -> None:
        """Forget what was written; does nothing after :meth:`finish`."""
        self._open = False
        self._discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()


class Unpacker:
    """Unpacks one file system; a context manager, for use in one thread."""

    def __init__(self, file_system: FileSystem, target: bytes | str) -> None:
        """Plan to unpack; nothing is touched yet.

        Args:
            file_system: what to unpack.
            target: the directory; it is made if there is none, else it must be empty.

        Raises:
            InvalidImage: the tree contradicts itself.
        """
        self._sizes = check_tree(file_system).object_bytes
        self._target = os.path.abspath(os.fsencode(target))
        self._root: RootDirectory | None = None
        self._sets_owners = os.geteuid() == 0
        self._left_out: list[LeftOut] = []
        self._directories = [(b"", file_system.root)]
        self._files: dict[int, Inode] = {}
        self._paths: dict[int, list[bytes]] = {}
        self._users: dict[bytes, list[int]] = {}
        self._incoming: dict[bytes, int] = {}
        inodes = file_system.inodes or {}
        # The list grows while it is walked through.
        for parent, directory in self._directories:
            for entry in directory.entries:
                path, inode = parent + b"/" + entry.name, inodes[entry.inode_number]
                if isinstance(inode, DirectoryInode):
                    self._directories.append((path, inode))
                else:
                    self._plan(entry.inode_number, inode, path)

    def _plan(self, number: int, inode: Inode, path: bytes) -> None:
        self._paths.setdefault(number, []).append(path)
        if number not in self._files:
            self._files[number] = inode
            if isinstance(inode, RegularInode) and inode.size:
                self._users.setdefault(inode.hash_, []).append(number)

    def make_skeleton(self) -> None:
        """Make the target and all directories in it.

        Raises:
            FileAccessError: the system refuses.
            UnpackError: the target is not empty.
        """
        with explained("cannot unpack to", self._target):
            os.makedirs(self._target, _PRIVATE_DIRECTORY, exist_ok=True)
            self._root = root = RootDirectory(self._target)
            if os.listdir(root.fd):
                raise UnpackError(f"directory is not empty: {show(self._target)}")
            # Keeps everybody else out, even who owns it now.
            if self._sets_owners:
                os.fchown(root.fd, 0, 0)
            os.fchmod(root.fd, _PRIVATE_DIRECTORY)
        for path, _ in self._directories[1:]:
            with explained("cannot create directory", path):
                directory_fd, name = self._locate(path)
                os.mkdir(name, _PRIVATE_DIRECTORY, dir_fd=directory_fd)

    def wanted(self) -> list[tuple[bytes, int]]:
        """The objects that are still missing, each once, with their sizes."""
        return [(hash_, self._sizes[hash_]) for hash_ in self._users]

    def receive(self, hash_: bytes) -> ObjectWriter:
        """Take in an object.

        Raises:
            UnpackError: it is not one of those wanted.
            FileAccessError: the system refuses.
        """
        if hash_ not in self._users:
            raise UnpackError(f"object is not wanted: {hash_.hex()}")
        name = self._new_name()
        with explained("cannot write to", self._target):
            fd = self._create(name)
        self._incoming[name] = fd
        place = partial(self._place_object, hash_, fd, name)
        discard = partial(self._discard, name)
        return ObjectWriter(hash_, self._sizes[hash_], fd, place, discard)

    def finish(self) -> tuple[LeftOut, ...]:
        """Make all that has no content, and give directories their owners and modes.

        Returns:
            What could not be done for want of privileges.

        Raises:
            UnpackError: objects are still missing.
            FileAccessError: the system refuses.
        """
        if self._users:
            raise UnpackError(f"{len(self._users)} objects are missing")
        for number, inode in self._files.items():
            if not isinstance(inode, RegularInode) or not inode.size:
                with explained("cannot create", self._paths[number][0]):
                    self._make(number, inode)
        # From the bottom up, because the mode of a directory may lock us out of it.
        for path, directory in reversed(self._directories):
            with explained("cannot set mode of", path or b"/"):
                fd = self._opened.open_directory(path)
                self._set_attributes(fd, directory, path or b"/")
        self.close()
        return tuple(self._left_out)

    def close(self) -> None:
        """Discard unfinished objects, close the target; twice does no harm."""
        for name in list(self._incoming):
            self._discard(name)
        if self._root is not None:
            self._root.close()
            self._root = None

    def _discard(self, name: bytes) -> None:
        if name in self._incoming:
            self._remove(name)
            os.close(self._incoming.pop(name))

    def _place_object(self, hash_: bytes, fd: int, name: bytes) -> None:
        first, *others = self._users[hash_]
        with explained("cannot create", self._paths[first][0]):
            self._complete(first, fd, name)
        for number in others:
            with (
                explained("cannot create", self._paths[number][0]),
                self._temporary() as copy_name,
            ):
                copy_fd = self._create(copy_name)
                try:
                    copy_content(fd, copy_fd, self._sizes[hash_])
                    self._complete(number, copy_fd, copy_name)
                finally:
                    os.close(copy_fd)
        del self._users[hash_]
        os.close(self._incoming.pop(name))  # it has its final name

    def _make(self, number: int, inode: Inode) -> None:
        with self._temporary() as name:
            if isinstance(inode, SymlinkInode):
                self._make_symlink(inode, name)
                self._move(number, name)
                return
            if isinstance(inode, SpecialInode):
                if not self._make_special(number, inode, name):
                    return
                fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self._opened.fd)
                # The only way to change what just its path is open of.
                file: int | str = f"/proc/self/fd/{fd}"
            else:
                file = fd = self._create(name)
            try:
                self._complete(number, file, name)
            finally:
                os.close(fd)

    def _make_symlink(self, inode: SymlinkInode, name: bytes) -> None:
        root_fd = self._opened.fd
        os.symlink(inode.target, name, dir_fd=root_fd)
        if self._sets_owners:
            owner = (inode.uid, inode.gid)
            os.chown(name, *owner, dir_fd=root_fd, follow_symlinks=False)

    def _make_special(self, number: int, inode: SpecialInode, name: bytes) -> bool:
        kind = stat.S_IFMT(inode.mode)
        if kind not in _SPECIAL_TYPES:
            path = show(self._paths[number][0])
            raise InvalidImage(f"special inode has mode {inode.mode:o}: {path}")
        try:
            mode = kind | _PRIVATE_FILE
            os.mknod(name, mode, inode.device, dir_fd=self._opened.fd)
        except PermissionError as error:
            reason = f"not permitted to create it: {error.strerror}"
            self._left_out.extend(LeftOut(path, reason) for path in self._paths[number])
            return False
        return True

    def _complete(self, number: int, file: int | str, name: bytes) -> None:
        self._set_attributes(file, self._files[number], self._paths[number][0])
        self._move(number, name)

    def _set_attributes(self, file: int | str, inode: Any, path: bytes) -> None:
        if self._sets_owners:
            os.chown(file, inode.uid, inode.gid)
        os.chmod(file, self._permissions(inode, os.stat(file), path))
        if isinstance(inode, RegularInode | SpecialInode):
            time_ns = inode.mtime_seconds * _NANO + inode.mtime_nanoseconds
            os.utime(file, ns=(time_ns, time_ns))

    def _permissions(self, inode: Any, status: os.stat_result, path: bytes) -> int:
        # With an owner other than the image's, these bits would give away our rights.
        mode: int = inode.mode & PERMISSION_BITS
        lost = stat.S_ISUID if status.st_uid != inode.uid else 0
        lost |= stat.S_ISGID if status.st_gid != inode.gid else 0
        if mode & lost:
            self._left_out.append(LeftOut(path, "owner and set-ID bits not set"))
        return mode & ~lost

    def _move(self, number: int, name: bytes) -> None:
        """Give what has a temporary name all its final ones."""
        first, *others = self._paths[number]
        root_fd = self._opened.fd
        for path in others:
            to_fd, to = self._locate(path)
            os.link(
                name, to, src_dir_fd=root_fd, dst_dir_fd=to_fd, follow_symlinks=False
            )
        to_fd, to = self._locate(first)
        os.rename(name, to, src_dir_fd=root_fd, dst_dir_fd=to_fd)

    def _locate(self, path: bytes) -> tuple[int, bytes]:
        parent, _, name = path.rpartition(b"/")
        return self._opened.open_directory(parent), name

    @property
    def _opened(self) -> RootDirectory:
        if self._root is None:
            raise UnpackError("make_skeleton comes first")
        return self._root

    def _new_name(self) -> bytes:
        # Long enough that no name of the image is the same by chance.
        return b".unpack-" + secrets.token_hex(16).encode()

    def _create(self, name: bytes) -> int:
        return os.open(name, _FILE_FLAGS, _PRIVATE_FILE, dir_fd=self._opened.fd)

    def _remove(self, name: bytes) -> None:
        with suppress(OSError):
            os.unlink(name, dir_fd=self._opened.fd)

    @contextmanager
    def _temporary(self) -> Iterator[bytes]:
        name = self._new_name()
        try:
            yield name
        except BaseException:
            self._remove(name)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
