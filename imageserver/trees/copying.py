"""Copies single files and directories from one tree of this machine to another."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress

from imageserver.trees.tree import (
    PERMISSION_BITS,
    RootDirectory,
    copy_content,
    explained,
)

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PRIVATE_FILE, _PRIVATE_DIRECTORY = 0o600, 0o700


def copy_all(
    source: bytes, target: bytes, paths: Iterable[tuple[bytes, os.stat_result]]
) -> None:
    """Copy files and directories, with mode, time and, as root, owner.

    No symbolic link is followed on either side; what is neither file nor directory is
    left out. A file appears under its name when it is complete.

    Args:
        source: where they are.
        target: where they go; directories that are missing on the way are made.
        paths: which ones, absolute below both, directories before what is in them.

    Raises:
        FileAccessError: the system refuses.
    """
    directories: list[tuple[bytes, os.stat_result]] = []
    with explained("cannot open", target):
        os.makedirs(target, exist_ok=True)
    with (
        explained("cannot open", source),
        RootDirectory(source) as from_root,
        RootDirectory(target) as to_root,
    ):
        for path, status in paths:
            with explained("cannot copy", path):
                if stat.S_ISDIR(status.st_mode):
                    _make_directories(to_root, path)
                    directories.append((path, status))
                elif stat.S_ISREG(status.st_mode):
                    _make_directories(to_root, path.rpartition(b"/")[0])
                    _copy_file(from_root, to_root, path, status)
        # What is put into a directory changes its time.
        for path, status in reversed(directories):
            with explained("cannot set mode of", path):
                _set_attributes(to_root.open_directory(path), status)


def _make_directories(root: RootDirectory, path: bytes) -> None:
    so_far = b""
    for name in path.split(b"/")[1:]:
        parent_fd = root.open_directory(so_far)
        with suppress(FileExistsError):
            os.mkdir(name, _PRIVATE_DIRECTORY, dir_fd=parent_fd)
        so_far += b"/" + name


def _copy_file(
    from_root: RootDirectory, to_root: RootDirectory, path: bytes, found: os.stat_result
) -> None:
    parent, _, name = path.rpartition(b"/")
    source = os.open(name, _READ_FLAGS, dir_fd=from_root.open_directory(parent))
    try:
        status = os.fstat(source)
        if (status.st_dev, status.st_ino) != (found.st_dev, found.st_ino):
            raise OSError("the file was replaced")
        temporary = b".copy-" + secrets.token_hex(16).encode()
        to_fd = to_root.open_directory(parent)
        target = os.open(temporary, _WRITE_FLAGS, _PRIVATE_FILE, dir_fd=to_fd)
        try:
            copy_content(source, target, status.st_size)
            _set_attributes(target, status)
            os.rename(temporary, name, src_dir_fd=to_fd, dst_dir_fd=to_fd)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=to_fd)
            raise
        finally:
            os.close(target)
    finally:
        os.close(source)


def _set_attributes(fd: int, status: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.fchown(fd, status.st_uid, status.st_gid)
    os.fchmod(fd, status.st_mode & PERMISSION_BITS)
    os.utime(fd, ns=(status.st_mtime_ns, status.st_mtime_ns))
