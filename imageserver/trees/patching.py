"""Changes a tree of this machine to what a plan says.

::

    with Patcher(target, plan) as patcher:
        patcher.begin()
        for hash_ in patcher.wanted():
            writer = patcher.receive(hash_)
            ...
        patcher.apply(tell)

Rules of this file: nothing outside the target is touched, and no symbolic link is
followed. Everything is fetched and verified before anything is changed. Whatever is not
a directory is made in a directory of ours at the top of the target, and then moved to
where it belongs: each path has what it had or what it is to have, at any moment.
"""

from __future__ import annotations

import os
import secrets
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Self

from imageserver.model.inode import (
    Inode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)
from imageserver.trees.attributes import set_attributes
from imageserver.trees.object_writer import ObjectWriter
from imageserver.trees.patch_plan import PatchPlan, Placing
from imageserver.trees.tree import (
    RootDirectory,
    copy_content,
    explained,
)

_FILE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_PRIVATE_FILE, _PRIVATE_DIRECTORY = 0o600, 0o700

Tell = Callable[[str, bytes], object]
"""Told what was done (``made``, ``removed``, ``changed``) to which path."""


class Patcher:
    """Applies one plan; a context manager, for use in one thread at a time."""

    def __init__(self, target: bytes | str, plan: PatchPlan) -> None:
        """Touch nothing yet."""
        self._target = os.path.abspath(os.fsencode(target))
        self._plan = plan
        self._sets_owners = os.geteuid() == 0
        self._root: RootDirectory
        self._staging = b".imagetool-" + secrets.token_hex(16).encode()
        self._staging_fd = -1
        self._received: set[bytes] = set()
        self._uses: dict[bytes, int] = {}
        for item in plan.placed:
            if isinstance(item.inode, RegularInode) and item.inode.size:
                hash_ = item.inode.hash_
                self._uses[hash_] = self._uses.get(hash_, 0) + 1

    def begin(self) -> None:
        """Open the target, and make the directory for what comes.

        Raises:
            FileAccessError: the system refuses.
        """
        with explained("cannot open", self._target):
            self._root = RootDirectory(self._target)
            os.mkdir(self._staging, _PRIVATE_DIRECTORY, dir_fd=self._root.fd)
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            self._staging_fd = os.open(self._staging, flags, dir_fd=self._root.fd)

    def wanted(self) -> list[bytes]:
        """The objects that are still missing."""
        return [hash_ for hash_ in self._plan.wanted if hash_ not in self._received]

    def receive(self, hash_: bytes) -> ObjectWriter:
        """Take in an object.

        Raises:
            FileAccessError: the system refuses.
        """
        name = hash_.hex().encode()
        with explained("cannot write object", name), suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._staging_fd)
        with explained("cannot write object", name):
            fd = os.open(name, _FILE_FLAGS, _PRIVATE_FILE, dir_fd=self._staging_fd)
        file = os.fdopen(fd, "wb", buffering=0)
        place = partial(self._received.add, hash_)
        return ObjectWriter(hash_, self._plan.wanted[hash_], fd, place, file.close)

    def apply(self, tell: Tell) -> list[bytes]:
        """Make all changes.

        Args:
            tell: told of each.

        Returns:
            Directories that could not be removed, since something is in them that was
            to be left alone.

        Raises:
            FileAccessError: the system refuses; the text names the path.
        """
        left = self._remove_all(tell)
        for path in self._plan.made:
            with explained("cannot create directory", path):
                directory_fd, name = self._locate(path)
                os.mkdir(name, _PRIVATE_DIRECTORY, dir_fd=directory_fd)
            tell("made", path)
        for item in self._plan.placed:
            with explained("cannot create", item.paths[0]):
                self._place(item)
            for path in item.paths:
                tell("made", path)
        for item in self._plan.changed:
            with explained("cannot change", item.paths[0]):
                directory_fd, name = self._locate(item.paths[0])
                fd = os.open(name, _OPEN_FLAGS, dir_fd=directory_fd)
                try:
                    self._set_attributes(fd, item.inode)
                finally:
                    os.close(fd)
            tell("changed", item.paths[0])
        for item in self._plan.directories:
            path = item.paths[0]
            with explained("cannot set mode of", path or b"/"):
                self._set_attributes(self._root.open_directory(path), item.inode)
            if path not in self._plan.made:
                tell("changed", path or b"/")
        return left

    def _remove_all(self, tell: Tell) -> list[bytes]:
        left = []
        made = set(self._plan.made)
        made.update(path for item in self._plan.placed for path in item.paths)
        for path in self._plan.removed:
            with explained("cannot remove", path):
                directory_fd, name = self._locate(path)
                status = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
                if not stat.S_ISDIR(status.st_mode):
                    os.unlink(name, dir_fd=directory_fd)
                else:
                    try:
                        os.rmdir(name, dir_fd=directory_fd)
                    except OSError:
                        if path in made:  # something else is to be there
                            raise
                        left.append(path)
                        continue
            tell("removed", path)
        return left

    def _place(self, item: Placing) -> None:
        name = self._make(item.inode)
        first, *others = item.paths
        for path in others:
            link = self._new_name()
            os.link(
                name,
                link,
                src_dir_fd=self._staging_fd,
                dst_dir_fd=self._staging_fd,
                follow_symlinks=False,
            )
            self._move(link, path)
        self._move(name, first)

    def _move(self, name: bytes, path: bytes) -> None:
        directory_fd, final = self._locate(path)
        os.rename(name, final, src_dir_fd=self._staging_fd, dst_dir_fd=directory_fd)

    def _make(self, inode: Inode) -> bytes:
        """Make what is not a directory, under a name in our own."""
        if isinstance(inode, RegularInode) and inode.size:
            return self._make_file(inode)
        name, fd = self._new_name(), self._staging_fd
        if isinstance(inode, SymlinkInode):
            os.symlink(inode.target, name, dir_fd=fd)
            if self._sets_owners:
                owner = inode.uid, inode.gid
                os.chown(name, *owner, dir_fd=fd, follow_symlinks=False)
            return name
        if isinstance(inode, SpecialInode):
            kind = stat.S_IFMT(inode.mode) | _PRIVATE_FILE
            os.mknod(name, kind, inode.device, dir_fd=fd)
            file_fd = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=fd)
            file: Any = f"/proc/self/fd/{file_fd}"
        else:
            file = file_fd = os.open(name, _FILE_FLAGS, _PRIVATE_FILE, dir_fd=fd)
        try:
            self._set_attributes(file, inode)
        finally:
            os.close(file_fd)
        return name

    def _make_file(self, inode: RegularInode) -> bytes:
        name = inode.hash_.hex().encode()
        source = os.open(name, os.O_RDWR | os.O_NOFOLLOW, dir_fd=self._staging_fd)
        try:
            self._uses[inode.hash_] -= 1
            if not self._uses[inode.hash_]:  # nobody else needs it
                self._set_attributes(source, inode)
                return name
            copy = self._new_name()
            target = os.open(copy, _FILE_FLAGS, _PRIVATE_FILE, dir_fd=self._staging_fd)
            try:
                copy_content(source, target, inode.size)
                self._set_attributes(target, inode)
            finally:
                os.close(target)
            return copy
        finally:
            os.close(source)

    def _set_attributes(self, file: int | str, inode: Inode) -> None:
        set_attributes(file, inode, sets_owner=self._sets_owners)

    def _locate(self, path: bytes) -> tuple[int, bytes]:
        parent, _, name = path.rpartition(b"/")
        return self._root.open_directory(parent), name

    def _new_name(self) -> bytes:
        return secrets.token_hex(16).encode()

    def close(self) -> None:
        """Remove what is ours; doing it twice does no harm."""
        if self._staging_fd < 0:
            return
        os.close(self._staging_fd)
        self._staging_fd = -1
        shutil.rmtree(self._staging, ignore_errors=True, dir_fd=self._root.fd)
        self._root.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
