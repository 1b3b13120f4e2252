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
is followed. Whatever is not a directory is made under a temporary name beside its final
one, gets its owner, mode and time, and only then its final name: what has that is
complete. Until the end, only the owner can enter the target.
"""

from __future__ import annotations

import itertools
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Self

import attrs

from imageserver.errors import InvalidImage
from imageserver.model.file_system import FileSystem
from imageserver.model.inode import (
    DirectoryInode,
    Inode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)
from imageserver.model.tree import check_tree, show
from imageserver.trees.attributes import set_attributes
from imageserver.trees.object_writer import ObjectWriter, UnpackError
from imageserver.trees.tree import (
    RootDirectory,
    copy_content,
    explained,
)

_FILE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE_FILE = 0o600
_PRIVATE_DIRECTORY = 0o700
_SPECIAL_TYPES = (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)


@attrs.frozen
class LeftOut:
    """What the target could not be given for want of privileges.

    Attributes:
        path: where in the image.
        reason: what is missing, for people.
    """

    path: bytes
    reason: str


class Unpacker:
    """Unpacks one file system; a context manager, for use in one thread at a time."""

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
        # Long enough that no name of the image is the same by chance.
        self._prefix = b"/.unpack-" + secrets.token_hex(16).encode()
        self._numbers = itertools.count()
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
        path = self._paths[self._users[hash_][0]][0]
        with explained("cannot create", path):
            temporary = self._beside(path)
            fd = self._create(temporary)
        self._incoming[temporary] = fd
        place = partial(self._place_object, hash_, fd, temporary)
        discard = partial(self._discard, temporary)
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
        for temporary in list(self._incoming):
            self._discard(temporary)
        if self._root is not None:
            self._root.close()
            self._root = None

    def _discard(self, temporary: bytes) -> None:
        fd = self._incoming.pop(temporary, None)
        if fd is not None:
            self._remove(temporary)
            os.close(fd)

    def _place_object(self, hash_: bytes, fd: int, temporary: bytes) -> None:
        first, *others = self._users[hash_]
        with explained("cannot create", self._paths[first][0]):
            self._complete(first, fd, temporary)
        for number in others:
            with explained("cannot create", self._paths[number][0]):
                self._make_copy(number, fd, self._sizes[hash_])
        del self._users[hash_]
        os.close(self._incoming.pop(temporary))  # it has its final name

    def _make_copy(self, number: int, fd: int, size: int) -> None:
        with self._temporary(number) as temporary:
            copy_fd = self._create(temporary)
            try:
                copy_content(fd, copy_fd, size)
                self._complete(number, copy_fd, temporary)
            finally:
                os.close(copy_fd)

    def _make(self, number: int, inode: Inode) -> None:
        with self._temporary(number) as temporary:
            if isinstance(inode, SymlinkInode):
                self._make_symlink(inode, temporary)
                self._move(number, temporary)
                return
            if isinstance(inode, SpecialInode):
                if not self._make_special(number, inode, temporary):
                    return
                directory_fd, name = self._locate(temporary)
                fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=directory_fd)
                # The only way to change what just its path is open of.
                file: int | str = f"/proc/self/fd/{fd}"
            else:
                file = fd = self._create(temporary)
            try:
                self._complete(number, file, temporary)
            finally:
                os.close(fd)

    def _make_symlink(self, inode: SymlinkInode, temporary: bytes) -> None:
        directory_fd, name = self._locate(temporary)
        os.symlink(inode.target, name, dir_fd=directory_fd)
        if self._sets_owners:
            owner = (inode.uid, inode.gid)
            os.chown(name, *owner, dir_fd=directory_fd, follow_symlinks=False)

    def _make_special(self, number: int, inode: SpecialInode, temporary: bytes) -> bool:
        kind = stat.S_IFMT(inode.mode)
        if kind not in _SPECIAL_TYPES:
            path = show(self._paths[number][0])
            raise InvalidImage(f"special inode has mode {inode.mode:o}: {path}")
        directory_fd, name = self._locate(temporary)
        try:
            os.mknod(name, kind | _PRIVATE_FILE, inode.device, dir_fd=directory_fd)
        except PermissionError as error:
            reason = f"not permitted to create it: {error.strerror}"
            self._left_out.extend(LeftOut(path, reason) for path in self._paths[number])
            return False
        return True

    def _complete(self, number: int, file: int | str, temporary: bytes) -> None:
        self._set_attributes(file, self._files[number], self._paths[number][0])
        self._move(number, temporary)

    def _set_attributes(self, file: int | str, inode: Inode, path: bytes) -> None:
        if not set_attributes(file, inode, sets_owner=self._sets_owners):
            self._left_out.append(LeftOut(path, "owner and set-ID bits not set"))

    def _move(self, number: int, temporary: bytes) -> None:
        """Give what has a temporary name all its final ones."""
        first, *others = self._paths[number]
        if others:
            self._link(temporary, others)
        directory_fd, name = self._locate(temporary)
        final = first.rpartition(b"/")[2]
        os.rename(name, final, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)

    def _link(self, temporary: bytes, others: list[bytes]) -> None:
        directory_fd, name = self._locate(temporary)
        from_fd = os.dup(directory_fd)
        try:
            for path in others:
                to_fd, to = self._locate(path)
                os.link(
                    name,
                    to,
                    src_dir_fd=from_fd,
                    dst_dir_fd=to_fd,
                    follow_symlinks=False,
                )
        finally:
            os.close(from_fd)

    def _locate(self, path: bytes) -> tuple[int, bytes]:
        """The directory of a path, good until the next call, and the name in it."""
        parent, _, name = path.rpartition(b"/")
        return self._opened.open_directory(parent), name

    @property
    def _opened(self) -> RootDirectory:
        if self._root is None:
            raise UnpackError("make_skeleton comes first")
        return self._root

    def _beside(self, path: bytes) -> bytes:
        """The path of something that is not complete yet."""
        name = self._prefix + b"-%d" % next(self._numbers)
        return path.rpartition(b"/")[0] + name

    def _create(self, path: bytes) -> int:
        directory_fd, name = self._locate(path)
        return os.open(name, _FILE_FLAGS, _PRIVATE_FILE, dir_fd=directory_fd)

    def _remove(self, path: bytes) -> None:
        with suppress(OSError):
            directory_fd, name = self._locate(path)
            os.unlink(name, dir_fd=directory_fd)

    @contextmanager
    def _temporary(self, number: int) -> Iterator[bytes]:
        temporary = self._beside(self._paths[number][0])
        try:
            yield temporary
        except BaseException:
            self._remove(temporary)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
