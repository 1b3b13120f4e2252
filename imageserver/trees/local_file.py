"""Files of a tree on this machine, opened without leaving the tree."""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from imageserver.trees.tree import FileAccessError, RootDirectory, explained

# What is no file must not block us.
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def open_below(root: bytes | str, path: bytes) -> BinaryIO:
    """Open a regular file of a tree; no symbolic link is followed.

    Args:
        root: the tree.
        path: absolute within it.

    Raises:
        FileAccessError: there is no such file, or it is something else.
    """
    names = [name for name in path.split(b"/") if name not in (b"", b".")]
    raw_root = os.fsencode(root)
    with (
        explained("cannot read", raw_root + b"/" + b"/".join(names)),
        RootDirectory(raw_root) as directory,
    ):
        if not names or b".." in names:
            raise FileAccessError("not a path of a file")
        parent = b"".join(b"/" + name for name in names[:-1])
        fd = os.open(names[-1], _FLAGS, dir_fd=directory.open_directory(parent))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileAccessError(f"not a regular file: {os.fsdecode(path)}")
    return os.fdopen(fd, "rb")
