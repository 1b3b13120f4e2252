"""Checks that an image has the paths without which a machine is not usable."""

from __future__ import annotations

from imageserver.errors import ConfigError, ImageServerError
from imageserver.model.file_system import FileSystem
from imageserver.model.inode import (
    DirectoryInode,
    Inode,
    RegularInode,
    SpecialInode,
    SymlinkInode,
)

_KINDS: dict[str, tuple[type[Inode], str]] = {
    "d": (DirectoryInode, "directory"),
    "f": (RegularInode, "regular file"),
    "l": (SymlinkInode, "symlink"),
    "b": (SpecialInode, "special inode"),
    "c": (SpecialInode, "special inode"),
    "p": (SpecialInode, "special inode"),
}
_PREFIX = "VerifyRequiredPaths()"


def check_required_paths(file_system: FileSystem, text: str) -> None:
    """Check that paths are there and are what they should be.

    Symbolic links on the way to a path are not followed.

    Args:
        file_system: the image.
        text: the paths and their types, like ``/etc:d,/etc/passwd:f``; the types are
            ``d`` directory, ``f`` regular file (not a computed one), ``l`` symbolic
            link, and ``b``, ``c`` and ``p``, each of which stands for any special.

    Raises:
        ConfigError: ``text`` is not of that form.
        ImageServerError: a path is missing or of another type.
    """
    for path, wanted, kind in _parse(text):
        inode = _find(file_system, path.encode("utf-8", "surrogateescape"))
        if inode is None:
            raise ImageServerError(f"{_PREFIX}: missing path: {path}")
        if not isinstance(inode, wanted):
            raise ImageServerError(f"{_PREFIX}: path is not a {kind}: {path}")


def _parse(text: str) -> list[tuple[str, type[Inode], str]]:
    required = []
    for item in text.split(","):
        path, _, letter = item.rpartition(":")
        if not path.startswith("/") or letter not in _KINDS:
            raise ConfigError(f"malformed required path: {item!r}")
        required.append((path, *_KINDS[letter]))
    return required


def _find(file_system: FileSystem, path: bytes) -> Inode | None:
    inodes = file_system.inodes or {}
    inode: Inode | None = file_system.root
    for name in path.split(b"/"):
        if not name:
            continue
        if not isinstance(inode, DirectoryInode):
            return None
        numbers = (e.inode_number for e in inode.entries if e.name == name)
        inode = inodes.get(next(numbers, -1))
    return inode
